//! What a configuration must be beyond its types.

use serde_json::Value;

use super::{
    document::Document,
    fields::{FIELDS, Kind},
    model::Config,
};

/// Adds a problem for everything that does not fit.
pub(super) fn check(config: &Config, document: &mut Document) {
    bounds(config, document);
    let security = &config.security;
    if !security.enabled {
        document.problem(
            document.place("security.enabled"),
            Some("security.enabled"),
            "a cluster without security is not offered",
            "write true; palisade hba decides who must prove what",
        );
    }
    if security.user_list.is_some() && security.cluster_private_file.is_none() {
        document.problem(
            document.place("security.user_list"),
            Some("security.user_list"),
            "a user list is followed under the cluster key's name, and there is no key",
            "name the key in security.cluster_private_file, or write null",
        );
    }
    if config.gateway.listen.is_empty() {
        document.wrong("gateway.listen", "nobody could connect");
    }
    addresses(config, document);
    store(config, document);
    for (name, command) in &config.alerts.commands {
        let path = format!("alerts.commands.{name}");
        match command.first() {
            Some(program) if program.starts_with('/') => {}
            Some(_) => document.wrong(&path, "a program is named by its absolute path"),
            None => document.wrong(&path, "the program is missing"),
        }
    }
    if config.node.data_directory.as_os_str().is_empty() {
        document.wrong("node.data_directory", "the path is empty");
    }
    if config.postgres.database.is_empty() || config.postgres.database.len() > 63 {
        document.wrong("postgres.database", "a database's name has 1 to 63 bytes");
    }
    let limits = &config.gateway.limits;
    if limits.handshakes_per_address > limits.handshakes {
        document.problem(
            document.place("gateway.limits.handshakes_per_address"),
            Some("gateway.limits.handshakes_per_address"),
            "one address alone could take more than all together",
            "write at most what gateway.limits.handshakes says",
        );
    }
    for name in config.postgres.settings.keys() {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        if name.is_empty() || !name.chars().all(plain) {
            let path = format!("postgres.settings.{name}");
            document.wrong(&path, "no setting of PostgreSQL has such a name");
        }
    }
}

/// Addresses of nodes.
fn addresses(config: &Config, document: &mut Document) {
    if config.api.listen.is_empty() {
        document.wrong("api.listen", "no other node could reach this one");
    }
    if let Some(address) = &config.api.advertise
        && !is_address(address)
    {
        document.wrong("api.advertise", "it is not a host with a port");
    }
    for (index, address) in config.node.join.iter().enumerate() {
        if !is_address(address) {
            document.wrong(
                &format!("node.join[{index}]"),
                "it is not a host with a port",
            );
        }
    }
    let unspecified = config
        .api
        .listen
        .iter()
        .all(|own| own.ip().is_unspecified());
    if unspecified && !config.api.listen.is_empty() && config.api.advertise.is_none() {
        document.problem(
            document.place("api.advertise"),
            Some("api.advertise"),
            "api.listen names all addresses of this machine, and so none that others could use",
            "name host and port at which the other nodes reach this one",
        );
    }
    if !config.node.join.is_empty() && config.security.cluster_private_file.is_none() {
        document.problem(
            document.place("node.join"),
            Some("node.join"),
            "a node proves with the cluster's private key that it may join so, and there is no key",
            "name the key in security.cluster_private_file, or use palisade join",
        );
    }
}

/// The etcd that this node goes to.
fn store(config: &Config, document: &mut Document) {
    for (index, endpoint) in config.store.endpoints.iter().enumerate() {
        let path = format!("store.endpoints[{index}]");
        match endpoint.strip_prefix("https://") {
            Some(address) if is_address(address.trim_end_matches('/')) => {}
            None if is_address(endpoint) => {}
            None if endpoint.starts_with("http://") => {
                document.wrong(&path, "etcd is not spoken to without TLS");
            }
            Some(_) | None => document.wrong(&path, "it is not a host with a port"),
        }
    }
    if config.store.cert_file.is_some() != config.store.key.is_some() {
        let missing = match config.store.key {
            None => "store.key",
            Some(_) => "store.cert_file",
        };
        document.problem(
            document.place(missing),
            Some(missing),
            "a certificate and its key are only of use together",
            "name both, or none",
        );
    }
    if config.store.managed.peer == config.store.managed.client {
        document.wrong("store.managed.peer", "it is also store.managed.client");
    }
}

/// Whether this is `HOST:PORT`, as far as a look tells.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let host_fits = match host.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .is_some_and(|v6| v6.parse::<std::net::Ipv6Addr>().is_ok()),
        None => {
            !host.is_empty()
                && host
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))
        }
    };
    host_fits && port.parse::<u16>().is_ok()
}

/// Numbers outside of the bounds in the table.
fn bounds(config: &Config, document: &mut Document) {
    let values = serde_json::to_value(config).unwrap_or_default();
    for field in FIELDS {
        let Kind::Number(least, most) = field.kind else {
            continue;
        };
        let pointer = format!("/{}", field.path.replace('.', "/"));
        let number = values.pointer(&pointer).and_then(Value::as_u64);
        let fits = |number| (u64::from(least)..=u64::from(most)).contains(&number);
        if let Some(number) = number.filter(|number| !fits(*number)) {
            document.wrong(field.path, &format!("{number} is out of bounds"));
        }
    }
}
