-- What the guards read. Owned by the bootstrap superuser; nobody else may touch the tables.
-- Every statement of these files may be run again: installing twice changes nothing, and waits for no transaction of
-- a user's. What asks for a lock that one may hold (on an index, a view, a trigger) is said only where it is needed.

CREATE SCHEMA IF NOT EXISTS palisade;
REVOKE ALL ON SCHEMA palisade FROM PUBLIC;
GRANT USAGE ON SCHEMA palisade TO PUBLIC;

-- One row: the generation of the last executed plan. A plan that was made before it is stale.
CREATE TABLE IF NOT EXISTS palisade.meta (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    generation bigint NOT NULL
);
INSERT INTO palisade.meta (generation) SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM palisade.meta);

-- The ledger's users. `defaults` is default_privileges with the seed's numbers.
CREATE TABLE IF NOT EXISTS palisade.users (
    name text PRIMARY KEY,
    uid bigint NOT NULL UNIQUE,
    defaults integer NOT NULL,
    superuser boolean NOT NULL,
    enabled boolean NOT NULL
);

-- The ledger's explicit ACLs. A schema's own ACL has the empty string as `name`.
CREATE TABLE IF NOT EXISTS palisade.acls (
    schema text NOT NULL,
    name text NOT NULL,
    user_name text NOT NULL,
    privileges integer NOT NULL,
    PRIMARY KEY (schema, name, user_name)
);

-- What the guards last saw of each managed relation, index, statistics object and schema: it tells a
-- new object from a known one, and what a statement changed. It decides no right.
CREATE TABLE IF NOT EXISTS palisade.objects (
    class oid NOT NULL,
    oid oid NOT NULL,
    schema text NOT NULL,
    name text NOT NULL,
    kind text NOT NULL,
    parent oid NOT NULL,
    acl text NOT NULL,
    rls text NOT NULL,
    code oid[] NOT NULL,
    PRIMARY KEY (class, oid)
);

-- Who was taken out of a role. SET ROLE outlives that, so the agent ends their sessions.
CREATE TABLE IF NOT EXISTS palisade.departed (
    role text NOT NULL,
    member text NOT NULL
);

-- To whom CREATE is lent for the statement that is running (6_loans.sql), by which of sixteen roles, and how many
-- statements deep. Only rows without a member are ever committed.
CREATE TABLE IF NOT EXISTS palisade.loans (
    role text PRIMARY KEY,
    member text,
    taken xid8,
    depth integer NOT NULL DEFAULT 0,
    commits boolean NOT NULL DEFAULT false
);
INSERT INTO palisade.loans (role) SELECT 'palisade_lent_' || n FROM pg_catalog.generate_series(1, 16) n
    WHERE NOT EXISTS (SELECT 1 FROM palisade.loans l WHERE l.role = 'palisade_lent_' || n);

DO $palisade$
BEGIN
    IF pg_catalog.to_regclass('palisade.acls_user') IS NULL THEN
        CREATE INDEX acls_user ON palisade.acls (user_name);
    END IF;
    IF pg_catalog.to_regclass('palisade.objects_name') IS NULL THEN
        CREATE INDEX objects_name ON palisade.objects (name);
    END IF;
END
$palisade$;

-- Puts a view in place, if it is not there as it should be.
CREATE OR REPLACE FUNCTION palisade.put_view(name text, options text, query text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $palisade$
BEGIN
    EXECUTE format('CREATE TEMP VIEW palisade_wanted %s AS %s', options, query);
    IF NOT EXISTS (
        SELECT 1 FROM pg_class c, pg_class w
        WHERE c.relnamespace = 'palisade'::regnamespace AND c.relname = put_view.name AND w.oid = 'pg_temp.palisade_wanted'::regclass
          AND pg_get_viewdef(c.oid) = pg_get_viewdef(w.oid) AND c.reloptions IS NOT DISTINCT FROM w.reloptions
    ) THEN
        EXECUTE format('CREATE OR REPLACE VIEW palisade.%I %s AS %s', name, options, query);
    END IF;
    DROP VIEW pg_temp.palisade_wanted;
END
$palisade$;

REVOKE ALL ON palisade.meta, palisade.users, palisade.acls, palisade.objects, palisade.departed, palisade.loans FROM PUBLIC;

-- Information functions and views that show rows' values to whoever owns the table: every user with a
-- right to define owns all tables, so these would show them the values without `select`.
-- An index has no grants at all, so of those on expressions pg_stats would, too.
REVOKE ALL ON pg_catalog.pg_stats, pg_catalog.pg_stats_ext, pg_catalog.pg_stats_ext_exprs FROM PUBLIC;

-- Large objects have no name that an ACL could be set on.
DO $palisade$
DECLARE f regprocedure;
BEGIN
    FOR f IN SELECT p.oid FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = 'pg_catalog'::regnamespace
          AND p.proname IN ('lo_close', 'lo_creat', 'lo_create', 'lo_export', 'lo_from_bytea', 'lo_get',
                            'lo_import', 'lo_lseek', 'lo_lseek64', 'lo_open', 'lo_put', 'lo_tell',
                            'lo_tell64', 'lo_truncate', 'lo_truncate64', 'lo_unlink', 'loread', 'lowrite')
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
    END LOOP;
END
$palisade$;
