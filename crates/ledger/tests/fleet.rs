//! The store, the inventory of certificates, the CA that signs, and alerts: what is refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod common;

use std::collections::BTreeMap;

use common::{
    EXPIRES, World, address, alert, cluster_key, issued, join, node, node_id, public, uid, verifier,
};
use palisade_ledger::{
    AlertTarget, Author, CertificateKind, Change, Guard, Hash, ImportedUser, Issued, Millis,
    NewAlert, Privileges, Refusal, StoreConfig, limits, sign, verify,
};

fn issue(certificate: Issued) -> Change {
    Change::CertificateIssued { certificate }
}

// --- Certificates ---

#[test]
fn a_serial_number_is_given_once() {
    let mut world = World::with_nodes();
    let taken = Err(Refusal::SerialTaken);
    let by = |world: &World, serial: &[u8]| {
        let change = issue(issued(serial));
        world.tries("node 1", change).map(drop)
    };
    assert_eq!(by(&world, &[0x51]), taken);
    world.does(
        "root",
        Change::CertificateRevoke {
            serial: vec![0x52],
            reason: String::new(),
        },
    );
    // A certificate that was revoked before anybody heard of it is not brought to life by its entry.
    assert_eq!(by(&world, &[0x52]), taken);
    assert_eq!(by(&world, &[0x53]), Ok(()));
    for bad in [&[][..], &[0, 0x53], &[1; 21]] {
        assert!(matches!(by(&world, bad), Err(Refusal::Bounds { .. })));
    }
}

#[test]
fn the_inventory_names_what_there_is() {
    let world = World::with_nodes();
    let other = |change: &dyn Fn(&mut Issued)| {
        let mut certificate = issued(&[0x60]);
        change(&mut certificate);
        world.tries("node 1", issue(certificate)).map(drop)
    };
    assert_eq!(other(&|_| {}), Ok(()));
    assert_eq!(
        other(&|c| c.holder = Some(node_id(9))),
        Err(Refusal::NoNode(node_id(9)))
    );
    assert_eq!(
        other(&|c| c.holder = Some(node_id(3))),
        Err(Refusal::NodePending(node_id(3)))
    );
    assert_eq!(
        other(&|c| c.by = Some(uid(9))),
        Err(Refusal::NoUser(uid(9)))
    );
    assert_eq!(other(&|c| c.by = Some(uid(2))), Ok(()));
    let foreign = Hash::of(b"another CA");
    assert!(other(&|c| c.issuer = foreign).is_err());
    // The root signs issuing CAs, and is no entry.
    let rooted = other(&|c| {
        c.issuer = foreign;
        c.kind = CertificateKind::IssuingCa;
    });
    assert_eq!(rooted, Ok(()));
    for (subject, good) in [
        ("", false),
        ("a\u{7}b", false),
        (&*"x".repeat(257), false),
        (&*"x".repeat(256), true),
    ] {
        assert_eq!(other(&|c| c.subject = subject.to_owned()).is_ok(), good);
    }
    let entry = world.state.time().0 + 1000;
    let (leaf, end) = (entry + limits::MAX_LEAF_MILLIS, limits::MAX_TIME_MILLIS);
    assert_eq!(other(&|c| c.until = Millis(leaf)), Ok(()));
    assert!(other(&|c| c.until = Millis(leaf + 1)).is_err());
    for (until, good) in [(end, true), (end + 1, false)] {
        let rooted = other(&|c| {
            c.until = Millis(until);
            c.kind = CertificateKind::IssuingCa;
        });
        assert_eq!(rooted.is_ok(), good);
    }
    // A node says for whom; what is nobody's would outlive the node that made it up.
    let of = |holder, by| {
        other(&|c| {
            c.holder = holder;
            c.by = by;
        })
    };
    assert!(matches!(of(None, None), Err(Refusal::Nothing(_))));
    assert_eq!(of(None, Some(uid(2))), Ok(()));
    let certificate = Issued {
        holder: None,
        ..issued(&[0x60])
    };
    assert!(world.tries("root", issue(certificate)).is_ok());
}

#[test]
fn a_node_holds_so_many_good_certificates_and_no_more() {
    let mut world = World::with_nodes();
    let of = |number: usize, until: Millis| {
        issue(Issued {
            holder: Some(node_id(1)),
            until,
            ..issued(&[0x70, u8::try_from(number).unwrap()])
        })
    };
    // Those that are past do not count.
    let now = Millis(world.state.time().0 + 1);
    for number in 0..4 {
        world.does("node 1", of(number, now));
    }
    for number in 4..limits::MAX_HELD + 4 {
        world.does("node 2", of(number, EXPIRES));
    }
    let more = of(100, EXPIRES);
    for author in ["node 1", "node 2", "root"] {
        let refused = world.tries(author, more.clone());
        assert!(matches!(refused, Err(Refusal::Bounds { .. })), "{author}");
    }
    // Another node's are not touched; one that is revoked makes room, and so does a CA that is gone.
    assert!(world.tries("node 1", issue(issued(&[0x60]))).is_ok());
    let mut other = world.clone();
    world.does(
        "root",
        Change::CertificateRevoke {
            serial: vec![0x70, 5],
            reason: String::new(),
        },
    );
    assert!(world.tries("node 1", more.clone()).is_ok());
    let second = vec![0x30, 0x01, 0x00];
    let issuer = Hash::of(&second);
    other.force(Change::IssuingCaAdd {
        certificate: second,
    });
    other.force(Change::IssuingCaRemove {
        certificate: Hash::of(&[0x30, 0x00]),
    });
    let Change::CertificateIssued { certificate } = more else {
        panic!("a certificate")
    };
    let renewed = Issued {
        issuer,
        ..certificate
    };
    assert!(other.tries("node 1", issue(renewed)).is_ok());
}

// --- Certificates in a user's name ---

/// One of each kind under this name, and one of another's.
fn in_the_name(world: &mut World, name: &str, first: u8) {
    let kinds = [
        CertificateKind::Server,
        CertificateKind::Store,
        CertificateKind::User,
        CertificateKind::Service,
        CertificateKind::Tool,
    ];
    for (serial, kind) in (first..).zip(kinds) {
        let subject = match kind {
            CertificateKind::Service => format!("{name}, db.example.com"),
            _ => name.to_owned(),
        };
        let certificate = Issued {
            subject,
            kind,
            ..issued(&[serial])
        };
        world.does("node 1", issue(certificate));
    }
    let near = Issued {
        subject: format!("{name}2"),
        kind: CertificateKind::User,
        ..issued(&[first + 5])
    };
    world.does("node 1", issue(near));
}

fn revoked(world: &World, first: u8) -> Vec<u8> {
    let all = (0..6).filter(|at| world.state.is_revoked(&[first + at]));
    all.collect()
}

/// Who has `system` may make a certificate for a tool; not one by which it logs in as a user who comes
/// later.
#[test]
fn a_certificate_from_before_its_user_is_not_his() {
    let mut world = World::with_nodes();
    in_the_name(&mut world, "bob", 0x60);
    assert!(revoked(&world, 0x60).is_empty());
    let bob = common::user(9, "bob", Privileges::NONE);
    world.does("root", Change::UserAdd { user: bob });
    assert_eq!(revoked(&world, 0x60), [2, 3, 4]);
    in_the_name(&mut world, "carol", 0x70);
    let carol = common::imported(10, "carol", Privileges::NONE);
    world.force(Change::UserImport {
        user: carol.clone(),
    });
    assert_eq!(revoked(&world, 0x70), [2, 3, 4]);
    // What he is given as a user is his, whatever the file says of him again.
    in_the_name(&mut world, "carol", 0x90);
    world.force(Change::UserImport { user: carol });
    assert!(revoked(&world, 0x90).is_empty());
}

#[test]
fn a_removed_users_certificates_are_not_his_namesakes() {
    let mut world = World::with_nodes();
    in_the_name(&mut world, "target", 0x60);
    world.does("root", Change::UserRemove { uid: uid(2) });
    assert_eq!(revoked(&world, 0x60), [2, 3, 4]);
    let reason = |world: &World| {
        let mut all = world.state.revocations();
        all.find(|(serial, _)| *serial == [0x62]).unwrap().1.clone()
    };
    assert_eq!(reason(&world).reason, "the user was removed");
    assert_eq!(reason(&world).at, world.state.time());
    let heir = common::user(9, "target", Privileges::NONE);
    world.does("root", Change::UserAdd { user: heir });
    assert_eq!(reason(&world).reason, "the user was removed");
    let folded = common::fold(&world.log, &cluster_key().public()).unwrap();
    assert_eq!(folded, world.state);
}

/// A thief of a key who made himself a certificate loses both.
#[test]
fn a_users_new_key_revokes_what_the_old_one_asked_for() {
    let mut world = World::with_nodes();
    in_the_name(&mut world, "target", 0x60);
    let key = |name: &str| Change::UserKey {
        uid: uid(2),
        public_key: common::public(name),
    };
    world.does("target", key("target"));
    assert!(revoked(&world, 0x60).is_empty());
    world.does("target", key("target again"));
    assert_eq!(revoked(&world, 0x60), [2]);
    // The file's new key is one as well.
    let read = ImportedUser {
        public_key: common::public("target of the file"),
        ..common::imported(2, "target", Privileges::NONE)
    };
    in_the_name(&mut world, "target", 0x70);
    world.force(Change::UserImport { user: read });
    assert_eq!(revoked(&world, 0x70), [2]);
}

/// An entry's time is its author's word: who writes to a shared store behind the daemons' backs could
/// set it to the year 9999, and would bring back to life what is dropped when it is past.
#[test]
fn a_time_that_runs_ahead_brings_no_certificate_back_to_life() {
    let mut world = World::with_nodes();
    world.does("node 1", issue(issued(&[0x61])));
    world.does(
        "root",
        Change::CertificateRevoke {
            serial: vec![0x61],
            reason: "lost".to_owned(),
        },
    );
    let ahead = |world: &mut World, change: Change| {
        let mut entry = world.next(Author::User(uid(2)), change);
        entry.time = Millis(limits::MAX_TIME_MILLIS);
        let bytes = sign(&entry, &common::key("target")).unwrap();
        let verified = verify(&world.state, &bytes).unwrap();
        assert!(verified.is_ahead_of(EXPIRES));
        world.apply(&verified);
    };
    ahead(
        &mut world,
        Change::UserPassword {
            uid: uid(2),
            verifier: None,
        },
    );
    assert!(world.state.is_revoked(&[0x61]));
    // What is not revoked yet is still known, and goes with its node.
    world.force(Change::NodeRemove { id: node_id(2) });
    assert!(world.state.is_revoked(&[0x51]));
    assert_eq!(world.state.revocations().len(), 2);
}

// --- The CA that signs ---

#[test]
fn a_new_ca_signs_nothing_until_it_is_activated() {
    let mut world = World::with_nodes();
    let (old, new) = (vec![0x30, 0x00], vec![0x30, 0x01, 0x00]);
    let activate = |der: &[u8]| Change::IssuingCaActivate {
        certificate: Hash::of(der),
    };
    assert_eq!(world.state.active_ca(), Some(&old[..]));
    let unknown = world.tries("root", activate(&new));
    assert!(matches!(unknown, Err(Refusal::Nothing(_))));
    world.does(
        "root",
        Change::IssuingCaAdd {
            certificate: new.clone(),
        },
    );
    assert_eq!(world.state.active_ca(), Some(&old[..]));
    world.does("root", activate(&new));
    assert_eq!(world.state.active_ca(), Some(&new[..]));
    let again = world.tries("root", activate(&new));
    assert!(matches!(again, Err(Refusal::Nothing(_))));
    // Back, and the one that signs taken away.
    world.does("root", activate(&old));
    assert_eq!(world.state.active_ca(), Some(&old[..]));
    world.force(Change::IssuingCaRemove {
        certificate: Hash::of(&old),
    });
    assert_eq!(world.state.active_ca(), Some(&new[..]));
    assert_eq!(World::new().state.active_ca(), None);
}

/// A CA is removed when its key may be in a thief's hands: who has `system` does not bring it back.
#[test]
fn a_removed_ca_never_comes_back() {
    let mut world = World::with_nodes();
    let (first, second) = (vec![0x30, 0x00], vec![0x30, 0x01, 0x00]);
    let add = |certificate: &[u8]| Change::IssuingCaAdd {
        certificate: certificate.to_vec(),
    };
    world.does("root", add(&second));
    world.force(Change::IssuingCaRemove {
        certificate: Hash::of(&first),
    });
    assert!(world.state.was_ca_removed(&Hash::of(&first)));
    assert!(!world.state.was_ca_removed(&Hash::of(&second)));
    let again = world.tries("root", add(&first)).unwrap_err();
    assert_eq!(again, Refusal::CaRemoved);
    let again = world.attempt(Author::Cluster, &cluster_key(), add(&first));
    assert_eq!(again.unwrap_err(), Refusal::CaRemoved);
    assert_eq!(world.state.active_ca(), Some(&second[..]));
}

// --- The store ---

#[test]
fn the_store_is_reached_by_tls_alone() {
    let mut world = World::with_nodes();
    assert_eq!(world.state.store(), &StoreConfig::Embedded);
    assert_eq!(world.state.store_entry(), 0);
    let set = |urls: &[String]| Change::StoreSet {
        store: StoreConfig::Endpoints(urls.to_vec()),
    };
    for bad in [
        "http://etcd1:2379",
        "etcd1:2379",
        "https://etcd1",
        "https://ETCD1:2379",
        "HTTPS://etcd1:2379",
        "https://etcd1:2379/",
        "https://root@etcd1:2379",
        "https://etcd1:0",
        "unix:///run/etcd",
        "",
    ] {
        let result = world.tries("root", set(&[bad.to_owned()]));
        assert!(matches!(result, Err(Refusal::Text { .. })), "{bad}");
    }
    let url = |number: usize| format!("https://etcd{number}:2379");
    let many = |count: usize| (0..count).map(url).collect::<Vec<_>>();
    for (count, good) in [
        (0, false),
        (1, true),
        (limits::MAX_ENDPOINTS, true),
        (limits::MAX_ENDPOINTS + 1, false),
    ] {
        assert_eq!(world.tries("root", set(&many(count))).is_ok(), good);
    }
    assert!(world.tries("root", set(&[url(1), url(1)])).is_err());
    world.does("root", set(&many(3)));
    assert_eq!(world.state.store(), &StoreConfig::Endpoints(many(3)));
    assert_eq!(world.state.store_entry(), world.state.head().seq);
}

/// What `author` says is sound, and is refused where it is new for this reason; written straight into
/// a shared store it changes nothing.
fn is_without_effect(world: &World, author: &str, change: Change, reason: Refusal) {
    let mut world = world.clone();
    let verified = if author == "cluster" {
        world.attempt(Author::Cluster, &cluster_key(), change)
    } else {
        world.tries(author, change)
    };
    let verified = verified.unwrap();
    assert_eq!(verified.check_effect(&world.state), Err(reason));
    let before = world.state.clone();
    world.apply(&verified);
    let (store, entry) = (world.state.store(), world.state.store_entry());
    assert_eq!((store, entry), (before.store(), before.store_entry()));
    assert!(world.state.issuing_cas().eq(before.issuing_cas()));
}

/// Who chooses where the ledger is kept can keep every entry from it, his own removal too.
#[test]
fn a_superuser_alone_moves_the_ledger() {
    let mut world = World::with_nodes();
    world.does(
        "root",
        Change::UserSet {
            uid: uid(2),
            superuser: None,
            default_privileges: Some(Privileges::ALL),
        },
    );
    let set = |store| Change::StoreSet { store };
    let elsewhere = StoreConfig::Endpoints(vec!["https://etcd.example.net:2379".to_owned()]);
    let own = || Refusal::Store(palisade_ledger::UserName::new("target").unwrap());
    is_without_effect(&world, "target", set(elsewhere.clone()), own());
    is_without_effect(&world, "target", set(StoreConfig::Managed), own());
    world.does("root", set(elsewhere.clone()));
    assert_eq!(world.state.store(), &elsewhere);
    // Nobody would found an etcd of the nodes' own, and nothing could be appended any more.
    is_without_effect(&world, "target", set(StoreConfig::Managed), own());
    is_without_effect(&world, "target", set(StoreConfig::Embedded), own());
    let superuser = world.tries("root", set(StoreConfig::Managed)).unwrap();
    assert_eq!(superuser.check_effect(&world.state), Ok(()));
    let mut rescued = World::with_nodes();
    rescued.force(set(elsewhere.clone()));
    assert_eq!(rescued.state.store(), &elsewhere);
}

/// Each node would go on by itself: who is disabled on one would log in on the others.
#[test]
fn the_ledger_lies_on_one_node_only_when_there_is_one() {
    let mut world = World::with_nodes();
    let set = |store| Change::StoreSet { store };
    world.force(set(StoreConfig::Managed));
    let split = set(StoreConfig::Embedded);
    for author in ["root", "cluster"] {
        is_without_effect(&world, author, split.clone(), Refusal::Shared(3));
    }
    world.does("root", Change::NodeRemove { id: node_id(2) });
    // Node 3 waits for approval, and would be a member then.
    is_without_effect(&world, "root", split.clone(), Refusal::Shared(2));
    world.does("root", Change::NodeRemove { id: node_id(3) });
    let alone = world.tries("root", split).unwrap();
    assert_eq!(alone.check_effect(&world.state), Ok(()));
    world.apply(&alone);
    assert_eq!(world.state.store(), &StoreConfig::Embedded);
    // And so it stays: a node that comes finds the ledger shared, or is refused.
    let add = |number| Change::NodeAdd { node: node(number) };
    let by_cluster = |world: &World| world.attempt(Author::Cluster, &cluster_key(), add(5));
    for second in [
        world.tries("root", add(5)),
        world.tries("node 5", join(node(5), "open")),
        by_cluster(&world),
    ] {
        let news = second.unwrap().check_news(&world.state);
        assert_eq!(news, Err(Refusal::NotShared));
    }
    world.force(set(StoreConfig::Managed));
    let second = world.tries("root", add(5)).unwrap();
    assert_eq!(second.check_news(&world.state), Ok(()));
}

/// Before anybody said where the ledger is kept, the first node keeps it, or shares it by its
/// configuration: that is for the holder of the cluster key to know.
#[test]
fn a_second_node_finds_the_ledger_shared() {
    let world = World::peopled();
    let add = |number| Change::NodeAdd { node: node(number) };
    let first = world.tries("root", add(1)).unwrap();
    assert_eq!(first.check_news(&world.state), Ok(()));
    let world = World::with_nodes();
    let more = world.tries("root", add(5)).unwrap();
    assert_eq!(more.check_news(&world.state), Err(Refusal::NotShared));
    let more = world.attempt(Author::Cluster, &cluster_key(), add(5));
    assert_eq!(more.unwrap().check_news(&world.state), Ok(()));
}

/// A new entry that changes nothing fills the ledger and says nothing.
#[test]
fn what_changes_nothing_about_oneself_is_no_news() {
    let mut world = World::with_nodes();
    let refused = |world: &World, author: &str, change: Change| {
        let verified = world.tries(author, change).unwrap();
        let news = verified.check_news(&world.state);
        assert!(matches!(news, Err(Refusal::Nothing(_))), "{news:?}");
    };
    let password = |verifier| Change::UserPassword {
        uid: uid(2),
        verifier,
    };
    refused(&world, "target", password(None));
    world.does("target", password(Some(verifier())));
    refused(&world, "target", password(Some(verifier())));
    let key = |name| Change::UserKey {
        uid: uid(2),
        public_key: public(name),
    };
    refused(&world, "target", key("target"));
    let other = world.tries("target", key("another")).unwrap();
    assert_eq!(other.check_news(&world.state), Ok(()));
    let node = world.state.node(node_id(2)).unwrap().clone();
    let set = |address, hosts, store| Change::NodeSet {
        id: node_id(2),
        address,
        hosts,
        store,
    };
    let all = set(
        Some(node.address.clone()),
        Some(node.hosts.clone()),
        node.store.clone(),
    );
    refused(&world, "node 2", all);
    refused(&world, "root", set(Some(node.address.clone()), None, None));
    refused(&world, "node 2", set(None, None, node.store));
    let fewer = set(None, Some(Vec::new()), None);
    let fewer = world.tries("node 2", fewer).unwrap();
    assert_eq!(fewer.check_news(&world.state), Ok(()));
}

/// Without a CA that signs, every certificate log-in ends, and no revocation list can be made.
#[test]
fn the_ca_that_signs_is_removed_by_the_cluster_key_alone() {
    let mut world = World::with_nodes();
    let first = world.state.active_ca().unwrap().to_vec();
    let remove = |der: &[u8]| Change::IssuingCaRemove {
        certificate: Hash::of(der),
    };
    let guarded = || Refusal::Guard(Guard::ActiveCa);
    is_without_effect(&world, "root", remove(&first), guarded());
    // Nor by way of another one.
    let second = vec![0x30, 0x01, 0x00];
    world.does(
        "root",
        Change::IssuingCaAdd {
            certificate: second.clone(),
        },
    );
    is_without_effect(&world, "root", remove(&first), guarded());
    world.does(
        "root",
        Change::IssuingCaActivate {
            certificate: Hash::of(&second),
        },
    );
    is_without_effect(&world, "root", remove(&second), guarded());
    let old = world.tries("root", remove(&first)).unwrap();
    assert_eq!(old.check_effect(&world.state), Ok(()));
    world.apply(&old);
    assert!(world.state.was_ca_removed(&Hash::of(&first)));
    is_without_effect(&world, "root", remove(&second), guarded());
    world.force(remove(&second));
    assert_eq!(world.state.active_ca(), None);
}

// --- Alerts ---

fn with_target(target: AlertTarget) -> Change {
    Change::AlertAdd {
        alert: NewAlert {
            target,
            ..alert("new")
        },
    }
}

#[test]
fn a_webhook_goes_over_tls_and_its_url_has_no_password() {
    let world = World::with_nodes();
    let good = |url: &str| {
        let url = url.to_owned();
        world
            .tries("root", with_target(AlertTarget::Webhook { url }))
            .is_ok()
    };
    for url in [
        "https://hooks.example.com/a?b=c#d",
        "https://hooks.example.com",
        "https://Hooks.Example.com:8443/x@y",
        "https://[2001:db8::1]/",
        "http://localhost:9000/hook",
        "http://127.0.0.1/hook",
        "http://[::1]:9000",
    ] {
        assert!(good(url), "{url}");
    }
    for url in [
        "",
        "hooks.example.com",
        "http://hooks.example.com/",
        "http://10.0.0.1/",
        "http://localhost.example.com/",
        "http://localhost@hooks.example.com/",
        "https://user:password@hooks.example.com/",
        "https://hooks.example.com\\@localhost/",
        "https://",
        "https:///path",
        "https://hooks.example.com:0/",
        "https://hooks.example.com:port/",
        "https://a b/",
        "https://hooks.example.com/\n",
        "https://h\u{f6}oks.example.com/",
        "file:///etc/passwd",
        "javascript://hooks.example.com/",
    ] {
        assert!(!good(url), "{url}");
    }
    let long = format!("https://a/{}", "x".repeat(limits::MAX_URL_BYTES - 10));
    assert!(good(&long) && !good(&format!("{long}x")));
}

/// What stands in a mail address goes into SMTP commands as it is.
#[test]
fn a_mail_address_holds_no_second_command() {
    let world = World::with_nodes();
    let attempt = |from: &str, to: &[String], user: Option<&str>| {
        let target = AlertTarget::Smtp {
            server: address("mail.example.com:465"),
            from: from.to_owned(),
            to: to.to_vec(),
            user: user.map(str::to_owned),
        };
        world.tries("root", with_target(target)).is_ok()
    };
    let one = ["a@example.com".to_owned()];
    assert!(attempt("p@example.com", &one, Some("palisade")));
    for bad in [
        "",
        "a",
        "@b",
        "a@",
        "a b@c",
        "a@b>\r\nRCPT TO:<c@d",
        "<a@b>",
        "a@b,c@d",
        "\"a\"@b",
    ] {
        assert!(!attempt(bad, &one, None), "{bad}");
        assert!(!attempt("p@example.com", &[bad.to_owned()], None), "{bad}");
    }
    let many = |count: usize| {
        let each = (0..count).map(|number| format!("a{number}@example.com"));
        each.collect::<Vec<_>>()
    };
    for (count, good) in [
        (0, false),
        (limits::MAX_RECIPIENTS, true),
        (limits::MAX_RECIPIENTS + 1, false),
    ] {
        assert_eq!(attempt("p@example.com", &many(count), None), good);
    }
    assert!(!attempt("p@example.com", &[&one[..], &one].concat(), None));
    for user in ["", "a\nb", &"x".repeat(257)] {
        assert!(!attempt("p@example.com", &one, Some(user)));
    }
}

#[test]
fn alerts_have_names_and_secrets_in_their_bounds() {
    let mut world = World::with_nodes();
    let named = |name: &str| Change::AlertAdd { alert: alert(name) };
    for (name, good) in [
        ("a", true),
        ("on-call_2", true),
        (&*"x".repeat(63), true),
        (&*"x".repeat(64), false),
        ("", false),
        ("On", false),
        ("a b", false),
        ("../x", false),
        ("\u{e4}", false),
    ] {
        assert_eq!(world.tries("root", named(name)).is_ok(), good, "{name}");
        let command = AlertTarget::Command {
            name: name.to_owned(),
        };
        let result = world.tries("root", with_target(command));
        assert_eq!(result.is_ok(), good, "{name}");
    }
    let taken = world.tries("root", named("ops"));
    assert_eq!(taken.unwrap_err(), Refusal::AlertTaken("ops".to_owned()));
    let none = Change::AlertRemove {
        name: "none".to_owned(),
    };
    assert!(matches!(
        world.tries("root", none),
        Err(Refusal::NoAlert(_))
    ));
    let sealed = |number: u32, bytes: usize| Change::AlertAdd {
        alert: NewAlert {
            sealed: BTreeMap::from([(node_id(number), vec![0; bytes])]),
            ..alert("new")
        },
    };
    for (number, bytes, good) in [
        (1, limits::MAX_SEALED_BYTES, true),
        (1, limits::MAX_SEALED_BYTES + 1, false),
        (1, 0, false),
        (4, 80, false),
        (9, 80, false),
    ] {
        let result = world.tries("root", sealed(number, bytes));
        assert_eq!(result.is_ok(), good, "{number}, {bytes}: {result:?}");
    }
    for number in 1..limits::MAX_ALERTS {
        world.force(named(&format!("a{number}")));
    }
    let result = world.attempt(Author::Cluster, &cluster_key(), named("more"));
    assert!(matches!(result, Err(Refusal::Bounds { .. })));
}

/// What people and logs are shown tells no secret: of what is sealed, the size alone.
#[test]
fn what_is_sealed_is_not_shown() {
    let shown = serde_json::to_string(&Change::AlertAdd {
        alert: alert("ops"),
    })
    .unwrap();
    assert!(shown.contains(r#""sealed":{"1":80,"2":80}"#), "{shown}");
}
