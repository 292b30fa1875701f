//! A node of one process, its doors, and the nodes beside it.

pub(crate) use std::sync::{Arc, Mutex};

pub(crate) use arc_swap::ArcSwap;
pub(crate) use base64::Engine as _;
pub(crate) use base64::engine::general_purpose::STANDARD;
pub(crate) use palisade_daemon::api::Answer;
pub(crate) use palisade_daemon::author::{ClusterAuthor, NodeAuthor};
pub(crate) use palisade_daemon::ca::{CaService, Doors, Others, Wires, node_names, rescue};
pub(crate) use palisade_daemon::identity::NodeKeys;
pub(crate) use palisade_daemon::layout::Layout;
pub(crate) use palisade_daemon::ledger::Ledger;
pub(crate) use palisade_daemon::pki::{self, Pki, Place};
pub(crate) use palisade_daemon::store::{Store, StoreError};
pub(crate) use palisade_daemon::system;
pub(crate) use palisade_keys::{SecretKey, Zeroizing};
pub(crate) use palisade_ledger::{
    CertificateKind, Change, Hash, NewNode, NewUser, NodeId, Privileges, Uid, UserName,
};
pub(crate) use palisade_link::api::{
    CaProof, CertificateReply, CertificateRequest, Command, Done, DoorAddress, DoorKind,
    IssueCertificate, ProofStep, Purpose, Trial,
};
pub(crate) use palisade_link::x509::{
    self, IssuingCa, Leaf, Request, certify_issuing_ca, make_request,
};
pub(crate) use rustls::ServerConfig;
pub(crate) use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
pub(crate) use time::{Duration, OffsetDateTime};
pub(crate) use tokio::net::TcpListener;
pub(crate) use x509_parser::prelude::{FromDer as _, X509Certificate};

pub(crate) fn secret(byte: u8) -> SecretKey {
    SecretKey::from_seed(Zeroizing::new([byte; 32])).unwrap()
}

pub(crate) fn cluster() -> ClusterAuthor {
    ClusterAuthor::new(secret(1))
}

pub(crate) fn uid(number: u32) -> Uid {
    Uid::new(number).unwrap()
}

pub(crate) fn id(number: u32) -> NodeId {
    NodeId::new(number).unwrap()
}

/// One node: its directory, its ledger, its CA.
pub(crate) struct Node {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) layout: Layout,
    pub(crate) ledger: Ledger,
    pub(crate) ca: CaService,
}

pub(crate) const BOSS: u32 = 1;
pub(crate) const OPERATOR: u32 = 2;
pub(crate) const READER: u32 = 3;

impl Node {
    /// A cluster's first node, with three users and itself in the ledger.
    pub(crate) async fn begin() -> Self {
        Self::begin_at("n1.example:7433").await
    }

    pub(crate) async fn begin_at(address: &str) -> Self {
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
        let own = node(1, keys.public(), address, &["10.0.0.1"]);
        cluster().append(&ledger, own).await.unwrap();
        Self::over(dir, layout, ledger, pki, Some(cluster()))
    }

    pub(crate) fn over(
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

    pub(crate) async fn change(&self, change: Change) {
        cluster().append(&self.ledger, change).await.unwrap();
    }

    pub(crate) async fn command(&self, command: Command, author: u32) -> Result<Done, String> {
        self.ca.command(&command, uid(author)).await.unwrap()
    }

    pub(crate) async fn issue(&self, author: u32, wish: IssueCertificate) -> Result<Done, String> {
        self.command(Command::IssueCertificate(wish), author).await
    }

    pub(crate) fn issuing(&self) -> Arc<IssuingCa> {
        self.ca.pki().issuing().unwrap()
    }

    /// A leaf by this node's CA with these names and life.
    pub(crate) fn leaf(&self, hosts: &[&str], from: OffsetDateTime, days: i64) -> Leaf {
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

pub(crate) fn user(number: u32, name: &str, superuser: bool, privileges: Privileges) -> Change {
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

pub(crate) fn node(
    number: u32,
    key: palisade_keys::PublicKey,
    address: &str,
    hosts: &[&str],
) -> Change {
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

pub(crate) fn wish(purpose: Purpose, name: &str, hosts: &[&str]) -> IssueCertificate {
    let made = make_request("x", &[]).unwrap();
    IssueCertificate {
        request: STANDARD.encode(made.request),
        purpose,
        name: name.to_owned(),
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        days: 0,
    }
}

pub(crate) fn chain(reply: &CertificateReply) -> Vec<Vec<u8>> {
    let decoded = reply
        .chain
        .iter()
        .map(|text| STANDARD.decode(text).unwrap());
    decoded.collect()
}

pub(crate) fn issued(done: &Done) -> Vec<Vec<u8>> {
    chain(&serde_json::from_value(done.data.clone().unwrap()).unwrap())
}

pub(crate) fn sound(node: &Node, chain: &[Vec<u8>], host: Option<&str>) -> Vec<&'static str> {
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

/// A door with real TLS.
pub(crate) struct Door {
    pub(crate) config: Arc<ArcSwap<ServerConfig>>,
    pub(crate) address: std::net::SocketAddr,
    /// Takes no leaf by a CA whose certificate is this one.
    pub(crate) refuses: Mutex<Option<Vec<u8>>>,
    pub(crate) shown: Mutex<Vec<Vec<u8>>>,
}

impl Door {
    pub(crate) async fn open(leaf: &Leaf) -> Arc<Self> {
        Self::on(listen().await, leaf)
    }

    pub(crate) fn on(listener: TcpListener, leaf: &Leaf) -> Arc<Self> {
        let config = Arc::new(ArcSwap::from_pointee(config(leaf)));
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

pub(crate) async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

pub(crate) fn config(leaf: &Leaf) -> ServerConfig {
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
            kind: DoorKind::Api,
            address: self.address,
        }]
    }
}

/// The other nodes, in this process.
pub(crate) struct Beside(pub(crate) Vec<CaService>);

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
        let asked = self.0.get(node.get() as usize - 1).cloned();
        Box::pin(async move {
            let asked = asked.ok_or("it does not answer")?;
            asked.proof(&proof).await.map_err(|error| error.to_string())
        })
    }
}

/// Candidate, certificate, ledger: up to the point where it is to be proved.
pub(crate) async fn candidate(node: &Node) -> (Vec<u8>, String) {
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

pub(crate) fn lists(node: &Node) -> usize {
    let text = node.ca.pki().lists().unwrap();
    pki::check_lists(&node.ledger.now(), text.as_bytes())
        .unwrap()
        .len()
}

/// An issuer and another node, which reach each other, and what the other one shows.
pub(crate) async fn two() -> (Node, Node, pki::ServerLeaf) {
    two_at("n1.example:7433", "n2.example:7433").await
}

pub(crate) async fn two_at(one: &str, two: &str) -> (Node, Node, pki::ServerLeaf) {
    let first = Node::begin_at(one).await;
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path().join("second"));
    layout.create().unwrap();
    let keys = NodeKeys::load_or_create(&layout).unwrap();
    first.change(node(2, keys.public(), two, &[])).await;
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
    let address: palisade_ledger::NodeAddress = two.parse().unwrap();
    assert!(problem.is_none() && shown.names(address.host()));
    (first, second, shown)
}

pub(crate) fn node_2() -> Change {
    node(2, secret(5).public(), "n2.example:7433", &[])
}
