//! Properties of all texts: generated rules are read back as they were, arbitrary text never
//! panics, and the first match is the first match.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::net::IpAddr;

use palisade_hba::{
    Address, ClientCertificate, Connection, DatabaseName, Decision, Encryption, Method, Request,
    RoleName, Rule, Rules,
};
use proptest::prelude::*;

/// Names with all that is special to the lexer, and the keywords.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c]{1,3}",
        "[ab \",#@+=\\\\äß\t-]{1,8}",
        Just("all".to_owned()),
        Just("sameuser".to_owned()),
        Just("samegroup".to_owned()),
        Just("replication".to_owned()),
        Just("@file".to_owned()),
        "[a-z]{60,254}",
    ]
}

fn database() -> impl Strategy<Value = DatabaseName> {
    prop_oneof![
        Just(DatabaseName::All),
        Just(DatabaseName::SameUser),
        Just(DatabaseName::SameRole),
        Just(DatabaseName::Replication),
        name().prop_map(DatabaseName::Name),
    ]
}

fn user() -> impl Strategy<Value = RoleName> {
    prop_oneof![
        Just(RoleName::All),
        // One byte is the plus sign's.
        name()
            .prop_filter("room for the plus", |name| name.len() < 254)
            .prop_map(RoleName::MemberOf),
        name().prop_map(RoleName::Name),
    ]
}

fn address() -> impl Strategy<Value = Address> {
    let v4 = (
        any::<[u8; 4]>(),
        any::<[u8; 4]>(),
        0..=32_u32,
        any::<bool>(),
    )
        .prop_map(|(address, mask, prefix, holes)| Address::Net {
            address: IpAddr::from(address),
            mask: if holes {
                IpAddr::from(mask)
            } else {
                IpAddr::V4(u32::MAX.checked_shl(32 - prefix).unwrap_or(0).into())
            },
        });
    let v6 = (
        any::<[u8; 16]>(),
        any::<[u8; 16]>(),
        0..=128_u32,
        any::<bool>(),
    )
        .prop_map(|(address, mask, prefix, holes)| Address::Net {
            address: IpAddr::from(address),
            mask: if holes {
                IpAddr::from(mask)
            } else {
                IpAddr::V6(u128::MAX.checked_shl(128 - prefix).unwrap_or(0).into())
            },
        });
    prop_oneof![
        Just(Address::All),
        Just(Address::SameHost),
        Just(Address::SameNet),
        v4,
        v6
    ]
}

fn connection() -> impl Strategy<Value = Connection> {
    let encryption = prop::sample::select(vec![
        Encryption::Any,
        Encryption::Tls,
        Encryption::NoTls,
        Encryption::NoGss,
    ]);
    prop_oneof![
        Just(Connection::Local),
        (encryption, address()).prop_map(|(encryption, address)| Connection::Tcp {
            encryption,
            address
        }),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    (
        connection(),
        prop::collection::vec(database(), 1..4),
        prop::collection::vec(user(), 1..4),
        prop::sample::select(Method::ALL.to_vec()),
        prop::option::of(prop::bool::ANY),
    )
        .prop_map(|(connection, databases, users, method, certificate)| {
            let tls = matches!(
                &connection,
                Connection::Tcp {
                    encryption: Encryption::Tls,
                    ..
                }
            );
            let method = match method {
                Method::Cert | Method::Key if !tls => Method::ScramSha256,
                method => method,
            };
            let client_certificate = match (method, certificate) {
                (Method::Cert, _) => Some(ClientCertificate::VerifyFull),
                (Method::Key | Method::Auto, _) => None,
                (_, Some(true)) if tls => Some(ClientCertificate::VerifyFull),
                (_, Some(false)) if tls => Some(ClientCertificate::VerifyCa),
                _ => None,
            };
            Rule {
                line: 1,
                text: String::new(),
                connection,
                databases,
                users,
                method,
                client_certificate,
            }
        })
}

fn text(rules: &[Rule]) -> String {
    let lines: Vec<String> = rules.iter().map(Rule::to_string).collect();
    lines.join("\n")
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(rule in rule()) {
        let written = rule.to_string();
        let rules = Rules::parse(&written).map_err(|e| TestCaseError::fail(format!("{written}: {e}")))?;
        prop_assert_eq!(rules.len(), 1);
        let read = rules.iter().next().unwrap();
        prop_assert!(read.same_meaning(&rule), "{}\n{:?}\n{:?}", written, read, rule);
        prop_assert_eq!(read.to_string(), written);
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        drop(Rules::parse(&text));
    }

    /// Text of the language's own characters gets further into the parser.
    #[test]
    fn any_likely_text_is_read_or_refused(
        text in "((host|hostssl|local|all|a|\"|,|#|\\\\|@|\\+|/|::1|10\\.0\\.0\\.0|trust|cert|clientcert=|verify-ca)[ \t\r\n]{0,1}){0,40}"
    ) {
        match Rules::parse(&text) {
            Ok(rules) => {
                prop_assert_eq!(rules.text(), &text);
                for rule in &rules {
                    let again = Rules::parse(&rule.to_string()).unwrap();
                    prop_assert!(again.iter().next().unwrap().same_meaning(rule));
                }
            }
            Err(error) => {
                let lines = u32::try_from(text.split('\n').count()).unwrap();
                for fault in error.faults() {
                    prop_assert!((1..=lines).contains(&fault.line), "{}", fault);
                    prop_assert!(fault.column >= 1);
                }
            }
        }
    }

    #[test]
    fn the_first_match_is_the_first_match(
        rules in prop::collection::vec(rule(), 0..8),
        address in any::<[u8; 4]>(),
        tls in any::<bool>(),
        database in "[a-c]{1}",
        user in "[a-c]{1}",
    ) {
        let text = text(&rules);
        let parsed = Rules::parse(&text).unwrap();
        let is_member = |role: &str| role == user;
        let request = Request::tcp(address.into(), tls, &database, &user).with_memberships(&is_member);
        let expected = rules.iter().position(|rule| rule.matches(&request));
        let found = match parsed.first_match(&request) {
            Decision::Matched(rule) => Some(usize::try_from(rule.line).unwrap() - 1),
            Decision::NoRule => None,
        };
        prop_assert_eq!(found, expected);
    }

    /// A user whom `way_in` calls locked out is not let in from any address.
    #[test]
    fn nobody_passes_who_is_locked_out(
        rules in prop::collection::vec(rule(), 0..8),
        address in prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)],
        tls in any::<bool>(),
    ) {
        let contiguous = rules.iter().all(|rule| match rule.address() {
            Some(net @ Address::Net { .. }) => net.prefix().is_some(),
            _ => true,
        });
        prop_assume!(contiguous);
        let text = text(&rules);
        let parsed = Rules::parse(&text).unwrap();
        let is_member = |role: &str| role == "a";
        let request = Request::tcp(address, tls, "b", "a").with_memberships(&is_member);
        let passes = parsed.first_match(&request).rule().is_some_and(|rule| rule.method != Method::Reject);
        if parsed.way_in("b", "a", &is_member, &|_| true).is_none() {
            prop_assert!(!passes, "{} passes\n{}", address, text);
        }
    }
}
