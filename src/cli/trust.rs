//! Trust on first use: a person compares a fingerprint before its key is believed.

use std::io::{self, IsTerminal as _};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use palisade_keys::Fingerprint;

use super::error::CliError;
use super::prompt;

/// How a fingerprint was vouched for on the command line.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Vouched {
    /// It was given beforehand.
    pub(super) fingerprint: Option<Fingerprint>,
    /// `--yes`: whoever sits at the terminal believes what is shown.
    pub(super) yes: bool,
}

/// Compares or asks. `whose` is shown, such as "the node at db2:7433"; `ask` is the question.
///
/// Without a terminal nobody can look, so nobody is asked: the fingerprint must be given.
pub(super) fn believe(
    whose: &str,
    found: Fingerprint,
    ask: &str,
    vouched: Vouched,
) -> Result<(), CliError> {
    if let Some(given) = vouched.fingerprint {
        return match verify_slices_are_equal(given.as_bytes(), found.as_bytes()) {
            Ok(()) => Ok(()),
            Err(_) => Err(CliError::no(format!(
                "the fingerprint of {whose} is {found}, not {given}"
            ))
            .hint("this is another machine, its identity was renewed, or somebody stands in between; nothing was done")),
        };
    }
    if !io::stdin().is_terminal() {
        return Err(CliError::usage(format!(
            "nobody is here to compare the fingerprint of {whose}, {found}"
        ))
        .hint("`palisade status` or `palisade init` on that machine shows it; give it with --fingerprint"));
    }
    super::out::note(&format!("{whose} has the fingerprint {found}"));
    super::out::note(
        "Compare it with what `palisade init` or `palisade status` shows on that machine.",
    );
    prompt::confirm(ask, vouched.yes)
}

/// Reads a fingerprint from the command line.
pub(super) fn fingerprint(text: &str) -> Result<Fingerprint, String> {
    text.parse().map_err(|_| {
        "a fingerprint is SHA256: and 43 characters, as `palisade status` shows it".into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_beforehand_decides() {
        let print = |n| Fingerprint::from_bytes([n; 32]);
        let given = |n| Vouched {
            fingerprint: Some(print(n)),
            yes: true,
        };
        assert!(believe("it", print(1), "?", given(1)).is_ok());
        let error = believe("it", print(1), "?", given(2)).unwrap_err();
        assert!(error.to_string().contains(&print(2).to_string()), "{error}");
    }
}
