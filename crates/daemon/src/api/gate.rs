//! How many strangers may stand in the API's door at once, in all and from one address.
//!
//! A place is taken when a connection is accepted, and given back when TLS proved a key that the
//! ledger knows; a stranger keeps it to the end.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

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
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            strangers: 256,
            strangers_per_address: 32,
            connections: 4096,
        }
    }
}

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
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
#[must_use]
pub(super) struct Place {
    gate: Arc<Gate>,
    /// As long as it is a stranger's.
    stranger: Option<IpAddr>,
}

impl Gate {
    pub(super) fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self {
            bounds,
            inside: Mutex::default(),
        })
    }

    /// A place for one more stranger from `address`, if there is one.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = neighbourhood(address);
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let here = inside.by_address.get(&address).copied().unwrap_or(0);
        if inside.connections >= self.bounds.connections
            || inside.strangers >= self.bounds.strangers
            || here >= self.bounds.strangers_per_address
        {
            return None;
        }
        inside.by_address.insert(address, here + 1);
        inside.strangers += 1;
        inside.connections += 1;
        Some(Place {
            gate: Arc::clone(self),
            stranger: Some(address),
        })
    }
}

impl Place {
    /// It is no stranger's any more: the ledger knows who came.
    pub(super) fn is_known(&mut self) {
        let Some(address) = self.stranger.take() else {
            return;
        };
        let mut inside = self
            .gate
            .inside
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        inside.strangers = inside.strangers.saturating_sub(1);
        if let Some(here) = inside.by_address.get_mut(&address) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                inside.by_address.remove(&address);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.is_known();
        let mut inside = self
            .gate
            .inside
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
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

    fn gate() -> Arc<Gate> {
        Gate::new(Bounds {
            strangers: 3,
            strangers_per_address: 2,
            connections: 5,
        })
    }

    #[test]
    fn one_address_leaves_room_for_others() {
        let gate = gate();
        let enter = |address: &str| gate.enter(address.parse().unwrap());
        let first = enter("10.0.0.1").unwrap();
        let _second = enter("::ffff:10.0.0.1").unwrap();
        assert!(enter("10.0.0.1").is_none());
        let _third = enter("10.0.0.2").unwrap();
        assert!(enter("10.0.0.3").is_none());
        drop(first);
        assert!(enter("10.0.0.1").is_some());
        let _v6 = enter("2001:db8::1").unwrap();
        assert!(enter("2001:db8::ffff:2").is_none());
    }

    #[test]
    fn who_is_known_leaves_the_strangers_room_but_counts() {
        let gate = gate();
        let enter = |address: &str| gate.enter(address.parse().unwrap());
        let mut known: Vec<Place> = Vec::new();
        for _ in 0..5 {
            let mut place = enter("10.0.0.1").unwrap();
            place.is_known();
            known.push(place);
        }
        assert!(enter("10.0.0.1").is_none(), "connections in all");
        known.pop();
        let _stranger = enter("10.0.0.1").unwrap();
    }
}
