//! Questions to etcd itself, with the certificate of the options.

use std::time::Duration;

use etcd_client::{Error, Member};
use palisade_daemon::store::etcd::{EtcdError, EtcdStore};
use palisade_keys::{SecretKey, Zeroizing};
use palisade_link::api::StoreMember;

use super::args::StoreArgs;
use crate::cli::error::CliError;
use crate::cli::view::runtime;

/// How long one member may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The members, as the first endpoint that answers lists them.
pub(super) fn members(args: &StoreArgs) -> Result<Vec<StoreMember>, CliError> {
    runtime()?
        .block_on(list(args))
        .map_err(|error| failed(&error))
}

/// What is wrong, in words; each kind of failure has its own.
pub(crate) fn failed(error: &EtcdError) -> CliError {
    match error {
        EtcdError::Options(_) => CliError::usage(error.to_string()),
        EtcdError::File(_)
        | EtcdError::Pem { .. }
        | EtcdError::Mismatch { .. }
        | EtcdError::OwnExpired { .. } => CliError::file(error.to_string()),
        EtcdError::Endpoints(failures) => {
            let told: Vec<String> = failures
                .iter()
                .map(|(endpoint, failure)| format!("{endpoint}: {failure}"))
                .collect();
            CliError::unreachable(format!("no etcd can be asked: {}", told.join("; ")))
        }
        EtcdError::NotHere => CliError::no(error.to_string())
            .hint("if `palisade store move` is running, wait for its end; `palisade status` says where the ledger is kept"),
        _ => CliError::no(error.to_string()),
    }
}

async fn list(args: &StoreArgs) -> Result<Vec<StoreMember>, EtcdError> {
    // The key says where in etcd a ledger would be. None is read here, so any key will do.
    let any = SecretKey::from_seed(Zeroizing::new([0; 32]))
        .map_err(|error| EtcdError::Options(error.to_string()))?;
    let store = EtcdStore::new(&args.options(), &any.public()).await?;
    let mut failures = Vec::new();
    for endpoint in store.endpoints() {
        let mut client = store.client();
        let error = match tokio::time::timeout(ANSWER_WITHIN, client.member_list()).await {
            Ok(Ok(found)) => return Ok(found.members().iter().map(member).collect()),
            Ok(Err(error)) => error,
            Err(_) => Error::Internal("it is silent".to_owned()),
        };
        failures.push((endpoint, store.explain(&error)));
    }
    Err(store.diagnose(EtcdError::Endpoints(failures)).await)
}

fn member(found: &Member) -> StoreMember {
    StoreMember {
        id: format!("{:x}", found.id()),
        name: found.name().to_owned(),
        peer_urls: found.peer_urls().to_vec(),
        client_urls: found.client_urls().to_vec(),
        learner: found.is_learner(),
        ..StoreMember::default()
    }
}
