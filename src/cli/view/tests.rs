//! Daemons that tell the truth, and daemons that don't.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};

use palisade_keys::{Credentials, SecretKey, Zeroizing};
use palisade_ledger::{Hash, Millis, NewUser, Privileges, UserName};

use super::*;

pub(super) fn key(byte: u8) -> SecretKey {
    SecretKey::from_seed(Zeroizing::new([byte; 32])).unwrap()
}

/// A key of this user's own.
fn own_key(uid: u32) -> SecretKey {
    let mut seed = [9; 32];
    seed[..4].copy_from_slice(&uid.to_be_bytes());
    SecretKey::from_seed(Zeroizing::new(seed)).unwrap()
}

fn user(uid: u32, name: &str, key: &SecretKey, superuser: bool) -> Change {
    Change::UserAdd {
        user: NewUser {
            uid: Uid::new(uid).unwrap(),
            name: UserName::new(name).unwrap(),
            disabled: false,
            superuser,
            default_privileges: Privileges::SELECT,
            public_key: Some(key.public()),
            password: None,
        },
    }
}

/// A chain under construction: `cluster` signs.
#[derive(Default)]
pub(super) struct Book(Vec<Vec<u8>>);

impl Book {
    pub(super) fn add(&mut self, change: Change) {
        let entry = Entry {
            seq: u64::try_from(self.0.len()).unwrap(),
            prev: self.0.last().map_or(Hash::ZERO, |bytes| Hash::of(bytes)),
            time: Millis(1),
            author: Author::Cluster,
            change,
        };
        self.0.push(sign(&entry, &key(1)).unwrap());
    }

    pub(super) fn begin() -> Self {
        let mut book = Self::default();
        book.add(Change::Genesis {
            cluster: "test".to_owned(),
            database: "main".to_owned(),
            key: key(1).public(),
        });
        book.add(user(1, "root", &key(2), true));
        book
    }

    /// What the entries fold to.
    pub(super) fn state(&self) -> State {
        let mut chain = Chain::new(key(1).public());
        chain.take(&self.0.concat(), &mut |_| Ok(())).unwrap();
        chain.finish().unwrap()
    }

    fn head(&self) -> String {
        let hash = Hash::of(self.0.last().unwrap());
        format!(
            "{{\"seq\":{},\"hash\":\"{hash}\",\"applied\":true}}",
            self.0.len() - 1
        )
    }
}

/// How the daemon deals with an entry that is sent to it.
type Post = Box<dyn FnMut(&mut Book, Vec<u8>) -> (u16, String) + Send>;

fn honest() -> Post {
    Box::new(|book, entry| {
        book.0.push(entry);
        (200, book.head())
    })
}

struct Fake {
    dir: tempfile::TempDir,
    book: Arc<Mutex<Book>>,
}

impl Fake {
    fn start(book: Book, mut post: Post) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join("cluster_public.key"),
            key(1).public().to_string(),
        )
        .unwrap();
        let listener = UnixListener::bind(dir.path().join("control.sock")).unwrap();
        let book = Arc::new(Mutex::new(book));
        let shared = book.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), &shared, &mut post);
            }
        });
        Self { dir, book }
    }

    fn args(&self) -> ClusterArgs {
        ClusterArgs {
            dir: Some(self.dir.path().to_path_buf()),
            ..ClusterArgs::default()
        }
    }

    fn len(&self) -> usize {
        self.book.lock().unwrap().0.len()
    }
}

fn serve(stream: UnixStream, book: &Mutex<Book>, post: &mut Post) {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    reader.read_line(&mut request).unwrap();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let header = header.trim().to_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let mut book = book.lock().unwrap();
    let (status, answer) = if request.starts_with("POST") {
        let (status, text) = post(&mut book, body);
        (status, text.into_bytes())
    } else {
        let from = request.split("from=").nth(1).unwrap();
        let from: usize = from.split(' ').next().unwrap().parse().unwrap();
        let end = book.0.len().min(from + PAGE);
        (200, book.0.get(from..end).unwrap_or_default().concat())
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n",
        answer.len()
    );
    let stream = reader.get_mut();
    stream
        .write_all(&[head.as_bytes(), &answer].concat())
        .unwrap();
}

pub(super) fn root() -> Signer {
    Signer::User(Credentials {
        username: "root".to_owned(),
        secret_key: key(2),
    })
}

#[expect(clippy::unnecessary_wraps, reason = "the form that `append` asks for")]
fn next_user(state: &State) -> Result<Change, CliError> {
    let next = state.next_uid().unwrap();
    Ok(user(
        next.get(),
        &format!("user{next}"),
        &own_key(next.get()),
        false,
    ))
}

pub(super) fn message<T>(result: Result<T, CliError>) -> String {
    result.err().unwrap().to_string()
}

#[test]
fn a_change_is_signed_taken_and_seen() {
    let fake = Fake::start(Book::begin(), honest());
    let mut view = View::open(&fake.args()).unwrap();
    view.append(&root(), &mut next_user).unwrap();
    assert!(view.user("user2").is_ok());
    assert!(View::open(&fake.args()).unwrap().user("user2").is_ok());
}

#[test]
fn a_ledger_of_many_pages_is_read_whole() {
    let mut book = Book::begin();
    for uid in 2..=u32::try_from(PAGE * 2).unwrap() {
        book.add(user(uid, &format!("user{uid}"), &own_key(uid), false));
    }
    // Genesis and the users: exactly one entry more than two pages.
    assert_eq!(book.0.len(), PAGE * 2 + 1);
    let fake = Fake::start(book, honest());
    let view = View::open(&fake.args()).unwrap();
    assert_eq!(view.state().users().len(), PAGE * 2);
}

#[test]
fn what_others_append_in_between_is_read_and_the_change_signed_again() {
    let mut others = 3;
    let post: Post = Box::new(move |book, entry| {
        if others > 0 {
            others -= 1;
            let uid = u32::try_from(book.0.len()).unwrap();
            book.add(user(uid, &format!("other{uid}"), &own_key(uid), false));
            return (409, "{\"error\":\"older head\",\"stale\":true}".to_owned());
        }
        book.0.push(entry);
        (200, book.head())
    });
    let fake = Fake::start(Book::begin(), post);
    let mut view = View::open(&fake.args()).unwrap();
    view.append(&root(), &mut next_user).unwrap();
    assert!(view.user("user5").is_ok());
    assert_eq!(fake.len(), 6);
}

#[test]
fn it_is_not_tried_for_ever() {
    let post: Post = Box::new(|book, _| {
        let uid = u32::try_from(book.0.len()).unwrap();
        book.add(user(uid, &format!("other{uid}"), &own_key(uid), false));
        (409, "{\"error\":\"older head\",\"stale\":true}".to_owned())
    });
    let fake = Fake::start(Book::begin(), post);
    let mut view = View::open(&fake.args()).unwrap();
    let error = message(view.append(&root(), &mut next_user));
    assert!(error.contains("16 times"), "{error}");
}

#[test]
fn a_forged_entry_is_found() {
    let mut book = Book::begin();
    // Whoever broke into the daemon makes himself a superuser, without a key that may.
    let entry = Entry {
        seq: 2,
        prev: Hash::of(&book.0[1]),
        time: Millis(2),
        author: Author::Cluster,
        change: user(2, "mallory", &key(6), true),
    };
    book.0.push(sign(&entry, &key(6)).unwrap());
    let fake = Fake::start(book, honest());
    let error = message(View::open(&fake.args()));
    assert!(error.contains("entry 2 does not verify"), "{error}");
}

#[test]
fn another_clusters_ledger_is_found() {
    let fake = Fake::start(Book::begin(), honest());
    let other = key(7).public().to_string();
    std::fs::write(fake.dir.path().join("cluster_public.key"), other).unwrap();
    let error = message(View::open(&fake.args()));
    assert!(error.contains("--cluster-public-key-file"), "{error}");
}

#[test]
fn a_change_that_was_swallowed_is_found() {
    for answer in [
        // "Taken", with the head that the change would have had no part in.
        "{\"seq\":2,\"hash\":\"00\",\"applied\":true}",
        "{\"seq\":1,\"hash\":\"00\",\"applied\":true}",
    ] {
        let fake = Fake::start(
            Book::begin(),
            Box::new(move |_, _| (200, answer.to_owned())),
        );
        let mut view = View::open(&fake.args()).unwrap();
        let error = message(view.append(&root(), &mut next_user));
        assert!(error.contains("does not have it"), "{error}");
    }
    // The daemon puts another entry in its place, and says that all is well.
    let post: Post = Box::new(|book, _| {
        book.add(user(2, "other", &own_key(2), false));
        book.add(user(3, "another", &own_key(3), false));
        (200, book.head())
    });
    let fake = Fake::start(Book::begin(), post);
    let mut view = View::open(&fake.args()).unwrap();
    let error = message(view.append(&root(), &mut next_user));
    assert!(error.contains("does not have it"), "{error}");
}

#[test]
fn who_may_not_is_refused_before_anything_is_sent() {
    let mut book = Book::begin();
    book.add(user(2, "reader", &key(3), false));
    let fake = Fake::start(book, honest());
    let reader = |secret_key| {
        Signer::User(Credentials {
            username: "reader".to_owned(),
            secret_key,
        })
    };
    let mut view = View::open(&fake.args()).unwrap();
    let error = message(view.append(&reader(key(3)), &mut next_user));
    assert!(error.contains("needs the privilege user_manage"), "{error}");
    let error = message(view.append(&reader(key(2)), &mut next_user));
    assert!(error.contains("not the key of user reader"), "{error}");
    let error = message(view.append(&Signer::Cluster(key(2)), &mut next_user));
    assert!(error.contains("not the cluster's"), "{error}");
    assert_eq!(fake.len(), 3);
}

#[test]
fn an_answer_that_is_no_ledger_is_no_answer() {
    let mut book = Book::begin();
    book.0.push(b"\x82\x01".to_vec());
    let fake = Fake::start(book, honest());
    let error = message(View::open(&fake.args()));
    assert!(error.contains("not a ledger"), "{error}");
    let fake = Fake::start(Book::default(), honest());
    let error = message(View::open(&fake.args()));
    assert!(error.contains("empty"), "{error}");
}
