//! A mail server that takes every mail (RFC 5321), over STARTTLS (RFC 3207) if it has a certificate.

use std::io::{BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use super::{Given, Server, Stream, Tls, line, reply};
use crate::Error;

/// What one client said, in the clear and over TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Talk {
    /// Before TLS, or without.
    pub plain: String,
    /// Behind STARTTLS.
    pub secured: String,
}

/// The server.
#[derive(Debug)]
pub struct Mail {
    server: Server,
    talks: Given<Talk>,
}

/// How it answers.
#[derive(Debug, Clone)]
struct Manners {
    tls: Option<Tls>,
    auth: &'static str,
    taken: bool,
}

impl Mail {
    /// Offers the ways to log in that `auth` names, such as "PLAIN"; behind STARTTLS if `tls` says with
    /// what, else in the clear. Any password is taken if `taken`, else none.
    pub fn start(tls: Option<&Tls>, auth: &'static str, taken: bool) -> Result<Self, Error> {
        let talks = Given::default();
        let kept = talks.clone();
        let manners = Manners {
            tls: tls.cloned(),
            auth,
            taken,
        };
        let server = Server::start(move |stream| {
            let mut talk = Talk::default();
            let ended = serve(stream, &manners, &mut talk);
            kept.push(talk);
            ended
        })?;
        Ok(Self { server, talks })
    }

    /// `HOST:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("localhost:{}", self.server.port)
    }

    /// What was said in the connection of this number, from 0 on, when it has ended.
    pub fn nth(&self, nth: usize, within: Duration) -> Result<Talk, Error> {
        self.talks.nth("the end of a mail client", nth, within)
    }

    /// What was said in all connections that have ended.
    #[must_use]
    pub fn talks(&self) -> Vec<Talk> {
        self.talks.all()
    }
}

fn serve(mut stream: TcpStream, manners: &Manners, talk: &mut Talk) -> std::io::Result<()> {
    stream.write_all(b"220 test\r\n")?;
    let copy = stream.try_clone()?;
    let mut plain: BufReader<Box<dyn Stream>> = BufReader::new(Box::new(stream));
    let mut offer = manners.auth;
    let secures = manners.tls.as_ref();
    if secures.is_some() {
        offer = "";
    }
    if !converse(&mut plain, manners, offer, &mut talk.plain)? {
        return Ok(());
    }
    if let Some(tls) = secures {
        let mut within = BufReader::new(tls.over(copy)?);
        converse(&mut within, manners, manners.auth, &mut talk.secured)?;
    }
    Ok(())
}

/// Answers until the client leaves (`false`) or asks for TLS. Ways to log in are offered if there are any, else
/// STARTTLS.
fn converse(
    stream: &mut BufReader<Box<dyn Stream>>,
    manners: &Manners,
    offer: &str,
    said: &mut String,
) -> std::io::Result<bool> {
    let greeting = if offer.is_empty() {
        "250-test\r\n250 STARTTLS\r\n".to_owned()
    } else {
        format!("250-test\r\n250 AUTH {offer}\r\n")
    };
    loop {
        let command = line(stream)?;
        if command.is_empty() {
            return Ok(false);
        }
        said.push_str(&command);
        let verb = command.split_whitespace().next().unwrap_or_default();
        match verb {
            "EHLO" => reply(stream, &greeting)?,
            "STARTTLS" => {
                reply(stream, "220 go\r\n")?;
                return Ok(true);
            }
            "AUTH" => log_in(stream, manners, &command, said)?,
            "DATA" => {
                reply(stream, "354 go\r\n")?;
                while !said.ends_with("\r\n.\r\n") {
                    said.push_str(&line(stream)?);
                }
                reply(stream, "250 taken\r\n")?;
            }
            "QUIT" => {
                reply(stream, "221 bye\r\n")?;
                return Ok(false);
            }
            _ => reply(stream, "250 ok\r\n")?,
        }
    }
}

/// The rest of AUTH: with LOGIN the name and the password are asked for.
fn log_in(
    stream: &mut BufReader<Box<dyn Stream>>,
    manners: &Manners,
    command: &str,
    said: &mut String,
) -> std::io::Result<()> {
    if command.starts_with("AUTH LOGIN") {
        // "Username:" and "Password:" in base64.
        for ask in ["334 VXNlcm5hbWU6\r\n", "334 UGFzc3dvcmQ6\r\n"] {
            reply(stream, ask)?;
            said.push_str(&line(stream)?);
        }
    }
    let answer = if manners.taken {
        "235 ok\r\n"
    } else {
        "535 5.7.8 no such user or password\r\n"
    };
    reply(stream, answer)
}
