//! Palisade's reading of `pg_hba.conf` against PostgreSQL's own, on the same texts.
//!
//! "parser checked against PostgreSQL's own `pg_hba_file_rules` on the same files": what we accept
//! PostgreSQL accepts, with the same type, databases, users, address, method and options on the same
//! line; what we refuse PostgreSQL refuses, too, or it is one of [`STRICTER`]. The last test really
//! connects, and compares who is let in, who is rejected and who finds no rule.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

use std::{cell::Cell, net::IpAddr};

use palisade_hba::{
    Address, ClientCertificate, DatabaseName, Decision, FaultKind, Interface, Method, Origin,
    Request, RoleName, Rule, Rules,
};
use palisade_keys::{SecretKey, Zeroizing};
use palisade_link::x509::{self, IssuingCa, Leaf};
use palisade_testkit::{Postgres, poll};
use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};
use serde::Deserialize;
use time::{Duration, OffsetDateTime};

/// Faults that PostgreSQL 15 does not see: see the head of the crate `palisade_hba`.
const STRICTER: &[FaultKind] = &[
    FaultKind::ControlCharacter,
    FaultKind::UnterminatedQuote,
    FaultKind::StrayComma,
    FaultKind::IncludedFile,
    FaultKind::GssEncryption,
    FaultKind::EmptyName,
    FaultKind::RegularExpression,
    FaultKind::HostName,
    FaultKind::InvalidAddress,
    FaultKind::ZonedAddress,
    FaultKind::InvalidPrefix,
    FaultKind::InvalidMask,
    FaultKind::RefusedMethod,
    FaultKind::RefusedOption,
    FaultKind::DuplicateOption,
];

/// PostgreSQL's word for a rule that it understood and that can't match just now.
const NOT_A_FAULT: &str = "hostssl record cannot match because SSL is disabled";

/// One row of `pg_hba_file_rules`.
#[derive(Debug, Deserialize)]
struct Row {
    line_number: u32,
    r#type: Option<String>,
    database: Option<Vec<String>>,
    user_name: Option<Vec<String>>,
    address: Option<String>,
    netmask: Option<String>,
    auth_method: Option<String>,
    options: Option<Vec<String>>,
    error: Option<String>,
}

impl Row {
    /// PostgreSQL 15 forgets to say what is wrong with the value of `clientcert`: the row is empty.
    fn is_faulty(&self) -> bool {
        let told = self
            .error
            .as_ref()
            .is_some_and(|error| error != NOT_A_FAULT);
        told || self.r#type.is_none()
    }
}

/// What both say of a rule.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    line: u32,
    kind: String,
    databases: Vec<String>,
    users: Vec<String>,
    address: Option<(String, Option<IpAddr>)>,
    method: String,
    options: Vec<String>,
}

impl From<&Row> for Said {
    fn from(row: &Row) -> Self {
        let netmask: Option<IpAddr> = row.netmask.as_ref().map(|mask| mask.parse().unwrap());
        let address = row.address.as_ref().map(|address| match netmask {
            // In one notation: PostgreSQL and Rust abbreviate some IPv6 addresses differently.
            Some(_) => (address.parse::<IpAddr>().unwrap().to_string(), netmask),
            None => (address.clone(), None),
        });
        let same_role = |name: &String| match name.as_str() {
            "samegroup" => "samerole".to_owned(),
            other => other.to_owned(),
        };
        Self {
            line: row.line_number,
            kind: row.r#type.clone().unwrap(),
            databases: row.database.iter().flatten().map(same_role).collect(),
            users: row.user_name.clone().unwrap(),
            address,
            method: row.auth_method.clone().unwrap(),
            options: row.options.clone().unwrap_or_default(),
        }
    }
}

impl From<&Rule> for Said {
    fn from(rule: &Rule) -> Self {
        let database = |name: &DatabaseName| match name {
            // A quoted keyword looks like a keyword to PostgreSQL's view, which tells no quotes.
            DatabaseName::Name(name) if name == "samegroup" => "samerole".to_owned(),
            DatabaseName::Name(name) => name.clone(),
            keyword => keyword.to_string(),
        };
        let who = |name: &RoleName| match name {
            RoleName::Name(name) => name.clone(),
            RoleName::MemberOf(group) => format!("+{group}"),
            RoleName::All => "all".to_owned(),
        };
        let options = rule.client_certificate.map(|asked| match asked {
            ClientCertificate::VerifyCa => "clientcert=verify-ca".to_owned(),
            ClientCertificate::VerifyFull => "clientcert=verify-full".to_owned(),
        });
        Self {
            line: rule.line,
            kind: rule.connection_type().to_string(),
            databases: rule.databases.iter().map(database).collect(),
            users: rule.users.iter().map(who).collect(),
            address: rule.address().map(|address| match address {
                Address::Net { address, mask } => (address.to_string(), Some(*mask)),
                keyword => (keyword.to_string(), None),
            }),
            method: rule.method.to_string(),
            options: options.into_iter().collect(),
        }
    }
}

/// What PostgreSQL says of a text, without taking it.
fn rows(postgres: &Postgres, text: &str) -> Vec<Row> {
    postgres.write_file("pg_hba.conf", text.as_bytes()).unwrap();
    let json = postgres
        .psql("select coalesce(json_agg(r order by line_number), '[]') from pg_hba_file_rules r")
        .unwrap();
    serde_json::from_str(&json).unwrap()
}

/// The text without the lines (and what follows them up to the next rule) that begin at these
/// numbers; what comes before the first rule begins at 0.
fn without(text: &str, rows: &[Row], faulty: &[u32]) -> String {
    let keep = |number: u32| {
        let begin = rows.iter().rfind(|row| row.line_number <= number);
        !faulty.contains(&begin.map_or(0, |row| row.line_number))
    };
    let lines = (1_u32..).zip(text.split('\n'));
    let kept: Vec<&str> = lines
        .map(|(number, line)| if keep(number) { line } else { "" })
        .collect();
    kept.join("\n")
}

/// Compares the two readings of a text; returns how many rules both accept and both refuse.
fn compare(postgres: &Postgres, text: &str) -> Result<(usize, usize), TestCaseError> {
    let rows = rows(postgres, text);
    let mut faulty = Vec::new();
    let mut both_refuse = 0;
    if let Err(error) = Rules::parse(text) {
        for fault in error.faults() {
            // Where PostgreSQL sees no rule at all, in a comment or between two commas, there is none.
            let row = rows.iter().rfind(|row| row.line_number <= fault.line);
            let refused = row.is_some_and(Row::is_faulty);
            prop_assert!(
                refused || STRICTER.contains(&fault.kind),
                "only we refuse: {}\n{}",
                fault,
                text
            );
            both_refuse += usize::from(refused);
            faulty.push(row.map_or(0, |row| row.line_number));
        }
    }
    for row in rows.iter().filter(|row| row.is_faulty()) {
        prop_assert!(
            faulty.contains(&row.line_number),
            "only PostgreSQL refuses line {}: {:?}\n{}",
            row.line_number,
            row.error,
            text
        );
    }
    let rest = without(text, &rows, &faulty);
    let ours =
        Rules::parse(&rest).map_err(|error| TestCaseError::fail(format!("{error}\n{rest}")))?;
    let ours: Vec<Said> = ours.iter().map(Said::from).collect();
    let theirs: Vec<Said> = rows
        .iter()
        .filter(|row| !faulty.contains(&row.line_number))
        .map(Said::from)
        .collect();
    prop_assert_eq!(&ours, &theirs, "{}", text);
    Ok((ours.len(), both_refuse))
}

/// Texts by hand: what the documentation shows, and the corners of `hba.c`.
const TEXTS: &[&str] = &[
    "",
    "# nothing\n\n   \t \n",
    "local all all trust\nhost all all 127.0.0.1/32 trust\nhost all all 127.0.0.1 255.255.255.255 trust\n\
     host all all ::1/128 trust\nhost postgres all 192.168.93.0/24 scram-sha-256\n\
     host all all 192.168.54.1/32 reject\nhost all all 0.0.0.0/0 scram-sha-256\n\
     local sameuser all scram-sha-256\nlocal all +support scram-sha-256\nlocal db1,db2,samerole all scram-sha-256\n",
    "hostssl all all all cert\nhostssl all all all cert clientcert=verify-full\n\
     hostssl all all samenet scram-sha-256 clientcert=verify-ca\nhostnossl all all samehost reject\n\
     hostnogssenc all all ::/0 trust\nhostssl all all all reject clientcert=verify-full\n",
    "local \"all\" \"all\" trust\nlocal a\"ll\" \"\"\"\" trust\nlocal \"a b\",c+d +\"my role\" trust\n\
     \"local\" all all \"trust\"\nhostssl all all all trust \"clientcert=verify-ca\"\n\
     local \"a,b\"c all trust#comment\nlocal a#b all trust\n",
    "local all,replication all trust\nlocal \"replication\" all trust\nlocal samegroup,samerole,sameuser a,all,+all trust\n",
    "host all \\\n all \\\n 10.0.0.0/8 \\\n trust\nlocal all all trust\n# a \\\nlocal all all trust\nlocal all all reject",
    "local \"a\\\nb\" all trust\nlo\\\ncal all all\\\n trust\n\\\n\\\nlocal all all trust\nlocal all all trust\\",
    "local all all trust\\\\\n\nlocal all all trust \\ \nlocal all all trust\r\n\\\r\nlocal all all reject\r\n",
    "local a, b,c ,d all trust\nlocal a,b, c d trust\nlocal a,,b all trust\nlocal a,# all trust\nlocal all all trust,\n",
    "host all all 10.1.2.3/8 trust\nhost all all 10.0.0.0/0 trust\nhost all all 10.0.0.1 255.0.255.0 trust\n\
     host all all 2001:db8::/32 trust\nhost all all ::ffff:10.0.0.0/104 trust\nhost all all ::ffff:10.0.0.1 ffff:: trust\n\
     host all all 10.0.0.0/08 trust\nhost all all 10.0.0.0/+8 trust\nhost all all \"10.0.0.0/8\" trust\nhost all all 1::2:3:0:0:4/1 trust\n",
    "host all all 10.0.0.0/33 trust\nhost all all ::/129 trust\nhost all all 10.0.0.0/ trust\nhost all all 10.0.0.0/-1 trust\n\
     host all all 10.0.0.0/8/8 trust\nhost all all 10.0.0.1 trust\nhost all all 10.0.0.1 ::1 trust\nhost all all ::1 255.0.0.0 trust\n\
     host all all 300.0.0.1/32 trust\nhost all all example.org/32 trust\nhost all all :::/0 trust\nhost all all 10.0.0.1 255.0.0.0,1 trust\n",
    "host all all 10.1/16 trust\nhost all all 10/8 trust\nhost all all 0x0a000001/32 trust\nhost all all 010.0.0.1/32 trust\n\
     host all all fe80::1%lo/64 trust\nhost all all 10.0.0.1 255 trust\nhost all all 10.0.0.0/-0 trust\nhost all all \"all\" trust\n\
     host all all example.org trust\nhost all all .example.org trust\nhost all all ALL trust\n",
    "host\nhost all\nhost all all\nhost all all all\nhost all all 10.0.0.1 255.0.0.0\nlocal\nlocal all\nlocal all all\n\
     hots all all all trust\nHOST all all all trust\nlocal,host all all trust\nhost all all all,samenet trust\nlocal all all trust,reject\n",
    "local all all trust yes\nlocal all all trust a=b\nhost all all all trust clientcert=verify-ca\nlocal all all cert\nhost all all all cert\n\
     hostnossl all all all cert\nhostssl all all all trust clientcert=1\nhostssl all all all cert clientcert=verify-ca\n\
     hostssl all all all cert map=x\nhostssl all all all trust map=x\nhostssl all all all cert clientname=CN\n\
     hostssl all all all trust clientcert=verify-ca clientcert=verify-full\nhostssl all all all trust clientcert=verify-ca,clientcert=verify-full\n",
    "local all all md5\nlocal all all peer\nhost all all all ident\nlocal all all password\nlocal all all scram\nlocal all all SCRAM-SHA-256\nlocal all all trust2\n",
    "local \"\" all trust\nlocal all + trust\nlocal all \"+\" trust\nlocal /x all trust\nlocal all \"/x\" trust\nlocal @ all trust\nlocal \"@x\" all trust\n",
    "include x\ninclude_dir \"y\"\ninclude_if_exists z\n@none all all trust\nlocal @none all trust\nlocal all a,@none trust\n",
    "local all \"a b trust\nlocal all \"a\"\"b trust\nlocal all a\u{1}b trust\nlocal ä ö trust\n\u{a0}local all all trust\n# a\rlocal all all trust\nlocal all a\rb trust\n",
];

#[test]
fn texts_by_hand_are_read_as_postgresql_reads_them() {
    let postgres = Postgres::start().unwrap();
    let (mut accepted, mut refused) = (0, 0);
    for text in TEXTS {
        let (yes, no) = compare(&postgres, text).unwrap_or_else(|error| panic!("{error}"));
        accepted += yes;
        refused += no;
    }
    // Long tokens: the longest of ours is one that PostgreSQL still takes, however it ends.
    for (open, close) in [("", " "), ("\"", "\" "), ("", ",b ")] {
        for length in [253, 254, 255, 256] {
            let text = format!("local {open}{}{close}all trust\n", "a".repeat(length));
            let ours = Rules::parse(&text).is_ok();
            let theirs = !rows(&postgres, &text)[0].is_faulty();
            assert!(theirs || !ours, "{length} {close}");
            assert_eq!(ours, length <= palisade_hba::limits::MAX_TOKEN_BYTES);
        }
    }
    assert!(accepted >= 45 && refused >= 45, "{accepted} {refused}");
}

/// Anything that a line may be made of, well and badly put together.
fn line() -> impl Strategy<Value = String> {
    let word = |words: &'static [&'static str]| prop::sample::select(words);
    let name = word(&[
        "all",
        "alice",
        "\"all\"",
        "sameuser",
        "samerole",
        "samegroup",
        "replication",
        "+staff",
        "a\"b c\"",
        "\"x,y\"",
        "\"q\"\"r\"",
        "ä",
        "a\\b",
        "\"a#b\"",
        "a=b",
        "+\"a b\"",
        "\"+a\"",
        "\"@a\"",
        "@",
        "-",
    ]);
    let names = prop::collection::vec(name, 1..4).prop_map(|names| names.join(","));
    let kind = prop_oneof![
        8 => word(&["local", "host", "hostssl", "hostnossl", "hostnogssenc"]),
        1 => word(&["hostssl", "\"host\"", "hostile"]),
    ];
    let address = prop_oneof![
        word(&[
            "all",
            "samehost",
            "samenet",
            "::1/128",
            "10.0.0.1 255.255.0.0",
            "::1 ffff::",
            "10.0.0.0/33",
            "10.0.0.1 ::1",
            "",
            "1.2.3.4/x",
            "::ffff:1.2.3.4/100",
            "10.0.0.1  255.0.255.0",
            "10.0.0.0/8,all",
        ])
        .prop_map(ToOwned::to_owned),
        (any::<[u8; 4]>(), 0..=33_u8).prop_map(|(ip, bits)| format!("{}/{bits}", IpAddr::from(ip))),
        (any::<[u8; 16]>(), 0..=129_u8)
            .prop_map(|(ip, bits)| format!("{}/{bits}", IpAddr::from(ip))),
        (any::<[u8; 4]>(), any::<[u8; 4]>()).prop_map(|(ip, mask)| format!(
            "{} {}",
            IpAddr::from(ip),
            IpAddr::from(mask)
        )),
        (any::<[u8; 16]>(), any::<[u8; 16]>()).prop_map(|(ip, mask)| format!(
            "{} {}",
            IpAddr::from(ip),
            IpAddr::from(mask)
        )),
    ];
    let method = prop_oneof![
        8 => word(&["trust", "reject", "scram-sha-256"]),
        1 => word(&["cert", "\"trust\"", "scram", "", "trust,reject"]),
    ];
    let option = prop_oneof![
        8 => word(&["", "", "# end", "#"]),
        2 => word(&["clientcert=verify-full", "clientcert=verify-ca", "\"clientcert=verify-ca\""]),
        1 => word(&["clientcert=", "a", "=", "clientcert=no", "map=m"]),
    ];
    let gap = || word(&[" ", " ", "  ", "\t", " \\\n", "\\\n ", " \\\r\n"]);
    let good = (
        kind,
        names.clone(),
        names,
        address,
        method,
        option,
        [gap(), gap(), gap(), gap(), gap()],
    )
        .prop_map(
            |(kind, databases, users, address, method, option, [a, b, c, d, e])| match kind {
                "local" => format!("{kind}{a}{databases}{b}{users}{c}{method}{d}{option}"),
                _ => format!("{kind}{a}{databases}{b}{users}{c}{address}{d}{method}{e}{option}"),
            },
        );
    let soup = "(local|host|hostssl|all|a|b|\"|,|#|\\\\|\\+|::1|10\\.0\\.0\\.0|/8|trust|cert|clientcert=|verify-ca|[ \t]|\\\\\n){1,16}";
    prop_oneof![6 => good, 2 => soup, 1 => Just(String::new()), 1 => "# [a-z\" \\\\]{0,8}"]
}

#[test]
fn generated_texts_are_read_as_postgresql_reads_them() {
    let postgres = Postgres::start().unwrap();
    let (accepted, refused) = (Cell::new(0), Cell::new(0));
    let end = prop::sample::select(&["\n", "\n", "\n", "\r\n"][..]);
    let text = prop::collection::vec((line(), end), 0..40).prop_map(|lines| {
        lines
            .into_iter()
            .flat_map(|(line, end)| [line, end.to_owned()])
            .collect()
    });
    TestRunner::new(Config {
        cases: 150,
        failure_persistence: None,
        ..Config::default()
    })
    .run(&text, |text: String| {
        let (yes, no) = compare(&postgres, &text)?;
        accepted.set(accepted.get() + yes);
        refused.set(refused.get() + no);
        Ok(())
    })
    .unwrap_or_else(|error| panic!("{error}"));
    // The texts would be no test if nearly all were refused, or none.
    assert!(accepted.get() > 300, "{}", accepted.get());
    assert!(refused.get() > 300, "{}", refused.get());
}

/// Rules over which the connections of [`REQUESTS`] differ.
const DECISIVE: &[&str] = &[
    "",
    "local all all trust",
    "host all all all trust",
    "hostssl all all all trust",
    "hostnossl all all all trust",
    "hostnogssenc all all 127.0.0.0/8 trust",
    "host all all 127.0.0.2/31 trust\nhost all all 127.1.2.3 255.0.0.0 reject",
    "host all all 127.0.0.1 255.255.255.0 trust",
    "host all all 0.0.0.0 0.0.0.254 trust",
    "hostssl all all 127.0.0.1/32 reject\nhost all all all trust",
    "hostnossl all all all reject\nhostssl all alice all trust",
    "host all all ::/0 trust",
    "host all all ::ffff:127.0.0.1/128 trust",
    "host all all samehost trust",
    "host all all samenet trust",
    "local all alice trust\nlocal all all reject",
    "local all \"all\" trust",
    "local \"all\" all trust",
    "local sameuser all trust",
    "local samerole all trust",
    "local samegroup all reject\nlocal all all trust",
    "local all +staff trust",
    "local all +everyone reject\nlocal all all trust",
    "local all +bob trust",
    "local all \"+staff\",a\"ll\" trust",
    "local replication all trust",
    "local \"replication\",staff bob, alice trust",
    "host staff +staff 127.0.0.1/32 reject\nhost all alice,bob 127.0.0.1/32 trust\nlocal all bob trust",
];

/// How a client comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Socket,
    Tcp,
    Tls,
}

/// The way, the database and the user.
const REQUESTS: &[(Way, &str, &str)] = &[
    (Way::Socket, "alice", "alice"),
    (Way::Socket, "staff", "alice"),
    (Way::Socket, "staff", "bob"),
    (Way::Socket, "all", "all"),
    (Way::Socket, "replication", "bob"),
    (Way::Tcp, "alice", "alice"),
    (Way::Tcp, "staff", "bob"),
    (Way::Tls, "staff", "alice"),
    (Way::Tls, "alice", "bob"),
];

/// alice is in staff, staff is in everyone.
fn is_member(user: &str, role: &str) -> bool {
    user == role || (user == "alice" && matches!(role, "staff" | "everyone"))
}

fn we_say(rules: &Rules, way: Way, database: &str, user: &str) -> &'static str {
    let interfaces = [Interface {
        address: "127.0.0.1".parse().unwrap(),
        netmask: "255.0.0.0".parse().unwrap(),
    }];
    let member = |role: &str| is_member(user, role);
    let origin = match way {
        Way::Socket => Origin::Local,
        Way::Tcp | Way::Tls => Origin::Tcp {
            address: "127.0.0.1".parse().unwrap(),
            tls: way == Way::Tls,
        },
    };
    let request = Request::new(origin, database, user)
        .with_interfaces(&interfaces)
        .with_memberships(&member);
    match rules.first_match(&request) {
        Decision::NoRule => "no rule",
        Decision::Matched(rule) if rule.method == Method::Reject => "rejected",
        Decision::Matched(_) => "let in",
    }
}

fn postgres_says(postgres: &Postgres, way: Way, database: &str, user: &str) -> &'static str {
    let mut psql = postgres.command("psql").unwrap();
    if way != Way::Socket {
        let ssl_mode = if way == Way::Tls {
            "require"
        } else {
            "disable"
        };
        psql.env("PGHOST", "127.0.0.1").env("PGSSLMODE", ssl_mode);
        // Where libpq looks for a client certificate; our own may be closed to the server's user.
        psql.env("HOME", "/nonexistent");
    }
    psql.args(["-X", "-w", "-c", "", "-d", database, "-U", user]);
    let done = psql.output().unwrap();
    let error = String::from_utf8(done.stderr).unwrap();
    if done.status.success() {
        "let in"
    } else if error.contains("pg_hba.conf rejects connection") {
        "rejected"
    } else if error.contains("no pg_hba.conf entry") {
        "no rule"
    } else {
        panic!("{error}")
    }
}

/// Any certificate will do: the clients here don't look at it.
fn server_certificate() -> Leaf {
    let cluster = SecretKey::from_seed(Zeroizing::new([7; 32])).unwrap();
    let now = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
    let (issuer, _) = IssuingCa::create(&cluster, &[2], now).unwrap();
    let request = x509::Request {
        common_name: "localhost",
        hosts: &["localhost".to_owned()],
        now,
        lifetime: Duration::days(1),
        serial: &[3],
    };
    issuer.server(&request).unwrap()
}

#[test]
fn the_same_clients_are_let_in() {
    const OURS: &str = "local postgres postgres trust\n";
    let leaf = server_certificate();
    let postgres = Postgres::builder()
        .tcp()
        .setting("ssl", "on")
        .file("server.crt", leaf.chain_pem().as_bytes())
        .file("server.key", leaf.expose_key_pem().as_bytes())
        .start()
        .unwrap();
    postgres
        .psql(
            "create role alice login; create role bob login; create role \"all\" login; \
             create role everyone; create role staff in role everyone; grant staff to alice;",
        )
        .unwrap();
    for database in ["alice", "staff", "all", "replication"] {
        postgres
            .psql(&format!("create database \"{database}\""))
            .unwrap();
    }
    let mut seen = Vec::new();
    for text in DECISIVE {
        let rules = Rules::parse(text).unwrap();
        let loaded = "select pg_conf_load_time()";
        let before = postgres.psql(loaded).unwrap();
        let file = format!("{OURS}{text}\n");
        postgres.write_file("pg_hba.conf", file.as_bytes()).unwrap();
        postgres.reload().unwrap();
        // New sessions come from the postmaster, which has read the rules when it has the new time.
        poll("the new rules", std::time::Duration::from_mins(1), || {
            postgres
                .psql(loaded)
                .is_ok_and(|now| now != before)
                .then_some(())
        })
        .unwrap();
        for (way, database, user) in REQUESTS {
            let ours = we_say(&rules, *way, database, user);
            let theirs = postgres_says(&postgres, *way, database, user);
            assert_eq!(ours, theirs, "{way:?}, {user} on {database}\n{text}");
            seen.push(ours);
        }
    }
    for outcome in ["no rule", "rejected", "let in"] {
        assert!(
            seen.iter().filter(|o| **o == outcome).count() > 10,
            "{outcome}"
        );
    }
}
