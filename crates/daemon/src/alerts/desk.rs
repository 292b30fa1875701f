//! The desk of a node's alarms: its parts report, hello hands on, and the master's alerts are taken from it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use palisade_ledger::NodeId;
use palisade_link::api::{Alarm, AlarmKind};

use super::alarms::{Alarms, Burst, Teller};
use crate::system;

/// Alarms of one other node that are looked at.
const MAX_REPORTED: usize = 256;
/// Characters of a text of another node's.
const MAX_TEXT: usize = 500;
/// How far clocks may differ.
const CLOCKS_MILLIS: u64 = 5 * 60 * 1000;
/// So long the master may keep an alarm to itself.
const SILENCE_MILLIS: u64 = 2 * 60 * 1000;

/// From how many days on before its end a certificate is worth an alarm, and so on.
#[derive(Debug, Clone, Copy)]
pub struct Thresholds {
    /// `alerts.refused_logins_per_minute`; 0 for never.
    pub refused_logins_per_minute: u32,
    /// `alerts.certificate_days`.
    pub certificate_days: u32,
}

/// A handle to the desk. Alarms about this node itself are reported here; those about other nodes' absence, too.
#[derive(Debug, Clone)]
pub struct Desk {
    own: NodeId,
    thresholds: Thresholds,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    alarms: Alarms,
    teller: Teller,
    refused: Burst,
}

impl Desk {
    /// The desk of node `own`.
    #[must_use]
    pub fn new(own: NodeId, thresholds: Thresholds) -> Self {
        Self {
            own,
            thresholds,
            inner: Arc::default(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node does not answer, or answers again.
    pub fn node(&self, node: NodeId, down: bool) {
        let now = system::millis().0;
        let alarms = &mut self.inner().alarms;
        if down {
            let text = format!("node {node} does not answer");
            alarms.raise(AlarmKind::NodeDown, node.get(), "", &text, now);
        } else {
            alarms.clear(AlarmKind::NodeDown, node.get(), "", now);
        }
    }

    /// A node was removed from the cluster: that it is not there is no alarm any more.
    pub fn forget(&self, is_member: &dyn Fn(u32) -> bool) {
        let now = system::millis().0;
        self.inner()
            .alarms
            .clear_others(AlarmKind::NodeDown, now, &|alarm| is_member(alarm.node));
    }

    /// Something of this node is the matter, or (`None`) is not any more.
    pub fn state(&self, kind: AlarmKind, subject: &str, text: Option<&str>) {
        let (now, own) = (system::millis().0, self.own.get());
        let alarms = &mut self.inner().alarms;
        match text {
            Some(text) => alarms.raise(kind, own, subject, text, now),
            None => alarms.clear(kind, own, subject, now),
        }
    }

    /// Something happened here, and is over as it is seen.
    pub fn happened(&self, kind: AlarmKind, subject: &str, text: &str) {
        let (now, own) = (system::millis().0, self.own.get());
        self.inner().alarms.happened(kind, own, subject, text, now);
    }

    /// When a certificate of this node ends.
    pub fn certificate(&self, subject: &str, until: time::OffsetDateTime) {
        let days = i64::from(self.thresholds.certificate_days);
        let near = until - system::now() < time::Duration::days(days);
        let text = format!("the {subject} ends at {until}");
        self.state(
            AlarmKind::CertificateExpiry,
            subject,
            near.then_some(text.as_str()),
        );
    }

    /// How many log-ins this node refused since it started.
    pub fn refused_logins(&self, total: u64) {
        let now = system::millis().0;
        let within = self.inner().refused.within_a_minute(total, now);
        let limit = u64::from(self.thresholds.refused_logins_per_minute);
        let text = format!("{within} log-ins were refused within a minute");
        let burst = limit > 0 && within >= limit;
        self.state(AlarmKind::RefusedLogins, "", burst.then_some(text.as_str()));
    }

    /// The alarms of this node, for its answer to hello.
    #[must_use]
    pub fn alarms(&self) -> Vec<Alarm> {
        self.inner().alarms.list(system::millis().0)
    }

    /// What humans were told of, for its answer to hello.
    #[must_use]
    pub fn told(&self) -> Vec<Alarm> {
        self.inner().teller.told()
    }

    /// What the node that this one takes for the master says that it told humans of. Nobody else is
    /// heard: a node that says it told of everything would silence all alerts. Nor is what it can't have
    /// told yet.
    pub fn hear(&self, told: &[Alarm]) {
        let now = system::millis().0;
        let told: Vec<Alarm> = told
            .iter()
            .filter(|alarm| alarm.since <= now.saturating_add(CLOCKS_MILLIS))
            .take(MAX_REPORTED)
            .cloned()
            .collect();
        self.inner().teller.hear(&told);
    }

    /// Whether the master keeps silent about something that it should have told long ago: of this node's
    /// own alarms and of those that others report of themselves. Then whoever is next tells it.
    #[must_use]
    pub fn master_is_silent(&self, others: &[(NodeId, Vec<Alarm>)]) -> bool {
        let now = system::millis().0;
        let mut inner = self.inner();
        let alarms = all(&mut inner.alarms, others, now);
        let late: Vec<Alarm> = alarms
            .into_iter()
            .filter(|alarm| alarm.since.saturating_add(SILENCE_MILLIS) < now)
            .collect();
        inner.teller.would_tell(&late)
    }

    /// What the master is to tell humans of now: of its own alarms, and of what the others report of
    /// themselves. What a node says of another is not taken: each sees for itself who answers.
    #[must_use]
    pub fn due(&self, others: &[(NodeId, Vec<Alarm>)]) -> Vec<Alarm> {
        let mut inner = self.inner();
        let alarms = all(&mut inner.alarms, others, system::millis().0);
        inner.teller.due(&alarms)
    }
}

/// The alarms of this node, and what others report of themselves, cut to size.
fn all(own: &mut Alarms, others: &[(NodeId, Vec<Alarm>)], now: u64) -> Vec<Alarm> {
    let mut alarms = own.list(now);
    for (node, reported) in others {
        let reported = reported.iter().filter(|alarm| {
            alarm.node == node.get()
                && !matches!(alarm.kind, AlarmKind::NodeDown | AlarmKind::QuorumLost)
        });
        alarms.extend(reported.take(MAX_REPORTED).map(|alarm| Alarm {
            subject: cut(&alarm.subject),
            text: cut(&alarm.text),
            ..alarm.clone()
        }));
    }
    alarms
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u32) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn desk() -> Desk {
        Desk::new(
            node(1),
            Thresholds {
                refused_logins_per_minute: 10,
                certificate_days: 14,
            },
        )
    }

    #[test]
    fn a_node_speaks_for_itself_alone() {
        let desk = desk();
        let alarm = |kind, node| Alarm {
            kind,
            node,
            subject: String::new(),
            since: 1,
            text: String::new(),
            over: false,
        };
        let reported = vec![
            alarm(AlarmKind::Drift, 2),
            alarm(AlarmKind::Drift, 3),
            alarm(AlarmKind::NodeDown, 3),
            alarm(AlarmKind::NodeDown, 2),
        ];
        let due = desk.due(&[(node(2), reported.clone())]);
        assert_eq!(due, [alarm(AlarmKind::Drift, 2)]);
        assert!(desk.due(&[(node(2), reported)]).is_empty(), "told once");
    }

    #[test]
    fn what_can_not_have_been_told_yet_silences_nothing() {
        let desk = desk();
        desk.state(AlarmKind::CertificateRenewal, "server", Some("failed"));
        let mut told = desk.alarms();
        told[0].since = u64::MAX;
        told[0].over = true;
        desk.hear(&told);
        assert_eq!(desk.due(&[]).len(), 1);
    }

    #[test]
    fn a_master_that_keeps_silent_is_noticed() {
        let desk = desk();
        let alarm = Alarm {
            kind: AlarmKind::Drift,
            node: 2,
            subject: String::new(),
            since: system::millis().0 - SILENCE_MILLIS - 1,
            text: "x".repeat(10_000),
            over: false,
        };
        let mut fresh = alarm.clone();
        fresh.since = system::millis().0;
        assert!(!desk.master_is_silent(&[(node(2), vec![fresh])]));
        let others = [(node(2), vec![alarm.clone()])];
        assert!(desk.master_is_silent(&others));
        assert_eq!(desk.due(&others)[0].text.len(), MAX_TEXT);
        assert!(!desk.master_is_silent(&others), "told by now");
    }

    #[test]
    fn thresholds_are_kept() {
        let desk = desk();
        desk.refused_logins(5);
        desk.refused_logins(14);
        assert!(desk.alarms().is_empty());
        desk.refused_logins(15);
        assert_eq!(desk.alarms()[0].kind, AlarmKind::RefusedLogins);
        let desk = self::desk();
        desk.certificate(
            "server certificate",
            system::now() + time::Duration::days(15),
        );
        assert!(desk.alarms().is_empty());
        desk.certificate(
            "server certificate",
            system::now() + time::Duration::days(13),
        );
        assert_eq!(desk.alarms()[0].kind, AlarmKind::CertificateExpiry);
        desk.certificate(
            "server certificate",
            system::now() + time::Duration::days(90),
        );
        assert!(desk.alarms()[0].over);
    }

    #[test]
    fn a_node_that_was_removed_is_no_alarm() {
        let desk = desk();
        desk.node(node(2), true);
        desk.forget(&|id| id == 1);
        assert!(desk.alarms()[0].over);
    }
}
