//! Figures for Prometheus, in its text format (`OpenMetrics` 1.0).
//!
//! All that an alert watches is here, so that whoever has a Prometheus can watch it there. A figure says
//! nothing of who connects or what is asked.

use std::collections::BTreeMap;

use palisade_link::api::{AlarmKind, Status};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::alerts::Desk;

/// Whether a figure only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It only grows, from the start of the daemon on.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// One figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Its name, without the prefix `palisade_`; a counter's without `_total`.
    pub name: String,
    /// What it is.
    pub help: &'static str,
    /// Whether it only grows.
    pub kind: Kind,
    /// Labels and their values.
    pub labels: Vec<(&'static str, String)>,
    /// Its value. Times are in seconds.
    pub value: f64,
}

impl Figure {
    /// A figure that goes up and down.
    #[must_use]
    pub fn gauge(name: &str, help: &'static str, value: f64) -> Self {
        Self {
            name: name.to_owned(),
            help,
            kind: Kind::Gauge,
            labels: Vec::new(),
            value,
        }
    }

    /// A figure that only grows.
    #[must_use]
    pub fn counter(name: &str, help: &'static str, value: f64) -> Self {
        Self {
            kind: Kind::Counter,
            ..Self::gauge(name, help, value)
        }
    }

    /// The same figure with a label.
    #[must_use]
    pub fn with(mut self, label: &'static str, value: &dyn ToString) -> Self {
        self.labels.push((label, value.to_string()));
        self
    }
}

type Labels = Vec<(&'static str, String)>;

/// The figures as text.
#[must_use]
pub fn text(figures: &[Figure]) -> String {
    let mut registry = Registry::with_prefix("palisade");
    let mut by_name: BTreeMap<(&str, Kind), Vec<&Figure>> = BTreeMap::new();
    for figure in figures {
        by_name
            .entry((&figure.name, figure.kind))
            .or_default()
            .push(figure);
    }
    for ((name, kind), figures) in by_name {
        // The library puts a full stop behind the help itself.
        let help = figures
            .first()
            .map_or("", |figure| figure.help.trim_end_matches('.'));
        match kind {
            Kind::Gauge if figures.iter().all(|figure| figure.labels.is_empty()) => {
                let gauge = Gauge::<f64, AtomicU64>::default();
                gauge.set(figures.iter().map(|figure| figure.value).sum());
                registry.register(name, help, gauge);
            }
            Kind::Counter if figures.iter().all(|figure| figure.labels.is_empty()) => {
                let counter = Counter::<f64, AtomicU64>::default();
                counter.inc_by(figures.iter().map(|figure| figure.value.max(0.0)).sum());
                registry.register(name, help, counter);
            }
            Kind::Gauge => {
                let family = Family::<Labels, Gauge<f64, AtomicU64>>::default();
                for figure in figures {
                    family.get_or_create(&figure.labels).set(figure.value);
                }
                registry.register(name, help, family);
            }
            Kind::Counter => {
                let family = Family::<Labels, Counter<f64, AtomicU64>>::default();
                for figure in figures {
                    family
                        .get_or_create(&figure.labels)
                        .inc_by(figure.value.max(0.0));
                }
                registry.register(name, help, family);
            }
        }
    }
    let mut text = String::new();
    // Writing to a String can't fail.
    let written = encode(&mut text, &registry);
    debug_assert!(written.is_ok());
    text
}

/// The figures of what alerts watch, from a node's status and its desk.
#[must_use]
pub fn of_cluster(status: &Status, desk: Option<&Desk>, now: OffsetDateTime) -> Vec<Figure> {
    let mut figures = vec![
        Figure::gauge(
            "quorum",
            "1 if the ledger takes entries, else 0.",
            flag(status.store.quorum),
        ),
        Figure::gauge(
            "ledger_entry",
            "Sequence number of the last entry that this node verified.",
            count(status.head.seq),
        ),
        Figure::gauge(
            "ledger_applied_entry",
            "Sequence number of the last entry that PostgreSQL is in line with.",
            count(status.applied.unwrap_or(0)),
        ),
        Figure::gauge(
            "postgresql_up",
            "1 if PostgreSQL runs, else 0.",
            flag(status.postgres.is_some()),
        ),
        Figure::gauge(
            "problems",
            "Things that need a human on this node.",
            size(status.problems.len()),
        ),
        Figure::gauge(
            "master",
            "1 if this node is the master, else 0.",
            flag(status.node.is_some() && status.node == status.master),
        ),
    ];
    figures.extend(
        expiry(status.certificate_until.as_deref(), now).map(|seconds| {
            Figure::gauge(
                "certificate_expires_in_seconds",
                "Seconds until the server's certificate ends.",
                seconds,
            )
            .with("node", &status.node.unwrap_or(0))
        }),
    );
    for node in &status.nodes {
        if Some(node.id) != status.node {
            figures.extend(
                expiry(node.certificate_until.as_deref(), now).map(|seconds| {
                    Figure::gauge(
                        "certificate_expires_in_seconds",
                        "Seconds until the server's certificate ends.",
                        seconds,
                    )
                    .with("node", &node.id)
                }),
            );
        }
        if !node.pending {
            let up = node.live || Some(node.id) == status.node;
            figures.push(
                Figure::gauge(
                    "node_up",
                    "1 if this node reaches that node, else 0.",
                    flag(up),
                )
                .with("node", &node.id),
            );
        }
    }
    figures.extend(desk.map_or_else(Vec::new, desk_figures));
    figures
}

/// How many alarms of this node are on and how many there were, by kind: each kind is always there, so that
/// a rule can rely on it. What happens and is over at once, such as a forged entry, is only counted.
fn desk_figures(desk: &Desk) -> Vec<Figure> {
    let (alarms, seen) = (desk.alarms(), desk.seen());
    let count_of = |kind| count(seen.get(&kind).copied().unwrap_or(0));
    let mut figures = vec![Figure::counter(
        "drift_found",
        "Differences between PostgreSQL and the ledger that were found.",
        count_of(AlarmKind::Drift),
    )];
    let kinds = AlarmKind::ALL.into_iter();
    for kind in kinds.filter(|kind| *kind != AlarmKind::Test) {
        let on = alarms.iter().filter(|alarm| alarm.kind == kind);
        let on = on.filter(|alarm| !alarm.over).count();
        let help = "Alarms of this node that are on, by kind.";
        figures.push(Figure::gauge("alarms", help, size(on)).with("kind", &kind.name()));
        let help = "Alarms of this node that began since its start, by kind.";
        let figure = Figure::counter("alarms_begun", help, count_of(kind));
        figures.push(figure.with("kind", &kind.name()));
    }
    for (alert, number) in desk.not_sent() {
        let help = "Notices that could not be sent from this node, by alert.";
        figures.push(Figure::counter("alerts_not_sent", help, count(number)).with("alert", &alert));
    }
    figures
}

fn expiry(until: Option<&str>, now: OffsetDateTime) -> Option<f64> {
    let until = OffsetDateTime::parse(until?, &Rfc3339).ok()?;
    Some((until - now).as_seconds_f64())
}

fn flag(on: bool) -> f64 {
    f64::from(u8::from(on))
}

/// Exact up to 2^53, as Prometheus' own numbers are.
#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus' numbers are 64-bit floating point"
)]
fn count(number: u64) -> f64 {
    number as f64
}

fn size(number: usize) -> f64 {
    count(u64::try_from(number).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::Thresholds;
    use palisade_ledger::NodeId;
    use palisade_link::api::{NodeLine, StoreStatus};

    fn status() -> Status {
        Status {
            node: Some(1),
            master: Some(1),
            certificate_until: Some("1970-01-01T00:01:40Z".to_owned()),
            nodes: vec![
                NodeLine {
                    id: 1,
                    ..NodeLine::default()
                },
                NodeLine {
                    id: 2,
                    certificate_until: Some("1970-01-01T00:00:10Z".to_owned()),
                    ..NodeLine::default()
                },
            ],
            store: StoreStatus {
                quorum: false,
                ..StoreStatus::default()
            },
            ..Status::default()
        }
    }

    #[test]
    fn what_alerts_watch_has_a_figure() {
        let thresholds = Thresholds {
            refused_logins_per_minute: 0,
            certificate_days: 0,
        };
        let desk = Desk::new(NodeId::FIRST, thresholds, None);
        desk.node(NodeId::new(2).unwrap(), true);
        desk.happened(AlarmKind::Ledger, "entry 5", "entry 5 was rewritten");
        desk.unsent("ops");
        let figures = of_cluster(&status(), Some(&desk), OffsetDateTime::UNIX_EPOCH);
        let text = text(&figures);
        for line in [
            "palisade_quorum 0.0",
            "palisade_master 1.0",
            "palisade_node_up{node=\"1\"} 1.0",
            "palisade_node_up{node=\"2\"} 0.0",
            "palisade_certificate_expires_in_seconds{node=\"1\"} 100.0",
            "palisade_certificate_expires_in_seconds{node=\"2\"} 10.0",
            "palisade_alarms{kind=\"node_down\"} 1.0",
            "palisade_alarms{kind=\"ledger\"} 0.0",
            "palisade_alarms_begun_total{kind=\"ledger\"} 1.0",
            "palisade_alarms_begun_total{kind=\"certificate_renewal\"} 0.0",
            "palisade_alerts_not_sent_total{alert=\"ops\"} 1.0",
            "palisade_drift_found_total 0.0",
            "# TYPE palisade_drift_found counter",
            "# EOF",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_label_can_not_forge_a_line() {
        let figure = Figure::gauge("x", "x", 1.0).with("kind", &"a\"} 1\npalisade_y 7");
        assert!(
            !text(&[figure])
                .lines()
                .any(|line| line.starts_with("palisade_y"))
        );
    }
}
