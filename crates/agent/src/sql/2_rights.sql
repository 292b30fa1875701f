-- The rights of a user on an object, as crates/rights decides them: deny wins, an explicit ACL replaces
-- the default. Sequences that belong to a column and partitions follow their table's ACL.

-- The ACL of one user on one name; NULL when there is none.
CREATE OR REPLACE FUNCTION palisade.acl_of(who text, in_schema text, in_name text) RETURNS integer
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT a.privileges FROM palisade.acls a
    WHERE a.user_name = who AND a.schema = in_schema AND a.name = in_name
$palisade$;

-- An ACL that gives no right on a schema shuts it: whoever it names has no right on anything in it.
-- A Palisade superuser has every flag but `denied`.
CREATE OR REPLACE FUNCTION palisade.flags(who text, in_schema text, in_name text) RETURNS integer
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT coalesce((
        SELECT CASE
            WHEN NOT u.enabled OR u.defaults & 1 <> 0 AND NOT u.superuser THEN 0
            WHEN u.superuser THEN 32766
            WHEN f.flags & 1 <> 0 OR in_name <> '' AND (s.flags & 1 <> 0 OR s.flags & 1022 = 0) THEN 0
            ELSE f.flags END
        FROM palisade.users u,
             LATERAL (SELECT coalesce(palisade.acl_of(who, in_schema, in_name), u.defaults) AS flags) f,
             LATERAL (SELECT palisade.acl_of(who, in_schema, '') AS flags) s
        WHERE u.name = who), 0)
$palisade$;

-- What a relation's rights hang on when it has no ACL of its own: the table of an index or of a
-- column's sequence, the parent of a partition. 0: nothing.
CREATE OR REPLACE FUNCTION palisade.parent_of(relation oid) RETURNS oid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT coalesce(
        (SELECT i.indrelid FROM pg_index i WHERE i.indexrelid = relation),
        (SELECT h.inhparent FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid
          WHERE h.inhrelid = relation AND c.relispartition),
        (SELECT d.refobjid FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
          WHERE d.classid = 'pg_class'::regclass AND d.objid = relation AND c.relkind = 'S'
            AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
          LIMIT 1),
        0)
$palisade$;

-- The names whose ACL decides for a relation, nearest first.
CREATE OR REPLACE FUNCTION palisade.names_of(relation oid)
RETURNS TABLE (depth integer, schema text, name text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    WITH RECURSIVE chain AS (
        SELECT 0 AS depth, relation AS oid
        UNION ALL
        SELECT chain.depth + 1, palisade.parent_of(chain.oid) FROM chain
        WHERE chain.depth < 32 AND palisade.parent_of(chain.oid) <> 0
    )
    SELECT chain.depth, n.nspname::text, c.relname::text
    FROM chain JOIN pg_class c ON c.oid = chain.oid JOIN pg_namespace n ON n.oid = c.relnamespace
$palisade$;

CREATE OR REPLACE FUNCTION palisade.flags_on(who text, relation oid) RETURNS integer
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT coalesce(
        (SELECT palisade.flags(who, n.schema, n.name) FROM palisade.names_of(relation) n
          WHERE palisade.acl_of(who, n.schema, n.name) IS NOT NULL ORDER BY n.depth LIMIT 1),
        (SELECT palisade.flags(who, n.schema, n.name) FROM palisade.names_of(relation) n
          ORDER BY n.depth LIMIT 1),
        0)
$palisade$;

-- Does this user hold `select` on all there is? Then an expression shows her nothing new.
CREATE OR REPLACE FUNCTION palisade.reads_all(who text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT EXISTS (
        SELECT 1 FROM palisade.users u
        WHERE u.name = who AND u.enabled
          AND (u.superuser OR u.defaults & 3 = 2 AND NOT EXISTS (
              SELECT 1 FROM palisade.acls a
              WHERE a.user_name = who AND (a.privileges & 3 <> 2 AND a.name <> '' OR a.privileges & 1022 = 0))))
$palisade$;

-- Does this user hold one of these flags on anything, by default or by an ACL?
CREATE OR REPLACE FUNCTION palisade.holds_anywhere(who text, one_of integer) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT EXISTS (
        SELECT 1 FROM palisade.users u
        WHERE u.name = who AND u.enabled AND (u.superuser OR u.defaults & 1 = 0 AND (u.defaults & one_of <> 0 OR EXISTS (
            SELECT 1 FROM palisade.acls a WHERE a.user_name = who AND a.privileges & 1 = 0 AND a.privileges & one_of <> 0))))
$palisade$;

CREATE OR REPLACE FUNCTION palisade.is_superuser(who text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT EXISTS (SELECT 1 FROM palisade.users u WHERE u.name = who AND u.enabled AND u.superuser)
$palisade$;

CREATE OR REPLACE FUNCTION palisade.flag_names(flags integer) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT coalesce(string_agg(name, ' and ' ORDER BY bit), 'superuser') FROM (VALUES
        (1, 'denied'), (2, 'select'), (4, 'insert'), (8, 'update'), (16, 'delete'), (32, 'index'),
        (64, 'alter'), (128, 'create'), (256, 'drop'), (512, 'grant'), (1024, 'user_manage'),
        (2048, 'system'), (4096, 'set_acl'), (8192, 'get_acl'), (16384, 'set_transaction')
    ) AS f (bit, name) WHERE flags & bit <> 0
$palisade$;

-- Everyone sees their own rights; who holds get_acl by default sees all explicit ACLs.
SELECT palisade.put_view('my_rights', 'WITH (security_barrier)', $view$
    SELECT ''::text AS schema, ''::text AS name,
           palisade.flag_names(CASE WHEN u.superuser THEN 32766 ELSE u.defaults END) AS privileges
    FROM palisade.users u WHERE u.name = session_user::text AND (u.superuser OR u.defaults <> 0)
    UNION ALL
    SELECT a.schema, a.name, CASE WHEN a.privileges = 0 THEN '' ELSE palisade.flag_names(a.privileges) END
    FROM palisade.acls a WHERE a.user_name = session_user::text
$view$);
SELECT palisade.put_view('acl', 'WITH (security_barrier)', $view$
    SELECT a.schema, a.name, a.user_name,
           CASE WHEN a.privileges = 0 THEN '' ELSE palisade.flag_names(a.privileges) END AS privileges
    FROM palisade.acls a
    JOIN palisade.users u ON u.name = session_user::text AND u.enabled
    LEFT JOIN palisade.acls own ON own.user_name = u.name AND own.schema = a.schema AND own.name = a.name
    WHERE u.superuser OR u.defaults & 1 = 0 AND coalesce(own.privileges, u.defaults) & 8193 = 8192
$view$);
GRANT SELECT ON palisade.my_rights, palisade.acl TO PUBLIC;
