-- For t/loader.sh: random histories, and what the cache has to be, made from the
-- tables and without the loader's views and functions.

CREATE SCHEMA test;

CREATE FUNCTION test.pick(words text[]) RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT words[1 + floor(random() * cardinality(words))]
$$;

CREATE FUNCTION test.text() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT test.pick(ARRAY[NULL, '', 'active', 'null', ' ', '"', '''', '\', '\n',
        E'\n', E'a\r\nb', E'\r\n$3\r\nfoo', '*3', E'a "b" \\ c', E'\x01\x7f\t',
        'Каса №1', '🎥', '\u0000', '","', ']', '$x `id` %s', repeat('é', 300)]
        || random()::text)
$$;

-- few names, so that they meet

CREATE FUNCTION test.name() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT test.pick(ARRAY['a', 'b', 'A', ' a', E'a\n', '"a"', 'ж', '*', '[a]', '🎥'])
$$;

CREATE FUNCTION test.id() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT CASE WHEN random() < 0.02 THEN 9007199254740991
           ELSE 1 + floor(random() * 15) END::bigint
$$;

CREATE FUNCTION test.hash() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT encode(sha256(test.name()::bytea), 'hex')
$$;

CREATE FUNCTION test.deleted() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
    SELECT CASE WHEN random() < 0.3 THEN now() END
$$;

CREATE PROCEDURE test.change(truncates boolean) LANGUAGE plpgsql AS $$
DECLARE
    kind int := floor(random() * 22);
    a bigint := test.id();
    b bigint := test.id();
    x text;
BEGIN
    CASE kind
    WHEN 0, 1, 2 THEN
        INSERT INTO cameras VALUES (a, test.name(), now(), test.text(), test.text(),
            test.text(), test.pick(ARRAY[NULL, '', 'high=active,low=', 'high=']),
            test.text(), test.deleted())
        ON CONFLICT DO NOTHING;
    WHEN 3 THEN
        INSERT INTO cameras (id) VALUES (a) ON CONFLICT DO NOTHING;
    WHEN 4, 5 THEN
        UPDATE cameras SET name = test.text(), preview = test.text(),
            start_at = CASE WHEN random() < 0.5 THEN clock_timestamp() END
        WHERE id = a;
    WHEN 6 THEN
        UPDATE cameras SET external_id = test.name() WHERE id = a;
    WHEN 7 THEN
        SELECT external_id INTO x FROM cameras WHERE id = a;
        UPDATE cameras SET external_id = NULL WHERE id = a;
        UPDATE cameras SET external_id = x WHERE id = b;
    WHEN 8 THEN
        UPDATE cameras SET deleted_at = test.deleted() WHERE id IN (a, b);
    WHEN 9 THEN
        DELETE FROM cameras WHERE id = a;
    WHEN 10 THEN
        UPDATE cameras SET id = b WHERE id = a;
    WHEN 11, 12 THEN
        INSERT INTO users VALUES (a, test.name(), test.deleted())
        ON CONFLICT DO NOTHING;
    WHEN 13 THEN
        UPDATE users SET login = test.name() WHERE id = a;
    WHEN 14 THEN
        SELECT login INTO x FROM users WHERE id = a;
        UPDATE users SET login = 'between' WHERE id = a;
        UPDATE users SET login = x WHERE id = b;
    WHEN 15 THEN
        UPDATE users SET deleted_at = test.deleted() WHERE id = a;
    WHEN 16 THEN
        DELETE FROM users WHERE id = a;
    WHEN 17, 18 THEN
        INSERT INTO user_cameras
            SELECT u.id, c.id FROM users u, cameras c WHERE random() < 0.2
        ON CONFLICT DO NOTHING;
    WHEN 19 THEN
        DELETE FROM user_cameras WHERE camera_id = a OR user_id = b;
        UPDATE user_cameras SET user_id = a WHERE user_id = a + 1;
    WHEN 20 THEN
        INSERT INTO tokens VALUES (test.hash(), coalesce(test.text(), 'x'),
            CASE WHEN random() < 0.5 THEN now() + random() * interval '1 hour' END)
        ON CONFLICT (hash) DO UPDATE SET client = excluded.client,
            expires_at = excluded.expires_at, revoked_at = test.deleted();
    WHEN 21 THEN
        DELETE FROM tokens WHERE hash = test.hash();
        UPDATE tokens SET hash = test.hash() WHERE hash = test.hash();
    END CASE;

    IF truncates AND random() < 0.003 THEN
        EXECUTE 'TRUNCATE ' || test.pick(ARRAY['tokens', 'user_cameras',
                                               'cameras CASCADE']);
    END IF;
EXCEPTION WHEN unique_violation OR not_null_violation
               OR foreign_key_violation OR deadlock_detected THEN
    NULL;
END
$$;

CREATE PROCEDURE test.history(transactions int, truncates boolean) LANGUAGE plpgsql AS $$
BEGIN
    FOR t IN 1 .. transactions LOOP
        FOR n IN 0 .. floor(random() * 4) LOOP
            CALL test.change(truncates);
        END LOOP;

        IF random() < 0.1 THEN ROLLBACK; ELSE COMMIT; END IF;
        PERFORM pg_sleep(random() * 0.01);
    END LOOP;
END
$$;

-- One line for each part of a key, as "loader.pl dump" writes it.

CREATE FUNCTION test.hex(t text) RETURNS text LANGUAGE sql AS $$
    SELECT encode(convert_to(t, 'UTF8'), 'hex')
$$;

CREATE VIEW test.expected AS
    SELECT 'camera:' || id || ' ' || f || '=' || test.hex(v) AS line
    FROM cameras, LATERAL (VALUES
        ('external_id', external_id), ('status', status), ('name', name),
        ('group_type', group_type), ('streams', coalesce(streams, '')),
        ('preview', preview),
        ('start_at', to_char(start_at AT TIME ZONE 'UTC',
                             'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))) AS x (f, v)
    WHERE deleted_at IS NULL AND v IS NOT NULL
    UNION ALL
    SELECT 'external:' || test.hex(external_id) || ' ' || id
    FROM cameras WHERE deleted_at IS NULL AND external_id IS NOT NULL
    UNION ALL
    SELECT 'login:' || test.hex(login) || ' ' || c.id || ' ' || c.id
    FROM users u
    JOIN user_cameras ON user_id = u.id
    JOIN cameras c ON c.id = camera_id
    WHERE u.deleted_at IS NULL AND c.deleted_at IS NULL
    UNION ALL
    SELECT 'token:' || hash || ' ' || test.hex(client) || ' '
           || coalesce(floor(extract(epoch FROM expires_at) * 1000)::bigint, -1)
    FROM tokens
    WHERE revoked_at IS NULL AND (expires_at > now()) IS NOT FALSE;
