//! What the door itself says, to a client or to PostgreSQL, and what it reads of PostgreSQL's
//! messages while it logs in there.

use super::take;

/// `GSSENCRequest` or `SSLRequest` is refused.
pub(crate) const NO: &[u8] = b"N";
/// `SSLRequest` is granted.
pub(crate) const YES: &[u8] = b"S";

/// An error's face: what the client may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Face {
    /// Five characters of PostgreSQL's appendix "Error Codes".
    pub(crate) sqlstate: &'static str,
    /// One sentence.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<&'static str>,
}

/// Messages to be sent, one behind another.
#[derive(Debug, Default)]
pub(crate) struct Outgoing(pub(crate) Vec<u8>);

impl Outgoing {
    fn message(&mut self, kind: u8, fields: &[&[u8]]) {
        self.0.push(kind);
        self.length_and(fields);
    }

    fn length_and(&mut self, fields: &[&[u8]]) {
        let length = 4 + fields.iter().map(|field| field.len()).sum::<usize>();
        // All that is sent from here is far below 4 GiB.
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&length.to_be_bytes());
        for field in fields {
            self.0.extend_from_slice(field);
        }
    }

    /// `AuthenticationSASL`.
    pub(crate) fn sasl(&mut self, mechanisms: &[&str]) {
        let mut list = Vec::new();
        for mechanism in mechanisms {
            list.extend_from_slice(mechanism.as_bytes());
            list.push(0);
        }
        self.message(b'R', &[&10_u32.to_be_bytes(), &list, b"\0"]);
    }

    /// `AuthenticationSASLContinue`.
    pub(crate) fn sasl_continue(&mut self, data: &[u8]) {
        self.message(b'R', &[&11_u32.to_be_bytes(), data]);
    }

    /// `AuthenticationSASLFinal`.
    pub(crate) fn sasl_final(&mut self, data: &[u8]) {
        self.message(b'R', &[&12_u32.to_be_bytes(), data]);
    }

    /// `AuthenticationOk`.
    pub(crate) fn authenticated(&mut self) {
        self.message(b'R', &[&0_u32.to_be_bytes()]);
    }

    /// `ParameterStatus`.
    pub(crate) fn parameter(&mut self, name: &[u8], value: &[u8]) {
        self.message(b'S', &[name, b"\0", value, b"\0"]);
    }

    /// `BackendKeyData`.
    pub(crate) fn key_data(&mut self, process: u32, key: &[u8]) {
        self.message(b'K', &[&process.to_be_bytes(), key]);
    }

    /// `ReadyForQuery`, idle.
    pub(crate) fn ready(&mut self) {
        self.message(b'Z', &[b"I"]);
    }

    /// `NegotiateProtocolVersion`.
    pub(crate) fn negotiate(&mut self, minor: u16, unknown: &[String]) {
        let version = (3_u32 << 16) | u32::from(minor);
        let count = u32::try_from(unknown.len()).unwrap_or(u32::MAX);
        let mut names = Vec::new();
        for name in unknown {
            names.extend_from_slice(name.as_bytes());
            names.push(0);
        }
        self.message(
            b'v',
            &[&version.to_be_bytes(), &count.to_be_bytes(), &names],
        );
    }

    /// `ErrorResponse`.
    pub(crate) fn error(&mut self, severity: &str, face: &Face) {
        let mut fields = Vec::new();
        let severity = severity.as_bytes();
        let parts: [(u8, &[u8]); 4] = [
            (b'S', severity),
            (b'V', severity),
            (b'C', face.sqlstate.as_bytes()),
            (b'M', face.message.as_bytes()),
        ];
        for (code, text) in parts
            .into_iter()
            .chain(face.hint.map(|hint| (b'H', hint.as_bytes())))
        {
            fields.push(code);
            fields.extend_from_slice(text);
            fields.push(0);
        }
        self.message(b'E', &[&fields, b"\0"]);
    }

    /// `StartupMessage` of protocol 3.0, which every PostgreSQL speaks.
    pub(crate) fn startup(&mut self, user: &str, database: &str, parameters: &[(String, String)]) {
        let mut pairs = Vec::new();
        let own = [("user", user), ("database", database)];
        let others = parameters
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in own.into_iter().chain(others) {
            pairs.extend_from_slice(name.as_bytes());
            pairs.push(0);
            pairs.extend_from_slice(value.as_bytes());
            pairs.push(0);
        }
        self.length_and(&[&(3_u32 << 16).to_be_bytes(), &pairs, b"\0"]);
    }

    /// `CancelRequest`.
    pub(crate) fn cancel(&mut self, process: u32, key: &[u8]) {
        self.length_and(&[&80_877_102_u32.to_be_bytes(), &process.to_be_bytes(), key]);
    }

    /// `Query`.
    pub(crate) fn query(&mut self, sql: &str) {
        self.message(b'Q', &[sql.as_bytes(), b"\0"]);
    }

    /// `Sync`.
    pub(crate) fn sync(&mut self) {
        self.message(b'S', &[]);
    }

    /// `Flush`.
    pub(crate) fn flush(&mut self) {
        self.message(b'H', &[]);
    }

    /// `Bind` of the unnamed statement to the unnamed portal without parameters, all columns as
    /// text; `Describe` and `Execute` of that portal.
    pub(crate) fn bind_describe_execute(&mut self) {
        self.message(b'B', &[b"\0\0\0\0\0\0\0\0"]);
        self.message(b'D', &[b"P\0"]);
        self.message(b'E', &[b"\0\0\0\0\0"]);
    }
}

/// PostgreSQL says something that can't be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("PostgreSQL sent a message with an impossible length")]
pub(crate) struct BadLength;

/// A whole message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u8,
    pub(crate) body: &'a [u8],
    /// With the header.
    pub(crate) length: usize,
}

/// The message at the beginning of `bytes`; `None` if it is not whole yet.
pub(crate) fn message(bytes: &[u8], longest: usize) -> Result<Option<Message<'_>>, BadLength> {
    let Some((kind, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let Some((length, rest)) = take::<4>(rest) else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| BadLength)?;
    let body = length.checked_sub(4).ok_or(BadLength)?;
    if body > longest {
        return Err(BadLength);
    }
    Ok(rest.get(..body).map(|body| Message {
        kind: *kind,
        body,
        length: length + 1,
    }))
}

/// The SQLSTATE in the body of an `ErrorResponse`.
pub(crate) fn error_field(body: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut rest = body;
    while let Some((code, tail)) = rest.split_first() {
        let (text, tail) = super::take_string(tail)?;
        if *code == wanted {
            return Some(text);
        }
        rest = tail;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_the_documented_form() {
        let mut out = Outgoing::default();
        out.ready();
        out.sync();
        out.parameter(b"a", b"b");
        out.key_data(1, b"1234");
        out.sasl(&["X"]);
        assert_eq!(
            out.0,
            b"Z\0\0\0\x05IS\0\0\0\x04S\0\0\0\x08a\0b\0K\0\0\0\x0c\0\0\0\x011234R\0\0\0\x0b\0\0\0\x0aX\0\0"
        );
    }

    #[test]
    fn an_error_is_read_back() {
        let mut out = Outgoing::default();
        let face = Face {
            sqlstate: "28000",
            message: "no".to_owned(),
            hint: Some("yes"),
        };
        out.error("FATAL", &face);
        let Message { kind, body, length } = message(&out.0, 1000).unwrap().unwrap();
        assert_eq!((kind, length), (b'E', out.0.len()));
        assert_eq!(error_field(body, b'C'), Some(b"28000".as_slice()));
        assert_eq!(error_field(body, b'H'), Some(b"yes".as_slice()));
        assert_eq!(error_field(body, b'W'), None);
        assert_eq!(message(&out.0[..4], 1000), Ok(None));
        assert_eq!(message(&out.0, 3), Err(BadLength));
    }
}
