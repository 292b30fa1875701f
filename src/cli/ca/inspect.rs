//! `palisade ca inspect`: what a certificate is, and what is wrong with it.

use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use palisade_ledger::State;
use palisade_link::x509::inspect::{
    Context, Fault, ReadError, Report, Severity, certificates, inspect, key_spki,
};

use crate::cli::common::ClusterArgs;
use crate::cli::error::{CliError, Outcome};
use crate::cli::exit::Exit;
use crate::cli::view::View;
use crate::cli::{clock, files, out};

/// Bytes of the largest chain that is read.
const MAX_BYTES: u64 = 1024 * 1024;

/// Say in words what a certificate is, and what is wrong with it.
///
/// FILE is PEM (a chain, the certificate itself first) or DER. Its key is looked at if it lies beside
/// it (FILE with .key). Where the cluster is known, it is said whether the certificate is of it and
/// whether it was revoked. The exit status is 0 if nobody will refuse it, and 1 otherwise.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade ca inspect n1.crt --for n1
  palisade ca inspect /etc/etcd/n1.etcd.crt --for 10.0.0.1 --key /etc/etcd/n1.etcd.key
  palisade ca inspect server.crt --json | jq -r '.faults[].remedy'")]
pub(super) struct InspectArgs {
    /// The certificate
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,

    /// The host that clients will ask for
    #[arg(long = "for", value_name = "HOST")]
    host: Option<String>,

    /// Its private key [default: FILE with .key for its ending, if there is one]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    key: Option<PathBuf>,

    /// As JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Runs it.
pub(super) fn run(args: &InspectArgs) -> Outcome {
    let bytes = files::read_bytes(&args.file, MAX_BYTES)?;
    let chain = certificates(&bytes).map_err(|error| unreadable(&args.file, &error))?;
    let (key, mut more) = key(args)?;
    // Without a cluster, or with its daemon down, the rest is said all the same.
    let cluster = args.cluster.public_key().ok();
    let view = cluster.and_then(|_| View::open(&args.cluster).ok());
    let state = view.as_ref().map(View::state);
    let issuing: Vec<_> = state
        .map(|state| state.issuing_cas().map(<[u8]>::to_vec).collect())
        .unwrap_or_default();
    let revoked = |serial: &[u8]| state.and_then(|state| revoked(state, serial));
    let context = Context {
        now: clock::now(),
        host: args.host.as_deref(),
        key: key.as_deref(),
        cluster: cluster.as_ref(),
        issuing: &issuing,
        revoked: &revoked,
    };
    let mut report = inspect(&chain, &context).map_err(|error| unreadable(&args.file, &error))?;
    more.append(&mut report.faults);
    report.faults = more;
    if args.json {
        out::json(&report)?;
    } else {
        show(&report, args)?;
        if cluster.is_some() && state.is_none() {
            out::note("note: no daemon answers, so whether it was revoked is not known");
        }
    }
    Ok(if report.is_sound() {
        Exit::Done
    } else {
        Exit::No
    })
}

fn revoked(state: &State, serial: &[u8]) -> Option<String> {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    let serial = serial.get(zeros..)?;
    let mut all = state.revocations();
    all.find(|(revoked, _)| *revoked == serial)
        .map(|(_, revocation)| revocation.reason.clone())
}

fn unreadable(file: &Path, error: &ReadError) -> CliError {
    let refused = CliError::no(format!("{}: {error}", file.display()));
    match error {
        ReadError::PrivateKey => refused.hint("name the certificate, and the key with --key"),
        ReadError::Request => refused.hint("have it signed: palisade ca issue --csr FILE"),
        ReadError::Empty | ReadError::Certificate { .. } | ReadError::Key { .. } => refused,
    }
}

/// The key's public half, and what is wrong with its file.
fn key(args: &InspectArgs) -> Result<(Option<Vec<u8>>, Vec<Fault>), CliError> {
    let near = args.file.with_extension("key");
    let path = match &args.key {
        Some(path) => path,
        None if near != args.file && near.is_file() => &near,
        None => return Ok((None, Vec::new())),
    };
    let mut faults = Vec::new();
    let mode = path
        .metadata()
        .map(|meta| std::os::unix::fs::MetadataExt::mode(&meta));
    if mode.is_ok_and(|mode| mode & 0o077 != 0) {
        faults.push(Fault {
            kind: "key_exposed",
            severity: Severity::Error,
            what: format!(
                "its key {} may be read by others than its owner",
                path.display()
            ),
            remedy: format!(
                "chmod 600 {}; if others did read it, issue both anew",
                path.display()
            ),
        });
    }
    let text = files::read_bytes(path, files::MAX_KEY_BYTES);
    match text.and_then(|text| {
        key_spki(&text).map_err(|error| CliError::no(format!("{}: {error}", path.display())))
    }) {
        Ok(spki) => Ok((Some(spki), faults)),
        // One that merely lies there is no reason not to look at the certificate.
        Err(error) if args.key.is_some() => Err(error),
        Err(_) => Ok((None, faults)),
    }
}

fn show(report: &Report, args: &InspectArgs) -> Result<(), CliError> {
    for (index, one) in report.certificates.iter().enumerate() {
        let what = match (index, one.ca) {
            (0, false) => "certificate",
            (_, true) => "CA",
            (_, false) => "behind it",
        };
        let names = if one.hosts.is_empty() {
            "none".to_owned()
        } else {
            one.hosts.join(", ")
        };
        let mut rows = vec![
            vec!["issued by".to_owned(), one.issuer.clone()],
            vec!["good from".to_owned(), one.from.clone()],
            vec!["good until".to_owned(), one.until.clone()],
        ];
        if !one.ca {
            rows.push(vec!["names and addresses".to_owned(), names]);
            rows.push(vec!["to be used as".to_owned(), one.uses.join(", ")]);
        }
        rows.push(vec!["key".to_owned(), one.key.clone()]);
        rows.push(vec!["signed by".to_owned(), one.signature.clone()]);
        rows.push(vec!["serial".to_owned(), one.serial.clone()]);
        out::table(&[what, &one.subject], rows)?;
    }
    for fault in &report.faults {
        let kind = match fault.severity {
            Severity::Error => "wrong",
            Severity::Warning => "beware",
        };
        out::line(&format!("{kind}: {}", fault.what))?;
        out::line(&format!("  remedy: {}", fault.remedy))?;
    }
    if report.faults.is_empty() {
        let host = args.host.as_ref().map(|host| format!(" for {host}"));
        out::line(&format!(
            "nothing is wrong with it{}",
            host.unwrap_or_default()
        ))?;
    }
    Ok(())
}
