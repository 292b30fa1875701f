//! `palisade node`: the machines that make up the cluster.

mod add;
mod list;
mod remove;
mod rotate;
mod secrets;
mod stop;

use clap::{Args, Subcommand};

use super::error::Outcome;
pub(super) use list::{find, show_names};
pub(super) use stop::{PurgeArgs, ReloadArgs, purge_all, reload};

/// Add, show, remove and command nodes.
#[derive(Debug, Args)]
#[command(
    subcommand_value_name = "COMMAND",
    subcommand_help_heading = "Commands"
)]
pub(crate) struct NodeArgs {
    #[command(subcommand)]
    command: NodeCommand,
}

#[derive(Debug, Subcommand)]
enum NodeCommand {
    Add(add::AddArgs),
    List(list::ListArgs),
    Remove(remove::RemoveArgs),
    Rotate(rotate::RotateArgs),
    Stop(stop::StopArgs),
}

/// Runs `node`.
pub(crate) fn run(args: &NodeArgs) -> Outcome {
    match &args.command {
        NodeCommand::Add(args) => add::run(args),
        NodeCommand::List(args) => list::run(args),
        NodeCommand::Remove(args) => remove::run(args),
        NodeCommand::Rotate(args) => rotate::run(args),
        NodeCommand::Stop(args) => stop::run(args),
    }
}
