//! A whole cluster for end-to-end tests: the real binary, the real PostgreSQL, its own directory.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "shared by several tests, each of which uses a part"
)]

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use palisade_testkit::{TempDir, free_ports, temp_dir};

/// Time for a cluster to come up on a busy machine; nothing waits this long unless it fails.
const PATIENCE: Duration = Duration::from_mins(2);

/// The binary under test.
pub fn palisade() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PALISADE_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Runs to the end; standard output, or a panic with everything that was said.
pub fn ok(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs to the end, which must be a failure; what was said on both outputs.
pub fn fails(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{command:?}\n{}", said(&output));
    said(&output)
}

/// All that a program said.
pub fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The CA that signed what the gateway at a port shows.
pub fn issuer_at(port: u16) -> String {
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-starttls", "postgres", "-connect"])
        .arg(format!("127.0.0.1:{port}"))
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.starts_with("issuer="));
    line.unwrap_or_default().to_owned()
}

/// Makes a program for alerts: it writes each notice to the file `said`, a line each.
pub fn pager(program: &Path, said: &Path) {
    // One write for each, for several may come at one time.
    let script = format!(
        "#!/bin/sh\nsaid=$(cat)\nprintf '%s\\n' \"$said\" >> {}\n",
        said.display()
    );
    std::fs::write(program, script).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(program, mode).unwrap();
}

/// A process that is stopped by SIGINT and waited for when dropped.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it with both outputs in the file `log`, and waits until a line there holds `sign`.
    pub fn start(command: &mut Command, log: &Path, sign: &str) -> Self {
        let file = File::options().create(true).append(true).open(log).unwrap();
        let skip = file.metadata().unwrap().len();
        let child = command
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        let mut process = Self {
            child,
            log: log.to_owned(),
        };
        process.wait_for(sign, skip);
        process
    }

    fn wait_for(&mut self, sign: &str, skip: u64) {
        let skip = usize::try_from(skip).unwrap();
        let found = palisade_testkit::poll(sign, PATIENCE, || {
            let log = self.log();
            if log.get(skip..).unwrap_or_default().contains(sign) {
                return Some(true);
            }
            self.child.try_wait().unwrap().map(|_| false)
        });
        assert_eq!(
            found.ok(),
            Some(true),
            "no {sign:?} in the log:\n{}",
            self.log()
        );
    }

    /// What it said so far.
    pub fn log(&self) -> String {
        let mut text = Vec::new();
        File::open(&self.log)
            .unwrap()
            .read_to_end(&mut text)
            .unwrap();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a crash of the machine would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it in good order.
    pub fn stop(mut self) {
        self.interrupt();
    }

    /// Waits until it ends by itself.
    pub fn join(mut self) {
        let ended = palisade_testkit::poll("its end", PATIENCE, || self.child.try_wait().unwrap());
        assert!(ended.unwrap().success(), "{}", self.log());
    }

    fn interrupt(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let pid = i32::try_from(self.child.id()).unwrap();
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        }
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.interrupt();
    }
}

/// Where the nodes of one `palisade up` listen, the same ones at each start.
pub struct Doors {
    pub gateway: u16,
    pub api: u16,
    store: u16,
}

impl Doors {
    /// Ports for so many nodes; each takes those that come next after the ones of the node before.
    pub fn new(nodes: u16) -> Self {
        Self {
            gateway: free_ports(nodes).unwrap(),
            api: free_ports(nodes).unwrap(),
            // From one node's etcd to the next `up` leaves ten ports.
            store: free_ports((nodes - 1) * 10 + 2).unwrap(),
        }
    }

    /// `up` in a directory.
    pub fn up(&self, dir: &Path) -> Command {
        let gateway = format!("127.0.0.1:{}", self.gateway);
        let mut command = self.placed();
        command
            .args(["up", "--verbose", "--listen", &gateway, "--dir"])
            .arg(dir);
        command
    }

    /// The binary, told where all but the gateway listen.
    fn placed(&self) -> Command {
        let at = |port: u16| format!("127.0.0.1:{port}");
        let mut command = palisade();
        command
            .env("PALISADE_API_LISTEN", at(self.api))
            .env("PALISADE_STORE_MANAGED_PEER", at(self.store))
            .env("PALISADE_STORE_MANAGED_CLIENT", at(self.store + 1));
        command
    }
}

/// A cluster made by `palisade up`.
pub struct Cluster {
    process: Option<Process>,
    pub port: u16,
    doors: Doors,
    temp: TempDir,
    settings: Vec<(&'static str, String)>,
}

impl Cluster {
    /// Makes one and waits until it serves.
    pub fn up() -> Self {
        Self::up_with(&[])
    }

    /// The same, with settings in the environment.
    pub fn up_with(settings: &[(&'static str, &str)]) -> Self {
        let doors = Doors::new(1);
        let mut cluster = Self {
            process: None,
            port: doors.gateway,
            doors,
            temp: temp_dir().unwrap(),
            settings: settings
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect(),
        };
        cluster.start();
        cluster
    }

    /// Starts it (again).
    pub fn start(&mut self) {
        self.start_until("Ctrl-C stops");
    }

    /// Starts it, and waits until it says `sign`.
    pub fn start_until(&mut self, sign: &str) {
        let log = self.temp.path().join("up.log");
        let mut command = self.doors.up(&self.dir());
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        self.process = Some(Process::start(&mut command, &log, sign));
    }

    /// Stops it in good order.
    pub fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.stop();
        }
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    /// What the node said so far.
    pub fn log(&self) -> String {
        self.process.as_ref().unwrap().log()
    }

    /// The cluster's directory.
    pub fn dir(&self) -> PathBuf {
        self.temp.path().join("cluster")
    }

    /// A path beside the cluster's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    /// A file of the superuser.
    pub fn admin(&self, kind: &str) -> PathBuf {
        self.dir().join("private").join(format!("admin.{kind}"))
    }

    /// The daemon on the stopped cluster's directory, at the same ports.
    pub fn daemon(&self) -> Command {
        let mut command = self.doors.placed();
        command
            .arg("daemon")
            .env("PALISADE_NODE_DATA_DIRECTORY", self.dir())
            .env(
                "PALISADE_GATEWAY_LISTEN",
                format!("127.0.0.1:{}", self.port),
            );
        command
    }

    /// A command of the binary, on this cluster, signed by the superuser.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = palisade();
        command
            .args(args)
            .env("PALISADE_DIR", self.dir())
            .env("PALISADE_CREDENTIALS", self.admin("credentials"));
        command
    }

    /// Runs a command as the superuser; it must succeed.
    pub fn run(&self, args: &[&str]) -> String {
        ok(&mut self.command(args))
    }

    /// Adds a user with a password and a credentials file; gives the file.
    pub fn add_user(&self, name: &str, privileges: &str) -> PathBuf {
        let password = self.path("password");
        std::fs::write(&password, "correct horse\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&password, mode).unwrap();
        let credentials = self.path(&format!("{name}.credentials"));
        self.run(&[
            "user",
            "add",
            "-u",
            name,
            "--privileges",
            privileges,
            "--password-file",
            password.to_str().unwrap(),
            "-s",
            credentials.to_str().unwrap(),
        ]);
        credentials
    }

    /// A psql on the gateway; the superuser by key, everybody else by the password of `add_user`.
    pub fn psql(&self, user: &str) -> Command {
        let mut command = Command::new("psql");
        let mut conninfo = format!(
            "host=127.0.0.1 port={} dbname=main user={user} sslmode=verify-full sslrootcert={}",
            self.port,
            self.dir().join("root.crt").display()
        );
        if user == "admin" {
            let (certificate, key) = (self.admin("crt"), self.admin("key"));
            write!(
                conninfo,
                " sslcert={} sslkey={}",
                certificate.display(),
                key.display()
            )
            .unwrap();
        } else {
            command.env("PGPASSWORD", "correct horse");
        }
        command
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", &conninfo])
            .stdin(Stdio::null());
        command
    }

    /// A psql on PostgreSQL's private socket, as the bootstrap superuser: what an administrator of
    /// the machine could do by hand.
    pub fn bootstrap_psql(&self) -> Command {
        let socket = self.dir().join("postgres/run");
        let mut command = Command::new("psql");
        command
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h"])
            .arg(socket)
            .args(["-U", "palisade", "-d", "main"])
            .stdin(Stdio::null());
        command
    }

    /// Runs SQL as a user; it must succeed.
    pub fn sql(&self, user: &str, sql: &str) -> String {
        ok(self.psql(user).args(["-c", sql])).trim_end().to_owned()
    }

    /// Runs SQL as a user, which must fail; the error.
    pub fn sql_fails(&self, user: &str, sql: &str) -> String {
        fails(self.psql(user).args(["-c", sql]))
    }
}

/// A psql session that stays open, spoken to line by line.
pub struct OpenSession {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl OpenSession {
    /// Opens one, with errors among its output.
    pub fn open(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (send, lines) = mpsc::channel();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let copy = send.clone();
        std::thread::spawn(move || forward(stdout, &copy));
        std::thread::spawn(move || forward(stderr, &send));
        Self { child, lines }
    }

    /// Sends a line.
    pub fn send(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        // A session that was ended may have closed its end already.
        drop(writeln!(stdin, "{line}").and_then(|()| stdin.flush()));
    }

    /// The next line that holds `sign`.
    pub fn expect(&self, sign: &str) -> String {
        self.expect_any(&[sign]).0
    }

    /// The next line that holds one of these signs, and the lines that came before.
    pub fn expect_any(&self, signs: &[&str]) -> (String, Vec<String>) {
        let mut seen = Vec::new();
        loop {
            let line = self
                .lines
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|_| panic!("none of {signs:?} after {seen:?}"));
            if signs.iter().any(|sign| line.contains(sign)) {
                return (line, seen);
            }
            seen.push(line);
        }
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn forward(from: impl std::io::Read, to: &mpsc::Sender<String>) {
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        if to.send(line).is_err() {
            return;
        }
    }
}
