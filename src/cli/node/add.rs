//! `palisade node add`: an operator makes a machine a node that waits for it.

use std::time::Duration;

use clap::Args;
use palisade_keys::{Fingerprint, PublicKey};
use palisade_ledger::{Change, NewNode, NodeAddress, NodeId, State, StoreAddress};
use palisade_link::api::{Identity, NodeLine};
use palisade_link::client::{Client, ClientError};
use palisade_link::https::Connection;
use palisade_link::peer::Expect;

use crate::cli::common::ClusterArgs;
use crate::cli::error::{CliError, Outcome};
use crate::cli::exit::Exit;
use crate::cli::node::show_names;
use crate::cli::out;
use crate::cli::trust::{self, Vouched};
use crate::cli::view::{View, runtime};

/// How long the other machine may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Make a machine a node of the cluster that was prepared by `palisade init --secret` and runs there.
///
/// Its key is read over the network, once: compare the fingerprint that is shown with what `palisade
/// init` and `palisade status` show on that machine, or give it with --fingerprint. From then on the
/// key is pinned in the ledger. Needs the privilege system.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade node add db2.example:7433 --as root.credentials
  palisade node add db2.example:7433 --fingerprint SHA256:pV5... --as root.credentials")]
pub(super) struct AddArgs {
    /// Where its API answers
    #[arg(value_name = "HOST:PORT")]
    address: NodeAddress,

    /// What its fingerprint must be
    #[arg(long, value_parser = trust::fingerprint)]
    fingerprint: Option<Fingerprint>,

    /// Believe the fingerprint that is shown at this terminal; don't ask
    #[arg(long)]
    yes: bool,

    /// Seconds to wait until it is seen alive; 0 doesn't wait, nor is it waited for where no daemon is asked
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u16,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Runs it.
pub(super) fn run(args: &AddArgs) -> Outcome {
    let signer = args.cluster.signer()?;
    let mut view = View::open(&args.cluster)?;
    view.author(&signer)?;
    let (key, identity) = stranger(&args.address)?;
    let node = new_node(&args.address, key, &identity)?;
    refuse(view.state(), &node, &identity)?;
    if node.address.to_string() != identity.address {
        out::note(&format!(
            "note: the machine calls itself {}; the cluster will call it {}",
            identity.address, node.address
        ));
    }
    show_names(&node.address, &node.hosts, node.store.as_ref());
    let vouched = Vouched {
        fingerprint: args.fingerprint,
        yes: args.yes,
    };
    trust::believe(
        &format!("the node at {}", args.address),
        key.fingerprint(),
        "Make it a node of the cluster?",
        vouched,
    )?;
    let mut id = NodeId::FIRST;
    view.append(&signer, &mut |state: &State| {
        refuse(state, &node, &identity)?;
        id = state.next_node_id();
        let node = NewNode { id, ..node.clone() };
        Ok(Change::NodeAdd { node })
    })?;
    out::line(&format!("node {id} at {} is a member", node.address))?;
    if args.wait == 0 || view.is_outside() {
        return Ok(Exit::Done);
    }
    alive(&view, id, Duration::from_secs(args.wait.into()))
}

/// The key that a machine proves, and what it says of itself.
fn stranger(address: &NodeAddress) -> Result<(PublicKey, Identity), CliError> {
    let ask = async {
        let text = address.to_string();
        let connection = Connection::open(&text, &Expect::Stranger, None, ANSWER_WITHIN).await?;
        let key = connection.peer_key();
        let identity = Client::https(connection).identity().await?;
        Ok::<_, ClientError>((key, identity))
    };
    let (key, identity) = runtime()?.block_on(ask)?;
    let key = key.ok_or_else(|| CliError::no(format!("{address} proves no node's key")))?;
    Ok((key, identity))
}

/// What is written down. The address is the one that the operator named, and the key the one that
/// TLS proved.
fn new_node(
    address: &NodeAddress,
    key: PublicKey,
    identity: &Identity,
) -> Result<NewNode, CliError> {
    let unreadable = || CliError::no(format!("what {address} says of itself can't be read"));
    let store = match &identity.store {
        Some(store) => Some(StoreAddress {
            peer: store.peer.parse().map_err(|_| unreadable())?,
            client: store.client.parse().map_err(|_| unreadable())?,
        }),
        None => None,
    };
    Ok(NewNode {
        id: NodeId::FIRST,
        key,
        seal: identity.seal_key().ok_or_else(unreadable)?,
        address: address.clone(),
        hosts: identity.hosts.clone(),
        store,
    })
}

fn refuse(state: &State, node: &NewNode, identity: &Identity) -> Result<(), CliError> {
    if let Some(known) = state.node_by_key(&node.key) {
        return Err(CliError::no(format!(
            "the machine at {} is node {} already",
            node.address, known.id
        )));
    }
    if let Some(known) = state.nodes().find(|known| known.address == node.address) {
        return Err(CliError::no(format!(
            "{} is the address of node {}, whose key is another",
            node.address, known.id
        ))
        .hint(format!(
            "if that machine is gone: palisade node remove {}",
            known.id
        )));
    }
    if identity.member {
        return Err(CliError::no(format!(
            "the machine at {} is a node of another cluster, or of this one before it was removed",
            node.address
        ))
        .hint("wipe its data directory and prepare it anew: palisade init --advertise HOST:PORT --secret FILE"));
    }
    Ok(())
}

/// Waits until the members see it alive.
fn alive(view: &View, id: NodeId, within: Duration) -> Outcome {
    let mut last = None;
    let what = format!("Waiting until node {id} is seen alive");
    let lives = view.wait(&what, within, |status| {
        let line = status.nodes.into_iter().find(|line| line.id == id.get());
        let lives = line.as_ref().is_some_and(|line| line.live);
        last = line.and_then(|line: NodeLine| line.reason);
        lives
    })?;
    if lives {
        return Ok(Exit::Done);
    }
    let reason = last.map(|reason| format!(": {reason}")).unwrap_or_default();
    Err(CliError::no(format!(
        "node {id} is a member, but was not seen alive within {} seconds{reason}",
        within.as_secs()
    ))
    .hint("look at its daemon's log; `palisade status` shows when it comes"))
}
