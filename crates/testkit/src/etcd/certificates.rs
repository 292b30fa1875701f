//! A certificate authority made with the program `openssl`, as an operator's own (seed 002, 2.7.1).

use crate::Error;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What kind of key to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// `openssl ecparam -genkey`: SEC 1, P-256.
    Ec,
    /// `openssl genpkey`: PKCS#8, P-256.
    Pkcs8,
    /// `openssl genrsa -traditional`: PKCS#1 RSA of so many bits. Slow to make.
    Rsa(u16),
}

/// A leaf certificate, before it is made.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// Its common name.
    pub name: String,
    /// `DNS:localhost`, `IP:127.0.0.1`; none makes a certificate of version 1, as the seed's step 6.
    pub sans: Vec<String>,
    /// Its key.
    pub key: KeyKind,
    /// Days that it holds; 0 makes one that has expired a second later.
    pub days: u32,
}

impl Leaf {
    /// A client's certificate: a common name and no SAN.
    #[must_use]
    pub fn client(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            sans: Vec::new(),
            key: KeyKind::Ec,
            days: 30,
        }
    }

    /// A server's certificate for loopback.
    #[must_use]
    pub fn server(name: &str) -> Self {
        Self {
            sans: vec!["DNS:localhost".to_owned(), "IP:127.0.0.1".to_owned()],
            ..Self::client(name)
        }
    }
}

/// A leaf certificate and its key, in PEM; the key has mode 0600.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// A certificate authority of its own.
#[derive(Debug, Clone)]
pub struct Authority {
    directory: PathBuf,
    name: String,
}

impl Authority {
    /// Makes an authority called `name` with its files in `directory`.
    pub fn make(directory: &Path, name: &str, key: KeyKind) -> Result<Self, Error> {
        let authority = Self {
            directory: directory.to_owned(),
            name: name.to_owned(),
        };
        make_key(&authority.key(), key)?;
        openssl(
            Command::new("openssl")
                .args(["req", "-x509", "-new", "-days", "10000", "-key"])
                .arg(authority.key())
                .args(["-subj", &format!("/O=Test/CN={name}"), "-out"])
                .arg(authority.certificate()),
        )?;
        Ok(authority)
    }

    /// Its certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.directory.join(format!("{}.crt", self.name))
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.directory.join(format!("{}.key", self.name))
    }

    /// Issues a certificate, with the steps of the seed.
    pub fn issue(&self, leaf: &Leaf) -> Result<Pair, Error> {
        let file = |ending: &str| {
            self.directory
                .join(format!("{}.{}.{ending}", self.name, leaf.name))
        };
        let pair = Pair {
            certificate: file("crt"),
            key: file("key"),
        };
        make_key(&pair.key, leaf.key)?;
        openssl(
            Command::new("openssl")
                .args(["req", "-new", "-key"])
                .arg(&pair.key)
                .args(["-subj", &format!("/O=Test/CN={}", leaf.name), "-out"])
                .arg(file("csr")),
        )?;
        let mut sign = Command::new("openssl");
        sign.args(["x509", "-req", "-CAcreateserial", "-in"])
            .arg(file("csr"))
            .arg("-CA")
            .arg(self.certificate())
            .arg("-CAkey")
            .arg(self.key())
            .args(["-days", &leaf.days.to_string(), "-out"])
            .arg(&pair.certificate);
        if !leaf.sans.is_empty() {
            let extensions = file("ext");
            let text = format!("[req_ext]\nsubjectAltName={}\n", leaf.sans.join(","));
            std::fs::write(&extensions, text).map_err(Error::file("write", &extensions))?;
            sign.arg("-extfile")
                .arg(&extensions)
                .args(["-extensions", "req_ext"]);
        }
        openssl(&mut sign)?;
        Ok(pair)
    }
}

fn make_key(path: &Path, kind: KeyKind) -> Result<(), Error> {
    let mut command = Command::new("openssl");
    match kind {
        KeyKind::Ec => command.args(["ecparam", "-name", "prime256v1", "-genkey", "-noout"]),
        KeyKind::Pkcs8 => {
            command.args(["genpkey", "-algorithm", "EC", "-pkeyopt"]);
            command.arg("ec_paramgen_curve:P-256")
        }
        KeyKind::Rsa(_) => command.args(["genrsa", "-traditional"]),
    };
    command.arg("-out").arg(path);
    if let KeyKind::Rsa(bits) = kind {
        command.arg(bits.to_string());
    }
    openssl(&mut command)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .map_err(Error::file("set the mode of", path))
}

fn openssl(command: &mut Command) -> Result<(), Error> {
    let done = command.output().map_err(Error::spawn("openssl"))?;
    if done.status.success() {
        return Ok(());
    }
    Err(Error::Failed {
        program: "openssl".to_owned(),
        status: done.status.to_string(),
        output: String::from_utf8_lossy(&done.stderr).into_owned(),
    })
}
