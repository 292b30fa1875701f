//! A web server that takes every request.

use std::io::{BufReader, Read as _};
use std::net::TcpStream;
use std::time::Duration;

use super::{Given, Server, Stream, Tls, line, reply};
use crate::Error;

/// What was posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// The request's line and headers.
    pub head: String,
    /// Its body.
    pub body: String,
}

/// The server.
#[derive(Debug)]
pub struct Web {
    server: Server,
    posts: Given<Post>,
    scheme: &'static str,
}

impl Web {
    /// Answers every request with `status`, such as "204 No Content"; by HTTPS if `tls` says with what.
    pub fn start(tls: Option<&Tls>, status: &'static str) -> Result<Self, Error> {
        let posts = Given::default();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (taken, tls) = (posts.clone(), tls.cloned());
        let server = Server::start(move |stream| {
            taken.push(serve(stream, tls.as_ref(), status)?);
            Ok(())
        })?;
        Ok(Self {
            server,
            posts,
            scheme,
        })
    }

    /// Where it is, as a URL to which a path may be added.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://localhost:{}", self.scheme, self.server.port)
    }

    /// All that was posted so far.
    #[must_use]
    pub fn posts(&self) -> Vec<Post> {
        self.posts.all()
    }

    /// The request of this number, from 0 on.
    pub fn nth(&self, nth: usize, within: Duration) -> Result<Post, Error> {
        self.posts.nth("a request", nth, within)
    }
}

fn serve(stream: TcpStream, tls: Option<&Tls>, status: &str) -> std::io::Result<Post> {
    let stream: Box<dyn Stream> = match tls {
        Some(tls) => tls.over(stream)?,
        None => Box::new(stream),
    };
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let next = line(&mut stream)?;
        if next.is_empty() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        head.push_str(&next);
    }
    let lengths = head.lines().filter_map(|line| line.split_once(':'));
    let length = lengths
        .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .find_map(|(_, value)| value.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    reply(&mut stream, &answer)?;
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Post { head, body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn takes_what_is_posted() {
        let web = Web::start(None, "204 No Content").unwrap();
        let address = web.url().replace("http://", "");
        let mut stream = TcpStream::connect(address).unwrap();
        let request = b"POST /x HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi";
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 204 No Content"), "{answer}");
        let post = web.nth(0, Duration::from_secs(30)).unwrap();
        assert!(post.head.starts_with("POST /x"));
        assert_eq!(post.body, "hi");
    }
}
