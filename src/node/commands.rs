//! Commands whose author was checked, on their way to the part that carries them out.

use std::sync::Arc;

use palisade_daemon::ca::CaService;
use palisade_daemon::control::Permitted;
use palisade_daemon::layout::Layout;
use palisade_link::api::{Command, Done, StoreTarget};
use tokio::sync::{mpsc, oneshot};

use super::alerts::Alerts;
use super::doors::Shown;
use super::member::Member;
use super::store::Prepare;

/// Where commands come from and go to.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) postgres: mpsc::Sender<Permitted>,
    pub(super) alerts: Option<Alerts>,
    pub(super) ca: CaService,
    pub(super) member: Option<Member>,
    pub(super) layout: Layout,
    pub(super) shown: Arc<Shown>,
    pub(super) store: Option<mpsc::Sender<Prepare>>,
}

/// Carries commands on until the node stops. Each runs by itself: a long one keeps no other waiting.
pub(super) async fn run(mut permitted: mpsc::Receiver<Permitted>, parts: Parts) {
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            command = permitted.recv() => match command {
                Some(command) => drop(tasks.spawn(parts.clone().carry(command))),
                None => return,
            },
            Some(_) = tasks.join_next() => {}
        }
    }
}

impl Parts {
    async fn carry(self, permitted: Permitted) {
        let result = match &permitted.command {
            Command::Stop | Command::PurgeAll => {
                // The reconciler answers.
                drop(self.postgres.send(permitted).await);
                return;
            }
            Command::RotateNode => self.rotate().await,
            Command::StoreMove { target } => self.prepare(target.clone()).await,
            Command::AlertTest { name } => match &self.alerts {
                Some(alerts) => alerts.test(name).await,
                None => Err("this node is not in the ledger".to_owned()),
            },
            Command::IssueCertificate(_)
            | Command::CaCandidate
            | Command::CaInstall { .. }
            | Command::CaProve { .. }
            | Command::CaCutOver { .. }
            | Command::CaAbandon { .. } => {
                let done = self.ca.command(&permitted.command, permitted.uid).await;
                done.unwrap_or_else(|| Err("this is no command of the CA".to_owned()))
            }
        };
        // The asker may have hung up; what was done is in the log.
        drop(permitted.done.send(result));
    }

    /// Makes a store ready; the entry that names it is the asker's to sign.
    async fn prepare(&self, target: StoreTarget) -> Result<Done, String> {
        let store = self
            .store
            .as_ref()
            .ok_or("this node is not in the ledger")?;
        let (done, answer) = oneshot::channel();
        let sent = store.send(Prepare { target, done }).await;
        sent.map_err(|_| "the node is stopping")?;
        answer.await.map_err(|_| "the node is stopping")?
    }

    async fn rotate(&self) -> Result<Done, String> {
        let member = self
            .member
            .as_ref()
            .ok_or("this node is not in the ledger")?;
        let keys = member.rotate(&self.layout).await?;
        self.shown.show_identity()?;
        let fingerprint = keys.public().fingerprint().to_string();
        tracing::info!(fingerprint, "this node has new keys");
        let message = format!(
            "node {} has new keys; its fingerprint is {fingerprint}",
            member.id()
        );
        Ok(Done {
            message,
            data: Some(serde_json::json!({ "fingerprint": fingerprint })),
        })
    }
}
