//! What a node does before it serves: the key, the ledger, the user list.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use palisade_agent::Agent;
use palisade_daemon::author::ClusterAuthor;
use palisade_daemon::config::{Config, PostgresMode};
use palisade_daemon::identity::Place;
use palisade_daemon::join;
use palisade_daemon::layout::Layout;
use palisade_daemon::ledger::{Ledger, OpenError};
use palisade_daemon::pki::{self, Pki};
use palisade_daemon::store::Store;
use palisade_daemon::user_list::{UserList, UserListError};
use palisade_keys::{PublicKey, SecretKey};
use palisade_ledger::{AddressError, Change, NodeAddress, RESERVED_NAME, State, StoreConfig};
use tokio::net::TcpListener;

use super::Sharing;
use super::error::NodeError;
use super::own::{self, Own};
use super::ports::{self, Held, Ports};

/// PostgreSQL's connections beyond the gateway's sessions: the agent's, those reserved for
/// superusers, and some that come past the gateway.
const SPARE_CONNECTIONS: u32 = 13;

/// How long a first start goes on trying to join.
const JOIN_WITHIN: Duration = Duration::from_secs(30);
/// Between two attempts.
const JOIN_EVERY: Duration = Duration::from_millis(250);

/// A node's ledger and what stands around it.
pub(super) struct Begun {
    pub(super) ledger: Ledger,
    pub(super) pki: Pki,
    pub(super) users: Option<(UserList, ClusterAuthor)>,
    pub(super) listed: Option<BTreeSet<String>>,
    /// The node, as the ledger names it.
    pub(super) own: Option<Own>,
    /// The cluster key, where it lies here.
    pub(super) cluster: Option<ClusterAuthor>,
    /// Where the API is to answer.
    pub(super) api: Vec<TcpListener>,
    /// Where its etcd is to answer.
    pub(super) held: Held,
}

/// Opens the node's cluster; or becomes a node of one, if it was told how; or begins one, if the
/// directory holds none and the key is there.
pub(super) async fn begin(
    config: &mut Config,
    layout: &Layout,
    cluster: &str,
    (ports, sharing): (Ports, Sharing),
) -> Result<Begun, NodeError> {
    if config.postgres.mode == PostgresMode::Attached {
        return Err(NodeError::Attached);
    }
    let author = match &config.security.cluster_private_file {
        Some(path) => Some(cluster_key(path)?),
        None => None,
    };
    let any_database = ports != Ports::Configured;
    let mut api = Vec::new();
    let mut held = Held::default();
    if !layout.is_initialized() && (layout.is_waiting() || !config.node.join.is_empty()) {
        api = ports::api(config, ports, None).await?;
        held = ports::store(config, ports, None);
        become_member(config, layout, author.as_ref(), &api).await?;
    }
    let (ledger, pki) = if layout.is_initialized() {
        join::await_approval(layout).await?;
        open(config, layout, author.as_ref(), any_database)?
    } else {
        let author = author
            .as_ref()
            .ok_or_else(|| NodeError::NoCluster(layout.root().to_owned()))?;
        create(config, layout, author, cluster).await?
    };
    if api.is_empty() {
        let known = own::known(layout, &ledger.now())?;
        api = ports::api(config, ports, known.as_ref()).await?;
        held = ports::store(config, ports, known.as_ref());
    }
    let place = own::place(config, &api)?;
    let own = Own::establish(layout, &ledger, author.as_ref(), place).await?;
    let (users, listed) = match (&config.security.user_list, &author) {
        (Some(path), Some(author)) => {
            let (list, listed) = user_list(path, &ledger, author).await?;
            (Some((list, author.clone())), listed)
        }
        (Some(path), None) => {
            tracing::warn!(
                path = %path.display(),
                "the user list is not followed: without security.cluster_private_file nobody can sign its users"
            );
            (None, None)
        }
        (None, _) => (None, None),
    };
    if let (Sharing::Managed, Some(author)) = (sharing, &author)
        && *ledger.now().store() == StoreConfig::Embedded
    {
        let store = StoreConfig::Managed;
        author.append(&ledger, Change::StoreSet { store }).await?;
    }
    Ok(Begun {
        ledger,
        pki,
        users,
        listed,
        own,
        cluster: author,
        api,
        held,
    })
}

/// Makes the directory that of a member: by the cluster key, or by waiting for an operator.
async fn become_member(
    config: &Config,
    layout: &Layout,
    author: Option<&ClusterAuthor>,
    api: &[TcpListener],
) -> Result<(), NodeError> {
    let place = own::place(config, api)?;
    if layout.is_waiting() {
        return super::waiting::serve(layout, place, api).await;
    }
    // The configuration was checked: node.join comes with the key.
    let author = author.ok_or_else(|| NodeError::NoCluster(layout.root().to_owned()))?;
    let key = SecretKey::from_text(&author.key().expose_text())
        .map_err(|_| NodeError::NoCluster(layout.root().to_owned()))?;
    let mut addresses = Vec::new();
    for address in &config.node.join {
        let address = address.parse();
        addresses.push(address.map_err(|error: AddressError| NodeError::Place(error.to_string()))?);
    }
    let joined = join_patiently(layout, &place, key.public(), &key, &addresses).await?;
    // QuasarDB's manual, 2.3.7: the node is "recognized as a special user".
    tracing::info!(
        node = joined.id.get(),
        "joined the cluster as {RESERVED_NAME}"
    );
    Ok(())
}

/// Joins; the members may be on their way up, and their store, too.
async fn join_patiently(
    layout: &Layout,
    place: &Place,
    cluster: PublicKey,
    key: &SecretKey,
    addresses: &[NodeAddress],
) -> Result<join::Joined, NodeError> {
    let deadline = tokio::time::Instant::now() + JOIN_WITHIN;
    loop {
        let key = SecretKey::from_text(&key.expose_text())
            .map_err(|_| NodeError::NoCluster(layout.root().to_owned()))?;
        let way = join::Way::ClusterKey(key);
        match join::join(layout, place, Some(cluster), way, addresses).await {
            Err(error) if error.is_passing() && tokio::time::Instant::now() < deadline => {
                tracing::info!(reason = %error, "not yet");
                tokio::time::sleep(JOIN_EVERY).await;
            }
            joined => return Ok(joined?),
        }
    }
}

fn cluster_key(path: &Path) -> Result<ClusterAuthor, NodeError> {
    let key = pki::read_secret_key(path).map_err(NodeError::ClusterKey)?;
    tracing::info!(
        "successfully loaded cluster private key from \"{}\"",
        path.display()
    );
    Ok(ClusterAuthor::new(key))
}

fn open(
    config: &Config,
    layout: &Layout,
    author: Option<&ClusterAuthor>,
    any_database: bool,
) -> Result<(Ledger, Pki), NodeError> {
    let public = pki::read_public_key(&layout.cluster_public_key())?;
    if let (Some(author), Some(path)) = (author, &config.security.cluster_private_file)
        && author.key().public() != public
    {
        return Err(NodeError::OtherCluster {
            key: path.clone(),
            dir: layout.root().to_owned(),
        });
    }
    let ledger = Ledger::open(Store::open(&layout.private())?, &public)?;
    let database = ledger.now().database().to_owned();
    if !any_database && database != config.postgres.database {
        return Err(NodeError::OtherDatabase {
            configured: config.postgres.database.clone(),
            ledger: database,
        });
    }
    Ok((ledger, Pki::load(layout)?))
}

/// Begins a cluster. A run that was cut short before the genesis leaves nothing that a second run
/// would trip over.
async fn create(
    config: &Config,
    layout: &Layout,
    author: &ClusterAuthor,
    cluster: &str,
) -> Result<(Ledger, Pki), NodeError> {
    let pki = Pki::create(layout, author.key())?;
    let store = Store::open(&layout.private())?;
    let key = author.key().public();
    let ledger = match Ledger::open(store, &key) {
        Ok(ledger) => ledger,
        Err(OpenError::Empty) => {
            let genesis = author.genesis(cluster, &config.postgres.database)?;
            Ledger::begin(Store::open(&layout.private())?, &key, &genesis)?
        }
        Err(error) => return Err(error.into()),
    };
    let certificate = pki.issuing()?.certificate().to_vec();
    let change = Change::IssuingCaAdd { certificate };
    author.append(&ledger, change).await?;
    tracing::info!(cluster, "began the ledger");
    Ok((ledger, pki))
}

async fn user_list(
    path: &Path,
    ledger: &Ledger,
    author: &ClusterAuthor,
) -> Result<(UserList, Option<BTreeSet<String>>), NodeError> {
    let mut list = UserList::new(path);
    let reading = match list.read(ledger, author).await {
        Ok(reading) => reading.unwrap_or_default(),
        // The store is attached later: then the list is read again.
        Err(UserListError::Later(reason)) => {
            tracing::info!(%reason, "the user list has news, which are taken in later");
            return Ok((list, None));
        }
        Err(error) => return Err(error.into()),
    };
    super::follow::report(path, &reading);
    Ok((list, Some(reading.named)))
}

/// The machine's name, if it has one that a certificate can say.
pub(super) fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let name = name.trim();
    (!name.is_empty() && name.chars().all(plain)).then(|| name.to_owned())
}

/// The names and addresses that the server's certificate speaks for.
pub(super) fn hosts(config: &Config) -> Vec<String> {
    let mut hosts = vec!["localhost".to_owned()];
    hosts.extend(host_name());
    let own = config.gateway.listen.iter().map(std::net::SocketAddr::ip);
    let loopback = [
        IpAddr::from([127, 0, 0, 1]),
        "::1".parse().unwrap_or(IpAddr::from([0; 16])),
    ];
    for address in own
        .chain(loopback)
        .filter(|address| !address.is_unspecified())
    {
        let text = address.to_string();
        if !hosts.contains(&text) {
            hosts.push(text);
        }
    }
    hosts
}

/// The agent's part of the configuration.
pub(super) fn agent(config: &Config, layout: &Layout, state: &State) -> palisade_agent::Config {
    let mut agent = palisade_agent::Config::new(config.postgres_data_directory(), state.database());
    agent.os_user.clone_from(&config.postgres.os_user);
    agent.programs.clone_from(&config.postgres.bin_directory);
    // Sessions, idle backends, and what Palisade and PostgreSQL themselves need.
    let connections = config
        .gateway
        .limits
        .sessions
        .saturating_add(SPARE_CONNECTIONS);
    let mut settings = config.postgres.settings.clone();
    settings
        .entry("max_connections".to_owned())
        .or_insert_with(|| connections.to_string());
    agent.settings = settings.into_iter().collect();
    agent.tcp = config.postgres.listen.map(|address| palisade_agent::Tcp {
        addresses: vec![address.to_string()],
        port: config.postgres.port,
        certificate: layout.serving_certificate(),
        key: layout.serving_key(),
        ca: layout.root_certificate(),
        lists: Some(layout.lists()),
    });
    agent
}

/// PostgreSQL's major version.
pub(super) fn version(agent: &Agent) -> Option<String> {
    agent.version().map(|version| version.to_string())
}

/// The gateway's part of the configuration.
pub(super) fn gateway(
    config: &Config,
    layout: &Layout,
    agent: &Agent,
) -> Result<palisade_gateway::Config, NodeError> {
    let limits = &config.gateway.limits;
    let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let secret = pki::mock_secret(layout)?;
    let endpoint = agent.endpoint().ok_or(NodeError::NoPostgres)?;
    let mut gateway =
        palisade_gateway::Config::new(endpoint.socket_dir.clone(), endpoint.port, secret);
    gateway.encrypt_traffic = config.security.encrypt_traffic;
    gateway.limits.handshakes = size(limits.handshakes);
    gateway.limits.handshakes_per_address = size(limits.handshakes_per_address);
    gateway.limits.login_within = Duration::from_secs(limits.login_timeout_seconds.into());
    gateway.pool.idle = size(limits.idle_backends);
    gateway.pool.idle_per_key = size(limits.idle_backends_per_user);
    gateway.pool.idle_for = Duration::from_secs(limits.idle_backend_seconds.into());
    Ok(gateway)
}
