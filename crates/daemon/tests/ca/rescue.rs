//! A cluster whose every certificate has expired.

use super::support::*;

/// "`palisade ca rescue` for a cluster whose every certificate has expired"
#[tokio::test]
async fn a_cluster_whose_certificates_have_expired_is_rescued() {
    for with_key in [true, false] {
        let node = Node::begin().await;
        // The issuing CA and the leaf were made two years ago, for one year.
        let then = system::now() - Duration::days(730);
        let until = Some(then + Duration::days(365));
        let first = node.issuing().certificate().to_vec();
        let (old, old_key) =
            IssuingCa::create_until(cluster().key(), &[0x44, 1], then, until).unwrap();
        node.change(Change::IssuingCaAdd {
            certificate: old.certificate().to_vec(),
        })
        .await;
        node.change(Change::IssuingCaRemove {
            certificate: Hash::of(&first),
        })
        .await;
        let write = |name: &str, text: &str| {
            palisade_daemon::files::write_private(
                &node.layout.private().join(name),
                text.as_bytes(),
            )
            .unwrap();
        };
        write("issuing.crt", &x509::certificate_pem(old.certificate()));
        write("issuing.key", &x509::pem("PRIVATE KEY", &old_key));
        let hosts = ["localhost".to_owned()];
        let terms = Request {
            common_name: "localhost",
            hosts: &hosts,
            now: then,
            lifetime: Duration::days(90),
            serial: &[8],
        };
        node.ca
            .pki()
            .write_server(&old.server(&terms).unwrap())
            .unwrap();
        let Node {
            dir,
            layout,
            ledger,
            ca,
        } = node;
        // While the daemon runs it is refused.
        let error = rescue::run(&layout, cluster().key())
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("must be stopped"), "{error}");
        drop((ca, ledger));
        // A daemon that starts says what is the matter.
        let node = start(dir, layout, None).await;
        let problems = node.ca.duties().await;
        let said = problems
            .iter()
            .find_map(|(_, problem)| problem.clone())
            .unwrap();
        assert!(said.contains("palisade ca rescue"), "{said}");
        assert!(node.ca.begin_server().await.is_err());
        let Node {
            dir,
            layout,
            ledger,
            ca,
        } = node;
        drop((ca, ledger));
        closed(&layout).await;
        assert!(
            rescue::run(&layout, &secret(9)).is_err(),
            "another cluster's key"
        );
        closed(&layout).await;
        let rescued = rescue::run(&layout, cluster().key()).unwrap();
        assert_eq!(rescued.expired, 1);
        closed(&layout).await;
        let node = start(dir, layout, with_key.then(cluster)).await;
        let (shown, problem) = node.ca.begin_server().await.unwrap();
        assert!(problem.is_none() && shown.until > system::now() + Duration::days(80));
        let state = node.ledger.now();
        assert_eq!(state.issuing_cas().len(), 1);
        assert_eq!(state.active_ca(), Some(node.issuing().certificate()));
        assert_eq!(shown.issuer(), state.active_ca());
        assert!(!node.layout.rescue().exists());
        assert!(node.ca.is_issuer());
        let healthy = node.ca.duties().await;
        assert!(
            healthy.iter().all(|(_, problem)| problem.is_none()),
            "{healthy:?}"
        );
    }
}

async fn closed(layout: &Layout) {
    for _ in 0..500 {
        match Store::open(&layout.private()) {
            Err(StoreError::InUse(_)) => {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            store => return drop(store.unwrap()),
        }
    }
    panic!("the store stays open")
}

async fn start(dir: tempfile::TempDir, layout: Layout, cluster: Option<ClusterAuthor>) -> Node {
    closed(&layout).await;
    let store = Store::open(&layout.private()).unwrap();
    let ledger = Ledger::open(store, &secret(1).public()).unwrap();
    let pki = Pki::load(&layout).unwrap();
    Node::over(dir, layout, ledger, pki, cluster)
}
