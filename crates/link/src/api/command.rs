//! Commands to the node, signed by users with the privilege `system`.

use palisade_keys::{BadSignature, PublicKey, SecretKey, Signature};
use serde::{Deserialize, Serialize};

use super::{decode, encode};

/// A command to the node. On the wire it is the JSON text that was signed: [`SignedCommand::command`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Stop the daemon and its PostgreSQL.
    Stop,
    /// Drop every managed object of the database.
    PurgeAll,
    /// Give this node new keys, without leaving.
    RotateNode,
    /// Sign a certificate for a key that the asker keeps.
    IssueCertificate(IssueCertificate),
    /// Make a key for a new issuing CA; its certificate request is in [`Done::data`].
    CaCandidate,
    /// Take in the candidate's certificate, which the cluster key signed.
    CaInstall {
        /// Base64 of DER.
        certificate: String,
    },
    /// Have every node prove by a handshake that it works with the candidate.
    CaProve {
        /// Base64 of DER.
        certificate: String,
    },
    /// Sign leaves with the candidate from now on.
    CaCutOver {
        /// Base64 of DER.
        certificate: String,
    },
    /// Give the candidate up.
    CaAbandon {
        /// Base64 of DER.
        certificate: String,
    },
    /// Move the ledger to another store.
    StoreMove {
        /// To where.
        target: StoreTarget,
    },
    /// Send a test message by an alert.
    AlertTest {
        /// The alert's name.
        name: String,
    },
}

/// What a certificate is wanted for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssueCertificate {
    /// Base64 of a PKCS #10 request in DER. Its public key alone is taken from it.
    pub request: String,
    /// What it is for.
    pub purpose: Purpose,
    /// The common name.
    pub name: String,
    /// Host names and addresses that it speaks for.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// For how long.
    pub days: u32,
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// A node's gateway, PostgreSQL and API.
    Server,
    /// A program that serves with TLS and calls with TLS.
    Service,
    /// A program that calls with TLS.
    Tool,
    /// A user of the database; the common name is the user's.
    User,
    /// A node's etcd, and its client of it.
    Store,
}

/// Where a ledger may be moved to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum StoreTarget {
    /// This node alone.
    Embedded,
    /// etcd that the daemons run.
    Managed,
    /// etcd that is there already: `https://HOST:PORT`.
    Endpoints(Vec<String>),
}

impl Command {
    /// The command's name, for logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::PurgeAll => "purge_all",
            Self::RotateNode => "rotate_node",
            Self::IssueCertificate(_) => "issue_certificate",
            Self::CaCandidate => "ca_candidate",
            Self::CaInstall { .. } => "ca_install",
            Self::CaProve { .. } => "ca_prove",
            Self::CaCutOver { .. } => "ca_cut_over",
            Self::CaAbandon { .. } => "ca_abandon",
            Self::StoreMove { .. } => "store_move",
            Self::AlertTest { .. } => "alert_test",
        }
    }
}

/// A number used once, which the next command must be signed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// 64 hexadecimal digits.
    pub challenge: String,
    /// The id of the node that gave it; 0 if it has none.
    #[serde(default)]
    pub node: u32,
}

/// A command with its author's signature over [`SignedCommand::message`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedCommand {
    /// What to do: the exact JSON text that was signed. [`SignedCommand::read`] reads it.
    pub command: String,
    /// Who says so.
    pub uid: u32,
    /// The node that is told, as its challenge named it.
    #[serde(default)]
    pub node: u32,
    /// The challenge that was given.
    pub challenge: String,
    /// Base64 of 64 bytes.
    pub signature: String,
}

impl SignedCommand {
    /// Signs `command` as user `uid` of the cluster `cluster_key`, for the node that gave the challenge.
    pub fn sign(
        command: &Command,
        uid: u32,
        cluster_key: &PublicKey,
        challenge: &Challenge,
        key: &SecretKey,
    ) -> Result<Self, serde_json::Error> {
        let mut signed = Self {
            command: serde_json::to_string(command)?,
            uid,
            node: challenge.node,
            challenge: challenge.challenge.clone(),
            signature: String::new(),
        };
        signed.signature = encode(key.sign(&signed.message(cluster_key)).as_bytes());
        Ok(signed)
    }

    /// What is signed. It can't be mistaken for a ledger entry, nor used on another cluster, at
    /// another node, or twice. The command stands last: nothing follows that it could run into.
    #[must_use]
    pub fn message(&self, cluster_key: &PublicKey) -> Vec<u8> {
        let Self {
            command,
            uid,
            node,
            challenge,
            signature: _,
        } = self;
        format!("palisade command v2\n{cluster_key}\n{uid}\n{node}\n{challenge}\n{command}")
            .into_bytes()
    }

    /// Checks that the owner of `key` signed this for the cluster `cluster_key`.
    pub fn verify(&self, cluster_key: &PublicKey, key: &PublicKey) -> Result<(), BadSignature> {
        let bytes = decode(&self.signature).ok_or(BadSignature)?;
        let bytes = bytes.try_into().map_err(|_| BadSignature)?;
        key.verify(&self.message(cluster_key), &Signature::from_bytes(bytes))
    }

    /// The command that the text says.
    pub fn read(&self) -> Result<Command, serde_json::Error> {
        serde_json::from_str(&self.command)
    }
}

/// A command was carried out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// What was done, in words.
    pub message: String,
    /// What came of it, for commands that give something back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Value>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_keys::Zeroizing;

    fn key(byte: u8) -> SecretKey {
        SecretKey::from_seed(Zeroizing::new([byte; 32])).unwrap()
    }

    fn issue() -> Command {
        Command::IssueCertificate(IssueCertificate {
            request: "AAAA".to_owned(),
            purpose: Purpose::Service,
            name: "backup".to_owned(),
            hosts: vec!["backup.example".to_owned()],
            days: 90,
        })
    }

    fn signed() -> SignedCommand {
        let challenge = Challenge {
            challenge: "00".repeat(32),
            node: 2,
        };
        SignedCommand::sign(&issue(), 7, &key(1).public(), &challenge, &key(2)).unwrap()
    }

    #[test]
    fn a_command_is_the_text_that_was_signed() {
        let text = serde_json::to_string(&signed()).unwrap();
        let read: SignedCommand = serde_json::from_str(&text).unwrap();
        assert_eq!(read.verify(&key(1).public(), &key(2).public()), Ok(()));
        assert_eq!(read.read().unwrap(), issue());
    }

    #[test]
    fn a_signature_holds_for_nothing_else() {
        let changes: [fn(&mut SignedCommand); 5] = [
            |c| c.command = c.command.replace("90", "91"),
            |c| c.command.push(' '),
            |c| c.uid = 8,
            |c| c.node = 3,
            |c| c.challenge = "01".repeat(32),
        ];
        for change in changes {
            let mut other = signed();
            change(&mut other);
            assert!(
                other.verify(&key(1).public(), &key(2).public()).is_err(),
                "{other:?}"
            );
        }
        assert!(signed().verify(&key(3).public(), &key(2).public()).is_err());
        assert!(signed().verify(&key(1).public(), &key(3).public()).is_err());
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let read = |text: &str| serde_json::from_str::<Command>(text);
        assert_eq!(read(r#""stop""#).unwrap(), Command::Stop);
        for text in [
            r#""format""#,
            r#"{"stop":{"now":true}}"#,
            r#"{"alert_test":{"name":"a","to":"b"}}"#,
            r#"{"stop":null,"purge_all":null}"#,
            r#""stop" "purge_all""#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_commands_name_is_that_of_the_wire() {
        for command in [
            Command::Stop,
            issue(),
            Command::CaCutOver {
                certificate: String::new(),
            },
            Command::StoreMove {
                target: StoreTarget::Endpoints(Vec::new()),
            },
        ] {
            let text = serde_json::to_string(&command).unwrap();
            assert!(text.contains(&format!("\"{}\"", command.name())), "{text}");
        }
    }
}
