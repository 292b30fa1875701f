//! The part of the state that is about nodes: who they are, who may join, where the ledger is kept,
//! what certificates there are and who is told of trouble.

use std::sync::Arc;

use palisade_keys::PublicKey;

use crate::alert::Alert;
use crate::certificate::{CertificateKind, Issued, Revocation};
use crate::entry::{Hash, Millis};
use crate::join::{NewToken, Proof, Token, TokenId};
use crate::limits::{KEEP_EXPIRED_MILLIS, MAX_ISSUED, MAX_TOKENS};
use crate::map::Map;
use crate::name::UserName;
use crate::node::{NewNode, Node, NodeId, StoreConfig};
use crate::state::{State, trim};

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Fleet {
    pub(crate) nodes: Map<NodeId, Arc<Node>>,
    /// The nodes by their keys.
    pub(crate) node_keys: Map<PublicKey, NodeId>,
    /// The highest id that was ever given.
    pub(crate) last_node: Option<NodeId>,
    pub(crate) tokens: Map<TokenId, Arc<Token>>,
    pub(crate) secret: Option<PublicKey>,
    pub(crate) store: Arc<StoreConfig>,
    pub(crate) store_entry: u64,
    pub(crate) issued: Map<Vec<u8>, Arc<Issued>>,
    /// What is in `issued` by common name, and by holder and end.
    pub(crate) issued_to: Map<(String, Vec<u8>), ()>,
    pub(crate) held: Map<(NodeId, Millis, Vec<u8>), ()>,
    pub(crate) revoked: Map<Vec<u8>, Arc<Revocation>>,
    pub(crate) alerts: Map<String, Arc<Alert>>,
    pub(crate) active_ca: Option<Hash>,
}

impl Fleet {
    pub(crate) fn add(&mut self, node: &NewNode, pending: bool, seq: u64) {
        self.last_node = Some(node.id);
        self.node_keys.insert(node.key, node.id);
        let node = Node {
            id: node.id,
            key: node.key,
            seal: node.seal,
            address: node.address.clone(),
            hosts: node.hosts.clone(),
            store: node.store.clone(),
            pending,
            changed: seq,
        };
        self.nodes.insert(node.id, Arc::new(node));
    }

    pub(crate) fn join(&mut self, node: &NewNode, proof: Proof, seq: u64) {
        let mut pending = false;
        if let Proof::Token(id) = proof
            && let Some(token) = self.tokens.get_mut(&id)
        {
            let token = Arc::make_mut(token);
            token.used_by = Some(node.id);
            pending = token.approval;
        }
        self.add(node, pending, seq);
    }

    pub(crate) fn update(&mut self, id: NodeId, seq: u64, edit: impl FnOnce(&mut Node)) {
        if let Some(node) = self.nodes.get_mut(&id) {
            let node = Arc::make_mut(node);
            let before = node.key;
            edit(node);
            node.changed = seq;
            if node.key != before {
                self.node_keys.remove(&before);
                self.node_keys.insert(node.key, id);
            }
        }
    }

    /// Takes a node away, with its certificates and what was sealed to it.
    pub(crate) fn remove(&mut self, id: NodeId, at: Millis) {
        if let Some(node) = self.nodes.remove(&id) {
            self.node_keys.remove(&node.key);
        }
        for serial in self.held_by(id, Millis(0)) {
            self.revoke(&serial, at, format!("node {id} was removed"));
        }
        let told = self
            .alerts
            .iter()
            .filter(|(_, alert)| alert.sealed.contains_key(&id));
        let names: Vec<String> = told.map(|(name, _)| name.clone()).collect();
        for name in names {
            if let Some(alert) = self.alerts.get_mut(&name) {
                Arc::make_mut(alert).sealed.remove(&id);
            }
        }
    }

    pub(crate) fn create(&mut self, token: &NewToken, now: Millis) {
        if self.tokens.len() >= MAX_TOKENS {
            self.tokens.retain(|_, token| !is_past(token.expires, now));
        }
        let token = Token {
            id: token.id,
            key: token.key,
            expires: token.expires,
            approval: token.approval,
            note: token.note.clone(),
            used_by: None,
            revoked: false,
        };
        self.tokens.insert(token.id, Arc::new(token));
    }

    pub(crate) fn revoke_token(&mut self, id: TokenId) {
        if let Some(token) = self.tokens.get_mut(&id) {
            Arc::make_mut(token).revoked = true;
        }
    }

    /// Puts a certificate into the inventory. What is worthless makes room for it.
    pub(crate) fn issue(&mut self, issued: &Issued, cas: &[Hash], now: Millis) {
        if self.issued.len() >= MAX_ISSUED {
            let revoked = self.revoked.clone();
            self.issued
                .retain(|_, issued| !is_worthless(issued, &revoked, cas, now));
            let left = &self.issued;
            self.issued_to
                .retain(|(_, serial), ()| left.contains_key(serial));
            self.held
                .retain(|(_, _, serial), ()| left.contains_key(serial));
        }
        let serial = issued.serial.clone();
        let name = common_name(&issued.subject).to_owned();
        self.issued_to.insert((name, serial.clone()), ());
        if let Some(holder) = issued.holder {
            self.held.insert((holder, issued.until, serial.clone()), ());
        }
        self.issued.insert(serial, Arc::new(issued.clone()));
    }

    /// The serial numbers of what a node holds that is good at `from` or later.
    fn held_by(&self, id: NodeId, from: Millis) -> Vec<Vec<u8>> {
        let all = self.held.from(&(id, from, Vec::new()));
        let its = all.take_while(|((holder, _, _), ())| *holder == id);
        its.map(|((_, _, serial), ())| serial.clone()).collect()
    }

    /// How many certificates a node holds that are good at `now`.
    pub(crate) fn good_ones_of(&self, id: NodeId, cas: &[Hash], now: Millis) -> usize {
        let serials = self.held_by(id, now);
        let good = |serial: &&Vec<u8>| {
            let issued = self.issued.get(*serial);
            issued.is_some_and(|issued| !is_worthless(issued, &self.revoked, cas, now))
        };
        serials.iter().filter(good).count()
    }

    /// Revokes the certificates of these kinds under a user's name.
    pub(crate) fn forget(
        &mut self,
        name: &UserName,
        kinds: &[CertificateKind],
        at: Millis,
        why: &str,
    ) {
        let name = name.as_str();
        let all = self.issued_to.from(&(name.to_owned(), Vec::new()));
        let his = all.take_while(|((other, _), ())| other == name);
        let serials: Vec<_> = his.map(|((_, serial), ())| serial.clone()).collect();
        for serial in serials {
            let issued = self.issued.get(&serial);
            if issued.is_some_and(|issued| kinds.contains(&issued.kind)) {
                self.revoke(&serial, at, why.to_owned());
            }
        }
    }

    /// The first revocation of a serial number stands, for ever: an entry's time proves nothing, and
    /// a revocation that is dropped too soon brings a certificate back to life.
    pub(crate) fn revoke(&mut self, serial: &[u8], at: Millis, reason: String) {
        let serial = trim(serial);
        if !self.revoked.contains_key(serial) {
            let until = self.issued.get(serial).map(|issued| issued.until);
            let revocation = Revocation { at, reason, until };
            self.revoked.insert(serial.to_vec(), Arc::new(revocation));
        }
    }

    /// Whether a further token is too many: the expired ones make room.
    pub(crate) fn is_full_of_tokens(&self, now: Millis) -> bool {
        let past = |token: &Arc<Token>| is_past(token.expires, now);
        self.tokens.len() >= MAX_TOKENS && !self.tokens.values().any(past)
    }

    /// Whether a further certificate is too many: the worthless ones make room.
    pub(crate) fn is_full_of_certificates(&self, cas: &[Hash], now: Millis) -> bool {
        let worthless = |issued: &Arc<Issued>| is_worthless(issued, &self.revoked, cas, now);
        self.issued.len() >= MAX_ISSUED && !self.issued.values().any(worthless)
    }
}

/// Whether the inventory may forget a certificate when it needs room: it is long past, it was revoked,
/// which is noted elsewhere, or the CA that signed it is gone.
fn is_worthless(
    issued: &Issued,
    revoked: &Map<Vec<u8>, Arc<Revocation>>,
    cas: &[Hash],
    now: Millis,
) -> bool {
    let rooted = issued.kind == CertificateKind::IssuingCa;
    is_past(issued.until, now)
        || revoked.contains_key(&issued.serial)
        || !(rooted || cas.contains(&issued.issuer))
}

/// A subject in the inventory is the common name, and further names behind commas. No user's name has one.
fn common_name(subject: &str) -> &str {
    subject.split(',').next().unwrap_or_default()
}

fn is_past(end: Millis, now: Millis) -> bool {
    end.0.saturating_add(KEEP_EXPIRED_MILLIS) < now.0
}

impl State {
    /// All nodes, those that wait for approval too, by id.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &Node> {
        self.fleet.nodes.values().map(AsRef::as_ref)
    }

    /// The nodes that are members: those that don't wait for approval, by id.
    pub fn members(&self) -> impl Iterator<Item = &Node> {
        self.nodes().filter(|node| !node.pending)
    }

    /// The node of this id.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.fleet.nodes.get(&id).map(AsRef::as_ref)
    }

    /// The node whose key this is now.
    #[must_use]
    pub fn node_by_key(&self, key: &PublicKey) -> Option<&Node> {
        self.fleet.node_keys.get(key).and_then(|id| self.node(*id))
    }

    /// The id that the next node gets. Ids ascend and are never given again.
    #[must_use]
    pub fn next_node_id(&self) -> NodeId {
        self.fleet.last_node.map_or(NodeId::FIRST, NodeId::next)
    }

    /// Whether a node of this id was removed.
    #[must_use]
    pub fn was_node_removed(&self, id: NodeId) -> bool {
        self.fleet.last_node.is_some_and(|last| id <= last) && self.node(id).is_none()
    }

    /// The enrollment tokens: also the used, the revoked and the expired ones, until there are too
    /// many.
    pub fn tokens(&self) -> impl ExactSizeIterator<Item = &Token> {
        self.fleet.tokens.values().map(AsRef::as_ref)
    }

    /// The token of this id.
    #[must_use]
    pub fn token(&self, id: TokenId) -> Option<&Token> {
        self.fleet.tokens.get(&id).map(AsRef::as_ref)
    }

    /// The key that the cluster secret gives; none if nobody may join by a secret.
    #[must_use]
    pub fn join_secret(&self) -> Option<&PublicKey> {
        self.fleet.secret.as_ref()
    }

    /// Where the cluster keeps its ledger.
    #[must_use]
    pub fn store(&self) -> &StoreConfig {
        &self.fleet.store
    }

    /// Sequence number of the entry that said so; 0 if none ever did.
    #[must_use]
    pub fn store_entry(&self) -> u64 {
        self.fleet.store_entry
    }

    /// The certificates that were issued, by serial number: also the expired ones, until there are too
    /// many.
    pub fn issued(&self) -> impl ExactSizeIterator<Item = &Issued> {
        self.fleet.issued.values().map(AsRef::as_ref)
    }

    /// The issued certificate with this serial number (big-endian).
    #[must_use]
    pub fn issued_by_serial(&self, serial: &[u8]) -> Option<&Issued> {
        self.fleet.issued.get(trim(serial)).map(AsRef::as_ref)
    }

    /// The serial numbers of the revoked certificates, without leading zeros, each with when and why.
    #[must_use]
    pub fn revocations(&self) -> impl ExactSizeIterator<Item = (&[u8], &Revocation)> {
        let all = self.fleet.revoked.iter();
        all.map(|(serial, revocation)| (serial.as_slice(), revocation.as_ref()))
    }

    /// Whether the certificate with this serial number (big-endian) was revoked.
    #[must_use]
    pub fn is_revoked(&self, serial: &[u8]) -> bool {
        self.fleet.revoked.contains_key(trim(serial))
    }

    /// The alerts, by name.
    pub fn alerts(&self) -> impl ExactSizeIterator<Item = &Alert> {
        self.fleet.alerts.values().map(AsRef::as_ref)
    }

    /// The alert of this name.
    #[must_use]
    pub fn alert(&self, name: &str) -> Option<&Alert> {
        self.fleet.alerts.get(name).map(AsRef::as_ref)
    }

    /// The issuing CA that signs leaf certificates, in DER: the one that was activated last and is
    /// still there, else the oldest. Adding a CA changes nothing until it is activated.
    #[must_use]
    pub fn active_ca(&self) -> Option<&[u8]> {
        let active = self.fleet.active_ca;
        let activated = self.issuing_cas().find(|der| Some(Hash::of(der)) == active);
        activated.or_else(|| self.issuing_cas().next())
    }
}
