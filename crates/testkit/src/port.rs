//! Loopback ports that no other test takes.

use crate::{Error, dir};
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

/// Below the kernel's range for outgoing connections (32768 by default), so that no client of some
/// other test lands on a port between our look and the server's bind; above the well-known ones.
const FIRST: u16 = 20_000;
/// The last port handed out.
const LAST: u16 = 31_999;

/// The locks behind the ports that this process has handed out: held until it ends.
static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A loopback port on which nobody listens, reserved until this process ends.
///
/// Tests run in parallel in many processes: each port stands for a lock file, so two of them never
/// get the same one.
pub fn free_port() -> Result<u16, Error> {
    let directory = dir::shared()?.join("ports");
    std::fs::create_dir_all(&directory).map_err(Error::file("make", &directory))?;
    let count = u32::from(LAST - FIRST) + 1;
    // 7919 is prime and shares no factor with the count: processes started in a row spread out.
    let start = std::process::id().wrapping_mul(7919) % count;
    for step in 0..count {
        let offset = u16::try_from((start + step) % count).unwrap_or_default();
        let port = FIRST + offset;
        let path = directory.join(port.to_string());
        let lock = File::create(&path).map_err(Error::file("make", &path))?;
        if lock.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            HELD.lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .push(lock);
            return Ok(port);
        }
    }
    Err(Error::NoPort {
        first: FIRST,
        last: LAST,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let ports: std::collections::BTreeSet<u16> =
            (0..20).map(|_| free_port().unwrap()).collect();
        assert_eq!(ports.len(), 20);
        assert!(ports.iter().all(|port| (FIRST..=LAST).contains(port)));
    }
}
