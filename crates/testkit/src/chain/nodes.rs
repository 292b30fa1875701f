//! The notation of changes about nodes, joining and the store.

use palisade_keys::sha256;
use palisade_ledger::{
    Change, Millis, NewNode, NewToken, NodeAddress, NodeId, Proof, StoreConfig, TokenId,
    join_message, rotate_message,
};

use super::{BEGIN, Chains, DrawError, Keys, cluster_name, key, wrong};

impl Chains {
    pub(super) fn intern_node(&mut self, name: &str) -> Result<NodeId, DrawError> {
        if let Some(id) = self.node_id(name) {
            return Ok(id);
        }
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.len() < 2 || !name.chars().skip(1).all(plain) {
            return Err(wrong(name, "a node's name reads @NAME, in small letters"));
        }
        let next = u32::try_from(self.nodes.len() + 1).map_err(|error| wrong(name, error))?;
        let id = NodeId::new(next).map_err(|error| wrong(name, error))?;
        self.nodes.insert(name.to_owned(), id);
        Ok(id)
    }

    /// The changes about nodes; none if it is another.
    pub(super) fn node_change(
        &mut self,
        text: &str,
        keys: &mut Keys,
    ) -> Result<Option<Change>, DrawError> {
        let (mark, name) = match text.split_at_checked(1) {
            Some((mark @ ("+" | "-" | "~"), name)) if name.starts_with('@') => (mark, name),
            _ => ("", text),
        };
        let change = match mark {
            "+" => {
                let node = self.new_node(name, keys)?;
                Change::NodeAdd { node }
            }
            "-" => {
                let id = self.intern_node(name)?;
                Change::NodeRemove { id }
            }
            "~" => {
                let id = self.intern_node(name)?;
                Change::NodeApprove { id }
            }
            _ if text.starts_with('@') => self.of_itself(text, keys)?,
            _ => return joining(text),
        };
        Ok(Some(change))
    }

    /// What a node does itself.
    fn of_itself(&mut self, text: &str, keys: &mut Keys) -> Result<Change, DrawError> {
        let cluster = key(&cluster_name(&keys.cluster), 0).map(|key| key.public());
        let cluster = cluster.ok_or_else(|| wrong(text, "no key"))?;
        if let Some((name, secret)) = text.split_once('<') {
            let node = self.new_node(name, keys)?;
            let proof = if secret.starts_with('*') {
                Proof::Secret
            } else {
                Proof::Token(token_id(secret))
            };
            let signer = key(secret, 0).ok_or_else(|| wrong(text, "no key"))?;
            let signature = *signer.sign(&join_message(&cluster, &node)).as_bytes();
            return Ok(Change::NodeJoin {
                node,
                proof,
                signature,
            });
        }
        if let Some(name) = text.strip_suffix('^') {
            let id = self.intern_node(name)?;
            let generation = keys.generation(name) + 1;
            keys.generations.insert(name.to_owned(), generation);
            let new = key(name, generation).ok_or_else(|| wrong(text, "no key"))?;
            let seal = seal_key(name, generation);
            let message = rotate_message(&cluster, id, &new.public(), &seal);
            return Ok(Change::NodeRotate {
                id,
                key: new.public(),
                seal,
                signature: *new.sign(&message).as_bytes(),
            });
        }
        let (name, port) = text
            .split_once(':')
            .ok_or_else(|| wrong(text, "there is no such change"))?;
        Ok(Change::NodeSet {
            id: self.intern_node(name)?,
            address: Some(node_address(name, port)?),
            hosts: None,
            store: None,
        })
    }

    fn new_node(&mut self, name: &str, keys: &Keys) -> Result<NewNode, DrawError> {
        let generation = keys.generation(name);
        let key = key(name, generation).ok_or_else(|| wrong(name, "no key"))?;
        Ok(NewNode {
            id: self.intern_node(name)?,
            key: key.public(),
            seal: seal_key(name, generation),
            address: node_address(name, "7433")?,
            hosts: Vec::new(),
            store: None,
        })
    }
}

/// Tokens, the cluster secret and the store; none if it is another change.
fn joining(text: &str) -> Result<Option<Change>, DrawError> {
    let public = |name: &str| {
        let key = key(name, 0).ok_or_else(|| wrong(text, "no key"))?;
        Ok(key.public())
    };
    let change = if let Some(name) = text.strip_prefix('%') {
        let (name, approval) = match name.strip_suffix('?') {
            Some(name) => (name, true),
            None => (name, false),
        };
        let token = NewToken {
            id: token_id(name),
            key: public(name)?,
            expires: Millis(BEGIN.0 + TOKEN_MILLIS),
            approval,
            note: String::new(),
        };
        Change::TokenCreate { token }
    } else if let Some(name) = text.strip_prefix("-%") {
        let id = token_id(name);
        Change::TokenRevoke { id }
    } else if text == "*" {
        Change::SecretSet { key: None }
    } else if text.starts_with('*') {
        let key = Some(public(text)?);
        Change::SecretSet { key }
    } else if let Some(store) = text.strip_prefix("store=") {
        let store = match store {
            "managed" => StoreConfig::Managed,
            "embedded" => StoreConfig::Embedded,
            _ => return Err(wrong(text, "there is no such store")),
        };
        Change::StoreSet { store }
    } else {
        return Ok(None);
    };
    Ok(Some(change))
}

/// How long after the genesis the tokens of a drawing are good: as long as the first ten entries.
const TOKEN_MILLIS: u64 = 10_500;

fn token_id(name: &str) -> TokenId {
    let hash = sha256(format!("token {name}").as_bytes());
    TokenId(hash.first_chunk().copied().unwrap_or_default())
}

/// Not a key that anybody has the other half of.
fn seal_key(name: &str, generation: u32) -> [u8; 32] {
    let mut key = sha256(format!("seal key {generation} of {name}").as_bytes());
    let [.., high] = &mut key;
    *high &= 0x3f;
    key
}

fn node_address(name: &str, port: &str) -> Result<NodeAddress, DrawError> {
    let name = name.trim_start_matches('@');
    let address = format!("{name}.example.com:{port}");
    address.parse().map_err(|error| wrong(name, error))
}
