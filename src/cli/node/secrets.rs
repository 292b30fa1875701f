//! The alerts whose secrets a node could open: what has to be renewed when it leaves or has other keys.

use palisade_ledger::{NodeId, State};

use crate::cli::{files, out};

/// The names of the alerts whose secret is sealed to a node.
pub(super) fn sealed_to(state: &State, id: NodeId) -> Vec<String> {
    let alerts = state
        .alerts()
        .filter(|alert| alert.sealed.contains_key(&id));
    alerts.map(|alert| alert.name.clone()).collect()
}

/// Says what to do about a node that is out and knows these secrets.
pub(super) fn are_known_outside(id: NodeId, alerts: &[String]) {
    if alerts.is_empty() {
        return;
    }
    let names = alerts.join(", ");
    out::note(&format!(
        "warning: node {id} knows the secrets of these alerts: {names}"
    ));
    out::note(&format!(
        "hint: have the receiver take new ones; then {}",
        renewal(alerts)
    ));
}

/// Says what to do about a node that can't open these secrets any more.
pub(super) fn are_lost(id: NodeId, alerts: &[String]) {
    if alerts.is_empty() {
        return;
    }
    let names = alerts.join(", ");
    out::note(&format!(
        "warning: node {id} can't send these alerts, whose secrets are sealed to its old keys: {names}"
    ));
    out::note(&format!("hint: {}", renewal(alerts)));
}

fn renewal(alerts: &[String]) -> String {
    let first = alerts.first().map(String::as_str).unwrap_or_default();
    let each = if alerts.len() > 1 { " for each" } else { "" };
    format!(
        "palisade alert remove {} and add it again{each}",
        files::shell_quote(first)
    )
}
