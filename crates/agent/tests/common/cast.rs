//! The stage of the attack tests.
//!
//! `mallory` may define anything and read nothing; `half` may do everything by default but only define on
//! `app.secret`; `reader` only reads; `dev` made the victim's tables.

use super::{Bench, Session, state};
use palisade_ledger::State;

pub const CAST: &str = "+root* - +dev:select,insert,update,delete,index,alter,create,drop,grant,set_transaction \
     - +mallory:index,alter,create,drop,set_transaction - +reader:select \
     - +half:select,insert,update,delete,index,alter,create,drop,grant \
     - [half app.secret]=index,alter";

/// What must never be seen.
pub const SECRET: &str = "hush-4711";

pub struct Scene {
    pub bench: Bench,
    pub state: State,
    pub dev: Session,
    pub mallory: Session,
    pub half: Session,
    pub reader: Session,
}

pub async fn scene() -> Scene {
    let state = state(CAST);
    let bench = Bench::with(&state).await;
    let dev = bench.log_in("dev").await;
    dev.ok("create schema app").await;
    for table in ["app.secret", "app.plain"] {
        dev.ok(&format!(
            "create table {table} (id int primary key, word text); insert into {table} values (1, '{SECRET}')"
        ))
        .await;
    }
    let mallory = bench.log_in("mallory").await;
    for (name, argument, result) in [
        ("leak", "anyelement", "boolean"),
        ("leaktext", "text", "text"),
    ] {
        let value = if result == "boolean" { "true" } else { "x" };
        mallory
            .ok(&format!(
                "create function app.{name}(x {argument}) returns {result} language plpgsql immutable as \
                 $$begin raise notice 'leak: %', x; return {value}; end$$"
            ))
            .await;
    }
    Scene {
        half: bench.log_in("half").await,
        reader: bench.log_in("reader").await,
        bench,
        state,
        dev,
        mallory,
    }
}

/// Each statement is refused for lack of a right, and nothing of the secret is heard.
pub async fn all_refused(who: &Session, statements: &[&str]) {
    for sql in statements {
        who.refused(sql).await;
        assert!(!who.notices().contains(SECRET), "{sql}: {}", who.notices());
    }
}

impl Scene {
    /// After all attacks the server is still as the ledger wants it, and the secret still one.
    pub async fn unharmed(&mut self) {
        let drift = self.bench.agent.check_drift(&self.state).await.unwrap();
        assert!(drift.is_clean(), "{drift}");
        for who in ["mallory", "reader", "half"] {
            let fresh = self.bench.log_in(who).await;
            let seen = fresh.run("select word from app.secret").await;
            assert_eq!(seen.is_ok(), who == "reader", "{who}");
        }
    }
}
