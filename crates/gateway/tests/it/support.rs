//! A whole door for tests: a ledger, its cluster's certificates, a PostgreSQL, and a gateway.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use palisade_gateway::{Config, Gateway, Observer, SessionInfo, TlsIdentity};
use palisade_keys::{PublicKey, ScramVerifier, SecretKey, Zeroizing};
use palisade_ledger::{
    Author, CertificateKind, Change, Entry, Hash, Issued, Millis, NewUser, Privileges, State, Uid,
    UserName, sign, verify, verify_genesis,
};
use palisade_link::tls::client_config;
use palisade_link::x509::{
    IssuingCa, Leaf, Request, certificate_pem, root_certificate, user_certificate,
};
use palisade_testkit::{Postgres, TempDir, find_program, temp_dir};
use time::{Duration, OffsetDateTime};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres_rustls::MakeRustlsConnect;

/// The users that PostgreSQL's ident map lets the gateway be.
pub const USERS: [&str; 6] = ["alice", "bob", "carol", "dave", "erin", "mallory"];

/// For what is to happen at all, on a machine with much else to do: nothing waits this long unless it fails.
/// That a disabled user is out within a second is measured by `cargo xtask bench nodes`; here only his end is
/// waited for, which nothing but the change of the ledger brings about.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_mins(1);

/// The rules of a door of which nothing else is said.
pub const DEFAULT_RULES: &str = "hostssl all all all auto\n";

/// Of the certificates here.
pub const LIFETIME: Duration = Duration::days(30);

pub fn now() -> OffsetDateTime {
    #[expect(
        clippy::disallowed_methods,
        reason = "certificates are checked against the real clock"
    )]
    std::time::SystemTime::now().into()
}

/// As the ledger has it, whole seconds.
pub fn millis(time: OffsetDateTime) -> Millis {
    Millis(u64::try_from(time.unix_timestamp()).unwrap() * 1000)
}

pub fn secret_key(byte: u8) -> SecretKey {
    SecretKey::from_seed(Zeroizing::new([byte; 32])).unwrap()
}

/// A ledger that only the cluster's key writes to.
pub struct Ledger {
    key: SecretKey,
    pub state: State,
}

impl Ledger {
    fn new() -> Self {
        let key = secret_key(1);
        let genesis = Entry {
            seq: 0,
            prev: Hash::ZERO,
            time: millis(now()),
            author: Author::Cluster,
            change: Change::Genesis {
                cluster: "test".to_owned(),
                database: "postgres".to_owned(),
                key: key.public(),
            },
        };
        let bytes = sign(&genesis, &key).unwrap();
        let (state, _) = verify_genesis(&bytes, &key.public()).unwrap();
        Self { key, state }
    }

    fn change(&mut self, change: Change) {
        let head = self.state.head();
        let entry = Entry {
            seq: head.seq + 1,
            prev: head.hash,
            time: self.state.time(),
            author: Author::Cluster,
            change,
        };
        let bytes = sign(&entry, &self.key).unwrap();
        let verified = verify(&self.state, &bytes).unwrap();
        self.state.apply(&verified).unwrap();
    }
}

/// What a user of a door has.
#[derive(Default, Clone, Copy)]
pub struct Account<'a> {
    pub name: &'a str,
    pub password: Option<&'a str>,
    pub key: Option<u8>,
    pub restricted: bool,
}

/// A gateway before a PostgreSQL.
pub struct Door {
    pub postgres: Postgres,
    pub address: SocketAddr,
    pub observer: Observer,
    pub ca: IssuingCa,
    pub files: TempDir,
    ledger: Mutex<Ledger>,
    states: watch::Sender<Arc<State>>,
    identity: Arc<ArcSwap<TlsIdentity>>,
    stop: Option<oneshot::Sender<()>>,
    pub runtime: Option<Runtime>,
}

impl Door {
    pub fn open(rules: &str) -> Self {
        Self::open_with(rules, |_| {})
    }

    pub fn open_with(rules: &str, configure: impl FnOnce(&mut Config)) -> Self {
        let me = Command::new("id").arg("-un").output().unwrap().stdout;
        let me = String::from_utf8(me).unwrap();
        let mut ident = String::new();
        for user in USERS {
            ident.extend([
                "door ",
                me.trim(),
                " ",
                user,
                "
",
            ]);
        }
        let postgres = Postgres::builder()
            .hba("local all postgres trust\nlocal all all peer map=door\n")
            .ident(&ident)
            .start()
            .unwrap();
        let mut ledger = Ledger::new();
        let (ca, _) = IssuingCa::create(&ledger.key, &[5], now()).unwrap();
        ledger.change(Change::IssuingCaAdd {
            certificate: ca.certificate().to_vec(),
        });
        let files = temp_dir().unwrap();
        let root = root_certificate(&ledger.key, now() - Duration::days(1)).unwrap();
        std::fs::write(files.path().join("root.crt"), certificate_pem(&root)).unwrap();
        if rules != DEFAULT_RULES {
            ledger.change(Change::HbaSet {
                text: rules.to_owned(),
            });
        }
        let identity = Arc::new(ArcSwap::from_pointee(server_identity(&ca, 7)));
        let (states, receiver) = watch::channel(Arc::new(ledger.state.clone()));
        let mut config = Config::new(
            postgres.socket_dir(),
            postgres.port(),
            Zeroizing::new([42; 32]),
        );
        // Bounds that a busy machine would meet; a test of one sets it.
        config.limits.login_within = PATIENCE * 10;
        config.limits.end_within = PATIENCE / 4;
        config.pool.idle_for = PATIENCE * 10;
        config.pool.reset_within = PATIENCE;
        configure(&mut config);
        let gateway = Gateway::new(config, receiver, Arc::clone(&identity));
        let observer = gateway.observer();
        let runtime = Runtime::new().unwrap();
        let (stop, stopped) = oneshot::channel();
        let listener = runtime
            .block_on(TcpListener::bind(("127.0.0.1", 0)))
            .unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(gateway.serve(vec![listener], async {
            stopped.await.ok();
        }));
        Self {
            postgres,
            address,
            observer,
            ca,
            files,
            ledger: Mutex::new(ledger),
            states,
            identity,
            stop: Some(stop),
            runtime: Some(runtime),
        }
    }

    /// A door with users, of whom each is a PostgreSQL role, too.
    pub fn with(rules: &str, accounts: &[Account<'_>]) -> Self {
        let door = Self::open(rules);
        door.add(accounts);
        door
    }

    pub fn add(&self, accounts: &[Account<'_>]) {
        for account in accounts {
            let verifier = |text| ScramVerifier::derive(text, &[9; 16], 4096).unwrap();
            let mut privileges = Privileges::SELECT;
            if !account.restricted {
                privileges = privileges | Privileges::SET_TRANSACTION;
            }
            let uid = self.ledger.lock().unwrap().state.next_uid().unwrap();
            self.change(Change::UserAdd {
                user: NewUser {
                    uid,
                    name: UserName::new(account.name).unwrap(),
                    disabled: false,
                    superuser: false,
                    default_privileges: privileges,
                    public_key: account.key.map(|byte| secret_key(byte).public()),
                    password: account.password.map(verifier),
                },
            });
            self.postgres
                .psql(&format!("create role {} login", account.name))
                .unwrap();
        }
        self.postgres
            .psql("grant all on schema public to public")
            .unwrap();
    }

    /// Writes an entry of the ledger; the gateway is told.
    pub fn change(&self, change: Change) {
        let mut ledger = self.ledger.lock().unwrap();
        ledger.change(change);
        self.states.send(Arc::new(ledger.state.clone())).unwrap();
    }

    /// Adds another issuing CA; its certificate.
    pub fn add_issuing_ca(&self) -> Vec<u8> {
        let mut ledger = self.ledger.lock().unwrap();
        let (ca, _) = IssuingCa::create(&ledger.key, &[6], now()).unwrap();
        let certificate = ca.certificate().to_vec();
        ledger.change(Change::IssuingCaAdd {
            certificate: certificate.clone(),
        });
        self.states.send(Arc::new(ledger.state.clone())).unwrap();
        certificate
    }

    pub fn uid(&self, user: &str) -> Uid {
        let ledger = self.ledger.lock().unwrap();
        ledger.state.user_by_name(user).unwrap().uid
    }

    pub fn disable(&self, user: &str) {
        let uid = self.uid(user);
        self.change(Change::UserDisabled {
            uid,
            disabled: true,
        });
    }

    /// Shows another certificate from now on.
    pub fn renew(&self, serial: u8) {
        self.identity
            .store(Arc::new(server_identity(&self.ca, serial)));
    }

    pub fn state(&self) -> State {
        self.ledger.lock().unwrap().state.clone()
    }

    pub fn cluster_key(&self) -> PublicKey {
        *self.ledger.lock().unwrap().state.cluster_key()
    }

    /// A TLS connector that trusts the cluster's key.
    pub fn connector(&self) -> MakeRustlsConnect {
        MakeRustlsConnect::new(client_config(&self.cluster_key(), None).unwrap())
    }

    /// Logs in from another address of this machine; who the session is of.
    pub fn connect_from(
        &self,
        address: &str,
        user: &str,
        password: &str,
    ) -> Result<String, Box<dyn std::error::Error>> {
        let runtime = Runtime::new()?;
        let asking = async {
            let socket = TcpSocket::new_v4()?;
            socket.bind(format!("{address}:0").parse()?)?;
            let stream = socket.connect(self.address).await?;
            let mut connector = self.connector();
            let tls = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut connector, "localhost")?;
            let (client, connection) = tokio_postgres::Config::new()
                .user(user)
                .password(password)
                .dbname("postgres")
                .ssl_mode(tokio_postgres::config::SslMode::Require)
                .connect_raw(stream, tls)
                .await?;
            let driver = tokio::spawn(connection);
            let row = client.query_one("select session_user::text", &[]).await?;
            driver.abort();
            Ok(row.get(0))
        };
        runtime.block_on(async { tokio::time::timeout(PATIENCE, asking).await? })
    }

    /// libpq's parameters for a user, without a proof.
    pub fn conninfo(&self, user: &str, more: &str) -> String {
        format!(
            "host=localhost hostaddr=127.0.0.1 port={} user={user} dbname=postgres \
             sslmode=verify-full sslrootcert={} sslcert=/nonexistent connect_timeout=60 {more}",
            self.address.port(),
            self.files.path().join("root.crt").display(),
        )
    }

    /// Writes a certificate and its key where libpq may read them; gives libpq's parameters.
    pub fn write_leaf(&self, name: &str, leaf: &Leaf) -> String {
        use std::os::unix::fs::PermissionsExt as _;
        let file = |end: &str| -> PathBuf { self.files.path().join(format!("{name}.{end}")) };
        std::fs::write(file("crt"), leaf.chain_pem()).unwrap();
        std::fs::write(file("key"), leaf.expose_key_pem().as_bytes()).unwrap();
        std::fs::set_permissions(file("key"), std::fs::Permissions::from_mode(0o600)).unwrap();
        format!(
            "sslcert={} sslkey={}",
            file("crt").display(),
            file("key").display()
        )
    }

    /// libpq's parameters for a self-signed certificate over a user's own key.
    pub fn key_files(&self, name: &str, key: u8) -> String {
        let leaf =
            user_certificate(name, &secret_key(key), &[key], now(), Duration::days(1)).unwrap();
        self.write_leaf(&format!("{name}-key-{key}"), &leaf)
    }

    /// libpq's parameters for a user's certificate by the cluster's CA, which the inventory has.
    pub fn certificate_files(&self, common_name: &str, serial: u8) -> String {
        if self.state().issued_by_serial(&[serial]).is_none() {
            self.record(common_name, serial, |_| {});
        }
        self.unrecorded_files(common_name, serial)
    }

    /// The same of a certificate that the inventory does not have.
    pub fn unrecorded_files(&self, common_name: &str, serial: u8) -> String {
        let leaf = self.ca.user(&request(common_name, serial)).unwrap();
        self.write_leaf(&format!("{common_name}-cert-{serial}"), &leaf)
    }

    /// Enters a certificate into the inventory, as a user's if `edit` says nothing else.
    pub fn record(&self, common_name: &str, serial: u8, edit: impl FnOnce(&mut Issued)) {
        let end = request(common_name, serial).now + LIFETIME;
        let mut certificate = Issued {
            serial: vec![serial],
            subject: common_name.to_owned(),
            kind: CertificateKind::User,
            holder: None,
            issuer: Hash::of(self.ca.certificate()),
            until: millis(end),
            by: None,
        };
        edit(&mut certificate);
        self.change(Change::CertificateIssued { certificate });
    }

    /// A PostgreSQL client program without any setting of the environment.
    pub fn program(&self, name: &str) -> Command {
        let mut command = Command::new(find_program(name).unwrap());
        clean(&mut command);
        command.current_dir(self.files.path());
        command
    }

    /// Runs SQL through the gateway with psql.
    pub fn psql(&self, conninfo: &str, password: Option<&str>, sql: &str) -> Output {
        let mut command = self.program("psql");
        if let Some(password) = password {
            command.env("PGPASSWORD", password);
        }
        command
            .args([
                "-X",
                "-w",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-v",
                "VERBOSITY=verbose",
            ])
            .args(["-d", conninfo, "-c", sql])
            .output()
            .unwrap()
    }

    /// A session of psql that stays until it is dropped.
    pub fn held(&self, user: &str, more: &str, password: Option<&str>) -> Held {
        let mut command = self.program("psql");
        if let Some(password) = password {
            command.env("PGPASSWORD", password);
        }
        let mut child = command
            .args([
                "-X",
                "-w",
                "-q",
                "-A",
                "-t",
                "-d",
                &self.conninfo(user, more),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut held = Held {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
            process: 0,
        };
        let process = held.ask("select pg_backend_pid()").unwrap();
        held.process = process.parse().unwrap();
        held
    }

    pub fn figure(&self, name: &str, kind: Option<&str>) -> i64 {
        self.observer
            .metrics()
            .figures()
            .iter()
            .filter(|figure| figure.name == name && figure.label.map(|(_, value)| value) == kind)
            .map(|figure| figure.value)
            .sum()
    }
}

/// A psql that waits for more.
pub struct Held {
    child: Child,
    process: u32,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Held {
    /// Runs SQL that gives one line; `None` when psql has ended.
    pub fn ask(&mut self, sql: &str) -> Option<String> {
        writeln!(self.input, "{sql};").ok()?;
        let mut line = String::new();
        match self.output.read_line(&mut line) {
            Ok(1..) => Some(line.trim_end().to_owned()),
            Ok(_) | Err(_) => None,
        }
    }

    /// Checks that the gateway ends the session, with 57P01.
    #[track_caller]
    pub fn ends(mut self, door: &Door) {
        // Asked too early, psql would still be answered.
        palisade_testkit::poll("the session's end", PATIENCE, || {
            let sessions = door.observer.sessions();
            let open = |session: &SessionInfo| session.process == self.process;
            (!sessions.iter().any(open)).then_some(())
        })
        .unwrap();
        assert_eq!(self.ask("select 'still here'"), None);
        let output = self.child.wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(error.contains("terminating connection"), "{error}");
    }
}

impl Door {
    /// Stops the gateway.
    pub fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop.send(()).ok();
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.stop();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(std::time::Duration::from_secs(3));
        }
    }
}

pub fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PG") {
            command.env_remove(name);
        }
    }
    command.env("PGPASSFILE", "/nonexistent").env("LC_ALL", "C");
}

/// For a certificate of a server here.
pub fn server_request(common_name: &str, serial: u8) -> Request<'_> {
    // A static list lives as long as any request.
    static HOSTS: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();
    Request {
        common_name,
        hosts: HOSTS.get_or_init(|| vec!["localhost".to_owned(), "127.0.0.1".to_owned()]),
        ..request(common_name, serial)
    }
}

/// A static list lives as long as any request.
const SERIALS: &[u8] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// For a certificate of a user, who is no host.
pub fn request(common_name: &str, serial: u8) -> Request<'_> {
    Request {
        common_name,
        hosts: &[],
        now: now(),
        lifetime: LIFETIME,
        serial: SERIALS
            .get(usize::from(serial)..)
            .unwrap()
            .get(..1)
            .unwrap(),
    }
}

pub fn server_identity(ca: &IssuingCa, serial: u8) -> TlsIdentity {
    TlsIdentity::from_leaf(&ca.server(&server_request("node", serial)).unwrap()).unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr)
        .trim_end()
        .to_owned()
}

/// What a program that must succeed printed.
#[track_caller]
pub fn ok(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    stdout(output)
}

/// What a program that must fail complained about.
#[track_caller]
pub fn fails(output: &Output) -> String {
    assert!(!output.status.success(), "{}", stdout(output));
    stderr(output)
}
