//! The command line: one enum of commands, one file for each group.
//!
//! ```text
//!   mod       which command          common   where the cluster is, who signs
//!   keygen    user  acl  ledger      view     the ledger, verified here
//!   hba       explain  node          files    secrets and lists on the disk
//!   generate  completions, man       prompt   questions      out   answers
//! ```
//!
//! To add a command: its arguments and `run` in a file of its own, a variant of [`Command`], an arm
//! in [`run`]. Help, completions, man pages and `docs/cli.md` follow from the arguments.

mod acl;
mod alert;
mod ca;
mod common;
mod complete;
mod enroll;
mod entropy;
mod error;
mod exit;
mod explain;
mod files;
mod generate;
mod hba;
mod init;
mod join;
mod keygen;
mod ledger;
mod node;
mod out;
mod place;
mod prompt;
mod secret;
mod serve;
mod status;
mod store;
mod token;
mod trust;
mod user;
mod values;
mod view;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use palisade_daemon::system as clock;

use crate::{shell, up};
use error::{CliError, Outcome};
use exit::Exit;

/// Turns PostgreSQL servers into one secured cluster.
///
/// Every right is written down, signed, and enforced by PostgreSQL itself.
#[derive(Debug, Parser)]
#[command(name = "palisade", version, after_help = Exit::HELP, max_term_width = 100)]
#[command(
    subcommand_value_name = "COMMAND",
    subcommand_help_heading = "Commands"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::UpArgs),
    Init(init::InitArgs),
    Daemon(serve::DaemonArgs),
    /// Talk SQL to a cluster
    Shell(shell::ShellArgs),
    Status(status::StatusArgs),
    Store(store::StoreGroup),
    User(user::UserArgs),
    Acl(acl::AclArgs),
    Can(acl::CanArgs),
    Hba(hba::HbaArgs),
    Explain(explain::ExplainArgs),
    Ledger(ledger::LedgerArgs),
    Keygen(keygen::KeygenArgs),
    Reload(node::ReloadArgs),
    Node(node::NodeArgs),
    Enroll(enroll::EnrollArgs),
    Ca(ca::CaArgs),
    Alert(alert::AlertArgs),
    Join(join::JoinArgs),
    Secret(secret::SecretArgs),
    PurgeAll(node::PurgeArgs),
    Completions(generate::CompletionsArgs),
    Man(generate::ManArgs),
    #[command(hide = true)]
    Generate(generate::GenerateArgs),
}

/// Reads the command line, runs the command, and says what went wrong.
pub(crate) fn main() -> ExitCode {
    clap_complete::CompleteEnv::with_factory(Cli::command)
        .var(complete::VARIABLE)
        .complete();
    match Cli::parse().command {
        Command::Up(args) => block_on(serve::up(args)),
        Command::Daemon(args) => block_on(serve::daemon(args)),
        Command::Shell(args) => block_on(shell::run(args)),
        command => finish(run(&command)),
    }
}

/// The exit status of a command, after its error was told.
fn finish(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => {
            if !error.is_silent() {
                out::drawing(&error.to_string());
            }
            error.exit().into()
        }
    }
}

/// Runs a command that brings its own exit status, on a runtime with threads.
fn block_on(command: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => finish(Err(
            CliError::no("can't start the I/O runtime").because(&error)
        )),
    }
}

fn run(command: &Command) -> Outcome {
    match command {
        // These run on a runtime of their own, and have their own exit statuses.
        Command::Up(_) | Command::Daemon(_) | Command::Shell(_) => Ok(Exit::Usage),
        Command::Init(args) => init::run(args),
        Command::Status(args) => status::run(args),
        Command::Store(args) => store::run(args),
        Command::User(args) => user::run(args),
        Command::Acl(args) => acl::run(args),
        Command::Can(args) => acl::can(args),
        Command::Hba(args) => hba::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Ledger(args) => ledger::run(args),
        Command::Keygen(args) => keygen::run(args),
        Command::Reload(args) => node::reload(args),
        Command::Node(args) => node::run(args),
        Command::Enroll(args) => enroll::run(args),
        Command::Ca(args) => ca::run(args),
        Command::Alert(args) => alert::run(args),
        Command::Join(args) => join::run(args),
        Command::Secret(args) => secret::run(args),
        Command::PurgeAll(args) => node::purge_all(args),
        Command::Completions(args) => generate::run_completions(args),
        Command::Man(args) => generate::run_man(args, Cli::command()),
        Command::Generate(args) => generate::run_generate(args, Cli::command()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    /// Every command's help says what it does and shows an example.
    #[test]
    fn every_command_has_a_summary_and_an_example() {
        fn check(command: &clap::Command, path: &str) {
            assert!(command.get_about().is_some(), "{path} has no summary");
            let leaf = command.get_subcommands().next().is_none();
            if leaf && !command.is_hide_set() && path != "palisade shell" {
                let help = command.clone().render_long_help().to_string();
                assert!(help.contains("Example"), "{path} has no example");
            }
            for sub in command.get_subcommands() {
                check(sub, &format!("{path} {}", sub.get_name()));
            }
        }
        check(&Cli::command(), "palisade");
    }

    /// No option takes a secret itself: arguments are shown to every user of the machine by `ps`.
    #[test]
    fn no_argument_takes_a_secret() {
        fn check(command: &clap::Command) {
            for arg in command.get_arguments() {
                let name = arg.get_id().as_str();
                let secret = ["password", "secret", "key", "token"]
                    .iter()
                    .any(|word| name.contains(word));
                let takes_file = arg.get_value_names().is_some_and(|names| {
                    names
                        .iter()
                        .all(|name| matches!(name.as_str(), "FILE" | "CREDENTIALS"))
                });
                assert!(
                    !secret || takes_file || !arg.get_action().takes_values(),
                    "{name}"
                );
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
