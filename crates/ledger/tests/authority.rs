//! The authority table of the design, section 4, kind of change by kind of change and flag by flag.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod common;

use common::{
    KINDS, World, address, alert, cluster_key, flags, genesis, imported, issued, join, key, kind,
    node, node_id, object, public, rotate, superuser, token, token_id, uid, user, verifier,
};
use palisade_ledger::{
    Author, Change, Hash, Need, NewUser, Privileges, Refusal, Setting, StoreConfig, Uid, sign,
    verify,
};

/// What a kind of change asks of its author.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asks {
    Cluster,
    Flag(Privileges),
    Oneself,
    /// The joining node itself; not even the cluster key.
    Joining,
    /// The node that it is about.
    ThisNode,
    /// The node that it is about, or a flag.
    ThisNodeOr(Privileges),
    /// A member node, or a flag.
    MemberOr(Privileges),
}

impl Asks {
    /// The flag by which a user may.
    fn flag(self) -> Option<Privileges> {
        match self {
            Self::Flag(flag) | Self::ThisNodeOr(flag) | Self::MemberOr(flag) => Some(flag),
            Self::Cluster | Self::Oneself | Self::Joining | Self::ThisNode => None,
        }
    }
}

/// The design's table, each row under the sentence that it is from.
const TABLE: [(&str, Asks); 29] = [
    // "genesis; anything | the cluster key"
    ("genesis", Asks::Cluster),
    // "add, change, disable, remove a user | user_manage; never more flags than the author holds,
    // unless superuser; only a superuser makes a superuser"
    ("user_add", Asks::Flag(Privileges::USER_MANAGE)),
    ("user_set", Asks::Flag(Privileges::USER_MANAGE)),
    ("user_disabled", Asks::Flag(Privileges::USER_MANAGE)),
    ("user_remove", Asks::Flag(Privileges::USER_MANAGE)),
    // "own public key or password | that user"
    ("user_key", Asks::Oneself),
    ("user_password", Asks::Oneself),
    // "set, unset an object's ACL | set_acl"
    ("acl_set", Asks::Flag(Privileges::SET_ACL)),
    ("acl_unset", Asks::Flag(Privileges::SET_ACL)),
    // "nodes, enrollment tokens, issuing CAs, revocation, hba rules, settings, data nodes | system"
    ("hba_set", Asks::Flag(Privileges::SYSTEM)),
    ("setting_set", Asks::Flag(Privileges::SYSTEM)),
    ("issuing_ca_add", Asks::Flag(Privileges::SYSTEM)),
    ("issuing_ca_remove", Asks::Flag(Privileges::SYSTEM)),
    ("certificate_revoke", Asks::Flag(Privileges::SYSTEM)),
    // "a daemon that holds the cluster private key appends, under the cluster key's name"
    ("user_import", Asks::Cluster),
    // "nodes, enrollment tokens, ... | system"
    ("node_add", Asks::Flag(Privileges::SYSTEM)),
    // "redeem an enrollment token | the joining node's key plus the token's secret"
    ("node_join", Asks::Joining),
    ("node_approve", Asks::Flag(Privileges::SYSTEM)),
    ("node_remove", Asks::Flag(Privileges::SYSTEM)),
    // "rotate own node key | that node"
    ("node_rotate", Asks::ThisNode),
    ("node_set", Asks::ThisNodeOr(Privileges::SYSTEM)),
    ("token_create", Asks::Flag(Privileges::SYSTEM)),
    ("token_revoke", Asks::Flag(Privileges::SYSTEM)),
    ("secret_set", Asks::Flag(Privileges::SYSTEM)),
    ("store_set", Asks::Flag(Privileges::SYSTEM)),
    // What a node issued, it says.
    ("certificate_issued", Asks::MemberOr(Privileges::SYSTEM)),
    ("alert_add", Asks::Flag(Privileges::SYSTEM)),
    ("alert_remove", Asks::Flag(Privileges::SYSTEM)),
    ("issuing_ca_activate", Asks::Flag(Privileges::SYSTEM)),
];

const AUTHOR: u32 = 5;

/// One change of each kind that is right in a [`World::with_nodes`], about `whom` where it is about a
/// user and about node 2 where it is about a member node.
fn each(whom: Uid) -> Vec<Change> {
    vec![
        genesis(),
        Change::UserAdd {
            user: user(9, "new", Privileges::NONE),
        },
        Change::UserSet {
            uid: whom,
            superuser: None,
            default_privileges: Some(Privileges::NONE),
        },
        Change::UserDisabled {
            uid: whom,
            disabled: true,
        },
        Change::UserRemove { uid: whom },
        Change::UserKey {
            uid: whom,
            public_key: public("another"),
        },
        Change::UserPassword {
            uid: whom,
            verifier: Some(verifier()),
        },
        Change::AclSet {
            object: object("s.t"),
            uid: whom,
            privileges: flags("select"),
        },
        Change::AclUnset {
            object: object("s.t"),
            uid: uid(2),
        },
        Change::HbaSet {
            text: "hostssl all all all auto\n".to_owned(),
        },
        Change::SettingSet {
            setting: Setting::ServerCertificateDays(30),
        },
        Change::IssuingCaAdd {
            certificate: vec![0x30, 0x01, 0x00],
        },
        Change::IssuingCaRemove {
            certificate: Hash::of(&[0x30, 0x00]),
        },
        Change::CertificateRevoke {
            serial: vec![1],
            reason: String::new(),
        },
        Change::UserImport {
            user: imported(2, "target", Privileges::NONE),
        },
    ]
    .into_iter()
    .chain(each_of_nodes())
    .collect()
}

fn each_of_nodes() -> Vec<Change> {
    vec![
        Change::NodeAdd { node: node(5) },
        join(node(5), "open"),
        Change::NodeApprove { id: node_id(3) },
        Change::NodeRemove { id: node_id(2) },
        rotate(2, "node 2 again"),
        Change::NodeSet {
            id: node_id(2),
            address: Some(address("node2.example.com:7434")),
            hosts: None,
            store: None,
        },
        Change::TokenCreate {
            token: token("new"),
        },
        Change::TokenRevoke {
            id: token_id("open"),
        },
        Change::SecretSet { key: None },
        Change::StoreSet {
            store: StoreConfig::Managed,
        },
        Change::CertificateIssued {
            certificate: issued(&[0x52]),
        },
        Change::AlertAdd {
            alert: alert("more"),
        },
        Change::AlertRemove {
            name: "ops".to_owned(),
        },
        Change::IssuingCaActivate {
            certificate: Hash::of(&[0x30, 0x00]),
        },
    ]
}

fn world_with(author: NewUser) -> World {
    let mut world = World::with_nodes();
    world.force(Change::UserAdd { user: author });
    world
}

fn author(privileges: Privileges) -> NewUser {
    user(AUTHOR, "author", privileges)
}

fn everything() -> Privileges {
    Privileges::ALL | Privileges::DENIED
}

#[test]
fn the_table_has_every_kind_in_its_order() {
    let rows: Vec<_> = TABLE.iter().map(|row| row.0).collect();
    let kinds: Vec<_> = each(uid(2)).iter().map(kind).collect();
    assert_eq!(rows, KINDS);
    assert_eq!(kinds, KINDS);
    assert_eq!(everything().iter().count(), 15);
}

#[test]
fn who_holds_one_flag_may_what_the_table_gives_that_flag() {
    for flag in everything().iter() {
        let world = world_with(author(flag));
        for (change, (name, asks)) in each(uid(2)).into_iter().zip(TABLE) {
            let result = world.tries("author", change);
            let may = flag != Privileges::DENIED && asks.flag() == Some(flag);
            assert_eq!(result.is_ok(), may, "{name} with {flag} alone: {result:?}");
            match result {
                Err(Refusal::AuthorShutOut(_)) => assert_eq!(flag, Privileges::DENIED),
                Err(refusal) => {
                    assert!(
                        matches!(refusal, Refusal::Missing { .. }),
                        "{name}: {refusal}"
                    );
                }
                Ok(_) => {}
            }
        }
    }
}

#[test]
fn who_holds_all_but_the_flag_is_refused() {
    for flag in Privileges::ALL.iter() {
        let world = world_with(author(Privileges::ALL.without(flag)));
        for (change, (name, asks)) in each(uid(2)).into_iter().zip(TABLE) {
            let may = asks.flag().is_some_and(|needed| needed != flag);
            let result = world.tries("author", change.clone());
            assert_eq!(result.is_ok(), may, "{name} without {flag}: {result:?}");
            if let Err(Refusal::Missing { need, .. }) = result {
                assert_eq!(need, Need::of(&change));
            }
        }
    }
}

#[test]
fn a_superuser_may_all_but_what_is_the_clusters_or_anothers_own() {
    let world = world_with(superuser(AUTHOR, "author"));
    for (change, (name, asks)) in each(uid(2)).into_iter().zip(TABLE) {
        let may = asks.flag().is_some();
        assert_eq!(world.tries("author", change).is_ok(), may, "{name}");
    }
}

#[test]
fn the_cluster_key_may_anything_but_begin_again_and_join() {
    let world = World::with_nodes();
    for change in each(uid(2)) {
        let name = kind(&change);
        let result = world.attempt(Author::Cluster, &cluster_key(), change);
        match name {
            "genesis" => assert_eq!(result.unwrap_err(), Refusal::Genesis),
            "node_join" => assert_eq!(result.unwrap_err(), Refusal::Joining),
            _ => assert!(result.is_ok(), "{name}: {result:?}"),
        }
    }
}

/// Each kind, by the node that it is about, another member, one that waits for approval, one that was
/// removed, the one that joins, and one that never was.
#[test]
fn a_node_may_what_the_table_gives_it_and_nothing_else() {
    let world = World::with_nodes();
    for number in [1, 2, 3, 4, 5, 77] {
        for (change, (name, asks)) in each(uid(2)).into_iter().zip(TABLE) {
            let may = matches!(
                (asks, number),
                (Asks::ThisNode | Asks::ThisNodeOr(_), 2)
                    | (Asks::Joining, 5)
                    | (Asks::MemberOr(_), 1 | 2)
            );
            let result = world.tries(&format!("node {number}"), change.clone());
            assert_eq!(result.is_ok(), may, "{name} by node {number}: {result:?}");
            let Err(refusal) = result else { continue };
            let expected = match number {
                1 | 2 => Refusal::NodeMissing {
                    node: node_id(number),
                    need: Need::of(&change),
                },
                3 => Refusal::NodePending(node_id(3)),
                _ => Refusal::UnknownNode(node_id(number)),
            };
            assert_eq!(refusal, expected, "{name} by node {number}");
        }
    }
}

/// Who signs in a node's name without its key is nobody, even with a key that says much elsewhere.
#[test]
fn a_nodes_entries_are_signed_by_its_key() {
    let world = World::with_nodes();
    for signer in ["node 1", "node 3", "node 4", "root", "cluster main", "open"] {
        for change in each(uid(2)) {
            let author = Author::Node(node_id(2));
            let result = world.attempt(author, &key(signer), change);
            assert_eq!(result.unwrap_err(), Refusal::Signature(author), "{signer}");
        }
    }
    // And a node's key says nothing in a user's or the cluster's name.
    for author in [Author::User(uid(1)), Author::Cluster] {
        for change in each(uid(2)) {
            let result = world.attempt(author, &key("node 1"), change);
            assert_eq!(result.unwrap_err(), Refusal::Signature(author));
        }
    }
}

// "own public key or password | that user"
#[test]
fn everyone_who_may_log_in_sets_his_own_key_and_password_and_nobody_elses() {
    let own = [
        Change::UserKey {
            uid: uid(AUTHOR),
            public_key: public("another"),
        },
        Change::UserPassword {
            uid: uid(AUTHOR),
            verifier: None,
        },
    ];
    for flag in everything().iter().chain([Privileges::NONE]) {
        let world = world_with(author(flag));
        for change in own.clone() {
            let result = world.tries("author", change);
            assert_eq!(result.is_ok(), flag != Privileges::DENIED, "{flag}");
        }
    }
    for change in own {
        // Neither a superuser nor the holder of all flags.
        let world = world_with(author(Privileges::ALL));
        assert!(matches!(
            world.tries("root", change.clone()),
            Err(Refusal::Missing { need: Need::Oneself(whose), .. }) if whose == uid(AUTHOR)
        ));
        let result = world.attempt(Author::Cluster, &cluster_key(), change);
        assert!(result.is_ok(), "{result:?}");
    }
}

#[test]
fn who_is_shut_out_or_unknown_or_signs_wrongly_may_nothing() {
    let shut_out = [
        NewUser {
            disabled: true,
            ..author(Privileges::ALL)
        },
        NewUser {
            disabled: true,
            ..superuser(AUTHOR, "author")
        },
        author(everything()),
    ];
    for user in shut_out {
        let world = world_with(user);
        for change in each(uid(2)).into_iter().chain(each(uid(AUTHOR))) {
            let refusal = world.tries("author", change).unwrap_err();
            assert!(matches!(refusal, Refusal::AuthorShutOut(_)), "{refusal}");
        }
    }
    let world = world_with(NewUser {
        public_key: None,
        ..superuser(AUTHOR, "author")
    });
    for change in each(uid(2)) {
        let refusal = world.tries("author", change.clone()).unwrap_err();
        assert!(matches!(refusal, Refusal::NoKey(_)), "{refusal}");
        let unknown = Author::User(uid(77));
        assert_eq!(
            world.attempt(unknown, &key("root"), change).unwrap_err(),
            Refusal::UnknownAuthor(uid(77))
        );
    }
    let world = world_with(superuser(AUTHOR, "author"));
    let claims = [
        (Author::User(uid(AUTHOR)), key("root")),
        (Author::User(uid(1)), key("author")),
        (Author::User(uid(1)), cluster_key()),
        (Author::Cluster, key("root")),
    ];
    for (claimed, signer) in claims {
        for change in each(uid(2)) {
            assert_eq!(
                world.attempt(claimed, &signer, change).unwrap_err(),
                Refusal::Signature(claimed)
            );
        }
    }
}

#[test]
fn a_removed_user_and_a_replaced_key_sign_no_more() {
    let mut world = world_with(superuser(AUTHOR, "author"));
    let change = Change::UserKey {
        uid: uid(AUTHOR),
        public_key: public("another"),
    };
    world.does("author", change.clone());
    let refusal = world.tries("author", change.clone()).unwrap_err();
    assert_eq!(refusal, Refusal::Signature(Author::User(uid(AUTHOR))));
    let author = Author::User(uid(AUTHOR));
    assert!(
        world
            .attempt(author, &key("another"), change.clone())
            .is_ok()
    );
    world.does("root", Change::UserRemove { uid: uid(AUTHOR) });
    assert_eq!(
        world.attempt(author, &key("another"), change).unwrap_err(),
        Refusal::UnknownAuthor(uid(AUTHOR))
    );
}

// "never more flags than the author holds, unless superuser"
#[test]
fn nobody_gives_or_manages_a_flag_that_he_lacks() {
    let manager = flags("user_manage,select");
    for flag in everything().iter() {
        let mut world = world_with(author(manager));
        world.force(Change::UserAdd {
            user: user(6, "holder", flag),
        });
        let may = manager.contains(flag) || flag == Privileges::DENIED;
        let changes = [
            Change::UserAdd {
                user: user(9, "new", flag),
            },
            set(2, None, Some(flag)),
            set(AUTHOR, None, Some(flag | Privileges::USER_MANAGE)),
            set(6, None, Some(Privileges::NONE)),
            set(6, Some(false), None),
            Change::UserDisabled {
                uid: uid(6),
                disabled: true,
            },
            Change::UserDisabled {
                uid: uid(6),
                disabled: false,
            },
            Change::UserRemove { uid: uid(6) },
        ];
        for change in changes {
            let result = world.tries("author", change.clone());
            assert_eq!(result.is_ok(), may, "{flag}: {change:?}: {result:?}");
            if let Err(refusal) = result {
                assert!(matches!(refusal, Refusal::Exceeds { excess, .. } if excess == flag));
            }
            assert!(world.tries("root", change).is_ok());
        }
    }
}

// "only a superuser makes a superuser"
#[test]
fn only_a_superuser_makes_or_touches_a_superuser() {
    let mut world = world_with(author(Privileges::ALL));
    world.force(Change::UserAdd {
        user: superuser(6, "other"),
    });
    let changes = [
        Change::UserAdd {
            user: superuser(9, "new"),
        },
        set(2, Some(true), None),
        set(AUTHOR, Some(true), None),
        set(6, Some(false), None),
        set(6, None, Some(Privileges::SELECT)),
        Change::UserDisabled {
            uid: uid(6),
            disabled: true,
        },
        Change::UserRemove { uid: uid(6) },
    ];
    for change in changes {
        let refusal = world.tries("author", change.clone()).unwrap_err();
        assert!(matches!(refusal, Refusal::SuperuserNeeded(_)), "{refusal}");
        assert!(world.tries("root", change).is_ok());
    }
}

fn set(number: u32, superuser: Option<bool>, default_privileges: Option<Privileges>) -> Change {
    Change::UserSet {
        uid: uid(number),
        superuser,
        default_privileges,
    }
}

// "an explicit ACL for a user and object replaces that user's default_privileges there"
#[test]
fn set_acl_is_asked_for_on_the_very_object() {
    let acl = |whom: u32, on: &str, privileges: &str| Change::AclSet {
        object: object(on),
        uid: uid(whom),
        privileges: flags(privileges),
    };
    // By an ACL alone: there and nowhere else.
    let mut world = world_with(author(Privileges::NONE));
    world.force(acl(AUTHOR, "s.t", "set_acl"));
    assert!(world.tries("author", acl(2, "s.t", "select")).is_ok());
    for elsewhere in ["s", "s.u", "t", "\"s.t\"", "other.t"] {
        assert!(matches!(
            world.tries("author", acl(2, elsewhere, "select")),
            Err(Refusal::Missing {
                need: Need::PrivilegeOn(..),
                ..
            })
        ));
    }
    // By the default privileges: everywhere but where an ACL says otherwise.
    for instead in ["none", "select", "denied", "denied,set_acl"] {
        let mut world = world_with(author(Privileges::SET_ACL));
        world.force(acl(AUTHOR, "s.t", instead));
        let unset = Change::AclUnset {
            object: object("s.t"),
            uid: uid(AUTHOR),
        };
        assert!(world.tries("author", acl(2, "s.t", "select")).is_err());
        assert!(world.tries("author", unset).is_err(), "{instead}");
        assert!(world.tries("author", acl(2, "s.u", "select")).is_ok());
    }
    // An ACL binds no superuser, and gives no denied user his rights back.
    let mut world = world_with(superuser(AUTHOR, "author"));
    world.force(acl(AUTHOR, "s.t", "denied"));
    assert!(world.tries("author", acl(2, "s.t", "select")).is_ok());
    let mut world = world_with(author(Privileges::DENIED));
    world.force(acl(AUTHOR, "s.t", "set_acl"));
    assert!(world.tries("author", acl(2, "s.t", "select")).is_err());
}

// An ACL acts on objects: what acts on the cluster can't be had by way of one.
#[test]
fn an_acl_can_not_hold_a_flag_of_the_cluster() {
    let world = world_with(author(Privileges::SET_ACL));
    for flag in everything().iter() {
        let result = world.tries(
            "author",
            Change::AclSet {
                object: object("s.t"),
                uid: uid(AUTHOR),
                privileges: flag,
            },
        );
        let may = !flags("user_manage,system,set_transaction").contains(flag);
        assert_eq!(result.is_ok(), may, "{flag}");
    }
}

// Sequences that each are one step short of more than the author was given.
#[test]
fn no_sequence_of_a_managers_changes_gives_him_more() {
    let mut world = world_with(author(Privileges::USER_MANAGE));
    // A user of his own with his own flags, which does no better than himself.
    world.does(
        "author",
        Change::UserAdd {
            user: user(9, "puppet", Privileges::USER_MANAGE),
        },
    );
    for who in ["author", "puppet"] {
        assert!(
            world
                .tries(who, set(9, None, Some(Privileges::SYSTEM)))
                .is_err()
        );
        assert!(world.tries(who, set(9, Some(true), None)).is_err());
    }
    // The victim's uid is gone for ever, and his ACLs with it: his name is an empty shell.
    world.does("author", Change::UserRemove { uid: uid(2) });
    let again = user(2, "target", Privileges::NONE);
    assert_eq!(
        world
            .tries("author", Change::UserAdd { user: again })
            .unwrap_err(),
        Refusal::UidTaken(uid(2))
    );
    let heir = NewUser {
        public_key: Some(public("author again")),
        ..user(10, "target", Privileges::NONE)
    };
    world.does("author", Change::UserAdd { user: heir });
    assert_eq!(world.state.acl(&object("s.t"), uid(10)), None);
    assert_eq!(world.state.acl(&object("s.t"), uid(2)), None);
    // A name or uid in use is not taken over.
    let root = user(11, "root", Privileges::NONE);
    assert!(matches!(
        world.tries("author", Change::UserAdd { user: root }),
        Err(Refusal::NameTaken(_))
    ));
    let root = user(1, "toor", Privileges::NONE);
    assert!(matches!(
        world.tries("author", Change::UserAdd { user: root }),
        Err(Refusal::UidTaken(_))
    ));
    // Who lowered himself can't go back up.
    world.does("author", set(AUTHOR, None, Some(Privileges::NONE)));
    assert!(
        world
            .tries("author", set(AUTHOR, None, Some(Privileges::USER_MANAGE)))
            .is_err()
    );
}

// "the privilege is looked up in the state just before the entry"
#[test]
fn a_right_counts_from_the_entry_behind_the_one_that_gives_it() {
    let mut world = world_with(author(Privileges::NONE));
    let change = || Change::SettingSet {
        setting: Setting::ServerCertificateDays(1),
    };
    let early = world.next(Author::User(uid(AUTHOR)), change());
    world.does("root", set(AUTHOR, None, Some(Privileges::SYSTEM)));
    let bytes = sign(&early, &key("author")).unwrap();
    assert!(matches!(
        verify(&world.state, &bytes),
        Err(Refusal::NotNext { .. })
    ));
    assert!(world.tries("author", change()).is_ok());
    world.does("root", set(AUTHOR, None, Some(Privileges::NONE)));
    assert!(world.tries("author", change()).is_err());
}

/// A holder of `system` who writes a `trust` rule would log in as the superuser by it.
#[test]
fn only_a_superuser_writes_a_rule_that_trusts() {
    let rules = |method: &str| Change::HbaSet {
        text: format!("hostssl all all 10.0.0.0/8 {method}\nhostssl all all all auto\n"),
    };
    let world = world_with(author(Privileges::ALL));
    assert!(world.tries("author", rules("key")).is_ok());
    assert!(matches!(
        world.tries("author", rules("trust")),
        Err(Refusal::Trust(_))
    ));
    let world = world_with(superuser(AUTHOR, "author"));
    assert!(world.tries("author", rules("trust")).is_ok());
}
