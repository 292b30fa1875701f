//! One connection from its first byte to its last.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use crate::gate::Place;
use crate::lockstep::Lockstep;
use crate::login::Wire;
use crate::login::admit::{Session, admit, give_back};
use crate::login::authenticate::authenticate;
use crate::login::negotiate::{Opens, negotiate};
use crate::metrics::Metrics;
use crate::policy::EndReason;
use crate::postgres::Backend;
use crate::refusal::Refusal;
use crate::server::{Counted, Shared};
use crate::socket::ServerSocket;
use crate::splice::{Outcome, Splice};
use crate::wire::backend::{Face, Outgoing};
use crate::wire::startup::CancelRequest;

/// A silent client is asked whether it is there, and again (nine times, by Linux' default).
const KEEPALIVE_AFTER: Duration = Duration::from_mins(2);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);
/// The length of a `Terminate` message: who said no more than this has used nothing.
const TERMINATE_BYTES: u64 = 5;
/// For a client that does not take its last message.
const FAREWELL_WITHIN: Duration = Duration::from_secs(1);

/// Serves one connection. `place` is held until the login is over.
pub(crate) async fn serve(shared: Arc<Shared>, tcp: TcpStream, peer: SocketAddr, place: Place) {
    // A session's task keeps nothing of its login: that state is on the heap and freed here.
    let login = Box::pin(log_in(&shared, tcp, peer));
    let session = tokio::time::timeout(shared.config.limits.login_within, login).await;
    if session.is_err() {
        refuse(&shared, peer, &Refusal::Deadline, None).await;
    }
    drop(place);
    if let Ok(Some(session)) = session {
        Box::pin(run(&shared, session)).await;
    }
}

/// Sets what the clients' sockets need: on Linux those that a listener accepts have its options.
pub(crate) fn prepare(listener: &TcpListener) -> io::Result<()> {
    let listener = SockRef::from(listener);
    // Answers are small and waited for.
    listener.set_tcp_nodelay(true)?;
    // A client whose machine is gone never says goodbye.
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_EVERY);
    listener.set_tcp_keepalive(&keepalive)
}

/// All phases of a login; `None` if it came to no session.
async fn log_in(shared: &Shared, tcp: TcpStream, peer: SocketAddr) -> Option<Session> {
    let identity = shared.identity.load_full();
    let mut opened = match negotiate(tcp, identity, shared.config.encrypt_traffic).await {
        Ok(Opens::Session(opened)) => opened,
        Ok(Opens::Cancel(request, wire)) => {
            cancel(shared, peer, &request).await;
            drop(wire);
            return None;
        }
        Err((refusal, wire)) => {
            refuse(shared, peer, &refusal, wire).await;
            return None;
        }
    };
    let authenticated = match authenticate(shared, &mut opened, peer.ip()).await {
        Ok(authenticated) => authenticated,
        Err(refusal) => {
            let startup = &opened.startup;
            tracing::info!(user = ?startup.user, database = ?startup.database, address = %peer, "login refused");
            refuse(shared, peer, &refusal, Some(opened.wire)).await;
            return None;
        }
    };
    let (method, line) = (authenticated.method, authenticated.line);
    match admit(shared, opened, authenticated).await {
        Ok(session) => {
            let terms = &session.entry.live().terms;
            shared.metrics.login(terms.proof.name());
            tracing::info!(
                user = ?terms.attempt.user, database = ?terms.attempt.database, address = %peer,
                tls = terms.attempt.tls, proof = terms.proof.name(), %method, line,
                restricted = terms.lockstep, process = session.cancellable.process(), "login"
            );
            Some(session)
        }
        Err((refusal, wire)) => {
            refuse(shared, peer, &refusal, Some(wire)).await;
            None
        }
    }
}

/// Logs and counts a refusal, and tells the client what it may know.
async fn refuse(shared: &Shared, peer: SocketAddr, refusal: &Refusal, wire: Option<Wire>) {
    shared.metrics.refusal(refusal.kind());
    tracing::info!(address = %peer, kind = refusal.kind(), reason = %refusal, "refused");
    let (Some(face), Some(mut wire)) = (refusal.face(), wire) else {
        return;
    };
    let farewell = async {
        wire.send(&fatal(&face)).await?;
        wire.stream.shutdown().await
    };
    // A client that does not listen has missed its chance.
    tokio::time::timeout(FAREWELL_WITHIN, farewell).await.ok();
}

fn fatal(face: &Face) -> Outgoing {
    let mut out = Outgoing::default();
    out.error("FATAL", face);
    out
}

/// Refuses a connection for which there is no place, without waiting for anything.
pub(crate) fn turn_away(shared: &Shared, tcp: &TcpStream, peer: SocketAddr) {
    let refusal = Refusal::Crowded;
    shared.metrics.refusal(refusal.kind());
    tracing::debug!(address = %peer, "turned away: too many connections are logging in");
    if let Some(face) = refusal.face() {
        tcp.try_write(&fatal(&face).0).ok();
    }
}

/// Passes a request to cancel on, if it knows the key. The client is told nothing either way.
async fn cancel(shared: &Shared, peer: SocketAddr, request: &CancelRequest) {
    let Some(target) = shared.cancels.find(request) else {
        Metrics::add(&shared.metrics.cancels_unknown, 1);
        tracing::info!(address = %peer, process = request.process, "a cancel request without the right key");
        return;
    };
    Metrics::add(&shared.metrics.cancels, 1);
    if let Err(error) = target.cancel(&shared.socket).await {
        tracing::warn!(%error, "a cancel request could not be passed on");
    }
}

/// Runs a session to its end.
async fn run(shared: &Arc<Shared>, session: Session) {
    let _counted = Counted::new(&shared.metrics);
    let Session {
        wire,
        backend,
        key,
        entry,
        cancellable,
    } = session;
    let Backend {
        stream,
        target,
        reported,
    } = backend;
    let live = entry.live();
    let silent_so_far = wire.inbox.is_empty() && !live.terms.lockstep;
    let mut link = if live.terms.lockstep {
        Link::Lockstep(Box::new(Lockstep::new(wire.stream, stream, wire.inbox)))
    } else {
        Link::Splice(Box::new(Splice::new(wire.stream, stream, &wire.inbox)))
    };
    let outcome = link.run(live).await;
    let (up, down) = link.bytes();
    Metrics::add(&shared.metrics.bytes_from_clients, up);
    Metrics::add(&shared.metrics.bytes_to_clients, down);
    tracing::debug!(user = ?live.terms.attempt.user, process = target.process, ?outcome, "session over");
    match outcome {
        Outcome::Idle => {
            drop((entry, cancellable));
            let (stream, reports) = link.release().await;
            let mut backend = Backend {
                stream,
                target,
                reported,
            };
            for report in &reports {
                Backend::note(&mut backend.reported, report);
            }
            let untouched = silent_so_far && up == TERMINATE_BYTES;
            give_back(shared, key, backend, untouched).await;
        }
        Outcome::Closed => {}
        Outcome::Failed(error) => tracing::debug!(%error, "session broken"),
        Outcome::Ended(reason) => {
            shared.metrics.ended(reason.kind());
            tracing::info!(
                user = ?live.terms.attempt.user, address = %live.terms.attempt.address,
                process = target.process, reason = reason.kind(), "session ended"
            );
            // PostgreSQL would only notice our absence when it next speaks.
            let socket = shared.socket.clone();
            tokio::spawn(async move {
                if let Err(error) = target.cancel(&socket).await {
                    tracing::debug!(%error, "the statement of an ended session could not be cancelled");
                }
            });
            let last = farewell(reason);
            let goodbye = link.finish(&last.0);
            // A client that does not take it has had its time.
            tokio::time::timeout(shared.config.limits.end_within, goodbye)
                .await
                .ok();
        }
    }
}

fn farewell(reason: EndReason) -> Outgoing {
    fatal(&Face {
        sqlstate: "57P01",
        message: format!("terminating connection: {}", reason.message()),
        hint: None,
    })
}

/// How a session's bytes are passed on.
enum Link {
    Splice(Box<Splice>),
    Lockstep(Box<Lockstep>),
}

impl Link {
    async fn run(&mut self, live: &crate::sessions::Live) -> Outcome {
        match self {
            Self::Splice(splice) => splice.run(live).await,
            Self::Lockstep(lockstep) => lockstep.run(live).await,
        }
    }

    fn bytes(&self) -> (u64, u64) {
        match self {
            Self::Splice(splice) => (splice.bytes_up, splice.bytes_down),
            Self::Lockstep(lockstep) => (lockstep.bytes_up, lockstep.bytes_down),
        }
    }

    async fn finish(&mut self, last: &[u8]) -> io::Result<()> {
        match self {
            Self::Splice(splice) => splice.finish(last).await,
            Self::Lockstep(lockstep) => lockstep.finish(last).await,
        }
    }

    async fn release(self) -> (ServerSocket, Vec<Vec<u8>>) {
        match self {
            Self::Splice(splice) => splice.release().await,
            Self::Lockstep(lockstep) => lockstep.release(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_accepted_has_the_listeners_options() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        prepare(&listener).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (_client, accepted) = tokio::join!(client, listener.accept());
        let (accepted, _) = accepted.unwrap();
        let options = SockRef::from(&accepted);
        assert!(options.tcp_nodelay().unwrap());
        assert!(options.keepalive().unwrap());
        assert_eq!(options.tcp_keepalive_time().unwrap(), KEEPALIVE_AFTER);
        assert_eq!(options.tcp_keepalive_interval().unwrap(), KEEPALIVE_EVERY);
    }
}
