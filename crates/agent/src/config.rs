//! What the agent has to know about the server that it manages.

use std::path::PathBuf;

/// A managed PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where the data (`data`), the files that are written for the server (`conf`), the log and, if its path is
    /// short enough, the private socket (`run`) are.
    pub directory: PathBuf,
    /// The managed database, made if it is missing.
    pub database: String,
    /// The OS user to run the server as; by default `postgres` when we are root, else ourselves.
    pub os_user: Option<String>,
    /// The directory of PostgreSQL's programs; by default the newest installed.
    pub programs: Option<PathBuf>,
    /// PostgreSQL's own TCP port; by default only the private socket is open.
    pub tcp: Option<Tcp>,
    /// Further settings, name and value, of the owner's choice. Palisade's own win.
    pub settings: Vec<(String, String)>,
}

/// PostgreSQL's own TCP port, with TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tcp {
    /// `listen_addresses`.
    pub addresses: Vec<String>,
    /// The port.
    pub port: u16,
    /// The server's certificate chain.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The cluster's CA, which clients' certificates must come from.
    pub ca: PathBuf,
    /// The revocation lists of the root and of each issuing CA, in one PEM file. As long as it is not
    /// there, PostgreSQL refuses every client's certificate.
    pub lists: Option<PathBuf>,
}

impl Config {
    /// A managed PostgreSQL in this directory, on its private socket alone.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>, database: impl Into<String>) -> Self {
        Self {
            directory: directory.into(),
            database: database.into(),
            os_user: None,
            programs: None,
            tcp: None,
            settings: Vec::new(),
        }
    }
}
