//! "A matrix test, generated over every flag, with and without it, ... inside and outside a transaction, as
//! the user's own session: the operation passes exactly when it should."
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test"
)]

mod common;

use common::matrix::{self, Blocks};
use common::{Bench, Session, state};

#[tokio::test]
async fn straight_on_the_socket() {
    let (steps, names) = matrix::users();
    let state = state(&steps);
    let mut bench = Bench::with(&state).await;
    let root = bench.log_in("root").await;
    let endpoint = bench.endpoint.clone();
    let way = |name: String| {
        let endpoint = &endpoint;
        let session = async move {
            Session::open(endpoint, &name)
                .await
                .map_err(|error| error.to_string())
        };
        Box::pin(session) as std::pin::Pin<Box<dyn Future<Output = _>>>
    };
    let (cases, wrong) = matrix::run(&state, &names, &root, &way, Blocks::Free).await;
    assert!(
        wrong.is_empty(),
        "{} of {cases}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(cases > 1500, "{cases}");
    // What GRANT gave is drift, and does not last; all else left none.
    bench.agent.mend(&state).await.unwrap();
    let drift = bench.agent.check_drift(&state).await.unwrap();
    assert!(drift.is_clean(), "{drift}");
}
