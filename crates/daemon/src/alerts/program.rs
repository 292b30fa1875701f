//! A program that the node's own configuration names. The ledger can choose among these, and not add to
//! them: the right to change the cluster is not the right to run programs as the daemon's user.

use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::send::SendError;

/// Runs `line` with an empty environment and `input` on its standard input.
pub(super) async fn run(line: &[String], input: &str) -> Result<(), SendError> {
    let (program, args) = line
        .split_first()
        .ok_or_else(|| SendError::new("its command line is empty"))?;
    let mut child = Command::new(program)
        .args(args)
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| SendError::new(format!("{program} can't be run: {error}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input may have closed it.
        drop(stdin.write_all(input.as_bytes()).await);
    }
    let status = child
        .wait()
        .await
        .map_err(|error| SendError::new(error.to_string()))?;
    if status.success() {
        return Ok(());
    }
    Err(SendError::new(format!("{program} ended with {status}")))
}
