//! A node that waits to be added: it says who it is, and takes the ledger of a cluster that knows the
//! secret which it was given.
//!
//! ```text
//!   GET /v1/identity   anyone
//!   POST /v1/adopt     checked: the chain verifies from its genesis, names this node's key as a
//!                      member and the caller's key as one, and the cluster's secret is ours
//! ```
//!
//! The cluster key comes with the chain, from nobody that the node knows. What vouches for it is the
//! secret: only who knows it could have derived the key that the chain holds for it.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request, State as Shared};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use http_body_util::BodyExt as _;
use palisade_keys::{PublicKey, SecretKey, Zeroizing};
use palisade_ledger::{Refusal, SplitError, Stale, State, Verified, split, verify, verify_genesis};
use palisade_link::api::{Adopt, Done, Identity, decode, path};
use tokio::sync::{Mutex, Notify};

use super::JoinError;
use super::chain::store;
use crate::api::{CallerAddress, CallerKey, neighbourhood};
use crate::control::Refused;
use crate::files;
use crate::layout::Layout;

/// Bytes of the largest ledger that is taken so: some 200,000 entries, in base64.
const MAX_ADOPT_BYTES: usize = 128 * 1024 * 1024;

/// Why a ledger was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotOurs {
    /// It can't be read.
    #[error("this is no ledger")]
    Form,
    /// It is no sequence of entries.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// It does not verify.
    #[error("the ledger does not verify: {0}")]
    Refused(#[from] Refusal),
    /// Verified entries did not fit together; they always do.
    #[error(transparent)]
    Stale(#[from] Stale),
    /// It is empty.
    #[error("the ledger is empty")]
    Empty,
    /// The ledger has not (or no longer) this node's key.
    #[error("the ledger does not name this node as a member")]
    NotNamed,
    /// The caller is none of its members.
    #[error("the ledger does not name you as a member")]
    NotMember,
    /// The secret is another.
    #[error(
        "the cluster does not know this node's secret: name the cluster's secret to palisade init"
    )]
    OtherSecret,
}

/// What a waiting node needs to judge a ledger.
pub struct Waiting {
    /// Where it lives.
    pub layout: Layout,
    /// Its own key.
    pub key: PublicKey,
    /// What it says of itself.
    pub identity: Identity,
    /// The cluster's secret, as its operator gave it.
    pub secret: Zeroizing<String>,
}

impl Waiting {
    /// The secret that lies in the node's directory.
    pub fn read_secret(layout: &Layout) -> Result<Zeroizing<String>, JoinError> {
        let text = files::read_private(&layout.join_secret())?;
        Ok(Zeroizing::new(text.trim().to_owned()))
    }

    /// The routes of a waiting node. `adopted` is told when it waits no longer.
    pub fn router(self, adopted: Arc<Notify>) -> Router {
        let door = WaitingDoor {
            identity: self.identity.clone(),
            waiting: Arc::new(Mutex::new(Some(self))),
            adopted,
        };
        // Before the body: what waits its turn is not read.
        let one = from_fn_with_state(Arc::<Turns>::default(), one_at_a_time);
        Router::new()
            .route(path::ADOPT, post(take).layer(one))
            .route(path::IDENTITY, get(identity))
            .layer(DefaultBodyLimit::max(MAX_ADOPT_BYTES))
            .fallback(|| async { Refused::new(StatusCode::FORBIDDEN, WAITS) })
            .with_state(door)
    }
}

/// Ledgers that may be on their way at once, each from another address: what they take of memory.
const MAX_TURNS: usize = 4;

/// How long the next part of a ledger may take to come.
const SILENT: Duration = Duration::from_secs(5);

/// For a ledger to come and to be judged; a connection has no longer here, either.
const TAKE_WITHIN: Duration = Duration::from_mins(1);

/// What a waiting node says while it looks at a ledger from that address, or at many.
const BUSY: &str = "this node looks at another ledger just now; try again in a moment";

/// What a waiting node says to everything else.
const WAITS: &str = "this node waits to be added to a cluster: palisade node add, at a member";

#[derive(Clone)]
struct WaitingDoor {
    identity: Identity,
    /// One ledger is looked at at a time: deriving the key is work.
    waiting: Arc<Mutex<Option<Waiting>>>,
    adopted: Arc<Notify>,
}

/// Who is sending a ledger just now, by address. Who is silent, slow or many keeps nobody else out: there
/// is one place for an address, and a connection that says nothing loses its own.
#[derive(Default)]
struct Turns(std::sync::Mutex<HashSet<IpAddr>>);

/// A place; given back when dropped.
struct Turn {
    turns: Arc<Turns>,
    address: IpAddr,
}

impl Turns {
    fn take(self: &Arc<Self>, address: IpAddr) -> Option<Turn> {
        let address = neighbourhood(address);
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.len() >= MAX_TURNS || !taken.insert(address) {
            return None;
        }
        drop(taken);
        let turns = Arc::clone(self);
        Some(Turn { turns, address })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut taken = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.remove(&self.address);
    }
}

/// Lets one caller with a key through for each address, with a time limit; the others come again.
async fn one_at_a_time(
    Shared(turns): Shared<Arc<Turns>>,
    Extension(CallerKey(caller)): Extension<CallerKey>,
    Extension(CallerAddress(address)): Extension<CallerAddress>,
    request: Request,
    next: Next,
) -> Response {
    if caller.is_none() {
        let refused = NotOurs::NotMember.to_string();
        return Refused::new(StatusCode::FORBIDDEN, refused).into_response();
    }
    let Some(_turn) = turns.take(address) else {
        return Refused::new(StatusCode::SERVICE_UNAVAILABLE, BUSY).into_response();
    };
    let slow = || Refused::new(StatusCode::REQUEST_TIMEOUT, "this takes too long").into_response();
    let whole = async {
        let (head, body) = request.into_parts();
        let Some(body) = read(body).await else {
            return slow();
        };
        next.run(Request::from_parts(head, body.into())).await
    };
    match tokio::time::timeout(TAKE_WITHIN, whole).await {
        Ok(response) => response,
        Err(_) => slow(),
    }
}

/// Reads a body, as long as it comes: a caller who falls silent has his place no longer.
async fn read(mut body: Body) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let frame = tokio::time::timeout(SILENT, body.frame()).await.ok()?;
        let Some(frame) = frame else { return Some(all) };
        if let Ok(data) = frame.ok()?.into_data() {
            if all.len().saturating_add(data.len()) > MAX_ADOPT_BYTES {
                return None;
            }
            all.extend_from_slice(&data);
        }
    }
}

async fn identity(Shared(door): Shared<WaitingDoor>) -> Json<Identity> {
    Json(door.identity)
}

async fn take(
    Shared(door): Shared<WaitingDoor>,
    Extension(CallerKey(caller)): Extension<CallerKey>,
    body: Bytes,
) -> Result<Json<Done>, Refused> {
    let refused = |status, error: &dyn std::fmt::Display| {
        tracing::warn!(reason = %error, "a ledger was refused");
        Refused::new(status, error.to_string())
    };
    let caller = caller.ok_or_else(|| refused(StatusCode::FORBIDDEN, &NotOurs::NotMember))?;
    let adopt: Adopt = serde_json::from_slice(&body)
        .map_err(|_| refused(StatusCode::BAD_REQUEST, &NotOurs::Form))?;
    drop(body);
    let mut guard = door.waiting.lock_owned().await;
    let adopted = door.adopted;
    let taken = tokio::task::spawn_blocking(move || {
        let Some(waiting) = guard.as_ref() else {
            // Somebody else was faster; the node is a member.
            return Ok(());
        };
        adopt_into(waiting, &caller, &adopt)?;
        *guard = None;
        // Here, because the caller may be gone before he hears of it.
        adopted.notify_one();
        Ok::<_, PathOr>(())
    });
    match taken.await {
        Ok(Ok(())) => {}
        Ok(Err(PathOr::NotOurs(error))) => return Err(refused(StatusCode::FORBIDDEN, &error)),
        Ok(Err(PathOr::Join(error))) => {
            return Err(refused(StatusCode::SERVICE_UNAVAILABLE, &error));
        }
        Err(error) => return Err(refused(StatusCode::SERVICE_UNAVAILABLE, &error)),
    }
    Ok(Json(Done {
        message: "the node is a member now".to_owned(),
        data: None,
    }))
}

#[derive(Debug, thiserror::Error)]
enum PathOr {
    #[error(transparent)]
    NotOurs(#[from] NotOurs),
    #[error(transparent)]
    Join(#[from] JoinError),
}

fn adopt_into(waiting: &Waiting, caller: &PublicKey, message: &Adopt) -> Result<(), PathOr> {
    let cluster = message.cluster_public_key.parse();
    let cluster: PublicKey = cluster.map_err(|_| NotOurs::Form)?;
    let (entries, _) = adopt(&waiting.key, &waiting.secret, caller, &cluster, message)?;
    store(&waiting.layout, &cluster, &entries)?;
    // It has served its purpose, and the directory is a member's now.
    let path: PathBuf = waiting.layout.join_secret();
    if let Err(error) = std::fs::remove_file(&path) {
        tracing::warn!(path = %path.display(), %error, "the cluster's secret could not be removed");
    }
    Ok(())
}

/// Judges a ledger that `caller` gives to the waiting node whose key is `own`.
pub fn adopt(
    own: &PublicKey,
    secret: &str,
    caller: &PublicKey,
    cluster: &PublicKey,
    message: &Adopt,
) -> Result<(Vec<Verified>, State), NotOurs> {
    let mut chain: Option<(State, Vec<Verified>)> = None;
    for page in &message.entries {
        let page = decode(page).ok_or(NotOurs::Form)?;
        for bytes in split(&page)? {
            chain = Some(match chain {
                None => {
                    let (state, verified) = verify_genesis(bytes, cluster)?;
                    (state, vec![verified])
                }
                Some((mut state, mut entries)) => {
                    let verified = verify(&state, bytes)?;
                    state.apply(&verified)?;
                    entries.push(verified);
                    (state, entries)
                }
            });
        }
    }
    let (state, entries) = chain.ok_or(NotOurs::Empty)?;
    let is_member = |key: &PublicKey| state.node_by_key(key).is_some_and(|node| !node.pending);
    if !is_member(own) {
        return Err(NotOurs::NotNamed);
    }
    if !is_member(caller) {
        return Err(NotOurs::NotMember);
    }
    let derived = SecretKey::from_passphrase(secret, cluster.as_bytes());
    let derived = derived.map_err(|_| NotOurs::OtherSecret)?;
    if state.join_secret() != Some(&derived.public()) {
        return Err(NotOurs::OtherSecret);
    }
    Ok((entries, state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    async fn door(dir: &std::path::Path, caller: Option<PublicKey>) -> std::net::SocketAddr {
        doors(dir, caller, &["10.0.0.1"]).await[0]
    }

    /// A door for callers from each of these addresses.
    async fn doors(
        dir: &std::path::Path,
        caller: Option<PublicKey>,
        from: &[&str],
    ) -> Vec<std::net::SocketAddr> {
        let key = SecretKey::from_seed(Zeroizing::new([1; 32])).unwrap();
        let waiting = Waiting {
            layout: Layout::new(dir),
            key: key.public(),
            identity: Identity {
                key: key.public().to_string(),
                seal: String::new(),
                address: String::new(),
                hosts: Vec::new(),
                store: None,
                member: false,
                version: String::new(),
                cluster: None,
            },
            secret: Zeroizing::new("a secret that nobody guesses".to_owned()),
        };
        let router = waiting.router(Arc::new(Notify::new()));
        let mut doors = Vec::new();
        for address in from {
            let address = CallerAddress(address.parse().unwrap());
            let router = router
                .clone()
                .layer(Extension(address))
                .layer(Extension(CallerKey(caller)));
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            doors.push(listener.local_addr().unwrap());
            tokio::spawn(async move { axum::serve(listener, router).await });
        }
        doors
    }

    /// Begins to send a ledger of 8 bytes: the first of them.
    async fn begin(address: std::net::SocketAddr, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let text = format!("POST /v1/adopt HTTP/1.1\r\nhost: x\r\ncontent-length: 8\r\n\r\n{body}");
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    async fn status(stream: &mut TcpStream) -> String {
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        String::from_utf8(answer[9..].to_vec()).unwrap()
    }

    // Whoever reaches the node could have it hold as many bodies of 128 MiB as he sends.
    #[tokio::test]
    async fn a_second_ledger_is_turned_away_before_its_body_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let key = SecretKey::from_seed(Zeroizing::new([2; 32])).unwrap();
        let address = door(dir.path(), Some(key.public())).await;
        let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
        let answered = loop {
            let mut first = begin(address, "{").await;
            // Until the first has its turn, the next may get it: and then waits for its body in vain.
            loop {
                assert!(tokio::time::Instant::now() < deadline);
                let mut second = begin(address, "{").await;
                let answer = status(&mut second);
                if let Ok(status) = tokio::time::timeout(Duration::from_millis(200), answer).await {
                    assert_eq!(status, "503");
                    break;
                }
            }
            first.write_all(b"1234567").await.unwrap();
            let answered = status(&mut first).await;
            // On a machine that stood still meanwhile the first was silent for too long.
            if answered != "408" {
                break answered;
            }
        };
        assert_eq!(answered, "400");
        // The place is free again.
        let mut third = begin(address, "12345678").await;
        assert_eq!(status(&mut third).await, "400");
    }

    // A stranger who says nothing kept the member out for a minute, and then again.
    #[tokio::test]
    async fn who_is_silent_keeps_nobody_out() {
        let dir = tempfile::tempdir().unwrap();
        let key = SecretKey::from_seed(Zeroizing::new([2; 32])).unwrap();
        let doors = doors(dir.path(), Some(key.public()), &["10.0.0.1", "10.0.0.2"]).await;
        let mut silent = begin(doors[0], "{").await;
        // From elsewhere there is a place, at once.
        let mut other = begin(doors[1], "12345678").await;
        assert_eq!(status(&mut other).await, "400");
        // And the silent one loses his.
        assert_eq!(status(&mut silent).await, "408");
        let mut again = begin(doors[0], "12345678").await;
        assert_eq!(status(&mut again).await, "400");
    }

    #[tokio::test]
    async fn who_proves_no_key_sends_no_ledger() {
        let dir = tempfile::tempdir().unwrap();
        let address = door(dir.path(), None).await;
        let mut nobody = begin(address, "").await;
        assert_eq!(status(&mut nobody).await, "403");
    }
}
