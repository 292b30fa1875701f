//! `palisade user set`, `disable`, `enable` and `remove`.

use clap::Args;
use palisade_ledger::{Change, Privileges, State, Uid};

use crate::cli::common::ClusterArgs;
use crate::cli::error::{CliError, Outcome};
use crate::cli::exit::Exit;
use crate::cli::values::{self, PrivilegesParser, Switch, privileges_and};
use crate::cli::view::View;
use crate::cli::{complete, out, prompt};

/// Whom a change is about, and who signs it.
#[derive(Debug, Args)]
struct Target {
    /// Whom
    #[arg(value_name = "NAME", add = complete::users())]
    name: String,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Change what a user may do by default.
#[derive(Debug, Args)]
#[command(after_help = privileges_and!("\
Examples:
  palisade user set alice --privileges=select,insert,set_transaction --as root.credentials
  palisade user set alice --superuser=off --as root.credentials"))]
pub(super) struct SetArgs {
    #[command(flatten)]
    target: Target,

    /// The new default privileges, in place of the old
    #[arg(long, value_name = "PRIVILEGES", value_parser = PrivilegesParser, hide_possible_values = true,
          required_unless_present = "superuser")]
    privileges: Option<Privileges>,

    /// Every privilege on every object, or no more
    #[arg(long, value_name = "on|off", hide_possible_values = true)]
    superuser: Option<Switch>,
}

/// Shut a user out: open sessions end, and no login passes.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  palisade user disable alice --as root.credentials")]
pub(super) struct DisableArgs {
    #[command(flatten)]
    target: Target,
}

/// Let a user in again who was disabled.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  palisade user enable alice --as root.credentials")]
pub(super) struct EnableArgs {
    #[command(flatten)]
    target: Target,
}

/// Remove a user for good, with every access control list that names him.
///
/// The number is never given to another user. What the user owned stays in the database.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade user remove alice --as root.credentials
  palisade user remove alice --yes --as root.credentials")]
pub(super) struct RemoveArgs {
    #[command(flatten)]
    target: Target,

    /// Don't ask
    #[arg(long)]
    yes: bool,
}

impl Target {
    /// Opens the ledger and appends what `change` says of the user, whom a question may be asked about.
    fn append(
        &self,
        question: Option<&str>,
        change: &dyn Fn(Uid) -> Change,
    ) -> Result<(), CliError> {
        let signer = self.cluster.signer()?;
        let mut view = View::open(&self.cluster)?;
        let uid = view.user(&self.name)?.uid;
        view.author(&signer)?;
        if let Some(question) = question {
            prompt::confirm(question, false)?;
        }
        view.append(&signer, &mut |state: &State| {
            // The name must still be the same user's when it is signed again.
            match state.user_by_name(&self.name) {
                Some(user) if user.uid == uid => Ok(change(uid)),
                Some(_) | None => Err(CliError::no(format!("user {} is gone", self.name))),
            }
        })
    }
}

/// Runs `set`.
pub(super) fn set(args: &SetArgs) -> Outcome {
    args.target.append(None, &|uid| Change::UserSet {
        uid,
        superuser: args.superuser.map(Switch::is_on),
        default_privileges: args.privileges,
    })?;
    if args
        .privileges
        .is_some_and(values::writes_without_transactions)
    {
        out::note(&format!(
            "note: {} may write, but not commit a transaction; add set_transaction if he should",
            args.target.name
        ));
    }
    Ok(Exit::Done)
}

fn set_disabled(target: &Target, disabled: bool) -> Outcome {
    target.append(None, &|uid| Change::UserDisabled { uid, disabled })?;
    Ok(Exit::Done)
}

/// Runs `disable`.
pub(super) fn disable(args: &DisableArgs) -> Outcome {
    set_disabled(&args.target, true)
}

/// Runs `enable`.
pub(super) fn enable(args: &EnableArgs) -> Outcome {
    set_disabled(&args.target, false)
}

/// Runs `remove`.
pub(super) fn remove(args: &RemoveArgs) -> Outcome {
    let question = format!("Remove user {} for good?", args.target.name);
    let question = (!args.yes).then_some(question.as_str());
    args.target
        .append(question, &|uid| Change::UserRemove { uid })?;
    Ok(Exit::Done)
}
