//! Values of options that have a form of their own.

use std::ffi::OsStr;
use std::time::Duration;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::ErrorKind;
use palisade_ledger::{ObjectName, Privileges};

/// `on` or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Switch {
    /// Yes.
    #[value(name = "on", alias = "true")]
    On,
    /// No.
    #[value(name = "off", alias = "false")]
    Off,
}

impl Switch {
    /// Whether it is on.
    pub(crate) fn is_on(self) -> bool {
        self == Self::On
    }
}

/// Reads privileges: a number, or names separated by commas. Completes single names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PrivilegesParser;

impl TypedValueParser for PrivilegesParser {
    type Value = Privileges;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Privileges, clap::Error> {
        let text = value.to_string_lossy();
        text.parse().map_err(|error| {
            let name = argument.map_or_else(String::new, |argument| format!(" for '{argument}'"));
            let message = format!("invalid value '{text}'{name}: {error}\n");
            clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command)
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let all = (Privileges::ALL | Privileges::DENIED).names();
        Some(Box::new(all.map(PossibleValue::new)))
    }
}

/// The end of a command's help: the table of privileges, then its examples.
macro_rules! privileges_and {
    ($examples:literal) => {
        concat!(
            "\
Privileges, a number (their sum) or names with commas between:
      1  denied   ignores all others      256  drop             delete objects
      2  select   read                    512  grant            manage rights of objects
      4  insert   add rows               1024  user_manage      manage users
      8  update   change rows            2048  system           command the whole cluster
     16  delete   delete rows            4096  set_acl          change access control lists
     32  index    make indexes           8192  get_acl          read access control lists
     64  alter    change definitions    16384  set_transaction  commit and roll back
    128  create   create objects               none, all

",
            $examples
        )
    };
}
pub(crate) use privileges_and;

/// Whether these privileges write, but can't end a transaction.
pub(crate) fn writes_without_transactions(privileges: Privileges) -> bool {
    let writes = Privileges::INSERT | Privileges::UPDATE | Privileges::DELETE;
    let in_force = privileges.in_force();
    !(in_force & writes).is_empty() && !in_force.contains(Privileges::SET_TRANSACTION)
}

/// Reads a span of time: a number with `s`, `m`, `h` or `d`.
pub(crate) fn lifetime(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("{text:?} is no span of time; write a number with s, m, h or d, such as 90m");
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let number = text.strip_suffix(unit).ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    match number.checked_mul(seconds) {
        Some(0) | None => Err(wrong()),
        Some(seconds) => Ok(Duration::from_secs(seconds)),
    }
}

/// Reads an object's name.
pub(crate) fn object(text: &str) -> Result<ObjectName, String> {
    text.parse()
        .map_err(|error: palisade_ledger::ObjectError| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_has_every_privilege_with_its_number() {
        let help = privileges_and!("");
        for flag in (Privileges::ALL | Privileges::DENIED).iter() {
            let row = format!("{}  {flag} ", flag.bits());
            assert!(help.contains(&row), "{row}");
        }
    }

    #[test]
    fn spans_of_time() {
        let seconds = |text| lifetime(text).map(|span| span.as_secs());
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("2d"), Ok(172_800));
        for text in [
            "",
            "h",
            "1",
            "0h",
            "-1h",
            "1w",
            "1 h",
            "99999999999999999d",
            "1é",
        ] {
            assert!(lifetime(text).is_err(), "{text}");
        }
    }

    // "Any user with write access to the system should be given set_transaction privileges."
    #[test]
    fn write_access_wants_set_transaction() {
        let lacks = |text: &str| writes_without_transactions(text.parse().unwrap());
        assert!(lacks("insert"));
        assert!(!lacks("insert,set_transaction"));
        assert!(!lacks("select"));
        assert!(!lacks("insert,denied"));
    }
}
