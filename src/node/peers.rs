//! The other nodes, as this one's services need them: over links pinned to the ledger's keys.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use palisade_daemon::api::Answer;
use palisade_daemon::ca::Others;
use palisade_daemon::ledger::Ledger;
use palisade_daemon::members::{SharedIdentity, Table};
use palisade_daemon::pki::is_root;
use palisade_ledger::{Node, NodeId};
use palisade_link::api::{CaProof, CertificateReply, CertificateRequest, Done, path};
use palisade_link::client::{Client, ClientError};
use palisade_link::https::Connection;
use palisade_link::peer::Expect;
use tokio::sync::watch;

/// For a handshake.
const OPEN_WITHIN: Duration = Duration::from_secs(3);
/// For an answer that may need an append, or handshakes at all doors of a node.
const ANSWER_WITHIN: Duration = Duration::from_secs(40);

/// The ways to the other nodes.
#[derive(Clone)]
pub(super) struct Peers {
    pub(super) own: NodeId,
    pub(super) identity: SharedIdentity,
    pub(super) ledger: Ledger,
    pub(super) table: watch::Receiver<Arc<Table>>,
}

impl Peers {
    /// The other members, issuers first.
    fn by_use(&self) -> Vec<Node> {
        let state = self.ledger.now();
        let issuers = self.table.borrow().issuers();
        let mut others: Vec<Node> = state
            .members()
            .filter(|node| node.id != self.own)
            .cloned()
            .collect();
        let rank = |id: NodeId| issuers.iter().position(|issuer| *issuer == id);
        others.sort_by_key(|node| (rank(node.id).unwrap_or(usize::MAX), node.id));
        others
    }

    async fn open(&self, node: &Node) -> Result<Client, ClientError> {
        let identity = self.identity.load_full();
        let connection = Connection::open(
            &node.address.to_string(),
            &Expect::Node(node.key),
            Some(identity.leaf()),
            OPEN_WITHIN,
        )
        .await?;
        Ok(Client::https(connection.answer_within(ANSWER_WITHIN)))
    }

    async fn open_id(&self, id: NodeId) -> Result<Client, String> {
        let state = self.ledger.now();
        let node = state
            .node(id)
            .ok_or_else(|| format!("there is no node {id}"))?;
        self.open(node).await.map_err(|error| error.to_string())
    }

    /// The root's certificate, in PEM: it is the cluster key in another form, which is checked.
    pub(super) async fn root(&self) -> Result<Vec<u8>, String> {
        let mut failed = "there is no other node to ask".to_owned();
        for node in self.by_use() {
            let answer = match self.open(&node).await {
                Ok(client) => fetch(client, path::CA_ROOT).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(pem) if is_root(&pem, self.ledger.now().cluster_key()) => return Ok(pem),
                Ok(_) => failed = format!("node {}: it is not the cluster's", node.id),
                Err(error) => failed = format!("node {}: {error}", node.id),
            }
        }
        Err(failed)
    }
}

async fn fetch(client: Client, path: &'static str) -> Result<Vec<u8>, ClientError> {
    let connection = client
        .connection()
        .ok_or_else(|| ClientError::Broken("not over HTTPS".to_owned()))?;
    let body = connection
        .call(hyper::Method::GET, path, Bytes::new())
        .await?;
    Ok(body.to_vec())
}

impl Others for Peers {
    fn nodes(&self) -> Vec<NodeId> {
        self.by_use().into_iter().map(|node| node.id).collect()
    }

    fn sign(&self, node: NodeId, request: CertificateRequest) -> Answer<CertificateReply> {
        let peers = self.clone();
        Box::pin(async move {
            let client = peers.open_id(node).await?;
            let signed = client.certificate(&request).await;
            signed.map_err(|error| error.to_string())
        })
    }

    fn lists(&self, node: NodeId) -> Answer<Vec<u8>> {
        let peers = self.clone();
        Box::pin(async move {
            let client = peers.open_id(node).await?;
            let lists = fetch(client, path::CA_LISTS).await;
            lists.map_err(|error| error.to_string())
        })
    }

    fn prove(&self, node: NodeId, proof: CaProof) -> Answer<Done> {
        let peers = self.clone();
        Box::pin(async move {
            let client = peers.open_id(node).await?;
            let done = client.prove_ca(&proof).await;
            done.map_err(|error| error.to_string())
        })
    }
}
