//! A webhook: an HTTP POST of JSON, over TLS unless it goes to this very machine.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use palisade_keys::Zeroizing;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::send::{self, SendError};

/// Bytes of an answer that are read; what it says is not looked at.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Posts `body` to `url`. `token` goes into the header `Authorization` as a bearer token (RFC 6750).
pub(super) async fn post(
    url: &str,
    body: String,
    token: Option<&Zeroizing<String>>,
    tls: Arc<ClientConfig>,
) -> Result<(), SendError> {
    let uri: Uri = url.parse().map_err(|_| SendError::new("it is not a URL"))?;
    let host = uri
        .host()
        .ok_or_else(|| SendError::new("it names no host"))?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let secure = match uri.scheme_str() {
        Some("https") => true,
        Some("http") if is_loopback(bare) => false,
        Some(_) | None => {
            return Err(SendError::new("an alert leaves the machine by https alone"));
        }
    };
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = TcpStream::connect((bare, port)).await.map_err(|error| {
        SendError::new(format!(
            "can't connect to {bare}, port {port}: {error}; is it there, and may this node reach it?"
        ))
    })?;
    let request = request(&uri, host, body, token)?;
    if secure {
        let name = ServerName::try_from(bare.to_owned())
            .map_err(|_| SendError::new("its host is no name that a certificate could hold"))?;
        let stream = TlsConnector::from(tls)
            .connect(name, stream)
            .await
            .map_err(|error| SendError::new(format!("TLS: {error}; {}", send::AUTHORITIES)))?;
        exchange(stream, request).await
    } else {
        exchange(stream, request).await
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn request(
    uri: &Uri,
    host: &str,
    body: String,
    token: Option<&Zeroizing<String>>,
) -> Result<Request<Full<Bytes>>, SendError> {
    let authority = match uri.port_u16() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(HOST, authority)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::from(body))
        .map_err(|error| SendError::new(error.to_string()))?;
    if let Some(token) = token {
        let text = Zeroizing::new(format!("Bearer {}", token.trim()));
        let mut value = HeaderValue::from_str(&text)
            .map_err(|_| SendError::new("its token can't stand in a header"))?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    Ok(request)
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<(), SendError> {
    let broken = |error: hyper::Error| SendError::new(format!("the connection broke: {error}"));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(broken)?;
    let status = response.status();
    // Read to the end so that the other side is not cut off; what it says does not matter.
    drop(
        Limited::new(response.into_body(), MAX_ANSWER_BYTES)
            .collect()
            .await,
    );
    driver.abort();
    if status.is_success() {
        return Ok(());
    }
    let remedy = match status.as_u16() {
        401 | 403 => "add the alert again with the right token",
        500.. => "look at the log of the server",
        _ => "add the alert again with the right URL",
    };
    Err(SendError::new(format!("the answer was {status}; {remedy}")))
}
