//! Attacks on what is lent for a statement: CREATE on a schema (`crates/agent/src/sql/6_loans.sql`).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test"
)]

mod common;

use common::cast::{CAST, Scene, all_refused, scene};
use common::{Session, state};

/// Whoever defines something: by flag, and by an exception.
const LIMITED: &str = "+altering:select,alter - +indexing:select,index - +dropping:select,drop - +granting:select,grant \
     - [granting app]=select,grant - +placing:select - [placing app]=select,create,alter \
     - +barred:select,create - [barred app.later]=select \
     - +shaping:select,update,delete,index,alter";

async fn stage() -> Scene {
    let mut scene = scene().await;
    scene.state = state(&format!("{CAST} - {LIMITED}"));
    scene.bench.agent.apply(&scene.state).await.unwrap();
    for sql in [
        "create table app.open (id int, word text)",
        "create table app.other (id int, word text)",
        "create function app.say(sql text) returns int language plpgsql as \
         $$begin execute 'do $run$begin ' || sql || ' end$run$'; return 1; end$$",
    ] {
        scene.dev.ok(sql).await;
    }
    scene
}

/// Whoever is in a role that is lent, as everybody sees it.
async fn borrowers(scene: &Scene) -> Vec<String> {
    let sql = "select m.rolname from pg_auth_members a join pg_roles r on r.oid = a.roleid \
               join pg_roles m on m.oid = a.member where r.rolname ~ '^palisade_lent'";
    scene.dev.run(sql).await.unwrap()
}

/// Nobody holds CREATE any more, and nothing was made.
async fn nothing_is_left(scene: &Scene, session: &Session) {
    assert_eq!(borrowers(scene).await, Vec::<String>::new());
    all_refused(
        session,
        &["explain analyze create table app.made as select 1"],
    )
    .await;
    let made = "select relname from pg_class where relname ~ '^made'";
    assert_eq!(scene.dev.run(made).await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn explain_makes_nothing_past_the_guards() {
    let mut scene = stage().await;
    for user in [
        "altering", "indexing", "dropping", "granting", "placing", "barred", "half", "dev",
    ] {
        let session = scene.bench.log_in(user).await;
        session.ok("prepare one as select 1 as mine").await;
        for role in ["none", "palisade_owner"] {
            session.ok(&format!("set role {role}")).await;
            all_refused(
                &session,
                &[
                    "explain analyze create table app.made as select 1 as mine",
                    "explain analyze create table app.later as select",
                    "explain analyze create materialized view app.made as select 1 as mine",
                    "explain analyze create table app.made as execute one",
                    "do $$begin execute 'explain analyze create table app.made as select 1'; end$$",
                    "set role palisade_make",
                    "set role palisade_lent_1",
                ],
            )
            .await;
        }
        session.ok("reset role").await;
        nothing_is_left(&scene, &session).await;
    }
    scene.unharmed().await;
}

// What each flag is for still passes, in a transaction and outside.
#[tokio::test]
async fn what_is_lent_is_enough_for_what_is_allowed() {
    let mut scene = stage().await;
    for around in [("", ""), ("begin| ", "| commit")] {
        for (user, sql) in [
            (
                "altering",
                "alter table app.open add constraint u unique (id)| alter table app.open drop constraint u",
            ),
            (
                "altering",
                "alter table app.open add n serial| alter table app.open drop n",
            ),
            (
                "altering",
                "alter table app.open rename to opened| alter table app.opened rename to open",
            ),
            (
                "indexing",
                "create index i on app.open (id)| drop index app.i",
            ),
            (
                "indexing",
                "do $$begin create index i on app.open (id); end$$| drop index app.i",
            ),
            (
                "placing",
                "create table app.placed (id serial primary key, up int references app.placed)",
            ),
            (
                "placing",
                "create view app.seen as select 1 as one| create sequence app.counted",
            ),
            (
                "barred",
                "create table app.sooner as select 1 as one| select 2 as two into app.sooner_too",
            ),
            (
                "barred",
                "create schema mine create table within (id int primary key)",
            ),
        ] {
            let session = scene.bench.log_in(user).await;
            for statement in format!("{}{sql}{}", around.0, around.1).split("| ") {
                session.ok(statement).await;
            }
            nothing_is_left(&scene, &session).await;
        }
        for sql in [
            "drop table app.placed",
            "drop view app.seen",
            "drop sequence app.counted",
            "drop table app.sooner, app.sooner_too",
            "drop schema mine cascade",
        ] {
            scene.dev.ok(sql).await;
        }
    }
    for (user, sql) in [
        ("placing", "create table public.made (id int)"),
        ("barred", "create table app.later (id int)"),
        (
            "indexing",
            "alter table app.open add constraint made unique (id)",
        ),
        ("altering", "create index made on app.open (id)"),
        ("altering", "create table made (id int)"),
        ("dropping", "create index made on app.open (id)"),
    ] {
        let session = scene.bench.log_in(user).await;
        all_refused(&session, &[sql]).await;
        nothing_is_left(&scene, &session).await;
    }
    scene.unharmed().await;
}

// It ends with the statement, not with the transaction.
#[tokio::test]
async fn what_is_lent_ends_with_the_statement() {
    let mut scene = stage().await;
    let altering = scene.bench.log_in("altering").await;
    let explain = "explain analyze create table app.made as select 1";
    for first in [
        "alter table app.open add constraint u unique (id)",
        "alter table if exists app.nowhere add constraint u unique (id)",
        "do $$begin alter table app.secret add constraint u unique (no_such); exception when others then null; end$$",
        "set constraints all immediate",
    ] {
        altering.ok("begin").await;
        altering.ok(first).await;
        all_refused(&altering, &[explain]).await;
        altering.ok("rollback").await;
    }
    altering.ok("begin").await;
    altering
        .ok("alter table app.open add constraint u unique (id)")
        .await;
    // Another session of hers has nothing of it.
    nothing_is_left(&scene, &scene.bench.log_in("altering").await).await;
    altering.ok("commit").await;
    nothing_is_left(&scene, &altering).await;
    // Nobody lends it to herself.
    all_refused(
        &altering,
        &[
            "select palisade.lend()",
            "select palisade.take_back('')",
            "insert into palisade.loans (role, member) values ('palisade_lent_1', 'altering')",
            "grant palisade_lent_1 to altering",
        ],
    )
    .await;
    for function in ["guard_lend", "guard_take_back", "at_commit"] {
        let told = altering.run(&format!("select palisade.{function}()")).await;
        assert!(told.unwrap_err().starts_with("0A000"), "{function}");
    }
    scene.unharmed().await;
}

// `USING` runs a function of the user's in the midst of the statement.
#[tokio::test]
async fn code_in_the_statement_keeps_nothing() {
    let mut scene = stage().await;
    scene.dev.ok("insert into app.open values (1, 'x')").await;
    let altering = scene.bench.log_in("altering").await;
    let explain = "execute 'explain analyze create table app.made as select 1'";
    let lent = "(select r.rolname from pg_auth_members a join pg_roles r on r.oid = a.roleid \
                 where a.member = 'altering'::regrole and r.rolname ~ '^palisade_lent')";
    let take = format!("perform set_config('role', {lent}, false);");
    // Each is refused for what its code did, not for a step of it that failed.
    for body in [
        format!("{explain};"),
        format!("{explain}; execute 'reassign owned by altering to palisade_owner';"),
        format!("begin {explain}; exception when division_by_zero then null; end;"),
        format!("{explain}; alter table app.other rename to others;"),
        take.clone(),
        format!("{take} {explain};"),
        format!("{take} {explain}; reset role;"),
    ] {
        let sql =
            format!("alter table app.open alter id type int using app.say($q${body}$q$) + id * 0");
        for around in [("select 1", "select 1"), ("begin", "rollback")] {
            altering.ok(around.0).await;
            let told = altering.refused(&sql).await;
            assert!(told.contains("ran code that"), "{body}: {told}");
            altering.ok(around.1).await;
            nothing_is_left(&scene, &altering).await;
        }
    }
    // What SET ROLE took and SET LOCAL hides until the transaction ends.
    for around in [("select 1", "select 1"), ("begin", "commit")] {
        altering.ok(around.0).await;
        altering
            .run(&format!(
                "alter table app.open alter id type int \
                 using app.say($q${take} set local role none;$q$) + id * 0"
            ))
            .await
            .unwrap();
        altering.ok(around.1).await;
        assert_eq!(altering.ok("select current_user").await, ["altering"]);
        nothing_is_left(&scene, &altering).await;
    }
    scene.unharmed().await;
}

// Nor does a guarded statement on what was made, within that code, make it one of Palisade's own.
#[tokio::test]
async fn what_the_code_made_is_not_passed_off_as_known() {
    let mut scene = stage().await;
    scene.dev.ok("insert into app.open values (1, 'x')").await;
    scene.dev.ok("create table app.third (id int)").await;
    let shaping = scene.bench.log_in("shaping").await;
    for touch in [
        "alter table app.made add n int;",
        "comment on table app.made is 'known';",
        "execute 'reassign owned by shaping to palisade_owner'; alter table app.made add n int;",
        "create unique index on app.made (id); alter table app.third add foreign key (id) references app.made (id);",
        "execute 'reassign owned by shaping to palisade_owner'; create unique index on app.made (id);
         alter table app.third add foreign key (id) references app.made (id);",
        "alter table app.made add constraint a check (id > 0); alter table app.made inherit app.third;",
        "execute 'reassign owned by shaping to palisade_keys';",
    ] {
        let make = "execute 'explain analyze create table app.made as select 1 as id';";
        let sql = format!(
            "alter table app.open alter id type int using app.say($q${make} {touch}$q$) + id * 0"
        );
        let told = shaping.refused(&sql).await;
        assert!(told.contains("needs create"), "{touch}: {told}");
        nothing_is_left(&scene, &shaping).await;
    }
    scene.unharmed().await;
}

// CONCURRENTLY commits in the midst of the statement.
#[tokio::test]
async fn concurrently_commits_nothing_that_is_lent() {
    let mut scene = stage().await;
    // An open transaction holds the statement up between its phases.
    scene.dev.ok("begin").await;
    scene.dev.ok("insert into app.open values (1, 'x')").await;
    let indexing = scene.bench.log_in("indexing").await;
    let other = scene.bench.log_in("indexing").await;
    let build = tokio::spawn(async move {
        indexing
            .ok("create index concurrently i on app.open (id)")
            .await;
        indexing
    });
    let begun = "select 1 from pg_class where relname = 'i'";
    while other.run(begun).await.unwrap().is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    nothing_is_left(&scene, &other).await;
    assert!(!build.is_finished());
    scene.dev.ok("commit").await;
    let indexing = build.await.unwrap();
    nothing_is_left(&scene, &indexing).await;
    let valid = "select indisvalid from pg_index where indexrelid = 'app.i'::regclass";
    assert_eq!(scene.dev.ok(valid).await, ["t"]);
    indexing.ok("drop index concurrently app.i").await;
    scene.unharmed().await;
}

// One open transaction holds up nobody else's definitions, nor the same user's.
#[tokio::test]
async fn open_transactions_do_not_wait_for_each_other() {
    let mut scene = stage().await;
    let mut open = Vec::new();
    for n in 0..16 {
        let user = if n % 2 == 0 { "indexing" } else { "altering" };
        let session = scene.bench.log_in(user).await;
        scene
            .dev
            .ok(&format!("create table app.t{n} (id int)"))
            .await;
        session.ok("set lock_timeout = '10s'").await;
        session.ok("begin").await;
        let sql = if n % 2 == 0 {
            format!("create index on app.t{n} (id)")
        } else {
            format!("alter table app.t{n} add unique (id)")
        };
        session.ok(&sql).await;
        open.push(session);
    }
    scene.bench.agent.apply(&scene.state).await.unwrap();
    for session in &open {
        session.ok("commit").await;
    }
    nothing_is_left(&scene, &open[0]).await;
    scene.unharmed().await;
}

// A membership that a hand left there is drift.
#[tokio::test]
async fn a_loan_by_hand_is_drift() {
    let mut scene = stage().await;
    scene
        .bench
        .by_hand("grant palisade_lent_3 to altering")
        .await;
    scene
        .bench
        .by_hand("alter table palisade.loans disable trigger at_commit")
        .await;
    let drift = scene.bench.agent.check_drift(&scene.state).await.unwrap();
    assert!(!drift.is_clean());
    scene.bench.agent.mend(&scene.state).await.unwrap();
    assert_eq!(borrowers(&scene).await, Vec::<String>::new());
    let drift = scene.bench.agent.check_drift(&scene.state).await.unwrap();
    assert!(drift.is_clean(), "{drift:?}");
    scene.unharmed().await;
}
