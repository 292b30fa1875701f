//! What is known of the node, for `palisade status`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use palisade_daemon::alerts::Desk;
use palisade_daemon::ca::CaService;
use palisade_daemon::config::Config;
use palisade_daemon::ledger::Ledger;
use palisade_daemon::members::Table;
use palisade_daemon::pki::ServerLeaf;
use palisade_daemon::{metrics, system};
use palisade_gateway::Observer;
use palisade_ledger::{NodeId, State};
use palisade_link::api::{
    AlarmKind, DriftLine, HeadReply, Hello, Status, StoreMember, StoreStatus,
};
use time::format_description::well_known::Rfc3339;
use tokio::sync::watch;

use super::member::Member;

/// Differences that are kept for showing.
const MAX_DRIFT: usize = 100;

/// What a cluster is told that nobody administers.
const NO_SUPERUSER: &str = "there is no superuser who may log in: name one in the user list, or say palisade user add \
     -u NAME --superuser=on --as-cluster-key FILE -s NAME.credentials";

/// The board that all parts of a node write their news on.
#[derive(Clone)]
pub(super) struct Board {
    ledger: Ledger,
    news: Arc<Mutex<News>>,
    started: String,
}

struct News {
    gateway: Vec<String>,
    postgres: Option<String>,
    applied: Option<u64>,
    missing: Vec<String>,
    observer: Option<Observer>,
    drift: Vec<DriftLine>,
    certificate_until: Option<String>,
    listed: Option<BTreeSet<String>>,
    problems: BTreeMap<&'static str, String>,
    membership: Option<Membership>,
    store_members: Vec<StoreMember>,
    desk: Option<Desk>,
    expiry: Option<time::OffsetDateTime>,
}

/// What the board asks about this node among the others.
struct Membership {
    id: NodeId,
    table: watch::Receiver<Arc<Table>>,
    ca: CaService,
}

impl Board {
    pub(super) fn new(ledger: &Ledger, config: &Config) -> Self {
        let news = News {
            gateway: config
                .gateway
                .listen
                .iter()
                .map(ToString::to_string)
                .collect(),
            postgres: None,
            applied: None,
            missing: Vec::new(),
            observer: None,
            drift: Vec::new(),
            certificate_until: None,
            listed: None,
            problems: BTreeMap::new(),
            membership: None,
            desk: None,
            expiry: None,
            store_members: Vec::new(),
        };
        Self {
            ledger: ledger.clone(),
            news: Arc::new(Mutex::new(news)),
            started: system::now().format(&Rfc3339).unwrap_or_default(),
        }
    }

    pub(super) fn set_member(&self, member: &Member, ca: &CaService) {
        self.news().membership = Some(Membership {
            id: member.id(),
            table: member.table(),
            ca: ca.clone(),
        });
    }

    fn news(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn observe(&self, observer: Observer) {
        self.news().observer = Some(observer);
    }

    /// Notes the version of a PostgreSQL that runs.
    pub(super) fn set_postgres(&self, version: Option<String>) {
        self.news().postgres = version;
    }

    /// Notes etcd's members.
    pub(super) fn set_store_members(&self, members: Vec<StoreMember>) {
        self.news().store_members = members;
    }

    /// Notes how far PostgreSQL was brought in line, and which objects of access control lists it lacks.
    pub(super) fn set_applied(&self, seq: u64, missing: Vec<String>) {
        let mut news = self.news();
        news.applied = Some(seq);
        news.missing = missing;
    }

    pub(super) fn set_certificate(&self, leaf: &ServerLeaf) {
        let mut news = self.news();
        news.certificate_until = leaf.until.format(&Rfc3339).ok();
        news.expiry = Some(leaf.until);
    }

    /// Reports what needs a human to this desk, too, from now on.
    pub(super) fn set_desk(&self, desk: &Desk) {
        self.news().desk = Some(desk.clone());
    }

    /// When the server's certificate ends.
    pub(super) fn certificate_until(&self) -> Option<time::OffsetDateTime> {
        self.news().expiry
    }

    /// How many log-ins the gateway refused since it started.
    pub(super) fn refused_logins(&self) -> u64 {
        let news = self.news();
        let figures = news.observer.iter().flat_map(|o| o.metrics().figures());
        figures
            .filter(|figure| figure.name == "refusals_total")
            .filter_map(|figure| u64::try_from(figure.value).ok())
            .sum()
    }

    /// Notes whom the user list names.
    pub(super) fn set_listed(&self, listed: BTreeSet<String>) {
        self.news().listed = Some(listed);
    }

    /// Notes a difference that was found in PostgreSQL.
    pub(super) fn drift(&self, what: String, mended: bool) {
        let mut news = self.news();
        if !mended && news.drift.iter().any(|line| line.what == what) {
            return;
        }
        tracing::warn!(what, mended, "PostgreSQL differs from the ledger");
        if let Some(desk) = news.desk.as_ref().filter(|_| mended) {
            desk.happened(AlarmKind::Drift, &what, &what);
        }
        if news.drift.len() >= MAX_DRIFT {
            news.drift.remove(0);
        }
        let time = system::now().format(&Rfc3339).unwrap_or_default();
        news.drift.push(DriftLine { time, what, mended });
    }

    /// What differs in PostgreSQL and is left as it is, all of it: an alarm until it is gone.
    pub(super) fn stands(&self, foreign: &[String]) {
        let desk = self.news().desk.clone();
        if let Some(desk) = desk {
            desk.drift(foreign);
        }
    }

    /// Notes something that needs a human; logged once.
    pub(super) fn problem(&self, about: &'static str, text: String) {
        let mut news = self.news();
        if news.problems.get(about) != Some(&text) {
            tracing::error!(about, reason = text, "needs attention");
            if let (Some(desk), Some(kind)) = (&news.desk, alarm_about(about)) {
                desk.state(kind, about, Some(&text));
            }
            news.problems.insert(about, text);
        }
    }

    pub(super) fn solve(&self, about: &'static str) {
        let mut news = self.news();
        if news.problems.remove(about).is_some() {
            tracing::info!(about, "is well again");
            if let (Some(desk), Some(kind)) = (&news.desk, alarm_about(about)) {
                desk.state(kind, about, None);
            }
        }
    }

    /// What the control socket asks for.
    pub(super) fn reader(&self) -> Arc<dyn Fn() -> Status + Send + Sync> {
        let board = self.clone();
        Arc::new(move || board.status())
    }

    /// The figures, as `OpenMetrics` text.
    pub(super) fn metrics(&self) -> Arc<dyn Fn() -> String + Send + Sync> {
        let board = self.clone();
        Arc::new(move || {
            let status = board.status();
            let desk = board.news().desk.clone();
            let mut figures = metrics::of_cluster(&status, desk.as_ref(), system::now());
            figures.extend(board.gateway_figures());
            metrics::text(&figures)
        })
    }

    /// The gateway's own figures.
    fn gateway_figures(&self) -> Vec<metrics::Figure> {
        let news = self.news();
        let figures = news.observer.iter().flat_map(|o| o.metrics().figures());
        figures.map(|figure| gateway_figure(&figure)).collect()
    }

    /// What this node says to the others.
    pub(super) fn hello(&self) -> Hello {
        let state = self.ledger.now();
        self.hello_of(&state, &self.news())
    }

    fn hello_of(&self, state: &State, news: &News) -> Hello {
        let membership = news.membership.as_ref();
        Hello {
            node: membership.map(|member| member.id.get()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            head: head(state, news),
            store: StoreStatus {
                members: news.store_members.clone(),
                ..self.ledger.store().borrow().clone()
            },
            issuer: membership.is_some_and(|member| member.ca.is_issuer()),
            certificate_until: news.certificate_until.clone(),
            problems: problems(state, news),
            sessions: sessions(news),
            started: self.started.clone(),
            master: master(news),
            alarms: news.desk.as_ref().map(Desk::alarms).unwrap_or_default(),
            told: news.desk.as_ref().map(Desk::told).unwrap_or_default(),
        }
    }

    fn status(&self) -> Status {
        let state = self.ledger.now();
        let news = self.news();
        let hello = self.hello_of(&state, &news);
        let membership = news.membership.as_ref();
        let nodes = membership.map_or_else(Vec::new, |member| {
            let table = member.table.borrow().clone();
            table.lines(&state, Some(member.id), &hello)
        });
        Status {
            cluster: state.cluster().to_owned(),
            version: hello.version,
            database: state.database().to_owned(),
            head: hello.head,
            gateway: news.gateway.clone(),
            postgres: news.postgres.clone(),
            applied: news.applied,
            sessions: hello.sessions,
            drift: news.drift.clone(),
            certificate_until: hello.certificate_until,
            not_in_user_list: unlisted(&state, news.listed.as_ref()),
            missing_objects: news.missing.clone(),
            problems: hello.problems,
            node: hello.node,
            master: hello.master,
            nodes,
            store: hello.store,
        }
    }
}

fn head(state: &State, news: &News) -> HeadReply {
    HeadReply {
        seq: state.head().seq,
        hash: state.head().hash.to_string(),
        applied: news.applied >= Some(state.head().seq),
    }
}

fn problems(state: &State, news: &News) -> Vec<String> {
    let mut problems: Vec<String> = news.problems.values().cloned().collect();
    let administered = state
        .users()
        .any(|user| user.superuser && user.may_log_in());
    if !administered {
        problems.push(NO_SUPERUSER.to_owned());
    }
    problems
}

fn sessions(news: &News) -> u64 {
    let sessions = news.observer.as_ref().map_or(0, |o| o.sessions().len());
    u64::try_from(sessions).unwrap_or(u64::MAX)
}

fn master(news: &News) -> Option<u32> {
    let member = news.membership.as_ref()?;
    let master = member.table.borrow().master?;
    Some(master.get())
}

/// What the problem is about that another node has another ledger.
pub(super) const OTHER_LEDGERS: &str = "other nodes' ledgers";

/// Problems that humans are alerted of, by what they are about.
fn alarm_about(about: &str) -> Option<AlarmKind> {
    if about == OTHER_LEDGERS {
        return Some(AlarmKind::Ledger);
    }
    (about.contains("certificate") || about.contains("revocation"))
        .then_some(AlarmKind::CertificateRenewal)
}

/// A figure of the gateway among the node's.
fn gateway_figure(figure: &palisade_gateway::Figure) -> metrics::Figure {
    const HELP: &str = "A figure of the gateway.";
    #[expect(
        clippy::cast_precision_loss,
        reason = "Prometheus' numbers are 64-bit floating point"
    )]
    let value = figure.value as f64;
    let made = match figure.name.strip_suffix("_total") {
        Some(name) => metrics::Figure::counter(&format!("gateway_{name}"), HELP, value),
        None => metrics::Figure::gauge(&format!("gateway_{}", figure.name), HELP, value),
    };
    match figure.label {
        Some((label, value)) => made.with(label, &value),
        None => made,
    }
}

/// Users of the ledger whom a followed user list does not name.
fn unlisted(state: &State, listed: Option<&BTreeSet<String>>) -> Vec<String> {
    let Some(listed) = listed else {
        return Vec::new();
    };
    let names = state.users().map(|user| user.name.to_string());
    names.filter(|name| !listed.contains(name)).collect()
}
