//! The task that asks the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use palisade_keys::PublicKey;
use palisade_ledger::{Node, NodeAddress, NodeId, State};
use palisade_link::api::{Adopt, Hello, PAGE, encode};
use palisade_link::client::{Client, ClientError};
use palisade_link::https::Connection;
use palisade_link::node::NodeIdentity;
use palisade_link::peer::Expect;
use time::format_description::well_known::Rfc3339;
use tokio::sync::{broadcast, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::election::{Answers, Election, Turn};
use super::table::{NodeEvent, Seen, Table};
use crate::ledger::Ledger;
use crate::system;

/// This node's key and certificate, as they are now.
pub type SharedIdentity = Arc<ArcSwap<NodeIdentity>>;

/// How often everybody is asked.
const EVERY: Duration = Duration::from_secs(2);
/// At most so much is added to it, so that many nodes don't ask at one moment.
const JITTER_MILLIS: u16 = 250;
/// For a handshake, and for an answer.
const WITHIN: Duration = Duration::from_secs(2);
/// When a node that is no member yet, though the ledger says so, is given the ledger again; each time
/// twice as late, up to [`ADOPT_AT_LAST`]: each time it is the whole ledger.
const ADOPT_AGAIN: Duration = Duration::from_secs(4);
const ADOPT_AT_LAST: Duration = Duration::from_mins(5);

/// For a waiting node to verify the whole ledger: some 20,000 entries a second.
const ADOPT_WITHIN: Duration = Duration::from_mins(1);

/// Asks the other members whether they live, and keeps the table of what they said.
pub struct Poller {
    /// This node's id.
    pub own: NodeId,
    /// What it shows.
    pub identity: SharedIdentity,
    /// The ledger, whose state says whom to ask.
    pub ledger: Ledger,
    /// Takes what is known.
    pub table: watch::Sender<Arc<Table>>,
    /// Takes what happened.
    pub events: broadcast::Sender<NodeEvent>,
}

/// A link to a node as the ledger had it when it was made.
struct Link {
    key: PublicKey,
    address: NodeAddress,
    own: PublicKey,
    client: Client,
}

/// What a question needs.
#[derive(Clone)]
struct Target {
    id: NodeId,
    key: PublicKey,
    address: NodeAddress,
    identity: Arc<NodeIdentity>,
}

struct Reply {
    target: Target,
    client: Option<Client>,
    hello: Result<Hello, String>,
    waits: bool,
}

impl Poller {
    /// Asks until the task is dropped.
    pub async fn run(self) {
        let begun = Instant::now();
        let mut state = self.ledger.state();
        let mut election = Election::new(self.own);
        let mut links: BTreeMap<NodeId, Link> = BTreeMap::new();
        let mut adoptions = Adoptions::default();
        loop {
            let now = state.borrow_and_update().clone();
            let replies = self.round(&now, &mut links).await;
            let waiting = replies.iter().filter(|reply| reply.waits);
            adoptions.next(&self.ledger, waiting.map(|reply| &reply.target));
            self.publish(&now, &mut election, begun.elapsed(), replies, &mut links);
            self.wait(&mut state, &mut links).await;
        }
    }

    /// Waits for the next round; links to nodes that the ledger no longer has so are dropped at once.
    async fn wait(
        &self,
        state: &mut watch::Receiver<Arc<State>>,
        links: &mut BTreeMap<NodeId, Link>,
    ) {
        let jitter = system::random::<2>().map_or(0, |bytes| u16::from_be_bytes(*bytes));
        let jitter = Duration::from_millis(u64::from(jitter % JITTER_MILLIS));
        let next = tokio::time::sleep(EVERY + jitter);
        let mut next = std::pin::pin!(next);
        let members = member_ids(&state.borrow());
        loop {
            tokio::select! {
                () = &mut next => return,
                Ok(()) = state.changed() => {
                    let now = state.borrow_and_update().clone();
                    links.retain(|id, link| {
                        now.node(*id).is_some_and(|node| !node.pending && node.key == link.key)
                    });
                    // A new member is asked without delay, and one that was removed is off the list.
                    if member_ids(&now) != members {
                        return;
                    }
                }
            }
        }
    }

    async fn round(&self, state: &State, links: &mut BTreeMap<NodeId, Link>) -> Vec<Reply> {
        let identity = self.identity.load_full();
        let mut asked = JoinSet::new();
        for node in state.members().filter(|node| node.id != self.own) {
            let target = Target {
                id: node.id,
                key: node.key,
                address: node.address.clone(),
                identity: identity.clone(),
            };
            let kept = links.remove(&node.id).filter(|link| {
                link.key == node.key && link.address == node.address && link.own == identity.key()
            });
            asked.spawn(ask(target, kept.map(|link| link.client)));
        }
        // Whoever is left here is no member any more.
        links.clear();
        asked.join_all().await
    }

    fn publish(
        &self,
        state: &State,
        election: &mut Election,
        now: Duration,
        replies: Vec<Reply>,
        links: &mut BTreeMap<NodeId, Link>,
    ) {
        let mut answers = Answers::new();
        let mut table = Table::default();
        let before = self.table.borrow().clone();
        for reply in replies {
            let id = reply.target.id;
            let known = before.others.get(&id).cloned().unwrap_or_default();
            let seen = match reply.hello {
                Ok(hello) => {
                    let master = hello.master.and_then(|id| NodeId::new(id).ok());
                    answers.insert(id, master);
                    Seen {
                        live: true,
                        reason: None,
                        hello: Some(hello),
                        at: system::now().format(&Rfc3339).ok(),
                    }
                }
                Err(reason) => Seen {
                    reason: Some(reason),
                    ..known
                },
            };
            table.others.insert(id, seen);
            if let Some(client) = reply.client {
                let link = Link {
                    key: reply.target.key,
                    address: reply.target.address,
                    own: reply.target.identity.key(),
                    client,
                };
                links.insert(id, link);
            }
        }
        let turns = election.observe(now, &member_ids(state), &answers);
        for (id, seen) in &mut table.others {
            seen.live = election.is_live(*id);
        }
        table.master = election.master();
        self.table.send_replace(Arc::new(table));
        for turn in turns {
            self.tell(turn);
        }
    }

    fn tell(&self, turn: Turn) {
        let event = match turn {
            Turn::Down(id) => {
                tracing::warn!(node = id.get(), "a node does not answer any more");
                NodeEvent::Down(id)
            }
            Turn::Back(id) => {
                tracing::info!(node = id.get(), "a node answers again");
                NodeEvent::Back(id)
            }
            Turn::Master(master) => {
                tracing::info!(master = master.map(NodeId::get), "the master is another");
                NodeEvent::Master(master)
            }
        };
        // Nobody may be listening.
        drop(self.events.send(event));
    }
}

fn member_ids(state: &State) -> BTreeSet<NodeId> {
    state.members().map(|node: &Node| node.id).collect()
}

/// Asks one node, over the link that is there or a new one.
async fn ask(target: Target, kept: Option<Client>) -> Reply {
    if let Some(client) = kept
        && let Ok(hello) = client.hello().await
    {
        return Reply {
            target,
            client: Some(client),
            hello: Ok(hello),
            waits: false,
        };
    }
    let (client, hello, waits) = match open(&target).await {
        Err(error) => (None, Err(error.to_string()), false),
        Ok(client) => match client.hello().await {
            Ok(hello) => (Some(client), Ok(hello), false),
            Err(error) => {
                // It is the node that the ledger names: TLS proved it.
                let waits = matches!(error, ClientError::Refused(_))
                    && client.identity().await.is_ok_and(|said| !said.member);
                (None, Err(error.to_string()), waits)
            }
        },
    };
    Reply {
        target,
        client,
        hello,
        waits,
    }
}

async fn open(target: &Target) -> Result<Client, ClientError> {
    let connection = Connection::open(
        &target.address.to_string(),
        &Expect::Node(target.key),
        Some(target.identity.leaf()),
        WITHIN,
    )
    .await?;
    Ok(Client::https(connection))
}

/// Who was given the ledger when: one node at a time has the whole of it in memory.
#[derive(Default)]
struct Adoptions {
    running: Option<JoinHandle<()>>,
    tried: BTreeMap<NodeId, (Instant, Duration)>,
}

impl Adoptions {
    /// Gives the ledger to the first of those who wait whose turn it is.
    fn next<'a>(&mut self, ledger: &Ledger, waiting: impl Iterator<Item = &'a Target>) {
        let waiting: BTreeMap<NodeId, &Target> =
            waiting.map(|target| (target.id, target)).collect();
        self.tried.retain(|id, _| waiting.contains_key(id));
        if self
            .running
            .as_ref()
            .is_some_and(|task| !task.is_finished())
        {
            return;
        }
        let now = Instant::now();
        let Some(target) = self.due(now, &waiting) else {
            return;
        };
        self.note(target.id, now);
        self.running = Some(tokio::spawn(adopt(ledger.clone(), target.clone())));
    }

    /// Who waits longest for his turn: those who were not tried yet first.
    fn due<'a>(&self, now: Instant, waiting: &BTreeMap<NodeId, &'a Target>) -> Option<&'a Target> {
        let due = |id: &NodeId| self.tried.get(id).is_none_or(|(again, _)| *again <= now);
        let candidates = waiting.iter().filter(|(id, _)| due(id));
        candidates
            .min_by_key(|(id, _)| self.tried.get(id).map(|(again, _)| *again))
            .map(|(_, target)| *target)
    }

    fn note(&mut self, id: NodeId, now: Instant) {
        let pause = self.tried.get(&id).map_or(ADOPT_AGAIN, |(_, pause)| {
            pause.saturating_mul(2).min(ADOPT_AT_LAST)
        });
        self.tried.insert(id, (now + pause, pause));
    }
}

impl Drop for Adoptions {
    fn drop(&mut self) {
        if let Some(task) = &self.running {
            task.abort();
        }
    }
}

/// Gives a waiting node the whole ledger, in which it finds itself.
async fn adopt(ledger: Ledger, target: Target) {
    let id = target.id;
    match try_adopt(ledger, target).await {
        Ok(()) => tracing::info!(node = id.get(), "a waiting node was given the ledger"),
        Err(error) => {
            tracing::warn!(
                node = id.get(),
                error,
                "a waiting node did not take the ledger"
            );
        }
    }
}

async fn try_adopt(ledger: Ledger, target: Target) -> Result<(), String> {
    let cluster = *ledger.now().cluster_key();
    let pages = tokio::task::spawn_blocking(move || pages(&ledger)).await;
    let entries = pages.map_err(|error| error.to_string())??;
    let adopt = Adopt {
        cluster_public_key: cluster.to_string(),
        entries,
    };
    let connection = Connection::open(
        &target.address.to_string(),
        &Expect::Node(target.key),
        Some(target.identity.leaf()),
        WITHIN,
    )
    .await
    .map_err(|error| error.to_string())?;
    // It verifies the whole ledger before it answers.
    let client = Client::https(connection.answer_within(ADOPT_WITHIN));
    let answer = client.adopt(&adopt).await;
    answer.map(drop).map_err(|error| error.to_string())
}

fn pages(ledger: &Ledger) -> Result<Vec<String>, String> {
    let mut pages = Vec::new();
    let mut from = 0;
    loop {
        let page = ledger
            .entries(from, PAGE)
            .map_err(|error| error.to_string())?;
        if page.is_empty() {
            return Ok(pages);
        }
        from += u64::try_from(page.len()).unwrap_or(u64::MAX);
        pages.push(encode(&page.concat()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_keys::{SecretKey, Zeroizing};

    fn target(id: u8) -> Target {
        let key = SecretKey::from_seed(Zeroizing::new([id; 32])).unwrap();
        let identity = NodeIdentity::new(&key, &[id], system::now()).unwrap();
        Target {
            id: NodeId::new(id.into()).unwrap(),
            key: key.public(),
            address: format!("10.0.0.{id}:7433").parse().unwrap(),
            identity: Arc::new(identity),
        }
    }

    // A node that always refuses costs the whole ledger each time: less and less often, and no other
    // has to wait for it.
    #[tokio::test]
    async fn those_who_wait_take_turns_and_come_again_later_and_later() {
        let (two, three) = (target(2), target(3));
        let waiting = BTreeMap::from([(two.id, &two), (three.id, &three)]);
        let mut adoptions = Adoptions::default();
        let begun = Instant::now();
        let mut pauses = Vec::new();
        let mut last = Duration::ZERO;
        for second in 0..3600 {
            let now = begun + Duration::from_secs(second);
            while let Some(due) = adoptions.due(now, &waiting) {
                adoptions.note(due.id, now);
                if due.id == two.id {
                    pauses.push(Duration::from_secs(second).saturating_sub(last));
                    last = Duration::from_secs(second);
                }
            }
        }
        let seconds: Vec<u64> = pauses.iter().map(Duration::as_secs).collect();
        assert_eq!(seconds[..9], [0, 4, 8, 16, 32, 64, 128, 256, 300]);
        assert!(seconds[9..].iter().all(|pause| *pause == 300));
        // One at a time, and the one that was never tried goes before.
        adoptions.tried.remove(&three.id);
        let due = adoptions.due(begun + Duration::from_hours(2), &waiting);
        assert_eq!(due.map(|target| target.id), Some(three.id));
    }
}
