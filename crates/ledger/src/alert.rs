//! Alerts: who is told when something is wrong.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use serde::Serialize;

use crate::address::NodeAddress;
use crate::codec;
use crate::node::NodeId;
use crate::show;

/// Where an alert goes. Nothing here is secret: passwords and tokens are sealed beside it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertTarget {
    /// An HTTP POST of JSON.
    #[n(0)]
    Webhook {
        /// `https://...`, or `http://` to the machine itself; no user name or password in it.
        #[n(0)]
        url: String,
    },
    /// A mail.
    #[n(1)]
    Smtp {
        /// The mail server.
        #[n(0)]
        server: NodeAddress,
        /// The sender's address.
        #[n(1)]
        from: String,
        /// The recipients' addresses.
        #[n(2)]
        to: Vec<String>,
        /// The name to log in with.
        #[n(3)]
        user: Option<String>,
    },
    /// A program that the sending node's own configuration names.
    #[n(2)]
    Command {
        /// Its name there.
        #[n(0)]
        name: String,
    },
}

/// An alert as it is written down, and as the ledger has it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct NewAlert {
    /// Its name: small letters, digits, `-` and `_`.
    #[n(0)]
    pub name: String,
    /// Where it goes.
    #[n(1)]
    pub target: AlertTarget,
    /// Its secret, for each node that sends it, sealed to that node's key.
    #[cbor(n(2), with = "codec::sealed")]
    #[serde(serialize_with = "show::show_sealed")]
    pub sealed: BTreeMap<NodeId, Vec<u8>>,
}

/// An alert as the ledger has it now.
pub type Alert = NewAlert;
