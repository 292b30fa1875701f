//! This machine's own addresses, for rules with `samehost` and `samenet`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use if_addrs::IfAddr;
use palisade_hba::Interface;

/// The addresses that the system has now, with the masks of their networks.
pub(crate) fn own() -> io::Result<Vec<Interface>> {
    let all = if_addrs::get_if_addrs()?;
    Ok(all.iter().map(|each| interface(&each.addr)).collect())
}

/// A mask of nothing is taken for that of the address alone, as PostgreSQL does (`run_ifaddr_callback`):
/// it would make a neighbour of everybody.
fn interface(address: &IfAddr) -> Interface {
    let netmask = match address {
        IfAddr::V4(v4) if v4.netmask.is_unspecified() => Ipv4Addr::BROADCAST.into(),
        IfAddr::V4(v4) => v4.netmask.into(),
        IfAddr::V6(v6) if v6.netmask.is_unspecified() => Ipv6Addr::from_bits(u128::MAX).into(),
        IfAddr::V6(v6) => v6.netmask.into(),
    };
    let address: IpAddr = address.ip();
    Interface { address, netmask }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_knows_itself() {
        let own = own().unwrap();
        let loopback = own.iter().find(|own| own.address == Ipv4Addr::LOCALHOST);
        assert_eq!(
            loopback.unwrap().netmask,
            IpAddr::from(Ipv4Addr::new(255, 0, 0, 0))
        );
    }

    #[test]
    fn no_mask_makes_everybody_a_neighbour() {
        let odd = if_addrs::Ifv4Addr {
            ip: Ipv4Addr::new(192, 0, 2, 1),
            netmask: Ipv4Addr::UNSPECIFIED,
            prefixlen: 0,
            broadcast: None,
        };
        let read = interface(&IfAddr::V4(odd));
        assert_eq!(read.netmask, IpAddr::from(Ipv4Addr::BROADCAST));
    }
}
