//! `palisade hba`: the rules of the front door.

mod draw;
mod lint;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueHint};
use palisade_hba::Rules;
use palisade_hba::limits::MAX_TEXT_BYTES;
use palisade_keys::Zeroizing;
use palisade_ledger::Change;

use super::common::ClusterArgs;
use super::error::{CliError, Outcome};
use super::exit::Exit;
use super::view::View;
use super::{files, out};

/// Show, check and set who may connect from where, in the language of `pg_hba.conf`.
#[derive(Debug, Args)]
#[command(
    subcommand_value_name = "COMMAND",
    subcommand_help_heading = "Commands"
)]
pub(crate) struct HbaArgs {
    #[command(subcommand)]
    command: HbaCommand,
}

#[derive(Debug, Subcommand)]
enum HbaCommand {
    Show(ShowArgs),
    Set(SetArgs),
    Check(CheckArgs),
}

/// Show the rules that are in force.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade hba show
  palisade hba show > rules.conf")]
struct ShowArgs {
    /// As JSON: each rule with its line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Put these rules in the place of the old, on every node, open sessions included.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  palisade hba show > rules.conf; editor rules.conf; palisade hba set rules.conf --as root.credentials")]
struct SetArgs {
    /// The rules; `-` is standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Check rules without a daemon: faults, and what is probably not meant.
///
/// The exit status is 1 if there are faults; warnings alone leave it 0.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  palisade hba check rules.conf")]
struct CheckArgs {
    /// The rules; `-` is standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
}

/// Runs one of them.
pub(crate) fn run(args: &HbaArgs) -> Outcome {
    match &args.command {
        HbaCommand::Show(args) => show(args),
        HbaCommand::Set(args) => set(args),
        HbaCommand::Check(args) => check(args),
    }
}

fn show(args: &ShowArgs) -> Outcome {
    let view = View::open(&args.cluster)?;
    let rules = view.state().hba();
    if args.json {
        let rules: Vec<_> = rules.iter().collect();
        out::json(&rules)?;
    } else {
        out::write(out::plain_lines(rules.text()).as_bytes())?;
    }
    Ok(Exit::Done)
}

/// Reads rules, and draws what is wrong with them on standard error.
fn read(path: &Path) -> Result<Rules, CliError> {
    let limit = u64::try_from(MAX_TEXT_BYTES).unwrap_or(u64::MAX);
    let text: Zeroizing<String> = files::read_text(path, limit)?;
    let name = path.display().to_string();
    let rules = Rules::parse(&text).map_err(|error| {
        out::drawing(&draw::faults(&name, &text, &error, out::colours()));
        let count = error.faults().count();
        let s = if count == 1 { "" } else { "s" };
        CliError::no(format!("{name} has {count} fault{s}"))
    })?;
    let warnings = lint::warnings(&rules);
    out::drawing(&draw::warnings(&name, &text, &warnings, out::colours()));
    Ok(rules)
}

fn set(args: &SetArgs) -> Outcome {
    let signer = args.cluster.signer()?;
    let rules = read(&args.file)?;
    let mut view = View::open(&args.cluster)?;
    view.append(&signer, &mut |_| {
        Ok(Change::HbaSet {
            text: rules.text().to_owned(),
        })
    })?;
    Ok(Exit::Done)
}

fn check(args: &CheckArgs) -> Outcome {
    let rules = read(&args.file)?;
    let s = if rules.len() == 1 { "" } else { "s" };
    out::line(&format!(
        "{}: {} rule{s}, no fault",
        args.file.display(),
        rules.len()
    ))?;
    Ok(Exit::Done)
}
