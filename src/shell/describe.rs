//! The catalogue queries behind `\d` and its like. Pure: it only writes SQL.
//!
//! Every function and table of the catalogue is named with its schema: what a user has created in
//! his own schema must not answer in their place.

use super::sql;

/// A describing command, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Describe {
    pub(super) kind: Kind,
    pub(super) pattern: Option<String>,
    /// System objects, too.
    pub(super) system: bool,
    /// More columns.
    pub(super) more: bool,
}

/// What to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Relations,
    Tables,
    Views,
    MaterializedViews,
    Indexes,
    Sequences,
    Functions,
    Schemas,
    Roles,
    Privileges,
    Databases,
}

/// `relkind` in words (`pg_class`).
const RELATION_TYPE: &str = "CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' \
     WHEN 'm' THEN 'materialized view' WHEN 'i' THEN 'index' WHEN 'S' THEN 'sequence' \
     WHEN 'f' THEN 'foreign table' WHEN 'p' THEN 'partitioned table' \
     WHEN 'I' THEN 'partitioned index' END";

impl Describe {
    /// The query that lists; for `\d PATTERN` see [`matching_relations`].
    pub(super) fn list(&self) -> String {
        match self.kind {
            Kind::Relations => self.relations("'r','p','v','m','S','f'"),
            Kind::Tables => self.relations("'r','p'"),
            Kind::Views => self.relations("'v'"),
            Kind::MaterializedViews => self.relations("'m'"),
            Kind::Indexes => self.relations("'i','I'"),
            Kind::Sequences => self.relations("'S'"),
            Kind::Functions => self.functions(),
            Kind::Schemas => self.schemas(),
            Kind::Roles => self.roles(),
            Kind::Privileges => self.privileges(),
            Kind::Databases => self.databases(),
        }
    }

    fn relations(&self, kinds: &str) -> String {
        let table = if self.kind == Kind::Indexes {
            ", (SELECT t.relname FROM pg_catalog.pg_index i \
             JOIN pg_catalog.pg_class t ON t.oid = i.indrelid \
             WHERE i.indexrelid = c.oid) AS \"Table\""
        } else {
            ""
        };
        let more = if self.more {
            ", pg_catalog.pg_size_pretty(pg_catalog.pg_table_size(c.oid)) AS \"Size\"\
             , pg_catalog.obj_description(c.oid, 'pg_class') AS \"Description\""
        } else {
            ""
        };
        format!(
            "SELECT n.nspname AS \"Schema\", c.relname AS \"Name\", {RELATION_TYPE} AS \"Type\", \
             pg_catalog.pg_get_userbyid(c.relowner) AS \"Owner\"{table}{more} \
             FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ({kinds}){} ORDER BY 1, 2",
            self.condition(
                "n.nspname",
                "c.relname",
                "pg_catalog.pg_table_is_visible(c.oid)"
            )
        )
    }

    fn functions(&self) -> String {
        let more = if self.more {
            ", pg_catalog.pg_get_userbyid(p.proowner) AS \"Owner\", \
             CASE WHEN p.prosecdef THEN 'definer' ELSE 'invoker' END AS \"Security\", \
             l.lanname AS \"Language\", pg_catalog.obj_description(p.oid, 'pg_proc') AS \"Description\""
        } else {
            ""
        };
        format!(
            "SELECT n.nspname AS \"Schema\", p.proname AS \"Name\", \
             pg_catalog.pg_get_function_result(p.oid) AS \"Result data type\", \
             pg_catalog.pg_get_function_arguments(p.oid) AS \"Argument data types\", \
             CASE p.prokind WHEN 'a' THEN 'agg' WHEN 'w' THEN 'window' WHEN 'p' THEN 'proc' \
             ELSE 'func' END AS \"Type\"{more} \
             FROM pg_catalog.pg_proc p \
             JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
             JOIN pg_catalog.pg_language l ON l.oid = p.prolang \
             WHERE true{} ORDER BY 1, 2, 4",
            self.condition(
                "n.nspname",
                "p.proname",
                "pg_catalog.pg_function_is_visible(p.oid)"
            )
        )
    }

    fn schemas(&self) -> String {
        let more = if self.more {
            ", pg_catalog.array_to_string(n.nspacl, E'\\n') AS \"Access privileges\", \
             pg_catalog.obj_description(n.oid, 'pg_namespace') AS \"Description\""
        } else {
            ""
        };
        let condition = match &self.pattern {
            Some(pattern) => sql::matches("n.nspname", &sql::Pattern::parse(pattern).name),
            None if self.system => String::new(),
            None => " AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'".to_owned(),
        };
        format!(
            "SELECT n.nspname AS \"Name\", pg_catalog.pg_get_userbyid(n.nspowner) AS \"Owner\"{more} \
             FROM pg_catalog.pg_namespace n WHERE true{condition} ORDER BY 1"
        )
    }

    fn roles(&self) -> String {
        let condition = match &self.pattern {
            Some(pattern) => sql::matches("r.rolname", &sql::Pattern::parse(pattern).name),
            None if self.system => String::new(),
            None => " AND r.rolname !~ '^pg_'".to_owned(),
        };
        format!(
            "SELECT r.rolname AS \"Role name\", pg_catalog.concat_ws(', ', \
             CASE WHEN r.rolsuper THEN 'Superuser' END, \
             CASE WHEN NOT r.rolinherit THEN 'No inheritance' END, \
             CASE WHEN r.rolcreaterole THEN 'Create role' END, \
             CASE WHEN r.rolcreatedb THEN 'Create DB' END, \
             CASE WHEN NOT r.rolcanlogin THEN 'Cannot login' END, \
             CASE WHEN r.rolreplication THEN 'Replication' END, \
             CASE WHEN r.rolbypassrls THEN 'Bypass RLS' END) AS \"Attributes\", \
             ARRAY(SELECT b.rolname FROM pg_catalog.pg_auth_members m \
             JOIN pg_catalog.pg_roles b ON m.roleid = b.oid \
             WHERE m.member = r.oid ORDER BY 1) AS \"Member of\" \
             FROM pg_catalog.pg_roles r WHERE true{condition} ORDER BY 1"
        )
    }

    fn privileges(&self) -> String {
        format!(
            "SELECT n.nspname AS \"Schema\", c.relname AS \"Name\", {RELATION_TYPE} AS \"Type\", \
             pg_catalog.array_to_string(c.relacl, E'\\n') AS \"Access privileges\" \
             FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ('r','v','m','S','f','p'){} ORDER BY 1, 2",
            self.condition(
                "n.nspname",
                "c.relname",
                "pg_catalog.pg_table_is_visible(c.oid)"
            )
        )
    }

    fn databases(&self) -> String {
        let more = if self.more {
            ", CASE WHEN pg_catalog.has_database_privilege(d.datname, 'CONNECT') \
             THEN pg_catalog.pg_size_pretty(pg_catalog.pg_database_size(d.datname)) \
             ELSE 'No Access' END AS \"Size\""
        } else {
            ""
        };
        let condition = self.pattern.as_ref().map_or_else(String::new, |pattern| {
            sql::matches("d.datname", &sql::Pattern::parse(pattern).name)
        });
        format!(
            "SELECT d.datname AS \"Name\", pg_catalog.pg_get_userbyid(d.datdba) AS \"Owner\", \
             pg_catalog.pg_encoding_to_char(d.encoding) AS \"Encoding\", \
             d.datcollate AS \"Collate\", d.datctype AS \"Ctype\", \
             pg_catalog.array_to_string(d.datacl, E'\\n') AS \"Access privileges\"{more} \
             FROM pg_catalog.pg_database d WHERE true{condition} ORDER BY 1"
        )
    }

    /// Which objects: those that match, or those that can be named without a schema.
    fn condition(&self, schema: &str, name: &str, visible: &str) -> String {
        let Some(pattern) = &self.pattern else {
            let mut condition = String::new();
            if !self.system {
                condition = format!(
                    " AND {schema} NOT IN ('pg_catalog', 'information_schema') \
                     AND {schema} !~ '^pg_toast'"
                );
            }
            return format!("{condition} AND {visible}");
        };
        named(pattern, schema, name, visible)
    }
}

fn named(pattern: &str, schema: &str, name: &str, visible: &str) -> String {
    let pattern = sql::Pattern::parse(pattern);
    let place = match &pattern.schema {
        Some(regex) => sql::matches(schema, regex),
        None => format!(" AND {visible}"),
    };
    format!("{}{place}", sql::matches(name, &pattern.name))
}

/// Finds the relations for `\d PATTERN`: number, schema, name, kind.
pub(super) fn matching_relations(pattern: &str) -> String {
    format!(
        "SELECT c.oid, n.nspname, c.relname, c.relkind FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind NOT IN ('t'){} ORDER BY 2, 3",
        named(
            pattern,
            "n.nspname",
            "c.relname",
            "pg_catalog.pg_table_is_visible(c.oid)"
        )
    )
}

/// The heading of one relation's description.
pub(super) fn heading(kind: &str, schema: &str, name: &str) -> String {
    let word = match kind {
        "r" => "Table",
        "v" => "View",
        "m" => "Materialized view",
        "i" => "Index",
        "S" => "Sequence",
        "f" => "Foreign table",
        "p" => "Partitioned table",
        "I" => "Partitioned index",
        "c" => "Composite type",
        _ => "Relation",
    };
    format!("{word} \"{schema}.{name}\"")
}

/// A relation's columns.
pub(super) fn columns(oid: u32, more: bool) -> String {
    let more = if more {
        ", pg_catalog.col_description(a.attrelid, a.attnum) AS \"Description\""
    } else {
        ""
    };
    format!(
        "SELECT a.attname AS \"Column\", pg_catalog.format_type(a.atttypid, a.atttypmod) AS \"Type\", \
         (SELECT c.collname FROM pg_catalog.pg_collation c, pg_catalog.pg_type t \
         WHERE c.oid = a.attcollation AND t.oid = a.atttypid \
         AND a.attcollation <> t.typcollation) AS \"Collation\", \
         CASE WHEN a.attnotnull THEN 'not null' END AS \"Nullable\", \
         CASE WHEN a.attidentity = 'a' THEN 'generated always as identity' \
         WHEN a.attidentity = 'd' THEN 'generated by default as identity' \
         WHEN a.attgenerated = 's' THEN 'generated always as (' \
         || pg_catalog.pg_get_expr(d.adbin, d.adrelid) || ') stored' \
         ELSE pg_catalog.pg_get_expr(d.adbin, d.adrelid) END AS \"Default\"{more} \
         FROM pg_catalog.pg_attribute a \
         LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
         WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
    )
}

/// What stands below the columns: a heading and a query of one column, a line each.
pub(super) fn footers(oid: u32, kind: &str, more: bool) -> Vec<(&'static str, String)> {
    let mut footers = vec![
        ("Indexes", indexes(oid)),
        ("Check constraints", constraints(oid, "conrelid", "'c'")),
        (
            "Foreign-key constraints",
            constraints(oid, "conrelid", "'f'"),
        ),
        ("Referenced by", referenced_by(oid)),
        ("Policies", policies(oid)),
        ("Triggers", triggers(oid)),
        ("Partition of", partition_of(oid)),
    ];
    match kind {
        "i" | "I" => footers.insert(
            0,
            (
                "Definition",
                format!("SELECT pg_catalog.pg_get_indexdef({oid})"),
            ),
        ),
        "p" => footers.push(("Partitions", partitions(oid))),
        "v" | "m" if more => {
            let definition = format!("SELECT pg_catalog.pg_get_viewdef({oid}, true)");
            footers.push(("View definition", definition));
        }
        _ => {}
    }
    footers
}

fn indexes(oid: u32) -> String {
    format!(
        "SELECT '\"' || c.relname || '\"' || CASE WHEN i.indisprimary THEN ' PRIMARY KEY,' \
         WHEN i.indisunique THEN ' UNIQUE,' ELSE '' END \
         || pg_catalog.regexp_replace(pg_catalog.pg_get_indexdef(c.oid), '^.* USING', '') \
         || CASE WHEN i.indisvalid THEN '' ELSE ' INVALID' END \
         FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
         WHERE i.indrelid = {oid} ORDER BY i.indisprimary DESC, c.relname"
    )
}

fn constraints(oid: u32, column: &str, kinds: &str) -> String {
    format!(
        "SELECT '\"' || conname || '\" ' || pg_catalog.pg_get_constraintdef(oid, true) \
         FROM pg_catalog.pg_constraint WHERE {column} = {oid} AND contype IN ({kinds}) ORDER BY conname"
    )
}

fn referenced_by(oid: u32) -> String {
    format!(
        "SELECT 'TABLE ' || conrelid::pg_catalog.regclass || ' CONSTRAINT \"' || conname || '\" ' \
         || pg_catalog.pg_get_constraintdef(oid, true) FROM pg_catalog.pg_constraint \
         WHERE confrelid = {oid} AND contype = 'f' AND conparentid = 0 ORDER BY conname"
    )
}

fn policies(oid: u32) -> String {
    format!(
        "SELECT '\"' || polname || '\"' \
         || coalesce(' USING (' || pg_catalog.pg_get_expr(polqual, polrelid) || ')', '') \
         || coalesce(' WITH CHECK (' || pg_catalog.pg_get_expr(polwithcheck, polrelid) || ')', '') \
         FROM pg_catalog.pg_policy WHERE polrelid = {oid} ORDER BY polname"
    )
}

fn triggers(oid: u32) -> String {
    format!(
        "SELECT pg_catalog.regexp_replace(pg_catalog.pg_get_triggerdef(oid, true), '^CREATE TRIGGER ', '') \
         FROM pg_catalog.pg_trigger WHERE tgrelid = {oid} AND NOT tgisinternal ORDER BY tgname"
    )
}

fn partition_of(oid: u32) -> String {
    format!(
        "SELECT i.inhparent::pg_catalog.regclass || ' ' \
         || coalesce(pg_catalog.pg_get_expr(c.relpartbound, c.oid), '') \
         FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid \
         WHERE i.inhrelid = {oid} AND c.relispartition"
    )
}

fn partitions(oid: u32) -> String {
    format!(
        "SELECT c.oid::pg_catalog.regclass || ' ' \
         || coalesce(pg_catalog.pg_get_expr(c.relpartbound, c.oid), '') \
         FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid \
         WHERE i.inhparent = {oid} ORDER BY 1"
    )
}
