//! The first packet of a connection, which has no type byte: `SSLRequest`, `GSSENCRequest`,
//! `CancelRequest` or `StartupMessage`.

use super::{take, take_string};

/// PostgreSQL's bound on the packet (`MAX_STARTUP_PACKET_LENGTH`, src/include/libpq/pqcomm.h).
pub const MAX_STARTUP_BYTES: usize = 10_000;

/// `NAMEDATALEN` - 1. PostgreSQL cuts longer names off without a word, which would make it log in
/// somebody else than the one who proved himself here.
pub const MAX_NAME_BYTES: usize = 63;

/// The newest minor version that is spoken here (PostgreSQL 18: longer cancel keys).
pub const NEWEST_MINOR: u16 = 2;

/// `PQ_CANCEL_KEY_MAX`-like bound of protocol 3.2; 4 bytes before.
const MAX_CANCEL_KEY_BYTES: usize = 256;

const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;

/// Why a first packet was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StartupError {
    /// The length says less than a packet has, or more than is taken.
    #[error("the length of the startup packet is out of bounds")]
    Length,
    /// Neither a request that is known nor protocol 3.
    #[error("unsupported frontend protocol")]
    Version,
    /// The parameters are not pairs of strings with one zero byte behind them all.
    #[error("invalid startup packet layout")]
    Layout,
    /// A byte sequence that is not UTF-8.
    #[error("the startup packet is not valid UTF-8")]
    Encoding,
    /// The same parameter twice.
    #[error("a startup parameter is given twice")]
    Duplicate,
    /// No user, or an empty one.
    #[error("no PostgreSQL user name specified in startup packet")]
    NoUser,
    /// A user's or database's name that PostgreSQL would cut off.
    #[error("a user or database name has more than {MAX_NAME_BYTES} bytes")]
    NameTooLong,
}

/// What a client opens a connection with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// It asks for TLS.
    Ssl,
    /// It asks for GSSAPI encryption.
    GssEncryption,
    /// It wants another session's statement cancelled.
    Cancel(CancelRequest),
    /// It wants a session.
    Startup(Startup),
}

/// A request to cancel what another session is doing.
#[derive(Clone, PartialEq, Eq)]
pub struct CancelRequest {
    /// The session's process id, as it was told.
    pub process: u32,
    /// The key that proves that the sender knows the session. Secret: it has no `Debug`.
    pub key: Vec<u8>,
}

impl std::fmt::Debug for CancelRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CancelRequest({}, key hidden)", self.process)
    }
}

/// A request for a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Startup {
    /// The minor version that the client asks for; the major one is 3.
    pub minor: u16,
    /// Who the client says it is.
    pub user: String,
    /// The database; the user's name when none is given.
    pub database: String,
    /// The value of `replication`, if there is one.
    pub replication: Option<String>,
    /// All other parameters, in the order of the packet.
    pub parameters: Vec<(String, String)>,
    /// Protocol options (`_pq_.`), none of which is known here.
    pub protocol_options: Vec<String>,
}

impl Startup {
    /// The minor version that both sides speak.
    #[must_use]
    pub fn agreed_minor(&self) -> u16 {
        self.minor.min(NEWEST_MINOR)
    }

    /// Whether the client must be told that it asked for something that is not known here.
    #[must_use]
    pub fn needs_negotiation(&self) -> bool {
        self.minor > NEWEST_MINOR || !self.protocol_options.is_empty()
    }

    /// Whether this asks for a replication connection: everything that PostgreSQL doesn't read as
    /// "no" (`parse_bool`, and `database`).
    #[must_use]
    pub fn wants_replication(&self) -> bool {
        const NO: [&str; 5] = ["false", "off", "no", "0", "f"];
        self.replication
            .as_deref()
            .is_some_and(|value| !NO.iter().any(|no| value.eq_ignore_ascii_case(no)))
    }
}

/// The length of the packet that begins with `bytes`, or `None` if there are fewer than four.
pub fn packet_length(bytes: &[u8]) -> Result<Option<usize>, StartupError> {
    let Some((length, _)) = take::<4>(bytes) else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| StartupError::Length)?;
    if (8..=MAX_STARTUP_BYTES).contains(&length) {
        Ok(Some(length))
    } else {
        Err(StartupError::Length)
    }
}

/// Reads a whole first packet, from its length to its last byte and no further.
pub fn parse(packet: &[u8]) -> Result<Opening, StartupError> {
    if packet_length(packet)? != Some(packet.len()) {
        return Err(StartupError::Length);
    }
    let (_, rest) = take::<4>(packet).ok_or(StartupError::Length)?;
    let (code, body) = take::<4>(rest).ok_or(StartupError::Length)?;
    match (u32::from_be_bytes(code), body) {
        (SSL_REQUEST, []) => Ok(Opening::Ssl),
        (GSSENC_REQUEST, []) => Ok(Opening::GssEncryption),
        (SSL_REQUEST | GSSENC_REQUEST, _) => Err(StartupError::Length),
        (CANCEL_REQUEST, body) => parse_cancel(body).map(Opening::Cancel),
        (version, body) if version >> 16 == 3 => {
            let minor = u16::try_from(version & 0xffff).map_err(|_| StartupError::Version)?;
            parse_parameters(minor, body).map(Opening::Startup)
        }
        _ => Err(StartupError::Version),
    }
}

fn parse_cancel(body: &[u8]) -> Result<CancelRequest, StartupError> {
    let (process, key) = take::<4>(body).ok_or(StartupError::Length)?;
    if !(4..=MAX_CANCEL_KEY_BYTES).contains(&key.len()) {
        return Err(StartupError::Length);
    }
    Ok(CancelRequest {
        process: u32::from_be_bytes(process),
        key: key.to_vec(),
    })
}

fn parse_parameters(minor: u16, mut body: &[u8]) -> Result<Startup, StartupError> {
    let mut user = None;
    let mut database = None;
    let mut replication = None;
    let mut parameters: Vec<(String, String)> = Vec::new();
    let mut protocol_options: Vec<String> = Vec::new();
    loop {
        let (name, rest) = take_text(body)?;
        if name.is_empty() {
            if rest.is_empty() {
                break;
            }
            return Err(StartupError::Layout);
        }
        let (value, rest) = take_text(rest)?;
        body = rest;
        let once = match name {
            "user" => user.replace(value).is_none(),
            "database" => database.replace(value).is_none(),
            "replication" => replication.replace(value.to_owned()).is_none(),
            option if option.starts_with("_pq_.") => {
                let new = !protocol_options.iter().any(|known| known == option);
                protocol_options.push(option.to_owned());
                new
            }
            other => {
                let new = !parameters.iter().any(|(known, _)| known == other);
                parameters.push((other.to_owned(), value.to_owned()));
                new
            }
        };
        if !once {
            return Err(StartupError::Duplicate);
        }
    }
    let user = user
        .filter(|user| !user.is_empty())
        .ok_or(StartupError::NoUser)?;
    let database = database.filter(|name| !name.is_empty()).unwrap_or(user);
    if user.len() > MAX_NAME_BYTES || database.len() > MAX_NAME_BYTES {
        return Err(StartupError::NameTooLong);
    }
    Ok(Startup {
        minor,
        user: user.to_owned(),
        database: database.to_owned(),
        replication,
        parameters,
        protocol_options,
    })
}

fn take_text(bytes: &[u8]) -> Result<(&str, &[u8]), StartupError> {
    let (text, rest) = take_string(bytes).ok_or(StartupError::Layout)?;
    let text = std::str::from_utf8(text).map_err(|_| StartupError::Encoding)?;
    Ok((text, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(code: u32, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 8).unwrap();
        [&length.to_be_bytes(), &code.to_be_bytes(), body].concat()
    }

    fn startup(body: &[u8]) -> Result<Startup, StartupError> {
        match parse(&packet(3 << 16, body))? {
            Opening::Startup(startup) => Ok(startup),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn requests_are_told_apart() {
        assert_eq!(parse(&packet(SSL_REQUEST, b"")), Ok(Opening::Ssl));
        assert_eq!(
            parse(&packet(GSSENC_REQUEST, b"")),
            Ok(Opening::GssEncryption)
        );
        assert_eq!(
            parse(&packet(CANCEL_REQUEST, b"\0\0\0\x07abcd")),
            Ok(Opening::Cancel(CancelRequest {
                process: 7,
                key: b"abcd".to_vec()
            }))
        );
        assert_eq!(
            parse(&packet(SSL_REQUEST, b"x")),
            Err(StartupError::Length),
            "SSLRequest with something in it"
        );
        assert_eq!(
            parse(&packet(CANCEL_REQUEST, b"\0\0\0\x07abc")),
            Err(StartupError::Length)
        );
        assert_eq!(
            parse(&packet(2 << 16, b"user\0a\0\0")),
            Err(StartupError::Version)
        );
    }

    #[test]
    fn a_session_is_asked_for() {
        let read = startup(b"user\0alice\0application_name\0psql\0options\0\0\0").unwrap();
        assert_eq!(
            (read.user.as_str(), read.database.as_str()),
            ("alice", "alice")
        );
        assert_eq!(
            read.parameters,
            [
                ("application_name".to_owned(), "psql".to_owned()),
                ("options".to_owned(), String::new())
            ]
        );
        assert!(!read.needs_negotiation());
        let read = startup(b"user\0alice\0database\0main\0\0").unwrap();
        assert_eq!(read.database, "main");
    }

    /// "libpq 19 beta sends grease": version 3.9999 and an option that nobody knows.
    #[test]
    fn what_is_not_known_is_negotiated_away() {
        let bytes = packet(
            (3 << 16) + 9999,
            b"user\0a\0_pq_.test_protocol_negotiation\0\0\0",
        );
        let Ok(Opening::Startup(read)) = parse(&bytes) else {
            panic!()
        };
        assert!(read.needs_negotiation());
        assert_eq!(read.agreed_minor(), 2);
        assert_eq!(read.protocol_options, ["_pq_.test_protocol_negotiation"]);
        assert!(read.parameters.is_empty());
    }

    #[test]
    fn an_ambiguous_packet_is_refused() {
        for (body, error) in [
            (
                b"user\0alice\0user\0postgres\0\0".as_slice(),
                StartupError::Duplicate,
            ),
            (b"user\0a\0x\x001\0x\x002\0\0", StartupError::Duplicate),
            (b"user\0alice\0\0user\0postgres\0\0", StartupError::Layout),
            (b"user\0alice\0\0\0", StartupError::Layout),
            (b"user\0alice\0", StartupError::Layout),
            (b"user\0alice", StartupError::Layout),
            (b"user\0", StartupError::Layout),
            (b"", StartupError::Layout),
            (b"\0", StartupError::NoUser),
            (b"user\0\0\0", StartupError::NoUser),
            (b"database\0x\0\0", StartupError::NoUser),
            (b"user\0al\xffice\0\0", StartupError::Encoding),
            (b"user\0alice\0x\0\xc3\0\0", StartupError::Encoding),
        ] {
            assert_eq!(startup(body), Err(error), "{}", body.escape_ascii());
        }
    }

    /// PostgreSQL would log in the first 63 bytes of the name: another user.
    #[test]
    fn a_name_that_postgresql_would_cut_is_refused() {
        let long = "a".repeat(64);
        for body in [
            format!("user\0{long}\0\0"),
            format!("user\0a\0database\0{long}\0\0"),
        ] {
            assert_eq!(startup(body.as_bytes()), Err(StartupError::NameTooLong));
        }
        let fits = format!("user\0{}\0\0", "a".repeat(63));
        assert!(startup(fits.as_bytes()).is_ok());
    }

    #[test]
    fn replication_is_told_from_no_replication() {
        for (value, wanted) in [
            ("database", true),
            ("true", true),
            ("1", true),
            ("on", true),
            ("", true),
            ("false", false),
            ("OFF", false),
            ("0", false),
            ("no", false),
        ] {
            let body = format!("user\0a\0replication\0{value}\0\0");
            let read = startup(body.as_bytes()).unwrap();
            assert_eq!(read.wants_replication(), wanted, "{value}");
        }
    }

    #[test]
    fn lengths_are_bounded() {
        assert_eq!(packet_length(b"\0\0\0"), Ok(None));
        assert_eq!(packet_length(b"\0\0\0\x07"), Err(StartupError::Length));
        assert_eq!(
            packet_length(&10_001_u32.to_be_bytes()),
            Err(StartupError::Length)
        );
        assert_eq!(packet_length(&[0xff; 4]), Err(StartupError::Length));
        let mut longer = packet(SSL_REQUEST, b"");
        longer.push(0);
        assert_eq!(parse(&longer), Err(StartupError::Length));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            parse(&bytes).ok();
            parse(&packet(3 << 16, &bytes)).ok();
        }

        #[test]
        fn what_is_read_is_what_was_written(
            user in "[^\0]{1,15}",
            pairs in proptest::collection::btree_map("[a-z]{1,8}", "[^\0]{0,20}", 0..5),
        ) {
            let mut body = format!("user\0{user}\0");
            for (name, value) in &pairs {
                body.extend(["x", name, "\0", value, "\0"]);
            }
            body.push('\0');
            let read = startup(body.as_bytes()).unwrap();
            prop_assert_eq!(read.user, user);
            let expected: Vec<_> = pairs.into_iter().map(|(n, v)| (format!("x{n}"), v)).collect();
            prop_assert_eq!(read.parameters, expected);
        }
    }
}
