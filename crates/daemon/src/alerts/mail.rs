//! A mail by SMTP: TLS from the first byte on port 465, else STARTTLS, and never without.

use lettre::message::{Mailbox, header::ContentType};
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::{self, authentication::Credentials};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use palisade_keys::Zeroizing;
use palisade_ledger::NodeAddress;

use super::Notice;
use super::send::{AUTHORITIES, SendError, WITHIN};

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
    let sent = transport.build().send(message).await;
    sent.map(drop).map_err(|error| {
        let remedy = remedy(&error);
        SendError::new(format!("{}; {remedy}", told(error)))
    })
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

/// What may mend it.
fn remedy(error: &smtp::Error) -> &'static str {
    let text = words(error);
    let code = error.status().map(|code| code.to_string());
    match code.as_deref() {
        Some("530" | "534" | "535" | "538") => {
            "remove the alert and add the alert again with the user and password that the server takes"
        }
        Some(_) => "the server's own log says why",
        None if text.contains("STARTTLS") => {
            "a mail goes by TLS alone: name the port at which the server offers that, mostly 587 or 465"
        }
        None if text.contains("authentication mechanism") => {
            "the server must offer PLAIN or LOGIN to who has a password"
        }
        None if error.is_tls() || text.contains("certificate") => AUTHORITIES,
        None => "is the server there, and may this node reach it?",
    }
}

fn told(error: impl std::error::Error) -> SendError {
    SendError::new(words(&error))
}

/// An error with its causes.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
