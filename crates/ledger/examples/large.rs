//! What a large cluster's ledger costs: how long a node takes to read, verify and fold it at its
//! start, how much memory the state takes, and what one more entry costs.
//!
//! ```text
//! cargo run --release -p palisade-ledger --example large [USERS] [NODES]
//! ```
//!
//! Draws a ledger of USERS users (100,000) with a key and a password each, half of them with an
//! exception on one of 1,000 tables, and of NODES nodes (1,000) with two certificates each, into a file,
//! and reads it in another process, so that nothing but the reading is measured.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement run by hand"
)]

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use palisade_keys::{PublicKey, ScramVerifier, SecretKey};
use palisade_ledger::{
    Author, CertificateKind, Change, Entry, Hash, Head, Issued, Millis, NewNode, NewUser, NodeId,
    ObjectName, Privileges, State, Uid, UserName, sign, split, verify, verify_genesis,
};
use palisade_testkit::chain;

/// Entries that are appended to the large state, each by itself.
const APPENDS: u32 = 2000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, file] = arguments.as_slice()
        && mode == "--read"
    {
        return read(Path::new(file));
    }
    let mut numbers = arguments.iter().map(|text| text.parse().unwrap());
    let users = numbers.next().unwrap_or(100_000);
    let nodes = numbers.next().unwrap_or(1000);
    let dir = palisade_testkit::temp_dir().unwrap();
    let file = dir.path().join("ledger.cbor");
    draw(&file, users, nodes);
    println!("users, nodes   {users}, {nodes}");
    let itself = std::env::current_exe().unwrap();
    let status = std::process::Command::new(itself)
        .arg("--read")
        .arg(&file)
        .status()
        .unwrap();
    assert!(status.success());
}

struct Book {
    out: std::io::BufWriter<std::fs::File>,
    head: Head,
    next: u64,
}

impl Book {
    fn add(&mut self, author: Author, signer: &SecretKey, change: Change) {
        let entry = Entry {
            seq: self.next,
            prev: self.head.hash,
            time: Millis(chain::BEGIN.0 + self.next),
            author,
            change,
        };
        let bytes = sign(&entry, signer).unwrap();
        self.out.write_all(&bytes).unwrap();
        self.head = Head {
            seq: self.next,
            hash: Hash::of(&bytes),
        };
        self.next += 1;
    }
}

fn cluster() -> SecretKey {
    chain::key("cluster main", 0).unwrap()
}

fn uid(number: u32) -> Uid {
    Uid::new(number).unwrap()
}

/// A sound key that nobody has the other half of, and of each number another.
fn public(kind: u8, number: u32) -> PublicKey {
    let mut bytes = [kind; 32];
    for (byte, of) in bytes
        .iter_mut()
        .zip(number.wrapping_mul(0x9e37_79b1).to_be_bytes())
    {
        *byte = of;
    }
    PublicKey::from_bytes(bytes)
}

fn user(number: u32) -> NewUser {
    let root = number == 1;
    NewUser {
        uid: uid(number),
        name: UserName::new(format!("user{number}")).unwrap(),
        disabled: false,
        superuser: root,
        default_privileges: Privileges::SELECT,
        public_key: Some(if root {
            chain::key("root", 0).unwrap().public()
        } else {
            public(7, number)
        }),
        password: ScramVerifier::from_parts(4096, vec![7; 16], [8; 32], [9; 32]).ok(),
    }
}

fn draw(file: &Path, users: u32, nodes: u32) {
    let root = chain::key("root", 0).unwrap();
    let author = Author::User(uid(1));
    let mut book = Book {
        out: std::io::BufWriter::new(std::fs::File::create(file).unwrap()),
        head: Head {
            seq: 0,
            hash: Hash::ZERO,
        },
        next: 0,
    };
    let genesis = Change::Genesis {
        cluster: "main".to_owned(),
        database: "main".to_owned(),
        key: cluster().public(),
    };
    let certificate = vec![0x30; 400];
    let issuer = Hash::of(&certificate);
    for change in [
        genesis,
        Change::UserAdd { user: user(1) },
        Change::IssuingCaAdd { certificate },
    ] {
        book.add(Author::Cluster, &cluster(), change);
    }
    for number in 2..=users {
        book.add(author, &root, Change::UserAdd { user: user(number) });
        if number.is_multiple_of(2) {
            book.add(author, &root, exception(number));
        }
    }
    for number in 1..=nodes {
        let id = NodeId::new(number).unwrap();
        let name = format!("node{number}.example.com");
        let node = NewNode {
            id,
            key: public(11, number),
            seal: [9; 32],
            address: format!("{name}:7433").parse().unwrap(),
            hosts: vec![format!("db{number}.example.com")],
            store: None,
        };
        book.add(author, &root, Change::NodeAdd { node });
        for kind in [CertificateKind::Server, CertificateKind::Store] {
            let mut serial = vec![1, kind as u8];
            serial.extend(number.to_be_bytes());
            let certificate = Issued {
                serial,
                subject: name.clone(),
                kind,
                holder: Some(id),
                issuer,
                until: Millis(chain::BEGIN.0 + 90 * 24 * 60 * 60 * 1000),
                by: None,
            };
            book.add(author, &root, Change::CertificateIssued { certificate });
        }
    }
    book.out.flush().unwrap();
}

fn exception(number: u32) -> Change {
    Change::AclSet {
        object: ObjectName::relation("public", format!("table{}", number % 1000)).unwrap(),
        uid: uid(number),
        privileges: Privileges::SELECT | Privileges::INSERT,
    }
}

fn read(file: &Path) {
    let (before, _) = memory();
    let begin = Instant::now();
    let bytes = std::fs::read(file).unwrap();
    let size = bytes.len();
    let (state, count) = fold(&bytes);
    let took = begin.elapsed();
    drop(bytes);
    let (resident, highest) = memory();
    println!("entries        {count}, {} MB", size / 1_000_000);
    println!("read + verify + fold   {:.2} s", took.as_secs_f64());
    println!(
        "memory         {:.0} MB resident ({:.0} MB before), {:.0} MB at most, the whole file read at once",
        megabytes(resident),
        megabytes(before),
        megabytes(highest)
    );
    append(state);
    copies(file);
}

fn fold(bytes: &[u8]) -> (State, usize) {
    let log = split(bytes).unwrap();
    let (genesis, rest) = log.split_first().unwrap();
    let (mut state, _) = verify_genesis(genesis, &cluster().public()).unwrap();
    for bytes in rest {
        let verified = verify(&state, bytes).unwrap();
        state.apply(&verified).unwrap();
    }
    (state, log.len())
}

/// What a daemon does for one entry: a copy, verification against it, the change, and the old state
/// goes once the last reader dropped it.
fn append(mut state: State) {
    let root = chain::key("root", 0).unwrap();
    let (mut whole, mut copying) = (Vec::new(), Vec::new());
    for number in 0..APPENDS {
        // Somewhere else each time, so that nothing is near.
        let number = 2 + number.wrapping_mul(0x9e37_79b1) % 99_000;
        let change = match number % 3 {
            0 => Change::UserDisabled {
                uid: uid(number),
                disabled: true,
            },
            1 => exception(number),
            _ => Change::UserAdd {
                user: NewUser {
                    public_key: Some(public(13, number)),
                    ..user(10_000_000 + number)
                },
            },
        };
        if let Change::UserAdd { user } = &change
            && state.user(user.uid).is_some()
        {
            continue;
        }
        let head = state.head();
        let entry = Entry {
            seq: head.seq + 1,
            prev: head.hash,
            time: state.time(),
            author: Author::User(uid(1)),
            change,
        };
        let bytes = sign(&entry, &root).unwrap();
        let begin = Instant::now();
        let mut next = state.clone();
        copying.push(begin.elapsed());
        let verified = verify(&next, &bytes).unwrap();
        next.apply(&verified).unwrap();
        drop(std::mem::replace(&mut state, next));
        whole.push(begin.elapsed());
    }
    show("append", &mut whole);
    show("  of it the copy", &mut copying);
}

/// The same users in a map that is copied whole.
fn copies(file: &Path) {
    let (state, _) = fold(&std::fs::read(file).unwrap());
    let whole: std::collections::BTreeMap<_, _> = state
        .users()
        .map(|user| (user.uid, std::sync::Arc::new(user.clone())))
        .collect();
    let mut times: Vec<_> = (0..20)
        .map(|_| {
            let begin = Instant::now();
            drop(std::hint::black_box(whole.clone()));
            begin.elapsed()
        })
        .collect();
    show("a BTreeMap of the users, copied", &mut times);
}

fn show(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).unwrap().as_secs_f64() * 1e6;
    println!("{what:<15} p50 {:.0} us, p99 {:.0} us", at(50), at(99));
}

fn megabytes(kilobytes: u64) -> f64 {
    f64::from(u32::try_from(kilobytes).unwrap()) * 1024.0 / 1e6
}

/// Kilobytes resident now and at most, as Linux counts them (proc(5), `VmRSS`, `VmHWM`).
fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next())
            .and_then(|number| number.parse().ok())
            .unwrap()
    };
    (field("VmRSS:"), field("VmHWM:"))
}
