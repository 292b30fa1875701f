//! Three daemons with their PostgreSQL and etcd, each on its own machine and its own small disk.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use palisade_testkit::{TempDir, poll, temp_dir};
use rustix::process::{Pid, Signal, kill_process};

use crate::common::{ok, palisade};
use crate::faults::Fault;
use crate::net::{Net, STORE_PORTS};

/// A node's disk. PostgreSQL alone takes about 70 MB of it.
const DISK: &str = "size=600m,mode=755";
/// For a daemon to come up on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

pub struct Fleet {
    net: Net,
    temp: TempDir,
    daemons: Mutex<[Option<Child>; 3]>,
}

fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn find_faketime() -> Option<PathBuf> {
    fs::read_dir("/usr/lib")
        .ok()?
        .filter_map(Result::ok)
        .map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"))
        .find(|path| path.exists())
}

impl Fleet {
    /// Three nodes that share a ledger in managed etcd.
    pub fn start(net: Net) -> Self {
        let fleet = Self {
            net,
            temp: temp_dir().unwrap(),
            daemons: Mutex::default(),
        };
        assert!(
            find_faketime().is_some(),
            "clocks jump by libfaketime: apt-get install faketime"
        );
        let (public, private) = (fleet.path("cluster_public.key"), fleet.cluster_key());
        ok(palisade()
            .arg("keygen")
            .arg("-p")
            .arg(public)
            .arg("-s")
            .arg(&private));
        ok(palisade()
            .args(["user", "add", "-u", "admin", "--superuser=on", "-p"])
            .arg(fleet.path("users.cfg"))
            .arg("-s")
            .arg(fleet.path("admin.credentials")));
        for node in 1..=3 {
            let disk = fleet.disk(node);
            fs::create_dir(&disk).unwrap();
            ok(Command::new("mount")
                .args(["-t", "tmpfs", "-o", DISK, "palisade-chaos"])
                .arg(&disk));
            fs::write(fleet.clock(node), "+0").unwrap();
            fleet.configure(node);
        }
        fleet.run(1);
        fleet.wait_for(1, "serving at");
        fleet.command(1, &["store", "move", "managed"]);
        for node in 2..=3 {
            fleet.run(node);
            fleet.wait_for(node, "serving at");
        }
        fleet
    }

    fn configure(&self, node: usize) {
        let address = Net::address(node);
        let [peer, client] = STORE_PORTS;
        let join = if node == 1 {
            String::new()
        } else {
            format!("\"{}:7433\"", Net::address(1))
        };
        let text = format!(
            r#"{{
    "security": {{ "cluster_private_file": "{key}", "user_list": "{users}" }},
    "gateway": {{ "listen": ["{address}:5433"] }},
    "api": {{ "listen": ["{address}:7433"], "advertise": "{address}:7433" }},
    "store": {{ "managed": {{ "peer": "{address}:{peer}", "client": "{address}:{client}" }} }},
    "node": {{ "data_directory": "{dir}", "join": [{join}] }},
}}"#,
            key = self.cluster_key().display(),
            users = self.path("users.cfg").display(),
            dir = self.dir(node).display(),
        );
        fs::write(
            self.path(&format!("node{node}.cfg")),
            text.replace("},\n}", "}\n}"),
        )
        .unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn disk(&self, node: usize) -> PathBuf {
        self.path(&format!("n{node}"))
    }

    fn clock(&self, node: usize) -> PathBuf {
        self.path(&format!("clock{node}"))
    }

    fn log(&self, node: usize) -> PathBuf {
        self.path(&format!("node{node}.log"))
    }

    /// A node's data directory.
    pub fn dir(&self, node: usize) -> PathBuf {
        self.disk(node).join("d")
    }

    /// The cluster's private key.
    pub fn cluster_key(&self) -> PathBuf {
        self.path("cluster_private.key")
    }

    fn daemons(&self) -> MutexGuard<'_, [Option<Child>; 3]> {
        self.daemons.lock().unwrap()
    }

    /// Starts a node's daemon (again).
    fn run(&self, node: usize) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.log(node))
            .unwrap();
        let child = self
            .net
            .command(node, env!("CARGO_BIN_EXE_palisade"))
            .args(["daemon", "-c"])
            .arg(self.path(&format!("node{node}.cfg")))
            // A clock of its own, read from a file; etcd and PostgreSQL keep the machine's.
            .env("LD_PRELOAD", find_faketime().unwrap())
            .env("FAKETIME_TIMESTAMP_FILE", self.clock(node))
            .env("FAKETIME_CACHE_DURATION", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.daemons()[node - 1] = Some(child);
    }

    fn wait_for(&self, node: usize, sign: &str) {
        let found = poll(sign, PATIENCE, || {
            self.said(node).contains(sign).then_some(())
        });
        assert!(
            found.is_ok(),
            "node {node}: no {sign:?}\n{}",
            self.said(node)
        );
    }

    fn said(&self, node: usize) -> String {
        let bytes = fs::read(self.log(node)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last lines of every node's log, for a failure.
    pub fn tail(&self) -> String {
        let mut text = String::new();
        for node in 1..=3 {
            let said = self.said(node);
            let lines: Vec<&str> = said.lines().collect();
            let last = lines[lines.len().saturating_sub(40)..].join("\n");
            writeln!(text, "--- node {node}\n{last}").unwrap();
        }
        text
    }

    /// A command of the binary at a node, signed by the superuser.
    pub fn command(&self, node: usize, args: &[&str]) -> String {
        ok(palisade()
            .args(args)
            .env("PALISADE_DIR", self.dir(node))
            .env("PALISADE_CREDENTIALS", self.path("admin.credentials")))
    }

    /// A user who logs in with a password.
    pub fn add_user(&self, name: &str, password: &str) {
        let file = self.path("password");
        write_private(&file, password);
        let file = file.to_str().unwrap();
        self.command(1, &["user", "add", "-u", name, "--password-file", file]);
    }

    /// Whether a user gets in at a node, from that node's own machine.
    pub fn logs_in(&self, node: usize, user: &str, password: &str) -> Result<(), String> {
        let conninfo = format!(
            "host={} port=5433 dbname=main user={user} sslmode=verify-full sslrootcert={} connect_timeout=5",
            Net::address(node),
            self.dir(node).join("root.crt").display(),
        );
        let output = self
            .net
            .command(node, "psql")
            .args(["-X", "-q", "-A", "-t", "-c", "select 1", &conninfo])
            .env("PGPASSWORD", password)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        match output.stdout.as_slice() {
            b"1\n" => Ok(()),
            _ => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Lets a fault happen.
    pub fn apply(&self, fault: Fault) {
        match fault {
            Fault::Cut(node) => self.net.cut(node),
            Fault::CutPair(one, other) => self.net.cut_pair(one, other),
            Fault::CutStore(node) => self.net.cut_store(node),
            Fault::Slow(node) => self.net.slow(node),
            Fault::KillDaemon(node) => self.kill(node),
            Fault::KillStore(node) => self.kill_store(node),
            Fault::KillPostgres(node) => self.kill_postgres(node),
            Fault::Freeze(node) => self.signal(node, Signal::STOP),
            Fault::FillDisk(node) => self.fill(node),
            Fault::Clock(node, seconds) => {
                fs::write(self.clock(node), format!("{seconds:+}")).unwrap();
            }
        }
    }

    /// Takes all faults back, and starts what was killed.
    pub fn heal(&self) {
        self.net.heal();
        for node in 1..=3 {
            drop(fs::remove_file(self.disk(node).join("fill")));
            fs::write(self.clock(node), "+0").unwrap();
            self.signal(node, Signal::CONT);
            // A daemon may have ended by itself, of a full disk.
            let ended = match &mut self.daemons()[node - 1] {
                Some(child) => child.try_wait().unwrap().is_some(),
                None => true,
            };
            if ended {
                self.run(node);
            }
        }
    }

    /// `ip netns exec` becomes the daemon: its process id is the daemon's.
    fn signal(&self, node: usize, signal: Signal) {
        if let Some(child) = &self.daemons()[node - 1] {
            kill_process(Pid::from_child(child), signal).ok();
        }
    }

    fn kill(&self, node: usize) {
        if let Some(mut child) = self.daemons()[node - 1].take() {
            drop(child.kill());
            child.wait().unwrap();
        }
        self.run(node);
    }

    fn kill_store(&self, node: usize) {
        let dir = self.dir(node);
        for pid in processes("etcd", dir.to_str().unwrap()) {
            kill_process(pid, Signal::KILL).ok();
        }
    }

    fn kill_postgres(&self, node: usize) {
        let file = self.dir(node).join("postgres/postmaster.pid");
        let text = fs::read_to_string(file).unwrap_or_default();
        let pid = text.lines().next().and_then(|line| line.parse().ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            kill_process(pid, Signal::KILL).ok();
        }
    }

    fn fill(&self, node: usize) {
        let file = fs::File::create(self.disk(node).join("fill"));
        let Ok(file) = file else { return };
        let mut file = std::io::BufWriter::new(file);
        // Until there is no space left, which is the point.
        let block = vec![0; 65_536];
        while std::io::Write::write_all(&mut file, &block).is_ok() {}
        drop(file.into_parts());
    }
}

/// The processes of this program's name that have `sign` among their arguments.
fn processes(name: &str, sign: &str) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            let mut words = line.split('\0');
            let program = words.next().unwrap_or_default();
            program.rsplit('/').next() == Some(name) && line.contains(sign)
        })
        .filter_map(Pid::from_raw)
        .collect()
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.net.heal();
        for node in 1..=3 {
            drop(fs::remove_file(self.disk(node).join("fill")));
            self.signal(node, Signal::CONT);
            self.signal(node, Signal::INT);
        }
        for child in self.daemons().iter_mut().flatten() {
            drop(child.wait());
        }
        for node in 1..=3 {
            let dir = self.dir(node);
            for name in ["etcd", "postgres"] {
                for pid in processes(name, dir.to_str().unwrap()) {
                    kill_process(pid, Signal::KILL).ok();
                }
            }
            drop(
                Command::new("umount")
                    .arg("-l")
                    .arg(self.disk(node))
                    .status(),
            );
        }
    }
}
