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

use palisade_keys::{PublicKey, ScramVerifier, SecretKey};
use palisade_ledger::{
    Author, Change, Entry, Hash, ImportedUser, Millis, NewUser, ObjectName, Privileges, Refusal,
    Setting, State, Uid, UserName, Verified, sign, verify, verify_genesis,
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

    /// The user called `name` tries, with the key of that name.
    pub fn tries(&self, name: &str, change: Change) -> Result<Verified, Refusal> {
        let number = self.state.user_by_name(name).unwrap().uid;
        self.attempt(Author::User(number), &key(name), change)
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
pub const KINDS: [&str; 15] = [
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
        Change::NodeAdd { .. }
        | Change::NodeJoin { .. }
        | Change::NodeApprove { .. }
        | Change::NodeRemove { .. }
        | Change::NodeRotate { .. }
        | Change::NodeSet { .. }
        | Change::TokenCreate { .. }
        | Change::TokenRevoke { .. }
        | Change::SecretSet { .. }
        | Change::StoreSet { .. }
        | Change::CertificateIssued { .. }
        | Change::AlertAdd { .. }
        | Change::AlertRemove { .. }
        | Change::IssuingCaActivate { .. } => return "about nodes",
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
