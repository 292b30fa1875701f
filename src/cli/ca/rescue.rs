//! `palisade ca rescue`: a cluster whose every certificate has expired.

use clap::Args;
use palisade_daemon::ca::rescue;
use palisade_daemon::layout::Layout;

use super::cluster_key;
use crate::cli::common::ClusterArgs;
use crate::cli::error::{CliError, Outcome};
use crate::cli::exit::Exit;
use crate::cli::out;

/// Give a cluster whose every certificate has expired a new issuing CA.
///
/// For when nothing answers any more: the issuing CA has expired, and with it every certificate. Stop
/// the daemon of one node, run this there with the cluster's private key, and start it again: it makes
/// its new certificates at once, enters the new CA into the ledger, and the other nodes get theirs from
/// it. Users, rights and data are not touched; certificates of services and tools are issued anew.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  systemctl stop palisade
  palisade ca rescue --dir /var/lib/palisade --as-cluster-key cluster_private.key
  systemctl start palisade")]
pub(super) struct RescueArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Runs it.
pub(super) fn run(args: &RescueArgs) -> Outcome {
    let key = cluster_key(&args.cluster)?;
    let layout = Layout::new(args.cluster.directory()?);
    let rescued = rescue::run(&layout, &key)
        .map_err(|error| CliError::no("this node can't be rescued").because(&error))?;
    out::line(&format!(
        "a new issuing CA is ready, good until {}; start the daemon of this node",
        rescued.until.date()
    ))?;
    if rescued.expired > 0 {
        out::note("the expired issuing CA leaves the ledger at that start");
    }
    Ok(Exit::Done)
}
