//! Attacks that try to gain rights, or to use those of others (design section 7: "Beware the side doors,
//! and test each").
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test"
)]

mod common;

use common::cast::{all_refused, scene};
use common::state;

// "SET ROLE to the owner"
#[tokio::test]
async fn the_owner_role_gives_no_rows_and_no_flags() {
    let mut scene = scene().await;
    let indexer = state(&format!("{} - +indexer:index", common::cast::CAST));
    scene.bench.agent.apply(&indexer).await.unwrap();
    scene.state = indexer;
    let indexer = scene.bench.log_in("indexer").await;
    indexer.ok("set role palisade_owner").await;
    all_refused(
        &indexer,
        &[
            "select * from app.secret",
            "copy app.secret to stdout",
            "insert into app.secret values (2, 'x')",
            "truncate app.secret",
            "do $$begin lock table app.secret in access exclusive mode; end$$",
            "alter table app.secret add z int",
            "drop table app.secret",
            "drop schema app cascade",
            "create table app.mine (a int)",
            "grant select on app.secret to indexer",
            "grant all on all tables in schema app to public",
            "comment on table app.secret is 'x'",
            "create function app.f() returns int language sql as 'select 1'",
            "alter table app.secret owner to indexer",
            "alter schema app owner to indexer",
        ],
    )
    .await;
    // The owner may not even look into the schemas; as herself the user may, and has her one flag.
    all_refused(
        &indexer,
        &["create schema mine", "create index on app.secret (id)"],
    )
    .await;
    indexer.ok("reset role").await;
    indexer.ok("create index on app.secret (id)").await;
    all_refused(
        &indexer,
        &["alter table app.secret add z int", "drop table app.secret"],
    )
    .await;
    scene.unharmed().await;
}

// "GRANT of the owner role"; REASSIGN OWNED and DROP OWNED, which fire no guard or all.
#[tokio::test]
async fn roles_are_not_passed_on() {
    let mut scene = scene().await;
    for who in [&scene.mallory, &scene.dev, &scene.reader, &scene.half] {
        for sql in [
            "grant palisade_owner to reader",
            "grant palisade_select to mallory",
            "grant mallory to reader",
            "grant reader to mallory",
            "create role eve",
            "create role eve login superuser",
            "alter role reader login password 'x'",
            "drop role reader",
            "set session authorization root",
            "set role palisade",
            "reassign owned by palisade_owner to mallory",
            "reassign owned by palisade_owner to palisade_select",
            "reassign owned by palisade_owner, palisade_keys to current_user",
            "drop owned by palisade_owner cascade",
            "drop owned by palisade_select",
            "drop owned by current_user",
            "alter role all set search_path = app",
            "alter database main set search_path = app",
            "alter database main owner to current_user",
            "alter system set log_statement = 'all'",
            "create database other",
            "drop database postgres",
        ] {
            let told = who
                .run(sql)
                .await
                .err()
                .unwrap_or_else(|| panic!("passed: {sql}"));
            // A database is dropped outside of transactions only; the right is looked at first.
            assert!(told.starts_with("42501"), "{sql}: {told}");
        }
    }
    // What a user may do to herself is found and undone.
    scene.reader.ok("alter role reader password 'mine'").await;
    scene
        .reader
        .ok("alter role reader set search_path = app")
        .await;
    let drift = scene.bench.agent.check_drift(&scene.state).await.unwrap();
    assert_eq!(drift.managed.len(), 1, "{drift}");
    scene.bench.agent.mend(&scene.state).await.unwrap();
    scene.unharmed().await;
}

// "functions with SECURITY DEFINER"
#[tokio::test]
async fn functions_lend_no_rights() {
    let mut scene = scene().await;
    let root = scene.bench.log_in("root").await;
    for who in [&scene.mallory, &scene.dev, &root] {
        all_refused(
            who,
            &[
                "create function app.d() returns setof app.secret language sql security definer as 'select * from app.secret'",
                "create procedure app.d() language sql security definer as 'delete from app.secret'",
            ],
        )
        .await;
    }
    all_refused(
        &scene.dev,
        &["alter function app.leaktext(text) security definer"],
    )
    .await;
    // A function that others use is not changed under them without `grant`.
    all_refused(
        &scene.mallory,
        &[
            "create or replace function app.leaktext(x text) returns text language sql immutable as 'select x'",
            "alter function app.leaktext(text) set search_path = app",
        ],
    )
    .await;
    // Nor is one put in their way.
    scene.mallory.ok("create function app.tf() returns trigger language plpgsql as $$begin return new; end$$").await;
    all_refused(
        &scene.mallory,
        &[
            "create trigger t before insert on app.plain for each row execute function app.tf()",
            "alter table app.plain alter word set default app.leaktext('x')",
        ],
    )
    .await;
    scene
        .mallory
        .ok("create operator app.=== (leftarg = text, rightarg = text, function = texteq)")
        .await
        .len();
    scene
        .dev
        .ok("create trigger t before insert on app.plain for each row execute function app.tf()")
        .await;
    scene.dev.ok("drop trigger t on app.plain").await;
    scene.unharmed().await;
}

// A function in an index runs as the table's owner in background processes, whose session user is the
// superuser.
#[tokio::test]
async fn a_background_process_is_no_superuser_to_the_guards() {
    let mut scene = scene().await;
    let dev = &scene.dev;
    // An immutable function may grant nothing, but call one that may. With a foreign key the owner is
    // one that may look into the schema.
    dev.ok(
        "create function app.bomb() returns void language plpgsql as $$begin \
             if session_user = 'palisade' then \
               begin execute 'grant select on app.secret to public'; \
               exception when insufficient_privilege then raise log 'defused'; end; \
               begin execute 'alter table app.secret owner to dev'; \
               exception when insufficient_privilege then null; end; \
             end if; end$$",
    )
    .await;
    dev.ok(
        "create function app.fuse(x int) returns int language plpgsql immutable as \
            $$begin perform app.bomb(); return x; end$$",
    )
    .await;
    dev.ok("create table app.devs (a int unique, b int references app.devs (a))")
        .await;
    let index = "create index on app.devs (app.fuse(a))";
    dev.refused(index).await;
    let root = scene.bench.log_in("root").await;
    root.ok(index).await;
    dev.ok("insert into app.devs select generate_series(1, 1000)")
        .await;
    // What autovacuum does, at once.
    scene.bench.by_hand("analyze app.devs").await;
    scene.bench.by_hand("reindex table app.devs").await;
    assert!(scene.bench.postgres.log().contains("defused"));
    scene.unharmed().await;
}

// A cascade runs as the owner of the tables with foreign keys, and so would whatever hangs on them.
#[tokio::test]
async fn a_cascade_runs_nothing_of_users() {
    let mut scene = scene().await;
    let dev = &scene.dev;
    for sql in [
        "create function app.five() returns int language sql immutable as 'select 5'",
        "create function app.tf() returns trigger language plpgsql as $$begin return new; end$$",
        "create domain app.small as int check (value < 9)",
        "create table app.p (id int primary key)",
        "create table app.c (id int references app.p on delete cascade, n int, at timestamptz default now())",
        "create table app.q (id int primary key)",
        "create trigger t before insert on app.q for each row execute function app.tf()",
        "create table app.pp (id int, n int) partition by list (id)",
        "create table app.pp1 partition of app.pp for values in (1)",
        "alter table app.pp1 add foreign key (id) references app.p",
        "alter table app.c alter n set default 5, add check (n > 0)",
    ] {
        dev.ok(sql).await;
    }
    let trigger = "create trigger t before delete on app.c for each row execute function app.tf()";
    all_refused(
        dev,
        &[
            trigger,
            "create trigger t before delete on app.pp for each row execute function app.tf()",
            "alter table app.c alter n set default app.five()",
            "alter table app.c alter n set default length(query_to_xml('table app.secret', true, false, '')::text)",
            "alter table app.c add check (n < app.five())",
            "alter table app.pp add check (n < app.five())",
            "alter table app.c add m app.small",
            "create index on app.c (app.five())",
            "create table app.d (id int default app.five() references app.p on delete set default)",
            "create table app.d (id int references app.p, n app.small)",
            "create table app.d (id int references app.q)",
            "alter table app.c add foreign key (n) references app.q",
        ],
    )
    .await;
    // What a superuser made by EXPLAIN is hers until it is taken over: nobody else puts a key or code on it.
    let root = scene.bench.log_in("root").await;
    root.ok("explain analyze create table app.made as select 1 as id where false")
        .await;
    root.ok("create unique index on app.made (id)").await;
    all_refused(
        dev,
        &[
            "explain analyze create table app.other as select 1 as id where false",
            "alter table app.made alter id set default app.five()",
            "create index on app.made (app.five())",
            "alter table app.made add foreign key (id) references app.p",
        ],
    )
    .await;
    root.ok(trigger).await;
    let replace = "create or replace function app.tf() returns trigger language plpgsql as $$begin return old; end$$";
    all_refused(
        dev,
        &[replace, "alter function app.tf() set search_path = app"],
    )
    .await;
    // What EXPLAIN made and nobody touched is drift.
    scene.bench.agent.mend(&scene.state).await.unwrap();
    scene.unharmed().await;
}

// "ALTER DEFAULT PRIVILEGES", casts, extensions, languages, servers, publications, ...
#[tokio::test]
async fn what_reaches_beyond_an_object_is_not_for_users() {
    let mut scene = scene().await;
    for who in [&scene.mallory, &scene.dev] {
        all_refused(
            who,
            &[
                "alter default privileges grant select on tables to mallory",
                "alter default privileges for role palisade_owner grant select on tables to mallory",
                "create extension pgcrypto",
                "create foreign data wrapper f",
                "create publication p for all tables",
                "create publication p for table app.plain",
                "create event trigger e on sql_drop execute function app.leak()",
                "alter event trigger palisade_end disable",
                "drop event trigger palisade_end",
                "create cast (text as int) with inout",
                "create access method am type table handler heap_tableam_handler",
                "create operator class app.oc for type text using btree as operator 1 <",
                "create operator family app.of using btree",
                "create conversion app.c for 'UTF8' to 'LATIN1' from utf8_to_iso8859_1",
                "security label on table app.plain is 'x'",
                "create server s foreign data wrapper nothing",
                "create foreign table app.ft (a int) server nothing",
                "import foreign schema x from server nothing into app",
                "create user mapping for current_user server nothing",
            ],
        )
        .await;
    }
    let root = scene.bench.log_in("root").await;
    root.ok("create extension citext schema app").await;
    root.ok("drop extension citext").await;
    scene.unharmed().await;
}

// "large objects", files, programs, settings
#[tokio::test]
async fn there_is_no_way_around_the_tables() {
    let mut scene = scene().await;
    let root = scene.bench.log_in("root").await;
    for who in [&scene.mallory, &scene.dev, &root] {
        all_refused(
            who,
            &[
                "select lo_create(0)",
                "select lo_from_bytea(0, 'x')",
                "select lo_get(1)",
                "select lo_import('/etc/passwd')",
                "copy app.plain to program 'cat'",
                "copy app.plain from '/etc/passwd'",
                "select pg_read_file('/etc/passwd')",
                "select * from pg_authid",
                "select * from pg_largeobject",
                "set session_replication_role = replica",
                "set lo_compat_privileges = on",
                "select pg_reload_conf()",
                "load '/tmp/x.so'",
                "select * from palisade.users",
                "delete from palisade.acls",
                "create table palisade.x (a int)",
                "select palisade.flags('root', 'app', 'secret')",
                "drop schema palisade cascade",
                "alter function palisade.on_end(text, text) rename to x",
                "drop collation palisade.stays",
                "alter collation palisade.stays rename to moves",
                "create table pg_catalog.x (a int)",
            ],
        )
        .await;
    }
    scene.unharmed().await;
}

// "TRUNCATE; COPY; sequences; schemas; COMMENT and SECURITY LABEL"
#[tokio::test]
async fn each_statement_needs_its_own_flag() {
    let mut scene = scene().await;
    all_refused(
        &scene.mallory,
        &[
            "truncate app.plain",
            "truncate app.plain, app.secret cascade",
            "copy app.plain to stdout",
            "copy (select * from app.plain) to stdout",
            "copy app.plain from stdin",
            "table app.plain",
            "create table app.copy as table app.plain",
            "create table app.copy (like app.plain)",
            "select * into app.copy from app.plain",
            "explain analyze select * from app.plain",
            "declare c cursor with hold for select * from app.plain",
            "select * from app.plain for update",
            "merge into app.plain p using app.plain q on true when matched then delete",
        ],
    )
    .await;
    // From version 17 on, what owners need for VACUUM (MAINTAIN) is enough for LOCK.
    if scene.bench.version().await < 17 {
        let lock = "do $$begin lock table app.plain; end$$";
        all_refused(&scene.mallory, &[lock]).await;
    }
    scene.dev.ok("create sequence app.s").await;
    all_refused(
        &scene.reader,
        &[
            "select nextval('app.s')",
            "select setval('app.s', 9)",
            "truncate app.plain",
            "delete from app.plain",
            "comment on table app.plain is 'x'",
            "comment on column app.plain.word is 'x'",
            "alter sequence app.s restart",
            "vacuum full app.plain; select 1/0",
            "create schema mine",
            "create table app.mine (a int)",
            "create temporary table mine (a int)",
            "create index on app.plain (id)",
            "drop table app.plain",
        ][..3],
    )
    .await;
    scene.reader.ok("select last_value from app.s").await;
    let more = state(&format!(
        "{} - +altering:alter - [altering app.plain]=select",
        common::cast::CAST
    ));
    scene.bench.agent.apply(&more).await.unwrap();
    scene.state = more;
    scene
        .dev
        .ok("create index by_word on app.secret (word)")
        .await;
    let altering = scene.bench.log_in("altering").await;
    altering.ok("comment on table app.secret is 'x'").await;
    all_refused(
        &altering,
        &[
            "comment on table app.plain is 'x'",
            "comment on column app.plain.word is 'x'",
            "comment on constraint plain_pkey on app.plain is 'x'",
            "alter table app.plain rename word to w",
            "create index on app.secret (id)",
            "create table app.mine (a int)",
            "create schema mine",
            "create temporary table mine (a int)",
            "drop table app.secret",
            "drop index app.by_word",
            "grant select on app.secret to altering",
            "create statistics app.st on id, word from app.secret",
        ],
    )
    .await;
    scene.unharmed().await;
}

// DROP ... CASCADE takes along what the user may not drop.
#[tokio::test]
async fn cascade_asks_for_each_object() {
    let mut scene = scene().await;
    scene
        .dev
        .ok("create view app.window as select * from app.plain")
        .await;
    scene
        .dev
        .ok("create table app.child (id int references app.plain)")
        .await;
    scene
        .dev
        .ok("create type app.e as enum ('a'); create table app.typed (id int, e app.e)")
        .await;
    scene.state = state(&format!(
        "{} - [mallory app.window]=alter - [mallory app.child]=drop - [mallory app.typed]=drop",
        common::cast::CAST
    ));
    scene.bench.agent.apply(&scene.state).await.unwrap();
    all_refused(
        &scene.mallory,
        &["drop type app.e cascade", "drop schema app cascade"],
    )
    .await;
    scene.half.refused("drop schema app cascade").await;
    scene.half.refused("drop table app.secret").await;
    scene.dev.ok("drop type app.e cascade").await;
    scene.dev.ok("drop table app.plain cascade").await;
    scene.bench.agent.mend(&scene.state).await.unwrap();
    scene.unharmed().await;
}

// EXPLAIN ANALYZE makes a table and fires no event trigger: of all users only superusers make one so. It does not
// stay its maker's, by whatever role she made it.
#[tokio::test]
async fn a_table_that_explain_made_is_taken_over() {
    let mut scene = scene().await;
    let root = scene.bench.log_in("root").await;
    for (role, table) in [("none", "app.made"), ("palisade_make", "app.made_too")] {
        root.ok(&format!("set role {role}")).await;
        root.ok(&format!(
            "explain analyze create table {table} as select 1 as mine"
        ))
        .await;
    }
    let drift = scene.bench.agent.check_drift(&scene.state).await.unwrap();
    assert!(!drift.is_clean());
    scene.bench.agent.mend(&scene.state).await.unwrap();
    for table in ["app.made", "app.made_too"] {
        let owner =
            format!("select relowner::regrole from pg_class where oid = '{table}'::regclass");
        assert_eq!(scene.dev.run(&owner).await.unwrap(), ["palisade_owner"]);
        all_refused(&scene.mallory, &[&format!("select * from {table}")]).await;
    }
    scene.unharmed().await;
}

// CONCURRENTLY takes effect before a later check could undo it.
#[tokio::test]
async fn concurrently_leaves_nothing_behind() {
    let mut scene = scene().await;
    scene.state = state(&format!("{} - +altering:alter", common::cast::CAST));
    scene.bench.agent.apply(&scene.state).await.unwrap();
    let altering = scene.bench.log_in("altering").await;
    all_refused(
        &altering,
        &[
            "create index concurrently i on app.plain (id)",
            "create unique index concurrently if not exists i on app.plain (word)",
            "create index /**/ concurrently i on app.plain (id)",
            "drop index concurrently app.plain_pkey",
        ],
    )
    .await;
    let left = scene
        .dev
        .ok("select count(*) from pg_index where indrelid = 'app.plain'::regclass")
        .await;
    assert_eq!(left, ["1"]);
    scene
        .mallory
        .ok("create index concurrently i on app.plain (id)")
        .await;
    scene.mallory.ok("drop index concurrently app.i").await;
    scene.unharmed().await;
}

// Temporary objects are the session's own.
#[tokio::test]
async fn temporary_objects_are_left_alone() {
    let mut scene = scene().await;
    for sql in [
        "create temporary table mine (a int primary key, b text)",
        "create index on mine (b)",
        "insert into mine values (1, 'x')",
        "alter table mine add c int",
        "alter table mine drop column c",
        "comment on table mine is 'x'",
        "create temporary view mv as select * from mine",
        "drop view mv",
        "create temporary sequence ms",
        "drop table mine",
        "drop sequence ms",
    ] {
        scene.mallory.ok(sql).await;
    }
    scene.unharmed().await;
}
