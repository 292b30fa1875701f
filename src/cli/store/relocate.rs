//! `palisade store move`: the ledger moves to another store.

use std::time::Duration;

use clap::{Args, ValueEnum};
use palisade_ledger::{Change, State, StoreConfig};
use palisade_link::api::{Command, StoreKind, StoreTarget};

use crate::cli::common::ClusterArgs;
use crate::cli::error::{CliError, Outcome};
use crate::cli::exit::Exit;
use crate::cli::out;
use crate::cli::view::View;

/// How long the new store may take.
const WITHIN: Duration = Duration::from_mins(1);

/// Where to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Target {
    /// Etcd that the daemons run, with certificates of the cluster's CA
    Managed,
    /// One node's own file
    Embedded,
}

/// Move the ledger to another store, while everybody works on.
///
/// `managed`: the daemons run etcd themselves; it grows as nodes join. `embedded`: one node's own file, for
/// a cluster of one. `--store-endpoints`: an etcd that is there already; each node shows it the
/// certificate that its own configuration names (`store.ca_file`, `store.cert_file`, `store.key`, or
/// the variables `PALISADE_STORE_CA_FILE`, ...). Needs the privilege system.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade store move managed --as root.credentials
  palisade store move --store-endpoints https://n1:2379,https://n2:2379,https://n3:2379 --as root.credentials
  palisade store move embedded --as root.credentials")]
pub(super) struct MoveArgs {
    /// Where to; without it, to the etcd that --store-endpoints names
    #[arg(value_name = "STORE")]
    target: Option<Target>,

    #[command(flatten)]
    cluster: ClusterArgs,
}

impl MoveArgs {
    fn target(&self) -> Result<StoreTarget, CliError> {
        match self.target {
            Some(Target::Managed) => Ok(StoreTarget::Managed),
            Some(Target::Embedded) => Ok(StoreTarget::Embedded),
            None if self.cluster.store.is_given() => {
                Ok(StoreTarget::Endpoints(self.cluster.store.store_endpoints.clone()))
            }
            None => Err(CliError::usage("where is the ledger to go?").hint(
                "say `managed`, `embedded`, or name an etcd with --store-endpoints https://HOST:2379,...",
            )),
        }
    }
}

/// Runs it.
pub(super) fn run(args: &MoveArgs) -> Outcome {
    let target = args.target()?;
    let signer = args.cluster.signer()?;
    let mut view = View::open(&args.cluster.at_daemon())?;
    let store = match &target {
        StoreTarget::Embedded => StoreConfig::Embedded,
        StoreTarget::Managed => StoreConfig::Managed,
        StoreTarget::Endpoints(urls) => StoreConfig::Endpoints(urls.clone()),
    };
    if *view.state().store() == store {
        return Err(CliError::no("the ledger is kept there already"));
    }
    // The node makes the target ready; the entry that names it is a human's to sign.
    let done = view.command(&signer, &Command::StoreMove { target })?;
    out::note(&done.message);
    let mut change = |_: &State| {
        Ok(Change::StoreSet {
            store: store.clone(),
        })
    };
    view.append(&signer, &mut change)?;
    arrived(&view, &store)?;
    out::line("the ledger has moved")?;
    Ok(Exit::Done)
}

/// Waits until the new store holds the whole ledger: before that who writes to it directly is refused.
fn arrived(view: &View, store: &StoreConfig) -> Result<(), CliError> {
    let kind = match store {
        // Nobody else can write there.
        StoreConfig::Embedded => return Ok(()),
        StoreConfig::Managed => StoreKind::Managed,
        StoreConfig::Endpoints(_) => StoreKind::Endpoints,
    };
    let mut problem = None;
    let arrived = view.wait(
        "Waiting until the new store has all of it",
        WITHIN,
        |status| {
            let store = status.store;
            problem = store.problem;
            store.kind == kind && store.quorum && !store.behind
        },
    )?;
    if arrived {
        return Ok(());
    }
    let problem = problem.map(|problem| format!(": {problem}"));
    Err(CliError::no(format!(
        "the ledger has moved, but its new store does not take entries yet{}",
        problem.unwrap_or_default()
    ))
    .hint("the daemon goes on trying; `palisade status` shows when it does"))
}
