//! Attacks that try to see rows without `select` (design section 7: "Beware the side doors, and test
//! each").
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test"
)]

mod common;

use common::cast::{CAST, SECRET, all_refused, scene};
use common::state;

const OVER_ROWS: &[&str] = &[
    "alter table @ add check (app.leak(word))",
    "alter table @ add constraint c check (app.leak(word)) not valid",
    "alter table @ alter word type text using app.leaktext(word)",
    "alter table @ alter word type int using word::int",
    "alter table @ alter word type app.trap",
    "alter table @ add g text generated always as (app.leaktext(word)) stored",
    "alter table @ add exclude using btree (app.leaktext(word) with =)",
    "alter table @ add d text default app.leaktext('x')",
    "create index on @ (app.leaktext(word))",
    "create index on @ (id) where app.leak(word)",
    "create index concurrently on @ (app.leaktext(word))",
    "create unique index on @ ((word::int))",
    "create statistics app.st on (app.leaktext(word)), id from @",
    "alter table @ add p int, add check (app.leak(word))",
    "/**/ alter table @ add check (app.leak(word))",
    "alter table only @ add check (app.leak(word))",
    "alter /* x */ table @ add check (app.leak(word))",
    "alter table app.mine rename to mine2; alter table @ add check (app.leak(word))",
    "do $$begin execute 'alter table @ add check (app.leak(word))'; end$$",
];

// "a CHECK or USING expression in ALTER that calls a user's function leaks rows"
#[tokio::test]
async fn expressions_over_rows_show_nothing() {
    let mut scene = scene().await;
    let mallory = &scene.mallory;
    mallory
        .ok("create table app.mine (a int); create domain app.trap as text check (app.leak(value))")
        .await;
    for (who, table) in [
        (mallory, "app.plain"),
        (mallory, "app.secret"),
        (&scene.half, "app.secret"),
    ] {
        for sql in OVER_ROWS {
            all_refused(who, &[&sql.replace('@', table)]).await;
        }
    }
    mallory.ok("set search_path = app").await;
    all_refused(
        mallory,
        &[
            "alter table secret add check (app.leak(word))",
            "create index on plain (app.leaktext(word))",
        ],
    )
    .await;
    // What shows nothing passes.
    for harmless in [
        "alter table app.plain add z int",
        "alter table app.plain add \"Z z\" timestamp with time zone",
        "alter table app.plain rename z to zz",
        "alter table app.plain drop column zz",
        "alter table app.plain alter column word set not null;",
        "create index on app.plain (id)",
        "create index concurrently by_word on app.plain using btree (word desc)",
    ] {
        mallory.ok(harmless).await;
    }
    // And who reads the table may write expressions over it.
    scene
        .dev
        .ok("alter table app.plain add check (length(word) > 1)")
        .await;
    scene
        .half
        .ok("alter table app.plain add check (id > 0)")
        .await;
    scene
        .half
        .ok("create index on app.plain (length(word))")
        .await;
    scene.unharmed().await;
}

// A harmless statement whose execution runs a user's function, which says a harmful one.
#[tokio::test]
async fn a_statement_within_a_harmless_one_is_not_taken_for_it() {
    let mut scene = scene().await;
    let setup = "create function app.nest() returns text language plpgsql volatile as \
         $$begin execute 'alter table app.secret add check (app.leak(word))'; return 'x'; end$$; \
         create domain app.text as text default app.nest(); \
         create table app.mine (a int)";
    scene.mallory.ok(setup).await;
    all_refused(
        &scene.mallory,
        &[
            "alter table app.mine add b text",
            "alter table app.mine add b app.text",
            "alter table app.mine add b text default app.nest()",
        ],
    )
    .await;
    scene
        .half
        .ok("create table app.halfs (a int); insert into app.halfs values (1)")
        .await;
    all_refused(
        &scene.half,
        &[
            "alter table app.halfs add b text default app.nest()",
            "alter table app.halfs alter a type text using app.nest()",
            "alter table app.halfs add b app.text",
            "select app.nest()",
        ],
    )
    .await;
    scene.unharmed().await;
}

// ATTACH and INHERIT make rows readable through another table, or run its partition key over them.
#[tokio::test]
async fn rows_are_not_read_through_parents() {
    let mut scene = scene().await;
    scene
        .mallory
        .ok("create table app.p (id int not null, word text) partition by list (app.leaktext(word)); \
             create table app.q (id int not null, word text)")
        .await;
    all_refused(
        &scene.mallory,
        &[
            "alter table app.p attach partition app.plain default",
            "alter table app.plain inherit app.q",
            "create table app.kid () inherits (app.secret)",
        ],
    )
    .await;
    scene
        .half
        .ok(
            "create table app.hp (id int not null, word text) partition by list (id); \
             create table app.hq (id int not null, word text)",
        )
        .await;
    all_refused(
        &scene.half,
        &[
            "alter table app.hp attach partition app.secret default",
            "alter table app.secret inherit app.hq",
        ],
    )
    .await;
    // Even for who reads all: others, who may not, could read through the parent.
    all_refused(
        &scene.dev,
        &[
            "alter table app.hp attach partition app.secret default",
            "alter table app.secret inherit app.hq",
        ],
    )
    .await;
    scene.unharmed().await;
}

#[tokio::test]
async fn a_partition_stays_as_shut_as_its_table() {
    let mut scene = scene().await;
    scene
        .dev
        .ok(
            "create table app.shut (id int, word text) partition by list (id); \
             create table app.shut1 partition of app.shut for values in (1); \
             insert into app.shut values (1, 'x')",
        )
        .await;
    scene.half.ok("select * from app.shut1").await;
    scene.state = state(&format!("{CAST} - [half app.shut]=alter"));
    scene.bench.agent.apply(&scene.state).await.unwrap();
    all_refused(
        &scene.half,
        &[
            "select * from app.shut",
            "select * from app.shut1",
            "alter table app.shut detach partition app.shut1",
            "alter table app.shut detach partition app.shut1 concurrently",
        ],
    )
    .await;
    all_refused(
        &scene.dev,
        &[
            "alter table app.shut detach partition app.shut1",
            "alter table app.shut detach partition app.shut1 concurrently",
        ],
    )
    .await;
    // A new partition is shut at once.
    scene
        .dev
        .ok("create table app.shut2 partition of app.shut for values in (2)")
        .await;
    all_refused(&scene.half, &["select * from app.shut2"]).await;
    scene.unharmed().await;
}

// A renamed or moved object would shed its ACL; another would take it over.
#[tokio::test]
async fn an_acl_is_not_shed_or_taken_over_by_a_name() {
    let mut scene = scene().await;
    let who = [&scene.half, &scene.dev, &scene.mallory];
    scene.dev.ok("create schema other").await;
    for who in who {
        all_refused(
            who,
            &[
                "alter table app.secret rename to open",
                "alter table app.secret set schema other",
                "alter schema app rename to open",
            ],
        )
        .await;
    }
    // Dropped and made again, it is as shut as before.
    scene.dev.ok("drop table app.secret").await;
    all_refused(&scene.dev, &["alter table app.plain rename to secret"]).await;
    all_refused(&scene.half, &["create table app.secret (a int)"]).await;
    scene
        .dev
        .ok(&format!(
            "create table app.secret as select '{SECRET}'::text as word"
        ))
        .await;
    all_refused(&scene.half, &["select * from app.secret"]).await;
    // A Palisade superuser may.
    let root = scene.bench.log_in("root").await;
    root.ok("alter table app.secret rename to open; alter table app.open rename to secret")
        .await;
    scene.unharmed().await;
}

// Views run with the rights of who reads them, and can't be made to run with others.
#[tokio::test]
async fn views_lend_no_rights() {
    let mut scene = scene().await;
    scene
        .dev
        .ok("create view app.window as select * from app.secret")
        .await;
    all_refused(&scene.half, &["select * from app.window"]).await;
    scene
        .mallory
        .ok("create view app.mine as select * from app.secret")
        .await;
    all_refused(&scene.mallory, &["select * from app.mine"]).await;
    for undo in [
        "alter view app.window set (security_invoker = false)",
        "alter view app.window reset (security_invoker)",
        "create or replace view app.window with (security_invoker = false) as select * from app.secret",
        "create or replace view app.window as select * from app.secret",
    ] {
        scene.dev.ok(undo).await;
        all_refused(&scene.half, &["select * from app.window"]).await;
    }
    scene.reader.ok("select * from app.window").await;
    // A rule would run with the rights of the owner.
    all_refused(
        &scene.dev,
        &[
            "create rule r as on insert to app.plain do also delete from app.secret",
            "create rule \"_RETURN\" as on select to app.plain do instead select * from app.secret",
        ],
    )
    .await;
    scene.unharmed().await;
}

// A materialized view is filled with the rights of who fills it.
#[tokio::test]
async fn materialized_views_are_filled_with_own_rights() {
    let mut scene = scene().await;
    all_refused(
        &scene.mallory,
        &["create materialized view app.m as select * from app.secret"],
    )
    .await;
    scene
        .mallory
        .ok("create materialized view app.m as select * from app.secret with no data")
        .await;
    all_refused(
        &scene.mallory,
        &[
            "refresh materialized view app.m",
            "do $$begin refresh materialized view app.m; end$$",
        ],
    )
    .await;
    all_refused(&scene.half, &["refresh materialized view app.m"]).await;
    scene.dev.ok("refresh materialized view app.m").await;
    scene
        .dev
        .ok("refresh materialized view app.m with data ;")
        .await;
    all_refused(&scene.mallory, &["select * from app.m"]).await;
    all_refused(&scene.reader, &["refresh materialized view app.m"]).await;
    scene.unharmed().await;
}

// The views on extended statistics show values to a table's owner, and all who define are its owner.
#[tokio::test]
async fn statistics_show_nothing() {
    let mut scene = scene().await;
    scene
        .dev
        .ok("insert into app.secret select g, 'hush-4711' from generate_series(2, 500) g")
        .await;
    scene
        .dev
        .ok("create statistics app.st (mcv) on id, word from app.secret")
        .await;
    scene.dev.ok("analyze app.secret").await;
    for who in [&scene.mallory, &scene.half] {
        all_refused(
            who,
            &[
                "select * from pg_stats_ext",
                "select * from pg_stats_ext_exprs",
                "select * from pg_statistic",
                // Of an index on an expression, whoever is in the role that owns it would see the values.
                "select * from pg_stats",
            ],
        )
        .await;
    }
    scene.unharmed().await;
}

// Row policies bind those who may alter the table, too.
#[tokio::test]
async fn policies_bind_who_may_define() {
    let mut scene = scene().await;
    scene
        .dev
        .ok("alter table app.plain enable row level security")
        .await;
    scene
        .dev
        .ok("create policy none on app.plain using (false)")
        .await;
    for who in [&scene.dev, &scene.half, &scene.reader] {
        assert_eq!(who.ok("select count(*) from app.plain").await, ["0"]);
    }
    scene
        .dev
        .ok("alter table app.plain no force row level security")
        .await;
    assert_eq!(scene.half.ok("select count(*) from app.plain").await, ["0"]);
    all_refused(
        &scene.mallory,
        &[
            "alter table app.plain disable row level security",
            "drop policy none on app.plain",
            "alter policy none on app.plain using (true)",
            "create policy all_of_it on app.plain using (true)",
        ],
    )
    .await;
    scene.unharmed().await;
}

// A foreign key shows whether a value is there, and asks for `select`.
#[tokio::test]
async fn foreign_keys_work_and_tell_nothing() {
    let mut scene = scene().await;
    all_refused(
        &scene.mallory,
        &["create table app.probe (id int references app.plain)"],
    )
    .await;
    all_refused(
        &scene.half,
        &["create table app.probe (id int references app.secret)"],
    )
    .await;
    scene
        .dev
        .ok("create table app.child (id int references app.secret on delete cascade on update cascade); \
             insert into app.child values (1); update app.secret set id = 2")
        .await;
    assert_eq!(scene.dev.ok("select id from app.child").await, ["2"]);
    // The owner of tables with keys holds rights on them; who has fewer is not its member.
    for who in [&scene.mallory, &scene.half] {
        all_refused(
            who,
            &[
                "set role palisade_keys",
                "alter table app.child add z int",
                "create index on app.secret (id)",
                "select * from app.secret",
            ],
        )
        .await;
    }
    scene.dev.ok("delete from app.secret").await;
    assert_eq!(scene.dev.ok("select count(*) from app.child").await, ["0"]);
    scene.dev.ok("drop table app.child").await;
    scene.bench.agent.mend(&scene.state).await.unwrap();
    scene.unharmed().await;
}
