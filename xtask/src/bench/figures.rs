//! What the rounds come to: medians, spreads, ratios within a round, and the goals.

use serde_json::{Value, json};

use super::cluster::Way;
use super::measure::Speed;

/// A value for each way, in the order of [`Way::ALL`].
pub(super) type Each<T> = [T; 3];

/// All that one round measured.
#[derive(Debug)]
pub(super) struct Round {
    /// Many clients.
    pub(super) queries: Each<Speed>,
    /// Microseconds of a query of pgbench with one client.
    pub(super) latency: Each<f64>,
    /// Of a lean client.
    pub(super) latency_lean: Each<f64>,
    /// The same while no processor is halted.
    pub(super) latency_awake: Each<f64>,
    /// Log-ins alone.
    pub(super) logins: Each<Speed>,
    /// Log-ins with a query each.
    pub(super) logins_with_query: Each<Speed>,
}

/// KiB for each idle client; nothing is in between on the straight way.
#[derive(Debug)]
pub(super) struct Memory {
    /// Logged in and no more.
    pub(super) idle: Each<Option<f64>>,
    /// After a query: a connection to PostgreSQL is held.
    pub(super) after_query: Each<Option<f64>>,
}

/// A line of the report.
#[derive(Debug)]
pub(super) struct Row {
    what: &'static str,
    way: &'static str,
    values: Vec<f64>,
    to_straight: Vec<f64>,
}

/// A bound from the project's goals, and the rounds' values for it.
#[derive(Debug)]
pub(super) struct Goal {
    what: &'static str,
    bound: Bound,
    values: Vec<f64>,
}

#[derive(Debug, Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// Queries for which a proxy's CPU time is told.
const PER_QUERIES: f64 = 100_000.0;

fn rates(speeds: Each<Speed>) -> Each<f64> {
    speeds.map(|speed| speed.rate)
}

/// CPU time in another unit; nothing on the straight way.
fn cpu(speeds: Each<Speed>, factor: f64) -> Each<f64> {
    speeds.map(|speed| speed.cpu.map_or(f64::NAN, |cpu| cpu * factor))
}

/// The lines of the report.
pub(super) fn rows(rounds: &[Round], memory: &Memory) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |what, paired: bool, values: Vec<Each<f64>>| {
        for (at, way) in Way::ALL.into_iter().enumerate() {
            let of = |each: &Each<f64>| each.get(at).copied().unwrap_or(f64::NAN);
            let own: Vec<f64> = values.iter().map(of).collect();
            if own.iter().any(|value| value.is_nan()) {
                continue;
            }
            let [ratio, none] = [
                values.iter().map(|each| of(each) / each[0]).collect(),
                vec![],
            ];
            rows.push(Row {
                what,
                way: way.name(),
                values: own,
                to_straight: if paired { ratio } else { none },
            });
        }
    };
    let all = |of: &dyn Fn(&Round) -> Each<f64>| rounds.iter().map(of).collect::<Vec<_>>();
    add("queries/s, 16 clients", true, all(&|r| rates(r.queries)));
    add(
        "proxy's CPU s per 100,000 queries",
        false,
        all(&|r| cpu(r.queries, PER_QUERIES)),
    );
    add(
        "median us of a query, one client",
        true,
        all(&|r| r.latency),
    );
    add("the same, lean client", true, all(&|r| r.latency_lean));
    add(
        "the same, lean client, processors kept awake",
        true,
        all(&|r| r.latency_awake),
    );
    add("log-ins/s", true, all(&|r| rates(r.logins)));
    add(
        "proxy's CPU ms per log-in",
        false,
        all(&|r| cpu(r.logins, 1e3)),
    );
    add(
        "log-ins with a query/s",
        true,
        all(&|r| rates(r.logins_with_query)),
    );
    add(
        "proxy's CPU ms per log-in with a query",
        false,
        all(&|r| cpu(r.logins_with_query, 1e3)),
    );
    let known = |each: Each<Option<f64>>| vec![each.map(|kib| kib.unwrap_or(f64::NAN))];
    add("proxy's KiB per idle client", false, known(memory.idle));
    add(
        "proxy's KiB per idle client that ran a query",
        false,
        known(memory.after_query),
    );
    rows
}

/// The project's goals, each as a ratio within a round.
pub(super) fn goals(rounds: &[Round]) -> Vec<Goal> {
    let goal = |what, bound, of: &dyn Fn(&Round) -> f64| Goal {
        what,
        bound,
        values: rounds.iter().map(of).collect(),
    };
    let against = |[_, palisade, bouncer]: Each<f64>| palisade / bouncer;
    vec![
        goal("throughput, of PgBouncer's", Bound::AtLeast(1.08), &|r| {
            against(rates(r.queries))
        }),
        goal("CPU per query, of PgBouncer's", Bound::AtMost(0.92), &|r| {
            against(cpu(r.queries, 1.0))
        }),
        goal("added latency, of PgBouncer's", Bound::AtMost(0.85), &|r| {
            added(r.latency)
        }),
        goal("the same, lean client", Bound::AtMost(0.85), &|r| {
            added(r.latency_lean)
        }),
        goal(
            "the same, lean client, processors kept awake",
            Bound::AtMost(0.85),
            &|r| added(r.latency_awake),
        ),
        goal("log-ins, of straight", Bound::AtLeast(6.0), &|r| {
            let [straight, palisade, _] = rates(r.logins);
            palisade / straight
        }),
        goal("CPU ms per log-in", Bound::AtMost(0.30), &|r| {
            let [_, palisade, _] = cpu(r.logins, 1e3);
            palisade
        }),
    ]
}

/// What Palisade adds to a query's time, of what `PgBouncer` adds.
fn added([straight, palisade, bouncer]: Each<f64>) -> f64 {
    (palisade - straight) / (bouncer - straight)
}

/// The middle value; between the two middle ones of an even number.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    let upper = sorted.get(half).copied().unwrap_or(f64::NAN);
    match sorted.get(half.wrapping_sub(1)) {
        Some(lower) if sorted.len().is_multiple_of(2) => f64::midpoint(*lower, upper),
        _ => upper,
    }
}

fn spread(values: &[f64]) -> (f64, f64) {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (low, high)
}

/// Three or four digits that mean something.
fn number(value: f64) -> String {
    match value.abs() {
        1000.0.. => format!("{value:.0}"),
        100.0.. => format!("{value:.1}"),
        10.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn told(values: &[f64]) -> String {
    if values.is_empty() {
        return String::new();
    }
    let (low, high) = spread(values);
    let middle = number(median(values));
    if values.len() == 1 {
        return middle;
    }
    format!("{middle} ({}..{})", number(low), number(high))
}

impl Goal {
    fn is_met(&self) -> bool {
        match self.bound {
            Bound::AtLeast(bound) => median(&self.values) >= bound,
            Bound::AtMost(bound) => median(&self.values) <= bound,
        }
    }

    fn bound(&self) -> String {
        match self.bound {
            Bound::AtLeast(bound) => format!("at least {bound}"),
            Bound::AtMost(bound) => format!("at most {bound}"),
        }
    }
}

/// Two tables in Markdown.
pub(super) fn table(rows: &[Row], goals: &[Goal]) -> String {
    let mut lines = vec![
        "| what | way | median (min..max) | of straight in the same round |".to_owned(),
        "|---|---|---|---|".to_owned(),
    ];
    for row in rows {
        let (values, ratios) = (told(&row.values), told(&row.to_straight));
        lines.push(format!(
            "| {} | {} | {values} | {ratios} |",
            row.what, row.way
        ));
    }
    lines.push(String::new());
    lines.push("| goal | bound | median (min..max) | met |".to_owned());
    lines.push("|---|---|---|---|".to_owned());
    for goal in goals {
        let met = if goal.is_met() { "yes" } else { "no" };
        let (bound, values) = (goal.bound(), told(&goal.values));
        lines.push(format!("| {} | {bound} | {values} | {met} |", goal.what));
    }
    lines.join("\n")
}

/// The same for machines, every round's value included.
pub(super) fn json(rows: &[Row], goals: &[Goal]) -> (Value, Value) {
    let rows = rows.iter().map(|row| {
        json!({
            "what": row.what, "way": row.way, "median": median(&row.values),
            "values": row.values, "to_straight": row.to_straight,
        })
    });
    let goals = goals.iter().map(|goal| {
        json!({
            "what": goal.what, "bound": goal.bound(), "met": goal.is_met(),
            "median": median(&goal.values), "values": goal.values,
        })
    });
    (rows.collect(), goals.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(palisade: f64) -> Round {
        let speed = |rate, cpu| Speed { rate, cpu };
        let speeds = [
            speed(100.0, None),
            speed(palisade, Some(0.000_2)),
            speed(50.0, Some(0.000_4)),
        ];
        Round {
            queries: speeds,
            latency: [100.0, 115.0, 120.0],
            latency_lean: [100.0, 110.0, 120.0],
            latency_awake: [100.0, 119.0, 120.0],
            logins: speeds,
            logins_with_query: speeds,
        }
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let goals = goals(&[round(60.0), round(75.0), round(52.0)]);
        let first = goals.first().unwrap();
        assert!((median(&first.values) - 1.2).abs() < 1e-9);
        assert!(first.is_met());
        assert_eq!(told(&first.values), "1.200 (1.040..1.500)");
        let met: Vec<bool> = goals.iter().map(Goal::is_met).collect();
        assert_eq!(met, [true, true, true, true, false, false, true]);
    }

    #[test]
    fn the_straight_way_has_no_proxy_to_tell_of() {
        let memory = Memory {
            idle: [None, Some(20.0), Some(15.0)],
            after_query: [None; 3],
        };
        let rows = rows(&[round(60.0)], &memory);
        let ways = |what: &str| rows.iter().filter(|row| row.what.starts_with(what)).count();
        assert_eq!(ways("queries/s"), 3);
        assert_eq!(ways("proxy's CPU s"), 2);
        assert_eq!(ways("proxy's KiB per idle client"), 2);
        assert!(table(&rows, &goals(&[round(60.0)])).contains("| palisade | 60.00 | 0.600 |"));
    }

    #[test]
    fn an_even_number_of_rounds_has_a_middle_too() {
        assert!((median(&[4.0, 1.0, 3.0, 2.0]) - 2.5).abs() < 1e-9);
        assert!(median(&[]).is_nan());
    }
}
