//! PostgreSQL's own `pg_hba.conf` and `pg_ident.conf`, compiled from the ledger.
//!
//! Over the private socket the daemon's OS user logs in as any user who may log in (`peer` with a map), and
//! as the bootstrap role. Over TCP, where it is on, the ledger's rules count, for users with
//! `set_transaction` alone: who lacks it is kept to the gateway, which watches the transaction.

use palisade_hba::{ClientCertificate, Connection, Method, RoleName, Rule};
use palisade_ledger::{Privileges, State, User};

use crate::compile::DIRECT;

/// The bootstrap superuser of a managed PostgreSQL, for the agent alone.
pub const BOOTSTRAP_ROLE: &str = "palisade";

/// Whether PostgreSQL itself listens on TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirectRules {
    /// Only the private socket is a way in.
    Closed,
    /// The ledger's rules hold on TCP, too.
    Open,
}

/// What the files are made of beside the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HbaInput<'a> {
    /// The name of the OS user that the daemon runs as.
    pub daemon_user: &'a str,
    /// Whether PostgreSQL listens on TCP.
    pub direct: DirectRules,
}

/// The texts of both files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HbaFiles {
    /// `pg_hba.conf`.
    pub hba: String,
    /// `pg_ident.conf`.
    pub ident: String,
}

const HEAD: &str = "# Compiled from the ledger; a change made here is drift and is undone.";

/// The two files that the state wants.
#[must_use]
pub fn compile_hba(state: &State, input: &HbaInput<'_>) -> HbaFiles {
    let database = quote(state.database());
    let mut hba = vec![
        HEAD.to_owned(),
        format!("local all {BOOTSTRAP_ROLE} peer map=palisade_agent"),
        format!("local {database} +palisade_login peer map=palisade"),
        "local all all reject".to_owned(),
    ];
    if input.direct == DirectRules::Open {
        let rules = state.hba().into_iter();
        hba.extend(rules.filter_map(|rule| direct(state, rule, &database)));
    }
    hba.push("host all all all reject\n".to_owned());
    let daemon = quote(input.daemon_user);
    let mut ident = vec![
        HEAD.to_owned(),
        format!("palisade_agent {daemon} {BOOTSTRAP_ROLE}"),
    ];
    for user in state.users().filter(|user| user.may_log_in()) {
        ident.push(format!("palisade {daemon} {}", quote(user.name.as_str())));
    }
    ident.push(String::new());
    HbaFiles {
        hba: hba.join("\n"),
        ident: ident.join("\n"),
    }
}

fn goes_direct(user: &User) -> bool {
    user.privileges().contains(Privileges::SET_TRANSACTION)
}

/// One rule of the ledger for PostgreSQL's own TCP port.
fn direct(state: &State, rule: &Rule, database: &str) -> Option<String> {
    let Connection::Tcp { address, .. } = &rule.connection else {
        return None;
    };
    let method = match rule.method {
        Method::Trust => "trust",
        Method::ScramSha256 | Method::Auto => "scram-sha-256",
        Method::Cert => "cert",
        // PostgreSQL knows no registered keys.
        Method::Reject | Method::Key => "reject",
    };
    // A rule that keeps out holds for everyone; one that lets in, for those who may come this way.
    let closes = method == "reject";
    let roles: Vec<String> = rule
        .users
        .iter()
        .filter_map(|name| match name {
            RoleName::All if closes => Some("all".to_owned()),
            RoleName::All => Some(format!("+{DIRECT}")),
            RoleName::Name(name) => {
                let may = state.user_by_name(name).is_some_and(goes_direct);
                (closes || may).then(|| quote(name))
            }
            RoleName::MemberOf(group) => closes.then(|| format!("+{}", quote(group))),
        })
        .collect();
    if roles.is_empty() {
        return None;
    }
    let databases: Vec<String> = rule.databases.iter().map(ToString::to_string).collect();
    let databases = if databases.iter().any(|name| name == "all") {
        // There is one managed database, and nobody has business in another.
        database.to_owned()
    } else {
        databases.join(",")
    };
    // `cert` asks for the whole certificate of itself.
    let option = match rule.client_certificate {
        Some(ClientCertificate::VerifyCa) if matches!(method, "scram-sha-256" | "trust") => {
            " clientcert=verify-ca"
        }
        Some(ClientCertificate::VerifyFull) if matches!(method, "scram-sha-256" | "trust") => {
            " clientcert=verify-full"
        }
        _ => "",
    };
    Some(format!(
        "{} {databases} {} {address} {method}{option}",
        rule.connection_type(),
        roles.join(",")
    ))
}

/// A word that has no meaning beyond itself in the two files.
fn quote(word: &str) -> String {
    format!("\"{}\"", word.replace('"', "\"\""))
}
