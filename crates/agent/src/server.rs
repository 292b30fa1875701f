//! The PostgreSQL that the daemon makes, starts and stops.

use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use palisade_rights::BOOTSTRAP_ROLE;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::time::{Instant, sleep};

use crate::config::{Config, Tcp};
use crate::error::Error;
use crate::files;
use crate::os::{self, Leftover, OsUser};
use crate::place;
use crate::programs::Programs;

/// A server with a crash to recover from needs its time; one that makes progress is not cut off by
/// this, because it says so by living.
const START_WITHIN: Duration = Duration::from_mins(2);
/// A fast shutdown ends the sessions and writes a checkpoint.
const STOP_WITHIN: Duration = Duration::from_mins(1);
/// Between two looks at something that should happen within moments.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The number in the socket's name. The directory is private, so it need not be free on TCP.
const SOCKET_PORT: u16 = 5432;
/// `sun_path` has 108 bytes, one of them the final NUL.
const MAX_SOCKET_PATH: usize = 107;
/// The files that initdb may find in an empty file system.
const NO_FILES: [&str; 2] = ["lost+found", "."];
/// Bytes of a small file that PostgreSQL writes: its version, its process id.
const SMALL: usize = 4096;

/// Where the agent and the gateway reach PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The directory of the unix socket.
    pub socket_dir: PathBuf,
    /// The number in the socket's name.
    pub port: u16,
    /// The directory of the files that the agent writes.
    pub files_dir: PathBuf,
}

impl Endpoint {
    /// The unix socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.socket_dir.join(format!(".s.PGSQL.{}", self.port))
    }
}

/// A running managed server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    endpoint: Endpoint,
    version: u32,
    pub(crate) user: OsUser,
}

impl Server {
    /// Makes the data directory if there is none, ends what an earlier daemon left running, and starts.
    pub(crate) async fn start(config: &Config) -> Result<Self, Error> {
        let programs = Programs::find(config.programs.as_deref())?;
        let user = os::server_user(config.os_user.as_deref())?;
        std::fs::create_dir_all(&config.directory)
            .map_err(Error::file("make", &config.directory))?;
        place::check_not_theirs(&config.directory, &user)?;
        let directory = std::path::absolute(&config.directory)
            .map_err(Error::file("find", &config.directory))?;
        let data = directory.join("data");
        let files_dir = directory.join("conf");
        let socket_dir = socket_dir(config, &user)?;
        os::check_reachable(&data, &user)?;
        prepare(&programs, &data, &user).await?;
        place::make_passable(&files_dir, &user)?;
        let endpoint = Endpoint {
            socket_dir,
            port: config.tcp.as_ref().map_or(SOCKET_PORT, |tcp| tcp.port),
            files_dir,
        };
        if let Some(tcp) = &config.tcp {
            check_ports(tcp)?;
            files::copy_tls(tcp, &endpoint, &user)?;
        }
        first_files(&endpoint, &user)?;
        let settings = write_settings(config, &endpoint, &data, &user)?;
        let log = directory.join("postgres.log");
        let child = spawn(&programs, &data, &settings, &user, &log)?;
        let mut server = Self {
            child,
            endpoint,
            version: programs.version,
            user,
        };
        server.ready(&log).await?;
        Ok(server)
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    /// Waits until the socket takes connections.
    async fn ready(&mut self, log: &Path) -> Result<(), Error> {
        let until = Instant::now() + START_WITHIN;
        loop {
            if let Ok(Some(_)) = self.child.try_wait() {
                return Err(why_not_ready(log));
            }
            let config = connection(&self.endpoint, "postgres");
            match config.connect(tokio_postgres::NoTls).await {
                Ok(_) => return Ok(()),
                // It answers, though it does not know us yet: it is up.
                Err(error)
                    if error
                        .code()
                        .is_some_and(|code| code.code().starts_with("28")) =>
                {
                    return Ok(());
                }
                Err(_) if Instant::now() > until => return Err(why_not_ready(log)),
                Err(_) => sleep(LOOK_EVERY).await,
            }
        }
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends all sessions, writes a checkpoint, and stops.
    pub(crate) async fn stop(mut self) -> Result<(), Error> {
        let Some(pid) = self.child.id().and_then(pid_of) else {
            return Ok(());
        };
        kill_process(pid, Signal::INT).ok();
        if tokio::time::timeout(STOP_WITHIN, self.child.wait())
            .await
            .is_ok()
        {
            return Ok(());
        }
        kill_process(pid, Signal::QUIT).ok();
        match tokio::time::timeout(STOP_WITHIN, self.child.wait()).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::NotStopped {
                pid: pid.as_raw_nonzero().get(),
            }),
        }
    }
}

/// How to log in as the bootstrap role.
pub(crate) fn connection(endpoint: &Endpoint, database: &str) -> tokio_postgres::Config {
    let mut config = tokio_postgres::Config::new();
    config
        .host_path(&endpoint.socket_dir)
        .port(endpoint.port)
        .user(BOOTSTRAP_ROLE)
        .dbname(database)
        .application_name("palisade agent");
    config
}

fn pid_of(raw: u32) -> Option<Pid> {
    i32::try_from(raw).ok().and_then(Pid::from_raw)
}

/// The private directory of the socket: in our directory, or under /tmp if that path is too long.
fn socket_dir(config: &Config, user: &OsUser) -> Result<PathBuf, Error> {
    let near = config.directory.join("run");
    let near = std::path::absolute(&near).map_err(Error::file("find", &near))?;
    let fits = |directory: &Path| {
        let name = format!(".s.PGSQL.{}", u16::MAX);
        directory.join(name).as_os_str().len() <= MAX_SOCKET_PATH
    };
    let directory = if fits(&near) {
        near
    } else {
        // Found again after a restart by the directory's own inode number.
        let found = std::fs::metadata(&config.directory)
            .map_err(Error::file("look at", &config.directory))?;
        let name = format!("palisade-{:x}-{:x}", found.dev(), found.ino());
        std::env::temp_dir().join(name)
    };
    if !fits(&directory) {
        return Err(Error::LongSocketPath { path: directory });
    }
    // In /tmp anyone could have made it before us.
    place::make_private(&directory, user)?;
    Ok(directory)
}

/// Leaves a data directory of ours and of this version, without a server on it.
async fn prepare(programs: &Programs, data: &Path, user: &OsUser) -> Result<(), Error> {
    let path = data.join("PG_VERSION");
    if std::fs::symlink_metadata(&path).is_err() {
        return initialize(programs, data, user).await;
    }
    let owner = std::fs::metadata(data)
        .map_err(Error::file("look at", data))?
        .uid();
    if owner != user.uid {
        return Err(Error::WrongOwner {
            path: data.to_owned(),
            owner,
            user: user.name.clone(),
        });
    }
    let found = place::read(&path, user, SMALL).map_err(Error::file("read", &path))?;
    let found = String::from_utf8_lossy(&found).trim().to_owned();
    if found != programs.version.to_string() {
        return Err(Error::WrongVersion {
            path: data.to_owned(),
            found,
            installed: programs.version,
        });
    }
    end_leftover(data, user).await
}

/// Makes a data directory. It appears under its name when it is complete, so a broken attempt is no obstacle.
async fn initialize(programs: &Programs, data: &Path, user: &OsUser) -> Result<(), Error> {
    if let Ok(entries) = std::fs::read_dir(data) {
        let mut names = entries.flatten().map(|entry| entry.file_name());
        if names.any(|name| {
            !NO_FILES
                .iter()
                .any(|no| name.as_encoded_bytes() == no.as_bytes())
        }) {
            return Err(Error::ForeignDirectory {
                path: data.to_owned(),
            });
        }
        std::fs::remove_dir(data).map_err(Error::file("remove", data))?;
    }
    let unfinished = data.with_extension("new");
    if unfinished.exists() {
        std::fs::remove_dir_all(&unfinished).map_err(Error::file("remove", &unfinished))?;
    }
    place::make_private(&unfinished, user)?;
    let mut initdb = programs.command("initdb")?;
    initdb
        .arg("-D")
        .arg(&unfinished)
        .args(["-U", BOOTSTRAP_ROLE, "--encoding=UTF8", "--locale=C.UTF-8"])
        .args(["--auth-local=peer", "--auth-host=scram-sha-256"])
        .args(["--data-checksums", "--no-instructions"])
        .env("LC_ALL", "C")
        .stdin(Stdio::null());
    user.runs(&mut initdb);
    let done = tokio::process::Command::from(initdb)
        .output()
        .await
        .map_err(Error::file("run", Path::new("initdb")))?;
    if !done.status.success() {
        let output = String::from_utf8_lossy(&done.stderr).trim().to_owned();
        if output.contains("No space left on device") {
            return Err(Error::DiskFull {
                path: data.to_owned(),
            });
        }
        return Err(Error::Program {
            program: "initdb".to_owned(),
            output,
        });
    }
    std::fs::rename(&unfinished, data).map_err(Error::file("make", data))
}

/// Until the ledger's first state is compiled, the agent alone has a way in.
fn first_files(endpoint: &Endpoint, user: &OsUser) -> Result<(), Error> {
    let [hba, ident] = files::paths(endpoint);
    if hba.exists() && ident.exists() {
        return Ok(());
    }
    let daemon = os::own_name()?;
    let text = format!("local all {BOOTSTRAP_ROLE} peer map=palisade_agent\n");
    place::replace(&hba, &text, user)?;
    let text = format!("palisade_agent \"{daemon}\" {BOOTSTRAP_ROLE}\n");
    place::replace(&ident, &text, user)
}

/// Whether the process runs as this user and no other.
fn runs_as(number: &str, user: &OsUser) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{number}/status")).unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let own = user.uid.to_string();
    ids.is_some_and(|ids| ids.split_whitespace().all(|id| id == own))
}

/// Stops a server that a killed daemon left on this data directory.
async fn end_leftover(data: &Path, user: &OsUser) -> Result<(), Error> {
    let file = place::read(&data.join("postmaster.pid"), user, SMALL).unwrap_or_default();
    let text = String::from_utf8_lossy(&file);
    let number = text.lines().next().unwrap_or_default().trim();
    // Its user may write any number there: we end no other's process in his place.
    let own = number.bytes().all(|byte| byte.is_ascii_digit()) && runs_as(number, user);
    let leftover = Leftover {
        program: "PostgreSQL",
        number: if own { number } else { "" },
        directory: data,
        signals: [Signal::INT, Signal::QUIT],
        within: STOP_WITHIN,
    };
    let ended = leftover.end().await;
    ended.map_err(|pid| Error::NotStopped { pid })
}

/// Is a port taken? Asked before the start, because PostgreSQL says so only in its log.
fn check_ports(tcp: &Tcp) -> Result<(), Error> {
    for address in &tcp.addresses {
        let host = if address == "*" { "0.0.0.0" } else { address };
        if let Err(error) = std::net::TcpListener::bind((host, tcp.port))
            && error.kind() == std::io::ErrorKind::AddrInUse
        {
            return Err(Error::PortInUse {
                port: tcp.port,
                address: address.clone(),
            });
        }
    }
    Ok(())
}

/// A value in postgresql.conf.
fn setting(name: &str, value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('\'', "''");
    format!("{name} = '{value}'\n")
}

/// `palisade.conf`: initdb's settings, then the owner's, then Palisade's own. Returns where it is.
fn write_settings(
    config: &Config,
    endpoint: &Endpoint,
    data: &Path,
    user: &OsUser,
) -> Result<PathBuf, Error> {
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let mut text =
        "# Written at each start; put settings into the daemon's configuration.\n".to_owned();
    text.push_str(&setting("include", &path(&data.join("postgresql.conf"))));
    for (name, value) in &config.settings {
        text.push_str(&setting(name, value));
    }
    let listen = config
        .tcp
        .as_ref()
        .map_or(String::new(), |tcp| tcp.addresses.join(","));
    let [hba, ident] = files::paths(endpoint);
    let mut own = vec![
        ("listen_addresses", listen),
        ("port", endpoint.port.to_string()),
        ("unix_socket_directories", path(&endpoint.socket_dir)),
        ("unix_socket_permissions", "0700".to_owned()),
        ("hba_file", path(&hba)),
        ("ident_file", path(&ident)),
        ("password_encryption", "scram-sha-256".to_owned()),
        ("max_prepared_transactions", "0".to_owned()),
        ("lo_compat_privileges", "off".to_owned()),
        ("log_line_prefix", "%m [%p] %q%u@%d ".to_owned()),
        ("log_destination", "stderr".to_owned()),
        ("logging_collector", "off".to_owned()),
    ];
    if let Some(tcp) = &config.tcp {
        let copies = files::TLS_FILES.map(|name| path(&endpoint.files_dir.join(name)));
        let [certificate, key, ca, lists] = copies;
        own.extend([
            ("ssl", "on".to_owned()),
            ("ssl_min_protocol_version", "TLSv1.3".to_owned()),
            ("ssl_cert_file", certificate),
            ("ssl_key_file", key),
            ("ssl_ca_file", ca),
        ]);
        if tcp.lists.is_some() {
            own.push(("ssl_crl_file", lists));
        }
    } else {
        own.push(("ssl", "off".to_owned()));
    }
    for (name, value) in own {
        text.push_str(&setting(name, &value));
    }
    let file = endpoint.files_dir.join("palisade.conf");
    place::replace(&file, &text, user)?;
    Ok(file)
}

/// In a process group of its own: Ctrl-C at the terminal is for the daemon, which stops it in order.
fn spawn(
    programs: &Programs,
    data: &Path,
    settings: &Path,
    user: &OsUser,
    log: &Path,
) -> Result<Child, Error> {
    // It quotes statements and the values in them.
    let open = std::fs::File::options()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(log);
    let output = open.map_err(Error::file("open", log))?;
    output
        .set_permissions(std::fs::Permissions::from_mode(0o600))
        .map_err(Error::file("make private", log))?;
    let errors = output.try_clone().map_err(Error::file("open", log))?;
    let mut postgres = programs.command("postgres")?;
    postgres
        .arg("-D")
        .arg(data)
        .arg(format!("--config_file={}", settings.display()))
        .env("LC_ALL", "C.UTF-8")
        .current_dir(data)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors);
    user.runs(&mut postgres);
    tokio::process::Command::from(postgres)
        .spawn()
        .map_err(Error::file("run", &programs.directory.join("postgres")))
}

/// The last words of the log.
fn why_not_ready(log: &Path) -> Error {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    if text
        .lines()
        .rev()
        .take(5)
        .any(|line| line.contains("No space left on device"))
    {
        return Error::DiskFull {
            path: log.to_owned(),
        };
    }
    let telling =
        |line: &&str| line.contains("FATAL") || line.contains("ERROR") || line.contains("PANIC");
    let reason = text
        .lines()
        .rev()
        .take(20)
        .find(telling)
        .unwrap_or("it is silent");
    Error::NotReady {
        reason: reason.to_owned(),
        log: log.to_owned(),
    }
}
