//! Attacks by code that a user puts where others run it: each way in asks for `grant` on the table whose writers
//! would, and none leads to a table with foreign keys, whose owner would.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test"
)]

mod common;

use common::cast::{Scene, all_refused, scene};

async fn stage() -> Scene {
    let scene = scene().await;
    for sql in [
        "create function app.fuse(x int) returns int language plpgsql immutable as $$begin return x; end$$",
        "create function app.evil() returns boolean language plpgsql as $$begin return true; end$$",
        "create function app.trip() returns trigger language plpgsql as $$begin return new; end$$",
        "create table app.free (id int, word text)",
        "create table app.lists (id int) partition by list (id)",
        "create table app.above (id int)",
        "create table app.keyed (id int primary key, up int references app.keyed)",
    ] {
        scene.dev.ok(sql).await;
    }
    scene
}

/// The indexes, statistics and children there are, by name.
async fn parts(scene: &Scene) -> Vec<String> {
    let sql = "select relname::text from pg_class where relkind in ('i', 'I') and relnamespace = 'app'::regnamespace \
               union all select stxname::text from pg_statistic_ext \
               union all select inhrelid::regclass::text from pg_inherits order by 1";
    scene.dev.ok(sql).await
}

// CONCURRENTLY commits the index before the guard at the end of the statement looks at it.
#[tokio::test]
async fn an_index_made_concurrently_brings_no_code() {
    let mut scene = stage().await;
    let before = parts(&scene).await;
    for sql in [
        "create index concurrently i on app.free (app.fuse(id))",
        "create index concurrently i on app.free (id) where app.fuse(id) > 0",
        "create index concurrently i on app.keyed (app.fuse(id))",
        "CREATE UNIQUE INDEX CONCURRENTLY i ON app.free (id, (app.fuse(id) + 1))",
    ] {
        let told = scene.mallory.refused(sql).await;
        assert!(told.contains("needs"), "{sql}: {told}");
        assert_eq!(parts(&scene).await, before, "{sql}");
    }
    let fuse = "create index concurrently i on app.keyed (app.fuse(id))";
    all_refused(&scene.dev, &[fuse]).await;
    assert_eq!(parts(&scene).await, before);
    for sql in [
        "create index concurrently i on app.free (app.fuse(id))",
        "create index concurrently j on app.keyed (abs(up)) where up > 0",
        "drop index concurrently app.i",
        "alter table app.free add n int; create index on app.free (n)",
    ] {
        scene.dev.ok(sql).await;
    }
    scene.unharmed().await;
}

// One that failed is known from its beginning: who may `index` drops it, and nobody else.
#[tokio::test]
async fn an_index_that_failed_is_known() {
    let mut scene = stage().await;
    scene
        .dev
        .ok("insert into app.free values (1, 'x'), (1, 'y')")
        .await;
    let told = scene
        .dev
        .run("create unique index concurrently i on app.free (id)")
        .await;
    assert!(told.unwrap_err().starts_with("23505"));
    let altering = common::state(&format!("{} - +altering:select,alter", common::cast::CAST));
    scene.state = altering;
    scene.bench.agent.apply(&scene.state).await.unwrap();
    let altering = scene.bench.log_in("altering").await;
    all_refused(&altering, &["drop index app.i"]).await;
    scene.mallory.ok("drop index app.i").await;
    scene.unharmed().await;
}

// What is written to a parent goes to its parts.
#[tokio::test]
async fn a_part_brings_no_code_to_its_parent() {
    let mut scene = stage().await;
    scene.state = common::state(&format!(
        "{} - +doing:select,insert,update,delete,index,alter,create",
        common::cast::CAST
    ));
    scene.bench.agent.apply(&scene.state).await.unwrap();
    let doing = scene.bench.log_in("doing").await;
    for sql in [
        "create table app.loose (id int check (app.evil()))",
        "create table app.tripped (id int)",
        "create table app.sub (id int) partition by list (id)",
        "create table app.child () inherits (app.above)",
    ] {
        doing.ok(sql).await;
    }
    for sql in [
        "create trigger trip before insert on app.tripped for each row execute function app.trip()",
        "create table app.sub_1 partition of app.sub (check (app.evil())) default",
    ] {
        scene.dev.ok(sql).await;
    }
    let before = parts(&scene).await;
    let ways = [
        "create table app.p partition of app.lists (check (app.evil())) default",
        "create table app.p partition of app.lists (id default app.fuse(1)) default",
        "create table app.p (check (app.evil())) inherits (app.above)",
        "alter table app.lists attach partition app.loose default",
        "alter table app.lists attach partition app.tripped default",
        "alter table app.lists attach partition app.sub default",
        "alter table app.loose inherit app.above",
        "alter table app.tripped inherit app.above",
        "alter table app.child add check (app.evil())",
        "create trigger trip before insert on app.child for each row execute function app.trip()",
    ];
    for sql in ways {
        let told = doing.refused(sql).await;
        assert!(told.contains("grant"), "{sql}: {told}");
        assert_eq!(parts(&scene).await, before, "{sql}");
    }
    for sql in ways {
        scene.dev.ok("begin").await;
        scene.dev.ok(sql).await;
        scene.dev.ok("rollback").await;
    }
    doing
        .ok("create table app.p partition of app.lists (check (id > 0)) default")
        .await;
    scene.unharmed().await;
}

// ANALYZE computes statistics as the table's owner.
#[tokio::test]
async fn statistics_bring_no_code() {
    let mut scene = stage().await;
    let before = parts(&scene).await;
    let on = |table: &str| format!("create statistics app.st on (app.fuse(id)), id from {table}");
    for (who, table) in [
        (&scene.mallory, "app.free"),
        (&scene.mallory, "app.keyed"),
        (&scene.dev, "app.keyed"),
    ] {
        all_refused(who, &[&on(table)]).await;
    }
    assert_eq!(parts(&scene).await, before);
    for sql in [
        &on("app.free"),
        "create statistics app.st2 on id, up from app.keyed",
        "alter table app.free add n int",
        "create table app.like_it (like app.free including all)",
    ] {
        scene.dev.ok(sql).await;
    }
    scene.unharmed().await;
}

// A domain runs code wherever a value of it is stored, however deep in a type it hides.
#[tokio::test]
async fn no_type_hides_a_domain() {
    let mut scene = stage().await;
    scene.state = common::state(&format!(
        "{} - +doing:select,insert,update,delete,index,alter,create",
        common::cast::CAST
    ));
    scene.bench.agent.apply(&scene.state).await.unwrap();
    for sql in [
        "create type app.plain_pair as (a int, b text)",
        "create domain app.good as int",
        "create table app.pairs (k app.plain_pair, g app.good, tags text[], r int4range)",
        "create table app.typed of app.plain_pair",
        "create view app.seen as select id from app.free",
    ] {
        scene.dev.ok(sql).await;
    }
    let doing = scene.bench.log_in("doing").await;
    for sql in [
        "create function app.bad(int) returns boolean language plpgsql as $$begin return true; end$$",
        "create domain app.evil as int check (app.bad(value))",
        "create domain app.over as app.evil",
        "create type app.evil_range as range (subtype = app.evil)",
        "create type app.evil_pair as (x app.evil)",
    ] {
        doing.ok(sql).await;
    }
    for sql in [
        "alter table app.pairs add z app.evil",
        "alter table app.pairs add z app.over",
        "alter table app.pairs alter column tags type app.evil[] using null",
        "alter table app.pairs alter column r type app.evil_range using null",
        "alter table app.pairs add z app.evil_pair",
        "alter table app.pairs add z app.evil_range[]",
        "alter table app.pairs add check ((('{\"['||g||','||g||']\"}')::app.evil_range[]) is not null)",
        "alter table app.pairs add n text default cardinality('{}'::app.evil_range[])::text",
        "alter type app.plain_pair add attribute c app.evil cascade",
        "alter domain app.good add check (value::app.evil is not null)",
        "alter domain app.good set default (1 + 1)::app.evil",
        "create or replace view app.seen as select id, query_to_xml('select app.bad(1)', true, true, '')::text x from app.free",
        "create or replace view app.seen as select id, set_config('search_path', 'app', false) x from app.free",
        "create or replace view app.seen as select id, ('{' || id || '}')::app.evil[] x from app.free",
    ] {
        let told = doing.refused(sql).await;
        assert!(told.contains("grant"), "{sql}: {told}");
    }
    // Nor on a table with foreign keys, whose owner would run it, by whoever.
    for sql in [
        "alter table app.keyed add z app.evil_range[]",
        "alter table app.keyed add check ((('{\"['||up||','||up||']\"}')::app.evil_range[]) is not null)",
    ] {
        all_refused(&scene.dev, &[sql]).await;
    }
    scene
        .dev
        .ok("create table app.later (id int, check ((('{\"['||id||','||id||']\"}')::app.evil_range[]) is not null))")
        .await;
    all_refused(
        &scene.dev,
        &["alter table app.later add foreign key (id) references app.keyed"],
    )
    .await;
    for sql in [
        "alter type app.plain_pair add attribute c bigint cascade",
        "create or replace view app.seen as select id, now() as at from app.free",
        "create table app.own (a app.evil_pair, b app.good)",
        "alter table app.own add c int",
    ] {
        doing.ok(sql).await;
    }
    scene.unharmed().await;
}

// Where no role is lent, nothing would look at the first commit of CONCURRENTLY.
#[tokio::test]
async fn another_role_makes_nothing_concurrently() {
    let mut scene = stage().await;
    let before = parts(&scene).await;
    for sql in [
        "grant create, usage on schema app to palisade_owner",
        "set role palisade_owner",
    ] {
        scene.half.ok(sql).await;
    }
    all_refused(
        &scene.half,
        &["create index concurrently i on app.free (app.fuse(id))"],
    )
    .await;
    assert_eq!(parts(&scene).await, before);
    scene.bench.agent.mend(&scene.state).await.unwrap();
    scene.unharmed().await;
}
