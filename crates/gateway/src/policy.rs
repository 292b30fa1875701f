//! Who may log in, how, and whether it still holds: pure functions of the ledger's state.

use std::fmt;
use std::net::IpAddr;

use palisade_hba::{ClientCertificate, Decision, Interface, Method, Request, Rule};
use palisade_keys::{PublicKey, ScramVerifier};
use palisade_ledger::{CertificateKind, Hash, Privileges, State, Uid};
use rustls::pki_types::UnixTime;

/// What the names of Palisade's groups in PostgreSQL begin with; the rest is a privilege's.
const GROUP_PREFIX: &str = "palisade_";

/// A login as the rules see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Who the client says it is.
    pub user: String,
    /// The database.
    pub database: String,
    /// Where it comes from.
    pub address: IpAddr,
    /// Whether it came inside of TLS.
    pub tls: bool,
}

impl Attempt {
    /// The first rule that matches. Roles that count are the user's own and Palisade's groups,
    /// `palisade_select` and so on; PostgreSQL's other roles are not the ledger's.
    /// Without the machine's addresses, which rules ask for that are there, there is none: one that
    /// rejects could be passed over.
    pub(crate) fn rule<'s>(
        &self,
        state: &'s State,
        interfaces: Option<&[Interface]>,
    ) -> Option<&'s Rule> {
        let interfaces = interfaces?;
        let is_member = |role: &str| {
            state.user_by_name(&self.user).is_some_and(|user| {
                let group = role.strip_prefix(GROUP_PREFIX);
                role == self.user
                    || group
                        .is_some_and(|group| user.privileges().names().any(|name| name == group))
            })
        };
        let address = self.address.to_canonical();
        let request = Request::tcp(address, self.tls, &self.database, &self.user)
            .with_interfaces(interfaces)
            .with_memberships(&is_member);
        match state.hba().first_match(&request) {
            Decision::Matched(rule) => Some(rule),
            Decision::NoRule => None,
        }
    }
}

/// A certificate of the cluster's CA that was checked. Made by `certificate::Presented::check` alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checked {
    pub(crate) common_name: String,
    pub(crate) serial: Vec<u8>,
    /// Of the issuing CA, in DER.
    pub(crate) issuer: Hash,
}

impl Checked {
    /// The ledger's inventory has it, as a user's certificate under this name, by a CA that is still
    /// one; it is not revoked and not past its end. What else the CA's key signed, be it with this name
    /// and for clients, says nothing about a user: a tool's certificate may be older than he is.
    pub(crate) fn holds(&self, state: &State, now: UnixTime) -> bool {
        let listed = state.issued_by_serial(&self.serial).is_some_and(|issued| {
            issued.kind == CertificateKind::User
                && issued.subject == self.common_name
                && issued.issuer == self.issuer
                && u128::from(issued.until.0) >= u128::from(now.as_secs()) * 1000
        });
        listed
            && !state.is_revoked(&self.serial)
            && state.issuing_cas().any(|der| Hash::of(der) == self.issuer)
    }
}

/// What proved that the client is who it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Nothing; a `trust` rule.
    None,
    /// The password that this verifier checks.
    Password(ScramVerifier),
    /// The user's registered key.
    Key(PublicKey),
    /// A certificate in the user's name.
    Certificate(Checked),
}

impl Proof {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::None => "trust",
            Self::Password(_) => "scram-sha-256",
            Self::Key(_) => "key",
            Self::Certificate(_) => "cert",
        }
    }

    /// Whether a rule with this method would take this proof.
    fn satisfies(&self, method: Method) -> bool {
        match method {
            Method::Reject => false,
            Method::Trust => true,
            Method::ScramSha256 => matches!(self, Self::Password(_)),
            Method::Key => matches!(self, Self::Key(_)),
            Method::Cert => matches!(self, Self::Certificate(_)),
            Method::Auto => !matches!(self, Self::None),
        }
    }
}

/// Why a session must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndReason {
    UserRemoved,
    UserDisabled,
    CredentialGone,
    RuleGone,
    RightsChanged,
    Shutdown,
}

impl EndReason {
    /// For logs and metrics.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::UserRemoved => "user_removed",
            Self::UserDisabled => "user_disabled",
            Self::CredentialGone => "credential_gone",
            Self::RuleGone => "rule_gone",
            Self::RightsChanged => "rights_changed",
            Self::Shutdown => "shutdown",
        }
    }

    /// For the client, who did log in.
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::UserRemoved | Self::UserDisabled => "the user may no longer log in",
            Self::CredentialGone => {
                "the key, certificate or password that it logged in with is no longer valid"
            }
            Self::RuleGone => "the rules no longer let it in this way",
            Self::RightsChanged => "the user's right to transactions has changed",
            Self::Shutdown => "the server is shutting down",
        }
    }
}

/// What a session rests on: it lives as long as all of this holds.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) attempt: Attempt,
    pub(crate) uid: Uid,
    pub(crate) proof: Proof,
    /// The certificate that a `clientcert` option asked for beside the proof.
    pub(crate) certificate: Option<Checked>,
    pub(crate) lockstep: bool,
}

/// Users without `set_transaction` are kept out of transaction blocks, step by step.
pub(crate) fn needs_lockstep(privileges: Privileges) -> bool {
    !privileges.contains(Privileges::SET_TRANSACTION)
}

impl Terms {
    /// Whether it rests on a certificate, which comes to its end without a change of the ledger.
    pub(crate) fn has_certificate(&self) -> bool {
        self.certificate.is_some() || matches!(self.proof, Proof::Certificate(_))
    }

    /// Whether a session on these terms may go on under this state.
    pub(crate) fn check(
        &self,
        state: &State,
        interfaces: Option<&[Interface]>,
        now: UnixTime,
    ) -> Result<(), EndReason> {
        let user = state
            .user_by_name(&self.attempt.user)
            .filter(|user| user.uid == self.uid)
            .ok_or(EndReason::UserRemoved)?;
        if !user.may_log_in() {
            return Err(EndReason::UserDisabled);
        }
        let credential = match &self.proof {
            Proof::None => true,
            Proof::Password(verifier) => user.password.as_ref() == Some(verifier),
            Proof::Key(key) => user.public_key.as_ref() == Some(key),
            Proof::Certificate(certificate) => certificate.holds(state, now),
        };
        let beside = self
            .certificate
            .as_ref()
            .is_none_or(|c| c.holds(state, now));
        if !credential || !beside {
            return Err(EndReason::CredentialGone);
        }
        let rule = self
            .attempt
            .rule(state, interfaces)
            .ok_or(EndReason::RuleGone)?;
        if !self.proof.satisfies(rule.method) || !self.option_holds(rule) {
            return Err(EndReason::RuleGone);
        }
        if needs_lockstep(user.privileges()) && !self.lockstep {
            return Err(EndReason::RightsChanged);
        }
        Ok(())
    }

    fn option_holds(&self, rule: &Rule) -> bool {
        let Some(asked) = rule.client_certificate else {
            return true;
        };
        let ((Proof::Certificate(certificate), _) | (_, Some(certificate))) =
            (&self.proof, &self.certificate)
        else {
            return false;
        };
        match asked {
            ClientCertificate::VerifyCa => true,
            ClientCertificate::VerifyFull => certificate.common_name == self.attempt.user,
        }
    }
}

/// How a login would be decided: the answer to `palisade explain login`. It says more than a client
/// is told; it is for those who may read the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Line and text of the first rule that matches.
    pub rule: Option<(u32, String)>,
    /// Its method.
    pub method: Option<Method>,
    /// What the client would have to show, or why it can't get in.
    pub verdict: Verdict,
}

/// What an [`Explanation`] comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Plaintext is refused before any rule is looked at.
    PlaintextRefused,
    /// No rule matches.
    NoRule,
    /// The rule is a `reject`.
    Rejected,
    /// There is no user of this name; the login takes its course and fails.
    UnknownUser,
    /// The user is disabled or denied; the login takes its course and fails.
    MayNotLogIn,
    /// The user has nothing that the method takes.
    NothingToShow,
    /// The cluster manages another database. Who proves himself is then refused by PostgreSQL, where
    /// it is missing or nobody may connect to it.
    OtherDatabase,
    /// The client must show one of these.
    Asked {
        /// Nothing is asked.
        nothing: bool,
        /// The user's registered key would do.
        key: bool,
        /// A certificate of the cluster's CA in the user's name would do.
        certificate: bool,
        /// The password would do.
        password: bool,
    },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PlaintextRefused => f.write_str("refused: traffic must be encrypted"),
            Self::NoRule => f.write_str("refused: no rule matches"),
            Self::Rejected => f.write_str("refused: the rule rejects"),
            Self::UnknownUser => f.write_str("fails: there is no such user"),
            Self::MayNotLogIn => f.write_str("fails: the user is disabled or denied"),
            Self::NothingToShow => {
                f.write_str("fails: the user has no credential that this method takes")
            }
            Self::OtherDatabase => {
                f.write_str("fails, after the proof: the cluster manages another database")
            }
            Self::Asked { nothing: true, .. } => f.write_str("let in without a proof"),
            Self::Asked {
                key,
                certificate,
                password,
                ..
            } => {
                let ways = [
                    (*key, "the user's key"),
                    (
                        *certificate,
                        "a certificate of the cluster's CA in the user's name",
                    ),
                    (*password, "the password"),
                ];
                let ways: Vec<&str> = ways
                    .iter()
                    .filter_map(|(would_do, way)| would_do.then_some(*way))
                    .collect();
                write!(f, "let in with {}", ways.join(", or "))
            }
        }
    }
}

/// Tells which rule a login would meet and what it would be asked, without a login.
#[must_use]
pub fn explain(
    state: &State,
    interfaces: &[Interface],
    encrypt_traffic: bool,
    attempt: &Attempt,
) -> Explanation {
    let rule = attempt.rule(state, Some(interfaces));
    let verdict = match (attempt.tls || !encrypt_traffic, rule) {
        (false, _) => Verdict::PlaintextRefused,
        (true, None) => Verdict::NoRule,
        (true, Some(rule)) => verdict(state, rule.method, attempt),
    };
    Explanation {
        rule: rule.map(|rule| (rule.line, rule.text.clone())),
        method: rule.map(|rule| rule.method),
        verdict,
    }
}

fn verdict(state: &State, method: Method, attempt: &Attempt) -> Verdict {
    if method == Method::Reject {
        return Verdict::Rejected;
    }
    let Some(user) = state.user_by_name(&attempt.user) else {
        return Verdict::UnknownUser;
    };
    if !user.may_log_in() {
        return Verdict::MayNotLogIn;
    }
    let auto = method == Method::Auto;
    let key = attempt.tls && (auto || method == Method::Key) && user.public_key.is_some();
    let certificate = attempt.tls && (auto || method == Method::Cert);
    let password = (auto || method == Method::ScramSha256) && user.password.is_some();
    let nothing = method == Method::Trust;
    if !(nothing || key || certificate || password) {
        Verdict::NothingToShow
    } else if attempt.database == state.database() {
        Verdict::Asked {
            nothing,
            key,
            certificate,
            password,
        }
    } else {
        Verdict::OtherDatabase
    }
}
