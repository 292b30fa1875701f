//! The leaf that the doors show.

use super::support::*;

/// "A file a human replaced is noticed and loaded, or refused with the old one kept."
#[tokio::test]
async fn a_bad_file_is_refused_and_the_old_one_kept() {
    let node = Node::begin().await;
    let (mut shown, problem) = node.ca.begin_server().await.unwrap();
    assert!(problem.is_none());
    let now = system::now();
    let put = |leaf: &Leaf| drop(node.ca.pki().write_server(leaf).unwrap());
    let serving = || node.ca.pki().read_serving().unwrap().leaf.chain;
    let mut mixed = node.leaf(&["n1.example"], now, 90);
    mixed.key = node.leaf(&["n1.example"], now, 90).key;
    // Of another CA, so that nothing of the node's own would be put in their place.
    let (foreign, _) = IssuingCa::create(&secret(9), &[3], now - Duration::days(400)).unwrap();
    let foreign = |hosts: &[&str], from: OffsetDateTime, days: i64| {
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let terms = Request {
            common_name: "by hand",
            hosts: &hosts,
            now: from,
            lifetime: Duration::days(days),
            serial: &[7],
        };
        foreign.server(&terms).unwrap()
    };
    let expired = foreign(&["n1.example"], now - Duration::days(100), 90);
    let early = foreign(&["n1.example"], now + Duration::days(1), 90);
    let elsewhere = foreign(&["elsewhere.example"], now, 90);
    let mut other_key = foreign(&["n1.example"], now, 90);
    other_key.key = foreign(&["n1.example"], now, 90).key;
    for (bad, why) in [
        (expired, "it expired on"),
        (early, "it holds only from"),
        (elsewhere, "it names none of the node's names"),
        (other_key, "is not its key"),
    ] {
        let before = serving();
        put(&bad);
        let error = node
            .ca
            .follow_server(&shown)
            .await
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains(why), "{error}");
        assert_eq!(serving(), before);
        // After a restart, too; and the human's file is not overwritten.
        let (again, problem) = node.ca.begin_server().await.unwrap();
        assert_eq!(again.leaf.chain, before);
        assert!(problem.unwrap().to_string().contains(why));
        assert_eq!(node.ca.pki().read_server().unwrap().leaf.chain, bad.chain);
    }
    std::fs::write(node.layout.server_certificate(), "junk").unwrap();
    assert!(node.ca.follow_server(&shown).await.is_err());
    let good = foreign(&["n1.example"], now, 90);
    put(&good);
    shown = node.ca.follow_server(&shown).await.unwrap().unwrap();
    assert_eq!(serving(), good.chain);
    assert!(node.ca.follow_server(&shown).await.unwrap().is_none());
    // Both files gone: the node makes its own again.
    std::fs::remove_file(node.layout.server_certificate()).unwrap();
    std::fs::remove_file(node.layout.server_key()).unwrap();
    shown = node.ca.follow_server(&shown).await.unwrap().unwrap();
    assert!(shown.is_ours(&cluster().key().public()));
}

/// "renewal at 2/3 of life without restart"; "SANs right", by the ledger and the configuration.
#[tokio::test]
async fn a_leaf_is_renewed_when_it_is_due_or_has_another_name() {
    let node = Node::begin().await;
    let (shown, _) = node.ca.begin_server().await.unwrap();
    for name in ["n1.example", "10.0.0.1", "localhost", "127.0.0.1"] {
        assert!(shown.names(name), "{name}");
    }
    assert!(node.ca.follow_server(&shown).await.unwrap().is_none());
    let names = ["n1.example", "10.0.0.1", "localhost", "127.0.0.1", "::1"];
    let old = node.leaf(&names, system::now() - Duration::days(59), 90);
    let shown = node.ca.pki().write_server(&old).unwrap();
    assert!(node.ca.follow_server(&shown).await.unwrap().is_none());
    let old = node.leaf(&names, system::now() - Duration::days(61), 90);
    let shown = node.ca.pki().write_server(&old).unwrap();
    let fresh = node.ca.follow_server(&shown).await.unwrap().unwrap();
    assert!(fresh.until > system::now() + Duration::days(89));
    // The inventory has each, by the node.
    let state = node.ledger.now();
    let entry = state.issued_by_serial(&pki::serial(&fresh.leaf.chain[0]).unwrap());
    assert_eq!(entry.unwrap().holder, Some(id(1)));
    // A new name is in the next leaf.
    let hosts = Some(vec!["db.example".to_owned()]);
    node.change(Change::NodeSet {
        id: id(1),
        address: None,
        hosts,
        store: None,
    })
    .await;
    let renamed = node.ca.follow_server(&fresh).await.unwrap().unwrap();
    assert!(renamed.names("db.example"));
}
