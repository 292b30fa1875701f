//! TLS 1.3 and nothing below, tried with OpenSSL.

use std::io::Write as _;
use std::process::{Command, Stdio};

use palisade_link::https::{Connection, OpenError};
use palisade_link::peer::Expect;
use palisade_link::x509::Leaf;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::support::{SOON, Server, key, node};

/// What `openssl s_client` says about the server when it may use this version alone.
async fn openssl_client(address: &str, version: &str) -> String {
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-connect", address, version, "-brief"])
        .args(["-servername", palisade_link::node::NODE_HOST])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    String::from_utf8_lossy(&output.await.unwrap().stderr).into_owned()
}

// "Eavesdropping on cluster traffic. Defended: TLS 1.3 only, fingerprint-pinned per peer."
#[tokio::test]
async fn a_caller_with_tls_1_2_is_refused() {
    let mut server = Server::node(&node(1)).await;
    let told = openssl_client(&server.address, "-tls1_3").await;
    assert!(told.contains("TLSv1.3"), "{told}");
    assert!(server.next().await.is_ok());
    let told = openssl_client(&server.address, "-tls1_2").await;
    assert!(!told.contains("ESTABLISHED"), "{told}");
    assert!(told.contains("protocol version"), "{told}");
    assert!(server.next().await.is_err());
}

/// `openssl s_server` with this certificate and one version; `HOST:PORT` of it.
async fn openssl_server(
    dir: &std::path::Path,
    leaf: &Leaf,
    version: &str,
) -> (tokio::process::Child, String) {
    let (chain, secret) = (dir.join("chain.pem"), dir.join("key.pem"));
    std::fs::write(&chain, leaf.chain_pem()).unwrap();
    let mut file = std::fs::File::create(&secret).unwrap();
    file.write_all(leaf.expose_key_pem().as_bytes()).unwrap();
    let mut child = tokio::process::Command::new("openssl")
        .args([
            "s_server",
            "-accept",
            "127.0.0.1:0",
            version,
            "-alpn",
            "http/1.1",
        ])
        .arg("-cert")
        .arg(&chain)
        .arg("-key")
        .arg(&secret)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    loop {
        let line = lines.next_line().await.unwrap().expect("openssl ended");
        if let Some(address) = line.strip_prefix("ACCEPT ") {
            let address = address.to_owned();
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return (child, address);
        }
    }
}

#[tokio::test]
async fn a_server_with_tls_1_2_is_refused() {
    let expect = Expect::Node(key(1).public());
    for (version, is_taken) in [("-tls1_3", true), ("-tls1_2", false)] {
        let dir = tempfile::tempdir().unwrap();
        let (_server, address) = openssl_server(dir.path(), node(1).leaf(), version).await;
        let opened = Connection::open(&address, &expect, None, SOON).await;
        match opened {
            Ok(connection) => {
                assert!(is_taken, "{version}");
                assert_eq!(connection.peer_key(), Some(key(1).public()));
            }
            Err(error) => {
                assert!(!is_taken, "{version}: {error}");
                assert!(matches!(error, OpenError::Handshake { .. }), "{error}");
            }
        }
    }
}
