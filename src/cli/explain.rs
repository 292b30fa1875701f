//! `palisade explain`: how a login would be decided, without one.

use std::net::IpAddr;

use clap::{Args, Subcommand};
use palisade_gateway::{Attempt, Explanation, Verdict, explain};
use palisade_hba::{Address, Rule};
use serde::Serialize;

use super::common::ClusterArgs;
use super::complete;
use super::error::Outcome;
use super::exit::Exit;
use super::out;
use super::view::View;

/// Say how a decision would come out, and why.
#[derive(Debug, Args)]
#[command(
    subcommand_value_name = "COMMAND",
    subcommand_help_heading = "Commands"
)]
pub(crate) struct ExplainArgs {
    #[command(subcommand)]
    command: ExplainCommand,
}

#[derive(Debug, Subcommand)]
enum ExplainCommand {
    Login(LoginArgs),
}

/// Name the rule that a login would meet, its method, and what the client would have to show.
///
/// The exit status is 0 if the user could get in, and 1 if not.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  palisade explain login --user alice --database main --address 10.1.2.3 --tls
  palisade explain login --user alice --address 127.0.0.1")]
struct LoginArgs {
    /// Who
    #[arg(long, value_name = "NAME", add = complete::users())]
    user: String,

    /// To which database [default: the one that the cluster manages]
    #[arg(long, value_name = "NAME")]
    database: Option<String>,

    /// From where
    #[arg(long, value_name = "ADDRESS")]
    address: IpAddr,

    /// Inside of TLS
    #[arg(long)]
    tls: bool,

    /// As if `security.encrypt_traffic` were false in the node's configuration
    #[arg(long)]
    plaintext_allowed: bool,

    /// As JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    cluster: ClusterArgs,
}

#[derive(Serialize)]
struct Explained {
    lets_in: bool,
    line: Option<u32>,
    rule: Option<String>,
    method: Option<&'static str>,
    verdict: String,
}

/// Runs it.
pub(crate) fn run(args: &ExplainArgs) -> Outcome {
    match &args.command {
        ExplainCommand::Login(args) => login(args),
    }
}

fn login(args: &LoginArgs) -> Outcome {
    let view = View::open(&args.cluster)?;
    let state = view.state();
    let database = args.database.as_deref().unwrap_or(state.database());
    let attempt = Attempt {
        user: args.user.clone(),
        database: database.to_owned(),
        address: args.address,
        tls: args.tls,
    };
    let Explanation {
        rule,
        method,
        verdict,
    } = explain(state, &[], !args.plaintext_allowed, &attempt);
    let own = |rule: &Rule| matches!(rule.address(), Some(Address::SameHost | Address::SameNet));
    if state.hba().iter().any(own) {
        out::note(
            "note: the node's own addresses are not known here: rules for samehost and samenet are passed over",
        );
    }
    let lets_in = matches!(verdict, Verdict::Asked { .. });
    let method = method.map(palisade_hba::Method::name);
    if args.json {
        out::json(&Explained {
            lets_in,
            line: rule.as_ref().map(|(line, _)| *line),
            rule: rule.map(|(_, text)| text),
            method,
            verdict: verdict.to_string(),
        })?;
    } else {
        match rule {
            Some((line, text)) => out::line(&format!("rule:    line {line}: {text}"))?,
            None => out::line("rule:    none matches")?,
        }
        out::line(&format!("method:  {}", method.unwrap_or("none")))?;
        out::line(&format!("verdict: {verdict}"))?;
    }
    Ok(if lets_in { Exit::Done } else { Exit::No })
}
