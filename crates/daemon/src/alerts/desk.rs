//! The desk of a node's alarms: its parts report, hello hands on, and the master's alerts are taken from it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use palisade_ledger::NodeId;
use palisade_link::api::{Alarm, AlarmKind};

use super::alarms::{Alarms, Burst, Due, MAX_TOLD, Teller};
use crate::{files, system};

/// Alarms of one other node that are looked at.
const MAX_REPORTED: usize = 256;
/// Characters of a text.
const MAX_TEXT: usize = 500;
/// How far clocks may differ.
const CLOCKS_MILLIS: u64 = 5 * 60 * 1000;
/// A store without a quorum for so long is an alarm: etcd chooses another leader in less.
const QUORUM_MILLIS: u64 = 5 * 1000;
/// So long after its start a node has seen whatever is still the matter.
const SETTLED_MILLIS: u64 = 60 * 1000;

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
    /// Where it is kept what was told, so that a restart does not tell it again.
    file: Option<Arc<PathBuf>>,
    started: u64,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    alarms: Alarms,
    teller: Teller,
    refused: Burst,
    burst: bool,
    no_quorum_since: Option<u64>,
    unsent: BTreeMap<String, u64>,
}

impl Desk {
    /// The desk of node `own`, which remembers in `file` what was told.
    #[must_use]
    pub fn new(own: NodeId, thresholds: Thresholds, file: Option<PathBuf>) -> Self {
        let mut inner = Inner::default();
        if let Some(file) = &file {
            match read(file) {
                Ok(told) => drop(inner.teller.hear(&told)),
                Err(reason) => {
                    tracing::warn!(file = %file.display(), reason, "what humans were told of is not known");
                }
            }
        }
        Self {
            own,
            thresholds,
            file: file.map(Arc::new),
            started: system::millis().0,
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node does not answer, or answers again.
    pub fn node(&self, node: NodeId, down: bool) {
        let now = system::millis().0;
        let text = format!("node {node} does not answer");
        let text = down.then_some(text.as_str());
        self.inner().state(node, AlarmKind::NodeDown, "", text, now);
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
        let now = system::millis().0;
        self.inner().state(self.own, kind, subject, text, now);
    }

    /// What differs in PostgreSQL from the ledger and is not mended, all of it.
    pub fn drift(&self, foreign: &[String]) {
        let now = system::millis().0;
        let foreign: BTreeSet<String> = foreign.iter().map(|what| cut(what)).collect();
        let inner = &mut *self.inner();
        inner.alarms.clear_others(AlarmKind::Drift, now, &|alarm| {
            foreign.contains(&alarm.subject)
        });
        for what in &foreign {
            inner.state(self.own, AlarmKind::Drift, what, Some(what), now);
        }
    }

    /// Something happened here, and is over as it is seen.
    pub fn happened(&self, kind: AlarmKind, subject: &str, text: &str) {
        let own = self.own.get();
        let (subject, text) = (cut(subject), cut(text));
        let inner = &mut *self.inner();
        let now = inner.teller.begin(kind, own, &subject, system::millis().0);
        inner.alarms.happened(kind, own, &subject, &text, now);
    }

    /// The ledger takes no entries, and why; or it does.
    pub fn quorum(&self, lost: Option<&str>) {
        self.quorum_at(lost, system::millis().0);
    }

    fn quorum_at(&self, lost: Option<&str>, now: u64) {
        let mut inner = self.inner();
        let since = lost.map(|_| inner.no_quorum_since.unwrap_or(now));
        inner.no_quorum_since = since;
        let short = since.is_some_and(|since| now < since.saturating_add(QUORUM_MILLIS));
        if !short {
            inner.state(self.own, AlarmKind::QuorumLost, "", lost, now);
        }
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

    /// How many log-ins this node refused since it started. A burst is over when there are fewer than half
    /// as many as make one: else whoever tries just so many has it told again and again.
    pub fn refused_logins(&self, total: u64) {
        self.refused_logins_at(total, system::millis().0);
    }

    fn refused_logins_at(&self, total: u64, now: u64) {
        let mut inner = self.inner();
        let within = inner.refused.within_a_minute(total, now);
        let limit = u64::from(self.thresholds.refused_logins_per_minute);
        let enough = if inner.burst {
            limit.div_ceil(2)
        } else {
            limit
        };
        inner.burst = limit > 0 && within >= enough;
        let text = format!("{within} log-ins were refused within a minute");
        let text = inner.burst.then_some(text.as_str());
        inner.state(self.own, AlarmKind::RefusedLogins, "", text, now);
    }

    /// What was told as begun, by an earlier run of this node or by another master, and is not so: it is
    /// over. To be asked again and again.
    pub fn end_what_is_over(&self) {
        self.end_at(system::millis().0);
    }

    fn end_at(&self, now: u64) {
        if now < self.started.saturating_add(SETTLED_MILLIS) {
            return;
        }
        let mut inner = self.inner();
        let own = self.own.get();
        for told in inner.teller.open() {
            let node = match told.kind {
                AlarmKind::NodeDown => told.node,
                AlarmKind::QuorumLost => own,
                _ if told.node == own => own,
                _ => continue,
            };
            inner.alarms.end(&told, node, now);
        }
    }

    /// The alarms of this node, for its answer to hello.
    #[must_use]
    pub fn alarms(&self) -> Vec<Alarm> {
        self.inner().alarms.list(system::millis().0)
    }

    /// How many alarms this node saw begin since it started, by kind.
    #[must_use]
    pub fn seen(&self) -> BTreeMap<AlarmKind, u64> {
        self.inner().alarms.seen().clone()
    }

    /// An alert could not be sent.
    pub fn unsent(&self, alert: &str) {
        *self.inner().unsent.entry(alert.to_owned()).or_default() += 1;
    }

    /// How many notices could not be sent from this node since it started, by alert.
    #[must_use]
    pub fn not_sent(&self) -> BTreeMap<String, u64> {
        self.inner().unsent.clone()
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
            .take(MAX_TOLD)
            .map(sized)
            .collect();
        let news = self.inner().teller.hear(&told);
        if news {
            self.keep();
        }
    }

    /// What the master is to tell humans of now: of its own alarms, and of what the others report of
    /// themselves. What a node says of another is not taken: each sees for itself who answers.
    #[must_use]
    pub fn due(&self, others: &[(NodeId, Vec<Alarm>)]) -> Vec<Due> {
        let mut inner = self.inner();
        let alarms = all(&mut inner.alarms, others, system::millis().0);
        let due = inner.teller.due(&alarms);
        drop(inner);
        if !due.is_empty() {
            self.keep();
        }
        due
    }

    /// What the master keeps silent about, though it should have told of it long ago. Whoever is next
    /// tells it.
    #[must_use]
    pub fn late(&self, others: &[(NodeId, Vec<Alarm>)]) -> Vec<Due> {
        self.late_at(others, system::millis().0)
    }

    fn late_at(&self, others: &[(NodeId, Vec<Alarm>)], now: u64) -> Vec<Due> {
        let mut inner = self.inner();
        let alarms = all(&mut inner.alarms, others, now);
        let late = inner.teller.late(&alarms, now);
        drop(inner);
        if !late.is_empty() {
            self.keep();
        }
        late
    }

    fn keep(&self) {
        let Some(file) = &self.file else { return };
        let told = self.told();
        let written = serde_json::to_vec(&told)
            .map_err(|error| error.to_string())
            .and_then(|json| files::write_private(file, &json).map_err(|error| error.to_string()));
        if let Err(reason) = written {
            // A restart tells it again, which is better than not to tell it.
            tracing::warn!(reason, "what humans were told of could not be noted");
        }
    }
}

impl Inner {
    fn state(
        &mut self,
        node: NodeId,
        kind: AlarmKind,
        subject: &str,
        text: Option<&str>,
        now: u64,
    ) {
        let node = node.get();
        match text {
            Some(text) => {
                let begin = self.teller.begin(kind, node, subject, now);
                self.alarms.raise(kind, node, subject, &cut(text), begin);
            }
            None => self.alarms.clear(kind, node, subject, now),
        }
    }
}

fn read(file: &std::path::Path) -> Result<Vec<Alarm>, String> {
    if !file.exists() {
        return Ok(Vec::new());
    }
    let text = files::read_private(file).map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

/// The alarms of this node, and what others report of themselves, cut to size.
fn all(own: &mut Alarms, others: &[(NodeId, Vec<Alarm>)], now: u64) -> Vec<Alarm> {
    let mut alarms = own.list(now);
    for (node, reported) in others {
        let reported = reported.iter().filter(|alarm| {
            alarm.node == node.get()
                && !matches!(alarm.kind, AlarmKind::NodeDown | AlarmKind::QuorumLost)
        });
        alarms.extend(reported.take(MAX_REPORTED).map(sized));
    }
    alarms
}

fn sized(alarm: &Alarm) -> Alarm {
    Alarm {
        subject: cut(&alarm.subject),
        text: cut(&alarm.text),
        ..alarm.clone()
    }
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
        kept_in(None)
    }

    fn kept_in(file: Option<PathBuf>) -> Desk {
        let thresholds = Thresholds {
            refused_logins_per_minute: 10,
            certificate_days: 14,
        };
        Desk::new(node(1), thresholds, file)
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
        let due: Vec<Alarm> = due.into_iter().map(|due| due.alarm).collect();
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
            since: 1,
            text: "x".repeat(10_000),
            over: false,
        };
        let others = [(node(2), vec![alarm])];
        assert!(desk.late_at(&others, 1000).is_empty());
        assert!(desk.late_at(&others, 100_000).is_empty());
        assert_eq!(desk.late_at(&others, 121_000)[0].alarm.text.len(), MAX_TEXT);
        assert!(desk.late_at(&others, 122_000).is_empty(), "told by now");
    }

    #[test]
    fn a_restart_tells_nothing_again_and_what_is_over_since_is_told_so() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("told.json");
        let desk = kept_in(Some(file.clone()));
        desk.node(node(2), true);
        desk.node(node(3), true);
        assert_eq!(desk.due(&[]).len(), 2);
        let desk = kept_in(Some(file.clone()));
        desk.node(node(2), true);
        assert!(desk.due(&[]).is_empty());
        desk.end_what_is_over();
        assert!(desk.due(&[]).is_empty(), "it may not have looked yet");
        desk.end_at(desk.started + SETTLED_MILLIS);
        let due = desk.due(&[]);
        assert_eq!(due.len(), 1, "{due:?}");
        assert_eq!(due[0].alarm.node, 3);
        assert_eq!(due[0].turn, crate::alerts::Turn::Over);
        // Whatever lies there, alerts go on.
        std::fs::write(&file, "{").unwrap();
        let desk = kept_in(Some(file));
        desk.node(node(2), true);
        assert_eq!(desk.due(&[]).len(), 1);
    }

    #[test]
    fn what_differs_in_postgresql_is_told_until_it_is_gone_also_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("told.json");
        let by_hand = ["a role by hand".to_owned()];
        let desk = kept_in(Some(file.clone()));
        desk.drift(&by_hand);
        desk.drift(&by_hand);
        assert_eq!(desk.due(&[]).len(), 1);
        desk.drift(&by_hand);
        assert!(desk.due(&[]).is_empty());
        let desk = kept_in(Some(file));
        desk.drift(&by_hand);
        assert!(desk.due(&[]).is_empty(), "after a restart");
        desk.drift(&[]);
        assert_eq!(desk.due(&[])[0].turn, crate::alerts::Turn::Over);
        desk.drift(&by_hand);
        assert_eq!(desk.due(&[]).len(), 1, "again by hand");
    }

    #[test]
    fn a_clock_that_was_turned_back_hides_nothing() {
        let desk = desk();
        let mut alarm = Alarm {
            kind: AlarmKind::NodeDown,
            node: 2,
            subject: String::new(),
            since: system::millis().0 + CLOCKS_MILLIS - 1000,
            text: String::new(),
            over: false,
        };
        alarm.over = true;
        desk.hear(&[alarm]);
        desk.node(node(2), true);
        assert_eq!(desk.due(&[]).len(), 1);
    }

    #[test]
    fn a_store_that_chooses_another_leader_is_no_alarm() {
        let (desk, now) = (desk(), system::millis().0);
        desk.quorum_at(Some("no answer"), now + 1000);
        desk.quorum_at(Some("no answer"), now + 4000);
        desk.quorum_at(None, now + 5000);
        desk.quorum_at(Some("no answer"), now + 7000);
        desk.quorum_at(Some("no answer"), now + 11_000);
        assert!(desk.alarms().is_empty());
        desk.quorum_at(Some("no answer"), now + 12_000);
        assert_eq!(desk.alarms()[0].kind, AlarmKind::QuorumLost);
        desk.quorum_at(None, now + 12_100);
        assert!(desk.alarms()[0].over);
    }

    #[test]
    fn a_burst_is_over_when_there_are_half_as_many() {
        let (desk, now) = (desk(), system::millis().0);
        let is_on = || desk.alarms().first().map(|alarm| alarm.over);
        desk.refused_logins_at(0, now);
        desk.refused_logins_at(10, now + 1000);
        assert_eq!(is_on(), Some(false));
        // Nine, and then four within a minute.
        desk.refused_logins_at(19, now + 70_000);
        assert_eq!(is_on(), Some(false));
        desk.refused_logins_at(23, now + 140_000);
        assert_eq!(desk.seen()[&AlarmKind::RefusedLogins], 1);
        assert_eq!(is_on(), Some(true));
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
