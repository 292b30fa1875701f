//! Phase 3: a connection to PostgreSQL, a cancel key, and "ready".

use std::time::Duration;

use tokio::time::Instant;

use super::Wire;
use super::authenticate::Authenticated;
use super::negotiate::Opened;
use crate::cancel::Cancellable;
use crate::metrics::Metrics;
use crate::policy::EndReason;
use crate::pool::PoolKey;
use crate::postgres::{Backend, BackendError};
use crate::refusal::Refusal;
use crate::server::Shared;
use crate::sessions::Entry;

/// How long to wait for the room that closed connections leave, try after try: 50 ms are enough on an
/// idle machine, and after 750 ms it is not they who are in the way.
const ROOM_WITHIN: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
];

/// A client that is logged in, and the connection to PostgreSQL that serves it.
pub(crate) struct Session {
    pub(crate) wire: Wire,
    pub(crate) backend: Backend,
    pub(crate) key: PoolKey,
    pub(crate) entry: Entry,
    pub(crate) cancellable: Cancellable,
}

/// Logs in at PostgreSQL as the user and tells the client that it is ready.
pub(crate) async fn admit(
    shared: &Shared,
    opened: Box<Opened>,
    authenticated: Authenticated,
) -> Result<Session, (Refusal, Wire)> {
    let Opened {
        mut wire, startup, ..
    } = *opened;
    let long_key = startup.agreed_minor() >= 2;
    let key = PoolKey {
        user: startup.user,
        database: startup.database,
        parameters: startup.parameters,
        changed: authenticated.changed,
    };
    let Authenticated { terms, mut out, .. } = authenticated;
    let backend = match connect(shared, &key).await {
        Ok(backend) => backend,
        Err(error) => {
            // As PostgreSQL does: the proof was right, what follows is another matter.
            out.authenticated();
            return match wire.send(&out).await {
                Ok(()) => Err((error.into(), wire)),
                Err(error) => Err((error.into(), wire)),
            };
        }
    };
    let process = backend.target.process;
    let Some(cancellable) = shared.cancels.enter(backend.target.clone(), long_key) else {
        return Err((Refusal::Entropy, wire));
    };
    // Entered first and looked at afterwards: a change of the ledger in between finds the session.
    let entry = shared.sessions.enter(terms, process);
    let live = entry.live();
    let holds = match shared.check(&live.terms, &shared.state()) {
        Ok(()) if shared.is_closing() => Err(EndReason::Shutdown),
        holds => holds,
    };
    if let Err(reason) = holds {
        return Err((Refusal::Ended(reason.message()), wire));
    }
    out.authenticated();
    for (name, value) in &backend.reported {
        out.parameter(name, value);
    }
    out.key_data(cancellable.process(), cancellable.key());
    out.ready();
    if let Err(error) = wire.send(&out).await {
        return Err((error.into(), wire));
    }
    Ok(Session {
        wire,
        backend,
        key,
        entry,
        cancellable,
    })
}

/// A connection that is there, or a new one. When PostgreSQL is full, idle ones are in the way.
async fn connect(shared: &Shared, key: &PoolKey) -> Result<Backend, BackendError> {
    if let Some(backend) = shared.pool.take(key) {
        Metrics::add(&shared.metrics.reused, 1);
        return Ok(backend);
    }
    Metrics::add(&shared.metrics.connected, 1);
    let login = || Backend::login(&shared.socket, &key.user, &key.database, &key.parameters);
    let mut result = login().await;
    if result.as_ref().is_err_and(BackendError::is_full) && shared.pool.clear() > 0 {
        // PostgreSQL's processes take a moment to end.
        for pause in ROOM_WITHIN {
            tokio::time::sleep(pause).await;
            result = login().await;
            if !result.as_ref().is_err_and(BackendError::is_full) {
                break;
            }
        }
    }
    match result {
        Err(BackendError::Refused { .. }) if key.database != shared.state().database() => {
            Err(BackendError::OtherDatabase {
                asked: key.database.clone(),
                managed: shared.state().database().to_owned(),
            })
        }
        result => result,
    }
}

/// After a session: makes the connection as new and keeps it for the same user's next login. One to
/// which the session said nothing is as new already.
pub(crate) async fn give_back(
    shared: &Shared,
    key: PoolKey,
    mut backend: Backend,
    untouched: bool,
) {
    let limits = *shared.pool.limits();
    if limits.idle == 0 {
        return;
    }
    if untouched {
        if shared.is_current(&key) {
            shared.pool.keep(key, backend, Instant::now());
        }
        return;
    }
    match tokio::time::timeout(limits.reset_within, backend.reset()).await {
        Ok(Ok(())) if shared.is_current(&key) => {
            shared.pool.keep(key, backend, Instant::now());
        }
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection to PostgreSQL is not reused"),
        Err(_) => {
            tracing::debug!("a connection to PostgreSQL is not reused: its reset takes too long");
        }
    }
}
