//! What is asked of a new entry besides that it verifies. A clock, a count and a certificate's own
//! content decide here, so entries that stand are not asked again: every reader must come to the same.

use std::collections::BTreeMap;
use std::time::Duration;

use palisade_ledger::{Author, Change, Entry, Millis, Need, Privileges, State, Verified, verify};
use palisade_link::x509::IssuingCa;
use tokio::time::Instant;

use super::error::AppendError;

/// Entries about himself that an author may make in a row.
const BURST: u32 = 10;
/// How often then.
const EACH: Duration = Duration::from_secs(6);
/// Authors that are remembered.
const AUTHORS: usize = 4096;

/// Verifies `bytes` against `state`, which follows.
pub(super) fn admit(
    state: &mut State,
    bytes: &[u8],
    now: Millis,
    turns: &mut Turns,
) -> Result<Verified, AppendError> {
    let verified = verify(state, bytes)?;
    let entry = verified.entry();
    // Where the ledger's time ran ahead already, everybody signs at that time: what may not be is that
    // an entry moves it further.
    if verified.is_ahead_of(now) && entry.time > state.time() {
        let time = entry.time;
        return Err(AppendError::Ahead { time, now });
    }
    verified.check_clock(state, now)?;
    verified.check_effect(state)?;
    verified.check_news(state)?;
    if let Change::IssuingCaAdd { certificate } = &entry.change {
        IssuingCa::check(certificate, state.cluster_key(), None)?;
    }
    if takes_a_turn(state, entry) {
        turns.take(entry.author, Instant::now())?;
    }
    state
        .apply(&verified)
        .map_err(|stale| AppendError::Store(stale.to_string()))?;
    Ok(verified)
}

/// Whether an author needs no privilege for this entry: anybody could make them without end, and each
/// stays for ever.
fn takes_a_turn(state: &State, entry: &Entry) -> bool {
    let about_itself = matches!(
        Need::of(&entry.change),
        Need::Oneself(_) | Need::ThisNode(_) | Need::ThisNodeOr(..)
    );
    about_itself
        && match entry.author {
            Author::Cluster => false,
            Author::Node(_) => true,
            Author::User(uid) => !state.user(uid).is_some_and(|user| {
                let held = user.privileges();
                let managing = [
                    Privileges::USER_MANAGE,
                    Privileges::SYSTEM,
                    Privileges::SET_ACL,
                ];
                managing.iter().any(|flag| held.contains(*flag))
            }),
        }
}

/// Whose turn it is to say something about himself: when each author has all his turns again.
#[derive(Debug, Default)]
pub(super) struct Turns(BTreeMap<Author, Instant>);

impl Turns {
    /// Takes one of this author's, or says when there is one again.
    fn take(&mut self, author: Author, now: Instant) -> Result<(), AppendError> {
        let before = self.0.get(&author).map_or(now, |full| now.max(*full));
        let full = before + EACH;
        let wait = full.duration_since(now).saturating_sub(EACH * BURST);
        if !wait.is_zero() {
            return Err(AppendError::TooOften {
                author,
                seconds: wait.as_secs() + u64::from(wait.subsec_nanos() > 0),
            });
        }
        if self.0.len() >= AUTHORS && !self.0.contains_key(&author) {
            self.make_room(now);
        }
        self.0.insert(author, full);
        Ok(())
    }

    /// Forgets whoever has all his turns; if nobody has, him who has the most.
    fn make_room(&mut self, now: Instant) {
        self.0.retain(|_, full| *full > now);
        if self.0.len() < AUTHORS {
            return;
        }
        let most = self.0.iter().min_by_key(|(_, full)| **full);
        if let Some(author) = most.map(|(author, _)| *author) {
            self.0.remove(&author);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_ledger::Uid;

    fn user(number: usize) -> Author {
        Author::User(Uid::new(u32::try_from(number).unwrap() + 1).unwrap())
    }

    #[test]
    fn each_author_has_ten_turns_and_one_more_each_six_seconds() {
        let (mut turns, begun) = (Turns::default(), Instant::now());
        let at = |millis| begun + Duration::from_millis(millis);
        for _ in 0..10 {
            turns.take(user(1), begun).unwrap();
        }
        let refused = turns.take(user(1), at(500)).unwrap_err().to_string();
        assert!(refused.ends_with("try again in 6 seconds"), "{refused}");
        // What is refused costs nothing.
        let refused = turns.take(user(1), at(5999)).unwrap_err().to_string();
        assert!(refused.ends_with("try again in 1 seconds"), "{refused}");
        turns.take(user(2), at(5999)).unwrap();
        turns.take(user(1), at(6000)).unwrap();
        assert!(turns.take(user(1), at(6000)).is_err());
        for _ in 0..10 {
            turns.take(user(1), at(66_000)).unwrap();
        }
        assert!(turns.take(user(1), at(66_000)).is_err());
    }

    #[test]
    fn what_is_remembered_is_bounded_and_who_took_most_is_not_forgotten() {
        let (mut turns, begun) = (Turns::default(), Instant::now());
        for _ in 0..10 {
            turns.take(user(0), begun).unwrap();
        }
        for number in 1..AUTHORS + 100 {
            turns.take(user(number), begun).unwrap();
        }
        assert_eq!(turns.0.len(), AUTHORS);
        assert!(turns.take(user(0), begun).is_err());
        turns.take(user(AUTHORS + 100), begun + EACH).unwrap();
        assert_eq!(turns.0.len(), 2);
    }
}
