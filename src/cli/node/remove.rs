//! `palisade node remove`: a node is out, on every other node, now.

use clap::Args;
use palisade_ledger::{Change, State};

use super::{find, secrets};
use crate::cli::common::ClusterArgs;
use crate::cli::error::{CliError, Outcome};
use crate::cli::exit::Exit;
use crate::cli::view::View;
use crate::cli::{complete, out, prompt};

/// Remove a node for good: its connections end everywhere, and its certificates are revoked.
///
/// Its number is never given again. What it holds stays on its disk: wipe it there. To come back it
/// must be initialised anew. Needs the privilege system.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade node remove 3 --as root.credentials
  palisade node remove db3.example:7433 --yes --as root.credentials")]
pub(super) struct RemoveArgs {
    /// Its number or address, as `palisade node list` shows it
    #[arg(value_name = "NODE", add = complete::nodes())]
    id: String,

    /// Don't ask
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Runs it.
pub(super) fn run(args: &RemoveArgs) -> Outcome {
    let signer = args.cluster.signer()?;
    let mut view = View::open(&args.cluster)?;
    view.author(&signer)?;
    let node = find(view.state(), &args.id)?.clone();
    if view.state().members().all(|member| member.id == node.id) && !node.pending {
        return Err(CliError::no(format!(
            "node {} is the only member: without it there is no cluster",
            node.id
        )));
    }
    let question = format!(
        "Remove node {} at {}, {}, for good?",
        node.id,
        node.address,
        node.fingerprint()
    );
    prompt::confirm(&question, args.yes)?;
    let alerts = secrets::sealed_to(view.state(), node.id);
    view.append(&signer, &mut |state: &State| {
        if state.node(node.id).is_none() {
            return Err(CliError::no(format!("node {} is gone", node.id)));
        }
        Ok(Change::NodeRemove { id: node.id })
    })?;
    out::line(&format!("node {} at {} is removed", node.id, node.address))?;
    secrets::are_known_outside(node.id, &alerts);
    Ok(Exit::Done)
}
