//! Who may have which certificate: pure functions of the ledger's state.

use std::net::IpAddr;

use palisade_ledger::{Node, NodeId, Privileges, State, User, UserName};
use palisade_link::api::{IssueCertificate, Purpose};
use palisade_link::x509;

/// Days of the longest life that a certificate gets here.
const MAX_DAYS: u32 = 397;

/// The name by which managed etcd knows its own: only a node's certificate for etcd has it (the same as
/// `palisade_rights::STORE_HOST`, which this crate does not know).
pub const STORE_HOST: &str = "store.palisade.internal";

/// What a certificate is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) purpose: x509::Purpose,
    pub(super) common_name: String,
    pub(super) hosts: Vec<String>,
    pub(super) lifetime: time::Duration,
}

/// The terms of a certificate that a user asks for, or why he does not get it.
pub(super) fn for_user(
    state: &State,
    author: &User,
    wish: &IssueCertificate,
) -> Result<Terms, String> {
    if !author.privileges().contains(Privileges::SYSTEM) {
        return Err("issuing certificates needs the privilege system".to_owned());
    }
    if wish
        .hosts
        .iter()
        .any(|host| host.eq_ignore_ascii_case(STORE_HOST))
    {
        return Err(format!(
            "{STORE_HOST} is a name of the cluster's own etcd alone"
        ));
    }
    let (purpose, common_name) = match wish.purpose {
        Purpose::Server => (x509::Purpose::Server, first_host(wish)?.to_owned()),
        // A name that no user can have: etcd's certificates are for clients, too.
        Purpose::Store => (
            x509::Purpose::Store,
            format!("palisade_store_{}", first_host(wish)?),
        ),
        Purpose::User => {
            let user = state
                .user_by_name(&wish.name)
                .ok_or_else(|| format!("there is no user {}", wish.name))?;
            (x509::Purpose::User, user.name.to_string())
        }
        Purpose::Service | Purpose::Tool => {
            let name = UserName::new(wish.name.as_str()).map_err(|error| error.to_string())?;
            // PostgreSQL's own port knows names alone: there it would log in, for as long as a tool's lasts.
            if state.user_by_name(name.as_str()).is_some() {
                return Err(format!(
                    "{name} is a user: a tool or service needs a name of its own, and palisade ca issue --user {name} makes a user's certificate"
                ));
            }
            let purpose = match wish.purpose {
                Purpose::Tool => x509::Purpose::Tool,
                Purpose::Service | Purpose::Server | Purpose::User | Purpose::Store => {
                    x509::Purpose::Service
                }
            };
            (purpose, name.to_string())
        }
    };
    // A user's certificate is as good as his password (hba method `cert`).
    if purpose == x509::Purpose::User
        && let Some(user) = state.user_by_name(&common_name)
        && user.uid != author.uid
        && !author.superuser
    {
        return Err(format!(
            "a certificate in the name of user {} logs in as that user: only a superuser may issue it",
            user.name
        ));
    }
    // libpq takes the common name for the host's where there is no other.
    let serves = !matches!(purpose, x509::Purpose::User | x509::Purpose::Tool);
    let named = serves.then_some(&common_name);
    if !author.superuser
        && let Some((name, node)) = name_of_a_node(state, wish.hosts.iter().chain(named))
    {
        return Err(format!(
            "{name} is a name of node {node}, which has its own certificate for it: only a superuser may issue another"
        ));
    }
    Ok(Terms {
        purpose,
        hosts: wish.hosts.clone(),
        lifetime: lifetime(state, wish)?,
        common_name,
    })
}

/// The first of these names that the ledger has for a node, be it a member yet or not. Every machine's
/// names for itself are nobody's.
fn name_of_a_node<'a>(
    state: &State,
    names: impl Iterator<Item = &'a String>,
) -> Option<(String, NodeId)> {
    let wanted: Vec<String> = names
        .map(|name| match name.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().to_string(),
            Err(_) => name.to_ascii_lowercase(),
        })
        .filter(|name| !is_loopback(name))
        .collect();
    state.nodes().find_map(|node| {
        let theirs = names_in_ledger(node);
        let taken = wanted.iter().find(|name| theirs.contains(name))?;
        Some((taken.clone(), node.id))
    })
}

fn first_host(wish: &IssueCertificate) -> Result<&str, String> {
    let first = wish.hosts.first().map(String::as_str);
    first.ok_or_else(|| "a server's certificate needs a host name or an address".to_owned())
}

fn lifetime(state: &State, wish: &IssueCertificate) -> Result<time::Duration, String> {
    let asked = match wish.days {
        0 => None,
        days @ 1..=MAX_DAYS => Some(time::Duration::days(i64::from(days))),
        days => {
            return Err(format!(
                "{days} days are too long: a stolen key is good for as long; {MAX_DAYS} at most"
            ));
        }
    };
    let minutes = i64::from(state.user_certificate_minutes());
    let days = i64::from(state.server_certificate_days());
    Ok(match wish.purpose {
        // The ledger's setting is the bound: a user's certificate is short-lived.
        Purpose::User => {
            let most = time::Duration::minutes(minutes);
            asked.map_or(most, |asked| asked.min(most))
        }
        Purpose::Server | Purpose::Store | Purpose::Service | Purpose::Tool => {
            asked.unwrap_or(time::Duration::days(days))
        }
    })
}

/// The terms of a certificate that a member node asks for, for itself. What it wishes for in the
/// request may be less than it is given, never more.
pub(super) fn for_node(
    state: &State,
    id: NodeId,
    purpose: Purpose,
    wished: &[String],
) -> Result<Terms, String> {
    let node = state
        .node(id)
        .filter(|node| !node.pending)
        .ok_or_else(|| format!("node {id} is no member"))?;
    let (purpose, common_name) = match purpose {
        Purpose::Server => (x509::Purpose::Server, node.address.host().to_owned()),
        Purpose::Store => (x509::Purpose::Store, store_name(id)),
        Purpose::User | Purpose::Service | Purpose::Tool => {
            return Err("a node gets certificates for itself alone: server or store".to_owned());
        }
    };
    let mut hosts = node_names(state, id)?;
    if let Some(other) = wished.iter().find(|name| !hosts.contains(name)) {
        return Err(format!(
            "{other} is none of the names that the ledger has for node {id}: {}",
            hosts.join(", ")
        ));
    }
    if purpose == x509::Purpose::Store {
        hosts.push(STORE_HOST.to_owned());
    }
    let days = i64::from(state.server_certificate_days());
    Ok(Terms {
        purpose,
        common_name: plain(&common_name),
        hosts,
        lifetime: time::Duration::days(days),
    })
}

/// The common name of a node's certificates for etcd, and its name there. No user can have it.
fn store_name(id: NodeId) -> String {
    format!("palisade_node_{id}")
}

/// An address in brackets is one without them in a certificate.
fn plain(host: &str) -> String {
    host.trim_matches(['[', ']']).to_owned()
}

/// The names and addresses that the ledger has for a node, and those of every machine for itself.
/// Refused if one of them is another node's.
pub fn node_names(state: &State, id: NodeId) -> Result<Vec<String>, String> {
    let node = state
        .node(id)
        .ok_or_else(|| format!("there is no node {id}"))?;
    let mut names = names_in_ledger(node);
    if let Some((name, other)) = claimed_twice(state, node, &names) {
        return Err(format!(
            "{name} is a name of node {other}, too: palisade node set one of them right before a certificate is issued"
        ));
    }
    for own in ["localhost", "127.0.0.1", "::1"] {
        if !names.iter().any(|name| name == own) {
            names.push(own.to_owned());
        }
    }
    Ok(names)
}

pub(super) fn names_in_ledger(node: &Node) -> Vec<String> {
    let mut names = vec![plain(node.address.host())];
    let store = node
        .store
        .iter()
        .flat_map(|store| [&store.peer, &store.client]);
    let more = store.map(|address| plain(address.host()));
    for name in node.hosts.iter().cloned().chain(more) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// A node says itself what it is called; it must not say that it is another one. (Nodes that live on
/// one machine share its names: their addresses are loopback ones.)
fn claimed_twice(state: &State, node: &Node, names: &[String]) -> Option<(String, NodeId)> {
    let is_here = |node: &Node| is_loopback(&plain(node.address.host()));
    // Who waits for approval has no certificates: it can't keep a member from its own by a claim.
    state
        .members()
        .filter(|other| other.id != node.id && !(is_here(other) && is_here(node)))
        .find_map(|other| {
            let theirs = names_in_ledger(other);
            let mut both = names.iter().filter(|name| theirs.contains(name));
            let name = both.find(|name| !is_loopback(name))?;
            Some((name.clone(), other.id))
        })
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}
