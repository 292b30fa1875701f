-- Handing objects to their owning role and giving them their grants, at the end of the statement that
-- made them. It does for one object what crates/rights plans for all: a plan made afterwards is empty.

-- The groups' names for one flag: the one of all users, and the one of an object with exceptions.
CREATE OR REPLACE FUNCTION palisade.group_name(flag integer, object oid) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT 'palisade_' || CASE flag WHEN 0 THEN 'usage' ELSE palisade.flag_names(flag) END
        || CASE WHEN object = 0 THEN '' ELSE '_' || object END
$palisade$;

-- Has a guard seen this relation?
CREATE OR REPLACE FUNCTION palisade.is_known(relation oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT EXISTS (SELECT 1 FROM palisade.objects o WHERE o.class = 'pg_class'::regclass AND o.oid = relation)
$palisade$;

-- Did this transaction write the row? It bears its number or a later one, of a part of it; the numbers go round after
-- 32 bits.
CREATE OR REPLACE FUNCTION palisade.is_of_now(writer xid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT (writer::text::bigint - pg_current_xact_id()::text::bigint) & 4294967295 < 2147483648
$palisade$;

-- The relation, and all that it inherits from or is a partition of.
CREATE OR REPLACE FUNCTION palisade.line_of(relation oid) RETURNS SETOF oid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    WITH RECURSIVE line AS (
        SELECT relation AS oid UNION SELECT i.inhparent FROM line JOIN pg_inherits i ON i.inhrelid = line.oid
    )
    SELECT l.oid FROM line l
$palisade$;

-- Is the table at either end of a foreign key? PostgreSQL checks foreign keys with the rights of the
-- table's owner, so the owner of such tables has to hold them.
CREATE OR REPLACE FUNCTION palisade.has_keys(relation oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT EXISTS (SELECT 1 FROM pg_constraint k
        WHERE k.contype = 'f' AND (k.conrelid = relation OR k.confrelid = relation))
$palisade$;

-- Has the table code of a user: a trigger, or a function in what is evaluated when rows change?
CREATE OR REPLACE FUNCTION palisade.carries_code(relation oid) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
BEGIN
    RETURN palisade.code_of(relation) <> '{}' OR EXISTS (SELECT 1 FROM pg_trigger t
        WHERE t.tgrelid = relation AND (NOT t.tgisinternal OR t.tgfoid >= 16384));
END
$palisade$;

-- A cascade runs what hangs on the table as its owner, who holds all tables with foreign keys.
CREATE OR REPLACE FUNCTION palisade.refuse_code_on_keys(tag text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $palisade$
BEGIN
    IF EXISTS (SELECT 1 FROM palisade.users u WHERE u.name = session_user::text)
            AND NOT palisade.is_superuser(session_user::text) THEN
        PERFORM palisade.refuse(tag, 'would bring a function, trigger or domain and a foreign key together on a table',
            'A cascade would run it with the rights of all such tables. Ask a Palisade superuser.');
    END IF;
END
$palisade$;

-- The group of those who hold an object's flag where someone's explicit ACL departs from the default.
CREATE OR REPLACE FUNCTION palisade.settle_group(group_role text, members text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $palisade$
DECLARE
    stale text;
    fresh text;
BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_roles r WHERE r.rolname = group_role) THEN
        EXECUTE format('CREATE ROLE %I NOLOGIN', group_role);
    END IF;
    SELECT string_agg(quote_ident(m.rolname), ', ') INTO stale
    FROM pg_auth_members a JOIN pg_roles g ON g.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
    WHERE g.rolname = group_role AND m.rolname <> ALL (members);
    SELECT string_agg(quote_ident(m), ', ') INTO fresh FROM unnest(members) m
    WHERE NOT EXISTS (SELECT 1 FROM pg_auth_members a JOIN pg_roles g ON g.oid = a.roleid JOIN pg_roles r ON r.oid = a.member
                      WHERE g.rolname = group_role AND r.rolname = m);
    IF stale IS NOT NULL THEN
        EXECUTE format('REVOKE %I FROM %s', group_role, stale);
    END IF;
    IF fresh IS NOT NULL THEN
        EXECUTE format('GRANT %I TO %s', group_role, fresh);
    END IF;
END
$palisade$;

-- The members of an object's own group. `taken` are those who hold the flag by default and not here: if
-- there are any, the group holds everyone else, by whole subgroups where it can (a tree of four levels, by
-- the uid's last digits to the base of four, when there are many users). `added` hold it here and not by
-- default.
CREATE OR REPLACE FUNCTION palisade.cover(all_group text, by_default bigint[], taken bigint[], added bigint[])
RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    WITH RECURSIVE size AS (
        SELECT coalesce(max(u.uid), 0) > 64 AS many FROM palisade.users u
    ), tree AS (
        -- `broken`: someone below is left out, so it is taken apart.
        SELECT 0 AS level, 0::bigint AS path, '' AS digits, cardinality(taken) > 0 AND size.many AS broken FROM size
        UNION ALL
        SELECT t.level + 1, t.path | (d::bigint << (2 * t.level)), t.digits || d,
               EXISTS (SELECT 1 FROM unnest(taken) x
                       WHERE x & ((1::bigint << (2 * (t.level + 1))) - 1) = t.path | (d::bigint << (2 * t.level)))
        FROM tree t, generate_series(0, 3) d WHERE t.broken AND t.level < 4
    ), members AS (
        SELECT u.name FROM palisade.users u WHERE u.uid = ANY (added)
        UNION
        SELECT u.name FROM palisade.users u, size
        WHERE cardinality(taken) > 0 AND u.uid = ANY (by_default) AND NOT u.uid = ANY (taken)
          AND (NOT size.many OR EXISTS (SELECT 1 FROM unnest(taken) x WHERE x & 255 = u.uid & 255))
        UNION
        SELECT all_group || '_u' || t.digits FROM tree t WHERE t.level > 0 AND NOT t.broken
    )
    SELECT coalesce(array_agg(m.name), '{}') FROM members m
$palisade$;

-- Who holds `flag` by default, and from whom or to whom an ACL on the relation takes or gives it.
CREATE OR REPLACE FUNCTION palisade.audience(relation oid, flag integer,
    OUT added bigint[], OUT taken bigint[], OUT by_default bigint[])
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    WITH explicit AS (
        SELECT DISTINCT ON (a.user_name) a.user_name, a.privileges & (flag | 1) = flag AS held
        FROM palisade.names_of(relation) n
        JOIN palisade.acls a ON a.schema = n.schema AND a.name = n.name
        ORDER BY a.user_name, n.depth
    ), people AS (
        SELECT u.uid, u.superuser OR u.defaults & flag <> 0 AS by_default,
               u.superuser OR coalesce(e.held, u.defaults & flag <> 0) AS now
        FROM palisade.users u LEFT JOIN explicit e ON e.user_name = u.name
        WHERE u.enabled AND (u.superuser OR u.defaults & 1 = 0)
    )
    SELECT coalesce(array_agg(p.uid) FILTER (WHERE p.now AND NOT p.by_default), '{}'),
           coalesce(array_agg(p.uid) FILTER (WHERE p.by_default AND NOT p.now), '{}'),
           coalesce(array_agg(p.uid) FILTER (WHERE p.by_default), '{}')
    FROM people p
$palisade$;

-- The SQL privileges that a flag means, by kind of relation.
CREATE OR REPLACE FUNCTION palisade.sql_privileges(kind text, flag integer) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT CASE flag
        WHEN 2 THEN CASE kind WHEN 'S' THEN 'SELECT' ELSE 'SELECT, REFERENCES' END
        WHEN 4 THEN CASE kind WHEN 'S' THEN 'USAGE' ELSE 'INSERT' END
        WHEN 8 THEN 'UPDATE'
        WHEN 16 THEN CASE kind WHEN 'S' THEN NULL ELSE 'DELETE, TRUNCATE' END END
$palisade$;

-- Owner and grants of one relation.
CREATE OR REPLACE FUNCTION palisade.settle_relation(relation oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $palisade$
DECLARE
    rel record;
    owner text;
    noun text;
    flag integer;
    grantee text;
    gave text;
    who record;
BEGIN
    SELECT c.relkind::text AS kind, c.relowner::regrole::text AS owner, c.relacl,
           format('%I.%I', n.nspname, c.relname) AS name, c.reloptions,
           EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
               AND d.refobjsubid > 0 AND d.refclassid = 'pg_class'::regclass
               AND d.deptype IN ('a', 'i') AND c.relkind = 'S') AS linked
    INTO STRICT rel
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation;
    noun := CASE rel.kind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END;
    owner := CASE WHEN palisade.has_keys(relation) THEN 'palisade_keys' ELSE 'palisade_owner' END;
    IF owner = 'palisade_keys' AND rel.owner <> owner AND palisade.carries_code(relation) THEN
        PERFORM palisade.refuse_code_on_keys('FOREIGN KEY');
    END IF;
    -- A column's sequence goes with its table; PostgreSQL moves it itself.
    IF rel.owner <> owner AND NOT rel.linked THEN
        EXECUTE format('ALTER TABLE %s OWNER TO %I', rel.name, owner);
    END IF;
    IF rel.kind = 'v' AND NOT coalesce(rel.reloptions @> '{security_invoker=true}', false) THEN
        EXECUTE format('ALTER VIEW %s SET (security_invoker = true)', rel.name);
    END IF;
    SELECT c.relowner::regrole::text, c.relacl INTO owner, rel.relacl FROM pg_class c WHERE c.oid = relation;
    FOR grantee IN
        SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
        FROM aclexplode(coalesce(rel.relacl, acldefault(CASE rel.kind WHEN 'S' THEN 's' ELSE 'r' END::"char",
            owner::regrole::oid))) a
    LOOP
        EXECUTE format('REVOKE ALL ON %s %s FROM %s CASCADE', noun, rel.name, grantee);
    END LOOP;
    IF rel.kind <> 'S' THEN
        EXECUTE format('GRANT TRIGGER %s %s ON TABLE %s TO %s',
            CASE owner WHEN 'palisade_keys' THEN ', SELECT, UPDATE, DELETE' END,
            CASE WHEN current_setting('server_version_num')::integer >= 170000 THEN ', MAINTAIN' END, rel.name, owner);
    END IF;
    FOREACH flag IN ARRAY ARRAY[2, 4, 8, 16] LOOP
        gave := palisade.sql_privileges(rel.kind, flag);
        CONTINUE WHEN gave IS NULL;
        SELECT * INTO who FROM palisade.audience(relation, flag);
        IF cardinality(who.taken) = 0 THEN
            EXECUTE format('GRANT %s ON %s %s TO %I', gave, noun, rel.name, palisade.group_name(flag, 0));
        END IF;
        IF cardinality(who.taken) + cardinality(who.added) > 0 THEN
            PERFORM palisade.settle_group(palisade.group_name(flag, relation),
                palisade.cover(palisade.group_name(flag, 0), who.by_default, who.taken, who.added));
            EXECUTE format('GRANT %s ON %s %s TO %I', gave, noun, rel.name,
                palisade.group_name(flag, relation));
        END IF;
    END LOOP;
END
$palisade$;

-- Takes back grants on columns, grant options and grants by others; then owner and grants as they should be.
CREATE OR REPLACE FUNCTION palisade.regularize(relation oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $palisade$
DECLARE
    given record;
BEGIN
    FOR given IN
        SELECT DISTINCT a.attname, CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE x.grantee::regrole::text END AS grantee
        FROM pg_attribute a, aclexplode(a.attacl) x WHERE a.attrelid = relation AND NOT a.attisdropped
    LOOP
        EXECUTE format('REVOKE ALL (%I) ON TABLE %s FROM %s CASCADE', given.attname, palisade.label(relation), given.grantee);
    END LOOP;
    PERFORM palisade.settle_relation(relation);
    PERFORM palisade.remember(relation);
END
$palisade$;

-- Who may use a schema: whoever holds any right on data there. An ACL on the schema itself decides
-- alone; else the default, else an ACL on anything within.
CREATE OR REPLACE FUNCTION palisade.settle_schema(namespace oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $palisade$
DECLARE
    space record;
    grantee text;
    who record;
BEGIN
    SELECT n.nspname::text AS plain, quote_ident(n.nspname) AS name, n.nspowner::regrole::text AS owner, n.nspacl
    INTO STRICT space FROM pg_namespace n WHERE n.oid = namespace;
    IF space.owner <> 'palisade_owner' THEN
        EXECUTE format('ALTER SCHEMA %s OWNER TO palisade_owner', space.name);
        SELECT n.nspacl INTO space.nspacl FROM pg_namespace n WHERE n.oid = namespace;
    END IF;
    FOR grantee IN
        SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
        FROM aclexplode(space.nspacl) a WHERE a.grantee <> 'palisade_owner'::regrole
    LOOP
        EXECUTE format('REVOKE ALL ON SCHEMA %s FROM %s CASCADE', space.name, grantee);
    END LOOP;
    -- The owner itself may not look in: who has an ACL that shuts the schema would through it. Foreign
    -- keys are checked as palisade_keys, whose members have no such ACL. Nor may it make anything: who
    -- only drops or grants is a member.
    EXECUTE format('REVOKE ALL ON SCHEMA %s FROM palisade_owner', space.name);
    EXECUTE format('GRANT CREATE ON SCHEMA %s TO palisade_make', space.name);
    EXECUTE format('GRANT USAGE ON SCHEMA %s TO palisade_keys', space.name);
    WITH explicit AS (
        SELECT a.user_name, a.privileges & 1 = 0 AND a.privileges & 1022 <> 0 AS held
        FROM palisade.acls a WHERE a.schema = space.plain AND a.name = ''
    ), within AS (
        SELECT DISTINCT a.user_name FROM palisade.acls a
        WHERE a.schema = space.plain AND a.name <> '' AND a.privileges & 1 = 0 AND a.privileges & 1022 <> 0
    ), people AS (
        SELECT u.uid, u.superuser OR u.defaults & 1022 <> 0 AS by_default,
               u.superuser OR coalesce(e.held, u.defaults & 1022 <> 0 OR w.user_name IS NOT NULL) AS now
        FROM palisade.users u LEFT JOIN explicit e ON e.user_name = u.name
        LEFT JOIN within w ON w.user_name = u.name
        WHERE u.enabled AND (u.superuser OR u.defaults & 1 = 0)
    )
    SELECT coalesce(array_agg(p.uid) FILTER (WHERE p.now AND NOT p.by_default), '{}') AS added,
           coalesce(array_agg(p.uid) FILTER (WHERE p.by_default AND NOT p.now), '{}') AS taken,
           coalesce(array_agg(p.uid) FILTER (WHERE p.by_default), '{}') AS by_default
    INTO who FROM people p;
    IF cardinality(who.taken) = 0 THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %s TO palisade_usage', space.name);
    END IF;
    IF cardinality(who.taken) + cardinality(who.added) > 0 THEN
        PERFORM palisade.settle_group(palisade.group_name(0, namespace),
            palisade.cover('palisade_usage', who.by_default, who.taken, who.added));
        EXECUTE format('GRANT USAGE ON SCHEMA %s TO %I', space.name, palisade.group_name(0, namespace));
    END IF;
END
$palisade$;

-- After a foreign key came or went: the tables at its ends change owner, and whoever lacks select,
-- update or delete on one of them leaves the role that owns them.
CREATE OR REPLACE FUNCTION palisade.settle_keys() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $palisade$
DECLARE
    relation oid;
    left_out text;
    gone text[];
    changed boolean := false;
BEGIN
    FOR relation IN
        WITH keyed AS (
            SELECT k.conrelid AS oid FROM pg_constraint k WHERE k.contype = 'f'
            UNION SELECT k.confrelid FROM pg_constraint k WHERE k.contype = 'f'
        )
        SELECT c.oid FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
        WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND (
            c.oid IN (SELECT k.oid FROM keyed k) AND (r.rolname = 'palisade_owner'
                OR EXISTS (SELECT 1 FROM palisade.users u WHERE u.name = r.rolname::text))
            OR c.relowner = 'palisade_keys'::regrole AND c.oid NOT IN (SELECT k.oid FROM keyed k))
    LOOP
        changed := true;
        -- What EXPLAIN made, no guard has seen yet.
        PERFORM palisade.demand_in('FOREIGN KEY', 128, n.nspname::text)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation AND NOT palisade.is_known(c.oid);
        PERFORM palisade.settle_relation(relation);
        PERFORM palisade.remember(relation);
    END LOOP;
    IF changed THEN
        SELECT string_agg(quote_ident(m.rolname), ', '), array_agg(m.rolname::text) INTO left_out, gone
        FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member
        WHERE a.roleid = 'palisade_keys'::regrole AND m.rolname::text IN (
            SELECT x.user_name FROM pg_class c, palisade.names_of(c.oid) n
            JOIN palisade.acls x ON x.schema = n.schema AND x.name = n.name
            WHERE c.relowner = 'palisade_keys'::regrole AND c.relkind IN ('r', 'p')
              AND x.privileges & 27 <> 26)
          AND NOT palisade.is_superuser(m.rolname::text);
        IF left_out IS NOT NULL THEN
            INSERT INTO palisade.departed (role, member) SELECT 'palisade_keys', m FROM unnest(gone) m;
            EXECUTE format('REVOKE palisade_keys FROM %s', left_out);
        END IF;
    END IF;
END
$palisade$;

-- All grants on a relation or schema, and on its columns, as one text.
CREATE OR REPLACE FUNCTION palisade.acl_text(of_class oid, object oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT CASE WHEN of_class = 'pg_namespace'::regclass
        THEN (SELECT n.nspacl::text FROM pg_namespace n WHERE n.oid = object)
        ELSE coalesce((SELECT c.relacl::text FROM pg_class c WHERE c.oid = object), '') || coalesce(
            (SELECT string_agg(a.attnum || a.attacl::text, ' ' ORDER BY a.attnum)
             FROM pg_attribute a WHERE a.attrelid = object AND a.attacl IS NOT NULL), '') END
$palisade$;

-- PostgreSQL's own functions in a stored expression that do more than compute: some read tables by a name
-- in a text, with the rights of whoever evaluates the expression.
CREATE OR REPLACE FUNCTION palisade.calls_in(tree text) RETURNS oid[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT coalesce(array_agg(DISTINCT p.oid), '{}')
    FROM regexp_matches(tree, ':[a-z]*(?:funcid|fnoid) (\d+)', 'g') m JOIN pg_proc p ON p.oid = m[1]::oid
    WHERE NOT (p.oid < 16384 AND p.pronamespace = 'pg_catalog'::regnamespace AND (p.provolatile = 'i'
        OR p.proname ~ '^(date|time|timetz|timestamp|timestamptz|interval)(_|$)'
        OR p.proname IN ('now', 'transaction_timestamp', 'statement_timestamp', 'clock_timestamp', 'timeofday', 'age',
            'timezone', 'to_char', 'to_timestamp', 'to_date', 'make_timestamptz', 'extract', 'overlaps',
            'random', 'gen_random_uuid', 'nextval', 'current_user', 'session_user', 'current_database',
            'current_schema', 'current_setting', 'inet_client_addr', 'pg_backend_pid', 'txid_current', 'pg_current_xact_id',
            'concat', 'concat_ws', 'format', 'quote_nullable', 'quote_literal', 'textanycat', 'anytextcat',
            'array_to_string', 'to_tsvector', 'to_json', 'to_jsonb', 'json_build_object', 'json_build_array',
            'jsonb_build_object', 'jsonb_build_array', 'jsonb_set', 'num_nulls', 'num_nonnulls', 'pg_typeof')))
$palisade$;

-- The domains of users that a type is, or has within: as an array, a range, an attribute.
SELECT palisade.put_view('hidden', '', $view$
    WITH RECURSIVE links AS (
        SELECT t.typelem AS part, t.oid AS whole FROM pg_type t WHERE t.typelem >= 16384 AND t.typlen = -1
        UNION ALL SELECT t.typbasetype, t.oid FROM pg_type t WHERE t.typbasetype >= 16384
        UNION ALL SELECT r.rngsubtype, r.rngtypid FROM pg_range r WHERE r.rngsubtype >= 16384
        UNION ALL SELECT r.rngtypid, r.rngmultitypid FROM pg_range r WHERE r.rngtypid >= 16384
        UNION ALL SELECT a.atttypid, c.reltype FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
            WHERE a.atttypid >= 16384 AND a.attnum > 0 AND NOT a.attisdropped AND c.reltype <> 0
    ), hides AS (
        SELECT t.oid AS type, t.oid AS domain FROM pg_type t WHERE t.typtype = 'd' AND t.oid >= 16384
        UNION
        SELECT l.whole, h.domain FROM hides h JOIN links l ON l.part = h.type
    )
    SELECT h.type, h.domain FROM hides h
$view$);

-- What runs with the rights of whoever writes to a table or reads a view: functions, operators and domains
-- of users, what `calls_in` finds, and in a view what runs a text or changes a setting.
SELECT palisade.put_view('code', '', $view$
    SELECT parts.relation, coalesce(h.domain, d.refobjid) AS oid
    FROM (
        SELECT c.oid AS relation, 'pg_class'::regclass::oid AS class, c.oid AS oid FROM pg_class c
        UNION ALL SELECT i.indrelid, 'pg_class'::regclass, i.indexrelid FROM pg_index i
        UNION ALL SELECT d.adrelid, 'pg_attrdef'::regclass, d.oid FROM pg_attrdef d
        UNION ALL SELECT k.conrelid, 'pg_constraint'::regclass, k.oid FROM pg_constraint k
        UNION ALL SELECT r.ev_class, 'pg_rewrite'::regclass, r.oid FROM pg_rewrite r
        UNION ALL SELECT s.stxrelid, 'pg_statistic_ext'::regclass, s.oid FROM pg_statistic_ext s
    ) parts JOIN pg_depend d ON d.classid = parts.class AND d.objid = parts.oid
    LEFT JOIN palisade.hidden h ON d.refclassid = 'pg_type'::regclass AND h.type = d.refobjid
    WHERE d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass) AND d.refobjid >= 16384 OR h.domain IS NOT NULL
    UNION ALL
    SELECT a.adrelid, called FROM pg_attrdef a, unnest(palisade.calls_in(a.adbin::text)) called
    UNION ALL
    SELECT k.conrelid, called FROM pg_constraint k, unnest(palisade.calls_in(k.conbin::text)) called
    WHERE k.conbin IS NOT NULL
    UNION ALL
    SELECT r.ev_class, p.oid FROM pg_rewrite r, regexp_matches(r.ev_action::text, ':funcid (\d+)', 'g') m
    JOIN pg_proc p ON p.oid = m[1]::oid
    WHERE p.proname ~ '^(query|cursor|table|schema|database)_to_xml|^ts_(stat|rewrite)$|^set_config$' 
$view$);

CREATE OR REPLACE FUNCTION palisade.code_of(relation oid) RETURNS oid[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT coalesce(array_agg(DISTINCT c.oid ORDER BY c.oid), '{}') FROM palisade.code c WHERE c.relation = code_of.relation
$palisade$;

CREATE OR REPLACE FUNCTION palisade.remember(relation oid) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $palisade$
    INSERT INTO palisade.objects (class, oid, schema, name, kind, parent, acl, rls, code)
    SELECT 'pg_class'::regclass, c.oid, n.nspname, c.relname, c.relkind, palisade.parent_of(c.oid),
           coalesce(palisade.acl_text('pg_class'::regclass, c.oid), ''),
           c.relrowsecurity::text || c.relforcerowsecurity::text, palisade.code_of(c.oid)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation
    ON CONFLICT (class, oid) DO UPDATE SET schema = excluded.schema, name = excluded.name,
        kind = excluded.kind, parent = excluded.parent, acl = excluded.acl, rls = excluded.rls, code = excluded.code
$palisade$;

CREATE OR REPLACE FUNCTION palisade.remember_schema(namespace oid) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $palisade$
    INSERT INTO palisade.objects (class, oid, schema, name, kind, parent, acl, rls, code)
    SELECT 'pg_namespace'::regclass, n.oid, n.nspname, '', 'n', 0,
           coalesce(palisade.acl_text('pg_namespace'::regclass, n.oid), ''), '', '{}'
    FROM pg_namespace n WHERE n.oid = namespace
    ON CONFLICT (class, oid) DO UPDATE SET schema = excluded.schema, acl = excluded.acl
$palisade$;

-- Functions, types, operators and whatever else lies in a schema and is no relation: where it lay.
CREATE OR REPLACE FUNCTION palisade.remember_others(of_class oid, object oid) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $palisade$
    INSERT INTO palisade.objects AS old (class, oid, schema, name, kind, parent, acl, rls, code)
    SELECT d.classid, d.objid, n.nspname, '', '', 0, '', '', '{}'
    FROM pg_depend d JOIN pg_namespace n ON n.oid = d.refobjid
    WHERE d.refclassid = 'pg_namespace'::regclass AND d.classid NOT IN ('pg_class'::regclass, 'pg_statistic_ext'::regclass)
      AND n.nspowner = 'palisade_owner'::regrole AND (object = 0 OR d.classid = of_class AND d.objid = object)
    ON CONFLICT (class, oid) DO UPDATE SET schema = excluded.schema WHERE old.schema <> excluded.schema
$palisade$;

-- Indexes of ours that no guard was told of: ALTER TYPE and REINDEX CONCURRENTLY make them anew.
CREATE OR REPLACE FUNCTION palisade.remember_indexes() RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT palisade.remember(i.indexrelid) FROM pg_index i
    WHERE palisade.is_known(i.indrelid)
      AND NOT EXISTS (SELECT 1 FROM palisade.objects o WHERE o.class = 'pg_class'::regclass AND o.oid = i.indexrelid)
$palisade$;

-- Who is one of the ledger's users, or a role of Palisade's.
CREATE OR REPLACE FUNCTION palisade.is_ours(role oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT EXISTS (SELECT 1 FROM pg_roles r WHERE r.oid = role
        AND (r.rolname ~ '^palisade_' OR EXISTS (SELECT 1 FROM palisade.users u WHERE u.name = r.rolname::text)))
$palisade$;

-- What a hand opened beside the managed objects: PostgreSQL's own relations, columns and functions, parameters and
-- the database, each with the statement that puts it right. What was so when the server was made is none of it.
CREATE OR REPLACE FUNCTION palisade.openings() RETURNS TABLE (line text, command text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    WITH given AS (
        SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS noun, c.oid::regclass::text AS name, NULL::name AS part,
               c.relacl AS acl, 'pg_class'::regclass::oid AS class, c.oid, 0 AS sub
        FROM pg_class c WHERE c.oid < 16384 AND c.relacl IS NOT NULL
        UNION ALL
        SELECT 'TABLE', a.attrelid::regclass::text, a.attname, a.attacl, 'pg_class'::regclass, a.attrelid, a.attnum
        FROM pg_attribute a WHERE a.attrelid < 16384 AND a.attacl IS NOT NULL
        UNION ALL
        SELECT 'ROUTINE', p.oid::regprocedure::text, NULL, p.proacl, 'pg_proc'::regclass, p.oid, 0
        FROM pg_proc p WHERE p.oid < 16384 AND p.proacl IS NOT NULL
        UNION ALL
        SELECT 'PARAMETER', quote_ident(m.parname), NULL, m.paracl, 0, m.oid, 0 FROM pg_parameter_acl m
    ), opened AS (
        SELECT DISTINCT g.noun, g.name, g.part, a.grantee FROM given g, aclexplode(g.acl) a
        WHERE (a.grantee = 0 OR palisade.is_ours(a.grantee))
          AND NOT EXISTS (
            SELECT 1 FROM pg_init_privs i, aclexplode(i.initprivs) b
            WHERE i.classoid = g.class AND i.objoid = g.oid AND i.objsubid = g.sub AND b.grantee = a.grantee
              AND b.privilege_type = a.privilege_type)
          AND NOT (a.grantee = 0 AND g.noun = 'ROUTINE' AND NOT EXISTS (
            SELECT 1 FROM pg_init_privs i WHERE i.classoid = g.class AND i.objoid = g.oid))
    )
    SELECT format('%s %s is open to %s', lower(o.noun), o.name || coalesce('.' || o.part, ''), w.who),
           format('REVOKE ALL %s ON %s %s FROM %s CASCADE', '(' || quote_ident(o.part) || ')', o.noun, o.name, w.who)
    FROM opened o, LATERAL (SELECT CASE o.grantee WHEN 0 THEN 'PUBLIC' ELSE o.grantee::regrole::text END AS who) w
    UNION ALL
    SELECT format('database %s belongs to %s', d.datname, r.rolname), format('ALTER DATABASE %I OWNER TO CURRENT_USER', d.datname)
    FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE d.datname = current_database() AND palisade.is_ours(d.datdba)
    UNION ALL
    SELECT format('a foreign key''s trigger on %s is switched off', t.tgrelid::regclass),
           format('ALTER TABLE %s ENABLE TRIGGER %I', t.tgrelid::regclass, t.tgname)
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE t.tgisinternal AND t.tgconstraint <> 0 AND t.tgenabled <> 'O' AND palisade.is_ours(c.relowner)
$palisade$;

-- What is no relation and belongs to a user, or to a role of Palisade's that owns nothing: each with the statement
-- that hands it over.
CREATE OR REPLACE FUNCTION palisade.strays() RETURNS TABLE (line text, command text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT format('%s %s belongs to %s', i.type, i.identity, r.rolname),
           format('ALTER %s %s OWNER TO palisade_owner', CASE s.classid WHEN 'pg_proc'::regclass THEN 'ROUTINE'
               ELSE replace(i.type, ' object', '') END, i.identity)
    FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid
    JOIN pg_depend d ON d.classid = s.classid AND d.objid = s.objid AND d.refclassid = 'pg_namespace'::regclass
    JOIN pg_namespace n ON n.oid = d.refobjid,
         pg_identify_object(s.classid, s.objid, 0) i
    WHERE s.dbid = (SELECT b.oid FROM pg_database b WHERE b.datname = current_database())
      AND s.refclassid = 'pg_authid'::regclass AND s.deptype = 'o' AND s.objsubid = 0 AND s.classid <> 'pg_class'::regclass
      AND n.nspowner = 'palisade_owner'::regrole AND r.rolname <> 'palisade_owner' AND palisade.is_ours(r.oid)
$palisade$;

-- Makes the table of what the guards know agree with the catalogue; the agent runs it after a plan.
CREATE OR REPLACE FUNCTION palisade.remember_all() RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $palisade$
    DELETE FROM palisade.objects o WHERE NOT CASE o.class
        WHEN 'pg_class'::regclass THEN EXISTS (SELECT 1 FROM pg_class c WHERE c.oid = o.oid)
        WHEN 'pg_namespace'::regclass THEN EXISTS (SELECT 1 FROM pg_namespace n WHERE n.oid = o.oid)
        WHEN 'pg_statistic_ext'::regclass THEN EXISTS (SELECT 1 FROM pg_statistic_ext s WHERE s.oid = o.oid)
        ELSE EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = o.class AND d.objid = o.oid
                     AND d.refclassid = 'pg_namespace'::regclass) END;
    SELECT palisade.remember_others(0, 0);
    SELECT count(palisade.remember_schema(n.oid)) FROM pg_namespace n
    WHERE n.nspowner = 'palisade_owner'::regrole;
    -- As `remember` does for one relation, but in one pass.
    WITH ours AS (
        SELECT c.oid, n.nspname, c.relname, c.relkind, c.relacl, c.relispartition, c.relrowsecurity, c.relforcerowsecurity
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relowner IN ('palisade_owner'::regrole, 'palisade_keys'::regrole)
          AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'i', 'I')
    ), linked AS (
        SELECT d.objid, min(d.refobjid::bigint)::oid AS parent FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
        WHERE d.classid = 'pg_class'::regclass AND c.relkind = 'S' AND d.refclassid = 'pg_class'::regclass
          AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i') GROUP BY d.objid
    ), columns AS (
        SELECT a.attrelid, string_agg(a.attnum || a.attacl::text, ' ' ORDER BY a.attnum) AS acl
        FROM pg_attribute a WHERE a.attacl IS NOT NULL GROUP BY a.attrelid
    ), codes AS (
        SELECT c.relation, array_agg(DISTINCT c.oid ORDER BY c.oid) AS code FROM palisade.code c GROUP BY c.relation
    )
    INSERT INTO palisade.objects AS old (class, oid, schema, name, kind, parent, acl, rls, code)
    SELECT 'pg_class'::regclass, o.oid, o.nspname, o.relname, o.relkind, coalesce(x.indrelid, h.inhparent, l.parent, 0),
           coalesce(o.relacl::text, '') || coalesce(a.acl, ''),
           o.relrowsecurity::text || o.relforcerowsecurity::text, coalesce(k.code, '{}')
    FROM ours o LEFT JOIN pg_index x ON x.indexrelid = o.oid
    LEFT JOIN pg_inherits h ON h.inhrelid = o.oid AND o.relispartition
    LEFT JOIN linked l ON l.objid = o.oid LEFT JOIN columns a ON a.attrelid = o.oid
    LEFT JOIN codes k ON k.relation = o.oid
    ON CONFLICT (class, oid) DO UPDATE SET schema = excluded.schema, name = excluded.name, kind = excluded.kind,
        parent = excluded.parent, acl = excluded.acl, rls = excluded.rls, code = excluded.code
        WHERE (old.schema, old.name, old.kind, old.parent, old.acl, old.rls, old.code)
            IS DISTINCT FROM (excluded.schema, excluded.name, excluded.kind, excluded.parent, excluded.acl, excluded.rls, excluded.code);
    INSERT INTO palisade.objects (class, oid, schema, name, kind, parent, acl, rls, code)
    SELECT 'pg_statistic_ext'::regclass, s.oid, n.nspname, s.stxname, 't', s.stxrelid, '', '', '{}'
    FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace
    ON CONFLICT (class, oid) DO NOTHING
$palisade$;
