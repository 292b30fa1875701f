-- CREATE on a schema, lent for a statement. EXPLAIN makes a table and fires no event trigger: PostgreSQL's own
-- CREATE is all that it asks for. So nobody holds that right but Palisade's superusers; whoever may `create`,
-- `alter` or `index` anywhere (an index, a constraint and a new name ask for it, too) has it while a statement runs
-- that fires the guards. They decide whether it passes.
--
-- What lends and takes back are event triggers themselves, so nobody calls them. Within them current_user
-- is the bootstrap superuser, also when a guard's own statement fired them: they count how deep they are.

-- It is lent by one of sixteen roles, that transactions need not wait for each other: PostgreSQL lets one at a time
-- change who is in a role (from version 16 on), or put the same user into it (before). A temporary table needs
-- nothing of it; where the text is read wrongly here, PostgreSQL refuses the statement.
CREATE OR REPLACE FUNCTION palisade.lend() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $palisade$
DECLARE
    slot integer;
    lent text;
BEGIN
    UPDATE palisade.loans l SET depth = l.depth + 1 WHERE l.member = session_user::text;
    IF FOUND OR current_setting('role') NOT IN ('none', session_user::text)
            OR current_query() ~* '^\s*create\s+((local|global)\s+)?temp(orary)?\s'
            OR pg_has_role(session_user, 'palisade_make', 'USAGE') OR NOT EXISTS (
        SELECT 1 FROM palisade.users u WHERE u.name = session_user::text AND u.enabled AND u.defaults & 1 = 0
           AND (u.defaults & 224 <> 0 OR EXISTS (SELECT 1 FROM palisade.acls a
                WHERE a.user_name = u.name AND a.privileges & 1 = 0 AND a.privileges & 224 <> 0))
    ) THEN
        RETURN;
    END IF;
    SELECT s INTO slot FROM generate_series(1, 16) s
    WHERE pg_try_advisory_xact_lock('palisade.loans'::regclass::oid::integer, s) LIMIT 1;
    lent := 'palisade_lent_' || coalesce(slot, 1 + floor(16 * random())::integer);
    INSERT INTO palisade.loans (role, member) VALUES (lent, session_user::text);
    EXECUTE format('GRANT %I TO %I %s', lent, session_user,
        CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'WITH INHERIT TRUE, SET FALSE' END);
END
$palisade$;

-- Code of a user's own may have run in the statement (USING, CHECK, DEFAULT, a query): it must have made nothing
-- that no guard saw.
CREATE OR REPLACE FUNCTION palisade.take_back(tag text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $palisade$
DECLARE
    first CONSTANT bigint := pg_current_xact_id()::text::bigint & 4294967295;
    lent text;
BEGIN
    UPDATE palisade.loans l SET depth = l.depth - 1 WHERE l.member = session_user::text;
    DELETE FROM palisade.loans l WHERE l.member = session_user::text AND l.depth = 0 RETURNING l.role INTO lent;
    IF lent IS NULL THEN
        RETURN;
    END IF;
    -- Of this transaction is what bears its number or a later one; the numbers go round after 32 bits.
    IF EXISTS (
        SELECT 1 FROM pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND c.relpersistence <> 't'
           AND (c.xmin::text::bigint - first) & 4294967295 < 2147483648
           AND pg_has_role(session_user, c.relowner, 'MEMBER')
           AND NOT EXISTS (SELECT 1 FROM palisade.objects o WHERE o.class = 'pg_class'::regclass AND o.oid = c.oid)
    ) THEN
        PERFORM palisade.refuse(tag, 'ran code that made something past the guards', 'Make it by a statement of its own.');
    END IF;
    EXECUTE format('REVOKE %I FROM %I', lent, session_user);
END
$palisade$;

-- Is anything lent to the session's user?
CREATE OR REPLACE FUNCTION palisade.has_loan() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT EXISTS (SELECT 1 FROM palisade.loans l WHERE l.member = session_user::text)
$palisade$;

CREATE OR REPLACE FUNCTION palisade.guard_lend() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
SET standard_conforming_strings = on SET transform_null_equals = off AS $palisade$
BEGIN
    IF tg_tag ~ '^(CREATE|ALTER|SELECT) ' THEN
        PERFORM palisade.lend();
    END IF;
END
$palisade$;

CREATE OR REPLACE FUNCTION palisade.guard_take_back() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
SET standard_conforming_strings = on SET transform_null_equals = off AS $palisade$
BEGIN
    IF tg_tag ~ '^(CREATE|ALTER|SELECT) ' THEN
        PERFORM palisade.take_back(tg_tag);
    END IF;
END
$palisade$;

-- CREATE INDEX CONCURRENTLY commits before it ends: what was lent ends there, too.
CREATE OR REPLACE FUNCTION palisade.at_commit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $palisade$
BEGIN
    IF TG_RELID = 'palisade.loans'::regclass THEN
        UPDATE palisade.loans l SET depth = 1 WHERE l.member = session_user::text;
        PERFORM palisade.take_back('COMMIT');
    END IF;
    RETURN NULL;
END
$palisade$;
DROP TRIGGER IF EXISTS at_commit ON palisade.loans;
CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON palisade.loans DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION palisade.at_commit();
ALTER TABLE palisade.loans ENABLE ALWAYS TRIGGER at_commit;

-- They fire in the order of their names. ALWAYS: session_replication_role does not switch them off.
DO $palisade$
DECLARE
    guard record;
BEGIN
    FOR guard IN SELECT * FROM (VALUES
        ('palisade_start', 'ddl_command_start', 'guard_start'), ('palisade_end', 'ddl_command_end', 'guard_end'),
        ('palisade_start_lend', 'ddl_command_start', 'guard_lend'),
        ('palisade_end_take_back', 'ddl_command_end', 'guard_take_back'),
        ('palisade_drop', 'sql_drop', 'guard_drop'), ('palisade_rewrite', 'table_rewrite', 'guard_rewrite')
    ) AS g (name, event, function) LOOP
        EXECUTE format('DROP EVENT TRIGGER IF EXISTS %I', guard.name);
        EXECUTE format('CREATE EVENT TRIGGER %I ON %s EXECUTE FUNCTION palisade.%I()',
            guard.name, guard.event, guard.function);
        EXECUTE format('ALTER EVENT TRIGGER %I ENABLE ALWAYS', guard.name);
    END LOOP;
END
$palisade$;
