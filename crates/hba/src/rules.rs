//! A whole text of rules.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Fault, FaultKind, ParseError},
    lexer, limits,
    model::{Address, Rule},
    parse,
};

/// What a new cluster begins with.
const DEFAULT: &str = "\
# Who may connect, from where, and how they prove who they are. The first rule that matches decides;
# where none matches the answer is no. The language is pg_hba.conf's; the methods are
#   auto           the key or certificate that the client presents in TLS, else scram-sha-256
#   key            the user's registered key, as TLS client key
#   cert           a certificate of the cluster's CA with the user's name
#   scram-sha-256  the user's password
#   reject         nobody
#   trust          anybody, without a proof: never use it
#
# TYPE   DATABASE  USER  ADDRESS  METHOD
hostssl  all       all   all      auto
";

/// Rules in their order, with the text they were read from.
///
/// Two are equal when their texts are. `Display` writes the text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rules {
    text: String,
    rules: Vec<Rule>,
}

impl Rules {
    /// Reads a text of rules. A text without any is fine, and lets nobody in.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut faults: Vec<Fault> = Vec::new();
        let mut rules = Vec::new();
        if let Some(fault) = too_long(text) {
            faults.push(fault);
        } else {
            for line in lexer::lines(text) {
                match line.and_then(parse::rule) {
                    Ok(rule) => rules.push(rule),
                    Err(fault) if faults.len() < limits::MAX_FAULTS => faults.push(fault),
                    Err(fault) => {
                        faults.push(Fault {
                            token: String::new(),
                            kind: FaultKind::TooManyFaults,
                            ..fault
                        });
                        break;
                    }
                }
            }
        }
        match ParseError::from_faults(faults) {
            Some(error) => Err(error),
            None => Ok(Self {
                text: text.to_owned(),
                rules,
            }),
        }
    }

    /// What a new cluster begins with: TLS from anywhere, with a key, a certificate or a password.
    #[must_use]
    pub fn default_rules() -> Self {
        Self::parse(DEFAULT).unwrap_or_else(|_| Self {
            // Never reached (a test reads DEFAULT); no rules let nobody in.
            text: String::new(),
            rules: Vec::new(),
        })
    }

    /// The text as it was given.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The rules in their order.
    pub fn iter(&self) -> std::slice::Iter<'_, Rule> {
        self.rules.iter()
    }

    /// Whether any rule asks for this machine's own addresses.
    #[must_use]
    pub fn ask_for_interfaces(&self) -> bool {
        let own =
            |rule: &Rule| matches!(rule.address(), Some(Address::SameHost | Address::SameNet));
        self.iter().any(own)
    }

    /// How many rules there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is no rule, and so nobody gets in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

fn too_long(text: &str) -> Option<Fault> {
    let fault = |line, kind| Fault {
        line,
        column: 1,
        token: String::new(),
        kind,
    };
    if text.len() > limits::MAX_TEXT_BYTES {
        return Some(fault(1, FaultKind::TextTooLong));
    }
    let lines = lexer::split_lines(text).count();
    (lines > limits::MAX_LINES).then(|| {
        let line = u32::try_from(limits::MAX_LINES).unwrap_or(u32::MAX);
        fault(line.saturating_add(1), FaultKind::TooManyLines)
    })
}

impl Default for Rules {
    fn default() -> Self {
        Self::default_rules()
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Rules {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Rules {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        Self::parse(&text)
    }
}

impl From<Rules> for String {
    fn from(rules: Rules) -> Self {
        rules.text
    }
}

impl<'a> IntoIterator for &'a Rules {
    type Item = &'a Rule;
    type IntoIter = std::slice::Iter<'a, Rule>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
