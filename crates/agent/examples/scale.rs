//! How the cost of a reconciliation grows: `cargo run --example scale -- [LARGEST]`.
//!
//! For 250, 500 and 1,000 tables and as many users (the largest number can be given), on a throwaway
//! PostgreSQL: the first reconciliation, one that finds nothing to do, and one changed right. It prints steps,
//! milliseconds of CPU, and each row's ratio to the one before. Quadratic growth would show as 4; one changed
//! right should cost the same in all rows.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a program for the one who measures"
)]

use palisade_agent::{Agent, Config, Endpoint};
use palisade_ledger::{
    Author, Change, Entry, Hash, Millis, NewUser, ObjectName, Privileges, State, Uid, UserName,
    sign, verify, verify_genesis,
};
use palisade_testkit::{Postgres, chain};

/// A ledger that grows by entries of the cluster key.
struct Ledger {
    state: State,
}

impl Ledger {
    fn new() -> Self {
        let chains = chain::Chains::draw("main: G").unwrap();
        let key = chain::Chains::cluster_key("main").unwrap();
        let (state, _) = verify_genesis(chains.entries("main")[0], &key).unwrap();
        Self { state }
    }

    fn append(&mut self, change: Change) {
        let head = self.state.head();
        let entry = Entry {
            seq: head.seq + 1,
            prev: Hash(head.hash.0),
            time: Millis(self.state.time().0 + 1),
            author: Author::Cluster,
            change,
        };
        let bytes = sign(&entry, &chain::key("cluster main", 0).unwrap()).unwrap();
        let verified = verify(&self.state, &bytes).unwrap();
        self.state.apply(&verified).unwrap();
    }

    fn user(&mut self, number: u32, privileges: Privileges, superuser: bool) {
        self.append(Change::UserAdd {
            user: NewUser {
                uid: Uid::new(number).unwrap(),
                name: UserName::new(format!("user{number}")).unwrap(),
                disabled: false,
                superuser,
                default_privileges: privileges,
                public_key: None,
                password: None,
            },
        });
    }

    fn acl(&mut self, table: u32, user: u32, privileges: Privileges) {
        self.append(Change::AclSet {
            object: ObjectName::relation("public", format!("t{table}")).unwrap(),
            uid: Uid::new(user).unwrap(),
            privileges,
        });
    }
}

/// CPU time of this process and of the server's sessions, in milliseconds. Unlike the clock it says the same
/// on a busy machine.
fn cpu(postmaster: u32) -> f64 {
    // Fields of /proc/PID/stat behind the name: state, ppid, ..., utime (12th), stime (13th), in 1/100 s.
    let ticks = |stat: &str, parent: Option<u32>| -> f64 {
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        let ours = parent.is_none_or(|parent| fields[1] == parent.to_string());
        let time = |field: usize| fields[field].parse::<f64>().unwrap();
        if ours { time(11) + time(12) } else { 0.0 }
    };
    let own = ticks(&std::fs::read_to_string("/proc/self/stat").unwrap(), None);
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let stats =
        processes.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    let server: f64 = stats.map(|stat| ticks(&stat, Some(postmaster))).sum();
    (own + server) * 10.0
}

/// Milliseconds of CPU that the work took, and how many steps it says it did.
async fn timed<F: Future<Output = usize>>(postmaster: u32, work: F) -> (f64, usize) {
    let before = cpu(postmaster);
    let steps = work.await;
    (cpu(postmaster) - before, steps)
}

async fn measure(size: u32) -> [(f64, usize); 6] {
    let postgres = Postgres::builder()
        .superuser("palisade")
        .setting("max_locks_per_transaction", "256")
        .start()
        .unwrap();
    let mut agent = Agent::new(Config::new("/nonexistent", "main")).unwrap();
    let endpoint = Endpoint {
        socket_dir: postgres.socket_dir(),
        port: postgres.port(),
        files_dir: postgres.data_dir(),
    };
    agent.start_on(endpoint).await.unwrap();
    let server = postgres.pid().unwrap();
    let tables: Vec<String> = (1..=size)
        .map(|n| format!("create table public.t{n} (a int);"))
        .collect();
    postgres
        .psql_as("palisade", "main", &tables.concat())
        .unwrap();
    let mut ledger = Ledger::new();
    ledger.user(1, Privileges::ALL, true);
    for user in 2..=size {
        ledger.user(user, Privileges::SELECT | Privileges::INSERT, false);
    }
    // Each user has an exception: half may do more on a table, half less.
    for user in 2..=size {
        let privileges = if user % 2 == 0 {
            Privileges::NONE
        } else {
            Privileges::SELECT | Privileges::UPDATE
        };
        ledger.acl(user, user, privileges);
    }
    let first = timed(server, async {
        agent.apply(&ledger.state).await.unwrap().steps.len()
    })
    .await;
    let idle = timed(server, async {
        agent.mend(&ledger.state).await.unwrap().steps.len()
    })
    .await;
    // Warm the incremental path, then change one thing at a time.
    ledger.acl(
        1,
        2,
        Privileges::SELECT | Privileges::INSERT | Privileges::DELETE,
    );
    agent.apply(&ledger.state).await.unwrap();
    ledger.acl(
        1,
        3,
        Privileges::SELECT | Privileges::INSERT | Privileges::DELETE,
    );
    let more = timed(server, async {
        agent.apply(&ledger.state).await.unwrap().steps.len()
    })
    .await;
    ledger.acl(1, 4, Privileges::SELECT);
    let less = timed(server, async {
        agent.apply(&ledger.state).await.unwrap().steps.len()
    })
    .await;
    ledger.acl(1, 5, Privileges::SELECT);
    let again = timed(server, async {
        agent.apply(&ledger.state).await.unwrap().steps.len()
    })
    .await;
    ledger.append(Change::UserDisabled {
        uid: Uid::new(6).unwrap(),
        disabled: true,
    });
    let disabled = timed(server, async {
        agent.apply(&ledger.state).await.unwrap().steps.len()
    })
    .await;
    let drift = agent.check_drift(&ledger.state).await.unwrap();
    assert!(drift.is_clean(), "{drift}");
    [first, idle, more, less, again, disabled]
}

#[tokio::main]
async fn main() {
    let largest: u32 = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(1000);
    println!(
        "tables x users | first: steps ms (ratio) | nothing to do: ms (ratio) | a right more: steps ms | \
         a right less: steps ms | another less: steps ms | a user disabled: steps ms"
    );
    let mut before: Option<[(f64, usize); 6]> = None;
    for size in [largest / 4, largest / 2, largest] {
        let now = Box::pin(measure(size)).await;
        let ratio = |index: usize| {
            before.map_or("-".to_owned(), |before| {
                format!("{:.1}", now[index].0 / before[index].0)
            })
        };
        let [first, idle, more, less, again, disabled] = now;
        println!(
            "{size:>5} | {} {:.0} ({}) | {:.0} ({}) | {} {:.1} | {} {:.1} | {} {:.1} | {} {:.1}",
            first.1,
            first.0,
            ratio(0),
            idle.0,
            ratio(1),
            more.1,
            more.0,
            less.1,
            less.0,
            again.1,
            again.0,
            disabled.1,
            disabled.0
        );
        before = Some(now);
    }
}
