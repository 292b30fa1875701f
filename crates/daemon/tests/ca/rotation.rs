//! Another issuing CA in place of the one that signs.

use super::support::*;

#[tokio::test]
async fn a_new_issuing_ca_is_proved_before_it_signs() {
    let node = Node::begin().await;
    let (shown, _) = node.ca.begin_server().await.unwrap();
    let door = Door::open(&shown.leaf).await;
    node.ca.set_doors(door.clone());
    let old = node.issuing().certificate().to_vec();
    let (new, certificate) = candidate(&node).await;
    // Nothing signs with it yet.
    assert_eq!(node.issuing().certificate(), old);
    let done = node
        .command(
            Command::CaProve {
                certificate: certificate.clone(),
            },
            BOSS,
        )
        .await;
    assert_eq!(done.unwrap().data.unwrap()["nodes"][0], 1);
    // It was shown, met, and taken back.
    assert_eq!(*door.shown.lock().unwrap(), [new.clone(), old.clone()]);
    assert_eq!(
        node.ca.pki().read_serving().unwrap().leaf.chain,
        shown.leaf.chain
    );
    let cut = || {
        node.command(
            Command::CaCutOver {
                certificate: certificate.clone(),
            },
            BOSS,
        )
    };
    assert!(cut().await.is_err(), "not activated");
    node.change(Change::IssuingCaActivate {
        certificate: Hash::of(&new),
    })
    .await;
    let renewed = node.ca.follow_server(&shown).await.unwrap().unwrap();
    assert_eq!(renewed.issuer(), Some(new.as_slice()));
    cut().await.unwrap();
    assert_eq!(node.issuing().certificate(), new);
    // The old one still signs its list, until the ledger lets it go.
    assert_eq!(
        node.ca.pki().ca(Place::Retiring).unwrap().certificate(),
        old
    );
    node.ca.duties().await;
    assert_eq!(lists(&node), 3);
    node.change(Change::IssuingCaRemove {
        certificate: Hash::of(&old),
    })
    .await;
    node.ca.duties().await;
    assert!(node.ca.pki().ca(Place::Retiring).is_none());
    assert!(!node.layout.private().join("retiring.key").exists());
    assert_eq!(lists(&node), 2);
}

/// "which stops and rolls back when a node can't prove"
#[tokio::test]
async fn a_node_that_can_not_prove_stops_the_rotation() {
    let node = Node::begin().await;
    let (shown, _) = node.ca.begin_server().await.unwrap();
    let door = Door::open(&shown.leaf).await;
    node.ca.set_doors(door.clone());
    let (new, certificate) = candidate(&node).await;
    *door.refuses.lock().unwrap() = Some(new.clone());
    let error = node
        .command(
            Command::CaProve {
                certificate: certificate.clone(),
            },
            BOSS,
        )
        .await
        .unwrap_err();
    assert!(
        error.starts_with("node 1 can't prove the candidate"),
        "{error}"
    );
    assert!(error.contains("this door does not like it"), "{error}");
    node.change(Change::IssuingCaRemove {
        certificate: Hash::of(&new),
    })
    .await;
    node.command(Command::CaAbandon { certificate }, BOSS)
        .await
        .unwrap();
    assert!(node.ca.pki().ca(Place::Candidate).is_none());
    assert!(!node.layout.private().join("candidate.key").exists());
    assert_eq!(
        node.ca.pki().read_serving().unwrap().leaf.chain,
        shown.leaf.chain
    );
    assert!(node.ca.is_issuer());
}

/// "prove on every node by a real handshake": the node that can't is named.
#[tokio::test]
async fn every_node_proves_the_candidate_and_who_can_not_is_named() {
    let (first, second, shown) = two().await;
    // Both prove; then a door of the second refuses, and the rotation names it.
    let (first_leaf, _) = first.ca.begin_server().await.unwrap();
    let doors = [
        Door::open(&first_leaf.leaf).await,
        Door::open(&shown.leaf).await,
    ];
    first.ca.set_doors(doors[0].clone());
    second.ca.set_doors(doors[1].clone());
    let (new, certificate) = candidate(&first).await;
    let prove = || {
        first.command(
            Command::CaProve {
                certificate: certificate.clone(),
            },
            BOSS,
        )
    };
    assert_eq!(
        prove().await.unwrap().data.unwrap()["nodes"],
        serde_json::json!([1, 2])
    );
    *doors[1].refuses.lock().unwrap() = Some(new);
    let error = prove().await.unwrap_err();
    assert!(
        error.starts_with("node 2 can't prove the candidate"),
        "{error}"
    );
    assert_eq!(
        second.ca.pki().read_serving().unwrap().leaf.chain,
        shown.leaf.chain
    );
}

/// The issuing CA moves to another node by a rotation there; the first forgets its key.
#[tokio::test]
async fn another_node_can_become_the_issuer() {
    let (first, second, _) = two().await;
    let old = first.issuing().certificate().to_vec();
    let (new, _) = candidate(&second).await;
    let certificate = Hash::of(&new);
    second
        .change(Change::IssuingCaActivate { certificate })
        .await;
    second.ca.duties().await;
    first.ca.duties().await;
    assert!(second.ca.is_issuer() && !first.ca.is_issuer());
    assert!(first.layout.private().join("issuing.key").exists());
    let certificate = Hash::of(&old);
    second.change(Change::IssuingCaRemove { certificate }).await;
    first.ca.duties().await;
    assert!(!first.layout.private().join("issuing.key").exists());
    assert!(second.ca.is_issuer());
}

/// A member that asks for a proof can't make another's doors show a leaf that is not for it.
#[tokio::test]
async fn a_trial_is_good_for_its_node_alone() {
    let node = Node::begin().await;
    let (shown, _) = node.ca.begin_server().await.unwrap();
    let door = Door::open(&shown.leaf).await;
    node.ca.set_doors(door.clone());
    node.change(node_2()).await;
    let ask = async |certificate: &[u8], chain: &[Vec<u8>]| {
        let proof = CaProof {
            certificate: STANDARD.encode(certificate),
            chain: chain.iter().map(|der| STANDARD.encode(der)).collect(),
        };
        node.ca.proof(&proof).await
    };
    let request = |done: Done| {
        let data = done.data.unwrap();
        data["request"].as_str().unwrap().to_owned()
    };
    // The CA that signs, a stranger's, none.
    let active = node.issuing().certificate().to_vec();
    let (foreign, _) = IssuingCa::create(&secret(9), &[3], system::now()).unwrap();
    for certificate in [active.as_slice(), foreign.certificate(), b""] {
        assert!(ask(certificate, &[]).await.is_err());
    }
    let (candidate, _) = candidate(&node).await;
    let signer = node.ca.pki().ca(Place::Candidate).unwrap();
    let trial = |request: &str, host: &str| {
        let request = STANDARD.decode(request).unwrap();
        let request = x509::SigningRequest::parse(&request).unwrap();
        let hosts = [host.to_owned()];
        let terms = Request {
            common_name: host,
            hosts: &hosts,
            now: system::now(),
            lifetime: Duration::minutes(10),
            serial: &[7],
        };
        signer
            .sign(&request, x509::Purpose::Server, &terms)
            .unwrap()
    };
    let begun = request(ask(&candidate, &[]).await.unwrap());
    // Another node's name over our key; our name over another key; no trial begun.
    let error = ask(&candidate, &trial(&begun, "n2.example"))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("it does not name n1.example"),
        "{error}"
    );
    request(ask(&candidate, &[]).await.unwrap());
    let other = STANDARD.encode(make_request("x", &[]).unwrap().request);
    let error = ask(&candidate, &trial(&other, "n1.example"))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("not the one that belongs"),
        "{error}"
    );
    let error = ask(&candidate, &trial(&begun, "n1.example"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no trial was begun"), "{error}");
    assert!(door.shown.lock().unwrap().is_empty(), "nothing was shown");
    let begun = request(ask(&candidate, &[]).await.unwrap());
    ask(&candidate, &trial(&begun, "n1.example")).await.unwrap();
    assert_eq!(door.shown.lock().unwrap().len(), 2);
}
