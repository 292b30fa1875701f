//! Where etcd is, and what it can do.

use std::path::{Path, PathBuf};

use super::error::EtcdError;
use crate::programs;

/// The oldest version: the first with learners.
const OLDEST: (u32, u32) = (3, 4);

/// etcd's program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    /// `--tls-min-version`, from 3.4.25 and 3.5.8 on.
    pub(super) knows_tls_versions: bool,
}

impl Program {
    /// The configured one, else the first in the usual places.
    pub(super) fn find(configured: Option<&Path>) -> Result<Self, EtcdError> {
        let path = match configured {
            Some(path) => path.to_owned(),
            None => programs::find("etcd")?.ok_or(EtcdError::NoProgram)?,
        };
        if !path.is_file() {
            return Err(EtcdError::NoProgram);
        }
        let said = |argument: &str| {
            let done = programs::command(&path)?.arg(argument).output();
            let done = done.map_err(|_| EtcdError::NoProgram)?;
            // Some versions print their help to standard error.
            let mut text = String::from_utf8_lossy(&done.stdout).into_owned();
            text.push_str(&String::from_utf8_lossy(&done.stderr));
            Ok::<_, EtcdError>(text)
        };
        let version = said("--version")?;
        if version_of(&version).is_none_or(|found| found < OLDEST) {
            let found = version.lines().next().unwrap_or("?").trim().to_owned();
            return Err(EtcdError::TooOld { path, found });
        }
        let knows_tls_versions = said("--help")?.contains("--tls-min-version");
        Ok(Self {
            path,
            knows_tls_versions,
        })
    }
}

/// `etcd Version: 3.4.23`.
fn version_of(text: &str) -> Option<(u32, u32)> {
    let number = text.split_once("etcd Version:")?.1.trim_start();
    let mut parts = number.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read() {
        assert_eq!(version_of("etcd Version: 3.4.23\nGit SHA: x"), Some((3, 4)));
        assert_eq!(version_of("etcd Version: 3.10.0-rc.1"), Some((3, 10)));
        assert_eq!(version_of("hello"), None);
    }

    #[test]
    fn what_is_no_etcd_is_refused_with_a_remedy() {
        let error = Program::find(Some(Path::new("/bin/echo"))).unwrap_err();
        assert!(
            error.to_string().contains("apt-get install -y etcd-server"),
            "{error}"
        );
        let error = Program::find(Some(Path::new("/no/such"))).unwrap_err();
        assert!(
            error.to_string().contains("apt-get install -y etcd-server"),
            "{error}"
        );
    }
}
