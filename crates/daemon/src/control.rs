//! The control socket: the API on a unix socket of mode 0600.
//!
//! Reading shows state; changing needs a signature. Reaching the socket gives no right by itself.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Extension;
use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Query, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use palisade_keys::{PublicKey, sha256};
use palisade_ledger::{Head, NodeId, Privileges, Refusal, Uid, limits::MAX_ENTRY_BYTES};
use palisade_link::api::{
    Challenge, Command, Done, Failure, HeadReply, PAGE, SignedCommand, Status, path,
};
use serde::Deserialize;
use time::{Duration, OffsetDateTime};
use tokio::net::UnixListener;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::api::CallerKey;
use crate::ledger::{AppendError, Ledger};
use crate::system;

/// Challenges that one caller may have open at a time; his oldest goes first, and nobody else's.
const MAX_CHALLENGES: usize = 16;
/// How long a challenge is good for.
const CHALLENGE_LIFE: Duration = Duration::minutes(2);
/// How long an append waits for PostgreSQL before it answers all the same.
const SETTLE: std::time::Duration = std::time::Duration::from_secs(5);

/// A command whose author was checked, on its way to the one who carries it out.
#[must_use]
pub struct Permitted {
    /// What to do.
    pub command: Command,
    /// The name of the user who said so.
    pub author: String,
    /// That user's id.
    pub uid: Uid,
    /// Takes what was done, or why not.
    pub done: oneshot::Sender<Result<Done, String>>,
}

/// Gives the metrics, as `OpenMetrics` text.
pub type Metrics = Arc<dyn Fn() -> String + Send + Sync>;

/// Challenges that are open, oldest first: who asked (none over the socket), the challenge, its end.
#[derive(Debug, Default)]
struct Challenges(VecDeque<(Option<PublicKey>, String, OffsetDateTime)>);

impl Challenges {
    /// Adds one. Who asks for many puts out his own alone.
    fn add(&mut self, caller: Option<PublicKey>, text: String, now: OffsetDateTime) {
        self.0.retain(|(_, _, until)| now <= *until);
        let own = |(by, _, _): &(Option<PublicKey>, _, _)| *by == caller;
        if self.0.iter().filter(|open| own(open)).count() >= MAX_CHALLENGES
            && let Some(oldest) = self.0.iter().position(own)
        {
            self.0.remove(oldest);
        }
        self.0.push_back((caller, text, now + CHALLENGE_LIFE));
    }

    fn redeem(&mut self, challenge: &str, now: OffsetDateTime) -> bool {
        let index = self.0.iter().position(|(_, text, _)| text == challenge);
        let open = index.and_then(|index| self.0.remove(index));
        open.is_some_and(|(_, _, until)| now <= until)
    }
}

/// Where commands and questions of the control socket go.
#[derive(Clone)]
pub struct Control {
    ledger: Ledger,
    status: Arc<dyn Fn() -> Status + Send + Sync>,
    commands: mpsc::Sender<Permitted>,
    allowed: Allowed,
    applied: watch::Receiver<u64>,
    reload: Arc<Notify>,
    node: Option<NodeId>,
    challenges: Arc<Mutex<Challenges>>,
}

/// What joins the control socket to the rest of the node.
pub struct Wires {
    /// Where commands go whose author was checked.
    pub commands: mpsc::Sender<Permitted>,
    /// Sequence number of the last entry that PostgreSQL was brought in line with.
    pub applied: watch::Receiver<u64>,
    /// Told when files are to be read again.
    pub reload: Arc<Notify>,
    /// This node's id; none while the ledger names none.
    pub node: Option<NodeId>,
}

/// Which commands the configuration lets through.
#[derive(Debug, Clone, Copy)]
pub struct Allowed {
    /// `security.enable_stop`.
    pub stop: bool,
    /// `security.enable_purge_all`.
    pub purge_all: bool,
}

/// The control socket could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("can't open the control socket {}: {source}", path.display())]
pub struct ControlError {
    path: PathBuf,
    source: std::io::Error,
}

impl Control {
    /// The API over this ledger. Commands that were checked go to `commands`.
    pub fn new(
        ledger: Ledger,
        allowed: Allowed,
        status: Arc<dyn Fn() -> Status + Send + Sync>,
        wires: Wires,
    ) -> Self {
        Self {
            ledger,
            status,
            commands: wires.commands,
            allowed,
            applied: wires.applied,
            reload: wires.reload,
            node: wires.node,
            challenges: Arc::default(),
        }
    }

    /// Waits a bounded time until PostgreSQL is in line with entry `seq`, so that a right holds when
    /// the command that gave it returns. The entry stands in either case.
    async fn settle(&self, seq: u64) {
        let mut applied = self.applied.clone();
        let reached = applied.wait_for(|entry| *entry >= seq);
        drop(tokio::time::timeout(SETTLE, reached).await);
    }

    /// This node's id, as challenges name it; 0 while the ledger names none.
    fn node(&self) -> u32 {
        self.node.map_or(0, NodeId::get)
    }

    /// The ledger behind it.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Appends a signed entry that PostgreSQL has nothing to do with.
    pub(crate) async fn append_only(&self, entry: Vec<u8>) -> Result<Json<HeadReply>, Refused> {
        let head = self.ledger.append(entry).await?;
        Ok(self.reply(&head))
    }

    /// Appends a signed entry, and waits a bounded time for PostgreSQL.
    pub(crate) async fn append(&self, entry: Vec<u8>) -> Result<Json<HeadReply>, Refused> {
        let head = self.ledger.append(entry).await?;
        self.settle(head.seq).await;
        Ok(self.reply(&head))
    }

    /// Where the ledger stands.
    pub(crate) fn head(&self) -> HeadReply {
        self.reply(&self.ledger.now().head()).0
    }

    fn reply(&self, head: &Head) -> Json<HeadReply> {
        Json(HeadReply {
            seq: head.seq,
            hash: head.hash.to_string(),
            applied: *self.applied.borrow() >= head.seq,
        })
    }

    /// The routes that the HTTPS listener has, too; who may use them is decided there.
    pub(crate) fn shared_routes(&self) -> Router {
        Router::new()
            .route(path::HEAD, get(head))
            .route(path::ENTRIES, get(entries))
            .route(path::STATUS, get(status))
            .route(path::CHALLENGE, get(challenge))
            .route(path::COMMANDS, post(command))
            .layer(DefaultBodyLimit::max(MAX_ENTRY_BYTES))
            .with_state(self.clone())
    }

    /// The routes of the socket.
    fn router(self, metrics: Metrics) -> Router {
        Router::new()
            .route(path::ENTRIES, post(append))
            .route(path::RELOAD, post(reload))
            .route(path::METRICS, get(move || async move { metrics() }))
            .layer(DefaultBodyLimit::max(MAX_ENTRY_BYTES))
            .with_state(self.clone())
            .merge(self.shared_routes())
    }

    /// Serves the socket that `bind` opened, until the task is dropped.
    pub async fn serve(self, listener: UnixListener, metrics: Metrics) -> std::io::Result<()> {
        axum::serve(listener, self.router(metrics)).await
    }

    fn new_challenge(&self, caller: Option<PublicKey>) -> Result<String, Failure> {
        let random = system::random::<32>().map_err(|error| failure(error.to_string()))?;
        let text: String = Head {
            seq: 0,
            hash: palisade_ledger::Hash(sha256(random.as_slice())),
        }
        .hash
        .to_string();
        let mut open = self
            .challenges
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        open.add(caller, text.clone(), system::now());
        Ok(text)
    }

    /// Takes a challenge out of those that are open: it is good once.
    fn redeem(&self, challenge: &str) -> bool {
        let mut open = self
            .challenges
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        open.redeem(challenge, system::now())
    }

    /// Checks that the configuration allows the command, and that a user with `system` signed it.
    fn permit(&self, signed: &SignedCommand, command: &Command) -> Result<(Uid, String), Failure> {
        self.allow(command)?;
        let state = self.ledger.now();
        let refused = || failure("the command is not signed by a user with the privilege system");
        let uid = Uid::new(signed.uid).map_err(|_| refused())?;
        let user = state.user(uid).ok_or_else(refused)?;
        let key = user.public_key.ok_or_else(refused)?;
        let verified = signed.verify(state.cluster_key(), &key);
        verified.map_err(|_| refused())?;
        if !user.privileges().contains(Privileges::SYSTEM) {
            return Err(refused());
        }
        if signed.node != self.node() {
            return Err(failure("the command is signed for another node"));
        }
        if !self.redeem(&signed.challenge) {
            return Err(failure(
                "the challenge is unknown, used or too old; ask for a new one",
            ));
        }
        Ok((uid, user.name.to_string()))
    }

    /// Checks that the configuration lets the command through.
    fn allow(&self, command: &Command) -> Result<(), Failure> {
        let (allowed, setting) = match command {
            Command::Stop => (self.allowed.stop, "security.enable_stop"),
            Command::PurgeAll => (self.allowed.purge_all, "security.enable_purge_all"),
            Command::RotateNode
            | Command::IssueCertificate(_)
            | Command::CaCandidate
            | Command::CaInstall { .. }
            | Command::CaProve { .. }
            | Command::CaCutOver { .. }
            | Command::CaAbandon { .. }
            | Command::StoreMove { .. }
            | Command::AlertTest { .. } => return Ok(()),
        };
        if allowed {
            return Ok(());
        }
        Err(failure(format!(
            "this node does not take that command: {setting} is false in its configuration"
        )))
    }
}

/// Opens the control socket at `path`.
pub fn bind(path: &Path) -> Result<UnixListener, ControlError> {
    listen(path).map_err(|source| ControlError {
        path: path.to_owned(),
        source,
    })
}

/// Binds in a directory that nobody else can enter, and moves the socket into its place when its
/// mode is right.
fn listen(path: &Path) -> std::io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt as _;
    let nook = nook(path.parent().unwrap_or_else(|| Path::new(".")))?;
    let fresh = nook.path().join("s");
    let listener = UnixListener::bind(&fresh)?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&fresh, path)?;
    Ok(listener)
}

/// A directory for us alone from the first moment, whatever the umask.
fn nook(dir: &Path) -> std::io::Result<tempfile::TempDir> {
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    let mut builder = tempfile::Builder::new();
    builder.prefix(".s").permissions(private).tempdir_in(dir)
}

fn failure(error: impl Into<String>) -> Failure {
    Failure {
        error: error.into(),
        stale: false,
    }
}

/// Why a request was not done, with its status.
pub(crate) struct Refused(StatusCode, Failure);

impl Refused {
    pub(crate) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self(status, failure(error))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}

impl From<AppendError> for Refused {
    fn from(error: AppendError) -> Self {
        let (code, stale) = match &error {
            AppendError::Refused(Refusal::NotNext { .. } | Refusal::OtherChain { .. }) => {
                (StatusCode::CONFLICT, true)
            }
            AppendError::TooOften { .. } => (StatusCode::TOO_MANY_REQUESTS, false),
            AppendError::Refused(_) | AppendError::Ahead { .. } | AppendError::IssuingCa(_) => {
                (StatusCode::FORBIDDEN, false)
            }
            AppendError::NoQuorum
            | AppendError::Unknown
            | AppendError::Forked(_)
            | AppendError::Store(_)
            | AppendError::Stopping => (StatusCode::SERVICE_UNAVAILABLE, false),
        };
        Self(
            code,
            Failure {
                error: error.to_string(),
                stale,
            },
        )
    }
}

async fn head(Shared(control): Shared<Control>) -> Json<HeadReply> {
    Json(control.head())
}

#[derive(Deserialize)]
struct Since {
    from: u64,
}

async fn entries(
    Shared(control): Shared<Control>,
    Query(query): Query<Since>,
) -> Result<Bytes, Refused> {
    let read = tokio::task::spawn_blocking(move || control.ledger.entries(query.from, PAGE)).await;
    let unavailable = |error: String| Refused(StatusCode::SERVICE_UNAVAILABLE, failure(error));
    let entries = read
        .map_err(|error| unavailable(error.to_string()))?
        .map_err(|error| unavailable(error.to_string()))?;
    Ok(entries.concat().into())
}

async fn append(Shared(control): Shared<Control>, body: Bytes) -> Result<Json<HeadReply>, Refused> {
    control.append(body.to_vec()).await
}

async fn status(Shared(control): Shared<Control>) -> Json<Status> {
    Json((control.status)())
}

async fn reload(Shared(control): Shared<Control>) -> Json<Done> {
    control.reload.notify_one();
    Json(Done {
        message: "the user list and the certificates are read again".to_owned(),
        data: None,
    })
}

async fn challenge(
    Shared(control): Shared<Control>,
    caller: Option<Extension<CallerKey>>,
) -> Result<Json<Challenge>, Refused> {
    let caller = caller.and_then(|Extension(CallerKey(key))| key);
    let node = control.node();
    let challenge = control
        .new_challenge(caller)
        .map_err(|failure| Refused(StatusCode::SERVICE_UNAVAILABLE, failure))?;
    Ok(Json(Challenge { challenge, node }))
}

async fn command(
    Shared(control): Shared<Control>,
    Json(signed): Json<SignedCommand>,
) -> Result<Json<Done>, Refused> {
    let command = signed.read().map_err(|error| {
        let unknown = format!("the command can't be read: {error}");
        Refused(StatusCode::BAD_REQUEST, failure(unknown))
    })?;
    let (uid, author) = control
        .permit(&signed, &command)
        .inspect_err(|failure| tracing::warn!(command = command.name(), uid = signed.uid, reason = %failure.error, "command refused"))
        .map_err(|failure| Refused(StatusCode::FORBIDDEN, failure))?;
    tracing::info!(command = command.name(), author, "command accepted");
    let (done, answer) = oneshot::channel();
    let permitted = Permitted {
        command,
        author,
        uid,
        done,
    };
    let stopping = || {
        Refused(
            StatusCode::SERVICE_UNAVAILABLE,
            failure("the daemon is stopping"),
        )
    };
    let sent = control.commands.send(permitted).await;
    sent.map_err(|_| stopping())?;
    match answer.await {
        Ok(Ok(done)) => Ok(Json(done)),
        Ok(Err(error)) => Err(Refused(StatusCode::SERVICE_UNAVAILABLE, failure(error))),
        Err(_) => Err(stopping()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Between the making of the socket and its mode 0600, others would connect where the umask lets them.
    #[test]
    fn the_sockets_first_place_is_private_under_any_umask() {
        use std::os::unix::fs::MetadataExt as _;
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let umask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
        if umask.unwrap().trim() == "0000" {
            let dir = tempfile::tempdir().unwrap();
            let nook = nook(dir.path()).unwrap();
            let found = std::fs::metadata(nook.path()).unwrap();
            assert_eq!(found.mode() & 0o7777, 0o700);
            return;
        }
        // The umask is the whole process's: once more in one of our own.
        let name = "control::tests::the_sockets_first_place_is_private_under_any_umask";
        let again = std::process::Command::new("/bin/sh")
            .args(["-c", "umask 0 && exec \"$0\" --exact \"$1\""])
            .arg(std::env::current_exe().unwrap())
            .arg(name)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&again.stdout);
        assert!(
            again.status.success() && told.contains("1 passed"),
            "{told}"
        );
    }
}
