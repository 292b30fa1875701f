//! How many strangers may stand in the API's door at once, in all and from one address; and how many
//! connections one key may have.
//!
//! ```text
//!   accept --enter(address)--> a stranger's place --TLS proved a key that the ledger knows-->
//!                              given back; one of the key's own places instead
//! ```
//!
//! A stranger keeps his place to the end. When the strangers' places are full, the addresses of member
//! nodes have some more: those that the ledger names by number, and those from which a member's key was
//! proved lately.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use palisade_keys::PublicKey;

/// What the door bears.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Strangers in all: each may cost a handshake, of which a core does some thousands a second.
    pub strangers: usize,
    /// Strangers from one address (for IPv6, from one /64): some nodes behind one gateway may join
    /// at the same time.
    pub strangers_per_address: usize,
    /// Connections in all, those of nodes and users included.
    pub connections: usize,
    /// Connections of one key: a node needs a few, a user one for each command.
    pub per_key: usize,
    /// Places beyond all these (but `per_key`) for the addresses of members: in all, and for one.
    pub reserved: usize,
    /// For one of them.
    pub reserved_per_address: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            strangers: 256,
            strangers_per_address: 32,
            connections: 4096,
            per_key: 64,
            reserved: 256,
            reserved_per_address: 16,
        }
    }
}

/// Addresses that are remembered as members'.
const MAX_LEARNED: usize = 1024;

/// Counts who stands in the door.
#[derive(Debug)]
pub(super) struct Gate {
    bounds: Bounds,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    connections: usize,
    strangers: usize,
    by_address: HashMap<IpAddr, usize>,
    by_key: HashMap<PublicKey, usize>,
    /// Where members' keys were proved, those of longest ago first.
    learned: VecDeque<IpAddr>,
}

impl Inside {
    fn fits(&self, bounds: &Bounds, address: IpAddr, more: (usize, usize)) -> bool {
        let here = self.by_address.get(&address).copied().unwrap_or(0);
        self.connections < bounds.connections.saturating_add(more.0)
            && self.strangers < bounds.strangers.saturating_add(more.0)
            && here < bounds.strangers_per_address.saturating_add(more.1)
    }
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
#[must_use]
pub(super) struct Place {
    gate: Arc<Gate>,
    address: IpAddr,
    /// Whose it is; none as long as it is a stranger's.
    key: Option<PublicKey>,
}

impl Gate {
    pub(super) fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self {
            bounds,
            inside: Mutex::default(),
        })
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more stranger from `address`, if there is one. `is_members` says whether the
    /// ledger names the address as a member's; it is asked only when it matters.
    pub(super) fn enter(
        self: &Arc<Self>,
        address: IpAddr,
        is_members: impl Fn(IpAddr) -> bool,
    ) -> Option<Place> {
        let exact = address.to_canonical();
        let address = neighbourhood(address);
        let mut inside = self.inside();
        if !inside.fits(&self.bounds, address, (0, 0)) {
            let reserved = (self.bounds.reserved, self.bounds.reserved_per_address);
            let known = inside.learned.contains(&exact) || is_members(exact);
            if !known || !inside.fits(&self.bounds, address, reserved) {
                return None;
            }
        }
        *inside.by_address.entry(address).or_insert(0) += 1;
        inside.strangers += 1;
        inside.connections += 1;
        Some(Place {
            gate: Arc::clone(self),
            address: exact,
            key: None,
        })
    }
}

impl Place {
    /// It is no stranger's any more: the ledger knows this key. `false` if the key has too many places
    /// already.
    #[must_use]
    pub(super) fn is_known(&mut self, key: PublicKey, is_member: bool) -> bool {
        if self.key.is_some() {
            return true;
        }
        let mut inside = self.gate.inside();
        let places = inside.by_key.entry(key).or_insert(0);
        if *places >= self.gate.bounds.per_key {
            return false;
        }
        *places += 1;
        if is_member && !inside.learned.contains(&self.address) {
            if inside.learned.len() >= MAX_LEARNED {
                inside.learned.pop_front();
            }
            inside.learned.push_back(self.address);
        }
        inside.leave(self.address);
        drop(inside);
        self.key = Some(key);
        true
    }
}

impl Inside {
    /// A stranger less.
    fn leave(&mut self, address: IpAddr) {
        self.strangers = self.strangers.saturating_sub(1);
        less(&mut self.by_address, &neighbourhood(address));
    }
}

/// One less; who has none is forgotten.
fn less<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.gate.inside();
        match &self.key {
            Some(key) => less(&mut inside.by_key, key),
            None => inside.leave(self.address),
        }
        inside.connections = inside.connections.saturating_sub(1);
    }
}

/// One customer gets a /64 of IPv6: all of it is one address here.
pub(crate) fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_keys::{SecretKey, Zeroizing};

    fn key(byte: u8) -> PublicKey {
        let key = SecretKey::from_seed(Zeroizing::new([byte; 32]));
        key.unwrap().public()
    }

    fn gate() -> Arc<Gate> {
        Gate::new(Bounds {
            strangers: 3,
            strangers_per_address: 2,
            connections: 5,
            per_key: 5,
            reserved: 2,
            reserved_per_address: 1,
        })
    }

    fn enter(gate: &Arc<Gate>, address: &str) -> Option<Place> {
        gate.enter(address.parse().unwrap(), |_| false)
    }

    #[test]
    fn one_address_leaves_room_for_others() {
        let gate = gate();
        let first = enter(&gate, "10.0.0.1").unwrap();
        let _second = enter(&gate, "::ffff:10.0.0.1").unwrap();
        assert!(enter(&gate, "10.0.0.1").is_none());
        let _third = enter(&gate, "10.0.0.2").unwrap();
        assert!(enter(&gate, "10.0.0.3").is_none());
        drop(first);
        assert!(enter(&gate, "10.0.0.1").is_some());
        let _v6 = enter(&gate, "2001:db8::1").unwrap();
        assert!(enter(&gate, "2001:db8::ffff:2").is_none());
    }

    #[test]
    fn who_is_known_leaves_the_strangers_room_but_counts() {
        let gate = gate();
        let mut known: Vec<Place> = Vec::new();
        for _ in 0..5 {
            let mut place = enter(&gate, "10.0.0.1").unwrap();
            assert!(place.is_known(key(1), false));
            known.push(place);
        }
        assert!(enter(&gate, "10.0.0.1").is_none(), "connections in all");
        known.pop();
        let mut stranger = enter(&gate, "10.0.0.1").unwrap();
        assert!(stranger.is_known(key(2), false), "another key's own places");
    }

    #[test]
    fn one_key_has_so_many_places_and_no_more() {
        let gate = Gate::new(Bounds {
            per_key: 2,
            ..Bounds::default()
        });
        let mut open = Vec::new();
        for _ in 0..2 {
            let mut place = enter(&gate, "10.0.0.1").unwrap();
            assert!(place.is_known(key(1), false));
            assert!(place.is_known(key(1), false), "it is asked again and again");
            open.push(place);
        }
        let mut third = enter(&gate, "10.0.0.9").unwrap();
        assert!(!third.is_known(key(1), false));
        open.pop();
        assert!(third.is_known(key(1), false), "a place came free");
    }

    // A flood from everywhere leaves room for the nodes.
    #[test]
    fn members_have_places_of_their_own() {
        let gate = gate();
        let by_ledger: IpAddr = "10.0.0.7".parse().unwrap();
        // A member whom the ledger knows by a name only was here before.
        let mut known = enter(&gate, "10.0.0.8").unwrap();
        assert!(known.is_known(key(1), true));
        let flood: Vec<_> = (1..=9)
            .map(|number| enter(&gate, &format!("10.9.0.{number}")))
            .collect();
        assert_eq!(flood.iter().flatten().count(), 3);
        assert!(enter(&gate, "10.0.0.9").is_none());
        let _named = gate.enter(by_ledger, |asked| asked == by_ledger).unwrap();
        let _learned = enter(&gate, "10.0.0.8").unwrap();
        // Those, too, are bounded.
        assert!(gate.enter(by_ledger, |asked| asked == by_ledger).is_none());
    }
}
