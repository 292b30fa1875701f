//! Another issuing CA in place of the one that signs.

use palisade_daemon::ca::CaError;

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

/// Two nodes whose API doors are where the ledger says.
async fn two_with_doors() -> (Node, Node, pki::ServerLeaf, [Arc<Door>; 2]) {
    let listeners = [listen().await, listen().await];
    let at = |nth: usize| listeners[nth].local_addr().unwrap().to_string();
    let (first, second, shown) = two_at(&at(0), &at(1)).await;
    let (first_leaf, _) = first.ca.begin_server().await.unwrap();
    let [one, two] = listeners;
    let doors = [Door::on(one, &first_leaf.leaf), Door::on(two, &shown.leaf)];
    first.ca.set_doors(doors[0].clone());
    second.ca.set_doors(doors[1].clone());
    (first, second, shown, doors)
}

/// "prove on every node by a real handshake": the others come over the network, and the node that can't
/// is named.
#[tokio::test]
async fn every_node_proves_the_candidate_and_who_can_not_is_named() {
    let (first, second, shown, doors) = two_with_doors().await;
    let (new, certificate) = candidate(&first).await;
    let prove = || {
        first.command(
            Command::CaProve {
                certificate: certificate.clone(),
            },
            BOSS,
        )
    };
    let data = prove().await.unwrap().data.unwrap();
    assert_eq!(data["nodes"], serde_json::json!([1, 2]));
    let proofs = serde_json::json!([
        { "node": 1, "doors": "API", "met_by": [2] },
        { "node": 2, "doors": "API", "met_by": [1] },
    ]);
    assert_eq!(data["proofs"], proofs);
    let leaves_at = |nth: usize| doors[nth].shown.lock().unwrap().clone();
    let old = first.issuing().certificate().to_vec();
    for nth in 0..2 {
        assert_eq!(leaves_at(nth), [new.clone(), old.clone()]);
    }
    // A door that takes no such leaf.
    *doors[1].refuses.lock().unwrap() = Some(new.clone());
    let error = prove().await.unwrap_err();
    assert!(
        error.starts_with("node 2 can't prove the candidate: the doors refuse"),
        "{error}"
    );
    *doors[1].refuses.lock().unwrap() = None;
    // The node meets itself at its door, and nobody else does: there is nothing where the ledger says.
    let nowhere = listen().await;
    let address = nowhere.local_addr().unwrap().to_string();
    drop(nowhere);
    first.change(moved(2, &address)).await;
    let error = prove().await.unwrap_err();
    let seen = format!("node 2 can't prove the candidate: seen from node 1, API at {address}");
    assert!(error.starts_with(&seen), "{error}");
    // There another node answers, with its own trial's end in sight.
    first.change(moved(2, &doors[1].address.to_string())).await;
    let elsewhere = Door::open(&shown.leaf).await;
    first.change(moved(1, &elsewhere.address.to_string())).await;
    let error = prove().await.unwrap_err();
    assert!(error.starts_with("node 1 can't prove"), "{error}");
    assert!(error.contains("seen from node 2, API at"), "{error}");
    first.change(moved(1, &doors[0].address.to_string())).await;
    // Who does not answer at all is named before anything is shown.
    first
        .change(node(3, secret(7).public(), "127.0.0.1:7433", &[]))
        .await;
    let before = [leaves_at(0), leaves_at(1)];
    let error = prove().await.unwrap_err();
    assert_eq!(
        error,
        "node 3 can't prove the candidate: it does not answer"
    );
    assert_eq!([leaves_at(0), leaves_at(1)], before);
    // After each of them all is as it was.
    for (nth, node) in [&first, &second].into_iter().enumerate() {
        assert_eq!(leaves_at(nth).last(), Some(&old));
        assert_eq!(
            node.ca.pki().read_serving().unwrap().issuer(),
            Some(old.as_slice())
        );
    }
    assert_eq!(
        second.ca.pki().read_serving().unwrap().leaf.chain,
        shown.leaf.chain
    );
}

fn moved(number: u32, address: &str) -> Change {
    Change::NodeSet {
        id: id(number),
        address: Some(address.parse().unwrap()),
        hosts: None,
        store: None,
    }
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
    let step = async |certificate: &[u8], step: ProofStep| {
        let certificate = STANDARD.encode(certificate);
        node.ca.proof(&CaProof { certificate, step }).await
    };
    let ask = async |certificate: &[u8], chain: &[Vec<u8>]| {
        let trial = Trial {
            server: chain.iter().map(|der| STANDARD.encode(der)).collect(),
            store: Vec::new(),
        };
        step(certificate, ProofStep::Show(trial)).await
    };
    let request = async |certificate: &[u8]| {
        let done = step(certificate, ProofStep::Begin).await?;
        let data = done.data.unwrap();
        Ok::<_, CaError>(data["server"].as_str().unwrap().to_owned())
    };
    // The CA that signs, a stranger's, none.
    let active = node.issuing().certificate().to_vec();
    let (foreign, _) = IssuingCa::create(&secret(9), &[3], system::now()).unwrap();
    for certificate in [active.as_slice(), foreign.certificate(), b""] {
        assert!(request(certificate).await.is_err());
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
    let begun = request(&candidate).await.unwrap();
    // Another node's name over our key; our name over another key; no trial begun.
    let error = ask(&candidate, &trial(&begun, "n2.example"))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("it does not name n1.example"),
        "{error}"
    );
    request(&candidate).await.unwrap();
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
    let begun = request(&candidate).await.unwrap();
    ask(&candidate, &trial(&begun, "n1.example")).await.unwrap();
    // It is shown until the end, and nothing else is put in its place meanwhile.
    assert_eq!(door.shown.lock().unwrap().len(), 1);
    assert!(node.ca.still().is_none());
    // Who says where doors are sends nobody elsewhere.
    let elsewhere = listen().await;
    let there = ProofStep::Meet {
        node: 1,
        doors: vec![DoorAddress {
            kind: DoorKind::Gateway,
            address: elsewhere.local_addr().unwrap(),
        }],
        trial: Trial {
            server: vec![STANDARD.encode(&shown.leaf.chain[0])],
            store: Vec::new(),
        },
    };
    let met = step(&candidate, there).await.unwrap().data.unwrap();
    assert_eq!(met["met"], serde_json::json!([]));
    for _ in 0..2 {
        step(&candidate, ProofStep::End).await.unwrap();
        assert_eq!(door.shown.lock().unwrap().len(), 2);
        assert!(node.ca.still().is_some());
    }
}
