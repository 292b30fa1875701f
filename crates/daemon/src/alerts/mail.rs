//! A mail by SMTP: TLS from the first byte on port 465, else STARTTLS, and never without.

use lettre::message::{Mailbox, header::ContentType};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use palisade_keys::Zeroizing;
use palisade_ledger::NodeAddress;

use super::Notice;
use super::send::{SendError, WITHIN};

/// The port that speaks TLS from the first byte (RFC 8314, section 3.3).
const SUBMISSIONS: u16 = 465;

/// Where a mail goes, from whom, by which server.
pub(super) struct Envelope<'a> {
    pub(super) server: &'a NodeAddress,
    pub(super) from: &'a str,
    pub(super) to: &'a [String],
    pub(super) user: Option<&'a str>,
}

/// Sends the notice. `roots` are trusted beside the system's, in DER.
pub(super) async fn send(
    envelope: &Envelope<'_>,
    password: Option<&Zeroizing<String>>,
    notice: &Notice,
    roots: &[Vec<u8>],
) -> Result<(), SendError> {
    let message = message(envelope, notice)?;
    let host = envelope.server.host();
    let mut tls = TlsParameters::builder(host.to_owned());
    for root in roots {
        let root = Certificate::from_der(root.clone()).map_err(told)?;
        tls = tls.add_root_certificate(root);
    }
    let tls = tls.build_rustls().map_err(told)?;
    let port = envelope.server.port();
    let tls = if port == SUBMISSIONS {
        Tls::Wrapper(tls)
    } else {
        Tls::Required(tls)
    };
    let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
        .port(port)
        .tls(tls)
        .timeout(Some(WITHIN));
    if let (Some(user), Some(password)) = (envelope.user, password) {
        let password = password.trim_end_matches(['\r', '\n']).to_owned();
        transport = transport.credentials(Credentials::new(user.to_owned(), password));
    }
    transport.build().send(message).await.map_err(told)?;
    Ok(())
}

fn message(envelope: &Envelope<'_>, notice: &Notice) -> Result<Message, SendError> {
    let mailbox = |text: &str| {
        text.parse::<Mailbox>()
            .map_err(|error| SendError::new(format!("{text} is no mail address: {error}")))
    };
    let mut message = Message::builder()
        .from(mailbox(envelope.from)?)
        .subject(notice.line())
        .header(ContentType::TEXT_PLAIN);
    for to in envelope.to {
        message = message.to(mailbox(to)?);
    }
    message.body(notice.body()).map_err(told)
}

fn told(error: impl std::error::Error) -> SendError {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    SendError::new(text)
}
