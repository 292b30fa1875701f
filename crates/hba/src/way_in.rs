//! Is there any way in at all? (For the guard against locking everybody out.)

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::{
    Rules,
    matching::{Interface, Origin, Request},
    model::{Address, Method, Rule},
};

impl Rules {
    /// A rule other than `reject` that some client, somewhere on the network, would be the first to
    /// meet as this user on this database, and that is `usable` with what the user has; `None` when
    /// the user is locked out.
    ///
    /// Networks are nested or apart, so the regions in which the same rule comes first begin at the
    /// first address of a network or just behind the last of one: trying those is trying all. (A
    /// mask with holes is tried at its first address alone.) `samehost` and `samenet` are taken to
    /// be the loopback, which every machine has. Unix sockets don't count.
    #[must_use]
    pub fn way_in(
        &self,
        database: &str,
        user: &str,
        is_member: &dyn Fn(&str) -> bool,
        usable: &dyn Fn(&Rule) -> bool,
    ) -> Option<&Rule> {
        let interfaces = [loopback_v4(), loopback_v6()];
        self.corners().into_iter().find_map(|address| {
            [true, false].into_iter().find_map(|tls| {
                let request = Request::new(Origin::Tcp { address, tls }, database, user)
                    .with_interfaces(&interfaces)
                    .with_memberships(is_member);
                self.first_match(&request)
                    .rule()
                    .filter(|rule| rule.method != Method::Reject && usable(rule))
            })
        })
    }

    fn corners(&self) -> BTreeSet<IpAddr> {
        let mut corners = BTreeSet::from([
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        ]);
        let own = [loopback_v4(), loopback_v6()];
        let own_nets = own.map(|own| (own.address, own.netmask));
        let own_hosts = own.map(|own| (own.address, all_ones(own.address)));
        let nets = self.iter().filter_map(|rule| match rule.address() {
            Some(Address::Net { address, mask }) => Some((*address, *mask)),
            Some(Address::All | Address::SameHost | Address::SameNet) | None => None,
        });
        for (address, mask) in nets.chain(own_nets).chain(own_hosts) {
            match (address, mask) {
                (IpAddr::V4(address), IpAddr::V4(mask)) => {
                    let first = address.to_bits() & mask.to_bits();
                    let behind = (first | !mask.to_bits()).wrapping_add(1);
                    corners.extend([first, behind].map(|bits| IpAddr::V4(bits.into())));
                }
                (IpAddr::V6(address), IpAddr::V6(mask)) => {
                    let first = address.to_bits() & mask.to_bits();
                    let behind = (first | !mask.to_bits()).wrapping_add(1);
                    corners.extend([first, behind].map(|bits| IpAddr::V6(bits.into())));
                }
                (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
            }
        }
        corners
    }
}

fn all_ones(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => Ipv4Addr::BROADCAST.into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(u128::MAX).into(),
    }
}

fn loopback_v4() -> Interface {
    Interface {
        address: Ipv4Addr::LOCALHOST.into(),
        netmask: Ipv4Addr::new(255, 0, 0, 0).into(),
    }
}

fn loopback_v6() -> Interface {
    Interface {
        address: Ipv6Addr::LOCALHOST.into(),
        netmask: all_ones(Ipv6Addr::LOCALHOST.into()),
    }
}
