//! The guards in the database: installing them, and finding what was changed on them by hand.

use tokio_postgres::Client;

use crate::error::Error;

/// The scripts in their order; each may be run again.
const SCRIPTS: [&str; 8] = [
    include_str!("sql/0_roles.sql"),
    include_str!("sql/1_tables.sql"),
    include_str!("sql/2_rights.sql"),
    include_str!("sql/3_settle.sql"),
    include_str!("sql/4_guards.sql"),
    include_str!("sql/5_ends.sql"),
    include_str!("sql/6_loans.sql"),
    include_str!("sql/7_database.sql"),
];

/// The event triggers with their events and functions.
const TRIGGERS: [(&str, &str, &str); 6] = [
    ("palisade_start", "ddl_command_start", "guard_start"),
    ("palisade_start_lend", "ddl_command_start", "guard_lend"),
    ("palisade_end", "ddl_command_end", "guard_end"),
    (
        "palisade_end_take_back",
        "ddl_command_end",
        "guard_take_back",
    ),
    ("palisade_drop", "sql_drop", "guard_drop"),
    ("palisade_rewrite", "table_rewrite", "guard_rewrite"),
];

/// The functions that run as the bootstrap superuser, for whoever fires or calls them.
const DEFINERS: [&str; 8] = [
    "on_start",
    "on_end",
    "on_drop",
    "on_rewrite",
    "has_loan",
    "guard_lend",
    "guard_take_back",
    "at_commit_2",
];

/// What each function pins; those that read PostgreSQL's context beside it; and the outer functions, for all that they
/// call.
const PINNED: &str = "search_path=pg_catalog, pg_temp";
const PINNED_IN_ENGLISH: [&str; 2] = [PINNED, "lc_messages=C"];
const PINNED_OUTSIDE: [&str; 4] = [
    PINNED,
    "quote_all_identifiers=off",
    "standard_conforming_strings=on",
    "transform_null_equals=off",
];

/// Installs all, or puts it right again, in one transaction.
pub(crate) async fn install(client: &mut Client) -> Result<(), Error> {
    const WHAT: &str = "install the guards";
    let transaction = client.transaction().await.map_err(Error::sql(WHAT))?;
    transaction
        .batch_execute("SET LOCAL client_min_messages = warning")
        .await
        .map_err(Error::sql(WHAT))?;
    for script in SCRIPTS {
        transaction
            .batch_execute(script)
            .await
            .map_err(Error::sql(WHAT))?;
    }
    transaction.commit().await.map_err(Error::sql(WHAT))
}

/// Whether the guards were ever installed here.
pub(crate) async fn is_installed(client: &Client) -> Result<bool, Error> {
    let row = client
        .query_one(
            "SELECT pg_catalog.to_regclass('palisade.meta') IS NOT NULL",
            &[],
        )
        .await
        .map_err(Error::sql("look for the guards"))?;
    Ok(row.get(0))
}

/// Each function's name and body, as the scripts have them.
fn functions() -> impl Iterator<Item = (&'static str, &'static str)> {
    SCRIPTS.iter().flat_map(|script| {
        script
            .split("CREATE OR REPLACE FUNCTION palisade.")
            .skip(1)
            .filter_map(|text| {
                let (name, rest) = text.split_once('(')?;
                let (_, rest) = rest.split_once("AS $palisade$")?;
                let (body, _) = rest.split_once("$palisade$")?;
                Some((name, body))
            })
    })
}

/// What of the guards is not as installed, a line each. Reads only.
pub(crate) async fn drift(client: &Client) -> Result<Vec<String>, Error> {
    const WHAT: &str = "look at the guards";
    let mut found = Vec::new();
    let rows = client
        .query(
            "SELECT p.proname::text, p.prosrc, p.prosecdef, p.proowner = 10, \
                    coalesce(p.proconfig, '{}') \
             FROM pg_catalog.pg_proc p WHERE p.pronamespace = 'palisade'::pg_catalog.regnamespace",
            &[],
        )
        .await
        .map_err(Error::sql(WHAT))?;
    for (name, body) in functions() {
        let outside = TRIGGERS.iter().any(|(_, _, function)| *function == name);
        let pinned = if outside {
            &PINNED_OUTSIDE[..]
        } else if ["on_start", "on_end"].contains(&name) {
            &PINNED_IN_ENGLISH[..]
        } else {
            &[PINNED]
        };
        let same = rows.iter().any(|row| {
            let (found, source, definer): (&str, &str, bool) = (row.get(0), row.get(1), row.get(2));
            found == name
                && source == body
                && definer == DEFINERS.contains(&name)
                && row.get::<_, bool>(3)
                && row.get::<_, Vec<&str>>(4) == pinned
        });
        if !same {
            found.push(format!(
                "function palisade.{name} was changed or is missing"
            ));
        }
    }
    if rows.len() != functions().count() {
        found.push("schema palisade has functions of someone else".to_owned());
    }
    let rows = client
        .query(
            "SELECT e.evtname::text, e.evtevent::text, p.proname::text, e.evtenabled = 'A' AND e.evttags IS NULL \
             FROM pg_catalog.pg_event_trigger e JOIN pg_catalog.pg_proc p ON p.oid = e.evtfoid \
             WHERE p.pronamespace = 'palisade'::pg_catalog.regnamespace",
            &[],
        )
        .await
        .map_err(Error::sql(WHAT))?;
    for (name, event, function) in TRIGGERS {
        let same = rows.iter().any(|row| {
            let (found, on, calls): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
            (found, on, calls) == (name, event, function) && row.get::<_, bool>(3)
        });
        if !same {
            found.push(format!(
                "event trigger {name} was changed, switched off or is missing"
            ));
        }
    }
    let row = client
        .query_one(
            "SELECT count(*) FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid \
             WHERE t.tgrelid = 'palisade.loans'::pg_catalog.regclass AND t.tgenabled = 'A' AND t.tginitdeferred \
               AND t.tgname ~ '^at_commit_[12]$' AND t.tgname = p.proname \
               AND p.pronamespace = 'palisade'::pg_catalog.regnamespace",
            &[],
        )
        .await
        .map_err(Error::sql(WHAT))?;
    if row.get::<_, i64>(0) != 2 {
        found
            .push("a trigger on palisade.loans was changed, switched off or is missing".to_owned());
    }
    if !found.is_empty() {
        // What follows asks a function of the guards.
        return Ok(found);
    }
    found.extend(openings(client).await?);
    let rows = client
        .query(
            "SELECT x.line FROM palisade.strays() x UNION ALL SELECT x.line FROM palisade.openings() x UNION ALL \
             SELECT 'what stops REASSIGN OWNED is not in its place' WHERE NOT palisade.stays()",
            &[],
        )
        .await
        .map_err(Error::sql(WHAT))?;
    found.extend(rows.iter().map(|row| row.get::<_, String>(0)));
    Ok(found)
}

/// Grants on what is not a relation of the users: the database, Palisade's schema, large objects' functions.
async fn openings(client: &Client) -> Result<Vec<String>, Error> {
    let rows = client
        .query(
            "SELECT 'database ' || d.datname || ' is open to ' || \
                    CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::pg_catalog.regrole::text END \
             FROM pg_catalog.pg_database d, \
                  pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) a \
             WHERE a.grantee <> d.datdba AND (d.datname <> pg_catalog.current_database() AND a.grantee = 0 \
                OR d.datname = pg_catalog.current_database() \
                   AND (CASE a.grantee WHEN 0 THEN '' ELSE a.grantee::pg_catalog.regrole::text END, a.privilege_type) \
                       NOT IN (('palisade_login', 'CONNECT'), ('palisade_temp', 'TEMPORARY'), ('palisade_make', 'CREATE'))) \
             UNION ALL \
             SELECT 'relation ' || c.oid::pg_catalog.regclass::text || ' is open to ' || \
                    CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::pg_catalog.regrole::text END \
             FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a \
             WHERE a.grantee <> c.relowner AND (c.relnamespace = 'palisade'::pg_catalog.regnamespace \
                    AND c.relname NOT IN ('acl', 'my_rights') \
                OR c.oid IN ('pg_catalog.pg_stats'::pg_catalog.regclass, 'pg_catalog.pg_stats_ext'::pg_catalog.regclass, \
                             'pg_catalog.pg_stats_ext_exprs'::pg_catalog.regclass)) \
             UNION ALL \
             SELECT 'function ' || p.oid::pg_catalog.regprocedure::text || ' is open to PUBLIC' \
             FROM pg_catalog.pg_proc p, pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) a \
             WHERE p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace AND a.grantee = 0 \
               AND p.proname IN ('lo_creat', 'lo_create', 'lo_from_bytea', 'lo_get', 'lo_open', 'lo_put', 'lo_unlink', \
                                 'loread', 'lowrite') \
             ORDER BY 1",
            &[],
        )
        .await
        .map_err(Error::sql("look at the grants on the database"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_found_in_the_scripts() {
        let names: Vec<&str> = functions().map(|(name, _)| name).collect();
        let declared: usize = SCRIPTS
            .iter()
            .map(|s| s.matches("CREATE OR REPLACE FUNCTION").count())
            .sum();
        assert_eq!(names.len(), declared);
        for name in DEFINERS
            .iter()
            .chain(TRIGGERS.iter().map(|(_, _, function)| function))
        {
            assert!(names.contains(name), "{name}");
        }
    }

    #[test]
    fn only_the_definers_run_as_the_superuser() {
        let definers = SCRIPTS.concat().matches("SECURITY DEFINER SET").count();
        assert_eq!(definers, DEFINERS.len());
    }
}
