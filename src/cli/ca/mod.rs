//! `palisade ca`: certificates for hosts, services, tools and users, and the CA that signs them.

mod export;
mod inspect;
mod issue;
mod list;
mod rescue;
mod rotate;
mod show;

use clap::{Args, Subcommand};
use palisade_keys::SecretKey;
use palisade_ledger::{Hash, Issued, State};
use time::OffsetDateTime;

use super::common::{ClusterArgs, read_secret_key};
use super::error::{CliError, Outcome};

/// Issue, inspect and revoke certificates; renew the CA that signs them.
///
/// The cluster key is the root. It certifies an issuing CA, whose key lies on a node; that signs the
/// certificates of the gateway, PostgreSQL, etcd, services, tools and users. Private keys stay where
/// they are made: only requests travel.
#[derive(Debug, Args)]
#[command(
    subcommand_value_name = "COMMAND",
    subcommand_help_heading = "Commands"
)]
pub(crate) struct CaArgs {
    #[command(subcommand)]
    command: CaCommand,
}

#[derive(Debug, Subcommand)]
enum CaCommand {
    Show(show::ShowArgs),
    Issue(issue::IssueArgs),
    Inspect(inspect::InspectArgs),
    List(list::ListArgs),
    Revoke(list::RevokeArgs),
    Rotate(rotate::RotateArgs),
    Export(export::ExportArgs),
    Rescue(rescue::RescueArgs),
}

/// Runs `ca`.
pub(crate) fn run(args: &CaArgs) -> Outcome {
    match &args.command {
        CaCommand::Show(args) => show::run(args),
        CaCommand::Issue(args) => issue::run(args),
        CaCommand::Inspect(args) => inspect::run(args),
        CaCommand::List(args) => list::run(args),
        CaCommand::Revoke(args) => list::revoke(args),
        CaCommand::Rotate(args) => rotate::run(args),
        CaCommand::Export(args) => export::run(args),
        CaCommand::Rescue(args) => rescue::run(args),
    }
}

/// The cluster key: the file that was named, or the one that `palisade up` made.
fn cluster_key(cluster: &ClusterArgs) -> Result<SecretKey, CliError> {
    let path = match &cluster.as_cluster_key {
        Some(path) => path.clone(),
        None => palisade_daemon::layout::Layout::new(cluster.directory()?).cluster_private_key(),
    };
    read_secret_key(&path).map_err(|error| {
        error.hint(
            "name the cluster's private key with --as-cluster-key FILE; it certifies issuing CAs",
        )
    })
}

/// Hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(u32::from(digit), 16))
        .collect()
}

/// Bytes from hexadecimal digits, with or without colons between them.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text
        .chars()
        .filter(|c| *c != ':')
        .map(|c| c.to_digit(16))
        .collect();
    let mut digits = digits?;
    if digits.is_empty() {
        return None;
    }
    if digits.len() % 2 == 1 {
        digits.insert(0, 0);
    }
    let (pairs, _) = digits.as_chunks::<2>();
    let bytes = pairs
        .iter()
        .map(|[high, low]| u8::try_from(high * 16 + low));
    bytes.collect::<Result<Vec<u8>, _>>().ok()
}

/// A time of the ledger as people read it.
fn time_of(millis: palisade_ledger::Millis) -> OffsetDateTime {
    let nanos = i128::from(millis.0) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// The certificates by this CA that somebody still goes by: neither revoked nor expired, nor a node's
/// that has a newer one by the CA that signs now.
fn resting_on<'s>(state: &'s State, ca: &Hash, now: OffsetDateTime) -> Vec<&'s Issued> {
    let active = state.active_ca().map(Hash::of);
    let is_replaced = |issued: &Issued| {
        issued.holder.is_some()
            && Some(issued.issuer) != active
            && state.issued().any(|newer| {
                newer.holder == issued.holder
                    && newer.kind == issued.kind
                    && Some(newer.issuer) == active
                    && time_of(newer.until) > now
            })
    };
    state
        .issued()
        .filter(|issued| issued.issuer == *ca && time_of(issued.until) > now)
        .filter(|issued| !state.is_revoked(&issued.serial) && !is_replaced(issued))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_are_read_as_tools_write_them() {
        assert_eq!(unhex("4f:0A:ff"), Some(vec![0x4f, 0x0a, 0xff]));
        assert_eq!(unhex("fff"), Some(vec![0x0f, 0xff]));
        assert_eq!(unhex(&hex(&[0x4f, 0x0a])), Some(vec![0x4f, 0x0a]));
        assert_eq!(unhex("xyz"), None);
        assert_eq!(unhex(""), None);
    }
}
