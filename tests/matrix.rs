//! The matrix of `crates/agent/tests/matrix.rs` once more, through the gateway: every flag, with it
//! alone and with all but it, by default and by an ACL, inside and outside a transaction, each as the
//! user's own session over TLS by the user's own key. The gateway watches transaction blocks.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test"
)]

#[path = "../crates/agent/tests/common/mod.rs"]
mod common;

use std::sync::Arc;

use arc_swap::ArcSwap;
use common::matrix::{self, Blocks};
use common::{Bench, Session, state};
use palisade_gateway::{Config, Gateway, TlsIdentity};
use palisade_keys::{PublicKey, SecretKey, Zeroizing};
use palisade_link::tls::client_config;
use palisade_link::x509::{IssuingCa, Request, user_certificate};
use palisade_testkit::chain;
use time::{Duration, OffsetDateTime};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_postgres_rustls::MakeRustlsConnect;

fn now() -> OffsetDateTime {
    #[expect(
        clippy::disallowed_methods,
        reason = "certificates are checked against the real clock"
    )]
    std::time::SystemTime::now().into()
}

/// A server's identity under a root of its own.
fn identity() -> (TlsIdentity, PublicKey) {
    let root = SecretKey::from_seed(Zeroizing::new([7; 32])).unwrap();
    let (ca, _) = IssuingCa::create(&root, &[5], now()).unwrap();
    let leaf = ca
        .server(&Request {
            common_name: "localhost",
            hosts: &["localhost".to_owned()],
            now: now(),
            lifetime: Duration::days(1),
            serial: &[6],
        })
        .unwrap();
    (TlsIdentity::from_leaf(&leaf).unwrap(), root.public())
}

async fn log_in(port: u16, root: PublicKey, name: String) -> Result<Session, String> {
    let key = chain::key(&name, 0).unwrap();
    let leaf = user_certificate(&name, &key, &[9], now(), Duration::days(1)).unwrap();
    let tls = MakeRustlsConnect::new(client_config(&root, Some(&leaf)).unwrap());
    let (client, wire) = tokio_postgres::Config::new()
        .host("localhost")
        .port(port)
        .user(&name)
        .dbname("main")
        .ssl_mode(tokio_postgres::config::SslMode::Require)
        .connect(tls)
        .await
        .map_err(|error| error.to_string())?;
    Ok(Session::on(client, wire))
}

#[tokio::test(flavor = "multi_thread")]
async fn through_the_gateway() {
    let (steps, names) = matrix::users();
    let state = state(&steps);
    let bench = Bench::with(&state).await;
    let (identity, root_key) = identity();
    let config = Config::new(
        bench.endpoint.socket_dir.clone(),
        bench.endpoint.port,
        Zeroizing::new([1; 32]),
    );
    let (_keep, watched) = watch::channel(Arc::new(state.clone()));
    let gateway = Gateway::new(config, watched, Arc::new(ArcSwap::from_pointee(identity)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(gateway.serve(vec![listener], std::future::pending()));

    let root = log_in(port, root_key, "root".to_owned()).await.unwrap();
    let way = |name: String| {
        Box::pin(log_in(port, root_key, name)) as std::pin::Pin<Box<dyn Future<Output = _>>>
    };
    let (cases, wrong) = matrix::run(&state, &names, &root, &way, Blocks::Watched).await;
    assert!(
        wrong.is_empty(),
        "{} of {cases}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(cases > 1500, "{cases}");
}
