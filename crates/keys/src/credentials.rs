//! The credentials file: a user's name and secret key, as the QuasarDB tools write it.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{KeyError, SecretKey};

/// Why a credentials file was refused.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// Not the JSON object `{"username": ..., "secret_key": ...}`.
    #[error("line {line}, column {column}: expected {{\"username\": NAME, \"secret_key\": KEY}}")]
    Syntax {
        /// One-based line of the fault.
        line: usize,
        /// One-based column of the fault.
        column: usize,
    },
    /// The key in it is not one.
    #[error("secret_key: {0}")]
    Key(#[from] KeyError),
}

/// Who a person or a program is to the cluster: a name, and the key that proves it.
pub struct Credentials {
    /// The user's name.
    pub username: String,
    /// The user's secret key.
    pub secret_key: SecretKey,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    username: String,
    secret_key: String,
}

#[derive(Serialize)]
struct Write<'a> {
    username: &'a str,
    secret_key: &'a str,
}

impl Credentials {
    /// Reads a credentials file's text.
    pub fn from_json(text: &str) -> Result<Self, CredentialsError> {
        // serde_json's own message may quote the value, which is the secret.
        let read: Read = serde_json::from_str(text).map_err(|error| CredentialsError::Syntax {
            line: error.line(),
            column: error.column(),
        })?;
        let secret = Zeroizing::new(read.secret_key);
        Ok(Self {
            username: read.username,
            secret_key: SecretKey::from_text(&secret)?,
        })
    }

    /// The text of the credentials file, for a file of mode 0600.
    #[must_use]
    pub fn expose_json(&self) -> Zeroizing<String> {
        let secret = self.secret_key.expose_text();
        let file = Write {
            username: &self.username,
            secret_key: &secret,
        };
        // Two strings always serialize; the buffer is one that wipes itself.
        let mut json = Zeroizing::new(serde_json::to_string_pretty(&file).unwrap_or_default());
        json.push('\n');
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_round_trips() {
        let credentials = Credentials {
            username: "al\"ice".to_owned(),
            secret_key: SecretKey::from_seed(Zeroizing::new([9; 32])).unwrap(),
        };
        let again = Credentials::from_json(&credentials.expose_json()).unwrap();
        assert_eq!(again.username, credentials.username);
        assert_eq!(again.secret_key.public(), credentials.secret_key.public());
    }

    #[test]
    fn a_fault_is_placed_and_the_secret_not_repeated() {
        let error = Credentials::from_json("{\n  \"username\": 1,\n  \"secret_key\": \"Shush\"\n}")
            .err()
            .unwrap();
        assert!(error.to_string().starts_with("line 2, column "), "{error}");
        let text = r#"{"username": "a", "secret_key": "Shush"}"#;
        let error = Credentials::from_json(text).err().unwrap();
        assert!(!error.to_string().contains("Shush"), "{error}");
        let text = r#"{"username": "a", "secret_key": "S", "more": 1}"#;
        assert!(Credentials::from_json(text).is_err());
    }
}
