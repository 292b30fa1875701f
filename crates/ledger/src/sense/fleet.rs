//! Sense of the changes about nodes, tokens, certificates and alerts.

use std::collections::BTreeSet;

use palisade_keys::{PublicKey, Signature};

use super::{bound, check_serial, comment, exists, plain};
use crate::address::{self, NodeAddress};
use crate::alert::{AlertTarget, NewAlert};
use crate::certificate::{CertificateKind, Issued};
use crate::change::Change;
use crate::entry::{Entry, Hash, Millis};
use crate::join::{NewToken, Proof, TokenId, join_message, rotate_message};
use crate::limits;
use crate::node::{NewNode, Node, NodeId, StoreConfig};
use crate::state::State;
use crate::verify::Refusal;

/// Whether the entry's change means something in this state. Other changes do not come here.
pub(super) fn check(state: &State, entry: &Entry) -> Result<(), Refusal> {
    match &entry.change {
        Change::NodeAdd { node } => new_node(state, node),
        Change::NodeJoin {
            node,
            proof,
            signature,
        } => join(state, node, *proof, signature, entry.time),
        Change::NodeApprove { id } => {
            let member = !known(state, *id)?.pending;
            news(!member, "this node is a member already")
        }
        Change::NodeRemove { id } => known(state, *id).map(drop),
        Change::NodeRotate {
            id,
            key,
            seal,
            signature,
        } => {
            known(state, *id)?;
            new_key(state, key)?;
            let message = rotate_message(state.cluster_key(), *id, key, seal);
            key.verify(&message, &Signature::from_bytes(*signature))
                .map_err(|_| Refusal::NewKeySignature)
        }
        Change::NodeSet {
            id,
            address,
            hosts,
            store,
        } => {
            known(state, *id)?;
            let some = address.is_some() || hosts.is_some() || store.is_some();
            news(some, "neither address, hosts nor store are given")?;
            if let Some(address) = address {
                free_address(state, *id, address)?;
            }
            check_hosts(hosts.as_deref().unwrap_or_default())
        }
        Change::TokenCreate { token } => new_token(state, token, entry.time),
        Change::TokenRevoke { id } => usable(state, *id).map(drop),
        Change::SecretSet { key } => {
            let same = key.as_ref() == state.join_secret();
            news(!same, "this is the cluster secret already")
        }
        Change::StoreSet { store } => check_store(store),
        Change::CertificateIssued { certificate } => issued(state, certificate, entry),
        Change::AlertAdd { alert } => new_alert(state, alert),
        Change::AlertRemove { name } => match state.alert(name) {
            Some(_) => Ok(()),
            None => Err(Refusal::NoAlert(name.clone())),
        },
        Change::Genesis { .. }
        | Change::UserAdd { .. }
        | Change::UserSet { .. }
        | Change::UserDisabled { .. }
        | Change::UserRemove { .. }
        | Change::UserKey { .. }
        | Change::UserPassword { .. }
        | Change::UserImport { .. }
        | Change::AclSet { .. }
        | Change::AclUnset { .. }
        | Change::HbaSet { .. }
        | Change::SettingSet { .. }
        | Change::IssuingCaAdd { .. }
        | Change::IssuingCaRemove { .. }
        | Change::IssuingCaActivate { .. }
        | Change::CertificateRevoke { .. } => Ok(()),
    }
}

fn news(is_some: bool, otherwise: &'static str) -> Result<(), Refusal> {
    is_some.then_some(()).ok_or(Refusal::Nothing(otherwise))
}

fn known(state: &State, id: NodeId) -> Result<&Node, Refusal> {
    state.node(id).ok_or(Refusal::NoNode(id))
}

fn new_node(state: &State, node: &NewNode) -> Result<(), Refusal> {
    let next = state.next_node_id();
    if node.id != next || state.fleet.last_node == Some(next) {
        return Err(Refusal::NodeIdNotNext { id: node.id, next });
    }
    new_key(state, &node.key)?;
    check_hosts(&node.hosts)?;
    free_address(state, node.id, &node.address)?;
    bound(
        "the list of nodes",
        state.nodes().len() + 1,
        limits::MAX_NODES,
    )
}

/// A node's key is nobody else's.
fn new_key(state: &State, key: &PublicKey) -> Result<(), Refusal> {
    let taken = state.node_by_key(key).is_some() || state.user_by_key(key).is_some();
    if taken || key == state.cluster_key() {
        return Err(Refusal::KeyTaken(*key));
    }
    Ok(())
}

fn free_address(state: &State, id: NodeId, address: &NodeAddress) -> Result<(), Refusal> {
    let other = state
        .nodes()
        .find(|node| node.id != id && node.address == *address);
    match other {
        None => Ok(()),
        Some(other) => Err(Refusal::AddressTaken {
            address: address.clone(),
            node: other.id,
        }),
    }
}

fn check_hosts(hosts: &[String]) -> Result<(), Refusal> {
    bound("the list of hosts", hosts.len() + 1, limits::MAX_HOSTS + 1)?;
    for host in hosts {
        if address::parse_host(host).as_ref() != Ok(host) {
            return Err(Refusal::Text {
                what: "a host",
                wrong: "must be a DNS name in small letters or an IP address".to_owned(),
            });
        }
    }
    distinct("the list of hosts", hosts)
}

fn distinct(what: &'static str, items: &[String]) -> Result<(), Refusal> {
    if items.iter().collect::<BTreeSet<_>>().len() == items.len() {
        return Ok(());
    }
    let wrong = "has something twice".to_owned();
    Err(Refusal::Text { what, wrong })
}

/// A node that joins by a secret must prove it over all of itself, and can't claim another's name.
fn join(
    state: &State,
    node: &NewNode,
    proof: Proof,
    signature: &[u8; 64],
    time: Millis,
) -> Result<(), Refusal> {
    let key = match proof {
        Proof::Secret => *state.join_secret().ok_or(Refusal::NoSecret)?,
        Proof::Token(id) => {
            let (key, expires) = usable(state, id)?;
            if time > expires {
                return Err(Refusal::TokenExpired { token: id, expires });
            }
            key
        }
    };
    let message = join_message(state.cluster_key(), node);
    key.verify(&message, &Signature::from_bytes(*signature))
        .map_err(|_| Refusal::Proof)?;
    new_node(state, node)?;
    let listen = node
        .store
        .iter()
        .flat_map(|store| [&store.peer, &store.client]);
    let named = node.hosts.iter().map(String::as_str);
    let named = named.chain(
        [&node.address]
            .into_iter()
            .chain(listen)
            .map(NodeAddress::host),
    );
    for host in named.filter(|host| !address::is_loopback(host)) {
        if let Some(other) = state.nodes().find(|other| other.is_called(host)) {
            return Err(Refusal::HostTaken {
                host: host.to_owned(),
                node: other.id,
            });
        }
    }
    Ok(())
}

/// A token that is neither used nor revoked: its key, and until when.
fn usable(state: &State, id: TokenId) -> Result<(PublicKey, Millis), Refusal> {
    let token = state.token(id).ok_or(Refusal::NoToken(id))?;
    if let Some(node) = token.used_by {
        return Err(Refusal::TokenUsed { token: id, node });
    }
    if token.revoked {
        return Err(Refusal::TokenRevoked(id));
    }
    Ok((token.key, token.expires))
}

fn new_token(state: &State, token: &NewToken, time: Millis) -> Result<(), Refusal> {
    if state.token(token.id).is_some() {
        return Err(Refusal::TokenTaken(token.id));
    }
    let longest = Millis(time.0.saturating_add(limits::MAX_TOKEN_MILLIS));
    if token.expires <= time || token.expires > longest {
        return Err(Refusal::Bounds {
            what: "a token",
            bounds: "an end after its entry's time and within a year".to_owned(),
        });
    }
    comment("a token's note", &token.note)?;
    if state.fleet.is_full_of_tokens(time) {
        return Err(full("the list of tokens", limits::MAX_TOKENS));
    }
    Ok(())
}

fn full(what: &'static str, most: usize) -> Refusal {
    Refusal::Bounds {
        what,
        bounds: format!("at most {most} that have not expired"),
    }
}

fn check_store(store: &StoreConfig) -> Result<(), Refusal> {
    let StoreConfig::Endpoints(urls) = store else {
        return Ok(());
    };
    bound("the list of endpoints", urls.len(), limits::MAX_ENDPOINTS)?;
    for url in urls {
        let address = url.strip_prefix("https://").map(str::parse::<NodeAddress>);
        let canonical = match address {
            Some(Ok(address)) => format!("https://{address}") == *url,
            Some(Err(_)) | None => false,
        };
        if !canonical {
            return Err(Refusal::Text {
                what: "an endpoint",
                wrong: "must read https://HOST:PORT, in small letters".to_owned(),
            });
        }
    }
    distinct("the list of endpoints", urls)
}

fn issued(state: &State, certificate: &Issued, entry: &Entry) -> Result<(), Refusal> {
    check_serial(&certificate.serial)?;
    let serial = &certificate.serial;
    if state.issued_by_serial(serial).is_some() || state.is_revoked(serial) {
        return Err(Refusal::SerialTaken);
    }
    let subject = &certificate.subject;
    bound("a subject", subject.len(), limits::MAX_SUBJECT_BYTES)?;
    plain("a subject", subject)?;
    // The root signs the issuing CAs; its certificate is no entry.
    let rooted = certificate.kind == CertificateKind::IssuingCa;
    let cas: Vec<Hash> = state.issuing_cas().map(Hash::of).collect();
    if !rooted && !cas.contains(&certificate.issuer) {
        return Err(Refusal::Nothing("there is no such CA"));
    }
    certificate.by.map_or(Ok(()), |uid| exists(state, uid))?;
    let longest = entry.time.0.saturating_add(limits::MAX_LEAF_MILLIS);
    let until = certificate.until.0;
    if until > limits::MAX_TIME_MILLIS || (!rooted && until > longest) {
        return Err(Refusal::Bounds {
            what: "a certificate",
            bounds: "an end within 398 days, an issuing CA's in a year up to 9999".to_owned(),
        });
    }
    if let Some(id) = certificate.holder {
        if known(state, id)?.pending {
            return Err(Refusal::NodePending(id));
        }
        let good = state.fleet.good_ones_of(id, &cas, entry.time);
        bound(
            "a node's list of good certificates",
            good + 1,
            limits::MAX_HELD,
        )?;
    }
    // A node's word on the time drops nothing.
    let now = state.time_after(entry);
    if state.fleet.is_full_of_certificates(&cas, now) {
        return Err(full("the inventory of certificates", limits::MAX_ISSUED));
    }
    Ok(())
}

fn new_alert(state: &State, alert: &NewAlert) -> Result<(), Refusal> {
    word("an alert's name", &alert.name)?;
    if state.alert(&alert.name).is_some() {
        return Err(Refusal::AlertTaken(alert.name.clone()));
    }
    check_target(&alert.target)?;
    for (id, sealed) in &alert.sealed {
        known(state, *id)?;
        bound("a sealed secret", sealed.len(), limits::MAX_SEALED_BYTES)?;
    }
    bound(
        "the list of alerts",
        state.alerts().len() + 1,
        limits::MAX_ALERTS,
    )
}

fn check_target(target: &AlertTarget) -> Result<(), Refusal> {
    match target {
        AlertTarget::Webhook { url } => check_url(url),
        AlertTarget::Smtp { from, to, user, .. } => {
            mail("the sender", from)?;
            bound("the list of recipients", to.len(), limits::MAX_RECIPIENTS)?;
            to.iter().try_for_each(|to| mail("a recipient", to))?;
            distinct("the list of recipients", to)?;
            let Some(user) = user else { return Ok(()) };
            bound("a user's name", user.len(), limits::MAX_TEXT_BYTES)?;
            plain("a user's name", user)
        }
        AlertTarget::Command { name } => word("a command's name", name),
    }
}

/// `[a-z0-9_-]+`: safe in a file, a label and on a terminal.
fn word(what: &'static str, text: &str) -> Result<(), Refusal> {
    bound(what, text.len(), limits::MAX_ALERT_NAME_BYTES)?;
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if text.bytes().all(plain) {
        return Ok(());
    }
    let wrong = "has small letters, digits, - and _ alone".to_owned();
    Err(Refusal::Text { what, wrong })
}

/// An address that can stand in an SMTP command as it is.
fn mail(what: &'static str, text: &str) -> Result<(), Refusal> {
    bound(what, text.len(), limits::MAX_MAIL_ADDRESS_BYTES)?;
    let graphic = |b: u8| b.is_ascii_graphic() && !matches!(b, b'<' | b'>' | b'"' | b'\\' | b',');
    let halves = text.split_once('@');
    if halves.is_some_and(|(local, host)| !local.is_empty() && !host.is_empty())
        && text.bytes().all(graphic)
    {
        return Ok(());
    }
    let wrong = "is no mail address: write NAME@HOST".to_owned();
    Err(Refusal::Text { what, wrong })
}

/// `https://`, or `http://` to the machine itself: what is sent tells of the cluster's weak hours.
fn check_url(url: &str) -> Result<(), Refusal> {
    let text = |wrong: &str| {
        Err(Refusal::Text {
            what: "a webhook's URL",
            wrong: wrong.to_owned(),
        })
    };
    bound("a webhook's URL", url.len(), limits::MAX_URL_BYTES)?;
    let Some((scheme, rest)) = url.split_once("://") else {
        return text("begins with https://");
    };
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return text("has visible ASCII characters alone");
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains(['@', '\\']) {
        return text("has no user name or password in it; give a secret as one");
    }
    match (scheme, host_of(authority)) {
        (_, None) => text("has no host in it"),
        ("https", Some(_)) => Ok(()),
        ("http", Some(host)) if address::is_loopback(&host) => Ok(()),
        ("http", Some(_)) => text("begins with https:// unless it leads to the machine itself"),
        (_, Some(_)) => text("begins with https://"),
    }
}

/// The host of a URL's authority, with or without a port.
fn host_of(authority: &str) -> Option<String> {
    if let Ok(address) = authority.parse::<NodeAddress>() {
        return Some(address.host().to_owned());
    }
    // Without a port: any will do to read it as an address.
    let address = format!("{authority}:443").parse::<NodeAddress>();
    address.ok().map(|address| address.host().to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::entry::{Author, Head};

    const DAY: u64 = 24 * 60 * 60 * 1000;

    fn state() -> State {
        let key = PublicKey::from_bytes([2; 32]);
        let head = Head {
            seq: 0,
            hash: Hash::ZERO,
        };
        State::begin("main".to_owned(), "main".to_owned(), key, head)
    }

    fn node(number: u32) -> NewNode {
        let mut key = [7; 32];
        for (byte, of) in key.iter_mut().zip(number.to_be_bytes()) {
            *byte = of;
        }
        NewNode {
            id: NodeId::new(number).unwrap(),
            key: PublicKey::from_bytes(key),
            seal: [9; 32],
            address: NodeAddress::new(&format!("node{number}"), 7433).unwrap(),
            hosts: Vec::new(),
            store: None,
        }
    }

    #[test]
    fn the_list_of_nodes_is_bounded_and_ids_end() {
        let mut state = state();
        let most = u32::try_from(limits::MAX_NODES).unwrap();
        for number in 1..most {
            state.fleet.add(&node(number), false, 1);
        }
        assert_eq!(new_node(&state, &node(most)), Ok(()));
        state.fleet.add(&node(most), false, 1);
        let above = node(most + 1);
        assert!(matches!(
            new_node(&state, &above),
            Err(Refusal::Bounds { .. })
        ));
        state.fleet.remove(NodeId::FIRST, Millis(0));
        assert_eq!(new_node(&state, &above), Ok(()));
        state.fleet.add(&node(u32::MAX), false, 1);
        assert_eq!(state.next_node_id().get(), u32::MAX);
        let last = new_node(&state, &node(u32::MAX));
        assert!(matches!(last, Err(Refusal::NodeIdNotNext { .. })));
    }

    fn token(number: usize, expires: u64) -> NewToken {
        NewToken {
            id: TokenId((number as u64).to_be_bytes()),
            key: PublicKey::from_bytes([2; 32]),
            expires: Millis(expires),
            approval: false,
            note: String::new(),
        }
    }

    #[test]
    fn expired_tokens_make_room_when_it_is_needed() {
        let (mut state, most) = (state(), limits::MAX_TOKENS);
        for number in 0..most {
            let expires = if number % 2 == 0 { 5 * DAY } else { 10 * DAY };
            state.fleet.create(&token(number, expires), Millis(0));
        }
        let more = token(most, 20 * DAY);
        let early = new_token(&state, &more, Millis(6 * DAY));
        assert!(matches!(early, Err(Refusal::Bounds { .. })));
        let late = Millis(6 * DAY + 1);
        assert_eq!(new_token(&state, &more, late), Ok(()));
        assert_eq!(state.tokens().len(), most);
        state.fleet.create(&more, late);
        assert_eq!(state.tokens().len(), most / 2 + 1);
    }

    fn certificate(number: usize, until: u64, holder: Option<u32>) -> Issued {
        Issued {
            serial: (0x0100_0000 + number).to_be_bytes()[4..].to_vec(),
            subject: "user".to_owned(),
            kind: CertificateKind::IssuingCa,
            holder: holder.map(|number| NodeId::new(number).unwrap()),
            issuer: Hash::ZERO,
            until: Millis(until),
            by: None,
        }
    }

    fn entry(author: Author, time: Millis) -> Entry {
        Entry {
            seq: 1,
            prev: Hash::ZERO,
            time,
            author,
            change: Change::SecretSet { key: None },
        }
    }

    #[test]
    fn expired_certificates_make_room_when_it_is_needed() {
        let (mut state, most) = (state(), limits::MAX_ISSUED);
        for number in 0..most {
            let until = if number < 10 { 5 * DAY } else { 10 * DAY };
            state
                .fleet
                .issue(&certificate(number, until, None), &[], Millis(0));
        }
        assert_eq!(state.issued().len(), most);
        let more = certificate(most, 20 * DAY, None);
        let at = |time| entry(Author::Cluster, Millis(time));
        let early = issued(&state, &more, &at(6 * DAY));
        assert!(matches!(early, Err(Refusal::Bounds { .. })));
        let late = 6 * DAY + 1;
        assert_eq!(issued(&state, &more, &at(late)), Ok(()));
        // A node's clock drops nothing: it may be a liar's.
        let node = entry(Author::Node(NodeId::FIRST), Millis(late));
        let lied = issued(&state, &more, &node);
        assert!(matches!(lied, Err(Refusal::Bounds { .. })));
        state.fleet.issue(&more, &[], Millis(late));
        assert_eq!(state.issued().len(), most - 10 + 1);
    }

    /// A node that fills the inventory keeps nobody from his certificate once it is removed.
    #[test]
    fn who_fills_the_inventory_is_removed_and_makes_room() {
        let (mut state, most) = (state(), limits::MAX_ISSUED);
        state.fleet.add(&node(1), false, 1);
        for number in 0..most {
            let one = certificate(number, 20 * DAY, Some(1));
            state.fleet.issue(&one, &[], Millis(0));
        }
        let held = Arc::clone(state.fleet.issued.values().next().unwrap());
        let more = certificate(most, 20 * DAY, None);
        let now = entry(Author::Cluster, Millis(1));
        let flooded = issued(&state, &more, &now);
        assert!(matches!(flooded, Err(Refusal::Bounds { .. })));
        state.fleet.remove(NodeId::FIRST, Millis(1));
        assert_eq!(issued(&state, &more, &now), Ok(()));
        state.fleet.issue(&more, &[], Millis(1));
        assert_eq!(state.issued().len(), 1);
        assert_eq!(
            (state.fleet.held.len(), state.fleet.issued_to.len()),
            (0, 1)
        );
        // What was revoked stays so.
        assert!(state.issued_by_serial(&held.serial).is_none());
        assert!(state.is_revoked(&held.serial));
        let again = issued(&state, &held, &now);
        assert_eq!(again, Err(Refusal::SerialTaken));
    }
}
