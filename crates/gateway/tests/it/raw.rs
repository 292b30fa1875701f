//! A client that says exactly what it is told, byte for byte.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use palisade_keys::PublicKey;
use palisade_link::x509::Leaf;
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::support::PATIENCE;

pub const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
pub const GSSENC_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x30";
pub const TERMINATE: &[u8] = b"X\0\0\0\x04";

/// A message of the server.
pub type Message = (char, Vec<u8>);

/// A connection of which nothing is hidden.
pub struct Raw<S> {
    pub stream: S,
}

pub fn tcp(address: SocketAddr) -> Raw<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    Raw { stream }
}

/// TLS without a word before it, or behind an `SSLRequest`.
pub fn tls(
    address: SocketAddr,
    cluster: &PublicKey,
    direct: bool,
    alpn: bool,
) -> Raw<StreamOwned<ClientConnection, TcpStream>> {
    tls_as(address, cluster, None, direct, alpn)
}

/// The same, with a certificate of the client's.
pub fn tls_as(
    address: SocketAddr,
    cluster: &PublicKey,
    identity: Option<&Leaf>,
    direct: bool,
    alpn: bool,
) -> Raw<StreamOwned<ClientConnection, TcpStream>> {
    let mut raw = tcp(address);
    if !direct {
        raw.say(SSL_REQUEST);
        assert_eq!(raw.hear(1), b"S");
    }
    let mut config = palisade_link::tls::client_config(cluster, identity).unwrap();
    if alpn {
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    Raw {
        stream: StreamOwned::new(connection, raw.stream),
    }
}

/// A startup packet of any version with these bytes of parameters.
pub fn startup(version: u32, parameters: &[u8]) -> Vec<u8> {
    let length = u32::try_from(parameters.len() + 8).unwrap();
    [&length.to_be_bytes(), &version.to_be_bytes(), parameters].concat()
}

/// A startup packet of protocol 3.0 for a user and the database `postgres`.
pub fn login_of(user: &str) -> Vec<u8> {
    startup(
        3 << 16,
        format!("user\0{user}\0database\0postgres\0\0").as_bytes(),
    )
}

pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[kind], length.to_be_bytes().as_slice(), body].concat()
}

pub fn query(sql: &str) -> Vec<u8> {
    message(b'Q', format!("{sql}\0").as_bytes())
}

pub fn cancel_request(process: u32, key: &[u8]) -> Vec<u8> {
    let body = [process.to_be_bytes().as_slice(), key].concat();
    startup(80_877_102, &body)
}

impl<S: Read + Write> Raw<S> {
    pub fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
        self.stream.flush().unwrap();
    }

    pub fn hear(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    pub fn message(&mut self) -> Message {
        let header = self.hear(5);
        let length = u32::from_be_bytes(header[1..5].try_into().unwrap());
        let body = self.hear(usize::try_from(length).unwrap() - 4);
        (char::from(header[0]), body)
    }

    /// All messages up to one of this type, that one included.
    pub fn until(&mut self, kind: char) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            messages.push(self.message());
            if messages.last().is_some_and(|(last, _)| *last == kind) {
                return messages;
            }
        }
    }

    /// The SQLSTATE of the error that comes next.
    pub fn error(&mut self) -> String {
        let messages = self.until('E');
        sqlstate(&messages.last().unwrap().1)
    }

    /// Whether the server has closed the connection, and said nothing more.
    pub fn is_closed(&mut self) -> bool {
        match self.stream.read(&mut [0; 16]) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => match error.kind() {
                ErrorKind::UnexpectedEof
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe => true,
                _ => panic!("{error}"),
            },
        }
    }

    /// Says a startup packet and answers SCRAM; gives all that the server said, up to "ready" or an
    /// error.
    pub fn scram(&mut self, startup: &[u8], password: &str) -> Vec<Message> {
        self.say(startup);
        let mut heard = self.until('R');
        if heard.last().unwrap().1 == [0; 4] {
            heard.extend(self.until('Z'));
            return heard;
        }
        heard.extend(self.scram_answer(password));
        heard
    }

    /// Answers an offer of SCRAM; gives all that the server says, up to "ready" or an error.
    pub fn scram_answer(&mut self, password: &str) -> Vec<Message> {
        let mut heard = Vec::new();
        let mut client = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        let length = i32::try_from(client.message().len()).unwrap();
        let first = [
            b"SCRAM-SHA-256\0".as_slice(),
            &length.to_be_bytes(),
            client.message(),
        ]
        .concat();
        self.say(&message(b'p', &first));
        let challenge = self.message();
        if challenge.0 == 'E' {
            heard.push(challenge);
            return heard;
        }
        client.update(&challenge.1[4..]).unwrap();
        heard.push(challenge);
        self.say(&message(b'p', client.message()));
        let answer = self.message();
        let failed = answer.0 == 'E';
        heard.push(answer);
        if !failed {
            heard.extend(self.until('Z'));
        }
        heard
    }
}

pub fn sqlstate(error: &[u8]) -> String {
    let fields = error.split(|byte| *byte == 0);
    let code = fields
        .into_iter()
        .find_map(|field| field.strip_prefix(b"C"))
        .unwrap();
    String::from_utf8(code.to_vec()).unwrap()
}

/// Process and key of the session.
pub fn key_data(messages: &[Message]) -> (u32, Vec<u8>) {
    let (_, body) = messages.iter().find(|(kind, _)| *kind == 'K').unwrap();
    let process = u32::from_be_bytes(body[..4].try_into().unwrap());
    (process, body[4..].to_vec())
}
