//! The first rule that matches decides (`check_hba` in hba.c); no rule means no.

use std::{fmt, net::IpAddr};

use crate::{
    Rules,
    model::{Address, Connection, DatabaseName, Encryption, RoleName, Rule},
};

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A unix socket.
    Local,
    /// TCP.
    Tcp {
        /// The client's address. As in PostgreSQL, an IPv4 rule matches no IPv4-mapped IPv6
        /// address (`::ffff:192.0.2.1`), nor the other way round: a socket that listens for both
        /// families says `address.to_canonical()` here.
        address: IpAddr,
        /// Whether the connection is inside of TLS.
        tls: bool,
    },
}

/// One of this machine's own addresses, for `samehost` and `samenet`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    /// The address.
    pub address: IpAddr,
    /// The mask of the network behind it, of the same family.
    pub netmask: IpAddr,
}

/// A request to log in. A replication connection is not one: refuse it before asking.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Where it comes from.
    pub origin: Origin,
    /// The database asked for.
    pub database: &'a str,
    /// The user who the client says it is.
    pub user: &'a str,
    /// This machine's own addresses.
    pub interfaces: &'a [Interface],
    /// Whether the user is a direct or indirect member of a role. An existing user is a member of
    /// the role of the user's own name; an unknown user is a member of none.
    pub is_member: &'a dyn Fn(&str) -> bool,
}

impl<'a> Request<'a> {
    /// A request over TCP, with no interfaces and no memberships.
    #[must_use]
    pub fn tcp(address: IpAddr, tls: bool, database: &'a str, user: &'a str) -> Self {
        Self::new(Origin::Tcp { address, tls }, database, user)
    }

    /// A request over a unix socket, with no memberships.
    #[must_use]
    pub fn local(database: &'a str, user: &'a str) -> Self {
        Self::new(Origin::Local, database, user)
    }

    /// A request with no interfaces and no memberships.
    #[must_use]
    pub fn new(origin: Origin, database: &'a str, user: &'a str) -> Self {
        Self {
            origin,
            database,
            user,
            interfaces: &[],
            is_member: &|_| false,
        }
    }

    /// The same request, on a machine that has these addresses.
    #[must_use]
    pub fn with_interfaces(self, interfaces: &'a [Interface]) -> Self {
        Self { interfaces, ..self }
    }

    /// The same request, of a user with these memberships.
    #[must_use]
    pub fn with_memberships(self, is_member: &'a dyn Fn(&str) -> bool) -> Self {
        Self { is_member, ..self }
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("origin", &self.origin)
            .field("database", &self.database)
            .field("user", &self.user)
            .field("interfaces", &self.interfaces)
            .finish_non_exhaustive()
    }
}

/// The answer to a [`Request`], with its terms.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision<'a> {
    /// This rule is the first that matches; its method says how to go on, and may be `reject`.
    Matched(&'a Rule),
    /// No rule matches: the answer is no.
    NoRule,
}

impl<'a> Decision<'a> {
    /// The rule that decided.
    #[must_use]
    pub fn rule(self) -> Option<&'a Rule> {
        match self {
            Self::Matched(rule) => Some(rule),
            Self::NoRule => None,
        }
    }
}

impl Rules {
    /// The first rule that matches the request.
    pub fn first_match(&self, request: &Request<'_>) -> Decision<'_> {
        self.iter()
            .find(|rule| rule.matches(request))
            .map_or(Decision::NoRule, Decision::Matched)
    }
}

impl Rule {
    /// Whether this rule, looked at alone, matches the request.
    #[must_use]
    pub fn matches(&self, request: &Request<'_>) -> bool {
        self.connection.matches(request)
            && self.databases.iter().any(|name| name.matches(request))
            && self.users.iter().any(|name| name.matches(request))
    }
}

impl Connection {
    fn matches(&self, request: &Request<'_>) -> bool {
        match (self, request.origin) {
            (Self::Local, Origin::Local) => true,
            (
                Self::Tcp {
                    encryption,
                    address,
                },
                Origin::Tcp {
                    address: client,
                    tls,
                },
            ) => {
                let encryption = match encryption {
                    Encryption::Any | Encryption::NoGss => true,
                    Encryption::Tls => tls,
                    Encryption::NoTls => !tls,
                };
                encryption && address.matches(client, request.interfaces)
            }
            (Self::Local, Origin::Tcp { .. }) | (Self::Tcp { .. }, Origin::Local) => false,
        }
    }
}

impl Address {
    fn matches(&self, client: IpAddr, interfaces: &[Interface]) -> bool {
        match *self {
            Self::All => true,
            Self::SameHost => interfaces.iter().any(|own| own.address == client),
            Self::SameNet => interfaces
                .iter()
                .any(|own| in_network(client, own.address, own.netmask)),
            Self::Net { address, mask } => in_network(client, address, mask),
        }
    }
}

/// `pg_range_sockaddr`: addresses of different families never match.
fn in_network(client: IpAddr, network: IpAddr, mask: IpAddr) -> bool {
    match (client, network, mask) {
        (IpAddr::V4(client), IpAddr::V4(network), IpAddr::V4(mask)) => {
            (client.to_bits() ^ network.to_bits()) & mask.to_bits() == 0
        }
        (IpAddr::V6(client), IpAddr::V6(network), IpAddr::V6(mask)) => {
            (client.to_bits() ^ network.to_bits()) & mask.to_bits() == 0
        }
        (IpAddr::V4(_) | IpAddr::V6(_), IpAddr::V4(_) | IpAddr::V6(_), _) => false,
    }
}

impl DatabaseName {
    pub(crate) fn matches(&self, request: &Request<'_>) -> bool {
        match self {
            Self::All => true,
            Self::SameUser => request.database == request.user,
            Self::SameRole => (request.is_member)(request.database),
            Self::Replication => false,
            Self::Name(name) => name == request.database,
        }
    }
}

impl RoleName {
    pub(crate) fn matches(&self, request: &Request<'_>) -> bool {
        match self {
            Self::All => true,
            Self::MemberOf(role) => (request.is_member)(role),
            Self::Name(name) => name == request.user,
        }
    }
}
