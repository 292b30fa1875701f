//! Sending a notice to where an alert of the ledger says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use palisade_keys::Zeroizing;
use palisade_ledger::{Alert, AlertTarget, NodeId};
use palisade_link::seal::{self, SealSecret};
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

use super::{Notice, mail, program, webhook};

/// How long one attempt may take.
pub(super) const WITHIN: Duration = Duration::from_secs(20);
/// Pauses between attempts; there is one attempt more.
const PAUSES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(10)];

/// What mends a certificate that is not trusted.
pub(super) const AUTHORITIES: &str =
    "if its certificate is of an authority of your own, name that in alerts.ca_file";

/// Why an alert was not sent. Never holds a secret.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct SendError(String);

impl SendError {
    /// With these words.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Sends notices from this node.
pub struct Sender {
    own: NodeId,
    secret: SealSecret,
    commands: BTreeMap<String, Vec<String>>,
    roots: Vec<Vec<u8>>,
    tls: Arc<ClientConfig>,
}

impl Sender {
    /// A sender of node `own`, whose sealed secrets `secret` opens. `commands` are the programs of the
    /// node's configuration; `roots` (DER) are trusted beside the system's.
    pub fn new(
        own: NodeId,
        secret: SealSecret,
        commands: BTreeMap<String, Vec<String>>,
        roots: Vec<Vec<u8>>,
    ) -> Result<Self, SendError> {
        let tls = Arc::new(client_config(&roots)?);
        Ok(Self {
            own,
            secret,
            commands,
            roots,
            tls,
        })
    }

    /// Sends the notice, and tries again twice.
    pub async fn send(&self, alert: &Alert, notice: &Notice) -> Result<(), SendError> {
        for pause in PAUSES {
            match self.once(alert, notice).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::warn!(alert = alert.name, reason = %error, "an alert was not sent; trying again");
                }
            }
            tokio::time::sleep(pause).await;
        }
        self.once(alert, notice).await
    }

    /// Sends the notice once, within a bounded time.
    pub async fn once(&self, alert: &Alert, notice: &Notice) -> Result<(), SendError> {
        match tokio::time::timeout(WITHIN, self.attempt(alert, notice)).await {
            Ok(result) => result,
            Err(_) => Err(SendError::new(format!(
                "no answer within {} seconds",
                WITHIN.as_secs()
            ))),
        }
    }

    async fn attempt(&self, alert: &Alert, notice: &Notice) -> Result<(), SendError> {
        let json =
            serde_json::to_string(notice).map_err(|error| SendError::new(error.to_string()))?;
        match &alert.target {
            AlertTarget::Webhook { url } => {
                let token = self.secret(alert)?;
                webhook::post(url, json, token.as_ref(), self.tls.clone()).await
            }
            AlertTarget::Smtp {
                server,
                from,
                to,
                user,
            } => {
                let password = self.secret(alert)?;
                let envelope = mail::Envelope {
                    server,
                    from,
                    to,
                    user: user.as_deref(),
                };
                mail::send(&envelope, password.as_ref(), notice, &self.roots).await
            }
            AlertTarget::Command { name } => {
                let line = self.commands.get(name).ok_or_else(|| {
                    SendError::new(format!(
                        "this node's configuration has no program alerts.commands.{name}"
                    ))
                })?;
                let ended = program::run(line, &json).await;
                ended.map_err(|error| {
                    SendError::new(format!(
                        "{error}; the program stands in this node's configuration, alerts.commands.{name}"
                    ))
                })
            }
        }
    }

    /// The alert's secret, if it has one.
    fn secret(&self, alert: &Alert) -> Result<Option<Zeroizing<String>>, SendError> {
        if alert.sealed.is_empty() {
            return Ok(None);
        }
        let sealed = alert.sealed.get(&self.own).ok_or_else(|| {
            SendError::new(format!(
                "its secret is not sealed to node {}, which joined later or has new keys: remove the alert and \
                 add it again",
                self.own
            ))
        })?;
        let about = about(&alert.name, &alert.target)?;
        let plain = seal::open(&self.secret, seal::ALERT, &about, sealed).map_err(|_| {
            SendError::new(
                "its secret was not sealed to this node's key for this alert and target: remove the alert and \
                 add it again",
            )
        })?;
        let text =
            std::str::from_utf8(&plain).map_err(|_| SendError::new("its secret is no text"))?;
        Ok(Some(Zeroizing::new(text.to_owned())))
    }
}

/// Seals the secret of an alert to the key of one node, for [`palisade_ledger::NewAlert`]. Moved to an
/// alert of another name or another target, or to another node, it does not open: else whoever may write
/// alerts could have a node send him the secret of one that he can't read.
pub fn seal_secret(
    to: &[u8; 32],
    name: &str,
    target: &AlertTarget,
    secret: &str,
) -> Result<Vec<u8>, SendError> {
    seal::seal(to, seal::ALERT, &about(name, target)?, secret.as_bytes())
        .map_err(|error| SendError::new(error.to_string()))
}

/// What a sealed secret is bound to.
fn about(name: &str, target: &AlertTarget) -> Result<Vec<u8>, SendError> {
    let target = serde_json::to_vec(target).map_err(|error| SendError::new(error.to_string()))?;
    Ok(seal::about(&[name.as_bytes(), &target]))
}

/// TLS towards the world: the system's authorities and `roots`.
fn client_config(roots: &[Vec<u8>]) -> Result<ClientConfig, SendError> {
    let mut store = RootCertStore::empty();
    // A machine without any is no error as long as no alert leaves it.
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for root in roots {
        store
            .add(CertificateDer::from(root.clone()))
            .map_err(|error| SendError::new(format!("alerts.ca_file: {error}")))?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| SendError::new(error.to_string()))?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(config)
}
