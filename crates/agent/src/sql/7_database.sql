-- The database itself, and what a hand may have opened.
DO $palisade$
DECLARE
    given record;
    role text;
BEGIN
    FOR given IN
        SELECT d.datname, a.grantee FROM pg_catalog.pg_database d,
            pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) a
        WHERE a.grantee <> d.datdba AND (a.grantee = 0 OR d.datname = pg_catalog.current_database())
        GROUP BY 1, 2
    LOOP
        role := CASE given.grantee WHEN 0 THEN 'PUBLIC' ELSE given.grantee::pg_catalog.regrole::text END;
        EXECUTE pg_catalog.format('REVOKE ALL ON DATABASE %I FROM %s CASCADE', given.datname, role);
    END LOOP;
    EXECUTE pg_catalog.format('GRANT CONNECT ON DATABASE %I TO palisade_login', pg_catalog.current_database());
    EXECUTE pg_catalog.format('GRANT TEMPORARY ON DATABASE %I TO palisade_temp', pg_catalog.current_database());
    EXECUTE pg_catalog.format('GRANT CREATE ON DATABASE %I TO palisade_make', pg_catalog.current_database());
    FOR given IN
        SELECT c.oid::pg_catalog.regclass AS relation, a.grantee FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a
        WHERE a.grantee <> c.relowner AND (
            c.relnamespace = 'palisade'::pg_catalog.regnamespace AND c.relname NOT IN ('acl', 'my_rights')
            OR c.oid IN ('pg_catalog.pg_stats'::pg_catalog.regclass, 'pg_catalog.pg_stats_ext'::pg_catalog.regclass,
                         'pg_catalog.pg_stats_ext_exprs'::pg_catalog.regclass))
        GROUP BY 1, 2
    LOOP
        role := CASE given.grantee WHEN 0 THEN 'PUBLIC' ELSE given.grantee::pg_catalog.regrole::text END;
        EXECUTE pg_catalog.format('REVOKE ALL ON TABLE %s FROM %s CASCADE', given.relation, role);
    END LOOP;
    FOR given IN
        SELECT p.oid::pg_catalog.regprocedure AS function FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = 'palisade'::pg_catalog.regnamespace AND p.proowner <> 10
    LOOP
        EXECUTE pg_catalog.format('ALTER FUNCTION %s OWNER TO CURRENT_USER', given.function);
    END LOOP;
    -- Of another version, or somebody else's: what these scripts have not just put there.
    FOR given IN
        SELECT p.oid::pg_catalog.regprocedure AS function FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = 'palisade'::pg_catalog.regnamespace AND NOT palisade.is_of_now(p.xmin)
    LOOP
        EXECUTE pg_catalog.format('DROP ROUTINE %s CASCADE', given.function);
    END LOOP;
    FOR given IN SELECT x.command FROM palisade.strays() x UNION ALL SELECT x.command FROM palisade.openings() x LOOP
        EXECUTE given.command;
    END LOOP;
    PERFORM palisade.remember_others(0, 0);
END
$palisade$;
