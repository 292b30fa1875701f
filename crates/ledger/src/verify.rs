//! Verification: the one way from bytes to a change of the state.

use palisade_keys::PublicKey;

use crate::address::NodeAddress;
use crate::authority::{self, Need};
use crate::change::Change;
use crate::codec::{self, DecodeError};
use crate::entry::{Author, Entry, Hash, Head, Millis};
use crate::guard::{Guard, lockout};
use crate::join::{Proof, TokenId};
use crate::limits;
use crate::name::{Uid, UserName};
use crate::node::NodeId;
use crate::object::ObjectName;
use crate::privileges::Privileges;
use crate::sense;
use crate::state::State;

/// An entry that passed every check, with the bytes that were signed. [`verify`] alone makes one;
/// it can be applied to the very state that it was verified against.
#[must_use]
#[derive(Debug)]
pub struct Verified {
    entry: Entry,
    bytes: Vec<u8>,
    hash: Hash,
}

impl Verified {
    /// The entry.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The signed bytes: what is stored.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether its time lies further ahead of `now` than [`limits::MAX_AHEAD_MILLIS`]. A store that
    /// takes in a new entry refuses it then; one that reads an old entry back does not ask.
    #[must_use]
    pub fn is_ahead_of(&self, now: Millis) -> bool {
        self.entry.time.0 > now.0.saturating_add(limits::MAX_AHEAD_MILLIS)
    }

    /// Refuses it if it joins a node by a token of `state` (the one that it was verified against) that
    /// is expired by the clock that says `now`. The joining node itself wrote the entry's time: a store
    /// that takes in a new entry asks this; one that reads an old entry back does not.
    pub fn check_clock(&self, state: &State, now: Millis) -> Result<(), Refusal> {
        let Change::NodeJoin {
            proof: Proof::Token(id),
            ..
        } = &self.entry.change
        else {
            return Ok(());
        };
        match state.token(*id) {
            Some(token) if token.expires < now => Err(Refusal::TokenExpired {
                token: *id,
                expires: token.expires,
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// Refuses it if it has no effect on `state` (the one that it was verified against): it moves the
    /// ledger and its author is no superuser, or it leaves several nodes with a ledger each, or none of
    /// them with a CA that signs. A store that takes in a new entry asks this; one that reads an old
    /// entry back does not.
    pub fn check_effect(&self, state: &State) -> Result<(), Refusal> {
        authority::without_effect(state, &self.entry).map_or(Ok(()), Err)
    }

    /// Refuses it if a user or node says of itself what `state` says already, or a second node comes to
    /// a ledger that the first one keeps by itself. A store that takes in a new entry asks this; one
    /// that reads an old entry back does not.
    pub fn check_news(&self, state: &State) -> Result<(), Refusal> {
        sense::check_news(state, &self.entry)
    }

    /// The head of the chain that ends with this entry.
    #[must_use]
    pub fn head(&self) -> Head {
        Head {
            seq: self.entry.seq,
            hash: self.hash,
        }
    }
}

/// Why an entry is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes are no entry.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It does not come next. Whoever made it read an older head: read again and sign again.
    #[error(
        "entry {seq} does not follow the ledger's head, entry {head}; read the head and sign again"
    )]
    NotNext {
        /// The number that it claims.
        seq: u64,
        /// The head's number.
        head: u64,
    },
    /// It has the right number, but another entry before it: a fork.
    #[error("entry {seq} continues another chain: the entry before it has another hash")]
    OtherChain {
        /// The number that it claims.
        seq: u64,
    },
    /// Its time lies before the ledger's: whoever signs takes the later of his clock and
    /// [`State::time`]. (The cluster key may go back, to heal a ledger whose time ran ahead.)
    #[error("its time, {time}, lies before the ledger's, {last}")]
    Time {
        /// Its time.
        time: Millis,
        /// The ledger's.
        last: Millis,
    },
    /// Its author is no user.
    #[error("its author, uid {0}, is not a user")]
    UnknownAuthor(Uid),
    /// Its author has no key.
    #[error("its author, user {0}, has no key to sign with")]
    NoKey(UserName),
    /// Its author may not log in, and so may not sign.
    #[error("its author, user {0}, is disabled or denied")]
    AuthorShutOut(UserName),
    /// The signature is not the author's.
    #[error("its signature is not that of {0}")]
    Signature(Author),
    /// The author lacks what the change needs.
    #[error("user {author} may not make this change: it needs {need}")]
    Missing {
        /// Who tried.
        author: UserName,
        /// What was missing.
        need: Need,
    },
    /// The author would give or take more than he holds.
    #[error("user {author} may not manage a user with {excess}, which {author} does not have")]
    Exceeds {
        /// Who tried.
        author: UserName,
        /// The flags beyond his own.
        excess: Privileges,
    },
    /// Superusers are managed by superusers.
    #[error("user {0} may not manage a superuser: only a superuser may")]
    SuperuserNeeded(UserName),
    /// `trust` lets anybody in as anybody.
    #[error(
        "user {0} may not set rules with the method trust, by which anybody logs in as anybody: only a superuser may"
    )]
    Trust(UserName),
    /// Who chooses where the ledger is kept decides what gets into it.
    #[error(
        "user {0} may not move the ledger, for who says where it is kept could keep every change from it: \
         only a superuser may"
    )]
    Store(UserName),
    /// Each node would have a ledger of its own.
    #[error(
        "{0} nodes share the ledger, those included that wait for approval: it can lie on one node alone when \
         the others were removed"
    )]
    Shared(usize),
    /// The first node keeps the ledger by itself.
    #[error(
        "this cluster keeps its ledger on one node, and a second one could not read it: palisade store move \
         managed, then try again"
    )]
    NotShared,
    /// Its author is no node.
    #[error("its author, node {0}, is not a node of the cluster")]
    UnknownNode(NodeId),
    /// Its author waits for approval.
    #[error("its author, node {0}, waits for approval: palisade enroll approve")]
    NodePending(NodeId),
    /// A node may do little on its own authority.
    #[error("node {node} may not make this change: it needs {need}")]
    NodeMissing {
        /// Which node tried.
        node: NodeId,
        /// What was missing.
        need: Need,
    },
    /// A node can't name itself anew.
    #[error(
        "node {node} may not take the name {host} by itself, since certificates would say it: \
         somebody with the privilege system may give it"
    )]
    NewName {
        /// Which node tried.
        node: NodeId,
        /// The name.
        host: String,
    },
    /// Whoever joins signs for himself.
    #[error("a node that joins signs the entry itself; to vouch for a node, add it")]
    Joining,
    /// It would lock everybody out.
    #[error("refused: {0}")]
    Guard(Guard),
    /// A second genesis, or a first entry that is none.
    #[error("a genesis is the first entry, and the first entry alone")]
    Genesis,
    /// The uid is in use, or was.
    #[error("uid {0} is in use or was used before; uids are never given twice")]
    UidTaken(Uid),
    /// The name is in use.
    #[error("there is already a user {0}")]
    NameTaken(UserName),
    /// No such user.
    #[error("there is no user with uid {0}")]
    NoUser(Uid),
    /// There is no such list to unset.
    #[error("no ACL on {0} names that user")]
    NoAcl(ObjectName),
    /// The flags don't act on objects.
    #[error("{0} can't stand in an ACL: an ACL holds {objects}", objects = Privileges::ON_OBJECTS)]
    NotOnObjects(Privileges),
    /// The rules can't be read.
    #[error("the rules are refused: {0}")]
    Hba(String),
    /// A value is out of its bounds.
    #[error("{what} must have {bounds}")]
    Bounds {
        /// What.
        what: &'static str,
        /// Its bounds.
        bounds: String,
    },
    /// No such node.
    #[error("there is no node {0}")]
    NoNode(NodeId),
    /// The id is not the one that comes next.
    #[error("the next node is node {next}, not node {id}; read the ledger's head and sign again")]
    NodeIdNotNext {
        /// The id that it claims.
        id: NodeId,
        /// The id that the cluster gives next.
        next: NodeId,
    },
    /// A key says who somebody is: it has one owner.
    #[error("the key {0} is already somebody's: the cluster's, a user's or a node's")]
    KeyTaken(PublicKey),
    /// Two nodes can't listen at one address.
    #[error("node {node} has the address {address} already")]
    AddressTaken {
        /// The address.
        address: NodeAddress,
        /// Whose it is.
        node: NodeId,
    },
    /// A joining node claims another node's name.
    #[error(
        "{host} is a name of node {node}, and a node that joins can't claim it: \
         an operator can add the node, or take the name from the other one"
    )]
    HostTaken {
        /// The name or IP address.
        host: String,
        /// Whose it is.
        node: NodeId,
    },
    /// No such token, or no longer.
    #[error("there is no token {0}; it may have expired long ago")]
    NoToken(TokenId),
    /// The id is in use.
    #[error("there is already a token {0}")]
    TokenTaken(TokenId),
    /// A token is good once.
    #[error("token {token} was used by node {node}; a token is good once")]
    TokenUsed {
        /// Which.
        token: TokenId,
        /// The node that joined by it.
        node: NodeId,
    },
    /// Somebody took it back.
    #[error("token {0} was revoked")]
    TokenRevoked(TokenId),
    /// It is too late.
    #[error("token {token} expired at {expires}")]
    TokenExpired {
        /// Which.
        token: TokenId,
        /// The last moment that it was good for.
        expires: Millis,
    },
    /// There is no cluster secret.
    #[error("nobody may join this cluster by a secret: none is set")]
    NoSecret,
    /// The secret was not proved, or for another node.
    #[error(
        "the proof of the secret does not hold for this node: it is of another secret, node, address or cluster"
    )]
    Proof,
    /// The new key's owner did not agree.
    #[error("the new key did not sign its own introduction")]
    NewKeySignature,
    /// What was removed may be in a thief's hands.
    #[error("this CA was removed, and never comes back; make a new one")]
    CaRemoved,
    /// The serial number was given before.
    #[error("a certificate with this serial number was issued or revoked already")]
    SerialTaken,
    /// No such alert.
    #[error("there is no alert {0}")]
    NoAlert(String),
    /// The name is in use.
    #[error("there is already an alert {0}")]
    AlertTaken(String),
    /// A text is not what it should be.
    #[error("{what} {wrong}")]
    Text {
        /// What.
        what: &'static str,
        /// What is wrong with it.
        wrong: String,
    },
    /// Nothing would change.
    #[error("nothing would change: {0}")]
    Nothing(&'static str),
}

/// Decodes an entry without verifying anything but its form. For tools that show entries.
pub fn decode(bytes: &[u8]) -> Result<Entry, DecodeError> {
    codec::open(bytes).map(|envelope| envelope.entry)
}

/// Verifies a chain's first entry: a genesis, signed by the cluster key `expected`, which it names.
/// Gives the state that it begins.
pub fn verify_genesis(bytes: &[u8], expected: &PublicKey) -> Result<(State, Verified), Refusal> {
    let envelope = codec::open(bytes)?;
    let entry = &envelope.entry;
    let Change::Genesis {
        cluster,
        database,
        key,
    } = &entry.change
    else {
        return Err(Refusal::Genesis);
    };
    if entry.seq != 0 || entry.prev != Hash::ZERO || entry.author != Author::Cluster {
        return Err(Refusal::Genesis);
    }
    let signed = expected.verify(&envelope.to_be_signed(), &envelope.signature);
    if key != expected || signed.is_err() {
        return Err(Refusal::Signature(Author::Cluster));
    }
    sense::bound("a cluster's name", cluster.len(), limits::MAX_TEXT_BYTES)?;
    sense::plain("a cluster's name", cluster)?;
    sense::bound(
        "a database's name",
        database.len(),
        limits::MAX_IDENTIFIER_BYTES,
    )?;
    sense::plain("a database's name", database)?;
    check_time(entry.time)?;
    let verified = seal(bytes, envelope.entry.clone());
    let mut state = State::begin(cluster.clone(), database.clone(), *key, verified.head());
    state.time = entry.time;
    Ok((state, verified))
}

/// Verifies one entry against the state just before it: form, chain, signature, authority, sense
/// and guards.
pub fn verify(state: &State, bytes: &[u8]) -> Result<Verified, Refusal> {
    let envelope = codec::open(bytes)?;
    let entry = &envelope.entry;
    check_chain(state, entry)?;
    let key = author_key(state, entry)?;
    key.verify(&envelope.to_be_signed(), &envelope.signature)
        .map_err(|_| Refusal::Signature(entry.author))?;
    authority::check(state, entry.author, &entry.change)?;
    sense::check(state, entry)?;
    if entry.author != Author::Cluster
        && let Some(guard) = lockout(state, &entry.change)
    {
        return Err(Refusal::Guard(guard));
    }
    Ok(seal(bytes, envelope.entry))
}

fn seal(bytes: &[u8], entry: Entry) -> Verified {
    Verified {
        entry,
        bytes: bytes.to_vec(),
        hash: Hash::of(bytes),
    }
}

fn check_chain(state: &State, entry: &Entry) -> Result<(), Refusal> {
    let head = state.head();
    if Some(entry.seq) != head.seq.checked_add(1) {
        return Err(Refusal::NotNext {
            seq: entry.seq,
            head: head.seq,
        });
    }
    if entry.prev != head.hash {
        return Err(Refusal::OtherChain { seq: entry.seq });
    }
    check_time(entry.time)?;
    if entry.time < state.time() && entry.author != Author::Cluster {
        return Err(Refusal::Time {
            time: entry.time,
            last: state.time(),
        });
    }
    Ok(())
}

fn author_key(state: &State, entry: &Entry) -> Result<PublicKey, Refusal> {
    match entry.author {
        Author::Cluster => Ok(*state.cluster_key()),
        Author::User(uid) => {
            let user = state.user(uid).ok_or(Refusal::UnknownAuthor(uid))?;
            user.public_key
                .ok_or_else(|| Refusal::NoKey(user.name.clone()))
        }
        Author::Node(id) => match (state.node(id), &entry.change) {
            (Some(node), _) => Ok(node.key),
            // Not yet a node: it brings its key along, and proves that it has it.
            (None, Change::NodeJoin { node, .. }) if node.id == id => Ok(node.key),
            (None, _) => Err(Refusal::UnknownNode(id)),
        },
    }
}

fn check_time(time: Millis) -> Result<(), Refusal> {
    if time.0 <= limits::MAX_TIME_MILLIS {
        return Ok(());
    }
    Err(Refusal::Bounds {
        what: "a time",
        bounds: "a year up to 9999".to_owned(),
    })
}
