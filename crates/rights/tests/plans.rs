//! A plan that is carried out on a model of PostgreSQL gives what is desired; then nothing is left to plan.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test"
)]

mod common;

use std::collections::BTreeSet;

use common::state;
use palisade_rights::{
    Catalog, Grant, Object, Picture, Plan, Relation, RelationKind, Rights, Schema, Scope, Step,
    desired, plan, plan_change,
};
use proptest::prelude::*;

fn relation(
    schema: &str,
    name: &str,
    kind: RelationKind,
    parent: Option<u32>,
    keyed: bool,
) -> Relation {
    Relation {
        schema: schema.to_owned(),
        name: name.to_owned(),
        kind,
        parent,
        keyed,
    }
}

fn catalog() -> Catalog {
    let schema = |name: &str| Schema {
        name: name.to_owned(),
    };
    Catalog::new(
        [(1, schema("a")), (2, schema("b"))],
        [
            (10, relation("a", "t", RelationKind::Table, None, false)),
            (
                11,
                relation("a", "t_seq", RelationKind::Sequence, Some(10), false),
            ),
            (12, relation("a", "k", RelationKind::Table, None, true)),
            (
                13,
                relation("a", "part", RelationKind::Table, Some(10), false),
            ),
            (20, relation("b", "v", RelationKind::View, None, false)),
            (21, relation("b", "s", RelationKind::Sequence, None, false)),
        ],
    )
}

/// Carries the plan out on a picture as PostgreSQL would on itself.
fn carry_out(picture: &mut Picture, plan: &Plan) {
    fn rights<'a>(picture: &'a mut Picture, object: &Object) -> &'a mut Rights {
        let mut all = picture
            .schemas
            .values_mut()
            .chain(picture.relations.values_mut());
        all.find(|rights| rights.label == object.label).unwrap()
    }
    for step in &plan.steps {
        match step.clone() {
            Step::CreateRole(name, role) => {
                assert!(picture.roles.insert(name, role).is_none());
            }
            Step::AlterRole(name, role) => {
                assert!(picture.roles.insert(name, role).is_some());
            }
            Step::DropRole(name) => {
                assert!(picture.roles.remove(&name).is_some());
                picture.members.remove(&name);
                for members in picture.members.values_mut() {
                    members.remove(&name);
                }
                for rights in picture
                    .relations
                    .values_mut()
                    .chain(picture.schemas.values_mut())
                {
                    rights.grants.remove(&name);
                }
            }
            Step::Leave(group, members) => {
                for member in members {
                    assert!(picture.members.get_mut(&group).unwrap().remove(&member));
                }
            }
            Step::Join(group, members) => {
                for member in members {
                    assert!(
                        picture.roles.contains_key(&member),
                        "{member} is there before it joins"
                    );
                    picture
                        .members
                        .entry(group.clone())
                        .or_default()
                        .insert(member);
                }
            }
            Step::NoAdmin(group, members) => {
                picture
                    .admins
                    .get_mut(&group)
                    .unwrap()
                    .retain(|member| !members.contains(member));
            }
            Step::PutUser(name, row) => drop(picture.users.insert(name, row)),
            Step::RemoveUser(name) => drop(picture.users.remove(&name)),
            Step::PutAcl(key, privileges) => drop(picture.acls.insert(key, privileges)),
            Step::RemoveAcl(key) => drop(picture.acls.remove(&key)),
            Step::SetOwner(object, owner) => {
                let rights = rights(picture, &object);
                let before = rights.owner.replace(owner.clone()).unwrap();
                let held = rights.grants.remove(&before).unwrap_or_default();
                rights.grants.entry(owner).or_default().extend(held);
            }
            Step::Revoke(object, grantee, grants) => {
                let held = rights(picture, &object).grants.entry(grantee).or_default();
                held.retain(|grant| !grants.contains(grant) && !grants.contains(&Grant::Other));
            }
            Step::Grant(object, grantee, grants) => {
                let there =
                    picture.roles.contains_key(&grantee) || grantee.starts_with("palisade_");
                assert!(there, "{grantee}");
                let held = rights(picture, &object).grants.entry(grantee).or_default();
                held.extend(grants);
            }
            Step::Regularize(object, _) => rights(picture, &object).irregular.clear(),
            Step::MakeInvoker(object) => rights(picture, &object).invoker = true,
        }
    }
}

/// Without what is empty, which means the same as nothing.
fn tidy(mut picture: Picture) -> Picture {
    picture.members.retain(|_, members| !members.is_empty());
    picture.admins.retain(|_, members| !members.is_empty());
    for rights in picture
        .relations
        .values_mut()
        .chain(picture.schemas.values_mut())
    {
        rights.grants.retain(|_, grants| !grants.is_empty());
    }
    picture
}

fn step() -> impl Strategy<Value = String> {
    let user = prop_oneof!["u1", "u2", "u3", "u4"].prop_map(|name: String| name);
    let object = prop_oneof![
        Just("a"),
        Just("b"),
        Just("a.t"),
        Just("a.k"),
        Just("a.part"),
        Just("b.v"),
        Just("b.s"),
        Just("a.t_seq"),
        Just("c.x")
    ];
    let flags = (0_u32..0x8000).prop_map(|bits| bits & !1);
    let on_object = (0_u32..0x400).prop_map(|bits| bits & 0b11_1111_1111);
    prop_oneof![
        3 => (user.clone(), flags.clone()).prop_map(|(user, flags)| format!("+{user}:{flags}")),
        1 => user.clone().prop_map(|user| format!("+{user}*")),
        3 => (user.clone(), flags).prop_map(|(user, flags)| format!("{user}={flags}")),
        1 => user.clone().prop_map(|user| format!("{user}=*")),
        1 => user.clone().prop_map(|user| format!("{user}=1")),
        1 => user.clone().prop_map(|user| format!("-{user}")),
        1 => user.clone().prop_map(|user| format!("!{user}")),
        1 => user.clone().prop_map(|user| format!("~{user}")),
        1 => user.clone().prop_map(|user| format!("{user}$")),
        6 => (user.clone(), object.clone(), on_object)
            .prop_map(|(user, object, flags)| format!("[{user} {object}]={flags}")),
        2 => (user, object).prop_map(|(user, object)| format!("[{user} {object}]")),
    ]
}

fn steps() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(step(), 1..25)
}

/// Some of what a hand may do.
fn disturb(picture: &mut Picture, choices: &[prop::sample::Index]) {
    for choice in choices {
        let oids: Vec<u32> = picture.relations.keys().copied().collect();
        let oid = oids[choice.index(oids.len())];
        let rights = picture.relations.get_mut(&oid).unwrap();
        match choice.index(8) {
            0 => drop(
                rights
                    .grants
                    .insert("PUBLIC".to_owned(), BTreeSet::from([Grant::Select])),
            ),
            1 => drop(rights.grants.pop_first()),
            2 if rights.owner.is_some() => rights.owner = Some("u1".to_owned()),
            3 => drop(rights.irregular.insert("a grant on a column".to_owned())),
            4 => rights.invoker = rights.kind != Some(RelationKind::View),
            5 => {
                let group = picture
                    .members
                    .entry("palisade_select".to_owned())
                    .or_default();
                group.insert("carl".to_owned());
            }
            6 => drop(picture.users.pop_last()),
            _ => {
                let last = picture.roles.last_key_value().map(|(name, _)| name.clone());
                if let Some(role) = last.and_then(|name| picture.roles.get_mut(&name)) {
                    role.plain = false;
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_leads_from_anything_to_what_is_desired(
        before in steps(), after in steps(), by_hand in prop::collection::vec(any::<prop::sample::Index>(), 0..6)
    ) {
        let catalog = catalog();
        let mut picture = desired(&state(&format!("+root* - {}", before.join(" - "))), &catalog, &Scope::All);
        disturb(&mut picture, &by_hand);
        let wanted = desired(&state(&format!("+root* - {}", after.join(" - "))), &catalog, &Scope::All);
        let steps = plan(&picture, &wanted);
        carry_out(&mut picture, &steps);
        prop_assert_eq!(tidy(picture.clone()), tidy(wanted.clone()));
        prop_assert!(plan(&picture, &wanted).is_empty());
        prop_assert!(plan(&wanted, &wanted).is_empty());
    }

    #[test]
    fn a_changes_plan_does_what_the_whole_plan_does(base in steps(), change in prop::collection::vec(step(), 1..4)) {
        let catalog = catalog();
        let base = format!("+root* - {}", base.join(" - "));
        let (old, new) = (state(&base), state(&format!("{base} - {}", change.join(" - "))));
        let mut picture = desired(&old, &catalog, &Scope::All);
        carry_out(&mut picture, &plan_change(&old, &new, &catalog));
        prop_assert_eq!(tidy(picture), tidy(desired(&new, &catalog, &Scope::All)));
    }
}

// Found by the property above: rights that are none before and after, of one who was a superuser.
#[test]
fn who_is_no_superuser_any_more_has_exceptions_even_when_disabled() {
    let catalog = catalog();
    let base = "+root* - +u1* - !u1 - [u1 a]=582";
    let (old, new) = (state(base), state(&format!("{base} - u1=1")));
    let mut picture = desired(&old, &catalog, &Scope::All);
    carry_out(&mut picture, &plan_change(&old, &new, &catalog));
    assert_eq!(tidy(picture), tidy(desired(&new, &catalog, &Scope::All)));
}

// "an explicit ACL for a user and object replaces that user's default_privileges there, so defaults are groups"
#[test]
fn an_object_without_exceptions_is_granted_to_groups_alone() {
    let wanted = desired(
        &state("+root* - +bob:select,insert"),
        &catalog(),
        &Scope::All,
    );
    let names: Vec<&str> = wanted.relations[&10]
        .grants
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        names,
        [
            "palisade_delete",
            "palisade_insert",
            "palisade_owner",
            "palisade_select",
            "palisade_update"
        ]
    );
    assert!(wanted.members["palisade_select"].contains("bob"));
    assert!(!wanted.members["palisade_update"].contains("bob"));
}

// EXPLAIN makes a table with CREATE on the schema, and fires no event trigger.
#[test]
fn only_superusers_hold_create_on_a_schema() {
    let wanted = desired(
        &state(
            "+root* - +alt:alter - +cre:create - +dro:drop - +gra:grant - +ind:index - +sel:select - [sel a]=create",
        ),
        &catalog(),
        &Scope::All,
    );
    let members = |role: &str| wanted.members[role].iter().cloned().collect::<Vec<_>>();
    let all = ["alt", "cre", "dro", "gra", "ind", "root", "sel"];
    assert_eq!(members("palisade_owner"), all);
    let (lent, made): (Vec<_>, Vec<_>) = members("palisade_make")
        .into_iter()
        .partition(|name| name.starts_with("palisade_lent_"));
    assert_eq!(made, ["root"]);
    assert_eq!(lent.len(), 16);
    assert!(lent.iter().all(|role| wanted.members[role].is_empty()));
    for schema in wanted.schemas.values() {
        assert!(!schema.grants.contains_key("palisade_owner"));
        assert!(schema.grants["palisade_make"].contains(&Grant::Create));
    }
}

// An object's own list of grants can't hold a thousand names (a row of pg_class has no room outside of its page).
#[test]
fn exceptions_are_groups_of_the_object() {
    let wanted = desired(
        &state("+root* - +bob:select - +eve:select - +joe - [eve a.t]=insert - [joe a.t]=select"),
        &catalog(),
        &Scope::All,
    );
    let grants = &wanted.relations[&10].grants;
    assert!(!grants.contains_key("palisade_select"), "eve would read");
    assert!(grants.contains_key("palisade_select_10"));
    let members: Vec<&str> = wanted.members["palisade_select_10"]
        .iter()
        .map(String::as_str)
        .collect();
    assert_eq!(members, ["bob", "joe", "root"]);
    assert!(
        grants.contains_key("palisade_insert"),
        "root inserts as by default"
    );
    assert!(wanted.members["palisade_insert_10"].contains("eve"));
    // What follows the table follows its ACL.
    assert!(wanted.members["palisade_select_13"].contains("joe"));
    assert!(wanted.members["palisade_insert_11"].contains("eve"));
}

#[test]
fn no_line_for_people_tells_a_verifier() {
    let plan = plan(
        &Picture::default(),
        &desired(&state("+root* - root$"), &catalog(), &Scope::All),
    );
    assert!(plan.sql().contains("SCRAM-SHA-256$"));
    assert!(!plan.to_string().contains("SCRAM"));
    assert!(
        !format!(
            "{:?}",
            desired(&state("+root* - root$"), &catalog(), &Scope::All)
        )
        .contains("SCRAM")
    );
}

#[test]
fn names_are_quoted() {
    let wanted = desired(
        &state("+root* - +Bob.O;drop:select"),
        &catalog(),
        &Scope::All,
    );
    let sql = plan(&Picture::default(), &wanted).sql();
    assert!(sql.contains("CREATE ROLE \"Bob.O;drop\""), "{sql}");
}
