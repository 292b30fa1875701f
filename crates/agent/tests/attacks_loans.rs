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
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Whoever defines something: by flag, and by an exception.
const LIMITED: &str = "+altering:select,alter - +indexing:select,index - +dropping:select,drop - +granting:select,grant \
     - [granting app]=select,grant - +placing:select - [placing app]=select,create,alter \
     - +barred:select,create - [barred app.later]=select \
     - +shaping:select,update,delete,index,alter - +watching:select,alter,system - +handy:select,index - [handy mine]=select,create";

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

/// PL/pgSQL that takes the role that this user is lent; from version 16 on PostgreSQL refuses it.
fn take_role(user: &str) -> String {
    format!(
        "perform set_config('role', (select r.rolname from pg_auth_members a join pg_roles r on r.oid = a.roleid \
         where a.member = '{user}'::regrole and r.rolname ~ '^palisade_lent'), false);"
    )
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

// Statements of which a part is a guard's own, PostgreSQL's own, or some function's.
#[tokio::test]
async fn what_statements_are_made_of_does_not_matter() {
    let mut scene = stage().await;
    for sql in [
        "create temp table t1 (id int); create table app.placed (id int); drop table app.placed, t1",
        "create temp table t1 as select app.say('create table app.placed (id int);') as a; drop table app.placed, t1",
        "create temp table t1 as select 1 as a; create table app.placed as table t1; drop table app.placed, t1",
        "create materialized view app.made_so as select app.say('alter table app.other add n int;') as a",
        "drop materialized view app.made_so; alter table app.other drop n",
        "create materialized view app.kept as select 1 as a",
        "create unique index on app.kept (a)",
        "refresh materialized view app.kept",
        "refresh materialized view concurrently app.kept",
        "drop materialized view app.kept",
        "create index i on app.open (id); alter index app.i rename to j; drop index app.j",
        "create type app.pair as (a int); alter type app.pair add attribute b int; alter type app.pair rename attribute a to c",
        "drop type app.pair",
        "create table app.placed (id int primary key) partition by list (id)",
        "create table app.one (id int not null)",
        "create unique index one_key on app.one (id); alter table app.placed attach partition app.one for values in (1)",
        "alter index app.placed_pkey rename to placed_key; drop table app.placed",
        "begin isolation level serializable; create temp table t1 (id int); select 1 as a into temp t2; commit",
    ] {
        scene.dev.ok(sql).await;
    }
    nothing_is_left(&scene, &scene.dev).await;
    // A table in another schema is one that was made there.
    let placing = scene.bench.log_in("placing").await;
    placing.ok("create table app.placed (id int)").await;
    all_refused(&placing, &["alter table app.placed set schema public"]).await;
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
            "select palisade.lend('', true)",
            "select palisade.take_back('')",
            "update palisade.loans set member = 'altering'",
            "grant palisade_lent_1 to altering",
        ],
    )
    .await;
    for function in [
        "guard_lend",
        "guard_take_back",
        "at_commit_1",
        "at_commit_2",
    ] {
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
    let take = take_role("altering");
    let takes_roles = scene.bench.version().await < 16;
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
            let by_postgres = told.contains("permission denied to set role");
            assert!(
                told.contains("ran code that") || by_postgres && !takes_roles,
                "{body}: {told}"
            );
            altering.ok(around.1).await;
            nothing_is_left(&scene, &altering).await;
        }
    }
    // What SET ROLE took and SET LOCAL hides until the transaction ends.
    for around in [("select 1", "select 1"), ("begin", "commit")] {
        altering.ok(around.0).await;
        let passed = altering
            .run(&format!(
                "alter table app.open alter id type int \
                 using app.say($q${take} set local role none;$q$) + id * 0"
            ))
            .await;
        assert_eq!(passed.is_ok(), takes_roles, "{passed:?}");
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

// SET CONSTRAINTS fires deferred triggers before their time: what ends a loan is none but for CONCURRENTLY.
#[tokio::test]
async fn set_constraints_ends_no_check() {
    let mut scene = stage().await;
    for sql in [
        "create table app.parted (id int) partition by list (id)",
        "create table app.part (id int)",
        "create schema mine",
    ] {
        scene.dev.ok(sql).await;
    }
    let altering = scene.bench.log_in("altering").await;
    for first in [
        "set constraints all immediate",
        "set constraints palisade.at_commit_1, palisade.at_commit_2 immediate",
    ] {
        altering.ok("begin").await;
        altering.ok(first).await;
        altering
            .ok("alter table app.open add constraint u unique (id)")
            .await;
        altering.ok("alter table app.open drop constraint u").await;
        altering.ok("commit").await;
        nothing_is_left(&scene, &altering).await;
        altering
            .ok(&format!(
                "do $$begin {first}; alter table app.open add constraint u unique (id); end$$"
            ))
            .await;
        altering.ok("alter table app.open drop constraint u").await;
        nothing_is_left(&scene, &altering).await;
    }
    let take = take_role("altering");
    let takes_roles = scene.bench.version().await < 16;
    let make = "execute 'explain analyze create table app.made as select 1';";
    let rename = "alter table app.other rename to other2; alter table app.other2 rename to other;";
    for now in [
        "set constraints all immediate;",
        "set constraints palisade.at_commit_2 immediate;",
    ] {
        for (code, passes) in [
            (format!("{take} set local role none; {now}"), true),
            (format!("{now} {take} set local role none;"), true),
            (format!("{take} {now}"), false),
            (format!("{now} {rename} {make}"), false),
        ] {
            let sql = format!(
                "alter table app.parted attach partition app.part for values in (3 + app.say($q${code}$q$))"
            );
            if passes && takes_roles {
                altering.ok(&sql).await;
                altering
                    .ok("alter table app.parted detach partition app.part")
                    .await;
            } else {
                altering.refused(&sql).await;
            }
            assert_eq!(altering.ok("select current_user").await, ["altering"]);
            nothing_is_left(&scene, &altering).await;
        }
    }
    // The parameters of EXECUTE; by who may create in one schema alone.
    let placing = scene.bench.log_in("placing").await;
    placing.ok("prepare p(int) as select $1 as a").await;
    let take = take_role("placing");
    let make = "execute 'explain analyze create table public.made as select 1';";
    for code in [
        format!("{take} set constraints all immediate; {make}"),
        make.to_owned(),
    ] {
        placing
            .refused(&format!(
                "create table app.placed as execute p(app.say($q${code}$q$))"
            ))
            .await;
        assert_eq!(placing.ok("select current_user").await, ["placing"]);
        nothing_is_left(&scene, &placing).await;
    }
    scene.unharmed().await;
}

// What she makes goes to a role that she leaves in the same statement.
#[tokio::test]
async fn what_the_code_made_is_found_whoever_owns_it() {
    let mut scene = stage().await;
    scene.state = state(&format!(
        "{CAST} - {LIMITED} - [shaping app.third]=select,alter,index"
    ));
    scene.bench.agent.apply(&scene.state).await.unwrap();
    scene.dev.ok("insert into app.open values (1, 'x')").await;
    scene.dev.ok("create table app.third (id int)").await;
    let shaping = scene.bench.log_in("shaping").await;
    let make = "execute 'explain analyze create table app.made as select 1 as id';";
    for code in [
        "execute 'reassign owned by shaping to palisade_keys'; create unique index on app.made (id);
         alter table app.third add foreign key (id) references app.made (id);",
        "execute 'reassign owned by shaping to palisade_select';",
        "execute 'reassign owned by shaping to palisade_keys'; create index on app.made (id);",
    ] {
        let sql = format!("alter table app.open alter id type int using app.say($q${make} {code}$q$) + id * 0");
        shaping.refused(&sql).await;
        nothing_is_left(&scene, &shaping).await;
    }
    // A role of PostgreSQL's own that who has `system` is in.
    let watching = scene.bench.log_in("watching").await;
    let is_in = "select pg_has_role('watching', 'pg_monitor', 'member')";
    assert_eq!(watching.ok(is_in).await, ["t"]);
    let told = watching
        .refused(&format!(
            "alter table app.open alter id type int \
             using app.say($q${make} execute 'reassign owned by watching to pg_monitor';$q$) + id * 0"
        ))
        .await;
    assert!(told.contains("ran code that"), "{told}");
    nothing_is_left(&scene, &watching).await;
    scene.unharmed().await;
}

// What a role owns that is lent, it would own for good: a temporary table whose cascades run as it.
#[tokio::test]
async fn nothing_is_left_to_a_role_that_is_lent() {
    let mut scene = stage().await;
    let placing = scene.bench.log_in("placing").await;
    placing.ok("set role palisade_temp").await;
    placing
        .ok("create temp table pk (id int primary key)")
        .await;
    placing.ok("reset role").await;
    placing
        .ok("create temp table fk (id int references pk on delete cascade)")
        .await;
    let told = placing
        .refused(
            "create table app.placed as select app.say($q$execute 'reassign owned by \"placing\" to palisade_make';$q$) as a",
        )
        .await;
    assert!(told.contains("ran code that"), "{told}");
    nothing_is_left(&scene, &placing).await;
    let owns = "select count(*) from pg_class where relowner = 'palisade_make'::regrole";
    assert_eq!(scene.dev.ok(owns).await, ["0"]);
    scene.unharmed().await;
}

// PostgreSQL tells the guards nothing of what is defined within REFRESH.
#[tokio::test]
async fn nothing_is_defined_within_refresh() {
    let mut scene = stage().await;
    scene
        .dev
        .ok(
            "create function app.atk(sql text) returns int language plpgsql as \
             $$begin if current_query() ~* '^\\s*refresh' then execute sql; end if; return 1; end$$",
        )
        .await;
    for (n, code) in [
        "grant insert, delete on app.secret to public",
        "create function app.late() returns int language sql as $f$select 1$f$",
        "alter table app.other add n int",
    ]
    .into_iter()
    .enumerate()
    {
        for sql in [
            format!(
                "create materialized view app.kept{n} as select 1 as a, app.atk($q${code}$q$) as b"
            ),
            format!("create unique index on app.kept{n} (a)"),
        ] {
            scene.dev.ok(&sql).await;
        }
        all_refused(
            &scene.dev,
            &[
                &format!("refresh materialized view app.kept{n}"),
                &format!("refresh materialized view concurrently app.kept{n}"),
            ],
        )
        .await;
    }
    scene.unharmed().await;
}

// A guard, called by hand in the midst with a tag of one's choice.
#[tokio::test]
async fn nobody_calls_a_guard_by_hand() {
    let mut scene = stage().await;
    let shaping = scene.bench.log_in("shaping").await;
    scene
        .dev
        .ok("create table app.third (id int, word text)")
        .await;
    shaping
        .ok("alter table app.third add column n int generated by default as identity")
        .await;
    for last in [
        ", alter column id type int using (palisade.on_end('x', 'CREATE TABLE') is null)::int * 0 + id",
        "",
    ] {
        shaping
            .refused(&format!(
                "alter table app.third alter word set default app.say('null;')::text, alter n set increment by 2{last}"
            ))
            .await;
    }
    for call in [
        "on_end('x', 'CREATE TABLE')",
        "on_start('x', 'REFRESH MATERIALIZED VIEW')",
    ] {
        all_refused(&shaping, &[&format!("select palisade.{call}")]).await;
    }
    scene.unharmed().await;
}

// A user's own deferred trigger runs at the first commit of CONCURRENTLY, before what ends the loan: planning a
// statement in front of it, in the same transaction, has queued it.
#[tokio::test]
async fn a_deferred_trigger_at_the_first_commit_keeps_nothing() {
    let mut scene = stage().await;
    scene.dev.ok("create schema mine").await;
    let take = take_role("handy");
    let takes_roles = scene.bench.version().await < 16;
    let made = "execute 'explain analyze create table app.made as select 1';";
    for (n, (code, passes)) in [
        ("perform 1;".to_owned(), true),
        (format!("{take} set local role none;"), true),
        (take.clone(), false),
        ("set constraints all immediate;".to_owned(), true),
        (
            format!("{take} set constraints palisade.at_commit_2 immediate;"),
            false,
        ),
        (made.to_owned(), false),
    ]
    .into_iter()
    .enumerate()
    {
        let mut raw = Raw::open(&scene.bench.endpoint, "handy").await;
        for sql in [
            "create temp table queue (a int)",
            &format!(
                "create function mine.at_end{n}() returns trigger language plpgsql as $t$begin {code} return null; end$t$"
            ),
            &format!(
                "create constraint trigger t after insert on queue deferrable initially deferred \
                 for each row execute function mine.at_end{n}()"
            ),
            &format!(
                "create function mine.fill{n}() returns int language plpgsql as \
                 $$begin insert into pg_temp.queue values (1); return 1; end$$"
            ),
            &format!(
                "create function mine.fixed{n}() returns int language plpgsql immutable as \
                 $$begin return mine.fill{n}(); end$$"
            ),
        ] {
            assert_eq!(raw.query(sql).await, None, "{sql}");
        }
        raw.parse_and_bind("one", &format!("select mine.fixed{n}()"));
        raw.parse_and_bind("", "create index concurrently i on app.other (id)");
        let refused = raw.execute().await;
        let passes = passes && (takes_roles || !code.contains(&take));
        assert_eq!(refused.is_none(), passes, "{code}: {refused:?}");
        let explain = "explain analyze create table app.made as select 1";
        let told = raw.query(explain).await.unwrap();
        assert!(
            told.contains("permission denied for schema"),
            "{code}: {told}"
        );
        scene.bench.by_hand("drop index if exists app.i").await;
        let handy = scene.bench.log_in("handy").await;
        nothing_is_left(&scene, &handy).await;
    }
    scene.unharmed().await;
}

/// The extended protocol by hand: two statements in one transaction without BEGIN.
struct Raw {
    stream: tokio::net::UnixStream,
    out: Vec<u8>,
}

impl Raw {
    async fn open(endpoint: &palisade_agent::Endpoint, user: &str) -> Self {
        let socket = endpoint
            .socket_dir
            .join(format!(".s.PGSQL.{}", endpoint.port));
        let mut raw = Self {
            stream: tokio::net::UnixStream::connect(socket).await.unwrap(),
            out: Vec::new(),
        };
        let body = format!("\0\u{3}\0\0user\0{user}\0database\0main\0\0");
        raw.length_and(body.as_bytes());
        assert_eq!(raw.send().await, None);
        raw
    }

    fn length_and(&mut self, body: &[u8]) {
        let length = u32::try_from(body.len() + 4).unwrap();
        self.out.extend_from_slice(&length.to_be_bytes());
        self.out.extend_from_slice(body);
    }

    fn message(&mut self, kind: u8, body: &str) {
        self.out.push(kind);
        self.length_and(body.as_bytes());
    }

    async fn query(&mut self, sql: &str) -> Option<String> {
        self.message(b'Q', &format!("{sql}\0"));
        self.send().await
    }

    fn parse_and_bind(&mut self, name: &str, sql: &str) {
        self.message(b'P', &format!("{name}\0{sql}\0\0\0"));
        self.message(b'B', &format!("{name}\0{name}\0\0\0\0\0\0\0"));
    }

    /// Executes what was bound last.
    async fn execute(&mut self) -> Option<String> {
        self.message(b'E', "\0\0\0\0\0");
        self.message(b'S', "");
        self.send().await
    }

    /// Reads on to `ReadyForQuery`; the error, if there was one.
    async fn send(&mut self) -> Option<String> {
        let out = std::mem::take(&mut self.out);
        self.stream.write_all(&out).await.unwrap();
        let mut error = None;
        loop {
            let kind = self.stream.read_u8().await.unwrap();
            let length = usize::try_from(self.stream.read_u32().await.unwrap()).unwrap() - 4;
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body).await.unwrap();
            match kind {
                b'E' => error = Some(String::from_utf8_lossy(&body).into_owned()),
                b'Z' => return error,
                _ => {}
            }
        }
    }
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
        .by_hand("alter table palisade.loans disable trigger at_commit_2")
        .await;
    let drift = scene.bench.agent.check_drift(&scene.state).await.unwrap();
    assert!(!drift.is_clean());
    scene.bench.agent.mend(&scene.state).await.unwrap();
    assert_eq!(borrowers(&scene).await, Vec::<String>::new());
    let drift = scene.bench.agent.check_drift(&scene.state).await.unwrap();
    assert!(drift.is_clean(), "{drift:?}");
    scene.unharmed().await;
}
