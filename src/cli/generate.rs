//! Completions, man pages and the reference, all from the one definition of the command line.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Command, ValueHint};
use clap_complete::Shell;
use clap_complete::env::Shells;

use super::complete;
use super::error::{CliError, Outcome};
use super::exit::Exit;
use super::out;

/// Columns of the help that goes into files.
const WIDTH: usize = 100;

/// The head of the reference of settings.
const SETTINGS: &str = "\
# Configuration

`palisade daemon --gen-config` prints the default configuration with a comment at everything. It is JSON
with comments; an unknown or ill-typed setting is an error that names its line and column. Each setting
can be overridden by its environment variable.

";

/// Write the completions of a shell to standard output.
///
/// Commands, options, files and privileges complete, and, as far as the daemon of this machine answers
/// at once, the names of users, objects, nodes and tokens.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade completions bash > /etc/bash_completion.d/palisade
  palisade completions zsh > ~/.zfunc/_palisade
  palisade completions fish > ~/.config/fish/completions/palisade.fish")]
pub(crate) struct CompletionsArgs {
    /// Which
    shell: Shell,
}

/// Write the man pages, one a command.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  palisade man /usr/local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Where to
    #[arg(value_hint = ValueHint::DirPath)]
    dir: PathBuf,
}

/// Write all files that are made from the command line's definition, below the repository DIR.
#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// The repository, or a copy to compare with it
    #[arg(value_hint = ValueHint::DirPath)]
    dir: PathBuf,
}

/// A command without what depends on this machine's environment.
fn steady(command: Command) -> Command {
    let command = command
        .term_width(WIDTH)
        .disable_help_subcommand(true)
        .mut_args(|arg| arg.hide_env_values(true));
    let names: Vec<String> = command
        .get_subcommands()
        .map(|sub| sub.get_name().to_owned())
        .collect();
    names.into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, steady)
    })
}

/// Writes into memory what makes a shell ask this program for completions.
fn completions(shell: Shell) -> Result<Vec<u8>, CliError> {
    let mut text = Vec::new();
    let written = match Shells::builtins().completer(&shell.to_string()) {
        Some(shell) => {
            let (variable, name) = (complete::VARIABLE, "palisade");
            shell.write_registration(variable, name, name, name, &mut text)
        }
        None => return Err(CliError::usage(format!("{shell} is not known"))),
    };
    written.map_err(|error| CliError::no("can't write the completions").because(&error))?;
    Ok(text)
}

/// Runs `completions`.
pub(crate) fn run_completions(args: &CompletionsArgs) -> Outcome {
    out::write(&completions(args.shell)?)?;
    Ok(Exit::Done)
}

/// Runs `man`.
pub(crate) fn run_man(args: &ManArgs, command: Command) -> Outcome {
    man_pages(&args.dir, steady(command))?;
    Ok(Exit::Done)
}

/// Runs `generate`.
pub(crate) fn run_generate(args: &GenerateArgs, command: Command) -> Outcome {
    let command = steady(command);
    let generated = args.dir.join("generated");
    man_pages(&generated.join("man"), command.clone())?;
    for (shell, name) in [
        (Shell::Bash, "palisade.bash"),
        (Shell::Zsh, "_palisade"),
        (Shell::Fish, "palisade.fish"),
    ] {
        let text = completions(shell)?;
        put(&generated.join("completions").join(name), &text)?;
    }
    put(
        &args.dir.join("docs").join("cli.md"),
        reference(command).as_bytes(),
    )?;
    let settings = format!("{SETTINGS}{}", palisade_daemon::config::reference());
    put(
        &args.dir.join("docs").join("configuration.md"),
        settings.as_bytes(),
    )?;
    Ok(Exit::Done)
}

fn put(path: &Path, contents: &[u8]) -> Result<(), CliError> {
    let fail = |error: std::io::Error| {
        CliError::file(format!("can't write {}", path.display())).because(&error)
    };
    fs::create_dir_all(super::files::directory_of(path)).map_err(fail)?;
    fs::write(path, contents).map_err(fail)
}

fn man_pages(dir: &Path, command: Command) -> Result<(), CliError> {
    let mut root = command;
    root.build();
    for command in visible(&root) {
        let name = command
            .get_bin_name()
            .unwrap_or(command.get_name())
            .replace(' ', "-");
        let page = clap_mangen::Man::new(command.clone())
            .title(name.to_uppercase())
            .manual("Palisade");
        let mut text = Vec::new();
        page.render(&mut text).map_err(|error| {
            CliError::file(format!("can't write the page {name}")).because(&error)
        })?;
        put(&dir.join(format!("{name}.1")), &text)?;
    }
    Ok(())
}

/// A command and all below it that are not hidden, top-down.
fn visible(command: &Command) -> Vec<&Command> {
    let below = command
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set())
        .flat_map(visible);
    std::iter::once(command).chain(below).collect()
}

/// The reference, in Markdown: the help of every command.
fn reference(command: Command) -> String {
    let mut root = command;
    root.build();
    let mut text = String::from(
        "# The command line\n\n\
         Made from the program's own definition by `cargo xtask generate`; don't edit it.\n",
    );
    for command in visible(&root) {
        let name = command.get_bin_name().unwrap_or(command.get_name());
        let depth = name.split(' ').count().clamp(1, 4) + 1;
        let help = command.clone().render_long_help().to_string();
        let help: Vec<&str> = help.lines().map(str::trim_end).collect();
        let written = write!(
            text,
            "\n{} {name}\n\n```text\n{}\n```\n",
            "#".repeat(depth),
            help.join("\n").trim_end()
        );
        debug_assert!(written.is_ok());
    }
    text
}
