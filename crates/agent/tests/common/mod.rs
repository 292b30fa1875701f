//! What the agent's tests share: states drawn in chain notation, a server with the agent on it, and
//! sessions as users through the private socket.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "shared by tests, each of which uses its part"
)]

pub mod cast;
pub mod matrix;

use palisade_agent::{Agent, Config, Endpoint};
use palisade_ledger::{State, verify, verify_genesis};
use palisade_testkit::Postgres;
use palisade_testkit::chain::Chains;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// The state at the end of the chain `main: G - ...`.
pub fn state(steps: &str) -> State {
    let chains = Chains::draw(&format!("main: G - {steps}")).unwrap();
    let entries = chains.entries("main");
    let key = Chains::cluster_key("main").unwrap();
    let (mut state, _) = verify_genesis(entries[0], &key).unwrap();
    for bytes in &entries[1..] {
        let verified = verify(&state, bytes).unwrap();
        state.apply(&verified).unwrap();
    }
    state
}

/// A throwaway server with an agent on it.
pub struct Bench {
    pub agent: Agent,
    pub endpoint: Endpoint,
    pub postgres: Postgres,
}

impl Bench {
    /// Starts both; the state is not applied yet.
    pub async fn bare() -> Self {
        let postgres = Postgres::builder().superuser("palisade").start().unwrap();
        let endpoint = Endpoint {
            socket_dir: postgres.socket_dir(),
            port: postgres.port(),
            files_dir: postgres.data_dir(),
        };
        let mut agent = Agent::new(Config::new("/nonexistent", "main")).unwrap();
        agent.start_on(endpoint.clone()).await.unwrap();
        Self {
            agent,
            endpoint,
            postgres,
        }
    }

    /// Starts both and applies the state.
    pub async fn with(state: &State) -> Self {
        let mut bench = Self::bare().await;
        bench.agent.apply(state).await.unwrap();
        bench
    }

    /// A session as this user, logged in by `peer` over the private socket.
    pub async fn log_in(&self, user: &str) -> Session {
        self.try_log_in(user).await.unwrap()
    }

    pub async fn try_log_in(&self, user: &str) -> Result<Session, tokio_postgres::Error> {
        Session::open(&self.endpoint, user).await
    }

    /// PostgreSQL's major version.
    pub async fn version(&self) -> u32 {
        let hand = self.log_in("palisade").await;
        let number = hand.ok("show server_version_num").await;
        number[0].parse::<u32>().unwrap() / 10_000
    }

    /// A session as the bootstrap superuser: a hand that changes what it should not.
    pub async fn by_hand(&self, sql: &str) {
        let hand = self.log_in("palisade").await;
        hand.ok(sql).await;
    }
}

/// A user's session.
pub struct Session {
    pub client: Client,
    pub said: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
}

impl Session {
    pub async fn open(endpoint: &Endpoint, user: &str) -> Result<Self, tokio_postgres::Error> {
        let (client, wire) = tokio_postgres::Config::new()
            .host_path(&endpoint.socket_dir)
            .port(endpoint.port)
            .user(user)
            .dbname("main")
            .connect(NoTls)
            .await?;
        Ok(Self::on(client, wire))
    }

    /// A session on a connection that is logged in.
    pub fn on<S, T>(client: Client, mut wire: tokio_postgres::Connection<S, T>) -> Self
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let said = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let heard = said.clone();
        tokio::spawn(async move {
            while let Some(Ok(message)) =
                std::future::poll_fn(|context| wire.poll_message(context)).await
            {
                if let tokio_postgres::AsyncMessage::Notice(notice) = message {
                    heard.lock().unwrap().push(notice.message().to_owned());
                }
            }
        });
        Self { client, said }
    }

    /// Runs SQL by the simple protocol; the first column of each row, or the SQLSTATE and message.
    pub async fn run(&self, sql: &str) -> Result<Vec<String>, String> {
        match self.client.simple_query(sql).await {
            Ok(messages) => Ok(messages
                .iter()
                .filter_map(|message| match message {
                    SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
                    _ => None,
                })
                .collect()),
            Err(error) => Err(match error.as_db_error() {
                Some(told) => format!("{} {}", told.code().code(), told.message()),
                None => error.to_string(),
            }),
        }
    }

    #[track_caller]
    pub fn ok<'a>(&'a self, sql: &'a str) -> impl Future<Output = Vec<String>> + 'a {
        let place = std::panic::Location::caller();
        async move {
            match self.run(sql).await {
                Ok(rows) => rows,
                Err(error) => panic!("{place}: {sql}: {error}"),
            }
        }
    }

    /// Must be refused for lack of a right (SQLSTATE 42501).
    #[track_caller]
    pub fn refused<'a>(&'a self, sql: &'a str) -> impl Future<Output = String> + 'a {
        let place = std::panic::Location::caller();
        async move {
            match self.run(sql).await {
                Ok(rows) => panic!("{place}: passed: {sql}: {rows:?}"),
                Err(error) if error.starts_with("42501") => error,
                Err(error) => panic!("{place}: refused for another reason: {sql}: {error}"),
            }
        }
    }

    /// Everything that the server told this session beside results.
    pub fn notices(&self) -> String {
        self.said.lock().unwrap().join("\n")
    }
}
