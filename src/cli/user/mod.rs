//! `palisade user`: who the users are, and what each may do by default.

mod add;
mod cert;
mod change;
mod list;
mod offline;
mod own;

use clap::{Args, Subcommand};

use super::error::Outcome;
use super::values::Switch;

/// Add, show and change users.
#[derive(Debug, Args)]
#[command(
    subcommand_value_name = "COMMAND",
    subcommand_help_heading = "Commands"
)]
pub(crate) struct UserArgs {
    #[command(subcommand)]
    command: UserCommand,
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    Add(add::AddArgs),
    List(list::ListArgs),
    Show(list::ShowArgs),
    Set(change::SetArgs),
    Disable(change::DisableArgs),
    Enable(change::EnableArgs),
    Remove(change::RemoveArgs),
    Passwd(own::PasswdArgs),
    Key(own::KeyArgs),
    Cert(cert::CertArgs),
}

/// Runs one of them.
pub(crate) fn run(args: &UserArgs) -> Outcome {
    match &args.command {
        UserCommand::Add(args) => add::run(args),
        UserCommand::List(args) => list::list(args),
        UserCommand::Show(args) => list::show(args),
        UserCommand::Set(args) => change::set(args),
        UserCommand::Disable(args) => change::disable(args),
        UserCommand::Enable(args) => change::enable(args),
        UserCommand::Remove(args) => change::remove(args),
        UserCommand::Passwd(args) => own::passwd(args),
        UserCommand::Key(args) => own::key(args),
        UserCommand::Cert(args) => cert::run(args),
    }
}

/// `on` or not, where the option may be left out or stand alone.
fn on(switch: Option<Switch>) -> bool {
    switch.is_some_and(Switch::is_on)
}
