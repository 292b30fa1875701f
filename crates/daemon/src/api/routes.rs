//! The routes, and the check before each.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State as Shared};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use palisade_ledger::{NodeId, Uid};
use palisade_link::api::{
    CaProof, CertificateReply, CertificateRequest, Done, Hello, Identity, JOIN_HEADER, Myself, path,
};
use tokio::time::Instant;

use super::caller::{Who, access};
use super::listener::Session;
use crate::control::{Control, Refused};
use crate::join::{self, Admission, Joiner, NoEntry};
use crate::system;

/// What a service answers, or why it does not.
pub type Answer<T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send>>;

type Certificates = dyn Fn(NodeId, CertificateRequest) -> Answer<CertificateReply> + Send + Sync;
type Pem = dyn Fn() -> Result<Vec<u8>, String> + Send + Sync;
type CaProofs = dyn Fn(CaProof) -> Answer<Done> + Send + Sync;

/// Who answers behind the doors that the control socket does not have.
#[derive(Clone)]
pub struct Services {
    /// What this node says of itself to anyone.
    pub identity: Arc<dyn Fn() -> Identity + Send + Sync>,
    /// What it says to the other members.
    pub hello: Arc<dyn Fn() -> Hello + Send + Sync>,
    /// Signs a member's certificate.
    pub certificates: Arc<Certificates>,
    /// Proves that it works with a new issuing CA.
    pub ca_proofs: Arc<CaProofs>,
    /// The root's certificate.
    pub root: Arc<Pem>,
    /// The revocation lists.
    pub lists: Arc<Pem>,
    /// The metrics, as `OpenMetrics` text.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

/// What all requests share.
#[derive(Clone)]
struct Api {
    control: Control,
    services: Services,
    admission: Arc<Admission>,
    begun: Instant,
}

/// The key's owner, where he is a member node.
#[derive(Debug, Clone, Copy)]
struct Member(NodeId);

/// The key's owner, where he is a user.
#[derive(Debug, Clone, Copy)]
struct Caller(Uid);

impl Services {
    /// The routes over `control`, each behind its check.
    pub fn router(self, control: &Control) -> Router {
        let api = Api {
            services: self,
            admission: Arc::default(),
            begun: Instant::now(),
            control: control.clone(),
        };
        Router::new()
            .route(path::IDENTITY, get(identity))
            .route(path::HELLO, get(hello))
            .route(path::SELF, get(myself))
            .route(path::ENTRIES, post(append))
            .route(path::CERTIFICATE, post(certificate))
            .route(path::CA_PROVE, post(ca_prove))
            .route(path::CA_ROOT, get(root))
            .route(path::CA_LISTS, get(lists))
            .route(path::METRICS, get(metrics))
            .layer(DefaultBodyLimit::max(
                palisade_ledger::limits::MAX_ENTRY_BYTES,
            ))
            .with_state(api.clone())
            .merge(control.shared_routes())
            .layer(from_fn_with_state(api, check))
    }
}

/// Decides about a request by the state as it is now.
async fn check(
    Shared(api): Shared<Api>,
    Extension(session): Extension<Session>,
    mut request: Request,
    next: Next,
) -> Response {
    let uri_path = request.uri().path();
    let Some(access) = access(request.method().as_str(), uri_path) else {
        return Refused::new(StatusCode::NOT_FOUND, "there is no such door").into_response();
    };
    let state = api.control.ledger().now();
    let key = session.caller.key();
    let key = key.as_ref();
    let who = Who::of(&state, key);
    if let Who::Member(node) = who {
        let id = node.id;
        request.extensions_mut().insert(Member(id));
    }
    if let Who::User(user) = who {
        request.extensions_mut().insert(Caller(user.uid));
    }
    if access.admits(who) {
        return next.run(request).await;
    }
    let refused = if let Who::Pending(node) = who {
        NoEntry::Pending(node.id)
    } else if matches!(who, Who::User(_)) && access == super::Access::Readers {
        NoEntry::Ledger
    } else if access.is_for_joiners() {
        let header = request.headers().get(JOIN_HEADER);
        let admitted = api.admission.admit(
            &state,
            header.and_then(|header| header.to_str().ok()),
            join::Session {
                key,
                exporter: session.caller.exporter(),
                address: session.address,
            },
            api.begun.elapsed(),
            system::millis(),
        );
        match admitted {
            Ok(joiner) => {
                request.extensions_mut().insert(joiner);
                return next.run(request).await;
            }
            Err(refused) => refused,
        }
    } else {
        NoEntry::Unproved
    };
    tracing::warn!(
        who = who.name(), from = %session.address, door = request.uri().path(), reason = %refused,
        "refused at the API"
    );
    Refused::new(StatusCode::FORBIDDEN, refused.to_string()).into_response()
}

async fn identity(Shared(api): Shared<Api>) -> Json<Identity> {
    Json((api.services.identity)())
}

async fn hello(Shared(api): Shared<Api>) -> Json<Hello> {
    Json((api.services.hello)())
}

async fn myself(
    Shared(api): Shared<Api>,
    Extension(Caller(uid)): Extension<Caller>,
) -> Json<Myself> {
    let state = api.control.ledger().now();
    Json(Myself {
        uid: uid.get(),
        head: api.control.head(),
        time: state.time().0,
    })
}

/// Appends; for a joiner, his own joining alone.
async fn append(
    Shared(api): Shared<Api>,
    joiner: Option<Extension<Joiner>>,
    body: Bytes,
) -> Response {
    if let Some(Extension(joiner)) = &joiner {
        if let Err(refused) = joiner.check_entry(&body) {
            return Refused::new(StatusCode::FORBIDDEN, refused.to_string()).into_response();
        }
        tracing::info!(proof = ?joiner.kind(), "a node asks to join");
        // PostgreSQL has nothing to do with it.
        return api.control.append_only(body.to_vec()).await.into_response();
    }
    api.control.append(body.to_vec()).await.into_response()
}

async fn certificate(
    Shared(api): Shared<Api>,
    Extension(Member(id)): Extension<Member>,
    Json(request): Json<CertificateRequest>,
) -> Result<Json<CertificateReply>, Refused> {
    answer((api.services.certificates)(id, request).await)
}

async fn ca_prove(
    Shared(api): Shared<Api>,
    Json(proof): Json<CaProof>,
) -> Result<Json<Done>, Refused> {
    answer((api.services.ca_proofs)(proof).await)
}

async fn root(Shared(api): Shared<Api>) -> Result<Vec<u8>, Refused> {
    answer((api.services.root)()).map(|Json(pem)| pem)
}

async fn lists(Shared(api): Shared<Api>) -> Result<Vec<u8>, Refused> {
    answer((api.services.lists)()).map(|Json(pem)| pem)
}

fn answer<T>(result: Result<T, String>) -> Result<Json<T>, Refused> {
    result
        .map(Json)
        .map_err(|error| Refused::new(StatusCode::SERVICE_UNAVAILABLE, error))
}

async fn metrics(Shared(api): Shared<Api>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([("content-type", kind)], (api.services.metrics)()).into_response()
}
