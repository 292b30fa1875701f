//! `cargo xtask bench gateway`: the gateway beside `PgBouncer` and beside nothing at all; `bench nodes`:
//! three nodes; `bench reconcile`: the agent.
//!
//! Each round measures all three ways one after the other, and figures are compared within a round
//! alone: a machine that is busy with something else slows all three. docs/benchmarks.md tells how
//! to read the result. No figure is looked at in CI: a timed test on a shared machine fails by chance.

mod awake;
mod client;
mod cluster;
mod figures;
mod measure;
mod nodes;
mod options;
mod process;
mod reconcile;
mod scram;

use std::path::{Path, PathBuf};
use std::process::Command;

use awake::Awake;
use client::{Client, Target};
use cluster::{Cluster, DATABASE, PASSWORD, USER, Way};
use figures::{Each, Goal, Memory, Round, Row};
use options::Options;
use serde_json::json;

use crate::report::Report;

/// Beyond the idle clients: pgbench's, and what one measurement leaves to the next.
const SPARE_CLIENTS: u32 = 300;

/// Measures, in a release build whatever this one is.
pub(crate) fn run(words: &[&str], report: &mut Report) -> Result<(), String> {
    if let ["reconcile", words @ ..] = words {
        return reconcile::run(words);
    }
    let nodes = words
        .split_first()
        .filter(|(subject, _)| **subject == "nodes");
    if nodes.is_none() {
        Options::parse(words)?;
    }
    if cfg!(debug_assertions) {
        return again_in_release(words);
    }
    let binary = beside_us("palisade")?;
    match nodes {
        Some((_, words)) => nodes::run(words, &binary, report),
        None => gateway(&Options::parse(words)?, &binary, report),
    }
}

/// What was measured, and how.
struct Measured {
    about: Vec<(String, String)>,
    rows: Vec<Row>,
    goals: Vec<Goal>,
}

fn gateway(options: &Options, binary: &Path, report: &mut Report) -> Result<(), String> {
    let Measured { about, rows, goals } = measured(options, binary, report)?;
    if options.json {
        let (rows, goals) = figures::json(&rows, &goals);
        let all = json!({ "about": about, "figures": rows, "goals": goals });
        report.line(&format!("{all:#}"));
    } else {
        for (what, text) in &about {
            report.line(&format!("{what}: {text}"));
        }
        report.line("");
        report.line(&figures::table(&rows, &goals));
    }
    Ok(())
}

fn measured(options: &Options, binary: &Path, report: &mut Report) -> Result<Measured, String> {
    report.trouble("starting PostgreSQL, Palisade and PgBouncer");
    let cluster = Cluster::start(binary, options.clients + SPARE_CLIENTS)?;
    let targets = targets(&cluster)?;
    let about = about(binary, &cluster, &targets, options)?;
    report.trouble("memory");
    let memory = on_each(&targets, 0, |way, target| {
        measure::memory(&cluster, target, way, options.clients)
    })?;
    let memory = Memory {
        idle: memory.map(|each| each.map(|(idle, _)| idle)),
        after_query: memory.map(|each| each.map(|(_, after)| after)),
    };
    let mut rounds = Vec::new();
    for number in 1..=options.rounds {
        report.trouble(&format!("round {number} of {}", options.rounds));
        rounds.push(round(&cluster, &targets, options.seconds, number)?);
    }
    Ok(Measured {
        about,
        rows: figures::rows(&rounds, &memory),
        goals: figures::goals(&rounds),
    })
}

/// Builds both programs with optimisations and hands over to that build of this one.
fn again_in_release(words: &[&str]) -> Result<(), String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--release", "-p", "palisade", "-p", "xtask"]);
    done(build.current_dir(crate::root()?))?;
    let release = beside_us("../release/xtask")?;
    done(Command::new(release).arg("bench").args(words))
}

fn done(command: &mut Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?}: {status}")),
        Err(error) => Err(format!("can't run {command:?}: {error}")),
    }
}

/// A program in the directory of this one.
fn beside_us(name: &str) -> Result<PathBuf, String> {
    let us = std::env::current_exe().map_err(|error| error.to_string())?;
    let parent = us.parent().ok_or("no directory")?;
    Ok(parent.join(name))
}

fn targets(cluster: &Cluster) -> Result<Each<Target>, String> {
    let tls = client::tls()?;
    Ok(Way::ALL.map(|way| Target {
        port: cluster.port(way),
        user: USER,
        database: DATABASE,
        tls: tls.clone(),
    }))
}

/// Does something on each way, beginning with another one each time: nobody is always first.
fn on_each<T: Copy>(
    targets: &Each<Target>,
    turn: u32,
    mut work: impl FnMut(Way, &Target) -> Result<T, String>,
) -> Result<Each<T>, String> {
    let mut results = [None; 3];
    let first = usize::try_from(turn).unwrap_or_default() % Way::ALL.len();
    let ways = Way::ALL.into_iter().zip(targets).zip(0..);
    let (before, from): (Vec<_>, Vec<_>) = ways.partition(|(_, at)| *at < first);
    for ((way, target), at) in from.into_iter().chain(before) {
        if let Some(slot) = results.get_mut(at) {
            *slot = Some(work(way, target)?);
        }
    }
    match results {
        [Some(straight), Some(palisade), Some(bouncer)] => Ok([straight, palisade, bouncer]),
        _ => Err("a way was left out".to_owned()),
    }
}

fn round(
    cluster: &Cluster,
    targets: &Each<Target>,
    seconds: u32,
    turn: u32,
) -> Result<Round, String> {
    let logins = |query| {
        on_each(targets, turn, |way, target| {
            measure::logins(cluster, target, way, seconds, query)
        })
    };
    Ok(Round {
        queries: on_each(targets, turn, |way, _| {
            measure::throughput(cluster, way, seconds)
        })?,
        latency: measure::latency(cluster, seconds, turn)?,
        latency_lean: measure::latency_lean(targets, seconds)?,
        latency_awake: {
            let _awake = Awake::keep()?;
            measure::latency_lean(targets, seconds)?
        },
        logins: logins(false)?,
        logins_with_query: logins(true)?,
    })
}

/// What was measured, with what, on what.
fn about(
    binary: &Path,
    cluster: &Cluster,
    targets: &Each<Target>,
    options: &Options,
) -> Result<Vec<(String, String)>, String> {
    let mut about = Vec::new();
    let mut say = |what: &str, text: &str| about.push((what.to_owned(), text.trim().to_owned()));
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model
        .unwrap_or_default()
        .trim_start_matches([' ', '\t', ':']);
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    say("machine", &format!("{model}, {cores} CPUs"));
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    say("load before", &load);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    say("kernel", &kernel);
    for (program, words) in [
        (binary, ["--version"]),
        (Path::new("/usr/sbin/pgbouncer"), ["--version"]),
        (
            &palisade_testkit::find_program("postgres").map_err(|e| e.to_string())?,
            ["--version"],
        ),
    ] {
        let version = process::output(process::command(program, None).args(words))?;
        say("version", &version.lines().collect::<Vec<_>>().join(", "));
    }
    for (way, target) in Way::ALL.into_iter().zip(targets) {
        let mut password = scram::Password::new(PASSWORD);
        let client = Client::login(target, &mut password)
            .map_err(|error| format!("{}: {error}", way.name()))?;
        say(&format!("TLS, {}", way.name()), &client.cipher());
        client.leave().map_err(|error| error.to_string())?;
        say(&format!("pgbench, {}", way.name()), &cluster.conninfo(way)?);
    }
    let words = measure::words(options.seconds).join(" ");
    say("queries", &format!("pgbench {words} {DATABASE}"));
    say("seconds", &options.seconds.to_string());
    say("rounds", &options.rounds.to_string());
    Ok(about)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is measured in a second of a debug build is chance; that it can be measured is not: the
    /// benchmark knows the places of other programs' files, and nothing else here runs it.
    #[test]
    fn all_three_ways_can_be_measured() {
        let options = Options {
            rounds: 1,
            seconds: 1,
            clients: 5,
            json: false,
        };
        // Cargo makes it for the tests of the workspace, which this is one of.
        let binary = beside_us("../palisade").unwrap();
        assert!(binary.exists(), "`cargo build` makes {}", binary.display());
        let measured = measured(&options, &binary, &mut Report::to_terminal()).unwrap();
        assert_eq!(measured.goals.len(), 7);
        let table = figures::table(&measured.rows, &measured.goals);
        assert!(!table.contains("NaN"), "{table}");
    }
}
