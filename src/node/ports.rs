//! Which ports a node takes: those of its configuration; or, where nobody chose any, the usual ones, and
//! others if somebody has them already.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};

use palisade_daemon::config::{Api, Config, ManagedStore};
use palisade_ledger::Node;
use tokio::net::{TcpListener, TcpSocket};

use super::error::NodeError;

/// From the usual port to the next one that is tried.
const STEP: u16 = 100;
/// The last one that is tried: the kernel takes those above for outgoing connections.
const LAST: u16 = 32_000;
/// From the ports of one node's etcd to those of the next.
const STORES_APART: u16 = 10;

/// Who decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ports {
    /// The configuration, to the letter.
    Configured,
    /// `palisade up`. The number counts the nodes of one machine, from 0: each has the ports that come next
    /// after those of the one before. What nobody chose is what the ledger says, or what is free.
    Free(u16),
    /// Nobody: nothing is served now.
    None,
}

/// Ports for servers that are started later: nobody else gets them as long as this value lives.
#[derive(Debug, Default)]
pub(super) struct Held {
    sockets: Vec<TcpSocket>,
}

impl Held {
    /// Takes a port without listening there.
    fn take(&mut self, address: SocketAddr) -> std::io::Result<()> {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        // Without SO_REUSEADDR nobody else may have the port, not even one who only holds it; with it the
        // server itself may listen beside us.
        socket.bind(address)?;
        socket.set_reuseaddr(true)?;
        self.sockets.push(socket);
        Ok(())
    }
}

/// Opens the gateway's door. A port that somebody asked for is that one or none.
pub(super) async fn gateway(config: &Config, ports: Ports) -> Result<Vec<TcpListener>, NodeError> {
    let is_asked_for = !matches!(ports, Ports::Free(1..));
    let mut listeners = Vec::new();
    for address in &config.gateway.listen {
        listeners.push(if is_asked_for {
            listen(*address).await?
        } else {
            listen_near(*address).await?
        });
    }
    Ok(listeners)
}

/// Opens the API's door. `known` is the node as the ledger has it.
pub(super) async fn api(
    config: &Config,
    ports: Ports,
    known: Option<&Node>,
) -> Result<Vec<TcpListener>, NodeError> {
    let nth = match ports {
        Ports::None => return Ok(Vec::new()),
        Ports::Free(nth) if config.api == Api::default() => {
            let usual = config.api.listen.first().map_or(0, SocketAddr::port);
            let port = known.map_or(usual.saturating_add(nth), |node| node.address.port());
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            return Ok(vec![listen_near(address).await?]);
        }
        Ports::Free(nth) => nth,
        Ports::Configured => 0,
    };
    let mut listeners = Vec::new();
    for address in &config.api.listen {
        listeners.push(listen(after(*address, nth)).await?);
    }
    Ok(listeners)
}

/// Settles where managed etcd is to listen.
pub(super) fn store(config: &mut Config, ports: Ports, known: Option<&Node>) -> Held {
    let mut held = Held::default();
    let Ports::Free(nth) = ports else {
        return held;
    };
    let is_chosen = config.store.managed != ManagedStore::default();
    let managed = &mut config.store.managed;
    let known = known.and_then(|node| node.store.as_ref());
    if let Some(store) = known.filter(|_| !is_chosen) {
        managed.peer.set_port(store.peer.port());
        managed.client.set_port(store.client.port());
    } else {
        for address in [&mut managed.peer, &mut managed.client] {
            *address = after(*address, nth.saturating_mul(STORES_APART));
        }
    }
    let is_settled = is_chosen || known.is_some();
    for address in [&mut managed.peer, &mut managed.client] {
        // Where it is settled and taken, etcd says so when it starts.
        let tried = tries(*address).take(if is_settled { 1 } else { usize::MAX });
        for there in tried {
            if held.take(there).is_ok() {
                *address = there;
                break;
            }
        }
    }
    held
}

/// The same address with a port that comes `count` later. Port 0 is any that is free.
pub(crate) fn after(mut address: SocketAddr, count: u16) -> SocketAddr {
    if address.port() != 0 {
        address.set_port(address.port().saturating_add(count));
    }
    address
}

/// The address, and those that are tried when it is taken.
fn tries(address: SocketAddr) -> impl Iterator<Item = SocketAddr> {
    let last = if address.port() <= LAST {
        LAST
    } else {
        u16::MAX
    };
    let ports = (address.port()..=last).step_by(usize::from(STEP));
    ports.map(move |port| SocketAddr::new(address.ip(), port))
}

/// Listens there, or as near as there is room.
async fn listen_near(address: SocketAddr) -> Result<TcpListener, NodeError> {
    for there in tries(address) {
        match listen(there).await {
            Err(NodeError::Listen { source, .. }) if source.kind() == ErrorKind::AddrInUse => {}
            listener => return listener,
        }
    }
    listen(address).await
}

async fn listen(address: SocketAddr) -> Result<TcpListener, NodeError> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|source| NodeError::Listen { address, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_testkit::free_ports;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    fn config() -> Config {
        Config::load(None, []).unwrap()
    }

    #[tokio::test]
    async fn a_taken_gateway_port_is_an_error_only_where_it_was_asked_for() {
        let port = free_ports(1).unwrap();
        let mut config = config();
        config.gateway.listen = vec![at(port)];
        let taken = listen(at(port)).await.unwrap();
        for asked_for in [Ports::Free(0), Ports::Configured] {
            let error = gateway(&config, asked_for).await.unwrap_err();
            assert!(matches!(error, NodeError::Listen { address, .. } if address == at(port)));
        }
        let other = gateway(&config, Ports::Free(1)).await.unwrap();
        let other = other[0].local_addr().unwrap();
        assert!(other.port() > port && (other.port() - port).is_multiple_of(STEP));
        drop(taken);
        for ports in [Ports::Free(0), Ports::Configured, Ports::Free(1)] {
            let there = gateway(&config, ports).await.unwrap();
            assert_eq!(there[0].local_addr().unwrap(), at(port));
        }
    }

    #[tokio::test]
    async fn nodes_of_one_machine_get_ports_of_their_own() {
        // Whoever has the usual ones on this machine: 20 nodes find others.
        let mut helds = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for nth in (0..10).chain(0..10) {
            let mut config = config();
            helds.push(store(&mut config, Ports::Free(nth), None));
            let managed = config.store.managed;
            assert!(seen.insert(managed.peer) && seen.insert(managed.client));
        }
        assert!(helds.iter().all(|held| held.sockets.len() == 2));
    }

    #[tokio::test]
    async fn chosen_ports_are_counted_on_from_node_to_node() {
        let first = free_ports(3).unwrap();
        let mut config = config();
        config.api.listen = vec![at(first)];
        let mut doors = Vec::new();
        for nth in 0..3 {
            doors.extend(api(&config, Ports::Free(nth), None).await.unwrap());
            let bound = doors.last().unwrap().local_addr().unwrap();
            assert_eq!(bound, at(first + nth));
        }
        assert!(api(&config, Ports::Configured, None).await.is_err());
        config.api.listen = vec![at(0)];
        api(&config, Ports::Free(2), None).await.unwrap();
        config.store.managed.peer = at(first);
        store(&mut config, Ports::Free(2), None);
        assert_eq!(config.store.managed.peer, at(first + 2 * STORES_APART));
    }

    #[tokio::test]
    async fn a_held_port_is_for_the_server_alone() {
        let port = free_ports(1).unwrap();
        let mut held = Held::default();
        held.take(at(port)).unwrap();
        assert!(held.take(at(port)).is_err(), "held twice");
        // Not a second one either, who would have to wait for its end.
        let server = listen(at(port)).await.unwrap();
        assert!(held.take(at(port)).is_err());
        drop((held, server));
        Held::default().take(at(port)).unwrap();
    }
}
