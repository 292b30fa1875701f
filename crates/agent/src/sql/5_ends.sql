-- The guards at the end of a statement: what it created, altered or dropped is looked up in the catalogue. Their
-- head is in 4_guards.sql.

-- A relation that a statement created, altered or commented on.
CREATE OR REPLACE FUNCTION palisade.end_relation(tag text, command text, relation oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $palisade$
DECLARE
    me CONSTANT text := session_user::text;
    boss CONSTANT boolean := palisade.is_superuser(me);
    now record;
    known palisade.objects;
    ours boolean;
    above oid;
BEGIN
    SELECT c.relkind::text AS kind, n.nspname::text AS schema, c.relname::text AS name, pg_get_userbyid(c.relowner)::text AS owner,
           c.relrowsecurity AND NOT c.relforcerowsecurity AS unforced,
           c.relrowsecurity::text || c.relforcerowsecurity::text AS rls, palisade.parent_of(c.oid) AS parent
    INTO now FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = relation AND c.relpersistence <> 't';
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO known FROM palisade.objects o WHERE o.class = 'pg_class'::regclass AND o.oid = relation;
    ours := FOUND OR now.owner IN ('palisade_owner', 'palisade_keys');
    -- EXPLAIN ANALYZE CREATE TABLE AS fires no event trigger; what it made is new at the next statement on it,
    -- whoever it belongs to by then.
    IF known.oid IS NULL AND (command ~ '^(CREATE|SELECT)' OR now.kind NOT IN ('i', 'I', 'c')
            AND (now.owner ~ '^palisade_' OR EXISTS (SELECT 1 FROM palisade.users u WHERE u.name = now.owner))) THEN
        -- New. A table's own indexes and sequences come with the table.
        IF now.kind IN ('i', 'I') THEN
            IF tag = 'CREATE INDEX' THEN
                PERFORM palisade.demand_on(tag, 32, now.parent);
                -- What EXPLAIN made, no guard has seen yet.
                IF NOT palisade.is_known(now.parent) THEN
                    PERFORM palisade.demand_in(tag, 128, now.schema);
                END IF;
            END IF;
            PERFORM palisade.end_code(tag, now.parent);
        ELSIF now.kind = 'c' THEN
            PERFORM palisade.demand_in(tag, 128, now.schema);
            RETURN;
        ELSE
            IF now.kind <> 'S' OR now.parent = 0 THEN
                PERFORM palisade.demand_in(tag, 128, now.schema);
                IF palisade.acl_of(me, now.schema, now.name) IS NOT NULL THEN
                    PERFORM palisade.demand(tag, 128, palisade.flags(me, now.schema, now.name),
                        format('%I.%I', now.schema, now.name));
                END IF;
            ELSIF tag = 'CREATE SEQUENCE' THEN
                PERFORM palisade.demand_on(tag, 64, now.parent);
            END IF;
            PERFORM palisade.end_parents(tag, relation);
            PERFORM palisade.settle_relation(relation);
        END IF;
        PERFORM palisade.remember(relation);
        RETURN;
    END IF;
    IF NOT ours THEN
        RETURN;
    END IF;
    IF command = 'REFRESH MATERIALIZED VIEW' THEN
        PERFORM palisade.demand_on(tag, 8, relation);
        EXECUTE format('ALTER MATERIALIZED VIEW %s OWNER TO palisade_owner', palisade.label(relation));
        EXECUTE format('REVOKE INSERT, DELETE ON %s FROM palisade_owner', palisade.label(relation));
        IF NOT palisade.holds_anywhere(me, 128) AND pg_has_role(me, 'palisade_temp', 'MEMBER') THEN
            EXECUTE format('REVOKE palisade_temp FROM %I', me);
        END IF;
        RETURN;
    END IF;
    IF now.kind IN ('i', 'I') THEN
        PERFORM palisade.demand_on(tag, 32, now.parent);
    ELSIF now.kind = 'c' THEN
        PERFORM palisade.demand_in(tag, 64, now.schema);
        IF command <> 'COMMENT' THEN
            -- Tables of this type change with it.
            PERFORM palisade.demand_on(tag, 64, t.oid) FROM pg_class c JOIN pg_class t ON t.reloftype = c.reltype WHERE c.oid = relation;
        END IF;
        RETURN;
    ELSIF NOT (tag IN ('CREATE TABLE', 'CREATE SCHEMA') AND command LIKE 'ALTER %'
            OR tag = 'ALTER TABLE' AND command <> tag AND now.kind = 'S' AND now.parent <> 0) THEN
        -- Else it is a step of making a new table, or of a column.
        PERFORM palisade.demand_on(tag, 64, relation);
        PERFORM palisade.end_code(tag, relation);
    END IF;
    IF now.owner NOT IN ('palisade_owner', 'palisade_keys') THEN
        PERFORM palisade.refuse(tag, 'may not change an owner', 'All objects belong to Palisade; rights come from its ledger.');
    END IF;
    IF known.oid IS NOT NULL AND NOT boss
            AND (known.schema, known.name, known.parent) IS DISTINCT FROM (now.schema, now.name, now.parent) THEN
        PERFORM palisade.end_parents(tag, relation);
        SELECT p INTO above FROM unnest(ARRAY[known.parent, now.parent]) p
        WHERE p <> 0 AND EXISTS (SELECT 1 FROM palisade.names_of(p) n
            JOIN palisade.acls a ON a.schema = n.schema AND a.name = n.name) LIMIT 1;
        IF above IS NOT NULL OR EXISTS (SELECT 1 FROM palisade.acls a WHERE (a.schema, a.name) IN
                ((known.schema, known.name), (now.schema, now.name))) THEN
            PERFORM palisade.refuse_acl_lost(tag);
        END IF;
    END IF;
    IF known.oid IS NOT NULL AND known.rls <> now.rls THEN
        PERFORM palisade.demand_on(tag, 512, relation);
    END IF;
    -- Whoever may alter counts as the owner, whom policies bind only when forced.
    IF now.unforced THEN
        EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', palisade.label(relation));
    END IF;
    IF known.schema <> now.schema AND now.kind NOT IN ('i', 'I') THEN
        PERFORM palisade.demand_in(tag, 128, now.schema);
    END IF;
    IF now.kind NOT IN ('i', 'I') AND (command = 'CREATE VIEW' OR now.kind = 'v' OR known.oid IS NULL
            OR (known.schema, known.name, known.parent) IS DISTINCT FROM (now.schema, now.name, now.parent)) THEN
        PERFORM palisade.settle_relation(relation);
    ELSIF now.kind IN ('r', 'p') THEN
        PERFORM palisade.end_parents(tag, relation);
    END IF;
    PERFORM palisade.remember(relation);
END
$palisade$;

-- Functions that were built into a table run with the rights of whoever writes to it, or to what it inherits from.
CREATE OR REPLACE FUNCTION palisade.end_code(tag text, relation oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $palisade$
DECLARE
    before oid[];
BEGIN
    SELECT o.code INTO before FROM palisade.objects o
    WHERE o.class = 'pg_class'::regclass AND o.oid = relation;
    IF FOUND AND NOT palisade.code_of(relation) <@ before THEN
        PERFORM palisade.demand_code(tag, relation);
        UPDATE palisade.objects o SET code = palisade.code_of(relation)
        WHERE o.class = 'pg_class'::regclass AND o.oid = end_code.relation;
    END IF;
END
$palisade$;

CREATE OR REPLACE FUNCTION palisade.demand_code(tag text, relation oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $palisade$
BEGIN
    PERFORM palisade.demand_on(tag || ' with a function that may do more than compute', 512, line)
    FROM palisade.line_of(relation) line;
    IF EXISTS (SELECT 1 FROM palisade.line_of(relation) line WHERE palisade.has_keys_below(line)) THEN
        PERFORM palisade.refuse_code_on_keys(tag);
    END IF;
END
$palisade$;

-- Has the table, or any that inherits from it, a foreign key?
CREATE OR REPLACE FUNCTION palisade.has_keys_below(relation oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    WITH RECURSIVE tree AS (
        SELECT relation AS oid
        UNION SELECT i.inhrelid FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid
    )
    SELECT coalesce(bool_or(palisade.has_keys(t.oid)), false) FROM tree t
$palisade$;

-- Has the table, or one below it, code or a trigger that its parent has not?
CREATE OR REPLACE FUNCTION palisade.brings_code(relation oid, parent oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    WITH RECURSIVE tree AS (
        SELECT relation AS oid
        UNION SELECT i.inhrelid FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid
    )
    SELECT EXISTS (SELECT 1 FROM tree t WHERE NOT palisade.code_of(t.oid) <@ palisade.code_of(parent) OR EXISTS (
        SELECT 1 FROM pg_trigger g WHERE g.tgrelid = t.oid AND NOT g.tgisinternal AND g.tgparentid = 0))
$palisade$;

-- Rows of a child are read through its parents, and written.
CREATE OR REPLACE FUNCTION palisade.end_parents(tag text, relation oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $palisade$
DECLARE
    link record;
BEGIN
    FOR link IN SELECT i.inhparent AS parent, c.relispartition AS partition, palisade.is_of_now(i.xmin) AS new FROM pg_inherits i
        JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent
        WHERE i.inhrelid = relation AND c.relkind IN ('r', 'p', 'f')
    LOOP
        PERFORM palisade.demand_on(tag, 64, link.parent);
        IF link.new AND palisade.brings_code(relation, link.parent) THEN
            PERFORM palisade.demand_code(tag, link.parent);
        END IF;
        IF NOT palisade.is_superuser(session_user::text) AND EXISTS (
            SELECT 1 FROM palisade.acls a, pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE a.schema = n.nspname AND a.name = c.relname
              AND (c.oid = relation OR c.oid = link.parent AND NOT link.partition)) THEN
            PERFORM palisade.refuse(tag, 'would make rows readable past an explicit ACL',
                'Unset the ACL first (palisade acl unset), or ask a Palisade superuser.');
        END IF;
    END LOOP;
END
$palisade$;

-- A temporary table stands in the way of who alters a table that it inherits from.
CREATE OR REPLACE FUNCTION palisade.end_temporary(tag text, relation oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $palisade$
DECLARE
    parent oid;
BEGIN
    FOR parent IN SELECT i.inhparent FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent
        WHERE i.inhrelid = relation AND p.relpersistence <> 't'
    LOOP
        PERFORM palisade.refuse_old_snapshot(tag);
        PERFORM palisade.demand_on(tag, 64, parent);
    END LOOP;
END
$palisade$;

-- Does the domain run more than PostgreSQL's own computing functions for whoever stores a value?
CREATE OR REPLACE FUNCTION palisade.domain_calls(domain oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT EXISTS (SELECT 1 FROM pg_type t WHERE t.oid = domain AND palisade.calls_in(t.typdefaultbin::text) <> '{}')
        OR EXISTS (SELECT 1 FROM pg_constraint k WHERE k.contypid = domain AND palisade.calls_in(k.conbin::text) <> '{}')
        OR EXISTS (
            SELECT 1 FROM pg_type t JOIN pg_depend d ON d.classid = 'pg_type'::regclass AND d.objid = t.oid
                OR d.classid = 'pg_constraint'::regclass AND d.objid IN (SELECT k.oid FROM pg_constraint k WHERE k.contypid = t.oid)
            WHERE t.oid = domain AND (d.refclassid = 'pg_operator'::regclass AND d.refobjid >= 16384
                OR d.refclassid = 'pg_type'::regclass AND d.refobjid NOT IN (t.oid, t.typbasetype)
                   AND d.refobjid IN (SELECT h.type FROM palisade.hidden h)))
$palisade$;

-- An operator's commutator and negator are changed with it, or made.
CREATE OR REPLACE FUNCTION palisade.end_partners(tag text, operator oid) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT palisade.demand_in(tag, CASE WHEN k.oid IS NULL THEN 128 ELSE 576 END, n.nspname::text)
    FROM pg_operator o JOIN pg_operator p ON p.oid IN (o.oprcom, o.oprnegate) AND p.oid <> o.oid
    JOIN pg_namespace n ON n.oid = p.oprnamespace
    LEFT JOIN palisade.objects k ON k.class = 'pg_operator'::regclass AND k.oid = p.oid
    WHERE o.oid = operator AND palisade.is_of_now(p.xmin)
$palisade$;

-- Functions, types and whatever else has no ACL of its own: the schema's rights count.
CREATE OR REPLACE FUNCTION palisade.end_other(tag text, command text, class oid, object oid, kind text,
    in_schema text, identity text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $palisade$
DECLARE
    me CONSTANT text := session_user::text;
    held CONSTANT integer := palisade.flags(me, in_schema, '');
    needed integer := 64;
    owner text;
    before text;
BEGIN
    -- NULL for what has no owner.
    SELECT r.rolname INTO owner FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid
    WHERE s.dbid = (SELECT b.oid FROM pg_database b WHERE b.datname = current_database())
      AND s.classid = end_other.class AND s.objid = end_other.object AND s.objsubid = 0
      AND s.refclassid = 'pg_authid'::regclass AND s.deptype = 'o';
    IF class = 'pg_type'::regclass AND EXISTS (SELECT 1 FROM pg_type t WHERE t.oid = object AND t.typtype = 'd') THEN
        kind := 'domain';
    ELSIF EXISTS (SELECT 1 FROM pg_proc p WHERE end_other.class = 'pg_proc'::regclass AND p.oid = end_other.object AND p.prosecdef) THEN
        PERFORM palisade.refuse(tag, 'may not make a function SECURITY DEFINER', 'A right belongs to who asks, not to a function.');
    END IF;
    IF class = 'pg_proc'::regclass THEN
        kind := 'ROUTINE';
    ELSIF class = 'pg_operator'::regclass AND command <> 'COMMENT' THEN
        PERFORM palisade.end_partners(tag, object);
    END IF;
    IF command LIKE 'CREATE %' AND owner IS DISTINCT FROM 'palisade_owner' THEN
        PERFORM palisade.demand(tag, 128, held, quote_ident(in_schema));
    ELSE
        IF command <> 'COMMENT' AND (class = 'pg_proc'::regclass OR kind = 'domain' AND palisade.domain_calls(object)) THEN
            needed := 576;
        END IF;
        PERFORM palisade.demand(tag, needed, held, quote_ident(in_schema));
        -- Where it was moved from. What no guard has seen could be from anywhere.
        SELECT o.schema INTO before FROM palisade.objects o WHERE o.class = end_other.class AND o.oid = end_other.object;
        IF before IS DISTINCT FROM in_schema AND EXISTS (SELECT 1 FROM pg_depend d
                WHERE d.classid = end_other.class AND d.objid = end_other.object AND d.refclassid = 'pg_namespace'::regclass) THEN
            PERFORM palisade.demand(tag, needed, palisade.flags(me, coalesce(before, ''), ''),
                coalesce(quote_ident(before), 'any schema'));
            PERFORM palisade.demand(tag, 128, held, quote_ident(in_schema)) WHERE before IS NOT NULL;
        END IF;
        IF command <> 'COMMENT' AND EXISTS (SELECT 1 FROM pg_class c
                LEFT JOIN palisade.objects o ON o.class = 'pg_class'::regclass AND o.oid = c.oid
                WHERE c.relowner = 'palisade_keys'::regrole AND c.relkind IN ('r', 'p')
                  AND (end_other.object = ANY (o.code) OR EXISTS (SELECT 1 FROM pg_trigger t
                      WHERE t.tgrelid = c.oid AND t.tgfoid = end_other.object AND end_other.class = 'pg_proc'::regclass))) THEN
            PERFORM palisade.refuse_code_on_keys(tag);
        END IF;
    END IF;
    IF owner <> 'palisade_owner' THEN
        EXECUTE format('ALTER %s %s OWNER TO palisade_owner', kind, identity);
    END IF;
    PERFORM palisade.remember_others(class, object);
END
$palisade$;

CREATE OR REPLACE FUNCTION palisade.end_schema(tag text, namespace oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $palisade$
DECLARE
    now record;
    known palisade.objects;
BEGIN
    SELECT n.nspname::text AS name, n.nspowner::regrole::text AS owner INTO now FROM pg_namespace n WHERE n.oid = namespace;
    SELECT * INTO known FROM palisade.objects o WHERE o.class = 'pg_namespace'::regclass AND o.oid = namespace;
    IF NOT FOUND AND tag = 'CREATE SCHEMA' THEN
        PERFORM palisade.demand_in(tag, 128, now.name);
    ELSE
        PERFORM palisade.demand_in(tag, 64, now.name);
        IF now.owner <> 'palisade_owner' THEN
            PERFORM palisade.refuse(tag, 'may not change an owner', 'All objects belong to Palisade; rights come from its ledger.');
        END IF;
        IF known.schema IS DISTINCT FROM now.name AND NOT palisade.is_superuser(session_user::text)
                AND EXISTS (SELECT 1 FROM palisade.acls a WHERE a.schema IN (known.schema, now.name)) THEN
            PERFORM palisade.refuse_acl_lost(tag);
        END IF;
    END IF;
    IF known.schema IS DISTINCT FROM now.name THEN
        UPDATE palisade.objects o SET schema = now.name WHERE o.schema = known.schema;
        PERFORM palisade.settle_schema(namespace);
    END IF;
    PERFORM palisade.remember_schema(namespace);
END
$palisade$;

-- GRANT and REVOKE don't say on what: it is found by what changed.
CREATE OR REPLACE FUNCTION palisade.end_grant(tag text, kind text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $palisade$
DECLARE
    changed record;
    touched boolean := false;
    defaults integer;
BEGIN
    FOR changed IN
        SELECT o.oid, o.class, o.schema FROM palisade.objects o
        WHERE o.class IN ('pg_class'::regclass, 'pg_namespace'::regclass) AND o.kind NOT IN ('i', 'I')
          AND o.acl <> coalesce(palisade.acl_text(o.class, o.oid), '')
          -- What a hand dropped, no guard was told of.
          AND (EXISTS (SELECT 1 FROM pg_class c WHERE c.oid = o.oid) OR EXISTS (SELECT 1 FROM pg_namespace n WHERE n.oid = o.oid))
    LOOP
        touched := true;
        IF changed.class = 'pg_namespace'::regclass THEN
            PERFORM palisade.demand_in(tag, 512, changed.schema);
            PERFORM palisade.remember_schema(changed.oid);
        ELSE
            PERFORM palisade.demand_on(tag, 512, changed.oid);
            PERFORM palisade.remember(changed.oid);
        END IF;
    END LOOP;
    -- What has no ACL of its own to look at: only who holds grant on everything.
    IF kind NOT IN ('TABLE', 'SEQUENCE', 'SCHEMA') THEN
        SELECT coalesce(max(CASE WHEN u.superuser THEN 32766 ELSE u.defaults END), 0) INTO defaults
        FROM palisade.users u WHERE u.name = session_user::text AND u.enabled;
        PERFORM palisade.demand(tag, 512, defaults, lower(kind) || 's');
    END IF;
    -- Nothing changed: PostgreSQL only warns. It is refused to who could never do it.
    IF NOT touched AND NOT palisade.holds_anywhere(session_user::text, 512) THEN
        PERFORM palisade.demand(tag, 512, 0, 'any object');
    END IF;
    IF touched THEN
        RAISE NOTICE 'palisade: % outside the ledger does not last: it is drift, and undone at the next reconciliation', tag
            USING HINT = 'Use palisade acl set OBJECT USER PRIVILEGES.';
    END IF;
END
$palisade$;

CREATE OR REPLACE FUNCTION palisade.on_end(fired_by text, tag text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lc_messages = 'C' AS $palisade$
DECLARE
    context text;
    cmd record;
    relation oid;
    lasting boolean := false;
BEGIN
    GET DIAGNOSTICS context = PG_CONTEXT;
    PERFORM palisade.above('end', tag, context);
    IF palisade.is_stranger(fired_by) THEN
        RETURN;
    END IF;
    IF tag IN ('CREATE SEQUENCE', 'ALTER SEQUENCE') THEN
        -- What lend_table lent.
        PERFORM palisade.settle_relation(c.oid), palisade.remember(c.oid) FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
        WHERE r.rolname = session_user AND c.relkind IN ('r', 'p', 'f') AND palisade.is_known(c.oid);
        PERFORM palisade.settle_keys();
    END IF;
    FOR cmd IN SELECT * FROM pg_event_trigger_ddl_commands() LOOP
        CONTINUE WHEN cmd.in_extension;
        IF cmd.schema_name = 'palisade' THEN
            PERFORM palisade.refuse(tag, 'on what is Palisade''s own', 'Its schema is not for users.');
        END IF;
        IF cmd.schema_name = 'pg_temp' THEN
            IF cmd.classid = 'pg_class'::regclass THEN
                PERFORM palisade.end_temporary(tag, cmd.objid);
            END IF;
            CONTINUE;
        END IF;
        IF NOT lasting THEN
            PERFORM palisade.refuse_old_snapshot(tag);
        END IF;
        lasting := true;
        IF cmd.classid IS NULL THEN
            PERFORM palisade.end_grant(cmd.command_tag, cmd.object_type);
        ELSIF cmd.classid = 'pg_class'::regclass THEN
            PERFORM palisade.end_relation(tag, cmd.command_tag, cmd.objid);
        ELSIF cmd.classid = 'pg_namespace'::regclass THEN
            PERFORM palisade.end_schema(tag, cmd.objid);
        ELSIF palisade.relation_of(cmd.classid, cmd.objid) IS NOT NULL THEN
            PERFORM palisade.end_part(tag, cmd.command_tag, palisade.relation_of(cmd.classid, cmd.objid),
                CASE cmd.classid WHEN 'pg_constraint'::regclass THEN 64 ELSE 576 END);
        ELSIF cmd.classid = 'pg_statistic_ext'::regclass THEN
            SELECT s.stxrelid INTO relation FROM pg_statistic_ext s WHERE s.oid = cmd.objid;
            -- A new table's own, by LIKE, come with the table.
            PERFORM palisade.demand_on(tag, 32, relation) WHERE tag <> 'CREATE TABLE';
            IF cmd.command_tag = 'CREATE STATISTICS' THEN
                PERFORM palisade.end_code(tag, relation);
                EXECUTE format('ALTER STATISTICS %s OWNER TO palisade_owner', cmd.object_identity);
                INSERT INTO palisade.objects (class, oid, schema, name, kind, parent, acl, rls, code)
                SELECT 'pg_statistic_ext'::regclass, s.oid, s.stxnamespace::regnamespace::text, s.stxname, 't',
                       s.stxrelid, '', '', '{}' FROM pg_statistic_ext s WHERE s.oid = cmd.objid
                ON CONFLICT (class, oid) DO NOTHING;
            END IF;
        ELSIF cmd.schema_name IS NOT NULL THEN
            PERFORM palisade.end_other(tag, cmd.command_tag, cmd.classid, cmd.objid, cmd.object_type,
                cmd.schema_name, cmd.object_identity);
        ELSIF NOT palisade.is_superuser(session_user::text) THEN
            PERFORM palisade.refuse(tag, 'is for Palisade superusers', 'Ask one.');
        END IF;
    END LOOP;
    IF NOT lasting THEN
        RETURN;
    END IF;
    IF tag = 'ALTER TABLE' THEN
        -- ATTACH and DETACH tell of the parent alone.
        FOR relation IN
            SELECT o.oid FROM palisade.objects o JOIN pg_class c ON c.oid = o.oid
            LEFT JOIN pg_inherits i ON i.inhrelid = c.oid AND c.relispartition
            WHERE o.class = 'pg_class'::regclass AND o.kind IN ('r', 'p', 'f') AND o.parent <> coalesce(i.inhparent, 0)
        LOOP
            PERFORM palisade.end_relation(tag, tag, relation);
        END LOOP;
    END IF;
    IF tag IN ('CREATE TABLE', 'ALTER TABLE', 'CREATE SCHEMA') THEN
        PERFORM palisade.settle_keys();
    END IF;
    IF tag IN ('CREATE TYPE', 'ALTER TABLE', 'CREATE OPERATOR') THEN
        -- A range's multirange type; statistics that ALTER TYPE made anew; an operator's other half.
        FOR cmd IN SELECT x.command FROM palisade.strays() x LOOP
            EXECUTE cmd.command;
        END LOOP;
    ELSIF tag = 'ALTER TYPE' THEN
        -- What has a column of it may run a domain's code now.
        PERFORM palisade.end_code(tag, c.relation)
        FROM (SELECT c.relation, array_agg(c.oid) AS code FROM palisade.code c GROUP BY c.relation) c
        JOIN palisade.objects o ON o.class = 'pg_class'::regclass AND o.oid = c.relation WHERE NOT c.code <@ o.code;
    END IF;
    IF tag = 'ALTER COLLATION' AND NOT palisade.stays() THEN
        PERFORM palisade.refuse(tag, 'on what is Palisade''s own', 'Its schema is not for users.');
    END IF;
    PERFORM pg_notify('palisade_changed', '');
END
$palisade$;

-- The relation of a trigger, policy, rule or constraint: 0 if it is gone, NULL for whatever else there is.
CREATE OR REPLACE FUNCTION palisade.relation_of(class oid, object oid) RETURNS oid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT CASE class
        WHEN 'pg_trigger'::regclass THEN coalesce((SELECT t.tgrelid FROM pg_trigger t WHERE t.oid = object), 0)
        WHEN 'pg_policy'::regclass THEN coalesce((SELECT p.polrelid FROM pg_policy p WHERE p.oid = object), 0)
        WHEN 'pg_rewrite'::regclass THEN coalesce((SELECT r.ev_class FROM pg_rewrite r WHERE r.oid = object), 0)
        WHEN 'pg_constraint'::regclass THEN (SELECT nullif(k.conrelid, 0) FROM pg_constraint k WHERE k.oid = object)
    END
$palisade$;

CREATE OR REPLACE FUNCTION palisade.end_part(tag text, command text, relation oid, needed integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $palisade$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_class c WHERE c.oid = relation AND c.relpersistence <> 't') THEN
        PERFORM palisade.demand_on(tag, needed, relation);
        IF command = 'CREATE TRIGGER' THEN
            PERFORM palisade.demand_code(tag, relation);
        END IF;
    END IF;
END
$palisade$;

CREATE OR REPLACE FUNCTION palisade.on_drop(fired_by text, tag text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $palisade$
DECLARE
    me CONSTANT text := session_user::text;
    gone record;
    known palisade.objects;
    owner_table oid;
    lasting boolean := false;
BEGIN
    IF palisade.is_stranger(fired_by) THEN
        RETURN;
    END IF;
    FOR gone IN SELECT * FROM pg_event_trigger_dropped_objects() LOOP
        CONTINUE WHEN gone.is_temporary;
        IF NOT lasting THEN
            PERFORM palisade.refuse_old_snapshot(tag);
        END IF;
        lasting := true;
        SELECT * INTO known FROM palisade.objects o WHERE o.class = gone.classid AND o.oid = gone.objid;
        IF gone.schema_name = 'palisade' OR gone.object_name = 'palisade' AND gone.object_type = 'schema' THEN
            PERFORM palisade.refuse(tag, 'on what is Palisade''s own', 'Its schema is not for users.');
        ELSIF gone.classid = 'pg_class'::regclass AND gone.objsubid = 0 THEN
            IF known.oid IS NULL AND gone.object_type IN ('table', 'view', 'materialized view', 'foreign table') THEN
                PERFORM palisade.demand(tag, 256, palisade.flags(me, gone.schema_name, gone.object_name), gone.object_identity);
            ELSIF known.kind IN ('r', 'p', 'v', 'm', 'f') OR known.kind = 'S' AND (gone.original OR gone.normal) THEN
                PERFORM palisade.demand(tag, 256, palisade.flags_gone(me, known), gone.object_identity);
            ELSIF known.kind IN ('i', 'I') AND (gone.original OR gone.normal) THEN
                PERFORM palisade.demand(tag, 32, palisade.flags_gone(me, known), gone.object_identity);
            END IF;
        ELSIF gone.object_type = 'schema' THEN
            PERFORM palisade.demand(tag, 256, palisade.flags(me, gone.object_name, ''), gone.object_identity);
        ELSIF NOT (gone.original OR gone.normal) THEN
            CONTINUE;
        ELSIF gone.classid = 'pg_statistic_ext'::regclass THEN
            PERFORM palisade.demand(tag, 32, palisade.flags_gone(me, known), gone.object_identity);
        ELSIF gone.object_type IN ('table column', 'table constraint', 'default value', 'trigger', 'policy', 'rule',
                                   'foreign table column') THEN
            -- Address names are schema, relation, part. A part goes with its relation.
            SELECT c.oid INTO owner_table FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = gone.address_names[1] AND c.relname = gone.address_names[2];
            IF FOUND THEN
                PERFORM palisade.demand_on(tag,
                    CASE WHEN gone.object_type IN ('trigger', 'policy', 'rule') THEN 576 ELSE 64 END, owner_table);
            END IF;
        ELSIF gone.schema_name IS NOT NULL THEN
            PERFORM palisade.demand(tag, CASE WHEN gone.object_type IN ('domain constraint', 'composite type column') THEN 64 ELSE 256 END,
                palisade.flags(me, gone.schema_name, ''), gone.object_identity);
        ELSIF NOT palisade.is_superuser(me) THEN
            PERFORM palisade.refuse(tag, format('of %s is for Palisade superusers', gone.object_identity), 'Ask one.');
        END IF;
    END LOOP;
    IF NOT lasting THEN
        RETURN;
    END IF;
    DELETE FROM palisade.objects o USING pg_event_trigger_dropped_objects() d
    WHERE o.class = d.classid AND o.oid = d.objid AND d.objsubid = 0;
    -- An object's own groups go with it.
    FOR gone IN
        SELECT r.rolname FROM pg_event_trigger_dropped_objects() d
        JOIN pg_roles r ON r.rolname ~ ('^palisade_(usage|select|insert|update|delete)_' || d.objid || '$')
        WHERE d.objsubid = 0 AND d.classid IN ('pg_class'::regclass, 'pg_namespace'::regclass)
    LOOP
        EXECUTE format('DROP OWNED BY %I', gone.rolname);
        EXECUTE format('DROP ROLE %I', gone.rolname);
    END LOOP;
    PERFORM palisade.settle_keys();
    PERFORM pg_notify('palisade_changed', '');
END
$palisade$;

-- The rights on a relation that is gone from the catalogue, by what was remembered.
CREATE OR REPLACE FUNCTION palisade.flags_gone(who text, gone palisade.objects) RETURNS integer
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
DECLARE
    step palisade.objects := gone;
    hops integer := 0;
BEGIN
    WHILE step.parent <> 0 AND hops < 32 AND (palisade.acl_of(who, step.schema, step.name) IS NULL
            OR step.kind IN ('i', 'I', 't')) LOOP
        hops := hops + 1;
        SELECT * INTO step FROM palisade.objects o WHERE o.class = 'pg_class'::regclass AND o.oid = step.parent;
        EXIT WHEN NOT FOUND;
    END LOOP;
    RETURN coalesce(palisade.flags(who, step.schema, step.name), 0);
END
$palisade$;

-- PostgreSQL says which table it is about to rewrite: the last word on expressions over rows.
CREATE OR REPLACE FUNCTION palisade.on_rewrite(fired_by text, tag text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $palisade$
BEGIN
    IF NOT palisade.is_stranger(fired_by) AND EXISTS (SELECT 1 FROM pg_class c
            WHERE c.oid = pg_event_trigger_table_rewrite_oid() AND c.relpersistence <> 't') THEN
        PERFORM palisade.refuse_old_snapshot(tag);
        PERFORM palisade.demand_on(tag || ' that rewrites rows', 2, pg_event_trigger_table_rewrite_oid());
    END IF;
END
$palisade$;

CREATE OR REPLACE FUNCTION palisade.by_superuser(fired_by text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT EXISTS (SELECT 1 FROM pg_roles r WHERE r.rolname = fired_by AND r.rolsuper)
$palisade$;

CREATE OR REPLACE FUNCTION palisade.guard_start() RETURNS event_trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
SET standard_conforming_strings = on SET transform_null_equals = off AS $palisade$
BEGIN
    IF NOT palisade.by_superuser(current_user::text) THEN
        -- An expression, not PERFORM: on_start looks who calls it.
        IF palisade.on_start(current_user::text, tg_tag) IS NULL THEN
        END IF;
    END IF;
END
$palisade$;

CREATE OR REPLACE FUNCTION palisade.guard_end() RETURNS event_trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
SET standard_conforming_strings = on SET transform_null_equals = off AS $palisade$
BEGIN
    IF NOT palisade.by_superuser(current_user::text) THEN
        -- As in guard_start.
        IF palisade.on_end(current_user::text, tg_tag) IS NULL THEN
        END IF;
        PERFORM palisade.leave_role(tg_tag);
    END IF;
END
$palisade$;

CREATE OR REPLACE FUNCTION palisade.guard_drop() RETURNS event_trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
SET standard_conforming_strings = on SET transform_null_equals = off AS $palisade$
BEGIN
    IF NOT palisade.by_superuser(current_user::text) THEN
        PERFORM palisade.on_drop(current_user::text, tg_tag);
    END IF;
END
$palisade$;

CREATE OR REPLACE FUNCTION palisade.guard_rewrite() RETURNS event_trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
SET standard_conforming_strings = on SET transform_null_equals = off AS $palisade$
BEGIN
    IF NOT palisade.by_superuser(current_user::text) THEN
        PERFORM palisade.on_rewrite(current_user::text, tg_tag);
    END IF;
END
$palisade$;

-- Is what stops REASSIGN OWNED in its place?
CREATE OR REPLACE FUNCTION palisade.stays() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT count(*) = 2 FROM pg_collation c JOIN pg_roles r ON r.oid = c.collowner
    WHERE c.collnamespace = 'palisade'::regnamespace
      AND (c.collname, r.rolname) IN (('stays', 'palisade_owner'), ('stays_too', 'palisade_keys'))
$palisade$;

-- REASSIGN OWNED fires no event trigger, and every member of palisade_owner could say it. It stops at the
-- first object that the new owner may not own: this one, in a schema where nobody may create.
DO $palisade$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_catalog.pg_collation c
                   WHERE c.collname = 'stays' AND c.collnamespace = 'palisade'::regnamespace) THEN
        CREATE COLLATION palisade.stays FROM "C";
    END IF;
    ALTER COLLATION palisade.stays OWNER TO palisade_owner;
    IF NOT EXISTS (SELECT 1 FROM pg_catalog.pg_collation c
                   WHERE c.collname = 'stays_too' AND c.collnamespace = 'palisade'::regnamespace) THEN
        CREATE COLLATION palisade.stays_too FROM "C";
    END IF;
    ALTER COLLATION palisade.stays_too OWNER TO palisade_keys;
END
$palisade$;
