//! Who is the master: the live node with the smallest id, and one that returns waits for two minutes.
//!
//! ```text
//!   who answered --observe--> [unknown -> live -> down -> live (cooling) -> live] --> master, events
//! ```
//!
//! A pure machine: time is an argument. The master has no authority of its own; when two nodes for a
//! while take different ones for it, an alert may be sent twice, and nothing else happens.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use palisade_ledger::NodeId;

/// For how long a node that comes back is not the master again: one that comes and goes would make
/// the others hand the office over all the time.
pub const COOLDOWN: Duration = Duration::from_mins(2);
/// Without an answer for so long, a node is down: three questions at the pace of two seconds.
pub const DOWN_AFTER: Duration = Duration::from_secs(7);

/// What one round of questions found: who answered, and whom he takes for the master.
pub type Answers = BTreeMap<NodeId, Option<NodeId>>;

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// A node does not answer any more.
    Down(NodeId),
    /// A node answers again.
    Back(NodeId),
    /// There is another master than before.
    Master(Option<NodeId>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// Not heard of since we began to ask.
    Unknown { asked: Duration },
    /// It answers; until `cooled` it has only just returned.
    Live { heard: Duration, cooled: Duration },
    /// It does not.
    Down,
}

/// The election, as one node sees it. Times are measured from any one point.
#[derive(Debug, Clone)]
pub struct Election {
    own: NodeId,
    /// When we ourselves may be the master.
    own_cooled: Duration,
    /// Whether we asked around once: before that, we can't know that we have returned.
    settled: bool,
    /// Whether we saw most of the members last time.
    with_most: bool,
    lives: BTreeMap<NodeId, Life>,
    master: Option<NodeId>,
}

impl Election {
    /// The election as node `own` sees it, before anybody was asked.
    #[must_use]
    pub fn new(own: NodeId) -> Self {
        Self {
            own,
            own_cooled: Duration::ZERO,
            settled: false,
            with_most: true,
            lives: BTreeMap::new(),
            master: None,
        }
    }

    /// The master, if this node knows one.
    #[must_use]
    pub fn master(&self) -> Option<NodeId> {
        self.master
    }

    /// Whether a node answers. We ourselves do.
    #[must_use]
    pub fn is_live(&self, id: NodeId) -> bool {
        id == self.own || matches!(self.lives.get(&id), Some(Life::Live { .. }))
    }

    /// Whether a node was given up. One that was not heard of yet is neither live nor down.
    #[must_use]
    pub fn is_down(&self, id: NodeId) -> bool {
        matches!(self.lives.get(&id), Some(Life::Down))
    }

    /// Takes in a round of questions to all `members` (of which we are one), and tells what changed.
    pub fn observe(
        &mut self,
        now: Duration,
        members: &BTreeSet<NodeId>,
        answers: &Answers,
    ) -> Vec<Turn> {
        let mut turns = Vec::new();
        self.lives.retain(|id, _| members.contains(id));
        let own = self.own;
        for &id in members.iter().filter(|id| **id != own) {
            turns.extend(self.follow(now, id, answers));
        }
        self.find_own_place(now, members, answers);
        let master = self.elect(now, members);
        if master != self.master {
            self.master = master;
            turns.push(Turn::Master(master));
        }
        turns
    }

    fn follow(&mut self, now: Duration, id: NodeId, answers: &Answers) -> Option<Turn> {
        let life = self.lives.entry(id).or_insert(Life::Unknown { asked: now });
        let since = match (answers.contains_key(&id), *life) {
            (true, Life::Unknown { .. }) => {
                // One that has a greater one for its master has only just returned.
                let says = answers.get(&id).copied().flatten();
                let cooling = says.is_some_and(|master| master > id);
                let pause = if cooling { COOLDOWN } else { Duration::ZERO };
                *life = Life::Live {
                    heard: now,
                    cooled: now.saturating_add(pause),
                };
                return None;
            }
            (true, Life::Live { cooled, .. }) => {
                *life = Life::Live { heard: now, cooled };
                return None;
            }
            (true, Life::Down) => {
                *life = Life::Live {
                    heard: now,
                    cooled: now.saturating_add(COOLDOWN),
                };
                return Some(Turn::Back(id));
            }
            (false, Life::Down) => return None,
            (false, Life::Unknown { asked }) => asked,
            (false, Life::Live { heard, .. }) => heard,
        };
        if now.saturating_sub(since) < DOWN_AFTER {
            return None;
        }
        *life = Life::Down;
        Some(Turn::Down(id))
    }

    /// Whether it is we who returned: at our start when the others have a master already, and when we
    /// were cut off from most of the cluster.
    fn find_own_place(&mut self, now: Duration, members: &BTreeSet<NodeId>, answers: &Answers) {
        let others = members.iter().filter(|id| **id != self.own).count();
        let elsewhere = answers
            .values()
            .flatten()
            .any(|master| *master != self.own && members.contains(master));
        if !self.settled {
            let all_known = !self
                .lives
                .values()
                .any(|life| matches!(life, Life::Unknown { .. }));
            if elsewhere {
                self.own_cooled = now.saturating_add(COOLDOWN);
            }
            self.settled = elsewhere || all_known || others == 0;
        }
        let live = members.iter().filter(|id| self.is_live(**id)).count();
        let with_most = members.len() <= 2 || live * 2 > members.len();
        // Those who have no other master are the ones who return, and take us for it.
        if with_most && !self.with_most && elsewhere {
            self.own_cooled = now.saturating_add(COOLDOWN);
            for life in self.lives.values_mut() {
                if let Life::Live { cooled, .. } = life {
                    *cooled = now;
                }
            }
        }
        self.with_most = with_most;
    }

    fn elect(&self, now: Duration, members: &BTreeSet<NodeId>) -> Option<NodeId> {
        if !self.settled || !members.contains(&self.own) {
            return None;
        }
        let live = || members.iter().copied().filter(|id| self.is_live(*id));
        // Who is in office stays until a smaller one has cooled, also if it has not cooled itself; with nobody
        // cool or in office, the smallest.
        live()
            .find(|id| self.cooled(*id) <= now)
            .or_else(|| live().find(|id| self.master == Some(*id)))
            .or_else(|| live().next())
    }

    fn cooled(&self, id: NodeId) -> Duration {
        match self.lives.get(&id) {
            Some(Life::Live { cooled, .. }) => *cooled,
            Some(Life::Unknown { .. } | Life::Down) | None => self.own_cooled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn set(ids: &[u32]) -> BTreeSet<NodeId> {
        ids.iter().map(|number| id(*number)).collect()
    }

    /// Answers of these nodes, all of which take `master` for it (0: none).
    fn from(ids: &[u32], master: u32) -> Answers {
        ids.iter()
            .map(|number| (id(*number), NodeId::new(master).ok()))
            .collect()
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn alone_a_node_is_the_master() {
        let mut own = Election::new(id(3));
        assert_eq!(
            own.observe(at(0), &set(&[3]), &Answers::new()),
            [Turn::Master(Some(id(3)))]
        );
    }

    // "The master is the live node with the smallest id"
    #[test]
    fn the_smallest_live_one_is_the_master() {
        let members = set(&[1, 2, 3]);
        let mut own = Election::new(id(2));
        let turns = own.observe(at(0), &members, &from(&[1, 3], 0));
        assert_eq!(turns, [Turn::Master(Some(id(1)))]);
        // One lost answer is no death.
        assert_eq!(own.observe(at(2), &members, &from(&[3], 1)), []);
        assert_eq!(own.observe(at(4), &members, &from(&[3], 1)), []);
        let turns = own.observe(at(8), &members, &from(&[3], 1));
        assert_eq!(turns, [Turn::Down(id(1)), Turn::Master(Some(id(2)))]);
        assert!(own.is_down(id(1)) && own.is_live(id(2)) && own.is_live(id(3)));
    }

    // "2-minute cooldown for a returning one"
    #[test]
    fn a_returning_node_waits_for_two_minutes() {
        let members = set(&[1, 2, 3]);
        let mut own = Election::new(id(2));
        own.observe(at(0), &members, &from(&[1, 3], 0));
        own.observe(at(10), &members, &from(&[3], 1));
        assert_eq!(own.master(), Some(id(2)));
        let turns = own.observe(at(20), &members, &from(&[1, 3], 2));
        assert_eq!(turns, [Turn::Back(id(1))]);
        assert_eq!(own.observe(at(139), &members, &from(&[1, 3], 2)), []);
        let turns = own.observe(at(140), &members, &from(&[1, 3], 2));
        assert_eq!(turns, [Turn::Master(Some(id(1)))]);
    }

    #[test]
    fn a_node_that_comes_and_goes_never_becomes_the_master() {
        let members = set(&[1, 2, 3]);
        let mut own = Election::new(id(2));
        own.observe(at(0), &members, &from(&[1, 3], 0));
        for round in 0..20 {
            let begin = 10 + round * 60;
            own.observe(at(begin), &members, &from(&[3], 2));
            own.observe(at(begin + 10), &members, &from(&[3], 2));
            assert_eq!(own.master(), Some(id(2)));
            own.observe(at(begin + 20), &members, &from(&[1, 3], 2));
            assert_eq!(own.master(), Some(id(2)));
        }
    }

    #[test]
    fn a_restarted_node_finds_the_master_that_the_others_have() {
        let members = set(&[1, 2, 3]);
        let mut own = Election::new(id(1));
        own.observe(at(0), &members, &from(&[2, 3], 2));
        assert_eq!(own.master(), Some(id(2)));
        own.observe(at(60), &members, &from(&[2, 3], 2));
        assert_eq!(own.master(), Some(id(2)));
        own.observe(at(121), &members, &from(&[2, 3], 2));
        assert_eq!(own.master(), Some(id(1)));
    }

    #[test]
    fn who_was_cut_off_is_the_one_who_returns() {
        let members = set(&[1, 2, 3]);
        let mut own = Election::new(id(1));
        own.observe(at(0), &members, &from(&[2, 3], 0));
        assert_eq!(own.master(), Some(id(1)));
        own.observe(at(10), &members, &from(&[], 0));
        // Cut off, it is the smallest that it sees itself.
        assert_eq!(own.master(), Some(id(1)));
        own.observe(at(60), &members, &from(&[2, 3], 2));
        assert_eq!(own.master(), Some(id(2)), "as the other two see it");
        own.observe(at(180), &members, &from(&[2, 3], 2));
        assert_eq!(own.master(), Some(id(1)));
    }

    // Else each side takes the other for the master, and nobody tells anything.
    #[test]
    fn who_stayed_while_most_were_down_stays_the_master() {
        let members = set(&[1, 2, 3]);
        let mut own = Election::new(id(3));
        own.observe(at(0), &members, &from(&[1, 2], 1));
        own.observe(at(10), &members, &from(&[], 0));
        assert_eq!(own.master(), Some(id(3)));
        // They were started again, and find it in office.
        let mut one = Election::new(id(1));
        one.observe(at(20), &members, &from(&[3], 3));
        own.observe(at(20), &members, &from(&[1], 3));
        assert_eq!((own.master(), one.master()), (Some(id(3)), Some(id(3))));
        one.observe(at(22), &members, &from(&[2, 3], 3));
        own.observe(at(22), &members, &from(&[1, 2], 3));
        assert_eq!((own.master(), one.master()), (Some(id(3)), Some(id(3))));
        let after = at(24) + COOLDOWN;
        one.observe(after, &members, &from(&[2, 3], 3));
        own.observe(after, &members, &from(&[1, 2], 3));
        assert_eq!((own.master(), one.master()), (Some(id(1)), Some(id(1))));
    }

    #[test]
    fn before_anybody_was_heard_there_is_no_master() {
        let members = set(&[1, 2]);
        let mut own = Election::new(id(2));
        own.observe(at(0), &members, &from(&[], 0));
        assert_eq!(own.master(), None);
        let turns = own.observe(at(7), &members, &from(&[], 0));
        assert_eq!(turns, [Turn::Down(id(1)), Turn::Master(Some(id(2)))]);
    }

    #[test]
    fn a_removed_node_is_no_candidate() {
        let mut own = Election::new(id(2));
        own.observe(at(0), &set(&[1, 2]), &from(&[1], 0));
        let turns = own.observe(at(2), &set(&[2]), &Answers::new());
        assert_eq!(turns, [Turn::Master(Some(id(2)))]);
        assert_eq!(
            own.observe(at(4), &set(&[3]), &from(&[3], 0)),
            [Turn::Master(None)],
            "removed itself"
        );
    }
}
