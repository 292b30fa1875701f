//! What the agent has to know about the etcd that it runs, and etcd's command line.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use palisade_keys::PublicKey;
use palisade_ledger::{NodeId, StoreAddress};
use palisade_link::api::StoreMember;
use palisade_rights::{STORE_HOST, store_user};

use super::error::EtcdError;
use super::home;
use super::program::Program;
use crate::os::OsUser;

/// How much history etcd keeps: what a watcher that was away this long can catch up on. Compaction
/// removes old revisions of keys, never keys.
const HISTORY: &str = "1h";
/// Bytes that the database may have; etcd then refuses writes. A million entries take 1 GiB.
pub(super) const QUOTA_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// Entries between two snapshots of etcd's own log, which it holds in memory.
const SNAPSHOT_COUNT: u32 = 10_000;
/// With TLS 1.2 (etcd before 3.4.25 knows no `--tls-min-version`): forward secrecy and AEAD alone.
const CIPHERS: &str = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256";

/// The files that etcd reads, of the first two copies of its own. It reads them anew at each handshake: who replaces
/// one need restart nothing, but has the copies renewed (`renew`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The member's certificate chain (PEM, the leaf first), shown to clients and to other members.
    pub certificate: PathBuf,
    /// Its key, 0600.
    pub key: PathBuf,
    /// The root's certificate, which everybody may read: who has no certificate from it is nobody.
    pub ca: PathBuf,
    /// The revocation list (PEM or DER). etcd reads only the first in the file, and compares serial
    /// numbers alone: one list with the numbers of every issuing CA. It must be there, empty or not, and
    /// everybody may read it.
    pub revoked: PathBuf,
}

/// A managed etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Whose member it is.
    pub node: NodeId,
    /// The cluster's public key: who does not prove it is not our etcd.
    pub cluster_key: PublicKey,
    /// The directory of etcd's data and of what we note about it; it is made, and closed to others.
    pub directory: PathBuf,
    /// Where it listens for other members.
    pub listen_peer: SocketAddr,
    /// Where it listens for clients.
    pub listen_client: SocketAddr,
    /// Where others reach the two.
    pub advertise: StoreAddress,
    /// Certificates.
    pub files: Files,
    /// The program; by default it is looked for.
    pub program: Option<PathBuf>,
    /// The OS user that PostgreSQL runs as, if that is configured. Started by root, etcd runs as `etcd`; where
    /// there is no such user, as PostgreSQL does.
    pub os_user: Option<String>,
}

/// How a member begins. Without effect once it has data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// As the first of a new cluster.
    First,
    /// As the member that etcd's list has for it already; the list, as etcd gives it.
    Join(Vec<StoreMember>),
    /// With the data that it has.
    Again,
}

impl Config {
    /// Where other members reach it: `https://HOST:PORT`.
    #[must_use]
    pub fn peer_url(&self) -> String {
        format!("https://{}", self.advertise.peer)
    }

    /// Where clients reach it.
    #[must_use]
    pub fn client_url(&self) -> String {
        format!("https://{}", self.advertise.client)
    }

    /// etcd's own directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Whether it has been a member before.
    #[must_use]
    pub fn has_data(&self) -> bool {
        self.data().join("member").exists()
    }

    fn joined_file(&self) -> PathBuf {
        self.directory.join("joined")
    }

    /// The member's id that the data was begun for by [`Start::Join`].
    #[must_use]
    pub fn joined(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.joined_file()).ok()?;
        Some(text.trim().to_owned())
    }

    /// Forgets what an earlier membership left, so that the node may join again. The ledger's copy that
    /// every node has lies elsewhere.
    pub fn clean(&self) -> Result<(), EtcdError> {
        let data = self.data();
        if data.exists() {
            std::fs::remove_dir_all(&data).map_err(EtcdError::file("remove", &data))?;
        }
        let joined = self.joined_file();
        if joined.exists() {
            std::fs::remove_file(&joined).map_err(EtcdError::file("remove", &joined))?;
        }
        Ok(())
    }

    /// Makes what etcd's user needs, and checks that what it reads is there and private.
    pub(super) fn prepare(&self, start: &Start, user: &OsUser) -> Result<(), EtcdError> {
        home::prepare(&self.directory, &self.data(), user)?;
        let files = &self.files;
        for path in [&files.certificate, &files.key, &files.ca, &files.revoked] {
            std::fs::File::open(path).map_err(EtcdError::file("read", path))?;
        }
        let key = std::fs::metadata(&files.key).map_err(EtcdError::file("read", &files.key))?;
        if key.mode() & 0o077 != 0 {
            return Err(EtcdError::Exposed {
                path: files.key.clone(),
            });
        }
        home::copy(files, &self.directory, user)?;
        if let Start::Join(members) = start
            && !self.has_data()
            && let Some(own) = self.own(members)
        {
            let path = self.joined_file();
            std::fs::write(&path, &own.id).map_err(EtcdError::file("write", &path))?;
        }
        Ok(())
    }

    fn own<'a>(&self, members: &'a [StoreMember]) -> Option<&'a StoreMember> {
        let url = self.peer_url();
        members
            .iter()
            .find(|member| member.peer_urls.contains(&url))
    }

    /// etcd's command line. Nothing in it is secret, and nothing listens without TLS.
    pub(super) fn arguments(&self, start: &Start, program: &Program) -> Vec<String> {
        let name = store_user(self.node);
        let path = |path: &Path| path.display().to_string();
        let (peer, client) = (self.peer_url(), self.client_url());
        let files = &self.files;
        let [certificate, key] = home::copies(&self.directory);
        let mut given: Vec<(&str, String)> = vec![
            ("name", name.clone()),
            ("data-dir", path(&self.data())),
            ("listen-peer-urls", format!("https://{}", self.listen_peer)),
            (
                "listen-client-urls",
                format!("https://{}", self.listen_client),
            ),
            ("initial-advertise-peer-urls", peer.clone()),
            ("advertise-client-urls", client),
            (
                "initial-cluster-token",
                self.cluster_key.fingerprint().to_string(),
            ),
            ("cert-file", path(&certificate)),
            ("key-file", path(&key)),
            ("trusted-ca-file", path(&files.ca)),
            ("client-crl-file", path(&files.revoked)),
            ("client-cert-auth", "true".to_owned()),
            ("client-cert-allowed-hostname", STORE_HOST.to_owned()),
            ("peer-cert-file", path(&certificate)),
            ("peer-key-file", path(&key)),
            ("peer-trusted-ca-file", path(&files.ca)),
            ("peer-crl-file", path(&files.revoked)),
            ("peer-client-cert-auth", "true".to_owned()),
            ("peer-cert-allowed-hostname", STORE_HOST.to_owned()),
            // The JSON gateway would be a second door, and asks etcd in the member's own name.
            ("enable-grpc-gateway", "false".to_owned()),
            ("auto-compaction-mode", "periodic".to_owned()),
            ("auto-compaction-retention", HISTORY.to_owned()),
            ("quota-backend-bytes", QUOTA_BYTES.to_string()),
            ("snapshot-count", SNAPSHOT_COUNT.to_string()),
            // A member that was cut off does not unseat the leader when it comes back.
            ("pre-vote", "true".to_owned()),
            ("strict-reconfig-check", "true".to_owned()),
            ("logger", "zap".to_owned()),
            ("log-outputs", "stderr".to_owned()),
            ("log-level", "info".to_owned()),
        ];
        if program.knows_tls_versions {
            given.push(("tls-min-version", "TLS1.3".to_owned()));
        } else {
            given.push(("cipher-suites", CIPHERS.to_owned()));
        }
        let (state, cluster) = match start {
            Start::First => ("new", format!("{name}={peer}")),
            Start::Again => ("existing", format!("{name}={peer}")),
            Start::Join(members) => ("existing", initial_cluster(&name, &peer, members)),
        };
        given.push(("initial-cluster-state", state.to_owned()));
        given.push(("initial-cluster", cluster));
        let argument = |(name, value): (&str, String)| format!("--{name}={value}");
        given.into_iter().map(argument).collect()
    }

    /// Where we reach our own member: the address it listens at, or loopback when it listens everywhere.
    pub(super) fn near(&self) -> SocketAddr {
        let mut address = self.listen_client;
        if address.ip().is_unspecified() {
            address.set_ip(match address.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        address
    }
}

/// `name=url` of each member; one that has not started has no name yet, which is ours at our own address.
fn initial_cluster(name: &str, peer: &str, members: &[StoreMember]) -> String {
    let mut parts = Vec::new();
    for member in members {
        for url in &member.peer_urls {
            let known = if url == peer { name } else { &member.name };
            parts.push(format!("{known}={url}"));
        }
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_keys::{SecretKey, Zeroizing};

    fn config() -> Config {
        let key = SecretKey::from_seed(Zeroizing::new([1; 32])).unwrap();
        let path = |name: &str| PathBuf::from("/x").join(name);
        Config {
            node: NodeId::FIRST,
            cluster_key: key.public(),
            directory: path("etcd"),
            listen_peer: "0.0.0.0:7380".parse().unwrap(),
            listen_client: "0.0.0.0:7379".parse().unwrap(),
            advertise: StoreAddress {
                peer: "n1:7380".parse().unwrap(),
                client: "n1:7379".parse().unwrap(),
            },
            files: Files {
                certificate: path("member.crt"),
                key: path("member.key"),
                ca: path("root.crt"),
                revoked: path("revoked.crl"),
            },
            program: None,
            os_user: None,
        }
    }

    fn program(knows_tls_versions: bool) -> Program {
        Program {
            path: "etcd".into(),
            knows_tls_versions,
        }
    }

    #[test]
    fn nothing_listens_without_tls_and_certificates_are_asked_for() {
        for known in [true, false] {
            let given = config().arguments(&Start::First, &program(known));
            assert!(given.iter().all(|argument| !argument.contains("http://")));
            for wanted in [
                "--client-cert-auth=true",
                "--peer-client-cert-auth=true",
                "--client-crl-file=/x/revoked.crl",
                "--peer-crl-file=/x/revoked.crl",
                "--client-cert-allowed-hostname=store.palisade.internal",
                "--key-file=/x/etcd/tls/member.key",
                "--peer-cert-allowed-hostname=store.palisade.internal",
                "--enable-grpc-gateway=false",
                "--initial-cluster=palisade_node_1=https://n1:7380",
            ] {
                assert!(given.iter().any(|argument| argument == wanted), "{wanted}");
            }
            let tls = given
                .iter()
                .any(|argument| argument == "--tls-min-version=TLS1.3");
            assert_eq!(tls, known);
        }
    }

    #[test]
    fn who_joins_is_named_at_its_own_address() {
        let member = |name: &str, url: &str| StoreMember {
            name: name.to_owned(),
            peer_urls: vec![url.to_owned()],
            ..StoreMember::default()
        };
        let members = [
            member("palisade_node_2", "https://n2:7380"),
            member("", "https://n1:7380"),
        ];
        let given = config().arguments(&Start::Join(members.to_vec()), &program(true));
        let wanted =
            "--initial-cluster=palisade_node_2=https://n2:7380,palisade_node_1=https://n1:7380";
        assert!(given.iter().any(|argument| argument == wanted), "{given:?}");
        assert!(
            given
                .iter()
                .any(|argument| argument == "--initial-cluster-state=existing")
        );
    }
}
