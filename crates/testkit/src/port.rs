//! Loopback ports that no other test takes.

use crate::{Error, dir};
use std::fs::File;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::ops::RangeInclusive;
use std::sync::Mutex;

/// Below the kernel's range for outgoing connections (32768 by default), so that no client of some
/// other test lands on a port between our look and the server's bind; above the well-known ones.
const USUAL: RangeInclusive<u16> = 20_000..=31_999;
/// What else there must be beside the kernel's range, where that begins lower.
const ENOUGH: u16 = 2_000;

/// The locks behind the ports that this process has handed out: held until it ends.
static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A loopback port on which nobody listens, reserved until this process ends.
pub fn free_port() -> Result<u16, Error> {
    free_ports(1)
}

/// The first of so many such ports in a row.
///
/// Tests run in parallel in many processes: each port stands for a lock file, so two of them never
/// get the same one. A port that nobody asked for is never anybody's: who takes the next one as well must
/// ask for two.
pub fn free_ports(count: u16) -> Result<u16, Error> {
    let directory = dir::shared()?.join("ports");
    std::fs::create_dir_all(&directory).map_err(Error::file("make", &directory))?;
    let kernel = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let range = outside(&kernel.unwrap_or_default());
    let (first, last) = (*range.start(), *range.end());
    let size = u32::from(last - first) + 1;
    // 7919 is prime and shares no factor with the size: processes started in a row spread out.
    let start = std::process::id().wrapping_mul(7919) % size;
    let mut run = Vec::new();
    for step in 0..size {
        let offset = (start + step) % size;
        let port = first + u16::try_from(offset).unwrap_or_default();
        if offset == 0 {
            run.clear();
        }
        let path = directory.join(port.to_string());
        let lock = File::create(&path).map_err(Error::file("make", &path))?;
        if lock.try_lock().is_err() || !is_free(port) {
            run.clear();
            continue;
        }
        run.push(lock);
        if run.len() == usize::from(count) {
            let mut held = HELD
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            held.extend(run);
            return Ok(port - (count - 1));
        }
    }
    Err(Error::NoPort { first, last })
}

/// Ports from which the kernel takes none for outgoing connections; `kernel` is what it says of those.
fn outside(kernel: &str) -> RangeInclusive<u16> {
    let mut bounds = kernel.split_whitespace().map(str::parse);
    let (Some(Ok(low)), Some(Ok(high))) = (bounds.next(), bounds.next()) else {
        return USUAL;
    };
    let (low, high): (u16, u16) = (low, high);
    if low > *USUAL.end() || high < *USUAL.start() {
        USUAL
    } else if u16::MAX - high >= ENOUGH {
        high + 1..=u16::MAX
    } else if low >= 1024 + ENOUGH {
        low - ENOUGH..=low - 1
    } else {
        USUAL
    }
}

/// Does nobody listen there, at whatever address of this machine?
fn is_free(port: u16) -> bool {
    if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_err() {
        return false;
    }
    // A machine without IPv6 has nobody who listens there.
    !matches!(
        TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)),
        Err(error) if error.kind() == ErrorKind::AddrInUse
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_port_is_given_twice() {
        let runs = (0..20).map(|n| (free_ports(n % 3 + 1).unwrap(), n % 3 + 1));
        let ports: Vec<u16> = runs
            .flat_map(|(first, count)| first..first + count)
            .collect();
        let different: BTreeSet<u16> = ports.iter().copied().collect();
        assert_eq!(different.len(), ports.len(), "{ports:?}");
    }

    #[test]
    fn a_listener_is_seen_at_each_address() {
        let port = free_port().unwrap();
        assert!(is_free(port));
        for address in ["127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "::"] {
            let Ok(_taken) = TcpListener::bind((address, port)) else {
                assert!(address.contains(':'), "{address}");
                continue;
            };
            assert!(!is_free(port), "{address}");
        }
        assert!(is_free(port));
    }

    #[test]
    fn the_kernels_own_ports_are_left_to_it() {
        for (kernel, range) in [
            ("32768\t60999\n", USUAL),
            ("", USUAL),
            ("16000 65535", 14_000..=15_999),
            ("1024 60999", 61_000..=u16::MAX),
            ("1024 65535", USUAL),
            ("1024 9999", USUAL),
        ] {
            assert_eq!(outside(kernel), range, "{kernel}");
        }
    }
}
