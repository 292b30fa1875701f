//! `palisade ledger resolve`: the way out of a fork, two validly signed chains of one cluster.
//!
//! ```text
//!   --keep store   this node drops its own end, while its daemon is stopped, and follows etcd again
//!   --keep node    etcd drops its end; the nodes, which hold the other, put theirs back
//! ```
//!
//! Nothing is signed, for nothing is granted: whoever owns a node's directory can throw its ledger away,
//! whoever owns etcd what etcd holds. What is given up goes to a file first.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum, ValueHint};
use palisade_daemon::layout::Layout;
use palisade_daemon::store::etcd::{EtcdOptions, EtcdStore, Shown};
use palisade_daemon::store::{Store, StoreError};
use palisade_keys::{PublicKey, Zeroizing};
use palisade_ledger::{Hash, State, Verified, split};
use palisade_link::api::PAGE;

use super::{Names, shown, summary};
use crate::cli::common::ClusterArgs;
use crate::cli::error::{CliError, Outcome};
use crate::cli::exit::Exit;
use crate::cli::files::{self, Audience};
use crate::cli::store::ask;
use crate::cli::view::{Chain, Link, places};
use crate::cli::{out, prompt};

/// Entries of each chain that are shown; of more, the number.
const SHOWN: usize = 20;
/// How long the nodes may take to put their chain back while we look.
const HEAL_WITHIN: Duration = Duration::from_secs(20);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// Which chain stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Keep {
    /// The one that etcd holds: this node drops what it has instead
    Store,
    /// The one that this node holds: etcd drops what it has instead
    Node,
}

/// Show where this node's ledger and the one in etcd part, and keep one of them. Asked twice.
///
/// A node that finds another validly signed ledger in etcd than its own refuses every change until a
/// human has decided. It comes of a data directory that was put back from a backup and used alone, or of
/// an etcd that was turned back and appended to. Without --keep both ends are shown: who signed what,
/// when. `--keep store` is run on the node whose end is given up, while its daemon is stopped; `--keep node`
/// on a node whose end stays, while the daemons of nodes with the other end are stopped. What is given up
/// goes to the file of --export; what of it should hold must be signed anew. Without --store-endpoints etcd
/// is reached as the ledger says, by this node's own certificate.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade ledger resolve --dir /var/lib/palisade
  systemctl stop palisade
  palisade ledger resolve --keep store --export given-up.cbor --dir /var/lib/palisade
  systemctl start palisade")]
pub(super) struct ResolveArgs {
    /// Which chain stays
    #[arg(long, value_name = "CHAIN", requires = "export")]
    keep: Option<Keep>,

    /// Where the end of the other one goes, with mode 0600
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    export: Option<PathBuf>,

    /// Don't ask; say it twice
    #[arg(long, action = ArgAction::Count)]
    yes: u8,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// The node's own copy.
enum Own {
    /// Its daemon is stopped.
    Stopped(Store),
    Running(Link),
}

impl Own {
    fn open(cluster: &ClusterArgs, layout: &Layout) -> Result<Self, CliError> {
        if cluster.is_remote() || !layout.is_initialized() {
            return Err(CliError::usage(format!(
                "no node of a cluster lives in {}",
                layout.root().display()
            ))
            .hint("say it on the node's own machine, and name its directory with --dir DIR"));
        }
        match Store::open(&layout.private()) {
            Ok(store) => Ok(Self::Stopped(store)),
            Err(StoreError::InUse(_)) => Ok(Self::Running(Link::new(&cluster.at_daemon())?)),
            Err(error) => Err(CliError::file(error.to_string())),
        }
    }

    fn entries(&self) -> Result<Vec<Vec<u8>>, CliError> {
        let mut all: Vec<Vec<u8>> = Vec::new();
        loop {
            let next = all.len() as u64;
            let page = match self {
                Self::Stopped(store) => store.entries(next, PAGE),
                Self::Running(link) => {
                    let page = link.ask(|client| async move { client.entries(next).await })?;
                    let page = split(&page).map_err(|error| CliError::no(error.to_string()))?;
                    Ok(page.into_iter().map(<[u8]>::to_vec).collect())
                }
            };
            let page = page.map_err(|error| CliError::file(error.to_string()))?;
            let more = page.len() == PAGE;
            all.extend(page);
            if !more {
                return Ok(all);
            }
        }
    }
}

/// A chain from where the two part.
struct End {
    rows: Vec<Vec<String>>,
    /// What the whole chain folds to; or why it does not verify.
    state: Result<State, CliError>,
}

impl End {
    fn of(name: &str, key: PublicKey, entries: &[Vec<u8>], from: usize) -> Self {
        let (mut names, mut rows) = (Names::default(), Vec::new());
        let mut chain = Chain::new(key);
        let mut each = |verified: &Verified| {
            let entry = verified.entry();
            names.learn(&entry.change);
            if usize::try_from(entry.seq).is_ok_and(|seq| seq >= from) {
                let line = shown(&names, verified);
                let change = serde_json::to_value(line.change).unwrap_or_default();
                rows.push(vec![
                    name.to_owned(),
                    line.seq.to_string(),
                    line.time,
                    line.author,
                    summary(&names, &change),
                ]);
            }
            Ok(())
        };
        let mut taken = Ok(0);
        for entry in entries {
            taken = chain.take(entry, &mut each);
            if taken.is_err() {
                break;
            }
        }
        Self {
            rows,
            state: taken.and_then(|_| chain.finish()),
        }
    }
}

/// Two chains, and the number of the first entry in which they differ.
struct Fork {
    key: PublicKey,
    own: Vec<Vec<u8>>,
    there: Shown,
    at: usize,
}

impl Fork {
    fn find(key: PublicKey, own: Vec<Vec<u8>>, there: Shown) -> Option<Self> {
        let at = own.iter().zip(&there.entries).position(|(a, b)| a != b)?;
        Some(Self {
            key,
            own,
            there,
            at,
        })
    }

    fn show(&self) -> Result<(End, End), CliError> {
        let own = End::of("node", self.key, &self.own, self.at);
        let there = End::of("etcd", self.key, &self.there.entries, self.at);
        out::line(&format!(
            "the two part at entry {}; this node's ends with entry {}, {}; etcd's with entry {}, {}",
            self.at,
            self.own.len().saturating_sub(1),
            last(&self.own),
            self.there.entries.len().saturating_sub(1),
            last(&self.there.entries)
        ))?;
        let mut rows = Vec::new();
        for end in [&own, &there] {
            rows.extend(end.rows.iter().take(SHOWN).cloned());
            let more = end.rows.len().saturating_sub(SHOWN);
            if more > 0 {
                out::note(&format!("{more} more entries of one end are not shown"));
            }
        }
        out::table(&["chain", "entry", "time", "author", "change"], rows)?;
        if let Err(error) = &there.state {
            out::note(&format!("etcd's chain holds no further: {error}"));
        }
        Ok((own, there))
    }
}

fn last(entries: &[Vec<u8>]) -> Hash {
    entries.last().map_or(Hash::ZERO, |entry| Hash::of(entry))
}

/// Runs it.
pub(super) fn run(args: &ResolveArgs) -> Outcome {
    let layout = Layout::new(args.cluster.directory()?);
    let own = Own::open(&args.cluster, &layout)?;
    let key = args.cluster.public_key()?;
    let entries = own.entries()?;
    let state = End::of("node", key, &entries, usize::MAX).state?;
    let runtime = crate::cli::view::runtime()?;
    let options = options(&args.cluster, &layout, &state)?;
    let store = runtime
        .block_on(EtcdStore::connect(&options, &key))
        .map_err(|error| ask::failed(&error))?;
    let there = runtime
        .block_on(store.shown())
        .map_err(|error| ask::failed(&error))?;
    let Some(fork) = Fork::find(key, entries, there) else {
        out::line("there is no fork: one of the two ledgers begins with the other")?;
        return Ok(Exit::Done);
    };
    let (_, end) = fork.show()?;
    let (Some(keep), Some(export)) = (args.keep, &args.export) else {
        return Err(CliError::no("the ledger is forked").hint(
            "decide which of the two is the cluster's: --keep store or --keep node, with --export FILE",
        ));
    };
    if fork.at == 0 {
        return Err(CliError::no(
            "the two have nothing in common: two clusters were begun with one key",
        )
        .hint("give one of them up: an empty directory, or an empty prefix in etcd"));
    }
    let name = state.cluster();
    match (keep, &own) {
        (Keep::Store, Own::Running(_)) => Err(CliError::no("the daemon of this node is running")
            .hint("stop it first; it takes up etcd's chain at its next start")),
        (Keep::Store, Own::Stopped(store)) => {
            named_there(&layout, &end.state?)?;
            let what = "This node gives up its own end of the ledger for the one in etcd.";
            prompt::confirm_twice(what, name, args.yes)?;
            give_up(export, &fork.own, fork.at)?;
            store
                .cut(fork.at as u64)
                .map_err(|error| CliError::file(error.to_string()))?;
            out::line(
                "this node's ledger ends where the two part; start its daemon, which follows etcd",
            )?;
            Ok(Exit::Done)
        }
        (Keep::Node, own) => {
            if let Own::Running(link) = own {
                nobody_follows(link, &fork)?;
            }
            let what = "etcd gives up its end of the ledger for this node's.";
            prompt::confirm_twice(what, name, args.yes)?;
            give_up(export, &fork.there.entries, fork.at)?;
            let cut = runtime.block_on(store.cut(&fork.there, fork.at as u64));
            cut.map_err(|error| ask::failed(&error))?;
            match own {
                Own::Stopped(_) => {
                    out::line(
                        "etcd's ledger ends where the two part; start the daemon, which puts its own back",
                    )?;
                }
                Own::Running(link) => {
                    put_back(&runtime, link, &store, &fork)?;
                    out::line("etcd holds this node's ledger again")?;
                }
            }
            Ok(Exit::Done)
        }
    }
}

/// How etcd is reached: as the options say, or else as the ledger does.
fn options(cluster: &ClusterArgs, layout: &Layout, state: &State) -> Result<EtcdOptions, CliError> {
    if cluster.store.is_given() {
        return Ok(cluster.store.options());
    }
    let endpoints = places(state);
    if endpoints.is_empty() {
        return Err(
            CliError::usage("the ledger does not say which etcd it is kept in")
                .hint("name it with --store-endpoints https://HOST:PORT,... and the files for it"),
        );
    }
    let own = |name: &str| Some(layout.etcd_keys().join(name));
    Ok(EtcdOptions {
        endpoints,
        ca_file: Some(layout.root_certificate()),
        cert_file: own("member.crt"),
        key_file: own("member.key"),
    })
}

/// A node that the other chain does not have could not go on with it.
fn named_there(layout: &Layout, there: &State) -> Result<(), CliError> {
    let key = crate::cli::common::read_secret_key(&layout.node_key())?;
    if there.members().count() > 0 && there.node_by_key(&key.public()).is_none() {
        return Err(
            CliError::no("the ledger in etcd does not name this node as a member")
                .hint("this node can't go on with it: empty its directory, and let it join anew"),
        );
    }
    Ok(())
}

/// Nodes that hold what etcd holds would put it back.
fn nobody_follows(link: &Link, fork: &Fork) -> Result<(), CliError> {
    let holds = |seq: u64, hash: &str| {
        let entry = usize::try_from(seq).ok().and_then(|seq| fork.own.get(seq));
        entry.is_some_and(|entry| Hash::of(entry).to_string() == hash)
    };
    for node in link.status()?.nodes {
        if let Some(head) = node.head.filter(|_| node.live)
            && !holds(head.seq, &head.hash)
        {
            return Err(CliError::no(format!(
                "node {} at {} holds another ledger than this node, and would put it back into etcd",
                node.id, node.address
            ))
            .hint("stop its daemon first; afterwards say there: palisade ledger resolve --keep store --export FILE"));
        }
    }
    Ok(())
}

/// Writes what is given up to a file.
fn give_up(path: &std::path::Path, entries: &[Vec<u8>], from: usize) -> Result<(), CliError> {
    let end = Zeroizing::new(entries.get(from..).unwrap_or_default().concat());
    let staged = files::stage(path, &end, Audience::Owner, false)?;
    files::place_all(vec![staged])?;
    out::note(&format!(
        "{} entries are in {}; what of them should hold must be signed anew",
        entries.len().saturating_sub(from),
        path.display()
    ));
    Ok(())
}

/// Waits until etcd shows this node's chain.
fn put_back(
    runtime: &tokio::runtime::Runtime,
    link: &Link,
    store: &EtcdStore,
    fork: &Fork,
) -> Result<(), CliError> {
    let mut left = HEAL_WITHIN;
    while !left.is_zero() {
        if let Ok(shown) = runtime.block_on(store.shown())
            && shown.entries.starts_with(&fork.own)
        {
            return Ok(());
        }
        link.pause(LOOK);
        left = left.saturating_sub(LOOK);
    }
    Err(
        CliError::no("etcd's end is given up, but no node has put its own back yet")
            .hint("look at `palisade status` and the daemons' logs"),
    )
}
