-- CREATE on a schema, lent for a statement. EXPLAIN makes a table and fires no event trigger: PostgreSQL's own
-- CREATE is all that it asks for. So nobody holds that right but Palisade's superusers; whoever may `create`,
-- `alter` or `index` anywhere (an index, a constraint and a new name ask for it, too) has it while a statement runs
-- that fires the guards. They decide whether it passes.
--
-- What lends and takes back are event triggers themselves, so nobody calls them. Within them current_user
-- is the bootstrap superuser, also when a guard's own statement fired them: they count how deep they are.

-- Rights are read as they are now: where the snapshot is an older one, nothing lasting may be defined (palisade.
-- refuse_old_snapshot), so nothing is lent.
CREATE OR REPLACE FUNCTION palisade.lends_now() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT current_setting('transaction_isolation') IN ('read committed', 'read uncommitted')
$palisade$;

-- It is lent by one of sixteen roles, that transactions need not wait for each other: PostgreSQL lets one at a time
-- change who is in a role (from version 16 on), or put the same user into it (before).
CREATE OR REPLACE FUNCTION palisade.lend(tag text, from_client boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $palisade$
DECLARE
    lent text;
BEGIN
    UPDATE palisade.loans l SET depth = l.depth + 1 WHERE l.member = session_user::text;
    IF FOUND OR current_setting('role') NOT IN ('none', session_user::text)
            OR pg_has_role(session_user, 'palisade_make', 'USAGE') OR NOT palisade.holds_anywhere(session_user::text, 224) THEN
        RETURN;
    END IF;
    SELECT l.role INTO lent FROM palisade.loans l
    ORDER BY l.taken IS NOT DISTINCT FROM pg_current_xact_id() DESC LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF lent IS NULL THEN
        lent := 'palisade_lent_' || 1 + floor(16 * random())::integer;
    END IF;
    SET CONSTRAINTS palisade.at_commit_1, palisade.at_commit_2 DEFERRED;
    UPDATE palisade.loans l SET member = session_user::text, taken = pg_current_xact_id(), depth = 1,
        commits = from_client AND tag IN ('CREATE INDEX', 'ALTER TABLE') AND current_query() ~* 'concurrently'
    WHERE l.role = lent;
    EXECUTE format('GRANT %I TO %I %s', lent, session_user,
        CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'WITH INHERIT TRUE, SET FALSE' END);
END
$palisade$;

-- Code of a user's own may have run in the statement (USING, CHECK, DEFAULT, a query): it must have made nothing
-- that no guard saw.
CREATE OR REPLACE FUNCTION palisade.take_back(tag text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $palisade$
DECLARE
    lent text;
BEGIN
    UPDATE palisade.loans l SET depth = l.depth - 1, member = CASE WHEN l.depth > 1 THEN l.member END
    WHERE l.member = session_user::text RETURNING CASE WHEN l.depth = 0 THEN l.role END INTO lent;
    IF lent IS NULL THEN
        RETURN;
    END IF;
    IF EXISTS (
        SELECT 1 FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND c.relpersistence <> 't'
          AND palisade.is_of_now(c.xmin)
          AND (r.rolname ~ '^palisade_' OR pg_has_role(session_user, r.oid, 'MEMBER'))
          AND NOT palisade.is_known(c.oid)
    ) OR EXISTS (
        -- Nor may what is lent own anything then, be it temporary: REASSIGN OWNED fires no event trigger.
        SELECT 1 FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid
        WHERE s.refclassid = 'pg_authid'::regclass AND s.deptype = 'o' AND r.rolname ~ '^palisade_(make|lent_\d+)$'
          AND palisade.is_of_now(s.xmin)
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

-- Before version 16 who is lent a role may take it (SET ROLE), and keep it: she goes back to herself, also in what
-- SET LOCAL covers until the transaction ends. For whoever fired it, not as the bootstrap superuser.
CREATE OR REPLACE FUNCTION palisade.leave_role(tag text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $palisade$
BEGIN
    IF NOT palisade.lends_now() OR NOT palisade.has_loan() THEN
        RETURN;
    ELSIF current_setting('role') NOT IN ('none', session_user::text) THEN
        PERFORM palisade.refuse(tag, 'ran code that takes another role', 'Take it before the statement.');
    END IF;
    BEGIN
        PERFORM set_config('role', 'none', false) WHERE current_setting('server_version_num')::integer < 160000;
    EXCEPTION WHEN insufficient_privilege THEN
        -- Where PostgreSQL lets nobody take a role, nobody has: within a function or a view's query that runs with
        -- the rights of somebody else.
        NULL;
    END;
END
$palisade$;

-- A temporary table needs nothing lent.
CREATE OR REPLACE FUNCTION palisade.guard_lend() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
SET standard_conforming_strings = on SET transform_null_equals = off AS $palisade$
DECLARE
    context text;
BEGIN
    IF tg_tag ~ '^(CREATE|ALTER|SELECT) ' AND palisade.lends_now() THEN
        GET DIAGNOSTICS context = PG_CONTEXT;
        IF context ~ '\n' OR current_query() ~ ';'
                OR current_query() !~* '^\s*create\s+((local|global)\s+)?temp(orary)?\s' THEN
            PERFORM palisade.lend(tg_tag, context !~ '\n');
        END IF;
    END IF;
END
$palisade$;

CREATE OR REPLACE FUNCTION palisade.guard_take_back() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
SET standard_conforming_strings = on SET transform_null_equals = off AS $palisade$
BEGIN
    IF tg_tag ~ '^(CREATE|ALTER|SELECT) ' AND palisade.lends_now() THEN
        PERFORM palisade.take_back(tg_tag);
    END IF;
END
$palisade$;

-- CONCURRENTLY commits before the statement ends: what was lent ends there, too. Two triggers, as at the end of
-- other statements: one as whoever fired it, one as the bootstrap superuser. Neither may be fired sooner, by a
-- function that says SET CONSTRAINTS: no function stands above them when a transaction commits.
CREATE OR REPLACE FUNCTION palisade.at_commit_1() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $palisade$
DECLARE
    context text;
BEGIN
    GET DIAGNOSTICS context = PG_CONTEXT;
    IF context ~ '\n' THEN
        PERFORM palisade.refuse('SET CONSTRAINTS', 'in a function, within a statement that is CONCURRENTLY', 'Leave it out.');
    END IF;
    PERFORM palisade.leave_role('COMMIT');
    RETURN NULL;
END
$palisade$;

CREATE OR REPLACE FUNCTION palisade.at_commit_2() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $palisade$
DECLARE
    context text;
BEGIN
    GET DIAGNOSTICS context = PG_CONTEXT;
    IF context ~ '\n' OR TG_RELID <> 'palisade.loans'::regclass THEN
        PERFORM palisade.refuse('SET CONSTRAINTS', 'in a function, within a statement that is CONCURRENTLY', 'Leave it out.');
    END IF;
    -- A new index is there by now, for good if nothing refuses it here.
    PERFORM palisade.end_code('CREATE INDEX', i.indrelid), palisade.remember(i.indexrelid)
    FROM pg_index i WHERE NOT i.indisvalid AND palisade.is_of_now(i.xmin) AND palisade.is_known(i.indrelid);
    UPDATE palisade.loans l SET depth = 1 WHERE l.member = session_user::text AND l.depth > 1;
    PERFORM palisade.take_back('COMMIT');
    RETURN NULL;
END
$palisade$;

DO $palisade$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['at_commit_1', 'at_commit_2'] LOOP
        CONTINUE WHEN EXISTS (
            SELECT 1 FROM pg_catalog.pg_trigger t
            WHERE t.tgrelid = 'palisade.loans'::pg_catalog.regclass AND t.tgname = name AND t.tgenabled = 'A' AND t.tginitdeferred
              AND t.tgfoid = pg_catalog.to_regprocedure(pg_catalog.format('palisade.%I()', name)));
        EXECUTE format('DROP TRIGGER IF EXISTS %I ON palisade.loans', name);
        EXECUTE format('CREATE CONSTRAINT TRIGGER %I AFTER UPDATE ON palisade.loans DEFERRABLE INITIALLY DEFERRED '
            || 'FOR EACH ROW WHEN (new.commits AND new.depth = 1) EXECUTE FUNCTION palisade.%I()', name, name);
        EXECUTE format('ALTER TABLE palisade.loans ENABLE ALWAYS TRIGGER %I', name);
    END LOOP;
END
$palisade$;

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
