//! A node that waits for an operator to add it to a cluster.

use std::sync::Arc;

use arc_swap::ArcSwap;
use palisade_daemon::api::{Bounds, Door};
use palisade_daemon::identity::{NodeKeys, Place};
use palisade_daemon::join::Waiting;
use palisade_daemon::layout::Layout;
use palisade_link::peer;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::error::NodeError;
use super::own;

/// Serves what a waiting node serves, until a member gave it the ledger. The listeners stay open.
pub(super) async fn serve(
    layout: &Layout,
    place: Place,
    api: &[TcpListener],
) -> Result<(), NodeError> {
    let keys = NodeKeys::load_or_create(layout)?;
    let identity = keys.certificate()?;
    let tls = Arc::new(ArcSwap::new(peer::server_config(&identity, None)?));
    let adopted = Arc::new(Notify::new());
    let waiting = Waiting {
        layout: layout.clone(),
        key: keys.public(),
        identity: own::identity(&keys, &place, None, false),
        secret: Waiting::read_secret(layout)?,
    };
    let door = Door::new(
        waiting.router(adopted.clone()),
        tls,
        None,
        Bounds::default(),
    );
    tracing::info!(
        fingerprint = %keys.public().fingerprint(),
        "waiting to be added: at a member say palisade node add {}", place.address
    );
    let mut doors = JoinSet::new();
    for listener in api {
        let listener = again(listener)?;
        doors.spawn(door.clone().serve(listener));
    }
    tokio::select! {
        () = adopted.notified() => {}
        () = super::until(super::signals()) => return Err(NodeError::Interrupted),
    }
    tracing::info!("this node was added to a cluster");
    // The answer is on its way: its connection ends by itself.
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    doors.shutdown().await;
    Ok(())
}

/// Another handle to a listener, so that the port is never given up.
fn again(listener: &TcpListener) -> Result<TcpListener, NodeError> {
    use std::os::fd::AsFd as _;
    let failed = |source| NodeError::Listen {
        address: listener
            .local_addr()
            .unwrap_or_else(|_| std::net::SocketAddr::from(([0, 0, 0, 0], 0))),
        source,
    };
    let handle = listener.as_fd().try_clone_to_owned().map_err(failed)?;
    TcpListener::from_std(std::net::TcpListener::from(handle)).map_err(failed)
}
