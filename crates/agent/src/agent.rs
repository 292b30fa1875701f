//! The agent: makes PostgreSQL agree with the ledger's state, and says where it does not.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use palisade_ledger::State;
use palisade_rights::{
    Catalog, DirectRules, HbaFiles, HbaInput, Plan, Scope, compile_hba, desired, plan, plan_change,
    quote_identifier,
};
use tokio::sync::Notify;

use crate::config::{Config, Tcp};
use crate::error::Error;
use crate::os::{self, OsUser};
use crate::server::{Endpoint, Server};
use crate::session::Session;
use crate::{execute, files, install, observe, session};

/// How often a plan is made anew when the server changed under it.
const TRIES: u32 = 5;
/// Between two tries.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// What an application of the state did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What was done, a line each.
    pub steps: Vec<String>,
    /// The generation that the server is at now.
    pub generation: i64,
    /// Whether `pg_hba.conf` or `pg_ident.conf` were written.
    pub files_written: bool,
    /// How many sessions were ended.
    pub sessions_ended: u64,
    /// Whether the whole server was observed, or the change alone was planned.
    pub whole: bool,
    /// Objects that access control lists name and that the database does not have.
    pub missing: Vec<String>,
}

/// Where PostgreSQL is not as the ledger wants it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DriftReport {
    /// What Palisade manages and [`Agent::mend`] puts right, a line each.
    pub managed: Vec<String>,
    /// What Palisade does not manage and leaves alone, a line each.
    pub foreign: Vec<String>,
}

impl DriftReport {
    /// Whether nothing that Palisade manages has drifted.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.managed.is_empty()
    }
}

impl fmt::Display for DriftReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.managed {
            writeln!(f, "drift: to {line}")?;
        }
        for line in &self.foreign {
            writeln!(f, "not managed, left alone: {line}")?;
        }
        Ok(())
    }
}

/// What was applied last: the next change is planned against it.
#[derive(Debug)]
struct Applied {
    state: State,
    catalog: Catalog,
    generation: i64,
}

/// The reconciler of one PostgreSQL.
#[derive(Debug)]
pub struct Agent {
    config: Config,
    daemon: String,
    changed: Arc<Notify>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    server: Option<Server>,
    endpoint: Endpoint,
    user: OsUser,
    database: String,
    session: Session,
    applied: Option<Applied>,
}

impl Agent {
    /// An agent for a PostgreSQL that is not started yet.
    pub fn new(config: Config) -> Result<Self, Error> {
        Ok(Self {
            config,
            daemon: os::own_name()?,
            changed: Arc::default(),
            running: None,
        })
    }

    /// Starts PostgreSQL (making its data directory the first time) and puts the guards in place.
    pub async fn start(&mut self) -> Result<(), Error> {
        if let Some(running) = &mut self.running {
            if running.server.as_mut().is_none_or(Server::is_running) {
                return Ok(());
            }
            self.running = None;
        }
        let server = Server::start(&self.config).await?;
        let (endpoint, user) = (server.endpoint().clone(), server.user.clone());
        self.run_on(Some(server), endpoint, user).await
    }

    /// Works on a server that someone else starts and stops, and whose bootstrap superuser is `palisade`.
    pub async fn start_on(&mut self, endpoint: Endpoint) -> Result<(), Error> {
        let user = os::server_user(self.config.os_user.as_deref())?;
        self.run_on(None, endpoint, user).await
    }

    async fn run_on(
        &mut self,
        server: Option<Server>,
        endpoint: Endpoint,
        user: OsUser,
    ) -> Result<(), Error> {
        self.make_database(&endpoint).await?;
        let changed = Arc::clone(&self.changed);
        let mut session = session::open(&endpoint, &self.config.database, changed).await?;
        let client = &mut session.client;
        if !install::is_installed(client).await? || !install::drift(client).await?.is_empty() {
            install::install(client).await?;
        }
        client
            .batch_execute("LISTEN palisade_changed")
            .await
            .map_err(Error::sql("listen for changes"))?;
        self.running = Some(Running {
            server,
            endpoint,
            user,
            database: self.config.database.clone(),
            session,
            applied: None,
        });
        Ok(())
    }

    async fn make_database(&self, endpoint: &Endpoint) -> Result<(), Error> {
        const WHAT: &str = "make the database";
        let client = session::open(endpoint, "postgres", Arc::default())
            .await?
            .client;
        let database = &self.config.database;
        let found = client
            .query_opt(
                "SELECT 1 FROM pg_catalog.pg_database WHERE datname = $1",
                &[database],
            )
            .await
            .map_err(Error::sql(WHAT))?;
        if found.is_none() {
            let create = format!("CREATE DATABASE {}", quote_identifier(database));
            client
                .batch_execute(&create)
                .await
                .map_err(Error::sql(WHAT))?;
        }
        Ok(())
    }

    /// Where PostgreSQL is reached, once it runs.
    #[must_use]
    pub fn endpoint(&self) -> Option<&Endpoint> {
        self.running.as_ref().map(|running| &running.endpoint)
    }

    /// The major version of the server that we started.
    #[must_use]
    pub fn version(&self) -> Option<u32> {
        let server = self.running.as_ref()?.server.as_ref()?;
        Some(server.version())
    }

    /// Notified when a user defined or dropped something: time to look for drift. At most one
    /// notification is kept for who does not wait yet.
    #[must_use]
    pub fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    /// Whether the managed server still runs; one that someone else manages is taken to.
    pub fn is_running(&mut self) -> bool {
        self.running
            .as_mut()
            .is_some_and(|running| running.server.as_mut().is_none_or(Server::is_running))
    }

    fn files(&self, state: &State) -> HbaFiles {
        let input = HbaInput {
            daemon_user: &self.daemon,
            direct: match self.config.tcp {
                Some(_) => DirectRules::Open,
                None => DirectRules::Closed,
            },
        };
        compile_hba(state, &input)
    }

    async fn running(&mut self) -> Result<&mut Running, Error> {
        if self.running.is_none() {
            self.start().await?;
        }
        let changed = Arc::clone(&self.changed);
        let Some(running) = self.running.as_mut() else {
            return Err(Error::NotReady {
                reason: "it was not started".to_owned(),
                log: self.config.directory.join("postgres.log"),
            });
        };
        if running.session.client.is_closed() {
            running.session =
                session::open(&running.endpoint, &self.config.database, changed).await?;
            running.applied = None;
            running
                .session
                .client
                .batch_execute("LISTEN palisade_changed")
                .await
                .map_err(Error::sql("listen for changes"))?;
        }
        Ok(running)
    }

    /// Makes PostgreSQL agree with the state: the files of its front door, the sessions of who is out, then
    /// roles, grants and what the guards read. After the first time it looks at what changed alone.
    pub async fn apply(&mut self, state: &State) -> Result<Report, Error> {
        self.reconcile(state, false).await
    }

    /// Looks at the whole server and puts right whatever Palisade manages there, the guards included.
    pub async fn mend(&mut self, state: &State) -> Result<Report, Error> {
        self.reconcile(state, true).await
    }

    async fn reconcile(&mut self, state: &State, whole: bool) -> Result<Report, Error> {
        let wanted = self.files(state);
        let tcp = self.config.tcp.clone();
        let running = self.running().await?;
        let mut report = Report::default();
        if whole {
            if running.copy_tls(tcp.as_ref())? {
                files::reload(&running.session.client, &running.endpoint).await?;
                report
                    .steps
                    .push("put right: PostgreSQL's TLS files".to_owned());
            }
            let guards = install::drift(&running.session.client).await?;
            if !guards.is_empty() {
                install::install(&mut running.session.client).await?;
                report
                    .steps
                    .extend(guards.into_iter().map(|what| format!("put right: {what}")));
            }
            running.applied = None;
        }
        report.files_written = files::put(
            &running.session.client,
            &running.endpoint,
            &running.user,
            &wanted,
        )
        .await?;
        report.sessions_ended = session::end_shut_out(&running.session.client, state).await?;
        report.sessions_ended += session::end_revoked(&running.session.client, state).await?;
        let mut tries = 0;
        loop {
            // On the heap: it holds a whole state, which would make every caller's future as large.
            match Box::pin(running.execute(state)).await {
                Ok((plan, generation, whole)) => {
                    report
                        .steps
                        .extend(plan.steps.iter().map(ToString::to_string));
                    report.generation = generation;
                    report.whole = whole;
                    break;
                }
                Err(error) => {
                    running.applied = None;
                    tries += 1;
                    if !error.is_passing() || tries >= TRIES {
                        return Err(error);
                    }
                    tracing::debug!(%error, "planning again");
                    tokio::time::sleep(TRY_AGAIN_AFTER).await;
                }
            }
        }
        report.sessions_ended += session::end_departed(&running.session.client).await?;
        report.missing = running.missing();
        // Whoever logged in between the two is out now for good.
        report.sessions_ended += session::end_shut_out(&running.session.client, state).await?;
        Ok(report)
    }

    /// Where PostgreSQL is not as the state wants it. Changes nothing.
    pub async fn check_drift(&mut self, state: &State) -> Result<DriftReport, Error> {
        let wanted = self.files(state);
        let tcp = self.config.tcp.clone();
        let running = self.running().await?;
        let mut report = DriftReport::default();
        for what in install::drift(&running.session.client).await? {
            report.managed.push(format!("put right: {what}"));
        }
        if let Some(tcp) = &tcp
            && running.server.is_some()
            && files::tls_differs(tcp, &running.endpoint, &running.user)
        {
            report
                .managed
                .push("put right: PostgreSQL's TLS files".to_owned());
        }
        for what in files::drift(&running.endpoint, &running.user, &wanted) {
            report.managed.push(format!("put right: {what}"));
        }
        if install::is_installed(&running.session.client).await? {
            let seen = observe::observe(&mut running.session.client, &names(state)).await?;
            let wanted = desired(state, &seen.catalog, &Scope::All);
            let plan = plan(&seen.picture, &wanted);
            report
                .managed
                .extend(plan.steps.iter().map(ToString::to_string));
            report.foreign = seen.foreign;
        }
        Ok(report)
    }

    /// Drops every managed object. Users, rights and the guards stay. Returns what was dropped.
    pub async fn purge_all(&mut self, state: &State) -> Result<Vec<String>, Error> {
        const WHAT: &str = "drop all objects";
        let running = self.running().await?;
        let seen = observe::observe(&mut running.session.client, &names(state)).await?;
        let mut sql =
            "SET LOCAL lock_timeout = '60s'; SET LOCAL client_min_messages = warning;".to_owned();
        let mut dropped = Vec::new();
        for (_, schema) in seen.catalog.schemas() {
            let name = quote_identifier(&schema.name);
            sql.push_str(&format_drop(&name));
            dropped.push(format!("schema {name}"));
        }
        dropped.extend(
            seen.picture
                .relations
                .values()
                .map(|rights| rights.label.clone()),
        );
        sql.push_str(
            "CREATE SCHEMA public AUTHORIZATION palisade_owner; SELECT palisade.remember_all();",
        );
        let transaction = running
            .session
            .client
            .transaction()
            .await
            .map_err(Error::sql(WHAT))?;
        transaction
            .batch_execute(&sql)
            .await
            .map_err(Error::sql(WHAT))?;
        transaction.commit().await.map_err(Error::sql(WHAT))?;
        running.applied = None;
        self.mend(state).await?;
        Ok(dropped)
    }

    /// Makes PostgreSQL read its configuration and TLS files again.
    pub async fn reload(&mut self) -> Result<(), Error> {
        let tcp = self.config.tcp.clone();
        let running = self.running().await?;
        running.copy_tls(tcp.as_ref())?;
        files::reload(&running.session.client, &running.endpoint).await
    }

    /// Stops a managed server; one that someone else manages runs on.
    pub async fn stop(&mut self) -> Result<(), Error> {
        match self.running.take().and_then(|running| running.server) {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }
}

fn format_drop(name: &str) -> String {
    format!("DROP SCHEMA {name} CASCADE;")
}

fn names(state: &State) -> Vec<String> {
    state.users().map(|user| user.name.to_string()).collect()
}

impl Running {
    /// Brings a managed server's TLS files up to date.
    fn copy_tls(&self, tcp: Option<&Tcp>) -> Result<bool, Error> {
        match tcp.filter(|_| self.server.is_some()) {
            Some(tcp) => files::copy_tls(tcp, &self.endpoint, &self.user),
            None => Ok(false),
        }
    }

    /// Objects of access control lists that are not there.
    fn missing(&self) -> Vec<String> {
        let Some(applied) = &self.applied else {
            return Vec::new();
        };
        let objects = applied.state.acls().keys();
        objects
            .filter(|object| !applied.catalog.has(object))
            .map(ToString::to_string)
            .collect()
    }

    /// Plans and executes once. Returns the plan, the generation after it, and whether all was observed.
    async fn execute(&mut self, state: &State) -> Result<(Plan, i64, bool), Error> {
        let applied = match self.applied.take() {
            Some(mut applied) => {
                if self.session.take_stale() {
                    applied.catalog = observe::catalog(&mut self.session.client).await?;
                }
                applied
            }
            None => return self.execute_whole(state).await,
        };
        let plan = plan_change(&applied.state, state, &applied.catalog);
        let generation = self.run(&plan, applied.generation).await?;
        self.applied = Some(Applied {
            state: state.clone(),
            catalog: applied.catalog,
            generation,
        });
        Ok((plan, generation, false))
    }

    async fn execute_whole(&mut self, state: &State) -> Result<(Plan, i64, bool), Error> {
        self.session.take_stale();
        let seen = observe::observe(&mut self.session.client, &names(state)).await?;
        let wanted = desired(state, &seen.catalog, &Scope::All);
        let plan = plan(&seen.picture, &wanted);
        let generation = self.run(&plan, seen.generation).await?;
        self.applied = Some(Applied {
            state: state.clone(),
            catalog: seen.catalog,
            generation,
        });
        Ok((plan, generation, true))
    }

    async fn run(&mut self, plan: &Plan, generation: i64) -> Result<i64, Error> {
        if plan.is_empty() {
            return Ok(generation);
        }
        let row = self
            .session
            .client
            .query_one("SELECT pg_catalog.pg_backend_pid()", &[])
            .await
            .map_err(Error::sql("plan"))?;
        let work = execute::execute(&mut self.session.client, plan, generation);
        session::with_blockers_ended(&self.endpoint, &self.database, row.get(0), work).await
    }
}
