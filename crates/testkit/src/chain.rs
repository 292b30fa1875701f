//! Chain notation: ledgers, forks and signers, drawn as text.
//!
//! ```text
//!   main:       G - +root* - +bob:user_manage - root/+eve:select - bob/!eve
//!   evil @main.2: bob/+mallory:select - bob(root)/-root
//! ```
//!
//! A line is a chain: its name, for a fork ` @CHAIN.N` (it goes on behind entry N of that chain), a
//! colon, and steps with ` - ` between. A step is `AUTHOR/CHANGE`; without an author the cluster key
//! makes it. `AUTHOR(SIGNER)/` claims one author and is signed by another. What is drawn need not be
//! right: nothing is verified here.
//!
//! | change | is |
//! |---|---|
//! | `G`, `G:NAME` | a genesis, of the cluster `main` or NAME |
//! | `+bob`, `+bob*`, `+bob:select,insert` | add a user: with no right, a superuser, with these flags |
//! | `-bob`, `!bob`, `~bob` | remove, disable, enable |
//! | `bob=select`, `bob=*` | set the flags (and superuser off), or make a superuser |
//! | `bob^`, `bob$`, `bob#` | a new key, a new password, no password |
//! | `[bob s.t]=select`, `[bob s.t]` | set, unset an ACL |
//! | `hba{RULE; RULE}` | the rules of the front door |
//! | `days=30` | the setting `server_certificate_days` |
//! | `+@a`, `-@a`, `~@a` | add, remove, approve the node `@a` |
//! | `@a<tok`, `@a<*sec` | the node joins by a token, by a cluster secret: its author is to be `@a` |
//! | `@a^`, `@a:7434` | new keys of the node, another port of its address |
//! | `%tok`, `%tok?`, `-%tok` | a token, one that asks for approval, a token revoked |
//! | `*sec`, `*` | the cluster secret, none |
//! | `store=managed`, `store=embedded` | where the ledger is kept |
//!
//! Keys, times and ids are made from the names and places: the same drawing is the same bytes. A
//! user's uid is the number of his name in the order of first mention, over all chains; a node's id
//! likewise, over the nodes' names. A node's name begins with `@`, also where it is an author: `@a/@a^`.

mod nodes;

use std::collections::BTreeMap;

use palisade_keys::{PublicKey, ScramVerifier, SecretKey, Zeroizing, sha256};
use palisade_ledger::{
    Author, Change, Entry, Hash, Millis, NewUser, NodeId, ObjectName, Privileges, Setting, Uid,
    UserName,
};

/// Time of a chain's genesis: 2023-11-14. Each entry is a second later than the one before.
pub const BEGIN: Millis = Millis(1_700_000_000_000);

/// Why a drawing could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("in `{place}`: {message}")]
pub struct DrawError {
    /// The line or step.
    pub place: String,
    /// What is wrong with it.
    pub message: String,
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "errors and texts, made at the place of the call"
)]
fn wrong(place: &str, message: impl ToString) -> DrawError {
    DrawError {
        place: place.to_owned(),
        message: message.to_string(),
    }
}

/// The key that a name has at first; `generation` counts the new ones. `None` for a seed that the
/// library refuses, which it never does.
#[must_use]
pub fn key(name: &str, generation: u32) -> Option<SecretKey> {
    let seed = sha256(format!("palisade test key {generation} of {name}").as_bytes());
    SecretKey::from_seed(Zeroizing::new(seed)).ok()
}

/// Keys in use at one place of a chain.
#[derive(Clone, Default)]
struct Keys {
    cluster: String,
    generations: BTreeMap<String, u32>,
}

#[derive(Clone)]
struct Drawn {
    bytes: Vec<u8>,
    keys: Keys,
}

/// The chains of a drawing.
#[derive(Default)]
pub struct Chains {
    drawn: BTreeMap<String, Vec<Drawn>>,
    uids: BTreeMap<String, Uid>,
    nodes: BTreeMap<String, NodeId>,
}

impl Chains {
    /// Reads a drawing.
    pub fn draw(text: &str) -> Result<Self, DrawError> {
        let mut drawing = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            drawing.line(line)?;
        }
        Ok(drawing)
    }

    /// The entries of a chain, from the genesis on; nothing if there is no such chain.
    #[must_use]
    pub fn entries(&self, chain: &str) -> Vec<&[u8]> {
        let drawn = self.drawn.get(chain).map(Vec::as_slice);
        let drawn = drawn.unwrap_or_default();
        drawn.iter().map(|entry| entry.bytes.as_slice()).collect()
    }

    /// The uid of a name that the drawing mentions.
    #[must_use]
    pub fn uid(&self, name: &str) -> Option<Uid> {
        self.uids.get(name).copied()
    }

    /// The id of a node, whose name begins with `@`, that the drawing mentions.
    #[must_use]
    pub fn node_id(&self, name: &str) -> Option<NodeId> {
        self.nodes.get(name).copied()
    }

    /// The public key of the cluster that is called `name` in its genesis (`main` for a plain `G`).
    #[must_use]
    pub fn cluster_key(name: &str) -> Option<PublicKey> {
        key(&cluster_name(name), 0).map(|key| key.public())
    }

    fn line(&mut self, line: &str) -> Result<(), DrawError> {
        let (head, steps) = line
            .split_once(": ")
            .ok_or_else(|| wrong(line, "a line reads CHAIN: STEP - STEP"))?;
        let (name, mut chain) = match head.split_once('@') {
            None => (head.trim(), Vec::new()),
            Some((name, from)) => (name.trim(), self.prefix(from.trim())?),
        };
        for step in steps.split(" - ").map(str::trim) {
            let drawn = self.step(&chain, step)?;
            chain.push(drawn);
        }
        if self.drawn.insert(name.to_owned(), chain).is_some() {
            return Err(wrong(line, "there are two chains of this name"));
        }
        Ok(())
    }

    fn prefix(&self, place: &str) -> Result<Vec<Drawn>, DrawError> {
        let (chain, number) = place
            .split_once('.')
            .ok_or_else(|| wrong(place, "a fork begins at CHAIN.NUMBER"))?;
        let number: usize = number.parse().map_err(|error| wrong(place, error))?;
        self.drawn
            .get(chain)
            .and_then(|drawn| drawn.get(..=number))
            .map(<[Drawn]>::to_vec)
            .ok_or_else(|| wrong(place, "there is no such entry"))
    }

    fn step(&mut self, chain: &[Drawn], step: &str) -> Result<Drawn, DrawError> {
        let mut keys = chain.last().map(|last| last.keys.clone());
        let keys = keys.get_or_insert_default();
        let (who, what) = match step.split_once('/') {
            Some((who, what)) if !who.contains(['{', '[']) => (who, what),
            _ => ("", step),
        };
        let (author, signer) = match who.strip_suffix(')').and_then(|who| who.split_once('(')) {
            Some((author, signer)) => (author, signer),
            None => (who, who),
        };
        // The key that signs is the one before the entry; a new key signs from the next one on.
        let before = keys.clone();
        let change = self.change(what, keys)?;
        if let Change::Genesis { cluster, .. } = &change {
            keys.cluster.clone_from(cluster);
        }
        let before = if chain.is_empty() { &*keys } else { &before };
        let author = match author {
            "" => Author::Cluster,
            name if name.starts_with('@') => Author::Node(self.intern_node(name)?),
            name => Author::User(self.intern(name)?),
        };
        let signer = match signer {
            "" => key(&cluster_name(&before.cluster), 0),
            name => key(name, before.generation(name)),
        };
        let signer = signer.ok_or_else(|| wrong(step, "no key"))?;
        let seq = chain.len() as u64;
        let entry = Entry {
            seq,
            prev: chain
                .last()
                .map_or(Hash::ZERO, |last| Hash::of(&last.bytes)),
            time: Millis(BEGIN.0 + seq * 1000),
            author,
            change,
        };
        let bytes = palisade_ledger::sign(&entry, &signer).map_err(|error| wrong(step, error))?;
        let keys = keys.clone();
        Ok(Drawn { bytes, keys })
    }

    fn intern(&mut self, name: &str) -> Result<Uid, DrawError> {
        UserName::new(name).map_err(|error| wrong(name, error))?;
        if let Some(uid) = self.uid(name) {
            return Ok(uid);
        }
        let next = u32::try_from(self.uids.len() + 1).map_err(|error| wrong(name, error))?;
        let uid = Uid::new(next).map_err(|error| wrong(name, error))?;
        self.uids.insert(name.to_owned(), uid);
        Ok(uid)
    }

    fn change(&mut self, text: &str, keys: &mut Keys) -> Result<Change, DrawError> {
        if let Some(change) = self.node_change(text, keys)? {
            return Ok(change);
        }
        let flags = |names: &str| -> Result<Privileges, DrawError> {
            names.parse().map_err(|error| wrong(text, error))
        };
        if text == "G" || text.starts_with("G:") {
            let cluster = text.strip_prefix("G:").unwrap_or("main");
            return genesis(cluster).ok_or_else(|| wrong(text, "no key"));
        }
        if let Some(new) = text.strip_prefix('+') {
            return self.add(new, keys);
        }
        if let Some(name) = text.strip_prefix('-') {
            let uid = self.intern(name)?;
            return Ok(Change::UserRemove { uid });
        }
        for (mark, disabled) in [('!', true), ('~', false)] {
            if let Some(name) = text.strip_prefix(mark) {
                let uid = self.intern(name)?;
                return Ok(Change::UserDisabled { uid, disabled });
            }
        }
        if let Some(rules) = text.strip_prefix("hba{").and_then(|t| t.strip_suffix('}')) {
            let text = rules.replace(';', "\n");
            return Ok(Change::HbaSet { text });
        }
        if let Some(days) = text.strip_prefix("days=") {
            let days = days.parse().map_err(|error| wrong(text, error))?;
            let setting = Setting::ServerCertificateDays(days);
            return Ok(Change::SettingSet { setting });
        }
        if let Some((acl, privileges)) = text.strip_prefix('[').and_then(|t| t.split_once(']')) {
            let (name, object) = acl
                .split_once(' ')
                .ok_or_else(|| wrong(text, "an ACL reads [USER OBJECT]=FLAGS"))?;
            let uid = self.intern(name)?;
            let object: ObjectName = object.parse().map_err(|error| wrong(text, error))?;
            return match privileges.strip_prefix('=') {
                None => Ok(Change::AclUnset { object, uid }),
                Some(names) => Ok(Change::AclSet {
                    object,
                    uid,
                    privileges: flags(names)?,
                }),
            };
        }
        if let Some(name) = text.strip_suffix('^') {
            let uid = self.intern(name)?;
            let generation = keys.generation(name) + 1;
            keys.generations.insert(name.to_owned(), generation);
            let public_key = key(name, generation).ok_or_else(|| wrong(text, "no key"))?;
            let public_key = public_key.public();
            return Ok(Change::UserKey { uid, public_key });
        }
        for (mark, verifier) in [('$', Some(verifier())), ('#', None)] {
            if let Some(name) = text.strip_suffix(mark) {
                let uid = self.intern(name)?;
                let verifier = verifier.flatten();
                return Ok(Change::UserPassword { uid, verifier });
            }
        }
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| wrong(text, "there is no such change"))?;
        let uid = self.intern(name)?;
        let (superuser, default_privileges) = match value {
            "*" => (Some(true), None),
            names => (Some(false), Some(flags(names)?)),
        };
        Ok(Change::UserSet {
            uid,
            superuser,
            default_privileges,
        })
    }

    fn add(&mut self, new: &str, keys: &Keys) -> Result<Change, DrawError> {
        let (name, superuser, privileges) = match (new.strip_suffix('*'), new.split_once(':')) {
            (Some(name), _) => (name, true, Privileges::NONE),
            (None, Some((name, names))) => {
                let flags = names.parse().map_err(|error| wrong(new, error))?;
                (name, false, flags)
            }
            (None, None) => (new, false, Privileges::NONE),
        };
        let public_key = key(name, keys.generation(name)).map(|key| key.public());
        let user = NewUser {
            uid: self.intern(name)?,
            name: UserName::new(name).map_err(|error| wrong(new, error))?,
            disabled: false,
            superuser,
            default_privileges: privileges,
            public_key,
            password: None,
        };
        Ok(Change::UserAdd { user })
    }
}

impl Keys {
    fn generation(&self, name: &str) -> u32 {
        self.generations.get(name).copied().unwrap_or(0)
    }
}

fn cluster_name(name: &str) -> String {
    format!("cluster {name}")
}

fn genesis(cluster: &str) -> Option<Change> {
    Some(Change::Genesis {
        cluster: cluster.to_owned(),
        database: "main".to_owned(),
        key: Chains::cluster_key(cluster)?,
    })
}

/// A verifier that no password fits.
fn verifier() -> Option<ScramVerifier> {
    ScramVerifier::from_parts(4096, vec![7; 16], [8; 32], [9; 32]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_is_the_same_bytes_each_time_and_a_fork_shares_its_beginning() {
        let text = "
            main: G - +root* - root/+bob:select - root^ - root/[bob s.t]=insert
            fork @main.2: root/!bob - hba{hostssl all all all key}
        ";
        let (one, two) = (Chains::draw(text).unwrap(), Chains::draw(text).unwrap());
        assert_eq!(one.entries("main"), two.entries("main"));
        let (main, fork) = (one.entries("main"), one.entries("fork"));
        assert_eq!((main.len(), fork.len()), (5, 5));
        assert_eq!(main.get(..3), fork.get(..3));
        assert_ne!(main.get(3), fork.get(3));
        assert!(one.entries("none").is_empty());
        assert_eq!(one.uid("bob").map(Uid::get), Some(2));
    }

    #[test]
    fn nodes_are_drawn() {
        let text = "
            main: G - +@a - %tok? - @b/@b<tok - ~@b - *sec - @c/@c<*sec - @c/@c^ - @c/@c:7434 - -@a
        ";
        let chains = Chains::draw(text).unwrap();
        let key = Chains::cluster_key("main").unwrap();
        let entries = chains.entries("main");
        let (mut state, _) =
            palisade_ledger::verify_genesis(entries.first().unwrap(), &key).unwrap();
        for entry in entries.iter().skip(1) {
            let verified = palisade_ledger::verify(&state, entry).unwrap();
            state.apply(&verified).unwrap();
        }
        assert_eq!(state.members().count(), 2);
        let c = state.node(chains.node_id("@c").unwrap()).unwrap();
        assert_eq!(c.address.to_string(), "c.example.com:7434");
    }

    #[test]
    fn faults_are_placed() {
        for bad in [
            "main G",
            "main: what",
            "main: G - +bob:fly",
            "x @main.1: G",
            "main: G - +@",
            "main: G - @a:x",
            "main: G - store=lost",
        ] {
            assert!(Chains::draw(bad).is_err(), "{bad}");
        }
    }
}
