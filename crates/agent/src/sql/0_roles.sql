-- The roles of Palisade's own. None may log in.
DO $palisade$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['palisade_owner', 'palisade_keys', 'palisade_make', 'palisade_login', 'palisade_direct',
                                'palisade_temp', 'palisade_usage',
                                'palisade_select', 'palisade_insert', 'palisade_update', 'palisade_delete']
            || ARRAY(SELECT 'palisade_lent_' || n FROM pg_catalog.generate_series(1, 16) n) LOOP
        IF NOT EXISTS (SELECT 1 FROM pg_catalog.pg_roles r WHERE r.rolname = name) THEN
            EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', name);
        END IF;
    END LOOP;
END
$palisade$;
