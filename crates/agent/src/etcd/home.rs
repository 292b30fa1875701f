//! What the OS user has that etcd runs as: its data, and copies of its certificate and key.
//!
//! ```text
//!   DIRECTORY/    0710, ours: its user passes through, and changes nothing in it
//!     data/       0700, its user's
//!     tls/        0710, ours; the files in it 0600, its user's
//! ```
//!
//! Started by root, the daemon writes into no directory that this user could have changed.

use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::{Path, PathBuf};

use palisade_keys::Zeroizing;
use rustix::fs::{FlockOperation, flock};

use super::config::Files;
use super::error::EtcdError;
use crate::error::Error;
use crate::os::{self, OsUser};
use crate::place;

/// etcd's copies of its certificate chain and its key.
const COPIES: [&str; 2] = ["member.crt", "member.key"];

/// Where etcd's copy of the certificate chain is, and that of its key.
pub(super) fn copies(directory: &Path) -> [PathBuf; 2] {
    COPIES.map(|name| directory.join("tls").join(name))
}

/// Makes the directories, and hands over what an earlier start made for itself.
pub(super) fn prepare(directory: &Path, data: &Path, user: &OsUser) -> Result<(), EtcdError> {
    place::make_passable(directory, user)?;
    os::check_reachable(data, user)?;
    let own = rustix::process::geteuid().as_raw();
    match std::fs::symlink_metadata(data) {
        Ok(found) if found.uid() != user.uid && found.uid() != own => Err(Error::WrongOwner {
            path: data.to_owned(),
            owner: found.uid(),
            user: user.name.clone(),
        })?,
        // Nobody but us could change it until now: its names mean what they say.
        Ok(found) if found.uid() != user.uid => give_all(data, user)?,
        Ok(_) => {}
        Err(_) => std::fs::create_dir(data).map_err(EtcdError::file("make", data))?,
    }
    Ok(place::make_private(data, user)?)
}

/// Brings etcd's copies up to date, which it reads at each handshake.
pub(super) fn copy(files: &Files, directory: &Path, user: &OsUser) -> Result<(), EtcdError> {
    let tls = directory.join("tls");
    place::make_passable(directory, user)?;
    place::make_passable(&tls, user)?;
    // What is read last is written last, whoever else copies now.
    let lock = std::fs::File::open(&tls).map_err(EtcdError::file("open", &tls))?;
    flock(&lock, FlockOperation::LockExclusive)
        .map_err(|error| EtcdError::file("lock", &tls)(error.into()))?;
    for (from, to) in [&files.certificate, &files.key]
        .into_iter()
        .zip(copies(directory))
    {
        let wanted = std::fs::read(from).map(Zeroizing::new);
        let wanted = wanted.map_err(EtcdError::file("read", from))?;
        if !place::holds(&to, user, &wanted) {
            place::replace(&to, wanted.as_slice(), user)?;
        }
    }
    Ok(())
}

/// Has the etcd of this directory, if there is one, show what is in the files, from the next handshake on.
pub fn renew(files: &Files, directory: &Path) -> Result<(), EtcdError> {
    let [_, key] = copies(directory);
    let Ok(found) = std::fs::metadata(&key) else {
        return Ok(());
    };
    let user = OsUser {
        uid: found.uid(),
        gid: found.gid(),
        name: found.uid().to_string(),
    };
    copy(files, directory, &user)
}

/// Hands over all that is in a directory which is closed to everybody else.
fn give_all(directory: &Path, user: &OsUser) -> Result<(), EtcdError> {
    let entries = std::fs::read_dir(directory).map_err(EtcdError::file("read", directory))?;
    for entry in entries {
        let entry = entry.map_err(EtcdError::file("read", directory))?;
        let path = entry.path();
        let kind = entry
            .file_type()
            .map_err(EtcdError::file("look at", &path))?;
        lchown(&path, Some(user.uid), Some(user.gid))
            .map_err(EtcdError::file("change the owner of", &path))?;
        if kind.is_dir() {
            give_all(&path, user)?;
        }
    }
    Ok(())
}
