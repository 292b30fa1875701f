//! A node's own keys and place, and what the other members are asked.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod door;

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use door::{MEMBER, STRANGER, World, identity, node};
use palisade_daemon::author::NodeAuthor;
use palisade_daemon::identity::{NodeKeys, Place, moved};
use palisade_daemon::layout::Layout;
use palisade_daemon::members::{NodeEvent, Poller, Table};
use palisade_ledger::{Change, NodeId, StoreAddress};
use tokio::sync::{broadcast, watch};

const TWO: u32 = 2;

fn id(number: u32) -> NodeId {
    NodeId::new(number).unwrap()
}

// "`palisade node rotate` (new identity without leaving)": cut short at any point, the node has either its
// old keys and the ledger the old ones, or it finds the new ones at its next start.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_was_cut_short_is_finished_once_the_ledger_has_it() {
    let world = World::new().await;
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path().join("node"));
    layout.create().unwrap();
    let keys = NodeKeys::load_or_create(&layout).unwrap();
    for path in [layout.node_key(), layout.seal_key()] {
        let mode = std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode, 0o600);
    }
    let place = Place {
        address: "10.0.0.4:7433".parse().unwrap(),
        hosts: vec!["n4.example".to_owned()],
        store: None,
    };
    let new = keys.new_node(id(4), &place);
    world.change(Change::NodeAdd { node: new }).await;
    let next = NodeKeys::load_or_create_next(&layout).unwrap();
    let (old, fresh) = (keys.public(), next.public());
    // Before the entry nothing is put in place.
    assert!(!NodeKeys::finish_rotation(&layout, &world.ledger.now()).unwrap());
    assert_eq!(NodeKeys::load_or_create(&layout).unwrap().public(), old);
    let change = NodeKeys::rotation(world.ledger.now().cluster_key(), id(4), &next);
    let own = NodeAuthor::new(id(4), Arc::new(ArcSwap::from_pointee(keys)));
    own.append(&world.ledger, change).await.unwrap();
    // As after a crash: the seal key was moved already.
    let moved_seal = layout.seal_key().with_added_extension("next");
    std::fs::rename(&moved_seal, layout.seal_key()).unwrap();
    assert!(NodeKeys::finish_rotation(&layout, &world.ledger.now()).unwrap());
    let now = NodeKeys::load_or_create(&layout).unwrap();
    assert_eq!(now.public(), fresh);
    assert!(!layout.node_key().with_added_extension("next").exists());
    // The old key authors nothing any more.
    let change = Change::NodeSet {
        id: id(4),
        address: Some("10.0.0.4:7434".parse().unwrap()),
        hosts: None,
        store: None,
    };
    assert!(own.append(&world.ledger, change).await.is_err());
}

// A node says which ports it has; new names are an operator's to give.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_tells_its_ports_and_claims_no_new_names() {
    let world = World::new().await;
    let at = |port: u16| format!("10.0.0.2:{port}").parse().unwrap();
    let place = |address: &str, hosts: &[&str]| Place {
        address: address.parse().unwrap(),
        hosts: hosts.iter().map(ToString::to_string).collect(),
        store: Some(StoreAddress {
            peer: at(7380),
            client: at(7379),
        }),
    };
    let state = world.ledger.now();
    let (change, missing) = moved(&state, id(TWO), &place("10.0.0.2:9", &["bank.example"]));
    assert_eq!(missing, ["bank.example"]);
    let Some(Change::NodeSet {
        address,
        hosts: None,
        store,
        ..
    }) = change
    else {
        panic!("{change:?}");
    };
    assert_eq!(address, Some(at(9)));
    assert!(store.is_some());
    let (change, missing) = moved(&state, id(TWO), &place("10.0.0.1:7433", &[]));
    assert_eq!(missing, ["10.0.0.1"], "another node's");
    let Some(Change::NodeSet { address: None, .. }) = change else {
        panic!("{change:?}");
    };
}

// "trust is read from the ledger at each call": who answers with another key than the ledger has is no
// live node, whatever it says.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_does_not_prove_its_key_is_not_live() {
    let world = World::new().await;
    let port = world.address.rsplit_once(':').unwrap().1;
    // Node 1 is asked by node 2; it answers there, with its own key.
    let here = format!("127.0.0.1:{port}").parse().unwrap();
    world
        .change(Change::NodeSet {
            id: id(1),
            address: Some(here),
            hosts: None,
            store: None,
        })
        .await;
    // Node 4 is said to be there, too: what answers is node 1.
    let mut impostor = node(4, STRANGER);
    impostor.address = format!("localhost:{port}").parse().unwrap();
    world.change(Change::NodeAdd { node: impostor }).await;
    let (table, mut seen) = watch::channel(Arc::new(Table::default()));
    let (events, mut told) = broadcast::channel(16);
    let poller = Poller {
        own: id(TWO),
        identity: Arc::new(ArcSwap::from_pointee(identity(MEMBER))),
        ledger: world.ledger.clone(),
        table,
        events,
    };
    let task = tokio::spawn(poller.run());
    let live = seen.wait_for(|table| {
        let is_live = |number| table.others.get(&id(number)).is_some_and(|seen| seen.live);
        is_live(1) && !is_live(4)
    });
    let table = tokio::time::timeout(door::WITHIN, live)
        .await
        .unwrap()
        .unwrap()
        .clone();
    let reason = table.others[&id(4)].reason.clone().unwrap();
    assert!(
        reason.contains("is not the node that is expected there"),
        "{reason}"
    );
    // In time it is given up; then it is known who the master is.
    let mut events = Vec::new();
    while !events.contains(&NodeEvent::Master(Some(id(1)))) {
        let event = tokio::time::timeout(Duration::from_secs(30), told.recv()).await;
        events.push(event.unwrap().unwrap());
    }
    assert!(events.contains(&NodeEvent::Down(id(4))), "{events:?}");
    task.abort();
}
