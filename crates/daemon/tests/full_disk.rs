//! A disk that is full, and then is not: the ledger goes on without a restart.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

use std::path::Path;
use std::process::Command;

use palisade_daemon::author::ClusterAuthor;
use palisade_daemon::ledger::Ledger;
use palisade_daemon::store::Store;
use palisade_keys::{SecretKey, Zeroizing};
use palisade_ledger::{Change, NewUser, Privileges, Uid, UserName};

/// A file system of four MiB that is gone with the value.
struct Disk(tempfile::TempDir);

impl Disk {
    fn mount() -> Option<Self> {
        let disk = Self(tempfile::tempdir().unwrap());
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m,mode=700", "palisade-test"])
            .arg(disk.path())
            .output()
            .unwrap();
        mounted.status.success().then_some(disk)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn fill(&self) {
        let block = vec![0; 4096];
        let mut file = std::fs::File::create(self.path().join("fill")).unwrap();
        while std::io::Write::write_all(&mut file, &block).is_ok() {}
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.path()).output());
    }
}

fn user(uid: u32) -> Change {
    Change::UserAdd {
        user: NewUser {
            uid: Uid::new(uid).unwrap(),
            name: UserName::new(format!("user{uid}")).unwrap(),
            disabled: false,
            superuser: uid == 1,
            default_privileges: Privileges::SELECT,
            public_key: None,
            password: None,
        },
    }
}

#[tokio::test]
async fn the_ledger_goes_on_when_a_full_disk_has_room_again() {
    let Some(disk) = Disk::mount() else {
        println!("skipped: mounting a small file system needs root");
        return;
    };
    let author = ClusterAuthor::new(SecretKey::from_seed(Zeroizing::new([1; 32])).unwrap());
    let public = author.key().public();
    let genesis = author.genesis("test", "main").unwrap();
    let store = Store::open(disk.path()).unwrap();
    let ledger = Ledger::begin(store, &public, &genesis).unwrap();
    author.append(&ledger, user(1)).await.unwrap();
    disk.fill();
    // The file has some room inside; sooner or later it must grow.
    let mut acknowledged = 1;
    let failed = loop {
        match author.append(&ledger, user(acknowledged + 1)).await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error.to_string(),
        }
        assert!(acknowledged < 100_000, "the disk never was full");
    };
    assert!(
        failed.contains("No space left") || failed.contains("could not be stored"),
        "{failed}"
    );
    std::fs::remove_file(disk.path().join("fill")).unwrap();
    author
        .append(&ledger, user(acknowledged + 1))
        .await
        .unwrap();
    let state = ledger.now();
    assert_eq!(
        state.users().len(),
        usize::try_from(acknowledged + 1).unwrap()
    );
    let stored = ledger.entries(0, usize::MAX).unwrap();
    assert_eq!(
        u64::try_from(stored.len()).unwrap(),
        state.head().seq + 1,
        "what is stored is what was acknowledged"
    );
}
