//! The agent's own connection, and other sessions: whose must end, and which stand in the way.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use palisade_ledger::{Hash, Privileges, State};
use tokio::sync::Notify;
use tokio_postgres::{AsyncMessage, Client, NoTls};

use crate::error::Error;
use crate::server::{Endpoint, connection};

/// A session may hold a row that a plan has to change for this long. Its holder's statement would
/// otherwise decide when his rights change.
const BLOCKED_AT_MOST: Duration = Duration::from_secs(1);

/// A connection as the bootstrap role.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client: Client,
    /// A user defined or dropped something since this was last asked.
    stale: Arc<AtomicBool>,
}

/// Opens a connection to a database. `changed` hears of every notification.
pub(crate) async fn open(
    endpoint: &Endpoint,
    database: &str,
    changed: Arc<Notify>,
) -> Result<Session, Error> {
    const WHAT: &str = "connect";
    let config = connection(endpoint, database);
    let (client, mut wire) = config.connect(NoTls).await.map_err(Error::sql(WHAT))?;
    let stale = Arc::new(AtomicBool::new(true));
    let heard = Arc::clone(&stale);
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| wire.poll_message(context)).await {
            if let AsyncMessage::Notification(_) = message {
                heard.store(true, Ordering::Release);
                changed.notify_one();
            }
        }
        // The client sees for itself that the connection is closed.
        changed.notify_one();
    });
    client
        .batch_execute("SET search_path = pg_catalog; SET client_min_messages = warning")
        .await
        .map_err(Error::sql(WHAT))?;
    Ok(Session { client, stale })
}

impl Session {
    /// Whether the list of objects may be out of date; asking makes it fresh.
    pub(crate) fn take_stale(&self) -> bool {
        self.stale.swap(false, Ordering::AcqRel)
    }
}

/// Ends the sessions of users who may not log in (any more), and those past the gateway of users who may
/// not go past it.
pub(crate) async fn end_shut_out(client: &Client, state: &State) -> Result<u64, Error> {
    let users = || state.users().filter(|user| user.may_log_in());
    let all: Vec<String> = users().map(|user| user.name.to_string()).collect();
    let direct: Vec<String> = users()
        .filter(|user| user.privileges().contains(Privileges::SET_TRANSACTION))
        .map(|user| user.name.to_string())
        .collect();
    let query = "SELECT count(*) FILTER (WHERE pg_terminate_backend(a.pid)) FROM pg_stat_activity a \
         WHERE a.usename::text IN (SELECT name FROM palisade.users) \
           AND NOT (a.usename::text = ANY ($1) AND (a.client_addr IS NULL OR a.usename::text = ANY ($2)))";
    let row = client
        .query_one(query, &[&all, &direct])
        .await
        .map_err(Error::sql("end sessions"))?;
    let ended: i64 = row.get(0);
    Ok(ended.unsigned_abs())
}

/// Ends the sessions past the gateway that were opened with a certificate that was revoked since, or whose
/// CA was retired: the lists keep out who comes, not who is inside.
pub(crate) async fn end_revoked(client: &Client, state: &State) -> Result<u64, Error> {
    const WHAT: &str = "end sessions";
    if state.revocations().len() == 0 && state.issued().len() == 0 {
        return Ok(0);
    }
    let cas: Vec<Hash> = state.issuing_cas().map(Hash::of).collect();
    let query = "SELECT pid, client_serial::text FROM pg_stat_ssl WHERE client_serial IS NOT NULL";
    let rows = client.query(query, &[]).await.map_err(Error::sql(WHAT))?;
    let revoked = |row: &tokio_postgres::Row| {
        let serial: String = row.get(1);
        let serial = bytes_of(&serial);
        let issued = state.issued_by_serial(&serial);
        let orphan = issued.is_some_and(|issued| !cas.contains(&issued.issuer));
        (orphan || state.is_revoked(&serial)).then(|| row.get(0))
    };
    let out: Vec<i32> = rows.iter().filter_map(revoked).collect();
    if out.is_empty() {
        return Ok(0);
    }
    let query =
        "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM unnest($1::int4[]) AS pid";
    let row = client
        .query_one(query, &[&out])
        .await
        .map_err(Error::sql(WHAT))?;
    let ended: i64 = row.get(0);
    Ok(ended.unsigned_abs())
}

/// A number in decimal digits as big-endian bytes, without leading zeros.
fn bytes_of(decimal: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = Vec::new();
    for digit in decimal.chars().filter_map(|c| c.to_digit(10)) {
        let mut carry = digit;
        for byte in bytes.iter_mut().rev() {
            let [low, high, ..] = (u32::from(*byte) * 10 + carry).to_le_bytes();
            *byte = low;
            carry = u32::from(high);
        }
        if carry > 0 {
            let [low, ..] = carry.to_le_bytes();
            bytes.insert(0, low);
        }
    }
    bytes
}

/// Ends the sessions of users who were taken out of a role, and are not in it some other way: SET ROLE
/// lasts as long as the session.
pub(crate) async fn end_departed(client: &Client) -> Result<u64, Error> {
    let query = "WITH gone AS (DELETE FROM palisade.departed RETURNING role, member), \
             here AS (SELECT DISTINCT a.usesysid AS oid FROM pg_stat_activity a JOIN palisade.users u ON u.name = a.usename::text), \
             out AS (SELECT DISTINCT h.oid FROM gone g JOIN pg_roles r ON r.rolname = g.role \
                     JOIN pg_roles m ON m.rolname = g.member \
                     JOIN here h ON pg_has_role(h.oid, m.oid, 'MEMBER') AND NOT pg_has_role(h.oid, r.oid, 'MEMBER')) \
         SELECT count(*) FILTER (WHERE pg_terminate_backend(a.pid)) FROM pg_stat_activity a JOIN out o ON o.oid = a.usesysid";
    let row = client
        .query_one(query, &[])
        .await
        .map_err(Error::sql("end sessions"))?;
    let ended: i64 = row.get(0);
    Ok(ended.unsigned_abs())
}

/// Waits for `work` on the agent's connection, and ends sessions that hold rows which it has to change. Who
/// merely reads a table is waited for.
pub(crate) async fn with_blockers_ended<T>(
    endpoint: &Endpoint,
    database: &str,
    pid: i32,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::pin!(work);
    if let Ok(done) = tokio::time::timeout(BLOCKED_AT_MOST, &mut work).await {
        return done;
    }
    let second = open(endpoint, database, Arc::default()).await?;
    let query = "SELECT count(*) FILTER (WHERE pg_terminate_backend(b.pid)) \
         FROM unnest(pg_blocking_pids($1)) AS b (pid) JOIN pg_stat_activity a ON a.pid = b.pid \
         WHERE a.usesysid <> 10 AND EXISTS (SELECT 1 FROM pg_locks l \
             WHERE l.pid = $1 AND NOT l.granted AND l.locktype IN ('transactionid', 'tuple'))";
    loop {
        let ended = second
            .client
            .query_one(query, &[&pid])
            .await
            .map_err(Error::sql("end sessions that stand in the way"))?
            .get::<_, i64>(0);
        if ended > 0 {
            tracing::warn!(
                ended,
                "ended sessions that held rows which a change of rights needs"
            );
        }
        if let Ok(done) = tokio::time::timeout(BLOCKED_AT_MOST, &mut work).await {
            return done;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_are_read_as_postgresql_writes_them() {
        assert_eq!(bytes_of("0"), [] as [u8; 0]);
        assert_eq!(bytes_of("255"), [255]);
        assert_eq!(bytes_of("256"), [1, 0]);
        let most = "1461501637330902918203684832716283019655932542975";
        assert_eq!(bytes_of(most), [255; 20]);
    }
}
