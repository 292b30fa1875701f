//! `palisade ca list` and `revoke`: the inventory.

use std::path::Path;

use clap::{Args, ValueEnum};
use palisade_ledger::{CertificateKind, Change, Hash, Issued, State};
use palisade_link::x509::inspect::certificates;
use serde::Serialize;
use time::format_description::well_known::Rfc3339;

use super::{hex, time_of, unhex};
use crate::cli::common::ClusterArgs;
use crate::cli::error::{CliError, Outcome};
use crate::cli::exit::Exit;
use crate::cli::view::View;
use crate::cli::{clock, files, out};

/// List the certificates that were issued: to whom, by whom, until when.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade ca list
  palisade ca list --kind service
  palisade ca list --all --json | jq -r '.[] | select(.revoked) | .serial'")]
pub(super) struct ListArgs {
    /// Those that expired within the last day, too
    #[arg(long)]
    all: bool,

    /// Those of one kind alone
    #[arg(long, value_name = "KIND")]
    kind: Option<Kind>,

    /// As JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A node's gateway, PostgreSQL and API, or a host's
    Server,
    /// An etcd member's
    Store,
    /// A user's
    User,
    /// A service's
    Service,
    /// A tool's
    Tool,
}

impl Kind {
    fn is(self, kind: CertificateKind) -> bool {
        name(kind)
            == self
                .to_possible_value()
                .as_ref()
                .map_or("", |value| value.get_name())
    }
}

fn name(kind: CertificateKind) -> &'static str {
    match kind {
        CertificateKind::Server => "server",
        CertificateKind::Store => "store",
        CertificateKind::User => "user",
        CertificateKind::Service => "service",
        CertificateKind::Tool => "tool",
        CertificateKind::IssuingCa => "issuing_ca",
    }
}

/// Revoke a certificate: from now on nobody takes it.
///
/// The gateway refuses it at once and ends the sessions that came with it; PostgreSQL and etcd refuse
/// it as soon as they have the new revocation list, which the nodes write by themselves. Needs the
/// privilege system.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade ca revoke billing.crt --reason 'laptop stolen' --as root.credentials
  palisade ca revoke 5f3a9c0e1b7d4a628c5e0f9d3b2a7c41 --as root.credentials")]
pub(super) struct RevokeArgs {
    /// The serial number, in hexadecimal digits, or the certificate's file
    #[arg(value_name = "SERIAL|FILE")]
    what: String,

    /// Why, for those who come after you
    #[arg(long, value_name = "TEXT", default_value = "revoked by an operator")]
    reason: String,

    #[command(flatten)]
    cluster: ClusterArgs,
}

#[derive(Serialize)]
struct Line {
    serial: String,
    subject: String,
    kind: &'static str,
    holder: Option<u32>,
    issuer: String,
    by: Option<String>,
    until: String,
    revoked: Option<String>,
}

impl Line {
    fn of(issued: &Issued, state: &State) -> Self {
        let revoked = state
            .revocations()
            .find(|(serial, _)| *serial == issued.serial)
            .map(|(_, revocation)| revocation.reason.clone());
        Self {
            serial: hex(&issued.serial),
            subject: issued.subject.clone(),
            kind: name(issued.kind),
            holder: issued.holder.map(palisade_ledger::NodeId::get),
            issuer: issuer(state, &issued.issuer),
            by: issued.by.map(|uid| {
                let user = state.user(uid);
                user.map_or_else(|| format!("uid {uid}"), |user| user.name.to_string())
            }),
            until: time_of(issued.until).format(&Rfc3339).unwrap_or_default(),
            revoked,
        }
    }
}

/// The CA as far as people tell it from others.
fn issuer(state: &State, hash: &Hash) -> String {
    let digits: String = hash.to_string().chars().take(12).collect();
    let is_there = state.issuing_cas().any(|der| Hash::of(der) == *hash);
    if is_there {
        digits
    } else {
        format!("{digits} (retired)")
    }
}

/// Runs `list`.
pub(super) fn run(args: &ListArgs) -> Outcome {
    let view = View::open(&args.cluster)?;
    let state = view.state();
    let now = clock::now();
    let mut issued: Vec<_> = state
        .issued()
        .filter(|issued| args.all || time_of(issued.until) > now)
        .filter(|issued| args.kind.is_none_or(|kind| kind.is(issued.kind)))
        .collect();
    issued.sort_by_key(|issued| issued.until);
    let lines: Vec<_> = issued
        .iter()
        .map(|issued| Line::of(issued, state))
        .collect();
    if args.json {
        out::json(&lines)?;
        return Ok(Exit::Done);
    }
    let nobody = || "-".to_owned();
    let rows = lines.iter().map(|line| {
        vec![
            line.serial.clone(),
            line.subject.clone(),
            line.kind.to_owned(),
            line.holder.map_or_else(nobody, |id| format!("node {id}")),
            line.issuer.clone(),
            line.by.clone().unwrap_or_else(nobody),
            line.until.clone(),
            line.revoked.clone().unwrap_or_default(),
        ]
    });
    let head = [
        "serial",
        "subject",
        "kind",
        "holder",
        "issuing CA",
        "asked by",
        "until",
        "revoked",
    ];
    out::table(&head, rows)?;
    Ok(Exit::Done)
}

/// Runs `revoke`.
pub(super) fn revoke(args: &RevokeArgs) -> Outcome {
    let serial = serial(&args.what)?;
    let signer = args.cluster.signer()?;
    let mut view = View::open(&args.cluster)?;
    if view.state().is_revoked(&serial) {
        out::line(&format!("{} was revoked before", hex(&serial)))?;
        return Ok(Exit::Done);
    }
    let known = view.state().issued_by_serial(&serial).cloned();
    view.append(&signer, &mut |_| {
        Ok(Change::CertificateRevoke {
            serial: serial.clone(),
            reason: args.reason.clone(),
        })
    })?;
    match known {
        Some(issued) => out::line(&format!("revoked {} ({})", hex(&serial), issued.subject))?,
        None => out::line(&format!(
            "revoked {}, which is not in the inventory",
            hex(&serial)
        ))?,
    }
    Ok(Exit::Done)
}

/// What is to be revoked: a file that is there, else digits.
fn serial(what: &str) -> Result<Vec<u8>, CliError> {
    let path = Path::new(what);
    if path.is_file() {
        let bytes = files::read_bytes(path, files::MAX_KEY_BYTES)?;
        let unreadable = || CliError::file(format!("{what} holds no certificate"));
        let chain = certificates(&bytes).map_err(|error| unreadable().because(&error))?;
        let first = chain.first().map(Vec::as_slice).unwrap_or_default();
        return palisade_daemon::pki::serial(first).ok_or_else(unreadable);
    }
    let bytes = unhex(what).ok_or_else(|| {
        CliError::usage(format!("`{what}` is neither a file nor a serial number"))
            .hint("`palisade ca list` shows the serial numbers")
    })?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    Ok(bytes.get(zeros..).unwrap_or_default().to_vec())
}
