//! What another node sends: judged before it is shown or stored.

use super::support::*;

/// "a non-issuer node gets its renewals by CSR from an issuer"; and proves what that one tries.
#[tokio::test]
async fn another_node_asks_the_issuer() {
    let (first, second, shown) = two().await;
    assert!(!second.layout.private().join("issuing.key").exists());
    // A user is told whom to ask.
    let error = second
        .issue(BOSS, wish(Purpose::Tool, "x", &[]))
        .await
        .unwrap_err();
    assert!(error.contains("ask"), "{error}");

    // The issuer's lists are taken, after a check.
    let alice = first
        .issue(BOSS, wish(Purpose::Tool, "alice", &[]))
        .await
        .unwrap();
    let serial = pki::serial(&issued(&alice)[0]).unwrap();
    let reason = "lost".to_owned();
    first
        .change(Change::CertificateRevoke {
            serial: serial.clone(),
            reason,
        })
        .await;
    first.ca.duties().await;
    second.ca.duties().await;
    assert_eq!(second.ca.lists(), first.ca.lists());
    let state = first.ledger.now();
    let text = second.ca.lists().unwrap();
    assert_eq!(pki::check_lists(&state, &text).unwrap().len(), 2);
    let root = std::fs::read(first.layout.root_list()).unwrap();
    let (foreign, _) = IssuingCa::create(&secret(9), &[3], system::now()).unwrap();
    let empty = foreign
        .revocation_list(&[], system::now(), system::now() + Duration::days(9))
        .unwrap();
    let forged = [
        root.as_slice(),
        x509::revocation_list_pem(&empty).as_bytes(),
    ]
    .concat();
    let take = |pem: &[u8]| second.ca.pki().take_lists(&state, pem, system::now());
    assert!(take(x509::revocation_list_pem(&empty).as_bytes()).is_err());
    // What a stranger signed is left out: what lies here stays.
    let before = second.ca.lists();
    assert!(!take(&forged).unwrap());
    assert_eq!(second.ca.lists(), before);

    // A leaf that nobody recorded is recorded by who shows it.
    let names = ["n2.example", "localhost", "127.0.0.1", "::1"];
    let unknown = first.leaf(&names, system::now(), 90);
    second.ca.pki().write_serving(&unknown).unwrap();
    second.ca.duties().await;
    let state = first.ledger.now();
    let found = state.issued_by_serial(&pki::serial(&unknown.chain[0]).unwrap());
    assert_eq!(found.unwrap().holder, Some(id(2)));
    second.ca.pki().write_serving(&shown.leaf).unwrap();
}

pub(crate) type Signs = dyn Fn(&x509::SigningRequest) -> Vec<Vec<u8>> + Send;

/// A member that says it issues, and sends what it likes; and the issuer, which is asked after it.
pub(crate) struct Liar {
    pub(crate) issuer: CaService,
    pub(crate) chain: Mutex<Vec<Vec<u8>>>,
    /// Makes its answer, in place of `chain`, from the request.
    pub(crate) signs: Mutex<Option<Box<Signs>>>,
    pub(crate) lists: Mutex<Vec<u8>>,
    pub(crate) alone: std::sync::atomic::AtomicBool,
}

impl Liar {
    pub(crate) fn before(issuer: &CaService) -> Arc<Self> {
        Arc::new(Self {
            issuer: issuer.clone(),
            chain: Mutex::default(),
            signs: Mutex::default(),
            lists: Mutex::default(),
            alone: std::sync::atomic::AtomicBool::new(true),
        })
    }
}

impl Others for Liar {
    fn nodes(&self) -> Vec<NodeId> {
        let alone = self.alone.load(std::sync::atomic::Ordering::SeqCst);
        if alone {
            vec![id(3)]
        } else {
            vec![id(3), id(1)]
        }
    }

    fn sign(&self, node: NodeId, request: CertificateRequest) -> Answer<CertificateReply> {
        let issuer = self.issuer.clone();
        let parsed = STANDARD.decode(&request.request).unwrap();
        let parsed = x509::SigningRequest::parse(&parsed).unwrap();
        let signs = self.signs.lock().unwrap();
        let chain = signs.as_ref().map(|sign| sign(&parsed));
        let chain = chain.unwrap_or_else(|| self.chain.lock().unwrap().clone());
        Box::pin(async move {
            if node == id(3) {
                let chain = chain.iter().map(|der| STANDARD.encode(der)).collect();
                return Ok(CertificateReply { chain });
            }
            let signed = issuer.certificate(id(2), &request).await;
            signed.map_err(|error| error.to_string())
        })
    }

    fn lists(&self, node: NodeId) -> Answer<Vec<u8>> {
        let lists = if node == id(3) {
            Ok(self.lists.lock().unwrap().clone())
        } else {
            self.issuer.lists()
        };
        Box::pin(async move { lists })
    }

    fn prove(&self, _: NodeId, _: CaProof) -> Answer<Done> {
        Box::pin(async { Err("no".to_owned()) })
    }
}

/// A second node of the first's cluster, which asks a liar first.
pub(crate) async fn beside_a_liar() -> (Node, Node, Arc<Liar>) {
    let (first, second, _) = two().await;
    let Node {
        dir,
        layout,
        ledger,
        ca,
    } = second;
    drop(ca);
    let pki = Pki::load(&layout).unwrap();
    let second = Node::over(dir, layout, ledger, pki, None);
    let liar = Liar::before(&first.ca);
    second.ca.set_others(liar.clone());
    (first, second, liar)
}

/// A leaf from another node is judged wholly before it is shown or stored, and the next node asked.
#[tokio::test]
async fn an_issuer_that_sends_another_certificate_is_passed_over() {
    use std::sync::atomic::Ordering::SeqCst;
    let (first, second, liar) = beside_a_liar().await;
    let ask = async |purpose| {
        let request = make_request("palisade", &[]).unwrap();
        second.ca.own_certificate(&request, purpose).await
    };
    let names = ["n2.example", "localhost", "127.0.0.1", "::1"];
    let issuer = first.issuing();
    let (foreign, _) = IssuingCa::create(&secret(9), &[3], system::now()).unwrap();
    let foreign = Arc::new(foreign);
    // Certified by the cluster key, and not in the ledger: a CA that was removed.
    let (gone, _) = IssuingCa::create(cluster().key(), &[4], system::now()).unwrap();
    let gone = Arc::new(gone);
    let (server, store, now) = (x509::Purpose::Server, x509::Purpose::Store, system::now());
    let early = now - Duration::days(100);
    let signing = |ca: &Arc<IssuingCa>, purpose, name: &str, hosts: &[&str], from| {
        let (ca, name) = (ca.clone(), name.to_owned());
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        move |request: &x509::SigningRequest| {
            let terms = Request {
                common_name: &name,
                hosts: &hosts,
                now: from,
                lifetime: Duration::days(90),
                serial: &[0x55, 1],
            };
            ca.sign(request, purpose, &terms).unwrap()
        }
    };
    let more = [&names[..], &["n1.example"]].concat();
    for (bad, why) in [
        (
            signing(&foreign, server, "n2.example", &names, now),
            "ledger does not have",
        ),
        (
            signing(&gone, server, "n2.example", &names, now),
            "ledger does not have",
        ),
        (
            signing(&issuer, server, "n2.example", &names, early),
            "purpose and time",
        ),
        (
            signing(&issuer, x509::Purpose::Tool, "n2.example", &[], now),
            "purpose and time",
        ),
        (
            signing(&issuer, store, "n2.example", &names, now),
            "exactly the names",
        ),
        (
            signing(&issuer, server, "n1.example", &names, now),
            "exactly the names",
        ),
        (
            signing(&issuer, server, "n2.example", &more, now),
            "exactly the names",
        ),
        (
            signing(&issuer, server, "n2.example", &names[..1], now),
            "exactly the names",
        ),
    ] {
        *liar.signs.lock().unwrap() = Some(Box::new(bad));
        let error = ask(Purpose::Server).await.unwrap_err().to_string();
        assert!(error.contains(why), "{why}: {error}");
    }
    // As it should be.
    let good = signing(&issuer, server, "n2.example", &names, now);
    *liar.signs.lock().unwrap() = Some(Box::new(good));
    ask(Purpose::Server).await.unwrap();
    assert!(ask(Purpose::Store).await.is_err());
    *liar.signs.lock().unwrap() = None;
    let stolen = first.leaf(&names, now, 90).chain;
    let right = issuer.certificate().to_vec();
    let garbage = vec![b"garbage".to_vec(), right.clone()];
    for (chain, why) in [
        (Vec::new(), "without its issuer"),
        (vec![right.clone()], "without its issuer"),
        (garbage.clone(), "does not lead to the cluster key"),
        (
            vec![right.clone(), right],
            "does not lead to the cluster key",
        ),
        (stolen, "another key"),
    ] {
        *liar.chain.lock().unwrap() = chain;
        let error = ask(Purpose::Server).await.unwrap_err().to_string();
        assert!(error.contains(why), "{why}: {error}");
    }
    // Nothing of it was stored; the issuer that is asked next gives the node what it needs.
    *liar.chain.lock().unwrap() = garbage;
    let before = second.ca.pki().read_server().unwrap().leaf.chain;
    liar.alone.store(false, SeqCst);
    let chain = ask(Purpose::Server).await.unwrap();
    assert_eq!(sound(&second, &chain, Some("n2.example")), [""; 0]);
    ask(Purpose::Store).await.unwrap();
    assert_eq!(second.ca.pki().read_server().unwrap().leaf.chain, before);
}

/// The root's certificate from another node is the cluster key, signed by itself.
#[test]
fn an_odd_root_is_not_the_roots() {
    let key = cluster().key().public();
    let root = x509::root_certificate(cluster().key(), system::now()).unwrap();
    assert!(pki::is_root(x509::certificate_pem(&root).as_bytes(), &key));
    // The right key and names under a signature that is none.
    let mut broken = root.clone();
    *broken.last_mut().unwrap() ^= 1;
    let (issuing, _) = IssuingCa::create(cluster().key(), &[3], system::now()).unwrap();
    let foreign = x509::root_certificate(&secret(9), system::now()).unwrap();
    for der in [broken.as_slice(), issuing.certificate(), &foreign, b""] {
        assert!(!pki::is_root(x509::certificate_pem(der).as_bytes(), &key));
    }
    assert!(!pki::is_root(b"garbage", &key));
}
