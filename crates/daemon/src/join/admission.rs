//! What a member checks before it shows the ledger to somebody who says that he may join.
//!
//! ```text
//!   header --read--> kind of secret --limits--> key in the ledger --verify over this session--> Joiner
//!   entry  --decode--> a node's own joining, of the key that TLS proved, by the secret that was proved
//! ```
//!
//! The ledger verifies the entry itself once more, and for itself: this check only keeps the cluster's
//! users and rights from who has no business to read them.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use palisade_keys::PublicKey;
use palisade_ledger::{
    Author, Change, Millis, Proof, State, StoreConfig, TokenId, decode, session_message,
};
use palisade_link::api::{JoinKind, JoinProof};

use super::attempts::Attempts;

/// Why somebody may not join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoEntry {
    /// Nothing was proved.
    #[error(
        "this node does not know you: a node joins with a token, the cluster secret or the cluster key"
    )]
    Unproved,
    /// What was said can't be read.
    #[error("the proof can't be read")]
    Form,
    /// Too often.
    #[error("too many failed attempts to join from your address; wait a minute")]
    TooMany,
    /// One answer for what is unknown, wrong and revoked: who tries learns nothing.
    #[error("the token or secret is wrong, or no longer good")]
    Wrong,
    /// The token was good, once.
    #[error("the token has expired; ask for a new one (palisade enroll create)")]
    Expired,
    /// The token was claimed.
    #[error("the token was used already; each is good for one node (palisade enroll create)")]
    Used,
    /// One node keeps the ledger.
    #[error(
        "this cluster keeps its ledger on one node, so no other can join; on that node say: palisade store move managed"
    )]
    Embedded,
    /// The node waits.
    #[error("this node waits for approval: a human says palisade enroll approve {0}")]
    Pending(palisade_ledger::NodeId),
    /// A user's, who has no business with others' password verifiers.
    #[error(
        "the ledger holds what every user's password is checked with, so over the network it is shown to users \
         with the privilege system or user_manage alone; your own password and key you may change (palisade user \
         passwd, user key); for the rest ask without --node on a machine that runs a node, or ask one of them"
    )]
    Ledger,
    /// The entry is another.
    #[error("a joining node may append nothing but its own joining")]
    OtherEntry,
}

/// Somebody who proved in his session that he may join.
#[derive(Debug, Clone)]
#[must_use]
pub struct Joiner {
    kind: JoinKind,
    key: PublicKey,
}

/// The door for joiners, with its memory of failures.
#[derive(Debug, Default)]
pub struct Admission {
    attempts: Mutex<Attempts>,
}

/// A joiner's session: what TLS proved, and from where.
#[derive(Debug, Clone, Copy)]
pub struct Session<'a> {
    /// The key that TLS proved.
    pub key: Option<&'a PublicKey>,
    /// The session's exporter.
    pub exporter: &'a [u8; 32],
    /// Where the other end is.
    pub address: IpAddr,
}

impl Admission {
    /// Checks the proof in the header `header` of a request in this session. `now` is of a clock that
    /// only goes forward, `time` the wall clock's.
    pub fn admit(
        &self,
        state: &State,
        header: Option<&str>,
        session: Session<'_>,
        now: Duration,
        time: Millis,
    ) -> Result<Joiner, NoEntry> {
        let (Some(header), Some(key)) = (header, session.key) else {
            return Err(NoEntry::Unproved);
        };
        let proof = JoinProof::from_header(header).ok_or(NoEntry::Form)?;
        let kind = proof.kind().ok_or(NoEntry::Form)?;
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        if !attempts.may_try(now, session.address) {
            return Err(NoEntry::TooMany);
        }
        let message = session_message(state.cluster_key(), session.exporter, key);
        let checked = secret_key(state, &kind, time).and_then(|(secret, fate)| {
            proof
                .verify(&message, &secret)
                .map_err(|_| NoEntry::Wrong)?;
            // Only who has the secret learns what became of it.
            fate
        });
        if let Err(refused) = checked {
            attempts.failed(now, session.address);
            return Err(refused);
        }
        if *state.store() == StoreConfig::Embedded {
            return Err(NoEntry::Embedded);
        }
        Ok(Joiner { kind, key: *key })
    }
}

impl Joiner {
    /// What was proved, for the log.
    #[must_use]
    pub fn kind(&self) -> &JoinKind {
        &self.kind
    }

    /// Checks that an entry is this joiner's own joining.
    pub fn check_entry(&self, bytes: &[u8]) -> Result<(), NoEntry> {
        let entry = decode(bytes).map_err(|_| NoEntry::OtherEntry)?;
        let fits = match (&entry.change, &self.kind) {
            (Change::NodeJoin { node, proof, .. }, kind) => {
                let same = match (proof, kind) {
                    (Proof::Token(id), JoinKind::Token(text)) => id.to_string() == *text,
                    (Proof::Secret, JoinKind::Secret) => true,
                    (Proof::Token(_) | Proof::Secret, _) => false,
                };
                same && node.key == self.key
            }
            (Change::NodeAdd { node }, JoinKind::ClusterKey) => {
                entry.author == Author::Cluster && node.key == self.key
            }
            _ => false,
        };
        if fits {
            Ok(())
        } else {
            Err(NoEntry::OtherEntry)
        }
    }
}

type Secret = (PublicKey, Result<(), NoEntry>);

/// The key that must have signed, and what is to be said once it has.
fn secret_key(state: &State, kind: &JoinKind, time: Millis) -> Result<Secret, NoEntry> {
    match kind {
        JoinKind::ClusterKey => Ok((*state.cluster_key(), Ok(()))),
        JoinKind::Secret => {
            let key = state.join_secret().ok_or(NoEntry::Wrong)?;
            Ok((*key, Ok(())))
        }
        JoinKind::Token(id) => {
            let id: TokenId = id.parse().map_err(|_| NoEntry::Form)?;
            let token = state.token(id).ok_or(NoEntry::Wrong)?;
            let fate = if token.revoked {
                Err(NoEntry::Wrong)
            } else if token.used_by.is_some() {
                Err(NoEntry::Used)
            } else if time > token.expires {
                Err(NoEntry::Expired)
            } else {
                Ok(())
            };
            Ok((token.key, fate))
        }
    }
}
