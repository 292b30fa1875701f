//! Files: private ones that are private from their first byte, and replacement that is whole or not
//! at all.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Bytes of the largest file that is read whole: a user list of a million users.
const MAX_FILE_BYTES: u64 = 512 * 1024 * 1024;

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refused.
    #[error("can't {what} {}: {source}", path.display())]
    Io {
        /// `read`, `write`, `create`.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than the owner may read a private file.
    #[error(
        "{} may be read by others than its owner (mode {mode:04o}); say: chmod 600 {}",
        path.display(),
        path.display()
    )]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Others than the owner may write what decides over the cluster.
    #[error(
        "{} may be written by others than its owner (mode {mode:04o}); say: chmod go-w {}",
        path.display(),
        path.display()
    )]
    Writable {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to somebody else.
    #[error("{} belongs to another user (uid {owner}, we are uid {me}): run this as that user, or name another directory or file", path.display())]
    Foreign {
        /// Which.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        me: u32,
    },
    /// Not text.
    #[error("{} is not a text (UTF-8)", .0.display())]
    NotText(PathBuf),
    /// Too large to be what it should be.
    #[error("{} is too large to be read", .0.display())]
    TooLarge(PathBuf),
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError::Io { what, path, source }
}

/// Reads a private file: ours, and readable by nobody else.
pub fn read_private(path: &Path) -> Result<Zeroizing<String>, FileError> {
    let file = File::open(path).map_err(failed("read", path))?;
    let meta = file.metadata().map_err(failed("read", path))?;
    let me = rustix::process::geteuid().as_raw();
    if meta.mode() & 0o077 != 0 {
        return Err(FileError::Exposed {
            path: path.to_owned(),
            mode: meta.mode() & 0o7777,
        });
    }
    if meta.uid() != me && me != 0 {
        return Err(FileError::Foreign {
            path: path.to_owned(),
            owner: meta.uid(),
            me,
        });
    }
    read(file, path)
}

/// Reads a text file.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    let file = File::open(path).map_err(failed("read", path))?;
    read(file, path).map(|mut text| std::mem::take(&mut *text))
}

/// Reads a text file that decides over the cluster: nobody but its owner may write it, and the owner is
/// us or root. (Root itself may follow a file of whomever it was told to.)
pub fn read_guarded(path: &Path) -> Result<String, FileError> {
    let file = File::open(path).map_err(failed("read", path))?;
    let meta = file.metadata().map_err(failed("read", path))?;
    let me = rustix::process::geteuid().as_raw();
    if meta.uid() != me && meta.uid() != 0 && me != 0 {
        return Err(FileError::Foreign {
            path: path.to_owned(),
            owner: meta.uid(),
            me,
        });
    }
    only_owner_writes(path, meta.mode())?;
    read(file, path).map(|mut text| std::mem::take(&mut *text))
}

fn only_owner_writes(path: &Path, mode: u32) -> Result<(), FileError> {
    if mode & 0o022 == 0 {
        return Ok(());
    }
    Err(FileError::Writable {
        path: path.to_owned(),
        mode: mode & 0o7777,
    })
}

/// Reads all there is; `None` if that is more than `limit` bytes. A buffer that grows leaves copies behind:
/// for a secret, `room` is as many bytes as it may have.
pub fn read_bounded(
    from: impl io::Read,
    room: u64,
    limit: u64,
) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let room = usize::try_from(room.min(limit)).unwrap_or(0);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room.saturating_add(64)));
    from.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    let fits = u64::try_from(bytes.len()).is_ok_and(|length| length <= limit);
    Ok(fits.then_some(bytes))
}

fn read(file: File, path: &Path) -> Result<Zeroizing<String>, FileError> {
    let long = file.metadata().map_err(failed("read", path))?.len();
    let read = read_bounded(file, long, MAX_FILE_BYTES).map_err(failed("read", path))?;
    let mut bytes = read.ok_or_else(|| FileError::TooLarge(path.to_owned()))?;
    match String::from_utf8(std::mem::take(&mut *bytes)) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(FileError::NotText(path.to_owned()))
        }
    }
}

/// Writes a file of mode 0600, in place of one that is there.
pub fn write_private(path: &Path, contents: &[u8]) -> Result<(), FileError> {
    replace(path, contents, 0o600)
}

/// Writes a file that everybody may read, in place of one that is there.
pub fn write_public(path: &Path, contents: &[u8]) -> Result<(), FileError> {
    replace(path, contents, 0o644)
}

/// A reader sees the old contents or the new ones, whenever the machine stops.
fn replace(path: &Path, contents: &[u8], mode: u32) -> Result<(), FileError> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        Some(_) | None => Path::new("."),
    };
    // tempfile creates with mode 0600; a public file is opened up when it is complete.
    let mut file = tempfile::Builder::new()
        .prefix(".new-")
        .tempfile_in(dir)
        .map_err(failed("write", path))?;
    let written = file
        .write_all(contents)
        .and_then(|()| {
            file.as_file()
                .set_permissions(fs::Permissions::from_mode(mode))
        })
        .and_then(|()| file.as_file().sync_all());
    written.map_err(failed("write", path))?;
    file.persist(path)
        .map_err(|error| failed("write", path)(error.error))?;
    sync_directory(dir)
}

/// Makes a rename or a new file in `dir` last.
pub fn sync_directory(dir: &Path) -> Result<(), FileError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(failed("write", dir))
}

/// Makes a directory with these permissions if it is not there; it must be ours, and nobody else may
/// make or rename files in it. One that is to be private is made so.
pub fn directory(path: &Path, mode: u32) -> Result<(), FileError> {
    match fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(failed("create", path)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let meta = fs::metadata(path).map_err(failed("read", path))?;
            let me = rustix::process::geteuid().as_raw();
            if meta.uid() == me {
                only_owner_writes(path, meta.mode())?;
                if meta.mode() & 0o077 & !mode != 0 {
                    return fs::set_permissions(path, fs::Permissions::from_mode(mode))
                        .map_err(failed("create", path));
                }
                return Ok(());
            }
            Err(FileError::Foreign {
                path: path.to_owned(),
                owner: meta.uid(),
                me,
            })
        }
        Err(error) => Err(failed("create", path)(error)),
    }
}

/// Opens a private file for reading and writing, making it if it is not there.
pub fn open_private(path: &Path) -> Result<File, FileError> {
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(failed("open", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_files_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(read_private(&path).unwrap().as_str(), "two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_private_file_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        for mode in [0o640, 0o604, 0o620, 0o777] {
            write_private(&path, b"secret").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = read_private(&path).unwrap_err().to_string();
            assert!(error.contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn what_others_may_write_does_not_decide() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("users.cfg");
        let inner = dir.path().join("private");
        write_public(&list, b"{}").unwrap();
        assert_eq!(read_guarded(&list).unwrap(), "{}");
        fs::create_dir(&inner).unwrap();
        for mode in [0o664, 0o646, 0o666] {
            fs::set_permissions(&list, fs::Permissions::from_mode(mode)).unwrap();
            fs::set_permissions(&inner, fs::Permissions::from_mode(mode | 0o111)).unwrap();
            let error = read_guarded(&list).unwrap_err().to_string();
            assert!(error.contains("chmod go-w"), "{error}");
            let error = directory(&inner, 0o700).unwrap_err().to_string();
            assert!(error.contains("chmod go-w"), "{error}");
        }
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o755)).unwrap();
        directory(&inner, 0o700).unwrap();
        assert_eq!(fs::metadata(&inner).unwrap().mode() & 0o7777, 0o700);
    }
}
