//! Executing a plan: all of it or nothing, and never a stale one.

use std::collections::BTreeSet;

use palisade_rights::{Plan, Step, quote_literal};
use tokio_postgres::Client;

use crate::error::Error;

/// How long a step waits for a lock that a session holds before the plan is given up and tried again.
const LOCK_WITHIN: &str = "3s";
/// Above this many touched relations it is cheaper to look at all of them.
const MANY: usize = 100;
/// Statements are sent in pieces of about this size.
const PIECE: usize = 256 * 1024;

/// Executes the plan in one transaction, if the server is still at the generation that it was made
/// for. Returns the new generation.
pub(crate) async fn execute(
    client: &mut Client,
    plan: &Plan,
    generation: i64,
) -> Result<i64, Error> {
    const WHAT: &str = "execute a plan";
    let transaction = client.transaction().await.map_err(Error::sql(WHAT))?;
    let settings = format!(
        "SET LOCAL lock_timeout = '{LOCK_WITHIN}'; SET LOCAL client_min_messages = warning; \
         SET LOCAL search_path = pg_catalog"
    );
    transaction
        .batch_execute(&settings)
        .await
        .map_err(Error::sql(WHAT))?;
    let row = transaction
        .query_one(
            "UPDATE palisade.meta SET generation = generation + 1 RETURNING generation - 1",
            &[],
        )
        .await
        .map_err(Error::sql(WHAT))?;
    let found: i64 = row.get(0);
    if found != generation {
        return Err(Error::Stale {
            made_for: generation,
            found,
        });
    }
    let mut piece = departures(plan);
    for step in &plan.steps {
        piece.push_str(&step.sql());
        piece.push('\n');
        if piece.len() > PIECE {
            transaction
                .batch_execute(&piece)
                .await
                .map_err(Error::sql(WHAT))?;
            piece.clear();
        }
    }
    piece.push_str(&remember(plan));
    transaction
        .batch_execute(&piece)
        .await
        .map_err(Error::sql(WHAT))?;
    transaction.commit().await.map_err(Error::sql(WHAT))?;
    Ok(found.saturating_add(1))
}

/// Notes who is taken out of which role: their sessions may have it by SET ROLE, and end after the plan.
fn departures(plan: &Plan) -> String {
    let insert = |step: &Step| {
        let Step::Leave(role, members) = step else {
            return None;
        };
        let members: Vec<String> = members.iter().map(|name| quote_literal(name)).collect();
        Some(format!(
            "INSERT INTO palisade.departed (role, member) \
             SELECT {}, pg_catalog.unnest(ARRAY[{}]::text[]);\n",
            quote_literal(role),
            members.join(",")
        ))
    };
    plan.steps.iter().filter_map(insert).collect()
}

/// Tells the guards what the plan changed, so that they don't take it for the work of the next GRANT.
fn remember(plan: &Plan) -> String {
    let touched: BTreeSet<_> = plan
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::SetOwner(object, _)
            | Step::Revoke(object, _, _)
            | Step::Grant(object, _, _)
            | Step::Regularize(object, _)
            | Step::MakeInvoker(object) => Some(object),
            _ => None,
        })
        .collect();
    if touched.len() > MANY {
        return "SELECT palisade.remember_all();".to_owned();
    }
    let call = |object: &&palisade_rights::Object| {
        let label = quote_literal(&object.label);
        match object.kind {
            None => format!("SELECT palisade.remember_schema({label}::regnamespace);"),
            Some(_) => format!("SELECT palisade.remember({label}::regclass);"),
        }
    };
    let calls: Vec<String> = touched.iter().map(call).collect();
    calls.join("\n")
}
