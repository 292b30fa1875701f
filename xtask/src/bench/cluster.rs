//! The three ways to one PostgreSQL: straight, through Palisade, through PgBouncer.
//!
//! ```text
//!   straight   client --TLS--> PostgreSQL
//!   palisade   client --TLS--> palisade daemon --unix socket, peer--> PostgreSQL
//!   pgbouncer  client --TLS--> pgbouncer      --unix socket, peer--> PostgreSQL
//! ```
//!
//! Both proxies run as PostgreSQL's OS user, so that PostgreSQL takes both at their word on its
//! private socket and neither pays for a password there.

use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use palisade_testkit::{OsUser, TempDir, find_program, free_port, server_user, temp_dir};

use super::process::{Server, command, output};
use super::scram;

/// The user who is measured: an ordinary one, who may use transactions (others are led in
/// lock-step).
pub(super) const USER: &str = "bench";
/// What the daemon manages by default.
pub(super) const DATABASE: &str = "main";
/// Everybody's password here.
pub(super) const PASSWORD: &str = "correct horse battery staple";
/// What libpq's OpenSSL is told: one cipher suite on all three ways, which each would choose its own of.
pub(super) const OPENSSL: &str = "openssl_conf = all\n[all]\nssl_conf = tls\n[tls]\nsystem_default = suites\n\
     [suites]\nCiphersuites = TLS_AES_128_GCM_SHA256\n";
/// Rows of `pgbench_accounts`, in 100,000: all in memory.
const SCALE: &str = "10";
/// As PostgreSQL derives its verifiers.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).unwrap();

/// A way to PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Straight,
    Palisade,
    Bouncer,
}

impl Way {
    pub(super) const ALL: [Self; 3] = [Self::Straight, Self::Palisade, Self::Bouncer];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Straight => "straight",
            Self::Palisade => "palisade",
            Self::Bouncer => "pgbouncer",
        }
    }
}

/// All of it, running.
pub(super) struct Cluster {
    // The proxies end before PostgreSQL's directory goes.
    bouncer: Server,
    palisade: Server,
    ports: [u16; 3],
    user: Option<OsUser>,
    /// Belongs to the servers' OS user, as whom pgbench runs, too.
    pub(super) work: PathBuf,
    _temp: TempDir,
}

/// Where things are while the cluster is made.
struct Setup {
    binary: PathBuf,
    work: PathBuf,
    user: Option<OsUser>,
    ports: [u16; 3],
}

impl Cluster {
    /// Starts everything; `clients` may be logged in at once on each way.
    pub(super) fn start(binary: &Path, clients: u32) -> Result<Self, String> {
        let temp = temp_dir().map_err(told)?;
        let setup = Setup {
            binary: binary.to_owned(),
            work: temp.path().join("work"),
            user: server_user().map_err(told)?,
            ports: [free_port(), free_port(), free_port()]
                .into_iter()
                .collect::<Result<Vec<_>, _>>()
                .map_err(told)?
                .try_into()
                .map_err(|_| "three ports".to_owned())?,
        };
        setup.make_directory()?;
        setup.write("openssl.cnf", OPENSSL)?;
        let palisade = setup.palisade(clients)?;
        setup.fill()?;
        let bouncer = setup.bouncer(clients)?;
        Ok(Self {
            bouncer,
            palisade,
            ports: setup.ports,
            user: setup.user,
            work: setup.work,
            _temp: temp,
        })
    }

    /// Where this way begins.
    pub(super) fn port(&self, way: Way) -> u16 {
        let [straight, palisade, bouncer] = self.ports;
        match way {
            Way::Straight => straight,
            Way::Palisade => palisade,
            Way::Bouncer => bouncer,
        }
    }

    /// The process in between, if there is one.
    pub(super) fn proxy(&self, way: Way) -> Option<&Server> {
        match way {
            Way::Straight => None,
            Way::Palisade => Some(&self.palisade),
            Way::Bouncer => Some(&self.bouncer),
        }
    }

    /// pgbench as the measured user on this way; options go before the database.
    pub(super) fn pgbench(&self, way: Way) -> Result<Command, String> {
        let mut pgbench = libpq("pgbench", self.user, self.port(way), USER)?;
        pgbench.env("OPENSSL_CONF", self.work.join("openssl.cnf"));
        Ok(pgbench)
    }

    /// What libpq says of its connection on this way, with pgbench's settings.
    pub(super) fn conninfo(&self, way: Way) -> Result<String, String> {
        let mut psql = libpq("psql", self.user, self.port(way), USER)?;
        psql.env("OPENSSL_CONF", self.work.join("openssl.cnf"));
        let said = output(psql.args(["-X", "-d", DATABASE, "-c", "\\conninfo"]))?;
        let tls = said.lines().find(|line| line.starts_with("SSL"));
        Ok(tls.unwrap_or("no TLS").to_owned())
    }
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// A client program of PostgreSQL.
fn libpq(program: &str, user: Option<OsUser>, port: u16, role: &str) -> Result<Command, String> {
    let mut program = command(&find_program(program).map_err(told)?, user);
    program
        .env("PGPASSWORD", PASSWORD)
        .env("PGSSLMODE", "require")
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", role]);
    Ok(program)
}

impl Setup {
    fn path(&self, name: &str) -> String {
        self.work.join(name).display().to_string()
    }

    fn make_directory(&self) -> Result<(), String> {
        std::fs::create_dir(&self.work).map_err(told)?;
        let private = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(&self.work, private).map_err(told)?;
        self.give(&self.work)
    }

    /// Makes the servers' OS user the owner.
    fn give(&self, path: &Path) -> Result<(), String> {
        match self.user {
            Some(user) => {
                std::os::unix::fs::chown(path, Some(user.uid), Some(user.gid)).map_err(told)
            }
            None => Ok(()),
        }
    }

    fn write(&self, name: &str, text: &str) -> Result<(), String> {
        let path = self.work.join(name);
        std::fs::write(&path, text).map_err(told)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(told)?;
        self.give(&path)
    }

    fn run(&self, words: &[&str]) -> Result<String, String> {
        let mut palisade = command(&self.binary, self.user);
        palisade
            .args(words)
            .env("PALISADE_DIR", self.path("data"))
            .env("PALISADE_CREDENTIALS", self.path("admin.credentials"));
        output(&mut palisade)
    }

    /// Keys, users, a configuration; the daemon makes the rest.
    fn palisade(&self, clients: u32) -> Result<Server, String> {
        let [public, private] = ["public.key", "private.key"].map(|name| self.path(name));
        let (list, admin) = (self.path("users.cfg"), self.path("admin.credentials"));
        self.run(&["keygen", "-p", &public, "-s", &private])?;
        let superuser = ["user", "add", "-u", "admin", "--superuser=on"];
        self.run(&[&superuser[..], &["-p", &list, "-s", &admin]].concat())?;
        let [straight, palisade, _] = self.ports;
        let api = free_port().map_err(told)?;
        let config = serde_json::json!({
            "api": { "listen": [format!("127.0.0.1:{api}")] },
            "security": { "cluster_private_file": private, "user_list": list },
            "gateway": {
                "listen": [format!("127.0.0.1:{palisade}")],
                "limits": { "sessions": clients },
            },
            "node": { "data_directory": self.path("data"), "log": { "level": "warn" } },
            "postgres": {
                "listen": "127.0.0.1",
                "port": straight,
            },
        });
        self.write("palisade.cfg", &config.to_string())?;
        self.write("password", PASSWORD)?;
        let mut daemon = command(&self.binary, self.user);
        daemon
            .args(["daemon", "-c", &self.path("palisade.cfg")])
            .env("PALISADE_LOG", "warn,palisade::cli::serve=info");
        let server = Server::start(&mut daemon, &self.work.join("log"), "serving at")?;
        let (password, secret) = (self.path("password"), self.path("credentials"));
        let rights = "select,insert,update,delete,set_transaction";
        for (user, what) in [
            (USER, ["--privileges", rights]),
            ("owner", ["--superuser", "on"]),
        ] {
            let files = [
                "--password-file",
                &password,
                "-s",
                &format!("{secret}.{user}"),
            ];
            self.run(&[&["user", "add", "-u", user][..], &what, &files].concat())?;
        }
        Ok(server)
    }

    /// pgbench's tables.
    fn fill(&self) -> Result<(), String> {
        let [_, palisade, _] = self.ports;
        let mut pgbench = libpq("pgbench", self.user, palisade, "owner")?;
        pgbench.args(["-i", "-q", "-I", "dtGp", "-s", SCALE, DATABASE]);
        output(&mut pgbench).map(drop)
    }

    /// `PgBouncer` with session pooling, and the certificate that PostgreSQL shows.
    fn bouncer(&self, clients: u32) -> Result<Server, String> {
        let [straight, _, bouncer] = self.ports;
        let socket = self.path("data/postgres/run");
        let tls = self.path("data/postgres/conf/palisade");
        let verifier = scram::verifier(PASSWORD, b"palisade's bench", ITERATIONS);
        self.write("users.txt", &format!("\"{USER}\" \"{verifier}\"\n"))?;
        let text = format!(
            "[databases]\n\
             {DATABASE} = host={socket} port={straight} dbname={DATABASE}\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\n\
             listen_port = {bouncer}\n\
             unix_socket_dir =\n\
             pool_mode = session\n\
             auth_type = scram-sha-256\n\
             auth_file = {users}\n\
             client_tls_sslmode = require\n\
             client_tls_protocols = tlsv1.3\n\
             client_tls_cert_file = {tls}.crt\n\
             client_tls_key_file = {tls}.key\n\
             max_client_conn = {clients}\n\
             default_pool_size = {clients}\n\
             ignore_startup_parameters = extra_float_digits\n\
             log_connections = 0\n\
             log_disconnections = 0\n",
            users = self.path("users.txt"),
        );
        self.write("pgbouncer.ini", &text)?;
        let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"]
            .map(PathBuf::from)
            .into_iter()
            .find(|path| path.exists())
            .ok_or("there is no pgbouncer (Debian's package: pgbouncer)")?;
        let mut pgbouncer = command(&program, self.user);
        pgbouncer.arg(self.path("pgbouncer.ini"));
        Server::start(
            &mut pgbouncer,
            &self.work.join("pgbouncer.log"),
            "process up",
        )
    }
}
