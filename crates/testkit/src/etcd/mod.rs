//! A throwaway etcd: one member or three, with or without mutual TLS, on free loopback ports.
//!
//! ```no_run
//! # fn main() -> Result<(), palisade_testkit::Error> {
//! let mut etcd = palisade_testkit::etcd::Etcd::builder().members(3).tls().start()?;
//! etcd.etcdctl(&["put", "key", "value"])?;
//! etcd.member(0).kill();
//! # Ok(()) }
//! ```

mod certificates;
mod member;

pub use certificates::{Authority, KeyKind, Leaf, Pair};
pub use member::Member;

use crate::{Error, TempDir, free_port, poll, temp_dir};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A member is up in half a second; a loaded CI machine gets this long.
const START_WITHIN: Duration = Duration::from_mins(1);

/// What an etcd shall be like, before it is started.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    members: usize,
    tls: bool,
    authority: Option<Authority>,
    server: Option<Leaf>,
    arguments: Vec<String>,
}

impl Builder {
    /// How many members (default 1).
    #[must_use]
    pub fn members(mut self, members: usize) -> Self {
        self.members = members;
        self
    }

    /// Mutual TLS for clients and peers, with certificates of an own authority.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Mutual TLS with certificates of this authority.
    #[must_use]
    pub fn authority(mut self, authority: Authority) -> Self {
        self.authority = Some(authority);
        self.tls()
    }

    /// What certificate to show to clients, instead of one for `localhost` and 127.0.0.1.
    #[must_use]
    pub fn server_certificate(mut self, leaf: Leaf) -> Self {
        self.server = Some(leaf);
        self
    }

    /// Adds an argument for each member: `--auto-compaction-retention=1`.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Starts it; it takes requests when this returns.
    pub fn start(self) -> Result<Etcd, Error> {
        member::find("etcd")?;
        member::find("etcdctl")?;
        let directory = temp_dir()?;
        let files = match (&self.authority, self.tls) {
            (Some(authority), _) => Some(Files::issue(authority.clone(), self.server.as_ref())?),
            (None, true) => {
                let authority = Authority::make(directory.path(), "ca", KeyKind::Ec)?;
                Some(Files::issue(authority, self.server.as_ref())?)
            }
            (None, false) => None,
        };
        let scheme = if files.is_some() { "https" } else { "http" };
        let mut members = Vec::new();
        for number in 1..=self.members.max(1) {
            let url = || Ok::<_, Error>(format!("{scheme}://127.0.0.1:{}", free_port()?));
            let name = format!("n{number}");
            members.push(Member {
                directory: directory.path().join(&name),
                name,
                client: url()?,
                peer: url()?,
                arguments: Vec::new(),
                keeper: None,
            });
        }
        let mut etcd = Etcd {
            members,
            files,
            extra: self.arguments,
            directory,
        };
        etcd.arrange("palisade-test");
        for member in &mut etcd.members {
            member.start()?;
        }
        etcd.await_ready()?;
        Ok(etcd)
    }
}

/// The certificates of an etcd.
#[derive(Debug)]
struct Files {
    authority: Authority,
    server: Pair,
    peer: Pair,
    root: Pair,
}

impl Files {
    fn issue(authority: Authority, server: Option<&Leaf>) -> Result<Self, Error> {
        let usual = Leaf::server("etcd");
        Ok(Self {
            server: authority.issue(server.unwrap_or(&usual))?,
            peer: authority.issue(&Leaf::server("peer"))?,
            root: authority.issue(&Leaf::client("root"))?,
            authority,
        })
    }
}

/// A running etcd; ended and removed on drop.
#[derive(Debug)]
pub struct Etcd {
    members: Vec<Member>,
    files: Option<Files>,
    extra: Vec<String>,
    directory: TempDir,
}

impl Etcd {
    /// Settings of an etcd.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where the members listen for clients.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        let urls = self.members.iter().map(|member| member.client.clone());
        urls.collect()
    }

    /// A member, counted from 0.
    ///
    /// # Panics
    /// If there is none of that number.
    #[expect(clippy::indexing_slicing, reason = "a test's mistake")]
    pub fn member(&mut self, number: usize) -> &mut Member {
        &mut self.members[number]
    }

    /// The members.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The number of the member that leads now.
    pub fn leader(&self) -> Result<usize, Error> {
        poll("a leader", START_WITHIN, || {
            (0..self.members.len()).find(|number| {
                let url = self
                    .members
                    .get(*number)
                    .map_or("", |member| &member.client);
                let status = self.run(url, &["endpoint", "status", "--write-out=fields"]);
                let status = status.unwrap_or_default();
                let field = |name: &str| {
                    let line = status.lines().find(|line| line.starts_with(name))?;
                    Some(line.split_once(" : ")?.1.to_owned())
                };
                let (own, leader) = (field("\"MemberID\""), field("\"Leader\""));
                own.is_some() && own == leader
            })
        })
    }

    /// The authority's certificate; none without TLS.
    #[must_use]
    pub fn ca_file(&self) -> Option<PathBuf> {
        let files = self.files.as_ref()?;
        Some(files.authority.certificate())
    }

    /// The authority; none without TLS.
    #[must_use]
    pub fn authority(&self) -> Option<&Authority> {
        self.files.as_ref().map(|files| &files.authority)
    }

    /// The certificate `root`: what [`Self::etcdctl`] uses.
    #[must_use]
    pub fn root(&self) -> Option<&Pair> {
        self.files.as_ref().map(|files| &files.root)
    }

    /// A directory for what else the test needs; gone with the etcd.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Runs `etcdctl` as the certificate `root` over all members, and gives what it prints.
    pub fn etcdctl(&self, arguments: &[&str]) -> Result<String, Error> {
        self.run(&self.endpoints().join(","), arguments)
    }

    fn run(&self, endpoints: &str, arguments: &[&str]) -> Result<String, Error> {
        let mut command = Command::new("etcdctl");
        command
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", endpoints, "--dial-timeout=2s"]);
        if let Some(files) = &self.files {
            command
                .arg("--cacert")
                .arg(files.authority.certificate())
                .arg("--cert")
                .arg(&files.root.certificate)
                .arg("--key")
                .arg(&files.root.key);
        }
        let done = command
            .args(arguments)
            .output()
            .map_err(Error::spawn("etcdctl"))?;
        if done.status.success() {
            return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
        }
        Err(Error::Failed {
            program: format!("etcdctl {}", arguments.join(" ")),
            status: done.status.to_string(),
            output: String::from_utf8_lossy(&done.stderr).into_owned(),
        })
    }

    /// Saves a snapshot of the first member to `path`.
    pub fn snapshot(&self, path: &Path) -> Result<(), Error> {
        let first = self.members.first().map_or("", |member| &member.client);
        let path = path.to_string_lossy();
        self.run(first, &["snapshot", "save", &path]).map(drop)
    }

    /// Ends all members, puts the snapshot `path` in the place of their data, and starts them again.
    pub fn restore(&mut self, path: &Path) -> Result<(), Error> {
        for member in &mut self.members {
            member.kill();
        }
        self.arrange("palisade-restored");
        let cluster = self.initial_cluster();
        for member in &mut self.members {
            let data = member.data();
            std::fs::remove_dir_all(&data).map_err(Error::file("remove", &data))?;
            let done = Command::new("etcdctl")
                .env("ETCDCTL_API", "3")
                .args(["snapshot", "restore"])
                .arg(path)
                .args(["--name", &member.name, "--initial-cluster", &cluster])
                .args(["--initial-cluster-token", "palisade-restored"])
                .args(["--initial-advertise-peer-urls", &member.peer])
                .arg("--data-dir")
                .arg(&data)
                .output()
                .map_err(Error::spawn("etcdctl"))?;
            if !done.status.success() {
                return Err(Error::Failed {
                    program: "etcdctl snapshot restore".to_owned(),
                    status: done.status.to_string(),
                    output: String::from_utf8_lossy(&done.stderr).into_owned(),
                });
            }
            member.start()?;
        }
        self.await_ready()
    }

    /// Waits until every member that runs takes connections and the cluster answers.
    pub fn await_ready(&self) -> Result<(), Error> {
        let ready = poll("etcd", START_WITHIN, || {
            let open = self
                .members
                .iter()
                .filter(|m| m.is_running())
                .all(|member| {
                    let address = member.client.rsplit('/').next().unwrap_or_default();
                    std::net::TcpStream::connect(address).is_ok()
                });
            // A certificate that etcdctl refuses is what some tests want; the log tells then.
            let serves = open && (self.etcdctl(&["get", "x"]).is_ok() || self.serves_by_log());
            serves.then_some(())
        });
        ready.map_err(|_| Error::EtcdNotReady {
            log: self.members.iter().map(Member::log).collect(),
        })
    }

    fn serves_by_log(&self) -> bool {
        let mut running = self.members.iter().filter(|member| member.is_running());
        running.all(|member| member.log().contains("serving client"))
    }

    fn initial_cluster(&self) -> String {
        let pairs = self
            .members
            .iter()
            .map(|m| format!("{}={}", m.name, m.peer));
        pairs.collect::<Vec<_>>().join(",")
    }

    /// Writes down each member's arguments.
    fn arrange(&mut self, token: &str) {
        let cluster = self.initial_cluster();
        for member in &mut self.members {
            let mut arguments: Vec<std::ffi::OsString> = Vec::new();
            let mut set = |name: &str, value: &std::ffi::OsStr| {
                arguments.push(name.into());
                arguments.push(value.into());
            };
            set("--name", member.name.as_ref());
            set("--data-dir", member.data().as_os_str());
            set("--listen-client-urls", member.client.as_ref());
            set("--advertise-client-urls", member.client.as_ref());
            set("--listen-peer-urls", member.peer.as_ref());
            set("--initial-advertise-peer-urls", member.peer.as_ref());
            set("--initial-cluster", cluster.as_ref());
            set("--initial-cluster-token", token.as_ref());
            set("--logger", "zap".as_ref());
            if let Some(files) = &self.files {
                let ca = files.authority.certificate();
                set("--trusted-ca-file", ca.as_os_str());
                set("--cert-file", files.server.certificate.as_os_str());
                set("--key-file", files.server.key.as_os_str());
                set("--peer-trusted-ca-file", ca.as_os_str());
                set("--peer-cert-file", files.peer.certificate.as_os_str());
                set("--peer-key-file", files.peer.key.as_os_str());
                arguments.push("--client-cert-auth".into());
                arguments.push("--peer-client-cert-auth".into());
            }
            arguments.extend(self.extra.iter().map(std::ffi::OsString::from));
            member.arguments = arguments;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_members_over_mutual_tls_go_on_without_one() {
        let mut etcd = Etcd::builder().members(3).tls().start().unwrap();
        etcd.etcdctl(&["put", "a", "1"]).unwrap();
        let leader = etcd.leader().unwrap();
        etcd.member(leader).kill();
        let put = poll("another leader", Duration::from_mins(1), || {
            etcd.etcdctl(&["put", "a", "2"]).ok()
        });
        put.unwrap();
        etcd.member(leader).start().unwrap();
        etcd.await_ready().unwrap();
        assert_eq!(etcd.etcdctl(&["get", "a"]).unwrap(), "a\n2\n");
    }

    #[test]
    fn a_snapshot_is_put_back() {
        let mut etcd = Etcd::builder().start().unwrap();
        etcd.etcdctl(&["put", "a", "1"]).unwrap();
        let path = etcd.directory().join("snapshot");
        etcd.snapshot(&path).unwrap();
        etcd.etcdctl(&["put", "a", "2"]).unwrap();
        etcd.restore(&path).unwrap();
        assert_eq!(etcd.etcdctl(&["get", "a"]).unwrap(), "a\n1\n");
    }
}
