//! What a rule says, and its one canonical way of writing.

use std::{fmt, net::IpAddr};

use serde::Serialize;

/// One rule: who may come from where, and how they prove who they are.
///
/// `Display` writes it in one canonical way on one line; [`text`](Rule::text) is what the author
/// wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// The line on which the rule begins, counted from 1.
    pub line: u32,
    /// The rule as written, continued lines joined, blanks at both ends removed.
    pub text: String,
    /// The kind of connection and, for TCP, the client's address.
    pub connection: Connection,
    /// The databases; one of them must match.
    pub databases: Vec<DatabaseName>,
    /// The users; one of them must match.
    pub users: Vec<RoleName>,
    /// How the client proves who it is.
    pub method: Method,
    /// What `clientcert` asks beyond the method; the method `cert` implies
    /// [`ClientCertificate::VerifyFull`].
    pub client_certificate: Option<ClientCertificate>,
}

impl Rule {
    /// The first word of the rule.
    #[must_use]
    pub fn connection_type(&self) -> ConnectionType {
        match &self.connection {
            Connection::Local => ConnectionType::Local,
            Connection::Tcp { encryption, .. } => match encryption {
                Encryption::Any => ConnectionType::Host,
                Encryption::Tls => ConnectionType::HostSsl,
                Encryption::NoTls => ConnectionType::HostNoSsl,
                Encryption::NoGss => ConnectionType::HostNoGssEnc,
            },
        }
    }

    /// The client's address; `local` has none.
    #[must_use]
    pub fn address(&self) -> Option<&Address> {
        match &self.connection {
            Connection::Local => None,
            Connection::Tcp { address, .. } => Some(address),
        }
    }

    /// Whether two rules say the same, wherever and however they are written.
    #[must_use]
    pub fn same_meaning(&self, other: &Self) -> bool {
        self.connection == other.connection
            && self.databases == other.databases
            && self.users == other.users
            && self.method == other.method
            && self.client_certificate == other.client_certificate
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.connection_type())?;
        write_list(f, &self.databases)?;
        write_list(f, &self.users)?;
        if let Some(address) = self.address() {
            write!(f, " {address}")?;
        }
        write!(f, " {}", self.method)?;
        match self.client_certificate {
            // Implied, and so not written.
            Some(ClientCertificate::VerifyFull) if self.method == Method::Cert => Ok(()),
            Some(asked) => write!(f, " clientcert={asked}"),
            None => Ok(()),
        }
    }
}

fn write_list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        write!(f, "{}{item}", if index == 0 { " " } else { "," })?;
    }
    Ok(())
}

/// The kind of connection that a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Connection {
    /// A unix socket.
    Local,
    /// TCP.
    Tcp {
        /// What the rule asks of the encryption.
        encryption: Encryption,
        /// Where the client must be.
        address: Address,
    },
}

/// What a rule asks of the encryption of a TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Encryption {
    /// `host`: with or without TLS.
    Any,
    /// `hostssl`: TLS.
    Tls,
    /// `hostnossl`: no TLS.
    NoTls,
    /// `hostnogssenc`: as `host`, for Palisade speaks no GSSAPI.
    NoGss,
}

/// The first word of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionType {
    /// `local`
    Local,
    /// `host`
    Host,
    /// `hostssl`
    HostSsl,
    /// `hostnossl`
    HostNoSsl,
    /// `hostnogssenc`
    HostNoGssEnc,
}

impl fmt::Display for ConnectionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::Host => "host",
            Self::HostSsl => "hostssl",
            Self::HostNoSsl => "hostnossl",
            Self::HostNoGssEnc => "hostnogssenc",
        })
    }
}

/// One item of the list of databases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DatabaseName {
    /// `all`: every database; replication is none.
    All,
    /// `sameuser`: the database that is called like the user.
    SameUser,
    /// `samerole` (or `samegroup`): the database that is called like a role of which the user is a member.
    SameRole,
    /// `replication`: never matches, for Palisade refuses replication connections.
    Replication,
    /// The database of this name.
    Name(String),
}

impl fmt::Display for DatabaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::SameUser => f.write_str("sameuser"),
            Self::SameRole => f.write_str("samerole"),
            Self::Replication => f.write_str("replication"),
            Self::Name(name) => write_name(f, name),
        }
    }
}

/// One item of the list of users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleName {
    /// `all`: every user.
    All,
    /// `+role`: every direct and indirect member of the role, and the role itself.
    MemberOf(String),
    /// The user of this name.
    Name(String),
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::MemberOf(role) => {
                f.write_str("+")?;
                write_name(f, role)
            }
            Self::Name(name) => write_name(f, name),
        }
    }
}

/// Writes a name, in quotes where it would be taken for something else.
fn write_name(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    const KEYWORDS: [&str; 5] = ["all", "sameuser", "samerole", "samegroup", "replication"];
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '$');
    if !name.is_empty() && name.chars().all(plain) && !KEYWORDS.contains(&name) {
        return f.write_str(name);
    }
    write!(f, "\"{}\"", name.replace('"', "\"\""))
}

/// Where a client must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// `all`: anywhere.
    All,
    /// `samehost`: at one of this machine's own addresses.
    SameHost,
    /// `samenet`: in a network to which this machine is connected.
    SameNet,
    /// In this network. Address and mask are of the same family; bits outside of the mask don't
    /// count, and the mask may have holes, as in PostgreSQL.
    Net {
        /// The address as written.
        address: IpAddr,
        /// The mask.
        mask: IpAddr,
    },
}

impl Address {
    /// The number of leading ones of the mask of a [`Net`](Address::Net) whose mask has no holes.
    #[must_use]
    pub fn prefix(&self) -> Option<u8> {
        let Self::Net { mask, .. } = self else {
            return None;
        };
        let (ones, holes) = match mask {
            IpAddr::V4(mask) => {
                let bits = mask.to_bits();
                (
                    bits.leading_ones(),
                    bits.leading_ones() != bits.count_ones(),
                )
            }
            IpAddr::V6(mask) => {
                let bits = mask.to_bits();
                (
                    bits.leading_ones(),
                    bits.leading_ones() != bits.count_ones(),
                )
            }
        };
        if holes { None } else { u8::try_from(ones).ok() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::SameHost => f.write_str("samehost"),
            Self::SameNet => f.write_str("samenet"),
            Self::Net { address, mask } => match self.prefix() {
                Some(prefix) => write!(f, "{address}/{prefix}"),
                None => write!(f, "{address} {mask}"),
            },
        }
    }
}

/// How a client proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// `reject`: not at all; the rule keeps out.
    Reject,
    /// `trust`: without a proof.
    Trust,
    /// `scram-sha-256`: with a password, bound to the TLS channel where there is one.
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// `cert`: with a certificate of the cluster's CA whose common name is the user's name.
    Cert,
    /// `key`: with the user's registered key as TLS client key.
    Key,
    /// `auto`: with the key or certificate that the client presented in TLS, else with
    /// `scram-sha-256`.
    Auto,
}

impl Method {
    /// All methods.
    pub const ALL: [Self; 6] = [
        Self::Reject,
        Self::Trust,
        Self::ScramSha256,
        Self::Cert,
        Self::Key,
        Self::Auto,
    ];

    /// The method's name in a rule.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::Trust => "trust",
            Self::ScramSha256 => "scram-sha-256",
            Self::Cert => "cert",
            Self::Key => "key",
            Self::Auto => "auto",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What `clientcert` asks beyond the method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientCertificate {
    /// `verify-ca`: a certificate of the cluster's CA, whatever its name.
    VerifyCa,
    /// `verify-full`: a certificate of the cluster's CA whose common name is the user's name.
    VerifyFull,
}

impl fmt::Display for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        })
    }
}
