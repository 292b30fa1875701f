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

/// Characters that show as nothing or turn the text around them: with them two names look the same.
/// They are Unicode's `Default_Ignorable_Code_Point`, and those that look blank. The list stands here
/// so that it is the same in every version: whether an entry is one depends on it.
fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            // Blank in braille.
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}'
            // Around notes between the lines.
            | '\u{fff9}'..='\u{fffb}'
            // How hieroglyphs are joined.
            | '\u{13430}'..='\u{13440}'
            // Fills a place among Khitan letters.
            | '\u{16fe4}'
            | '\u{1bca0}'..='\u{1bca3}'
            // A note's head that is none, and where beams and slurs begin and end.
            | '\u{1d159}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
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
            // Of no category that says so, and unseen all the same.
            "root\u{115f}",
            "root\u{1160}",
            "root\u{3164}",
            "root\u{ffa0}",
            "root\u{2800}",
            "root\u{34f}",
            "root\u{17b4}",
            "root\u{17b5}",
            "root\u{180b}",
            "root\u{180f}",
            "root\u{fe00}",
            "root\u{fe0f}",
            "root\u{fff0}",
            "root\u{16fe4}",
            "root\u{1bca0}",
            "root\u{1d159}",
            "root\u{1d173}",
            "root\u{13430}",
            "root\u{e0100}",
            "root\u{e01ef}",
            "root\u{e0fff}",
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
