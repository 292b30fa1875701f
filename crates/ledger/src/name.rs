//! Who: user ids and user names.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::Serialize;

use crate::limits::MAX_NAME_BYTES;

/// The name that the cluster itself goes by, which no user may have.
pub const RESERVED_NAME: &str = ">[HAL_9000]<";

/// Why a name or id was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A uid of zero, or not a number.
    #[error("a uid is a whole number from 1 to {}", u32::MAX)]
    Uid,
    /// The cluster's own name.
    #[error("the name `{RESERVED_NAME}` is reserved by the cluster")]
    Reserved,
    /// A name that means something to PostgreSQL or to Palisade.
    #[error(
        "the name `{0}` is reserved: names that begin with pg_ or palisade, and public, none, all and replication, have a meaning of their own"
    )]
    Taken(String),
    /// Empty, or longer than a PostgreSQL role name.
    #[error("a user name has 1 to {MAX_NAME_BYTES} bytes")]
    Length,
    /// A character that could change the meaning of a file that the name is written to.
    #[error(
        "a user name has no {0:?}: spaces, control and invisible characters, quotes, commas, backslashes and # are left out, as is a leading + @ or /"
    )]
    Character(char),
}

/// A user's id: unique over all users, those removed included, and never zero. "Internally, the
/// system will use the UID to identify the user, not the username."
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Uid(NonZeroU32);

impl Uid {
    /// "By convention, the original superuser has an UID of 1."
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// The id of this number, unless it is zero.
    pub fn new(number: u32) -> Result<Self, NameError> {
        NonZeroU32::new(number).map(Self).ok_or(NameError::Uid)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {}", self.0)
    }
}

impl FromStr for Uid {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        text.parse().map_err(|_| NameError::Uid).and_then(Self::new)
    }
}

/// A user's name, which is also the name of the user's PostgreSQL role. Safe to stand, quoted, in
/// SQL, `pg_hba.conf` and a certificate's common name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct UserName(String);

impl UserName {
    /// Takes `name` if it is one.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        if name == RESERVED_NAME {
            return Err(NameError::Reserved);
        }
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return Err(NameError::Length);
        }
        let special = |c: char| {
            c.is_control()
                || c.is_whitespace()
                || is_unseen(c)
                || matches!(c, '"' | '\'' | '`' | '\\' | ',' | '#')
        };
        if let Some(bad) = name.chars().find(|c| special(*c)) {
            return Err(NameError::Character(bad));
        }
        if let Some(first) = name.chars().next().filter(|c| matches!(c, '+' | '@' | '/')) {
            return Err(NameError::Character(first));
        }
        let folded = name.to_lowercase();
        let prefixed = folded.starts_with("pg_") || folded.starts_with("palisade");
        if prefixed || matches!(folded.as_str(), "public" | "none" | "all" | "replication") {
            return Err(NameError::Taken(name));
        }
        Ok(Self(name))
    }

    /// The name's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Characters that show as nothing or turn the text around them (Unicode, general category Cf): with
/// them two names look the same.
fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

impl std::borrow::Borrow<str> for UserName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl FromStr for UserName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // "The username “>[HAL_9000]<” is reserved by the cluster for internal authentication and
    // cannot be used."
    #[test]
    fn the_clusters_name_is_reserved() {
        assert_eq!(UserName::new(RESERVED_NAME), Err(NameError::Reserved));
    }

    // "The UID may not be 0."
    #[test]
    fn uid_zero_is_refused() {
        assert_eq!(Uid::new(0), Err(NameError::Uid));
        assert_eq!("0".parse::<Uid>(), Err(NameError::Uid));
        assert_eq!("4294967296".parse::<Uid>(), Err(NameError::Uid));
    }

    #[test]
    fn names_that_could_be_read_as_something_else_are_refused() {
        for name in [
            "",
            "a b",
            "a\"b",
            "a,b",
            "a#b",
            "a\\b",
            "a\nb",
            "a'b",
            "+a",
            "@a",
            "/a",
            "pg_read",
            "PG_x",
            "palisade",
            "palisade_owner",
            "public",
            "none",
            "all",
            "replication",
            "root\u{200b}",
            "\u{202e}toor",
            "ro\u{ad}ot",
        ] {
            assert!(UserName::new(name).is_err(), "{name:?}");
        }
        assert!(UserName::new("x".repeat(64)).is_err());
        for name in [
            "alice",
            "Bob",
            "jürgen",
            "a.b-c@d",
            "sameuser",
            "[x]",
            "x".repeat(63).as_str(),
        ] {
            assert!(UserName::new(name).is_ok(), "{name:?}");
        }
    }
}
