//! `palisade user list` and `show`.

use clap::Args;
use palisade_ledger::{Privileges, State, User};
use serde::Serialize;

use crate::cli::common::ClusterArgs;
use crate::cli::complete;
use crate::cli::error::Outcome;
use crate::cli::exit::Exit;
use crate::cli::out::{self, yes_no};
use crate::cli::view::View;

/// Show all users.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade user list
  palisade user list --json")]
pub(super) struct ListArgs {
    /// As JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Show one user and the access control lists that name him.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade user show alice
  palisade user show alice --json")]
pub(super) struct ShowArgs {
    /// Whom
    #[arg(value_name = "NAME", add = complete::users())]
    name: String,

    /// As JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Whether a user may log in, in a word.
fn standing(user: &User) -> &'static str {
    if user.disabled {
        "disabled"
    } else if user.may_log_in() {
        "enabled"
    } else {
        "denied"
    }
}

fn privileges(user: &User) -> String {
    if user.superuser {
        format!("all (superuser; else {})", user.default_privileges)
    } else {
        user.default_privileges.to_string()
    }
}

/// Runs `list`.
pub(super) fn list(args: &ListArgs) -> Outcome {
    let view = View::open(&args.cluster)?;
    let users: Vec<&User> = view.state().users().collect();
    if args.json {
        out::json(&users)?;
        return Ok(Exit::Done);
    }
    let rows = users.iter().map(|user| {
        vec![
            user.uid.to_string(),
            user.name.to_string(),
            standing(user).to_owned(),
            privileges(user),
            yes_no(user.public_key.is_some()),
            yes_no(user.password.is_some()),
        ]
    });
    out::table(
        &[
            "uid",
            "name",
            "standing",
            "default privileges",
            "key",
            "password",
        ],
        rows,
    )?;
    Ok(Exit::Done)
}

/// What an access control list gives a user.
#[derive(Serialize)]
struct Acl {
    object: String,
    privileges: Privileges,
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    user: &'a User,
    fingerprint: Option<String>,
    may_log_in: bool,
    acls: Vec<Acl>,
}

fn acls(state: &State, user: &User) -> Vec<Acl> {
    let acls = state.acls().iter();
    acls.filter_map(|(object, acl)| {
        acl.get(&user.uid).map(|privileges| Acl {
            object: object.to_string(),
            privileges: *privileges,
        })
    })
    .collect()
}

/// Runs `show`.
pub(super) fn show(args: &ShowArgs) -> Outcome {
    let view = View::open(&args.cluster)?;
    let user = view.user(&args.name)?;
    let shown = Shown {
        user,
        fingerprint: user.public_key.map(|key| key.fingerprint().to_string()),
        may_log_in: user.may_log_in(),
        acls: acls(view.state(), user),
    };
    if args.json {
        out::json(&shown)?;
        return Ok(Exit::Done);
    }
    let none = || "none".to_owned();
    let mut rows = vec![
        vec!["name".to_owned(), user.name.to_string()],
        vec!["uid".to_owned(), user.uid.to_string()],
        vec!["standing".to_owned(), standing(user).to_owned()],
        vec!["default privileges".to_owned(), privileges(user)],
        vec![
            "key".to_owned(),
            user.public_key.map_or_else(none, |key| key.to_string()),
        ],
        vec![
            "fingerprint".to_owned(),
            shown.fingerprint.clone().unwrap_or_else(none),
        ],
        vec!["password".to_owned(), yes_no(user.password.is_some())],
        vec!["last change".to_owned(), format!("entry {}", user.changed)],
    ];
    for acl in &shown.acls {
        rows.push(vec![
            format!("on {}", acl.object),
            acl.privileges.to_string(),
        ]);
    }
    out::table(&["user", ""], rows)?;
    Ok(Exit::Done)
}
