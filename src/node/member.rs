//! The node as a member of its cluster: it asks the others, answers them, and knows when it is out.

use std::sync::Arc;

use palisade_daemon::api::{Bounds, Door, Services, TlsConfig};
use palisade_daemon::ca::CaService;
use palisade_daemon::control::Control;
use palisade_daemon::files;
use palisade_daemon::identity::NodeKeys;
use palisade_daemon::layout::Layout;
use palisade_daemon::ledger::Ledger;
use palisade_daemon::members::{NodeEvent, Poller, SharedIdentity, Table};
use palisade_ledger::NodeId;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;

use super::own::Own;
use super::peers::Peers;
use super::status::Board;

/// How often a place that the ledger did not take is told again.
const TELL_EVERY: std::time::Duration = std::time::Duration::from_secs(5);
/// News of nodes that may wait for a slow listener.
const EVENTS: usize = 256;

/// The node among the others.
#[derive(Clone)]
pub(super) struct Member {
    own: Own,
    ledger: Ledger,
    table: watch::Sender<Arc<Table>>,
    events: broadcast::Sender<NodeEvent>,
}

impl Member {
    pub(super) fn new(own: Own, ledger: Ledger) -> Self {
        Self {
            own,
            ledger,
            table: watch::channel(Arc::default()).0,
            events: broadcast::channel(EVENTS).0,
        }
    }

    pub(super) fn id(&self) -> NodeId {
        self.own.id()
    }

    pub(super) fn own(&self) -> &Own {
        &self.own
    }

    pub(super) fn identity(&self) -> &SharedIdentity {
        &self.own.identity
    }

    /// What is known of the others.
    pub(super) fn table(&self) -> watch::Receiver<Arc<Table>> {
        self.table.subscribe()
    }

    /// What happens to the others, from now on.
    pub(super) fn events(&self) -> broadcast::Receiver<NodeEvent> {
        self.events.subscribe()
    }

    /// The ways to them.
    pub(super) fn peers(&self) -> Peers {
        Peers {
            own: self.id(),
            identity: self.own.identity.clone(),
            ledger: self.ledger.clone(),
            table: self.table(),
        }
    }

    /// Fetches the root's certificate where it is missing: a node that joined does not have the key to
    /// make it.
    pub(super) async fn fetch_root(&self, layout: &Layout) {
        let path = layout.root_certificate();
        if path.exists() {
            return;
        }
        let pem = match self.peers().root().await {
            Ok(pem) => pem,
            Err(error) => {
                tracing::warn!(error, "the root's certificate could not be fetched");
                return;
            }
        };
        if let Err(error) = files::write_public(&path, &pem) {
            tracing::warn!(%error, "the root's certificate could not be written");
        }
    }

    /// What the API answers.
    pub(super) fn services(&self, board: &Board, ca: &CaService, layout: &Layout) -> Services {
        let (own, ledger) = (self.own.clone(), self.ledger.clone());
        let hello = board.clone();
        let (signer, prover, lists) = (ca.clone(), ca.clone(), ca.clone());
        let root = layout.root_certificate();
        Services {
            identity: Arc::new(move || own.says(&ledger.now())),
            hello: Arc::new(move || hello.hello()),
            certificates: Arc::new(move |node, request| {
                let ca = signer.clone();
                Box::pin(async move {
                    let reply = ca.certificate(node, &request).await;
                    reply.map_err(|error| error.to_string())
                })
            }),
            ca_proofs: Arc::new(move |proof| {
                let ca = prover.clone();
                Box::pin(async move { ca.proof(&proof).await.map_err(|error| error.to_string()) })
            }),
            root: Arc::new(move || {
                let text = files::read_text(&root);
                text.map(String::into_bytes)
                    .map_err(|error| error.to_string())
            }),
            lists: Arc::new(move || lists.lists()),
            metrics: board.metrics(),
        }
    }

    /// The API's door.
    pub(super) fn door(&self, services: Services, control: &Control, tls: TlsConfig) -> Door {
        let router = services.router(control);
        Door::new(router, tls, Some(self.ledger.state()), Bounds::default())
    }

    /// Asks the others, and tells the ledger where this node is.
    pub(super) fn spawn(&self, tasks: &mut JoinSet<()>) {
        let poller = Poller {
            own: self.id(),
            identity: self.own.identity.clone(),
            ledger: self.ledger.clone(),
            table: self.table.clone(),
            events: self.events.clone(),
        };
        tasks.spawn(poller.run());
        let (own, ledger) = (self.own.clone(), self.ledger.clone());
        tasks.spawn(async move {
            while let Err(reason) = own.tell_place(&ledger).await {
                tracing::debug!(reason, "not yet");
                tokio::time::sleep(TELL_EVERY).await;
            }
        });
    }

    /// Becomes true when the ledger does not name this node any more.
    pub(super) fn removed(&self, board: &Board, tasks: &mut JoinSet<()>) -> watch::Receiver<bool> {
        let (removed, is_removed) = watch::channel(false);
        let (id, mut state, board) = (self.id(), self.ledger.state(), board.clone());
        tasks.spawn(async move {
            let gone = state.wait_for(|state| state.node(id).is_none());
            let Ok(head) = gone.await.map(|state| state.head().seq) else {
                return;
            };
            tracing::error!("this node was removed from its cluster: it serves nobody any more");
            board.problem(
                "membership",
                format!("this node was removed from its cluster (entry {head} or before): it serves nobody any more"),
            );
            removed.send_replace(true);
            // The sender stays, so that nobody takes its end for a removal.
            std::future::pending::<()>().await;
        });
        is_removed
    }

    /// Takes new keys: the ledger has them from the entry that the old ones signed; then they are shown.
    pub(super) async fn rotate(&self, layout: &Layout) -> Result<NodeKeys, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let next = NodeKeys::load_or_create_next(layout).map_err(|error| text(&error))?;
        let cluster = *self.ledger.now().cluster_key();
        let change = NodeKeys::rotation(&cluster, self.id(), &next);
        let appended = self.own.author.append(&self.ledger, change).await;
        appended.map_err(|error| text(&error))?;
        let identity = next.certificate().map_err(|error| text(&error))?;
        NodeKeys::finish_rotation(layout, &self.ledger.now()).map_err(|error| text(&error))?;
        let kept = NodeKeys::load_or_create(layout).map_err(|error| text(&error))?;
        self.own.keys.store(Arc::new(next));
        self.own.identity.store(Arc::new(identity));
        Ok(kept)
    }
}
