//! `palisade alert`: who is told when something needs a human.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueHint};
use palisade_daemon::alerts::seal_secret;
use palisade_keys::Zeroizing;
use palisade_ledger::{Alert, AlertTarget, Change, NewAlert, NodeAddress, NodeId, State};
use palisade_link::api::Command;
use serde::Serialize;

use super::common::ClusterArgs;
use super::error::{CliError, Outcome};
use super::exit::Exit;
use super::view::View;
use super::{files, out, prompt};

/// Bytes of a token or password.
const MAX_SECRET_BYTES: u64 = 2048;

/// Say who is told when something needs a human.
///
/// The master tells of each thing once: a node down or back, the quorum lost, a certificate near its end
/// or not renewed, a ledger that was forked, forged or turned back, many refused log-ins, and drift in
/// PostgreSQL. Prometheus finds the same at /metrics of the API.
#[derive(Debug, Args)]
#[command(
    subcommand_value_name = "COMMAND",
    subcommand_help_heading = "Commands"
)]
pub(crate) struct AlertArgs {
    #[command(subcommand)]
    command: AlertCommand,
}

#[derive(Debug, Subcommand)]
enum AlertCommand {
    Add(AddArgs),
    List(ListArgs),
    Remove(RemoveArgs),
    Test(TestArgs),
}

/// Add somebody who is told.
#[derive(Debug, Args)]
#[command(subcommand_value_name = "HOW", subcommand_help_heading = "How")]
struct AddArgs {
    #[command(subcommand)]
    how: How,
}

#[derive(Debug, Subcommand)]
enum How {
    Webhook(WebhookArgs),
    Smtp(SmtpArgs),
    Command(CommandArgs),
}

/// Post JSON to a URL.
///
/// It must begin with https://, unless it leads to the machine itself. A token is sent as `Authorization:
/// Bearer`. In the ledger it stands only sealed to each node. Needs the privilege system.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade alert add webhook ops https://hooks.example.org/palisade --as root.credentials
  palisade alert add webhook ops https://hooks.example.org/palisade --token-file hook.token --as root.credentials")]
struct WebhookArgs {
    /// What the alert is called
    name: String,

    /// Where to
    #[arg(value_name = "URL", value_hint = ValueHint::Url)]
    url: String,

    /// A file with the token; `-` is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    token_file: Option<PathBuf>,

    #[command(flatten)]
    signed: Signed,
}

/// Send a mail.
///
/// The server is spoken to by TLS alone: from the first byte on port 465, else by STARTTLS. In the ledger
/// the password stands only sealed to each node. Needs the privilege system.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade alert add smtp mail mail.example.org:587 --from palisade@example.org --to ops@example.org --as root.credentials
  palisade alert add smtp mail mail.example.org:465 --from palisade@example.org --to ops@example.org \\
      --user palisade --password-file mail.password --as root.credentials")]
struct SmtpArgs {
    /// What the alert is called
    name: String,

    /// The mail server
    #[arg(value_name = "HOST:PORT")]
    server: NodeAddress,

    /// The sender's address
    #[arg(long, value_name = "ADDRESS", value_hint = ValueHint::EmailAddress)]
    from: String,

    /// A recipient's address; may be repeated
    #[arg(long, value_name = "ADDRESS", required = true, value_hint = ValueHint::EmailAddress)]
    to: Vec<String>,

    /// The name to log in with
    #[arg(long, value_name = "NAME", requires = "password_file")]
    user: Option<String>,

    /// A file with the password; `-` is standard input
    #[arg(long, value_name = "FILE", requires = "user", value_hint = ValueHint::FilePath)]
    password_file: Option<PathBuf>,

    #[command(flatten)]
    signed: Signed,
}

/// Run a program on the node that is the master, with the alert as JSON on its standard input.
///
/// The program itself stands in each node's own configuration, alerts.commands: the right to change the
/// cluster is not the right to run programs as the daemon's user. Needs the privilege system.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  # in each node's configuration: \"alerts\": { \"commands\": { \"page\": [\"/usr/local/bin/page\", \"db\"] } }
  palisade alert add command pager page --as root.credentials")]
struct CommandArgs {
    /// What the alert is called
    name: String,

    /// The program's name in alerts.commands
    #[arg(value_name = "COMMAND")]
    command: String,

    #[command(flatten)]
    signed: Signed,
}

/// Show who is told.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade alert list
  palisade alert list --json")]
struct ListArgs {
    /// As JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Tell somebody no more. Needs the privilege system.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  palisade alert remove ops --as root.credentials")]
struct RemoveArgs {
    /// The alert's name
    name: String,

    /// Don't ask
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    signed: Signed,
}

/// Send an alert that says it is a test, from this node. Needs the privilege system.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  palisade alert test ops --as root.credentials")]
struct TestArgs {
    /// The alert's name
    name: String,

    #[command(flatten)]
    signed: Signed,
}

#[derive(Debug, Args)]
struct Signed {
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Runs `alert`.
pub(crate) fn run(args: &AlertArgs) -> Outcome {
    match &args.command {
        AlertCommand::Add(args) => add(&args.how),
        AlertCommand::List(args) => list(args),
        AlertCommand::Remove(args) => remove(args),
        AlertCommand::Test(args) => test(args),
    }
}

fn add(how: &How) -> Outcome {
    let (name, target, secret, by) = match how {
        How::Webhook(args) => {
            let target = AlertTarget::Webhook {
                url: args.url.clone(),
            };
            (&args.name, target, args.token_file.as_deref(), &args.signed)
        }
        How::Smtp(args) => {
            let target = AlertTarget::Smtp {
                server: args.server.clone(),
                from: args.from.clone(),
                to: args.to.clone(),
                user: args.user.clone(),
            };
            (
                &args.name,
                target,
                args.password_file.as_deref(),
                &args.signed,
            )
        }
        How::Command(args) => {
            let target = AlertTarget::Command {
                name: args.command.clone(),
            };
            (&args.name, target, None, &args.signed)
        }
    };
    let secret = secret.map(read).transpose()?;
    let signer = by.cluster.signer()?;
    let mut view = View::open(&by.cluster)?;
    view.append(&signer, &mut |state| {
        let alert = NewAlert {
            name: name.clone(),
            target: target.clone(),
            sealed: seal_to_all(state, name, &target, secret.as_ref())?,
        };
        Ok(Change::AlertAdd { alert })
    })?;
    out::note(&format!(
        "try it: palisade alert test {}",
        files::shell_quote(name)
    ));
    Ok(Exit::Done)
}

/// Reads a secret: one line.
fn read(path: &Path) -> Result<Zeroizing<String>, CliError> {
    let text = files::read_secret(path, MAX_SECRET_BYTES)?;
    let secret = Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned());
    if secret.is_empty() || secret.chars().any(char::is_control) {
        return Err(CliError::file(format!(
            "{} does not hold a secret of one line",
            path.display()
        )));
    }
    Ok(secret)
}

/// The secret, for each member that may come to send it.
fn seal_to_all(
    state: &State,
    name: &str,
    target: &AlertTarget,
    secret: Option<&Zeroizing<String>>,
) -> Result<BTreeMap<NodeId, Vec<u8>>, CliError> {
    let Some(secret) = secret else {
        return Ok(BTreeMap::new());
    };
    state
        .members()
        .map(|node| {
            let sealed = seal_secret(&node.seal, name, target, secret).map_err(|error| {
                CliError::no(format!("can't seal the secret to node {}", node.id)).because(&error)
            })?;
            Ok((node.id, sealed))
        })
        .collect()
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    target: &'a AlertTarget,
    /// Whether it has a secret.
    secret: bool,
    /// Members that could not send it: their keys came after the secret was sealed.
    cannot_send: Vec<u32>,
}

fn row<'a>(state: &State, openers: &Openers, alert: &'a Alert) -> Row<'a> {
    let secret = !alert.sealed.is_empty();
    let lacking = state
        .members()
        .filter(|node| secret && !openers.can(&alert.name, node.id))
        .map(|node| node.id.get());
    Row {
        name: &alert.name,
        target: &alert.target,
        secret,
        cannot_send: lacking.collect(),
    }
}

/// Who can open the secrets of the alerts: those to whom they were sealed, and who have had the same keys since.
#[derive(Default)]
struct Openers(BTreeMap<String, BTreeSet<NodeId>>);

impl Openers {
    fn take(&mut self, change: &Change) {
        match change {
            Change::AlertAdd { alert } => {
                let nodes = alert.sealed.keys().copied().collect();
                self.0.insert(alert.name.clone(), nodes);
            }
            Change::NodeRotate { id, .. } => {
                for nodes in self.0.values_mut() {
                    nodes.remove(id);
                }
            }
            // Of alerts and nodes that are gone nobody asks.
            _ => {}
        }
    }

    fn can(&self, alert: &str, node: NodeId) -> bool {
        let nodes = self.0.get(alert);
        nodes.is_some_and(|nodes| nodes.contains(&node))
    }
}

fn list(args: &ListArgs) -> Outcome {
    let mut openers = Openers::default();
    let view = View::replay(&args.cluster, &mut |entry| {
        openers.take(&entry.entry().change);
        Ok(())
    })?;
    let state = view.state();
    let rows = state.alerts().map(|alert| row(state, &openers, alert));
    let rows: Vec<Row<'_>> = rows.collect();
    if args.json {
        out::json(&rows)?;
        return Ok(Exit::Done);
    }
    let rows = rows.into_iter().map(|row| {
        let (how, to) = told(row.target);
        let lacking: Vec<String> = row.cannot_send.iter().map(ToString::to_string).collect();
        vec![
            row.name.to_owned(),
            how.to_owned(),
            to,
            out::yes_no(row.secret),
            lacking.join(", "),
        ]
    });
    out::table(&["alert", "how", "to", "secret", "not from nodes"], rows)?;
    Ok(Exit::Done)
}

/// How, and where to.
fn told(target: &AlertTarget) -> (&'static str, String) {
    match target {
        AlertTarget::Webhook { url } => ("webhook", url.clone()),
        AlertTarget::Smtp { server, to, .. } => ("smtp", format!("{} by {server}", to.join(", "))),
        AlertTarget::Command { name } => ("command", name.clone()),
    }
}

fn remove(args: &RemoveArgs) -> Outcome {
    let signer = args.signed.cluster.signer()?;
    let mut view = View::open(&args.signed.cluster)?;
    known(view.state(), &args.name)?;
    prompt::confirm(&format!("Remove the alert {}?", args.name), args.yes)?;
    view.append(&signer, &mut |_| {
        Ok(Change::AlertRemove {
            name: args.name.clone(),
        })
    })?;
    Ok(Exit::Done)
}

fn test(args: &TestArgs) -> Outcome {
    let signer = args.signed.cluster.signer()?;
    let view = View::open(&args.signed.cluster)?;
    known(view.state(), &args.name)?;
    let command = Command::AlertTest {
        name: args.name.clone(),
    };
    let done = view.command(&signer, &command)?;
    out::line(&done.message)?;
    Ok(Exit::Done)
}

fn known(state: &State, name: &str) -> Result<(), CliError> {
    if state.alerts().any(|alert| alert.name == name) {
        return Ok(());
    }
    Err(CliError::no(format!("there is no alert {name}"))
        .hint("`palisade alert list` shows which there are"))
}
