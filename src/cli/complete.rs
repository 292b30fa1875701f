//! Completion of names: users, objects, nodes and tokens, read from the daemon of this machine.
//!
//! A person waits at a prompt: what does not come within [`WITHIN`] is not offered. Nothing is said to
//! other machines, and nothing is changed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use palisade_ledger::State;

use super::common::ClusterArgs;
use super::out::plain;
use super::view::View;

/// The variable by which a shell asks for completions.
pub(crate) const VARIABLE: &str = "_PALISADE_COMPLETE";

/// How long a person waits for names after a tab, at most.
const WITHIN: Duration = Duration::from_millis(600);

/// Users, by name.
pub(crate) fn users() -> ArgValueCandidates {
    names(|state| {
        let user = |user: &palisade_ledger::User| {
            let standing = match (user.disabled, user.superuser) {
                (true, _) => "disabled".to_owned(),
                (false, true) => "superuser".to_owned(),
                (false, false) => user.default_privileges.to_string(),
            };
            (user.name.to_string(), standing)
        };
        state.users().map(user).collect()
    })
}

/// Objects that have an access control list.
pub(crate) fn objects() -> ArgValueCandidates {
    names(|state| {
        let acls = state.acls().iter();
        acls.map(|(object, _)| (object.to_string(), String::new()))
            .collect()
    })
}

/// Nodes, by number.
pub(crate) fn nodes() -> ArgValueCandidates {
    names(|state| {
        let nodes = state.nodes();
        nodes
            .map(|node| (node.id.to_string(), node.address.to_string()))
            .collect()
    })
}

/// Nodes that wait for approval, by number.
pub(crate) fn pending() -> ArgValueCandidates {
    names(|state| {
        let nodes = state.nodes().filter(|node| node.pending);
        nodes
            .map(|node| (node.id.to_string(), node.address.to_string()))
            .collect()
    })
}

/// Tokens that can be taken back, by id.
pub(crate) fn tokens() -> ArgValueCandidates {
    names(|state| {
        let tokens = state.tokens();
        tokens
            .filter(|token| !token.revoked && token.used_by.is_none())
            .map(|token| (token.id.to_string(), token.note.clone()))
            .collect()
    })
}

/// Candidates, each with a word of help, out of the cluster's state.
fn names(of: fn(&State) -> Vec<(String, String)>) -> ArgValueCandidates {
    ArgValueCandidates::new(move || {
        let state = state(std::env::args_os());
        let found = state.map(|state| of(&state)).unwrap_or_default();
        found
            .into_iter()
            .map(|(name, help)| {
                let help = (!help.is_empty()).then(|| plain(&help).into());
                CompletionCandidate::new(name).help(help)
            })
            .collect()
    })
}

/// The verified state, if the daemon is quick.
fn state(words: impl Iterator<Item = OsString>) -> Option<State> {
    let cluster = cluster(words);
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        // Nobody may be waiting any more.
        drop(send.send(View::open(&cluster).ok().map(|view| view.state().clone())));
    });
    receive.recv_timeout(WITHIN).ok().flatten()
}

/// Where the words typed so far, or the environment, say that the cluster is.
fn cluster(words: impl Iterator<Item = OsString>) -> ClusterArgs {
    let mut cluster = ClusterArgs {
        dir: variable("PALISADE_DIR"),
        socket: variable("PALISADE_SOCKET"),
        cluster_public_key_file: variable("PALISADE_CLUSTER_PUBLIC_KEY_FILE"),
        ..ClusterArgs::default()
    };
    let mut before = String::new();
    for word in words {
        let word = word.to_string_lossy().into_owned();
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (before, word.clone()),
        };
        match name.as_str() {
            "--dir" => cluster.dir = Some(value.into()),
            "--socket" => cluster.socket = Some(value.into()),
            "--cluster-public-key-file" => cluster.cluster_public_key_file = Some(value.into()),
            _ => {}
        }
        before = word;
    }
    cluster
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_say_where_the_cluster_is() {
        let words = [
            "palisade",
            "--",
            "palisade",
            "user",
            "--dir",
            "/a b",
            "--socket=/s",
            "x",
        ];
        let found = cluster(words.into_iter().map(OsString::from));
        assert_eq!(found.dir, Some("/a b".into()));
        assert_eq!(found.socket, Some("/s".into()));
    }
}
