//! `palisade join`: this machine becomes a node of a cluster that it has a secret of.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueHint};
use palisade_daemon::identity::NodeKeys;
use palisade_daemon::join::{self as daemon, JoinError, Joined, Way};
use palisade_daemon::layout::Layout;
use palisade_keys::{Fingerprint, PublicKey};
use palisade_ledger::NodeAddress;
use palisade_link::client::{Client, ClientError};
use palisade_link::https::Connection;
use palisade_link::peer::Expect;
use tokio::runtime::Runtime;

use super::error::{CliError, Outcome};
use super::exit::Exit;
use super::files::{self, is_dash};
use super::place::{self, Follow, PlaceArgs};
use super::token::Token;
use super::trust;
use super::view::runtime;
use super::{common, out, secret};
use crate::up::progress::Steps;

/// How long the first question may take.
const OPEN_WITHIN: Duration = Duration::from_secs(10);

/// Make this machine a node of a cluster.
///
/// By an enrollment token (`palisade enroll create`), by the cluster's secret (--secret), or by the
/// cluster's private key (--cluster-private-key-file). The cluster proves its key before anything is
/// shown to it; the secret itself is never sent. The node's own key is made here and stays here.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade join db2.token --advertise db2.example:7433
  ssh db1 palisade enroll create | palisade join - --advertise db2.example:7433
  palisade join db1.example:7433 --secret cluster.secret --advertise db2.example:7433
  palisade join db1.example:7433 --cluster-private-key-file cluster_private.key --advertise db2.example:7433")]
pub(crate) struct JoinArgs {
    /// A token, a file that holds one, or `-` for standard input; with another secret, the address of
    /// a node of the cluster. A token as an argument can be seen by every user of this machine until it
    /// is used
    #[arg(value_name = "TOKEN|FILE|HOST:PORT", value_hint = ValueHint::FilePath)]
    from: PathBuf,

    /// The file with the cluster's secret; `-` is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "cluster_private_key_file")]
    secret: Option<PathBuf>,

    /// The file with the cluster's private key
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    cluster_private_key_file: Option<PathBuf>,

    /// With --secret: the cluster's public key, if it is known here
    #[arg(long, value_name = "FILE", requires = "secret", value_hint = ValueHint::FilePath)]
    cluster_public_key_file: Option<PathBuf>,

    /// With --secret: the fingerprint of the cluster's public key, if it is known here
    #[arg(long, requires = "secret", value_parser = trust::fingerprint)]
    fingerprint: Option<Fingerprint>,

    /// Don't wait for approval: the daemon that is started does
    #[arg(long)]
    no_wait: bool,

    #[command(flatten)]
    place: PlaceArgs,
}

/// What lets us in, and whom to ask.
struct Ticket {
    way: Way,
    /// The cluster, where it is known beforehand.
    cluster: Option<PublicKey>,
    addresses: Vec<NodeAddress>,
}

/// Runs it.
pub(crate) fn run(args: &JoinArgs) -> Outcome {
    let layout = Layout::new(args.place.directory()?);
    place::refuse_used(&layout)?;
    let runtime = runtime()?;
    let steps = Steps::new();
    let ticket = ticket(args, &runtime)?;
    layout
        .create()
        .map_err(|error| CliError::file(error.to_string()))?;
    let follow = Follow {
        cluster_key: match &args.cluster_private_key_file {
            Some(path) => std::path::absolute(path).ok(),
            None => None,
        },
        user_list: None,
    };
    let config = args.place.write(&layout, &follow)?;
    steps.begin(&format!("Joining at {}", whom(&ticket)));
    let place = place::of(&config)?;
    let joining = daemon::join(
        &layout,
        &place,
        ticket.cluster,
        ticket.way,
        &ticket.addresses,
    );
    let joined = runtime.block_on(joining).map_err(|error| {
        steps.fail();
        refused(&error)
    })?;
    steps.done();
    if joined.pending {
        let told = format!(
            "node {} waits for approval; on a member: palisade enroll approve {}",
            joined.id, joined.id
        );
        steps.note(&told);
        if !args.no_wait {
            steps.begin("Waiting for approval");
            let waited = runtime.block_on(daemon::await_approval(&layout));
            waited.map_err(|error| {
                steps.fail();
                refused(&error)
            })?;
            steps.done();
        }
    }
    finish(&layout, &joined, &config)
}

fn whom(ticket: &Ticket) -> String {
    let addresses: Vec<String> = ticket.addresses.iter().map(ToString::to_string).collect();
    addresses.join(" or ")
}

fn finish(layout: &Layout, joined: &Joined, config: &Path) -> Outcome {
    let keys =
        NodeKeys::load_or_create(layout).map_err(|error| CliError::file(error.to_string()))?;
    out::line(&format!(
        "node {} of cluster {}, {}",
        joined.id,
        joined.cluster,
        keys.public().fingerprint()
    ))?;
    out::note(&format!("start it: {}", place::start_command(config)));
    Ok(Exit::Done)
}

/// What the daemon's crate says, with what to do about it.
fn refused(error: &JoinError) -> CliError {
    match error {
        JoinError::Open(open) | JoinError::Client(ClientError::Open(open)) => CliError::from(open),
        JoinError::Client(ClientError::Refused(failure)) => {
            CliError::no(format!("the cluster refused: {}", failure.error))
        }
        JoinError::Embedded => {
            CliError::no(error.to_string()).hint("on that node: palisade store move managed")
        }
        JoinError::File(_) | JoinError::Identity(_) | JoinError::Store(_) => {
            CliError::file(error.to_string())
        }
        JoinError::Passphrase(_) => CliError::usage(error.to_string()),
        _ => CliError::no(error.to_string()),
    }
}

/// What lets us in.
fn ticket(args: &JoinArgs, runtime: &Runtime) -> Result<Ticket, CliError> {
    if let Some(path) = &args.cluster_private_key_file {
        let key = common::read_secret_key(path)?;
        return Ok(Ticket {
            cluster: Some(key.public()),
            way: Way::ClusterKey(key),
            addresses: vec![address(args)?],
        });
    }
    if let Some(path) = &args.secret {
        let text = secret::read(path)?;
        let address = address(args)?;
        return Ok(Ticket {
            cluster: cluster_key(args, &address, runtime)?,
            way: Way::Secret(text),
            addresses: vec![address],
        });
    }
    let token = token(&args.from)?;
    Ok(Ticket {
        cluster: Some(token.cluster),
        way: Way::Token(token.id(), token.key),
        addresses: token.addresses,
    })
}

fn address(args: &JoinArgs) -> Result<NodeAddress, CliError> {
    let text = args.from.to_string_lossy();
    text.parse().map_err(|error| {
        CliError::usage(format!("{text} is not the address of a node")).because(&error)
    })
}

fn token(from: &Path) -> Result<Token, CliError> {
    let text = from.to_string_lossy();
    if Token::is_token(&text) {
        return Token::parse(&text);
    }
    if !is_dash(from) && !from.exists() && text.parse::<NodeAddress>().is_ok() {
        return Err(CliError::usage(format!("{text} alone lets nobody in")).hint(
            "give the cluster's secret with --secret FILE, or a token: `palisade enroll create` on a member makes one",
        ));
    }
    Token::parse(&files::read_secret(from, files::MAX_KEY_BYTES)?)
}

/// The public key of the cluster, where the person knows it or its fingerprint. Who does not is told
/// by the node, and what vouches for that is the secret: a cluster that does not know it can't show
/// the secret's key in its ledger.
fn cluster_key(
    args: &JoinArgs,
    address: &NodeAddress,
    runtime: &Runtime,
) -> Result<Option<PublicKey>, CliError> {
    if let Some(path) = &args.cluster_public_key_file {
        return common::read_public_key(path).map(Some);
    }
    if args.fingerprint.is_none() {
        return Ok(None);
    }
    let ask = async {
        let text = address.to_string();
        let open = Connection::open(&text, &Expect::Stranger, None, OPEN_WITHIN).await?;
        Client::https(open).identity().await
    };
    let said = runtime.block_on(ask)?.cluster;
    let key: Option<PublicKey> = said.and_then(|text| text.parse().ok());
    let key = key.ok_or_else(|| CliError::no(format!("{address} is no node of a cluster")))?;
    let vouched = trust::Vouched {
        fingerprint: args.fingerprint,
        yes: false,
    };
    let whose = format!("the cluster at {address}");
    trust::believe(&whose, key.fingerprint(), "", vouched)?;
    Ok(Some(key))
}
