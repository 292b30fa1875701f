//! The one table of all settings. The generated file, the environment variables, the reference and
//! the remedies of errors are made from it; a test compares it with the model.

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Section and name: `gateway.limits.sessions`.
    pub path: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What it is for, in whole sentences.
    pub help: &'static str,
}

/// What a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A whole number within these bounds.
    Number(u32, u32),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A text.
    Text,
    /// A path.
    Path,
    /// `null` or a text; `example` is one.
    Optional {
        /// A value other than `null`.
        example: &'static str,
    },
    /// A list of addresses with ports.
    Addresses,
    /// A list of texts; `example` is one of them.
    List {
        /// One item.
        example: &'static str,
    },
    /// Names with values.
    Settings,
    /// Names with programs and their arguments.
    Commands,
}

impl Kind {
    /// Whether the names within are not ours.
    pub(super) fn is_free(self) -> bool {
        matches!(self, Self::Settings | Self::Commands)
    }
}

impl Field {
    /// The environment variable that overrides it: `PALISADE_GATEWAY_LIMITS_SESSIONS`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("PALISADE_{}", self.path.to_uppercase().replace('.', "_"))
    }

    /// How to write it, in a file or (without the quotes) in the environment.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self.kind {
            Kind::Boolean => "write true or false".to_owned(),
            Kind::Number(least, most) => format!("write a whole number from {least} to {most}"),
            Kind::Choice(words) => format!("write \"{}\"", words.join("\" or \"")),
            Kind::Text => "write a text in double quotes".to_owned(),
            Kind::Path => "write a path in double quotes, best an absolute one".to_owned(),
            Kind::Optional { example } => format!("write null, or a text such as \"{example}\""),
            Kind::Addresses => {
                "write a list of addresses with ports, such as [\"127.0.0.1:5433\", \"[::1]:5433\"]"
                    .to_owned()
            }
            Kind::List { example } => {
                format!("write a list of texts, such as [\"{example}\"]")
            }
            Kind::Commands => {
                "write names with programs, such as { \"page\": [\"/usr/local/bin/page\", \"on-call\"] }"
                    .to_owned()
            }
            Kind::Settings => {
                "write PostgreSQL's own settings, such as { \"work_mem\": \"16MB\" }".to_owned()
            }
        }
    }
}

/// The sections, and what the generated file says above each.
pub const SECTIONS: &[(&str, &str)] = &[
    (
        "security",
        "What is secured, and with which files. Use absolute paths.",
    ),
    (
        "gateway",
        "The front door: where clients connect with PostgreSQL's protocol.",
    ),
    (
        "gateway.limits",
        "What clients may take. All but the last four hold before login, and protect the door from a flood.",
    ),
    (
        "node",
        "This node: its own data, its control socket and its log.",
    ),
    ("node.log", "The log goes to standard error."),
    (
        "api",
        "The API for the other nodes, the command line and the console: HTTPS, TLS 1.3.",
    ),
    (
        "store",
        "Where the ledger is shared with other nodes. Alone, a node keeps it itself; else the ledger says which etcd it is, and endpoints here override it.",
    ),
    (
        "store.managed",
        "The etcd that the daemon runs itself when the ledger says so (palisade store move managed).",
    ),
    (
        "alerts",
        "What is told to humans. Whom to tell stands in the ledger (palisade alert add).",
    ),
    ("postgres", "The PostgreSQL behind the front door."),
];

/// All settings, in the order of the generated file.
pub const FIELDS: &[Field] = &[
    Field {
        path: "security.enabled",
        kind: Kind::Boolean,
        help: "Always true: a cluster that does not ask who you are is not offered. Use the hba rules to decide who must prove what.",
    },
    Field {
        path: "security.enable_stop",
        kind: Kind::Boolean,
        help: "Whether users with the privilege `system` may stop this node (palisade node stop).",
    },
    Field {
        path: "security.enable_purge_all",
        kind: Kind::Boolean,
        help: "Whether users with the privilege `system` may remove every managed object (palisade purge-all).",
    },
    Field {
        path: "security.encrypt_traffic",
        kind: Kind::Boolean,
        help: "Whether every connection must be inside of TLS. With false a client may choose plaintext where a rule of type host or hostnossl lets it, and proves its password with SCRAM; a bare password is never taken.",
    },
    Field {
        path: "security.cluster_private_file",
        kind: Kind::Optional {
            example: "/etc/palisade/cluster_private.key",
        },
        help: "The cluster's private key (palisade keygen), mode 0600; null on nodes that don't hold it. Needed to follow a user list.",
    },
    Field {
        path: "security.user_list",
        kind: Kind::Optional {
            example: "/etc/palisade/users.cfg",
        },
        help: "A list of users (palisade user add -p): what it says and the ledger lacks is appended under the cluster key's name, at start and whenever the file changes. null for none.",
    },
    Field {
        path: "gateway.listen",
        kind: Kind::Addresses,
        help: "Addresses with ports on which clients connect. Separated by commas in the environment.",
    },
    Field {
        path: "gateway.limits.handshakes",
        kind: Kind::Number(1, 100_000),
        help: "Clients that are not logged in yet, in all. More are closed.",
    },
    Field {
        path: "gateway.limits.handshakes_per_address",
        kind: Kind::Number(1, 100_000),
        help: "Clients that are not logged in yet, from one address (for IPv6, from one /64). More are closed.",
    },
    Field {
        path: "gateway.limits.login_timeout_seconds",
        kind: Kind::Number(1, 600),
        help: "Seconds from the first byte to the end of the login.",
    },
    Field {
        path: "gateway.limits.sessions",
        kind: Kind::Number(1, 100_000),
        help: "Sessions at one time. Managed PostgreSQL's max_connections is made from it.",
    },
    Field {
        path: "gateway.limits.idle_backends_per_user",
        kind: Kind::Number(0, 10_000),
        help: "PostgreSQL backends that are kept after a session for the next login of the same user to the same database. 0 keeps none.",
    },
    Field {
        path: "gateway.limits.idle_backends",
        kind: Kind::Number(0, 10_000),
        help: "Kept backends in all.",
    },
    Field {
        path: "gateway.limits.idle_backend_seconds",
        kind: Kind::Number(1, 86_400),
        help: "Seconds for which a backend is kept.",
    },
    Field {
        path: "node.data_directory",
        kind: Kind::Path,
        help: "Where the ledger, the keys and the certificates are. Only this node's OS user may read it.",
    },
    Field {
        path: "node.control_socket",
        kind: Kind::Optional {
            example: "/run/palisade/control.sock",
        },
        help: "The unix socket for commands on this machine; null is control.sock in data_directory.",
    },
    Field {
        path: "node.join",
        kind: Kind::List {
            example: "db1.example.com:7433",
        },
        help: "Addresses of the API of nodes of the cluster that this node joins at its first start, with security.cluster_private_file. Separated by commas in the environment.",
    },
    Field {
        path: "node.log.level",
        kind: Kind::Choice(&["error", "warn", "info", "debug", "trace"]),
        help: "The least important level that is written: error, warn, info, debug or trace. PALISADE_LOG refines it by module.",
    },
    Field {
        path: "node.log.format",
        kind: Kind::Choice(&["text", "json"]),
        help: "text for people, json for machines.",
    },
    Field {
        path: "api.listen",
        kind: Kind::Addresses,
        help: "Addresses with ports on which the API listens. Other machines can reach it only on an address that is not 127.0.0.1.",
    },
    Field {
        path: "api.advertise",
        kind: Kind::Optional {
            example: "db1.example.com:7433",
        },
        help: "Host and port at which the other nodes reach the API; null is the first address of api.listen.",
    },
    Field {
        path: "api.names",
        kind: Kind::List {
            example: "db1.example.com",
        },
        help: "More host names and addresses that this node's certificate speaks for.",
    },
    Field {
        path: "store.endpoints",
        kind: Kind::List {
            example: "https://etcd1.example.com:2379",
        },
        help: "An existing etcd, version 3.4 or newer, to which this node goes whatever the ledger says; empty follows the ledger.",
    },
    Field {
        path: "store.ca_file",
        kind: Kind::Optional {
            example: "/etc/palisade/etcd-ca.pem",
        },
        help: "The certificate of the CA that signed those of an existing etcd; null is the cluster's own.",
    },
    Field {
        path: "store.cert_file",
        kind: Kind::Optional {
            example: "/etc/palisade/etcd-client.pem",
        },
        help: "The certificate that this node shows to an existing etcd; null is one of the cluster's own CA.",
    },
    Field {
        path: "store.key",
        kind: Kind::Optional {
            example: "/etc/palisade/etcd-client-key.pem",
        },
        help: "The private key of store.cert_file, mode 0600.",
    },
    Field {
        path: "store.managed.peer",
        kind: Kind::Text,
        help: "Address and port on which this node's etcd talks to its other members.",
    },
    Field {
        path: "store.managed.client",
        kind: Kind::Text,
        help: "Address and port on which this node's etcd serves the nodes.",
    },
    Field {
        path: "alerts.commands",
        kind: Kind::Commands,
        help: "Programs that an alert may run on this node, by name: the ledger names them, this file alone says what they are. name=/path argument,name=/path in the environment.",
    },
    Field {
        path: "alerts.refused_logins_per_minute",
        kind: Kind::Number(1, 1_000_000),
        help: "Refused log-ins within a minute from which on an alert is sent.",
    },
    Field {
        path: "alerts.certificate_days",
        kind: Kind::Number(1, 365),
        help: "Days before a certificate's end from which on an alert is sent.",
    },
    Field {
        path: "alerts.ca_file",
        kind: Kind::Optional {
            example: "/etc/palisade/alerts-ca.crt",
        },
        help: "Certificate authorities of webhooks and mail servers, in PEM, beside the system's.",
    },
    Field {
        path: "postgres.mode",
        kind: Kind::Choice(&["managed", "attached"]),
        help: "managed: the daemon makes, starts and stops PostgreSQL. attached: an existing server is only configured.",
    },
    Field {
        path: "postgres.bin_directory",
        kind: Kind::Optional {
            example: "/usr/lib/postgresql/15/bin",
        },
        help: "Where PostgreSQL's programs are; null takes the newest that is found. Version 15 or newer.",
    },
    Field {
        path: "postgres.data_directory",
        kind: Kind::Optional {
            example: "/var/lib/postgresql/15/palisade",
        },
        help: "PostgreSQL's own data; null is postgres in node.data_directory.",
    },
    Field {
        path: "postgres.os_user",
        kind: Kind::Optional {
            example: "postgres",
        },
        help: "The OS user that PostgreSQL runs as; null is the daemon's own, or postgres if that is root, as which PostgreSQL does not run. A root's managed etcd runs as the OS user etcd; where there is none, as this one.",
    },
    Field {
        path: "postgres.database",
        kind: Kind::Text,
        help: "The one database that is managed.",
    },
    Field {
        path: "postgres.listen",
        kind: Kind::Optional {
            example: "127.0.0.1",
        },
        help: "An address on which PostgreSQL itself listens, past the gateway, for clients with a certificate or a password; null is none.",
    },
    Field {
        path: "postgres.port",
        kind: Kind::Number(1, 65_535),
        help: "PostgreSQL's own port.",
    },
    Field {
        path: "postgres.settings",
        kind: Kind::Settings,
        help: "More settings for postgresql.conf, such as { \"work_mem\": \"16MB\" }. name=value,name=value in the environment.",
    },
];

/// The setting of this path.
pub(super) fn find(path: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.path == path)
}

/// The setting of this path, or the one of which this is a part (`gateway.listen[1]`).
pub(super) fn find_around(path: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| {
        path.strip_prefix(field.path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    })
}

/// Whether this is a section, the whole (the empty path) included.
pub(super) fn is_section(path: &str) -> bool {
    path.is_empty() || SECTIONS.iter().any(|(section, _)| *section == path)
}
