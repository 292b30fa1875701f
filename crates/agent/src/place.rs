//! Files among other OS users, when we are root. What a server is to read lies in a directory of ours, and
//! what it wrote itself is its user's word: it is opened without following links, and handed over by descriptor.

use std::fs::{DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt, fchown};
use std::path::Path;

use palisade_keys::Zeroizing;
use rustix::fs::{Mode, OFlags, open};

use crate::error::Error;
use crate::os::OsUser;

fn own() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Reads a file of `user`'s: a regular one that has no other name, and no more than `limit` bytes.
pub(crate) fn read(path: &Path, user: &OsUser, limit: usize) -> io::Result<Vec<u8>> {
    // A pipe would have us wait, and so would a lease.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty())?);
    let found = file.metadata()?;
    let refused = |why| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    if !found.is_file() {
        return refused("it is no regular file");
    }
    if found.uid() != user.uid || found.nlink() != 1 {
        return refused("it is another user's, or has a second name");
    }
    let mut contents = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX);
    file.take(most.saturating_add(1))
        .read_to_end(&mut contents)?;
    if contents.len() > limit {
        return refused("it is too large");
    }
    Ok(contents)
}

/// Whether a file of `user`'s holds just this.
pub(crate) fn holds(path: &Path, user: &OsUser, wanted: &[u8]) -> bool {
    // It may be a key.
    let found = read(path, user, wanted.len()).map(Zeroizing::new);
    found.is_ok_and(|found| *found == wanted)
}

/// Makes a directory of mode 0700 that belongs to `user`, in one that is there. What stands there already and is
/// neither the user's nor ours is refused; a link is not followed.
pub(crate) fn make_private(path: &Path, user: &OsUser) -> Result<(), Error> {
    let directory = make(path)?;
    let owner = directory
        .metadata()
        .map_err(Error::file("look at", path))?
        .uid();
    if owner != user.uid && owner != own() {
        return Err(Error::WrongOwner {
            path: path.to_owned(),
            owner,
            user: user.name.clone(),
        });
    }
    if owner != user.uid {
        fchown(&directory, Some(user.uid), Some(user.gid))
            .map_err(Error::file("change the owner of", path))?;
    }
    directory
        .set_permissions(PermissionsExt::from_mode(0o700))
        .map_err(Error::file("set the mode of", path))
}

/// Makes a directory of ours that `user` passes through, and nobody else.
pub(crate) fn make_passable(path: &Path, user: &OsUser) -> Result<(), Error> {
    let directory = make(path)?;
    let mut mode = 0o700;
    if user.uid != own() {
        fchown(&directory, Some(own()), Some(user.gid))
            .map_err(Error::file("change the owner of", path))?;
        mode = 0o710;
    }
    directory
        .set_permissions(PermissionsExt::from_mode(mode))
        .map_err(Error::file("set the mode of", path))
}

fn make(path: &Path) -> Result<File, Error> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Error::file("make", path)(error));
        }
        _ => {}
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = open(path, flags, Mode::empty());
    opened
        .map(File::from)
        .map_err(|error| Error::file("open", path)(error.into()))
}

/// Refuses a directory that `user` could exchange or write: as root we don't work below it.
pub(crate) fn check_not_theirs(path: &Path, user: &OsUser) -> Result<(), Error> {
    if user.uid == own() {
        return Ok(());
    }
    let path = std::fs::canonicalize(path).map_err(Error::file("find", path))?;
    for place in path.ancestors() {
        let found = std::fs::metadata(place).map_err(Error::file("look at", place))?;
        let mode = found.mode();
        // In a directory like /tmp what is ours stays ours.
        let others = mode & 0o002 != 0 && (place == path || mode & 0o1000 == 0);
        if found.uid() == user.uid || others || (found.gid() == user.gid && mode & 0o020 != 0) {
            return Err(Error::Theirs {
                path: place.to_owned(),
                user: user.name.clone(),
            });
        }
    }
    Ok(())
}

/// Replaces a file at once: whoever reads it sees the old or the new contents, and they
/// survive a power cut. Its mode is 0600.
pub(crate) fn replace(path: &Path, contents: impl AsRef<[u8]>, user: &OsUser) -> Result<(), Error> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let failed = || Error::file("write", path);
    let mut file = tempfile::NamedTempFile::new_in(parent).map_err(failed())?;
    // By its descriptor: where the directory is the user's, the name may be something else by now.
    if user.uid != own() {
        fchown(file.as_file(), Some(user.uid), Some(user.gid))
            .map_err(Error::file("change the owner of", path))?;
    }
    file.write_all(contents.as_ref()).map_err(failed())?;
    file.as_file().sync_all().map_err(failed())?;
    file.persist(path).map_err(|error| failed()(error.error))?;
    let directory = File::open(parent).map_err(failed())?;
    directory.sync_all().map_err(failed())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn me() -> OsUser {
        OsUser {
            uid: own(),
            gid: rustix::process::getegid().as_raw(),
            name: "me".to_owned(),
        }
    }

    /// Somebody else; nobody asks whether he exists.
    fn other() -> OsUser {
        OsUser {
            uid: 64_999,
            gid: 64_999,
            name: "other".to_owned(),
        }
    }

    /// Only root can be led astray by others' files.
    fn is_root() -> bool {
        let root = rustix::process::geteuid().is_root();
        if !root {
            eprintln!("not root: this was not tried");
        }
        root
    }

    #[test]
    fn what_a_user_wrote_is_read_only_if_it_is_a_plain_file_of_his() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("plain"), "12345").unwrap();
        assert_eq!(read(&at("plain"), &me(), 5).unwrap(), b"12345");
        assert!(holds(&at("plain"), &me(), b"12345"));
        assert!(!holds(&at("plain"), &me(), b"1234"));
        assert!(!holds(&at("plain"), &me(), b"123456"));
        read(&at("plain"), &me(), 4).unwrap_err();
        read(&at("plain"), &other(), 5).unwrap_err();
        symlink(at("plain"), at("link")).unwrap();
        read(&at("link"), &me(), 5).unwrap_err();
        read(dir.path(), &me(), 5).unwrap_err();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            at("pipe"),
            rustix::fs::FileType::Fifo,
            Mode::from(0o600),
            0,
        )
        .unwrap();
        read(&at("pipe"), &me(), 5).unwrap_err();
        std::fs::hard_link(at("plain"), at("second")).unwrap();
        read(&at("plain"), &me(), 5).unwrap_err();
    }

    #[test]
    fn a_directory_is_not_made_by_way_of_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        make_private(&at("new"), &me()).unwrap();
        make_private(&at("new"), &me()).unwrap();
        std::fs::create_dir(at("victim")).unwrap();
        std::fs::set_permissions(at("victim"), PermissionsExt::from_mode(0o755)).unwrap();
        symlink(at("victim"), at("link")).unwrap();
        for made in [make_private, make_passable] {
            made(&at("link"), &me()).unwrap_err();
            if is_root() {
                made(&at("link"), &other()).unwrap_err();
            }
        }
        let found = std::fs::metadata(at("victim")).unwrap();
        assert_eq!((found.mode() & 0o7777, found.uid()), (0o755, own()));
    }

    #[test]
    fn a_directory_of_a_third_user_is_refused() {
        if !is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        std::fs::create_dir(&path).unwrap();
        std::os::unix::fs::chown(&path, Some(64_998), None).unwrap();
        let told = make_private(&path, &other()).unwrap_err();
        assert!(matches!(told, Error::WrongOwner { .. }), "{told}");
        assert_eq!(std::fs::metadata(&path).unwrap().uid(), 64_998);
    }

    #[test]
    fn root_works_nowhere_that_the_user_could_exchange() {
        if !is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a");
        let path = inner.join("b");
        std::fs::create_dir_all(&path).unwrap();
        check_not_theirs(&path, &other()).unwrap();
        let set = |path: &Path, mode: u32, uid: u32, gid: u32| {
            std::os::unix::fs::chown(path, Some(uid), Some(gid)).unwrap();
            std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        };
        for place in [&path, &inner] {
            for (mode, uid, gid) in [(0o700, 64_999, 0), (0o770, 0, 64_999), (0o707, 0, 0)] {
                set(place, mode, uid, gid);
                let told = check_not_theirs(&path, &other()).unwrap_err();
                assert!(matches!(told, Error::Theirs { .. }), "{told}");
                assert!(told.to_string().contains("chown root"), "{told}");
            }
            set(place, 0o755, 0, 0);
        }
        // A link to what is his leads there, too.
        let own = dir.path().join("his");
        std::fs::create_dir(&own).unwrap();
        set(&own, 0o700, 64_999, 0);
        symlink(&own, dir.path().join("link")).unwrap();
        check_not_theirs(&dir.path().join("link"), &other()).unwrap_err();
    }
}
