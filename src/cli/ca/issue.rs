//! `palisade ca issue`: a key made here, and a certificate for it.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueHint};
use palisade_keys::Zeroizing;
use palisade_link::api::{CertificateReply, Command, IssueCertificate, Purpose};
use palisade_link::x509::inspect::{Context, inspect};
use palisade_link::x509::{Leaf, certificate_pem, make_request};
use rustls::pki_types::CertificateSigningRequestDer;
use rustls::pki_types::pem::PemObject as _;

use crate::cli::common::{ClusterArgs, Signer, read_credentials};
use crate::cli::error::{CliError, Outcome};
use crate::cli::exit::Exit;
use crate::cli::files::{self, Audience};
use crate::cli::view::View;
use crate::cli::{clock, out};

/// Issue a certificate for a host, a service, a tool or a user.
///
/// PREFIX.key (mode 0600) is made here and never leaves this machine; PREFIX.crt holds the certificate
/// and the issuing CA's. Needs the privilege system, and a node that holds the issuing CA's key. A
/// certificate in the name of a user logs in as that user: only superusers issue such for others.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade ca issue --host n1 --host 10.0.0.1 -o n1 --as root.credentials
  palisade ca issue --host n1 --host 10.0.0.1 --etcd -o n1.etcd --root rootCA.crt --as root.credentials
  palisade ca issue --service billing -o billing --as root.credentials
  palisade ca issue --tool backup --days 30 -o backup --as root.credentials
  palisade ca issue --host n2 --csr n2.csr -o n2 --as root.credentials")]
#[command(group(clap::ArgGroup::new("whose").required(true).multiple(false).args(["service", "tool", "user", "host"])))]
pub(super) struct IssueArgs {
    /// A host name or IP address that a server is reached by; several, if there are
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,

    /// For an etcd member: its certificate serves clients and meets the other members
    #[arg(long, requires = "host")]
    etcd: bool,

    /// A service, by its name: what meets etcd and other servers without a person
    #[arg(long, value_name = "NAME")]
    service: Option<String>,

    /// A name or address that the service itself serves under
    #[arg(long, value_name = "HOST", requires = "service")]
    service_host: Vec<String>,

    /// A tool, by its name
    #[arg(long, value_name = "NAME")]
    tool: Option<String>,

    /// A user of the ledger; short-lived, by the cluster's setting
    #[arg(long, value_name = "NAME")]
    user: Option<String>,

    /// Days that it is good for [default: the cluster's setting; 397 at most]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=397))]
    days: Option<u32>,

    /// Write PREFIX.crt and PREFIX.key
    #[arg(short = 'o', long = "out", value_name = "PREFIX", value_hint = ValueHint::FilePath)]
    out: PathBuf,

    /// Sign this request (PKCS #10, PEM), whose key stays where it is; no key is written
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    csr: Option<PathBuf>,

    /// Write the root's certificate to this file, too
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    root: Option<PathBuf>,

    /// Replace files that are there
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Runs it.
pub(super) fn run(args: &IssueArgs) -> Outcome {
    let (certificate, key) = (beside(&args.out, "crt"), beside(&args.out, "key"));
    if !args.force {
        // Before anything is issued that could not be written.
        let made = args.csr.is_none();
        for path in [
            Some(&certificate),
            Some(&key).filter(|_| made),
            args.root.as_ref(),
        ] {
            refuse_existing(path)?;
        }
    }
    let root = args
        .root
        .as_ref()
        .map(|_| super::export::root(&args.cluster))
        .transpose()?;
    let signer = Signer::User(read_credentials(args.cluster.credentials()?)?);
    let view = View::open(&args.cluster)?;
    let (request, secret) = if let Some(path) = &args.csr {
        (read_request(path)?, None)
    } else {
        let made = make_request("palisade", &[])
            .map_err(|error| CliError::no("can't make a key").because(&error))?;
        (made.request, Some(made.key))
    };
    let done = view.command(&signer, &Command::IssueCertificate(wish(args, &request)))?;
    let reply = done.data.and_then(|data| serde_json::from_value(data).ok());
    let chain = chain(reply)?;
    check(&chain, &view, args)?;
    let mut staged = Vec::new();
    if let Some(key_der) = secret {
        let leaf = Leaf {
            chain: Vec::new(),
            key: key_der,
        };
        let text: Zeroizing<String> = leaf.expose_key_pem();
        staged.push(files::stage(
            &key,
            text.as_bytes(),
            Audience::Owner,
            args.force,
        )?);
    }
    let text: String = chain.iter().map(|der| certificate_pem(der)).collect();
    staged.push(files::stage(
        &certificate,
        text.as_bytes(),
        Audience::Everybody,
        args.force,
    )?);
    if let (Some(path), Some(root)) = (&args.root, root) {
        staged.push(files::stage(
            path,
            root.as_bytes(),
            Audience::Everybody,
            args.force,
        )?);
    }
    files::place_all(staged)?;
    out::line(&done.message)?;
    out::note(&format!("wrote {}", certificate.display()));
    Ok(Exit::Done)
}

/// PREFIX.kind; a prefix may have dots of its own.
fn beside(prefix: &Path, kind: &str) -> PathBuf {
    let mut name = prefix.as_os_str().to_owned();
    name.push(".");
    name.push(kind);
    name.into()
}

fn refuse_existing(path: Option<&PathBuf>) -> Result<(), CliError> {
    match path {
        Some(path) if path.symlink_metadata().is_ok() => Err(CliError::file(format!(
            "{} is there already",
            path.display()
        ))
        .hint("replace it with --force, or choose another PREFIX")),
        Some(_) | None => Ok(()),
    }
}

fn wish(args: &IssueArgs, request: &[u8]) -> IssueCertificate {
    let (purpose, name, hosts) = if let Some(name) = &args.service {
        (Purpose::Service, name.clone(), args.service_host.clone())
    } else if let Some(name) = &args.tool {
        (Purpose::Tool, name.clone(), Vec::new())
    } else if let Some(name) = &args.user {
        (Purpose::User, name.clone(), Vec::new())
    } else if args.etcd {
        (Purpose::Store, String::new(), args.host.clone())
    } else {
        (Purpose::Server, String::new(), args.host.clone())
    };
    IssueCertificate {
        request: STANDARD.encode(request),
        purpose,
        name,
        hosts,
        days: args.days.unwrap_or(0),
    }
}

fn read_request(path: &Path) -> Result<Vec<u8>, CliError> {
    let text = files::read_bytes(path, files::MAX_KEY_BYTES)?;
    let der = CertificateSigningRequestDer::from_pem_slice(&text).map_err(|error| {
        CliError::file(format!(
            "{} is no certificate request (PEM)",
            path.display()
        ))
        .because(&error)
    })?;
    Ok(der.to_vec())
}

fn chain(reply: Option<CertificateReply>) -> Result<Vec<Vec<u8>>, CliError> {
    let unreadable = || CliError::no("the daemon's answer holds no certificate");
    let reply = reply.ok_or_else(unreadable)?;
    let chain: Result<Vec<_>, _> = reply
        .chain
        .iter()
        .map(|text| STANDARD.decode(text))
        .collect();
    chain.map_err(|_| unreadable())
}

/// The daemon's word is not taken: what it sent must lead to the cluster's key and name what was asked.
fn check(chain: &[Vec<u8>], view: &View, args: &IssueArgs) -> Result<(), CliError> {
    let state = view.state();
    let hosts = args
        .host
        .iter()
        .chain(&args.service_host)
        .map(String::as_str);
    let hosts: Vec<_> = hosts.map(Some).collect();
    let hosts = if hosts.is_empty() { vec![None] } else { hosts };
    for host in hosts {
        let context = Context {
            now: clock::now(),
            host,
            key: None,
            cluster: Some(state.cluster_key()),
            issuing: &[],
            revoked: &|_| None,
        };
        let report = inspect(chain, &context)
            .map_err(|error| CliError::no("the daemon sent no certificate").because(&error))?;
        if let Some(fault) = report.faults.iter().find(|_| !report.is_sound()) {
            return Err(CliError::no(format!(
                "the daemon sent a certificate that is no good: {}",
                fault.what
            )));
        }
    }
    Ok(())
}
