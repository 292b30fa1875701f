//! `palisade node stop`, `purge-all` and `reload`: commands to one node.

use clap::{ArgAction, Args};
use palisade_link::api::Command;

use crate::cli::common::ClusterArgs;
use crate::cli::error::Outcome;
use crate::cli::exit::Exit;
use crate::cli::view::{Link, View};
use crate::cli::{out, prompt};

/// Have the daemon read its files again: users.cfg, keys, certificates.
///
/// It does so by itself, too, soon after a file changes.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  palisade reload")]
pub(crate) struct ReloadArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Stop the daemon and its PostgreSQL. Asked twice.
///
/// Needs the privilege system, and `security.enable_stop` in the node's configuration.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade node stop --as root.credentials
  palisade node stop --yes --yes --as root.credentials")]
pub(super) struct StopArgs {
    #[command(flatten)]
    confirmed: Confirmed,
}

/// Drop every managed object of the database, with all that is in it. Asked twice.
///
/// Needs the privilege system, and `security.enable_purge_all` in the node's configuration. Users,
/// rules and access control lists stay: they stand in the ledger.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade purge-all --as root.credentials
  palisade purge-all --yes --yes --as root.credentials")]
pub(crate) struct PurgeArgs {
    #[command(flatten)]
    confirmed: Confirmed,
}

#[derive(Debug, Args)]
struct Confirmed {
    /// Don't ask; say it twice
    #[arg(long, action = ArgAction::Count)]
    yes: u8,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Runs `stop`.
pub(super) fn run(args: &StopArgs) -> Outcome {
    command(
        &args.confirmed,
        &Command::Stop,
        "This stops the daemon and its PostgreSQL, and ends every session.",
    )
}

/// Runs `purge-all`.
pub(crate) fn purge_all(args: &PurgeArgs) -> Outcome {
    command(
        &args.confirmed,
        &Command::PurgeAll,
        "This drops every managed object of the database, with all the data in it.",
    )
}

/// Asks, signs, and has it carried out.
fn command(args: &Confirmed, command: &Command, what: &str) -> Outcome {
    let signer = args.cluster.signer()?;
    let view = View::open(&args.cluster)?;
    view.signing_user(&signer)?;
    prompt::confirm_twice(what, view.state().cluster(), args.yes)?;
    let done = view.command(&signer, command)?;
    out::line(&done.message)?;
    Ok(Exit::Done)
}

/// Runs `reload`.
pub(crate) fn reload(args: &ReloadArgs) -> Outcome {
    let link = Link::new(&args.cluster)?;
    let done = link.ask(|client| async move { client.reload().await })?;
    out::line(&done.message)?;
    Ok(Exit::Done)
}
