//! `palisade ledger`: what was changed, when, by whom; and the proof.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueHint};
use palisade_daemon::layout::Layout;
use palisade_daemon::store::Store;
use palisade_keys::Zeroizing;
use palisade_ledger::{Author, Change, Entry, Hash, Millis, State, Uid, Verified};
use serde::Serialize;
use serde_json::Value;

mod resolve;

use super::common::ClusterArgs;
use super::error::{CliError, Outcome};
use super::exit::Exit;
use super::files::{self, Audience, is_dash};
use super::out;
use super::view::{Chain, View};

/// Show, verify and export the ledger.
#[derive(Debug, Args)]
#[command(
    subcommand_value_name = "COMMAND",
    subcommand_help_heading = "Commands"
)]
pub(crate) struct LedgerArgs {
    #[command(subcommand)]
    command: LedgerCommand,
}

#[derive(Debug, Subcommand)]
enum LedgerCommand {
    Log(LogArgs),
    Verify(VerifyArgs),
    Export(ExportArgs),
    Import(ImportArgs),
    Resolve(resolve::ResolveArgs),
}

/// Show every change: when, by whom, and what. Each was verified before it is shown.
///
/// Without FILE the daemon's ledger is fetched, or with --store-endpoints that in etcd. Nothing is
/// believed but the cluster's public key.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade ledger log
  palisade ledger log --from 100
  palisade ledger log ledger.cbor --cluster-public-key-file cluster_public.key
  palisade ledger log --json | jq 'select(.author == \"alice\")'")]
struct LogArgs {
    /// An exported ledger; `-` is standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,

    /// Begin with this entry
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u64,

    /// As JSON, one entry a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Verify every entry: form, chain, signature, and the author's right to make it.
///
/// Without FILE the daemon's ledger is fetched, or with --store-endpoints that in etcd. Nothing is
/// believed but the cluster's public key.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade ledger verify
  palisade ledger verify ledger.cbor --cluster-public-key-file cluster_public.key")]
struct VerifyArgs {
    /// An exported ledger; `-` is standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,

    /// As JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Write all signed entries to a file that `palisade ledger verify` takes.
///
/// The file holds password verifiers, and is made with mode 0600.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade ledger export ledger.cbor
  palisade ledger export - | ssh auditor palisade ledger verify - --cluster-public-key-file key")]
struct ExportArgs {
    /// Where to; `-` is standard output
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,

    /// Replace a file that is there
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Add an exported ledger's entries to this node's store, while the daemon is stopped.
///
/// Heals a store that was put back from an old backup: the file must hold all that this node has stored
/// and seen, and every entry is verified.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  palisade ledger import ledger.cbor --dir /var/lib/palisade")]
struct ImportArgs {
    /// An exported ledger
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Runs one of them.
pub(crate) fn run(args: &LedgerArgs) -> Outcome {
    match &args.command {
        LedgerCommand::Log(args) => log(args),
        LedgerCommand::Verify(args) => verify(args),
        LedgerCommand::Export(args) => export(args),
        LedgerCommand::Import(args) => import(args),
        LedgerCommand::Resolve(args) => resolve::run(args),
    }
}

/// Verifies a file's entries, or else those of the ledger, and shows each to `each`.
fn replay(
    file: Option<&Path>,
    cluster: &ClusterArgs,
    each: &mut dyn FnMut(&Verified) -> Result<(), CliError>,
) -> Result<State, CliError> {
    let Some(file) = file else {
        return Ok(View::replay(cluster, each)?.state().clone());
    };
    let mut chain = Chain::new(cluster.public_key()?);
    chain.take(&files::read_bytes(file, files::MAX_LEDGER_BYTES)?, each)?;
    chain.finish()
}

/// An entry as `log` shows it.
#[derive(Serialize)]
struct Shown<'a> {
    seq: u64,
    time: String,
    author: String,
    author_uid: Option<Uid>,
    hash: Hash,
    change: &'a Change,
}

/// Names by uid, as the entries so far tell them: an entry names its author by number.
#[derive(Default)]
struct Names(std::collections::BTreeMap<u32, String>);

impl Names {
    fn learn(&mut self, change: &Change) {
        let (uid, name) = match change {
            Change::UserAdd { user } => (user.uid, &user.name),
            Change::UserImport { user } => (user.uid, &user.name),
            _ => return,
        };
        self.0.insert(uid.get(), name.to_string());
    }

    fn author(&self, author: Author) -> String {
        match author {
            Author::Cluster | Author::Node(_) => author.to_string(),
            Author::User(uid) => self.name(u64::from(uid.get())),
        }
    }

    fn name(&self, uid: u64) -> String {
        let name = u32::try_from(uid).ok().and_then(|uid| self.0.get(&uid));
        name.cloned().unwrap_or_else(|| format!("uid {uid}"))
    }
}

fn shown<'a>(names: &Names, verified: &'a Verified) -> Shown<'a> {
    let entry: &Entry = verified.entry();
    Shown {
        seq: entry.seq,
        time: entry.time.to_string(),
        author: names.author(entry.author),
        author_uid: match entry.author {
            Author::Cluster | Author::Node(_) => None,
            Author::User(uid) => Some(uid),
        },
        hash: verified.head().hash,
        change: &entry.change,
    }
}

fn log(args: &LogArgs) -> Outcome {
    let mut names = Names::default();
    let mut rows = Vec::new();
    replay(args.file.as_deref(), &args.cluster, &mut |verified| {
        names.learn(&verified.entry().change);
        if verified.entry().seq < args.from {
            return Ok(());
        }
        let entry = shown(&names, verified);
        if args.json {
            return out::json_line(&entry);
        }
        let change = serde_json::to_value(entry.change)
            .map_err(|error| CliError::no("can't show this change").because(&error))?;
        rows.push(vec![
            entry.seq.to_string(),
            entry.time,
            entry.author,
            summary(&names, &change),
        ]);
        Ok(())
    })?;
    if !args.json {
        out::table(&["entry", "time", "author", "change"], rows)?;
    }
    Ok(Exit::Done)
}

/// A change in one line: its kind, and its fields as they stand in the JSON.
fn summary(names: &Names, change: &Value) -> String {
    let mut words = Vec::new();
    let mut fields = Vec::new();
    collect(change, &mut fields);
    let new = change.get("user").is_some();
    for (name, value) in fields {
        match (name, value) {
            // A node's or a token's, or an alert's or a command's name.
            ("id", Value::Number(id)) => words.push(id.to_string()),
            ("id" | "named", Value::String(id)) => words.push(id.clone()),
            ("by", Value::Number(uid)) => {
                words.push(format!(
                    "by={}",
                    names.name(uid.as_u64().unwrap_or_default())
                ));
            }
            ("key", Value::Null) => words.push("none".to_owned()),
            ("issuer", Value::String(hash)) => {
                words.push(format!("issuer={}", hash.get(..16).unwrap_or(hash)));
            }
            ("kind", Value::String(kind)) => words.push(kind.replace('_', " ")),
            ("uid", Value::Number(uid)) => {
                words.push(names.name(uid.as_u64().unwrap_or_default()));
            }
            // Whole texts and certificates are for --json.
            ("text", Value::String(text)) => words.push(format!("({} bytes)", text.len())),
            // In hexadecimal digits.
            ("certificate", Value::String(der)) if der.len() > 64 => {
                words.push(format!("({} bytes)", der.len() / 2));
            }
            // The last: what nobody compares by eye.
            (_, Value::Null) | ("seal" | "signature", _) => {}
            (_, Value::String(text)) if text.is_empty() => {}
            ("expires" | "until", Value::Number(millis)) => {
                let time = Millis(millis.as_u64().unwrap_or_default());
                words.push(format!("{name}={time}"));
            }
            // What a new user is not need not be said.
            ("disabled" | "superuser" | "password", Value::Bool(false)) if new => {}
            (name, Value::String(text)) => words.push(format!("{name}={text}")),
            (name, Value::Array(items)) => {
                let items: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
                let items = if items.is_empty() {
                    "none".to_owned()
                } else {
                    items.join(",")
                };
                words.push(format!("{name}={items}"));
            }
            (name, value) => words.push(format!("{name}={value}")),
        }
    }
    words.join(" ")
}

/// The fields, those first that say which: the kind, and whose.
fn collect<'a>(value: &'a Value, fields: &mut Vec<(&'a str, &'a Value)>) {
    let Value::Object(object) = value else { return };
    for first in ["kind", "uid", "id"] {
        if let Some(value) = object.get(first) {
            fields.push((first, value));
        }
    }
    // A user is known by his uid, which his name stands for; an alert by its name alone.
    if let Some(name) = object.get("name").filter(|_| !object.contains_key("uid")) {
        fields.push(("named", name));
    }
    for (name, value) in object {
        match (name.as_str(), value) {
            ("kind" | "uid" | "id" | "name", _) => {}
            // That there is a secret.
            ("sealed", Value::Object(sealed)) if sealed.is_empty() => {}
            ("sealed", Value::Object(_)) => fields.push((name, &Value::Bool(true))),
            (_, Value::Object(_)) => collect(value, fields),
            (name, value) => fields.push((name, value)),
        }
    }
}

#[derive(Serialize)]
struct Proof {
    cluster: String,
    cluster_key: String,
    entries: u64,
    head: Hash,
    last_change: String,
}

fn verify(args: &VerifyArgs) -> Outcome {
    let state = replay(args.file.as_deref(), &args.cluster, &mut |_| Ok(()))?;
    let proof = Proof {
        cluster: state.cluster().to_owned(),
        cluster_key: state.cluster_key().to_string(),
        entries: state.head().seq.saturating_add(1),
        head: state.head().hash,
        last_change: state.time().to_string(),
    };
    if args.json {
        out::json(&proof)?;
    } else {
        out::line(&format!(
            "verified: {} entries of cluster {}, the last of {}, head {}",
            proof.entries, proof.cluster, proof.last_change, proof.head
        ))?;
    }
    Ok(Exit::Done)
}

fn export(args: &ExportArgs) -> Outcome {
    let mut bytes = Zeroizing::new(Vec::new());
    replay(None, &args.cluster, &mut |verified| {
        bytes.extend_from_slice(verified.bytes());
        Ok(())
    })?;
    if is_dash(&args.file) {
        out::write(&bytes)?;
    } else {
        let staged = files::stage(&args.file, &bytes, Audience::Owner, args.force)?;
        files::place_all(vec![staged])?;
    }
    Ok(Exit::Done)
}

fn import(args: &ImportArgs) -> Outcome {
    let key = args.cluster.public_key()?;
    let file = std::fs::read(&args.file).map_err(|error| {
        CliError::file(format!("can't read {}", args.file.display())).because(&error)
    })?;
    let layout = Layout::new(args.cluster.directory()?);
    let store = Store::open(&layout.private()).map_err(|error| {
        CliError::file(error.to_string())
            .hint("stop the daemon first: palisade node stop, or Ctrl-C")
    })?;
    let imported = palisade_daemon::import::import(&store, &key, &file)
        .map_err(|error| CliError::no(error.to_string()))?;
    out::line(&format!(
        "{} entries added; the ledger ends with entry {}, {}",
        imported.added, imported.head.seq, imported.head.hash
    ))?;
    Ok(Exit::Done)
}
