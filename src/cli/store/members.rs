//! `palisade store members`: etcd's members, as etcdctl lists them.

use clap::Args;
use palisade_link::api::{StoreKind, StoreMember};

use super::table;
use crate::cli::common::ClusterArgs;
use crate::cli::error::{CliError, Outcome};
use crate::cli::exit::Exit;
use crate::cli::out;
use crate::cli::view::Link;

/// The columns of `etcdctl member list -w table`.
const HEAD: [&str; 6] = [
    "ID",
    "STATUS",
    "NAME",
    "PEER ADDRS",
    "CLIENT ADDRS",
    "IS LEARNER",
];

/// List the members of the etcd that holds the ledger.
///
/// With --store-endpoints etcd itself is asked, else the daemon.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade store members
  palisade store members --store-endpoints https://n1:2379,https://n2:2379,https://n3:2379 \\
    --store-ca-file /etc/etcd/rootCA.crt --store-cert-file /etc/etcd/n1.etcd.crt --store-key /etc/etcd/n1.etcd.key")]
pub(super) struct MembersArgs {
    /// As JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Runs it.
pub(super) fn run(args: &MembersArgs) -> Outcome {
    let members = match args.cluster.outside() {
        Some(store) => super::ask::members(store)?,
        None => from_daemon(&args.cluster)?,
    };
    if args.json {
        out::json(&members)?;
    } else {
        let rows: Vec<Vec<String>> = members.iter().map(row).collect();
        out::write(table::draw(&HEAD, &rows).as_bytes())?;
    }
    Ok(Exit::Done)
}

fn from_daemon(cluster: &ClusterArgs) -> Result<Vec<StoreMember>, CliError> {
    let status = Link::new(cluster)?.status()?;
    if status.store.kind == StoreKind::Embedded {
        return Err(
            CliError::no("the ledger is kept on this node alone: there is no etcd")
                .hint("`palisade store move managed` makes one; --store-endpoints asks another"),
        );
    }
    if status.store.members.is_empty() {
        let why = status
            .store
            .problem
            .unwrap_or_else(|| "etcd does not answer".to_owned());
        return Err(CliError::no(format!(
            "the daemon knows of no members: {why}"
        )));
    }
    Ok(status.store.members)
}

fn row(member: &StoreMember) -> Vec<String> {
    let status = if member.name.is_empty() {
        "unstarted"
    } else {
        "started"
    };
    [
        member.id.as_str(),
        status,
        &member.name,
        &member.peer_urls.join(","),
        &member.client_urls.join(","),
        if member.learner { "true" } else { "false" },
    ]
    .map(out::plain)
    .to_vec()
}
