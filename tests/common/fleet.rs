//! Machines that become nodes of one cluster: real daemons, each with its own directory and ports.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "shared by several tests, each of which uses a part"
)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use palisade_keys::SecretKey;
use palisade_link::node::NodeIdentity;
use palisade_testkit::free_port;

use super::common::{Process, ok, palisade};

/// One machine: its directory, its ports and, when it runs, its daemon.
pub struct Machine {
    pub dir: PathBuf,
    place: Vec<String>,
    pub api: u16,
    pub gateway: u16,
    process: Option<Process>,
}

impl Machine {
    /// A machine with nothing on it; its directory will be `root/name`.
    pub fn new(root: &Path, name: &str) -> Self {
        let (api, gateway) = (free_port().unwrap(), free_port().unwrap());
        let option = |name: &str, port: u16| [name.to_owned(), format!("127.0.0.1:{port}")];
        let place = [
            option("--advertise", api),
            option("--gateway", gateway),
            option("--store-peer", free_port().unwrap()),
            option("--store-client", free_port().unwrap()),
        ];
        Self {
            dir: root.join(name),
            place: place.concat(),
            api,
            gateway,
            process: None,
        }
    }

    /// The same machine, whose etcd the others would reach at `127.0.0.2`.
    pub fn with_another_name(mut self) -> Self {
        let at = self.place.iter().position(|word| word == "--store-peer");
        let peer = self.place.get_mut(at.unwrap() + 1).unwrap();
        *peer = peer.replace("127.0.0.1", "127.0.0.2");
        self
    }

    /// `HOST:PORT` of its API.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.api)
    }

    /// A command with the options that say where the node lives: `init` or `join`.
    pub fn placed(&self, args: &[&str]) -> Command {
        let mut command = palisade();
        command
            .args(args)
            .args(&self.place)
            .arg("--dir")
            .arg(&self.dir);
        command
    }

    /// A command to the daemon of this machine, by nobody in particular.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = palisade();
        command.args(args).env("PALISADE_DIR", &self.dir);
        command
    }

    /// Starts the daemon that `init` or `join` prepared, and waits for a line of its log.
    pub fn start(&mut self, sign: &str) {
        let mut command = palisade();
        command
            .args(["daemon", "-c"])
            .arg(self.dir.join("palisade.cfg"));
        let log = self.dir.with_extension("log");
        self.process = Some(Process::start(&mut command, &log, sign));
    }

    /// Stops the daemon in good order.
    pub fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.stop();
        }
    }

    /// Stops the daemon's processor time: it is there, and says nothing, until the value is dropped.
    pub fn freeze(&self) -> Frozen {
        let pid = self.process.as_ref().unwrap().pid();
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
        Frozen(pid)
    }

    /// What the daemon said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.with_extension("log")).unwrap_or_default()
    }

    /// A file in its private directory.
    pub fn private(&self, name: &str) -> PathBuf {
        self.dir.join("private").join(name)
    }

    /// The fingerprint that `palisade status` shows on that machine.
    pub fn fingerprint(&self) -> String {
        let output = self.command(&["status", "--json"]).output().unwrap();
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        if let Some(waiting) = status["fingerprint"].as_str() {
            return waiting.to_owned();
        }
        let own = status["node"].as_u64().unwrap();
        let nodes = status["nodes"].as_array().unwrap();
        let own = nodes.iter().find(|node| node["id"] == own).unwrap();
        own["fingerprint"].as_str().unwrap().to_owned()
    }

    /// The node's key, as who broke into the machine has it.
    pub fn stolen_key(&self) -> SecretKey {
        let text = std::fs::read_to_string(self.private("node.key")).unwrap();
        SecretKey::from_text(text.trim()).unwrap()
    }
}

/// A daemon that was frozen.
pub struct Frozen(rustix::process::Pid);

impl Drop for Frozen {
    fn drop(&mut self) {
        rustix::process::kill_process(self.0, rustix::process::Signal::CONT).ok();
    }
}

/// What who has this key shows in TLS.
pub fn identity(key: &SecretKey) -> NodeIdentity {
    NodeIdentity::new(key, &[7; 8], now()).unwrap()
}

/// The wall clock.
pub fn now() -> time::OffsetDateTime {
    #[expect(
        clippy::disallowed_methods,
        reason = "entries and certificates are checked against the real clock"
    )]
    std::time::SystemTime::now().into()
}

/// Writes a file that is its owner's alone.
pub fn secret_file(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// What a command writes as JSON.
pub fn json(command: &mut Command) -> serde_json::Value {
    serde_json::from_str(&ok(command)).unwrap()
}

/// What `status --json` writes, whether the cluster is well at this moment or not.
pub fn status(command: &mut Command) -> serde_json::Value {
    serde_json::from_slice(&command.output().unwrap().stdout).unwrap()
}

/// A file's mode.
pub fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}
