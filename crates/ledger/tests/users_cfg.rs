//! users.cfg as an input of the ledger: "a daemon that holds the cluster private key appends, under the
//! cluster key's name, what the file says and the ledger lacks, at start and whenever the file changes. A
//! user missing from the file is left as the ledger has it, and shown."
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod common;

use common::{World, flags, key, public, uid, user, verifier};
use palisade_ledger::users_cfg::{Conflict, FileUser, UsersCfg};
use palisade_ledger::{Author, Change, Privileges, Refusal, UserName};

fn line(number: u32, name: &str, privileges: &str) -> FileUser {
    FileUser {
        uid: uid(number),
        username: UserName::new(name).unwrap(),
        disabled: false,
        superuser: false,
        default_privileges: flags(privileges),
        public_key: public(name),
    }
}

fn file(users: &[FileUser]) -> UsersCfg {
    let mut file = UsersCfg::default();
    for user in users {
        file.add(user.clone()).unwrap();
    }
    assert_eq!(UsersCfg::parse(&file.text()), Ok(file.clone()));
    file
}

/// What the daemon does; gives how many entries it took.
fn take_in(world: &mut World, file: &UsersCfg) -> usize {
    let news = file.news(&world.state);
    let count = news.len();
    for user in news {
        world.force(Change::UserImport { user });
    }
    assert_eq!(file.news(&world.state), [], "read once, it is no news");
    count
}

fn set(privileges: &str) -> Change {
    Change::UserSet {
        uid: uid(10),
        superuser: None,
        default_privileges: Some(flags(privileges)),
    }
}

fn disabled(disabled: bool) -> Change {
    Change::UserDisabled {
        uid: uid(10),
        disabled,
    }
}

#[test]
fn what_the_ledger_lacks_is_appended_once_and_others_are_left_and_shown() {
    let mut world = World::peopled();
    let file = file(&[line(10, "quant", "select"), line(20, "pnl", "2")]);
    assert_eq!(take_in(&mut world, &file), 2);
    assert_eq!(take_in(&mut world, &file), 0);
    assert_eq!(
        file.missing(&world.state),
        ["root", "target"]
            .map(|n| UserName::new(n).unwrap())
            .iter()
            .collect::<Vec<_>>()
    );
    assert_eq!(world.state.users().len(), 4);
    assert_eq!(file.conflicts(&world.state), []);
}

#[test]
fn an_operators_later_change_stands_until_the_file_changes_there() {
    let mut world = World::peopled();
    let quant = line(10, "quant", "select");
    take_in(&mut world, &file(std::slice::from_ref(&quant)));
    world.does("root", set("select,insert"));
    world.does("root", disabled(true));
    world.does(
        "root",
        Change::UserAdd {
            user: user(30, "later", Privileges::NONE),
        },
    );
    assert_eq!(take_in(&mut world, &file(std::slice::from_ref(&quant))), 0);
    // Another field of his changes: what the operator did stands.
    let moved = FileUser {
        public_key: public("another"),
        ..quant.clone()
    };
    assert_eq!(take_in(&mut world, &file(std::slice::from_ref(&moved))), 1);
    let now = world.state.user(uid(10)).unwrap();
    assert!(now.disabled);
    assert_eq!(now.default_privileges, flags("select,insert"));
    assert_eq!(now.public_key, Some(public("another")));
    // The very field: the file is the later word.
    let raised = FileUser {
        default_privileges: flags("drop"),
        ..moved.clone()
    };
    take_in(&mut world, &file(std::slice::from_ref(&raised)));
    let now = world.state.user(uid(10)).unwrap();
    assert_eq!(
        (now.disabled, now.default_privileges),
        (true, flags("drop"))
    );
    // To let him in again by the file, the file must say something new about it.
    for is in [true, false] {
        let user = FileUser {
            disabled: is,
            ..raised.clone()
        };
        take_in(&mut world, &file(&[user]));
        assert_eq!(world.state.user(uid(10)).unwrap().disabled, is);
    }
}

#[test]
fn a_key_that_the_user_replaced_does_not_come_back_with_the_file() {
    let mut world = World::peopled();
    let quant = line(10, "quant", "select");
    take_in(&mut world, &file(std::slice::from_ref(&quant)));
    world.does(
        "quant",
        Change::UserKey {
            uid: uid(10),
            public_key: public("fresh"),
        },
    );
    let password = Change::UserPassword {
        uid: uid(10),
        verifier: Some(verifier()),
    };
    let author = Author::User(uid(10));
    let verified = world.attempt(author, &key("fresh"), password).unwrap();
    world.apply(&verified);
    let changed = FileUser {
        default_privileges: flags("insert"),
        ..quant
    };
    take_in(&mut world, &file(&[changed]));
    let now = world.state.user(uid(10)).unwrap();
    assert_eq!(now.public_key, Some(public("fresh")));
    assert_eq!(now.password, Some(verifier()));
    assert_eq!(now.default_privileges, flags("insert"));
}

#[test]
fn a_user_that_was_added_otherwise_is_taken_over_as_the_file_has_him() {
    let mut world = World::peopled();
    world.does(
        "root",
        Change::UserAdd {
            user: user(10, "quant", flags("drop")),
        },
    );
    take_in(&mut world, &file(&[line(10, "quant", "select")]));
    let now = world.state.user(uid(10)).unwrap();
    assert_eq!(now.default_privileges, flags("select"));
}

// A removed user would be offered again at each start, refused each time, and hold up the others.
#[test]
fn what_can_not_be_taken_over_is_told_and_holds_nothing_up() {
    let mut world = World::peopled();
    let quant = line(10, "quant", "select");
    take_in(&mut world, &file(std::slice::from_ref(&quant)));
    world.does("root", Change::UserRemove { uid: uid(10) });
    let users = [
        quant.clone(),
        line(1, "renamed", "0"),
        line(40, "target", "0"),
        FileUser {
            public_key: public("root"),
            ..line(41, "thief", "0")
        },
        line(50, "new", "select"),
    ];
    let all = file(&users);
    let name = |text: &str| UserName::new(text).unwrap();
    let conflicts = [
        Conflict::Removed {
            uid: uid(10),
            name: name("quant"),
        },
        Conflict::UidOf {
            uid: uid(1),
            name: name("renamed"),
            known: name("root"),
        },
        Conflict::NameOf {
            uid: uid(40),
            name: name("target"),
            known: uid(2),
        },
        Conflict::KeyOf {
            uid: uid(41),
            name: name("thief"),
        },
    ];
    assert_eq!(all.conflicts(&world.state), conflicts);
    assert_eq!(take_in(&mut world, &all), 1);
    assert!(world.state.user_by_name("new").is_some());
    // And the ledger itself refuses each of them, the cluster key's word or not.
    for (user, conflict) in users.iter().zip(conflicts) {
        let entry = Change::UserImport {
            user: palisade_ledger::ImportedUser {
                public_key: user.public_key,
                ..common::imported(user.uid.get(), user.username.as_str(), flags("0"))
            },
        };
        let refusal = world
            .attempt(Author::Cluster, &common::cluster_key(), entry)
            .unwrap_err();
        let expected = match conflict {
            Conflict::Removed { uid, .. } | Conflict::UidOf { uid, .. } => Refusal::UidTaken(uid),
            Conflict::NameOf { name, .. } => Refusal::NameTaken(name),
            Conflict::KeyOf { .. } => Refusal::KeyTaken(user.public_key),
        };
        assert_eq!(refusal, expected);
    }
    // With a new uid he comes back, as somebody new.
    let again = line(60, "quant", "select");
    assert_eq!(take_in(&mut world, &file(&[again])), 1);
}

#[test]
fn behind_the_highest_uid_of_a_file_comes_the_lowest_free_one() {
    let file = file(&[line(1, "first", "0"), line(u32::MAX, "last", "0")]);
    assert_eq!(file.next_uid().unwrap().get(), 2);
}

// A list would say nothing of which value is which.
#[test]
fn a_list_is_no_object() {
    let listed = r#"[[[1, "al", "false", "true", 0, "key"]]]"#;
    let user = r#"{ "users": [ [1, "al", "false", "true", 0, "key"] ] }"#;
    for (text, place) in [
        ("[]", "line 1, column 0"),
        (listed, "line 1, column 0"),
        (user, "line 1, column 13, field users[0]"),
    ] {
        let told = UsersCfg::parse(text).unwrap_err().to_string();
        assert!(told.contains(place), "{told}");
        assert!(told.contains("expected an object"), "{told}");
    }
}

#[test]
fn a_weak_key_is_refused_where_it_stands() {
    let text = file(&[line(10, "quant", "select")]).text();
    let bad = text.replace(
        &public("quant").to_string(),
        "PAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    );
    let error = UsersCfg::parse(&bad).unwrap_err().to_string();
    assert!(error.starts_with("line "), "{error}");
    assert!(
        error.contains("field users[0].public_key: this is no sound"),
        "{error}"
    );
}
