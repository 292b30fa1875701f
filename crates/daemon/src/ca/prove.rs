//! Proof that a certificate works: a handshake at every door, by a client that trusts the cluster key
//! alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use palisade_keys::PublicKey;
use palisade_link::tls::client_config;
use palisade_link::x509::Leaf;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;

use super::{CaError, CaService, DoorAddress};

/// Until a door shows the leaf: PostgreSQL has to read its files again.
const SHOWN_WITHIN: Duration = Duration::from_secs(20);
/// One handshake on this machine.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);
/// Between two.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// `SSLRequest` (PostgreSQL, "Message Formats").
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

impl CaService {
    /// Shows `trial` at every door of this node, meets it there as a client would, and shows what was
    /// shown before again. Sessions are not touched: a leaf counts when a connection begins.
    pub(super) async fn prove_here(&self, trial: &Leaf, host: &str) -> Result<(), CaError> {
        let _pace = self.inner.showing.lock().await;
        let key = *self.inner.ledger.now().cluster_key();
        let before = self.inner.pki.read_serving()?;
        self.show(trial)?;
        let proved = self.meet_everywhere(&key, trial, host).await;
        self.show(&before.leaf)?;
        proved
    }

    async fn meet_everywhere(
        &self,
        key: &PublicKey,
        trial: &Leaf,
        host: &str,
    ) -> Result<(), CaError> {
        let doors = self.inner.doors.get();
        for door in doors.map(|doors| doors.addresses()).unwrap_or_default() {
            meet(&door, key, trial, host).await.map_err(|reason| {
                CaError::Refused(format!("{} at {}: {reason}", door.name, door.address))
            })?;
        }
        Ok(())
    }
}

/// Waits until a handshake at the door succeeds and shows the leaf; the last reason why it did not.
pub(super) async fn meet(
    door: &DoorAddress,
    cluster: &PublicKey,
    leaf: &Leaf,
    host: &str,
) -> Result<(), String> {
    let config = client_config(cluster, None).map_err(|error| error.to_string())?;
    let config = Arc::new(config);
    let expected = leaf.chain.first().map(Vec::as_slice).unwrap_or_default();
    let until = Instant::now() + SHOWN_WITHIN;
    loop {
        let reason = match timeout(HANDSHAKE_WITHIN, shake(door, &config, host)).await {
            Ok(Ok(shown)) if shown == expected => return Ok(()),
            Ok(Ok(_)) => "it shows another certificate".to_owned(),
            Ok(Err(reason)) => reason,
            Err(_) => "no answer to a handshake".to_owned(),
        };
        if Instant::now() > until {
            return Err(reason);
        }
        sleep(LOOK_EVERY).await;
    }
}

/// One handshake; what the door showed.
async fn shake(
    door: &DoorAddress,
    config: &Arc<ClientConfig>,
    host: &str,
) -> Result<Vec<u8>, String> {
    let text = |error: std::io::Error| error.to_string();
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let mut stream = TcpStream::connect(reachable(door.address))
        .await
        .map_err(text)?;
    if door.postgres {
        stream.write_all(&SSL_REQUEST).await.map_err(text)?;
        if stream.read_u8().await.map_err(text)? != b'S' {
            return Err("it does not do TLS".to_owned());
        }
    }
    let connector = TlsConnector::from(Arc::clone(config));
    let mut stream = connector.connect(name, stream).await.map_err(text)?;
    let (_, session) = stream.get_ref();
    let shown = session.peer_certificates().and_then(|chain| chain.first());
    let shown = shown.map(|der| der.to_vec()).unwrap_or_default();
    // What the door thinks of a client that says nothing is not of interest.
    stream.shutdown().await.ok();
    Ok(shown)
}

/// A listener on every address is reached on this machine's own.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    SocketAddr::new(ip, address.port())
}
