//! The etcd that the nodes run themselves, as this one sees it.
//!
//! ```text
//!   state, table --> follow(): certificate, own member (found, join, run, leave), and on the issuer the
//!                    users, rights and members of the whole
//! ```

use std::sync::Arc;
use std::time::Duration;

use palisade_agent::etcd::{
    Cluster, Config, OwnMember, Server, ServerState, Start, Wanted, own_member,
};
use palisade_daemon::ca::CaService;
use palisade_daemon::members::Table;
use palisade_ledger::{Node, NodeAddress, NodeId, State};
use palisade_link::api::StoreMember;
use tokio::time::Instant;

use super::files::{StoreFiles, root_identity};

/// For a member that was just started.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// For one that serves at once.
const SERVES_WITHIN: Duration = Duration::from_secs(3);
/// One after the other, members end their connections when a node was removed.
const STAGGER: Duration = Duration::from_secs(4);

/// What stays the same about this node's etcd.
pub(super) struct Fixed {
    pub(super) own: NodeId,
    pub(super) config: palisade_daemon::config::Config,
    pub(super) directory: std::path::PathBuf,
    pub(super) files: StoreFiles,
    pub(super) ca: CaService,
}

/// This node's member, if it has one, and what is known of the others.
pub(super) struct Managed {
    fixed: Arc<Fixed>,
    server: Option<Server>,
    members: Vec<StoreMember>,
    /// When the connections of this member are to be ended, because a node was removed.
    drop_at: Option<Instant>,
    known: Vec<NodeId>,
    /// Whether this node has founded the etcd, which holds nothing yet.
    founded: bool,
}

impl Managed {
    pub(super) fn new(fixed: Arc<Fixed>) -> Self {
        Self {
            fixed,
            server: None,
            members: Vec::new(),
            drop_at: None,
            known: Vec::new(),
            founded: false,
        }
    }

    /// The members, as etcd listed them last.
    pub(super) fn members(&self) -> &[StoreMember] {
        &self.members
    }

    /// Where a client finds it: the members, or whoever may be one.
    pub(super) fn endpoints(&self, state: &State) -> Vec<NodeAddress> {
        let mut found: Vec<NodeAddress> = self
            .members
            .iter()
            .filter(|member| !member.learner)
            .flat_map(|member| &member.client_urls)
            .filter_map(|url| url.strip_prefix("https://")?.parse().ok())
            .collect();
        if found.is_empty() {
            found = state
                .members()
                .filter_map(|node| Some(node.store.as_ref()?.client.clone()))
                .collect();
        }
        found.sort();
        // Its own member first, which is the nearest.
        let own = self.own_client(state);
        found.sort_by_key(|address| own.as_ref() != Some(address));
        found
    }

    fn own_client(&self, state: &State) -> Option<NodeAddress> {
        let node = state.node(self.fixed.own)?;
        Some(node.store.as_ref()?.client.clone())
    }

    /// Does what is to be done now; the text says what still waits.
    pub(super) async fn follow(&mut self, state: &State, table: &Table) -> Result<(), String> {
        let Some(config) = self.config(state) else {
            return Ok(());
        };
        self.keep_certificate(&config).await?;
        self.note_removals(state);
        if self.server.is_none() {
            self.begin(&config, state).await?;
        }
        self.look(&config, state).await?;
        self.reconcile(state, table).await?;
        self.drop_connections().await;
        Ok(())
    }

    /// Founds an etcd of which this node is the first member.
    pub(super) async fn found(&mut self, state: &State) -> Result<(), String> {
        let config = self.config(state);
        let config = config.ok_or("the ledger does not say where this node's etcd is to listen")?;
        self.keep_certificate(&config).await?;
        if self.server.is_none() {
            let start = if config.has_data() {
                Start::Again
            } else {
                Start::First
            };
            self.start(config, start).await?;
        }
        let server = self.server.as_ref().ok_or("etcd was not started")?;
        let ready = server.ready(READY_WITHIN).await;
        ready.map_err(|error| error.to_string())?;
        self.reconcile(state, &Table::default()).await
    }

    /// Stops the member; its data stays.
    pub(super) async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
    }

    /// What is wrong with the member, if anything.
    pub(super) fn trouble(&self) -> Option<String> {
        match &*self.server.as_ref()?.state().borrow() {
            ServerState::Down { reason } => Some(format!("this node's etcd is down: {reason}")),
            ServerState::Starting
            | ServerState::Serving
            | ServerState::Removed
            | ServerState::Stopped => None,
        }
    }

    fn config(&self, state: &State) -> Option<Config> {
        let Fixed {
            own,
            config,
            directory,
            files,
            ..
        } = &*self.fixed;
        let advertise = state.node(*own)?.store.clone()?;
        let listen = |at: std::net::SocketAddr, port: u16| std::net::SocketAddr::new(at.ip(), port);
        let managed = &config.store.managed;
        Some(Config {
            node: *own,
            cluster_key: *state.cluster_key(),
            directory: directory.clone(),
            listen_peer: listen(managed.peer, advertise.peer.port()),
            listen_client: listen(managed.client, advertise.client.port()),
            advertise,
            files: files.paths(),
            program: None,
            os_user: config.postgres.os_user.clone(),
        })
    }

    async fn keep_certificate(&self, config: &Config) -> Result<(), String> {
        let hosts = [&config.advertise.peer, &config.advertise.client];
        let mut names: Vec<String> = hosts.map(|address| address.host().to_owned()).to_vec();
        names.push(palisade_rights::STORE_HOST.to_owned());
        let Fixed { files, ca, .. } = &*self.fixed;
        files.keep(ca, &names).await?;
        // A human may have replaced it, too.
        files.renew()
    }

    /// Runs the member that there is, or finds out whether there is to be one.
    async fn begin(&mut self, config: &Config, state: &State) -> Result<(), String> {
        if config.has_data() {
            return self.start(config.clone(), Start::Again).await;
        }
        // Alone, this node is the first; else somebody else has been.
        if state.members().count() == 1 {
            return self.start(config.clone(), Start::First).await;
        }
        Ok(())
    }

    async fn start(&mut self, config: Config, start: Start) -> Result<(), String> {
        self.founded |= start == Start::First;
        let server = Server::start(config, start).await;
        let server = server.map_err(|error| error.to_string())?;
        // Without a majority it does not serve: that is no reason to wait longer.
        drop(server.ready(SERVES_WITHIN).await);
        self.server = Some(server);
        Ok(())
    }

    /// Whether this node has founded the etcd since this was asked last.
    pub(super) fn has_founded(&mut self) -> bool {
        std::mem::take(&mut self.founded)
    }

    /// Reads etcd's list of members, and does about our own what it says.
    async fn look(&mut self, config: &Config, state: &State) -> Result<(), String> {
        let leaf = self.fixed.files.leaf()?;
        let endpoints = self.endpoints(state);
        let mut cluster = Cluster::connect(&endpoints, state.cluster_key(), &leaf)
            .await
            .map_err(|error| error.to_string())?;
        let members = cluster.members().await.map_err(|error| error.to_string())?;
        match own_member(config, &members) {
            OwnMember::Run if self.server.is_none() => {
                self.start(config.clone(), Start::Again).await?;
            }
            OwnMember::Join if !self.is_joining() => {
                self.stop().await;
                config.clean().map_err(|error| error.to_string())?;
                self.start(config.clone(), Start::Join(members.clone()))
                    .await?;
            }
            OwnMember::Leave => {
                self.stop().await;
                config.clean().map_err(|error| error.to_string())?;
            }
            OwnMember::Lost => {
                return Err(
                    "etcd counts on this node, whose data is gone: restore its directory, or remove the node and join anew"
                        .to_owned(),
                );
            }
            OwnMember::Run | OwnMember::Join => {}
        }
        self.members = members;
        Ok(())
    }

    fn is_joining(&self) -> bool {
        self.server.as_ref().is_some_and(|server| {
            matches!(
                &*server.state().borrow(),
                ServerState::Starting | ServerState::Serving
            )
        })
    }

    /// On an issuer: users, rights and members of the whole.
    async fn reconcile(&mut self, state: &State, table: &Table) -> Result<(), String> {
        let Some(root) = root_identity(&self.fixed.ca) else {
            return Ok(());
        };
        let root = root?;
        let endpoints = self.endpoints(state);
        let mut cluster = Cluster::connect(&endpoints, state.cluster_key(), &root)
            .await
            .map_err(|error| error.to_string())?;
        let live = |node: &Node| {
            node.id == self.fixed.own || table.others.get(&node.id).is_some_and(|seen| seen.live)
        };
        let wanted = Wanted {
            nodes: state
                .members()
                .filter_map(|node| Some((node.id, node.store.clone()?, live(node))))
                .collect(),
            prefix: super::prefix(state),
        };
        let report = cluster
            .reconcile(&wanted)
            .await
            .map_err(|error| error.to_string())?;
        self.members = report.members;
        if let Some(waiting) = report.waiting {
            tracing::debug!(waiting, "etcd");
        }
        Ok(())
    }

    /// A watch that was begun is not asked for its right again: every member ends its connections once,
    /// one after the other, when a node was removed.
    fn note_removals(&mut self, state: &State) {
        let now: Vec<NodeId> = state.members().map(|node| node.id).collect();
        let gone = self.known.iter().any(|id| !now.contains(id));
        let place = now.iter().position(|id| *id == self.fixed.own);
        if gone && let Some(place) = place {
            let turn = u32::try_from(place).unwrap_or(u32::MAX).saturating_add(1);
            self.drop_at = Some(Instant::now() + STAGGER.saturating_mul(turn));
        }
        self.known = now;
    }

    async fn drop_connections(&mut self) {
        if self.drop_at.is_none_or(|at| Instant::now() < at) {
            return;
        }
        self.drop_at = None;
        if let Some(server) = &self.server {
            server.drop_connections().await;
        }
    }
}
