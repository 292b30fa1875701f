//! `palisade secret`: the cluster's secret, by which whoever knows it may add a node.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueHint};
use palisade_daemon::layout::Layout;
use palisade_keys::{SecretKey, Zeroizing};
use palisade_ledger::Change;

use super::common::ClusterArgs;
use super::error::{CliError, Outcome};
use super::exit::Exit;
use super::files::{self, Audience};
use super::view::View;
use super::{entropy, out, prompt};

/// Renew or withdraw the cluster's secret.
///
/// Whoever knows the secret may make a machine a node of the cluster, with `palisade join HOST:PORT
/// --secret FILE`. It stands nowhere but where you keep it: the ledger holds only the public half of
/// a key that is derived from it.
#[derive(Debug, Args)]
#[command(
    subcommand_value_name = "COMMAND",
    subcommand_help_heading = "Commands"
)]
pub(crate) struct SecretArgs {
    #[command(subcommand)]
    command: SecretCommand,
}

#[derive(Debug, Subcommand)]
enum SecretCommand {
    Rotate(RotateArgs),
    Withdraw(WithdrawArgs),
}

/// Make a new secret, for all nodes at once. The old one is good for nothing from then on.
///
/// No node is touched and nothing restarts: the nodes read in the ledger which secret counts. Nodes
/// that joined by the old one stay; if it was stolen, look at `palisade node list`. Needs the
/// privilege system.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade secret rotate -o cluster.secret --as root.credentials
  palisade secret rotate --as root.credentials | ssh db4 'umask 077; cat > cluster.secret'")]
struct RotateArgs {
    /// Write the secret to this file, with mode 0600, and not to standard output
    #[arg(short = 'o', long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    out: Option<PathBuf>,

    /// Replace a file that is there
    #[arg(long, requires = "out")]
    force: bool,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Let nobody join by a secret any more, until `secret rotate` makes a new one.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  palisade secret withdraw --as root.credentials")]
struct WithdrawArgs {
    /// Don't ask
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Runs `secret`.
pub(crate) fn run(args: &SecretArgs) -> Outcome {
    match &args.command {
        SecretCommand::Rotate(args) => rotate(args),
        SecretCommand::Withdraw(args) => withdraw(args),
    }
}

/// The key that stands for a secret in this cluster's ledger.
pub(super) fn key_of(
    secret: &str,
    cluster: &palisade_keys::PublicKey,
) -> Result<SecretKey, CliError> {
    SecretKey::from_passphrase(secret, cluster.as_bytes()).map_err(|error| {
        CliError::usage("the secret can't be used")
            .because(&error)
            .hint("`palisade init` and `palisade secret rotate` make good ones")
    })
}

/// Reads a secret: the first line of a file that is its owner's alone, or of standard input (`-`).
pub(super) fn read(path: &Path) -> Result<Zeroizing<String>, CliError> {
    let text = files::read_secret(path, files::MAX_KEY_BYTES)?;
    let line = text.lines().next().unwrap_or_default();
    Ok(Zeroizing::new(line.to_owned()))
}

fn rotate(args: &RotateArgs) -> Outcome {
    let signer = args.cluster.signer()?;
    let mut view = View::open(&args.cluster)?;
    view.author(&signer)?;
    let secret = entropy::cluster_secret()?;
    let public = key_of(&secret, view.state().cluster_key())?.public();
    let text = Zeroizing::new(format!("{}\n", *secret));
    let mut placed = Vec::new();
    if let Some(path) = &args.out {
        placed.push(files::stage(path, text.as_bytes(), Audience::Owner, args.force)?.place()?);
    }
    // The one that `palisade init` left here would be good for nothing.
    let kept = kept(args)?;
    if let Some(path) = &kept {
        placed.push(files::stage(path, text.as_bytes(), Audience::Owner, true)?.place()?);
    }
    let appended = view.append(&signer, &mut |_| {
        Ok(Change::SecretSet { key: Some(public) })
    });
    files::settle(appended, placed)?;
    if let Some(path) = &kept {
        out::note(&format!("{} holds the new secret, too", path.display()));
    }
    if let Some(path) = &args.out {
        out::note(&format!("the new secret is in {}", path.display()));
    } else {
        out::write(text.as_bytes())?;
        out::note("this is the new secret; it is not shown again");
    }
    Ok(Exit::Done)
}

/// The secret's file in this node's directory, if one lies there.
fn kept(args: &RotateArgs) -> Result<Option<PathBuf>, CliError> {
    let path = Layout::new(args.cluster.directory()?).cluster_secret();
    let asked_here = !args.cluster.is_remote() && args.out.as_ref() != Some(&path);
    Ok(Some(path).filter(|path| asked_here && path.exists()))
}

fn withdraw(args: &WithdrawArgs) -> Outcome {
    let signer = args.cluster.signer()?;
    let mut view = View::open(&args.cluster)?;
    view.author(&signer)?;
    prompt::confirm(
        "Let nobody join by the cluster's secret any more?",
        args.yes,
    )?;
    view.append(&signer, &mut |_| Ok(Change::SecretSet { key: None }))?;
    Ok(Exit::Done)
}
