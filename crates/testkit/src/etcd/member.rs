//! One etcd process, and the shell that keeps it.

use crate::Error;
use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Sends the signals that the test names; ends the server and removes its directory when the pipe
/// closes, also when the test was killed.
const KEEPER: &str = r#"
directory=$1; shift
"$@" </dev/null >>"$directory/log" 2>&1 &
server=$!
exec 2>/dev/null
while read -r signal; do
    kill -s "$signal" $server
    case $signal in KILL|TERM) wait $server; exit ;; esac
done
kill -s KILL $server; wait $server
rm -rf "$directory"
"#;

/// A member of a throwaway etcd.
#[derive(Debug)]
pub struct Member {
    pub(super) name: String,
    pub(super) client: String,
    pub(super) peer: String,
    pub(super) directory: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) keeper: Option<Child>,
}

impl Member {
    /// Its name: `n1`, `n2`, ...
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens for clients: `https://127.0.0.1:PORT`.
    #[must_use]
    pub fn client_url(&self) -> &str {
        &self.client
    }

    /// Where it listens for its peers.
    #[must_use]
    pub fn peer_url(&self) -> &str {
        &self.peer
    }

    /// Whether its process was started and not stopped.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.keeper.is_some()
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// Its data.
    pub(super) fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Starts its process if it is not running. It need not serve when this returns.
    pub fn start(&mut self) -> Result<(), Error> {
        if self.keeper.is_some() {
            return Ok(());
        }
        std::fs::create_dir_all(&self.directory).map_err(Error::file("make", &self.directory))?;
        let keeper = Command::new("/bin/sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(&self.directory)
            .arg("etcd")
            .args(&self.arguments)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Error::spawn("/bin/sh"))?;
        self.keeper = Some(keeper);
        Ok(())
    }

    /// Asks it to end (SIGTERM), and waits.
    pub fn stop(&mut self) {
        self.end("TERM");
    }

    /// Kills it (SIGKILL), and waits.
    pub fn kill(&mut self) {
        self.end("KILL");
    }

    /// Freezes it (SIGSTOP): connections stay open, and nothing answers.
    pub fn freeze(&mut self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn thaw(&mut self) {
        self.signal("CONT");
    }

    fn signal(&mut self, signal: &str) {
        if let Some(stdin) = self
            .keeper
            .as_mut()
            .and_then(|keeper| keeper.stdin.as_mut())
        {
            // A keeper that has ended has nothing to signal.
            writeln!(stdin, "{signal}").ok();
        }
    }

    fn end(&mut self, signal: &str) {
        self.signal("CONT");
        self.signal(signal);
        if let Some(mut keeper) = self.keeper.take() {
            keeper.wait().ok();
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            // Closes the pipe first, which is what the keeper waits for.
            keeper.wait().ok();
        }
    }
}

/// Whether the program is in `PATH`.
pub(super) fn find(program: &str) -> Result<(), Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).any(|dir: PathBuf| Path::new(&dir).join(program).is_file());
    if found {
        return Ok(());
    }
    Err(Error::EtcdMissing {
        program: program.to_owned(),
    })
}
