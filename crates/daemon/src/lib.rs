//! The node: store, issuing CA, control socket, configuration and the files it follows.

pub mod config;
