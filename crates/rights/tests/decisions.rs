//! What a user may do, and the rule that decided.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test"
)]

mod common;

use common::state;
use palisade_ledger::{ObjectName, Privileges};
use palisade_rights::{Rule, can, effective};

fn object(text: &str) -> ObjectName {
    text.parse().unwrap()
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn each_rule_decides_and_is_named() {
    let state = state(
        "+root* - +bob:select,system - +out:denied,select - +off:select - !off \
         - [bob app.t]=insert - [bob app.d]=denied - [bob shut]=none - [bob made]=select,create",
    );
    let cases = [
        (
            "root",
            "drop",
            "app.t",
            true,
            "yes: drop on app.t: the user is a superuser",
        ),
        (
            "bob",
            "select",
            "app.x",
            true,
            "yes: select on app.x: the user's default privileges",
        ),
        (
            "bob",
            "insert",
            "app.x",
            false,
            "no: insert on app.x: the user's default privileges lacks insert",
        ),
        // "The default privileges are ignored for every entry with explicit privileges for the given user."
        (
            "bob",
            "select",
            "app.t",
            false,
            "no: select on app.t: the user's ACL on app.t lacks select",
        ),
        (
            "bob",
            "insert",
            "app.t",
            true,
            "yes: insert on app.t: the user's ACL on app.t",
        ),
        // "When this flag is present, all other privileges will be ignored."
        (
            "bob",
            "select",
            "app.d",
            false,
            "no: select on app.d: the user's ACL on app.d lacks select",
        ),
        (
            "bob",
            "select",
            "shut.t",
            false,
            "no: select on shut.t: the ACL on schema shut shuts the user out of it",
        ),
        (
            "bob",
            "create",
            "made.t",
            true,
            "yes: create on made.t: the user's ACL on made",
        ),
        (
            "bob",
            "create",
            "app.t",
            false,
            "no: create on app.t: the user's default privileges lacks create",
        ),
        (
            "bob",
            "system",
            "app.t",
            true,
            "yes: system on app.t: the user's default privileges",
        ),
        (
            "out",
            "select",
            "app.x",
            false,
            "no: select on app.x: the user's default privileges have denied",
        ),
        (
            "off",
            "select",
            "app.x",
            false,
            "no: select on app.x: the user is disabled",
        ),
        (
            "eve",
            "select",
            "app.x",
            false,
            "no: select on app.x: there is no such user",
        ),
    ];
    for (user, privilege, on, allowed, words) in cases {
        let answer = can(&state, user, privilege.parse().unwrap(), &object(on));
        assert_eq!(answer.allowed, allowed, "{user} {privilege} {on}");
        assert_eq!(answer.to_string(), words);
    }
    let bob = state.user_by_name("bob").unwrap().uid;
    assert_eq!(
        effective(&state, bob, &object("app.t")).rule,
        Rule::Acl(object("app.t"))
    );
    assert_eq!(
        effective(&state, bob, &object("app.t")).privileges,
        Privileges::INSERT
    );
}

#[test]
fn nothing_is_not_allowed() {
    let state = state("+root*");
    assert!(!can(&state, "root", Privileges::NONE, &object("app.t")).allowed);
    assert!(!can(&state, "root", Privileges::DENIED, &object("app.t")).allowed);
}
