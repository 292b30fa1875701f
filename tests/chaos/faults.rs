//! Schedules of faults, each made of its seed alone.

use std::fmt;

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A node is cut off from the others: two against one.
    Cut(usize),
    /// Two nodes are cut off from each other.
    CutPair(usize, usize),
    /// etcd is cut off at a node.
    CutStore(usize),
    /// A node's link is slow.
    Slow(usize),
    /// SIGKILL to a daemon, which is started again.
    KillDaemon(usize),
    /// SIGKILL to a node's etcd.
    KillStore(usize),
    /// SIGKILL to a node's PostgreSQL.
    KillPostgres(usize),
    /// A daemon stands still.
    Freeze(usize),
    /// A node's disk is full.
    FillDisk(usize),
    /// A daemon's clock jumps, by seconds.
    Clock(usize, i64),
}

/// A fault, and the time until the next.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub fault: Fault,
    pub millis: u64,
}

/// What happens, in this order; at the end all is healed.
pub struct Schedule {
    seed: u64,
    pub steps: Vec<Step>,
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}:", self.seed)?;
        for step in &self.steps {
            write!(f, " {:?} for {} ms;", step.fault, step.millis)?;
        }
        Ok(())
    }
}

/// `SplitMix64` (Steele, Lea, Flood 2014): the same numbers on every machine.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }

    fn node(&mut self) -> usize {
        usize::try_from(self.below(3)).unwrap() + 1
    }
}

impl Schedule {
    /// The schedule of this seed: two to four faults, which may overlap.
    pub fn new(seed: u64) -> Self {
        let mut numbers = Numbers(seed);
        let count = 2 + numbers.below(3);
        let steps = (0..count)
            .map(|_| Step {
                fault: fault(&mut numbers),
                millis: 200 + numbers.below(1300),
            })
            .collect();
        Self { seed, steps }
    }

    /// Whether log-ins at this node may fail for a while: its daemon or its PostgreSQL was hit itself.
    pub fn hits(&self, node: usize) -> bool {
        self.steps.iter().any(|step| match step.fault {
            Fault::KillDaemon(hit)
            | Fault::KillPostgres(hit)
            | Fault::Freeze(hit)
            | Fault::FillDisk(hit)
            // A certificate may be over, or not begun, by a clock that jumped.
            | Fault::Clock(hit, _) => hit == node,
            Fault::Cut(_)
            | Fault::CutPair(..)
            | Fault::CutStore(_)
            | Fault::Slow(_)
            | Fault::KillStore(_) => false,
        })
    }
}

fn fault(numbers: &mut Numbers) -> Fault {
    let node = numbers.node();
    match numbers.below(10) {
        0 => Fault::Cut(node),
        1 => Fault::CutPair(node, node % 3 + 1),
        2 => Fault::CutStore(node),
        3 => Fault::Slow(node),
        4 => Fault::KillDaemon(node),
        5 => Fault::KillStore(node),
        6 => Fault::KillPostgres(node),
        7 => Fault::Freeze(node),
        8 => Fault::FillDisk(node),
        _ => {
            let jumps = [-7200, -40, 40, 7200];
            let jump = usize::try_from(numbers.below(4)).unwrap();
            Fault::Clock(node, jumps[jump])
        }
    }
}
