//! Files that a running node follows: the user list, and the server's certificate.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use palisade_daemon::author::ClusterAuthor;
use palisade_daemon::ca::CaService;
use palisade_daemon::ledger::Ledger;
use palisade_daemon::pki::ServerLeaf;
use palisade_daemon::user_list::{Reading, UserList};
use tokio::sync::Notify;

use super::status::Board;

/// How often files are looked at.
const EVERY: Duration = Duration::from_millis(500);

/// How often the CA looks after its lists, when the ledger does not change.
const DUTIES_EVERY: Duration = Duration::from_secs(30);

/// What is followed, and who is told.
pub(super) struct Files {
    pub(super) ledger: Ledger,
    pub(super) users: Option<(UserList, ClusterAuthor)>,
    pub(super) ca: CaService,
    pub(super) leaf: ServerLeaf,
    pub(super) board: Board,
    /// Whether the user list is `up`'s own, which says nothing of the other users.
    pub(super) own_list: bool,
    pub(super) reload: Arc<Notify>,
}

/// Follows the files until the task ends.
pub(super) async fn files(mut files: Files) {
    let mut state = files.ledger.state();
    let mut duties = tokio::time::interval(DUTIES_EVERY);
    duties.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = files.reload.notified() => tracing::info!("reloading"),
            _ = duties.tick() => files.do_duties().await,
            Ok(()) = state.changed() => files.do_duties().await,
        }
        files.follow_users().await;
        files.follow_certificate().await;
    }
}

impl Files {
    async fn follow_users(&mut self) {
        let Some((list, author)) = &mut self.users else {
            return;
        };
        match list.read(&self.ledger, author).await {
            Ok(None) => self.board.solve("user list"),
            Ok(Some(reading)) => {
                report(list.path(), &reading);
                self.board.solve("user list");
                if !self.own_list {
                    self.board.set_listed(reading.named);
                }
            }
            Err(error) => self.board.problem("user list", error.to_string()),
        }
    }

    /// Loads a certificate that was put in place by hand, and renews our own when it is due. What
    /// can't be used is refused, and the old one kept.
    async fn follow_certificate(&mut self) {
        match self.ca.follow_server(&self.leaf).await {
            Ok(None) => {}
            Ok(Some(leaf)) => {
                tracing::info!(until = %leaf.until, "the server's certificate was loaded");
                self.board.set_certificate(&leaf);
                self.board.solve("server certificate");
                self.leaf = leaf;
            }
            Err(error) => self.board.problem("server certificate", error.to_string()),
        }
    }

    /// What the CA does again and again.
    async fn do_duties(&self) {
        for (about, trouble) in self.ca.duties().await {
            match trouble {
                Some(trouble) => self.board.problem(about, trouble),
                None => self.board.solve(about),
            }
        }
    }
}

/// Logs what a reading of the user list did.
pub(super) fn report(path: &Path, reading: &Reading) {
    tracing::info!(
        "successfully loaded {} users from \"{}\"",
        reading.users,
        path.display()
    );
    if reading.appended > 0 {
        tracing::info!(
            users = reading.appended,
            "the user list had news for the ledger"
        );
    }
    for reason in &reading.refused {
        tracing::warn!(reason, "a user of the user list was not taken in");
    }
    if !reading.missing.is_empty() {
        tracing::info!(
            users = reading.missing.join(", "),
            "users of the ledger that the user list does not name; they stay"
        );
    }
}
