//! `cargo xtask generate [--check]`: the files that are made from the program itself.
//!
//! The program writes its man pages, completions and reference (`palisade generate DIR`). Besides,
//! every Markdown file may quote it: the `text` block below `<!-- palisade: ARGUMENTS -->` holds what
//! `palisade ARGUMENTS` prints. `--check` changes nothing and fails when something would change.

use crate::report::Report;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the program puts what it generates, below the root: nothing else lies there.
const GENERATED: &str = "generated";

/// Below this the check builds a copy to compare with.
const SCRATCH: &str = "target/generated-to-compare";

/// Begins the comment that names a quoted command.
const MARK: &str = "<!-- palisade: ";

/// Writes the files, or checks them.
pub(crate) fn run(options: &[&str], report: &mut Report) -> Result<(), String> {
    let check = match options {
        [] => false,
        ["--check"] => true,
        _ => return Err("usage: cargo xtask generate [--check]".to_owned()),
    };
    let root = crate::root()?;
    let mut changes = Vec::new();
    let fresh = if check {
        root.join(SCRATCH)
    } else {
        root.clone()
    };
    remove(&fresh.join(GENERATED))?;
    if check {
        remove(&fresh)?;
        std::fs::create_dir_all(&fresh).map_err(trouble("make", &fresh))?;
    }
    palisade(&root, &["generate", path_text(&fresh)?])?;
    if check {
        changes.extend(differences(&root, &fresh)?);
        remove(&fresh)?;
    }
    for file in markdown(&root)? {
        let text = read(&file)?;
        let quoted = quote(&text, &mut |arguments| palisade(&root, arguments))?;
        if quoted != text {
            changes.push(relative(&file, &root));
            if !check {
                std::fs::write(&file, quoted).map_err(trouble("write", &file))?;
            }
        }
    }
    if check && !changes.is_empty() {
        return Err(format!(
            "not as the program would write them:\n  {}\nhint: run `cargo xtask generate`, look at the difference, commit it",
            changes.join("\n  ")
        ));
    }
    report.line(if check {
        "generate: nothing has changed"
    } else {
        "generate: done"
    });
    Ok(())
}

/// What the program prints; its environment and terminal don't show.
fn palisade(root: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(["run", "--quiet", "--locked", "--package", "palisade", "--"])
        .args(arguments)
        .current_dir(root)
        .stdin(Stdio::null())
        .env_remove("COLUMNS");
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PALISADE_") {
            command.env_remove(name);
        }
    }
    let answer = command
        .output()
        .map_err(|error| format!("can't run cargo: {error}"))?;
    if !answer.status.success() {
        let words = String::from_utf8_lossy(&answer.stderr);
        return Err(format!(
            "palisade {}: {}\n{words}",
            arguments.join(" "),
            answer.status
        ));
    }
    String::from_utf8(answer.stdout).map_err(|_| "palisade printed no UTF-8".to_owned())
}

/// Puts the output of each command that the text names into the block below its name.
fn quote(
    text: &str,
    run: &mut dyn FnMut(&[&str]) -> Result<String, String>,
) -> Result<String, String> {
    let mut quoted = String::with_capacity(text.len());
    let mut lines = text.split_inclusive('\n');
    while let Some(line) = lines.next() {
        quoted.push_str(line);
        let Some(named) = line.trim_end().strip_prefix(MARK) else {
            continue;
        };
        let named = named
            .strip_suffix(" -->")
            .ok_or("a `palisade:` comment has no end")?;
        if lines.next().map(str::trim_end) != Some("```text") {
            return Err(format!(
                "no ```text block follows the comment for `palisade {named}`"
            ));
        }
        lines
            .by_ref()
            .find(|line| line.trim_end() == "```")
            .ok_or_else(|| format!("the block for `palisade {named}` has no end"))?;
        let arguments: Vec<&str> = named.split_whitespace().collect();
        let output = run(&arguments)?;
        quoted.extend(["```text\n", output.trim_end(), "\n```\n"]);
    }
    Ok(quoted)
}

/// Files that differ, lack or are too many below `root`, seen from a fresh copy.
fn differences(root: &Path, fresh: &Path) -> Result<Vec<String>, String> {
    let made: BTreeSet<String> = files(fresh)?
        .iter()
        .map(|file| relative(file, fresh))
        .collect();
    let mut found = Vec::new();
    for name in &made {
        let old = std::fs::read(root.join(name)).ok();
        let new = std::fs::read(fresh.join(name)).map_err(trouble("read", &fresh.join(name)))?;
        if old.as_ref() != Some(&new) {
            found.push(name.clone());
        }
    }
    for file in files(&root.join(GENERATED))? {
        let name = relative(&file, root);
        if !made.contains(&name) {
            found.push(format!("{name} (no longer made)"));
        }
    }
    Ok(found)
}

/// The Markdown files that may quote the program: those at the root and below `docs`.
fn markdown(root: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = files(&root.join("docs"))?;
    for entry in std::fs::read_dir(root)
        .map_err(trouble("read", root))?
        .flatten()
    {
        found.push(entry.path());
    }
    found.retain(|file| file.extension().is_some_and(|extension| extension == "md"));
    found.sort();
    Ok(found)
}

/// All files below a directory; none when there is no directory.
fn files(directory: &Path) -> Result<Vec<PathBuf>, String> {
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(trouble("read", directory))? {
        let path = entry.map_err(trouble("read", directory))?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}

fn remove(directory: &Path) -> Result<(), String> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(trouble("remove", directory)(error))
        }
        _ => Ok(()),
    }
}

fn read(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(trouble("read", file))
}

fn relative(file: &Path, root: &Path) -> String {
    file.strip_prefix(root)
        .unwrap_or(file)
        .display()
        .to_string()
}

fn path_text(path: &Path) -> Result<&str, String> {
    path.to_str()
        .ok_or_else(|| format!("{} is not UTF-8", path.display()))
}

fn trouble(operation: &str, path: &Path) -> impl FnOnce(std::io::Error) -> String {
    let what = format!("can't {operation} {}", path.display());
    move |error| format!("{what}: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(text: &str) -> Result<String, String> {
        quote(text, &mut |arguments| {
            Ok(format!("ran {}\n\n", arguments.join(" ")))
        })
    }

    #[test]
    fn a_block_holds_what_its_command_prints() {
        let old = "a\n<!-- palisade: user add --help -->\n```text\nold\nlines\n```\nb\n";
        let new = "a\n<!-- palisade: user add --help -->\n```text\nran user add --help\n```\nb\n";
        assert_eq!(quoted(old).unwrap(), new);
        assert_eq!(quoted(new).unwrap(), new);
    }

    #[test]
    fn all_else_stays_as_it_is() {
        let text = "# a\n\n```sh\npalisade up\n```\nno line end";
        assert_eq!(quoted(text).unwrap(), text);
    }

    #[test]
    fn a_comment_without_its_block_is_refused() {
        for text in [
            "<!-- palisade: --help -->\ntext\n",
            "<!-- palisade: --help -->\n```text\nno end\n",
            "<!-- palisade: --help\n```text\n```\n",
        ] {
            assert!(quoted(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_file_that_differs_lacks_or_is_too_many_is_named() {
        let scratch = crate::root()
            .unwrap()
            .join("target")
            .join("xtask-generate-test");
        remove(&scratch).unwrap();
        let (root, fresh) = (scratch.join("root"), scratch.join("fresh"));
        for (file, text) in [
            ("root/generated/same", "1"),
            ("fresh/generated/same", "1"),
            ("root/generated/other", "1"),
            ("fresh/generated/other", "2"),
            ("fresh/docs/new.md", "3"),
            ("root/generated/old", "4"),
            ("root/docs/ours.md", "5"),
        ] {
            let path = scratch.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let found = differences(&root, &fresh).unwrap();
        assert_eq!(
            found,
            [
                "docs/new.md",
                "generated/other",
                "generated/old (no longer made)"
            ]
        );
        remove(&scratch).unwrap();
    }
}
