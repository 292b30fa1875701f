//! The task that keeps PostgreSQL in line with the ledger, and carries out commands.

use std::sync::Arc;
use std::time::Duration;

use palisade_agent::Agent;
use palisade_daemon::control::Permitted;
use palisade_ledger::State;
use palisade_link::api::{Command, Done};
use tokio::sync::{Notify, mpsc, watch};

use super::status::Board;

/// How often PostgreSQL is compared with the ledger.
const DRIFT_EVERY: Duration = Duration::from_secs(10);
/// After a failure.
const RETRY: Duration = Duration::from_secs(1);

/// The task's wires.
pub(super) struct Reconciler {
    pub(super) agent: Agent,
    pub(super) state: watch::Receiver<Arc<State>>,
    pub(super) applied: watch::Sender<u64>,
    pub(super) permitted: mpsc::Receiver<Permitted>,
    /// Told when PostgreSQL's certificate files are others.
    pub(super) refresh: Arc<Notify>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) stopped: mpsc::Sender<()>,
    pub(super) board: Board,
}

/// Runs until the node stops, then stops PostgreSQL.
pub(super) async fn run(
    mut task: Reconciler,
    stopping: impl Future<Output = ()>,
    removed: impl Future<Output = ()>,
) {
    let mut stopping = std::pin::pin!(stopping);
    let mut removed = std::pin::pin!(removed);
    let mut drift = tokio::time::interval(DRIFT_EVERY);
    drift.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let changed = task.agent.changed();
    loop {
        tokio::select! {
            biased;
            () = &mut stopping => break,
            // Nobody is let in past the gateway either. PostgreSQL's data stays.
            () = &mut removed => {
                task.stop_postgres().await;
                stopping.await;
                task.stopped.send(()).await.ok();
                return;
            }
            Some(permitted) = task.permitted.recv() => task.command(permitted).await,
            Ok(()) = task.state.changed() => task.apply().await,
            () = changed.notified() => task.check().await,
            () = task.refresh.notified() => task.refresh().await,
            _ = drift.tick() => task.check().await,
        }
    }
    task.stop_postgres().await;
    task.stopped.send(()).await.ok();
}

impl Reconciler {
    /// Brings PostgreSQL in line with the ledger; tries again until it is.
    async fn apply(&mut self) {
        let state = self.state.borrow_and_update().clone();
        match self.agent.apply(&state).await {
            Ok(report) => {
                for step in report.steps {
                    tracing::debug!(step, "postgresql");
                }
                if report.sessions_ended > 0 {
                    tracing::info!(sessions = report.sessions_ended, "sessions ended");
                }
                self.board.set_applied(state.head().seq, report.missing);
                self.board.solve("postgresql");
                self.applied.send_replace(state.head().seq);
            }
            Err(error) => {
                self.board.problem("postgresql", error.to_string());
                tokio::time::sleep(RETRY).await;
                self.state.mark_changed();
            }
        }
    }

    /// Compares the whole of PostgreSQL with the ledger, and mends what differs.
    async fn check(&mut self) {
        if let Err(error) = self.compare().await {
            self.board.problem("postgresql", error.to_string());
        } else {
            self.board.solve("postgresql");
        }
    }

    async fn compare(&mut self) -> Result<(), palisade_agent::Error> {
        if !self.agent.is_running() {
            tracing::error!("PostgreSQL ended by itself; starting it again");
            self.agent.start().await?;
        }
        let state = self.state.borrow().clone();
        let drift = self.agent.check_drift(&state).await?;
        for what in &drift.foreign {
            self.board.drift(what.clone(), false);
        }
        self.board.stands(&drift.foreign);
        if !drift.is_clean() {
            self.agent.mend(&state).await?;
            for what in drift.managed {
                self.board.drift(what, true);
            }
        }
        Ok(())
    }

    async fn stop_postgres(&mut self) {
        if let Err(error) = self.agent.stop().await {
            tracing::error!(%error, "PostgreSQL could not be stopped");
        }
    }

    /// Has PostgreSQL take up its certificate files.
    async fn refresh(&mut self) {
        let state = self.state.borrow().clone();
        match self.agent.mend(&state).await {
            Ok(report) => {
                for step in report.steps {
                    tracing::debug!(step, "postgresql");
                }
            }
            Err(error) => self.board.problem("postgresql", error.to_string()),
        }
    }

    async fn command(&mut self, permitted: Permitted) {
        let result = match permitted.command {
            Command::Stop => {
                self.stop.send_replace(true);
                Ok("the node stops".to_owned())
            }
            Command::PurgeAll => {
                let state = self.state.borrow().clone();
                let purged = self.agent.purge_all(&state).await;
                purged
                    .map(|dropped| format!("{} objects dropped", dropped.len()))
                    .map_err(|error| error.to_string())
            }
            Command::RotateNode
            | Command::IssueCertificate(_)
            | Command::CaCandidate
            | Command::CaInstall { .. }
            | Command::CaProve { .. }
            | Command::CaCutOver { .. }
            | Command::CaAbandon { .. }
            | Command::StoreMove { .. }
            | Command::AlertTest { .. } => Err("this is no command for PostgreSQL".to_owned()),
        };
        let result = result.map(|message| Done {
            message,
            data: None,
        });
        // The asker may have hung up; what was done is in the log.
        drop(permitted.done.send(result));
    }
}
