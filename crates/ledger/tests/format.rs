//! docs/ledger.md says what the code does: its hex is the golden file's, and a verifier that was
//! written from it alone, in another language, comes to the same answers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{
    KINDS, World, cluster_key, fold, golden, golden_bytes, imported, issued, node_id, payload_of,
    public, sealed, signer_of, uid, unhex, user,
};
use palisade_ledger::{
    Author, CertificateKind, Change, Hash, ImportedUser, Issued, Millis, NewUser, Privileges,
    limits, sign, split, verify,
};
use palisade_testkit::chain::Chains;
use palisade_testkit::{TempDir, temp_dir};

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/ledger.md");
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn the_documents_genesis_is_the_golden_one() {
    let document = document();
    let (_, dump) = document
        .split_once("<!-- begin genesis -->\n```text\n")
        .unwrap();
    let (dump, _) = dump.split_once("```\n<!-- end genesis -->").unwrap();
    let digits: Vec<&str> = dump
        .lines()
        .map(|line| line.split('#').next().unwrap())
        .collect();
    assert_eq!(unhex(&digits.concat()), golden_bytes("00-genesis"));
}

#[test]
fn the_document_lists_every_kind_of_change_and_the_limits() {
    let document = document();
    for (number, kind) in KINDS.iter().enumerate() {
        assert!(
            document.contains(&format!("\n| {number} | {kind} | ")),
            "{kind}"
        );
    }
    assert!(!document.contains(&format!("\n| {} | ", KINDS.len())));
    for number in [
        limits::MAX_CERTIFICATE_BYTES,
        limits::MAX_TIME_MILLIS.try_into().unwrap(),
    ] {
        assert!(document.contains(&number.to_string()), "{number}");
    }
    let entry = limits::MAX_ENTRY_BYTES;
    let entry = format!("at most {},{} bytes", entry / 1000, entry % 1000);
    assert!(document.contains(&entry), "{entry}");
    assert!(document.contains("1,000,000 users") && limits::MAX_USERS == 1_000_000);
}

/// Ledgers on their way to the other verifier.
struct Offered {
    dir: TempDir,
    files: Vec<(PathBuf, String)>,
}

impl Offered {
    fn new() -> Self {
        Self {
            dir: temp_dir().unwrap(),
            files: Vec::new(),
        }
    }

    /// Writes an export and notes what our own verifier says of it.
    fn offer(&mut self, export: &[u8]) {
        let path = self.dir.path().join(format!("{}.cbor", self.files.len()));
        std::fs::write(&path, export).unwrap();
        let ours = match split(export) {
            Err(_) => "refused".to_owned(),
            Ok(log) => match fold(&log, &cluster_key().public()) {
                Err(_) => "refused".to_owned(),
                Ok(state) => format!("ok {} {}", log.len(), state.head().hash),
            },
        };
        self.files.push((path, ours));
    }

    /// Asks the other verifier about all at once, and compares. Gives how many were accepted.
    fn compare(self) -> usize {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verify.py");
        let output = Command::new("python3")
            .arg(script)
            .arg(cluster_key().public().to_string())
            .args(self.files.iter().map(|file| &file.0))
            .output()
            .expect("python3 runs the second verifier of the ledger's format: install it");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(complaint.is_empty(), "{complaint}");
        let answers = String::from_utf8(output.stdout).unwrap();
        assert_eq!(answers.lines().count(), self.files.len());
        for ((path, ours), theirs) in self.files.iter().zip(answers.lines()) {
            let agrees = theirs == ours || (ours == "refused" && theirs.starts_with("refused "));
            assert!(agrees, "{}: ours: {ours}, theirs: {theirs}", path.display());
        }
        let accepted = self.files.iter().filter(|file| file.1 != "refused").count();
        assert_eq!(output.status.success(), accepted == self.files.len());
        accepted
    }
}

fn golden_log() -> Vec<Vec<u8>> {
    golden().iter().map(|g| golden_bytes(g.0)).collect()
}

#[test]
fn another_verifier_accepts_the_golden_chain() {
    let mut offered = Offered::new();
    offered.offer(&golden_log().concat());
    assert_eq!(offered.compare(), 1);
}

#[test]
fn another_verifier_refuses_what_was_tampered_with() {
    let mut offered = Offered::new();
    let log = golden_log();
    for number in 0..log.len() {
        let mut changed = log.clone();
        let bytes = &mut changed[number];
        // A place that moves with the number: heads, payloads and signatures are all met.
        let at = (number * 37 + 3) % bytes.len();
        bytes[at] ^= 1 << (number % 8);
        offered.offer(&changed.concat());
        if number + 1 < log.len() {
            let mut without = log.clone();
            without.remove(number);
            offered.offer(&without.concat());
            let mut swapped = log.clone();
            swapped.swap(number, number + 1);
            offered.offer(&swapped.concat());
        }
    }
    let whole = log.concat();
    offered.offer(&whole[..whole.len() - 1]);
    offered.offer(&[&whole[..], &[0x00]].concat());
    offered.offer(&[]);
    assert_eq!(offered.compare(), 0);
}

/// Payloads with one bit or byte changed and signed properly: nothing but the form and the meaning of
/// the entry decide. Rules are left out, whose syntax the other verifier does not know.
#[test]
fn another_verifier_is_as_strict() {
    let mut offered = Offered::new();
    let log = golden_log();
    for (number, (name, _, change)) in golden().iter().enumerate() {
        if common::kind(change) == "hba_set" {
            continue;
        }
        let payload = payload_of(&log[number]);
        let signer = signer_of(name);
        // The hash of the entry before is left alone: a wrong one ends it there.
        let places = (0..payload.len()).filter(|at| !(6..38).contains(at));
        for at in places.skip(number % 2).step_by(2) {
            let mut other = payload.to_vec();
            match at % 4 {
                0 => other[at] ^= 1 << (at / 4 % 8),
                1 => other[at] = other[at].wrapping_add(1),
                2 => drop(other.remove(at)),
                _ => other.insert(at, 0xf6),
            }
            let export = [log[..number].concat(), sealed(&other, &signer)].concat();
            offered.offer(&export);
        }
    }
    // a5 01 SEQ 02 58 20 HASH ...: a long integer, keys out of order, a key twice.
    let (number, name) = (7, golden()[7].0);
    let payload = payload_of(&log[number]);
    let (rest, signer) = (&payload[3..], signer_of(name));
    for other in [
        [&[0xa5, 0x01, 0x18, 0x07][..], rest].concat(),
        [&[0xa5][..], &rest[..35], &[0x01, 0x07], &rest[35..]].concat(),
        [&[0xa6, 0x01, 0x07, 0x01, 0x07][..], rest].concat(),
    ] {
        offered.offer(&[log[..number].concat(), sealed(&other, &signer)].concat());
    }
    let all = offered.files.len();
    let accepted = offered.compare();
    assert!(accepted > all / 50, "{accepted} of {all}");
}

/// A certificate of node 2's.
fn certificate(serial: u8, kind: CertificateKind, subject: &str) -> Change {
    let certificate = Issued {
        subject: subject.to_owned(),
        kind,
        ..issued(&[serial])
    };
    Change::CertificateIssued { certificate }
}

fn revoke(serial: u8) -> Change {
    Change::CertificateRevoke {
        serial: vec![serial],
        reason: String::new(),
    }
}

impl Offered {
    /// Offers a world with one more entry, whether or not it holds.
    fn offer_step(&mut self, world: &World, author: &str, change: Change, time: Option<u64>) {
        let who = match author.split(' ').nth(1) {
            Some(number) => Author::Node(number.parse().unwrap()),
            None => Author::User(world.state.user_by_name(author).unwrap().uid),
        };
        let mut entry = world.next(who, change);
        entry.time = time.map_or(entry.time, Millis);
        let bytes = sign(&entry, &common::key(author)).unwrap();
        self.offer(&[world.log.concat(), bytes].concat());
    }

    /// A fair part held, and a fair part not.
    fn compare_both(self) {
        let all = self.files.len();
        let accepted = self.compare();
        assert!(
            accepted > all / 4 && accepted < all * 3 / 4,
            "{accepted} of {all}"
        );
    }
}

/// Whose certificates are revoked by the way: they can't be revoked again.
#[test]
fn another_verifier_knows_whose_certificates_go_with_him() {
    let mut world = World::with_nodes();
    let kinds = [
        CertificateKind::Server,
        CertificateKind::User,
        CertificateKind::Service,
        CertificateKind::Tool,
    ];
    for (serial, kind) in (0x60..).zip(kinds) {
        world.does("node 1", certificate(serial, kind, "bob, bob.example.com"));
        world.does("node 1", certificate(serial + 0x10, kind, "target"));
    }
    let mut offered = Offered::new();
    let add = Change::UserAdd {
        user: user(9, "bob", Privileges::NONE),
    };
    let key = Change::UserKey {
        uid: uid(2),
        public_key: public("target again"),
    };
    let remove = Change::UserRemove { uid: uid(2) };
    for (author, change) in [("root", add), ("root", remove), ("target", key)] {
        let mut world = world.clone();
        world.does(author, change);
        for serial in (0x60..0x64).chain(0x70..0x74) {
            offered.offer_step(&world, "root", revoke(serial), None);
        }
    }
    // Imported anew, and again with another key.
    let bob = imported(9, "bob", Privileges::NONE);
    world.force(Change::UserImport { user: bob.clone() });
    world.does("node 1", certificate(0x80, CertificateKind::User, "bob"));
    world.force(Change::UserImport { user: bob.clone() });
    offered.offer_step(&world, "root", revoke(0x61), None);
    offered.offer_step(&world, "root", revoke(0x80), None);
    world.force(Change::UserImport {
        user: ImportedUser {
            public_key: public("bob again"),
            ..bob
        },
    });
    offered.offer_step(&world, "root", revoke(0x80), None);
    offered.compare_both();
}

#[test]
fn another_verifier_knows_that_a_key_has_one_owner_and_a_ca_one_life() {
    let mut world = World::with_nodes();
    let mut offered = Offered::new();
    for name in ["target", "root", "cluster main", "node 1", "nobody"] {
        let own = Change::UserKey {
            uid: uid(2),
            public_key: public(name),
        };
        offered.offer_step(&world, "target", own, None);
        let with = NewUser {
            public_key: Some(public(name)),
            ..user(9, "new", Privileges::NONE)
        };
        offered.offer_step(&world, "root", Change::UserAdd { user: with }, None);
    }
    let ca = vec![0x30, 0x00];
    let remove = Change::IssuingCaRemove {
        certificate: Hash::of(&ca),
    };
    // The one that signs goes by the cluster key alone.
    world.does("root", remove.clone());
    let by_it = || certificate(0x91, CertificateKind::Server, "node2.example.com");
    offered.offer_step(&world, "node 1", by_it(), None);
    let again = Change::IssuingCaAdd {
        certificate: ca.clone(),
    };
    offered.offer_step(&world, "root", again, None);
    let mut rotated = world.clone();
    let second = vec![0x30, 0x01, 0x00];
    let (add, activate) = (
        Change::IssuingCaAdd {
            certificate: second.clone(),
        },
        Change::IssuingCaActivate {
            certificate: Hash::of(&second),
        },
    );
    for change in [add, activate, remove.clone()] {
        rotated.does("root", change);
    }
    offered.offer_step(&rotated, "node 1", by_it(), None);
    world.force(remove);
    offered.offer_step(&world, "node 1", by_it(), None);
    for certificate in [ca, vec![0x30, 0x01, 0x00]] {
        let add = Change::IssuingCaAdd { certificate };
        offered.offer_step(&world, "root", add, None);
    }
    offered.compare_both();
}

#[test]
fn another_verifier_knows_the_ledgers_time_and_how_long_a_certificate_is_good() {
    let mut world = World::with_nodes();
    let mut offered = Offered::new();
    let (begin, end) = (world.state.time().0 + 1000, limits::MAX_TIME_MILLIS);
    let leaf = begin + limits::MAX_LEAF_MILLIS;
    for (until, kind) in [
        (leaf, CertificateKind::Server),
        (leaf + 1, CertificateKind::Server),
        (end, CertificateKind::IssuingCa),
        (end + 1, CertificateKind::IssuingCa),
    ] {
        for holder in [Some(node_id(2)), None] {
            let certificate = Issued {
                kind,
                until: Millis(until),
                holder,
                ..issued(&[0x90])
            };
            let change = Change::CertificateIssued { certificate };
            offered.offer_step(&world, "node 1", change.clone(), Some(begin));
            offered.offer_step(&world, "root", change, Some(begin));
        }
    }
    // A node's clock.
    let mut entry = world.next(Author::Node(node_id(2)), common::rotate(2, "node 2 again"));
    entry.time = Millis(end);
    let bytes = sign(&entry, &common::key("node 2")).unwrap();
    let verified = verify(&world.state, &bytes).unwrap();
    world.apply(&verified);
    let time = world.state.time().0;
    let more = |serial| certificate(serial, CertificateKind::Store, "a");
    for at in [time - 1, time, time + 1] {
        offered.offer_step(&world, "node 1", more(0x90), Some(at));
        offered.offer_step(&world, "root", revoke(0x90), Some(at));
    }
    // Node 2 has one.
    for serial in 0xa0..0xa0 + 30 {
        world.does("node 1", more(serial));
    }
    offered.offer_step(&world, "node 1", more(0xc0), None);
    world.does("node 1", more(0xc0));
    offered.offer_step(&world, "node 1", more(0xc1), None);
    world.does("root", revoke(0xa0));
    offered.offer_step(&world, "node 1", more(0xc1), None);
    offered.compare_both();
}

/// Offers the beginning with each of the steps behind it: a fair part must hold, and a fair part not.
fn compare_steps(begin: &str, steps: &str) {
    let mut offered = Offered::new();
    let length = begin.split(" - ").count();
    for step in steps
        .split(['|', '\n'])
        .map(str::trim)
        .filter(|step| !step.is_empty())
    {
        let chains = Chains::draw(&format!("main: {begin} - {step}"));
        let chains = chains.unwrap_or_else(|error| panic!("{step}: {error}"));
        let entries = chains.entries("main");
        let before = fold(&entries[..length], &cluster_key().public());
        assert!(before.is_ok(), "{before:?}");
        offered.offer(&entries.concat());
    }
    let all = offered.files.len();
    let accepted = offered.compare();
    assert!(
        accepted > all / 4 && accepted < all * 3 / 4,
        "{accepted} of {all}"
    );
}

/// Each line is one more step behind the same beginning: some the rules allow, some not.
#[test]
fn another_verifier_knows_the_same_rules() {
    let begin = "G - +root* - +boss:user_manage,select - +ops:system - +acl:set_acl - +low:select \
                 - +high:drop - [low s.t]=set_acl - [acl s.u]=select - +second*";
    let steps = "
        root/+a* | boss/+a | boss/+a:select | boss/+a:drop | boss/+a:denied | boss/+a* | ops/+a | low/+a
        boss/low=insert | boss/low=none | boss/low=* | boss/high=none | boss/root=none | boss/boss=*
        boss/!low | boss/!high | boss/!root | boss/-low | boss/-high | boss/-root | low/-low | boss/-boss
        root/!second | root/-second | root/second=none | root/-root | root/!root | root/root=none
        low/low^ | low/low$ | low/low# | root/low^ | boss/low$ | low/root$ | high/low#
        acl/[low s.t]=drop | acl/[low s.u]=drop | low/[high s.t]=all | low/[high s.t]=drop | low/[high s.u]=drop
        low/[low s.t] | low/[high s.t] | acl/[acl s.u] | root/[acl s.u] | acl/[low s]=system
        ops/days=397 | ops/days=398 | ops/days=0 | boss/days=5 | root/days=5 | days=5
        ops/hba{hostssl all all all key} | low/hba{hostssl all all all key} | hba{hostssl all all all auto}
        root/+low | +low | root/ghost=none | ghost/days=5 | root(low)/days=5 | (root)/days=5 | root/G | G
        root/!second - root/!root | root/-low - root/+low | root/low=denied - low/low$ | low/low^ - low/low$
        root/!low - low/low$ | root/!low - root/~low - low/low$ | root/second=none - second/second$
    ";
    compare_steps(begin, steps);
}

/// The same for nodes. The tokens expire with the eleventh entry.
#[test]
fn another_verifier_knows_the_same_rules_of_nodes() {
    let begin =
        "G - +root* - +ops:system - +low:select - +@a - +@b - %tok - %slow? - @c/@c<slow - *sec";
    let steps = "
        ops/+@d | root/+@d | +@d | low/+@d | @a/+@d | ops/+@a | ops/+@d - ops/+@e | ops/+@d - ops/+@d
        @d/@d<tok | @d(@e)/@d<tok | @d/@d<tuk | @d/@d<slow | @d/@d<*sec | @d/@d<*other | @d/@e<tok | @a/@d<tok
        @d/@d<tok - @e/@e<tok | @d/@d<*sec - @e/@e<*sec | ops/days=3 - @d/@d<tok | low/@d<tok | @d<tok
        ops/-%tok | low/-%tok | ops/-%slow | ops/-%none | ops/-%tok - @d/@d<tok | -%tok - %tok | %tok
        ops/~@c | low/~@c | @c/~@c | @a/~@c | ops/~@a | ops/~@d | ops/~@c - @c/@c^ | @c/@c^
        ops/-@a | ops/-@c | low/-@a | @a/-@a | ops/-@a - ops/-@b | ops/-@a - -@b | ops/-@a - +@a | ops/-@d
        ops/-@a - ops/~@c - ops/-@b | ops/-@a - @a/@a^ | -@a - @d/@d<tok | ops/-@a - ops/+@d
        @a/@a^ | @b/@a^ | ops/@a^ | root/@a^ | @a^ | @a/@a^ - @a/@a:7434 | @a/@a^ - @a/@a^ | @d/@d^
        @a/@a:7434 | @b/@a:7434 | ops/@a:7434 | low/@a:7434 | @a/@a:7434 - @a/@a:7433 | ops/@d:7434
        ops/*other | low/*other | ops/*sec | ops/* | ops/* - ops/* | ops/*other - @d/@d<*sec | ops/* - @d/@d<*sec
        ops/*other - @d/@d<*other | ops/store=managed | @a/store=managed | low/store=embedded | store=managed
        ops/store=managed - ops/store=managed
    ";
    compare_steps(begin, steps);
}
