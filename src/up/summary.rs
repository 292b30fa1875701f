//! What `palisade up` says when the cluster serves: who, where, and how to connect.

use std::io::Write as _;
use std::net::SocketAddr;

use super::Files;

/// Prints the summary to standard output.
pub(super) fn print(
    files: &Files,
    addresses: &[SocketAddr],
    user: &str,
    database: &str,
    fresh: bool,
) {
    let dir = files.layout.root().display();
    let began = if fresh {
        "A new secured cluster serves"
    } else {
        "The secured cluster serves again"
    };
    let address = addresses
        .first()
        .map_or_else(String::new, ToString::to_string);
    let (host, port) = host_and_port(addresses.first());
    let credentials = files.credentials(user);
    let text = format!(
        "
{began} at {address} (TLS 1.3 only).

  superuser   {user}
  database    {database}
  data        {dir}
  root        {public}

Connect with psql:
  psql \"host={host} port={port} dbname={database} user={user} sslmode=verify-full sslrootcert={root} sslcert={certificate} sslkey={key}\"

Connect with Palisade's own shell:
  palisade shell --cluster-public-key-file={public} --user-credentials-file={credentials} --cluster {host}:{port}

Add a user who may read everything, and give him his credentials file:
  palisade user add --dir {dir} --as {credentials} -u alice --privileges select -s alice.credentials

Ctrl-C stops the cluster; the next `palisade up` starts it again with all that is in it.
",
        public = files.layout.cluster_public_key().display(),
        root = files.layout.root_certificate().display(),
        certificate = files.certificate(user).display(),
        key = files.key(user).display(),
        credentials = credentials.display(),
    );
    let mut out = std::io::stdout().lock();
    // Nobody may be reading; the cluster serves all the same.
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

fn host_and_port(address: Option<&SocketAddr>) -> (String, u16) {
    match address {
        Some(address) if address.ip().is_unspecified() => ("localhost".to_owned(), address.port()),
        Some(address) => (address.ip().to_string(), address.port()),
        None => ("localhost".to_owned(), 0),
    }
}
