//! The daemon's configuration: one file of JSON with comments, and the environment over it.
//!
//! ```text
//!  text --document--> values and their places --environment--> values --serde--> Config --check--> Config
//!                              \__________________ error: file, line, column, setting, cause, remedy
//! ```
//!
//! [`fields`] is the one table of all settings: the generated file, the names of the environment
//! variables and the reference are made from it. What is not written has its default; what is not
//! known is refused. This module stands alone: it knows nothing else of the daemon, so that it can
//! be fuzzed without it.

mod check;
mod document;
mod environment;
mod error;
pub mod fields;
mod generated;
mod model;
mod suggest;
#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

pub use environment::RESERVED;
pub use error::{ConfigError, Invalid, Place, Problem};
pub use generated::{default_text, reference};
pub use model::{
    Alerts, Api, Config, Gateway, Limits, Log, LogFormat, LogLevel, ManagedStore, Node, Postgres,
    PostgresMode, Security, Store,
};

use document::Document;

/// Longest configuration file, in bytes. The generated one has 6 KiB; a longer one than this is some
/// other file given by mistake.
pub const MAX_FILE_BYTES: usize = 1024 * 1024;

impl Config {
    /// Reads a configuration file and lays the environment over it. Without a file, the defaults
    /// are what the environment is laid over.
    ///
    /// `environment` is all of it (`std::env::vars_os()`): what does not begin with `PALISADE_` is
    /// passed over, what looks like a setting and is none is refused.
    pub fn load(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        match path {
            Some(path) => Self::parse(&read(path)?, path, environment),
            None => Self::parse("{}", Path::new("defaults"), environment),
        }
    }

    /// As [`load`](Self::load), of a text that was read already; `path` is its name in errors.
    pub fn parse(
        text: &str,
        path: &Path,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let mut document = Document::parse(text);
        environment::lay_over(&mut document, environment);
        let config = document.deserialize();
        if let Some(config) = &config {
            check::check(config, &mut document);
        }
        match (config, ConfigError::invalid(path, text, document.problems)) {
            (Some(config), None) => Ok(config),
            (_, Some(error)) => Err(error),
            // `deserialize` never says no without a reason; if it did, the answer is still no.
            (None, None) => Err(ConfigError::TooLong {
                path: PathBuf::from(path),
            }),
        }
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        path: path.to_path_buf(),
        source,
    };
    let mut text = String::new();
    let limit = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX);
    File::open(path)
        .and_then(|file| file.take(limit.saturating_add(1)).read_to_string(&mut text))
        .map_err(unreadable)?;
    if text.len() > MAX_FILE_BYTES {
        return Err(ConfigError::TooLong {
            path: path.to_path_buf(),
        });
    }
    Ok(text)
}
