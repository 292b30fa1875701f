//! `palisade store`: where the ledger is kept.

pub(crate) mod args;
pub(crate) mod ask;
mod env;
mod members;
mod relocate;
mod table;

use clap::{Args, Subcommand};

use super::error::Outcome;

/// Show, prepare and change where the ledger is kept.
#[derive(Debug, Args)]
#[command(
    subcommand_value_name = "COMMAND",
    subcommand_help_heading = "Commands"
)]
pub(crate) struct StoreGroup {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    Members(members::MembersArgs),
    Env(env::EnvArgs),
    Move(relocate::MoveArgs),
}

/// Runs `store`.
pub(crate) fn run(args: &StoreGroup) -> Outcome {
    match &args.command {
        StoreCommand::Members(args) => members::run(args),
        StoreCommand::Env(args) => env::run(args),
        StoreCommand::Move(args) => relocate::run(args),
    }
}
