//! Alarms of this node, and alerts of the cluster if this node is the master.
//!
//! ```text
//!   board, gateway, table of the others --look--> Desk --hello--> the master's Desk --due--> Sender
//! ```

use std::sync::Arc;
use std::time::Duration;

use palisade_daemon::alerts::{Desk, Due, Notice, SendError, Sender, Thresholds, Turn};
use palisade_daemon::config::Config;
use palisade_daemon::layout::Layout;
use palisade_daemon::ledger::{Ledger, LedgerEvent};
use palisade_daemon::members::{NodeEvent, Seen, Table};
use palisade_daemon::{files, system};
use palisade_ledger::Alert;
use palisade_link::api::{Alarm, AlarmKind, Done};
use palisade_link::seal::SealSecret;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::sync::Semaphore;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::MissedTickBehavior;

use super::member::Member;
use super::status::{Board, OTHER_LEDGERS};

/// How often is looked for what needs a human.
const EVERY: Duration = Duration::from_secs(1);

/// Alerts that are on their way at one time.
const MAX_SENDING: usize = 64;

/// What alerts need.
#[derive(Clone)]
pub(super) struct Alerts {
    desk: Desk,
    member: Member,
    ledger: Ledger,
    board: Board,
    config: Arc<palisade_daemon::config::Alerts>,
    sending: Arc<Semaphore>,
}

impl Alerts {
    /// The alerts of this node; the board reports to their desk from now on.
    pub(super) fn new(config: &Config, member: &Member, ledger: &Ledger, board: &Board) -> Self {
        let thresholds = Thresholds {
            refused_logins_per_minute: config.alerts.refused_logins_per_minute,
            certificate_days: config.alerts.certificate_days,
        };
        let told = Layout::new(&config.node.data_directory).told();
        let desk = Desk::new(member.id(), thresholds, Some(told));
        board.set_desk(&desk);
        Self {
            desk,
            member: member.clone(),
            ledger: ledger.clone(),
            board: board.clone(),
            config: Arc::new(config.alerts.clone()),
            sending: Arc::new(Semaphore::new(MAX_SENDING)),
        }
    }

    /// Looks and tells until the node stops.
    pub(super) async fn run(self) {
        let mut events = self.member.events();
        let mut ledger = self.ledger.events();
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Ok(NodeEvent::Down(node)) => self.desk.node(node, true),
                    Ok(NodeEvent::Back(node)) => self.desk.node(node, false),
                    Ok(NodeEvent::Master(_)) => {}
                    Err(RecvError::Lagged(_)) => self.look_at_nodes(),
                    Err(RecvError::Closed) => return,
                },
                event = ledger.recv() => match event {
                    Ok(event) => self.about_the_ledger(&event),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
                _ = ticks.tick() => self.look(),
            }
        }
    }

    /// The store was tampered with. Each thing that is told is an alarm of its own; that it was mended
    /// is in the log.
    fn about_the_ledger(&self, event: &LedgerEvent) {
        match event {
            LedgerEvent::Tampered { .. }
            | LedgerEvent::RolledBack { .. }
            | LedgerEvent::Forked { .. } => {
                let text = event.to_string();
                self.desk.happened(AlarmKind::Ledger, &text, &text);
            }
            // The first is looked for at each tick; the others are no trouble.
            LedgerEvent::QuorumLost { .. }
            | LedgerEvent::QuorumBack
            | LedgerEvent::Healed
            | LedgerEvent::Moved { .. } => {}
        }
    }

    /// Some news of nodes were missed: what is known of them now.
    fn look_at_nodes(&self) {
        let table = self.member.table().borrow().clone();
        for (id, seen) in &table.others {
            self.desk.node(*id, !seen.live);
        }
    }

    fn look(&self) {
        let state = self.ledger.now();
        self.look_at_the_store();
        if let Some(until) = self.board.certificate_until() {
            self.desk.certificate("server certificate", until);
        }
        self.desk.refused_logins(self.board.refused_logins());
        self.desk
            .forget(&|id| state.members().any(|node| node.id.get() == id));
        self.desk.end_what_is_over();
        let table = self.member.table().borrow().clone();
        self.compare_ledgers(&table);
        let mut others = Vec::new();
        for (id, seen) in &table.others {
            if let Some(hello) = &seen.hello {
                if table.master == Some(*id) {
                    self.desk.hear(&hello.told);
                }
                others.push((*id, hello.alarms.clone()));
            }
        }
        let due = if table.master == Some(self.member.id()) {
            self.desk.due(&others)
        } else if self.is_next(&table) {
            self.desk.late(&others)
        } else {
            Vec::new()
        };
        for due in due {
            self.tell(&due);
        }
    }

    /// Each node believes what it can verify, and a store whose history is destroyed can show two of them
    /// two chains, both signed. What the others say of their own heads shows it.
    fn compare_ledgers(&self, table: &Table) {
        let parted = |seen: &Seen| -> Option<bool> {
            let head = &seen.hello.as_ref()?.head;
            let parts = self.ledger.parts_from(head.seq, &head.hash);
            parts
                .inspect_err(|error| tracing::warn!(%error, "the ledger can't be read"))
                .ok()
        };
        let others = table.others.iter();
        let others = others.filter(|(_, seen)| parted(seen) == Some(true));
        let names: Vec<String> = others.map(|(id, _)| format!("node {id}")).collect();
        if names.is_empty() {
            self.board.solve(OTHER_LEDGERS);
        } else {
            let names = names.join(", ");
            let text = format!(
                "{names}: the ledger there is another one than this node's; compare `palisade ledger log` on both"
            );
            self.board.problem(OTHER_LEDGERS, text);
        }
    }

    fn look_at_the_store(&self) {
        let status = self.ledger.store();
        let status = status.borrow();
        let unknown = "the ledger takes no entries: no quorum";
        let lost = status.problem.as_deref().unwrap_or(unknown);
        self.desk.quorum((!status.quorum).then_some(lost));
    }

    /// Whether this node would be the master if the one that is were not there.
    fn is_next(&self, table: &Table) -> bool {
        let own = self.member.id();
        let before = table.others.iter().filter(|(id, _)| **id < own);
        before
            .filter(|(id, seen)| seen.live && table.master != Some(**id))
            .count()
            == 0
    }

    /// Tells everybody of the ledger's alerts of one alarm.
    fn tell(&self, due: &Due) {
        let state = self.ledger.now();
        let own = self.member.id().get();
        let notice = Notice::new(state.cluster(), own, &due.alarm, due.turn);
        tracing::warn!(
            kind = notice.kind,
            state = notice.state,
            node = notice.node,
            text = notice.text,
            "alert"
        );
        for alert in state.alerts() {
            let Ok(place) = self.sending.clone().try_acquire_owned() else {
                self.desk.unsent(&alert.name);
                tracing::error!(
                    alert = alert.name,
                    "too many alerts at once: this one is not sent"
                );
                continue;
            };
            let (alert, notice) = (alert.clone(), notice.clone());
            let (sender, desk) = (self.sender(), self.desk.clone());
            tokio::spawn(async move {
                let sent = match sender {
                    Ok(sender) => sender.send(&alert, &notice).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = sent {
                    desk.unsent(&alert.name);
                    tracing::error!(alert = alert.name, reason = %error, "an alert could not be sent");
                }
                drop(place);
            });
        }
    }

    /// Sends a test to one alert.
    pub(super) async fn test(&self, name: &str) -> Result<Done, String> {
        let state = self.ledger.now();
        let alert: Alert = state
            .alerts()
            .find(|alert| alert.name == name)
            .cloned()
            .ok_or_else(|| format!("there is no alert {name}"))?;
        let own = self.member.id().get();
        let alarm = Alarm {
            kind: AlarmKind::Test,
            node: own,
            subject: String::new(),
            since: system::millis().0,
            text: "this is a test of palisade alert test; nothing is the matter".to_owned(),
            over: true,
        };
        let notice = Notice::new(state.cluster(), own, &alarm, Turn::Happened);
        let sender = self.sender().map_err(|error| error.to_string())?;
        let sent = sender.once(&alert, &notice).await;
        // Why is in the log alone: else whoever may write alerts could look around behind the node's
        // firewall by them.
        if let Err(error) = sent {
            tracing::error!(alert = name, reason = %error, "a test of an alert could not be sent");
            return Err(format!(
                "the alert {name} was not sent; the log of node {own} says why"
            ));
        }
        Ok(Done {
            message: format!("the alert {name} was sent from node {own}"),
            data: None,
        })
    }

    /// With the keys as they are now: they may have been rotated.
    fn sender(&self) -> Result<Sender, SendError> {
        let keys = self.member.own().keys.load();
        let secret = SealSecret::from_text(&keys.seal.expose_text());
        let secret = secret.map_err(|error| SendError::new(error.to_string()))?;
        Sender::new(
            self.member.id(),
            secret,
            self.config.commands.clone(),
            self.roots()?,
        )
    }

    /// The authorities of `alerts.ca_file`, in DER.
    fn roots(&self) -> Result<Vec<Vec<u8>>, SendError> {
        let Some(path) = &self.config.ca_file else {
            return Ok(Vec::new());
        };
        let failed =
            |error: &dyn std::fmt::Display| SendError::new(format!("{}: {error}", path.display()));
        let text = files::read_text(path).map_err(|error| failed(&error))?;
        CertificateDer::pem_slice_iter(text.as_bytes())
            .map(|der| der.map(|der| der.to_vec()).map_err(|error| failed(&error)))
            .collect()
    }
}
