//! The certificate authority of a node: what each may have, what is refused, what follows what.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use palisade_daemon::api::Answer;
use palisade_daemon::author::{ClusterAuthor, NodeAuthor};
use palisade_daemon::ca::{CaService, DoorAddress, Doors, Others, Wires, node_names, rescue};
use palisade_daemon::identity::NodeKeys;
use palisade_daemon::layout::Layout;
use palisade_daemon::ledger::Ledger;
use palisade_daemon::pki::{self, Pki, Place};
use palisade_daemon::store::{Store, StoreError};
use palisade_daemon::system;
use palisade_keys::{SecretKey, Zeroizing};
use palisade_ledger::{
    CertificateKind, Change, Hash, NewNode, NewUser, NodeId, Privileges, Uid, UserName,
};
use palisade_link::api::{
    CaProof, CertificateReply, CertificateRequest, Command, Done, IssueCertificate, Purpose,
};
use palisade_link::x509::{self, IssuingCa, Leaf, Request, certify_issuing_ca, make_request};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

fn secret(byte: u8) -> SecretKey {
    SecretKey::from_seed(Zeroizing::new([byte; 32])).unwrap()
}

fn cluster() -> ClusterAuthor {
    ClusterAuthor::new(secret(1))
}

fn uid(number: u32) -> Uid {
    Uid::new(number).unwrap()
}

fn id(number: u32) -> NodeId {
    NodeId::new(number).unwrap()
}

/// One node: its directory, its ledger, its CA.
struct Node {
    dir: tempfile::TempDir,
    layout: Layout,
    ledger: Ledger,
    ca: CaService,
}

const BOSS: u32 = 1;
const OPERATOR: u32 = 2;
const READER: u32 = 3;

impl Node {
    /// A cluster's first node, with three users and itself in the ledger.
    async fn begin() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path().join("node"));
        layout.create().unwrap();
        let pki = Pki::create(&layout, cluster().key()).unwrap();
        let genesis = cluster().genesis("test", "main").unwrap();
        let store = Store::open(&layout.private()).unwrap();
        let ledger = Ledger::begin(store, &cluster().key().public(), &genesis).unwrap();
        let certificate = pki.issuing().unwrap().certificate().to_vec();
        let system = Privileges::SYSTEM | Privileges::SELECT;
        let changes = [
            Change::IssuingCaAdd { certificate },
            user(BOSS, "boss", true, system),
            user(OPERATOR, "operator", false, system),
            user(READER, "reader", false, Privileges::SELECT),
        ];
        for change in changes {
            cluster().append(&ledger, change).await.unwrap();
        }
        let keys = NodeKeys::load_or_create(&layout).unwrap();
        let own = node(1, keys.public(), "n1.example:7433", &["10.0.0.1"]);
        cluster().append(&ledger, own).await.unwrap();
        Self::over(dir, layout, ledger, pki, Some(cluster()))
    }

    fn over(
        dir: tempfile::TempDir,
        layout: Layout,
        ledger: Ledger,
        pki: Pki,
        cluster: Option<ClusterAuthor>,
    ) -> Self {
        let keys = NodeKeys::load_or_create(&layout).unwrap();
        let number = ledger.now().node_by_key(&keys.public()).map(|node| node.id);
        let keys = Arc::new(ArcSwap::from_pointee(keys));
        let wires = Wires {
            node: number.map(|id| NodeAuthor::new(id, keys)),
            cluster,
            names: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
        };
        let ca = CaService::new(pki, ledger.clone(), wires);
        Self {
            dir,
            layout,
            ledger,
            ca,
        }
    }

    async fn change(&self, change: Change) {
        cluster().append(&self.ledger, change).await.unwrap();
    }

    async fn command(&self, command: Command, author: u32) -> Result<Done, String> {
        self.ca.command(&command, uid(author)).await.unwrap()
    }

    async fn issue(&self, author: u32, wish: IssueCertificate) -> Result<Done, String> {
        self.command(Command::IssueCertificate(wish), author).await
    }

    fn issuing(&self) -> Arc<IssuingCa> {
        self.ca.pki().issuing().unwrap()
    }

    /// A leaf by this node's CA with these names and life.
    fn leaf(&self, hosts: &[&str], from: OffsetDateTime, days: i64) -> Leaf {
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let serial = system::serial().unwrap();
        let terms = Request {
            common_name: "by hand",
            hosts: &hosts,
            now: from,
            lifetime: Duration::days(days),
            serial: &serial,
        };
        self.issuing().server(&terms).unwrap()
    }
}

fn user(number: u32, name: &str, superuser: bool, privileges: Privileges) -> Change {
    Change::UserAdd {
        user: NewUser {
            uid: uid(number),
            name: UserName::new(name).unwrap(),
            disabled: false,
            superuser,
            default_privileges: privileges,
            public_key: None,
            password: None,
        },
    }
}

fn node(number: u32, key: palisade_keys::PublicKey, address: &str, hosts: &[&str]) -> Change {
    Change::NodeAdd {
        node: NewNode {
            id: id(number),
            key,
            seal: [9; 32],
            address: address.parse().unwrap(),
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            store: None,
        },
    }
}

fn wish(purpose: Purpose, name: &str, hosts: &[&str]) -> IssueCertificate {
    let made = make_request("x", &[]).unwrap();
    IssueCertificate {
        request: STANDARD.encode(made.request),
        purpose,
        name: name.to_owned(),
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        days: 0,
    }
}

fn chain(reply: &CertificateReply) -> Vec<Vec<u8>> {
    let decoded = reply
        .chain
        .iter()
        .map(|text| STANDARD.decode(text).unwrap());
    decoded.collect()
}

fn issued(done: &Done) -> Vec<Vec<u8>> {
    chain(&serde_json::from_value(done.data.clone().unwrap()).unwrap())
}

fn sound(node: &Node, chain: &[Vec<u8>], host: Option<&str>) -> Vec<&'static str> {
    let state = node.ledger.now();
    let issuing: Vec<_> = state.issuing_cas().map(<[u8]>::to_vec).collect();
    let context = x509::inspect::Context {
        now: system::now(),
        host,
        key: None,
        cluster: Some(state.cluster_key()),
        issuing: &issuing,
        revoked: &|_| None,
    };
    let report = x509::inspect::inspect(chain, &context).unwrap();
    report.faults.iter().map(|fault| fault.kind).collect()
}

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

/// A door with real TLS.
struct Door {
    config: Arc<ArcSwap<ServerConfig>>,
    address: std::net::SocketAddr,
    /// Takes no leaf by a CA whose certificate is this one.
    refuses: Mutex<Option<Vec<u8>>>,
    shown: Mutex<Vec<Vec<u8>>>,
}

impl Door {
    async fn open(leaf: &Leaf) -> Arc<Self> {
        let config = Arc::new(ArcSwap::from_pointee(config(leaf)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = config.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = tokio_rustls::TlsAcceptor::from(shared.load_full());
                tokio::spawn(async move {
                    if let Ok(mut stream) = acceptor.accept(stream).await {
                        drop(tokio::io::copy(&mut stream, &mut tokio::io::sink()).await);
                    }
                });
            }
        });
        Arc::new(Self {
            config,
            address,
            refuses: Mutex::default(),
            shown: Mutex::default(),
        })
    }
}

fn config(leaf: &Leaf) -> ServerConfig {
    let chain = leaf
        .chain
        .iter()
        .cloned()
        .map(CertificateDer::from)
        .collect();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf.key.to_vec()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap()
}

impl Doors for Door {
    fn show(&self, leaf: &Leaf) -> Result<(), String> {
        if self.refuses.lock().unwrap().as_ref() == leaf.chain.get(1) {
            return Err("this door does not like it".to_owned());
        }
        self.shown.lock().unwrap().push(leaf.chain[1].clone());
        self.config.store(Arc::new(config(leaf)));
        Ok(())
    }

    fn refresh(&self) {}

    fn addresses(&self) -> Vec<DoorAddress> {
        vec![DoorAddress {
            name: "gateway",
            address: self.address,
            postgres: false,
        }]
    }
}

/// The other nodes, in this process.
struct Beside(Vec<CaService>);

impl Others for Beside {
    fn nodes(&self) -> Vec<NodeId> {
        vec![id(1)]
    }

    fn sign(&self, _: NodeId, request: CertificateRequest) -> Answer<CertificateReply> {
        let first = self.0[0].clone();
        Box::pin(async move {
            let signed = first.certificate(id(2), &request).await;
            signed.map_err(|error| error.to_string())
        })
    }

    fn lists(&self, _: NodeId) -> Answer<Vec<u8>> {
        let first = self.0[0].clone();
        Box::pin(async move { first.lists() })
    }

    fn prove(&self, node: NodeId, proof: CaProof) -> Answer<Done> {
        let asked = self.0[node.get() as usize - 1].clone();
        Box::pin(async move { asked.proof(&proof).await.map_err(|error| error.to_string()) })
    }
}

/// Candidate, certificate, ledger: up to the point where it is to be proved.
async fn candidate(node: &Node) -> (Vec<u8>, String) {
    let done = node.command(Command::CaCandidate, BOSS).await.unwrap();
    let data = done.data.unwrap();
    let request = STANDARD.decode(data["request"].as_str().unwrap()).unwrap();
    let request = x509::SigningRequest::parse(&request).unwrap();
    let serial = system::serial().unwrap();
    let der = certify_issuing_ca(cluster().key(), &request, &serial, system::now(), None).unwrap();
    let text = STANDARD.encode(&der);
    let install = |certificate: String| node.command(Command::CaInstall { certificate }, BOSS);
    // Another cluster's signature over the same key is refused.
    let foreign = certify_issuing_ca(&secret(9), &request, &serial, system::now(), None).unwrap();
    assert!(install(STANDARD.encode(foreign)).await.is_err());
    install(text.clone()).await.unwrap();
    let prove = Command::CaProve {
        certificate: text.clone(),
    };
    assert!(
        node.command(prove, BOSS).await.is_err(),
        "the ledger does not know it"
    );
    node.change(Change::IssuingCaAdd {
        certificate: der.clone(),
    })
    .await;
    (der, text)
}

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

fn lists(node: &Node) -> usize {
    let text = node.ca.pki().lists().unwrap();
    pki::check_lists(&node.ledger.now(), text.as_bytes())
        .unwrap()
        .len()
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

/// An issuer and another node, which reach each other, and what the other one shows.
async fn two() -> (Node, Node, pki::ServerLeaf) {
    let first = Node::begin().await;
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path().join("second"));
    layout.create().unwrap();
    let keys = NodeKeys::load_or_create(&layout).unwrap();
    first
        .change(node(2, keys.public(), "n2.example:7433", &[]))
        .await;
    // Both see one ledger here; how it gets there is not the matter of this test.
    let pki = Pki::load(&layout).unwrap();
    let second = Node::over(dir, layout, first.ledger.clone(), pki, None);
    assert!(first.ca.is_issuer() && !second.ca.is_issuer());
    let error = second.ca.begin_server().await.err().unwrap();
    assert!(
        error.to_string().contains("issues no certificates"),
        "{error}"
    );
    let beside = Arc::new(Beside(vec![first.ca.clone(), second.ca.clone()]));
    first.ca.set_others(beside.clone());
    second.ca.set_others(beside);
    let (shown, problem) = second.ca.begin_server().await.unwrap();
    assert!(problem.is_none() && shown.names("n2.example"));
    (first, second, shown)
}

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

type Signs = dyn Fn(&x509::SigningRequest) -> Vec<Vec<u8>> + Send;

/// A member that says it issues, and sends what it likes; and the issuer, which is asked after it.
struct Liar {
    issuer: CaService,
    chain: Mutex<Vec<Vec<u8>>>,
    /// Makes its answer, in place of `chain`, from the request.
    signs: Mutex<Option<Box<Signs>>>,
    lists: Mutex<Vec<u8>>,
    alone: std::sync::atomic::AtomicBool,
}

impl Liar {
    fn before(issuer: &CaService) -> Arc<Self> {
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
async fn beside_a_liar() -> (Node, Node, Arc<Liar>) {
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

fn node_2() -> Change {
    node(2, secret(5).public(), "n2.example:7433", &[])
}

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
