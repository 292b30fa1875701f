//! `palisade ca show`: the root, and the CAs that it certified.

use clap::Args;
use palisade_ledger::{Hash, State};
use palisade_link::x509::inspect::{Context, Described, inspect};
use palisade_link::x509::root_name;
use serde::Serialize;

use super::{hex, resting_on};
use crate::cli::common::ClusterArgs;
use crate::cli::error::{CliError, Outcome};
use crate::cli::exit::Exit;
use crate::cli::view::View;
use crate::cli::{clock, out};

/// Show the root and the issuing CAs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade ca show
  palisade ca show --json | jq -r '.issuing[].until'")]
pub(super) struct ShowArgs {
    /// As JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    cluster: ClusterArgs,
}

#[derive(Serialize)]
struct Shown {
    root: String,
    cluster_key: String,
    issuing: Vec<Issuing>,
    revoked: usize,
}

#[derive(Serialize)]
struct Issuing {
    sha256: String,
    state: &'static str,
    in_use: usize,
    #[serde(flatten)]
    certificate: Described,
}

/// Runs it.
pub(super) fn run(args: &ShowArgs) -> Outcome {
    let view = View::open(&args.cluster)?;
    let state = view.state();
    let shown = shown(state)?;
    if args.json {
        out::json(&shown)?;
        return Ok(Exit::Done);
    }
    out::line(&format!("root: {} ({})", shown.root, shown.cluster_key))?;
    let rows = shown.issuing.iter().map(|ca| {
        vec![
            ca.certificate.subject.clone(),
            ca.state.to_owned(),
            ca.certificate.until.clone(),
            ca.in_use.to_string(),
            ca.certificate.serial.clone(),
        ]
    });
    out::table(
        &[
            "issuing CA",
            "state",
            "until",
            "certificates in use",
            "serial",
        ],
        rows,
    )?;
    out::line(&format!("revoked certificates: {}", shown.revoked))?;
    Ok(Exit::Done)
}

fn shown(state: &State) -> Result<Shown, CliError> {
    let now = clock::now();
    let context = Context {
        now,
        host: None,
        key: None,
        cluster: None,
        issuing: &[],
        revoked: &|_| None,
    };
    let active = state.active_ca();
    let before = state.issuing_cas().position(|der| Some(der) == active);
    let mut issuing = Vec::new();
    for (index, der) in state.issuing_cas().enumerate() {
        let report = inspect(&[der.to_vec()], &context).map_err(|error| {
            CliError::no("an issuing CA of the ledger can't be read").because(&error)
        })?;
        let Some(certificate) = report.certificates.into_iter().next() else {
            continue;
        };
        let hash = Hash::of(der);
        issuing.push(Issuing {
            sha256: hash.to_string(),
            state: match before {
                Some(active) if index == active => "signs",
                Some(active) if index < active => "retiring",
                Some(_) | None => "candidate",
            },
            in_use: resting_on(state, &hash, now).len(),
            certificate,
        });
    }
    let key = state.cluster_key();
    Ok(Shown {
        root: root_name(key),
        cluster_key: hex(key.fingerprint().as_bytes()),
        issuing,
        revoked: state.revocations().len(),
    })
}
