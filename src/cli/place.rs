//! Where a new node lives and listens: the options of `init` and `join`, and the configuration file
//! that comes of them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use palisade_daemon::config::Config;
use palisade_daemon::identity::Place;
use palisade_daemon::layout::Layout;
use palisade_ledger::{NodeAddress, StoreAddress};
use serde_json::{Map, Value, json};

use super::common;
use super::error::CliError;
use super::files::{self, Audience};

/// The gateway's port, as everywhere in Palisade.
const GATEWAY_PORT: u16 = 5433;
/// The ports of managed etcd, beside those of an etcd that is there already.
const STORE_PEER_PORT: u16 = 7380;
const STORE_CLIENT_PORT: u16 = 7379;

/// The head of the file.
const HEAD: &str = "\
// This node's configuration. `palisade daemon --gen-config` shows all there is to set.
";

/// Where a new node lives and listens.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Where the node lives")]
pub(crate) struct PlaceArgs {
    /// Where the other nodes reach this one: a name or an address, and a port
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) advertise: NodeAddress,

    /// The node's data directory [default: /var/lib/palisade for root, else ~/.local/share/palisade]
    #[arg(long, value_name = "DIR", env = "PALISADE_DIR", hide_env_values = true, value_hint = ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,

    /// Where it listens for the other nodes [default: as advertised; for a name, every address]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,

    /// Where clients connect [default: port 5433 of the same address]
    #[arg(long, value_name = "ADDRESS:PORT")]
    gateway: Option<SocketAddr>,

    /// Where the etcd that the daemon runs listens for its like [default: port 7380 of the same address]
    #[arg(long, value_name = "ADDRESS:PORT")]
    store_peer: Option<SocketAddr>,

    /// Where the etcd that the daemon runs listens for nodes [default: port 7379 of the same address]
    #[arg(long, value_name = "ADDRESS:PORT")]
    store_client: Option<SocketAddr>,

    /// The database that is managed
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub(crate) database: String,
}

impl PlaceArgs {
    /// The node's directory, as an absolute path.
    pub(crate) fn directory(&self) -> Result<PathBuf, CliError> {
        let dir = match &self.dir {
            Some(dir) => dir.clone(),
            None => common::default_directory()?,
        };
        std::path::absolute(&dir)
            .map_err(|error| CliError::file("there is no current directory").because(&error))
    }

    fn listen(&self) -> SocketAddr {
        let port = self.advertise.port();
        let advertised = self.advertise.host().parse::<IpAddr>();
        let address = advertised.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        self.listen.unwrap_or(SocketAddr::new(address, port))
    }

    /// The configuration: what differs from the defaults, and what a reader looks for.
    fn settings(&self, layout: &Layout, files: &Follow) -> Value {
        let listen = self.listen();
        let near = |port| SocketAddr::new(listen.ip(), port);
        let mut security = Map::new();
        if let Some(key) = &files.cluster_key {
            security.insert("cluster_private_file".to_owned(), json!(key));
        }
        if let Some(list) = &files.user_list {
            security.insert("user_list".to_owned(), json!(list));
        }
        json!({
            "security": security,
            "gateway": { "listen": [self.gateway.unwrap_or(near(GATEWAY_PORT))] },
            "node": { "data_directory": layout.root() },
            "api": { "listen": [listen], "advertise": self.advertise.to_string() },
            "store": { "managed": {
                "peer": self.store_peer.unwrap_or(near(STORE_PEER_PORT)),
                "client": self.store_client.unwrap_or(near(STORE_CLIENT_PORT)),
            } },
            "postgres": { "database": self.database },
        })
    }

    /// Writes the configuration file; one that is there is kept. Gives its path.
    pub(crate) fn write(&self, layout: &Layout, follow: &Follow) -> Result<PathBuf, CliError> {
        let path = layout.root().join("palisade.cfg");
        if path.exists() {
            return Ok(path);
        }
        let text = serde_json::to_string_pretty(&self.settings(layout, follow))
            .map_err(|error| CliError::no("can't write the configuration").because(&error))?;
        let text = format!("{HEAD}{text}\n");
        let staged = files::stage(&path, text.as_bytes(), Audience::Everybody, false)?;
        files::place_all(vec![staged])?;
        Ok(path)
    }
}

/// Files that the node's daemon follows, if it has them.
#[derive(Debug, Default)]
pub(crate) struct Follow {
    /// The cluster's private key.
    pub(crate) cluster_key: Option<PathBuf>,
    /// The user list.
    pub(crate) user_list: Option<PathBuf>,
}

/// Where a node with this configuration says that it is.
pub(crate) fn of(config: &Path) -> Result<Place, CliError> {
    let config = Config::load(Some(config), std::iter::empty())
        .map_err(|error| CliError::file(error.to_string()))?;
    let wrong = |error: palisade_ledger::AddressError| {
        CliError::usage("the node's address can't be used").because(&error)
    };
    let listen = config.api.listen.first().map(ToString::to_string);
    let address: NodeAddress = config
        .api
        .advertise
        .or(listen)
        .unwrap_or_default()
        .parse()
        .map_err(wrong)?;
    let managed = |at: SocketAddr| {
        let host = if at.ip().is_unspecified() {
            address.host().to_owned()
        } else {
            at.ip().to_string()
        };
        NodeAddress::new(&host, at.port())
    };
    let store = StoreAddress {
        peer: managed(config.store.managed.peer).map_err(wrong)?,
        client: managed(config.store.managed.client).map_err(wrong)?,
    };
    Ok(Place {
        address,
        hosts: config.api.names,
        store: Some(store),
    })
}

/// The command that starts the daemon with this configuration.
pub(crate) fn start_command(config: &Path) -> String {
    let config = config.display().to_string();
    format!("palisade daemon -c {}", files::shell_quote(&config))
}

/// A directory with files of somebody else, or with a node, is left alone.
pub(crate) fn refuse_used(layout: &Layout) -> Result<(), CliError> {
    let root = layout.root();
    if layout.is_initialized() {
        return Err(CliError::no(format!(
            "{} holds a node of a cluster already",
            root.display()
        ))
        .hint("name another directory with --dir, or wipe this one"));
    }
    if layout.is_waiting() {
        return Err(CliError::no(format!(
            "{} holds a node that waits to be added",
            root.display()
        ))
        .hint("add it at a member with `palisade node add`, or wipe the directory"));
    }
    let used = std::fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_some());
    // A run that was cut short left its keys: it is taken up again.
    if used && !layout.private().exists() {
        return Err(CliError::file(format!(
            "{} is not empty, and what lies there is not Palisade's",
            root.display()
        ))
        .hint("name an empty directory with --dir"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Only {
        #[command(flatten)]
        place: PlaceArgs,
    }

    fn config(args: &[&str]) -> Config {
        let dir = tempfile::tempdir().unwrap();
        let words = ["x", "--dir", dir.path().to_str().unwrap()];
        let words = words.iter().chain(args);
        let only = <Only as clap::Parser>::try_parse_from(words).ok().unwrap();
        let layout = Layout::new(dir.path());
        let path = only.place.write(&layout, &Follow::default()).unwrap();
        Config::load(Some(&path), std::iter::empty()).unwrap()
    }

    #[test]
    fn the_file_is_read_as_it_was_meant() {
        let found = config(&["--advertise", "10.0.0.7:7000", "--gateway", "10.0.0.8:1"]);
        assert_eq!(found.api.advertise.as_deref(), Some("10.0.0.7:7000"));
        assert_eq!(found.api.listen, ["10.0.0.7:7000".parse().unwrap()]);
        assert_eq!(found.gateway.listen, ["10.0.0.8:1".parse().unwrap()]);
        assert_eq!(found.store.managed.peer, "10.0.0.7:7380".parse().unwrap());
    }

    #[test]
    fn a_node_with_a_name_listens_everywhere() {
        let found = config(&["--advertise", "db1.example:7433"]);
        assert_eq!(found.api.listen, ["0.0.0.0:7433".parse().unwrap()]);
    }
}
