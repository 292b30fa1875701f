//! The ledger in etcd, where no daemon is asked: read, verified here like any other, and appended to.
//!
//! etcd is believed in nothing. Whoever owns it can keep entries back: where this machine is a node's,
//! or was, the head that the node has seen last must be there.

use palisade_daemon::layout::Layout;
use palisade_daemon::store;
use palisade_daemon::store::etcd::{EtcdError, EtcdStore, OutsideLedger};
use palisade_keys::PublicKey;
use palisade_ledger::{Head, Refusal, State, StoreConfig, Verified};

use super::Link;
use crate::cli::common::{ClusterArgs, read_public_key};
use crate::cli::error::CliError;
use crate::cli::out;
use crate::cli::store::args::StoreArgs;
use crate::cli::store::ask;

/// An etcd that is read and appended to.
pub(super) struct Outside {
    store: EtcdStore,
    key: PublicKey,
    /// What the node of this machine has seen last.
    seen: Option<Head>,
}

/// What became of an entry.
pub(super) enum Sent {
    /// It is in the ledger.
    Taken(Head),
    /// Another one came first: sign again.
    Stale,
}

impl Outside {
    /// Reaches etcd. Nothing of the ledger is read yet.
    pub(super) fn connect(
        link: &Link,
        args: &StoreArgs,
        cluster: &ClusterArgs,
    ) -> Result<Self, CliError> {
        let key = cluster.public_key()?;
        // Before etcd is asked: the node goes on meanwhile.
        let seen = seen(cluster, &key)?;
        let store = link
            .block_on(EtcdStore::connect(&args.options(), &key))
            .map_err(|error| ask::failed(&error))?;
        Ok(Self { store, key, seen })
    }

    /// Reads the whole ledger, and shows each entry from number `from` on to `each`. What `from` follows
    /// must be in it.
    pub(super) fn read(
        &self,
        link: &Link,
        before: Option<Head>,
        each: &mut dyn FnMut(&Verified) -> Result<(), CliError>,
    ) -> Result<State, CliError> {
        let read = link.block_on(self.store.ledger(&self.key));
        let ledger = read.map_err(|error| ask::failed(&error))?;
        for known in [self.seen, before].into_iter().flatten() {
            holds(&ledger, known)?;
        }
        let next = before.map_or(0, |head| head.seq.saturating_add(1));
        let next = usize::try_from(next).unwrap_or(usize::MAX);
        for entry in ledger.entries.iter().skip(next) {
            each(entry)?;
        }
        Ok(ledger.state)
    }

    /// Appends a signed entry behind `state`.
    pub(super) fn append(
        &self,
        link: &Link,
        state: &State,
        bytes: &[u8],
    ) -> Result<Sent, CliError> {
        self.refuse_if_left(state)?;
        match link.block_on(self.store.append_signed(&self.key, bytes)) {
            Ok(head) => {
                out::note(&format!(
                    "entry {} is in the ledger; the nodes follow as they hear of it from etcd",
                    head.seq
                ));
                Ok(Sent::Taken(head))
            }
            Err(EtcdError::Refused(Refusal::NotNext { .. } | Refusal::OtherChain { .. })) => {
                Ok(Sent::Stale)
            }
            Err(EtcdError::Refused(refusal)) => Err(refusal.into()),
            Err(error) => Err(ask::failed(&error)),
        }
    }

    /// Nobody listens any more at an etcd that the ledger has left.
    fn refuse_if_left(&self, state: &State) -> Result<(), CliError> {
        let moved = state.store_entry() > 0 && state.store_entry() == state.head().seq;
        if !moved || is_at(state, &self.store.endpoints()) {
            return Ok(());
        }
        let (place, hint) = match state.store() {
            StoreConfig::Embedded => (
                "to a node's own file".to_owned(),
                "ask its daemon: leave --store-endpoints out, or name it with --node HOST:PORT",
            ),
            StoreConfig::Managed | StoreConfig::Endpoints(_) => (
                format!("to {}", places(state).join(", ")),
                "name that etcd, as the ledger does, with --store-endpoints",
            ),
        };
        Err(CliError::no(format!(
            "the ledger has moved {place} (entry {}): nothing was appended to the etcd that it left",
            state.store_entry()
        ))
        .hint(hint))
    }
}

/// Whether one of these endpoints is where the ledger says that it is kept.
fn is_at(state: &State, endpoints: &[String]) -> bool {
    let places = places(state);
    let mut endpoints = endpoints.iter();
    endpoints.any(|url| places.contains(&url.trim_end_matches('/').to_owned()))
}

/// Where the ledger says that it is kept: endpoints of etcd.
pub(crate) fn places(state: &State) -> Vec<String> {
    match state.store() {
        StoreConfig::Embedded => Vec::new(),
        StoreConfig::Managed => state
            .members()
            .filter_map(|node| node.store.as_ref())
            .map(|store| format!("https://{}", store.client))
            .collect(),
        StoreConfig::Endpoints(urls) => urls.clone(),
    }
}

/// What the node of this directory has seen last, if it is of this cluster.
fn seen(cluster: &ClusterArgs, key: &PublicKey) -> Result<Option<Head>, CliError> {
    let layout = Layout::new(cluster.directory()?);
    let own = layout.cluster_public_key();
    if !own.exists() || read_public_key(&own)? != *key {
        return Ok(None);
    }
    store::seen(&layout.private())
        .map_err(|error| CliError::file("can't read what this node has seen last").because(&error))
}

fn holds(ledger: &OutsideLedger, known: Head) -> Result<(), CliError> {
    let place = usize::try_from(known.seq).unwrap_or(usize::MAX);
    let shown = ledger.entries.get(place).map(Verified::head);
    if shown == Some(known) {
        return Ok(());
    }
    let shown = match shown {
        Some(_) => "another one in its place".to_owned(),
        None => format!("the ledger up to entry {} alone", ledger.state.head().seq),
    };
    Err(CliError::no(format!(
        "etcd was turned back, or holds another ledger: entry {} was seen here, and it shows {shown}",
        known.seq
    ))
    .hint("nothing was signed; start a node, which puts the ledger back, or look at `palisade ledger resolve`"))
}
