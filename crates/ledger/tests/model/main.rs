//! Random histories by random authors, beside a second, plain statement of the rules.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

#[path = "../common/mod.rs"]
mod common;
mod fleet;

use std::collections::{BTreeMap, BTreeSet};

use common::{World, cluster_key, fold, key, object, uid, verifier};
use palisade_ledger::{Author, Change, NewUser, Privileges, UserName};
use proptest::prelude::*;

use fleet::{Fleet, FleetMove};

const USERS: u32 = 5;
const OBJECTS: [&str; 2] = ["s", "s.t"];
const RULES: [&str; 4] = [
    "hostssl all all all auto\n",
    "hostssl all all all key\n",
    "hostssl all all all scram-sha-256\n",
    "hostssl all all all reject\n",
];

#[derive(Clone, Debug, PartialEq)]
struct Someone {
    disabled: bool,
    superuser: bool,
    flags: u32,
    key: Option<&'static str>,
    password: bool,
}

#[derive(Clone, Debug)]
enum Move {
    Add(u32, Someone),
    Set(u32, Option<bool>, Option<u32>),
    Disable(u32, bool),
    Remove(u32),
    Key(u32, &'static str),
    Password(u32, bool),
    Acl(usize, u32, Option<u32>),
    Rules(usize),
    Fleet(FleetMove),
}

#[derive(Default, Clone)]
struct Model {
    users: BTreeMap<u32, Someone>,
    removed: BTreeSet<u32>,
    acls: BTreeMap<(usize, u32), u32>,
    rules: usize,
    fleet: Fleet,
}

const DENIED: u32 = 1;
const USER_MANAGE: u32 = 1024;
const SYSTEM: u32 = 2048;
const SET_ACL: u32 = 4096;
const NOT_ON_OBJECTS: u32 = 1024 | 2048 | 16384;

impl Someone {
    fn active(&self) -> bool {
        !self.disabled && (self.superuser || self.flags & DENIED == 0)
    }

    fn has(&self, flag: u32) -> bool {
        self.superuser || self.flags & flag == flag
    }

    /// "Never more flags than the author holds; only a superuser makes a superuser."
    fn covers(&self, superuser: bool, flags: u32) -> bool {
        self.superuser || (!superuser && flags & !(self.flags | DENIED) == 0)
    }
}

impl Model {
    /// A key has one owner.
    fn is_free(&self, key: &str, id: u32) -> bool {
        let mut others = self.users.iter().filter(|(other, _)| **other != id);
        !self.fleet.has_key(key) && others.all(|(_, user)| user.key != Some(key))
    }

    fn sensible(&self, step: &Move) -> bool {
        match step {
            Move::Add(id, new) => {
                !self.users.contains_key(id)
                    && !self.removed.contains(id)
                    && new.key.is_none_or(|key| self.is_free(key, *id))
            }
            Move::Set(id, superuser, flags) => {
                self.users.contains_key(id) && (superuser.is_some() || flags.is_some())
            }
            Move::Disable(id, _) | Move::Remove(id) | Move::Password(id, _) => {
                self.users.contains_key(id)
            }
            Move::Key(id, key) => self.users.contains_key(id) && self.is_free(key, *id),
            Move::Acl(_, id, Some(flags)) => {
                self.users.contains_key(id) && flags & NOT_ON_OBJECTS == 0
            }
            Move::Acl(on, id, None) => self.acls.contains_key(&(*on, *id)),
            Move::Rules(_) => true,
            Move::Fleet(step) => self.fleet.sensible(step, |key| {
                self.users.values().any(|user| user.key == Some(key))
            }),
        }
    }

    fn authorized(&self, author: u32, step: &Move) -> bool {
        if let Some(node) = author.checked_sub(fleet::NODES) {
            return matches!(step, Move::Fleet(step) if self.fleet.authorized(node, step));
        }
        let Some(me) = self.users.get(&author).filter(|me| me.active()) else {
            return false;
        };
        if me.key != Some(NAMES[author as usize]) {
            return false;
        }
        let target = |id: &u32| match self.users.get(id) {
            Some(user) => me.covers(user.superuser, user.flags),
            None => true,
        };
        match step {
            Move::Add(_, new) => me.has(USER_MANAGE) && me.covers(new.superuser, new.flags),
            Move::Set(id, superuser, flags) => {
                me.has(USER_MANAGE)
                    && target(id)
                    && me.covers(superuser.unwrap_or(false), flags.unwrap_or(0))
            }
            Move::Disable(id, _) | Move::Remove(id) => me.has(USER_MANAGE) && target(id),
            Move::Key(id, _) | Move::Password(id, _) => *id == author,
            Move::Acl(on, _, _) => {
                let acl = self.acls.get(&(*on, author)).copied();
                let flags = acl.unwrap_or(me.flags);
                me.superuser || (flags & SET_ACL != 0 && flags & DENIED == 0)
            }
            Move::Rules(_) => me.has(SYSTEM),
            Move::Fleet(step) => me.has(SYSTEM) && fleet::may_a_user(step),
        }
    }

    fn superusers(&self) -> impl Iterator<Item = &Someone> {
        self.users.values().filter(|u| u.superuser && !u.disabled)
    }

    fn way_in(&self) -> bool {
        self.superusers().any(|user| match self.rules {
            0 => user.key.is_some() || user.password,
            1 => user.key.is_some(),
            2 => user.password,
            _ => false,
        })
    }

    /// Which of the two things that the guards keep are there.
    fn safety(&self) -> u8 {
        match (self.superusers().count(), self.way_in()) {
            (0, _) => 0,
            (_, false) => 1,
            (_, true) => 2,
        }
    }

    fn apply(&mut self, step: &Move) {
        match step.clone() {
            Move::Add(id, new) => {
                self.users.insert(id, new);
            }
            Move::Set(id, superuser, flags) => {
                let user = self.users.get_mut(&id).unwrap();
                user.superuser = superuser.unwrap_or(user.superuser);
                user.flags = flags.unwrap_or(user.flags);
            }
            Move::Disable(id, disabled) => self.users.get_mut(&id).unwrap().disabled = disabled,
            Move::Remove(id) => {
                self.users.remove(&id);
                self.removed.insert(id);
                self.acls.retain(|(_, whose), _| *whose != id);
            }
            Move::Key(id, name) => self.users.get_mut(&id).unwrap().key = Some(name),
            Move::Password(id, there) => self.users.get_mut(&id).unwrap().password = there,
            Move::Acl(on, id, Some(flags)) => {
                self.acls.insert((on, id), flags);
            }
            Move::Acl(on, id, None) => {
                self.acls.remove(&(on, id));
            }
            Move::Rules(which) => self.rules = which,
            Move::Fleet(step) => self.fleet.apply(&step),
        }
    }

    /// Whether the ledger must take this step.
    fn takes(&self, author: u32, step: &Move) -> bool {
        if !self.sensible(step) {
            return false;
        }
        if author == 0 {
            return !matches!(step, Move::Fleet(FleetMove::Join { .. }));
        }
        let mut after = self.clone();
        after.apply(step);
        let members = |model: &Self| model.fleet.members() > 0;
        self.authorized(author, step)
            && after.safety() >= self.safety()
            && (members(&after) || !members(self))
    }

    fn agrees_with(&self, world: &World) {
        let state = &world.state;
        let users: BTreeMap<u32, Someone> = state
            .users()
            .map(|user| {
                let key = NAMES
                    .iter()
                    .find(|name| user.public_key == Some(common::public(name)));
                let someone = Someone {
                    disabled: user.disabled,
                    superuser: user.superuser,
                    flags: user.default_privileges.bits(),
                    key: key.copied(),
                    password: user.password.is_some(),
                };
                (user.uid.get(), someone)
            })
            .collect();
        assert_eq!(users, self.users);
        let acls: BTreeMap<(usize, u32), u32> = state
            .acls()
            .iter()
            .flat_map(|(on, acl)| acl.iter().map(move |(id, flags)| (on, id, flags)))
            .map(|(on, id, flags)| {
                let on = OBJECTS.iter().position(|o| object(o) == *on).unwrap();
                ((on, id.get()), flags.bits())
            })
            .collect();
        assert_eq!(acls, self.acls);
        assert_eq!(state.hba().text(), RULES[self.rules]);
        self.fleet.agrees_with(state);
    }
}

/// The name of each uid; the last is a key that nobody signs with.
const NAMES: [&str; 7] = ["", "u1", "u2", "u3", "u4", "u5", "lost"];

fn change(step: &Move) -> Change {
    let bits = |flags: u32| Privileges::from_bits(flags).unwrap();
    match step.clone() {
        Move::Add(id, new) => Change::UserAdd {
            user: NewUser {
                uid: uid(id),
                name: UserName::new(NAMES[id as usize]).unwrap(),
                disabled: new.disabled,
                superuser: new.superuser,
                default_privileges: bits(new.flags),
                public_key: new.key.map(common::public),
                password: new.password.then(verifier),
            },
        },
        Move::Set(id, superuser, flags) => Change::UserSet {
            uid: uid(id),
            superuser,
            default_privileges: flags.map(bits),
        },
        Move::Disable(id, disabled) => Change::UserDisabled {
            uid: uid(id),
            disabled,
        },
        Move::Remove(id) => Change::UserRemove { uid: uid(id) },
        Move::Key(id, name) => Change::UserKey {
            uid: uid(id),
            public_key: common::public(name),
        },
        Move::Password(id, there) => Change::UserPassword {
            uid: uid(id),
            verifier: there.then(verifier),
        },
        Move::Acl(on, id, Some(flags)) => Change::AclSet {
            object: object(OBJECTS[on]),
            uid: uid(id),
            privileges: bits(flags),
        },
        Move::Acl(on, id, None) => Change::AclUnset {
            object: object(OBJECTS[on]),
            uid: uid(id),
        },
        Move::Rules(which) => Change::HbaSet {
            text: RULES[which].to_owned(),
        },
        Move::Fleet(step) => fleet::change(&step),
    }
}

fn some_flags() -> impl Strategy<Value = u32> {
    // Mostly those that decide something, so that histories go on.
    prop_oneof![
        Just(USER_MANAGE | SYSTEM | SET_ACL),
        Just(USER_MANAGE),
        Just(0x7ffe_u32),
        0_u32..0x8000,
    ]
}

fn any_move() -> impl Strategy<Value = Move> {
    let id = || 1..=USERS;
    let add = (id(), any::<(bool, bool, bool)>(), some_flags(), 0..8_u8).prop_map(
        |(id, (superuser, keyed, password), flags, disabled)| {
            let key = keyed.then_some(NAMES[id as usize]);
            let disabled = disabled == 0;
            Move::Add(
                id,
                Someone {
                    disabled,
                    superuser,
                    flags,
                    key,
                    password,
                },
            )
        },
    );
    let acl = prop_oneof![
        Just(None),
        (0_u32..0x8000).prop_map(|f| Some(f & !NOT_ON_OBJECTS))
    ];
    prop_oneof![
        4 => add,
        3 => (id(), any::<Option<bool>>(), proptest::option::of(some_flags()))
            .prop_map(|(id, superuser, flags)| Move::Set(id, superuser, flags)),
        2 => (id(), any::<bool>()).prop_map(|(id, disabled)| Move::Disable(id, disabled)),
        1 => id().prop_map(Move::Remove),
        1 => (id(), any::<bool>()).prop_map(|(id, lost)| {
            Move::Key(id, NAMES[if lost { 6 } else { id as usize }])
        }),
        2 => (id(), any::<bool>()).prop_map(|(id, there)| Move::Password(id, there)),
        2 => (0..2_usize, id(), acl).prop_map(|(on, id, flags)| Move::Acl(on, id, flags)),
        2 => (0..4_usize).prop_map(Move::Rules),
        1 => fleet::any_move().prop_map(Move::Fleet),
    ]
}

/// Mostly users; nodes, which mostly do what nodes do; the cluster key now and then.
fn history() -> impl Strategy<Value = Vec<(u32, Move)>> {
    let author = prop_oneof![1 => Just(0_u32), 6 => 1..=USERS, 2 => fleet::author()];
    let step = prop_oneof![
        5 => (author, any_move()),
        2 => (0..3_u32, fleet::any_move().prop_map(Move::Fleet)),
        2 => fleet::own_move().prop_map(|(node, step)| (node, Move::Fleet(step))),
    ];
    proptest::collection::vec(step, 1..80)
}

/// `root`-like users to begin with, so that there is somebody to act.
fn begin() -> (World, Model) {
    let (mut world, mut model) = (World::new(), Model::default());
    world.force(change(&Move::Rules(0)));
    for (id, superuser, flags) in [
        (1, true, 0),
        (2, false, USER_MANAGE | SYSTEM),
        (3, false, SET_ACL),
    ] {
        let step = Move::Add(
            id,
            Someone {
                disabled: false,
                superuser,
                flags,
                key: Some(NAMES[id as usize]),
                password: id == 1,
            },
        );
        world.force(change(&step));
        model.apply(&step);
    }
    for step in fleet::begin().map(Move::Fleet) {
        world.force(change(&step));
        model.apply(&step);
    }
    (world, model)
}

fn play(history: &[(u32, Move)]) -> (World, Model, usize) {
    let (mut world, mut model) = begin();
    let mut accepted = 0;
    for (author, step) in history {
        let result = match author {
            0 => world.attempt(Author::Cluster, &cluster_key(), change(step)),
            id if *id > fleet::NODES => {
                let (author, signer) = model.fleet.signer(id - fleet::NODES, step);
                world.attempt(author, &signer, change(step))
            }
            id => {
                let signer = key(NAMES[*id as usize]);
                world.attempt(Author::User(uid(*id)), &signer, change(step))
            }
        };
        let expected = model.takes(*author, step);
        assert_eq!(result.is_ok(), expected, "{author}: {step:?}: {result:?}");
        let Ok(verified) = result else { continue };
        let (before, members) = (model.safety(), model.fleet.members());
        world.apply(&verified);
        model.apply(step);
        accepted += 1;
        model.agrees_with(&world);
        // No sequence of accepted non-cluster entries ever leaves no superuser, or no way in.
        assert!(
            *author == 0 || before == 0 || model.safety() >= before,
            "{step:?}"
        );
        assert!(*author == 0 || members == 0 || model.fleet.members() > 0);
    }
    (world, model, accepted)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_ledger_takes_what_the_rules_allow_and_nothing_else(history in history()) {
        let (world, model, _) = play(&history);
        model.agrees_with(&world);
        // State is fold(entries).
        prop_assert_eq!(fold(&world.log, &cluster_key().public()).unwrap(), world.state);
    }

    #[test]
    fn any_other_order_or_number_of_the_entries_is_refused(
        history in history(),
        a in any::<prop::sample::Index>(),
        b in any::<prop::sample::Index>(),
    ) {
        let (world, _, _) = play(&history);
        let log = &world.log;
        let (a, b) = (a.index(log.len()), b.index(log.len()));
        let key = cluster_key().public();
        if a != b {
            let mut swapped = log.clone();
            swapped.swap(a, b);
            prop_assert!(fold(&swapped, &key).is_err());
        }
        let mut doubled = log.clone();
        doubled.insert(b, log[a].clone());
        prop_assert!(fold(&doubled, &key).is_err());
        if a + 1 < log.len() {
            let mut without = log.clone();
            without.remove(a);
            prop_assert!(fold(&without, &key).is_err());
        }
    }
}

/// The random histories are worth something: a fair part of their steps is accepted.
#[test]
fn histories_are_not_all_refused() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut steps, mut accepted) = (0, 0);
    let mut kinds = BTreeMap::new();
    for _ in 0..60 {
        let history = history().new_tree(&mut runner).unwrap().current();
        steps += history.len();
        let (world, _, taken) = play(&history);
        accepted += taken;
        for bytes in &world.log {
            let change = palisade_ledger::decode(bytes).unwrap().change;
            *kinds.entry(common::kind(&change)).or_insert(0) += 1;
        }
    }
    assert!(accepted * 10 > steps, "{accepted} of {steps}");
    for kind in [
        "node_add",
        "node_join",
        "node_approve",
        "node_remove",
        "node_rotate",
        "node_set",
        "token_create",
        "token_revoke",
        "secret_set",
        "certificate_issued",
    ] {
        assert!(kinds.get(kind) > Some(&5), "{kind}: {kinds:?}");
    }
}
