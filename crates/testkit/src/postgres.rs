//! A throwaway PostgreSQL server.
//!
//! A small shell script stands between us and the server and waits on a pipe from us. It stops the
//! server and removes its directory when the pipe closes: also when the test was killed and no drop
//! ran.

use crate::{Error, OsUser, TempDir, find_program, free_port, server_user, temp_dir, template};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A server on fresh data is up in well under a second; a loaded CI machine gets this long.
const START_WITHIN: Duration = Duration::from_mins(1);

/// The socket's number when no TCP port is asked for: the directory is private, so any will do.
const SOCKET_PORT: u16 = 5432;

/// What the server says (with `lc_messages = C`) once it takes connections.
const READY: &str = "database system is ready to accept connections";

/// Waits for a signal's name from the test, or for the test's end.
const KEEPER: &str = r#"
directory=$1; shift
"$@" </dev/null &
server=$!
exec 2>/dev/null
if read -r signal; then
    kill -s "$signal" $server; wait $server
else
    kill -s QUIT $server; wait $server
    rm -rf "$directory"
fi
"#;

/// Settings of every server: nothing in it need survive a power cut.
const SETTINGS: &[(&str, &str)] = &[
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("lc_messages", "C"),
    ("shared_buffers", "16MB"),
    ("max_connections", "100"),
    ("log_line_prefix", "%m [%p] %q%u@%d "),
];

/// How to stop a server, in PostgreSQL's words ("Shutting Down the Server").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// SIGINT: ends the sessions, writes a checkpoint.
    Fast,
    /// SIGQUIT: ends at once; the next start recovers.
    Immediate,
    /// SIGKILL to the postmaster: a crash.
    Kill,
}

impl Shutdown {
    fn signal(self) -> &'static str {
        match self {
            Self::Fast => "INT",
            Self::Immediate => "QUIT",
            Self::Kill => "KILL",
        }
    }
}

/// What a server shall be like, before it is started.
#[derive(Debug, Clone)]
pub struct Builder {
    superuser: String,
    tcp: bool,
    settings: Vec<(String, String)>,
    files: Vec<(String, Vec<u8>)>,
}

impl Builder {
    /// Names the bootstrap superuser (default `postgres`).
    #[must_use]
    pub fn superuser(mut self, name: &str) -> Self {
        name.clone_into(&mut self.superuser);
        self
    }

    /// Listens on 127.0.0.1, too, on a free port.
    #[must_use]
    pub fn tcp(mut self) -> Self {
        self.tcp = true;
        self
    }

    /// Adds a setting; a later one of the same name wins.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Replaces `pg_hba.conf` (default: everything is `trust`).
    #[must_use]
    pub fn hba(self, text: &str) -> Self {
        self.file("pg_hba.conf", text.as_bytes())
    }

    /// Replaces `pg_ident.conf`.
    #[must_use]
    pub fn ident(self, text: &str) -> Self {
        self.file("pg_ident.conf", text.as_bytes())
    }

    /// Puts a file of mode 0600 into the data directory before the start (`server.key`, ...).
    #[must_use]
    pub fn file(mut self, name: &str, contents: &[u8]) -> Self {
        self.files.push((name.to_owned(), contents.to_owned()));
        self
    }

    /// Makes the data directory and starts the server; returns when it takes connections.
    pub fn start(self) -> Result<Postgres, Error> {
        let user = server_user()?;
        let directory = temp_dir()?;
        let socket_dir = directory.path().join("s");
        std::fs::create_dir(&socket_dir).map_err(Error::file("make", &socket_dir))?;
        for path in [directory.path(), &socket_dir] {
            hand_over(path, user)?;
        }
        template::instantiate(&directory.path().join("d"), &self.superuser, user)?;
        let port = if self.tcp { free_port()? } else { SOCKET_PORT };
        let mut postgres = Postgres {
            program: find_program("postgres")?,
            user,
            port,
            builder: self,
            keeper: None,
            log: Arc::default(),
            directory,
        };
        for (name, contents) in &postgres.builder.files {
            postgres.write_file(name, contents)?;
        }
        postgres.start_again()?;
        Ok(postgres)
    }
}

/// A running PostgreSQL server of its own; stopped and removed on drop.
#[derive(Debug)]
pub struct Postgres {
    program: PathBuf,
    user: Option<OsUser>,
    port: u16,
    builder: Builder,
    keeper: Option<Child>,
    log: Arc<Mutex<String>>,
    directory: TempDir,
}

impl Postgres {
    /// Starts a server with the defaults: superuser `postgres`, no TCP, `trust` on the socket.
    pub fn start() -> Result<Self, Error> {
        Self::builder().start()
    }

    /// Describes a server that differs from the defaults.
    #[must_use]
    pub fn builder() -> Builder {
        Builder {
            superuser: "postgres".to_owned(),
            tcp: false,
            settings: Vec::new(),
            files: Vec::new(),
        }
    }

    /// The directory of the unix socket; libpq and tokio-postgres take it as `host`.
    #[must_use]
    pub fn socket_dir(&self) -> PathBuf {
        self.directory.path().join("s")
    }

    /// The port: of TCP when asked for, and always of the socket's name.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The bootstrap superuser's name.
    #[must_use]
    pub fn superuser(&self) -> &str {
        &self.builder.superuser
    }

    /// The data directory, 0700 and owned by [`Postgres::os_user`].
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("d")
    }

    /// The OS user that the server runs as, if it is not our own.
    #[must_use]
    pub fn os_user(&self) -> Option<OsUser> {
        self.user
    }

    /// What the server has logged since the first start.
    #[must_use]
    pub fn log(&self) -> String {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A connection string for libpq or tokio-postgres: the superuser, over the socket.
    #[must_use]
    pub fn conninfo(&self, database: &str) -> String {
        format!(
            "host={} port={} user={} dbname={database}",
            self.socket_dir().display(),
            self.port,
            self.superuser()
        )
    }

    /// A PostgreSQL program (`psql`, `pgbench`, `pg_dump`, ...) set up to reach this server over its
    /// socket as the superuser, run as the server's OS user.
    pub fn command(&self, program: &str) -> Result<Command, Error> {
        let mut command = Command::new(find_program(program)?);
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        command
            .current_dir(self.directory.path())
            .env("PGHOST", self.socket_dir())
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", self.superuser())
            .env("PGDATABASE", "postgres");
        if let Some(user) = self.user {
            user.runs(&mut command);
        }
        Ok(command)
    }

    /// Runs SQL as the superuser in the database `postgres`; see [`Postgres::psql_as`].
    pub fn psql(&self, sql: &str) -> Result<String, Error> {
        self.psql_as(self.superuser(), "postgres", sql)
    }

    /// Runs SQL through psql, statement by statement, and stops at the first error; returns the
    /// rows, one a line, columns parted by `|`, without the last line end.
    pub fn psql_as(&self, user: &str, database: &str, sql: &str) -> Result<String, Error> {
        let mut child = self
            .command("psql")?
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-"])
            .args(["-U", user, "-d", database])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Error::spawn("psql"))?;
        let input = child.stdin.take();
        let done = std::thread::scope(|scope| {
            scope.spawn(move || {
                // psql that stops at an error closes its input early: its own message tells.
                input.map(|mut input| input.write_all(sql.as_bytes()))
            });
            child.wait_with_output()
        })
        .map_err(Error::spawn("psql"))?;
        if done.status.success() {
            let rows = String::from_utf8_lossy(&done.stdout);
            return Ok(rows.strip_suffix('\n').unwrap_or(&rows).to_owned());
        }
        Err(Error::Failed {
            program: "psql".to_owned(),
            status: done.status.to_string(),
            output: String::from_utf8_lossy(&done.stderr).into_owned(),
        })
    }

    /// Writes a file of mode 0600 into the data directory, owned by the server's user.
    pub fn write_file(&self, name: &str, contents: &[u8]) -> Result<(), Error> {
        let path = self.data_dir().join(name);
        std::fs::write(&path, contents).map_err(Error::file("write", &path))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
            .map_err(Error::file("set the mode of", &path))?;
        hand_over(&path, self.user)
    }

    /// Makes the server read its configuration files again.
    pub fn reload(&self) -> Result<(), Error> {
        self.psql("select pg_reload_conf()").map(drop)
    }

    /// The postmaster's process id, from `postmaster.pid`; `None` when it does not run.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.keeper.as_ref()?;
        let text = std::fs::read_to_string(self.data_dir().join("postmaster.pid")).ok()?;
        text.lines().next()?.trim().parse().ok()
    }

    /// Stops the server and keeps its data; no effect on a stopped one.
    pub fn stop(&mut self, how: Shutdown) -> Result<(), Error> {
        let Some(mut keeper) = self.keeper.take() else {
            return Ok(());
        };
        if let Some(mut orders) = keeper.stdin.take() {
            writeln!(orders, "{}", how.signal()).map_err(Error::spawn("the server's keeper"))?;
        }
        keeper
            .wait()
            .map_err(Error::spawn("the server's keeper"))
            .map(drop)
    }

    /// Starts a stopped server on its data again; no effect on a running one.
    pub fn start_again(&mut self) -> Result<(), Error> {
        if self.keeper.is_some() {
            return Ok(());
        }
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", KEEPER, "keeper"])
            .arg(self.directory.path())
            .arg(&self.program);
        command
            .arg("-D")
            .arg(self.data_dir())
            .arg("-k")
            .arg(self.socket_dir());
        command.args(["-p", &self.port.to_string()]);
        let listen = if self.builder.tcp { "127.0.0.1" } else { "" };
        command.args(["-c", &format!("listen_addresses={listen}")]);
        let own = self
            .builder
            .settings
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in SETTINGS.iter().copied().chain(own) {
            command.args(["-c", &format!("{name}={value}")]);
        }
        if let Some(user) = self.user {
            user.runs(&mut command);
        }
        let mut keeper = command
            .current_dir(self.directory.path())
            // Ctrl-C at the terminal is for the test; the server goes when the pipe closes.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Error::spawn("/bin/sh"))?;
        let ready = keeper.stderr.take().map(|stderr| self.follow(stderr));
        self.keeper = Some(keeper);
        let reason = match ready.map(|ready| ready.recv_timeout(START_WITHIN)) {
            Some(Ok(())) => return Ok(()),
            Some(Err(RecvTimeoutError::Timeout)) => "it is silent",
            Some(Err(RecvTimeoutError::Disconnected)) | None => "it ended",
        };
        Err(Error::NotReady {
            reason,
            log: self.log(),
        })
    }

    /// Collects the log in the background; the receiver hears when the server is ready, or hangs up
    /// when it ended.
    fn follow(&self, stderr: impl std::io::Read + Send + 'static) -> Receiver<()> {
        let (sender, receiver) = channel();
        let log = Arc::clone(&self.log);
        std::thread::spawn(move || {
            let mut sender = Some(sender);
            let mut reader = BufReader::new(stderr);
            let mut line = Vec::new();
            while let Ok(1..) = reader.read_until(b'\n', &mut line) {
                let text = String::from_utf8_lossy(&line);
                log.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push_str(&text);
                if text.contains(READY)
                    && let Some(sender) = sender.take()
                {
                    // Nobody listens when the start has timed out: then nobody need hear.
                    sender.send(()).ok();
                }
                line.clear();
            }
        });
        receiver
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            // Closes the pipe first, which is what the keeper waits for.
            keeper.wait().ok();
        }
    }
}

/// Gives a path to the server's user.
fn hand_over(path: &Path, user: Option<OsUser>) -> Result<(), Error> {
    let Some(OsUser { uid, gid }) = user else {
        return Ok(());
    };
    std::os::unix::fs::chown(path, Some(uid), Some(gid)).map_err(Error::file("hand over", path))
}
