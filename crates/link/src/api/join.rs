//! Who a node is, how it becomes a member, and how it gets its certificates.

use palisade_keys::{BadSignature, PublicKey, SecretKey, Signature};
use serde::{Deserialize, Serialize};

use super::{Purpose, decode, encode};

/// The header that holds a joiner's [`JoinProof`].
pub const JOIN_HEADER: &str = "x-palisade-join";

/// Characters of the longest [`JoinProof`] header: the proof takes about 200.
const MAX_HEADER: usize = 512;

/// What a node says of itself to anyone. Nothing of it is believed but the key, and that only
/// because TLS proved it: who reads this compares [`Identity::public_key`] with the session's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The node's key, `P` and base64.
    pub key: String,
    /// Base64 of the 32 bytes of the key that secrets for this node are sealed to.
    pub seal: String,
    /// `HOST:PORT` at which others reach its API.
    pub address: String,
    /// Host names and addresses that its certificates are to speak for.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Where its etcd would listen, if it can run one.
    #[serde(default)]
    pub store: Option<StoreAddresses>,
    /// Whether it is a member of a cluster already.
    pub member: bool,
    /// The public key of that cluster, `P` and base64: hearsay, by which a joiner who knows the
    /// cluster's secret but not its key finds out what it is to check.
    #[serde(default)]
    pub cluster: Option<String>,
    /// Palisade's version.
    pub version: String,
}

/// Where a node's etcd listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreAddresses {
    /// `HOST:PORT` for the other members.
    pub peer: String,
    /// `HOST:PORT` for daemons.
    pub client: String,
}

impl Identity {
    /// The node's key, if it is one.
    #[must_use]
    pub fn public_key(&self) -> Option<PublicKey> {
        self.key.parse().ok()
    }

    /// The key that secrets for this node are sealed to, if it is one.
    #[must_use]
    pub fn seal_key(&self) -> Option<[u8; 32]> {
        decode(&self.seal)?.try_into().ok()
    }
}

/// What a joiner knows that lets it in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinKind {
    /// The enrollment token of this id: 16 hexadecimal digits.
    Token(String),
    /// The cluster's secret.
    Secret,
    /// The cluster's private key.
    ClusterKey,
}

/// A joiner's proof, made inside one TLS session and worth nothing in another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinProof {
    /// `token:ID`, `secret` or `cluster_key`.
    proof: String,
    /// Base64 of the signature over `palisade_ledger::session_message`.
    signature: String,
}

impl JoinProof {
    /// Proves the possession of `key` (which the token or secret gave, or the cluster's own) by a
    /// signature over `message`: `palisade_ledger::session_message` of the cluster, of this
    /// session's exporter and of the joiner's own node key.
    #[must_use]
    pub fn new(kind: &JoinKind, message: &[u8], key: &SecretKey) -> Self {
        Self {
            proof: match kind {
                JoinKind::Token(id) => format!("token:{id}"),
                JoinKind::Secret => "secret".to_owned(),
                JoinKind::ClusterKey => "cluster_key".to_owned(),
            },
            signature: encode(key.sign(message).as_bytes()),
        }
    }

    /// What the joiner says that it knows; `None` for what nobody knows.
    #[must_use]
    pub fn kind(&self) -> Option<JoinKind> {
        match self.proof.as_str() {
            "secret" => Some(JoinKind::Secret),
            "cluster_key" => Some(JoinKind::ClusterKey),
            other => {
                let id = other.strip_prefix("token:")?;
                let digits = id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit());
                digits.then(|| JoinKind::Token(id.to_owned()))
            }
        }
    }

    /// Checks the signature: `message` is made of this session's own exporter and of the key that TLS
    /// proved, never of anything that the joiner said.
    pub fn verify(&self, message: &[u8], key: &PublicKey) -> Result<(), BadSignature> {
        let bytes = decode(&self.signature).ok_or(BadSignature)?;
        let bytes = bytes.try_into().map_err(|_| BadSignature)?;
        key.verify(message, &Signature::from_bytes(bytes))
    }

    /// The value of the header [`JOIN_HEADER`].
    #[must_use]
    pub fn to_header(&self) -> String {
        encode(&serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads the value of the header.
    #[must_use]
    pub fn from_header(text: &str) -> Option<Self> {
        if text.len() > MAX_HEADER {
            return None;
        }
        serde_json::from_slice(&decode(text)?).ok()
    }
}

/// What a waiting node is told when an operator added it: the cluster, and the chain that says so.
/// It believes what it can verify, and that the chain names its own key as a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adopt {
    /// `P` and base64.
    pub cluster_public_key: String,
    /// Base64 of CBOR sequences: the whole chain, page after page, from the genesis on.
    pub entries: Vec<String>,
}

/// A member node asks an issuer to sign a certificate for a key that it keeps to itself. Names and
/// addresses are taken from the node's entry in the ledger, never from here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateRequest {
    /// Base64 of a PKCS #10 request in DER. Its public key alone is taken from it.
    pub request: String,
    /// [`Purpose::Server`] or [`Purpose::Store`].
    pub purpose: Purpose,
}

/// The certificate, and what leads from it to the cluster key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateReply {
    /// Base64 of DER each, the leaf first.
    pub chain: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_keys::Zeroizing;

    #[test]
    fn a_proof_travels_in_a_header() {
        let key = SecretKey::from_seed(Zeroizing::new([1; 32])).unwrap();
        for kind in [
            JoinKind::Token("00112233445566aa".to_owned()),
            JoinKind::Secret,
            JoinKind::ClusterKey,
        ] {
            let header = JoinProof::new(&kind, b"this session", &key).to_header();
            let proof = JoinProof::from_header(&header).unwrap();
            assert_eq!(proof.kind(), Some(kind));
            assert_eq!(proof.verify(b"this session", &key.public()), Ok(()));
            assert!(proof.verify(b"another", &key.public()).is_err());
        }
    }

    #[test]
    fn other_headers_are_refused() {
        let header = |json: &str| JoinProof::from_header(&encode(json.as_bytes()));
        assert_eq!(JoinProof::from_header("{}"), None);
        assert_eq!(header("{}"), None);
        assert_eq!(
            header(r#"{"proof":"secret","signature":"","key":"x"}"#),
            None
        );
        let long = format!(
            r#"{{"proof":"secret","signature":"{}"}}"#,
            "A".repeat(MAX_HEADER)
        );
        assert_eq!(header(&long), None);
        for proof in [
            "",
            "token:",
            "token:0011",
            "token:00112233445566zz",
            "Secret",
            "user",
        ] {
            let json = format!(r#"{{"proof":"{proof}","signature":""}}"#);
            assert_eq!(header(&json).unwrap().kind(), None, "{proof}");
        }
    }
}
