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
pub(super) const MAX_TOLD: usize = 512;
/// Nodes see one thing that happens to the ledger at different moments, and by different clocks; this is how
/// far these may lie apart.
const SAME_MILLIS: u64 = 60 * 1000;
/// So long the master may keep an alarm to itself.
const SILENCE_MILLIS: u64 = 2 * 60 * 1000;

/// What an alarm is about: kind, node, subject.
type About = (AlarmKind, u32, String);

/// What happens to the one ledger is one thing, whichever node says so.
fn about(alarm: &Alarm) -> About {
    let node = if is_shared(alarm.kind) { 0 } else { alarm.node };
    (alarm.kind, node, alarm.subject.clone())
}

/// Whether each node sees the same for itself.
fn is_shared(kind: AlarmKind) -> bool {
    matches!(kind, AlarmKind::QuorumLost | AlarmKind::Ledger)
}

/// The alarms that one node sees.
#[derive(Debug, Default)]
pub struct Alarms {
    /// The newest alarm of each subject, and when it was over.
    alarms: BTreeMap<About, (Alarm, Option<u64>)>,
    seen: BTreeMap<AlarmKind, u64>,
}

impl Alarms {
    /// Something is the matter. It stays so until [`Self::clear`].
    pub fn raise(&mut self, kind: AlarmKind, node: u32, subject: &str, text: &str, now: u64) {
        let key = (kind, node, subject.to_owned());
        if let Some((alarm, None)) = self.alarms.get_mut(&key) {
            text.clone_into(&mut alarm.text);
            return;
        }
        self.begin(key, text, now, None);
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
        self.begin(key, text, now, Some(now));
    }

    /// What was told as begun by an earlier run of this node, or by another master, is not so: it is over.
    pub fn end(&mut self, told: &Alarm, node: u32, now: u64) {
        let key = (told.kind, node, told.subject.clone());
        if !self.alarms.contains_key(&key) {
            self.put(key, &told.text, told.since, Some(now));
        }
    }

    /// How many there were since the start, by kind: what was over and came again counts again.
    #[must_use]
    pub fn seen(&self) -> &BTreeMap<AlarmKind, u64> {
        &self.seen
    }

    fn begin(&mut self, key: About, text: &str, now: u64, over: Option<u64>) {
        let kind = key.0;
        if self.put(key, text, now, over) {
            *self.seen.entry(kind).or_default() += 1;
        }
    }

    /// Whether there was room: what is on makes none.
    fn put(&mut self, key: About, text: &str, now: u64, over: Option<u64>) -> bool {
        if self.alarms.len() >= MAX_ALARMS && !self.alarms.contains_key(&key) {
            let oldest = self
                .alarms
                .iter()
                .filter_map(|(key, (_, over))| over.map(|over| (over, key)))
                .min()
                .map(|(_, key)| key.clone());
            let Some(oldest) = oldest else {
                return false;
            };
            self.alarms.remove(&oldest);
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
        true
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

/// What there is to tell of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It began.
    Raised,
    /// It was told that it began, and is over.
    Over,
    /// It was over as it was seen.
    Happened,
}

/// What humans are to be told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The alarm.
    pub alarm: Alarm,
    /// What of it.
    pub turn: Turn,
}

/// Which alarms humans were told of. Each is told once when it begins and once when it is over, also
/// when another node becomes the master in between.
#[derive(Debug, Default)]
pub struct Teller {
    told: BTreeMap<About, Alarm>,
    order: VecDeque<About>,
    /// Since when the master should have told of what it has not, and whether that began or ended.
    waiting: BTreeMap<(About, bool), u64>,
}

impl Teller {
    /// Another node told humans of these. Gives whether any was news.
    pub fn hear(&mut self, told: &[Alarm]) -> bool {
        let mut news = false;
        for alarm in told {
            let newer = self
                .told
                .get(&about(alarm))
                .is_none_or(|known| (alarm.since, alarm.over) > (known.since, known.over));
            if newer {
                self.note(alarm);
                news = true;
            }
        }
        news
    }

    /// What was told, to hand on.
    #[must_use]
    pub fn told(&self) -> Vec<Alarm> {
        self.told.values().cloned().collect()
    }

    /// When what begins now begins: later than what was told of it before, whatever the clock says.
    #[must_use]
    pub fn begin(&self, kind: AlarmKind, node: u32, subject: &str, now: u64) -> u64 {
        let node = if is_shared(kind) { 0 } else { node };
        let known = self.told.get(&(kind, node, subject.to_owned()));
        known.map_or(now, |known| now.max(known.since.saturating_add(1)))
    }

    /// What was told as begun, and not as over.
    #[must_use]
    pub fn open(&self) -> Vec<Alarm> {
        let open = self.told.values().filter(|alarm| !alarm.over);
        open.cloned().collect()
    }

    /// Of these alarms, those that humans are to be told of now. They count as told.
    pub fn due(&mut self, alarms: &[Alarm]) -> Vec<Due> {
        self.waiting.clear();
        self.tell(alarms)
    }

    /// Of these alarms, those that another node should have told of long ago. They count as told.
    pub fn late(&mut self, alarms: &[Alarm], now: u64) -> Vec<Due> {
        let due: Vec<&Alarm> = alarms.iter().filter(|alarm| self.is_due(alarm)).collect();
        let before = std::mem::take(&mut self.waiting);
        let mut late = Vec::new();
        for alarm in due {
            let key = (about(alarm), alarm.over);
            let since = before.get(&key).copied().unwrap_or(now);
            if since.saturating_add(SILENCE_MILLIS) <= now {
                late.push(alarm.clone());
            }
            self.waiting.insert(key, since);
        }
        self.tell(&late)
    }

    /// One after the other: several nodes may say the same.
    fn tell(&mut self, alarms: &[Alarm]) -> Vec<Due> {
        let mut due = Vec::new();
        for alarm in alarms {
            if !self.is_due(alarm) {
                continue;
            }
            let known = self.told.get(&about(alarm));
            let turn = match (alarm.over, known) {
                (false, _) => Turn::Raised,
                (true, Some(known)) if !known.over => Turn::Over,
                (true, _) => Turn::Happened,
            };
            self.note(alarm);
            let alarm = alarm.clone();
            due.push(Due { alarm, turn });
        }
        due
    }

    fn is_due(&self, alarm: &Alarm) -> bool {
        match self.told.get(&about(alarm)) {
            // Told as on: what is new is that it is over. Another node may have seen it begin at
            // another moment, so the beginnings are not compared.
            Some(known) if !known.over => alarm.over,
            // Told to its end: a later one is another.
            Some(known) => {
                alarm.since > known.since
                    && (!alarm.over || is_event(alarm.kind))
                    && !is_same_event(known, alarm)
            }
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
        if self.order.len() > MAX_TOLD {
            self.forget_one();
        }
    }

    /// Forgets the oldest that is over, so that a flood of events does not have what is on told again.
    fn forget_one(&mut self) {
        let is_over = |key: &About| self.told.get(key).is_none_or(|alarm| alarm.over);
        let place = self.order.iter().position(is_over).unwrap_or(0);
        if let Some(key) = self.order.remove(place) {
            self.told.remove(&key);
        }
    }
}

/// Whether one node has told of the very event that another one sees.
fn is_same_event(told: &Alarm, alarm: &Alarm) -> bool {
    is_shared(alarm.kind)
        && is_event(alarm.kind)
        && told.node != alarm.node
        && alarm.since.saturating_sub(told.since) <= SAME_MILLIS
}

/// Whether this kind is worth telling even when it was over before anybody could be told. A node that
/// was gone for a moment is not; a forged entry is.
fn is_event(kind: AlarmKind) -> bool {
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
        assert_eq!(due[0].turn, Turn::Raised);
        down(&mut alarms, 2, 3000);
        assert!(teller.due(&alarms.list(3000)).is_empty());
        back(&mut alarms, 2, 5000);
        let due = teller.due(&alarms.list(5000));
        assert_eq!((due.len(), due[0].turn), (1, Turn::Over));
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
        assert_eq!((due.len(), due[0].turn), (1, Turn::Over));
        // The first hears of it, and does not repeat the end.
        back(&mut seen_by_1, 3, 9300);
        teller_1.hear(&teller_2.told());
        assert!(teller_1.due(&seen_by_1.list(9400)).is_empty());
    }

    #[test]
    fn what_all_nodes_see_of_the_ledger_is_told_once() {
        let mut teller = Teller::default();
        let forged = |node: u32, at: u64| {
            let mut alarms = Alarms::default();
            alarms.happened(AlarmKind::Ledger, node, "entry 5", "forged", at);
            alarms.list(at)
        };
        let seen = [forged(1, 1000), forged(2, 1030), forged(3, 990)].concat();
        assert_eq!(teller.due(&seen).len(), 1);
        let mut next = Teller::default();
        next.hear(&teller.told());
        assert!(
            next.due(&forged(2, 1030)).is_empty(),
            "nor by the next master"
        );
        // Again, a second later: two nodes tell of it.
        let seen = [forged(2, 2000), forged(1, 2020)].concat();
        assert_eq!(teller.due(&seen).len(), 1);
    }

    #[test]
    fn the_next_master_does_not_repeat_that_the_quorum_is_lost() {
        let lost = |alarms: &mut Alarms, node, now| {
            alarms.raise(AlarmKind::QuorumLost, node, "", "no quorum", now);
        };
        let (mut seen_by_1, mut seen_by_2) = (Alarms::default(), Alarms::default());
        let (mut teller_1, mut teller_2) = (Teller::default(), Teller::default());
        lost(&mut seen_by_1, 1, 1000);
        lost(&mut seen_by_2, 2, 1300);
        assert_eq!(teller_1.due(&seen_by_1.list(1400)).len(), 1);
        teller_2.hear(&teller_1.told());
        assert!(teller_2.due(&seen_by_2.list(1500)).is_empty());
        seen_by_2.clear(AlarmKind::QuorumLost, 2, "", 9000);
        assert_eq!(teller_2.due(&seen_by_2.list(9000))[0].turn, Turn::Over);
    }

    #[test]
    fn who_is_next_tells_what_the_master_kept_to_itself_for_long_and_nothing_else() {
        let (mut alarms, mut teller) = (Alarms::default(), Teller::default());
        down(&mut alarms, 3, 1000);
        assert!(teller.late(&alarms.list(1000), 1000).is_empty());
        let late = 1000 + SILENCE_MILLIS;
        down(&mut alarms, 4, late);
        let told = teller.late(&alarms.list(late), late);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].alarm.node, 3);
        // That it is over is the master's to tell first, however long it was on.
        back(&mut alarms, 3, late + 5000);
        let now = late + 5000;
        assert!(teller.late(&alarms.list(now), now).is_empty());
        // What the master tells meanwhile is not late any more.
        let mut heard = Teller::default();
        down(&mut Alarms::default(), 4, late);
        heard.due(&alarms.list(now));
        teller.hear(&heard.told());
        let now = now + SILENCE_MILLIS;
        let told = teller.late(&alarms.list(now), now);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].alarm.node, told[0].turn), (3, Turn::Over));
    }

    #[test]
    fn a_flood_of_events_has_nothing_told_again_that_is_on() {
        let (mut alarms, mut teller) = (Alarms::default(), Teller::default());
        down(&mut alarms, 3, 1);
        assert_eq!(teller.due(&alarms.list(1)).len(), 1);
        for number in 0..2000_u64 {
            alarms.happened(AlarmKind::Drift, 1, &number.to_string(), "by hand", number);
            teller.due(&alarms.list(number));
        }
        assert!(teller.told().len() <= MAX_TOLD);
        down(&mut alarms, 3, 3000);
        assert!(teller.due(&alarms.list(3000)).is_empty());
    }

    #[test]
    fn what_was_over_before_it_was_seen_is_told_if_it_is_an_event() {
        let (mut alarms, mut teller) = (Alarms::default(), Teller::default());
        alarms.happened(AlarmKind::Ledger, 1, "entry 5", "forged", 10);
        down(&mut alarms, 2, 10);
        back(&mut alarms, 2, 11);
        let due = teller.due(&alarms.list(12));
        assert_eq!(due.len(), 1);
        assert_eq!(
            (due[0].alarm.kind, due[0].turn),
            (AlarmKind::Ledger, Turn::Happened)
        );
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
    fn what_is_on_is_bounded_and_not_pushed_out() {
        let mut alarms = Alarms::default();
        down(&mut alarms, 2, 1);
        for number in 0..2000 {
            let text = number.to_string();
            alarms.raise(AlarmKind::Drift, 1, &text, "by hand", number);
        }
        let list = alarms.list(2000);
        assert_eq!(list.len(), MAX_ALARMS);
        assert!(list.iter().any(|alarm| alarm.kind == AlarmKind::NodeDown));
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
                prop_assert_eq!(alarm.alarm.over, index % 2 == 1, "{:?}", told);
            }
        }
    }
}
