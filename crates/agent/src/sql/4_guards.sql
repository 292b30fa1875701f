-- The guards: event triggers that ask, for every statement that defines something, whether the session's
-- user holds the flag for it. Each is an outer function that runs as whoever fired it (so it sees who that
-- is) and an inner one that runs as the bootstrap superuser and reads the tables. What a guard itself
-- executes fires the guards again; there the outer function sees a superuser and lets it pass. The user is
-- session_user, which neither SET ROLE nor a SECURITY DEFINER function changes; but a background process
-- (autovacuum calls the functions in an index) has the superuser as session_user and the table's owner as
-- current_user, so session_user alone never lets anything pass. The outer ones also pin the settings that
-- change how a text is read or written, for all that they call.

CREATE OR REPLACE FUNCTION palisade.refuse(tag text, why text, remedy text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $palisade$
BEGIN
    RAISE EXCEPTION 'permission denied: % %', tag, why
        USING ERRCODE = 'insufficient_privilege', HINT = remedy;
END
$palisade$;

-- Refuses unless `held` has all flags of `needed`.
CREATE OR REPLACE FUNCTION palisade.demand(tag text, needed integer, held integer, object text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $palisade$
BEGIN
    IF held & needed <> needed THEN
        PERFORM palisade.refuse(tag, format('needs %s on %s', palisade.flag_names(needed), object),
            'A user with set_acl can give it: palisade acl set.');
    END IF;
END
$palisade$;

CREATE OR REPLACE FUNCTION palisade.refuse_acl_lost(tag text) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT palisade.refuse(tag, 'would shed or take over an explicit ACL',
        'Unset the ACL first (palisade acl unset), or ask a Palisade superuser.')
$palisade$;

CREATE OR REPLACE FUNCTION palisade.label(relation oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT format('%I.%I', n.nspname, c.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation
$palisade$;

CREATE OR REPLACE FUNCTION palisade.demand_on(tag text, needed integer, relation oid) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT palisade.demand(tag, needed, palisade.flags_on(session_user::text, relation), palisade.label(relation))
$palisade$;

CREATE OR REPLACE FUNCTION palisade.demand_in(tag text, needed integer, in_schema text) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT palisade.demand(tag, needed, palisade.flags(session_user::text, in_schema, ''), quote_ident(in_schema))
$palisade$;

-- Refuses unless the user reads every relation that the name in the statement can mean, and all that
-- inherits from it. The name may be unqualified: then it can mean any relation so called.
CREATE OR REPLACE FUNCTION palisade.demand_by_name(tag text, needed integer, words text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $palisade$
DECLARE
    relation oid;
BEGIN
    FOR relation IN
        WITH RECURSIVE tree AS (
            SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relname = words[cardinality(words)] AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'i', 'I')
              AND n.nspname !~ '^pg_(temp|toast)' AND (cardinality(words) = 1 OR n.nspname = words[1])
            UNION
            SELECT i.inhrelid FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid
        )
        SELECT t.oid FROM tree t JOIN pg_class c ON c.oid = t.oid
        WHERE c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
    LOOP
        PERFORM palisade.demand_on(tag, needed, relation);
    END LOOP;
END
$palisade$;

-- A name in a statement, and one that may have its schema before it: regular expressions.
CREATE OR REPLACE FUNCTION palisade.ident() RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT '(?:"(?:[^"]|"")+"|[a-z_][a-z0-9_$]*)'
$palisade$;

CREATE OR REPLACE FUNCTION palisade.named() RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT palisade.ident() || '(?:\s*\.\s*' || palisade.ident() || ')?'
$palisade$;

-- The words of a possibly qualified, possibly quoted name, folded and cut as SQL does it.
CREATE OR REPLACE FUNCTION palisade.words(name text) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT parse_ident(name)::name[]::text[]
$palisade$;

-- What the client sent, without comments; from a string with a backslash or from a dollar on, as it is: what these
-- mean depends on more than the text (PostgreSQL, chapter 4.1).
CREATE OR REPLACE FUNCTION palisade.statement() RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
DECLARE
    comment CONSTANT text := '--[^\n\r]*|/\*(?:[^*/]|\*(?!/)|/(?!\*))*\*/';
    plain text := '';
    -- In a background process there is none.
    rest text := coalesce(current_query(), '');
    part text;
    depth integer;
BEGIN
    LOOP
        part := substring(rest FROM '^(?:"[^"]*"|''[^''\\]*''|' || comment || '|[^"''$/-]|/(?!\*)|-(?!-))*');
        plain := plain || regexp_replace(part, '((?:"[^"]*")+|(?:''[^'']*'')+)|' || comment, '\1 ', 'g');
        rest := substr(rest, length(part) + 1);
        EXIT WHEN rest !~ '^/\*';
        -- A comment that has comments within.
        depth := 0;
        LOOP
            part := substring(rest FROM '^(?:[^*/]|\*(?!/)|/(?!\*))*(?:\*/|/\*)');
            IF part IS NULL THEN
                RETURN plain || rest;
            END IF;
            rest := substr(rest, length(part) + 1);
            depth := depth + CASE right(part, 2) WHEN '/*' THEN 1 ELSE -1 END;
            EXIT WHEN depth = 0;
        END LOOP;
        plain := plain || ' ';
    END LOOP;
    RETURN regexp_replace(plain || rest, '^\s+|\s*;?\s*$', '', 'g');
END
$palisade$;

-- Statements in which PostgreSQL evaluates expressions over rows that are there already, before any
-- later check. Only the text of a single statement that the client sent itself is believed; anything
-- else is refused for those who don't read everything. A name counts only when what PostgreSQL expects
-- behind it follows: a name that is cut short by what this does not know (a third part, U&, a letter
-- beyond ASCII) is none.
CREATE OR REPLACE FUNCTION palisade.check_expressions(tag text, from_client boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $palisade$
DECLARE
    ident CONSTANT text := palisade.ident();
    named CONSTANT text := palisade.named();
    plain_type CONSTANT text := '(?:bool|boolean|smallint|int|int2|int4|int8|integer|bigint|real|float|float4|float8'
        || '|double\s+precision|numeric(?:\s*\(\s*\d+\s*(?:,\s*\d+\s*)?\))?|decimal|text|bytea|uuid|json|jsonb|date'
        || '|time|timetz|timestamp|timestamptz|(?:time|timestamp)\s+with(?:out)?\s+time\s+zone|interval|inet|cidr'
        || '|(?:var)?char(?:acter)?(?:\s+varying)?(?:\s*\(\s*\d+\s*\))?)(?:\s*\[\s*\])?';
    harmless CONSTANT text := '^(?:rename\s+(?:(?:column\s+|constraint\s+)?' || ident || '\s+)?to\s+' || ident
        || '|set\s+schema\s+' || ident
        || '|owner\s+to\s+' || ident
        || '|(?:enable|disable|force|no\s+force)\s+row\s+level\s+security'
        || '|(?:enable|disable)\s+trigger\s+' || ident
        || '|drop\s+(?:column\s+|constraint\s+)?(?:if\s+exists\s+)?' || ident || '(?:\s+cascade|\s+restrict)?'
        || '|alter\s+(?:column\s+)?' || ident || '\s+(?:drop\s+default|drop\s+not\s+null|set\s+not\s+null'
        || '|set\s+statistics\s+-?\d+|drop\s+expression|drop\s+identity)'
        || '|add\s+(?:column\s+)?(?:if\s+not\s+exists\s+)?' || ident || '\s+(' || plain_type || '))$';
    statement text;
    part text[];
    kind text;
    other text;
BEGIN
    IF palisade.reads_all(session_user::text) THEN
        RETURN;
    END IF;
    statement := palisade.statement();
    IF from_client AND tag IN ('ALTER DOMAIN', 'ALTER TYPE') AND statement ~* ('^alter\s+(type|domain)\s+' || named || '\s+(?:'
            || '(?:rename\s+to|owner\s+to|set\s+schema)\s+' || ident
            || '|rename\s+(?:attribute|constraint)\s+' || ident || '\s+to\s+' || ident || '(?:\s+cascade|\s+restrict)?'
            || '|drop\s+(?:attribute|constraint)\s+(?:if\s+exists\s+)?' || ident || '(?:\s+cascade|\s+restrict)?'
            || '|drop\s+(?:default|not\s+null)|(?:add|rename)\s+value\s[^;]*)$') THEN
        RETURN;
    END IF;
    -- One line of context is the guard's own: no function stands between it and the client.
    IF from_client AND statement !~ ';|--|/\*' AND tag NOT IN ('ALTER DOMAIN', 'ALTER TYPE') THEN
        IF tag = 'CREATE INDEX' THEN
            part := regexp_match(statement, '^create\s+(?:unique\s+)?index\s+(?:concurrently\s+)?(?:(?:if\s+not\s+exists\s+)?'
                || ident || '\s+)?on\s+(?:only\s+)?(' || named || ')(\s*\(.*|\s+using\s.*)$', 'i');
            IF part IS NOT NULL THEN
                IF part[2] ~* ('^\s*(?:using\s+(?:btree|hash|gin|gist|brin|spgist)\s*)?\(\s*' || ident
                        || '(?:\s+asc|\s+desc)?(?:\s*,\s*' || ident || '(?:\s+asc|\s+desc)?)*\s*\)$') THEN
                    RETURN;
                END IF;
                PERFORM palisade.demand_by_name(tag, 2, palisade.words(part[1]));
                RETURN;
            END IF;
        ELSIF tag = 'CREATE STATISTICS' THEN
            part := regexp_match(statement, '^create\s+statistics\s+[^()]*(?:\([^()]*\)\s*)?on\s+.*\s+from\s+('
                || named || ')$', 'i');
            IF part IS NOT NULL THEN
                PERFORM palisade.demand_by_name(tag, 2, palisade.words(part[1]));
                RETURN;
            END IF;
        ELSE
            part := regexp_match(statement, '^alter\s+(table|foreign\s+table|view|materialized\s+view|sequence|index)\s+'
                || '(?:if\s+exists\s+)?(?:only\s+)?(' || named || ')\s*\*?\s+('
                || '(?:add|alter|attach|cluster|detach|disable|drop|enable|force|inherit|no|not|of|owner|rename|replica'
                || '|reset|set|validate)\s.*)$', 'i');
            IF part IS NOT NULL THEN
                kind := (regexp_match(part[3], harmless, 'i'))[1];
                -- A user's own type may bear a built-in name, and its default may be a function.
                IF part[3] ~* harmless AND NOT EXISTS (SELECT 1 FROM pg_type t
                        WHERE t.typname = lower((regexp_match(kind, '^\w+'))[1]) AND t.oid >= 16384) THEN
                    RETURN;
                END IF;
                IF lower(part[1]) IN ('sequence', 'index') THEN
                    RETURN;
                END IF;
                -- A second table, if there is one, by its whole name.
                other := (regexp_match(part[3], '\m(?:attach\s+partition|inherit|references)\s+(' || named
                    || ')(?:\s|\(|$)', 'i'))[1];
                IF regexp_count(part[3], '(attach|inherit|references)', 1, 'i') = (other IS NOT NULL)::integer THEN
                    PERFORM palisade.demand_by_name(tag, 2, palisade.words(part[2]));
                    PERFORM palisade.demand_by_name(tag, 2, palisade.words(other)) WHERE other IS NOT NULL;
                    RETURN;
                END IF;
            END IF;
        END IF;
    END IF;
    PERFORM palisade.refuse(tag, 'in this form needs select on all there is',
        'It could show rows that this user may not read. Send it as a single plain statement that names the table.');
END
$palisade$;

-- CONCURRENTLY? PostgreSQL takes it only as a single statement from the client. Nothing stands before the word in an
-- index's statement that palisade.statement() can't read; of DETACH, what stands in quotes is left out where it read all.
CREATE OR REPLACE FUNCTION palisade.is_concurrent(tag text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
DECLARE
    statement text;
BEGIN
    IF tag NOT IN ('CREATE INDEX', 'DROP INDEX', 'ALTER TABLE') OR current_query() !~* 'concurrently' THEN
        RETURN false;
    END IF;
    statement := palisade.statement();
    IF tag <> 'ALTER TABLE' THEN
        RETURN statement ~* '^[\s;]*(create\s+(unique\s+)?|drop\s+)index\s+concurrently(?![\w$])';
    ELSIF statement !~ '[\\$]' THEN
        statement := regexp_replace(statement, '"[^"]*"|''[^'']*''', '""', 'g');
    END IF;
    RETURN statement ~* '\mdetach\M.*\mconcurrently\M';
END
$palisade$;

-- It commits before the statement ends, so what could refuse it then is asked first.
CREATE OR REPLACE FUNCTION palisade.check_concurrently(tag text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $palisade$
DECLARE
    ident CONSTANT text := palisade.ident();
    named CONSTANT text := palisade.named();
    part text[];
    words text[];
BEGIN
    part := regexp_match(palisade.statement(), CASE tag
        WHEN 'CREATE INDEX' THEN '^create\s+(?:unique\s+)?index\s+concurrently\s+(?:(?:if\s+not\s+exists\s+)?' || ident
            || '\s+)?on\s+(?:only\s+)?(' || named || ')(?:\s*\(|\s+using\s)'
        WHEN 'DROP INDEX' THEN '^drop\s+index\s+concurrently\s+(?:if\s+exists\s+)?(' || named
            || ')(?:\s+cascade|\s+restrict)?$'
        ELSE '^alter\s+table\s+(?:if\s+exists\s+)?(' || named || ')\s+detach\s+partition\s+(' || named
            || ')\s+concurrently$' END, 'i');
    IF part IS NULL THEN
        PERFORM palisade.refuse(tag, 'CONCURRENTLY in this form is for Palisade superusers',
            'Write plain names, or leave out CONCURRENTLY.');
    ELSIF current_setting('role') NOT IN ('none', session_user::text) THEN
        -- Nothing would be lent then, nor looked at where it ends.
        PERFORM palisade.refuse(tag, 'CONCURRENTLY by another role', 'RESET ROLE.');
    ELSIF tag = 'ALTER TABLE' THEN
        PERFORM palisade.demand_by_name(tag, 64, palisade.words(part[1]));
        words := palisade.words(part[2]);
        IF EXISTS (SELECT 1 FROM pg_class c, palisade.names_of(c.oid) n JOIN palisade.acls a ON a.schema = n.schema AND a.name = n.name
                   WHERE c.relname = words[cardinality(words)]) THEN
            PERFORM palisade.refuse_acl_lost(tag);
        END IF;
    ELSE
        PERFORM palisade.demand_by_name(tag, 32, palisade.words(part[1]));
    END IF;
END
$palisade$;

-- The managed relations of these kinds that a name in a statement can mean.
CREATE OR REPLACE FUNCTION palisade.known_as(called text, kinds text[]) RETURNS oid[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT coalesce(array_agg(o.oid), '{}') FROM palisade.objects o JOIN pg_class c ON c.oid = o.oid, palisade.words(called) w (words)
    WHERE o.class = 'pg_class'::regclass AND c.relkind::text = ANY (kinds)
      AND o.name = w.words[cardinality(w.words)] AND (cardinality(w.words) = 1 OR o.schema = w.words[1])
$palisade$;

-- A sequence and the table whose column owns it have one owner, PostgreSQL says. A new sequence is the user's: for
-- this statement the table is, too. So it is where a table with foreign keys is to own a sequence, or did.
CREATE OR REPLACE FUNCTION palisade.lend_table(tag text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $palisade$
DECLARE
    ident CONSTANT text := palisade.ident();
    named CONSTANT text := palisade.named();
    part text[];
    tables oid[];
    sequences oid[];
    owner text := session_user;
BEGIN
    part := regexp_match(palisade.statement(), '^(?:create|alter)\s+sequence\s+(?:if\s+(?:not\s+)?exists\s+)?(' || named
        || ')\s(?:[^;]*\s)?owned\s+by\s+(' || named || ')\s*\.\s*' || ident || '(?:\s[^;]*)?$', 'i');
    IF part IS NULL THEN
        RETURN;
    END IF;
    PERFORM palisade.refuse_old_snapshot(tag);
    tables := palisade.known_as(part[2], '{r,p,f}');
    IF tag = 'ALTER SEQUENCE' THEN
        sequences := palisade.known_as(part[1], '{S}');
        SELECT pg_get_userbyid(c.relowner) INTO owner FROM pg_class c WHERE cardinality(sequences) = 1 AND c.oid = sequences[1];
    END IF;
    IF cardinality(tables) > 1 OR cardinality(sequences) > 1 THEN
        PERFORM palisade.refuse(tag, 'names several tables or sequences', 'Write their schema, too.');
    ELSIF cardinality(tables) = 1 AND owner IS NOT NULL AND palisade.flags_on(session_user::text, tables[1]) & 64 <> 0 THEN
        EXECUTE format('ALTER TABLE %s OWNER TO %I', palisade.label(tables[1]), owner);
    END IF;
END
$palisade$;

-- REFRESH runs the view's query as the view's owner, who reads nothing: for this statement it is the
-- user who refreshes, with `update` on the view and only her own rights on what it reads.
CREATE OR REPLACE FUNCTION palisade.lend_view(tag text, from_client boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $palisade$
DECLARE
    part text[];
    found oid[];
BEGIN
    part := regexp_match(palisade.statement(), '^refresh\s+materialized\s+view\s+(concurrently\s+)?('
        || palisade.named() || ')(?:\s*with\s+(?:no\s+)?data)?$', 'i');
    IF part IS NULL OR NOT from_client THEN
        PERFORM palisade.refuse(tag, 'in this form can''t be told from another', 'Send it as a single plain statement.');
    END IF;
    found := palisade.known_as(part[2], '{m}');
    IF cardinality(found) > 1 THEN
        PERFORM palisade.refuse(tag, 'names several materialized views', 'Write its schema, too.');
    ELSIF cardinality(found) = 1 THEN
        PERFORM palisade.demand_on(tag, 8, found[1]);
        EXECUTE format('ALTER MATERIALIZED VIEW %s OWNER TO %I', palisade.label(found[1]), session_user);
        IF part[1] IS NOT NULL THEN
            -- CONCURRENTLY changes the view's rows one by one, as its owner, by way of a temporary table. It reads
            -- them, too: for that, `select`.
            EXECUTE format('GRANT INSERT, DELETE ON %s TO %I', palisade.label(found[1]), session_user);
            IF NOT palisade.holds_anywhere(session_user::text, 128) THEN
                EXECUTE format('GRANT palisade_temp TO %I', session_user);
            END IF;
        END IF;
    END IF;
END
$palisade$;

-- A transaction with one snapshot for all its statements would go by the rights of when it began.
CREATE OR REPLACE FUNCTION palisade.refuse_old_snapshot(tag text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $palisade$
BEGIN
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        PERFORM palisade.refuse(tag, 'needs isolation level READ COMMITTED',
            'Rights are read as they are now, not as they were when the transaction began.');
    END IF;
END
$palisade$;

-- A role that the ledger doesn't know, as itself: its objects are not ours, and ours are out of its reach.
CREATE OR REPLACE FUNCTION palisade.is_stranger(fired_by text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $palisade$
    SELECT fired_by = session_user::text
       AND NOT EXISTS (SELECT 1 FROM palisade.users u WHERE u.name = session_user::text)
$palisade$;

-- What stands between a guard and the client: lines of PostgreSQL's context, none if the client said it itself. Nobody
-- calls a guard by hand, in the midst of a statement, with a tag of his choice.
CREATE OR REPLACE FUNCTION palisade.above(guard text, tag text, context text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $palisade$
DECLARE
    part text[] := regexp_match(context, format(
        '^PL/pgSQL function palisade\.on_%s\([^\n]*\nPL/pgSQL function palisade\.guard_%s\(\) line [^\n]*(.*)$', guard, guard));
BEGIN
    IF part IS NULL THEN
        PERFORM palisade.refuse(tag, 'by hand: only an event trigger asks this', 'Leave the call out.');
    END IF;
    RETURN part[1];
END
$palisade$;

CREATE OR REPLACE FUNCTION palisade.on_start(fired_by text, tag text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lc_messages = 'C' AS $palisade$
DECLARE
    context text;
    above text;
BEGIN
    GET DIAGNOSTICS context = PG_CONTEXT;
    above := palisade.above('start', tag, context);
    IF palisade.is_stranger(fired_by) THEN
        RETURN;
    END IF;
    IF tag = 'REFRESH MATERIALIZED VIEW' THEN
        PERFORM palisade.refuse_old_snapshot(tag);
    ELSIF current_query() ~* 'refresh' AND above <> '' AND palisade.statement() ~* '^refresh\s' THEN
        -- What REFRESH says itself, on a temporary table of its own, comes from no function. PostgreSQL tells the guards
        -- nothing of what a function defines within it.
        IF above ~ '^\nSQL statement "[^\n]*"$' THEN
            RETURN;
        END IF;
        PERFORM palisade.refuse(tag, 'in a function within REFRESH MATERIALIZED VIEW', 'Say it by a statement of its own.');
    END IF;
    IF tag ~ '^DROP ' THEN
        PERFORM palisade.remember_indexes();
    END IF;
    IF tag IN ('DROP OWNED', 'ALTER DEFAULT PRIVILEGES', 'CREATE RULE', 'CREATE EVENT TRIGGER', 'ALTER EVENT TRIGGER',
               'CREATE FOREIGN DATA WRAPPER', 'ALTER FOREIGN DATA WRAPPER', 'CREATE LANGUAGE', 'ALTER LANGUAGE',
               'CREATE SUBSCRIPTION', 'ALTER SUBSCRIPTION', 'CREATE PUBLICATION', 'ALTER PUBLICATION',
               'CREATE TRANSFORM', 'CREATE CAST', 'CREATE ACCESS METHOD', 'CREATE OPERATOR CLASS',
               'CREATE OPERATOR FAMILY', 'ALTER OPERATOR CLASS', 'ALTER OPERATOR FAMILY', 'CREATE CONVERSION',
               'ALTER LARGE OBJECT', 'SECURITY LABEL') THEN
        PERFORM palisade.refuse(tag, 'is not for users', 'Rights come from the ledger: palisade acl, palisade user.');
    ELSIF tag ~ '(EXTENSION|SERVER|USER MAPPING|FOREIGN SCHEMA|FOREIGN TABLE)$'
            AND NOT palisade.is_superuser(session_user::text) THEN
        PERFORM palisade.refuse(tag, 'is for Palisade superusers', 'Ask one.');
    ELSIF tag = 'REFRESH MATERIALIZED VIEW' THEN
        PERFORM palisade.lend_view(tag, above = '');
    ELSIF tag IN ('CREATE SEQUENCE', 'ALTER SEQUENCE') AND above = '' THEN
        PERFORM palisade.lend_table(tag);
    ELSIF palisade.is_superuser(session_user::text) THEN
        RETURN;
    END IF;
    IF above = '' AND palisade.is_concurrent(tag) THEN
        PERFORM palisade.check_concurrently(tag);
    END IF;
    IF tag IN ('ALTER TABLE', 'ALTER VIEW', 'ALTER MATERIALIZED VIEW', 'ALTER INDEX', 'CREATE INDEX',
               'CREATE STATISTICS', 'ALTER DOMAIN', 'ALTER TYPE') THEN
        PERFORM palisade.refuse_old_snapshot(tag);
        PERFORM palisade.check_expressions(tag, above = '');
    END IF;
END
$palisade$;
