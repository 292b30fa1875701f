//! The shell against a real PostgreSQL, over TLS with certificates of a cluster's key.

use super::args::{Format, ShellArgs, Target};
use super::exit::Exit;
use super::run_to_exit;
use palisade_keys::{Credentials, SecretKey};
use palisade_link::x509::{IssuingCa, Request};
use palisade_testkit::{Postgres, TempDir};
use std::path::PathBuf;
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(Zeroizing::new([seed; 32])).unwrap()
}

/// A server with a certificate of cluster key 1, a user `alice`, and the files of a shell.
struct Cluster {
    postgres: Postgres,
    files: TempDir,
}

impl Cluster {
    fn start() -> Self {
        let now = OffsetDateTime::now_utc();
        let (ca, _) = IssuingCa::create(&key(1), &[1], now).unwrap();
        let request = Request {
            common_name: "localhost",
            hosts: &["127.0.0.1".to_owned()],
            now,
            lifetime: Duration::hours(1),
            serial: &[2],
        };
        let leaf = ca.server(&request).unwrap();
        let postgres = Postgres::builder()
            .tcp()
            .setting("ssl", "on")
            .file("server.crt", leaf.chain_pem().as_bytes())
            .file("server.key", leaf.expose_key_pem().as_bytes())
            .hba("local all all trust\nhostssl all all 127.0.0.1/32 trust\n")
            .start()
            .unwrap();
        postgres
            .psql("create role alice login; create database main owner alice")
            .unwrap();
        let cluster = Self {
            postgres,
            files: palisade_testkit::temp_dir().unwrap(),
        };
        cluster.write("cluster.key", &key(1).public().to_string());
        cluster.write("other.key", &key(9).public().to_string());
        for user in ["alice", "mallory"] {
            let credentials = Credentials {
                username: user.to_owned(),
                secret_key: key(2),
            };
            cluster.write(user, &credentials.expose_json());
        }
        cluster
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// As alice, with the right cluster key.
    fn args(&self, commands: &[&str]) -> ShellArgs {
        ShellArgs {
            cluster_public_key_file: Some(self.path("cluster.key")),
            user_credentials_file: Some(self.path("alice")),
            cluster: Target {
                host: "127.0.0.1".to_owned(),
                port: self.postgres.port(),
            },
            database: "main".to_owned(),
            command: commands.iter().map(|text| (*text).to_owned()).collect(),
            file: None,
            format: Format::Table,
        }
    }

    /// Runs commands and returns how the shell ended and what it wrote.
    async fn shell(&self, format: Format, commands: &[&str]) -> (Exit, String) {
        let out = self.path("out");
        let redirect = format!("\\o '{}'", out.display());
        let all: Vec<&str> = std::iter::once(redirect.as_str())
            .chain(commands.iter().copied())
            .collect();
        let exit = run_to_exit(ShellArgs {
            format,
            ..self.args(&all)
        })
        .await;
        (exit, std::fs::read_to_string(out).unwrap())
    }

    /// Why there is no session.
    async fn refusal(&self, args: ShellArgs) -> String {
        let endpoint = super::endpoint(&args).unwrap().0;
        let Err(error) = endpoint.connect().await else {
            panic!("logged in")
        };
        error.to_string()
    }
}

#[tokio::test]
async fn rows_in_every_format() {
    let cluster = Cluster::start();
    let sql = "select 1 as id, null as nothing, 'ä' as name";
    let (exit, table) = cluster
        .shell(Format::Table, &[sql, "create table t (a int)"])
        .await;
    assert_eq!(exit, Exit::Done);
    assert_eq!(
        table,
        " id | nothing | name\n----+---------+------\n  1 |         | ä\n(1 row)\n\nCREATE TABLE\n"
    );
    let (_, csv) = cluster
        .shell(Format::Csv, &[sql, "insert into t values (1)"])
        .await;
    assert_eq!(csv, "id,nothing,name\n1,,ä\n");
    let (_, json) = cluster.shell(Format::Json, &[sql]).await;
    assert_eq!(json, "[\n{\"id\":1,\"nothing\":null,\"name\":\"ä\"}\n]\n");
}

/// "The server must prove the cluster key."
#[tokio::test]
async fn wrong_cluster_key_or_user_key() {
    let cluster = Cluster::start();
    let wrong_cluster = ShellArgs {
        cluster_public_key_file: Some(cluster.path("other.key")),
        ..cluster.args(&[])
    };
    let wrong_user = ShellArgs {
        user_credentials_file: Some(cluster.path("mallory")),
        ..cluster.args(&[])
    };
    for args in [wrong_cluster, wrong_user] {
        assert_eq!(
            cluster.refusal(args.clone()).await,
            "Can't connect to cluster: Login failed for the user."
        );
        assert_eq!(run_to_exit(args).await, Exit::Connection);
    }
}

#[tokio::test]
async fn no_credentials_against_a_secured_cluster() {
    let cluster = Cluster::start();
    let args = ShellArgs {
        cluster_public_key_file: None,
        user_credentials_file: None,
        ..cluster.args(&[])
    };
    assert_eq!(
        cluster.refusal(args).await,
        "Can't connect to cluster: Invalid reply from the remote host."
    );
}

#[tokio::test]
async fn a_host_that_the_certificate_does_not_name() {
    let cluster = Cluster::start();
    let host = "localhost".to_owned();
    let port = cluster.postgres.port();
    let args = ShellArgs {
        cluster: Target { host, port },
        ..cluster.args(&[])
    };
    assert_eq!(
        cluster.refusal(args).await.lines().next(),
        Some("Can't connect to cluster: the server's certificate is not for localhost")
    );
}

#[tokio::test]
async fn stops_at_the_first_error_with_its_class() {
    let cluster = Cluster::start();
    let (exit, shown) = cluster
        .shell(Format::Csv, &["select 1; nonsense; select 2"])
        .await;
    assert_eq!((exit, shown.as_str()), (Exit::Sql, "?column?\n1\n"));
    let (exit, _) = cluster
        .shell(Format::Csv, &["select * from pg_authid", "select 2"])
        .await;
    assert_eq!(exit, Exit::Right);
    let (exit, _) = cluster.shell(Format::Csv, &["\\nonsense"]).await;
    assert_eq!(exit, Exit::Usage);
    let (exit, _) = cluster.shell(Format::Csv, &["\\d nonsense"]).await;
    assert_eq!(exit, Exit::Sql);
    let (exit, _) = cluster
        .shell(
            Format::Csv,
            &["select pg_terminate_backend(pg_backend_pid())"],
        )
        .await;
    assert_eq!(exit, Exit::Connection);
}

#[tokio::test]
async fn a_file_with_data_in_it_and_a_file_that_it_includes() {
    let cluster = Cluster::start();
    cluster.write("inner.sql", "insert into t values (3, 'c')");
    let out = cluster.path("out");
    let script = format!(
        "\\o {}\ncreate table t (a int, b text);\nbegin;\ncopy t from stdin;\n1\ta;b\n2\t\\N\n\\.\n\
         commit;\n\\i {}\nselect count(*), count(b) from t \\gx\nselect 'no semicolon'",
        out.display(),
        cluster.path("inner.sql").display()
    );
    cluster.write("script.sql", &script);
    let args = ShellArgs {
        file: Some(cluster.path("script.sql")),
        ..cluster.args(&[])
    };
    assert_eq!(run_to_exit(args).await, Exit::Done);
    let shown = std::fs::read_to_string(out).unwrap();
    let expected = "CREATE TABLE\nBEGIN\nCOPY 2\nCOMMIT\nINSERT 0 1\n\
                    -[ RECORD 1 ]-----\ncount | 3\ncount | 2\n\n\x20\
                    ?column?\n--------------\n no semicolon\n(1 row)\n\n";
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn copy_loads_and_saves_files_of_this_machine() {
    let cluster = Cluster::start();
    let rows: String = (0..50_000).fold(String::new(), |rows, i| rows + &i.to_string() + ",x\n");
    cluster.write("in.csv", &rows);
    let (from, to) = (cluster.path("in.csv"), cluster.path("out.csv"));
    let load = format!(
        "\\copy t (a, b) from '{}' with (format csv)",
        from.display()
    );
    let save = format!(
        "\\copy (select * from t order by a) to '{}' csv",
        to.display()
    );
    let (exit, shown) = cluster
        .shell(
            Format::Table,
            &["create table t (a int primary key, b text)", &load, &save],
        )
        .await;
    assert_eq!(
        (exit, shown.as_str()),
        (Exit::Done, "CREATE TABLE\nCOPY 50000\nCOPY 50000\n")
    );
    assert_eq!(std::fs::read_to_string(to).unwrap(), rows);
    // The second time every row is there already: one error, and the session goes on to the next.
    let (exit, _) = cluster.shell(Format::Table, &[&load]).await;
    assert_eq!(exit, Exit::Sql);
}

#[tokio::test]
async fn every_describing_command_is_taken_by_the_server() {
    let cluster = Cluster::start();
    let tables = "create table p (id int primary key, v text default 'x' check (v <> '')) \
                  partition by range (id); create table p1 partition of p for values from (1) to (9); \
                  create table f (id int references p); create view v as select 1 as a; \
                  create materialized view m as select 1 as a; create sequence s; \
                  alter table f enable row level security; create policy y on f using (id > 1)";
    let (exit, _) = cluster.shell(Format::Table, &[tables]).await;
    assert_eq!(exit, Exit::Done);
    for letters in [
        "d", "dt", "dv", "dm", "di", "ds", "df", "dn", "du", "dp", "l",
    ] {
        for flags in ["", "+", "S", "S+"] {
            for pattern in ["", " *"] {
                let command = format!("\\{letters}{flags}{pattern}");
                let (exit, shown) = cluster.shell(Format::Csv, &[&command]).await;
                assert_eq!(exit, Exit::Done, "{command}");
                assert!(!shown.is_empty(), "{command}");
            }
        }
    }
    let (_, shown) = cluster.shell(Format::Table, &["\\d p"]).await;
    assert!(
        shown.starts_with("Partitioned table \"public.p\"\n Column"),
        "{shown}"
    );
    assert!(
        shown.contains("\"p_pkey\" PRIMARY KEY, btree (id)"),
        "{shown}"
    );
    assert!(
        shown.contains("Partitions:\n    p1 FOR VALUES FROM (1) TO (9)"),
        "{shown}"
    );
    let (_, shown) = cluster.shell(Format::Table, &["\\d+ v"]).await;
    assert!(
        shown.contains("View definition:\n     SELECT 1 AS a;"),
        "{shown}"
    );
}
