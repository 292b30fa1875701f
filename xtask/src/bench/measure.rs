//! One measurement on one way.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::client::{Client, Target};
use super::cluster::{Cluster, DATABASE, PASSWORD, Way};
use super::process::{Server, now, output};
use super::scram::Password;

/// Clients of pgbench, as the goal has it.
const CLIENTS: &str = "16";
/// Threads of pgbench, and clients that log in at the same time.
const PGBENCH_THREADS: &str = "2";
const LOGGING_IN: usize = 8;
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
pub(super) fn many_words(seconds: u32) -> Vec<String> {
    words(
        &[
            "-n",
            "-S",
            "-M",
            "prepared",
            "-c",
            CLIENTS,
            "-j",
            PGBENCH_THREADS,
        ],
        seconds,
    )
}

/// As [`many_words`], for one client.
pub(super) fn one_words(seconds: u32) -> Vec<String> {
    words(&["-n", "-S", "-M", "prepared", "-c", "1", "-l"], seconds)
}

fn words(fixed: &[&str], seconds: u32) -> Vec<String> {
    let mut words: Vec<String> = fixed.iter().map(ToString::to_string).collect();
    words.extend(["-T".to_owned(), seconds.to_string()]);
    words
}

/// Many clients, one query at a time each.
pub(super) fn throughput(cluster: &Cluster, way: Way, seconds: u32) -> Result<Speed, String> {
    let before = cpu(cluster, way)?;
    let mut pgbench = cluster.pgbench(way)?;
    let said = output(pgbench.args(many_words(seconds)).arg(DATABASE))?;
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

/// One client: the median time of a query in microseconds.
pub(super) fn latency(cluster: &Cluster, way: Way, seconds: u32) -> Result<f64, String> {
    let prefix = cluster.work().join("latency");
    let mut pgbench = cluster.pgbench(way)?;
    pgbench.args(one_words(seconds));
    pgbench.arg("--log-prefix").arg(&prefix).arg(DATABASE);
    output(&mut pgbench)?;
    let mut times = Vec::new();
    let files = std::fs::read_dir(cluster.work()).map_err(|error| error.to_string())?;
    for file in files.flatten() {
        if file.file_name().to_string_lossy().starts_with("latency.") {
            times.extend(read_times(&file.path())?);
            std::fs::remove_file(file.path()).map_err(|error| error.to_string())?;
        }
    }
    times.sort_unstable();
    grouped_median(&times).ok_or_else(|| "pgbench logged nothing".to_owned())
}

/// The third column: microseconds.
fn read_times(path: &Path) -> Result<Vec<u32>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let time = |line: &str| line.split(' ').nth(2)?.parse().ok();
    Ok(text.lines().filter_map(time).collect())
}

/// The median of sorted whole numbers, each of which stands for everything that rounds to it: finer
/// than the unit, because thousands of queries share a number.
fn grouped_median(sorted: &[u32]) -> Option<f64> {
    let median = *sorted.get(sorted.len() / 2)?;
    let below = sorted.partition_point(|time| *time < median);
    let upto = sorted.partition_point(|time| *time <= median);
    let half = count(sorted.len()) / 2.0;
    let part = (half - count(below)) / count(upto - below);
    Some(f64::from(median) - 0.5 + part)
}

fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::INFINITY, f64::from)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_finer_than_its_unit() {
        assert_eq!(grouped_median(&[]), None);
        assert_eq!(grouped_median(&[7]), Some(7.0));
        assert_eq!(grouped_median(&[1, 2, 3]), Some(2.0));
        // Three quarters are 10: the middle lies in the lower part of what rounds to 10.
        let median = grouped_median(&[9, 10, 10, 10]).unwrap();
        assert!(median > 9.5 && median < 10.0, "{median}");
    }
}
