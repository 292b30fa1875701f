//! "`pg_hba.conf` and `pg_ident.conf` are generated, tried (`pg_hba_file_rules`) and only then put in place; the
//! old ones are kept; a reload that fails goes back." And who may come straight to PostgreSQL's port.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test"
)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use common::{Session, state};
use palisade_agent::{Agent, Config, Tcp};
use palisade_testkit::{find_program, free_port, temp_dir};

/// The rules in their order, and one of each kind that the ledger may hold.
const RULES: &str = "hba{host all direct 127.0.0.1/32 trust; hostssl all gated 127.0.0.1/32 trust; \
     hostssl main,other direct,gated 10.0.0.0/8 auto; hostssl all all 10.1.0.0 255.255.0.0 key; \
     hostssl all all samenet cert; hostssl all +somebody all reject; hostnossl all all all reject; \
     hostssl all root all scram-sha-256 clientcert=verify-full; hostssl all all all trust}";

#[tokio::test]
async fn straight_to_the_port_only_with_set_transaction() {
    let directory = temp_dir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let file = |name: &str, text: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let port = free_port().unwrap();
    let mut config = Config::new(directory.path().join("postgres"), "main");
    config.settings = vec![("fsync".into(), "off".into())];
    config.tcp = Some(Tcp {
        addresses: vec!["127.0.0.1".into()],
        port,
        certificate: file("server.crt", certificate.pem()),
        key: file("server.key", key.serialize_pem()),
        ca: file("ca.crt", certificate.pem()),
        lists: None,
    });
    let users =
        "+root* - +direct:select,set_transaction - +gated:select - +also:select,set_transaction";
    let users = state(&format!("{users} - {RULES}"));
    let mut agent = Agent::new(config).unwrap();
    agent.start().await.unwrap();
    agent.apply(&users).await.unwrap();

    // PostgreSQL reads each rule without a fault.
    let endpoint = agent.endpoint().unwrap().clone();
    let palisade = Session::open(&endpoint, "palisade").await.unwrap();
    assert_eq!(
        palisade
            .ok("select count(*) from pg_hba_file_rules where error is not null")
            .await,
        ["0"]
    );
    let rules = palisade
        .ok("select concat_ws(' ', type, database::text, user_name::text, address, auth_method) from pg_hba_file_rules where type <> 'local'")
        .await;
    let expected = [
        "host {main} {direct} 127.0.0.1 trust",
        "hostssl {main,other} {direct} 10.0.0.0 scram-sha-256",
        "hostssl {main} {all} 10.1.0.0 reject",
        "hostssl {main} {+palisade_direct} samenet cert",
        "hostssl {main} {+somebody} all reject",
        "hostnossl {main} {all} all reject",
        "hostssl {main} {root} all scram-sha-256",
        "hostssl {main} {+palisade_direct} all trust",
        "host {all} {all} all reject",
    ];
    assert_eq!(rules, expected);

    let reach = |user: &'static str, database: &'static str, tls: &'static str| {
        let told = Command::new(find_program("psql").unwrap())
            .args(["-XAtc", "select current_user"])
            .arg(format!("host=127.0.0.1 port={port} user={user} dbname={database} sslmode={tls} connect_timeout=5"))
            .env("PGPASSWORD", "x")
            .output()
            .unwrap();
        told.status.success()
    };
    assert!(reach("direct", "main", "disable"));
    assert!(reach("direct", "main", "require"));
    for tls in ["disable", "require"] {
        assert!(!reach("gated", "main", tls));
        assert!(!reach("palisade", "main", tls));
        assert!(!reach("palisade_owner", "main", tls));
        assert!(!reach("direct", "postgres", tls));
    }
    // The one without the flag comes over the private socket, as the gateway does.
    Session::open(&endpoint, "gated").await.unwrap();

    // Who loses the flag loses the way, and the session that came by it.
    let less = state(&format!(
        "+root* - +direct:select,set_transaction - +gated:select - +also:select,set_transaction - {RULES} - direct=select"
    ));
    agent.apply(&less).await.unwrap();
    assert!(!reach("direct", "main", "require"));

    // A renewed certificate is taken up.
    assert!(agent.check_drift(&less).await.unwrap().is_clean());
    let renewed = rcgen::CertificateParams::new(vec!["renewed".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    file("server.crt", renewed.pem());
    assert!(!agent.check_drift(&less).await.unwrap().is_clean());
    agent.mend(&less).await.unwrap();
    assert!(agent.check_drift(&less).await.unwrap().is_clean());
    agent.stop().await.unwrap();
}

#[tokio::test]
async fn a_file_that_postgresql_refuses_is_not_put_in_force() {
    let bench_state = state("+root* - +reader:select");
    let mut bench = common::Bench::with(&bench_state).await;
    let path = bench.endpoint.files_dir.join("pg_hba.conf");
    let before = std::fs::read_to_string(&path).unwrap();
    // A rule that PostgreSQL can't carry out: it has no TLS here.
    let mut config = Config::new("/nonexistent", "main");
    config.tcp = Some(Tcp {
        addresses: vec![],
        port: 1,
        certificate: "/x".into(),
        key: "/x".into(),
        ca: "/x".into(),
        lists: None,
    });
    let mut other = Agent::new(config).unwrap();
    other.start_on(bench.endpoint.clone()).await.unwrap();
    let told = other.apply(&bench_state).await.unwrap_err().to_string();
    assert!(
        told.contains("pg_hba.conf") && told.contains("stays in force"),
        "{told}"
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
    bench.log_in("reader").await;
    assert!(
        bench
            .agent
            .check_drift(&bench_state)
            .await
            .unwrap()
            .is_clean()
    );
}
