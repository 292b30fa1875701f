//! Whom a command is told: the node that is meant, as the verified ledger knows it, and no other.
//!
//! ```text
//!   --node HOST:PORT    the member that the ledger has there, which proves its key in TLS
//!   the control socket  the member whose private key lies in the node's directory
//!        |
//!   its challenge names this very node, or nothing is signed
//! ```
//!
//! A member that somebody broke into could otherwise pass on another's challenge, and have a command
//! signed for that one.

use std::path::Path;

use palisade_daemon::layout::Layout;
use palisade_ledger::{Node, State, is_loopback};
use palisade_link::api::{Challenge, Done, SignedCommand};
use palisade_link::client::{Client, ClientError};
use palisade_link::peer::Expect;

use super::link::{Link, Remote};
use crate::cli::common::read_secret_key;
use crate::cli::error::CliError;

/// The node that a command is for, and a way to it.
pub(super) struct Told<'a> {
    link: &'a Link,
    client: Client,
    /// Its id; 0 while the ledger names no node.
    node: u32,
}

impl Link {
    /// The node that is meant by these options, as `state` has it.
    pub(super) fn told(&self, state: &State) -> Result<Told<'_>, CliError> {
        let (client, node) = if let Some(remote) = self.remote() {
            self.wait(proved(remote, state))?
        } else {
            let (client, directory) = self.local();
            (client, living_in(directory, state)?)
        };
        Ok(Told {
            link: self,
            client,
            node,
        })
    }
}

impl Told<'_> {
    /// A challenge of this node's, not of another.
    pub(super) fn challenge(&self) -> Result<Challenge, CliError> {
        let challenge = self.link.wait::<_, ClientError>(self.client.challenge())?;
        if challenge.node == self.node {
            return Ok(challenge);
        }
        Err(CliError::no(format!(
            "node {} is asked, but what it wants signed is a command to node {}; nothing was signed",
            self.node, challenge.node
        ))
        .hint("somebody may have broken into the node that answers"))
    }

    /// Has a command carried out.
    pub(super) fn command(&self, order: &SignedCommand) -> Result<Done, CliError> {
        Ok(self
            .link
            .wait::<_, ClientError>(self.client.command(order))?)
    }
}

/// The member at the address of `--node`, with its key proved.
async fn proved(remote: &Remote, state: &State) -> Result<(Client, u32), CliError> {
    let address = &remote.address;
    if let Some(node) = state.members().find(|node| node.address == *address) {
        let connection = remote.connect(&Expect::Node(node.key)).await;
        let connection = connection.map_err(ClientError::from)?;
        return Ok((Client::https(connection), node.id.get()));
    }
    // Another name or port of a node's: it says itself which it is, and proves it.
    let connection = remote.connect(&Expect::Stranger).await;
    let connection = connection.map_err(ClientError::from)?;
    let key = connection.peer_key();
    let node = key.and_then(|key| state.node_by_key(&key));
    let node = node.filter(|node| !node.pending && is_its_name(node, address.host()));
    let node = node.ok_or_else(|| {
        CliError::no(format!(
            "who answers at {address} is no member of the cluster by that name; nothing was signed"
        ))
        .hint("`palisade node list` shows the members' addresses")
    })?;
    Ok((Client::https(connection), node.id.get()))
}

/// Whether a node may be asked by this name. A loopback name is whoever listens on this machine.
fn is_its_name(node: &Node, host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    node.is_called(host) || node.is_called(bare) || is_loopback(bare)
}

/// The member that lives in a directory. Only there lies its private key: nobody puts another node's
/// in its place.
fn living_in(directory: &Path, state: &State) -> Result<u32, CliError> {
    let mut members = state.members();
    match (members.next(), members.next()) {
        (None, _) => return Ok(0),
        (Some(only), None) => return Ok(only.id.get()),
        (Some(_), Some(_)) => {}
    }
    let path = Layout::new(directory).node_key();
    // While a node takes a new key, that one lies beside the old.
    let next = path.with_added_extension("next");
    let key = read_secret_key(&path);
    let next = read_secret_key(&next);
    let keys = [&key, &next].into_iter().flatten();
    let known = keys
        .filter_map(|key| state.node_by_key(&key.public()))
        .find(|node| !node.pending)
        .map(|node| node.id.get());
    if let Some(id) = known {
        return Ok(id);
    }
    let unknown = CliError::no("can't tell which node this is, so nothing was signed")
        .hint("name the node's directory with --dir, or ask it over HTTPS: --node HOST:PORT");
    Err(match key {
        Ok(_) => unknown,
        Err(error) => unknown.because(&error),
    })
}

#[cfg(test)]
mod tests;
