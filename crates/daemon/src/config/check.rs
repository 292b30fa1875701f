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
