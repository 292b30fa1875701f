//! The whole etcd: its members as it lists them, and the steps that bring it in line with the ledger.

use std::time::Duration;

use etcd_client::{AlarmAction, AlarmOptions, AlarmType, Client, MemberAddOptions};
use palisade_keys::PublicKey;
use palisade_ledger::{NodeAddress, NodeId, StoreAddress};
use palisade_link::api::StoreMember;
use palisade_link::x509::Leaf;
use palisade_rights::{StoreMember as Planned, StoreNode, StoreStep, store_plan, store_user};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::access;
use super::channel::Terms;
use super::config::{Config, QUOTA_BYTES};
use super::error::EtcdError;

/// How long a member may take to say how it is.
const HEALTH_WITHIN: Duration = Duration::from_secs(2);
/// Steps in one run; the next run goes on.
const STEPS: usize = 8;
/// Words with which etcd refuses what may work a little later.
const LATER: [&str; 7] = [
    "in sync with leader",
    "unhealthy cluster",
    "not enough started members",
    "too many learner",
    "leader changed",
    "no leader",
    "request timed out",
];

/// What etcd shall be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The cluster's nodes with their store addresses, and whether each answers its peers.
    pub nodes: Vec<(NodeId, StoreAddress, bool)>,
    /// The ledger's prefix: `/palisade/<cluster>/`.
    pub prefix: String,
}

/// What a reconciliation found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The members, as they are now.
    pub members: Vec<StoreMember>,
    /// What was changed, in words.
    pub done: Vec<String>,
    /// What is still to be done, and what it waits for. Try again in a second.
    pub waiting: Option<String>,
    /// Whether a node's user was deleted: then every member's connections are to be ended
    /// ([`super::Server::drop_connections`]), for a watch that was begun is not asked for its right again.
    pub evicted: bool,
}

/// A connection to a member that has a leader and a vote.
pub struct Cluster {
    client: Client,
    terms: Terms,
}

impl Cluster {
    /// Connects to the first of `endpoints` that has a leader and votes.
    pub async fn connect(
        endpoints: &[NodeAddress],
        cluster_key: &PublicKey,
        identity: &Leaf,
    ) -> Result<Self, EtcdError> {
        let terms = Terms::new(cluster_key, identity)?;
        let mut reasons = Vec::new();
        for endpoint in endpoints {
            match voter(&terms, endpoint).await {
                Ok(client) => return Ok(Self { client, terms }),
                Err(error) => reasons.push(error.to_string()),
            }
        }
        Err(EtcdError::Unreachable {
            reason: reasons.join("; "),
        })
    }

    /// A client of the member that is asked, for what is not done here.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The members, as etcd lists them, and how each is. A majority has confirmed that the list is
    /// current: a member that lags would not name one that was just taken in, which would then leave.
    pub async fn members(&mut self) -> Result<Vec<StoreMember>, EtcdError> {
        self.catch_up().await?;
        let list = self.client.member_list().await;
        let list = list.map_err(refused("list its members"))?;
        let mut asked = JoinSet::new();
        for (index, member) in list.members().iter().enumerate() {
            let terms = self.terms.clone();
            let urls = member.client_urls().to_vec();
            asked.spawn(async move { (index, health(&terms, &urls).await) });
        }
        let mut members: Vec<StoreMember> = list
            .members()
            .iter()
            .map(|member| StoreMember {
                id: format!("{:x}", member.id()),
                name: member.name().to_owned(),
                peer_urls: member.peer_urls().to_vec(),
                client_urls: member.client_urls().to_vec(),
                learner: member.is_learner(),
                leader: false,
                live: Some(false),
            })
            .collect();
        while let Some(Ok((index, leader))) = asked.join_next().await {
            if let (Some(member), Some(leader)) = (members.get_mut(index), leader) {
                member.live = Some(true);
                member.leader = member.id == format!("{leader:x}");
            }
        }
        Ok(members)
    }

    /// Makes the member that is asked apply all that the majority has. etcd 3.4 lists members as the one
    /// that is asked knows them; but a read of any key, also of one that is not ours, waits.
    async fn catch_up(&mut self) -> Result<(), EtcdError> {
        match self.client.get("/palisade", None).await {
            Ok(_) => Ok(()),
            Err(etcd_client::Error::GRpcStatus(status))
                if status.message().contains("permission denied")
                    || status.message().contains("user name") =>
            {
                Ok(())
            }
            Err(error) => Err(refused("confirm that it is up to date")(error)),
        }
    }

    /// Brings users and rights in line first, then the members, one step at a time. Needs the identity
    /// `root`. Idempotent; who runs it twice at once loses nothing, for etcd takes one change after the other.
    pub async fn reconcile(&mut self, wanted: &Wanted) -> Result<Report, EtcdError> {
        let ids: Vec<NodeId> = wanted.nodes.iter().map(|(id, ..)| *id).collect();
        let mut report = Report {
            done: access::reconcile(&mut self.client, &ids, &wanted.prefix).await?,
            ..Report::default()
        };
        let deleted = |told: &String| told.starts_with("user ") && told.ends_with(" deleted");
        report.evicted = report.done.iter().any(deleted);
        self.disarm(&mut report).await?;
        for _ in 0..STEPS {
            report.members = self.members().await?;
            let Some(step) = plan(wanted, &report.members) else {
                report.waiting = unfinished(&report.members);
                return Ok(report);
            };
            let told = tell(&step);
            match self.execute(step).await {
                Ok(()) => {
                    tracing::info!("etcd: {told}");
                    report.done.push(told);
                }
                Err(EtcdError::Refused { reason, .. })
                    if LATER.iter().any(|words| reason.contains(words)) =>
                {
                    report.waiting = Some(format!("{told}: {reason}"));
                    return Ok(report);
                }
                Err(error) => return Err(error),
            }
        }
        report.members = self.members().await?;
        report.waiting = Some("there is more to do".to_owned());
        Ok(report)
    }

    /// Any client may raise the alarm that there is no space, which stops all writes: one that is not true
    /// is taken back.
    async fn disarm(&mut self, report: &mut Report) -> Result<(), EtcdError> {
        let alarms = self
            .client
            .alarm(AlarmAction::Get, AlarmType::Nospace, None)
            .await
            .map_err(refused("list its alarms"))?;
        let raised: Vec<u64> = alarms
            .alarms()
            .iter()
            .filter(|alarm| alarm.alarm() == AlarmType::Nospace)
            .map(etcd_client::AlarmMember::member_id)
            .collect();
        if raised.is_empty() {
            return Ok(());
        }
        let status = self.client.status().await;
        let status = status.map_err(refused("say how it is"))?;
        let size = u64::try_from(status.db_size()).unwrap_or(u64::MAX);
        if size >= QUOTA_BYTES / 10 * 9 {
            report.waiting = Some("etcd's database is full".to_owned());
            return Ok(());
        }
        for member in raised {
            let mut options = AlarmOptions::new();
            options.with_member(member);
            self.client
                .alarm(AlarmAction::Deactivate, AlarmType::Nospace, Some(options))
                .await
                .map_err(refused("take an alarm back"))?;
        }
        let told = "a false alarm that there is no space was taken back".to_owned();
        tracing::warn!("etcd: {told}");
        report.done.push(told);
        Ok(())
    }

    async fn execute(&mut self, step: StoreStep) -> Result<(), EtcdError> {
        match step {
            StoreStep::AddLearner { peer_url, .. } => {
                let options = MemberAddOptions::new().with_is_learner();
                let done = self.client.member_add([peer_url], Some(options)).await;
                done.map(drop).map_err(refused("take a member in"))
            }
            StoreStep::Promote { member, .. } => {
                let done = self.client.member_promote(member).await;
                done.map(drop).map_err(refused("give a member its vote"))
            }
            StoreStep::Move {
                member, peer_url, ..
            } => {
                let done = self.client.member_update(member, [peer_url]).await;
                done.map(drop).map_err(refused("change a member's address"))
            }
            StoreStep::Remove { member, .. } => {
                let done = self.client.member_remove(member).await;
                done.map(drop).map_err(refused("take a member out"))
            }
        }
    }
}

/// For `map_err`: etcd's own words, or that it did not answer.
pub(super) fn refused(action: &'static str) -> impl FnOnce(etcd_client::Error) -> EtcdError {
    move |error| EtcdError::Refused {
        action,
        reason: match error {
            etcd_client::Error::GRpcStatus(status) => status.message().to_owned(),
            other => other.to_string(),
        },
    }
}

async fn voter(terms: &Terms, endpoint: &NodeAddress) -> Result<Client, EtcdError> {
    let mut client = terms
        .connect(&endpoint.to_string(), endpoint.host())
        .await?;
    let status = client.status().await;
    let status = status.map_err(refused("say how it is"))?;
    let unfit = |reason: &str| EtcdError::Unreachable {
        reason: format!("{endpoint}: {reason}"),
    };
    if status.is_learner() {
        return Err(unfit("it has no vote yet"));
    }
    if status.leader() == 0 {
        return Err(unfit(
            "it has no leader: a majority of the members is missing",
        ));
    }
    Ok(client)
}

/// The leader that the member at one of `urls` follows, if it answers.
async fn health(terms: &Terms, urls: &[String]) -> Option<u64> {
    for url in urls {
        let Some(Ok(address)) = url.strip_prefix("https://").map(str::parse::<NodeAddress>) else {
            continue;
        };
        let asking = async {
            let mut client = terms
                .connect(&address.to_string(), address.host())
                .await
                .ok()?;
            client.status().await.ok()
        };
        if let Ok(Some(status)) = timeout(HEALTH_WITHIN, asking).await {
            return Some(status.leader()).filter(|leader| *leader != 0);
        }
    }
    None
}

fn plan(wanted: &Wanted, members: &[StoreMember]) -> Option<StoreStep> {
    let nodes: Vec<StoreNode> = wanted
        .nodes
        .iter()
        .map(|(id, store, live)| StoreNode {
            id: *id,
            peer_url: format!("https://{}", store.peer),
            live: *live,
        })
        .collect();
    let members: Vec<Planned> = members
        .iter()
        .filter_map(|member| {
            Some(Planned {
                id: u64::from_str_radix(&member.id, 16).ok()?,
                name: member.name.clone(),
                peer_urls: member.peer_urls.clone(),
                learner: member.learner,
                healthy: !member.name.is_empty() && member.live == Some(true),
            })
        })
        .collect();
    store_plan(&nodes, &members)
}

fn unfinished(members: &[StoreMember]) -> Option<String> {
    let learner = members.iter().find(|member| member.learner)?;
    Some(format!(
        "the member at {} is to start and to catch up",
        learner.peer_urls.join(", ")
    ))
}

fn tell(step: &StoreStep) -> String {
    match step {
        StoreStep::AddLearner { node, peer_url } => {
            format!("node {node} is taken in at {peer_url}, without a vote")
        }
        StoreStep::Promote { node, .. } => format!("node {node} gets a vote"),
        StoreStep::Move { node, peer_url, .. } => format!("node {node} is at {peer_url} now"),
        StoreStep::Remove {
            member, name, why, ..
        } => format!("member {member:x} ({name}) is taken out: {why}"),
    }
}

/// What a node does about its own member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnMember {
    /// Run with the data that is there: [`super::Start::Again`].
    Run,
    /// Join: [`Config::clean`], then [`super::Start::Join`] with the list.
    Join,
    /// None is wanted here: stop if one runs, and [`Config::clean`].
    Leave,
    /// etcd counts on a member here, and its data is gone. It can't be started: remove the node, or
    /// restore its directory.
    Lost,
}

/// What etcd's list of members says of a node's own one.
#[must_use]
pub fn own_member(config: &Config, members: &[StoreMember]) -> OwnMember {
    let (name, url) = (store_user(config.node), config.peer_url());
    let at_ours = |member: &&StoreMember| member.peer_urls.contains(&url);
    let named = |member: &&StoreMember| member.name == name;
    let own = members.iter().find(at_ours);
    let own = own.or_else(|| members.iter().find(named));
    let Some(own) = own else {
        return OwnMember::Leave;
    };
    // Data of an earlier membership is of no use to the new one.
    let stale = config.joined().is_some_and(|joined| joined != own.id);
    let begun = config.joined().as_deref() == Some(&*own.id);
    let data = config.has_data() && !stale;
    match (own.name.is_empty(), data) {
        // It was started and had not yet said its name.
        (true, true) if begun => OwnMember::Run,
        (true, _) => OwnMember::Join,
        (false, true) => OwnMember::Run,
        (false, false) => OwnMember::Lost,
    }
}
