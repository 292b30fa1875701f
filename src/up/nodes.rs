//! Several nodes of one cluster on one machine, in one process.
//!
//! ```text
//!   DIR          node 1, which began the cluster      gateway at the port that was asked for
//!   DIR/node-2   joined by the cluster's private key  gateway at the next one, or as near as there is room
//! ```

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use palisade_daemon::config::Config;
use palisade_daemon::layout::Layout;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::UpArgs;
use super::progress::Steps;
use crate::node::{self, NodeError, Options, Ports, Progress, Running, Sharing};

/// The nodes that are to run.
pub(super) struct Nodes {
    root: PathBuf,
    config: Config,
    cluster: String,
    count: u16,
}

impl Nodes {
    /// As many as were asked for, and all that there are.
    pub(super) fn new(layout: &Layout, config: Config, args: &UpArgs) -> Self {
        let root = layout.root().to_owned();
        let mut count = args.nodes;
        while root.join(format!("node-{}", count + 1)).exists() {
            count += 1;
        }
        Self {
            root,
            config,
            cluster: args.name.clone(),
            count,
        }
    }

    /// Starts them all: the first, and, as soon as it can be asked, one after the other joins. Each starts
    /// its PostgreSQL meanwhile.
    pub(super) async fn start(&self, steps: &Arc<Steps>) -> Result<Vec<Running>, NodeError> {
        let mut starting = JoinSet::new();
        let mut before: Option<oneshot::Receiver<SocketAddr>> = None;
        for nth in 0..self.count {
            let (ready, is_ready) = oneshot::channel();
            let progress: Progress = if nth == 0 {
                let steps = steps.clone();
                Arc::new(move |step: &str| steps.begin(step))
            } else {
                let name = nth + 1;
                Arc::new(move |step: &str| tracing::info!(node = name, "{step}"))
            };
            let after = before.replace(is_ready);
            starting.spawn(start_one(self.options(nth, ready), nth, after, progress));
        }
        let mut running = Vec::new();
        while let Some(started) = starting.join_next().await {
            let (nth, started) = started.map_err(|error| NodeError::Task(error.to_string()))?;
            if nth == 0 && self.count > 1 {
                steps.begin("Waiting for the other nodes");
            }
            match started {
                // The node before it failed, and says why.
                Err(NodeError::Interrupted) if nth > 0 => {}
                started => running.push((nth, started?)),
            }
        }
        running.sort_by_key(|(nth, _)| *nth);
        Ok(running.into_iter().map(|(_, running)| running).collect())
    }

    fn options(&self, nth: u16, ready: oneshot::Sender<SocketAddr>) -> Options {
        let mut config = self.config.clone();
        if nth > 0 {
            config.node.data_directory = self.root.join(format!("node-{}", nth + 1));
            config.security.user_list = None;
            for address in &mut config.gateway.listen {
                *address = node::after(*address, nth);
            }
            if Layout::new(&config.node.data_directory).is_initialized() {
                config.security.cluster_private_file = None;
            }
        }
        Options {
            config,
            cluster: self.cluster.clone(),
            ports: Ports::Free(nth),
            sharing: if self.count > 1 {
                Sharing::Managed
            } else {
                Sharing::AsItIs
            },
            ready: Some(ready),
        }
    }
}

/// Starts one node, once the one before can be asked. A node that is new joins there.
async fn start_one(
    mut options: Options,
    nth: u16,
    after: Option<oneshot::Receiver<SocketAddr>>,
    progress: Progress,
) -> (u16, Result<Running, NodeError>) {
    if let Some(after) = after {
        // One that failed says so itself.
        let Ok(address) = after.await else {
            return (nth, Err(NodeError::Interrupted));
        };
        if options.config.security.cluster_private_file.is_some() {
            options.config.node.join = vec![address.to_string()];
        }
    }
    (nth, node::start(options, progress).await)
}

/// Serves until a signal or a command stops each of them.
pub(super) async fn wait(running: Vec<Running>) -> Result<(), NodeError> {
    let mut serving = JoinSet::new();
    for running in running {
        serving.spawn(running.wait());
    }
    let mut result = Ok(());
    while let Some(ended) = serving.join_next().await {
        let ended = ended.map_err(|error| NodeError::Task(error.to_string()));
        if let Err(error) = ended.and_then(|ended| ended) {
            result = Err(error);
        }
    }
    result
}
