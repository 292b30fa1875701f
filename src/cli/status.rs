//! `palisade status`: the node, the cluster as it sees it, and whether something needs a human.

use clap::Args;
use palisade_daemon::layout::Layout;
use palisade_daemon::pki;
use palisade_link::api::{NodeLine, Status, StoreKind, StoreStatus};
use serde::Serialize;

use super::common::ClusterArgs;
use super::error::{CliError, Outcome};
use super::exit::Exit;
use super::out;
use super::view::{Link, View};

/// Show how the cluster is: nodes, master, store, ledger, PostgreSQL, drift, certificates.
///
/// The exit status is 0 if nothing needs a human, 1 if something does (a node is down, the store has
/// no quorum, PostgreSQL is down or differs, a certificate nears its end, ...), and 3 if no daemon
/// answers. With --store-endpoints the ledger in etcd is read and verified, and no daemon is asked: who
/// lives is not known then, and 0 says that the ledger is sound.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade status
  palisade status --node db2.example:7433 --as root.credentials
  palisade status --json | jq -e '.problems == []'
  palisade status --cluster-public-key-file cluster_public.key --store-endpoints https://n1:2379,https://n2:2379 \\
    --store-ca-file rootCA.crt --store-cert-file n1.etcd.crt --store-key n1.etcd.key")]
pub(crate) struct StatusArgs {
    /// As JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Runs it.
pub(crate) fn run(args: &StatusArgs) -> Outcome {
    if args.cluster.outside().is_some() {
        return outside(args);
    }
    let link = Link::new(&args.cluster)?;
    let status = match link.status() {
        Ok(status) => status,
        Err(error) => return waiting(args)?.ok_or(error),
    };
    if args.json {
        out::json(&Shown {
            healthy: is_healthy(&status),
            status: &status,
        })?;
    } else {
        show(&status)?;
    }
    Ok(exit(is_healthy(&status)))
}

fn exit(healthy: bool) -> Exit {
    if healthy { Exit::Done } else { Exit::No }
}

#[derive(Serialize)]
struct Shown<'a> {
    healthy: bool,
    #[serde(flatten)]
    status: &'a Status,
}

/// Whether nothing needs a human.
fn is_healthy(status: &Status) -> bool {
    let well = |node: &NodeLine| node.pending || (node.live && node.problems.is_empty());
    status.problems.is_empty()
        && status.postgres.is_some()
        && status.store.quorum
        && status.store.problem.is_none()
        && status.nodes.iter().all(well)
}

fn show(status: &Status) -> Result<(), CliError> {
    let health = if is_healthy(status) {
        "healthy"
    } else {
        "needs a human"
    };
    out::table(&["cluster", health], rows(status))?;
    if !status.nodes.is_empty() {
        let head = [
            "node",
            "address",
            "fingerprint",
            "standing",
            "ledger",
            "certificate until",
            "sessions",
        ];
        let line = |node| node_row(status, node);
        out::table(&head, status.nodes.iter().map(line))?;
    }
    if status.drift.is_empty() {
        return Ok(());
    }
    let drift = status.drift.iter().map(|line| {
        let mended = if line.mended { "mended" } else { "left alone" };
        vec![line.time.clone(), line.what.clone(), mended.to_owned()]
    });
    out::table(&["found", "drift", "done"], drift)
}

/// What there is to say beside the nodes.
fn rows(status: &Status) -> Vec<Vec<String>> {
    let unknown = || "unknown".to_owned();
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let applied = match status.applied {
        Some(seq) if seq >= status.head.seq => "up to date".to_owned(),
        Some(seq) => format!("at entry {seq}"),
        None => "not yet".to_owned(),
    };
    let number = |id: Option<u32>, none: &str| id.map_or(none.to_owned(), |id| id.to_string());
    let until = status.certificate_until.clone().unwrap_or_else(unknown);
    let mut rows = vec![
        row("name", status.cluster.clone()),
        row("database", status.database.clone()),
        row("version", status.version.clone()),
        row("this node", number(status.node, "no member")),
        row("master", number(status.master, "none")),
        row("store", store(&status.store)),
        row(
            "ledger",
            format!("entry {}, {}", status.head.seq, status.head.hash),
        ),
        row("gateway", status.gateway.join(", ")),
        row(
            "PostgreSQL",
            status.postgres.clone().unwrap_or_else(|| "down".to_owned()),
        ),
        row("applied to PostgreSQL", applied),
        row("open sessions", status.sessions.to_string()),
        row("certificate until", until),
    ];
    if !status.not_in_user_list.is_empty() {
        let names = status.not_in_user_list.join(", ");
        rows.push(row("not in the user list", names));
    }
    rows.extend(problems(status).map(|problem| row("PROBLEM", problem)));
    rows
}

/// Everything that needs a human, here and at the other nodes.
fn problems(status: &Status) -> impl Iterator<Item = String> {
    let own = status.problems.iter().cloned();
    let store = status.store.problem.iter().cloned();
    let quorum = (!status.store.quorum)
        .then(|| "the store has no quorum: nothing can be changed, log-ins go on".to_owned());
    let others = status
        .nodes
        .iter()
        .filter(|node| Some(node.id) != status.node && !node.pending)
        .flat_map(|node| {
            let down = (!node.live).then(|| match &node.reason {
                Some(reason) => format!("node {} does not answer: {reason}", node.id),
                None => format!("node {} does not answer", node.id),
            });
            let told = node.problems.iter();
            let told = told.map(|problem| format!("node {}: {problem}", node.id));
            down.into_iter().chain(told)
        });
    own.chain(store).chain(quorum).chain(others)
}

fn store(store: &StoreStatus) -> String {
    let quorum = if store.quorum { "quorum" } else { "NO QUORUM" };
    let kind = match store.kind {
        StoreKind::Embedded => return "embedded, on this node alone".to_owned(),
        StoreKind::Managed => "etcd, managed",
        StoreKind::Endpoints => "etcd",
    };
    let voters = store
        .members
        .iter()
        .filter(|member| !member.learner)
        .count();
    let members = if store.members.is_empty() {
        String::new()
    } else {
        format!(", {voters} voters")
    };
    let at = if store.endpoints.is_empty() {
        String::new()
    } else {
        format!(", {}", store.endpoints.join(" "))
    };
    format!("{kind}, {quorum}{members}{at}")
}

fn node_row(status: &Status, node: &NodeLine) -> Vec<String> {
    let this = Some(node.id) == status.node;
    let standing = if node.pending {
        "waits for approval".to_owned()
    } else if status.master == Some(node.id) {
        "live, master".to_owned()
    } else if node.live {
        "live".to_owned()
    } else {
        node.seen
            .as_ref()
            .map_or("down".to_owned(), |seen| format!("down, seen {seen}"))
    };
    let ledger = node.head.as_ref().map(|head| format!("entry {}", head.seq));
    vec![
        if this {
            format!("{} (this)", node.id)
        } else {
            node.id.to_string()
        },
        node.address.clone(),
        node.fingerprint.clone(),
        standing,
        ledger.unwrap_or_default(),
        node.certificate_until.clone().unwrap_or_default(),
        node.sessions.map(|n| n.to_string()).unwrap_or_default(),
    ]
}

#[derive(Serialize)]
struct Unborn {
    healthy: bool,
    waiting: bool,
    fingerprint: String,
}

/// A machine that is no member yet has an identity all the same, and somebody wants to compare it.
fn waiting(args: &StatusArgs) -> Result<Option<Exit>, CliError> {
    let layout = Layout::new(args.cluster.directory()?);
    if args.cluster.is_remote() || layout.is_initialized() || !layout.node_key().exists() {
        return Ok(None);
    }
    let key = pki::read_secret_key(&layout.node_key())
        .map_err(|error| CliError::file(error.to_string()))?;
    let fingerprint = key.public().fingerprint().to_string();
    if args.json {
        out::json(&Unborn {
            healthy: false,
            waiting: true,
            fingerprint,
        })?;
    } else {
        let rows = [
            ["standing", "waits for `palisade node add` at a member"],
            ["fingerprint", fingerprint.as_str()],
        ];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        out::table(&["node", "no member yet"], rows)?;
    }
    Ok(Some(Exit::No))
}

/// The cluster as the ledger in etcd tells it.
#[derive(Serialize)]
struct Outside<'a> {
    healthy: bool,
    cluster: &'a str,
    database: &'a str,
    entries: u64,
    head: String,
    endpoints: &'a [String],
    nodes: Vec<NodeLine>,
}

fn outside(args: &StatusArgs) -> Outcome {
    let view = View::open(&args.cluster)?;
    let state = view.state();
    let line = |node: &palisade_ledger::Node| NodeLine {
        id: node.id.get(),
        address: node.address.to_string(),
        fingerprint: node.fingerprint().to_string(),
        pending: node.pending,
        ..NodeLine::default()
    };
    let shown = Outside {
        healthy: true,
        cluster: state.cluster(),
        database: state.database(),
        entries: state.head().seq.saturating_add(1),
        head: state.head().hash.to_string(),
        endpoints: &args.cluster.store.store_endpoints,
        nodes: state.nodes().map(line).collect(),
    };
    if args.json {
        out::json(&shown)?;
        return Ok(Exit::Done);
    }
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let rows = [
        row("name", shown.cluster.to_owned()),
        row("database", shown.database.to_owned()),
        row("store", format!("etcd, {}", shown.endpoints.join(" "))),
        row(
            "ledger",
            format!("entry {}, {}", state.head().seq, shown.head),
        ),
        row("last change", state.time().to_string()),
    ];
    out::table(&["cluster", "its ledger verifies"], rows)?;
    let nodes = shown.nodes.into_iter().map(|node| {
        let standing = if node.pending {
            "waits for approval"
        } else {
            "member"
        };
        vec![
            node.id.to_string(),
            node.address,
            node.fingerprint,
            standing.to_owned(),
        ]
    });
    out::table(&["node", "address", "fingerprint", "standing"], nodes)?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u32, live: bool) -> NodeLine {
        NodeLine {
            id,
            live,
            ..NodeLine::default()
        }
    }

    fn well() -> Status {
        Status {
            postgres: Some("15".to_owned()),
            node: Some(1),
            master: Some(1),
            nodes: vec![node(1, true), node(2, true)],
            ..Status::default()
        }
    }

    #[test]
    fn what_is_well_is_healthy_and_all_else_is_told() {
        assert!(is_healthy(&well()));
        let changes: [fn(&mut Status); 6] = [
            |s| s.postgres = None,
            |s| s.problems.push("x".to_owned()),
            |s| s.store.quorum = false,
            |s| s.store.problem = Some("x".to_owned()),
            |s| s.nodes = vec![node(1, true), node(2, false)],
            |s| {
                for node in &mut s.nodes {
                    node.problems.push("x".to_owned());
                }
            },
        ];
        for change in changes {
            let mut status = well();
            change(&mut status);
            assert!(!is_healthy(&status), "{status:?}");
            assert!(
                status.postgres.is_none() || problems(&status).next().is_some(),
                "{status:?}"
            );
        }
    }

    #[test]
    fn who_waits_for_approval_makes_nobody_ill() {
        let mut status = well();
        status.nodes.push(NodeLine {
            pending: true,
            ..node(3, false)
        });
        assert!(is_healthy(&status));
    }
}
