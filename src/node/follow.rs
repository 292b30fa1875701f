//! Files that a running node follows: the user list, and the server's certificate.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use palisade_daemon::author::ClusterAuthor;
use palisade_daemon::ledger::Ledger;
use palisade_daemon::pki::{Pki, PkiError, ServerLeaf};
use palisade_daemon::system;
use palisade_daemon::user_list::{Reading, UserList};
use palisade_gateway::TlsIdentity;
use tokio::sync::Notify;

use super::status::Board;

/// How often files are looked at.
const EVERY: Duration = Duration::from_millis(500);

/// What is followed, and who is told.
pub(super) struct Files {
    pub(super) ledger: Ledger,
    pub(super) users: Option<(UserList, ClusterAuthor)>,
    pub(super) pki: Pki,
    pub(super) leaf: ServerLeaf,
    pub(super) identity: Arc<ArcSwap<TlsIdentity>>,
    pub(super) hosts: Vec<String>,
    pub(super) board: Board,
    /// Whether the user list is `up`'s own, which says nothing of the other users.
    pub(super) own_list: bool,
    pub(super) reload: Arc<Notify>,
}

/// Follows the files until the task ends.
pub(super) async fn files(mut files: Files) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = files.reload.notified() => tracing::info!("reloading"),
        }
        files.follow_users().await;
        files.follow_certificate();
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
    fn follow_certificate(&mut self) {
        let replaced = self.pki.is_replaced(&self.leaf);
        if !replaced && !self.leaf.is_due(system::now()) {
            return;
        }
        let days = self.ledger.now().server_certificate_days();
        match self.load_certificate(days) {
            Ok(()) => {
                tracing::info!(until = %self.leaf.until, "the server's certificate was loaded");
                self.board.set_certificate(&self.leaf);
                self.board.solve("server certificate");
            }
            Err(error) => self.board.problem("server certificate", error),
        }
    }

    fn load_certificate(&mut self, days: u16) -> Result<(), String> {
        let text = |error: PkiError| error.to_string();
        let leaf = self.pki.server(&self.hosts, days).map_err(text)?;
        let identity = TlsIdentity::from_leaf(&leaf.leaf).map_err(|error| error.to_string())?;
        self.identity.store(Arc::new(identity));
        self.leaf = leaf;
        Ok(())
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
