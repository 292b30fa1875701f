//! What is probably not meant: rules that let in too much, and rules that never decide.

use std::net::IpAddr;

use palisade_hba::{Address, ConnectionType, DatabaseName, Method, RoleName, Rule, Rules};

/// One thing to look at again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Warning {
    /// The rule's line, from 1; 0 where it is the whole text.
    pub(super) line: u32,
    /// What is wrong.
    pub(super) message: String,
    /// What to write instead.
    pub(super) help: String,
}

/// Looks at all rules.
pub(super) fn warnings(rules: &Rules) -> Vec<Warning> {
    let mut found = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        found.extend(alone(rule));
        if let Some(earlier) = rules
            .iter()
            .take(index)
            .find(|earlier| covers(earlier, rule))
        {
            found.push(shadowed(earlier, rule));
        }
    }
    let opens = |rule: &Rule| rule.method != Method::Reject;
    if !rules.iter().any(opens) {
        found.push(Warning {
            line: 0,
            message: "no rule lets anybody in".to_owned(),
            help: "add a rule such as `hostssl all all all auto`".to_owned(),
        });
    }
    found
}

/// What a rule says by itself.
fn alone(rule: &Rule) -> Vec<Warning> {
    let warn = |message: &str, help: &str| Warning {
        line: rule.line,
        message: message.to_owned(),
        help: help.to_owned(),
    };
    let mut found = Vec::new();
    if rule.method == Method::Trust {
        found.push(warn(
            "`trust` lets anybody in under any of these names, without a proof",
            "write auto, key, cert or scram-sha-256",
        ));
    }
    if rule
        .databases
        .iter()
        .all(|name| *name == DatabaseName::Replication)
    {
        found.push(warn(
            "this rule never matches: replication connections are refused before any rule",
            "leave it out",
        ));
    }
    if rule.connection_type() == ConnectionType::HostNoSsl && rule.method != Method::Reject {
        found.push(warn(
            "without TLS what is read and written can be read by others; unless security.encrypt_traffic is off, this rule never decides",
            "begin the line with hostssl",
        ));
    }
    if rule.connection_type() == ConnectionType::Local {
        found.push(warn(
            "the gateway has no unix socket: this rule never decides there",
            "use a host or hostssl rule for 127.0.0.1/32 and ::1/128",
        ));
    }
    found
}

fn shadowed(earlier: &Rule, rule: &Rule) -> Warning {
    let message = if earlier.method == Method::Reject && rule.method != Method::Reject {
        format!(
            "this rule lets nobody in: line {} rejects all that it matches",
            earlier.line
        )
    } else {
        format!(
            "this rule never decides: line {} matches first all that it matches",
            earlier.line
        )
    };
    Warning {
        line: rule.line,
        message,
        help: format!("put it before line {}, or leave it out", earlier.line),
    }
}

/// Whether `earlier` matches everything that `rule` does. In doubt, no.
fn covers(earlier: &Rule, rule: &Rule) -> bool {
    type_covers(earlier.connection_type(), rule.connection_type())
        && rule.databases.iter().all(|name| {
            earlier
                .databases
                .iter()
                .any(|wide| database_covers(wide, name))
        })
        && rule.users.iter().all(|name| {
            earlier
                .users
                .iter()
                .any(|wide| *wide == RoleName::All || wide == name)
        })
        && match (earlier.address(), rule.address()) {
            (None, None) => true,
            (Some(wide), Some(narrow)) => address_covers(wide, narrow),
            (None, Some(_)) | (Some(_), None) => false,
        }
}

fn type_covers(wide: ConnectionType, narrow: ConnectionType) -> bool {
    match (wide, narrow) {
        (ConnectionType::Local, ConnectionType::Local) => true,
        (ConnectionType::Local, _) | (_, ConnectionType::Local) => false,
        (ConnectionType::Host | ConnectionType::HostNoGssEnc, _) => true,
        (wide, narrow) => wide == narrow,
    }
}

fn database_covers(wide: &DatabaseName, narrow: &DatabaseName) -> bool {
    // `replication` matches nothing, and so is covered by anything.
    *wide == DatabaseName::All || wide == narrow || *narrow == DatabaseName::Replication
}

fn address_covers(wide: &Address, narrow: &Address) -> bool {
    match (wide, narrow) {
        (Address::All, _) | (Address::SameNet, Address::SameHost) => true,
        (
            Address::Net {
                address: a,
                mask: m,
            },
            Address::Net {
                address: b,
                mask: n,
            },
        ) => network_covers((*a, *m), (*b, *n)),
        (wide, narrow) => wide == narrow,
    }
}

/// Whether every bit that the wide network looks at is fixed, to the same value, by the narrow one.
fn network_covers(wide: (IpAddr, IpAddr), narrow: (IpAddr, IpAddr)) -> bool {
    match (wide, narrow) {
        ((IpAddr::V4(a), IpAddr::V4(m)), (IpAddr::V4(b), IpAddr::V4(n))) => {
            let (a, m, b, n) = (a.to_bits(), m.to_bits(), b.to_bits(), n.to_bits());
            m & n == m && (a ^ b) & m == 0
        }
        ((IpAddr::V6(a), IpAddr::V6(m)), (IpAddr::V6(b), IpAddr::V6(n))) => {
            let (a, m, b, n) = (a.to_bits(), m.to_bits(), b.to_bits(), n.to_bits());
            m & n == m && (a ^ b) & m == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<(u32, String)> {
        let rules = Rules::parse(text).unwrap();
        warnings(&rules)
            .into_iter()
            .map(|w| (w.line, w.message))
            .collect()
    }

    #[test]
    fn the_default_rules_have_nothing_to_warn_of() {
        assert_eq!(warnings(&Rules::default_rules()), []);
    }

    #[test]
    fn rules_behind_a_wider_one_never_decide() {
        let cases = [
            (
                "hostssl all all all auto\nhostssl main alice 10.0.0.0/8 key\n",
                Some(2),
            ),
            (
                "host all all 0.0.0.0/0 reject\nhostssl all all 10.0.0.0/8 auto\n",
                Some(2),
            ),
            (
                "hostssl all all 10.0.0.0/8 auto\nhostssl all all 10.1.0.0/16 key\n",
                Some(2),
            ),
            (
                "hostssl all all 10.1.0.0/16 auto\nhostssl all all 10.0.0.0/8 key\n",
                None,
            ),
            (
                "hostssl all all 10.0.0.0/8 auto\nhostssl all all ::1/128 key\n",
                None,
            ),
            (
                "hostssl all alice all auto\nhostssl all alice,bob all key\n",
                None,
            ),
            (
                "hostssl main all all auto\nhostssl main,main all all key\n",
                Some(2),
            ),
            (
                "hostnossl all all all reject\nhostssl all all all auto\n",
                None,
            ),
        ];
        for (text, line) in cases {
            let found = lines(text);
            assert_eq!(
                found.first().map(|(line, _)| *line),
                line,
                "{text}: {found:?}"
            );
        }
    }

    #[test]
    fn a_reject_of_all_before_others_is_said_so() {
        let found = lines("host all all all reject\nhostssl all all all auto\n");
        assert!(
            found[0].1.contains("lets nobody in: line 1 rejects"),
            "{found:?}"
        );
    }

    #[test]
    fn trust_replication_plaintext_and_nothing_are_warned_of() {
        for (text, word) in [
            ("hostssl all all all trust\n", "without a proof"),
            ("hostssl replication all all auto\n", "never matches"),
            ("hostnossl all all all scram-sha-256\n", "TLS"),
            ("local all all scram-sha-256\n", "unix socket"),
            ("", "nobody"),
            ("host all all all reject\n", "nobody"),
        ] {
            let found = lines(text);
            assert!(
                found
                    .iter()
                    .any(|(_, message)| message.contains(word) || message.contains("anybody")),
                "{text}: {found:?}"
            );
        }
    }
}
