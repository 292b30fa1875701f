//! Revocation lists.

use super::received::beside_a_liar;
use super::support::*;

/// A list that was signed before a revocation brings no certificate back, whoever sends it.
#[tokio::test]
async fn old_revocation_lists_are_not_taken_and_the_next_node_is_asked() {
    use std::sync::atomic::Ordering::SeqCst;
    let (first, second, liar) = beside_a_liar().await;
    first.ca.duties().await;
    let old = first.ca.lists().unwrap();
    let revoke = async |serial: u8| {
        let serial = vec![0x7f, serial];
        let reason = "lost".to_owned();
        let change = Change::CertificateRevoke { serial, reason };
        first.change(change).await;
        first.ca.duties().await;
    };
    let take = |pem: &[u8]| {
        let pki = second.ca.pki();
        pki.take_lists(&first.ledger.now(), pem, system::now())
    };
    assert!(take(&old).unwrap());
    assert!(!take(&old).unwrap(), "it has them");
    revoke(1).await;
    let current = first.ca.lists().unwrap();
    assert!(
        take(&old)
            .unwrap_err()
            .to_string()
            .contains("does not name all")
    );
    assert!(take(&current).unwrap());
    // The root's list alone; the same names under a lower number.
    let root = std::fs::read(first.layout.root_list()).unwrap();
    assert!(!take(&root).unwrap());
    let state = first.ledger.now();
    let revoked: Vec<_> = state
        .revocations()
        .map(|(serial, _)| x509::Revoked {
            serial: serial.to_vec(),
            at: system::now(),
        })
        .collect();
    let earlier = system::now() - Duration::days(1);
    let list = first
        .issuing()
        .revocation_list(&revoked, earlier, earlier + Duration::days(14))
        .unwrap();
    let lower = [root.as_slice(), x509::revocation_list_pem(&list).as_bytes()].concat();
    assert!(!take(&lower).unwrap());
    assert_eq!(second.ca.lists().unwrap(), current);
    // Expired ones are none.
    let later = system::now() + Duration::days(15);
    assert!(second.ca.pki().take_lists(&state, &current, later).is_err());
    // The liar is asked first, and does not keep the issuer's from coming in.
    liar.alone.store(false, SeqCst);
    for (serial, lie) in (2..).zip([old, current, root, b"garbage".to_vec()]) {
        *liar.lists.lock().unwrap() = lie;
        revoke(serial).await;
        second.ca.duties().await;
        assert_eq!(second.ca.lists(), first.ca.lists());
    }
}

/// "revocation by CRL": rewritten when the ledger's revocations change, and when it grows old.
#[tokio::test]
async fn the_lists_follow_the_ledger() {
    let node = Node::begin().await;
    node.ca.duties().await;
    let pki = node.ca.pki();
    let first = pki.lists().unwrap();
    node.ca.duties().await;
    assert_eq!(pki.lists().unwrap(), first, "nothing changed");
    let serial = vec![0x7f, 1];
    node.change(Change::CertificateRevoke {
        serial,
        reason: "lost".to_owned(),
    })
    .await;
    node.ca.duties().await;
    let second = pki.lists().unwrap();
    assert_ne!(second, first);
    let store = std::fs::read_to_string(node.layout.store_list()).unwrap();
    assert!(second.ends_with(&store) && store.matches("BEGIN X509 CRL").count() == 1);
    let state = node.ledger.now();
    let later = system::now() + Duration::days(3);
    assert!(pki.write_lists(&state, later).unwrap());
    assert_ne!(pki.lists().unwrap(), second);
    assert!(!pki.write_lists(&state, later).unwrap());
    // Somebody's hand in the files is put right.
    std::fs::write(node.layout.lists(), "").unwrap();
    node.ca.duties().await;
    assert_eq!(lists(&node), 2);
    drop(node.dir);
}
