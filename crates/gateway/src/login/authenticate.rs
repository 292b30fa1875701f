//! Phase 2: the rule, and the proof that it asks for.

use std::net::IpAddr;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use palisade_hba::{ClientCertificate, Method};
use palisade_ledger::{State, User};

use super::Wire;
use super::negotiate::Opened;
use crate::certificate::Presented;
use crate::policy::{Attempt, Checked, Proof, Terms, needs_lockstep};
use crate::refusal::Refusal;
use crate::scram::{Channel, NONCE_BYTES, Offer, ScramSecret};
use crate::server::Shared;
use crate::wire::backend::Outgoing;
use crate::wire::frontend::sasl_initial;

/// A client that proved who it is. Made by [`authenticate`] alone.
#[must_use]
pub(crate) struct Authenticated {
    pub(crate) terms: Terms,
    /// The ledger's last entry about the user.
    pub(crate) changed: u64,
    /// What the client is still to be told.
    pub(crate) out: Outgoing,
    /// The rule that let it in.
    pub(crate) line: u32,
    pub(crate) method: Method,
}

/// What a method's check begins with.
struct Case<'a> {
    state: &'a State,
    /// The user, if there is one who may log in.
    user: Option<&'a User>,
    attempt: &'a Attempt,
    method: Method,
    line: u32,
    /// The certificate that the client presented, if it is one of the cluster's.
    certificate: Option<Checked>,
}

/// Finds the rule and asks for the proof that it wants.
pub(crate) async fn authenticate(
    shared: &Shared,
    opened: &mut Opened,
    address: IpAddr,
) -> Result<Authenticated, Refusal> {
    let startup = &opened.startup;
    let mut out = Outgoing::default();
    if startup.needs_negotiation() {
        out.negotiate(startup.agreed_minor(), &startup.protocol_options);
    }
    if startup.wants_replication() {
        return Err(Refusal::Replication);
    }
    let attempt = Attempt {
        user: startup.user.clone(),
        database: startup.database.clone(),
        address,
        tls: opened.channel != Channel::Plain,
    };
    let state = shared.state();
    let rule = attempt
        .rule(&state, shared.interfaces(&state).as_deref())
        .ok_or(Refusal::NoRule)?;
    if rule.method == Method::Reject {
        return Err(Refusal::Rejected { line: rule.line });
    }
    let mut case = Case {
        state: &state,
        user: state
            .user_by_name(&attempt.user)
            .filter(|user| user.may_log_in()),
        attempt: &attempt,
        method: rule.method,
        line: rule.line,
        certificate: None,
    };
    let wants_chain =
        matches!(case.method, Method::Cert | Method::Auto) || rule.client_certificate.is_some();
    if let (true, Some(presented)) = (wants_chain, &opened.presented) {
        // Checked before it is known whether the user exists: it takes its time.
        case.certificate = presented.check(&state, (shared.config.clock)());
    }
    case.check_option(rule.client_certificate)?;
    let proof = prove(shared, opened, &case, &mut out).await?;
    let user = case
        .user
        .ok_or_else(|| case.refuse("no such user, or one who may not log in"))?;
    Ok(Authenticated {
        terms: Terms {
            uid: user.uid,
            lockstep: needs_lockstep(user.privileges()),
            certificate: rule.client_certificate.and(case.certificate.clone()),
            attempt: attempt.clone(),
            proof,
        },
        changed: user.changed,
        out,
        line: case.line,
        method: case.method,
    })
}

/// The proof that the method asks for: what was shown in TLS, or a password.
async fn prove(
    shared: &Shared,
    opened: &mut Opened,
    case: &Case<'_>,
    out: &mut Outgoing,
) -> Result<Proof, Refusal> {
    let key = opened.presented.as_ref().and_then(Presented::key);
    let proof = match case.method {
        Method::Reject => return Err(Refusal::Rejected { line: case.line }),
        Method::Trust => Some(Proof::None),
        Method::Key => case.by_key(key),
        Method::Cert => case.by_certificate(),
        Method::Auto => case.by_key(key).or_else(|| case.by_certificate()),
        Method::ScramSha256 => None,
    };
    match (proof, case.method) {
        (Some(proof), _) => Ok(proof),
        (None, Method::Auto | Method::ScramSha256) => {
            by_password(shared, &mut opened.wire, opened.channel, case, out).await
        }
        (None, Method::Reject | Method::Trust | Method::Key | Method::Cert) => {
            Err(case.refuse("the client did not show it"))
        }
    }
}

impl Case<'_> {
    fn refuse(&self, reason: &'static str) -> Refusal {
        Refusal::Credential {
            method: self.method,
            line: self.line,
            user: self.attempt.user.clone(),
            reason,
        }
    }

    /// What `clientcert` asks beyond the method.
    fn check_option(&self, asked: Option<ClientCertificate>) -> Result<(), Refusal> {
        let fits = match (asked, &self.certificate) {
            (None, _) | (Some(ClientCertificate::VerifyCa), Some(_)) => true,
            (Some(ClientCertificate::VerifyFull), Some(shown)) => {
                shown.common_name == self.attempt.user
            }
            (Some(_), None) => false,
        };
        if fits {
            Ok(())
        } else {
            Err(self.refuse("the rule's clientcert is not met"))
        }
    }

    fn by_key(&self, key: Option<palisade_keys::PublicKey>) -> Option<Proof> {
        let registered = self.user?.public_key?;
        (key? == registered).then_some(Proof::Key(registered))
    }

    fn by_certificate(&self) -> Option<Proof> {
        let certificate = self.certificate.as_ref()?;
        let fits = self.user.is_some() && certificate.common_name == self.attempt.user;
        fits.then(|| Proof::Certificate(certificate.clone()))
    }
}

/// SCRAM, the same for everybody up to its end.
async fn by_password(
    shared: &Shared,
    wire: &mut Wire,
    channel: Channel,
    case: &Case<'_>,
    out: &mut Outgoing,
) -> Result<Proof, Refusal> {
    let failed = |error| Refusal::Scram {
        method: case.method,
        line: case.line,
        user: case.attempt.user.clone(),
        error,
    };
    // The salt that is shown is that of a disabled user, too: it must not change when he is disabled.
    let known = case
        .state
        .user_by_name(&case.attempt.user)
        .and_then(|user| user.password.as_ref());
    let secret = ScramSecret::new(&shared.mock, &case.attempt.user, known, case.user.is_some())
        .map_err(|_| Refusal::Entropy)?;
    let mut nonce = [0; NONCE_BYTES];
    SystemRandom::new()
        .fill(&mut nonce)
        .map_err(|_| Refusal::Entropy)?;
    let offer = Offer::new(channel);
    out.sasl(offer.mechanisms());
    wire.send(out).await?;
    out.0.clear();
    let body = wire.answer().await?;
    let (mechanism, message) = sasl_initial(&body)?;
    let (challenged, challenge) = offer
        .first(mechanism, message, secret, &nonce)
        .map_err(failed)?;
    out.sasl_continue(challenge.as_bytes());
    wire.send(out).await?;
    out.0.clear();
    let body = wire.answer().await?;
    let (proved, last) = challenged.finish(&body).map_err(failed)?;
    out.sasl_final(last.as_bytes());
    match known {
        Some(verifier) => {
            tracing::debug!(bound = proved.is_bound(), "password proved");
            Ok(Proof::Password(verifier.clone()))
        }
        // A proof for nobody's password can't be.
        None => Err(case.refuse("no password")),
    }
}
