//! A node that joined with a token that wants approval: it waits until a human says yes, or no.

use std::time::Duration;

use palisade_ledger::{Node, State, split};
use palisade_link::client::{Client, ClientError};
use palisade_link::https::Connection;
use palisade_link::node::NodeIdentity;
use palisade_link::peer::Expect;

use super::chain::Chain;
use super::client::{ANSWER_WITHIN, WITHIN};
use super::{JoinError, NoEntry};
use crate::files;
use crate::identity::NodeKeys;
use crate::layout::Layout;
use crate::store::Store;

/// How often a node that waits asks whether it was approved.
const LOOK: Duration = Duration::from_secs(2);
/// How often the members must say in a row that they don't know the node, before it believes that it was
/// removed: one that is behind may not know it yet.
const STRIKES: usize = 3;

/// Waits until the node that joined in `layout` is a member: a human may have to approve it. Returns at
/// once for a node that does not wait. A node that was removed meanwhile is told so by the members
/// alone: they show it nothing any more.
pub async fn await_approval(layout: &Layout) -> Result<(), JoinError> {
    let marker = layout.pending();
    if !marker.exists() {
        return Ok(());
    }
    let cluster = files::read_text(&layout.cluster_public_key())?;
    let cluster = cluster.trim().parse().map_err(|_| JoinError::Empty)?;
    let keys = NodeKeys::load_or_create(layout)?;
    let identity = keys.certificate()?;
    let store = Store::open(&layout.private())?;
    let mut chain = Chain::stored(cluster, &store)?;
    let gone = || JoinError::Gone(layout.root().to_owned());
    let (mut told, mut strikes) = (false, 0);
    loop {
        let state = chain.state.as_ref().ok_or(JoinError::Empty)?;
        let node = state.node_by_key(&keys.public()).ok_or_else(gone)?;
        if !node.pending {
            tracing::info!(node = node.id.get(), "this node was approved");
            drop(std::fs::remove_file(&marker));
            return Ok(());
        }
        if !told {
            tracing::info!(
                node = node.id.get(),
                "waiting for approval: palisade enroll approve {}",
                node.id
            );
            told = true;
        }
        let before = chain.entries.len();
        match ask(state, &identity).await {
            Said::Entries(entries) => {
                for bytes in &entries {
                    chain.take(bytes)?;
                }
                store.append(chain.entries.get(before..).unwrap_or_default())?;
                strikes = 0;
            }
            Said::Unknown => strikes += 1,
            Said::Nothing(error) => {
                tracing::debug!(%error, "not approved yet");
                strikes = 0;
            }
        }
        if strikes >= STRIKES {
            return Err(gone());
        }
        if chain.entries.len() == before {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// What the members say.
enum Said {
    /// What this node lacks.
    Entries(Vec<Vec<u8>>),
    /// All who answer, at least half of all, don't know this node.
    Unknown,
    /// Nothing that helps.
    Nothing(JoinError),
}

/// Asks the members, one after the other, for what this node lacks.
async fn ask(state: &State, identity: &NodeIdentity) -> Said {
    let (mut members, mut strangers, mut failed) = (0, 0, JoinError::NoAddress);
    let mut all_unknown = true;
    for node in state.members().filter(|node| node.key != identity.key()) {
        members += 1;
        match entries_from(node, state.head().seq, identity).await {
            Ok(entries) => return Said::Entries(entries),
            Err(error) if is_unknown(&error) => strangers += 1,
            Err(error) => {
                // Who can't be reached says nothing.
                all_unknown &= !matches!(error, JoinError::Client(ClientError::Refused(_)));
                failed = error;
            }
        }
    }
    if all_unknown && strangers > 0 && strangers * 2 >= members {
        return Said::Unknown;
    }
    Said::Nothing(failed)
}

fn is_unknown(error: &JoinError) -> bool {
    match error {
        JoinError::Client(ClientError::Refused(failure)) => {
            failure.error == NoEntry::Unproved.to_string()
        }
        _ => false,
    }
}

async fn entries_from(
    node: &Node,
    head: u64,
    identity: &NodeIdentity,
) -> Result<Vec<Vec<u8>>, JoinError> {
    let address = node.address.to_string();
    let expect = Expect::Node(node.key);
    let connection = Connection::open(&address, &expect, Some(identity.leaf()), WITHIN).await?;
    let client = Client::https(connection.answer_within(ANSWER_WITHIN));
    let page = client.entries(head.saturating_add(1)).await?;
    Ok(split(&page)?.into_iter().map(<[u8]>::to_vec).collect())
}
