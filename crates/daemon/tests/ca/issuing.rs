//! Who gets which certificate.

use super::support::*;

/// "the inventory of all that was issued, by whom, until when"
#[tokio::test]
async fn what_is_issued_is_recorded_and_leads_to_the_root() {
    let node = Node::begin().await;
    let well: [&str; 0] = [];
    for (purpose, name, hosts, kind, subject) in [
        (
            Purpose::Server,
            "",
            ["n7", "10.0.0.7"].as_slice(),
            CertificateKind::Server,
            "n7, 10.0.0.7",
        ),
        (
            Purpose::Store,
            "",
            &["n7"],
            CertificateKind::Store,
            "palisade_store_n7, n7",
        ),
        (
            Purpose::Service,
            "billing",
            &[],
            CertificateKind::Service,
            "billing",
        ),
        (
            Purpose::Tool,
            "backup",
            &[],
            CertificateKind::Tool,
            "backup",
        ),
        (
            Purpose::User,
            "operator",
            &[],
            CertificateKind::User,
            "operator",
        ),
    ] {
        let done = node
            .issue(OPERATOR, wish(purpose, name, hosts))
            .await
            .unwrap();
        let chain = issued(&done);
        assert_eq!(
            sound(&node, &chain, hosts.first().copied()),
            well,
            "{purpose:?}"
        );
        let state = node.ledger.now();
        let entry = state
            .issued_by_serial(&pki::serial(&chain[0]).unwrap())
            .unwrap();
        assert_eq!((entry.kind, entry.subject.as_str()), (kind, subject));
        assert_eq!(entry.by, Some(uid(OPERATOR)));
        assert_eq!(entry.issuer, Hash::of(node.issuing().certificate()));
    }
}

/// A certificate in a user's name logs in as that user.
#[tokio::test]
async fn who_may_issue_can_not_become_another_user() {
    let node = Node::begin().await;
    for purpose in [Purpose::User, Purpose::Service, Purpose::Tool] {
        let error = node
            .issue(OPERATOR, wish(purpose, "boss", &[]))
            .await
            .unwrap_err();
        assert!(error.contains("only a superuser"), "{error}");
        node.issue(BOSS, wish(purpose, "reader", &[]))
            .await
            .unwrap();
    }
    let error = node
        .issue(READER, wish(Purpose::Tool, "x", &[]))
        .await
        .unwrap_err();
    assert!(error.contains("privilege system"), "{error}");
    // Palisade's own names, PostgreSQL's, and what is no name at all.
    for name in ["palisade_owner", "pg_monitor", "public", "", "a\0b"] {
        assert!(
            node.issue(BOSS, wish(Purpose::Tool, name, &[]))
                .await
                .is_err(),
            "{name}"
        );
    }
    let mut long = wish(Purpose::Tool, "x", &[]);
    long.days = 398;
    assert!(
        node.issue(BOSS, long)
            .await
            .unwrap_err()
            .contains("397 at most")
    );
    assert!(
        node.issue(BOSS, wish(Purpose::User, "nobody", &[]))
            .await
            .is_err()
    );
    assert!(
        node.issue(BOSS, wish(Purpose::Server, "", &["a b"]))
            .await
            .is_err()
    );
    assert_eq!(node.ledger.now().issued().len(), 3);
}

/// "a node asks for another node's names: refused"
#[tokio::test]
async fn a_node_gets_its_own_names_and_no_others() {
    let first = Node::begin().await;
    first
        .change(node(
            2,
            secret(5).public(),
            "n2.example:7433",
            &["10.0.0.2"],
        ))
        .await;
    let ask = async |number: u32, hosts: &[&str], purpose| {
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let made = make_request("n", &hosts).unwrap();
        let request = CertificateRequest {
            request: STANDARD.encode(made.request),
            purpose,
        };
        first
            .ca
            .certificate(id(number), &request)
            .await
            .map(|reply| chain(&reply))
    };
    let well: [&str; 0] = [];
    let own = ask(2, &["n2.example"], Purpose::Server).await.unwrap();
    assert_eq!(sound(&first, &own, Some("n2.example")), well);
    assert_eq!(sound(&first, &own, Some("n1.example")), ["host_not_named"]);
    for other in ["n1.example", "10.0.0.1", "bank.example"] {
        let error = ask(2, &[other], Purpose::Server)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("none of the names"), "{error}");
    }
    for purpose in [Purpose::User, Purpose::Service, Purpose::Tool] {
        assert!(ask(2, &[], purpose).await.is_err());
    }
    assert!(ask(3, &[], Purpose::Server).await.is_err(), "no such node");
    // Its certificate for etcd is in a name that no user can have.
    let store = ask(2, &[], Purpose::Store).await.unwrap();
    let (_, leaf) = X509Certificate::from_der(&store[0]).unwrap();
    assert_eq!(leaf.subject().to_string(), "CN=palisade_node_2");
    assert!(UserName::new("palisade_node_2").is_err());
    // What it says of itself does not make it another one.
    first
        .change(Change::NodeSet {
            id: id(2),
            address: None,
            hosts: Some(vec!["n1.example".to_owned()]),
            store: None,
        })
        .await;
    let error = ask(2, &[], Purpose::Server).await.unwrap_err().to_string();
    assert!(error.contains("n1.example is a name of node 1"), "{error}");
    let state = first.ledger.now();
    let holders: Vec<_> = state.issued().map(|issued| issued.holder).collect();
    assert_eq!(holders, [Some(id(2)); 2]);
    // Removing the node revokes them.
    first.change(Change::NodeRemove { id: id(2) }).await;
    assert!(
        first
            .ledger
            .now()
            .is_revoked(&pki::serial(&own[0]).unwrap())
    );
    assert!(node_names(&first.ledger.now(), id(2)).is_err());
}
