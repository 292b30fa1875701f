//! What the gateway is told at its start.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use palisade_hba::Interface;
use palisade_keys::Zeroizing;
use rustls::pki_types::UnixTime;

use crate::interfaces;

/// Tells this machine's own addresses.
pub type Interfaces = Arc<dyn Fn() -> io::Result<Vec<Interface>> + Send + Sync>;

/// Where PostgreSQL is, and the bounds of the door.
#[derive(Clone)]
pub struct Config {
    /// The private directory of PostgreSQL's unix socket.
    pub socket_dir: PathBuf,
    /// The port in the socket's name, `.s.PGSQL.PORT`.
    pub socket_port: u16,
    /// With `true` (the default) a client must speak TLS. With `false` it may choose plaintext where a
    /// rule allows that, and then proves itself by SCRAM.
    pub encrypt_traffic: bool,
    /// 32 secret bytes from which the salts of users that don't exist are made. They must stay the
    /// same over restarts and be the same on all nodes.
    pub mock_secret: Zeroizing<[u8; 32]>,
    /// This machine's own addresses, for rules with `samehost` and `samenet`; asked for at each decision
    /// where there are such rules.
    pub interfaces: Interfaces,
    /// Bounds before a login.
    pub limits: Limits,
    /// Bounds on idle connections to PostgreSQL.
    pub pool: PoolLimits,
    /// Tells the time, for the validity of certificates.
    pub clock: Arc<dyn Fn() -> UnixTime + Send + Sync>,
}

impl Config {
    /// A configuration with the default bounds.
    #[must_use]
    pub fn new(socket_dir: PathBuf, socket_port: u16, mock_secret: Zeroizing<[u8; 32]>) -> Self {
        Self {
            socket_dir,
            socket_port,
            encrypt_traffic: true,
            mock_secret,
            interfaces: Arc::new(interfaces::own),
            limits: Limits::default(),
            pool: PoolLimits::default(),
            clock: Arc::new(UnixTime::now),
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.socket_dir
            .join(format!(".s.PGSQL.{}", self.socket_port))
    }
}

/// Bounds before a login: what a stranger can cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections that have not logged in yet, in all. What each may make us hold is bounded by TLS's
    /// largest handshake message, 64 KiB.
    pub handshakes: usize,
    /// Of these, from one address (for IPv6, from one /64). A connection pool behind one address opens
    /// its connections at once; 128 is more than PostgreSQL's default `max_connections`.
    pub handshakes_per_address: usize,
    /// From accepting a connection to the end of its login. A person who types a password does so
    /// before the client connects; PostgreSQL's `authentication_timeout` is 60 s.
    pub login_within: Duration,
    /// After the end of a session's right, for the rest of a message that is on its way.
    pub end_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshakes: 1024,
            handshakes_per_address: 128,
            login_within: Duration::from_secs(20),
            end_within: Duration::from_millis(500),
        }
    }
}

/// Bounds on idle connections to PostgreSQL that the same user may take up again.
#[derive(Debug, Clone, Copy)]
pub struct PoolLimits {
    /// In all; PostgreSQL's default `max_connections` is 100. With 0 nothing is kept.
    pub idle: usize,
    /// For one user, database and set of startup parameters.
    pub idle_per_key: usize,
    /// How long one is kept.
    pub idle_for: Duration,
    /// How long PostgreSQL may take to discard what a session left behind.
    pub reset_within: Duration,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            idle: 32,
            idle_per_key: 16,
            idle_for: Duration::from_mins(1),
            reset_within: Duration::from_secs(5),
        }
    }
}
