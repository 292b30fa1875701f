//! Which modules of `std` a source file names: a plain scan, not a parser, good enough for code that
//! rustfmt has laid out. Comments and what stands below `#[cfg(test)]` don't count.

use std::path::{Path, PathBuf};

/// Doors to the outside. `io` is not here: its traits and errors do nothing by themselves.
const FORBIDDEN: &[&str] = &["env", "fs", "os", "process", "thread"];

/// Modules of which only some names are doors: an address and a duration are values.
const FORBIDDEN_NAMES: &[(&str, &[&str])] = &[
    (
        "net::",
        &["TcpListener", "TcpStream", "ToSocketAddrs", "UdpSocket"],
    ),
    ("time::", &["Instant", "SystemTime"]),
];

/// All `.rs` files below a directory, sorted.
pub(crate) fn rust_files(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let trouble = |error| format!("can't read {}: {error}", directory.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(trouble)? {
        let path = entry.map_err(trouble)?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The line and the module of each forbidden `std::...` path.
pub(crate) fn forbidden_std(source: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (index, line) in source.lines().enumerate() {
        if line.trim_start().starts_with("#[cfg(test)]") {
            break;
        }
        let code = line.split("//").next().unwrap_or(line);
        for rest in code.split("std::").skip(1) {
            for module in first_segments(rest) {
                if FORBIDDEN.contains(&module) {
                    found.push((index + 1, module.to_owned()));
                }
            }
            for (module, names) in FORBIDDEN_NAMES {
                let rest = rest.strip_prefix(module).unwrap_or_default();
                for name in first_segments(rest).filter(|name| names.contains(name)) {
                    found.push((index + 1, format!("{module}{name}")));
                }
            }
        }
    }
    found
}

/// `fs::read` gives `fs`; `{fs, io::Read}` gives `fs` and `io` (and, one level down, more than asked).
fn first_segments(rest: &str) -> impl Iterator<Item = &str> {
    let group = rest
        .strip_prefix('{')
        .map(|inner| inner.split('}').next().unwrap_or(inner));
    let several = group.into_iter().flat_map(|inner| inner.split(','));
    let single = group.is_none().then_some(rest);
    several.chain(single).map(|path| {
        let path = path.trim();
        let end = path
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(path.len());
        path.split_at(end).0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules(source: &str) -> Vec<String> {
        forbidden_std(source)
            .into_iter()
            .map(|(_, module)| module)
            .collect()
    }

    #[test]
    fn names_modules_that_do_io_alone_and_in_groups() {
        assert_eq!(
            forbidden_std("use a;\nuse std::fs::File;"),
            [(2, "fs".to_owned())]
        );
        assert_eq!(
            modules("use std::{collections::BTreeMap, env, process::Command};"),
            ["env", "process"]
        );
        assert_eq!(modules("let a = std::env::var(b);"), ["env"]);
        assert_eq!(modules("let a = ::std::thread::spawn(b);"), ["thread"]);
    }

    #[test]
    fn a_socket_is_forbidden_and_an_address_is_not() {
        assert_eq!(
            modules("use std::net::{IpAddr, TcpStream};"),
            ["net::TcpStream"]
        );
        assert_eq!(modules("use std::net::IpAddr;"), [""; 0]);
    }

    #[test]
    fn a_clock_is_forbidden_and_a_duration_is_not() {
        assert_eq!(
            modules("use std::time::{Duration, Instant};"),
            ["time::Instant"]
        );
        assert_eq!(
            modules("std::time::SystemTime::now()"),
            ["time::SystemTime"]
        );
        assert_eq!(modules("use std::time::Duration;"), [""; 0]);
    }

    #[test]
    fn what_only_computes_is_free() {
        assert_eq!(
            modules("use std::collections::BTreeMap;\nuse std::net_like;"),
            [""; 0]
        );
        assert_eq!(
            modules("// std::fs is not used\nuse std::io::Read;"),
            [""; 0]
        );
    }

    #[test]
    fn tests_may_do_what_they_like() {
        assert_eq!(
            modules("fn a() {}\n#[cfg(test)]\nmod tests { use std::fs; }"),
            [""; 0]
        );
    }
}
