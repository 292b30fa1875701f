//! `palisade status`, `reload`, `node` and `purge-all`: the node, and commands to it.

use clap::{ArgAction, Args, Subcommand};
use palisade_link::api::{Command, SignedCommand, Status};

use super::common::{ClusterArgs, SignerArgs};
use super::error::{CliError, Outcome};
use super::exit::Exit;
use super::view::{Link, View};
use super::{out, prompt};

/// Show how the node is: PostgreSQL, drift, certificate, sessions.
///
/// The exit status is 0 if nothing needs a human, and 1 if something does.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade status
  palisade status --json | jq .problems")]
pub(crate) struct StatusArgs {
    /// As JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    cluster: ClusterArgs,
}

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

/// Command a node.
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
    Stop(StopArgs),
}

/// Stop the daemon and its PostgreSQL. Asked twice.
///
/// Needs the privilege system, and `security.enable_stop` in the node's configuration.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade node stop --as root.credentials
  palisade node stop --yes --yes --as root.credentials")]
struct StopArgs {
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
    signer: SignerArgs,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Runs `node`.
pub(crate) fn run(args: &NodeArgs) -> Outcome {
    match &args.command {
        NodeCommand::Stop(args) => command(
            &args.confirmed,
            &Command::Stop,
            "This stops the daemon and its PostgreSQL, and ends every session.",
        ),
    }
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
    let signer = args.signer.read(&args.cluster)?;
    let view = View::open(&args.cluster)?;
    let uid = view.signing_user(&signer)?;
    let state = view.state();
    prompt::confirm_twice(what, state.cluster(), args.yes)?;
    let link = view.link();
    let challenge = link.wait(link.client().challenge())?;
    let cluster = state.cluster_key();
    let request = SignedCommand::sign(command, uid.get(), cluster, &challenge, signer.key())
        .map_err(|error| CliError::no("this command can't be written").because(&error))?;
    let done = link.wait(link.client().command(&request))?;
    out::line(&done.message)?;
    Ok(Exit::Done)
}

/// Runs `reload`.
pub(crate) fn reload(args: &ReloadArgs) -> Outcome {
    let link = Link::new(&args.cluster)?;
    let done = link.wait(link.client().reload())?;
    out::line(&done.message)?;
    Ok(Exit::Done)
}

/// Whether nothing needs a human.
fn healthy(status: &Status) -> bool {
    status.problems.is_empty() && status.postgres.is_some()
}

/// Runs `status`.
pub(crate) fn status(args: &StatusArgs) -> Outcome {
    let link = Link::new(&args.cluster)?;
    let status = link.wait(link.client().status())?;
    if args.json {
        out::json(&status)?;
    } else {
        show(&status)?;
    }
    Ok(if healthy(&status) {
        Exit::Done
    } else {
        Exit::No
    })
}

fn show(status: &Status) -> Result<(), CliError> {
    let unknown = || "unknown".to_owned();
    let applied = match status.applied {
        Some(seq) if seq >= status.head.seq => "up to date".to_owned(),
        Some(seq) => format!("at entry {seq}"),
        None => "not yet".to_owned(),
    };
    let mut rows = vec![
        ["cluster", &status.cluster].map(str::to_owned).to_vec(),
        ["database", &status.database].map(str::to_owned).to_vec(),
        ["version", &status.version].map(str::to_owned).to_vec(),
        vec!["gateway".to_owned(), status.gateway.join(", ")],
        vec![
            "PostgreSQL".to_owned(),
            status.postgres.clone().unwrap_or_else(|| "down".to_owned()),
        ],
        vec![
            "ledger".to_owned(),
            format!("entry {}, {}", status.head.seq, status.head.hash),
        ],
        vec!["applied to PostgreSQL".to_owned(), applied],
        vec!["open sessions".to_owned(), status.sessions.to_string()],
        vec![
            "certificate until".to_owned(),
            status.certificate_until.clone().unwrap_or_else(unknown),
        ],
    ];
    if !status.not_in_user_list.is_empty() {
        rows.push(vec![
            "not in the user list".to_owned(),
            status.not_in_user_list.join(", "),
        ]);
    }
    for problem in &status.problems {
        rows.push(vec!["PROBLEM".to_owned(), problem.clone()]);
    }
    let health = if healthy(status) {
        "healthy"
    } else {
        "needs a human"
    };
    out::table(&["node", health], rows)?;
    if status.drift.is_empty() {
        return Ok(());
    }
    let drift = status.drift.iter().map(|line| {
        let mended = if line.mended { "mended" } else { "left alone" };
        vec![line.time.clone(), line.what.clone(), mended.to_owned()]
    });
    out::table(&["found", "drift", "done"], drift)
}
