//! `cargo xtask layers`: the crates depend on each other as the design's section 3 draws it, and
//! the core cannot do I/O.
//!
//! Three checks: the edges between our own crates; what the core crates reach through others; and
//! which modules of `std` the core's sources name.

use crate::report::Report;
use crate::sources;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// The core: no I/O, no clock, no randomness.
const CORE: &[&str] = &[
    "palisade-keys",
    "palisade-hba",
    "palisade-ledger",
    "palisade-rights",
];

/// Each of our packages and the ones it may depend on. An edge that is not here fails the build.
const ALLOWED: &[(&str, &[&str])] = &[
    ("palisade-keys", &[]),
    ("palisade-hba", &[]),
    ("palisade-ledger", &["palisade-keys", "palisade-hba"]),
    (
        "palisade-rights",
        &["palisade-keys", "palisade-hba", "palisade-ledger"],
    ),
    ("palisade-link", CORE),
    ("palisade-daemon", CORE_AND_LINK),
    ("palisade-gateway", CORE_AND_LINK),
    ("palisade-agent", CORE_AND_LINK),
    ("palisade-console", CORE_AND_LINK),
    (
        "palisade",
        &[
            "palisade-keys",
            "palisade-hba",
            "palisade-ledger",
            "palisade-rights",
            "palisade-link",
            "palisade-daemon",
            "palisade-gateway",
            "palisade-agent",
            "palisade-console",
        ],
    ),
    ("palisade-testkit", &["palisade-keys", "palisade-ledger"]),
    ("xtask", &["palisade-testkit"]),
];

/// What each shell crate may know: the core, and how to talk.
const CORE_AND_LINK: &[&str] = &[
    "palisade-keys",
    "palisade-hba",
    "palisade-ledger",
    "palisade-rights",
    "palisade-link",
];

/// May be depended on from tests alone.
const FOR_TESTS_ONLY: &str = "palisade-testkit";

/// Crates that do I/O, read the clock or draw randomness, by name; a name that ends in `-` stands for
/// all that begin with it. One of them below a core crate means that the core can do what it must not.
const FORBIDDEN_BELOW_CORE: &[&str] = &[
    "async-",
    "axum",
    "axum-",
    "chrono",
    "crossbeam-channel",
    "etcd-client",
    "fs-err",
    "futures-executor",
    "getrandom",
    "hyper",
    "hyper-",
    "indicatif",
    "mio",
    "nix",
    "polling",
    "postgres",
    "postgres-protocol",
    "quinn",
    "rand",
    "redb",
    "reqwest",
    "rusqlite",
    "rustix",
    "rustls",
    "rustls-",
    "signal-hook",
    "smol",
    "socket2",
    "tempfile",
    "tokio",
    "tokio-",
    "tower",
    "tracing-subscriber",
];

/// Asks cargo for the graph, checks it and the core's sources.
pub(crate) fn run(report: &mut Report) -> Result<(), String> {
    let root = crate::root()?;
    let answer = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(&root)
        .output()
        .map_err(|error| format!("can't run cargo metadata: {error}"))?;
    if !answer.status.success() {
        return Err(String::from_utf8_lossy(&answer.stderr).into_owned());
    }
    let metadata = serde_json::from_slice(&answer.stdout)
        .map_err(|error| format!("can't read cargo metadata: {error}"))?;
    let graph = Graph::read(&metadata)?;
    let mut faults = graph.faults();
    faults.extend(source_faults(&root)?);
    if faults.is_empty() {
        report.line(&format!(
            "layers: {} packages of ours, each edge allowed",
            graph.ours.len()
        ));
        return Ok(());
    }
    Err(faults.into_iter().collect::<Vec<_>>().join("\n"))
}

/// Looks into the sources of the core crates.
fn source_faults(root: &Path) -> Result<Vec<String>, String> {
    let mut faults = Vec::new();
    for package in CORE {
        let directory = root
            .join("crates")
            .join(package.trim_start_matches("palisade-"))
            .join("src");
        for file in sources::rust_files(&directory)? {
            let text = std::fs::read_to_string(&file)
                .map_err(|error| format!("can't read {}: {error}", file.display()))?;
            for (line, module) in sources::forbidden_std(&text) {
                faults.push(format!(
                    "{}:{line}: the core names std::{module}: it does no I/O and reads no clock",
                    file.strip_prefix(root).unwrap_or(&file).display()
                ));
            }
        }
    }
    Ok(faults)
}

/// A dependency's kind, as Cargo.toml's three tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Normal,
    Build,
    Dev,
}

/// The resolved graph, by package id.
struct Graph {
    names: BTreeMap<String, String>,
    ours: BTreeSet<String>,
    edges: BTreeMap<String, BTreeSet<(String, Kind)>>,
}

impl Graph {
    /// Reads what `cargo metadata --format-version 1` prints.
    fn read(metadata: &Value) -> Result<Self, String> {
        let mut graph = Self {
            names: BTreeMap::new(),
            ours: BTreeSet::new(),
            edges: BTreeMap::new(),
        };
        for package in list(metadata, "packages")? {
            graph
                .names
                .insert(text(package, "id")?, text(package, "name")?);
        }
        for member in list(metadata, "workspace_members")? {
            graph.ours.insert(
                member
                    .as_str()
                    .ok_or("a workspace member is no text")?
                    .to_owned(),
            );
        }
        let resolve = metadata.get("resolve").ok_or("no `resolve`")?;
        for node in list(resolve, "nodes")? {
            let edges = graph.edges.entry(text(node, "id")?).or_default();
            for dependency in list(node, "deps")? {
                let to = text(dependency, "pkg")?;
                for kind in list(dependency, "dep_kinds")? {
                    let kind = match kind.get("kind").and_then(Value::as_str) {
                        None => Kind::Normal,
                        Some("build") => Kind::Build,
                        Some("dev") => Kind::Dev,
                        Some(other) => return Err(format!("unknown dependency kind `{other}`")),
                    };
                    edges.insert((to.clone(), kind));
                }
            }
        }
        Ok(graph)
    }

    fn name<'a>(&'a self, id: &'a str) -> &'a str {
        self.names.get(id).map_or(id, String::as_str)
    }

    /// Everything that contradicts the picture.
    fn faults(&self) -> BTreeSet<String> {
        let mut faults = BTreeSet::new();
        for id in &self.ours {
            let name = self.name(id);
            let Some((_, allowed)) = ALLOWED.iter().find(|(package, _)| *package == name) else {
                faults.insert(format!(
                    "{name} is in no layer: add it to xtask/src/layers.rs"
                ));
                continue;
            };
            for (to, kind) in self.edges.get(id).into_iter().flatten() {
                if self.ours.contains(to)
                    && let Some(fault) = edge_fault(name, self.name(to), *kind, allowed)
                {
                    faults.insert(fault);
                }
            }
            if CORE.contains(&name) {
                faults.extend(self.closure_faults(id));
            }
        }
        faults
    }

    /// Walks from a core crate over normal dependencies; each fault shows the way it came.
    fn closure_faults(&self, from: &str) -> Vec<String> {
        let mut faults = Vec::new();
        let mut seen = BTreeSet::from([from]);
        let mut waiting = vec![vec![from]];
        while let Some(way) = waiting.pop() {
            let Some(end) = way.last() else { continue };
            for (to, kind) in self.edges.get(*end).into_iter().flatten() {
                if *kind != Kind::Normal || !seen.insert(to) {
                    continue;
                }
                let longer: Vec<&str> = way.iter().copied().chain([to.as_str()]).collect();
                if is_forbidden_below_core(self.name(to)) {
                    let names: Vec<&str> = longer.iter().map(|id| self.name(id)).collect();
                    faults.push(format!("the core reaches I/O: {}", names.join(" -> ")));
                } else {
                    waiting.push(longer);
                }
            }
        }
        faults
    }
}

/// Judges one edge between two packages of ours.
fn edge_fault(from: &str, to: &str, kind: Kind, allowed: &[&str]) -> Option<String> {
    if to == FOR_TESTS_ONLY {
        let tool = from == "xtask" || kind == Kind::Dev;
        return (!tool).then(|| format!("{from} ships {to}: make it a dev-dependency"));
    }
    if allowed.contains(&to) || (from == to && kind == Kind::Dev) {
        return None;
    }
    Some(format!(
        "{from} -> {to} ({kind:?}) is not in the design's picture (section 3)"
    ))
}

fn is_forbidden_below_core(name: &str) -> bool {
    FORBIDDEN_BELOW_CORE
        .iter()
        .any(|entry| *entry == name || (entry.ends_with('-') && name.starts_with(entry)))
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>, String> {
    value
        .get(key)
        .and_then(Value::as_array)
        .ok_or_else(|| format!("no list `{key}`"))
}

fn text(value: &Value, key: &str) -> Result<String, String> {
    value
        .get(key)
        .and_then(Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| format!("no `{key}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Draws a graph: `"a -> b"`, `"a -dev-> b"`, `"a -build-> b"`; names with `palisade` or `xtask` are ours.
    fn graph(edges: &[&str]) -> Graph {
        let mut names = BTreeSet::new();
        let mut nodes: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for edge in edges {
            let (from, rest) = edge.split_once(' ').unwrap();
            let (arrow, to) = rest.split_once(' ').unwrap();
            let kind = match arrow {
                "->" => Value::Null,
                "-dev->" => json!("dev"),
                "-build->" => json!("build"),
                other => panic!("{other}"),
            };
            names.extend([from, to]);
            nodes
                .entry(from)
                .or_default()
                .push(json!({"name": to, "pkg": to, "dep_kinds": [{"kind": kind}]}));
        }
        let ours: Vec<_> = names
            .iter()
            .filter(|n| n.starts_with("palisade") || **n == "xtask")
            .collect();
        let metadata = json!({
            "packages": names.iter().map(|n| json!({"id": n, "name": n})).collect::<Vec<_>>(),
            "workspace_members": ours,
            "resolve": {"nodes": nodes.iter().map(|(id, deps)| json!({"id": id, "deps": deps})).collect::<Vec<_>>()},
        });
        Graph::read(&metadata).unwrap()
    }

    fn faults(edges: &[&str]) -> Vec<String> {
        graph(edges).faults().into_iter().collect()
    }

    #[test]
    fn the_picture_itself_passes() {
        let edges = [
            "palisade-ledger -> palisade-keys",
            "palisade-ledger -> palisade-hba",
            "palisade-rights -> palisade-ledger",
            "palisade-link -> palisade-rights",
            "palisade-link -> tokio",
            "palisade-gateway -> palisade-link",
            "palisade -> palisade-gateway",
            "palisade -> palisade-daemon",
            "palisade-ledger -dev-> palisade-testkit",
            "palisade-testkit -> palisade-ledger",
        ];
        assert_eq!(faults(&edges), [""; 0]);
    }

    #[test]
    fn the_core_never_depends_on_the_shell() {
        let found = faults(&["palisade-ledger -> palisade-link"]);
        assert_eq!(
            found,
            [
                "palisade-ledger -> palisade-link (Normal) is not in the design's picture (section 3)"
            ]
        );
        assert_eq!(faults(&["palisade-keys -> palisade-ledger"]).len(), 1);
        assert_eq!(faults(&["palisade-hba -> palisade-keys"]).len(), 1);
    }

    #[test]
    fn daemon_gateway_agent_and_console_never_depend_on_each_other() {
        let shells = ["daemon", "gateway", "agent", "console"];
        for from in shells {
            for to in shells.iter().filter(|to| **to != from) {
                for arrow in ["->", "-dev->", "-build->"] {
                    let edge = format!("palisade-{from} {arrow} palisade-{to}");
                    assert_eq!(faults(&[&edge]).len(), 1, "{edge}");
                }
            }
        }
    }

    #[test]
    fn no_tokio_hyper_rustls_under_the_core_crates_and_the_way_is_shown() {
        let found = faults(&[
            "palisade-rights -> palisade-ledger",
            "palisade-ledger -> codec",
            "codec -> helper",
            "helper -> tokio",
        ]);
        assert_eq!(
            found,
            [
                "the core reaches I/O: palisade-ledger -> codec -> helper -> tokio",
                "the core reaches I/O: palisade-rights -> palisade-ledger -> codec -> helper -> tokio",
            ]
        );
        for name in [
            "hyper",
            "hyper-util",
            "rustls",
            "rustls-webpki",
            "axum",
            "tokio-rustls",
        ] {
            assert_eq!(
                faults(&[&format!("palisade-keys -> {name}")]).len(),
                1,
                "{name}"
            );
        }
    }

    #[test]
    fn what_a_core_crate_needs_to_build_or_test_is_free() {
        let edges = [
            "palisade-hba -dev-> tempfile",
            "palisade-keys -> c",
            "c -build-> tempfile",
        ];
        assert_eq!(faults(&edges), [""; 0]);
    }

    #[test]
    fn the_testkit_never_ships() {
        let found = faults(&["palisade-agent -> palisade-testkit"]);
        assert_eq!(
            found,
            ["palisade-agent ships palisade-testkit: make it a dev-dependency"]
        );
    }

    #[test]
    fn a_new_crate_must_be_given_a_layer() {
        let found = faults(&["palisade -> palisade-extra"]);
        assert!(
            found
                .iter()
                .any(|fault| fault.contains("palisade-extra is in no layer"))
        );
    }
}
