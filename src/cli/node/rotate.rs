//! `palisade node rotate`: a node's new identity, without leaving.

use clap::Args;
use palisade_ledger::NodeId;
use palisade_link::api::Command;

use super::secrets;
use crate::cli::common::ClusterArgs;
use crate::cli::error::{CliError, Outcome};
use crate::cli::exit::Exit;
use crate::cli::view::View;
use crate::cli::{out, prompt};

/// Give a node new keys, without leaving the cluster and without an interruption.
///
/// The node that is asked makes them (the one of this machine, or of --node), signs the change with
/// its old key, and proves the new one. From that entry on, the old key opens nothing. The number
/// stays the same. Needs the privilege system.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade node rotate --as root.credentials
  palisade node rotate --node db3.example:7433 --yes --as root.credentials")]
pub(super) struct RotateArgs {
    /// Don't ask
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Runs it.
pub(super) fn run(args: &RotateArgs) -> Outcome {
    let signer = args.cluster.signer()?;
    let view = View::open(&args.cluster)?;
    view.signing_user(&signer)?;
    let id = view.status()?.node.ok_or_else(|| {
        CliError::no("this node is no member of the cluster")
            .hint("`palisade node list` shows who is there")
    })?;
    prompt::confirm(&format!("Give node {id} new keys?"), args.yes)?;
    let node = NodeId::new(id).ok();
    let alerts = node.map(|node| (node, secrets::sealed_to(view.state(), node)));
    let done = view.command(&signer, &Command::RotateNode)?;
    out::line(&done.message)?;
    if let Some((node, alerts)) = alerts {
        secrets::are_lost(node, &alerts);
    }
    Ok(Exit::Done)
}
