-- The database itself and its first schema.
DO $palisade$
DECLARE
    other name;
BEGIN
    FOR other IN SELECT d.datname FROM pg_catalog.pg_database d LOOP
        EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', other);
    END LOOP;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO palisade_login', current_database());
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO palisade_temp', current_database());
    EXECUTE format('GRANT CREATE ON DATABASE %I TO palisade_owner', current_database());
END
$palisade$;
