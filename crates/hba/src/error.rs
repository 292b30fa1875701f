//! What is wrong with a text of rules, where, and what to write instead.

use std::fmt;

/// Everything that is wrong with a text: at least one fault, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    first: Fault,
    more: Vec<Fault>,
}

impl ParseError {
    pub(crate) fn from_faults(faults: Vec<Fault>) -> Option<Self> {
        let mut faults = faults.into_iter();
        let first = faults.next()?;
        Some(Self {
            first,
            more: faults.collect(),
        })
    }

    /// All faults in the order of the text; at most one per line and
    /// [`limits::MAX_FAULTS`](crate::limits::MAX_FAULTS) in all.
    pub fn faults(&self) -> impl Iterator<Item = &Fault> {
        std::iter::once(&self.first).chain(&self.more)
    }

    /// The first fault.
    #[must_use]
    pub fn first(&self) -> &Fault {
        &self.first
    }

    /// The line of the first fault, counted from 1.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.first.line
    }

    /// The column of the first fault, counted from 1 in characters.
    #[must_use]
    pub fn column(&self) -> u32 {
        self.first.column
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        for fault in &self.more {
            write!(f, "\n{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ParseError {}

/// One fault: a place, a cause and a remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The line, counted from 1.
    pub line: u32,
    /// The column, counted from 1 in characters.
    pub column: u32,
    /// The token that is refused; empty where something is missing.
    pub token: String,
    /// What is wrong.
    pub kind: FaultKind,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: ", self.line, self.column)?;
        if !self.token.is_empty() {
            write!(f, "{:?}: ", self.token)?;
        }
        write!(f, "{}; {}", self.kind, self.kind.remedy())
    }
}

impl std::error::Error for Fault {}

/// A field of a rule, as it is called in messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldName {
    /// `local`, `host`, `hostssl`, ...
    ConnectionType,
    /// The list of databases.
    Database,
    /// The list of users.
    User,
    /// The client's address.
    Address,
    /// The mask in a column of its own.
    Mask,
    /// The authentication method.
    Method,
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConnectionType => "connection type",
            Self::Database => "database",
            Self::User => "user",
            Self::Address => "address",
            Self::Mask => "netmask",
            Self::Method => "authentication method",
        })
    }
}

/// What is wrong with a token or a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The text has more than [`limits::MAX_TEXT_BYTES`](crate::limits::MAX_TEXT_BYTES) bytes.
    TextTooLong,
    /// The text has more than [`limits::MAX_LINES`](crate::limits::MAX_LINES) lines.
    TooManyLines,
    /// The line has more than [`limits::MAX_TOKENS_PER_LINE`](crate::limits::MAX_TOKENS_PER_LINE) tokens.
    TooManyTokens,
    /// The token has more than [`limits::MAX_TOKEN_BYTES`](crate::limits::MAX_TOKEN_BYTES) bytes.
    TokenTooLong,
    /// There were more than [`limits::MAX_FAULTS`](crate::limits::MAX_FAULTS) faults.
    TooManyFaults,
    /// A control character, or one that changes the direction of writing: it hides what the line says.
    ControlCharacter,
    /// A quoted part that its line does not end.
    UnterminatedQuote,
    /// A comma that stands before, after or beside nothing.
    StrayComma,
    /// `@file`.
    IncludedFile,
    /// `include`, `include_if_exists` or `include_dir`.
    IncludeDirective,
    /// Not a connection type.
    UnknownConnectionType,
    /// `hostgssenc`.
    GssEncryption,
    /// More than one value where one is due.
    SeveralValues(FieldName),
    /// The line ends before this field.
    Missing(FieldName),
    /// `""` or `+`.
    EmptyName,
    /// A database or user that begins with a slash: a regular expression to PostgreSQL 16.
    RegularExpression,
    /// Neither an address nor a keyword.
    HostName,
    /// An abbreviated or otherwise unusual address.
    InvalidAddress,
    /// An IPv6 address with a zone.
    ZonedAddress,
    /// What follows the slash is no prefix length of this address family.
    InvalidPrefix,
    /// The mask column is no address.
    InvalidMask,
    /// Address and mask are of different families.
    MaskFamily,
    /// A method of PostgreSQL that Palisade does not have.
    RefusedMethod,
    /// Not a method.
    UnknownMethod,
    /// `cert` or `key` on anything but `hostssl`.
    MethodNeedsHostssl,
    /// An option without `=`.
    OptionSyntax,
    /// Not an option of Palisade.
    UnknownOption,
    /// `map` and `clientname`.
    RefusedOption,
    /// The same option twice.
    DuplicateOption,
    /// `clientcert` on anything but `hostssl`.
    ClientcertNeedsHostssl,
    /// `clientcert` with a method that looks at the client's key itself.
    ClientcertForMethod,
    /// A value that `clientcert` does not take.
    ClientcertValue,
    /// `cert clientcert=verify-ca`.
    CertVerifiesFully,
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SeveralValues(field) => write!(f, "several values for the {field}"),
            Self::Missing(field) => write!(f, "the line ends before the {field}"),
            other => f.write_str(other.cause()),
        }
    }
}

impl FaultKind {
    fn cause(self) -> &'static str {
        match self {
            Self::TextTooLong => "the rules are longer than 64 KiB",
            Self::TooManyLines => "the rules have more than 4096 lines",
            Self::TooManyTokens => "the line has more than 256 values",
            Self::TokenTooLong => "the value is longer than 254 bytes",
            Self::TooManyFaults => "more than 100 faults",
            Self::ControlCharacter => "the character can't be seen",
            Self::UnterminatedQuote => "the quote is not closed on its line",
            Self::StrayComma => "a comma joins two values of one list",
            Self::IncludedFile | Self::IncludeDirective => "other files can't be included",
            Self::UnknownConnectionType => "not a connection type",
            Self::GssEncryption => "GSSAPI encryption is not supported",
            Self::SeveralValues(_) => "several values",
            Self::Missing(_) => "the line ends too early",
            Self::EmptyName => "the name is empty",
            Self::RegularExpression => "regular expressions are refused",
            Self::HostName => "host names are refused: nothing is asked of DNS before login",
            Self::InvalidAddress => "not an address",
            Self::ZonedAddress => "an address with a zone never matches",
            Self::InvalidPrefix => "not a prefix length of this address",
            Self::InvalidMask => "not a netmask",
            Self::MaskFamily => "address and netmask are not of the same family",
            Self::RefusedMethod => "this method of PostgreSQL is not offered",
            Self::UnknownMethod => "not an authentication method",
            Self::MethodNeedsHostssl => "this method needs TLS",
            Self::OptionSyntax => "not an option of the form name=value",
            Self::UnknownOption => "not an option",
            Self::RefusedOption => "a certificate's name is the user's name, without a map",
            Self::DuplicateOption => "the option stands twice",
            Self::ClientcertNeedsHostssl => "clientcert needs TLS",
            Self::ClientcertForMethod => "this method looks at the client's key itself",
            Self::ClientcertValue => "not a value of clientcert",
            Self::CertVerifiesFully => "cert always verifies the name in the certificate",
        }
    }

    /// What to write instead.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::TextTooLong | Self::TooManyLines => {
                "use lists, CIDR blocks and +role in place of many rules"
            }
            Self::TooManyTokens => "make the listed users members of a role and write +role",
            Self::TokenTooLong => "no name of PostgreSQL is longer than 63 bytes",
            Self::TooManyFaults => "mend the ones above first",
            Self::ControlCharacter => "remove it; blanks and tabs separate values",
            Self::UnterminatedQuote => "close it with \"; a quote in a name is written twice",
            Self::StrayComma => "write a,b or a, b; a blank before the comma begins a new field",
            Self::IncludedFile => "write the values here, or put the name in quotes",
            Self::IncludeDirective => "write the rules here: the ledger signs one text",
            Self::GssEncryption => "write hostssl",
            Self::SeveralValues(_) => "write one line per value",
            Self::UnknownConnectionType | Self::Missing(FieldName::ConnectionType) => {
                "write local, host, hostssl or hostnossl"
            }
            Self::Missing(FieldName::Database) => "name a database, a list of them, or all",
            Self::Missing(FieldName::User) => "name a user, a list of them, +role, or all",
            Self::Missing(FieldName::Address) => {
                "write all, samehost, samenet or an address/prefix"
            }
            Self::Missing(FieldName::Mask) => "write the address as address/prefix",
            Self::Missing(FieldName::Method) | Self::UnknownMethod => {
                "write auto, key, cert, scram-sha-256, trust or reject"
            }
            Self::EmptyName => "name a database or user, or write all",
            Self::RegularExpression => "write the names, +role, or all",
            Self::HostName => "write its address, such as 192.0.2.7/32 or 2001:db8::7/128",
            Self::InvalidAddress => "write it in full, such as 192.0.2.0/24 or 2001:db8::/32",
            Self::ZonedAddress => "write it without %zone",
            Self::InvalidPrefix => "write 0 to 32 after an IPv4 and 0 to 128 after an IPv6 address",
            Self::InvalidMask => "write it as 255.255.255.0, or write address/prefix",
            Self::MaskFamily => "write address/prefix",
            Self::RefusedMethod => "write auto, key, cert or scram-sha-256",
            Self::MethodNeedsHostssl | Self::ClientcertNeedsHostssl => {
                "begin the line with hostssl"
            }
            Self::OptionSyntax | Self::UnknownOption | Self::ClientcertValue => {
                "write clientcert=verify-ca, clientcert=verify-full, or nothing"
            }
            Self::RefusedOption | Self::ClientcertForMethod | Self::DuplicateOption => {
                "leave it out"
            }
            Self::CertVerifiesFully => "leave it out, or write clientcert=verify-full",
        }
    }
}
