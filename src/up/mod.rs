//! `palisade up`: a whole secured cluster on this machine, by one command.
//!
//! The first run makes keys, ledger, a superuser and a PostgreSQL; later runs start them again. It
//! stays until Ctrl-C.

mod nodes;
pub(crate) mod progress;
mod summary;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use palisade_daemon::author::ClusterAuthor;
use palisade_daemon::config::Config;
use palisade_daemon::files;
use palisade_daemon::layout::Layout;
use palisade_daemon::{pki, system};
use palisade_keys::{Credentials, SecretKey};
use palisade_ledger::users_cfg::{FileUser, UsersCfg};
use palisade_ledger::{Privileges, Uid, UserName};
use palisade_link::x509;

use crate::node::{self, NodeError};
use progress::Steps;
use tokio::time::Instant;

/// Years that the superuser's client certificate is good for. It only carries the key to the
/// gateway, where the ledger decides.
const CERTIFICATE_YEARS: i64 = 10;

/// Start a whole secured cluster on this machine, or start it again
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  palisade up\n  palisade up --dir ./cluster --listen 127.0.0.1:5444\n  palisade up --nodes 3"
)]
pub(crate) struct UpArgs {
    /// Where the cluster lives [default: /var/lib/palisade for root, else ~/.local/share/palisade]
    #[arg(long, value_name = "DIR", env = "PALISADE_DIR", hide_env_values = true, value_hint = clap::ValueHint::DirPath)]
    dir: Option<PathBuf>,
    /// Where clients connect
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5433")]
    listen: Vec<SocketAddr>,
    /// The superuser that a new cluster begins with
    #[arg(long, value_name = "NAME", default_value = "admin")]
    superuser: UserName,
    /// The database that a new cluster manages
    #[arg(long, value_name = "NAME", default_value = "main")]
    database: String,
    /// How many nodes run on this machine: three or more share the ledger by a majority. A cluster that
    /// has more already keeps them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=9))]
    nodes: u16,
    /// What a new cluster is called
    #[arg(long, value_name = "NAME", default_value = "palisade")]
    name: String,
    /// Write the whole log to standard error, not what needs attention alone
    #[arg(long, short)]
    verbose: bool,
}

/// The files that `up` makes beside those of the node.
pub(crate) struct Files {
    layout: Layout,
}

impl Files {
    /// The files in this directory; nothing is made.
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            layout: Layout::new(dir),
        }
    }

    /// The user list.
    pub(crate) fn users(&self) -> PathBuf {
        self.layout.root().join("users.cfg")
    }

    /// A user's credentials.
    pub(crate) fn credentials(&self, user: &str) -> PathBuf {
        self.layout.private().join(format!("{user}.credentials"))
    }

    fn certificate(&self, user: &str) -> PathBuf {
        self.layout.private().join(format!("{user}.crt"))
    }

    fn key(&self, user: &str) -> PathBuf {
        self.layout.private().join(format!("{user}.key"))
    }
}

/// Runs until Ctrl-C.
pub(crate) async fn run(args: &UpArgs, dir: PathBuf) -> Result<(), NodeError> {
    // From here on Ctrl-C is kept.
    node::signals();
    let dir = std::path::absolute(&dir).unwrap_or(dir);
    let files = Files::new(&dir);
    let steps = Arc::new(Steps::new());
    // The environment is laid over the defaults, and the command line over both.
    let mut config = Config::load(None, std::env::vars_os())?;
    config.node.data_directory.clone_from(&dir);
    config.gateway.listen.clone_from(&args.listen);
    config.postgres.database.clone_from(&args.database);
    config.security.cluster_private_file = Some(files.layout.cluster_private_key());
    config.security.user_list = Some(files.users());
    if args.verbose {
        node::start_log(&config.node.log);
    } else {
        node::start_quiet_log();
    }
    let fresh = !files.layout.is_initialized();
    if fresh {
        refuse_foreign(&files)?;
        files.layout.create()?;
        steps.begin("Making the cluster's keys and the superuser");
        make_keys(&files, &args.superuser)?;
    }
    let nodes = nodes::Nodes::new(&files.layout, config, args);
    let started = Instant::now();
    let running = nodes.start(&steps).await?;
    steps.done();
    let user = superuser(&files, args);
    if user != args.superuser.as_str() {
        steps.note(&format!(
            "note: this cluster began with the superuser {user}; --superuser {} is not used",
            args.superuser
        ));
    }
    tracing::debug!(took = ?started.elapsed(), "started");
    summary::print(&files, &running, &user, fresh);
    nodes::wait(running).await
}

/// A directory with files of somebody else is left alone.
fn refuse_foreign(files: &Files) -> Result<(), NodeError> {
    let root = files.layout.root();
    let Ok(mut entries) = std::fs::read_dir(root) else {
        return Ok(());
    };
    // A run that was cut short left its keys: it is taken up again.
    let ours = files.layout.private().exists();
    if entries.next().is_some() && !ours {
        return Err(NodeError::NotOurs(root.to_owned()));
    }
    Ok(())
}

/// Makes what is not there yet. A file that is there is kept: a run may have been cut short.
pub(crate) fn make_keys(files: &Files, superuser: &UserName) -> Result<(), NodeError> {
    let path = files.layout.cluster_private_key();
    let author = if path.exists() {
        ClusterAuthor::new(pki::read_secret_key(&path)?)
    } else {
        let author = ClusterAuthor::new(new_key()?);
        files::write_private(&path, author.key().expose_text().as_bytes())?;
        author
    };
    drop(author);
    if files.users().exists() {
        return Ok(());
    }
    let credentials = Credentials {
        username: superuser.to_string(),
        secret_key: new_key()?,
    };
    let user = superuser.as_str();
    files::write_private(
        &files.credentials(user),
        credentials.expose_json().as_bytes(),
    )?;
    let leaf = x509::user_certificate(
        user,
        &credentials.secret_key,
        &system::serial()?,
        system::now(),
        time::Duration::days(365 * CERTIFICATE_YEARS),
    )
    .map_err(pki::PkiError::from)?;
    files::write_private(&files.key(user), leaf.expose_key_pem().as_bytes())?;
    files::write_private(&files.certificate(user), leaf.chain_pem().as_bytes())?;
    let mut list = UsersCfg::default();
    let added = list.add(FileUser {
        uid: Uid::FIRST,
        username: superuser.clone(),
        disabled: false,
        superuser: true,
        default_privileges: Privileges::NONE,
        public_key: credentials.secret_key.public(),
    });
    debug_assert!(added.is_ok(), "an empty list takes its first user");
    Ok(files::write_public(&files.users(), list.text().as_bytes())?)
}

fn new_key() -> Result<SecretKey, NodeError> {
    let seed = system::random::<32>()?;
    SecretKey::from_seed(seed).map_err(|_| NodeError::Entropy(system::NoEntropy))
}

/// The superuser whose credentials lie here: the one asked for, or the one that the cluster began
/// with.
fn superuser(files: &Files, args: &UpArgs) -> String {
    let asked = args.superuser.to_string();
    if files.credentials(&asked).exists() {
        return asked;
    }
    let text = files::read_text(&files.users()).unwrap_or_default();
    let list = UsersCfg::parse(&text).unwrap_or_default();
    let found = list
        .users()
        .iter()
        .find(|user| user.superuser && files.credentials(user.username.as_str()).exists());
    found.map_or(asked, |user| user.username.to_string())
}

/// The directory that was asked for, or the default one.
pub(crate) fn directory(args: &UpArgs) -> Option<PathBuf> {
    args.dir.clone()
}
