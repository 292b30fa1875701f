//! Nodes that pass on what another one gave, and nodes that stand where another one is meant.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use palisade_ledger::{Change, NewNode, NodeAddress, NodeId};
use palisade_link::api::Command;
use palisade_link::node::NodeIdentity;
use palisade_link::peer;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Runtime;

use super::*;
use crate::cli::clock;
use crate::cli::common::ClusterArgs;
use crate::cli::view::View;
use crate::cli::view::tests::{Book, key, root};

/// Keys of the nodes, by their ids.
const KEYS: u8 = 50;
const STRANGER: u8 = 99;

type Posts = Arc<Mutex<usize>>;

/// A cluster whose node N is at the N-th of these addresses.
fn cluster(addresses: &[NodeAddress]) -> State {
    let mut book = Book::begin();
    for (byte, address) in (1..).zip(addresses) {
        let node = NewNode {
            id: NodeId::new(u32::from(byte)).unwrap(),
            key: key(KEYS + byte).public(),
            seal: [byte; 32],
            address: address.clone(),
            hosts: Vec::new(),
            store: None,
        };
        book.add(Change::NodeAdd { node });
    }
    book.state()
}

fn somewhere(port: u16) -> NodeAddress {
    format!("127.0.0.1:{port}").parse().unwrap()
}

/// Answers as a node whose challenges name `node`, and counts what is sent to it.
async fn answer<S: AsyncRead + AsyncWrite + Unpin>(stream: S, node: u32, posts: &Posts) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let body = if head.starts_with("POST") {
            *posts.lock().unwrap() += 1;
            "{\"message\":\"done\"}".to_owned()
        } else {
            format!("{{\"challenge\":\"{}\",\"node\":{node}}}", "00".repeat(32))
        };
        let length = body.len();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        if head.starts_with("POST") {
            // The body of the request is left where it is.
            return;
        }
    }
}

/// A node over HTTPS with the key `byte`, whose challenges name `node`. Gives its port.
fn https(runtime: &Runtime, byte: u8, node: u32, posts: &Posts) -> u16 {
    let posts = posts.clone();
    let own = NodeIdentity::new(&key(byte), &[1], clock::now()).unwrap();
    let config = peer::server_config(&own, None).unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let port = listener.local_addr().unwrap().port();
    runtime.spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let accepted = peer::accept(tcp, config.clone(), Duration::from_secs(10)).await;
            if let Ok((stream, _)) = accepted {
                answer(stream, node, &posts).await;
            }
        }
    });
    port
}

/// Tells the node that `link` leads to that it stop. The answer, or why nothing was signed.
fn stop(link: Link, state: State) -> Result<String, String> {
    let view = View {
        link,
        outside: None,
        state,
    };
    view.command(&root(), &Command::Stop)
        .map(|done| done.message)
        .map_err(|error| error.to_string())
}

fn over_https(address: &str, state: State) -> Result<String, String> {
    let address = address.parse().unwrap();
    stop(Link::unopened(&address, key(1).public(), &root()), state)
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

// Whoever broke into node 1 gets a challenge of node 2, whose stop he wants signed.
#[test]
fn a_relayed_challenge_is_not_signed() {
    let (runtime, posts) = (runtime(), Posts::default());
    let relay = https(&runtime, KEYS + 1, 2, &posts);
    let state = cluster(&[somewhere(relay), somewhere(1)]);
    for address in [format!("127.0.0.1:{relay}"), format!("localhost:{relay}")] {
        let refused = over_https(&address, state.clone()).unwrap_err();
        assert!(refused.contains("nothing was signed"), "{refused}");
    }
    assert_eq!(*posts.lock().unwrap(), 0);
}

// Node 1, or a stranger, stands where the ledger has node 2.
#[test]
fn who_stands_at_another_nodes_address_is_told_nothing() {
    for byte in [KEYS + 1, STRANGER] {
        let (runtime, posts) = (runtime(), Posts::default());
        let port = https(&runtime, byte, 2, &posts);
        let state = cluster(&[somewhere(1), somewhere(port)]);
        let refused = over_https(&format!("127.0.0.1:{port}"), state).unwrap_err();
        assert!(
            refused.contains("not the node that is expected"),
            "{refused}"
        );
        assert_eq!(*posts.lock().unwrap(), 0);
    }
}

#[test]
fn a_node_that_is_reached_by_another_name_must_be_a_member() {
    let (runtime, posts) = (runtime(), Posts::default());
    let state = cluster(&[somewhere(1), somewhere(2)]);
    let member = https(&runtime, KEYS + 2, 2, &posts);
    let stranger = https(&runtime, STRANGER, 2, &posts);
    let refused = over_https(&format!("localhost:{stranger}"), state.clone()).unwrap_err();
    assert!(refused.contains("no member of the cluster"), "{refused}");
    assert_eq!(*posts.lock().unwrap(), 0);
    over_https(&format!("localhost:{member}"), state).unwrap();
    assert_eq!(*posts.lock().unwrap(), 1);
}

// Over the socket: the node whose private key lies in the directory.
#[test]
fn over_the_socket_a_command_is_for_the_node_of_that_directory() {
    let (runtime, posts) = (runtime(), Posts::default());
    let dir = tempfile::tempdir().unwrap();
    let _inside = runtime.enter();
    let listener = UnixListener::bind(dir.path().join("control.sock")).unwrap();
    let counted = posts.clone();
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            answer(stream, 2, &counted).await;
        }
    });
    let told = |state: State| {
        let cluster = ClusterArgs {
            socket: Some(dir.path().join("control.sock")),
            ..ClusterArgs::default()
        };
        let link = Link::new(&cluster).ok().unwrap();
        std::thread::spawn(move || stop(link, state))
            .join()
            .unwrap()
    };
    let two = cluster(&[somewhere(1), somewhere(2)]);
    let lies = |byte: u8| {
        let layout = Layout::new(dir.path());
        drop(std::fs::remove_file(layout.node_key()));
        std::fs::create_dir_all(layout.private()).unwrap();
        let text = key(byte).expose_text();
        std::fs::write(layout.node_key(), text.as_bytes()).unwrap();
        let owners = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(layout.node_key(), owners).unwrap();
    };
    for (byte, why) in [
        (None, "can't tell which node this is"),
        (Some(STRANGER), "can't tell which node this is"),
        (Some(KEYS + 1), "node 1 is asked, but"),
    ] {
        if let Some(byte) = byte {
            lies(byte);
        }
        let refused = told(two.clone()).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
    let one = cluster(&[somewhere(1)]);
    assert!(told(one).unwrap_err().contains("node 1 is asked, but"));
    assert_eq!(*posts.lock().unwrap(), 0);
    lies(KEYS + 2);
    assert_eq!(told(two), Ok("done".to_owned()));
}
