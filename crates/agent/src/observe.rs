//! What PostgreSQL has now: the list of objects, and the picture of everything that Palisade decides.
//!
//! A few queries over whole catalogues, in one snapshot. Nothing is changed.

use std::collections::{BTreeMap, BTreeSet};

use palisade_rights::{
    Catalog, Grant, Picture, Relation, RelationKind, Rights, Role, Schema, UserRow,
    quote_identifier,
};
use tokio_postgres::{Client, IsolationLevel, Row, Transaction};

use crate::error::Error;

const WHAT: &str = "observe";

/// Of the roles `r`: those that are Palisade's. Everyone in `palisade.users`, and our own groups.
const OUR_ROLE: &str = "(r.rolname::text ~ '^palisade_' OR EXISTS (SELECT 1 FROM palisade.users u \
     WHERE u.name = r.rolname::text) OR r.rolname::text = ANY ($1))";

/// Of the relations or schemas `o` with their owner `r`: those that are Palisade's.
const OUR_OBJECT: &str = "(r.oid = 10 OR r.rolname = 'pg_database_owner' OR r.rolname::text ~ '^palisade_' \
     OR EXISTS (SELECT 1 FROM palisade.users u WHERE u.name = r.rolname::text) \
     OR EXISTS (SELECT 1 FROM palisade.objects k WHERE k.class = o.tableoid AND k.oid = o.oid))";

/// Schemas `n` that hold users' objects.
const USERS_SCHEMA: &str =
    "n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'palisade')";

/// What was seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observed {
    /// The generation of the last executed plan.
    pub(crate) generation: i64,
    /// The managed objects.
    pub(crate) catalog: Catalog,
    /// Everything that Palisade decides.
    pub(crate) picture: Picture,
    /// What Palisade does not manage, a line each.
    pub(crate) foreign: Vec<String>,
}

/// The list of objects alone.
pub(crate) async fn catalog(client: &mut Client) -> Result<Catalog, Error> {
    let snapshot = snapshot(client).await?;
    let (schemas, relations) = objects(&snapshot).await?;
    catalog_of(&snapshot, &schemas, &relations).await
}

/// Everything. `names` are the ledger's users: a role so called is Palisade's even before its first plan.
pub(crate) async fn observe(client: &mut Client, names: &[String]) -> Result<Observed, Error> {
    let snapshot = snapshot(client).await?;
    let generation = snapshot
        .query_one("SELECT generation FROM palisade.meta", &[])
        .await
        .map_err(Error::sql(WHAT))?
        .get(0);
    let (schemas, relations) = objects(&snapshot).await?;
    let mut seen = Observed {
        generation,
        catalog: catalog_of(&snapshot, &schemas, &relations).await?,
        ..Observed::default()
    };
    for object in &schemas {
        seen.picture.schemas.insert(object.oid, object.rights());
    }
    for object in &relations {
        seen.picture.relations.insert(object.oid, object.rights());
    }
    grants(&snapshot, &mut seen.picture).await?;
    roles(&snapshot, names, &mut seen).await?;
    members(&snapshot, names, &mut seen.picture).await?;
    rows(&snapshot, &mut seen.picture).await?;
    foreign_objects(&snapshot, &mut seen.foreign).await?;
    Ok(seen)
}

async fn snapshot(client: &mut Client) -> Result<Transaction<'_>, Error> {
    let begin = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true);
    let transaction = begin.start().await.map_err(Error::sql(WHAT))?;
    // Names come out qualified, and nobody's functions are called.
    transaction
        .batch_execute("SET LOCAL search_path = pg_catalog")
        .await
        .map_err(Error::sql(WHAT))?;
    Ok(transaction)
}

struct Object {
    oid: u32,
    schema: String,
    name: Option<String>,
    kind: Option<RelationKind>,
    owner: String,
    parent: Option<u32>,
    keyed: bool,
    invoker: bool,
}

impl Object {
    fn of_schema(row: &Row) -> Self {
        Self {
            oid: row.get(0),
            schema: row.get(1),
            name: None,
            kind: None,
            owner: row.get(2),
            parent: None,
            keyed: false,
            invoker: true,
        }
    }

    fn of_relation(row: &Row) -> Self {
        let kind = match row.get(3) {
            "S" => RelationKind::Sequence,
            "v" => RelationKind::View,
            _ => RelationKind::Table,
        };
        Self {
            oid: row.get(0),
            schema: row.get(1),
            name: row.get(2),
            kind: Some(kind),
            owner: row.get(4),
            parent: row.get(5),
            keyed: row.get(6),
            invoker: row.get(7),
        }
    }

    fn rights(&self) -> Rights {
        let schema = quote_identifier(&self.schema);
        let follows = self.kind == Some(RelationKind::Sequence) && self.parent.is_some();
        Rights {
            kind: self.kind,
            label: match &self.name {
                Some(name) => format!("{schema}.{}", quote_identifier(name)),
                None => schema,
            },
            owner: (!follows).then(|| self.owner.clone()),
            grants: BTreeMap::new(),
            irregular: BTreeSet::new(),
            invoker: self.invoker,
        }
    }
}

async fn objects(snapshot: &Transaction<'_>) -> Result<(Vec<Object>, Vec<Object>), Error> {
    let schemas = format!(
        "SELECT o.oid, o.nspname::text, r.rolname::text FROM pg_namespace o JOIN pg_roles r ON r.oid = o.nspowner \
         WHERE {} AND {OUR_OBJECT} AND NOT EXISTS (SELECT 1 FROM pg_depend d \
             WHERE d.classid = o.tableoid AND d.objid = o.oid AND d.deptype = 'e')",
        USERS_SCHEMA.replace("n.", "o.")
    );
    let relations = format!(
        "WITH keyed AS ( \
             SELECT conrelid AS oid FROM pg_constraint WHERE contype = 'f' \
             UNION SELECT confrelid FROM pg_constraint WHERE contype = 'f' \
         ), linked AS ( \
             SELECT DISTINCT ON (d.objid) d.objid, d.refobjid FROM pg_depend d JOIN pg_class s ON s.oid = d.objid \
             WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 \
               AND d.deptype IN ('a', 'i') AND s.relkind = 'S' \
         ), extended AS ( \
             SELECT d.objid FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'e' \
         ) \
         SELECT o.oid, n.nspname::text, o.relname::text, o.relkind::text, r.rolname::text, \
                coalesce(l.refobjid, i.inhparent), \
                k.oid IS NOT NULL, \
                o.relkind <> 'v' OR coalesce(o.reloptions @> '{{security_invoker=true}}', false) \
         FROM pg_class o JOIN pg_namespace n ON n.oid = o.relnamespace JOIN pg_roles r ON r.oid = o.relowner \
         LEFT JOIN linked l ON l.objid = o.oid \
         LEFT JOIN pg_inherits i ON i.inhrelid = o.oid AND o.relispartition \
         LEFT JOIN keyed k ON k.oid = coalesce(l.refobjid, o.oid) \
         WHERE o.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND o.relpersistence <> 't' \
           AND {USERS_SCHEMA} AND {OUR_OBJECT} AND o.oid NOT IN (SELECT objid FROM extended)"
    );
    let schemas = snapshot
        .query(&schemas, &[])
        .await
        .map_err(Error::sql(WHAT))?;
    let relations = snapshot
        .query(&relations, &[])
        .await
        .map_err(Error::sql(WHAT))?;
    Ok((
        schemas.iter().map(Object::of_schema).collect(),
        relations.iter().map(Object::of_relation).collect(),
    ))
}

async fn catalog_of(
    snapshot: &Transaction<'_>,
    schemas: &[Object],
    relations: &[Object],
) -> Result<Catalog, Error> {
    let maintain = snapshot
        .query_one(
            "SELECT current_setting('server_version_num')::int >= 170000",
            &[],
        )
        .await
        .map_err(Error::sql(WHAT))?
        .get(0);
    let schemas = schemas.iter().map(|object| {
        let schema = Schema {
            name: object.schema.clone(),
        };
        (object.oid, schema)
    });
    let relations = relations.iter().filter_map(|object| {
        let relation = Relation {
            schema: object.schema.clone(),
            name: object.name.clone()?,
            kind: object.kind?,
            parent: object.parent,
            keyed: object.keyed,
        };
        Some((object.oid, relation))
    });
    Ok(Catalog::new(schemas, relations).with_maintain(maintain))
}

/// The grants on schemas, relations and columns.
async fn grants(snapshot: &Transaction<'_>, picture: &mut Picture) -> Result<(), Error> {
    const GRANTS: &str = "SELECT o.oid, g.rolname::text, a.privilege_type, a.is_grantable, a.grantor <> o.owner \
         FROM (SELECT oid, relacl AS acl, relowner AS owner, CASE relkind WHEN 'S' THEN 's' ELSE 'r' END AS kind \
               FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND relpersistence <> 't' AND oid >= 16384 \
               UNION ALL SELECT oid, nspacl, nspowner, 'n' FROM pg_namespace WHERE nspname !~ '^pg_') o, \
              aclexplode(coalesce(o.acl, acldefault(o.kind::\"char\", o.owner))) a \
         LEFT JOIN pg_roles g ON g.oid = a.grantee";
    const COLUMNS: &str = "SELECT c.attrelid, format('%s (%I) to %s', a.privilege_type, c.attname, \
                CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END) \
         FROM pg_attribute c, aclexplode(c.attacl) a WHERE c.attacl IS NOT NULL AND c.attrelid >= 16384";
    for row in snapshot
        .query(GRANTS, &[])
        .await
        .map_err(Error::sql(WHAT))?
    {
        let oid = row.get(0);
        let Some(rights) = picture
            .relations
            .get_mut(&oid)
            .or_else(|| picture.schemas.get_mut(&oid))
        else {
            continue;
        };
        let grantee = row
            .get::<_, Option<String>>(1)
            .unwrap_or_else(|| "PUBLIC".to_owned());
        let word: &str = row.get(2);
        if row.get(3) {
            rights
                .irregular
                .insert(format!("{grantee} may pass on {word}"));
        }
        if row.get(4) {
            rights.irregular.insert(format!(
                "{word} was given to {grantee} by another than the owner"
            ));
        }
        let held = rights.grants.entry(grantee).or_default();
        held.insert(Grant::from_word(word));
    }
    for row in snapshot
        .query(COLUMNS, &[])
        .await
        .map_err(Error::sql(WHAT))?
    {
        if let Some(rights) = picture.relations.get_mut(&row.get(0)) {
            rights.irregular.insert(row.get(1));
        }
    }
    Ok(())
}

async fn roles(
    snapshot: &Transaction<'_>,
    names: &[String],
    seen: &mut Observed,
) -> Result<(), Error> {
    let query = format!(
        "SELECT r.rolname::text, r.rolcanlogin, r.rolpassword, \
                r.rolinherit AND NOT (r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls) \
                AND r.rolconnlimit = -1 AND coalesce(r.rolvaliduntil = 'infinity', true) \
                AND NOT EXISTS (SELECT 1 FROM pg_db_role_setting s WHERE s.setrole = r.oid), \
                {OUR_ROLE} \
         FROM pg_authid r WHERE r.rolname !~ '^pg_' AND r.oid <> 10"
    );
    for row in snapshot
        .query(&query, &[&names])
        .await
        .map_err(Error::sql(WHAT))?
    {
        let name: String = row.get(0);
        if !row.get::<_, bool>(4) {
            seen.foreign.push(format!("role {name}"));
            continue;
        }
        let role = Role {
            login: row.get(1),
            plain: row.get(3),
            verifier: row.get(2),
        };
        seen.picture.roles.insert(name, role);
    }
    Ok(())
}

/// Memberships in our groups, and of our users in any.
async fn members(
    snapshot: &Transaction<'_>,
    names: &[String],
    picture: &mut Picture,
) -> Result<(), Error> {
    let query = format!(
        "SELECT g.rolname::text, m.rolname::text, a.admin_option FROM pg_auth_members a \
         JOIN pg_roles g ON g.oid = a.roleid JOIN pg_roles m ON m.oid = a.member \
         WHERE m.oid <> 10 AND ({} OR {}) AND m.rolname !~ '^pg_'",
        OUR_ROLE.replace("r.", "g."),
        OUR_ROLE.replace("r.", "m.")
    );
    for row in snapshot
        .query(&query, &[&names])
        .await
        .map_err(Error::sql(WHAT))?
    {
        let (group, member): (String, String) = (row.get(0), row.get(1));
        if row.get(2) {
            let admins = picture.admins.entry(group.clone()).or_default();
            admins.insert(member.clone());
        }
        picture.members.entry(group).or_default().insert(member);
    }
    Ok(())
}

/// The tables that the guards read.
async fn rows(snapshot: &Transaction<'_>, picture: &mut Picture) -> Result<(), Error> {
    let users = "SELECT name, uid, defaults, superuser, enabled FROM palisade.users";
    for row in snapshot.query(users, &[]).await.map_err(Error::sql(WHAT))? {
        // What is out of range was written by hand; zero stands for it, and differs.
        let user = UserRow {
            uid: u32::try_from(row.get::<_, i64>(1)).unwrap_or(0),
            defaults: u32::try_from(row.get::<_, i32>(2)).unwrap_or(0),
            superuser: row.get(3),
            enabled: row.get(4),
        };
        picture.users.insert(row.get(0), user);
    }
    let acls = "SELECT schema, name, user_name, privileges FROM palisade.acls";
    for row in snapshot.query(acls, &[]).await.map_err(Error::sql(WHAT))? {
        let key = (row.get(0), row.get(1), row.get(2));
        let privileges = u32::try_from(row.get::<_, i32>(3)).unwrap_or(u32::MAX);
        picture.acls.insert(key, privileges);
    }
    Ok(())
}

async fn foreign_objects(snapshot: &Transaction<'_>, found: &mut Vec<String>) -> Result<(), Error> {
    let query = format!(
        "SELECT format('%I.%I, which belongs to the role %s', n.nspname, o.relname, r.rolname) \
         FROM pg_class o JOIN pg_namespace n ON n.oid = o.relnamespace JOIN pg_roles r ON r.oid = o.relowner \
         WHERE o.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND o.relpersistence <> 't' AND {USERS_SCHEMA} \
           AND NOT {OUR_OBJECT} \
         UNION ALL \
         SELECT format('schema %I, which belongs to the role %s', o.nspname, r.rolname) \
         FROM pg_namespace o JOIN pg_roles r ON r.oid = o.nspowner WHERE {} AND NOT {OUR_OBJECT} \
         UNION ALL \
         SELECT format('event trigger %I', e.evtname) FROM pg_event_trigger e JOIN pg_proc p ON p.oid = e.evtfoid \
         WHERE p.pronamespace <> 'palisade'::regnamespace \
         ORDER BY 1",
        USERS_SCHEMA.replace("n.", "o.")
    );
    let rows = snapshot
        .query(&query, &[])
        .await
        .map_err(Error::sql(WHAT))?;
    found.extend(rows.iter().map(|row| row.get::<_, String>(0)));
    Ok(())
}
