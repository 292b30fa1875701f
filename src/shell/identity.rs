//! From the two key files to a TLS configuration: what the server must prove, and who we are.

use super::error::plain;
use palisade_keys::{Credentials, PublicKey};
use palisade_link::{tls, x509};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

/// The certificate around the user's key only carries the key: a day is longer than a session lasts,
/// and a clock that is a little off does no harm.
const LIFETIME: Duration = Duration::days(1);

/// A file that can't be used, or no configuration to be made of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum IdentityError {
    #[error("can't read {what} from \"{}\": {}", path.display(), plain(source))]
    Read {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{what} in \"{}\": {reason}", path.display())]
    Contents {
        what: &'static str,
        path: PathBuf,
        reason: String,
    },
    #[error("can't prepare TLS: {0}")]
    Tls(String),
}

/// Who we are towards the cluster.
pub(super) struct Identity {
    /// The user's name, if there are credentials.
    pub(super) user: Option<String>,
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
    /// Something worth a warning.
    pub(super) warning: Option<String>,
}

/// Reads the files and makes the TLS configuration.
pub(super) fn load(
    cluster_key: Option<&Path>,
    credentials: Option<&Path>,
) -> Result<Identity, IdentityError> {
    let Some(cluster_key) = cluster_key else {
        return Ok(Identity {
            user: None,
            tls: None,
            warning: None,
        });
    };
    let cluster_key = read_cluster_key(cluster_key)?;
    let (leaf, user, warning) = match credentials {
        None => (None, None, None),
        Some(path) => {
            let credentials = read_credentials(path)?;
            let leaf = leaf(&credentials)?;
            (Some(leaf), Some(credentials.username), open_to_others(path))
        }
    };
    let config = tls::client_config(&cluster_key, leaf.as_ref())
        .map_err(|error| IdentityError::Tls(error.to_string()))?;
    Ok(Identity {
        user,
        tls: Some(Arc::new(config)),
        warning,
    })
}

fn read_cluster_key(path: &Path) -> Result<PublicKey, IdentityError> {
    let what = "the cluster's public key";
    let text = std::fs::read_to_string(path).map_err(|source| IdentityError::Read {
        what,
        path: path.to_owned(),
        source,
    })?;
    text.trim()
        .parse()
        .map_err(|error: palisade_keys::KeyError| IdentityError::Contents {
            what,
            path: path.to_owned(),
            reason: error.to_string(),
        })
}

fn read_credentials(path: &Path) -> Result<Credentials, IdentityError> {
    let what = "the user's credentials";
    let text = std::fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(|source| IdentityError::Read {
            what,
            path: path.to_owned(),
            source,
        })?;
    Credentials::from_json(&text).map_err(|error| IdentityError::Contents {
        what,
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

fn leaf(credentials: &Credentials) -> Result<x509::Leaf, IdentityError> {
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial)
        .map_err(|_| IdentityError::Tls("no randomness".to_owned()))?;
    // A positive number without leading zeros (RFC 5280, section 4.1.2.2).
    if let Some(first) = serial.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    x509::user_certificate(
        &credentials.username,
        &credentials.secret_key,
        &serial,
        OffsetDateTime::now_utc(),
        LIFETIME,
    )
    .map_err(|error| IdentityError::Tls(error.to_string()))
}

fn open_to_others(path: &Path) -> Option<String> {
    let mode = path.metadata().ok()?.permissions().mode();
    (mode & 0o077 != 0).then(|| {
        let path = path.display();
        format!("warning: \"{path}\" can be read by other users\nhint: chmod 600 \"{path}\"")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn secret() -> palisade_keys::SecretKey {
        palisade_keys::SecretKey::from_seed(Zeroizing::new([7; 32])).unwrap()
    }

    fn credentials() -> tempfile::NamedTempFile {
        let secret_key = secret();
        file(
            &Credentials {
                username: "alice".to_owned(),
                secret_key,
            }
            .expose_json(),
        )
    }

    #[test]
    fn the_two_files_make_an_identity() {
        let key = file(&format!("{}\n", secret().public()));
        let credentials = credentials();
        let identity = load(Some(key.path()), Some(credentials.path())).unwrap();
        assert_eq!(identity.user.as_deref(), Some("alice"));
        assert!(
            identity
                .tls
                .is_some_and(|tls| tls.client_auth_cert_resolver.has_certs())
        );
        assert_eq!(identity.warning, None);
    }

    #[test]
    fn a_file_that_can_not_be_used_is_named_without_its_contents() {
        let wrong = file("Pnonsense");
        let error = load(Some(wrong.path()), None).err().unwrap().to_string();
        assert!(error.contains(wrong.path().to_str().unwrap()), "{error}");
        let key = file(&secret().public().to_string());
        let damaged = file("{\"username\": \"alice\", \"secret_key\": \"Shush\"}");
        let error = load(Some(key.path()), Some(damaged.path()))
            .err()
            .unwrap()
            .to_string();
        assert!(!error.contains("Shush"), "{error}");
        let error = load(Some(Path::new("/nowhere")), None)
            .err()
            .unwrap()
            .to_string();
        assert!(error.starts_with("can't read the cluster's public key from \"/nowhere\""));
    }

    #[test]
    fn credentials_that_others_may_read_are_warned_of() {
        let key = file(&secret().public().to_string());
        let credentials = credentials();
        let open = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(credentials.path(), open).unwrap();
        let identity = load(Some(key.path()), Some(credentials.path())).unwrap();
        assert!(
            identity
                .warning
                .is_some_and(|text| text.contains("chmod 600"))
        );
    }
}
