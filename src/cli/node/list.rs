//! `palisade node list`: the nodes that the ledger names.

use std::collections::BTreeSet;

use clap::Args;
use palisade_ledger::{Node, NodeAddress, State, StoreAddress};
use serde::Serialize;

use crate::cli::common::ClusterArgs;
use crate::cli::error::{CliError, Outcome};
use crate::cli::exit::Exit;
use crate::cli::out;
use crate::cli::view::View;

/// Show the nodes that the ledger names. `palisade status` shows which of them live.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade node list
  palisade node list --json")]
pub(super) struct ListArgs {
    /// As JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    cluster: ClusterArgs,
}

#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    node: &'a Node,
    fingerprint: String,
    certificates_until: Option<String>,
}

/// Until when the last of the certificates is good that the cluster's CA gave a node.
fn certificates_until(state: &State, node: &Node) -> Option<String> {
    let own = state
        .issued()
        .filter(|issued| issued.holder == Some(node.id) && !state.is_revoked(&issued.serial));
    own.map(|issued| issued.until)
        .max()
        .map(|until| until.to_string())
}

/// Runs it.
pub(super) fn run(args: &ListArgs) -> Outcome {
    let view = View::open(&args.cluster)?;
    let state = view.state();
    let rows = state.nodes().map(|node| Row {
        node,
        fingerprint: node.fingerprint().to_string(),
        certificates_until: certificates_until(state, node),
    });
    if args.json {
        out::json(&rows.collect::<Vec<_>>())?;
        return Ok(Exit::Done);
    }
    let rows = rows.map(|row| {
        let standing = if row.node.pending {
            "waits for approval"
        } else {
            "member"
        };
        vec![
            row.node.id.to_string(),
            row.node.address.to_string(),
            standing.to_owned(),
            row.fingerprint,
            row.node.hosts.join(", "),
        ]
    });
    out::table(
        &["node", "address", "standing", "fingerprint", "hosts"],
        rows,
    )?;
    Ok(Exit::Done)
}

/// Says what else the cluster's certificates would call a machine, beside its address. Who lets it in
/// lets it speak for these names: the machine chose them, and one may be another's.
pub(in crate::cli) fn show_names(
    address: &NodeAddress,
    hosts: &[String],
    store: Option<&StoreAddress>,
) {
    let listens = store
        .into_iter()
        .flat_map(|store| [&store.peer, &store.client]);
    let listens = listens.map(|address| address.host().to_owned());
    let mut names: BTreeSet<String> = hosts.iter().cloned().chain(listens).collect();
    names.remove(address.host());
    if !names.is_empty() {
        let names: Vec<String> = names.into_iter().collect();
        out::note(&format!(
            "Certificates for it will also name {}.",
            names.join(", ")
        ));
    }
}

/// The node of this number or address.
pub(crate) fn find<'a>(state: &'a State, text: &str) -> Result<&'a Node, CliError> {
    let found = match text.parse::<palisade_ledger::NodeId>() {
        Ok(id) => state.node(id),
        Err(_) => match text.parse::<palisade_ledger::NodeAddress>() {
            Ok(address) => state.nodes().find(|node| node.address == address),
            Err(error) => {
                return Err(CliError::usage(format!(
                    "{text} is neither a node's number nor its address"
                ))
                .because(&error));
            }
        },
    };
    found.ok_or_else(|| {
        CliError::no(format!("there is no node {text}"))
            .hint("`palisade node list` shows who is there")
    })
}
