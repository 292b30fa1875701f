//! From the fields of a line to a rule, in the order of `parse_hba_line` in hba.c.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    error::{Fault, FaultKind, FieldName},
    lexer::{Line, Position, Token},
    model::{
        Address, ClientCertificate, Connection, DatabaseName, Encryption, Method, RoleName, Rule,
    },
};

/// Reads one rule; the first fault of the line ends it.
pub(crate) fn rule(line: Line) -> Result<Rule, Fault> {
    for token in line.fields.iter().flatten() {
        if !token.quoted && token.text.len() > 1 && token.text.starts_with('@') {
            return Err(token.fault(FaultKind::IncludedFile));
        }
    }
    let mut fields = Fields {
        rest: line.fields.into_iter(),
        end: line.end,
    };
    let kind = fields.one(FieldName::ConnectionType)?;
    let encryption = encryption(&kind)?;
    let databases = fields.many(FieldName::Database, database)?;
    let users = fields.many(FieldName::User, user)?;
    let connection = match encryption {
        None => Connection::Local,
        Some(encryption) => Connection::Tcp {
            encryption,
            address: address(&mut fields)?,
        },
    };
    let method_token = fields.one(FieldName::Method)?;
    let method = method(&method_token)?;
    let tls = encryption == Some(Encryption::Tls);
    if matches!(method, Method::Cert | Method::Key) && !tls {
        return Err(method_token.fault(FaultKind::MethodNeedsHostssl));
    }
    let asked = options(fields.rest, method, tls)?;
    Ok(Rule {
        line: line.number,
        text: line.text,
        connection,
        databases,
        users,
        method,
        client_certificate: match method {
            Method::Cert => Some(ClientCertificate::VerifyFull),
            Method::Reject | Method::Trust | Method::ScramSha256 | Method::Key | Method::Auto => {
                asked
            }
        },
    })
}

struct Fields {
    rest: std::vec::IntoIter<Vec<Token>>,
    end: Position,
}

impl Fields {
    fn next(&mut self, name: FieldName) -> Result<Vec<Token>, Fault> {
        self.rest
            .next()
            .ok_or_else(|| self.end.fault("", FaultKind::Missing(name)))
    }

    fn one(&mut self, name: FieldName) -> Result<Token, Fault> {
        let mut tokens = self.next(name)?.into_iter();
        match (tokens.next(), tokens.next()) {
            (Some(token), None) => Ok(token),
            (_, Some(second)) => Err(second.fault(FaultKind::SeveralValues(name))),
            (None, None) => Err(self.end.fault("", FaultKind::Missing(name))),
        }
    }

    fn many<T>(
        &mut self,
        name: FieldName,
        read: fn(Token) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault> {
        self.next(name)?.into_iter().map(read).collect()
    }
}

/// `None` is `local`.
fn encryption(token: &Token) -> Result<Option<Encryption>, Fault> {
    match token.text.as_str() {
        "local" => Ok(None),
        "host" => Ok(Some(Encryption::Any)),
        "hostssl" => Ok(Some(Encryption::Tls)),
        "hostnossl" => Ok(Some(Encryption::NoTls)),
        "hostnogssenc" => Ok(Some(Encryption::NoGss)),
        "hostgssenc" => Err(token.fault(FaultKind::GssEncryption)),
        "include" | "include_if_exists" | "include_dir" => {
            Err(token.fault(FaultKind::IncludeDirective))
        }
        _ => Err(token.fault(FaultKind::UnknownConnectionType)),
    }
}

fn database(token: Token) -> Result<DatabaseName, Fault> {
    if token.is_keyword("all") {
        Ok(DatabaseName::All)
    } else if token.is_keyword("sameuser") {
        Ok(DatabaseName::SameUser)
    } else if token.is_keyword("samerole") || token.is_keyword("samegroup") {
        Ok(DatabaseName::SameRole)
    } else if token.is_keyword("replication") {
        Ok(DatabaseName::Replication)
    } else {
        Ok(DatabaseName::Name(name(token)?))
    }
}

fn user(token: Token) -> Result<RoleName, Fault> {
    if token.is_keyword("all") {
        return Ok(RoleName::All);
    }
    match token.text.strip_prefix('+') {
        Some("") if !token.quoted => Err(token.fault(FaultKind::EmptyName)),
        Some(role) if !token.quoted => Ok(RoleName::MemberOf(role.to_owned())),
        Some(_) | None => Ok(RoleName::Name(name(token)?)),
    }
}

fn name(token: Token) -> Result<String, Fault> {
    if token.text.is_empty() {
        return Err(token.fault(FaultKind::EmptyName));
    }
    if token.text.starts_with('/') {
        return Err(token.fault(FaultKind::RegularExpression));
    }
    Ok(token.text)
}

fn address(fields: &mut Fields) -> Result<Address, Fault> {
    let token = fields.one(FieldName::Address)?;
    if token.is_keyword("all") {
        return Ok(Address::All);
    }
    if token.is_keyword("samehost") {
        return Ok(Address::SameHost);
    }
    if token.is_keyword("samenet") {
        return Ok(Address::SameNet);
    }
    if let Some((address, prefix)) = token.text.split_once('/') {
        let address = ip(&token, address)?;
        let mask = mask(address, prefix).ok_or_else(|| token.fault(FaultKind::InvalidPrefix))?;
        return Ok(Address::Net { address, mask });
    }
    let address = ip(&token, &token.text)?;
    let mask_token = fields.one(FieldName::Mask)?;
    let mask: IpAddr = mask_token
        .text
        .parse()
        .map_err(|_| mask_token.fault(FaultKind::InvalidMask))?;
    if address.is_ipv4() != mask.is_ipv4() {
        return Err(mask_token.fault(FaultKind::MaskFamily));
    }
    Ok(Address::Net { address, mask })
}

/// An address written in full. `getaddrinfo`, which PostgreSQL asks, also takes `10.1`, `0x0a000001` and
/// octal numbers: three ways to read another address than the author meant.
fn ip(token: &Token, text: &str) -> Result<IpAddr, Fault> {
    text.parse().map_err(|_| {
        let numeric = |c: char| c.is_ascii_hexdigit() || matches!(c, '.' | 'x' | 'X');
        token.fault(if text.contains(':') {
            match text.split_once('%') {
                Some((address, _)) if address.parse::<Ipv6Addr>().is_ok() => {
                    FaultKind::ZonedAddress
                }
                Some(_) | None => FaultKind::InvalidAddress,
            }
        } else if text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(numeric) {
            FaultKind::InvalidAddress
        } else {
            FaultKind::HostName
        })
    })
}

/// `pg_sockaddr_cidr_mask`
fn mask(address: IpAddr, prefix: &str) -> Option<IpAddr> {
    let bits: u32 = prefix.parse().ok()?;
    match address {
        IpAddr::V4(_) => {
            let host = 32_u32.checked_sub(bits)?;
            let ones = u32::MAX.checked_shl(host).unwrap_or(0);
            Some(IpAddr::V4(Ipv4Addr::from_bits(ones)))
        }
        IpAddr::V6(_) => {
            let host = 128_u32.checked_sub(bits)?;
            let ones = u128::MAX.checked_shl(host).unwrap_or(0);
            Some(IpAddr::V6(Ipv6Addr::from_bits(ones)))
        }
    }
}

fn method(token: &Token) -> Result<Method, Fault> {
    if let Some(method) = Method::ALL
        .into_iter()
        .find(|method| method.name() == token.text)
    {
        return Ok(method);
    }
    Err(token.fault(match token.text.as_str() {
        "md5" | "password" | "ident" | "peer" | "gss" | "sspi" | "pam" | "bsd" | "ldap"
        | "radius" | "oauth" => FaultKind::RefusedMethod,
        _ => FaultKind::UnknownMethod,
    }))
}

fn options(
    fields: impl Iterator<Item = Vec<Token>>,
    method: Method,
    tls: bool,
) -> Result<Option<ClientCertificate>, Fault> {
    let mut asked = None;
    for token in fields.flatten() {
        let Some((name, value)) = token.text.split_once('=') else {
            return Err(token.fault(FaultKind::OptionSyntax));
        };
        match name {
            "clientcert" => {}
            "map" | "clientname" => return Err(token.fault(FaultKind::RefusedOption)),
            _ => return Err(token.fault(FaultKind::UnknownOption)),
        }
        if !tls {
            return Err(token.fault(FaultKind::ClientcertNeedsHostssl));
        }
        if matches!(method, Method::Key | Method::Auto) {
            return Err(token.fault(FaultKind::ClientcertForMethod));
        }
        if asked.is_some() {
            return Err(token.fault(FaultKind::DuplicateOption));
        }
        asked = Some(match value {
            "verify-full" => ClientCertificate::VerifyFull,
            "verify-ca" if method == Method::Cert => {
                return Err(token.fault(FaultKind::CertVerifiesFully));
            }
            "verify-ca" => ClientCertificate::VerifyCa,
            _ => return Err(token.fault(FaultKind::ClientcertValue)),
        });
    }
    Ok(asked)
}
