//! `palisade enroll`: tokens by which a machine may become a node, and who approves it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueHint};
use palisade_keys::{Fingerprint, SecretKey, Zeroizing};
use palisade_ledger::{Change, Millis, NewToken, Node, State, TokenId};
use palisade_ledger::{NodeAddress, Token as Entry};
use serde::Serialize;

use super::common::ClusterArgs;
use super::error::{CliError, Outcome};
use super::exit::Exit;
use super::files::{self, Audience};
use super::node::{find, show_names};
use super::token::Token;
use super::trust::{self, Vouched};
use super::view::View;
use super::{clock, complete, out, values};

/// Let machines become nodes by tokens.
///
/// A token is good for one machine, until it expires. The ledger holds only the public half of a
/// key that is made of it, so nobody who reads the ledger or its store can use it.
#[derive(Debug, Args)]
#[command(
    subcommand_value_name = "COMMAND",
    subcommand_help_heading = "Commands"
)]
pub(crate) struct EnrollArgs {
    #[command(subcommand)]
    command: EnrollCommand,
}

#[derive(Debug, Subcommand)]
enum EnrollCommand {
    Create(CreateArgs),
    List(ListArgs),
    Approve(ApproveArgs),
    Revoke(RevokeArgs),
}

/// Make a token, which is shown this once.
///
/// It carries the cluster's public key, so that the joiner knows whom it joins, and the addresses
/// of nodes that it may ask. Needs the privilege system.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade enroll create -o db2.token --as root.credentials
  palisade enroll create --expires 15m --approval --note 'rack 4' --as root.credentials")]
struct CreateArgs {
    /// How long it is good for: a number with s, m, h or d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = values::lifetime)]
    expires: Duration,

    /// The machine becomes a node only when `palisade enroll approve` says so
    #[arg(long)]
    approval: bool,

    /// For whom it is, for `palisade enroll list`
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    note: String,

    /// Write the token to this file, with mode 0600, and not to standard output
    #[arg(short = 'o', long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    out: Option<PathBuf>,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Show the tokens that were made, and which of them are still good.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade enroll list
  palisade enroll list --json")]
struct ListArgs {
    /// As JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Make a machine a node that came with a token that wants approval.
///
/// Its fingerprint is shown and asked about, or compared with --fingerprint. Needs the privilege
/// system.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade enroll approve 2 --as root.credentials
  palisade enroll approve db2.example:7433 --fingerprint SHA256:pV5... --as root.credentials")]
struct ApproveArgs {
    /// Its number or address, as `palisade node list` shows it
    #[arg(add = complete::pending())]
    node: String,

    /// What its fingerprint must be
    #[arg(long, value_parser = trust::fingerprint)]
    fingerprint: Option<Fingerprint>,

    /// Don't ask
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Take a token back that was not used yet. Needs the privilege system.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  palisade enroll revoke 91c0a9d2e5f7b341 --as root.credentials")]
struct RevokeArgs {
    /// Its id, as `palisade enroll list` shows it: 16 digits that are no secret
    #[arg(value_name = "ID", add = complete::tokens())]
    id: TokenId,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Runs `enroll`.
pub(crate) fn run(args: &EnrollArgs) -> Outcome {
    match &args.command {
        EnrollCommand::Create(args) => create(args),
        EnrollCommand::List(args) => list(args),
        EnrollCommand::Approve(args) => approve(args),
        EnrollCommand::Revoke(args) => revoke(args),
    }
}

/// Where a joiner may ask.
fn addresses(state: &State) -> Result<Vec<NodeAddress>, CliError> {
    let addresses: Vec<NodeAddress> = state.members().map(|node| node.address.clone()).collect();
    if addresses.is_empty() {
        return Err(
            CliError::no("no node of this cluster has an address that others could join at")
                .hint("give it one: api.advertise in its configuration, or `palisade up --advertise HOST:PORT`"),
        );
    }
    Ok(addresses)
}

fn create(args: &CreateArgs) -> Outcome {
    let signer = args.cluster.signer()?;
    let mut view = View::open(&args.cluster)?;
    view.author(&signer)?;
    let addresses = addresses(view.state())?;
    let seed = super::entropy::seed()?;
    let key = SecretKey::from_seed(Zeroizing::new(*seed))
        .map_err(|error| CliError::no("can't make a key").because(&error))?;
    let cluster = *view.state().cluster_key();
    let mut text = Token::text(&cluster, &seed, &addresses);
    text.push('\n');
    let public = key.public();
    let id = Token {
        cluster,
        key,
        addresses,
    }
    .id();
    let placed = match &args.out {
        Some(path) => {
            let staged = files::stage(path, text.as_bytes(), Audience::Owner, false)?;
            Some(staged.place()?)
        }
        None => None,
    };
    let span = u64::try_from(args.expires.as_millis()).unwrap_or(u64::MAX);
    let expires = Millis(clock::millis().0.saturating_add(span));
    let appended = view.append(&signer, &mut |_| {
        Ok(Change::TokenCreate {
            token: NewToken {
                id,
                key: public,
                expires,
                approval: args.approval,
                note: args.note.clone(),
            },
        })
    });
    files::settle(appended, placed)?;
    if let Some(path) = &args.out {
        out::note(&format!(
            "token {id}, good for one machine until {expires}, is in {}",
            path.display()
        ));
    } else {
        out::write(text.as_bytes())?;
        out::note(&format!(
            "token {id}, good for one machine until {expires}; it is not shown again"
        ));
    }
    let from = args.out.as_ref().map_or_else(
        || "-".to_owned(),
        |path| files::shell_quote(&path.display().to_string()),
    );
    out::note(&format!(
        "on the new machine: palisade join {from} --advertise HOST:PORT"
    ));
    Ok(Exit::Done)
}

/// How a token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Standing {
    Good,
    Used,
    Revoked,
    Expired,
}

impl Standing {
    fn of(token: &Entry, now: Millis) -> Self {
        if token.used_by.is_some() {
            Self::Used
        } else if token.revoked {
            Self::Revoked
        } else if token.expires < now {
            Self::Expired
        } else {
            Self::Good
        }
    }
}

#[derive(Serialize)]
struct Row {
    id: String,
    standing: Standing,
    expires: String,
    approval: bool,
    used_by: Option<u32>,
    /// The machine that came with it waits for approval.
    waiting: bool,
    note: String,
}

fn row(state: &State, token: &Entry, now: Millis) -> Row {
    let node = token.used_by.and_then(|id| state.node(id));
    Row {
        id: token.id.to_string(),
        standing: Standing::of(token, now),
        expires: token.expires.to_string(),
        approval: token.approval,
        used_by: token.used_by.map(palisade_ledger::NodeId::get),
        waiting: node.is_some_and(|node| node.pending),
        note: token.note.clone(),
    }
}

fn list(args: &ListArgs) -> Outcome {
    let view = View::open(&args.cluster)?;
    let state = view.state();
    let now = clock::millis();
    let rows: Vec<Row> = state.tokens().map(|token| row(state, token, now)).collect();
    if args.json {
        out::json(&rows)?;
        return Ok(Exit::Done);
    }
    let rows = rows.into_iter().map(|row| {
        let standing = match (row.standing, row.used_by) {
            (Standing::Used, Some(node)) if row.waiting => {
                format!("node {node} waits for approval")
            }
            (Standing::Used, Some(node)) => format!("used by node {node}"),
            (Standing::Used, None) => "used".to_owned(),
            (Standing::Good, _) => "good".to_owned(),
            (Standing::Revoked, _) => "revoked".to_owned(),
            (Standing::Expired, _) => "expired".to_owned(),
        };
        vec![
            row.id,
            standing,
            row.expires,
            out::yes_no(row.approval),
            row.note,
        ]
    });
    out::table(&["token", "standing", "until", "approval", "note"], rows)?;
    Ok(Exit::Done)
}

fn approve(args: &ApproveArgs) -> Outcome {
    let signer = args.cluster.signer()?;
    let mut view = View::open(&args.cluster)?;
    view.author(&signer)?;
    let node: Node = find(view.state(), &args.node)?.clone();
    if !node.pending {
        return Err(CliError::no(format!(
            "node {} is a member already",
            node.id
        )));
    }
    let whose = format!("node {} at {}", node.id, node.address);
    show_names(&node.address, &node.hosts, node.store.as_ref());
    let vouched = Vouched {
        fingerprint: args.fingerprint,
        yes: args.yes,
    };
    trust::believe(
        &whose,
        node.fingerprint(),
        "Make it a member of the cluster?",
        vouched,
    )?;
    view.append(&signer, &mut |state: &State| match state.node(node.id) {
        // What was looked at must still be what is approved.
        Some(now) if *now == node => Ok(Change::NodeApprove { id: node.id }),
        Some(_) | None => Err(CliError::no(format!(
            "node {} is not what it was when it was shown",
            node.id
        ))),
    })?;
    out::line(&format!("node {} at {} is a member", node.id, node.address))?;
    Ok(Exit::Done)
}

fn revoke(args: &RevokeArgs) -> Outcome {
    let signer = args.cluster.signer()?;
    let mut view = View::open(&args.cluster)?;
    view.append(&signer, &mut |state: &State| match state.token(args.id) {
        Some(token) => match token.used_by {
            Some(node) => Err(
                CliError::no(format!("token {} was used by node {node}", args.id))
                    .hint(format!("`palisade node remove {node}` takes the node out")),
            ),
            None => Ok(Change::TokenRevoke { id: args.id }),
        },
        None => Err(CliError::no(format!("there is no token {}", args.id))
            .hint("`palisade enroll list` shows them")),
    })?;
    Ok(Exit::Done)
}
