//! One measurement on one way.

use std::fs;
use std::io;
use std::time::Duration;

use super::client::{Client, Target};
use super::cluster::{Cluster, DATABASE, PASSWORD, Way};
use super::figures::Each;
use super::process::{Server, now, output};
use super::scram::Password;

/// Clients of pgbench, as the goal has it.
const CLIENTS: &str = "16";
/// Threads of pgbench, and clients that log in at the same time.
const PGBENCH_THREADS: &str = "2";
const LOGGING_IN: usize = 8;
/// pgbench's own query, and the rows that there are.
const ONE_ROW: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = $1";
const ROWS: u32 = 1_000_000;
/// Queries on one way before the next has its turn; the first few, which find everything asleep, are
/// not counted.
const IN_A_ROW: usize = 50;
const SETTLING: usize = 5;
/// Queries of a short run of pgbench, and how many of them are not counted.
const IN_A_RUN: &str = "1000";
const SETTLING_IN_A_RUN: usize = 50;
/// Clients that are there before the first look at the memory: what is made once is made.
const WARM: u32 = 50;

/// Queries or log-ins per second, and the proxy's CPU time for them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Speed {
    /// Per second.
    pub(super) rate: f64,
    /// CPU seconds of the proxy for each.
    pub(super) cpu: Option<f64>,
}

/// What pgbench is told beside the server: said in the report, too.
pub(super) fn words(seconds: u32) -> Vec<String> {
    let fixed = ["-n", "-S", "-M", "prepared"];
    let seconds = seconds.to_string();
    let sizes = ["-c", CLIENTS, "-j", PGBENCH_THREADS, "-T", &seconds];
    fixed
        .iter()
        .chain(&sizes)
        .map(ToString::to_string)
        .collect()
}

/// Many clients, one query at a time each.
pub(super) fn throughput(cluster: &Cluster, way: Way, seconds: u32) -> Result<Speed, String> {
    let before = cpu(cluster, way)?;
    let mut pgbench = cluster.pgbench(way)?;
    let said = output(pgbench.args(words(seconds)).arg(DATABASE))?;
    let after = cpu(cluster, way)?;
    let number = |sign: &str| -> Option<f64> {
        let rest = said.lines().find_map(|line| line.strip_prefix(sign))?;
        rest.split([' ', '/']).next()?.parse().ok()
    };
    let (Some(rate), Some(queries)) = (
        number("tps = "),
        number("number of transactions actually processed: "),
    ) else {
        return Err(format!("what does pgbench say?\n{said}"));
    };
    let cpu = spent(before, after).map(|spent| spent / queries);
    Ok(Speed { rate, cpu })
}

fn cpu(cluster: &Cluster, way: Way) -> Result<Option<Duration>, String> {
    cluster.proxy(way).map(Server::cpu).transpose()
}

fn spent(before: Option<Duration>, after: Option<Duration>) -> Option<f64> {
    Some(after?.saturating_sub(before?).as_secs_f64())
}

/// pgbench with one client: the median time of a query in microseconds on each way, by its own log. Short runs take
/// turns, so that whatever disturbs the machine disturbs all three.
pub(super) fn latency(cluster: &Cluster, seconds: u32, turn: u32) -> Result<Each<f64>, String> {
    let end = now() + Duration::from_secs(u64::from(seconds) * 3);
    let mut times: Each<Vec<u32>> = Each::default();
    let mut first = usize::try_from(turn).unwrap_or_default();
    while now() < end {
        for at in 0..Way::ALL.len() {
            let at = (first + at) % Way::ALL.len();
            if let (Some(way), Some(times)) = (Way::ALL.get(at), times.get_mut(at)) {
                times.extend(one_client(cluster, *way)?);
            }
        }
        first += 1;
    }
    let median = |mut times: Vec<u32>| {
        times.sort_unstable();
        times
            .get(times.len() / 2)
            .map_or(f64::NAN, |time| f64::from(*time))
    };
    Ok(times.map(median))
}

/// Each query's microseconds of one short run of pgbench.
fn one_client(cluster: &Cluster, way: Way) -> Result<Vec<u32>, String> {
    const PREFIX: &str = "one_client";
    let mut pgbench = cluster.pgbench(way)?;
    pgbench
        .args([
            "-n", "-S", "-M", "prepared", "-c", "1", "-j", "1", "-t", IN_A_RUN, "-l",
        ])
        .arg("--log-prefix")
        .arg(cluster.work.join(PREFIX));
    output(pgbench.arg(DATABASE))?;
    let told = |error: io::Error| format!("pgbench's log: {error}");
    let mut times = Vec::new();
    for entry in fs::read_dir(&cluster.work).map_err(told)? {
        let entry = entry.map_err(told)?;
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        // Client, transaction, microseconds, and more (PostgreSQL, pgbench, "Per-Transaction Logging").
        let log = fs::read_to_string(entry.path()).map_err(told)?;
        let third = |line: &str| {
            line.split(' ')
                .nth(2)
                .and_then(|word| word.parse::<u32>().ok())
        };
        times.extend(log.lines().skip(SETTLING_IN_A_RUN).filter_map(third));
        fs::remove_file(entry.path()).map_err(told)?;
    }
    if times.is_empty() {
        return Err("pgbench's log tells no query's time".to_owned());
    }
    Ok(times)
}

/// One lean client that waits for each answer: the median time of a query in microseconds on each way. It
/// goes from way to way every few queries.
pub(super) fn latency_lean(targets: &Each<Target>, seconds: u32) -> Result<Each<f64>, String> {
    let told = |error: io::Error| format!("latency: {error}");
    let mut clients = Vec::new();
    for target in targets {
        let mut client = Client::login(target, &mut Password::new(PASSWORD)).map_err(told)?;
        client.prepare(ONE_ROW).map_err(told)?;
        clients.push((client, Vec::new()));
    }
    let ways = u64::try_from(clients.len()).unwrap_or_default();
    let end = now() + Duration::from_secs(u64::from(seconds) * ways);
    let mut seed: u32 = 1;
    while now() < end {
        for (client, times) in &mut clients {
            for number in 0..IN_A_ROW + SETTLING {
                // "Numerical Recipes" of a generator; its upper bits are the good ones.
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let row = (seed >> 8) % ROWS + 1;
                let text = row.to_string();
                let start = now();
                client.execute(&text).map_err(told)?;
                if number >= SETTLING {
                    times.push(start.elapsed());
                }
            }
        }
    }
    let mut medians = [0.0; 3];
    for (median, (client, mut times)) in medians.iter_mut().zip(clients) {
        client.leave().map_err(told)?;
        times.sort_unstable();
        let middle = times.get(times.len() / 2).ok_or("no query was answered")?;
        *median = middle.as_secs_f64() * 1e6;
    }
    Ok(medians)
}

/// Log-ins of several clients at the same time. With `query`, each runs one before it leaves.
pub(super) fn logins(
    cluster: &Cluster,
    target: &Target,
    way: Way,
    seconds: u32,
    query: bool,
) -> Result<Speed, String> {
    let before = cpu(cluster, way)?;
    let start = now();
    let end = start + Duration::from_secs(u64::from(seconds));
    let done = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..LOGGING_IN)
            .map(|_| scope.spawn(|| log_in_until(target, end, query)))
            .collect();
        clients
            .into_iter()
            .map(|client| {
                client
                    .join()
                    .unwrap_or_else(|_| Err(io::Error::other("a client broke down")))
            })
            .sum::<io::Result<u32>>()
    });
    let done = f64::from(done.map_err(|error| format!("{}: {error}", way.name()))?);
    let took = start.elapsed().as_secs_f64();
    let after = cpu(cluster, way)?;
    Ok(Speed {
        rate: done / took,
        cpu: spent(before, after).map(|spent| spent / done),
    })
}

fn log_in_until(target: &Target, end: std::time::Instant, query: bool) -> io::Result<u32> {
    let mut password = Password::new(PASSWORD);
    let mut done = 0;
    while now() < end {
        let mut client = Client::login(target, &mut password)?;
        if query {
            client.query("SELECT 1")?;
        }
        client.leave()?;
        done += 1;
    }
    Ok(done)
}

/// KiB that the proxy grows by for each idle client: logged in, and after each has run a query and so
/// holds a connection to PostgreSQL.
pub(super) fn memory(
    cluster: &Cluster,
    target: &Target,
    way: Way,
    clients: u32,
) -> Result<Option<(f64, f64)>, String> {
    let Some(proxy) = cluster.proxy(way) else {
        return Ok(None);
    };
    let told = |error: io::Error| format!("{}: {error}", way.name());
    let mut password = Password::new(PASSWORD);
    let mut log_in = || Client::login(target, &mut password).map_err(told);
    let mut warm = Vec::new();
    for _ in 0..WARM {
        let mut client = log_in()?;
        client.query("SELECT 1").map_err(told)?;
        warm.push(client);
    }
    let before = f64::from(proxy.memory_kib()?);
    let grown = |now: u32| (f64::from(now) - before) / f64::from(clients);
    let mut open = Vec::new();
    for _ in 0..clients {
        open.push(log_in()?);
    }
    let idle = grown(proxy.memory_kib()?);
    for client in &mut open {
        client.query("SELECT 1").map_err(told)?;
    }
    let after_query = grown(proxy.memory_kib()?);
    for client in warm.into_iter().chain(open) {
        client.leave().map_err(told)?;
    }
    Ok(Some((idle, after_query)))
}
