//! Applying a state to a real PostgreSQL: what it makes, and that it then has nothing more to do.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test"
)]

mod common;

use common::{Bench, state};

const USERS: &str = "+root* - +dev:select,insert,update,delete,index,alter,create,drop,grant - +reader:select \
     - +nobody - +out:denied,select";

#[tokio::test]
async fn a_plan_leaves_nothing_to_plan() {
    let users = state(USERS);
    let mut bench = Bench::with(&users).await;
    let drift = bench.agent.check_drift(&users).await.unwrap();
    assert!(drift.is_clean(), "{drift}");

    let dev = bench.log_in("dev").await;
    dev.ok(
        "create schema app; create table app.parent (id serial primary key, g int generated always as identity, \
         b text unique); create table app.child (id int references app.parent on delete cascade); \
         create view app.v as select * from app.parent; create materialized view app.m as select * from app.parent; \
         create sequence app.s; create table app.parts (a int) partition by list (a); \
         create table app.part1 partition of app.parts for values in (1); create table public.t (a int); \
         create function app.f() returns int language sql as 'select 1'; create type app.e as enum ('a'); \
         create domain app.d as int check (value > 0); create type app.r as range (subtype = int); \
         create statistics app.st on id, b from app.parent; create index on app.parent (g)",
    )
    .await;
    dev.ok("insert into app.parent (b) values ('x'); insert into app.child values (1)")
        .await;
    dev.ok("refresh materialized view app.m").await;
    let drift = bench.agent.check_drift(&users).await.unwrap();
    assert!(drift.is_clean(), "{drift}");

    let reader = bench.log_in("reader").await;
    assert_eq!(reader.ok("select count(*) from app.v").await, ["1"]);
    assert_eq!(reader.ok("select count(*) from app.m").await, ["1"]);
    reader.refused("insert into app.child values (1)").await;
    bench
        .log_in("root")
        .await
        .ok("delete from app.parent")
        .await;

    // ACLs, on what is there and what is not yet.
    let more = format!(
        "{USERS} - [reader app.parent]=none - [nobody app.parent]=select,insert - [nobody app.later]=select \
         - [dev app.parts]=select,alter - [reader public]=none"
    );
    let users = state(&more);
    let report = bench.agent.apply(&users).await.unwrap();
    assert!(!report.whole);
    let drift = bench.agent.check_drift(&users).await.unwrap();
    assert!(drift.is_clean(), "{drift}");
    reader.refused("select * from app.parent").await;
    reader.refused("select * from public.t").await;
    reader.ok("select * from app.parts").await;
    let nobody = bench.log_in("nobody").await;
    nobody.ok("insert into app.parent (b) values ('y')").await;
    nobody.refused("select * from app.child").await;
    dev.refused("insert into app.part1 values (1)").await;
    dev.ok("create table app.later (a int); create table app.later2 (a int)")
        .await;
    nobody.ok("select * from app.later").await;
    nobody.refused("select * from app.later2").await;
    let drift = bench.agent.check_drift(&users).await.unwrap();
    assert!(drift.is_clean(), "{drift}");

    // And everything back.
    let users = state(USERS);
    let report = bench.agent.apply(&users).await.unwrap();
    assert!(!report.whole);
    let drift = bench.agent.check_drift(&users).await.unwrap();
    assert!(drift.is_clean(), "{drift}");
    reader.ok("select * from app.parent").await;
    nobody.refused("select * from app.parent").await;
}
