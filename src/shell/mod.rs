//! `palisade shell`: SQL for a person or a script, over TLS 1.3 to a server that proves the cluster key.
//!
//! ```text
//!   args -> identity -> connect -> session <- interpreter <- splitter <- input <- editor (a person)
//!                                     |            |                            a file, -c, stdin
//!                                  printer      commands (meta, describe, copy)
//! ```
//!
//! The shell sends one statement at a time and never looks into it to decide what is allowed: that is
//! the server's to say. It speaks the protocol itself (codec of postgres-protocol) because a SQL
//! client library hides what a shell must show: command tags, the transaction's state, column types
//! of simple queries, and COPY in the middle of a script.

mod args;
mod commands;
mod complete;
mod connect;
mod copy;
mod describe;
mod editor;
mod error;
mod exit;
mod identity;
mod input;
mod interpreter;
mod meta;
mod output;
mod printer;
mod progress;
mod session;
mod splitter;
mod sql;
mod wire;

#[cfg(test)]
mod against_postgres;

pub(crate) use args::ShellArgs;

use complete::SharedCatalog;
use connect::Endpoint;
use editor::Editor;
use error::plain;
use exit::Exit;
use identity::IdentityError;
use input::Input;
use interpreter::{Flow, Interpreter};
use printer::Printer;
use session::Session;
use std::io::IsTerminal;
use std::process::ExitCode;

/// The commit that this was built from, when the build says so.
const BUILD: Option<&str> = option_env!("PALISADE_BUILD");

/// Runs `palisade shell` to its end.
pub(crate) async fn run(args: ShellArgs) -> ExitCode {
    run_to_exit(args).await.into()
}

async fn run_to_exit(args: ShellArgs) -> Exit {
    let args = args.or_from(|name| std::env::var_os(name));
    let (endpoint, warning) = match endpoint(&args) {
        Ok(prepared) => prepared,
        Err(error) => {
            printer::say(&format!("error: {error}\n"));
            return Exit::Usage;
        }
    };
    if let Some(warning) = warning {
        printer::say(&format!("{warning}\n"));
    }
    let mut printer = Printer::new(args.format);
    let session = match Session::open(endpoint, &mut printer).await {
        Ok(session) => session,
        Err(error) => {
            printer::say(&format!("{error}\n"));
            if let Some(hint) = error.hint() {
                printer::say(&format!("hint: {hint}\n"));
            }
            return Exit::Connection;
        }
    };
    let catalog = SharedCatalog::default();
    let mut interpreter = Interpreter::new(session, printer, catalog.clone());
    let flow = match inputs(&args, catalog) {
        Ok(mut inputs) => consume_all(&mut interpreter, &mut inputs).await,
        Err(error) => {
            printer::say(&format!("error: {error}\n"));
            Flow::Abort(Exit::Usage)
        }
    };
    interpreter.close().await;
    match flow {
        Flow::On | Flow::Quit => Exit::Done,
        Flow::Fail(exit) | Flow::Abort(exit) => exit,
    }
}

/// Where to go and as whom; and a warning, if there is something to warn of.
fn endpoint(args: &ShellArgs) -> Result<(Endpoint, Option<String>), IdentityError> {
    let identity = identity::load(
        args.cluster_public_key_file.as_deref(),
        args.user_credentials_file.as_deref(),
    )?;
    let endpoint = Endpoint {
        target: args.cluster.clone(),
        has_credentials: identity.user.is_some(),
        user: identity.user.unwrap_or_else(os_user),
        database: args.database.clone(),
        tls: identity.tls,
    };
    Ok((endpoint, identity.warning))
}

async fn consume_all(interpreter: &mut Interpreter, inputs: &mut [Input]) -> Flow {
    for input in inputs {
        // A person sees the greeting before the first prompt.
        let printer = &mut interpreter.printer;
        if input.is_person()
            && printer
                .line(&greeting())
                .and_then(|()| printer.flush())
                .is_err()
        {
            return Flow::Abort(Exit::Done);
        }
        match interpreter.consume(input).await {
            Flow::On => {}
            other => return other,
        }
    }
    Flow::On
}

/// `-c` and `-f`, else standard input: a person if it is a terminal.
fn inputs(args: &ShellArgs, catalog: SharedCatalog) -> Result<Vec<Input>, String> {
    if let Some(path) = &args.file {
        let path = path.to_str().ok_or("the file's name is not UTF-8")?;
        return match Input::file(path) {
            Ok(input) => Ok(vec![input]),
            Err(error) => Err(format!("can't read \"{path}\": {}", plain(&error))),
        };
    }
    if !args.command.is_empty() {
        return Ok(args.command.iter().map(|text| Input::text(text)).collect());
    }
    if std::io::stdin().is_terminal() {
        return Ok(vec![Input::person(Editor::start(catalog))]);
    }
    Ok(vec![Input::stdin()])
}

fn greeting() -> String {
    format!(
        "palisade shell version {} build {}\nType help for help, exit to leave.\n",
        env!("CARGO_PKG_VERSION"),
        BUILD.unwrap_or("unknown"),
    )
}

/// The name to try without credentials, as psql does.
fn os_user() -> String {
    ["USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "anonymous".to_owned())
}
