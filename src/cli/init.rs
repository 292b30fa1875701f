//! `palisade init`: prepares a machine, as the first node of a cluster or as one that waits to be added.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum, ValueHint};
use palisade_daemon::author::ClusterAuthor;
use palisade_daemon::config::Config;
use palisade_daemon::identity::NodeKeys;
use palisade_daemon::layout::Layout;
use palisade_daemon::ledger::Ledger;
use palisade_daemon::{files as daemon_files, pki};
use palisade_keys::Zeroizing;
use palisade_ledger::{Change, StoreConfig, UserName};

use super::error::{CliError, Outcome};
use super::exit::Exit;
use super::files::shell_quote;
use super::place::{self, Follow, PlaceArgs};
use super::view::runtime;
use super::{entropy, out, secret};
use crate::node;
use crate::up::{self, Files, progress::Steps};

/// Prepare this machine as a node.
///
/// Without --secret it becomes the first node of a new cluster: keys, ledger, a superuser and the
/// cluster's secret are made. With --secret it becomes a node that waits to be added to the cluster
/// that knows the secret (`palisade node add` at a member). Nothing runs yet: the fingerprint is shown,
/// for the question that `node add` asks, and the command that starts the daemon.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade init --advertise db1.example:7433
  palisade init --advertise db2.example:7433 --secret cluster.secret
  ssh db1 cat /var/lib/palisade/private/cluster.secret | palisade init --advertise db2.example:7433 --secret -")]
pub(crate) struct InitArgs {
    /// The file with the secret of the cluster that will add this node; `-` is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    secret: Option<PathBuf>,

    /// What a new cluster is called
    #[arg(
        long,
        value_name = "NAME",
        default_value = "palisade",
        conflicts_with = "secret"
    )]
    name: String,

    /// The superuser that a new cluster begins with
    #[arg(
        long,
        value_name = "NAME",
        default_value = "admin",
        conflicts_with = "secret"
    )]
    superuser: UserName,

    /// Where a new cluster keeps its ledger
    #[arg(long, value_enum, default_value_t = Kept::Managed, conflicts_with = "secret")]
    store: Kept,

    #[command(flatten)]
    place: PlaceArgs,
}

/// Where a new cluster keeps its ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kept {
    /// In etcd, which the daemons run; other nodes can join
    Managed,
    /// On this node alone, until `palisade store move managed`
    Embedded,
}

/// Runs it.
pub(crate) fn run(args: &InitArgs) -> Outcome {
    let layout = Layout::new(args.place.directory()?);
    place::refuse_used(&layout)?;
    let secret = match &args.secret {
        Some(path) => Some(checked(&secret::read(path)?)?),
        None => None,
    };
    layout
        .create()
        .map_err(|error| CliError::file(error.to_string()))?;
    let config = match &secret {
        Some(secret) => wait(args, &layout, secret)?,
        None => begin(args, &layout)?,
    };
    let keys =
        NodeKeys::load_or_create(&layout).map_err(|error| CliError::file(error.to_string()))?;
    out::line(&format!("fingerprint  {}", keys.public().fingerprint()))?;
    let start = place::start_command(&config);
    if secret.is_some() {
        out::note(&format!("start it:   {start}"));
        out::note(&format!(
            "then, at a member: palisade node add {}",
            args.place.advertise
        ));
    } else {
        begun(args, &layout, &start)?;
    }
    Ok(Exit::Done)
}

/// A secret that no cluster would take is refused here, where it can be mended.
fn checked(text: &Zeroizing<String>) -> Result<Zeroizing<String>, CliError> {
    let least = palisade_keys::MIN_PASSPHRASE_CHARS;
    if text.chars().count() < least {
        return Err(CliError::usage(format!(
            "a cluster's secret has at least {least} characters"
        ))
        .hint(
            "`palisade init` on the first node made one: private/cluster.secret in its directory",
        ));
    }
    Ok(text.clone())
}

/// A node that waits.
fn wait(args: &InitArgs, layout: &Layout, secret: &str) -> Result<PathBuf, CliError> {
    let config = args.place.write(layout, &Follow::default())?;
    let text = Zeroizing::new(format!("{secret}\n"));
    daemon_files::write_private(&layout.join_secret(), text.as_bytes())
        .map_err(|error| CliError::file(error.to_string()))?;
    Ok(config)
}

/// The first node of a new cluster.
fn begin(args: &InitArgs, layout: &Layout) -> Result<PathBuf, CliError> {
    let steps = Steps::new();
    steps.begin("Making the cluster's keys and the superuser");
    let files = Files::new(layout.root());
    let failed = |error: node::NodeError| {
        let told = CliError::no(error.to_string());
        match error.hint() {
            Some(hint) => told.hint(hint),
            None => told,
        }
    };
    up::make_keys(&files, &args.superuser).map_err(failed)?;
    let follow = Follow {
        cluster_key: Some(layout.cluster_private_key()),
        user_list: Some(files.users()),
    };
    let path = args.place.write(layout, &follow)?;
    let config = Config::load(Some(&path), std::iter::empty())
        .map_err(|error| CliError::file(error.to_string()))?;
    steps.begin("Beginning the ledger");
    let runtime = runtime()?;
    runtime.block_on(async {
        let ledger = node::begin_only(&config, &args.name)
            .await
            .map_err(failed)?;
        settle(args, layout, &ledger).await
    })?;
    steps.done();
    Ok(path)
}

/// What the ledger says besides, unless a run that was cut short has said it.
async fn settle(args: &InitArgs, layout: &Layout, ledger: &Ledger) -> Result<(), CliError> {
    let key = pki::read_secret_key(&layout.cluster_private_key())
        .map_err(|error| CliError::file(error.to_string()))?;
    let author = ClusterAuthor::new(key);
    let mut changes = Vec::new();
    let state = ledger.now();
    if state.join_secret().is_none() {
        let path = layout.cluster_secret();
        let text = if path.exists() {
            secret::read(&path)?
        } else {
            let text = entropy::cluster_secret()?;
            let line = Zeroizing::new(format!("{}\n", *text));
            daemon_files::write_private(&path, line.as_bytes())
                .map_err(|error| CliError::file(error.to_string()))?;
            text
        };
        let public = secret::key_of(&text, state.cluster_key())?.public();
        changes.push(Change::SecretSet { key: Some(public) });
    }
    if args.store == Kept::Managed && state.store_entry() == 0 {
        let store = StoreConfig::Managed;
        changes.push(Change::StoreSet { store });
    }
    for change in changes {
        author
            .append(ledger, change)
            .await
            .map_err(|error| CliError::no("can't begin the ledger").because(&error))?;
    }
    Ok(())
}

fn begun(args: &InitArgs, layout: &Layout, start: &str) -> Result<(), CliError> {
    let shown = |path: &Path| shell_quote(&path.display().to_string());
    let files = Files::new(layout.root());
    out::line(&format!(
        "cluster key  {}",
        shown(&layout.cluster_public_key())
    ))?;
    out::line(&format!("secret       {}", shown(&layout.cluster_secret())))?;
    let credentials = files.credentials(args.superuser.as_str());
    out::line(&format!("superuser    {}", shown(&credentials)))?;
    out::note(&format!("start it:   {start}"));
    Ok(())
}
