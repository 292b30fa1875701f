//! A change of one's own, over the network, by who may not read the ledger there.
//!
//! Nothing can be verified then. The node that answers has proved that it is of the cluster; if it lies all the
//! same, what is signed by its word is an entry that says what its signer wants of himself, or nothing.

use palisade_ledger::{Author, Change, Entry, Hash, Head, Millis, Uid, sign};
use palisade_link::client::{Client, ClientError};

use super::{ATTEMPTS, Link};
use crate::cli::clock;
use crate::cli::common::{ClusterArgs, Signer};
use crate::cli::error::CliError;

/// The way to change what is one's own.
pub(crate) struct Myself(Link);

impl Myself {
    /// The way over the network.
    pub(crate) fn open(cluster: &ClusterArgs) -> Result<Self, CliError> {
        Ok(Self(Link::new(cluster)?))
    }

    /// Signs a change of the signer's own, and has the node append it.
    pub(crate) fn append(
        &self,
        signer: &Signer,
        change: impl Fn(Uid) -> Change,
    ) -> Result<(), CliError> {
        for _ in 0..ATTEMPTS {
            let me = self
                .0
                .ask(|client: Client| async move { client.myself().await })?;
            let odd = || CliError::unreachable("what the node says of the ledger can't be read");
            let uid = Uid::new(me.uid).map_err(|_| odd())?;
            let head = Head {
                seq: me.head.seq,
                hash: hash(&me.head.hash).ok_or_else(odd)?,
            };
            let entry = Entry {
                seq: head.seq.saturating_add(1),
                prev: head.hash,
                time: Millis(clock::millis().0.max(me.time)),
                author: Author::User(uid),
                change: change(uid),
            };
            let bytes = sign(&entry, signer.key())
                .map_err(|error| CliError::no("this change can't be written").because(&error))?;
            let append = |client: Client| async move { client.append(bytes).await };
            match self.0.ask(append) {
                Ok(_) => return Ok(()),
                Err(ClientError::Refused(failure)) if failure.stale => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(CliError::no("other changes came in between each time").hint("try again"))
    }
}

fn hash(text: &str) -> Option<Hash> {
    let mut bytes = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(Hash(bytes))
}
