//! Who gets which certificate.

use palisade_daemon::ca::CaError;
use palisade_ledger::{StoreAddress, StoreConfig};
use palisade_testkit::etcd::Etcd;

use super::store_support;
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
    let others = wish(Purpose::User, "boss", &[]);
    let error = node.issue(OPERATOR, others).await.unwrap_err();
    assert!(error.contains("only a superuser"), "{error}");
    node.issue(BOSS, wish(Purpose::User, "reader", &[]))
        .await
        .unwrap();
    // Nobody's, not even his own, for as long as a tool's or service's lasts.
    for purpose in [Purpose::Service, Purpose::Tool] {
        for (author, name) in [(OPERATOR, "operator"), (OPERATOR, "boss"), (BOSS, "reader")] {
            let error = node.issue(author, wish(purpose, name, &[])).await;
            assert!(error.unwrap_err().contains("is a user"));
        }
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
    assert_eq!(node.ledger.now().issued().len(), 1);
}

/// Who may issue can't answer for a node: its names are its own, in whatever form, and a superuser's.
#[tokio::test]
async fn who_may_issue_can_not_become_a_node() {
    let node = Node::begin().await;
    node.change(node_2()).await;
    let mut third = node_2();
    if let Change::NodeAdd { node } = &mut third {
        node.id = id(3);
        node.key = secret(6).public();
        node.address = "n3.example:7433".parse().unwrap();
        node.store = Some(StoreAddress {
            peer: "10.9.0.3:7380".parse().unwrap(),
            client: "etcd3.example:7379".parse().unwrap(),
        });
    }
    node.change(third).await;
    for name in [
        "n1.example",
        "N1.Example",
        "10.0.0.1",
        "::ffff:10.0.0.1",
        "n2.example",
        "10.9.0.3",
        "etcd3.example",
    ] {
        for purpose in [Purpose::Server, Purpose::Store, Purpose::Service] {
            let hosts = ["free.example", name];
            let error = node.issue(OPERATOR, wish(purpose, "billing", &hosts)).await;
            let error = error.unwrap_err();
            assert!(error.contains("is a name of node"), "{name}: {error}");
        }
    }
    // Without a subjectAltName the common name counts for libpq.
    let service = wish(Purpose::Service, "n1.example", &[]);
    assert!(node.issue(OPERATOR, service).await.is_err());
    assert_eq!(node.ledger.now().issued().len(), 0);
    for name in ["free.example", "127.0.0.1", "localhost"] {
        let issued = node.issue(OPERATOR, wish(Purpose::Server, "", &[name]));
        issued.await.unwrap();
    }
    let by_boss = node.issue(BOSS, wish(Purpose::Server, "", &["n2.example"]));
    by_boss.await.unwrap();
}

/// What is not in the ledger goes to nobody: a node that is removed while its certificate is signed
/// has none that outlives it.
#[tokio::test]
async fn a_node_that_is_removed_meanwhile_gets_no_certificate() {
    let first = Node::begin().await;
    for number in 2.. {
        let name = format!("n{number}.example:7433");
        let key = secret(u8::try_from(number).unwrap() + 50).public();
        first.change(node(number, key, &name, &[])).await;
        let request = request_for(Purpose::Server);
        // The removal is on its way when the certificate is signed.
        let ((), answer) = tokio::join!(
            first.change(Change::NodeRemove { id: id(number) }),
            first.ca.certificate(id(number), &request),
        );
        let state = first.ledger.now();
        match answer {
            Err(CaError::Author(error)) => {
                let error = error.to_string();
                assert!(error.contains(&format!("node {number}")), "{error}");
                first.ca.duties().await;
                let holder = Some(id(number));
                let state = first.ledger.now();
                assert!(state.issued().all(|issued| issued.holder != holder));
                return;
            }
            // It came before or after; then the ledger knows, and the removal revoked it.
            Ok(reply) => {
                let serial = pki::serial(&chain(&reply)[0]).unwrap();
                assert!(state.is_revoked(&serial));
            }
            Err(CaError::Refused(error)) => assert!(error.contains("no member"), "{error}"),
            Err(error) => panic!("{error}"),
        }
        assert!(number < 200, "they never met");
    }
}

fn request_for(purpose: Purpose) -> CertificateRequest {
    let made = make_request("n", &[]).unwrap();
    CertificateRequest {
        request: STANDARD.encode(made.request),
        purpose,
    }
}

/// A cluster whose store waits for certificates gets them: for a day, and in the ledger as soon as it
/// takes entries again. A removed node gets none even then.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_a_nodes_certificate_is_good_for_a_day() {
    let first = Node::begin().await;
    first.change(node_2()).await;
    let store = StoreConfig::Endpoints(vec!["https://etcd.example:2379".to_owned()]);
    first.change(Change::StoreSet { store }).await;
    let mut etcd = Etcd::builder().tls().start().unwrap();
    let shared = store_support::store(&etcd, "node1").await;
    assert!(first.ledger.attach(shared, store_support::LONG).await);
    let last_day = || system::now() + Duration::hours(25);
    let until = |chain: &[Vec<u8>]| {
        let (_, leaf) = X509Certificate::from_der(&chain[0]).unwrap();
        leaf.validity().not_after.to_datetime()
    };
    let ask = async |purpose| {
        let reply = first.ca.certificate(id(2), &request_for(purpose)).await;
        chain(&reply.unwrap())
    };
    // A busy machine's etcd may be silent for a moment.
    let mut tries = 0;
    while until(&ask(Purpose::Store).await) < last_day() {
        tries += 1;
        assert!(tries < 10);
    }
    tokio::task::block_in_place(|| etcd.member(0).kill());
    let short = [ask(Purpose::Store).await, ask(Purpose::Server).await];
    let known = |chain: &[Vec<u8>]| {
        let state = first.ledger.now();
        let serial = pki::serial(&chain[0]).unwrap();
        state.issued_by_serial(&serial).is_some()
    };
    for chain in &short {
        assert!(until(chain) < last_day() && !known(chain));
    }
    assert!(
        first
            .ca
            .certificate(id(3), &request_for(Purpose::Store))
            .await
            .is_err()
    );
    // The issuer's own, too: etcd may need it first of all.
    let request = make_request("palisade", &[]).unwrap();
    let own = first.ca.own_certificate(&request, Purpose::Store).await;
    let own = own.unwrap();
    assert!(until(&own) < last_day() && !known(&own));
    tokio::task::block_in_place(|| etcd.member(0).start().unwrap());
    let recorded = async {
        while !short.iter().chain([&own]).all(|chain| known(chain)) {
            first.ca.duties().await;
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let recorded = tokio::time::timeout(store_support::LONG * 4, recorded).await;
    recorded.expect("never recorded");
}

/// A stolen node can't keep the issuer signing.
#[tokio::test]
async fn a_node_that_asks_too_often_has_to_wait() {
    let first = Node::begin().await;
    first.change(node_2()).await;
    let mut given = 0;
    let refused = loop {
        let request = request_for(Purpose::Server);
        match first.ca.certificate(id(2), &request).await {
            Ok(_) => given += 1,
            Err(error) => break error.to_string(),
        }
        assert!(given < 100);
    };
    assert!(refused.contains("the next one in"), "{refused}");
    assert_eq!(first.ledger.now().issued().count(), given);
    // Who was refused before is not kept from its own, and neither is the issuer.
    let request = make_request("palisade", &[]).unwrap();
    first
        .ca
        .own_certificate(&request, Purpose::Server)
        .await
        .unwrap();
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
