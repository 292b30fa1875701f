//! What the tests of the ledger share: fixed keys, a growing ledger, one change of each kind, and the
//! golden chain.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::cast_possible_truncation,
    clippy::decimal_bitwise_operands,
    clippy::too_many_lines,
    reason = "each test file uses its part; a table may be long"
)]

use std::collections::BTreeMap;

use palisade_keys::{PublicKey, ScramVerifier, SecretKey};
use palisade_ledger::{
    AlertTarget, Author, CertificateKind, Change, Entry, Hash, ImportedUser, Issued, Millis,
    NewAlert, NewNode, NewToken, NewUser, NodeAddress, NodeId, ObjectName, Privileges, Proof,
    Refusal, Setting, State, StoreAddress, StoreConfig, TokenId, Uid, UserName, Verified,
    join_message, rotate_message, sign, verify, verify_genesis,
};
use palisade_testkit::chain;

/// The time of the first entry; each further one is a second later.
pub const BEGIN: u64 = chain::BEGIN.0;

pub fn uid(number: u32) -> Uid {
    Uid::new(number).unwrap()
}

pub fn key(name: &str) -> SecretKey {
    chain::key(name, 0).unwrap()
}

pub fn public(name: &str) -> PublicKey {
    key(name).public()
}

pub fn cluster_key() -> SecretKey {
    key("cluster main")
}

pub fn object(text: &str) -> ObjectName {
    text.parse().unwrap()
}

pub fn flags(text: &str) -> Privileges {
    text.parse().unwrap()
}

pub fn verifier() -> ScramVerifier {
    ScramVerifier::from_parts(4096, vec![7; 16], [8; 32], [9; 32]).unwrap()
}

pub fn user(number: u32, name: &str, privileges: Privileges) -> NewUser {
    NewUser {
        uid: uid(number),
        name: UserName::new(name).unwrap(),
        disabled: false,
        superuser: false,
        default_privileges: privileges,
        public_key: Some(public(name)),
        password: None,
    }
}

pub fn superuser(number: u32, name: &str) -> NewUser {
    NewUser {
        superuser: true,
        ..user(number, name, Privileges::NONE)
    }
}

pub fn imported(number: u32, name: &str, privileges: Privileges) -> ImportedUser {
    ImportedUser {
        uid: uid(number),
        name: UserName::new(name).unwrap(),
        disabled: false,
        superuser: false,
        default_privileges: privileges,
        public_key: public(name),
    }
}

pub fn node_id(number: u32) -> NodeId {
    NodeId::new(number).unwrap()
}

/// The node of this number, whose key is that of the name `node NUMBER`.
pub fn node(number: u32) -> NewNode {
    NewNode {
        id: node_id(number),
        key: public(&format!("node {number}")),
        seal: [u8::try_from(number % 100).unwrap() + 16; 32],
        address: address(&format!("node{number}.example.com:7433")),
        hosts: vec![format!("db{number}.example.com")],
        store: Some(store_address(&format!("node{number}.example.com"))),
    }
}

pub fn address(text: &str) -> NodeAddress {
    text.parse().unwrap()
}

pub fn store_address(host: &str) -> StoreAddress {
    StoreAddress {
        peer: address(&format!("{host}:7380")),
        client: address(&format!("{host}:7379")),
    }
}

/// When the tokens of [`token`] expire: a day after the genesis.
pub const EXPIRES: Millis = Millis(BEGIN + 24 * 60 * 60 * 1000);

pub fn token_id(name: &str) -> TokenId {
    TokenId(
        palisade_keys::sha256(name.as_bytes())[..8]
            .try_into()
            .unwrap(),
    )
}

/// The token of this name; its secret is the seed of `key(name)`.
pub fn token(name: &str) -> NewToken {
    NewToken {
        id: token_id(name),
        key: public(name),
        expires: EXPIRES,
        approval: false,
        note: String::new(),
    }
}

/// `node` joins by the token of this name; by the name `secret` by the cluster secret.
pub fn join(node: NewNode, secret: &str) -> Change {
    let proof = match secret {
        "secret" => Proof::Secret,
        name => Proof::Token(token_id(name)),
    };
    let message = join_message(&cluster_key().public(), &node);
    let signature = *key(secret).sign(&message).as_bytes();
    Change::NodeJoin {
        node,
        proof,
        signature,
    }
}

/// The node of this number takes the key of this name.
pub fn rotate(number: u32, name: &str) -> Change {
    let (id, new, seal) = (node_id(number), key(name), [0x33; 32]);
    let message = rotate_message(&cluster_key().public(), id, &new.public(), &seal);
    Change::NodeRotate {
        id,
        key: new.public(),
        seal,
        signature: *new.sign(&message).as_bytes(),
    }
}

/// A certificate of node 2's, by the CA of [`World::peopled`].
pub fn issued(serial: &[u8]) -> Issued {
    Issued {
        serial: serial.to_vec(),
        subject: "node2.example.com".to_owned(),
        kind: CertificateKind::Server,
        holder: Some(node_id(2)),
        issuer: Hash::of(&[0x30, 0x00]),
        until: EXPIRES,
        by: None,
    }
}

pub fn alert(name: &str) -> NewAlert {
    NewAlert {
        name: name.to_owned(),
        target: AlertTarget::Command {
            name: "page".to_owned(),
        },
        sealed: BTreeMap::from([(node_id(1), vec![1; 80]), (node_id(2), vec![2; 80])]),
    }
}

pub fn genesis() -> Change {
    Change::Genesis {
        cluster: "main".to_owned(),
        database: "main".to_owned(),
        key: cluster_key().public(),
    }
}

pub fn genesis_entry(change: Change) -> Entry {
    Entry {
        seq: 0,
        prev: Hash::ZERO,
        time: Millis(BEGIN),
        author: Author::Cluster,
        change,
    }
}

/// A ledger that grows.
#[derive(Clone)]
pub struct World {
    pub state: State,
    pub log: Vec<Vec<u8>>,
}

impl World {
    /// A genesis alone.
    pub fn new() -> Self {
        let bytes = sign(&genesis_entry(genesis()), &cluster_key()).unwrap();
        let (state, verified) = verify_genesis(&bytes, &cluster_key().public()).unwrap();
        assert_eq!(verified.bytes(), bytes);
        Self {
            state,
            log: vec![bytes],
        }
    }

    /// `root` (uid 1, superuser) and `target` (uid 2, no privileges, an ACL on `s.t`), and a CA.
    pub fn peopled() -> Self {
        let mut world = Self::new();
        let (object, ca) = (object("s.t"), vec![0x30, 0x00]);
        for change in [
            Change::UserAdd {
                user: superuser(1, "root"),
            },
            Change::UserAdd {
                user: user(2, "target", Privileges::NONE),
            },
            Change::AclSet {
                object,
                uid: uid(2),
                privileges: Privileges::SELECT,
            },
            Change::IssuingCaAdd { certificate: ca },
        ] {
            world.force(change);
        }
        world
    }

    /// A [`World::peopled`] with the members node 1 and node 2, node 3 that waits for approval, node 4
    /// that was removed, a token and a secret to join by, a certificate of node 2's and an alert.
    pub fn with_nodes() -> Self {
        let mut world = Self::peopled();
        world.force(Change::NodeAdd { node: node(1) });
        world.force(Change::NodeAdd { node: node(2) });
        world.force(Change::TokenCreate {
            token: NewToken {
                approval: true,
                ..token("used")
            },
        });
        world.does("node 3", join(node(3), "used"));
        world.force(Change::TokenCreate {
            token: token("open"),
        });
        world.force(Change::SecretSet {
            key: Some(public("secret")),
        });
        world.force(Change::NodeAdd { node: node(4) });
        world.force(Change::NodeRemove { id: node_id(4) });
        world.does(
            "node 1",
            Change::CertificateIssued {
                certificate: issued(&[0x51]),
            },
        );
        world.force(Change::AlertAdd {
            alert: alert("ops"),
        });
        world
    }

    /// The entry that would come next.
    pub fn next(&self, author: Author, change: Change) -> Entry {
        let head = self.state.head();
        Entry {
            seq: head.seq + 1,
            prev: head.hash,
            time: Millis(BEGIN + 1000 * (head.seq + 1)),
            author,
            change,
        }
    }

    /// Signs and verifies, and applies nothing.
    pub fn attempt(
        &self,
        author: Author,
        signer: &SecretKey,
        change: Change,
    ) -> Result<Verified, Refusal> {
        let bytes = sign(&self.next(author, change), signer)?;
        verify(&self.state, &bytes)
    }

    /// The user called `name`, or the node whose id is the second word of `name`, tries, with the key
    /// of that name.
    pub fn tries(&self, name: &str, change: Change) -> Result<Verified, Refusal> {
        let author = match name.split(' ').nth(1) {
            Some(number) => Author::Node(number.parse().unwrap()),
            None => Author::User(self.state.user_by_name(name).unwrap().uid),
        };
        self.attempt(author, &key(name), change)
    }

    pub fn apply(&mut self, verified: &Verified) {
        self.state.apply(verified).unwrap();
        self.log.push(verified.bytes().to_vec());
    }

    /// The user called `name` does.
    pub fn does(&mut self, name: &str, change: Change) {
        let verified = self.tries(name, change).unwrap();
        self.apply(&verified);
    }

    /// The cluster key does.
    pub fn force(&mut self, change: Change) {
        let verified = self
            .attempt(Author::Cluster, &cluster_key(), change)
            .unwrap();
        self.apply(&verified);
    }
}

/// Verifies and folds a whole chain.
pub fn fold(log: &[impl AsRef<[u8]>], expected: &PublicKey) -> Result<State, Refusal> {
    let first = log.first().map(AsRef::as_ref).unwrap_or_default();
    let (mut state, _) = verify_genesis(first, expected)?;
    for bytes in &log[1..] {
        let verified = verify(&state, bytes.as_ref())?;
        state.apply(&verified).unwrap();
    }
    Ok(state)
}

/// Every kind of change, in the order of the numbers.
pub const KINDS: [&str; 29] = [
    "genesis",
    "user_add",
    "user_set",
    "user_disabled",
    "user_remove",
    "user_key",
    "user_password",
    "acl_set",
    "acl_unset",
    "hba_set",
    "setting_set",
    "issuing_ca_add",
    "issuing_ca_remove",
    "certificate_revoke",
    "user_import",
    "node_add",
    "node_join",
    "node_approve",
    "node_remove",
    "node_rotate",
    "node_set",
    "token_create",
    "token_revoke",
    "secret_set",
    "store_set",
    "certificate_issued",
    "alert_add",
    "alert_remove",
    "issuing_ca_activate",
];

/// The kind of a change. A new variant stops this from compiling: give it its place in [`KINDS`], in
/// the table of `authority.rs` and in the golden chain.
pub fn kind(change: &Change) -> &'static str {
    let number = match change {
        Change::Genesis { .. } => 0,
        Change::UserAdd { .. } => 1,
        Change::UserSet { .. } => 2,
        Change::UserDisabled { .. } => 3,
        Change::UserRemove { .. } => 4,
        Change::UserKey { .. } => 5,
        Change::UserPassword { .. } => 6,
        Change::AclSet { .. } => 7,
        Change::AclUnset { .. } => 8,
        Change::HbaSet { .. } => 9,
        Change::SettingSet { .. } => 10,
        Change::IssuingCaAdd { .. } => 11,
        Change::IssuingCaRemove { .. } => 12,
        Change::CertificateRevoke { .. } => 13,
        Change::UserImport { .. } => 14,
        Change::NodeAdd { .. } => 15,
        Change::NodeJoin { .. } => 16,
        Change::NodeApprove { .. } => 17,
        Change::NodeRemove { .. } => 18,
        Change::NodeRotate { .. } => 19,
        Change::NodeSet { .. } => 20,
        Change::TokenCreate { .. } => 21,
        Change::TokenRevoke { .. } => 22,
        Change::SecretSet { .. } => 23,
        Change::StoreSet { .. } => 24,
        Change::CertificateIssued { .. } => 25,
        Change::AlertAdd { .. } => 26,
        Change::AlertRemove { .. } => 27,
        Change::IssuingCaActivate { .. } => 28,
    };
    KINDS[number]
}

/// The golden chain: name of the file, who signs (empty: the cluster key), and the change. It may be
/// added to at its end and nowhere else.
pub fn golden() -> Vec<(&'static str, &'static str, Change)> {
    let relation = object("public.\"Order Items\"");
    let schema = object("sales");
    let full = NewUser {
        password: Some(verifier()),
        ..superuser(1, "root")
    };
    let bare = NewUser {
        disabled: true,
        public_key: None,
        ..user(4_000_000_000, "jürgen", Privileges::DENIED)
    };
    let ca = [&[0x30, 0x82, 0x01, 0x0a][..], &[0x5a; 266]].concat();
    let hba = "# front door\nhostssl all all 10.0.0.0/8 auto\nhost all root all scram-sha-256\n";
    vec![
        ("00-genesis", "", genesis()),
        ("01-user_add", "", Change::UserAdd { user: full }),
        ("02-user_add-bare", "root", Change::UserAdd { user: bare }),
        (
            "03-user_add-quant",
            "root",
            Change::UserAdd {
                user: user(
                    10,
                    "quant",
                    flags("select,insert,user_manage,system,set_acl"),
                ),
            },
        ),
        (
            "04-user_set",
            "root",
            Change::UserSet {
                uid: uid(4_000_000_000),
                superuser: Some(false),
                default_privileges: Some(flags("select,set_transaction")),
            },
        ),
        (
            "05-user_set-privileges",
            "root",
            Change::UserSet {
                uid: uid(4_000_000_000),
                superuser: None,
                default_privileges: Some(flags("select")),
            },
        ),
        (
            "06-user_set-superuser",
            "root",
            Change::UserSet {
                uid: uid(10),
                superuser: Some(false),
                default_privileges: None,
            },
        ),
        (
            "07-user_disabled",
            "quant",
            Change::UserDisabled {
                uid: uid(4_000_000_000),
                disabled: false,
            },
        ),
        (
            "08-user_key",
            "root",
            Change::UserKey {
                uid: uid(1),
                public_key: public("root"),
            },
        ),
        (
            "09-user_password",
            "quant",
            Change::UserPassword {
                uid: uid(10),
                verifier: Some(verifier()),
            },
        ),
        (
            "10-user_password-none",
            "quant",
            Change::UserPassword {
                uid: uid(10),
                verifier: None,
            },
        ),
        (
            "11-acl_set",
            "quant",
            Change::AclSet {
                object: relation.clone(),
                uid: uid(10),
                privileges: flags("select,set_acl"),
            },
        ),
        (
            "12-acl_set-schema",
            "quant",
            Change::AclSet {
                object: schema,
                uid: uid(4_000_000_000),
                privileges: flags("denied"),
            },
        ),
        (
            "13-acl_unset",
            "quant",
            Change::AclUnset {
                object: relation,
                uid: uid(10),
            },
        ),
        (
            "14-hba_set",
            "quant",
            Change::HbaSet {
                text: hba.to_owned(),
            },
        ),
        (
            "15-setting_set-server",
            "quant",
            Change::SettingSet {
                setting: Setting::ServerCertificateDays(30),
            },
        ),
        (
            "16-setting_set-user",
            "quant",
            Change::SettingSet {
                setting: Setting::UserCertificateMinutes(10_080),
            },
        ),
        (
            "17-issuing_ca_add",
            "quant",
            Change::IssuingCaAdd {
                certificate: ca.clone(),
            },
        ),
        (
            "18-issuing_ca_remove",
            "quant",
            Change::IssuingCaRemove {
                certificate: Hash::of(&ca),
            },
        ),
        (
            "19-certificate_revoke",
            "quant",
            Change::CertificateRevoke {
                serial: vec![0x80, 0x01],
                reason: "key lost".to_owned(),
            },
        ),
        (
            "20-user_import",
            "",
            Change::UserImport {
                user: imported(20, "pnl", Privileges::SELECT),
            },
        ),
        (
            "21-user_remove",
            "quant",
            Change::UserRemove {
                uid: uid(4_000_000_000),
            },
        ),
    ]
    .into_iter()
    .chain(golden_nodes())
    .collect()
}

/// The golden entries about nodes, joining, certificates and alerts.
fn golden_nodes() -> Vec<(&'static str, &'static str, Change)> {
    let first = NewNode {
        address: address("10.0.0.1:7433"),
        hosts: vec![
            "db.example.com".to_owned(),
            "2001:db8::1".to_owned(),
            "192.0.2.7".to_owned(),
        ],
        store: Some(store_address("10.0.0.1")),
        ..node(1)
    };
    let bare = |number| NewNode {
        address: address(&format!("[2001:db8::{number}]:7433")),
        hosts: Vec::new(),
        store: None,
        ..node(number)
    };
    let token = |name: &str, approval, note: &str| Change::TokenCreate {
        token: NewToken {
            approval,
            note: note.to_owned(),
            ..token(name)
        },
    };
    let set = |address, hosts: Option<&[&str]>, store| Change::NodeSet {
        id: node_id(4),
        address,
        hosts: hosts.map(|hosts| hosts.iter().map(|host| (*host).to_owned()).collect()),
        store,
    };
    let store = |store| Change::StoreSet { store };
    let secret = |name: Option<&str>| Change::SecretSet {
        key: name.map(public),
    };
    let ca = [&[0x30, 0x82, 0x01, 0x0b][..], &[0x5b; 267]].concat();
    let issuer = Hash::of(&ca);
    let certificate = Issued {
        issuer,
        by: Some(uid(10)),
        ..issued(&[0x7b; 20])
    };
    let rooted = Issued {
        serial: vec![0x80],
        subject: "issuing CA 2".to_owned(),
        kind: CertificateKind::IssuingCa,
        holder: None,
        issuer: Hash::of(b"root"),
        ..issued(&[])
    };
    let webhook = NewAlert {
        target: AlertTarget::Webhook {
            url: "https://hooks.example.com/palisade".to_owned(),
        },
        ..alert("ops")
    };
    let mail = NewAlert {
        target: AlertTarget::Smtp {
            server: address("mail.example.com:465"),
            from: "palisade@example.com".to_owned(),
            to: vec!["a@example.com".to_owned(), "b@example.com".to_owned()],
            user: Some("palisade".to_owned()),
        },
        ..alert("mail")
    };
    let silent = NewAlert {
        sealed: BTreeMap::new(),
        target: AlertTarget::Smtp {
            server: address("127.0.0.1:25"),
            from: "palisade@example.com".to_owned(),
            to: vec!["a@example.com".to_owned()],
            user: None,
        },
        ..alert("local-mail")
    };
    let url = |host: &str| format!("https://{host}:2379");
    vec![
        ("22-node_add", "quant", Change::NodeAdd { node: first }),
        ("23-node_add-bare", "", Change::NodeAdd { node: bare(2) }),
        ("24-token_create", "quant", token("token", true, "rack 7")),
        ("25-node_join-token", "node 3", join(bare(3), "token")),
        (
            "26-node_approve",
            "quant",
            Change::NodeApprove { id: node_id(3) },
        ),
        ("27-secret_set", "quant", secret(Some("secret"))),
        ("28-node_join-secret", "node 4", join(node(4), "secret")),
        ("29-node_rotate", "node 4", rotate(4, "node 4 again")),
        (
            "30-node_set",
            "node 4 again",
            set(
                Some(address("db4.example.com:7434")),
                Some(&["node4.example.com"]),
                Some(store_address("db4.example.com")),
            ),
        ),
        ("31-node_set-hosts", "quant", set(None, Some(&[]), None)),
        ("32-token_create-plain", "quant", token("other", false, "")),
        (
            "33-token_revoke",
            "quant",
            Change::TokenRevoke {
                id: token_id("other"),
            },
        ),
        ("34-secret_set-none", "quant", secret(None)),
        ("35-store_set-managed", "quant", store(StoreConfig::Managed)),
        (
            "36-store_set-endpoints",
            "quant",
            store(StoreConfig::Endpoints(vec![
                url("etcd1.example.com"),
                url("[2001:db8::2]"),
            ])),
        ),
        (
            "37-store_set-embedded",
            "quant",
            store(StoreConfig::Embedded),
        ),
        (
            "38-issuing_ca_add-second",
            "",
            Change::IssuingCaAdd { certificate: ca },
        ),
        (
            "39-issuing_ca_activate",
            "quant",
            Change::IssuingCaActivate {
                certificate: issuer,
            },
        ),
        (
            "40-certificate_issued",
            "node 1",
            Change::CertificateIssued { certificate },
        ),
        (
            "41-certificate_issued-ca",
            "quant",
            Change::CertificateIssued {
                certificate: rooted,
            },
        ),
        (
            "42-alert_add-webhook",
            "quant",
            Change::AlertAdd { alert: webhook },
        ),
        (
            "43-alert_add-smtp",
            "quant",
            Change::AlertAdd { alert: mail },
        ),
        (
            "44-alert_add-open",
            "quant",
            Change::AlertAdd { alert: silent },
        ),
        (
            "45-alert_add-command",
            "quant",
            Change::AlertAdd {
                alert: alert("pager"),
            },
        ),
        (
            "46-alert_remove",
            "quant",
            Change::AlertRemove {
                name: "mail".to_owned(),
            },
        ),
        (
            "47-node_remove",
            "quant",
            Change::NodeRemove { id: node_id(2) },
        ),
    ]
}

/// The golden chain, built now by this code.
pub fn golden_world() -> World {
    let mut world = World::new();
    for (_, author, change) in golden().into_iter().skip(1) {
        if author.is_empty() {
            world.force(change);
        } else {
            world.does(author, change);
        }
    }
    world
}

pub fn golden_dir() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The bytes of a golden file.
pub fn golden_bytes(name: &str) -> Vec<u8> {
    let path = golden_dir().join(format!("{name}.hex"));
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    unhex(&text)
}

pub fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// Hexadecimal digits, 32 bytes a line.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for line in bytes.chunks(32) {
        for byte in line {
            write!(out, "{byte:02x}").unwrap();
        }
        out.push('\n');
    }
    out
}

/// The head of an item of CBOR.
pub fn head(major: u8, value: u64) -> Vec<u8> {
    match value {
        0..=23 => vec![major << 5 | value as u8],
        24..=0xff => vec![major << 5 | 24, value as u8],
        0x100..=0xffff => [&[major << 5 | 25][..], &(value as u16).to_be_bytes()].concat(),
        _ => [&[major << 5 | 26][..], &(value as u32).to_be_bytes()].concat(),
    }
}

pub fn bytes_item(content: &[u8]) -> Vec<u8> {
    [&head(2, content.len() as u64), content].concat()
}

/// Signs any payload, right or wrong, in the right envelope.
pub fn sealed(payload: &[u8], signer: &SecretKey) -> Vec<u8> {
    let protected = [0xa1, 0x01, 0x27];
    let to_be_signed = [
        vec![0x84],
        head(3, 10),
        b"Signature1".to_vec(),
        bytes_item(&protected),
        bytes_item(b"palisade ledger v1"),
        bytes_item(payload),
    ]
    .concat();
    let signature = signer.sign(&to_be_signed);
    [
        vec![0xd2, 0x84],
        bytes_item(&protected),
        vec![0xa0],
        bytes_item(payload),
        bytes_item(signature.as_bytes()),
    ]
    .concat()
}

/// The payload of a golden entry.
pub fn payload_of(entry: &[u8]) -> &[u8] {
    let start = if entry[7] == 0x58 { 9 } else { 10 };
    &entry[start..entry.len() - 66]
}

/// The key that signs the golden entry of this name.
pub fn signer_of(name: &str) -> SecretKey {
    let (_, who, _) = golden().into_iter().find(|g| g.0 == name).unwrap();
    if who.is_empty() {
        cluster_key()
    } else {
        key(who)
    }
}
