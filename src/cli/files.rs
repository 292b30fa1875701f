//! Files: read without waiting on a trap, written whole or not at all.
//!
//! What an attacker may try, and what stops it:
//!
//! ```text
//!   a secret readable for an instant          created 0600 under a random name, then renamed
//!   a symlink or file put at the target       rename never follows; without --force it never replaces
//!   a full disk, a crash half way             temporary file, fsync, rename, fsync of the directory
//!   a key file that others may read           refused, with the chmod that mends it
//!   the file swapped between check and use    checked on the open descriptor
//!   an endless file or device                 reads are bounded
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use palisade_keys::Zeroizing;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use tempfile::{Builder, NamedTempFile, TempPath};

use super::error::CliError;
use super::exit::Exit;

/// Bytes of a key or credentials file: ours take less than 300.
pub(crate) const MAX_KEY_BYTES: u64 = 64 * 1024;
/// Bytes of a user list: room for a million users of 250 bytes.
pub(crate) const MAX_LIST_BYTES: u64 = 256 * 1024 * 1024;
/// Bytes of an exported ledger.
pub(crate) const MAX_LEDGER_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// Who may read a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// The owner alone: mode 0600.
    Owner,
    /// Everybody, as far as the umask lets them: mode 0644.
    Everybody,
}

impl Audience {
    fn mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Everybody => 0o644,
        }
    }
}

fn cannot(verb: &str, path: &Path, error: &io::Error) -> CliError {
    let failure = CliError::file(format!("can't {verb} {}", path.display())).because(error);
    match error.kind() {
        io::ErrorKind::NotFound => match directory_of(path) {
            dir if verb == "write" && !dir.exists() => failure.hint(make_directory(dir)),
            _ => failure,
        },
        _ => failure,
    }
}

/// The command that makes a directory, as a hint.
pub(crate) fn make_directory(directory: &Path) -> String {
    format!("mkdir -p {}", shell_quote(&directory.display().to_string()))
}

/// The directory that a file lies in.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

/// Opens a file for reading; a terminal does not become ours by it.
fn open(path: &Path) -> Result<(File, fs::Metadata), CliError> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(rustix::fs::OFlags::NOCTTY.bits()).unwrap_or(0))
        .open(path)
        .map_err(|error| cannot("read", path, &error))?;
    let metadata = file
        .metadata()
        .map_err(|error| cannot("read", path, &error))?;
    if metadata.is_dir() {
        return Err(CliError::file(format!(
            "can't read {}: it is a directory",
            path.display()
        )));
    }
    Ok((file, metadata))
}

/// Reads at most `limit` bytes.
pub(crate) fn bounded(
    from: impl io::Read,
    limit: u64,
    path: &Path,
) -> Result<Zeroizing<Vec<u8>>, CliError> {
    // What is longer than a key is no secret.
    let room = if limit <= MAX_KEY_BYTES { limit } else { 0 };
    let read = palisade_daemon::files::read_bounded(from, room, limit)
        .map_err(|error| cannot("read", path, &error))?;
    if let Some(bytes) = read {
        return Ok(bytes);
    }
    Err(CliError::file(format!(
        "{} is longer than {limit} bytes; is it another file?",
        path.display()
    )))
}

fn utf8(bytes: &[u8], path: &Path) -> Result<Zeroizing<String>, CliError> {
    match str::from_utf8(bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(error) => {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let mut lines = before.split(|byte| *byte == b'\n');
            let line = lines.clone().count();
            let column = lines.next_back().map_or(0, <[u8]>::len) + 1;
            Err(CliError::file(format!(
                "{} is not UTF-8 text (line {line}, byte {column} of it)",
                path.display()
            )))
        }
    }
}

/// Whether a path stands for standard input or output.
pub(crate) fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Reads a file's bytes; `-` is standard input.
pub(crate) fn read_bytes(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, CliError> {
    if is_dash(path) {
        return bounded(io::stdin().lock(), limit, Path::new("standard input"));
    }
    let (file, _) = open(path)?;
    bounded(file, limit, path)
}

/// Reads a text; `-` is standard input.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<Zeroizing<String>, CliError> {
    let bytes = read_bytes(path, limit)?;
    utf8(&bytes, path)
}

/// Reads a file with a secret, if its owner alone may read it; `-` is standard input.
pub(crate) fn read_secret(path: &Path, limit: u64) -> Result<Zeroizing<String>, CliError> {
    let refused = "others may read or change";
    read_if(path, limit, 0o077, refused, "holds a secret", "chmod 600")
}

/// Reads a file on which trust rests, if not everybody may change it; `-` is standard input.
pub(crate) fn read_trusted(path: &Path, limit: u64) -> Result<Zeroizing<String>, CliError> {
    let refused = "anybody may change";
    read_if(
        path,
        limit,
        0o002,
        refused,
        "says whom to trust",
        "chmod o-w",
    )
}

/// Reads a text, if its mode has none of the bits that are `refused`.
fn read_if(
    path: &Path,
    limit: u64,
    refused: u32,
    trouble: &str,
    what: &str,
    remedy: &str,
) -> Result<Zeroizing<String>, CliError> {
    if is_dash(path) {
        return read_text(path, limit);
    }
    let (file, metadata) = open(path)?;
    // A pipe has a mode, but nobody else can open it twice.
    if metadata.is_file() && metadata.mode() & refused != 0 {
        return Err(CliError::file(format!(
            "{trouble} {} (mode {:04o}), which {what}",
            path.display(),
            metadata.mode() & 0o7777
        ))
        .hint(format!(
            "{remedy} {}",
            shell_quote(&path.display().to_string())
        )));
    }
    let bytes = bounded(file, limit, path)?;
    utf8(&bytes, path)
}

/// A file that is written, but not yet in its place.
pub(crate) struct Staged {
    temporary: NamedTempFile,
    target: PathBuf,
    force: bool,
}

/// A file that was put in its place, and can be taken back.
#[must_use]
pub(crate) struct Placed {
    target: PathBuf,
    /// What was there before, under another name.
    replaced: Option<TempPath>,
}

/// Writes a new file beside its place. Without `force` a file that is there is left alone.
pub(crate) fn stage(
    target: &Path,
    contents: &[u8],
    audience: Audience,
    force: bool,
) -> Result<Staged, CliError> {
    match fs::symlink_metadata(target) {
        Ok(_) if !force => return Err(exists(target)),
        Ok(metadata) if !metadata.is_file() => {
            return Err(CliError::file(format!(
                "{} is not a regular file, and is left alone",
                target.display()
            )));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(cannot("write", target, &error)),
    }
    let temporary = temporary(target, contents, audience.mode())?;
    Ok(Staged {
        temporary,
        target: target.to_path_buf(),
        force,
    })
}

fn exists(target: &Path) -> CliError {
    CliError::file(format!(
        "{} exists already, and is left as it is",
        target.display()
    ))
    .hint("choose another file, or move that one away")
}

/// A file of random name beside `target`, with its contents on the disk.
fn temporary(target: &Path, contents: &[u8], mode: u32) -> Result<NamedTempFile, CliError> {
    let fail = |error: io::Error| cannot("write", target, &error);
    let mut file = Builder::new()
        .prefix(".palisade-")
        .permissions(fs::Permissions::from_mode(mode))
        .tempfile_in(directory_of(target))
        .map_err(fail)?;
    file.write_all(contents).map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    Ok(file)
}

impl Staged {
    /// Puts the file in its place, whole.
    pub(crate) fn place(self) -> Result<Placed, CliError> {
        let Self {
            temporary,
            target,
            force,
        } = self;
        let temporary = match temporary.into_temp_path().persist_noclobber(&target) {
            Ok(()) => {
                sync_directory(&target)?;
                return Ok(Placed {
                    target,
                    replaced: None,
                });
            }
            Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(cannot("write", &target, &error.error));
            }
            Err(_) if !force => return Err(exists(&target)),
            Err(error) => error.path,
        };
        let swapped = renameat_with(CWD, &*temporary, CWD, &target, RenameFlags::EXCHANGE);
        let replaced = if swapped.is_ok() {
            Some(temporary)
        } else {
            // A file system that can't swap: replaced all the same, but not to be taken back.
            temporary
                .persist(&target)
                .map_err(|error| cannot("write", &target, &error.error))?;
            None
        };
        sync_directory(&target)?;
        Ok(Placed { target, replaced })
    }
}

impl Placed {
    /// Takes the file back, and puts what was there before in its place again.
    pub(crate) fn undo(self) {
        let undone = match &self.replaced {
            Some(before) => renameat_with(CWD, &**before, CWD, &self.target, RenameFlags::EXCHANGE)
                .map_err(io::Error::from),
            None => fs::remove_file(&self.target),
        };
        if let Err(error) = undone {
            super::out::note(&format!(
                "warning: {} is of no use and can't be removed: {error}",
                self.target.display()
            ));
        }
    }
}

/// Puts all files in their places, or none of them.
pub(crate) fn place_all(staged: Vec<Staged>) -> Result<(), CliError> {
    let mut placed = Vec::new();
    for file in staged {
        match file.place() {
            Ok(file) => placed.push(file),
            Err(error) => {
                placed.into_iter().rev().for_each(Placed::undo);
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Takes a new secret's file back if the change that makes it good was refused. If nobody knows
/// whether it was taken (the connection broke), the file stays: it may be the only copy.
pub(crate) fn settle(
    appended: Result<(), CliError>,
    placed: impl IntoIterator<Item = Placed>,
) -> Result<(), CliError> {
    let Err(error) = &appended else {
        return appended;
    };
    for placed in placed {
        if error.exit() == Exit::No {
            placed.undo();
        } else {
            super::out::note(&format!(
                "note: {} stays, in case the change was taken",
                placed.target.display()
            ));
        }
    }
    appended
}

/// Makes a rename in this directory last.
fn sync_directory(target: &Path) -> Result<(), CliError> {
    File::open(directory_of(target))
        .and_then(|directory| directory.sync_all())
        .map_err(|error| cannot("write", target, &error))
}

/// Rewrites an existing file: same mode, same owner, whole or not at all.
pub(crate) fn stage_update(target: &Path, contents: &[u8]) -> Result<Update, CliError> {
    let before = fs::metadata(target).map_err(|error| cannot("read", target, &error))?;
    let fail = |error: io::Error| cannot("write", target, &error);
    let temporary = temporary(target, contents, 0o600)?;
    let made = temporary.as_file().metadata().map_err(fail)?;
    if (made.uid(), made.gid()) != (before.uid(), before.gid()) {
        std::os::unix::fs::fchown(temporary.as_file(), Some(before.uid()), Some(before.gid()))
            .map_err(|error| {
                cannot("keep the owner of", target, &error)
                    .hint("run this as the file's owner, or as root")
            })?;
    }
    temporary
        .as_file()
        .set_permissions(fs::Permissions::from_mode(before.mode() & 0o7777))
        .and_then(|()| temporary.as_file().sync_all())
        .map_err(fail)?;
    Ok(Update {
        temporary,
        target: target.to_path_buf(),
    })
}

/// A new text of an existing file, not yet in its place.
pub(crate) struct Update {
    temporary: NamedTempFile,
    target: PathBuf,
}

impl Update {
    /// Puts it in its place.
    pub(crate) fn place(self) -> Result<(), CliError> {
        let target = self.target;
        self.temporary
            .persist(&target)
            .map_err(|error| cannot("write", &target, &error.error))?;
        sync_directory(&target)
    }
}

/// Whether two paths lead to one file, or would once it is there.
pub(crate) fn same_file(a: &Path, b: &Path) -> bool {
    let whole = |path: &Path| {
        let parent = path.parent().filter(|parent| *parent != Path::new(""));
        let parent = parent.unwrap_or(Path::new(".")).canonicalize().ok()?;
        Some(parent.join(path.file_name()?))
    };
    match (fs::metadata(a), fs::metadata(b)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => a == b || whole(a).is_some_and(|a| Some(a) == whole(b)),
    }
}

/// A word as a shell reads it back.
pub(crate) fn shell_quote(text: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@+%".contains(c);
    if !text.is_empty() && text.chars().all(safe) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staged(dir: &Path, name: &str, force: bool) -> Staged {
        stage(&dir.join(name), b"new", Audience::Owner, force).unwrap()
    }

    fn read(dir: &Path, name: &str) -> Option<String> {
        fs::read_to_string(dir.join(name)).ok()
    }

    #[test]
    fn a_file_that_appears_meanwhile_is_not_replaced_and_the_others_are_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        fs::write(dir.join("old"), "old").unwrap();
        let files = vec![
            staged(dir, "first", false),
            staged(dir, "old", true),
            staged(dir, "last", false),
        ];
        fs::write(dir.join("last"), "another's").unwrap();
        assert!(place_all(files).is_err());
        assert_eq!(read(dir, "first"), None);
        assert_eq!(read(dir, "old").as_deref(), Some("old"));
        assert_eq!(read(dir, "last").as_deref(), Some("another's"));
        assert_eq!(fs::read_dir(dir).unwrap().count(), 2);
    }

    #[test]
    fn a_file_that_was_replaced_leaves_no_copy() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        fs::write(dir.join("key"), "old secret").unwrap();
        place_all(vec![staged(dir, "key", true)]).unwrap();
        assert_eq!(read(dir, "key").as_deref(), Some("new"));
        assert_eq!(fs::read_dir(dir).unwrap().count(), 1);
    }

    #[test]
    fn a_link_that_appears_meanwhile_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        fs::write(dir.join("victim"), "precious").unwrap();
        let key = staged(dir, "key", false);
        std::os::unix::fs::symlink("victim", dir.join("key")).unwrap();
        assert!(place_all(vec![key]).is_err());
        assert_eq!(read(dir, "victim").as_deref(), Some("precious"));
    }

    #[test]
    fn what_is_never_placed_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        drop(staged(dir.path(), "key", false));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_endless_file_is_not_read_to_its_end() {
        let error = read_text(Path::new("/dev/zero"), MAX_KEY_BYTES).unwrap_err();
        assert!(error.to_string().contains("longer than"), "{error}");
    }

    #[test]
    fn a_root_of_trust_that_anybody_may_change_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, "P").unwrap();
        for (mode, fine) in [(0o644, true), (0o664, true), (0o666, false), (0o602, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read_trusted(&path, MAX_KEY_BYTES).is_ok(), fine, "{mode:o}");
        }
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(shell_quote("/a/b.key"), "/a/b.key");
        assert_eq!(shell_quote("a b"), "'a b'");
        assert_eq!(shell_quote("it's"), "'it'\\''s'");
        assert_eq!(shell_quote(""), "''");
    }
}
