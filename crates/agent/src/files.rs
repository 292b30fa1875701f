//! PostgreSQL's TLS files; and `pg_hba.conf` and `pg_ident.conf`: put in place only if PostgreSQL can read them, and taken back when
//! it does not take them up.

use std::path::{Path, PathBuf};
use std::time::Duration;

use palisade_rights::HbaFiles;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use crate::config::Tcp;
use crate::error::Error;
use crate::os::OsUser;
use crate::place;
use crate::server::{Endpoint, connection};

/// A reload takes milliseconds.
const RELOADED_WITHIN: Duration = Duration::from_secs(5);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Bytes of a file of somebody else's that is kept beside the compiled one.
const MOST_KEPT: usize = 16 * 1024 * 1024;

/// Where `pg_hba.conf` and `pg_ident.conf` are.
pub(crate) fn paths(endpoint: &Endpoint) -> [PathBuf; 2] {
    ["pg_hba.conf", "pg_ident.conf"].map(|name| endpoint.files_dir.join(name))
}

/// The copies of the certificate chain, its key, the CA and the revocation lists.
/// PostgreSQL's user need not be able to read where they come from.
pub(crate) const TLS_FILES: [&str; 4] = [
    "palisade.crt",
    "palisade.key",
    "palisade.ca",
    "palisade.crl",
];

/// What the copies are to hold.
fn wanted(tcp: &Tcp) -> Result<Vec<(&'static str, Vec<u8>)>, Error> {
    let read = |path: &Path| std::fs::read(path).map_err(Error::file("read", path));
    let [certificate, key, ca, lists] = TLS_FILES;
    let mut wanted = vec![
        (certificate, read(&tcp.certificate)?),
        (key, read(&tcp.key)?),
        (ca, read(&tcp.ca)?),
    ];
    if let Some(path) = &tcp.lists {
        // PostgreSQL does not start on a file without anything in it. The CA's certificate is no list:
        // with it alone OpenSSL finds none, and refuses every client's certificate.
        let lists_or_none = if path.exists() { path } else { &tcp.ca };
        wanted.push((lists, read(lists_or_none)?));
    }
    Ok(wanted)
}

/// Brings PostgreSQL's copies of its TLS files up to date. Returns whether they were not.
pub(crate) fn copy_tls(tcp: &Tcp, endpoint: &Endpoint, user: &OsUser) -> Result<bool, Error> {
    let mut copied = false;
    for (name, contents) in wanted(tcp)? {
        let copy = endpoint.files_dir.join(name);
        if !place::holds(&copy, user, &contents) {
            place::replace(&copy, contents, user)?;
            copied = true;
        }
    }
    Ok(copied)
}

/// Whether a TLS file was renewed, or its copy changed.
pub(crate) fn tls_differs(tcp: &Tcp, endpoint: &Endpoint, user: &OsUser) -> bool {
    let differs = |(name, contents): &(&str, Vec<u8>)| {
        !place::holds(&endpoint.files_dir.join(name), user, contents)
    };
    // What can't be read can't be copied either; it is tried, and told of.
    wanted(tcp).map_or(true, |files| files.iter().any(differs))
}

/// Which of the files are not as compiled.
pub(crate) fn drift(endpoint: &Endpoint, user: &OsUser, wanted: &HbaFiles) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in paths(endpoint).iter().zip([&wanted.hba, &wanted.ident]) {
        if !place::holds(path, user, text.as_bytes()) {
            found.push(format!("{} was changed", path.display()));
        }
    }
    found
}

/// Puts the files in place and makes PostgreSQL take them up. Returns whether they differed.
pub(crate) async fn put(
    client: &Client,
    endpoint: &Endpoint,
    user: &OsUser,
    wanted: &HbaFiles,
) -> Result<bool, Error> {
    if drift(endpoint, user, wanted).is_empty() {
        return Ok(false);
    }
    let [hba, ident] = paths(endpoint);
    // What can't be read can't be put back, and need not be kept.
    let read = |path: &Path| place::read(path, user, MOST_KEPT).ok();
    let old = (read(&hba), read(&ident));
    let keep = |path: &Path, text: &Option<Vec<u8>>| match text {
        Some(text) => place::replace(&path.with_extension("conf.old"), text, user),
        None => Ok(()),
    };
    keep(&hba, &old.0)?;
    keep(&ident, &old.1)?;
    place::replace(&hba, &wanted.hba, user)?;
    place::replace(&ident, &wanted.ident, user)?;
    // The files are in place but not in force: PostgreSQL reads them at a reload, and these views read
    // them as that will.
    let done = match check(client).await {
        Ok(()) => reload(client, endpoint).await,
        Err(error) => Err(error),
    };
    if let Err(error) = done {
        if let Some(text) = &old.0 {
            place::replace(&hba, text, user)?;
        }
        if let Some(text) = &old.1 {
            place::replace(&ident, text, user)?;
        }
        client
            .batch_execute("SELECT pg_catalog.pg_reload_conf()")
            .await
            .map_err(Error::sql("reload the old files"))?;
        return Err(error);
    }
    Ok(true)
}

/// What PostgreSQL would say of the files in place.
async fn check(client: &Client) -> Result<(), Error> {
    let views = [
        ("pg_hba.conf", "pg_hba_file_rules"),
        ("pg_ident.conf", "pg_ident_file_mappings"),
    ];
    for (file, view) in views {
        let query = format!(
            "SELECT pg_catalog.format('line %s: %s', line_number, error) FROM pg_catalog.{view} WHERE error IS NOT NULL LIMIT 1"
        );
        let faults = client
            .query(&query, &[])
            .await
            .map_err(Error::sql("check a file"))?;
        if let Some(row) = faults.first() {
            return Err(Error::RefusedFile {
                file,
                reason: row.get(0),
            });
        }
    }
    Ok(())
}

/// Makes the server read its files, and waits until a new session is governed by them.
pub(crate) async fn reload(client: &Client, endpoint: &Endpoint) -> Result<(), Error> {
    const WHAT: &str = "reload";
    let row = client
        .query_one(
            "SELECT pg_catalog.clock_timestamp()::text, pg_catalog.pg_reload_conf()",
            &[],
        )
        .await
        .map_err(Error::sql(WHAT))?;
    let asked: String = row.get(0);
    let until = Instant::now() + RELOADED_WITHIN;
    loop {
        // A new session has the postmaster's word for when it last read its files.
        if let Ok((fresh, wire)) = connection(endpoint, "postgres")
            .connect(tokio_postgres::NoTls)
            .await
        {
            let wire = tokio::spawn(wire);
            let row = fresh
                .query_one(
                    "SELECT pg_catalog.pg_conf_load_time() >= $1::text::timestamptz",
                    &[&asked],
                )
                .await;
            drop(fresh);
            wire.await.ok();
            if row.is_ok_and(|row| row.get(0)) {
                return Ok(());
            }
        }
        if Instant::now() > until {
            return Err(Error::NotReloaded {
                seconds: RELOADED_WITHIN.as_secs(),
            });
        }
        sleep(LOOK_EVERY).await;
    }
}
