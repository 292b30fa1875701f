//! What the text of a statement tells the guards: where they have to go by it, a disguise gains nothing, and a word
//! in the wrong place costs nothing.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test"
)]

mod common;

use common::cast::{CAST, SECRET, Scene, all_refused, scene};
use common::state;

async fn stage(more: &str) -> Scene {
    let mut scene = scene().await;
    scene.state = state(&format!("{CAST} - {more}"));
    scene.bench.agent.apply(&scene.state).await.unwrap();
    scene
}

// Comments are white space, of which there is some behind a quote, too; what can't be told is left as it is.
#[tokio::test]
async fn comments_are_left_out() {
    let mut scene = scene().await;
    let says = "palisade.statement()";
    for (sql, read) in [
        (format!("/* a */ select {says};"), format!("select {says}")),
        (
            format!(" /* a /* b */ ' \" $ -- */ select -- it's\n {says} "),
            format!("select  \n {says}"),
        ),
        (
            format!("select/**/{says}/* c */; "),
            format!("select {says}"),
        ),
        (
            format!("select {says}, '--' as \"/*\", 2 - -1 /2 /* d */"),
            format!("select {says}, '--'  as \"/*\" , 2 - -1 /2"),
        ),
        (
            format!("select {says}, '/*' as \"--\" /*/**/*/, 1 -- e"),
            format!("select {says}, '/*'  as \"--\"   , 1"),
        ),
        (
            format!("select {says}, 'it''s' /* f */, 4 *-- g\n 2"),
            format!("select {says}, 'it''s'   , 4 * \n 2"),
        ),
        (
            format!("/* h */ select {says}, E'\\'--' /* i */"),
            format!("select {says}, E'\\'--' /* i */"),
        ),
        (
            format!("/* h */ select {says}, $$--$$ /* i */"),
            format!("select {says}, $$--$$ /* i */"),
        ),
        (
            format!("select {says} /***/, 8 /* **/ /-2/*-- */"),
            format!("select {says}  , 8   /-2"),
        ),
    ] {
        assert_eq!(scene.dev.ok(&sql).await, [read], "{sql}");
    }
    scene.unharmed().await;
}

#[tokio::test]
async fn the_word_concurrently_elsewhere_asks_for_nothing_more() {
    let mut scene = stage("+indexing:select,index - +altering:select,alter").await;
    scene
        .dev
        .ok("create table app.runs (id int, runs_concurrently bool, \"concurrently\" int)")
        .await;
    let indexing = scene.bench.log_in("indexing").await;
    for sql in [
        "create index on app.runs (runs_concurrently)",
        "create index concurrently_made on app.runs (id)",
        "create index \"concurrently\" on app.runs (\"concurrently\") /* not concurrently */",
        "/* create index concurrently */ create /* concurrently */ index k1 -- concurrently\n on app.runs (id)",
        "do $$begin /* concurrently */ create index k2 on app.runs (id); end$$",
        "begin; create index k3 on app.runs (runs_concurrently); commit",
        "drop index app.concurrently_made",
        "drop index app.\"concurrently\" -- concurrently",
    ] {
        indexing.ok(sql).await;
    }
    let altering = scene.bench.log_in("altering").await;
    for sql in [
        "alter table app.runs rename runs_concurrently to \"detach concurrently\"",
        "alter table app.runs alter \"concurrently\" set default 1 -- detach p concurrently",
        "alter table app.runs add detach int; alter table app.runs rename detach to \"concurrently detached\"",
    ] {
        altering.ok(sql).await;
    }
    scene.unharmed().await;
}

#[tokio::test]
async fn concurrently_is_found_in_every_disguise() {
    let mut scene = stage("+altering:select,alter - +indexing:select,index").await;
    let altering = scene.bench.log_in("altering").await;
    scene.dev.ok("create index theirs on app.plain (id)").await;
    let of = "on app.plain (id)";
    let disguised = [
        format!("create index concurrently made {of}"),
        format!("CREATE\tUNIQUE\nINDEX/**/CONCURRENTLY made {of}"),
        format!("/* 'a /* \" */ $$ */ create index -- '\n concurrently made {of}"),
        format!(";; create index concurrently made {of};;"),
        format!("create index concurrently\"made\"{of}"),
        format!("create index concurrently u&\"m!0061de\" uescape '!' {of}"),
        format!("create index concurrently made {of} where word <> E'\\'--'"),
        format!("create index concurrently made {of} where word <> $$/*$$"),
        format!("create index concurrently made {of} where word <> '' /* c */"),
        "drop index concurrently app.theirs".to_owned(),
        "DROP/**/INDEX -- \n CONCURRENTLY app.theirs".to_owned(),
        "; drop index concurrently if exists app.theirs;".to_owned(),
        "drop index concurrently app.u&\"their!0073\" uescape '!'".to_owned(),
    ];
    let indexes = "select string_agg(indexrelid::regclass::text, ' ' order by 1) from pg_index \
                   where indrelid = 'app.plain'::regclass";
    let before = scene.dev.ok(indexes).await;
    for sql in &disguised {
        altering.refused(sql).await;
        // Not even one that is invalid.
        assert_eq!(scene.dev.ok(indexes).await, before, "{sql}");
    }
    // Who may, may in what can be read; nothing is left of what was lent, either way.
    let indexing = scene.bench.log_in("indexing").await;
    let borrowed =
        "select a.member from pg_auth_members a where a.roleid::regrole::text ~ '^palisade_lent'";
    for (n, sql) in disguised.iter().enumerate() {
        let passed = indexing.run(sql).await;
        let readable = matches!(n, 0..=2 | 6..=10);
        assert_eq!(passed.is_ok(), readable, "{sql}: {passed:?}");
        assert_eq!(scene.dev.ok(borrowed).await, Vec::<String>::new(), "{sql}");
        for sql in [
            "drop index if exists app.made",
            "create index if not exists theirs on app.plain (id)",
        ] {
            scene.dev.ok(sql).await;
        }
    }
    scene.unharmed().await;
}

#[tokio::test]
async fn a_partition_is_detached_concurrently_by_who_may() {
    let mut scene = stage(
        "+altering:select,alter - +some:select - [some app.whole]=select,alter - +indexing:select,index",
    )
    .await;
    scene
        .dev
        .ok("create table app.whole (id int) partition by list (id); \
             create table app.one partition of app.whole for values in (1); \
             create table app.\"two concurrently\" partition of app.whole for values in (2); \
             insert into app.whole values (1), (2)")
        .await;
    let attached = "select count(*) from pg_inherits where inhparent = 'app.whole'::regclass and not inhdetachpending";
    let indexing = scene.bench.log_in("indexing").await;
    let some = scene.bench.log_in("some").await;
    for sql in [
        "alter table app.whole detach partition app.one concurrently",
        "ALTER TABLE app.whole DETACH/**/PARTITION app.one -- c\n CONCURRENTLY",
        "alter table if exists only app.whole detach partition app.one concurrently;",
        "alter table app.u&\"wh!006fle\" uescape '!' detach partition app.one concurrently",
    ] {
        all_refused(&indexing, &[sql]).await;
        // An ACL on the table would no longer be one on its former part.
        all_refused(&some, &[sql]).await;
        assert_eq!(scene.dev.ok(attached).await, ["2"], "{sql}");
    }
    scene.state = state(&format!("{CAST} - +altering:select,alter"));
    scene.bench.agent.apply(&scene.state).await.unwrap();
    let altering = scene.bench.log_in("altering").await;
    altering
        .ok("/* retention */ alter table app.whole detach partition app.one concurrently; ")
        .await;
    altering
        .ok("alter table app.whole detach partition app.\"two concurrently\"")
        .await;
    assert_eq!(scene.dev.ok(attached).await, ["0"]);
    assert_eq!(altering.ok("select id from app.one").await, ["1"]);
    all_refused(
        &altering,
        &["explain analyze create table app.made as select 1"],
    )
    .await;
    scene.unharmed().await;
}

#[tokio::test]
async fn who_may_update_a_view_refreshes_it_either_way() {
    let mut scene = stage("+fresh:select,update - +blind:update - +still:select").await;
    for sql in [
        "create table app.base (id int); insert into app.base values (1), (2)",
        "create materialized view app.kept as select id from app.base",
        "create unique index on app.kept (id)",
        "delete from app.base where id = 1; insert into app.base values (3)",
    ] {
        scene.dev.ok(sql).await;
    }
    let fresh = scene.bench.log_in("fresh").await;
    let rows = "select string_agg(id::text, ' ' order by id) from app.kept";
    fresh
        .ok("/* hourly */ refresh materialized view concurrently app.kept;")
        .await;
    assert_eq!(fresh.ok(rows).await, ["2 3"]);
    scene.dev.ok("delete from app.base").await;
    fresh.ok("refresh materialized view app.kept").await;
    assert_eq!(fresh.ok(rows).await, ["NULL"]);
    // The rights that were lent are gone, from the view's owner, too.
    let rights = "select distinct a.privilege_type from pg_class c, aclexplode(c.relacl) a \
                  where c.oid = 'app.kept'::regclass and a.grantee in ('palisade_owner'::regrole, 'fresh'::regrole) \
                  and a.privilege_type <> 'MAINTAIN'";
    assert_eq!(scene.dev.ok(rights).await, ["TRIGGER"]);
    // Comparing row by row reads the view; reading its source needs `select` either way.
    let blind = scene.bench.log_in("blind").await;
    let still = scene.bench.log_in("still").await;
    for sql in [
        "refresh materialized view concurrently app.kept",
        "refresh materialized view app.kept",
        "/**/ refresh /**/ materialized view app.kept",
    ] {
        all_refused(&blind, &[sql]).await;
        all_refused(&still, &[sql]).await;
    }
    scene.unharmed().await;
}

// A comment in front of REFRESH hides it from no guard.
#[tokio::test]
async fn nothing_is_defined_within_a_refresh_in_disguise() {
    let mut scene = stage("+fresh:select,update").await;
    scene
        .dev
        .ok(
            "create function app.atk(sql text) returns int language plpgsql as \
             $$begin if current_query() ~* 'refresh' then execute sql; end if; return 1; end$$",
        )
        .await;
    scene
        .dev
        .ok("create materialized view app.kept as select 1 as id, app.atk('grant insert on app.secret to public')")
        .await;
    scene.dev.ok("create unique index on app.kept (id)").await;
    for sql in [
        "/* a */ refresh materialized view app.kept",
        "/* a /* b */ ' */ refresh -- $\n materialized view concurrently app.kept;",
        "refresh/**/materialized view app.kept",
        "; refresh materialized view app.kept",
        "select 1; refresh materialized view app.kept",
    ] {
        all_refused(&scene.dev, &[sql]).await;
    }
    scene.unharmed().await;
}

// Expressions over rows that may not be read: no comment hides what they are, and none is held against who may.
#[tokio::test]
async fn comments_hide_no_expression() {
    let mut scene = stage("+placing:alter,index - [placing app.open]=select,alter,index").await;
    scene
        .dev
        .ok("create table app.open (id int, word text)")
        .await;
    for sql in [
        "create /**/ index on app.secret (app.leaktext(word))",
        "create index on app.plain/* app.open */ (app.leaktext(word))",
        "create index on /* ' */ app.secret (app.leaktext(word)) -- '",
        "alter table app.secret /* \" */ add check (app.leak(word)) /* \" */",
        "alter table app.secret -- it's\n add check (app.leak(word)) -- it's",
        "alter table app.secret add check (app.leak(word)) -- app.open",
    ] {
        all_refused(&scene.mallory, &[sql]).await;
    }
    let placing = scene.bench.log_in("placing").await;
    for sql in [
        "create index /* by word */ on app.open (lower(word))",
        "/* migration 7 */ alter table app.open add check (id > 0 and word <> 'x')",
    ] {
        placing.ok(sql).await;
        let other = sql.replace("app.open", "app.secret");
        all_refused(&placing, &[&other]).await;
    }
    assert!(!placing.notices().contains(SECRET));
    scene.unharmed().await;
}

// The text is the client's: a deferred trigger runs under that of the statement which ends the transaction.
#[tokio::test]
async fn the_clients_text_says_nothing_of_what_a_function_does() {
    let mut scene = stage("+telling:select,insert,create,alter - [telling app.plain]=insert").await;
    for sql in [
        "create domain app.kind as text",
        "create table app.kinds (k app.kind)",
        "insert into app.kinds values ('hush-4711')",
        "create type app.en as enum ('a')",
    ] {
        scene.dev.ok(sql).await;
    }
    scene.state = state(&format!(
        "{CAST} - +telling:select,insert,create,alter - [telling app.kinds]=insert"
    ));
    scene.bench.agent.apply(&scene.state).await.unwrap();
    let telling = scene.bench.log_in("telling").await;
    for sql in [
        "do $$begin execute 'alter domain app.kind rename to k2'; end$$",
        "do $$begin alter type app.en rename to en2; end$$",
    ] {
        all_refused(&telling, &[sql]).await;
    }
    telling.ok("alter type app.en rename to en2").await;
    for sql in [
        "create table app.\"a\"\"b\" (a int)",
        "alter table app.\"a\"\"b\" rename to \"c\"\"d\"",
        "alter table app.\"c\"\"d\" add column b int",
    ] {
        telling.ok(sql).await;
    }
    scene.unharmed().await;
}

// For the statement that links a sequence to it, a table may have another owner: it is given back, whatever the name
// meant to PostgreSQL.
#[tokio::test]
async fn a_table_is_lent_to_its_sequence_for_the_statement() {
    let mut scene = stage(
        "+altering:select,alter - +placing:select,create,alter - [placing app.secret]=select",
    )
    .await;
    for sql in [
        "create table app.open (id int, word text)",
        "create table app.keyed (id int primary key, up int references app.keyed)",
        "create sequence app.there",
    ] {
        scene.dev.ok(sql).await;
    }
    let owners = "select relname || ' ' || pg_get_userbyid(relowner) from pg_class \
                  where relnamespace = 'app'::regnamespace and relkind in ('r', 'S') order by 1";
    let before = scene.dev.ok(owners).await;
    let altering = scene.bench.log_in("altering").await;
    let placing = scene.bench.log_in("placing").await;
    for (session, sql) in [
        (&altering, "create sequence app.s owned by app.open.id"),
        (&placing, "create sequence app.s owned by app.open.id"),
        (&scene.dev, "create sequence app.s owned by app.keyed.up"),
        (&scene.dev, "alter sequence app.there owned by app.keyed.up"),
    ] {
        for (begin, end) in [
            ("begin", "rollback"),
            ("select 1", "drop sequence if exists app.s"),
        ] {
            session.ok(begin).await;
            session.ok(sql).await;
            let owner = session
                .ok("select pg_get_userbyid(relowner) from pg_class where relname = 'open'")
                .await;
            assert_eq!(owner, ["palisade_owner"]);
            if session.run(end).await.is_err() {
                scene.dev.ok(end).await;
            }
        }
        scene.dev.ok("alter sequence app.there owned by none").await;
        assert_eq!(scene.dev.ok(owners).await, before, "{sql}");
    }
    for sql in [
        "create sequence app.s owned by app.secret.id",
        "create sequence app.s owned by app.plain.id increment by 2",
        "alter sequence app.there owned by app.secret.id",
    ] {
        let refused = placing.run(sql).await;
        assert_eq!(
            refused.is_err(),
            sql.contains("secret"),
            "{sql}: {refused:?}"
        );
    }
    scene.dev.ok("drop sequence app.s").await;
    // Names that mean something else, or nothing.
    for sql in [
        "create sequence if not exists app.there owned by app.open.id",
        "alter sequence if exists app.nowhere owned by app.open.id",
        "create temp table open (id int); create temp sequence there",
        "create sequence pg_temp.s owned by open.id",
        "alter sequence there owned by open.id",
    ] {
        scene.dev.ok(sql).await;
        assert_eq!(scene.dev.ok(owners).await, before, "{sql}");
    }
    scene.unharmed().await;
}
