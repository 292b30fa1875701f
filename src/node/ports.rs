//! Which ports a node takes: those of its configuration; or, where nobody chose any, the usual ones, and
//! others if somebody has them already.

use std::net::{Ipv4Addr, SocketAddr};

use palisade_daemon::config::{Api, Config, ManagedStore};
use palisade_ledger::Node;
use tokio::net::TcpListener;

use super::error::NodeError;

/// Who decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ports {
    /// The configuration, to the letter.
    Configured,
    /// The ledger and what is free, as long as the configuration has the defaults: `palisade up`. The
    /// number counts the nodes of one machine, from 0: each has usual ports of its own.
    Free(u16),
    /// Nobody: nothing is served now.
    None,
}

/// Opens the API's door. `known` is the node as the ledger has it.
pub(super) async fn api(
    config: &Config,
    ports: Ports,
    known: Option<&Node>,
) -> Result<Vec<TcpListener>, NodeError> {
    match ports {
        Ports::None => return Ok(Vec::new()),
        Ports::Free(nth) if config.api == Api::default() => {
            let usual = config.api.listen.first().map_or(0, SocketAddr::port);
            let usual = usual.saturating_add(nth);
            let port = known.map_or(usual, |node| node.address.port());
            if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
                return Ok(vec![listener]);
            }
            let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let listener = TcpListener::bind(any).await;
            return Ok(vec![listener.map_err(|source| NodeError::Listen {
                address: any,
                source,
            })?]);
        }
        Ports::Free(_) | Ports::Configured => {}
    }
    let mut listeners = Vec::new();
    for address in &config.api.listen {
        let listener = TcpListener::bind(address).await;
        listeners.push(listener.map_err(|source| NodeError::Listen {
            address: *address,
            source,
        })?);
    }
    Ok(listeners)
}

/// Settles where managed etcd is to listen.
pub(super) fn store(config: &mut Config, ports: Ports, known: Option<&Node>) {
    let Ports::Free(nth) = ports else {
        return;
    };
    if config.store.managed != ManagedStore::default() {
        return;
    }
    let managed = &mut config.store.managed;
    if let Some(store) = known.and_then(|node| node.store.as_ref()) {
        managed.peer.set_port(store.peer.port());
        managed.client.set_port(store.client.port());
        return;
    }
    for address in [&mut managed.peer, &mut managed.client] {
        address.set_port(address.port().saturating_add(nth.saturating_mul(10)));
        if let Some(port) = free(*address) {
            address.set_port(port);
        }
    }
}

/// The port of this address if nobody has it, else one that nobody has.
fn free(address: SocketAddr) -> Option<u16> {
    let bound = std::net::TcpListener::bind(address)
        .or_else(|_| std::net::TcpListener::bind((address.ip(), 0)));
    let address = bound.and_then(|listener| listener.local_addr());
    address.ok().map(|address| address.port())
}
