//! `palisade ca export`: what others need to trust this cluster.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use palisade_daemon::layout::Layout;
use palisade_daemon::pki::check_lists;
use palisade_keys::PublicKey;
use palisade_link::x509::certificate_pem;
use palisade_link::x509::inspect::certificates;

use crate::cli::common::ClusterArgs;
use crate::cli::error::{CliError, Outcome};
use crate::cli::exit::Exit;
use crate::cli::files::{self, Audience};
use crate::cli::out;
use crate::cli::view::View;

/// Bytes of the largest revocation lists that are read.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Write the root's certificate, the issuing CAs' and the revocation lists.
///
/// root.crt is what clients trust (sslrootcert, --cacert); issuing.crt are the CAs below it, the one
/// that signs now first; crl.pem are the revocation lists of all of them, as PostgreSQL's `ssl_crl_file`
/// takes them. Nothing of it is secret.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  palisade ca export -o /etc/shardman --force")]
pub(super) struct ExportArgs {
    /// The directory to write to
    #[arg(short = 'o', long = "out", value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    out: PathBuf,

    /// Replace files that are there
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Runs it.
pub(super) fn run(args: &ExportArgs) -> Outcome {
    let view = View::open(&args.cluster)?;
    let state = view.state();
    let root = root(&args.cluster)?;
    let active = state.active_ca();
    let others = state.issuing_cas().filter(|der| Some(*der) != active);
    let issuing: String = active
        .into_iter()
        .chain(others)
        .map(certificate_pem)
        .collect();
    let lists = Layout::new(args.cluster.directory()?).lists();
    let lists_text = files::read_bytes(&lists, MAX_BYTES)?;
    check_lists(state, &lists_text)
        .map_err(|error| CliError::no(format!("{} is no good", lists.display())).because(&error))?;
    std::fs::create_dir_all(&args.out).map_err(|error| {
        CliError::file(format!("can't make {}", args.out.display())).because(&error)
    })?;
    let written = |name: &str, contents: &[u8]| {
        files::stage(
            &args.out.join(name),
            contents,
            Audience::Everybody,
            args.force,
        )
    };
    files::place_all(vec![
        written("root.crt", root.as_bytes())?,
        written("issuing.crt", issuing.as_bytes())?,
        written("crl.pem", &lists_text)?,
    ])?;
    out::line(&format!(
        "wrote root.crt, issuing.crt and crl.pem to {}",
        args.out.display()
    ))?;
    Ok(Exit::Done)
}

/// The root's certificate in PEM: the node has it, and it must be the cluster key's.
pub(super) fn root(cluster: &ClusterArgs) -> Result<String, CliError> {
    let key = cluster.public_key()?;
    let path = Layout::new(cluster.directory()?).root_certificate();
    let bytes = files::read_bytes(&path, files::MAX_KEY_BYTES)
        .map_err(|error| error.hint("run this on a node, or name its directory with --dir"))?;
    let chain = certificates(&bytes).unwrap_or_default();
    match chain.first() {
        Some(der) if is_root(der, &key) => Ok(certificate_pem(der)),
        Some(_) | None => Err(CliError::no(format!(
            "{} is not the certificate of this cluster's key",
            path.display()
        ))),
    }
}

fn is_root(der: &[u8], key: &PublicKey) -> bool {
    use rustls::pki_types::CertificateDer;
    let der = CertificateDer::from(der);
    rustls::server::ParsedCertificate::try_from(&der).is_ok_and(|parsed| {
        PublicKey::from_spki_der(&parsed.subject_public_key_info()) == Some(*key)
    })
}
