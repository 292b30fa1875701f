//! `palisade user add`: a key pair, and the user who it belongs to.

use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use palisade_keys::{Credentials, MIN_ITERATIONS, ScramVerifier};
use palisade_ledger::users_cfg::{FileUser, UsersCfg};
use palisade_ledger::{Change, NewUser, Privileges, Uid, UserName};

use super::offline::{self, LockedList};
use super::on;
use crate::cli::common::ClusterArgs;
use crate::cli::error::{CliError, Outcome};
use crate::cli::exit::Exit;
use crate::cli::files::{self, Audience, Staged, is_dash};
use crate::cli::values::{self, PrivilegesParser, Switch, privileges_and};
use crate::cli::view::View;
use crate::cli::{entropy, out, prompt};

/// Add a user and write the new secret key.
///
/// With -p the user goes into a user list (users.cfg), without a daemon; without -p into the
/// cluster's ledger, as an entry signed by you.
#[derive(Debug, Args)]
#[command(after_help = privileges_and!("\
Examples:
  palisade user add -u alice --uid=100 --privileges=2 -p users.cfg -s alice.credentials
  palisade user add -u root --uid=1 --superuser=on -p users.cfg -s root.credentials
  palisade user add -u bob --privileges=select,insert,set_transaction -s bob.credentials --as root.credentials
  palisade user add -u carol --password --as root.credentials
  palisade user add -u dave -p - -s -"))]
pub(super) struct AddArgs {
    /// The user's name
    #[arg(short, long = "user", value_name = "NAME")]
    user: String,

    /// The user's number, from 1 on [default: the next free one]
    #[arg(long, value_name = "N")]
    uid: Option<String>,

    /// What the user may do where no access control list names him [default: select; none for a superuser]
    #[arg(long, value_name = "PRIVILEGES", value_parser = PrivilegesParser, hide_possible_values = true)]
    privileges: Option<Privileges>,

    /// Every privilege on every object
    #[arg(long, value_name = "on|off", num_args = 0..=1, default_missing_value = "on", hide_possible_values = true)]
    superuser: Option<Switch>,

    /// Not allowed to log in, for now
    #[arg(long, value_name = "on|off", num_args = 0..=1, default_missing_value = "on", hide_possible_values = true)]
    disabled: Option<Switch>,

    /// Give the user a password, too: it is asked for
    #[arg(long, conflicts_with = "password_file")]
    password: bool,

    /// Give the user the password on the first line of this file; `-` is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    password_file: Option<PathBuf>,

    /// The user list to add to, made if it is not there; `-` writes one to standard output
    #[arg(short = 'p', long = "public", value_name = "FILE", value_hint = ValueHint::FilePath)]
    public: Option<PathBuf>,

    /// Where the user's credentials (name and secret key) go, with mode 0600; `-` is standard output
    #[arg(short = 's', long = "secret", value_name = "FILE", value_hint = ValueHint::FilePath)]
    secret: Option<PathBuf>,

    #[command(flatten)]
    cluster: ClusterArgs,
}

impl AddArgs {
    fn name(&self) -> Result<UserName, CliError> {
        UserName::new(self.user.as_str()).map_err(|error| CliError::usage(error.to_string()))
    }

    fn uid(&self) -> Result<Option<Uid>, CliError> {
        let parsed = self.uid.as_deref().map(str::parse).transpose();
        parsed.map_err(|error: palisade_ledger::NameError| CliError::usage(error.to_string()))
    }

    fn wants_password(&self) -> bool {
        self.password || self.password_file.is_some()
    }

    fn default_privileges(&self) -> Privileges {
        match self.privileges {
            Some(privileges) => privileges,
            // A superuser's are not looked at; as in the manual, none are left should he be one no more.
            None if on(self.superuser) => Privileges::NONE,
            None => Privileges::SELECT,
        }
    }
}

/// Runs it.
pub(super) fn run(args: &AddArgs) -> Outcome {
    let name = args.name()?;
    args.uid()?;
    match &args.public {
        Some(path) => add_to_list(args, &name, path)?,
        None => add_to_ledger(args, &name)?,
    }
    if !on(args.superuser) && values::writes_without_transactions(args.default_privileges()) {
        out::note(&format!(
            "note: {name} may write, but not commit a transaction; add set_transaction if he should"
        ));
    }
    Ok(Exit::Done)
}

/// A new key, and its credentials file beside its place, if it is to be a file.
struct NewKey {
    credentials: Credentials,
    staged: Option<Staged>,
}

impl NewKey {
    fn make(name: &UserName, secret: &Path) -> Result<Self, CliError> {
        let credentials = Credentials {
            username: name.to_string(),
            secret_key: entropy::secret_key()?,
        };
        let staged = if is_dash(secret) {
            None
        } else {
            let json = credentials.expose_json();
            Some(files::stage(
                secret,
                json.as_bytes(),
                Audience::Owner,
                false,
            )?)
        };
        Ok(Self {
            credentials,
            staged,
        })
    }

    /// Writes the credentials to standard output, if that is their place. Done before anything is
    /// changed: a key that nobody has is worse than a key that opens nothing.
    fn show(&self) -> Result<(), CliError> {
        match &self.staged {
            Some(_) => Ok(()),
            None => out::write(self.credentials.expose_json().as_bytes()),
        }
    }
}

fn add_to_list(args: &AddArgs, name: &UserName, path: &Path) -> Result<(), CliError> {
    if args.wants_password() {
        return Err(CliError::usage("a user list holds keys, no passwords")
            .hint("leave the password out here, and set it later with `palisade user passwd`"));
    }
    let secret = args.secret.as_ref().ok_or_else(|| {
        CliError::usage("the user's secret key needs a place").hint("say -s FILE, or -s -")
    })?;
    if !is_dash(path) && files::same_file(path, secret) {
        return Err(CliError::usage(
            "the list and the secret key need two files",
        ));
    }
    let file_user = |users: &UsersCfg, key: &NewKey| -> Result<FileUser, CliError> {
        let next = users.next_uid();
        Ok(FileUser {
            uid: match args.uid()? {
                Some(uid) => uid,
                None => next.map_err(|error| CliError::no(error.to_string()))?,
            },
            username: name.clone(),
            disabled: on(args.disabled),
            superuser: on(args.superuser),
            default_privileges: args.default_privileges(),
            public_key: key.credentials.secret_key.public(),
        })
    };
    if is_dash(path) {
        let key = NewKey::make(name, secret)?;
        let mut users = UsersCfg::default();
        let user = file_user(&users, &key)?;
        offline::add(&mut users, user, path)?;
        out::write(users.text().as_bytes())?;
        key.show()?;
        return files::place_all(key.staged.into_iter().collect());
    }
    let mut list = LockedList::open(path)?;
    let key = NewKey::make(name, secret)?;
    let user = file_user(list.users(), &key)?;
    let staged = list.stage(user)?;
    key.show()?;
    staged.place(key.staged)
}

fn add_to_ledger(args: &AddArgs, name: &UserName) -> Result<(), CliError> {
    if args.secret.is_none() && !args.wants_password() {
        return Err(
            CliError::usage("without a key or a password the user could never log in")
                .hint("say -s FILE for a key, or --password"),
        );
    }
    let signer = args.cluster.signer()?;
    let mut view = View::open(&args.cluster)?;
    view.author(&signer)?;
    let password = if args.wants_password() {
        let password = prompt::new_password(args.password_file.as_deref())?;
        Some(verifier(&password)?)
    } else {
        None
    };
    let key = match &args.secret {
        Some(secret) => Some(NewKey::make(name, secret)?),
        None => None,
    };
    let public_key = key.as_ref().map(|key| key.credentials.secret_key.public());
    let placed = match key {
        Some(key) => {
            key.show()?;
            key.staged.map(Staged::place).transpose()?
        }
        None => None,
    };
    let asked = args.uid()?;
    let mut uid = None;
    let appended = view.append(&signer, &mut |state| {
        let next = asked.or_else(|| state.next_uid());
        let next = next.ok_or_else(|| CliError::no("no uid is left above the highest one"))?;
        uid = Some(next);
        Ok(Change::UserAdd {
            user: NewUser {
                uid: next,
                name: name.clone(),
                disabled: on(args.disabled),
                superuser: on(args.superuser),
                default_privileges: args.default_privileges(),
                public_key,
                password: password.clone(),
            },
        })
    });
    files::settle(appended, placed)?;
    if let Some(uid) = uid {
        out::note(&format!("added user {name} with uid {uid}"));
    }
    Ok(())
}

/// What checks this password.
pub(super) fn verifier(password: &str) -> Result<ScramVerifier, CliError> {
    ScramVerifier::derive(password, &entropy::salt()?, MIN_ITERATIONS)
        .map_err(|error| CliError::no("can't derive the password's verifier").because(&error))
}
