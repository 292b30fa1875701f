//! What `palisade up` says when the cluster serves: who, where, and how to connect.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use super::Files;
use crate::node::Running;

/// Prints the summary to standard output.
pub(super) fn print(files: &Files, running: &[Running], user: &str, fresh: bool) {
    let addresses: Vec<SocketAddr> = running
        .iter()
        .filter_map(|node| node.addresses().first().copied())
        .collect();
    let database = running.first().map_or("", Running::database);
    let nodes = nodes(running);
    let dir = quoted(files.layout.root());
    let began = if fresh {
        "A new secured cluster serves"
    } else {
        "The secured cluster serves again"
    };
    let address = addresses
        .first()
        .map_or_else(String::new, ToString::to_string);
    let (host, port) = host_and_port(addresses.first());
    // An IPv6 address stands in brackets before a port.
    let cluster = match addresses.first() {
        Some(address) if !address.ip().is_unspecified() => address.to_string(),
        Some(_) | None => format!("{host}:{port}"),
    };
    let credentials = quoted(&files.credentials(user));
    let text = format!(
        "
{began} at {address} (TLS 1.3 only).

  superuser   {user}
  database    {database}
  data        {dir}
  root        {public}
{nodes}
Connect with psql:
  psql \"host={host} port={port} dbname={database} user={user} sslmode=verify-full sslrootcert={root} sslcert={certificate} sslkey={key}\"

Connect with Palisade's own shell:
  palisade shell --cluster-public-key-file={public} --user-credentials-file={credentials} --cluster {cluster}

Add a user who may read everything, and give him his credentials file:
  palisade user add --dir {dir} --as {credentials} -u alice --privileges select -s alice.credentials

Ctrl-C stops the cluster; the next `palisade up` starts it again with all that is in it.
",
        public = quoted(&files.layout.cluster_public_key()),
        root = value(&files.layout.root_certificate()),
        certificate = value(&files.certificate(user)),
        key = value(&files.key(user)),
    );
    let mut out = std::io::stdout().lock();
    // Nobody may be reading; the cluster serves all the same.
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// The lines of several nodes; none for one alone.
fn nodes(running: &[Running]) -> String {
    if running.len() < 2 {
        return String::new();
    }
    let mut text = String::new();
    for (nth, node) in running.iter().enumerate() {
        let head = if nth == 0 { "nodes" } else { "" };
        let gateway = node.addresses().first();
        let gateway = gateway.map_or_else(String::new, ToString::to_string);
        let id = node.node().map_or_else(String::new, |id| id.to_string());
        let directory = quoted(node.directory());
        // Writing to a String can't fail.
        writeln!(text, "  {head:<12}node {id} at {gateway}, {directory}").ok();
    }
    text
}

/// A path as a shell's word.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:@,".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// A path as a value in a connection string that stands in double quotes (PostgreSQL, chapter
/// "Connection Strings").
fn value(path: &Path) -> String {
    let text = path.display().to_string();
    if text.contains([' ', '\'', '\\']) {
        let escaped = text.replace('\\', "\\\\").replace('\'', "\\'");
        format!("'{escaped}'")
    } else {
        text
    }
}

fn host_and_port(address: Option<&SocketAddr>) -> (String, u16) {
    match address {
        Some(address) if address.ip().is_unspecified() => ("localhost".to_owned(), address.port()),
        Some(address) => (address.ip().to_string(), address.port()),
        None => ("localhost".to_owned(), 0),
    }
}
