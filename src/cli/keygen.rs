//! `palisade keygen`: the cluster's key pair.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::entropy;
use super::error::{CliError, Outcome};
use super::exit::Exit;
use super::files::{self, Audience, is_dash};
use super::out;

/// Make a cluster's key pair.
///
/// The public key is what clients need to know of the cluster; put it where they can read it. The
/// private key is the root of trust: it may do anything. Keep it on the first node, or offline.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade keygen -p cluster_public.key -s cluster_private.key
  palisade keygen -p - -s -")]
pub(crate) struct KeygenArgs {
    /// Where the public key goes; `-` is standard output
    #[arg(short = 'p', long = "public", value_name = "FILE", value_hint = ValueHint::FilePath)]
    public: PathBuf,

    /// Where the private key goes, with mode 0600; `-` is standard output
    #[arg(short = 's', long = "secret", value_name = "FILE", value_hint = ValueHint::FilePath)]
    secret: PathBuf,

    /// Replace files that are there
    #[arg(long)]
    force: bool,
}

/// Runs it. Both keys are written, or none.
pub(crate) fn run(args: &KeygenArgs) -> Outcome {
    if !is_dash(&args.public) && files::same_file(&args.public, &args.secret) {
        return Err(CliError::usage("the two keys need two files"));
    }
    let key = entropy::secret_key()?;
    let public = format!("{}\n", key.public());
    let mut secret = key.expose_text();
    secret.push('\n');
    let mut staged = Vec::new();
    for (path, text, audience) in [
        (&args.secret, secret.as_str(), Audience::Owner),
        (&args.public, public.as_str(), Audience::Everybody),
    ] {
        if !is_dash(path) {
            staged.push(files::stage(path, text.as_bytes(), audience, args.force)?);
        }
    }
    if is_dash(&args.public) {
        out::write(public.as_bytes())?;
    }
    if is_dash(&args.secret) {
        out::write(secret.as_bytes())?;
    }
    files::place_all(staged)?;
    Ok(Exit::Done)
}
