//! What the caller of `cargo xtask bench` chose.

/// How it is called.
const USAGE: &str = "usage: cargo xtask bench gateway [--rounds N] [--seconds N] [--clients N] [--json], or bench nodes [--runs N] [--json]";
/// Enough rounds for a median that one disturbed round does not move.
const DEFAULT_ROUNDS: u32 = 5;
/// Of each measurement, on each of the three ways.
const DEFAULT_SECONDS: u32 = 4;
/// Idle clients between the two looks at the memory.
const DEFAULT_CLIENTS: u32 = 500;

/// The options, checked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// Rounds; each measures all three ways.
    pub(super) rounds: u32,
    /// Seconds of one measurement on one way.
    pub(super) seconds: u32,
    /// Idle clients for the measurement of memory.
    pub(super) clients: u32,
    /// JSON instead of a table.
    pub(super) json: bool,
}

impl Options {
    /// Reads the words behind `bench`.
    pub(super) fn parse(words: &[&str]) -> Result<Self, String> {
        let [subject, words @ ..] = words else {
            return Err(USAGE.to_owned());
        };
        if *subject != "gateway" {
            return Err(format!("there is no benchmark `{subject}`\n{USAGE}"));
        }
        let mut options = Self {
            rounds: DEFAULT_ROUNDS,
            seconds: DEFAULT_SECONDS,
            clients: DEFAULT_CLIENTS,
            json: false,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut number = || above_zero(word, words.next());
            match *word {
                "--json" => options.json = true,
                "--rounds" => options.rounds = number()?,
                "--seconds" => options.seconds = number()?,
                "--clients" => options.clients = number()?,
                _ => return Err(format!("what is `{word}`?\n{USAGE}")),
            }
        }
        Ok(options)
    }
}

fn above_zero(option: &str, word: Option<&&str>) -> Result<u32, String> {
    match word.map(|word| word.parse()) {
        Some(Ok(number @ 1..)) => Ok(number),
        _ => Err(format!("{option} takes a number above 0\n{USAGE}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_there_and_refuses_the_rest() {
        let options = Options::parse(&["gateway", "--rounds", "2", "--json"]).unwrap();
        assert_eq!((options.rounds, options.json), (2, true));
        assert_eq!(options.seconds, DEFAULT_SECONDS);
        for wrong in [
            &[][..],
            &["agent"],
            &["gateway", "--rounds"],
            &["gateway", "--rounds", "0"],
            &["gateway", "--fast"],
        ] {
            assert!(Options::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
