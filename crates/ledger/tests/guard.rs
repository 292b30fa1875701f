//! The guards: "the last enabled superuser can't be disabled or removed; an hba change that would leave
//! no superuser a way in is refused; both unless forced by the cluster key."
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod common;

use common::{World, cluster_key, flags, imported, public, superuser, uid, user, verifier};
use palisade_ledger::{
    Author, Change, Guard, ImportedUser, NewUser, Privileges, Refusal, lockout, verify,
};

const KEY_ONLY: &str = "hostssl all all all key";
const PASSWORD_ONLY: &str = "hostssl all all all scram-sha-256";

fn hba(text: &str) -> Change {
    Change::HbaSet {
        text: format!("{text}\n"),
    }
}

fn disable(number: u32) -> Change {
    Change::UserDisabled {
        uid: uid(number),
        disabled: true,
    }
}

fn demote(number: u32) -> Change {
    Change::UserSet {
        uid: uid(number),
        superuser: Some(false),
        default_privileges: Some(Privileges::ALL),
    }
}

fn remove(number: u32) -> Change {
    Change::UserRemove { uid: uid(number) }
}

fn no_password(number: u32) -> Change {
    Change::UserPassword {
        uid: uid(number),
        verifier: None,
    }
}

/// Refused to every user who could otherwise make it, and allowed to the cluster key.
fn guarded(world: &World, who: &str, change: &Change, guard: Guard) {
    assert_eq!(
        world.tries(who, change.clone()).unwrap_err(),
        Refusal::Guard(guard),
        "{change:?}"
    );
    assert_eq!(lockout(&world.state, change), Some(guard));
    let forced = world.attempt(Author::Cluster, &cluster_key(), change.clone());
    assert!(forced.is_ok(), "{change:?}: {forced:?}");
}

fn free(world: &World, who: &str, change: &Change) {
    let result = world.tries(who, change.clone());
    assert!(result.is_ok(), "{change:?}: {result:?}");
    assert_eq!(lockout(&world.state, change), None);
}

// "the last enabled superuser can't be disabled or removed"
#[test]
fn the_last_enabled_superuser_stays() {
    let mut world = World::peopled();
    world.force(Change::UserAdd {
        user: NewUser {
            disabled: true,
            ..superuser(3, "asleep")
        },
    });
    world.force(Change::UserAdd {
        user: user(4, "manager", Privileges::ALL),
    });
    for change in [disable(1), demote(1), remove(1)] {
        guarded(&world, "root", &change, Guard::LastSuperuser);
        // Who is no superuser does not even get that far.
        let refusal = world.tries("manager", change).unwrap_err();
        assert!(matches!(refusal, Refusal::SuperuserNeeded(_)));
    }
    // The one who sleeps does not count, and may go.
    for change in [disable(3), demote(3), remove(3)] {
        free(&world, "root", &change);
    }
    // Awake he counts: either may go, not both.
    world.does(
        "root",
        Change::UserDisabled {
            uid: uid(3),
            disabled: false,
        },
    );
    for change in [disable(1), demote(1), remove(1), disable(3), remove(3)] {
        free(&world, "root", &change);
    }
    world.does("asleep", remove(1));
    for change in [disable(3), demote(3), remove(3)] {
        guarded(&world, "asleep", &change, Guard::LastSuperuser);
    }
}

#[test]
fn a_superusers_denied_flag_does_not_shut_him_out_and_is_not_guarded() {
    let world = World::peopled();
    let change = Change::UserSet {
        uid: uid(1),
        superuser: None,
        default_privileges: Some(Privileges::DENIED),
    };
    free(&world, "root", &change);
}

// "an hba change that would leave no superuser a way in is refused"
#[test]
fn rules_leave_some_superuser_a_way_in() {
    let mut world = World::peopled();
    world.force(Change::UserAdd {
        user: user(3, "operator", flags("system")),
    });
    let closed = [
        "hostssl all all all reject",
        "hostssl all target all key",
        "hostssl all root all reject\nhostssl all all all key",
        "hostssl other all all key",
        "local all all scram-sha-256",
        "hostssl replication all all key",
        "hostssl all root 0.0.0.0/0 reject\nhostssl all root ::/0 reject\nhostssl all all all key",
        PASSWORD_ONLY,
        "# nothing",
    ];
    for text in closed {
        for who in ["root", "operator"] {
            guarded(&world, who, &hba(text), Guard::NoWayIn);
        }
    }
    let open = [
        KEY_ONLY,
        "hostssl all all all auto",
        "hostssl main root 10.1.2.3/32 key\nhostssl all all all reject",
        "hostssl all root all cert",
        "hostssl all target all reject\nhostssl all all all key",
        "hostssl all all 10.0.0.0/8 reject\nhostssl all all all key",
    ];
    for text in open {
        for who in ["root", "operator"] {
            free(&world, who, &hba(text));
        }
    }
    // A disabled superuser's way in is none.
    world.force(Change::UserAdd {
        user: NewUser {
            disabled: true,
            ..superuser(4, "asleep")
        },
    });
    let change = hba("hostssl all asleep all key");
    guarded(&world, "root", &change, Guard::NoWayIn);
}

#[test]
fn the_password_that_is_the_only_way_in_stays() {
    let mut world = World::peopled();
    world.does(
        "root",
        Change::UserPassword {
            uid: uid(1),
            verifier: Some(verifier()),
        },
    );
    free(&world, "root", &no_password(1));
    world.does("root", hba(PASSWORD_ONLY));
    guarded(&world, "root", &no_password(1), Guard::NoWayIn);
    // Another password is a way in, too; so is a rule that takes the key.
    free(
        &world,
        "root",
        &Change::UserPassword {
            uid: uid(1),
            verifier: Some(verifier()),
        },
    );
    world.does(
        "root",
        hba(&format!("{KEY_ONLY}\nhostssl all all all scram-sha-256")),
    );
    free(&world, "root", &no_password(1));
    // With a second superuser who gets in by his key the first may drop his password.
    world.does(
        "root",
        hba("hostssl all root all scram-sha-256\nhostssl all second all key"),
    );
    guarded(&world, "root", &no_password(1), Guard::NoWayIn);
    world.does(
        "root",
        Change::UserAdd {
            user: superuser(3, "second"),
        },
    );
    free(&world, "root", &no_password(1));
    // And then the second is the last with a way in, though not the last superuser.
    world.does("root", no_password(1));
    for change in [disable(3), demote(3), remove(3)] {
        guarded(&world, "root", &change, Guard::NoWayIn);
    }
    free(&world, "root", &remove(1));
}

#[test]
fn the_guards_are_not_for_others() {
    let mut world = World::peopled();
    world.does(
        "root",
        Change::UserAdd {
            user: NewUser {
                password: Some(verifier()),
                ..user(3, "other", Privileges::ALL)
            },
        },
    );
    for change in [disable(3), demote(3), remove(3), disable(2), remove(2)] {
        free(&world, "root", &change);
    }
    free(&world, "other", &no_password(3));
    free(&world, "other", &remove(3));
    // Rules that leave others outside.
    free(&world, "root", &hba("hostssl all root all key"));
}

#[test]
fn a_cluster_that_the_cluster_key_locked_is_not_locked_further_by_the_guard() {
    let mut world = World::peopled();
    world.force(hba("hostssl all all all reject"));
    // Superusers may mend, and other changes go on.
    free(&world, "root", &hba(KEY_ONLY));
    free(&world, "root", &hba("hostssl all target all key"));
    // But the last superuser still stays.
    for change in [disable(1), demote(1), remove(1)] {
        guarded(&world, "root", &change, Guard::LastSuperuser);
    }
    world.force(remove(1));
    assert_eq!(lockout(&world.state, &hba(PASSWORD_ONLY)), None);
    world.force(Change::UserAdd {
        user: user(3, "operator", flags("system,user_manage")),
    });
    free(&world, "operator", &hba(PASSWORD_ONLY));
    free(&world, "operator", &remove(2));
}

// A new cluster: "no superuser yet" is no state to guard.
#[test]
fn before_the_first_superuser_all_goes() {
    let mut world = World::new();
    world.force(Change::UserAdd {
        user: user(3, "operator", flags("system,user_manage")),
    });
    free(&world, "operator", &hba("hostssl all all all reject"));
    free(&world, "operator", &remove(3));
}

#[test]
fn an_import_that_would_lock_out_is_told_and_is_the_cluster_keys_to_make() {
    let mut world = World::new();
    let root = ImportedUser {
        superuser: true,
        ..imported(1, "root", Privileges::NONE)
    };
    world.force(Change::UserImport { user: root.clone() });
    let change = Change::UserImport {
        user: ImportedUser {
            disabled: true,
            public_key: public("root"),
            ..root
        },
    };
    assert_eq!(lockout(&world.state, &change), Some(Guard::LastSuperuser));
    world.force(change);
    assert!(world.state.users().all(|user| !user.may_log_in()));
}

/// The guard's answer is about the state that the entry leaves, never a relic of the one before.
#[test]
fn what_was_guarded_is_free_once_it_is_safe() {
    let mut world = World::peopled();
    let bytes = {
        let entry = world.next(Author::User(uid(1)), remove(1));
        palisade_ledger::sign(&entry, &common::key("root")).unwrap()
    };
    assert_eq!(
        verify(&world.state, &bytes).unwrap_err(),
        Refusal::Guard(Guard::LastSuperuser)
    );
    world.does(
        "root",
        Change::UserAdd {
            user: superuser(3, "second"),
        },
    );
    world.does("root", remove(1));
    assert!(world.state.user(uid(1)).is_none());
}
