//! What needs a human on this node, and which of all nodes' alarms a human must be told of now.
//!
//! ```text
//!   raise, clear, happened --> Alarms --hello--> master: Teller --due--> alerts
//!                                                   ^ told, by the master before
//! ```
//!
//! Pure: time is an argument, in milliseconds since 1970.

use std::collections::{BTreeMap, VecDeque};

use palisade_link::api::{Alarm, AlarmKind};

/// For how long an alarm that is over is still shown, so that whoever is master hears of it.
const KEEP_MILLIS: u64 = 15 * 60 * 1000;
/// Alarms of one node that are kept; the oldest that is over goes first.
const MAX_ALARMS: usize = 256;
/// Alarms that were told, as they are remembered and handed on.
const MAX_TOLD: usize = 1024;

/// What an alarm is about: kind, node, subject.
type About = (AlarmKind, u32, String);

fn about(alarm: &Alarm) -> About {
    (alarm.kind, alarm.node, alarm.subject.clone())
}

/// The alarms that one node sees.
#[derive(Debug, Default)]
pub struct Alarms {
    /// The newest alarm of each subject, and when it was over.
    alarms: BTreeMap<About, (Alarm, Option<u64>)>,
}

impl Alarms {
    /// Something is the matter. It stays so until [`Self::clear`].
    pub fn raise(&mut self, kind: AlarmKind, node: u32, subject: &str, text: &str, now: u64) {
        let key = (kind, node, subject.to_owned());
        match self.alarms.get_mut(&key) {
            Some((alarm, None)) => text.clone_into(&mut alarm.text),
            Some(_) | None => self.put(key, text, now, None),
        }
    }

    /// It is over.
    pub fn clear(&mut self, kind: AlarmKind, node: u32, subject: &str, now: u64) {
        let key = (kind, node, subject.to_owned());
        if let Some((alarm, over @ None)) = self.alarms.get_mut(&key) {
            alarm.over = true;
            *over = Some(now);
        }
    }

    /// Clears all of a kind but those that `stays` names.
    pub fn clear_others(&mut self, kind: AlarmKind, now: u64, stays: &dyn Fn(&Alarm) -> bool) {
        for (alarm, over) in self.alarms.values_mut() {
            if alarm.kind == kind && over.is_none() && !stays(alarm) {
                alarm.over = true;
                *over = Some(now);
            }
        }
    }

    /// Something happened, and is over as it is seen.
    pub fn happened(&mut self, kind: AlarmKind, node: u32, subject: &str, text: &str, now: u64) {
        let key = (kind, node, subject.to_owned());
        self.put(key, text, now, Some(now));
    }

    fn put(&mut self, key: About, text: &str, now: u64, over: Option<u64>) {
        if self.alarms.len() >= MAX_ALARMS && !self.alarms.contains_key(&key) {
            let oldest = self
                .alarms
                .iter()
                .filter_map(|(key, (_, over))| over.map(|over| (over, key)))
                .min()
                .map(|(_, key)| key.clone());
            if let Some(oldest) = oldest {
                self.alarms.remove(&oldest);
            }
        }
        let alarm = Alarm {
            kind: key.0,
            node: key.1,
            subject: key.2.clone(),
            since: now,
            text: text.to_owned(),
            over: over.is_some(),
        };
        self.alarms.insert(key, (alarm, over));
    }

    /// Those that are on, and those that lately were.
    pub fn list(&mut self, now: u64) -> Vec<Alarm> {
        self.alarms
            .retain(|_, (_, over)| over.is_none_or(|over| over.saturating_add(KEEP_MILLIS) > now));
        self.alarms
            .values()
            .map(|(alarm, _)| alarm.clone())
            .collect()
    }
}

/// Which alarms humans were told of. Each is told once when it begins and once when it is over, also
/// when another node becomes the master in between.
#[derive(Debug, Default)]
pub struct Teller {
    told: BTreeMap<About, Alarm>,
    order: VecDeque<About>,
}

impl Teller {
    /// Another node told humans of these.
    pub fn hear(&mut self, told: &[Alarm]) {
        for alarm in told {
            let newer = self
                .told
                .get(&about(alarm))
                .is_none_or(|known| (alarm.since, alarm.over) > (known.since, known.over));
            if newer {
                self.note(alarm);
            }
        }
    }

    /// What was told, to hand on.
    #[must_use]
    pub fn told(&self) -> Vec<Alarm> {
        self.told.values().cloned().collect()
    }

    /// Of these alarms, those that humans are to be told of now. They count as told.
    pub fn due(&mut self, alarms: &[Alarm]) -> Vec<Alarm> {
        let due: Vec<Alarm> = alarms
            .iter()
            .filter(|alarm| self.is_due(alarm))
            .cloned()
            .collect();
        for alarm in &due {
            self.note(alarm);
        }
        due
    }

    /// Whether any of these would be due.
    #[must_use]
    pub fn would_tell(&self, alarms: &[Alarm]) -> bool {
        alarms.iter().any(|alarm| self.is_due(alarm))
    }

    fn is_due(&self, alarm: &Alarm) -> bool {
        match self.told.get(&about(alarm)) {
            // Told as on: what is new is that it is over. Another node may have seen it begin at
            // another moment, so the beginnings are not compared.
            Some(known) if !known.over => alarm.over,
            // Told to its end: a later one is another.
            Some(known) => alarm.since > known.since && (!alarm.over || is_event(alarm.kind)),
            None => !alarm.over || is_event(alarm.kind),
        }
    }

    fn note(&mut self, alarm: &Alarm) {
        let key = about(alarm);
        let mut alarm = alarm.clone();
        // The end of what another node saw begin later: who hears of the beginning afterwards must not
        // take it for a new one.
        if let Some(known) = self.told.get(&key)
            && alarm.over
        {
            alarm.since = alarm.since.max(known.since);
        }
        if self.told.insert(key.clone(), alarm).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > MAX_TOLD
            && let Some(oldest) = self.order.pop_front()
        {
            self.told.remove(&oldest);
        }
    }
}

/// Whether this kind is worth telling even when it was over before anybody could be told. A node that
/// was gone for a moment is not; a forged entry is.
pub(super) fn is_event(kind: AlarmKind) -> bool {
    match kind {
        AlarmKind::Ledger | AlarmKind::RefusedLogins | AlarmKind::Drift | AlarmKind::Test => true,
        AlarmKind::NodeDown
        | AlarmKind::QuorumLost
        | AlarmKind::CertificateExpiry
        | AlarmKind::CertificateRenewal => false,
    }
}

/// Counts how many more there were within the last minute.
#[derive(Debug, Default)]
pub struct Burst {
    seen: VecDeque<(u64, u64)>,
}

/// The minute of [`Burst`].
const MINUTE_MILLIS: u64 = 60 * 1000;

impl Burst {
    /// Takes the count of all so far; gives how many of them lie within the last minute.
    pub fn within_a_minute(&mut self, total: u64, now: u64) -> u64 {
        self.seen.push_back((now, total));
        while let Some((_, second)) = self.seen.get(1).filter(|(at, _)| at + MINUTE_MILLIS <= now) {
            debug_assert!(*second <= total || self.seen.len() > 1);
            self.seen.pop_front();
        }
        let (_, before) = self.seen.front().copied().unwrap_or((now, total));
        total.saturating_sub(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn down(alarms: &mut Alarms, node: u32, now: u64) {
        alarms.raise(AlarmKind::NodeDown, node, "", "no answer", now);
    }

    fn back(alarms: &mut Alarms, node: u32, now: u64) {
        alarms.clear(AlarmKind::NodeDown, node, "", now);
    }

    #[test]
    fn a_node_down_is_told_once_and_once_when_it_is_back() {
        let (mut alarms, mut teller) = (Alarms::default(), Teller::default());
        down(&mut alarms, 2, 1000);
        let due = teller.due(&alarms.list(1000));
        assert_eq!(due.len(), 1);
        assert!(!due[0].over);
        down(&mut alarms, 2, 3000);
        assert!(teller.due(&alarms.list(3000)).is_empty());
        back(&mut alarms, 2, 5000);
        let due = teller.due(&alarms.list(5000));
        assert_eq!((due.len(), due[0].over), (1, true));
        assert!(teller.due(&alarms.list(6000)).is_empty());
        down(&mut alarms, 2, 7000);
        assert_eq!(teller.due(&alarms.list(7000)).len(), 1);
    }

    #[test]
    fn the_next_master_does_not_tell_again_what_the_one_before_told() {
        let (mut seen_by_1, mut seen_by_2) = (Alarms::default(), Alarms::default());
        let (mut teller_1, mut teller_2) = (Teller::default(), Teller::default());
        down(&mut seen_by_1, 3, 1000);
        down(&mut seen_by_2, 3, 1400);
        assert_eq!(teller_1.due(&seen_by_1.list(1500)).len(), 1);
        teller_2.hear(&teller_1.told());
        assert!(teller_2.due(&seen_by_2.list(1600)).is_empty());
        back(&mut seen_by_2, 3, 9000);
        let due = teller_2.due(&seen_by_2.list(9000));
        assert_eq!((due.len(), due[0].over), (1, true));
        // The first hears of it, and does not repeat the end.
        back(&mut seen_by_1, 3, 9300);
        teller_1.hear(&teller_2.told());
        assert!(teller_1.due(&seen_by_1.list(9400)).is_empty());
    }

    #[test]
    fn what_was_over_before_it_was_seen_is_told_if_it_is_an_event() {
        let (mut alarms, mut teller) = (Alarms::default(), Teller::default());
        alarms.happened(AlarmKind::Ledger, 1, "entry 5", "forged", 10);
        down(&mut alarms, 2, 10);
        back(&mut alarms, 2, 11);
        let due = teller.due(&alarms.list(12));
        assert_eq!(due.len(), 1);
        assert_eq!(due[0].kind, AlarmKind::Ledger);
        alarms.happened(AlarmKind::Ledger, 1, "entry 5", "forged", 20);
        assert_eq!(teller.due(&alarms.list(21)).len(), 1, "a second forgery");
    }

    #[test]
    fn alarms_that_are_over_are_forgotten_after_a_while_and_bounded() {
        let mut alarms = Alarms::default();
        for number in 0..2000 {
            let text = number.to_string();
            alarms.happened(AlarmKind::Drift, 1, &text, "changed by hand", number);
        }
        assert_eq!(alarms.list(2000).len(), MAX_ALARMS);
        assert!(alarms.list(2000 + KEEP_MILLIS).is_empty());
    }

    #[test]
    fn a_burst_is_what_came_within_a_minute() {
        let mut burst = Burst::default();
        assert_eq!(
            burst.within_a_minute(1000, 0),
            0,
            "what was before counts not"
        );
        assert_eq!(burst.within_a_minute(1050, 30_000), 50);
        assert_eq!(burst.within_a_minute(1060, 61_000), 60);
        assert_eq!(burst.within_a_minute(1060, 91_000), 10);
        assert_eq!(burst.within_a_minute(1060, 200_000), 0);
    }

    proptest! {
        /// However a node comes and goes, and whoever of two is master: beginnings and ends are
        /// told in turn.
        #[test]
        fn beginnings_and_ends_are_told_in_turn(steps in prop::collection::vec((0u8..4, 0u8..2), 1..60)) {
            let mut alarms = [Alarms::default(), Alarms::default()];
            let mut tellers = [Teller::default(), Teller::default()];
            let mut told = Vec::new();
            let mut now = 0;
            for (what, master) in steps {
                now += 1000;
                for (delay, alarms) in alarms.iter_mut().enumerate() {
                    let seen = now + 10 * delay as u64;
                    match what {
                        0 | 1 => down(alarms, 7, seen),
                        _ => back(alarms, 7, seen),
                    }
                }
                let master = usize::from(master);
                let known = tellers[1 - master].told();
                tellers[master].hear(&known);
                told.extend(tellers[master].due(&alarms[master].list(now + 20)));
            }
            for (index, alarm) in told.iter().enumerate() {
                prop_assert_eq!(alarm.over, index % 2 == 1, "{:?}", told);
            }
        }
    }
}
