//! `users.cfg`: the user list in the QuasarDB user adder's JSON.
//!
//! The file is an input of the ledger, not a second truth. [`UsersCfg::news`] tells what the file
//! says now that it did not say when it was last read; a change that was since made in the ledger
//! (a user disabled, say) stands until the file changes in that very field. What the ledger can't
//! take over (a removed user, a uid under another name) is no news: [`UsersCfg::conflicts`] tells it.

use std::collections::BTreeSet;
use std::fmt;

use palisade_keys::PublicKey;
use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::change::ImportedUser;
use crate::name::{Uid, UserName};
use crate::privileges::Privileges;
use crate::state::State;
use crate::weak::{WEAK_KEY, is_weak};

/// Why a user list was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsersCfgError {
    /// It is not the JSON that it should be.
    #[error("line {line}, column {column}{field}: {message}")]
    Syntax {
        /// One-based line.
        line: usize,
        /// One-based column.
        column: usize,
        /// `, field users[2].uid`, or nothing.
        field: String,
        /// What is wrong there.
        message: String,
    },
    /// Two users share an id.
    #[error("uid {0} stands twice; every user needs a uid of its own")]
    UidTwice(Uid),
    /// Two users share a name.
    #[error("user {0} stands twice")]
    NameTwice(UserName),
    /// Two users share a key.
    #[error("user {0} has the key of another user of the file")]
    KeyTwice(UserName),
    /// All numbers are taken.
    #[error("no uid is left above the highest one")]
    Full,
}

/// One user of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileUser {
    /// The id.
    pub uid: Uid,
    /// The name.
    pub username: UserName,
    /// Not allowed to log in.
    pub disabled: bool,
    /// Has every privilege.
    pub superuser: bool,
    /// Privileges where no ACL names the user.
    pub default_privileges: Privileges,
    /// The key that he logs in with.
    pub public_key: PublicKey,
}

/// Why the ledger can't take over a user of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The user was removed from the cluster; his uid is never given again.
    #[error(
        "user {name} (uid {uid}) was removed from the cluster; to have the user back, give him a new uid in the file"
    )]
    Removed {
        /// The id.
        uid: Uid,
        /// The name in the file.
        name: UserName,
    },
    /// The uid is another user's.
    #[error("user {name}: uid {uid} is user {known}'s; a user's name does not change")]
    UidOf {
        /// The id.
        uid: Uid,
        /// The name in the file.
        name: UserName,
        /// The name in the ledger.
        known: UserName,
    },
    /// The name is another user's.
    #[error("user {name} (uid {uid}) is in the cluster already, with uid {known}")]
    NameOf {
        /// The id in the file.
        uid: Uid,
        /// The name.
        name: UserName,
        /// The id in the ledger.
        known: Uid,
    },
    /// The key has another owner.
    #[error("user {name} (uid {uid}): the key is another user's, a node's or the cluster's")]
    KeyOf {
        /// The id.
        uid: Uid,
        /// The name.
        name: UserName,
    },
}

fn conflict(state: &State, uid: Uid, name: &UserName, key: &PublicKey) -> Option<Conflict> {
    let name = name.clone();
    let owner = state.user_by_key(key);
    match (state.user(uid), state.user_by_name(name.as_str())) {
        _ if state.was_removed(uid) => Some(Conflict::Removed { uid, name }),
        (Some(known), _) if known.name != name => Some(Conflict::UidOf {
            uid,
            name,
            known: known.name.clone(),
        }),
        (None, Some(known)) => Some(Conflict::NameOf {
            uid,
            name,
            known: known.uid,
        }),
        _ if owner.is_some_and(|owner| owner.uid != uid)
            || state.node_by_key(key).is_some()
            || key == state.cluster_key() =>
        {
            Some(Conflict::KeyOf { uid, name })
        }
        _ => None,
    }
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsersCfg {
    users: Vec<FileUser>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadFile {
    users: Vec<Named<ReadUser>>,
}

/// An object. serde takes a list, too, for what has fields: its items for their values, in their order.
struct Named<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Fields<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = Named<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object: { \"name\": value, ... }")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Named<T>, A::Error> {
                T::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(Named)
            }
        }
        d.deserialize_map(Fields(std::marker::PhantomData))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadUser {
    #[serde(deserialize_with = "uid")]
    uid: Uid,
    #[serde(deserialize_with = "name")]
    username: UserName,
    #[serde(deserialize_with = "truth")]
    disabled: bool,
    #[serde(deserialize_with = "truth")]
    superuser: bool,
    #[serde(deserialize_with = "privileges")]
    default_privileges: Privileges,
    #[serde(deserialize_with = "public_key")]
    public_key: PublicKey,
}

#[derive(Serialize)]
struct WriteFile {
    users: Vec<WriteUser>,
}

#[derive(Serialize)]
struct WriteUser {
    uid: u32,
    username: String,
    disabled: &'static str,
    superuser: &'static str,
    default_privileges: u32,
    public_key: String,
}

fn uid<'de, D: Deserializer<'de>>(d: D) -> Result<Uid, D::Error> {
    Uid::new(u32::deserialize(d)?).map_err(D::Error::custom)
}

fn name<'de, D: Deserializer<'de>>(d: D) -> Result<UserName, D::Error> {
    UserName::new(String::deserialize(d)?).map_err(D::Error::custom)
}

fn privileges<'de, D: Deserializer<'de>>(d: D) -> Result<Privileges, D::Error> {
    Privileges::from_bits(u32::deserialize(d)?).map_err(D::Error::custom)
}

fn public_key<'de, D: Deserializer<'de>>(d: D) -> Result<PublicKey, D::Error> {
    let key: PublicKey = String::deserialize(d)?.parse().map_err(D::Error::custom)?;
    if is_weak(&key) {
        return Err(D::Error::custom(WEAK_KEY));
    }
    Ok(key)
}

/// A boolean, or the manual's string `"true"` or `"false"`.
fn truth<'de, D: Deserializer<'de>>(d: D) -> Result<bool, D::Error> {
    struct Truth;
    impl Visitor<'_> for Truth {
        type Value = bool;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("true or false, as a string or not")
        }

        fn visit_bool<E>(self, value: bool) -> Result<bool, E> {
            Ok(value)
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<bool, E> {
            match text {
                "true" => Ok(true),
                "false" => Ok(false),
                _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
            }
        }
    }
    d.deserialize_any(Truth)
}

impl UsersCfg {
    /// Reads the file's text.
    pub fn parse(text: &str) -> Result<Self, UsersCfgError> {
        let mut json = serde_json::Deserializer::from_str(text);
        let Named(read): Named<ReadFile> =
            serde_path_to_error::deserialize(&mut json).map_err(|error| {
                let path = error.path().to_string();
                syntax(error.inner(), &path)
            })?;
        json.end().map_err(|error| syntax(&error, "."))?;
        let users = read
            .users
            .into_iter()
            .map(|Named(user)| FileUser::from(user));
        let users: Vec<FileUser> = users.collect();
        let (mut uids, mut names, mut keys) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for user in &users {
            if !uids.insert(user.uid) {
                return Err(UsersCfgError::UidTwice(user.uid));
            }
            if !names.insert(&user.username) {
                return Err(UsersCfgError::NameTwice(user.username.clone()));
            }
            if !keys.insert(user.public_key) {
                return Err(UsersCfgError::KeyTwice(user.username.clone()));
            }
        }
        Ok(Self { users })
    }

    /// The file's text, in the manual's form.
    #[must_use]
    pub fn text(&self) -> String {
        let truth = |value| if value { "true" } else { "false" };
        let users = self.users.iter().map(|user| WriteUser {
            uid: user.uid.get(),
            username: user.username.to_string(),
            disabled: truth(user.disabled),
            superuser: truth(user.superuser),
            default_privileges: user.default_privileges.bits(),
            public_key: user.public_key.to_string(),
        });
        let file = WriteFile {
            users: users.collect(),
        };
        let mut out = Vec::new();
        let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        let mut json = serde_json::Serializer::with_formatter(&mut out, indent);
        // Numbers and strings into memory: nothing here can fail.
        let written = file.serialize(&mut json).is_ok();
        debug_assert!(written);
        out.push(b'\n');
        String::from_utf8(out).unwrap_or_default()
    }

    /// The users, in the file's order.
    #[must_use]
    pub fn users(&self) -> &[FileUser] {
        &self.users
    }

    /// The uid for a user added without one: the one above the highest, or, once somebody took the highest that
    /// there is, the lowest free one.
    pub fn next_uid(&self) -> Result<Uid, UsersCfgError> {
        let used: BTreeSet<u32> = self.users.iter().map(|user| user.uid.get()).collect();
        let highest = used.last().copied().unwrap_or(0);
        highest
            .checked_add(1)
            .or_else(|| (1..highest).find(|number| !used.contains(number)))
            .and_then(|next| Uid::new(next).ok())
            .ok_or(UsersCfgError::Full)
    }

    /// Adds a user whose uid and name are not there yet.
    pub fn add(&mut self, user: FileUser) -> Result<(), UsersCfgError> {
        for known in &self.users {
            if known.uid == user.uid {
                return Err(UsersCfgError::UidTwice(user.uid));
            }
            if known.username == user.username {
                return Err(UsersCfgError::NameTwice(user.username));
            }
        }
        self.users.push(user);
        Ok(())
    }

    /// What the file says that it did not say when the ledger last took it in.
    #[must_use]
    pub fn news(&self, state: &State) -> Vec<ImportedUser> {
        self.users
            .iter()
            .map(FileUser::imported)
            .filter(|user| state.imported(user.uid) != Some(user))
            .filter(|user| conflict(state, user.uid, &user.name, &user.public_key).is_none())
            .collect()
    }

    /// What the file says that can't be taken over: to be shown to the operator.
    #[must_use]
    pub fn conflicts(&self, state: &State) -> Vec<Conflict> {
        self.users
            .iter()
            .filter_map(|user| conflict(state, user.uid, &user.username, &user.public_key))
            .collect()
    }

    /// Users of the ledger that the file does not name.
    #[must_use]
    pub fn missing<'a>(&self, state: &'a State) -> Vec<&'a UserName> {
        let named: BTreeSet<Uid> = self.users.iter().map(|user| user.uid).collect();
        state
            .users()
            .filter(|user| !named.contains(&user.uid))
            .map(|user| &user.name)
            .collect()
    }
}

impl FileUser {
    fn imported(&self) -> ImportedUser {
        ImportedUser {
            uid: self.uid,
            name: self.username.clone(),
            disabled: self.disabled,
            superuser: self.superuser,
            default_privileges: self.default_privileges,
            public_key: self.public_key,
        }
    }
}

impl From<ReadUser> for FileUser {
    fn from(user: ReadUser) -> Self {
        Self {
            uid: user.uid,
            username: user.username,
            disabled: user.disabled,
            superuser: user.superuser,
            default_privileges: user.default_privileges,
            public_key: user.public_key,
        }
    }
}

fn syntax(error: &serde_json::Error, path: &str) -> UsersCfgError {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    UsersCfgError::Syntax {
        line: error.line(),
        column: error.column(),
        field: match path {
            "." | "?" => String::new(),
            path => format!(", field {path}"),
        },
        message: text.strip_suffix(&place).unwrap_or(&text).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the QuasarDB user adder's manual.
    const MANUAL: &str = r#"{
    "users": [
        {
            "uid": 1,
            "username": "root",
            "disabled": "false",
            "superuser": "true",
            "default_privileges": 0,
            "public_key": "PoCzwwX8Gdq7Mzz/RG6rH6vRhX84/RupFvVOjXauOEBM="
        },
        {
            "uid": 10,
            "username": "quant",
            "disabled": "false",
            "superuser": "false",
            "default_privileges": 30,
            "public_key": "Pr0vI41GyHTjJX5ufc+ga0KDdzEfd5OZ6J6F5V42AHj4="
        },
        {
            "uid": 20,
            "username": "pnl",
            "disabled": "false",
            "superuser": "false",
            "default_privileges": 2,
            "public_key": "PIsIvNyuiaNCQspxpz6LCDdUpP3AbKlFa3iOsj1QKgBQ="
        }
    ]
}
"#;

    #[test]
    fn the_manuals_example_round_trips_to_the_byte() {
        let file = UsersCfg::parse(MANUAL).unwrap();
        assert_eq!(file.users().len(), 3);
        assert_eq!(file.text(), MANUAL);
        assert_eq!(file.next_uid().unwrap().get(), 21);
    }

    #[test]
    fn booleans_are_read_in_both_forms_and_no_other() {
        let file = |value: &str| UsersCfg::parse(&MANUAL.replacen("\"false\"", value, 1));
        assert_eq!(file("false"), file("\"false\""));
        assert!(file("true").unwrap().users()[0].disabled);
        for bad in ["\"yes\"", "0", "null", "\"False\""] {
            assert!(file(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn faults_are_placed() {
        let cases = [
            (
                "\"uid\": 10",
                "\"uid\": 0",
                "line 12, column 20, field users[1].uid: ",
            ),
            (
                "\"uid\": 10",
                "\"uid\": \"x\"",
                "line 12, column 22, field users[1].uid: ",
            ),
            (
                "\"quant\"",
                "\">[HAL_9000]<\"",
                "line 13, column 38, field users[1].username: ",
            ),
            (": 30", ": 65536", "line 16, column "),
            (
                "\"superuser\"",
                "\"supreuser\"",
                "line 7, column 23, field users[0].supreuser: ",
            ),
            ("]\n}", "]\n", "line 29, column 0: EOF"),
        ];
        for (good, bad, place) in cases {
            let error = UsersCfg::parse(&MANUAL.replacen(good, bad, 1))
                .unwrap_err()
                .to_string();
            assert!(error.starts_with(place), "{bad}: {error}");
        }
    }

    #[test]
    fn doubles_are_refused() {
        let error = UsersCfg::parse(&MANUAL.replace("\"uid\": 10", "\"uid\": 20"));
        assert_eq!(error, Err(UsersCfgError::UidTwice(Uid::new(20).unwrap())));
        let error = UsersCfg::parse(&MANUAL.replace("quant", "pnl")).unwrap_err();
        assert!(matches!(error, UsersCfgError::NameTwice(_)));
    }
}
