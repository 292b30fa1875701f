//! What is known of the node, for `palisade status`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use palisade_daemon::config::Config;
use palisade_daemon::ledger::Ledger;
use palisade_daemon::pki::ServerLeaf;
use palisade_daemon::system;
use palisade_gateway::Observer;
use palisade_ledger::State;
use palisade_link::api::{DriftLine, HeadReply, Status};
use time::format_description::well_known::Rfc3339;

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
}

struct News {
    gateway: Vec<String>,
    postgres: Option<String>,
    applied: Option<u64>,
    observer: Option<Observer>,
    drift: Vec<DriftLine>,
    certificate_until: Option<String>,
    listed: Option<BTreeSet<String>>,
    problems: BTreeMap<&'static str, String>,
}

impl Board {
    pub(super) fn new(ledger: &Ledger, config: &Config, postgres: Option<String>) -> Self {
        let news = News {
            gateway: config
                .gateway
                .listen
                .iter()
                .map(ToString::to_string)
                .collect(),
            postgres,
            applied: Some(ledger.now().head().seq),
            observer: None,
            drift: Vec::new(),
            certificate_until: None,
            listed: None,
            problems: BTreeMap::new(),
        };
        Self {
            ledger: ledger.clone(),
            news: Arc::new(Mutex::new(news)),
        }
    }

    fn news(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn observe(&self, observer: Observer) {
        self.news().observer = Some(observer);
    }

    pub(super) fn set_applied(&self, seq: u64) {
        self.news().applied = Some(seq);
    }

    pub(super) fn set_certificate(&self, leaf: &ServerLeaf) {
        self.news().certificate_until = leaf.until.format(&Rfc3339).ok();
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
        if news.drift.len() >= MAX_DRIFT {
            news.drift.remove(0);
        }
        let time = system::now().format(&Rfc3339).unwrap_or_default();
        news.drift.push(DriftLine { time, what, mended });
    }

    /// Notes something that needs a human; logged once.
    pub(super) fn problem(&self, about: &'static str, text: String) {
        let mut news = self.news();
        if news.problems.get(about) != Some(&text) {
            tracing::error!(about, reason = text, "needs attention");
            news.problems.insert(about, text);
        }
    }

    pub(super) fn solve(&self, about: &'static str) {
        if self.news().problems.remove(about).is_some() {
            tracing::info!(about, "is well again");
        }
    }

    /// What the control socket asks for.
    pub(super) fn reader(&self) -> Arc<dyn Fn() -> Status + Send + Sync> {
        let board = self.clone();
        Arc::new(move || board.status())
    }

    fn status(&self) -> Status {
        let state = self.ledger.now();
        let news = self.news();
        let mut problems: Vec<String> = news.problems.values().cloned().collect();
        if !state
            .users()
            .any(|user| user.superuser && user.may_log_in())
        {
            problems.push(NO_SUPERUSER.to_owned());
        }
        let sessions = news.observer.as_ref().map_or(0, |o| o.sessions().len());
        Status {
            cluster: state.cluster().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            database: state.database().to_owned(),
            head: HeadReply {
                seq: state.head().seq,
                hash: state.head().hash.to_string(),
                applied: news.applied >= Some(state.head().seq),
            },
            gateway: news.gateway.clone(),
            postgres: news.postgres.clone(),
            applied: news.applied,
            sessions: u64::try_from(sessions).unwrap_or(u64::MAX),
            drift: news.drift.clone(),
            certificate_until: news.certificate_until.clone(),
            not_in_user_list: unlisted(&state, news.listed.as_ref()),
            problems,
            ..Status::default()
        }
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
