//! Alerts as they leave the machine: to a webhook over TLS, by mail over STARTTLS, to a program.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use palisade_daemon::alerts::{Notice, Sender, seal_secret};
use palisade_daemon::system;
use palisade_keys::{SecretKey, Zeroizing};
use palisade_ledger::{Alert, AlertTarget, NodeId};
use palisade_link::api::{Alarm, AlarmKind};
use palisade_link::seal::SealSecret;
use palisade_link::x509::{IssuingCa, Request, root_certificate};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::Duration;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

const TOKEN: &str = "a-token-that-nobody-may-see";

/// An authority of this test's own, and a TLS server that it certifies for `localhost`.
fn authority() -> (Vec<u8>, TlsAcceptor) {
    let key = SecretKey::from_seed(Zeroizing::new([7; 32])).unwrap();
    let now = system::now();
    let root = root_certificate(&key, now - Duration::minutes(5)).unwrap();
    let (ca, _) = IssuingCa::create(&key, &[5], now).unwrap();
    let leaf = ca
        .server(&Request {
            common_name: "localhost",
            hosts: &["localhost".to_owned()],
            now,
            lifetime: Duration::days(1),
            serial: &[9],
        })
        .unwrap();
    let chain = leaf.chain.into_iter().map(CertificateDer::from).collect();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf.key.to_vec()));
    let config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    (root, TlsAcceptor::from(Arc::new(config)))
}

fn node(id: u32) -> NodeId {
    NodeId::new(id).unwrap()
}

fn notice() -> Notice {
    let alarm = Alarm {
        kind: AlarmKind::NodeDown,
        node: 2,
        subject: String::new(),
        since: 1000,
        text: "node 2 does not answer".to_owned(),
        over: false,
    };
    Notice::new("test", 1, &alarm)
}

/// A sender of node 1 and an alert whose secret is sealed to it.
fn sealed(target: AlertTarget, roots: Vec<Vec<u8>>) -> (Sender, Alert) {
    let own = SealSecret::generate().unwrap();
    let name = "ops".to_owned();
    let secret = seal_secret(&own.public(), &name, &target, TOKEN).unwrap();
    let alert = Alert {
        name,
        target,
        sealed: BTreeMap::from([(node(1), secret)]),
    };
    (
        Sender::new(node(1), own, BTreeMap::new(), roots).unwrap(),
        alert,
    )
}

/// One HTTP request, answered with `status`; its head and body.
async fn answer(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    status: &str,
) -> (String, String) {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(stream.read_line(&mut head).await.unwrap(), 0, "{head}");
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    let reply = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(reply.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    (head, String::from_utf8(body).unwrap())
}

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn webhook(url: String) -> AlertTarget {
    AlertTarget::Webhook { url }
}

#[tokio::test]
async fn a_webhook_is_told_over_tls_with_the_unsealed_token() {
    let (root, acceptor) = authority();
    let (listener, port) = listen().await;
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        answer(acceptor.accept(stream).await.unwrap(), "204 No Content").await
    });
    let (sender, alert) = sealed(
        webhook(format!("https://localhost:{port}/hook?x=1")),
        vec![root],
    );
    sender.once(&alert, &notice()).await.unwrap();
    let (head, body) = server.await.unwrap();
    assert!(head.starts_with("POST /hook?x=1 HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains(&format!("authorization: Bearer {TOKEN}\r\n")),
        "{head}"
    );
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["kind"], "node_down");
    assert_eq!(body["state"], "raised");
    assert_eq!(body["node"], 2);
    assert!(!body.to_string().contains(TOKEN));
}

#[tokio::test]
async fn a_webhook_that_can_not_prove_its_name_learns_nothing() {
    let (_, acceptor) = authority();
    let (listener, port) = listen().await;
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        assert!(
            acceptor.accept(stream).await.is_err(),
            "the sender must hang up"
        );
    });
    // The system's authorities don't know this one.
    let (sender, alert) = sealed(webhook(format!("https://localhost:{port}/")), Vec::new());
    let error = sender
        .once(&alert, &notice())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("TLS"), "{error}");
}

#[tokio::test]
async fn an_alert_leaves_the_machine_by_tls_alone() {
    for url in [
        "http://192.0.2.1/",
        "http://example.org/",
        "ftp://localhost/",
    ] {
        let (sender, alert) = sealed(webhook(url.to_owned()), Vec::new());
        let error = sender
            .once(&alert, &notice())
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("https"), "{error}");
    }
    let (listener, port) = listen().await;
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        answer(stream, "500 Oops").await
    });
    let (sender, alert) = sealed(webhook(format!("http://127.0.0.1:{port}/")), Vec::new());
    let error = sender
        .once(&alert, &notice())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("500"), "{error}");
    assert!(!error.contains(TOKEN));
    server.await.unwrap();
}

#[tokio::test]
async fn a_secret_opens_for_its_node_and_its_alert_alone() {
    let target = || webhook("http://127.0.0.1:9/".to_owned());
    let (_, alert) = sealed(target(), Vec::new());
    let (other, _) = sealed(target(), Vec::new());
    let error = other.once(&alert, &notice()).await.unwrap_err().to_string();
    assert!(error.contains("not sealed to this node's key"), "{error}");

    let (sender, mut alert) = sealed(target(), Vec::new());
    alert.name = "other".to_owned();
    let error = sender
        .once(&alert, &notice())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("not sealed to this node's key"), "{error}");

    // Whoever may write alerts pastes the sealed secret of another into one that leads to himself.
    let (sender, mut alert) = sealed(target(), Vec::new());
    alert.target = webhook("http://127.0.0.1:10/".to_owned());
    let error = sender
        .once(&alert, &notice())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("not sealed to this node's key"), "{error}");

    let (sender, mut alert) = sealed(target(), Vec::new());
    let secret = alert.sealed.remove(&node(1)).unwrap();
    alert.sealed.insert(node(2), secret);
    let error = sender
        .once(&alert, &notice())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("add it again"), "{error}");
}

#[tokio::test]
async fn a_program_is_run_by_its_name_alone_with_nothing_in_its_environment() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let script = format!("cat > {0}; env >> {0}", out.display());
    let commands = BTreeMap::from([(
        "page".to_owned(),
        ["/bin/sh", "-c", &script].map(str::to_owned).to_vec(),
    )]);
    let own = SealSecret::generate().unwrap();
    let sender = Sender::new(node(1), own, commands, Vec::new()).unwrap();
    let alert = |name: &str| Alert {
        name: "ops".to_owned(),
        target: AlertTarget::Command {
            name: name.to_owned(),
        },
        sealed: BTreeMap::new(),
    };
    sender.once(&alert("page"), &notice()).await.unwrap();
    let said = std::fs::read_to_string(&out).unwrap();
    assert!(said.contains("node 2 does not answer"), "{said}");
    assert!(!said.contains("CARGO"), "{said}");
    let error = sender.once(&alert("/bin/sh"), &notice()).await.unwrap_err();
    assert!(
        error.to_string().contains("alerts.commands./bin/sh"),
        "{error}"
    );
}

/// Speaks SMTP until the mail is in; everything that the client said after STARTTLS.
async fn mail_server(stream: TcpStream, acceptor: TlsAcceptor) -> String {
    let mut plain = BufReader::new(stream);
    plain.write_all(b"220 test\r\n").await.unwrap();
    assert!(line(&mut plain).await.starts_with("EHLO"));
    plain
        .write_all(b"250-test\r\n250 STARTTLS\r\n")
        .await
        .unwrap();
    assert_eq!(line(&mut plain).await, "STARTTLS\r\n");
    plain.write_all(b"220 go\r\n").await.unwrap();
    let tls = acceptor.accept(plain.into_inner()).await.unwrap();
    let mut tls = BufReader::new(tls);
    let mut said = String::new();
    loop {
        let command = line(&mut tls).await;
        said.push_str(&command);
        let reply = match command.get(..4).unwrap_or_default() {
            "EHLO" => "250-test\r\n250 AUTH PLAIN\r\n",
            "AUTH" => "235 ok\r\n",
            "DATA" => {
                tls.write_all(b"354 go\r\n").await.unwrap();
                tls.flush().await.unwrap();
                while !said.ends_with("\r\n.\r\n") {
                    said.push_str(&line(&mut tls).await);
                }
                tls.write_all(b"250 taken\r\n").await.unwrap();
                tls.flush().await.unwrap();
                return said;
            }
            _ => "250 ok\r\n",
        };
        tls.write_all(reply.as_bytes()).await.unwrap();
        tls.flush().await.unwrap();
    }
}

async fn line(from: &mut (impl AsyncBufRead + Unpin)) -> String {
    let mut line = String::new();
    assert_ne!(from.read_line(&mut line).await.unwrap(), 0, "hung up");
    line
}

#[tokio::test]
async fn a_mail_goes_over_starttls_with_the_unsealed_password() {
    let (root, acceptor) = authority();
    let (listener, port) = listen().await;
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        mail_server(stream, acceptor).await
    });
    let target = AlertTarget::Smtp {
        server: format!("localhost:{port}").parse().unwrap(),
        from: "palisade@example.org".to_owned(),
        to: vec!["ops@example.org".to_owned(), "dba@example.org".to_owned()],
        user: Some("palisade".to_owned()),
    };
    let (sender, alert) = sealed(target, vec![root]);
    sender.once(&alert, &notice()).await.unwrap();
    let said = server.await.unwrap();
    assert!(said.contains("AUTH PLAIN"), "{said}");
    for sign in [
        "RCPT TO:<ops@example.org>",
        "RCPT TO:<dba@example.org>",
        "Subject: [test] node_down on node 2",
        "node 2 does not answer",
    ] {
        assert!(said.contains(sign), "{sign}\n{said}");
    }
}

#[tokio::test]
async fn a_mail_server_without_tls_gets_neither_password_nor_mail() {
    let (listener, port) = listen().await;
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        stream.write_all(b"220 test\r\n").await.unwrap();
        let mut said = line(&mut stream).await;
        stream
            .write_all(b"250-test\r\n250 AUTH PLAIN\r\n")
            .await
            .unwrap();
        drop(stream.read_to_string(&mut said).await);
        said
    });
    let target = AlertTarget::Smtp {
        server: format!("localhost:{port}").parse().unwrap(),
        from: "palisade@example.org".to_owned(),
        to: vec!["ops@example.org".to_owned()],
        user: Some("palisade".to_owned()),
    };
    let (sender, alert) = sealed(target, Vec::new());
    sender.once(&alert, &notice()).await.unwrap_err();
    let said = server.await.unwrap();
    assert!(!said.contains("AUTH") && !said.contains("MAIL"), "{said}");
}
