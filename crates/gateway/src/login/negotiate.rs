//! Phase 1: encryption and the startup packet.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::Wire;
use crate::certificate::Presented;
use crate::client::ClientStream;
use crate::refusal::Refusal;
use crate::scram::Channel;
use crate::tls::{ALPN, TlsIdentity};
use crate::wire::backend::{NO, Outgoing, YES};
use crate::wire::startup::{CancelRequest, Opening, Startup, StartupError, packet_length, parse};

/// The first byte of a TLS record with a `ClientHello` (RFC 8446, section 5.1). No startup packet
/// begins with it: it would be longer than any may be.
const TLS_HANDSHAKE: u8 = 0x16;

/// A connection whose startup packet is read.
pub(crate) struct Opened {
    pub(crate) wire: Wire,
    pub(crate) startup: Startup,
    pub(crate) channel: Channel,
    pub(crate) presented: Option<Presented>,
}

/// What a connection turned out to be.
pub(crate) enum Opens {
    Session(Box<Opened>),
    /// The connection stays until the request is dealt with: its end tells the client so.
    Cancel(CancelRequest, Box<Wire>),
}

/// How far the negotiation of encryption is. A client may ask for each kind once.
enum Stage {
    Plain { asked_for_gss: bool },
    Tls,
}

/// A refusal, and the connection on which to tell it if there is still one.
pub(crate) type Failed = (Refusal, Option<Wire>);

/// Reads what the client opens with, and goes over to TLS when it asks for that.
pub(crate) async fn negotiate(
    tcp: TcpStream,
    identity: Arc<TlsIdentity>,
    encrypt_traffic: bool,
) -> Result<Opens, Failed> {
    let mut first = [0];
    match tcp.peek(&mut first).await {
        Ok(0) => return Err((Refusal::Left, None)),
        Ok(_) => {}
        Err(error) => return Err((error.into(), None)),
    }
    let mut stage = Stage::Plain {
        asked_for_gss: false,
    };
    let mut channel = Channel::Plain;
    let mut presented = None;
    let mut wire = Wire::new(ClientStream::Plain(tcp));
    if first == [TLS_HANDSHAKE] {
        (wire, presented) = handshake(wire, &identity, true).await?;
        stage = Stage::Tls;
    }
    if matches!(stage, Stage::Tls) {
        channel = bound_to(&identity);
    }
    loop {
        let opening = match read_opening(&mut wire).await {
            Ok(opening) => opening,
            Err(refusal) => return Err((refusal, Some(wire))),
        };
        match (opening, &mut stage) {
            (Opening::Cancel(request), _) => {
                return Ok(Opens::Cancel(request, Box::new(wire)));
            }
            (Opening::Startup(startup), Stage::Plain { .. }) if encrypt_traffic => {
                // The user's name is not looked at: plaintext tells nothing.
                drop(startup);
                return Err((Refusal::Plaintext, Some(wire)));
            }
            (Opening::Startup(startup), _) => {
                return Ok(Opens::Session(Box::new(Opened {
                    wire,
                    startup,
                    channel,
                    presented,
                })));
            }
            (Opening::Ssl, Stage::Plain { .. }) => {
                if let Err(refusal) = answer(&mut wire, YES).await {
                    return Err((refusal, Some(wire)));
                }
                (wire, presented) = handshake(wire, &identity, false).await?;
                stage = Stage::Tls;
                channel = bound_to(&identity);
            }
            (Opening::GssEncryption, Stage::Plain { asked_for_gss }) if !*asked_for_gss => {
                *asked_for_gss = true;
                if let Err(refusal) = answer(&mut wire, NO).await {
                    return Err((refusal, Some(wire)));
                }
            }
            (Opening::Ssl | Opening::GssEncryption, Stage::Plain { .. } | Stage::Tls) => {
                return Err((Refusal::OutOfPlace, Some(wire)));
            }
        }
    }
}

fn bound_to(identity: &TlsIdentity) -> Channel {
    Channel::Tls {
        end_point: identity.end_point,
    }
}

/// Reads one first packet. Of what may follow it, nothing is looked at.
async fn read_opening(wire: &mut Wire) -> Result<Opening, Refusal> {
    loop {
        if let Some(length) = packet_length(&wire.inbox)?
            && let Some(packet) = wire.inbox.get(..length)
        {
            let opening = parse(packet)?;
            wire.inbox.drain(..length);
            return Ok(opening);
        }
        wire.fill().await?;
    }
}

/// Answers a request for encryption. A client waits for this answer: bytes that are there before it
/// were put there by somebody else, or would be taken for encrypted later (CVE-2021-23214).
async fn answer(wire: &mut Wire, byte: &[u8]) -> Result<(), Refusal> {
    if !wire.inbox.is_empty() {
        return Err(Refusal::Injection);
    }
    wire.send(&Outgoing(byte.to_vec())).await?;
    Ok(())
}

/// Goes over to TLS. Nothing that was read before is carried into it.
async fn handshake(
    wire: Wire,
    identity: &TlsIdentity,
    direct: bool,
) -> Result<(Wire, Option<Presented>), Failed> {
    let (ClientStream::Plain(tcp), true) = (wire.stream, wire.inbox.is_empty()) else {
        return Err((Refusal::Injection, None));
    };
    let stream = TlsAcceptor::from(Arc::clone(&identity.config))
        .accept(tcp)
        .await
        .map_err(|error| (Refusal::Tls(error), None))?;
    let (_, connection) = stream.get_ref();
    let presented = Presented::of(connection.peer_certificates());
    let agreed = connection.alpn_protocol() == Some(ALPN);
    let wire = Wire::new(ClientStream::Tls(Box::new(stream)));
    if direct && !agreed {
        return Err((Refusal::Alpn, Some(wire)));
    }
    Ok((wire, presented))
}

impl From<StartupError> for Failed {
    fn from(error: StartupError) -> Self {
        (error.into(), None)
    }
}
