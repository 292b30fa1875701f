//! Attacks on what belongs to whom and lies where: what stops REASSIGN OWNED, objects without an ACL of their own,
//! and parts that PostgreSQL makes anew without telling the guards.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test"
)]

mod common;

use common::cast::{CAST, Scene, all_refused, scene};
use common::state;

async fn stage(more: &str) -> Scene {
    let mut scene = scene().await;
    scene.state = state(&format!("{CAST} - {more}"));
    scene.bench.agent.apply(&scene.state).await.unwrap();
    scene
}

// A collation of Palisade's own, which nobody may own but its two roles, stops REASSIGN OWNED.
#[tokio::test]
async fn what_stops_reassign_owned_stays_in_its_place() {
    let mut scene = stage("+making:select,alter,index,create").await;
    scene
        .dev
        .ok("create table app.keyed (id int primary key, up int references app.keyed)")
        .await;
    scene
        .dev
        .ok("create function app.say(sql text) returns int language plpgsql as $$begin execute sql; return 1; end$$")
        .await;
    let making = scene.bench.log_in("making").await;
    for who in [&scene.dev, &scene.half, &making] {
        for sql in [
            "comment on collation palisade.stays is 'x'",
            "comment on collation palisade.stays_too is 'x'",
            "alter collation palisade.stays set schema app",
            "alter collation palisade.stays_too set schema app",
            "alter collation palisade.stays rename to goes",
            "drop collation palisade.stays",
            "comment on schema palisade is 'x'",
            "reassign owned by palisade_keys to palisade_owner",
            "reassign owned by palisade_owner to palisade_keys",
            "create table app.made as select app.say('reassign owned by palisade_owner to making')",
        ] {
            let told = who.run(sql).await.unwrap_err();
            assert!(told.starts_with("42501"), "{sql}: {told}");
        }
    }
    scene
        .bench
        .by_hand("alter collation palisade.stays owner to palisade_keys")
        .await;
    let drift = scene.bench.agent.check_drift(&scene.state).await.unwrap();
    assert!(
        drift.to_string().contains("what stops REASSIGN OWNED"),
        "{drift}"
    );
    scene.bench.agent.mend(&scene.state).await.unwrap();
    scene.unharmed().await;
}

// To take something out of a schema asks for as much there as to change it.
#[tokio::test]
async fn set_schema_asks_both_schemas() {
    let mut scene = stage(
        "+moving:select - [moving mine]=select,create,alter,grant,drop - +fitting:select,alter,create,grant",
    )
    .await;
    for sql in [
        "create schema theirs",
        "create schema mine",
        "create type theirs.e as enum ('a')",
        "create type theirs.r as range (subtype = int)",
        "create domain theirs.d as int",
        "create function theirs.f() returns int language sql as 'select 1'",
        "create collation theirs.c from \"C\"",
        "create operator theirs.=== (leftarg = int, rightarg = int, function = int4eq)",
        "create text search dictionary theirs.dict (template = simple)",
        "create text search configuration theirs.conf (copy = simple)",
    ] {
        scene.dev.ok(sql).await;
    }
    let moving = scene.bench.log_in("moving").await;
    let fitting = scene.bench.log_in("fitting").await;
    for what in [
        "type theirs.e",
        "type theirs.r",
        "domain theirs.d",
        "function theirs.f()",
        "collation theirs.c",
        "operator theirs.===(int, int)",
        "text search dictionary theirs.dict",
        "text search configuration theirs.conf",
    ] {
        all_refused(&moving, &[&format!("alter {what} set schema mine")]).await;
        fitting.ok(&format!("alter {what} set schema mine")).await;
        let moved = what.replace("theirs", "mine");
        fitting
            .ok(&format!("alter {moved} set schema theirs"))
            .await;
    }
    // What PostgreSQL made along with a range is no way, either.
    all_refused(
        &moving,
        &["alter function theirs.r(int, int) set schema mine"],
    )
    .await;
    scene.unharmed().await;
}

// ALTER TYPE makes indexes and statistics anew and tells the guards nothing.
#[tokio::test]
async fn an_index_that_was_made_anew_is_known() {
    let mut scene = stage("+altering:select,alter - +lib:select - [lib lib]=select,drop").await;
    for sql in [
        "create table app.t (k int, word text)",
        "create index t_k on app.t (k)",
        "create statistics app.t_s on k, word from app.t",
        "create schema lib",
        "create function lib.n(text) returns text language sql immutable as 'select $1'",
        "create index t_n on app.t (lib.n(word))",
    ] {
        scene.dev.ok(sql).await;
    }
    let altering = scene.bench.log_in("altering").await;
    for (begin, end) in [("begin", "rollback"), ("select 1", "select 1")] {
        altering.ok(begin).await;
        altering.ok("alter table app.t alter k type bigint").await;
        all_refused(&altering, &["drop index app.t_k"]).await;
        altering.ok(end).await;
    }
    scene.dev.ok("reindex index concurrently app.t_k").await;
    all_refused(
        &altering,
        &["drop index app.t_k", "drop statistics app.t_s"],
    )
    .await;
    // Nor do they go along with a function.
    let lib = scene.bench.log_in("lib").await;
    all_refused(&lib, &["drop function lib.n(text) cascade"]).await;
    scene.mallory.ok("drop index app.t_k").await;
    scene.dev.ok("drop function lib.n(text) cascade").await;
    scene.unharmed().await;
}

// A sequence is a table to ALTER TABLE.
#[tokio::test]
async fn a_columns_sequence_is_its_tables() {
    let mut scene = stage("+indexing:select,index - +altering:select,alter").await;
    scene
        .dev
        .ok("create table app.t (a serial, b int generated always as identity)")
        .await;
    let indexing = scene.bench.log_in("indexing").await;
    let altering = scene.bench.log_in("altering").await;
    for sql in [
        "alter table app.t_a_seq rename to gone",
        "alter table app.t_b_seq rename to gone",
        "alter table app.t_a_seq set unlogged",
        "alter sequence app.t_a_seq rename to gone",
        "alter table app.t alter b restart with 5",
    ] {
        all_refused(&indexing, &[sql]).await;
        if let Err(told) = altering.run(sql).await {
            assert!(!told.starts_with("42501"), "{sql}: {told}");
        } else if let Some(was) = sql.strip_suffix(" rename to gone") {
            let was = was.rsplit('.').next().unwrap();
            altering
                .ok(&format!("alter table app.gone rename to {was}"))
                .await;
        }
    }
    scene.unharmed().await;
}

// What a hand opened beside the managed objects is shut, in every way that a user could have come by it.
#[tokio::test]
async fn what_a_hand_opened_elsewhere_is_drift() {
    let mut scene = stage("+reading:select").await;
    scene
        .dev
        .ok("create table app.keyed (id int primary key, up int references app.keyed)")
        .await;
    let clean = scene.bench.agent.check_drift(&scene.state).await.unwrap();
    assert!(clean.is_clean(), "{clean}");
    for (sql, told) in [
        ("grant select on pg_authid to reading", "pg_authid"),
        (
            "grant select (rolpassword) on pg_authid to public",
            "rolpassword",
        ),
        ("grant select on pg_stats to reading", "pg_stats"),
        (
            "grant execute on function pg_read_file(text) to reading",
            "pg_read_file",
        ),
        (
            "grant execute on function pg_ls_dir(text) to public",
            "pg_ls_dir",
        ),
        (
            "grant execute on function lo_import(text) to palisade_owner",
            "lo_import",
        ),
        (
            "grant set on parameter session_replication_role to reading",
            "session_replication_role",
        ),
        (
            "grant alter system on parameter work_mem to public",
            "work_mem",
        ),
        ("alter database main owner to reading", "belongs to reading"),
        ("alter table app.keyed disable trigger all", "switched off"),
        (
            "create function palisade.more() returns int language sql security definer as 'select 1'",
            "functions of someone else",
        ),
        (
            "create function palisade.on_start(text) returns int language sql as 'select 1'",
            "functions of someone else",
        ),
    ] {
        scene.bench.by_hand(sql).await;
        let drift = scene.bench.agent.check_drift(&scene.state).await.unwrap();
        assert!(drift.to_string().contains(told), "{sql}: {drift}");
        scene.bench.agent.mend(&scene.state).await.unwrap();
        let drift = scene.bench.agent.check_drift(&scene.state).await.unwrap();
        assert!(drift.is_clean(), "{sql}: {drift}");
    }
    let reading = scene.bench.log_in("reading").await;
    all_refused(
        &reading,
        &[
            "select * from pg_authid",
            "select pg_read_file('PG_VERSION')",
            "set session_replication_role = replica",
        ],
    )
    .await;
    scene.unharmed().await;
}

// A type that tables are made of is theirs; an operator's other half is its schema's.
#[tokio::test]
async fn what_changes_something_else_asks_there() {
    let mut scene = stage(
        "+some:select,create,alter - [some app.typed]=select - [some theirs]=select - +adding:select,create",
    )
    .await;
    for sql in [
        "create schema theirs",
        "create type app.t as (a int, b int)",
        "create table app.typed of app.t",
        "create type theirs.t as (a int)",
        "create operator theirs.==== (leftarg = int, rightarg = int, function = int4eq)",
    ] {
        scene.dev.ok(sql).await;
    }
    let some = scene.bench.log_in("some").await;
    all_refused(
        &some,
        &[
            "alter type app.t add attribute c int cascade",
            "alter type app.t alter attribute a type bigint cascade",
            "alter type app.t rename attribute a to aa cascade",
            "alter type theirs.t rename attribute a to aa cascade",
            "comment on column theirs.t.a is 'x'",
            "create operator app.!=== (leftarg = int, rightarg = int, function = int4ne, negator = operator(theirs.====))",
            "create operator app.### (leftarg = int, rightarg = int, function = int4ne, commutator = operator(theirs.@@@))",
        ],
    )
    .await;
    let adding = scene.bench.log_in("adding").await;
    for sql in [
        "create operator app.=== (leftarg = int, rightarg = int, function = int4eq, commutator = operator(app.===), negator = operator(app.!===))",
        "create operator app.!=== (leftarg = int, rightarg = int, function = int4ne, commutator = operator(app.!===), negator = operator(app.===))",
        "create aggregate app.cnt(*) (sfunc = int8inc, stype = int8, initcond = '0')",
        "create aggregate app.mid(order by float8) (sfunc = float8larger, stype = float8)",
    ] {
        adding.ok(sql).await;
    }
    scene.unharmed().await;
}

// What a hand dropped is in nobody's way.
#[tokio::test]
async fn what_a_hand_dropped_is_in_nobodys_way() {
    let mut scene = stage("+reading:select").await;
    scene.dev.ok("create table app.gone (id int)").await;
    scene.bench.by_hand("drop table app.gone").await;
    scene.dev.ok("grant insert on app.plain to public").await;
    scene.dev.ok("revoke insert on app.plain from public").await;
    scene.unharmed().await;
}

// What belongs to a user after all is handed over.
#[tokio::test]
async fn what_belongs_to_a_user_is_drift() {
    let mut scene = stage("+altering:select,alter").await;
    for sql in [
        "create type app.e as enum ('a')",
        "create type app.r as range (subtype = int)",
        "create function app.f() returns int language sql as 'select 1'",
        "create table app.t (k int, word text); create statistics app.t_s on k, word from app.t",
    ] {
        scene.dev.ok(sql).await;
    }
    assert!(
        scene
            .bench
            .agent
            .check_drift(&scene.state)
            .await
            .unwrap()
            .is_clean()
    );
    for sql in [
        "alter type app.e owner to altering",
        "alter function app.f() owner to altering",
        "alter statistics app.t_s owner to palisade_keys",
    ] {
        scene.bench.by_hand(sql).await;
        let drift = scene.bench.agent.check_drift(&scene.state).await.unwrap();
        assert!(!drift.is_clean(), "{sql}");
        scene.bench.agent.mend(&scene.state).await.unwrap();
    }
    scene.dev.ok("alter type app.e add value 'b'").await;
    scene.unharmed().await;
}
