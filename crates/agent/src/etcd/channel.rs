//! A connection to one member: TLS 1.3 towards the cluster's key, with keep-alive and an end to each wait.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Channel, Client};
use hyper_util::rt::TokioIo;
use palisade_keys::PublicKey;
use palisade_link::tls::{ConfigError, client_config};
use palisade_link::x509::Leaf;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Endpoint, Uri};

use super::error::EtcdError;

/// A handshake takes milliseconds; a host that is down takes this.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// An answer that needs the other members takes a round trip and a disk write; while they elect a
/// leader, some seconds.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(7);
/// A frozen member is noticed after two of these.
const KEEP_ALIVE: Duration = Duration::from_secs(3);

/// Who we are, and what etcd must prove.
#[derive(Clone)]
pub(super) struct Terms {
    tls: Arc<ClientConfig>,
}

impl Terms {
    pub(super) fn new(cluster_key: &PublicKey, identity: &Leaf) -> Result<Self, EtcdError> {
        let mut tls = client_config(cluster_key, Some(identity))?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { tls: Arc::new(tls) })
    }

    /// A client of the member at `address` (`HOST:PORT`), whose certificate must name `host`.
    pub(super) async fn connect(&self, address: &str, host: &str) -> Result<Client, EtcdError> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| EtcdError::Tls(ConfigError::Host(host.to_owned())))?;
        let connector = TlsConnector::from(self.tls.clone());
        let target = address.to_owned();
        let service = tower::service_fn(move |_: Uri| {
            let (connector, target, name) = (connector.clone(), target.clone(), name.clone());
            async move {
                let stream = TcpStream::connect(&target).await?;
                stream.set_nodelay(true)?;
                let stream = connector.connect(name, stream).await?;
                Ok::<_, std::io::Error>(TokioIo::new(stream))
            }
        });
        let refused = |reason: String| EtcdError::Unreachable {
            reason: format!("{address}: {reason}"),
        };
        let endpoint = Endpoint::from_shared(format!("https://{address}"))
            .map_err(|error| refused(error.to_string()))?
            .timeout(ANSWER_WITHIN)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true);
        let connecting = endpoint.connect_with_connector(service);
        let channel = match tokio::time::timeout(CONNECT_WITHIN, connecting).await {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => return Err(refused(innermost(&error))),
            Err(_) => return Err(refused("it takes no connection".to_owned())),
        };
        Client::from_channel(Channel::Tonic(channel), None)
            .await
            .map_err(|error| refused(error.to_string()))
    }
}

/// The last cause: what lies above it says "transport error".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    last.to_string()
}
