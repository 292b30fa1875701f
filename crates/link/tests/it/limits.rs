//! Everything has an end: time, size, and a connection that failed.

use std::sync::Arc;

use bytes::Bytes;
use hyper::Method;
use palisade_link::client::{Client, ClientError};
use palisade_link::https::{Connection, OpenError};
use palisade_link::peer::Expect;

use crate::support::{SHORT, SOON, Server, key, mute, node};

async fn open(server: &Server) -> Connection {
    let expect = Expect::Node(key(1).public());
    Connection::open(&server.address, &expect, None, SOON)
        .await
        .unwrap()
}

fn get(connection: &Connection, path: &str) -> impl Future<Output = Result<Bytes, ClientError>> {
    connection.call(Method::GET, path, Bytes::new())
}

async fn ends(connection: &Connection) {
    let closed = async {
        while connection.is_open() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, closed).await.unwrap();
}

#[tokio::test]
async fn several_calls_share_one_connection() {
    let mut server = Server::node(&node(1)).await;
    let connection = Arc::new(open(&server).await);
    let calls = (0..32).map(|n| {
        let connection = connection.clone();
        tokio::spawn(async move {
            let path = format!("/echo/{n}");
            let answer = get(&connection, &path).await.unwrap();
            assert_eq!(answer, path);
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    assert!(server.next().await.is_ok());
    assert!(server.seen.try_recv().is_err(), "a second session");
    assert!(connection.is_open());
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_given_up() {
    let (address, _mute) = mute().await;
    let address = address.to_string();
    let open = Connection::open(&address, &Expect::Stranger, None, SHORT);
    let error = open.await.unwrap_err();
    assert!(matches!(error, OpenError::Slow { .. }), "{error}");
}

#[tokio::test]
async fn an_answer_that_does_not_end_is_given_up() {
    let server = Server::node(&node(1)).await;
    for path in ["/never", "/drip"] {
        let connection = open(&server).await.answer_within(SHORT);
        let error = get(&connection, path).await.unwrap_err();
        assert!(matches!(error, ClientError::Broken(_)), "{path}: {error}");
        // What is left of the answer is never read as another's.
        ends(&connection).await;
        assert!(get(&connection, "/echo").await.is_err());
    }
}

#[tokio::test]
async fn an_answer_without_bounds_is_cut_off() {
    let server = Server::node(&node(1)).await;
    let connection = Arc::new(open(&server).await);
    let client = Client::https(connection.clone());
    let error = client.hello().await.unwrap_err();
    assert!(matches!(error, ClientError::Broken(_)), "{error}");
    assert!(error.to_string().contains("limit"), "{error}");
    ends(&connection).await;
}

#[tokio::test]
async fn an_answers_head_without_bounds_is_cut_off() {
    let server = Server::node(&node(1)).await;
    let connection = open(&server).await;
    let error = get(&connection, "/head").await.unwrap_err();
    assert!(matches!(error, ClientError::Broken(_)), "{error}");
    ends(&connection).await;
}

#[tokio::test]
async fn an_answer_that_nobody_waits_for_is_not_the_next_ones() {
    let server = Server::node(&node(1)).await;
    let connection = open(&server).await;
    tokio::select! {
        answer = get(&connection, "/late") => panic!("{answer:?}"),
        () = server.late.asked.notified() => {}
    }
    server.late.answers.notify_one();
    match get(&connection, "/echo/next").await {
        Ok(answer) => assert_eq!(answer, "/echo/next"),
        // Given up with the answer: then it is so for good.
        Err(error) => {
            assert!(matches!(error, ClientError::Broken(_)), "{error}");
            ends(&connection).await;
        }
    }
    let another = open(&server).await;
    assert_eq!(get(&another, "/echo/next").await.unwrap(), "/echo/next");
}

#[tokio::test]
async fn a_server_that_went_away_is_an_error_at_the_next_call() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let config = palisade_link::peer::server_config(&node(1), None).unwrap();
        drop(palisade_link::peer::accept(stream, config, SOON).await);
    });
    let expect = Expect::Node(key(1).public());
    let connection = Connection::open(&address, &expect, None, SOON)
        .await
        .unwrap();
    server.await.unwrap();
    assert!(get(&connection, "/echo").await.is_err());
    ends(&connection).await;
}
