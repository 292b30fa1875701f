//! Where nodes are: host names and addresses, each with one form.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::MAX_HOST_BYTES;

/// Why a host or an address was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not `HOST:PORT`.
    #[error("an address is written HOST:PORT, an IPv6 address in brackets: [2001:db8::1]:7433")]
    Form,
    /// Neither a DNS name nor an IP address that somebody can connect to.
    #[error(
        "a host is a DNS name of letters, digits, hyphens and dots, an IPv4 address or an IPv6 address; \
         0.0.0.0 and :: are nobody's"
    )]
    Host,
    /// Not a port.
    #[error("a port is a number from 1 to 65535")]
    Port,
}

/// Reads a DNS name or an IP address and gives its one form: small letters, an IP address as
/// RFC 5952 writes it, without brackets.
pub fn parse_host(text: &str) -> Result<String, AddressError> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return ip(address);
    }
    let name = text.to_ascii_lowercase();
    if name.is_empty() || name.len() > MAX_HOST_BYTES || !name.split('.').all(is_label) {
        return Err(AddressError::Host);
    }
    // What ends in a number is an IPv4 address or a slip of the pen (RFC 3696, section 2).
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(AddressError::Host);
    }
    Ok(name)
}

/// RFC 1123, section 2.1. No underscore: no certificate could say the name.
fn is_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(inner)
}

fn ip(address: IpAddr) -> Result<String, AddressError> {
    let odd = match address {
        IpAddr::V4(address) => address.is_unspecified() || address == Ipv4Addr::BROADCAST,
        // An IPv4 address in IPv6's clothes would be a second form of it.
        IpAddr::V6(address) => address == Ipv6Addr::UNSPECIFIED || within_v4(address),
    };
    if odd || address.is_multicast() {
        return Err(AddressError::Host);
    }
    Ok(address.to_string())
}

/// `::ffff:0:0/96`, and the old `::/96` but for `::1` (RFC 4291, section 2.5.5).
fn within_v4(address: Ipv6Addr) -> bool {
    address.to_ipv4_mapped().is_some()
        || (address != Ipv6Addr::LOCALHOST && address.to_ipv4().is_some())
}

/// Whether `host` (in its one form) means the machine itself: no node can claim it for itself alone.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// A host and a port, written `HOST:PORT`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct NodeAddress {
    host: String,
    port: u16,
}

impl NodeAddress {
    /// The address of `host` (without brackets) and `port`.
    pub fn new(host: &str, port: u16) -> Result<Self, AddressError> {
        if port == 0 {
            return Err(AddressError::Port);
        }
        let host = parse_host(host)?;
        Ok(Self { host, port })
    }

    /// The DNS name or IP address, an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; never zero.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for NodeAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = text.rsplit_once(':').ok_or(AddressError::Form)?;
        let number: u16 = port.parse().map_err(|_| AddressError::Port)?;
        if number.to_string() != port {
            return Err(AddressError::Port);
        }
        let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        match inner {
            Some(host) if host.contains(':') => Self::new(host, number),
            Some(_) => Err(AddressError::Form),
            None if host.contains(':') => Err(AddressError::Form),
            None => Self::new(host, number),
        }
    }
}

impl From<NodeAddress> for String {
    fn from(address: NodeAddress) -> Self {
        address.to_string()
    }
}

impl TryFrom<String> for NodeAddress {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_form() {
        for (text, shown) in [
            ("Node1.Example.com:7433", "node1.example.com:7433"),
            ("10.0.0.1:1", "10.0.0.1:1"),
            ("[2001:DB8:0:0::1]:65535", "[2001:db8::1]:65535"),
            ("[::1]:7433", "[::1]:7433"),
            ("pg-1:7433", "pg-1:7433"),
        ] {
            let address: NodeAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), shown);
            assert_eq!(shown.parse(), Ok(address));
        }
        let address: NodeAddress = "[::1]:7433".parse().unwrap();
        assert_eq!((address.host(), address.port()), ("::1", 7433));
    }

    #[test]
    fn what_nobody_can_connect_to_is_refused() {
        for bad in [
            "",
            "host",
            "host:",
            ":1",
            "host:0",
            "host:65536",
            "host:+1",
            "host:01",
            "::1:7433",
            "[::1]",
            "[10.0.0.1]:1",
            "[host]:1",
            "0.0.0.0:1",
            "[::]:1",
            "255.255.255.255:1",
            "224.0.0.1:1",
            "[ff02::1]:1",
            "[::ffff:10.0.0.1]:1",
            "[::10.0.0.1]:1",
            "10.0.0:1",
            "10.0.0.256:1",
            "a..b:1",
            "-a:1",
            "a-:1",
            "pg_1:7433",
            "a b:1",
            "a/b:1",
            "user@host:1",
            "*.a:1",
            "ho\u{df}t:1",
            "[fe80::1%eth0]:1",
        ] {
            assert!(bad.parse::<NodeAddress>().is_err(), "{bad}");
        }
        let long = format!("{}a:1", "a.".repeat(127));
        assert!(long.parse::<NodeAddress>().is_err());
        assert!(
            format!("{}a:1", "a.".repeat(126))
                .parse::<NodeAddress>()
                .is_ok()
        );
    }

    #[test]
    fn loopback_is_known() {
        for host in ["localhost", "127.0.0.1", "127.1.2.3", "::1"] {
            assert!(is_loopback(host), "{host}");
        }
        assert!(!is_loopback("10.0.0.1"));
    }
}
