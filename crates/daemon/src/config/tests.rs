//! The table against the model, what is read, and every error's words.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use serde_json::Value;

use super::{
    Config, ConfigError, LogFormat, LogLevel, MAX_FILE_BYTES, PostgresMode, default_text,
    fields::{FIELDS, Field, Kind, SECTIONS},
    reference,
};

fn environment(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

fn parse_with(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("palisade.cfg"), environment(variables))
}

#[track_caller]
fn good(text: &str) -> Config {
    parse_with(text, &[]).unwrap_or_else(|error| panic!("{}", error.render(false)))
}

/// The error's lines.
#[track_caller]
fn bad(text: &str) -> Vec<String> {
    bad_with(text, &[])
}

#[track_caller]
fn bad_with(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let error = parse_with(text, variables).expect_err(text);
    assert!(!error.render(false).is_empty());
    error.to_string().lines().map(ToOwned::to_owned).collect()
}

/// Paths of all leaves of the model.
fn leaves(path: &str, value: &Value, out: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) if !["postgres.settings", "alerts.commands"].contains(&path) => {
            for (name, value) in map {
                let dot = if path.is_empty() { "" } else { "." };
                leaves(&format!("{path}{dot}{name}"), value, out);
            }
        }
        _ => {
            out.insert(path.to_owned());
        }
    }
}

fn defaults() -> Value {
    serde_json::to_value(Config::default()).unwrap()
}

#[test]
fn the_table_names_every_setting_of_the_model_once() {
    let mut model = BTreeSet::new();
    leaves("", &defaults(), &mut model);
    let table: BTreeSet<String> = FIELDS.iter().map(|field| field.path.to_owned()).collect();
    assert_eq!(table, model);
    assert_eq!(table.len(), FIELDS.len());
    let sections: BTreeSet<&str> = FIELDS
        .iter()
        .flat_map(|field| {
            let dots = field.path.match_indices('.').map(|(at, _)| at);
            dots.map(|at| field.path.get(..at).unwrap())
        })
        .collect();
    assert_eq!(sections, SECTIONS.iter().map(|(path, _)| *path).collect());
}

#[test]
fn every_setting_has_a_variable_of_its_own_and_a_whole_sentence() {
    let variables: BTreeSet<String> = FIELDS.iter().map(Field::variable).collect();
    assert_eq!(variables.len(), FIELDS.len());
    for field in FIELDS {
        assert!(
            field.help.len() > 10 && field.help.ends_with('.'),
            "{}",
            field.path
        );
    }
    assert_eq!(FIELDS[3].variable(), "PALISADE_SECURITY_ENCRYPT_TRAFFIC");
}

#[test]
fn the_generated_file_is_the_default() {
    let text = default_text();
    assert_eq!(good(&text), Config::default());
    assert_eq!(good("{}"), Config::default());
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
    // Each setting stands under its comment and its variable.
    for field in FIELDS {
        let name = field.path.rsplit('.').next().unwrap();
        let variable = format!("// {}\n", field.variable());
        let behind = text.split(&variable).nth(1).expect(field.path);
        assert!(
            behind.trim_start().starts_with(&format!("\"{name}\": ")),
            "{}",
            field.path
        );
        assert!(
            text.contains(&format!("// {}", field.help.get(..20).unwrap())),
            "{}",
            field.path
        );
    }
    let rows = reference();
    assert_eq!(rows.lines().count(), FIELDS.len() + 2);
}

/// The seed's own words: "In this generated a configuration file, we need to update the security
/// section of this file".
#[test]
fn the_security_section_of_the_manual_is_read() {
    let config = good(
        r#"{
  "security": {
    "enable_stop": false,
    "enable_purge_all": false,
    "enabled": true,
    "encrypt_traffic": false,
    "cluster_private_file": "/etc/qdb/cluster_private.key",
    "user_list": "/etc/qdb/users.cfg"
  }
}"#,
    );
    assert!(!config.security.encrypt_traffic);
    assert_eq!(
        config.security.user_list,
        Some(PathBuf::from("/etc/qdb/users.cfg"))
    );
    assert_eq!(config.gateway, Config::default().gateway);
}

#[test]
fn secured_and_encrypted_by_default() {
    let config = Config::default();
    assert!(config.security.enabled && config.security.encrypt_traffic);
    assert!(!config.security.enable_stop && !config.security.enable_purge_all);
    assert_eq!(config.postgres.listen, None);
    assert!(
        config
            .gateway
            .listen
            .iter()
            .all(|address| address.ip().is_loopback())
    );
}

#[test]
fn everything_can_be_said() {
    let config = good(
        r#"{ // all of it
  "gateway": { "listen": ["0.0.0.0:5433", "[::1]:6000",], "limits": { "sessions": 7 } },
  "node": { "data_directory": "/d", "log": { "level": "trace", "format": "json" } },
  "postgres": { "mode": "attached", "listen": "::1", "settings": { "work_mem": "1MB", "jit": false, "max_wal_senders": 0 } }
}"#,
    );
    assert_eq!(config.gateway.listen.len(), 2);
    assert_eq!(config.gateway.limits.sessions, 7);
    assert_eq!(config.node.log.level, LogLevel::Trace);
    assert_eq!(config.node.log.level.as_str(), "trace");
    assert_eq!(config.node.log.format, LogFormat::Json);
    assert_eq!(config.postgres.mode, PostgresMode::Attached);
    let settings: Vec<_> = config.postgres.settings.iter().collect();
    assert_eq!(
        format!("{settings:?}"),
        r#"[("jit", "off"), ("max_wal_senders", "0"), ("work_mem", "1MB")]"#
    );
    assert_eq!(config.control_socket(), PathBuf::from("/d/control.sock"));
    assert_eq!(
        config.postgres_data_directory(),
        PathBuf::from("/d/postgres")
    );
}

#[test]
fn unknown_settings_are_named_with_place_and_remedy() {
    assert_eq!(
        bad("{\n  \"gateway\": { \"lisen\": [] },\n  \"nod\": {}\n}"),
        [
            "palisade.cfg:2:16: gateway.lisen: there is no such setting; did you mean listen?",
            "palisade.cfg:3:3: nod: there is no such setting; did you mean node?",
        ]
    );
    assert_eq!(
        bad(r#"{ "sessions": 3 }"#),
        [
            "palisade.cfg:1:3: sessions: there is no such setting; did you mean gateway.limits.sessions?"
        ]
    );
    assert_eq!(
        bad(r#"{ "node": { "log": { "colour": true } } }"#),
        [
            "palisade.cfg:1:22: node.log.colour: there is no such setting; here may stand level, format"
        ]
    );
}

#[test]
fn a_setting_that_stands_twice_is_refused() {
    assert_eq!(
        bad("{ \"postgres\": { \"port\": 1, \"port\": 2, \"settings\": { \"a\": 1, \"a\": 2 } } }"),
        [
            "palisade.cfg:1:28: postgres.port: the setting stands twice; leave one of them out",
            "palisade.cfg:1:61: postgres.settings.a: the setting stands twice; leave one of them out",
        ]
    );
}

#[test]
fn ill_typed_settings_are_named_with_place_and_remedy() {
    let boolean = "write true or false";
    for (text, expected) in [
        (
            r#"{ "security": { "enabled": "yes" } }"#,
            format!("1:28: security.enabled: invalid type: string \"yes\", expected a boolean; {boolean}"),
        ),
        (
            r#"{ "security": { "enabled": null } }"#,
            format!("1:28: security.enabled: invalid type: null, expected a boolean; {boolean}"),
        ),
        (
            r#"{ "gateway": { "listen": "127.0.0.1:1" } }"#,
            "1:26: gateway.listen: invalid type: string \"127.0.0.1:1\", expected a sequence; write a list of addresses with ports, such as [\"127.0.0.1:5433\", \"[::1]:5433\"]".to_owned(),
        ),
        (
            "{\n\"gateway\": { \"listen\": [\"127.0.0.1:1\",\n \"localhost:1\"] } }",
            "3:2: gateway.listen[1]: invalid socket address syntax; write a list of addresses with ports, such as [\"127.0.0.1:5433\", \"[::1]:5433\"]".to_owned(),
        ),
        (
            r#"{ "gateway": { "limits": 3 } }"#,
            "1:26: gateway.limits: invalid type: integer `3`, expected an object; write an object: { ... }".to_owned(),
        ),
        (
            r#"{ "gateway": { "limits": { "sessions": -1 } } }"#,
            "1:40: gateway.limits.sessions: invalid value: integer `-1`, expected u32; write a whole number from 1 to 100000".to_owned(),
        ),
        (
            r#"{ "gateway": { "limits": { "sessions": "5" } } }"#,
            "1:40: gateway.limits.sessions: invalid type: string \"5\", expected u32; write a whole number from 1 to 100000".to_owned(),
        ),
        (
            r#"{ "gateway": { "limits": { "sessions": 0 } } }"#,
            "1:40: gateway.limits.sessions: 0 is out of bounds; write a whole number from 1 to 100000".to_owned(),
        ),
        (
            r#"{ "postgres": { "port": 70000 } }"#,
            "1:25: postgres.port: invalid value: integer `70000`, expected u16; write a whole number from 1 to 65535".to_owned(),
        ),
        (
            r#"{ "node": { "log": { "level": "loud" } } }"#,
            "1:31: node.log.level: unknown variant `loud`, expected one of `error`, `warn`, `info`, `debug`, `trace`; write \"error\" or \"warn\" or \"info\" or \"debug\" or \"trace\"".to_owned(),
        ),
        (
            r#"{ "node": { "data_directory": { "x": 1 } } }"#,
            "1:31: node.data_directory: invalid type: map, expected path string; write a path in double quotes, best an absolute one".to_owned(),
        ),
        (
            r#"{ "postgres": { "settings": { "work_mem": [] } } }"#,
            "1:43: postgres.settings.work_mem: expected a text, a number or true or false; write PostgreSQL's own settings, such as { \"work_mem\": \"16MB\" }".to_owned(),
        ),
    ] {
        assert_eq!(bad(text), [format!("palisade.cfg:{expected}")]);
    }
}

#[test]
fn what_does_not_fit_together_is_refused() {
    for (text, expected) in [
        (
            r#"{ "security": { "enabled": false } }"#,
            "1:28: security.enabled: a cluster without security is not offered; write true; palisade hba decides who must prove what",
        ),
        (
            r#"{ "security": { "user_list": "/u" } }"#,
            "1:30: security.user_list: a user list is followed under the cluster key's name, and there is no key; name the key in security.cluster_private_file, or write null",
        ),
        (
            r#"{ "gateway": { "listen": [] } }"#,
            "1:26: gateway.listen: nobody could connect; write a list of addresses with ports, such as [\"127.0.0.1:5433\", \"[::1]:5433\"]",
        ),
        (
            r#"{ "gateway": { "limits": { "handshakes": 1, "handshakes_per_address": 2 } } }"#,
            "1:71: gateway.limits.handshakes_per_address: one address alone could take more than all together; write at most what gateway.limits.handshakes says",
        ),
        (
            r#"{ "postgres": { "settings": { "a b": 1 } } }"#,
            "1:38: postgres.settings.a b: no setting of PostgreSQL has such a name; write PostgreSQL's own settings, such as { \"work_mem\": \"16MB\" }",
        ),
        (
            r#"{ "api": { "listen": ["0.0.0.0:7433"] } }"#,
            "api.advertise: api.listen names all addresses of this machine, and so none that others could use; name host and port at which the other nodes reach this one",
        ),
        (
            r#"{ "api": { "advertise": "db1" } }"#,
            "1:25: api.advertise: it is not a host with a port; write null, or a text such as \"db1.example.com:7433\"",
        ),
        (
            r#"{ "node": { "join": ["db1:7433"] } }"#,
            "1:21: node.join: a node proves with the cluster's private key that it may join so, and there is no key; name the key in security.cluster_private_file, or use palisade join",
        ),
        (
            r#"{ "store": { "endpoints": ["http://etcd:2379"] } }"#,
            "1:28: store.endpoints[0]: etcd is not spoken to without TLS; write a list of texts, such as [\"https://etcd1.example.com:2379\"]",
        ),
        (
            r#"{ "store": { "cert_file": "/c" } }"#,
            "store.key: a certificate and its key are only of use together; name both, or none",
        ),
        (
            r#"{ "alerts": { "commands": { "page": ["page"] } } }"#,
            "1:37: alerts.commands.page: a program is named by its absolute path; write names with programs, such as { \"page\": [\"/usr/local/bin/page\", \"on-call\"] }",
        ),
    ] {
        let between = if expected.starts_with(|c: char| c.is_ascii_digit()) {
            ":"
        } else {
            ": "
        };
        assert_eq!(bad(text), [format!("palisade.cfg{between}{expected}")]);
    }
    // The value that does not fit is the default, which stands nowhere.
    assert_eq!(
        bad(r#"{ "gateway": { "limits": { "handshakes": 1 } } }"#),
        [
            "palisade.cfg: gateway.limits.handshakes_per_address: one address alone could take more than all together; write at most what gateway.limits.handshakes says"
        ]
    );
}

/// Only comments and trailing commas go beyond JSON.
#[test]
fn the_syntax_is_strict() {
    for (text, place, cause) in [
        ("", "1:1", "the file is empty"),
        ("[]", "1:1", "the configuration is not an object"),
        (
            "{ \"security\": [true, true] }",
            "1:15",
            "security: a list stands where a section is due",
        ),
        (
            "{ \"gateway\": { \"limits\": [] } }",
            "1:26",
            "gateway.limits: a list stands where a section is due",
        ),
        ("{ \"node\": {} \"gateway\": {} }", "1:13", "expected comma"),
        (
            "{ 'node': {} }",
            "1:3",
            "single-quoted strings are not allowed",
        ),
        ("{ node: {} }", "1:3", "expected string for object property"),
        (
            "{} {}",
            "1:4",
            "text cannot contain more than one JSON value",
        ),
        (
            "{ \"postgres\": { \"port\": 0x10 } }",
            "1:25",
            "hexadecimal numbers are not allowed",
        ),
        (
            "{ \"postgres\": { \"port\": +1 } }",
            "1:25",
            "unary plus on numbers is not allowed",
        ),
        (
            "{ \"postgres\": { \"port\": .5 } }",
            "1:25",
            "leading or trailing decimal points on numbers are not allowed",
        ),
        ("{\n\"node\": {", "2:9", "unterminated object"),
        ("{ /* ", "1:3", "unterminated comment block"),
    ] {
        let lines = bad(text);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].starts_with(&format!("palisade.cfg:{place}: {cause}; ")),
            "{lines:?}"
        );
    }
    good("// a\n{ /* b */ \"node\": { \"log\": {}, }, } // c");
}

#[test]
fn every_setting_can_be_overridden() {
    for field in FIELDS {
        let value = match field.kind {
            Kind::Boolean => "true",
            Kind::Number(_, most) if most < 600 => "300",
            Kind::Number(..) => "600",
            Kind::Choice(words) => words[1],
            Kind::Text if field.path.starts_with("store.managed") => "127.0.0.1:7",
            Kind::Text => "other",
            Kind::Commands => "page=/bin/page on-call,log=/bin/log",
            Kind::Path => "/tmp/x",
            Kind::List { example } | Kind::Optional { example } => example,
            Kind::Addresses => "127.0.0.1:1, [::1]:2",
            Kind::Settings => "work_mem=1MB,jit=off",
        };
        let variable = field.variable();
        let base = match field.path {
            "store.cert_file" => r#"{ "store": { "key": "/k" } }"#,
            "store.key" => r#"{ "store": { "cert_file": "/c" } }"#,
            _ => {
                r#"{ "security": { "cluster_private_file": "/k" }, "gateway": { "limits": { "handshakes": 700 } } }"#
            }
        };
        let config = parse_with(base, &[(&variable, value)])
            .unwrap_or_else(|error| panic!("{}", error.render(false)));
        let written = serde_json::to_value(&config).unwrap();
        let pointer = format!("/{}", field.path.replace('.', "/"));
        let found = written.pointer(&pointer).unwrap().to_string();
        let expected = match field.kind {
            Kind::Boolean | Kind::Number(..) => value.to_owned(),
            Kind::Addresses => r#"["127.0.0.1:1","[::1]:2"]"#.to_owned(),
            Kind::Settings => r#"{"jit":"off","work_mem":"1MB"}"#.to_owned(),
            Kind::List { example } => format!("[\"{example}\"]"),
            Kind::Commands => r#"{"log":["/bin/log"],"page":["/bin/page","on-call"]}"#.to_owned(),
            _ => format!("\"{value}\""),
        };
        assert_eq!(found, expected, "{variable}");
    }
}

#[test]
fn the_environment_wins_over_the_file() {
    let config = parse_with(
        r#"{ "postgres": { "port": 1, "listen": "::1" } }"#,
        &[
            ("PALISADE_POSTGRES_PORT", "2"),
            ("PALISADE_POSTGRES_LISTEN", ""),
        ],
    )
    .unwrap();
    assert_eq!((config.postgres.port, config.postgres.listen), (2, None));
}

#[test]
fn an_ill_typed_variable_is_named() {
    for (name, value, expected) in [
        (
            "PALISADE_SECURITY_ENCRYPT_TRAFFIC",
            "yes",
            "security.encrypt_traffic: expected true or false, found \"yes\"; write true or false",
        ),
        (
            "PALISADE_GATEWAY_LIMITS_SESSIONS",
            "many",
            "gateway.limits.sessions: expected a whole number, found \"many\"; write a whole number from 1 to 100000",
        ),
        (
            "PALISADE_GATEWAY_LIMITS_SESSIONS",
            "0",
            "gateway.limits.sessions: 0 is out of bounds; write a whole number from 1 to 100000",
        ),
        (
            "PALISADE_GATEWAY_LISTEN",
            "127.0.0.1:1,here",
            "gateway.listen[1]: invalid socket address syntax; write a list of addresses with ports, such as [\"127.0.0.1:5433\", \"[::1]:5433\"]",
        ),
        (
            "PALISADE_POSTGRES_SETTINGS",
            "work_mem",
            "postgres.settings: expected name=value, found \"work_mem\"; write work_mem=16MB,max_wal_size=4GB",
        ),
        (
            "PALISADE_POSTGRES_SETTINGS",
            "a=1,a=2",
            "postgres.settings: a stands twice; write work_mem=16MB,max_wal_size=4GB",
        ),
    ] {
        assert_eq!(
            bad_with("{}", &[(name, value)]),
            [format!("{name}: {expected}")]
        );
    }
}

#[test]
fn a_variable_that_looks_like_a_setting_and_is_none_is_refused() {
    for (name, remedy) in [
        (
            "PALISADE_GATEWAY_LISEN",
            "did you mean PALISADE_GATEWAY_LISTEN? Else unset it",
        ),
        (
            "PALISADE_SECURTY_ENABLED",
            "did you mean PALISADE_SECURITY_ENABLED? Else unset it",
        ),
        (
            "PALISADE_NODE_SOMETHING_QUITE_DIFFERENT_FROM_ALL",
            "unset it; palisade daemon --gen-config names all variables",
        ),
    ] {
        assert_eq!(
            bad_with("{}", &[(name, "1")]),
            [format!("{name}: there is no such setting; {remedy}")]
        );
    }
    let others = [
        ("PALISADE_DIR", "/d"),
        ("PALISADE_LOG", "debug"),
        ("PALISADE_CREDENTIALS", "/c"),
        ("PALISADE_TEST_ROUNDS", "200"),
        ("PATH", "/bin"),
    ];
    assert_eq!(parse_with("{}", &others).unwrap(), Config::default());
}

#[cfg(unix)]
#[test]
fn a_value_that_is_no_utf_8_is_refused() {
    use std::os::unix::ffi::OsStringExt;
    let variable = (
        OsString::from("PALISADE_NODE_DATA_DIRECTORY"),
        OsString::from_vec(vec![0xff]),
    );
    let error = Config::parse("{}", Path::new("f"), [variable]).unwrap_err();
    assert!(
        error.to_string().starts_with(
            "PALISADE_NODE_DATA_DIRECTORY: node.data_directory: the value is no UTF-8; "
        )
    );
}

/// Errors in the file and in the environment are told together.
#[test]
fn all_problems_are_told_at_once() {
    let lines = bad_with("{ \"nod\": 1 }", &[("PALISADE_POSTGRES_PORT", "x")]);
    assert_eq!(lines.len(), 2, "{lines:?}");
}

#[test]
fn the_drawing_marks_the_place() {
    let error = parse_with("{\n  \"gateway\": { \"lisen\": [] }\n}", &[]).unwrap_err();
    assert_eq!(
        error.render(false),
        "error: gateway.lisen: there is no such setting\n \
         --> palisade.cfg:2:16\n  \
         |\n\
         2 |   \"gateway\": { \"lisen\": [] }\n  \
         |                ^^^^^^^\n  \
         |\n  \
         = help: did you mean listen?"
    );
    assert!(error.render(true).contains("\u{1b}["));
}

#[test]
fn a_name_can_not_command_the_terminal() {
    let error = parse_with("{ \"\\u001b[2J\": 1 }", &[]).unwrap_err();
    assert!(!error.to_string().contains('\u{1b}'));
    assert!(!error.render(false).contains('\u{1b}'));
}

#[test]
fn files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("palisade.cfg");
    let missing = Config::load(Some(&path), []).unwrap_err();
    assert!(
        missing.to_string().starts_with(&format!(
            "can't read the configuration {}: No such file or directory",
            path.display()
        )),
        "{missing}"
    );
    std::fs::write(&path, default_text()).unwrap();
    assert_eq!(Config::load(Some(&path), []).unwrap(), Config::default());
    assert_eq!(Config::load(None, []).unwrap(), Config::default());
    std::fs::write(&path, " ".repeat(MAX_FILE_BYTES + 1)).unwrap();
    let long = Config::load(Some(&path), []).unwrap_err();
    assert!(matches!(long, ConfigError::TooLong { .. }), "{long}");
    std::fs::write(&path, [0xff]).unwrap();
    let binary = Config::load(Some(&path), []).unwrap_err();
    assert!(matches!(binary, ConfigError::Unreadable { .. }), "{binary}");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        if let Err(error) = parse_with(&text, &[]) {
            prop_assert!(!error.render(false).is_empty());
        }
    }

    #[test]
    fn any_likely_text_is_read_or_refused(
        text in "([{}\\[\\],:\"/*\n ä]|\"gateway\"|\"limits\"|\"listen\"|\"settings\"|1|-1e9|true|null|//|/\\*|\\\\u001b){0,40}"
    ) {
        if let Err(error) = parse_with(&text, &[]) {
            prop_assert!(!error.render(false).is_empty());
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
