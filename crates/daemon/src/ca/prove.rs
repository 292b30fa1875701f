//! Handshakes that prove a leaf: by a client that trusts the cluster key alone, at a door of this node or
//! of another.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use palisade_keys::PublicKey;
use palisade_ledger::{Node, is_loopback};
use palisade_link::api::{DoorAddress, DoorKind};
use palisade_link::tls::client_config;
use palisade_link::x509::Leaf;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::policy::names_in_ledger;

/// One handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);
/// Between two.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// `SSLRequest` (PostgreSQL, "Message Formats").
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// What must be met at a door.
pub(super) struct Expected<'a> {
    pub(super) cluster: &'a PublicKey,
    /// The name under which the node is asked for.
    pub(super) host: &'a str,
    /// DER of the leaf.
    pub(super) leaf: &'a [u8],
    /// What etcd is shown, which lets nobody in who shows nothing.
    pub(super) identity: Option<&'a Leaf>,
}

/// Waits until a handshake at `at` succeeds and shows the leaf; the last reason why it did not.
pub(super) async fn meet(
    kind: DoorKind,
    at: &str,
    expected: &Expected<'_>,
    within: Duration,
) -> Result<(), String> {
    let store = is_store(kind);
    let identity = expected.identity.filter(|_| store);
    let config = client_config(expected.cluster, identity).map_err(|error| error.to_string())?;
    let config = Arc::new(config);
    let until = Instant::now() + within;
    loop {
        let reason = match timeout(HANDSHAKE_WITHIN, shake(kind, at, &config, expected)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(reason)) => reason,
            Err(_) => "no answer to a handshake".to_owned(),
        };
        if Instant::now() > until {
            return Err(format!("{} at {at}: {reason}", kind.name()));
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn shake(
    kind: DoorKind,
    at: &str,
    config: &Arc<ClientConfig>,
    expected: &Expected<'_>,
) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let name = ServerName::try_from(expected.host.to_owned()).map_err(|error| error.to_string())?;
    let mut stream = TcpStream::connect(at).await.map_err(text)?;
    if matches!(kind, DoorKind::Gateway | DoorKind::Postgres) {
        stream.write_all(&SSL_REQUEST).await.map_err(text)?;
        if stream.read_u8().await.map_err(text)? != b'S' {
            return Err("it does not do TLS".to_owned());
        }
    }
    let connector = TlsConnector::from(Arc::clone(config));
    let mut stream = connector.connect(name, stream).await.map_err(text)?;
    let (_, session) = stream.get_ref();
    let shown = session.peer_certificates().and_then(|chain| chain.first());
    if shown.is_none_or(|shown| shown.as_ref() != expected.leaf) {
        return Err("it shows another certificate".to_owned());
    }
    if is_store(kind) && expected.identity.is_some() {
        is_let_in(&mut stream).await?;
    }
    // What the door thinks of a client that says nothing is not of interest.
    stream.shutdown().await.ok();
    Ok(())
}

/// In TLS 1.3 a client learns only with the first answer whether its own certificate was taken.
async fn is_let_in(stream: &mut TlsStream<TcpStream>) -> Result<(), String> {
    let refused = |error: std::io::Error| format!("it refuses the certificate for etcd: {error}");
    let request = b"GET /version HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.map_err(refused)?;
    let mut begin = [0; 5];
    stream.read_exact(&mut begin).await.map_err(refused)?;
    if &begin == b"HTTP/" {
        return Ok(());
    }
    Err("what answers is not etcd".to_owned())
}

pub(super) fn is_store(kind: DoorKind) -> bool {
    matches!(kind, DoorKind::Store | DoorKind::StorePeer)
}

/// Where this node reaches a door of its own: a listener on every address, on the machine's own.
pub(super) fn near(door: &DoorAddress) -> String {
    let ip = match door.address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    SocketAddr::new(ip, door.address.port()).to_string()
}

/// Where other nodes reach a door of `node`: at hosts of the ledger alone, whatever the node says. None
/// for a door that is for its own machine.
pub(super) fn far(node: &Node, door: &DoorAddress) -> Option<String> {
    match (door.kind, &node.store) {
        (DoorKind::Api, _) => Some(node.address.to_string()),
        (DoorKind::Store, Some(store)) => Some(store.client.to_string()),
        (DoorKind::StorePeer, Some(store)) => Some(store.peer.to_string()),
        (DoorKind::Store | DoorKind::StorePeer, None) => None,
        (DoorKind::Gateway | DoorKind::Postgres, _) => {
            let (ip, port) = (door.address.ip(), door.address.port());
            let host = node.address.host();
            if ip.is_loopback() {
                // Nodes of one machine reach each other there.
                let same = is_loopback(host.trim_matches(['[', ']']));
                return same.then(|| door.address.to_string());
            }
            let named = names_in_ledger(node).contains(&ip.to_string());
            Some(if named {
                door.address.to_string()
            } else {
                format!("{host}:{port}")
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_keys::{SecretKey, Zeroizing};
    use palisade_ledger::{NodeId, StoreAddress};

    /// A node sends nobody to a host that the ledger does not have for it.
    #[test]
    fn doors_are_reached_at_the_ledgers_hosts() {
        let key = SecretKey::from_seed(Zeroizing::new([1; 32])).unwrap();
        let node = |address: &str| Node {
            id: NodeId::FIRST,
            key: key.public(),
            seal: [0; 32],
            address: address.parse().unwrap(),
            hosts: vec!["10.0.0.1".to_owned()],
            store: Some(StoreAddress {
                peer: "n1-store.example:7380".parse().unwrap(),
                client: "n1-store.example:7379".parse().unwrap(),
            }),
            pending: false,
            changed: 1,
        };
        let at = |address: &str, kind, door: &str| {
            let address_of_door = door.parse().unwrap();
            let door = DoorAddress {
                kind,
                address: address_of_door,
            };
            far(&node(address), &door)
        };
        let named = "n1.example:7433";
        for (kind, door, wanted) in [
            (DoorKind::Gateway, "10.0.0.1:5432", Some("10.0.0.1:5432")),
            (DoorKind::Gateway, "0.0.0.0:5432", Some("n1.example:5432")),
            (DoorKind::Postgres, "[::]:5433", Some("n1.example:5433")),
            (
                DoorKind::Gateway,
                "169.254.169.254:80",
                Some("n1.example:80"),
            ),
            (DoorKind::Gateway, "127.0.0.1:5432", None),
            (DoorKind::Api, "169.254.169.254:80", Some(named)),
            (
                DoorKind::Store,
                "127.0.0.1:80",
                Some("n1-store.example:7379"),
            ),
            (
                DoorKind::StorePeer,
                "127.0.0.1:80",
                Some("n1-store.example:7380"),
            ),
        ] {
            assert_eq!(at(named, kind, door).as_deref(), wanted, "{kind:?} {door}");
        }
        for address in ["[::1]:7433", "127.0.0.1:7433", "localhost:7433"] {
            let here = at(address, DoorKind::Gateway, "127.0.0.1:5432");
            assert_eq!(here.as_deref(), Some("127.0.0.1:5432"));
        }
    }
}
