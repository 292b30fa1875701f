//! `palisade ca rotate`: another issuing CA, proved before it signs.
//!
//! ```text
//!   add ----------> prove ----------> cut over ----------> retire
//!    |                |  a node can't     every node has        once nobody goes by
//!    |                v                   a new leaf            the old one
//!    +---------- roll back: nothing has changed
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use palisade_keys::SecretKey;
use palisade_ledger::{Change, Hash, State};
use palisade_link::api::{Command, Done};
use palisade_link::x509::{SigningRequest, certify_issuing_ca};

use super::{cluster_key, resting_on, time_of};
use crate::cli::common::{ClusterArgs, Signer, read_credentials};
use crate::cli::error::{CliError, Outcome};
use crate::cli::exit::Exit;
use crate::cli::view::View;
use crate::cli::{clock, entropy, out};

/// Put another issuing CA in place of the one that signs: add, prove, cut over, retire.
///
/// The node that answers makes the new key; the cluster's private key certifies it (--as-cluster-key,
/// or the file in the node's directory). Then every node proves by real handshakes at its doors that
/// it works. Only then it signs, and every node renews its certificates. When a node can't prove, all
/// is as before. No session ends. The old CA goes when no service's or user's certificate rests on it
/// any more: then, or later with --retire. Needs the privilege system.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade ca rotate --as root.credentials
  palisade ca rotate --as root.credentials --as-cluster-key /media/usb/cluster_private.key
  palisade ca rotate --retire --as root.credentials
  palisade ca rotate --retire-now --as root.credentials")]
pub(super) struct RotateArgs {
    /// Make no new CA; retire the old ones on which nothing rests any more
    #[arg(long)]
    retire: bool,

    /// Retire the old CAs though certificates rest on them, whose sessions end; for a stolen key
    #[arg(long)]
    retire_now: bool,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Runs it.
pub(super) fn run(args: &RotateArgs) -> Outcome {
    let signer = Signer::User(read_credentials(args.cluster.credentials()?)?);
    if !args.retire {
        let key = cluster_key(&args.cluster)?;
        rotate(args, &signer, &key)?;
    }
    retire(args, &signer)
}

fn rotate(args: &RotateArgs, signer: &Signer, key: &SecretKey) -> Result<(), CliError> {
    let mut view = View::open(&args.cluster)?;
    if key.public() != *view.state().cluster_key() {
        return Err(CliError::no("this private key is not the cluster's"));
    }
    view.signing_user(signer)?;
    clear_leftovers(&mut view, signer)?;
    let der = add(&view, signer, key)?;
    let hash = Hash::of(&der);
    let certificate = STANDARD.encode(&der);
    view.append(signer, &mut |_| {
        Ok(Change::IssuingCaAdd {
            certificate: der.clone(),
        })
    })?;
    out::note("added: the new CA is in the ledger, and signs nothing yet");
    let prove = Command::CaProve {
        certificate: certificate.clone(),
    };
    match view.command(signer, &prove) {
        Ok(done) => {
            for line in proofs(&done) {
                out::note(&line);
            }
            out::note(&format!("proved: {}", done.message));
        }
        Err(error) => return Err(roll_back(&mut view, signer, &hash, certificate, error)),
    }
    view.append(signer, &mut |_| {
        Ok(Change::IssuingCaActivate { certificate: hash })
    })?;
    let done = view
        .command(signer, &Command::CaCutOver { certificate })
        .map_err(|error| {
            error.hint("the new CA signs from now on; when all nodes have renewed: palisade ca rotate --retire")
        })?;
    out::note(&format!("cut over: {}", done.message));
    Ok(())
}

/// What each node has proved, and who met it.
fn proofs(done: &Done) -> Vec<String> {
    let proofs = done
        .data
        .as_ref()
        .and_then(|data| data["proofs"].as_array());
    let line = |proof: &serde_json::Value| {
        let (node, doors) = (proof["node"].as_u64()?, proof["doors"].as_str()?);
        let by = proof["met_by"].as_array()?;
        let by: Vec<_> = by.iter().map(ToString::to_string).collect();
        Some(match by.as_slice() {
            [] => format!("proved: node {node} at {doors}"),
            [one] => format!("proved: node {node} at {doors}; met by node {one}"),
            more => format!(
                "proved: node {node} at {doors}; met by nodes {}",
                more.join(", ")
            ),
        })
    };
    proofs.into_iter().flatten().filter_map(line).collect()
}

/// The candidate's certificate, by the cluster key, beside its key on the node.
fn add(view: &View, signer: &Signer, key: &SecretKey) -> Result<Vec<u8>, CliError> {
    let strange = || CliError::no("the daemon's answer holds no request for a CA");
    let done = view.command(signer, &Command::CaCandidate)?;
    let issuer = done
        .data
        .as_ref()
        .and_then(|data| data.get("issuer")?.as_bool());
    if issuer == Some(false) {
        out::note(
            "warning: this node does not hold the key of the CA that signs now; from the cut-over on nobody makes its \
             revocation list, so PostgreSQL's own port will refuse the certificates that rest on it",
        );
    }
    let request = done
        .data
        .as_ref()
        .and_then(|data| data.get("request")?.as_str());
    let request = STANDARD
        .decode(request.ok_or_else(strange)?)
        .map_err(|_| strange())?;
    let request = SigningRequest::parse(&request).map_err(|error| strange().because(&error))?;
    let der = certify_issuing_ca(key, &request, &entropy::serial()?, clock::now(), None)
        .map_err(|error| CliError::no("can't certify the new CA").because(&error))?;
    let certificate = STANDARD.encode(&der);
    view.command(signer, &Command::CaInstall { certificate })?;
    Ok(der)
}

fn roll_back(
    view: &mut View,
    signer: &Signer,
    hash: &Hash,
    certificate: String,
    error: CliError,
) -> CliError {
    let removed = view.append(signer, &mut |_| {
        Ok(Change::IssuingCaRemove { certificate: *hash })
    });
    let abandoned = view.command(signer, &Command::CaAbandon { certificate });
    match removed.and(abandoned.map(drop)) {
        Ok(()) => error.hint("rolled back: the old CA signs as before; put the node right, and rotate again"),
        Err(_) => error.hint("the old CA signs as before; the new one is still in the ledger, and the next `palisade ca rotate` removes it"),
    }
}

/// Candidates that a rotation which was cut short left in the ledger.
fn clear_leftovers(view: &mut View, signer: &Signer) -> Result<(), CliError> {
    for hash in after_active(view.state()) {
        view.append(signer, &mut |_| {
            Ok(Change::IssuingCaRemove { certificate: hash })
        })?;
        out::note("removed the candidate of a rotation that was cut short");
    }
    Ok(())
}

fn after_active(state: &State) -> Vec<Hash> {
    let active = state.active_ca();
    let all = state.issuing_cas().skip_while(|der| Some(*der) != active);
    all.skip(1).map(Hash::of).collect()
}

fn before_active(state: &State) -> Vec<Hash> {
    let active = state.active_ca();
    let all = state.issuing_cas().take_while(|der| Some(*der) != active);
    all.map(Hash::of).collect()
}

fn retire(args: &RotateArgs, signer: &Signer) -> Outcome {
    let mut view = View::open(&args.cluster)?;
    let now = clock::now();
    for hash in before_active(view.state()) {
        let state = view.state();
        let resting = resting_on(state, &hash, now);
        if let Some(last) = resting.iter().max_by_key(|issued| issued.until)
            && !args.retire_now
        {
            let names: Vec<_> = resting
                .iter()
                .map(|issued| issued.subject.as_str())
                .take(5)
                .collect();
            out::note(&format!(
                "kept: {} certificates rest on the old CA ({}), the last until {}; issue them anew and say palisade ca \
                 rotate --retire, or end them with --retire-now",
                resting.len(),
                names.join("; "),
                time_of(last.until).date()
            ));
            continue;
        }
        view.append(signer, &mut |_| {
            Ok(Change::IssuingCaRemove { certificate: hash })
        })?;
        out::note("retired: nobody takes certificates of the old CA any more");
    }
    out::line("the issuing CA is in order")?;
    Ok(Exit::Done)
}
