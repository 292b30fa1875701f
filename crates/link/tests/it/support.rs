//! A small server of the kind that the daemon runs, and keys to play with.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use palisade_keys::{PublicKey, SecretKey, Zeroizing};
use palisade_link::api::{Identity, JOIN_HEADER, JoinProof, encode};
use palisade_link::node::NodeIdentity;
use palisade_link::peer::{self, AcceptError, Caller};
use palisade_link::x509::{self, IssuingCa, Leaf};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

/// Enough for anything that is to succeed.
pub(crate) const SOON: Duration = Duration::from_mins(1);
/// For what is to be cut off.
pub(crate) const SHORT: Duration = Duration::from_millis(300);

pub(crate) fn key(byte: u8) -> SecretKey {
    SecretKey::from_seed(Zeroizing::new([byte; 32])).unwrap()
}

pub(crate) fn now() -> OffsetDateTime {
    #[expect(
        clippy::disallowed_methods,
        reason = "certificates are checked against the real clock"
    )]
    std::time::SystemTime::now().into()
}

pub(crate) fn node(byte: u8) -> NodeIdentity {
    NodeIdentity::new(&key(byte), &[byte], now()).unwrap()
}

/// A certificate for `hosts`, signed by an issuing CA of the cluster with this key.
pub(crate) fn leaf(cluster: &SecretKey, hosts: &[&str]) -> Leaf {
    let (ca, _) = IssuingCa::create(cluster, &[5], now()).unwrap();
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    ca.server(&x509::Request {
        common_name: "node",
        hosts: &hosts,
        now: now(),
        lifetime: time::Duration::days(90),
        serial: &[7],
    })
    .unwrap()
}

/// The certificate of one with the key of another: what a thief has who saw a handshake.
pub(crate) fn stolen(certificate: &NodeIdentity, key: &NodeIdentity) -> Arc<CertifiedKey> {
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.leaf().key.to_vec()));
    let signer = provider::sign::any_supported_type(&der).unwrap();
    let shown = CertificateDer::from(certificate.certificate().to_vec());
    Arc::new(CertifiedKey::new(vec![shown], signer))
}

/// What the server saw of one session.
pub(crate) type Seen = Result<Caller, AcceptError>;

/// What comes and goes with a question to `/late`.
#[derive(Default)]
pub(crate) struct Late {
    /// It was asked.
    pub(crate) asked: Notify,
    /// It may answer.
    pub(crate) answers: Notify,
}

/// A server that is shut when dropped.
pub(crate) struct Server {
    pub(crate) address: String,
    pub(crate) seen: mpsc::UnboundedReceiver<Seen>,
    pub(crate) late: Arc<Late>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(crate) async fn node(own: &NodeIdentity) -> Self {
        Self::start(peer::server_config(own, None).unwrap(), own.key()).await
    }

    pub(crate) async fn start(config: Arc<ServerConfig>, named: PublicKey) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (told, seen) = mpsc::unbounded_channel();
        let late = Arc::new(Late::default());
        let whenever = late.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (config, told, late) = (config.clone(), told.clone(), whenever.clone());
                tokio::spawn(async move {
                    match peer::accept(stream, config, SOON).await {
                        Err(error) => drop(told.send(Err(error))),
                        Ok((stream, caller)) => {
                            told.send(Ok(caller.clone())).ok();
                            let answers = service_fn(move |request| {
                                answer(caller.clone(), named, request, late.clone())
                            });
                            hyper::server::conn::http1::Builder::new()
                                .serve_connection(TokioIo::new(stream), answers)
                                .await
                                .ok();
                        }
                    }
                });
            }
        });
        Self {
            address,
            seen,
            late,
            task,
        }
    }

    /// What came of the next session.
    pub(crate) async fn next(&mut self) -> Seen {
        tokio::time::timeout(SOON, self.seen.recv())
            .await
            .unwrap()
            .unwrap()
    }
}

type Body = BoxBody<Bytes, Infallible>;

fn endless(chunk: &'static [u8], pause: Duration) -> Body {
    let chunks = stream::unfold((), move |()| async move {
        tokio::time::sleep(pause).await;
        Some((
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(chunk))),
            (),
        ))
    });
    StreamBody::new(chunks).boxed()
}

async fn answer(
    caller: Caller,
    named: PublicKey,
    request: Request<Incoming>,
    late: Arc<Late>,
) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let text = |text: String| Full::new(Bytes::from(text)).boxed();
    let body = match path.as_str() {
        "/v1/identity" => text(serde_json::to_string(&identity(named)).unwrap()),
        "/who" => text(caller.key().map(|key| key.to_string()).unwrap_or_default()),
        "/exporter" => text(encode(caller.exporter())),
        "/never" => std::future::pending().await,
        "/drip" => endless(b"x", Duration::from_millis(20)),
        "/v1/hello" => endless(&[b' '; 16384], Duration::ZERO),
        "/proof" => {
            let header = request.headers().get(JOIN_HEADER).unwrap();
            let proof = JoinProof::from_header(header.to_str().unwrap()).unwrap();
            text(judge(&caller, &proof).to_owned())
        }
        "/late" => {
            late.asked.notify_one();
            late.answers.notified().await;
            text("late".to_owned())
        }
        other => text(other.to_owned()),
    };
    let mut response = Response::new(body);
    if path == "/head" {
        let value = HeaderValue::from_bytes(&[b'x'; 3000]).unwrap();
        for n in 0..20 {
            let name = HeaderName::try_from(format!("x-{n}")).unwrap();
            response.headers_mut().insert(name, value.clone());
        }
    }
    Ok(response)
}

/// The cluster that joiners join, and the key of its secret.
pub(crate) const CLUSTER: u8 = 90;
pub(crate) const SECRET: u8 = 91;

/// What the daemon does with a proof: everything in the message is the session's own.
fn judge(caller: &Caller, proof: &JoinProof) -> &'static str {
    let Some(joiner) = caller.key() else {
        return "no key";
    };
    let message =
        palisade_ledger::session_message(&key(CLUSTER).public(), caller.exporter(), &joiner);
    match proof.verify(&message, &key(SECRET).public()) {
        Ok(()) => "proved",
        Err(_) => "not proved",
    }
}

pub(crate) fn identity(key: PublicKey) -> Identity {
    Identity {
        key: key.to_string(),
        seal: encode(&[1; 32]),
        address: "node1:7433".to_owned(),
        hosts: Vec::new(),
        store: None,
        cluster: None,
        member: false,
        version: "0".to_owned(),
    }
}

/// Accepts connections and never says a word.
pub(crate) async fn mute() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    (address, task)
}
