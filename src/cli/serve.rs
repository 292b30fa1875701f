//! `palisade up` and `palisade daemon`: the commands that stay.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use palisade_daemon::config::{Config, default_text};

use super::error::CliError;
use super::exit::Exit;
use super::{common, finish, out};
use crate::node::{self, NodeError, Options, Ports, Sharing};
use crate::up;

/// Run a node by a configuration file
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  palisade daemon --gen-config > palisade.cfg\n  palisade daemon -c palisade.cfg"
)]
pub(crate) struct DaemonArgs {
    /// The configuration file; without one the defaults and the environment count
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// Print a commented default configuration and end
    #[arg(long, conflicts_with = "config")]
    gen_config: bool,
    /// Check the configuration and end
    #[arg(long)]
    check: bool,
    /// What a new cluster is called
    #[arg(long, value_name = "NAME", default_value = "palisade")]
    name: String,
}

/// Runs `palisade daemon` to its end.
pub(crate) async fn daemon(args: DaemonArgs) -> ExitCode {
    if args.gen_config {
        return finish(out::write(default_text().as_bytes()).map(|()| Exit::Done));
    }
    let config = match Config::load(args.config.as_deref(), std::env::vars_os()) {
        Ok(config) => config,
        Err(error) => {
            out::drawing(&error.to_string());
            return Exit::Usage.into();
        }
    };
    if args.check {
        return Exit::Done.into();
    }
    node::start_log(&config.node.log);
    let options = Options {
        config,
        cluster: args.name,
        ports: Ports::Configured,
        sharing: Sharing::AsItIs,
        ready: None,
    };
    end(serve(options).await)
}

async fn serve(options: Options) -> Result<(), NodeError> {
    let signals = node::signals();
    let running = node::start(options, Arc::new(|step: &str| tracing::info!("{step}"))).await?;
    if *signals.borrow() {
        return running.stop().await;
    }
    for address in running.addresses() {
        tracing::info!("serving at {address}");
    }
    running.wait().await
}

/// Runs `palisade up` to its end.
pub(crate) async fn up(args: up::UpArgs) -> ExitCode {
    let dir = match up::directory(&args).map_or_else(common::default_directory, Ok) {
        Ok(dir) => dir,
        Err(error) => return finish(Err(error)),
    };
    end(up::run(&args, dir).await)
}

fn end(result: Result<(), NodeError>) -> ExitCode {
    match result {
        Ok(()) => Exit::Done.into(),
        Err(error) => {
            let told = CliError::no(error.to_string());
            finish(Err(match error.hint() {
                Some(hint) => told.hint(hint),
                None => told,
            }))
        }
    }
}
