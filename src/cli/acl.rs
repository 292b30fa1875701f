//! `palisade acl` and `palisade can`: rights on single objects, and the answer with its reason.

use clap::{Args, Subcommand};
use palisade_ledger::{Change, ObjectName, Privileges};
use serde::Serialize;

use super::common::ClusterArgs;
use super::complete;
use super::error::Outcome;
use super::exit::Exit;
use super::out;
use super::values::{PrivilegesParser, object, privileges_and};
use super::view::View;

/// Give, take and show rights on single objects.
///
/// Where an access control list names a user, it replaces his default privileges for that object.
#[derive(Debug, Args)]
#[command(
    subcommand_value_name = "COMMAND",
    subcommand_help_heading = "Commands"
)]
pub(crate) struct AclArgs {
    #[command(subcommand)]
    command: AclCommand,
}

#[derive(Debug, Subcommand)]
enum AclCommand {
    Set(SetArgs),
    Unset(UnsetArgs),
    Get(GetArgs),
}

/// Say what a user may do to an object, in place of his default privileges.
#[derive(Debug, Args)]
#[command(after_help = privileges_and!("\
Examples:
  palisade acl set public.orders alice select,insert --as root.credentials
  palisade acl set payroll bob denied --as root.credentials"))]
struct SetArgs {
    /// SCHEMA or SCHEMA.NAME, with double quotes as in SQL
    #[arg(value_parser = object, add = complete::objects())]
    object: ObjectName,

    /// Who
    #[arg(add = complete::users())]
    user: String,

    /// What: a number, or names with commas between
    #[arg(value_parser = PrivilegesParser, hide_possible_values = true)]
    privileges: Privileges,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Let a user's default privileges hold for an object again.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  palisade acl unset public.orders alice --as root.credentials")]
struct UnsetArgs {
    /// SCHEMA or SCHEMA.NAME, with double quotes as in SQL
    #[arg(value_parser = object, add = complete::objects())]
    object: ObjectName,

    /// Who
    #[arg(add = complete::users())]
    user: String,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Show access control lists.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade acl get
  palisade acl get public.orders
  palisade acl get --user alice --json")]
struct GetArgs {
    /// SCHEMA or SCHEMA.NAME [default: all]
    #[arg(value_parser = object, add = complete::objects())]
    object: Option<ObjectName>,

    /// Those that name this user
    #[arg(long, value_name = "NAME", add = complete::users())]
    user: Option<String>,

    /// As JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Runs `acl`.
pub(crate) fn run(args: &AclArgs) -> Outcome {
    match &args.command {
        AclCommand::Set(args) => set(args),
        AclCommand::Unset(args) => unset(args),
        AclCommand::Get(args) => get(args),
    }
}

fn set(args: &SetArgs) -> Outcome {
    let signer = args.cluster.signer()?;
    let mut view = View::open(&args.cluster)?;
    let uid = view.user(&args.user)?.uid;
    view.append(&signer, &mut |_| {
        Ok(Change::AclSet {
            object: args.object.clone(),
            uid,
            privileges: args.privileges,
        })
    })?;
    warn_if_missing(&view, &args.object);
    Ok(Exit::Done)
}

/// A list may be there before its object. Where the daemon knows that there is no such object, it may also
/// be a slip.
fn warn_if_missing(view: &View, object: &ObjectName) {
    if view.is_outside() {
        return;
    }
    // Whoever does not answer knows nothing of it, and the list stands.
    let Ok(status) = view.status() else { return };
    if status.missing_objects.contains(&object.to_string()) {
        out::note(&format!(
            "warning: database {} has no {object}; the list holds from the moment that somebody makes it",
            status.database
        ));
        out::note(
            "hint: if the name is wrong: palisade acl unset; names are written as in SQL, \"Orders\" with its quotes",
        );
    }
}

fn unset(args: &UnsetArgs) -> Outcome {
    let signer = args.cluster.signer()?;
    let mut view = View::open(&args.cluster)?;
    let uid = view.user(&args.user)?.uid;
    view.append(&signer, &mut |_| {
        Ok(Change::AclUnset {
            object: args.object.clone(),
            uid,
        })
    })?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Row {
    object: String,
    user: String,
    privileges: Privileges,
}

fn get(args: &GetArgs) -> Outcome {
    let view = View::open(&args.cluster)?;
    let state = view.state();
    let wanted = match &args.user {
        Some(name) => Some(view.user(name)?.uid),
        None => None,
    };
    let mut rows = Vec::new();
    for (object, acl) in state.acls() {
        if args.object.as_ref().is_some_and(|asked| asked != object) {
            continue;
        }
        for (uid, privileges) in acl {
            if wanted.is_some_and(|wanted| wanted != *uid) {
                continue;
            }
            let user = state.user(*uid);
            rows.push(Row {
                object: object.to_string(),
                user: user.map_or_else(|| uid.to_string(), |user| user.name.to_string()),
                privileges: *privileges,
            });
        }
    }
    if args.json {
        out::json(&rows)?;
    } else {
        let cells = rows
            .into_iter()
            .map(|row| vec![row.object, row.user, row.privileges.to_string()]);
        out::table(&["object", "user", "privileges"], cells)?;
    }
    Ok(Exit::Done)
}

/// Answer whether a user may do something, and name the rule that decided.
///
/// The exit status is 0 for yes and 1 for no.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade can alice select public.orders
  palisade can alice insert,delete public.orders && echo yes")]
pub(crate) struct CanArgs {
    /// Who
    #[arg(add = complete::users())]
    user: String,

    /// What
    #[arg(value_parser = PrivilegesParser, hide_possible_values = true)]
    privilege: Privileges,

    /// SCHEMA or SCHEMA.NAME, with double quotes as in SQL
    #[arg(value_parser = object, add = complete::objects())]
    object: ObjectName,

    /// As JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    cluster: ClusterArgs,
}

#[derive(Serialize)]
struct Said {
    allowed: bool,
    user: String,
    privilege: Privileges,
    object: String,
    rule: String,
}

/// Runs `can`.
pub(crate) fn can(args: &CanArgs) -> Outcome {
    let view = View::open(&args.cluster)?;
    let answer = palisade_rights::can(view.state(), &args.user, args.privilege, &args.object);
    if args.json {
        out::json(&Said {
            allowed: answer.allowed,
            user: args.user.clone(),
            privilege: answer.privilege,
            object: answer.object.to_string(),
            rule: answer.rule.to_string(),
        })?;
    } else {
        out::line(&answer.to_string())?;
    }
    Ok(if answer.allowed { Exit::Done } else { Exit::No })
}
