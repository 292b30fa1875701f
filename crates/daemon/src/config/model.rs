//! What a configuration holds, and the defaults.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use serde::{Deserialize, Deserializer, Serialize};

/// The whole configuration of a node. The sections are those of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object")]
pub struct Config {
    /// What is secured, and with which files.
    pub security: Security,
    /// The front door.
    pub gateway: Gateway,
    /// This node.
    pub node: Node,
    /// The API for the other nodes, the command line and the console.
    pub api: Api,
    /// Where the ledger is shared.
    pub store: Store,
    /// What is told to humans, and how.
    pub alerts: Alerts,
    /// The PostgreSQL behind the front door.
    pub postgres: Postgres,
}

impl Config {
    /// Where the control socket is: as configured, else in the node's data directory.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.node
            .control_socket
            .clone()
            .unwrap_or_else(|| self.node.data_directory.join("control.sock"))
    }

    /// Where PostgreSQL's data is: as configured, else in the node's data directory.
    #[must_use]
    pub fn postgres_data_directory(&self) -> PathBuf {
        self.postgres
            .data_directory
            .clone()
            .unwrap_or_else(|| self.node.data_directory.join("postgres"))
    }
}

/// `security`: what is secured, and with which files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the switches of the manual's security section, by its names"
)]
pub struct Security {
    /// Always true: a cluster without security is not offered.
    pub enabled: bool,
    /// Whether a user with `system` may stop the node.
    pub enable_stop: bool,
    /// Whether a user with `system` may remove every managed object.
    pub enable_purge_all: bool,
    /// Whether every connection must be inside of TLS.
    pub encrypt_traffic: bool,
    /// The cluster's private key, where this node holds it.
    pub cluster_private_file: Option<PathBuf>,
    /// The list of users that is followed.
    pub user_list: Option<PathBuf>,
}

impl Default for Security {
    fn default() -> Self {
        Self {
            enabled: true,
            enable_stop: false,
            enable_purge_all: false,
            encrypt_traffic: true,
            cluster_private_file: None,
            user_list: None,
        }
    }
}

/// `gateway`: the front door.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object")]
pub struct Gateway {
    /// Where clients connect.
    pub listen: Vec<SocketAddr>,
    /// What clients may take.
    pub limits: Limits,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 5433))],
            limits: Limits::default(),
        }
    }
}

/// `gateway.limits`: what clients may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object")]
pub struct Limits {
    /// Clients that are not logged in yet, in all.
    pub handshakes: u32,
    /// Clients that are not logged in yet, from one address.
    pub handshakes_per_address: u32,
    /// From the first byte to the login, in seconds.
    pub login_timeout_seconds: u32,
    /// Sessions at one time.
    pub sessions: u32,
    /// Backends kept for the next login of the same user.
    pub idle_backends_per_user: u32,
    /// Backends kept in all.
    pub idle_backends: u32,
    /// How long a backend is kept, in seconds.
    pub idle_backend_seconds: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshakes: 1024,
            handshakes_per_address: 128,
            login_timeout_seconds: 20,
            sessions: 1000,
            idle_backends_per_user: 16,
            idle_backends: 32,
            idle_backend_seconds: 60,
        }
    }
}

/// `node`: this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object")]
pub struct Node {
    /// Where the ledger, keys and certificates are.
    pub data_directory: PathBuf,
    /// The unix socket of the API; see [`Config::control_socket`].
    pub control_socket: Option<PathBuf>,
    /// Nodes of the cluster that this one joins at its first start.
    pub join: Vec<String>,
    /// What is written to standard error.
    pub log: Log,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            data_directory: PathBuf::from("/var/lib/palisade"),
            control_socket: None,
            join: Vec::new(),
            log: Log::default(),
        }
    }
}

/// `node.log`: what is written to standard error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object")]
pub struct Log {
    /// The least important level that is written.
    pub level: LogLevel,
    /// For people or for machines.
    pub format: LogFormat,
}

/// Levels of the log, most important first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Something is broken.
    Error,
    /// Something will break, or somebody tries to break it.
    Warn,
    /// What happens to the cluster: log-ins, refusals, changes.
    #[default]
    Info,
    /// How it happens.
    Debug,
    /// Every step.
    Trace,
}

impl LogLevel {
    /// The name, as `tracing` takes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// `api`: the API for the other nodes, the command line and the console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object")]
pub struct Api {
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
    /// Where the other nodes reach it; `None`: the first address of [`listen`](Self::listen).
    pub advertise: Option<String>,
    /// More names and addresses that this node's certificate speaks for.
    pub names: Vec<String>,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 7433))],
            advertise: None,
            names: Vec::new(),
        }
    }
}

/// `store`: where the ledger is shared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object")]
pub struct Store {
    /// An existing etcd, as `https://HOST:PORT` or `HOST:PORT`; empty: what the ledger says.
    pub endpoints: Vec<String>,
    /// The certificates of the CA that etcd's own lead to.
    pub ca_file: Option<PathBuf>,
    /// The certificate that this node shows to etcd.
    pub cert_file: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
    /// The etcd that the daemon runs itself.
    pub managed: ManagedStore,
}

/// `store.managed`: the etcd that the daemon runs itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object")]
pub struct ManagedStore {
    /// For the other members of etcd.
    pub peer: SocketAddr,
    /// For the nodes.
    pub client: SocketAddr,
}

impl Default for ManagedStore {
    fn default() -> Self {
        Self {
            peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 7380)),
            client: SocketAddr::from((Ipv4Addr::LOCALHOST, 7379)),
        }
    }
}

/// `alerts`: what is told to humans, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object")]
pub struct Alerts {
    /// Programs that alerts may run, each with its arguments.
    pub commands: BTreeMap<String, Vec<String>>,
    /// Refused log-ins within a minute that are worth an alert.
    pub refused_logins_per_minute: u32,
    /// Days before the end of a certificate from which on it is worth an alert.
    pub certificate_days: u32,
    /// Authorities of webhooks and mail servers, in PEM, beside the system's.
    pub ca_file: Option<PathBuf>,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            commands: BTreeMap::new(),
            refused_logins_per_minute: 60,
            certificate_days: 14,
            ca_file: None,
        }
    }
}

/// `postgres`: the PostgreSQL behind the front door.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object")]
pub struct Postgres {
    /// Whose PostgreSQL it is.
    pub mode: PostgresMode,
    /// Where `initdb`, `postgres` and `pg_ctl` are; `None`: the newest that is found.
    pub bin_directory: Option<PathBuf>,
    /// PostgreSQL's data; see [`Config::postgres_data_directory`].
    pub data_directory: Option<PathBuf>,
    /// The OS user that PostgreSQL runs as; `None`: our own, or `postgres` if that is root.
    pub os_user: Option<String>,
    /// The one database that is managed.
    pub database: String,
    /// A TCP address of PostgreSQL's own, past the gateway.
    pub listen: Option<IpAddr>,
    /// The port of [`listen`](Self::listen), and in the name of the unix socket.
    pub port: u16,
    /// More settings for `postgresql.conf`.
    #[serde(deserialize_with = "settings")]
    pub settings: BTreeMap<String, String>,
}

impl Default for Postgres {
    fn default() -> Self {
        Self {
            mode: PostgresMode::default(),
            bin_directory: None,
            data_directory: None,
            os_user: None,
            database: "main".to_owned(),
            listen: None,
            port: 5432,
            settings: BTreeMap::new(),
        }
    }
}

/// Whose PostgreSQL it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PostgresMode {
    /// Ours: made, started and stopped by the daemon.
    #[default]
    Managed,
    /// An existing server that is only configured.
    Attached,
}

/// The values may be written as texts, numbers or booleans; `postgresql.conf` knows only texts.
fn settings<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a text, a number or true or false")]
    enum Scalar {
        Text(String),
        Boolean(bool),
        Number(serde_json::Number),
    }
    let map = BTreeMap::<String, Scalar>::deserialize(from)?;
    let text = |value| match value {
        Scalar::Text(text) => text,
        Scalar::Boolean(true) => "on".to_owned(),
        Scalar::Boolean(false) => "off".to_owned(),
        Scalar::Number(number) => number.to_string(),
    };
    Ok(map
        .into_iter()
        .map(|(name, value)| (name, text(value)))
        .collect())
}
