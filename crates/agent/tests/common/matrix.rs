//! The matrix: every flag, with it alone and with all but it, by default and by an ACL, inside and
//! outside a transaction. What should pass is what `palisade_rights::can` says. The way into PostgreSQL is
//! an argument.

use std::future::Future;
use std::pin::Pin;

use palisade_ledger::{ObjectName, Privileges, State};
use palisade_rights::can;

use super::Session;

/// Opens a session as a user; `Err` when the user may not log in.
pub type Way<'a> =
    &'a dyn Fn(String) -> Pin<Box<dyn Future<Output = Result<Session, String>> + 'a>>;

/// Who watches over transaction blocks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Blocks {
    /// Nobody: PostgreSQL has no hook at COMMIT.
    Free,
    /// The gateway: a block needs `set_transaction`.
    Watched,
}

/// Something to do, and the flag that it needs.
struct Operation {
    flag: Privileges,
    object: &'static str,
    sql: &'static str,
}

const OPERATIONS: &[Operation] = &[
    op(Privileges::SELECT, "app.t", "select * from app.t"),
    op(Privileges::SELECT, "app.t", "copy app.t to stdout"),
    op(
        Privileges::INSERT,
        "app.t",
        "insert into app.t values (3, 3)",
    ),
    op(Privileges::UPDATE, "app.t", "update app.t set a = 2"),
    op(Privileges::DELETE, "app.t", "delete from app.t"),
    op(Privileges::DELETE, "app.t", "truncate app.t"),
    op(Privileges::INDEX, "app.t", "create index on app.t (a)"),
    op(Privileges::INDEX, "app.t", "drop index app.by_b"),
    op(
        Privileges::ALTER,
        "app.t",
        "alter table app.t add column z int",
    ),
    op(Privileges::ALTER, "app.t", "comment on table app.t is 'x'"),
    op(Privileges::CREATE, "app", "create table app.fresh (a int)"),
    op(
        Privileges::CREATE,
        "app",
        "create function app.f() returns int language sql as 'select 1'",
    ),
    op(Privileges::DROP, "app.t", "drop table app.t"),
    op(
        Privileges::GRANT,
        "app.t",
        "grant select on app.t to onlooker",
    ),
    op(
        Privileges::GRANT,
        "app.t",
        "grant all on table app.t to public",
    ),
    op(Privileges::SYSTEM, "app.t", "checkpoint"),
    // Who sees none divides by zero.
    op(
        Privileges::GET_ACL,
        "app.t",
        "select 1 / count(*) from palisade.acl where name = 't'",
    ),
];

const fn op(flag: Privileges, object: &'static str, sql: &'static str) -> Operation {
    Operation { flag, object, sql }
}

/// The users of the matrix, in chain notation, and their names.
pub fn users() -> (String, Vec<String>) {
    let mut steps = vec!["+root*".to_owned(), "+onlooker".to_owned()];
    let mut names = Vec::new();
    let every = Privileges::ALL | Privileges::DENIED;
    for flag in every.iter() {
        for (kind, flags) in [("only", flag), ("but", Privileges::ALL.without(flag))] {
            let name = format!("{kind}_{flag}");
            steps.push(format!("+{name}:{flags}"));
            names.push(name);
        }
        if !Privileges::ON_OBJECTS.contains(flag) {
            continue;
        }
        // The same by ACL, against a default that says the contrary.
        let object = if flag == Privileges::CREATE {
            "app"
        } else {
            "app.t"
        };
        let rest = (Privileges::ON_OBJECTS & Privileges::ALL).without(flag);
        for (kind, default, acl) in [
            ("aclonly", Privileges::NONE, flag),
            ("aclbut", Privileges::ALL, rest),
        ] {
            let name = format!("{kind}_{flag}");
            let default = if default.is_empty() {
                String::new()
            } else {
                format!(":{default}")
            };
            steps.push(format!("+{name}{default}"));
            steps.push(format!("[{name} {object}]={acl}"));
            names.push(name);
        }
    }
    (steps.join(" - "), names)
}

/// What the operations work on, as the Palisade superuser makes it.
const STAGE: &str = "drop table if exists app.t, app.fresh cascade; drop function if exists app.f(); \
     create table app.t (a int, b int); create index by_b on app.t (b); insert into app.t values (1, 1)";

/// Runs the matrix; returns how many cases there were and what differed.
pub async fn run(
    state: &State,
    names: &[String],
    root: &Session,
    way: Way<'_>,
    blocks: Blocks,
) -> (usize, Vec<String>) {
    let (mut cases, mut wrong) = (0, Vec::new());
    root.ok("create schema if not exists app").await;
    root.ok(STAGE).await;
    for name in names {
        let session = way(name.clone()).await;
        for operation in OPERATIONS {
            let object: ObjectName = operation.object.parse().unwrap();
            let should = can(state, name, operation.flag, &object).allowed;
            let block = blocks == Blocks::Free
                || can(state, name, Privileges::SET_TRANSACTION, &object).allowed;
            for in_transaction in [true, false] {
                cases += 1;
                let should = should && (block || !in_transaction);
                let passed = match &session {
                    Err(_) => false,
                    Ok(session) if in_transaction && !block => {
                        session.refused("begin").await;
                        false
                    }
                    Ok(session) => attempt(session, operation.sql, in_transaction).await,
                };
                if passed != should {
                    wrong.push(format!(
                        "{name}: {} (in a transaction: {in_transaction}): passed {passed}, should {should}",
                        operation.sql
                    ));
                }
                if passed && !in_transaction && operation.flag != Privileges::SELECT {
                    root.ok(STAGE).await;
                }
            }
        }
    }
    (cases, wrong)
}

/// Whether the operation passed. What it did in a transaction is undone.
async fn attempt(session: &Session, sql: &str, in_transaction: bool) -> bool {
    if in_transaction {
        session.ok("begin").await;
    }
    let outcome = if sql.starts_with("copy") {
        copy(session, sql).await
    } else {
        session.run(sql).await.map(drop)
    };
    if in_transaction {
        session.ok("rollback").await;
    }
    match outcome {
        Ok(()) => true,
        Err(told) => {
            let refused = told.starts_with("42501") || told.starts_with("22012");
            assert!(refused, "{sql}: {told}");
            false
        }
    }
}

async fn copy(session: &Session, sql: &str) -> Result<(), String> {
    match session.client.copy_out(sql).await {
        Ok(_) => Ok(()),
        Err(error) => Err(error
            .code()
            .map_or(error.to_string(), |code| code.code().to_owned())),
    }
}
