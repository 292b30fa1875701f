//! Enrollment tokens as text: the cluster's key, a secret of 32 random bytes, and where to go.
//!
//! ```text
//!   palisade-join-<base64url of: cluster key (32 bytes), seed (32 bytes)>@HOST:PORT,HOST:PORT
//!                                |                       |
//!      the joiner checks the cluster by this first       an Ed25519 key, whose public half alone
//!                                                        stands in the ledger
//! ```
//!
//! Nobody who reads the ledger can make a token of it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use palisade_keys::{PublicKey, SecretKey, Zeroizing};
use palisade_ledger::{NodeAddress, TokenId};

use super::error::CliError;

/// What a token begins with.
const PREFIX: &str = "palisade-join-";
/// Addresses in a token: enough to find a node that lives, short enough to paste.
const MAX_ADDRESSES: usize = 5;
/// Bytes of a key, and of a seed.
const KEY_BYTES: usize = 32;

/// A token, with its secret.
pub(super) struct Token {
    /// The cluster that it belongs to.
    pub(super) cluster: PublicKey,
    /// The secret, as a key that signs.
    pub(super) key: SecretKey,
    /// Nodes to ask.
    pub(super) addresses: Vec<NodeAddress>,
}

impl Token {
    /// A token's text is told from a file's name by its first letters.
    pub(super) fn is_token(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// What the ledger calls a token with this key: the first 8 bytes of the key's fingerprint.
    pub(super) fn id(&self) -> TokenId {
        let fingerprint = self.key.public().fingerprint();
        let mut id = [0; 8];
        for (to, from) in id.iter_mut().zip(fingerprint.as_bytes()) {
            *to = *from;
        }
        TokenId(id)
    }

    /// The text of a token made from `seed`.
    pub(super) fn text(
        cluster: &PublicKey,
        seed: &[u8; KEY_BYTES],
        addresses: &[NodeAddress],
    ) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0; 2 * KEY_BYTES]);
        let all = cluster.as_bytes().iter().chain(seed);
        for (to, from) in bytes.iter_mut().zip(all) {
            *to = *from;
        }
        let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice()));
        let addresses: Vec<String> = addresses
            .iter()
            .take(MAX_ADDRESSES)
            .map(ToString::to_string)
            .collect();
        Zeroizing::new(format!("{PREFIX}{}@{}", *secret, addresses.join(",")))
    }

    /// Reads a token's text.
    pub(super) fn parse(text: &str) -> Result<Self, CliError> {
        let wrong = || {
            CliError::usage("this is not an enrollment token, or only a part of one")
                .hint("`palisade enroll create` on a member makes one")
        };
        let rest = text.trim().strip_prefix(PREFIX).ok_or_else(wrong)?;
        let (secret, addresses) = rest.split_once('@').ok_or_else(wrong)?;
        let bytes = URL_SAFE_NO_PAD.decode(secret).map(Zeroizing::new);
        let bytes = bytes.map_err(|_| wrong())?;
        let (cluster, seed) = bytes.split_at_checked(KEY_BYTES).ok_or_else(wrong)?;
        let cluster: [u8; KEY_BYTES] = cluster.try_into().map_err(|_| wrong())?;
        let seed: [u8; KEY_BYTES] = seed.try_into().map_err(|_| wrong())?;
        let addresses: Result<Vec<NodeAddress>, _> = addresses
            .split(',')
            .take(MAX_ADDRESSES)
            .map(str::parse)
            .collect();
        Ok(Self {
            cluster: PublicKey::from_bytes(cluster),
            key: SecretKey::from_seed(Zeroizing::new(seed)).map_err(|_| wrong())?,
            addresses: addresses.map_err(|_| wrong())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> PublicKey {
        SecretKey::from_seed(Zeroizing::new([3; 32]))
            .unwrap()
            .public()
    }

    #[test]
    fn a_token_says_whom_to_trust_what_to_prove_and_where() {
        let addresses: Vec<NodeAddress> = vec![
            "a.example:7433".parse().unwrap(),
            "[::1]:1".parse().unwrap(),
        ];
        let text = Token::text(&cluster(), &[9; 32], &addresses);
        assert!(Token::is_token(&text));
        let token = Token::parse(&format!("{}\n", *text)).unwrap();
        assert_eq!(token.cluster, cluster());
        assert_eq!(token.addresses, addresses);
        let key = SecretKey::from_seed(Zeroizing::new([9; 32])).unwrap();
        assert_eq!(token.key.public(), key.public());
    }

    #[test]
    fn a_part_of_a_token_is_none() {
        let address = ["h:1".parse().unwrap()];
        let text = Token::text(&cluster(), &[9; 32], &address);
        for end in [0, 5, PREFIX.len(), PREFIX.len() + 40, text.len() - 4] {
            assert!(Token::parse(text.get(..end).unwrap()).is_err(), "{end}");
        }
        assert!(Token::parse(&text.replace('@', "A@")).is_err());
    }
}
