//! The fifteen privilege flags, with the numbers and meanings of the QuasarDB user adder.

use std::fmt;
use std::ops::{BitAnd, BitOr};
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Why a set of privileges was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrivilegeError {
    /// A number with bits that have no meaning.
    #[error("{0} has flags that do not exist; the flags add up to at most {max}", max = Privileges::ALL.bits() | Privileges::DENIED.bits())]
    UnknownBits(u32),
    /// A word that names no flag.
    #[error("there is no privilege `{0}`; the privileges are: denied, {all}", all = Privileges::ALL)]
    UnknownName(String),
}

/// A set of privilege flags.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Privileges(u32);

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $bit:literal, $text:literal;)*) => {
        impl Privileges {
            $($(#[$doc])* pub const $name: Self = Self($bit);)*
        }
        /// Each flag with its name, in the order of the bits.
        const FLAGS: &[(Privileges, &str)] = &[$((Privileges($bit), $text)),*];
    };
}

flags! {
    /// The absence of privileges. When this flag is present, all others are ignored.
    DENIED = 1, "denied";
    /// The right to read information from an object.
    SELECT = 2, "select";
    /// The right to insert (add additional) information into an object.
    INSERT = 4, "insert";
    /// The right to update existing values of an object.
    UPDATE = 8, "update";
    /// The right to delete values inside an object.
    DELETE = 16, "delete";
    /// The right to create or modify indexes of tables.
    INDEX = 32, "index";
    /// The right to alter the properties of an object.
    ALTER = 64, "alter";
    /// The right to create an object.
    CREATE = 128, "create";
    /// The right to delete an object.
    DROP = 256, "drop";
    /// The right to manage rights of an object.
    GRANT = 512, "grant";
    /// The right to manage users inside the system.
    USER_MANAGE = 1024, "user_manage";
    /// The right to execute cluster-wide commands.
    SYSTEM = 2048, "system";
    /// The right to modify access control to entries.
    SET_ACL = 4096, "set_acl";
    /// The right to read access control lists of entries.
    GET_ACL = 8192, "get_acl";
    /// The right to commit or roll back a transaction.
    SET_TRANSACTION = 16384, "set_transaction";
}

impl Privileges {
    /// No flag at all.
    pub const NONE: Self = Self(0);
    /// Every flag but `denied`: what a superuser has.
    pub const ALL: Self = Self(0x7ffe);
    /// The flags that act on one object, and so may stand in an ACL.
    pub const ON_OBJECTS: Self = Self(
        Self::DENIED.0
            | Self::SELECT.0
            | Self::INSERT.0
            | Self::UPDATE.0
            | Self::DELETE.0
            | Self::INDEX.0
            | Self::ALTER.0
            | Self::CREATE.0
            | Self::DROP.0
            | Self::GRANT.0
            | Self::SET_ACL.0
            | Self::GET_ACL.0,
    );

    /// The flags of a number, as it stands in `users.cfg`.
    pub fn from_bits(bits: u32) -> Result<Self, PrivilegeError> {
        if bits & !(Self::ALL.0 | Self::DENIED.0) == 0 {
            Ok(Self(bits))
        } else {
            Err(PrivilegeError::UnknownBits(bits))
        }
    }

    /// The number: the sum of the flags.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.0
    }

    /// Whether every flag of `other` is in this set.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether no flag is set.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The flags of this set that `other` lacks.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What these flags allow: nothing at all if `denied` is among them.
    #[must_use]
    pub fn in_force(self) -> Self {
        if self.contains(Self::DENIED) {
            Self::NONE
        } else {
            self
        }
    }

    /// The single flags of this set, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Self> {
        FLAGS
            .iter()
            .map(|(flag, _)| *flag)
            .filter(move |flag| self.contains(*flag))
    }

    /// The names of the flags of this set, in the order of their numbers.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        FLAGS
            .iter()
            .filter(move |(flag, _)| self.contains(*flag))
            .map(|(_, name)| *name)
    }
}

impl BitOr for Privileges {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Privileges {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// `select,insert`, or `none`.
impl fmt::Display for Privileges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        for (index, name) in self.names().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{name}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Privileges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A number, or names separated by commas; `none` and `all` are names too.
impl FromStr for Privileges {
    type Err = PrivilegeError;

    fn from_str(text: &str) -> Result<Self, PrivilegeError> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let bits = text
                .parse()
                .map_err(|_| PrivilegeError::UnknownBits(u32::MAX))?;
            return Self::from_bits(bits);
        }
        text.split(',').try_fold(Self::NONE, |set, word| {
            let word = word.trim();
            let flag = match word {
                "none" => Self::NONE,
                "all" => Self::ALL,
                _ => FLAGS
                    .iter()
                    .find(|(_, name)| *name == word)
                    .map(|(flag, _)| *flag)
                    .ok_or_else(|| PrivilegeError::UnknownName(word.to_owned()))?,
            };
            Ok(set | flag)
        })
    }
}

impl Serialize for Privileges {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // "The available privileges flags for users are" (QuasarDB user adder).
    #[test]
    fn numbers_are_the_manuals() {
        let manual = [
            ("denied", 1),
            ("select", 2),
            ("insert", 4),
            ("update", 8),
            ("delete", 16),
            ("index", 32),
            ("alter", 64),
            ("create", 128),
            ("drop", 256),
            ("grant", 512),
            ("user_manage", 1024),
            ("system", 2048),
            ("set_acl", 4096),
            ("get_acl", 8192),
            ("set_transaction", 16384),
        ];
        assert_eq!(FLAGS.len(), manual.len());
        for (name, bits) in manual {
            assert_eq!(name.parse::<Privileges>().unwrap().bits(), bits);
            assert_eq!(Privileges::from_bits(bits).unwrap().to_string(), name);
        }
    }

    // "the default_privileges values should thus be 16390 (2 + 4 + 16384)"
    #[test]
    fn the_manuals_sum() {
        let set: Privileges = "select,insert,set_transaction".parse().unwrap();
        assert_eq!(set.bits(), 16390);
        assert_eq!("16390".parse(), Ok(set));
        assert_eq!(set.to_string(), "select,insert,set_transaction");
    }

    #[test]
    fn unknown_flags_are_refused() {
        assert!("32768".parse::<Privileges>().is_err());
        assert!("99999999999".parse::<Privileges>().is_err());
        assert!("select,fly".parse::<Privileges>().is_err());
        assert!("".parse::<Privileges>().is_err());
        assert!("-1".parse::<Privileges>().is_err());
    }

    // "When this flag is present, all other privileges will be ignored."
    #[test]
    fn denied_wins() {
        let set = Privileges::SELECT | Privileges::DENIED;
        assert_eq!(set.in_force(), Privileges::NONE);
        assert_eq!(Privileges::SELECT.in_force(), Privileges::SELECT);
    }
}
