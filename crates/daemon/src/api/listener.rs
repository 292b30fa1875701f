//! The accept loop, and each connection from its first byte to its last.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Extension;
use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use palisade_keys::PublicKey;
use palisade_ledger::State;
use palisade_link::peer::{self, Caller};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;

use super::caller::Who;
use super::gate::{Bounds, Gate, Place};

/// What is shown in a handshake; put another in, and the next handshake shows that.
pub type TlsConfig = Arc<ArcSwap<ServerConfig>>;

/// From the first byte to the end of the handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// For the head of a request, and between two requests: nodes ask every two seconds.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// A stranger's whole connection: it takes some round trips to join.
const STRANGER_WITHIN: Duration = Duration::from_mins(1);
/// After a failed `accept`: file descriptors may come free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Who is at the other end of a connection, as far as TLS and TCP say.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) caller: Caller,
    pub(super) address: IpAddr,
}

/// The key that a caller proved, for handlers that look it up themselves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallerKey(pub(crate) Option<PublicKey>);

/// Where a caller is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallerAddress(pub(crate) IpAddr);

/// The API's door.
#[derive(Clone)]
pub struct Door {
    router: Router,
    tls: TlsConfig,
    state: Option<watch::Receiver<Arc<State>>>,
    gate: Arc<Gate>,
}

impl Door {
    /// A door behind which `router` answers (see [`super::Services::router`]). Without a state, as
    /// long as a node waits to be added, everybody is a stranger.
    #[must_use]
    pub fn new(
        router: Router,
        tls: TlsConfig,
        state: Option<watch::Receiver<Arc<State>>>,
        bounds: Bounds,
    ) -> Self {
        Self {
            router,
            tls,
            state,
            gate: Gate::new(bounds),
        }
    }

    /// Serves until the task is dropped; the connections end with it.
    pub async fn serve(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            match listener.accept().await {
                Ok((tcp, peer)) => {
                    let Some(place) = self.gate.enter(peer.ip(), |ip| self.is_members(ip)) else {
                        tracing::debug!(%peer, "too many strangers in the API's door; turned away");
                        continue;
                    };
                    connections.spawn(self.clone().connection(tcp, peer, place));
                }
                Err(error) => {
                    tracing::warn!(%error, "can't take a connection to the API");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Whether the ledger names this address, by number, as a member's.
    fn is_members(&self, address: IpAddr) -> bool {
        let Some(state) = &self.state else {
            return false;
        };
        let state = state.borrow();
        state.members().any(|node| {
            let host = node.address.host();
            let host = host.trim_start_matches('[').trim_end_matches(']');
            host.parse() == Ok(address)
        })
    }

    async fn connection(self, tcp: TcpStream, peer: SocketAddr, place: Place) {
        drop(tcp.set_nodelay(true));
        let accepted = peer::accept(tcp, self.tls.load_full(), HANDSHAKE_WITHIN).await;
        let (stream, caller) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%peer, %error, "no session with the API");
                return;
            }
        };
        let session = Session {
            caller,
            address: peer.ip().to_canonical(),
        };
        self.requests(stream, session, place).await;
    }

    async fn requests(mut self, stream: TlsStream<TcpStream>, session: Session, mut place: Place) {
        let key = session.caller.key();
        let router = self
            .router
            .layer(Extension(CallerKey(key)))
            .layer(Extension(CallerAddress(session.address)))
            .layer(Extension(session));
        let http = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WITHIN)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
        let mut http = std::pin::pin!(http);
        let mut stranger = std::pin::pin!(tokio::time::sleep(STRANGER_WITHIN));
        let mut was_known = false;
        loop {
            let known = self.state.as_mut().and_then(|state| {
                let state = state.borrow_and_update();
                let who = Who::of(&state, key.as_ref());
                who.is_known().then_some(matches!(who, Who::Member(_)))
            });
            if was_known && known.is_none() {
                tracing::info!("a connection to the API was closed: its node or user is out");
                return;
            }
            if let (Some(key), Some(is_member)) = (key, known)
                && !place.is_known(key, is_member)
            {
                tracing::warn!(key = %key.fingerprint(), "a connection to the API was closed: that key has too many");
                return;
            }
            was_known = known.is_some();
            tokio::select! {
                biased;
                () = changed(&mut self.state) => {}
                () = &mut stranger, if !was_known => return,
                done = &mut http => {
                    if let Err(error) = done {
                        tracing::debug!(%error, "a connection to the API broke");
                    }
                    return;
                }
            }
        }
    }
}

/// Waits until the state changes; without one, for ever.
async fn changed(state: &mut Option<watch::Receiver<Arc<State>>>) {
    if let Some(state) = state
        && state.changed().await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}
