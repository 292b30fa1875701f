//! How many strangers may stand in the door at once, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::Limits;

/// Counts connections that have not logged in yet.
#[derive(Debug)]
pub(crate) struct Gate {
    limits: Limits,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A place in the door; given back when dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Place {
    gate: Arc<Gate>,
    address: IpAddr,
}

impl Gate {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            inside: Mutex::default(),
        })
    }

    /// A place for one more connection from `address`, if there is one.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = neighbourhood(address.to_canonical());
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if inside.all >= self.limits.handshakes {
            return None;
        }
        let here = inside.by_address.entry(address).or_default();
        if *here >= self.limits.handshakes_per_address {
            return None;
        }
        *here += 1;
        inside.all += 1;
        Some(Place {
            gate: Arc::clone(self),
            address,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self
            .gate
            .inside
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        inside.all = inside.all.saturating_sub(1);
        if let Some(here) = inside.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                inside.by_address.remove(&self.address);
            }
        }
    }
}

/// One customer gets a /64 of IPv6: all of it is one address here.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_leaves_room_for_others() {
        let limits = Limits {
            handshakes: 3,
            handshakes_per_address: 2,
            ..Limits::default()
        };
        let gate = Gate::new(limits);
        let enter = |address: &str| gate.enter(address.parse().unwrap());
        let first = enter("10.0.0.1").unwrap();
        let _second = enter("10.0.0.1").unwrap();
        assert!(enter("10.0.0.1").is_none());
        let _third = enter("10.0.0.2").unwrap();
        assert!(enter("10.0.0.3").is_none());
        drop(first);
        assert!(enter("10.0.0.3").is_some());
        assert!(enter("10.0.0.1").is_some());
    }

    #[test]
    fn a_whole_v6_network_is_one_address() {
        let limits = Limits {
            handshakes_per_address: 1,
            ..Limits::default()
        };
        let gate = Gate::new(limits);
        let enter = |address: &str| gate.enter(address.parse().unwrap());
        let _first = enter("2001:db8::1").unwrap();
        assert!(enter("2001:db8::ffff:2").is_none());
        assert!(enter("2001:db8:0:1::1").is_some());
        // IPv4 over a socket for both families is still IPv4, each address its own.
        let _mapped = enter("::ffff:192.0.2.1").unwrap();
        assert!(enter("192.0.2.1").is_none());
        assert!(enter("::ffff:192.0.2.2").is_some());
    }
}
