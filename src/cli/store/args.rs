//! Which etcd, and with which certificate: the options that commands share.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use palisade_daemon::store::etcd::EtcdOptions;

/// An etcd that is read and appended to directly, and the certificate to show to it.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Where the store is")]
#[expect(
    clippy::struct_field_names,
    reason = "the names of the options, beside other options"
)]
pub(crate) struct StoreArgs {
    /// Read and append to the ledger in this etcd, and ask no daemon (but with --node); all is verified
    #[arg(
        long,
        value_name = "URL,...",
        env = "PALISADE_STORE_ENDPOINTS",
        hide_env_values = true,
        value_delimiter = ','
    )]
    pub(crate) store_endpoints: Vec<String>,

    /// The certificate of the authority that etcd's certificates come from (PEM)
    #[arg(long, value_name = "FILE", env = "PALISADE_STORE_CA_FILE", hide_env_values = true, value_hint = ValueHint::FilePath)]
    pub(crate) store_ca_file: Option<PathBuf>,

    /// The certificate to show to etcd (PEM)
    #[arg(long, value_name = "FILE", env = "PALISADE_STORE_CERT_FILE", hide_env_values = true, value_hint = ValueHint::FilePath)]
    pub(crate) store_cert_file: Option<PathBuf>,

    /// Its private key (PEM), which nobody else may read
    #[arg(long, value_name = "FILE", env = "PALISADE_STORE_KEY", hide_env_values = true, value_hint = ValueHint::FilePath)]
    pub(crate) store_key: Option<PathBuf>,
}

impl StoreArgs {
    /// Whether etcd is to be asked, and not a daemon.
    pub(crate) fn is_given(&self) -> bool {
        !self.store_endpoints.is_empty()
    }

    /// What the client of etcd wants to know.
    pub(crate) fn options(&self) -> EtcdOptions {
        EtcdOptions {
            endpoints: self.store_endpoints.clone(),
            ca_file: self.store_ca_file.clone(),
            cert_file: self.store_cert_file.clone(),
            key_file: self.store_key.clone(),
        }
    }
}
