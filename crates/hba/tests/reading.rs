//! What the accepted language means, and which rule decides.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use palisade_hba::{
    ClientCertificate, Connection, DatabaseName, Decision, Interface, Request, RoleName, Rules,
};

#[track_caller]
fn rules(text: &str) -> Rules {
    Rules::parse(text).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

/// The canonical form of the only rule.
#[track_caller]
fn canonical(text: &str) -> String {
    let rules = rules(text);
    assert_eq!(rules.len(), 1, "{text}");
    rules.iter().next().unwrap().to_string()
}

/// The line of the rule that decides for a client at this address.
#[track_caller]
fn line(text: &str, address: &str, tls: bool, database: &str, user: &str) -> Option<u32> {
    let rules = rules(text);
    let request = Request::tcp(address.parse().unwrap(), tls, database, user);
    rules.first_match(&request).rule().map(|rule| rule.line)
}

#[test]
fn the_default_is_what_the_design_says() {
    let rules = Rules::default_rules();
    assert_eq!(rules.len(), 1);
    assert_eq!(
        rules.iter().next().unwrap().to_string(),
        "hostssl all all all auto"
    );
    assert_eq!(Rules::parse(rules.text()).unwrap(), rules);
    assert_eq!(Rules::default(), rules);
}

#[test]
fn text_and_line_are_kept() {
    let text = "\n# ours\r\n\tlocal all \\\n all trust # yes\n\n hostssl all all ::/0 key";
    let rules = rules(text);
    assert_eq!(rules.text(), text);
    assert_eq!(rules.to_string(), text);
    let found: Vec<_> = rules.iter().map(|r| (r.line, r.text.as_str())).collect();
    assert_eq!(
        found,
        [
            (3, "local all  all trust # yes"),
            (6, "hostssl all all ::/0 key")
        ]
    );
}

#[test]
fn no_rules_are_rules_and_let_nobody_in() {
    for text in ["", "\n", "# nothing", "  \t\r\n#x\n"] {
        assert!(rules(text).is_empty());
        assert_eq!(line(text, "127.0.0.1", true, "main", "alice"), None);
    }
}

/// "Quoting one of the keywords in a database, user, or address field (e.g., all or replication)
/// makes the word lose its special meaning, and just match a database, user, or host with that
/// name."
#[test]
fn quoted_keywords_are_names() {
    let rules = rules("local \"all\",\"sameuser\",\"replication\" \"all\",\"+admins\" trust");
    let rule = rules.iter().next().unwrap();
    let name = |n: &str| DatabaseName::Name(n.to_owned());
    assert_eq!(
        rule.databases,
        [name("all"), name("sameuser"), name("replication")]
    );
    assert_eq!(
        rule.users,
        [
            RoleName::Name("all".to_owned()),
            RoleName::Name("+admins".to_owned())
        ]
    );
    assert!(rule.matches(&Request::local("all", "all")));
    assert!(!rule.matches(&Request::local("main", "all")));
    assert!(!rule.matches(&Request::local("all", "alice")));
}

#[test]
fn quotes_within_a_word_as_postgresql_reads_them() {
    assert_eq!(
        canonical("local a\"b c\"d all trust"),
        "local \"ab cd\" all trust"
    );
    assert_eq!(
        canonical("local \"a\"\"b\" all trust"),
        "local \"a\"\"b\" all trust"
    );
    assert_eq!(
        canonical("local \"\"\"\" all trust"),
        "local \"\"\"\" all trust"
    );
    assert_eq!(
        canonical("local \"a#b,c\" all trust#d"),
        "local \"a#b,c\" all trust"
    );
    // Only a quote at the beginning takes the meaning away.
    assert_eq!(canonical("local a\"ll\" all trust"), "local all all trust");
    assert_eq!(
        canonical("local all +\"my role\" trust"),
        "local all +\"my role\" trust"
    );
}

#[test]
fn lists_go_on_behind_a_comma_and_blanks() {
    assert_eq!(
        canonical("host a, b,\t c  x,y  all  scram-sha-256"),
        "host a,b,c x,y all scram-sha-256"
    );
    assert_eq!(canonical("local a,\\\n b all trust"), "local a,b all trust");
}

/// "A record can be continued onto the next line by ending the line with a backslash. (Backslashes
/// are not special except at the end of a line.) [...] Note that a backslash will continue a line
/// even within quoted text or comments."
#[test]
fn continued_lines() {
    assert_eq!(
        canonical("lo\\\ncal a\\ll all trust"),
        "local \"a\\ll\" all trust"
    );
    assert_eq!(
        canonical("local \"a\\\nb\" all trust"),
        "local ab all trust"
    );
    assert!(rules("# off: \\\nlocal all all trust\n").is_empty());
    // A blank behind the backslash ends its meaning.
    assert_eq!(rules("# on: \\ \nlocal all all trust\n").len(), 1);
    assert_eq!(
        canonical("local all all\\\r\n trust"),
        "local all all trust"
    );
    // A backslash that was there already does not continue once more.
    let error = Rules::parse("local all all trust\\\\\n\nlocal all all md5").unwrap_err();
    let found: Vec<_> = error.faults().map(|f| (f.line, f.token.as_str())).collect();
    assert_eq!(found, [(1, "trust\\"), (3, "md5")]);
}

#[test]
fn addresses_and_masks() {
    for (written, is) in [
        ("10.1.2.3/8", "10.1.2.3/8"),
        ("10.1.2.3 255.0.0.0", "10.1.2.3/8"),
        ("10.0.0.0 255.0.255.0", "10.0.0.0 255.0.255.0"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("\"10.0.0.0/8\"", "10.0.0.0/8"),
        ("2001:DB8:0::/32", "2001:db8::/32"),
        ("::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::1/128"),
        ("::ffff:10.0.0.0/104", "::ffff:10.0.0.0/104"),
        ("samehost", "samehost"),
        ("samenet", "samenet"),
        ("all", "all"),
    ] {
        assert_eq!(
            canonical(&format!("host all all {written} trust")),
            format!("host all all {is} trust")
        );
    }
}

#[test]
fn cert_implies_its_certificate() {
    let rules = rules(
        "hostssl all all all cert\n\
         hostssl all all all cert clientcert=verify-full\n\
         hostssl all all all scram-sha-256 clientcert=verify-ca\n\
         hostssl all all all reject clientcert=\"verify-full\"\n\
         hostssl all all all key\n",
    );
    let asked: Vec<_> = rules.iter().map(|r| r.client_certificate).collect();
    assert_eq!(
        asked,
        [
            Some(ClientCertificate::VerifyFull),
            Some(ClientCertificate::VerifyFull),
            Some(ClientCertificate::VerifyCa),
            Some(ClientCertificate::VerifyFull),
            None,
        ]
    );
    let mut rules = rules.iter();
    assert!(rules.next().unwrap().same_meaning(rules.next().unwrap()));
}

/// "The first record with a matching connection type, client address, requested database, and user
/// name is used to perform authentication. There is no “fall-through” or “backup”".
#[test]
fn the_first_match_decides() {
    let text = "hostssl main eve all reject\nhostssl main all 10.0.0.0/8 key\nhost all all 10.1.0.0/16 trust\n";
    assert_eq!(line(text, "10.1.2.3", true, "main", "eve"), Some(1));
    assert_eq!(line(text, "10.1.2.3", true, "main", "bob"), Some(2));
    assert_eq!(line(text, "10.1.2.3", false, "main", "bob"), Some(3));
    assert_eq!(line(text, "10.1.2.3", true, "other", "bob"), Some(3));
    assert_eq!(line(text, "10.2.2.3", false, "main", "bob"), None);
    assert_eq!(line(text, "192.0.2.1", true, "main", "bob"), None);
}

#[test]
fn connection_types() {
    let only = |kind: &str, tls| line(&format!("{kind} all all all trust"), "::1", tls, "d", "u");
    for (kind, with_tls, without) in [
        ("host", true, true),
        ("hostssl", true, false),
        ("hostnossl", false, true),
        ("hostnogssenc", true, true),
    ] {
        assert_eq!(only(kind, true).is_some(), with_tls, "{kind}");
        assert_eq!(only(kind, false).is_some(), without, "{kind}");
    }
    let local = rules("local all all trust");
    assert!(
        local
            .first_match(&Request::local("d", "u"))
            .rule()
            .is_some()
    );
    assert_eq!(
        line("local all all trust", "127.0.0.1", true, "d", "u"),
        None
    );
    assert_eq!(
        rules("host all all all trust").first_match(&Request::local("d", "u")),
        Decision::NoRule
    );
    assert_eq!(local.iter().next().unwrap().connection, Connection::Local);
}

#[test]
fn networks() {
    let hit = |address: &str, client: &str| {
        line(
            &format!("host all all {address} trust"),
            client,
            true,
            "d",
            "u",
        )
        .is_some()
    };
    assert!(hit("10.1.2.3/8", "10.9.9.9"));
    assert!(!hit("10.1.2.3/8", "11.1.2.3"));
    assert!(hit("10.1.2.3/32", "10.1.2.3"));
    assert!(!hit("10.1.2.3/32", "10.1.2.2"));
    assert!(hit("0.0.0.0/0", "255.255.255.255"));
    assert!(hit("10.0.3.0 255.0.255.0", "10.7.3.0"));
    assert!(!hit("10.0.3.0 255.0.255.0", "10.7.4.0"));
    assert!(hit("2001:db8::/33", "2001:db8:7fff::1"));
    assert!(!hit("2001:db8::/33", "2001:db8:8000::1"));
    assert!(hit("::/0", "::ffff:10.0.0.1"));
}

/// "An entry given in IPv4 format will match only IPv4 connections, and an entry given in IPv6
/// format will match only IPv6 connections, even if the represented address is in the IPv4-in-IPv6
/// range."
#[test]
fn families_never_match_each_other() {
    assert_eq!(
        line(
            "host all all 10.0.0.0/8 trust",
            "::ffff:10.0.0.1",
            true,
            "d",
            "u"
        ),
        None
    );
    assert_eq!(
        line("host all all 0.0.0.0/0 trust", "::1", true, "d", "u"),
        None
    );
    assert_eq!(
        line("host all all ::/0 trust", "10.0.0.1", true, "d", "u"),
        None
    );
    assert_eq!(
        line(
            "host all all ::ffff:0:0/96 trust",
            "10.0.0.1",
            true,
            "d",
            "u"
        ),
        None
    );
}

#[test]
fn samehost_and_samenet_ask_for_the_interfaces() {
    let interfaces = [Interface {
        address: "192.0.2.7".parse().unwrap(),
        netmask: "255.255.255.0".parse().unwrap(),
    }];
    let hit = |word: &str, client: &str, interfaces: &[Interface]| {
        let request =
            Request::tcp(client.parse().unwrap(), true, "d", "u").with_interfaces(interfaces);
        rules(&format!("host all all {word} trust"))
            .first_match(&request)
            .rule()
            .is_some()
    };
    assert!(hit("samehost", "192.0.2.7", &interfaces));
    assert!(!hit("samehost", "192.0.2.8", &interfaces));
    assert!(hit("samenet", "192.0.2.8", &interfaces));
    assert!(!hit("samenet", "192.0.3.8", &interfaces));
    assert!(!hit("samenet", "::1", &interfaces));
    assert!(!hit("samehost", "192.0.2.7", &[]));
    assert!(!hit("samenet", "192.0.2.7", &[]));
}

#[test]
fn databases_users_and_roles() {
    let decide = |text: &str, database: &str, user: &str| {
        let is_member = |role: &str| role == user || (user == "alice" && role == "staff");
        let request = Request::local(database, user).with_memberships(&is_member);
        rules(text).first_match(&request).rule().is_some()
    };
    assert!(decide("local sameuser all trust", "bob", "bob"));
    assert!(!decide("local sameuser all trust", "main", "bob"));
    assert!(decide("local samerole all trust", "staff", "alice"));
    assert!(decide("local samegroup all trust", "staff", "alice"));
    assert!(!decide("local samerole all trust", "staff", "bob"));
    assert!(decide("local all +staff trust", "main", "alice"));
    assert!(!decide("local all +staff trust", "main", "bob"));
    assert!(decide("local all +bob trust", "main", "bob"));
    assert!(decide("local main,other bob,alice trust", "other", "bob"));
    assert!(!decide("local main bob trust", "main", "Bob"));
    // A replication connection is refused before any rule; a database of that name is no keyword's.
    assert!(!decide("local replication all trust", "replication", "bob"));
    assert!(decide(
        "local \"replication\" all trust",
        "replication",
        "bob"
    ));
    assert!(!decide("local all replication trust", "main", "bob"));
    assert!(decide("local all replication trust", "main", "replication"));
}

#[test]
fn way_in_sees_who_is_locked_out() {
    let way_in = |text: &str, user: &str| {
        rules(text)
            .way_in("main", user, &|role| role == user, &|_| true)
            .map(|rule| rule.line)
    };
    assert_eq!(way_in("hostssl all all all auto", "root"), Some(1));
    assert_eq!(way_in("", "root"), None);
    assert_eq!(way_in("local all all trust", "root"), None);
    assert_eq!(
        way_in("host all all all reject\nhost all all all auto", "root"),
        None
    );
    assert_eq!(
        way_in("hostssl all all all reject\nhost all all all auto", "root"),
        Some(2)
    );
    assert_eq!(way_in("hostssl other all all auto", "root"), None);
    assert_eq!(way_in("hostssl main alice all auto", "root"), None);
    assert_eq!(way_in("hostssl main +root all auto", "root"), Some(1));
    // Two halves cover the whole; all but the last address is not all.
    let halves = "host all all 0.0.0.0/1 reject\nhost all all 128.0.0.0/1 reject\n";
    assert_eq!(
        way_in(&format!("{halves}host all all 0.0.0.0/0 auto"), "root"),
        None
    );
    assert_eq!(
        way_in(&format!("{halves}host all all all auto"), "root"),
        Some(3)
    );
    let one_left = "host all all 10.0.0.0/31 reject\nhost all all 10.0.0.2/32 reject\nhost all all 10.0.0.0/30 key";
    assert_eq!(way_in(&one_left.replace("key", "auto"), "root"), Some(3));
    assert_eq!(
        way_in(
            "host all all ::/0 reject\nhost all all samehost auto",
            "root"
        ),
        Some(2)
    );
    assert_eq!(
        way_in(
            "host all all samenet reject\nhost all all samehost auto",
            "root"
        ),
        None
    );
}
