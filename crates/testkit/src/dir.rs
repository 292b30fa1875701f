//! Temporary directories that the server's OS user can reach, too.

use crate::Error;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A unix socket's path has at most 107 bytes (`sun_path`, unix(7)); this much of it is left to the
/// temporary directory, the rest to our own names and to `.s.PGSQL.NNNNN`.
const LONGEST_PARENT: usize = 60;

/// A temporary directory that everybody may enter, with a short path; removed on drop.
#[derive(Debug)]
pub struct TempDir(tempfile::TempDir);

impl TempDir {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Makes a temporary directory that other OS users may enter and read (mode 0755), so that a server
/// running as `postgres` reaches what a test running as root puts there.
pub fn temp_dir() -> Result<TempDir, Error> {
    let parent = parent();
    tempfile::Builder::new()
        .prefix("plt")
        .permissions(std::fs::Permissions::from_mode(0o755))
        .tempdir_in(&parent)
        .map(TempDir)
        .map_err(Error::file("make a directory in", parent))
}

/// The temporary directory, or /tmp when its path would leave no room for a socket's name.
pub(crate) fn parent() -> PathBuf {
    let parent = std::env::temp_dir();
    if parent.as_os_str().len() > LONGEST_PARENT {
        PathBuf::from("/tmp")
    } else {
        parent
    }
}

/// The directory that all test runs of this user share, for what is dear to make; made at need.
///
/// It has a guessable name in a public place: one that belongs to somebody else is refused.
pub(crate) fn shared() -> Result<PathBuf, Error> {
    use std::os::unix::fs::MetadataExt;
    let us = rustix::process::geteuid().as_raw();
    let path = parent().join(format!("palisade-testkit-{us}"));
    match std::fs::create_dir(&path) {
        Ok(()) => {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
                .map_err(Error::file("set the mode of", &path))?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Error::file("make", &path)(error)),
    }
    let meta = path
        .symlink_metadata()
        .map_err(Error::file("look at", &path))?;
    if !meta.is_dir() || meta.uid() != us {
        return Err(Error::Foreign {
            path,
            owner: meta.uid(),
        });
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_may_enter_and_it_is_gone_on_drop() {
        let dir = temp_dir().unwrap();
        let path = dir.path().to_owned();
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        drop(dir);
        assert!(!path.exists());
    }
}
