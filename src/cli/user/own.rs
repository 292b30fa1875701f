//! `palisade user passwd` and `key`: what a user changes for himself.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use palisade_keys::{Credentials, ScramVerifier};
use palisade_ledger::{Author, Change, Uid};

use super::add::verifier;
use crate::cli::common::{ClusterArgs, Signer};
use crate::cli::error::{CliError, Outcome};
use crate::cli::exit::Exit;
use crate::cli::files::{self, Audience, Staged, is_dash};
use crate::cli::view::{Link, Myself, View};
use crate::cli::{complete, entropy, out, prompt};

/// Change a password: your own, or with the cluster key anybody's.
///
/// The password itself never leaves this program: the ledger gets a SCRAM-SHA-256 verifier.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade user passwd --as alice.credentials
  palisade user passwd --password-file - --as alice.credentials < password.txt
  palisade user passwd bob --as-cluster-key cluster_private.key")]
pub(super) struct PasswdArgs {
    /// Whose [default: who signs]
    #[arg(value_name = "NAME", add = complete::users())]
    name: Option<String>,

    /// Take the first line of this file instead of asking; `-` is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    password_file: Option<PathBuf>,

    /// No password from now on
    #[arg(long, conflicts_with = "password_file")]
    none: bool,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Replace your own key by a new one; the old one is worth nothing from then on.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade user key -s alice_new.credentials --as alice.credentials
  palisade user key -s alice.credentials --force --as alice.credentials")]
pub(super) struct KeyArgs {
    /// Where the new credentials go, with mode 0600; `-` is standard output
    #[arg(short = 's', long = "secret", value_name = "FILE", value_hint = ValueHint::FilePath)]
    secret: PathBuf,

    /// Replace a file that is there
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    cluster: ClusterArgs,
}

fn not_yours(name: &str) -> CliError {
    CliError::no(format!(
        "a password is its owner's: {name} must change it, or the cluster key"
    ))
    .hint("sign as that user with --as, or with --as-cluster-key FILE")
}

/// Whose password it is: his who signs, or with the cluster key anybody's.
fn owner(view: &View, signer: &Signer, name: Option<&str>) -> Result<Uid, CliError> {
    match (view.author(signer)?, name) {
        (Author::User(uid), None) => Ok(uid),
        (Author::User(uid), Some(name)) if view.user(name)?.uid == uid => Ok(uid),
        (Author::User(_), Some(name)) => Err(not_yours(name)),
        (Author::Cluster, Some(name)) => Ok(view.user(name)?.uid),
        (Author::Cluster, None) => Err(CliError::usage("whose password?").hint("name the user")),
        (Author::Node(id), _) => Err(CliError::usage(format!("node {id} is no user"))),
    }
}

/// Who changes what is his own: by the ledger, or where it is not shown to him, by a node's word.
enum Way {
    Verified(Box<View>),
    Blind(Box<Myself>),
}

impl Way {
    fn open(cluster: &ClusterArgs, signer: &Signer) -> Result<Self, CliError> {
        match (View::open(cluster), signer) {
            (Ok(view), _) => Ok(Self::Verified(Box::new(view))),
            (Err(error), Signer::User(_)) if error.is_hidden() => {
                Ok(Self::Blind(Box::new(Myself::open(cluster)?)))
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Appends a change of the user `uid` (none: who signs).
    fn append(
        &mut self,
        signer: &Signer,
        uid: Option<Uid>,
        change: impl Fn(Uid) -> Change,
    ) -> Result<(), CliError> {
        match self {
            Self::Verified(view) => {
                let uid = match uid {
                    Some(uid) => uid,
                    None => view.signing_user(signer)?,
                };
                view.append(signer, &mut |_| Ok(change(uid)))
            }
            Self::Blind(myself) => myself.append(signer, change),
        }
    }
}

/// Runs `passwd`.
pub(super) fn passwd(args: &PasswdArgs) -> Outcome {
    let signer = args.cluster.signer()?;
    let mut way = Way::open(&args.cluster, &signer)?;
    let uid = match (&way, &signer, &args.name) {
        (Way::Verified(view), ..) => Some(owner(view, &signer, args.name.as_deref())?),
        (Way::Blind(_), Signer::User(me), Some(name)) if me.username != *name => {
            return Err(not_yours(name));
        }
        (Way::Blind(_), ..) => None,
    };
    let verifier: Option<ScramVerifier> = if args.none {
        None
    } else {
        let password = prompt::new_password(args.password_file.as_deref())?;
        Some(verifier(&password)?)
    };
    way.append(&signer, uid, |uid| Change::UserPassword {
        uid,
        verifier: verifier.clone(),
    })?;
    Ok(Exit::Done)
}

/// Runs `key`.
pub(super) fn key(args: &KeyArgs) -> Outcome {
    let signer = args.cluster.signer()?;
    let mut way = Way::open(&args.cluster, &signer)?;
    if let Way::Verified(view) = &way {
        view.signing_user(&signer)?;
    }
    let username = match &signer {
        Signer::User(credentials) => credentials.username.clone(),
        Signer::Cluster(_) => String::new(),
    };
    let new = Credentials {
        username,
        secret_key: entropy::secret_key()?,
    };
    let json = new.expose_json();
    let public_key = new.secret_key.public();
    let new = Signer::User(new);
    let placed = if is_dash(&args.secret) {
        out::write(json.as_bytes())?;
        None
    } else {
        let staged = files::stage(&args.secret, json.as_bytes(), Audience::Owner, args.force)?;
        Some(Staged::place(staged)?)
    };
    let appended = way
        .append(&signer, None, |uid| Change::UserKey { uid, public_key })
        .or_else(|error| {
            if is_taken(&args.cluster, &new) {
                return Ok(());
            }
            Err(error)
        });
    files::settle(appended, placed)?;
    Ok(Exit::Done)
}

/// Whether a node lets the new key in. The connection of the old one is closed as soon as that is nobody's,
/// which may be before the answer came.
fn is_taken(cluster: &ClusterArgs, new: &Signer) -> bool {
    let lets_in = || {
        let link = Link::by(cluster, Some(new)).ok()?;
        link.ask(|client| async move { client.myself().await }).ok()
    };
    cluster.is_remote() && lets_in().is_some()
}
