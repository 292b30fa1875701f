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

use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State as Shared};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use palisade_keys::{PublicKey, SecretKey, Zeroizing};
use palisade_ledger::{Refusal, SplitError, Stale, State, Verified, split, verify, verify_genesis};
use palisade_link::api::{Adopt, Done, Identity, decode, path};
use tokio::sync::{Mutex, Notify};

use super::client::{JoinError, store};
use crate::api::CallerKey;
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
        Router::new()
            .route(path::IDENTITY, get(identity))
            .route(path::ADOPT, post(take))
            .layer(DefaultBodyLimit::max(MAX_ADOPT_BYTES))
            .fallback(|| async { Refused::new(StatusCode::FORBIDDEN, WAITS) })
            .with_state(door)
    }
}

/// What a waiting node says to everything else.
const WAITS: &str = "this node waits to be added to a cluster: palisade node add, at a member";

#[derive(Clone)]
struct WaitingDoor {
    identity: Identity,
    /// One ledger is looked at at a time: deriving the key is work.
    waiting: Arc<Mutex<Option<Waiting>>>,
    adopted: Arc<Notify>,
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
    let taken = tokio::task::spawn_blocking(move || {
        let Some(waiting) = guard.as_ref() else {
            // Somebody else was faster; the node is a member.
            return Ok(());
        };
        adopt_into(waiting, &caller, &adopt)?;
        *guard = None;
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
    door.adopted.notify_one();
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
