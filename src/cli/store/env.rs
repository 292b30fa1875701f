//! `palisade store env`: etcd's settings and the daemon's, as files of variables.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, ValueHint};

use super::args::StoreArgs;
use crate::cli::common::ClusterArgs;
use crate::cli::error::{CliError, Outcome};
use crate::cli::exit::Exit;
use crate::cli::files::{self, Audience};
use crate::cli::out;
use crate::cli::view::View;

/// etcd's own ports.
const PEER_PORT: u16 = 2380;
const CLIENT_PORT: u16 = 2379;

/// Write the settings of an etcd member with mutual TLS, and those of the daemon that uses it.
///
/// For an etcd that you run yourself: /etc/default/etcd of each host, and the file of variables that
/// `palisade daemon` starts with. Without --hosts, the nodes of the ledger are the hosts, called n1, n2, ...
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade store env --node n1 --hosts n1,n2,n3
  palisade store env --node n1 --hosts n1=10.0.0.1,n2=10.0.0.2,n3=10.0.0.3 --out .
  sudo cp etcd /etc/default/etcd && sudo systemctl restart etcd")]
pub(super) struct EnvArgs {
    /// The host whose settings are wanted
    #[arg(long = "node", value_name = "NAME")]
    name: String,

    /// All hosts of etcd: `NAME`, `NAME=ADDRESS` or `NAME=ADDRESS:PEER_PORT:CLIENT_PORT`
    #[arg(long, value_name = "HOST,...", value_delimiter = ',')]
    hosts: Vec<Host>,

    /// Where etcd listens
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0")]
    listen: IpAddr,

    /// Where rootCA.crt, NAME.etcd.crt and NAME.etcd.key lie on the host
    #[arg(long, value_name = "DIR", default_value = "/etc/etcd", value_hint = ValueHint::DirPath)]
    etcd_dir: PathBuf,

    /// Where etcd keeps its data [default: what its service says]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    data_dir: Option<PathBuf>,

    /// What keeps this etcd apart from others
    #[arg(long = "cluster-name", value_name = "NAME", default_value = "palisade")]
    cluster_name: String,

    /// Write the files `etcd` and `palisade.env` into this directory instead of showing them
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    out: Option<PathBuf>,

    /// Replace files that are there
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    store: StoreArgs,

    #[command(flatten)]
    cluster: LedgerArgs,
}

/// Where the ledger is, as far as this command asks it.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Where the cluster is")]
struct LedgerArgs {
    /// The node's data directory [default: /var/lib/palisade for root, else ~/.local/share/palisade]
    #[arg(long, value_name = "DIR", env = "PALISADE_DIR", hide_env_values = true, value_hint = ValueHint::DirPath)]
    dir: Option<PathBuf>,

    /// The daemon's control socket [default: DIR/control.sock]
    #[arg(long, value_name = "PATH", env = "PALISADE_SOCKET", hide_env_values = true, value_hint = ValueHint::FilePath)]
    socket: Option<PathBuf>,
}

/// A host of etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Host {
    name: String,
    address: String,
    peer: u16,
    client: u16,
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, place) = text.split_once('=').unwrap_or((text, text));
        let (address, ports) = match place.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
            Some((address, ports)) => (format!("[{address}]"), ports.strip_prefix(':')),
            None => match place.split_once(':') {
                Some((address, ports)) => (address.to_owned(), Some(ports)),
                None => (place.to_owned(), None),
            },
        };
        let bare = address.trim_matches(['[', ']']);
        palisade_ledger::parse_host(bare).map_err(|error| format!("{bare}: {error}"))?;
        palisade_ledger::parse_host(name).map_err(|error| format!("{name}: {error}"))?;
        let (peer, client) = match ports {
            None => (PEER_PORT, CLIENT_PORT),
            Some(ports) => ports
                .split_once(':')
                .and_then(|(peer, client)| Some((peer.parse().ok()?, client.parse().ok()?)))
                .ok_or_else(|| format!("{ports}: two ports are wanted, PEER:CLIENT"))?,
        };
        Ok(Self {
            name: name.to_owned(),
            address,
            peer,
            client,
        })
    }
}

impl Host {
    fn peer_url(&self) -> String {
        format!("https://{}:{}", self.address, self.peer)
    }

    fn client_url(&self) -> String {
        format!("https://{}:{}", self.address, self.client)
    }
}

/// Runs it.
pub(super) fn run(args: &EnvArgs) -> Outcome {
    let hosts = match args.hosts.as_slice() {
        [] => from_ledger(args)?,
        hosts => hosts.to_vec(),
    };
    let Some(own) = hosts.iter().find(|host| host.name == args.name) else {
        let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
        return Err(CliError::usage(format!(
            "{} is none of the hosts: {}",
            args.name,
            names.join(", ")
        )));
    };
    let (etcd, daemon) = (etcd_file(args, own, &hosts), daemon_file(args, &hosts));
    let Some(directory) = &args.out else {
        out::write(format!("{etcd}\n{daemon}").as_bytes())?;
        return Ok(Exit::Done);
    };
    let paths = [directory.join("etcd"), directory.join("palisade.env")];
    let mut staged = Vec::new();
    for (path, text) in paths.iter().zip([&etcd, &daemon]) {
        staged.push(files::stage(
            path,
            text.as_bytes(),
            Audience::Everybody,
            args.force,
        )?);
    }
    files::place_all(staged)?;
    out::line(&format!(
        "{} is for /etc/default/etcd of {}, {} for its palisade daemon",
        paths[0].display(),
        own.name,
        paths[1].display()
    ))?;
    Ok(Exit::Done)
}

fn from_ledger(args: &EnvArgs) -> Result<Vec<Host>, CliError> {
    let cluster = ClusterArgs {
        dir: args.cluster.dir.clone(),
        socket: args.cluster.socket.clone(),
        ..ClusterArgs::default()
    };
    let view = View::open(&cluster)
        .map_err(|error| error.hint("or name the hosts with --hosts n1,n2,n3"))?;
    let bracket = |host: &str| {
        if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_owned()
        }
    };
    let host = |node: &palisade_ledger::Node| Host {
        name: format!("n{}", node.id),
        address: bracket(node.address.host()),
        peer: PEER_PORT,
        client: CLIENT_PORT,
    };
    Ok(view.state().members().map(host).collect())
}

/// The seed's /etc/default/etcd.
fn etcd_file(args: &EnvArgs, own: &Host, hosts: &[Host]) -> String {
    let listen = match args.listen {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let in_dir = |name: &str| quoted(&args.etcd_dir.join(name));
    let (certificate, key) = (
        in_dir(&format!("{}.etcd.crt", own.name)),
        in_dir(&format!("{}.etcd.key", own.name)),
    );
    let ca = in_dir("rootCA.crt");
    let cluster: Vec<String> = hosts
        .iter()
        .map(|host| format!("{}={}", host.name, host.peer_url()))
        .collect();
    let mut text = format!(
        "\
# /etc/default/etcd of {name}: systemctl restart etcd
# unqualified first name
ETCD_NAME={name}
# where we actually listen for peers
ETCD_LISTEN_PEER_URLS=https://{listen}:{peer}
# where we actually listen for clients
ETCD_LISTEN_CLIENT_URLS=https://{listen}:{client}
# advertise where this machine is listening for clients
ETCD_ADVERTISE_CLIENT_URLS={client_url}
# --initial flags are used during bootstrapping and ignored afterwards, so it is
# ok to specify them always
# advertise where this machine is listening for peer
ETCD_INITIAL_ADVERTISE_PEER_URLS={peer_url}
ETCD_INITIAL_CLUSTER={cluster}
ETCD_INITIAL_CLUSTER_TOKEN={token}
ETCD_INITIAL_CLUSTER_STATE=new
# clients and peers prove themselves by certificates of this CA, and so does this host
ETCD_TRUSTED_CA_FILE={ca}
ETCD_CERT_FILE={certificate}
ETCD_KEY_FILE={key}
ETCD_CLIENT_CERT_AUTH=true
ETCD_PEER_TRUSTED_CA_FILE={ca}
ETCD_PEER_CERT_FILE={certificate}
ETCD_PEER_KEY_FILE={key}
ETCD_PEER_CLIENT_CERT_AUTH=true
# history goes after an hour; keys stay
ETCD_AUTO_COMPACTION_MODE=periodic
ETCD_AUTO_COMPACTION_RETENTION=1h
",
        name = own.name,
        peer = own.peer,
        client = own.client,
        client_url = own.client_url(),
        peer_url = own.peer_url(),
        cluster = cluster.join(","),
        token = args.cluster_name,
    );
    if let Some(data) = &args.data_dir {
        text.push_str("# where the data is\nETCD_DATA_DIR=");
        text.push_str(&quoted(data));
        text.push('\n');
    }
    text
}

/// The daemon's variables.
fn daemon_file(args: &EnvArgs, hosts: &[Host]) -> String {
    let store = &args.store;
    let endpoints: Vec<String> = if store.is_given() {
        store.store_endpoints.clone()
    } else {
        hosts.iter().map(Host::client_url).collect()
    };
    let file = |given: &Option<PathBuf>, name: &str| {
        let path = given.clone();
        quoted(&path.unwrap_or_else(|| Path::new("/etc/palisade").join(name)))
    };
    format!(
        "\
# for `palisade daemon`: EnvironmentFile= of its service
PALISADE_STORE_ENDPOINTS={}
PALISADE_STORE_CA_FILE={}
PALISADE_STORE_CERT_FILE={}
PALISADE_STORE_KEY={}
",
        endpoints.join(","),
        file(&store.store_ca_file, "rootCA.crt"),
        file(&store.store_cert_file, "palisade_services.crt"),
        file(&store.store_key, "palisade_services.key"),
    )
}

/// A path as systemd's `EnvironmentFile=` and a shell read it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@".contains(c);
    if text.chars().all(plain) {
        return text;
    }
    files::shell_quote(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        env: EnvArgs,
    }

    fn parse(line: &[&str]) -> EnvArgs {
        let line = ["x"].iter().chain(line);
        Only::try_parse_from(line).ok().unwrap().env
    }

    #[test]
    fn a_host_is_a_name_and_may_have_an_address_and_ports() {
        let host = |text: &str| text.parse::<Host>();
        assert_eq!(host("n1").unwrap().client_url(), "https://n1:2379");
        assert_eq!(
            host("n1=10.0.0.1").unwrap().peer_url(),
            "https://10.0.0.1:2380"
        );
        assert_eq!(host("n1=h:1:2").unwrap().peer_url(), "https://h:1");
        assert_eq!(
            host("n1=[::1]:1:2").unwrap().client_url(),
            "https://[::1]:2"
        );
        for wrong in ["", "n1=", "n1=h:1", "n1=h:x:y", "a b", "n1=h/x"] {
            assert!(host(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_seeds_file_is_filled_in() {
        let args = parse(&["--node", "n2", "--hosts", "n1,n2,n3"]);
        let text = etcd_file(&args, &args.hosts[1], &args.hosts);
        for line in [
            "ETCD_NAME=n2",
            "ETCD_LISTEN_CLIENT_URLS=https://0.0.0.0:2379",
            "ETCD_ADVERTISE_CLIENT_URLS=https://n2:2379",
            "ETCD_INITIAL_CLUSTER=n1=https://n1:2380,n2=https://n2:2380,n3=https://n3:2380",
            "ETCD_KEY_FILE=/etc/etcd/n2.etcd.key",
            "ETCD_CLIENT_CERT_AUTH=true",
            "ETCD_PEER_CLIENT_CERT_AUTH=true",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        let text = daemon_file(&args, &args.hosts);
        let endpoints = "PALISADE_STORE_ENDPOINTS=https://n1:2379,https://n2:2379,https://n3:2379";
        assert!(text.lines().any(|found| found == endpoints), "{text}");
    }
}
