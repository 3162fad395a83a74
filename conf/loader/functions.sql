-- The functions that turn rows into commands for Redis. They know the views of
-- schema.sql, and no table. sync.sh calls them, in a session that has:
--
--     billing.prefix      what keys begin with
--     billing.token       this loader's name for the session
--     billing.script      the script that Redis runs for each step, see sync.sh
--     billing_step        a temporary sequence
--
-- A command is a JSON array of strings. JSON has an escape for each character that
-- could end a string, and Redis decodes it by a library.

\set ON_ERROR_STOP on

SET client_min_messages = warning;


-- The key of a thing. Another key is the loader's own: how far the cache is.

CREATE FUNCTION billing.key(kind text, name text) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT current_setting('billing.prefix') || kind || ':' || name
$$;

CREATE FUNCTION billing.own_key() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT 'loader:' || current_setting('billing.prefix')
$$;

CREATE FUNCTION billing.command(name text, key text, VARIADIC words text[] DEFAULT '{}')
RETURNS text LANGUAGE sql STABLE AS $$
    SELECT array_to_json(ARRAY[name, key] || words)::text
$$;


-- A word in Redis' protocol: its length in bytes, as they are sent, comes first.

CREATE FUNCTION billing.word(word text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT '$' || octet_length(convert_to(word, 'UTF8')) || E'\r\n'
           || word || E'\r\n'
$$;

-- Steps: commands that Redis runs in one go, each of about 64 KB, so that other
-- clients wait a millisecond and not longer. Steps have numbers. Redis refuses one
-- that does not follow the one before, as after an error.

CREATE FUNCTION billing.steps(commands text[]) RETURNS SETOF text
LANGUAGE plpgsql AS $$
DECLARE
    command text;
    step text[];
    size int := 0;
BEGIN
    FOREACH command IN ARRAY commands || NULL::text LOOP
        IF size > 0 AND (command IS NULL OR size + length(command) > 65536) THEN
            RETURN NEXT E'*7\r\n' || billing.word('EVAL')
                        || billing.word(current_setting('billing.script'))
                        || billing.word('1') || billing.word(billing.own_key())
                        || billing.word(current_setting('billing.token'))
                        || billing.word(nextval('pg_temp.billing_step')::text)
                        || billing.word('[' || array_to_string(step, ',') || ']');
            step := '{}';
            size := 0;
        END IF;

        step := step || command;
        size := size + length(command);
    END LOOP;
END
$$;


-- A camera's hash: fields that are set, then fields that are null. "streams" is
-- always set, as Redis has no empty hash: a camera without anything else exists as
-- well, and an empty "streams" means none. A field that another writer owns is
-- taken out here.

CREATE FUNCTION billing.hash_commands(c billing.camera) RETURNS SETOF text
LANGUAGE sql STABLE ROWS 2 AS $$
    SELECT array_to_json(ARRAY[CASE WHEN is_set THEN 'HSET' ELSE 'HDEL' END,
                               billing.key('camera', c.id::text)] || words)::text
    FROM (VALUES
        (true,
         ARRAY['streams', coalesce(c.streams, '')]
         || CASE WHEN c.external_id IS NOT NULL
                 THEN ARRAY['external_id', c.external_id] END
         || CASE WHEN c.start_at IS NOT NULL
                 THEN ARRAY['start_at', c.start_at] END
         || CASE WHEN c.status IS NOT NULL
                 THEN ARRAY['status', c.status] END
         || CASE WHEN c.name IS NOT NULL
                 THEN ARRAY['name', c.name] END
         || CASE WHEN c.group_type IS NOT NULL
                 THEN ARRAY['group_type', c.group_type] END
         || CASE WHEN c.preview IS NOT NULL
                 THEN ARRAY['preview', c.preview] END),
        (false,
         array_remove(ARRAY[
             CASE WHEN c.external_id IS NULL THEN 'external_id' END,
             CASE WHEN c.start_at IS NULL THEN 'start_at' END,
             CASE WHEN c.status IS NULL THEN 'status' END,
             CASE WHEN c.name IS NULL THEN 'name' END,
             CASE WHEN c.group_type IS NULL THEN 'group_type' END,
             CASE WHEN c.preview IS NULL THEN 'preview' END], NULL))
    ) AS f (is_set, words)
    WHERE cardinality(words) > 0
$$;


-- Logins' whole lists. A list is built under another name, a thousand cameras at a
-- time, and renamed, so that nobody sees half of it. "n" is the order of a login's
-- commands, or null where the login has no cameras.

CREATE FUNCTION billing.list_commands(logins text[])
RETURNS TABLE (login text, n bigint, camera_ids bigint[], command text)
LANGUAGE sql STABLE AS $$
    WITH asked AS (
        SELECT DISTINCT a.login FROM unnest(logins) AS a (login)
    ), parts AS (
        SELECT m.login, m.part, array_agg(m.id ORDER BY m.id) AS ids
        FROM (SELECT o.login, c.id,
                     (row_number() OVER (PARTITION BY o.login ORDER BY c.id) - 1)
                     / 1000 AS part
              FROM asked a
              JOIN billing.owner o ON o.login = a.login
              JOIN billing.camera c ON c.id = o.camera_id) AS m
        GROUP BY m.login, m.part
    )
    SELECT p.login, p.part, p.ids,
           array_to_json(ARRAY['ZADD', billing.own_key() || 'list']
                         || ARRAY(SELECT unnest(ARRAY[id, id])
                                  FROM unnest(p.ids::text[]) AS i (id)))::text
    FROM parts p
    UNION ALL
    SELECT p.login, max(p.part) + 1, '{}',
           billing.command('RENAME', billing.own_key() || 'list',
                           billing.key('login', p.login))
    FROM parts p
    GROUP BY p.login
    UNION ALL
    SELECT a.login, NULL, '{}', billing.command('DEL', billing.key('login', a.login))
    FROM asked a
    WHERE NOT EXISTS (SELECT FROM parts p WHERE p.login = a.login)
$$;


-- The commands for a token. One that has expired is removed: the two clocks may
-- differ.

CREATE FUNCTION billing.token_command(token_hash text, client text,
                                      expires_at timestamptz) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN client IS NULL OR expires_at <= clock_timestamp()
        THEN billing.command('DEL', billing.key('token', token_hash))
        WHEN expires_at IS NULL OR expires_at = 'infinity'
        THEN billing.command('SET', billing.key('token', token_hash), client)
        ELSE billing.command('SET', billing.key('token', token_hash), client, 'PXAT',
                             floor(extract(epoch FROM expires_at) * 1000)
                             ::bigint::text)
    END
$$;


-- What ends a round or a full load.

CREATE FUNCTION billing.end_commands(l billing.loader) RETURNS text[]
LANGUAGE sql STABLE AS $$
    SELECT ARRAY[
        billing.command('HSET', billing.own_key(), 'generation', l.generation::text,
                        'batch', l.batch::text, 'writer', l.writer::text),
        billing.command('SET', current_setting('billing.prefix') || 'synced_at',
                        floor(extract(epoch FROM now()))::bigint::text)]
$$;

-- A database that was restored, and a replica that was promoted, may lack what the
-- cache has already. They have another identifier or another timeline.

CREATE FUNCTION billing.history() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT system_identifier || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8)
    FROM pg_control_system()
$$;


-- The commands for the outbox up to a row. Each thing is written as it is now, so
-- it does not matter how often it was changed, or whether an earlier attempt has
-- reached Redis.
--
-- Order: hashes, index entries, removal of index entries. Rows behind the last one may
-- hold a part of what happened to a camera. So a hash whose index entry is written
-- here is written here too.

CREATE FUNCTION billing.change_commands(last bigint) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN ARRAY(
        WITH batch AS MATERIALIZED (
            SELECT DISTINCT o.kind, o.camera_id, o.user_id, o.name
            FROM billing.outbox o
            WHERE o.id <= last
        ), entries AS MATERIALIZED (
            SELECT l.login, e.camera_id,
                   EXISTS (SELECT FROM billing.camera c WHERE c.id = e.camera_id)
                   AND EXISTS (SELECT FROM billing.owner o
                               WHERE o.user_id = e.user_id
                                     AND o.camera_id = e.camera_id) AS is_owner
            FROM (SELECT b.user_id, b.camera_id FROM batch b
                  WHERE b.kind = 'owner'
                  UNION
                  SELECT o.user_id, o.camera_id
                  FROM batch b JOIN billing.owner o ON o.camera_id = b.camera_id
                  WHERE b.kind = 'owners') AS e
            JOIN billing.login l ON l.user_id = e.user_id
        ), externals AS MATERIALIZED (
            SELECT b.name, (SELECT max(c.id) FROM billing.camera c
                            WHERE c.external_id = b.name) AS camera_id
            FROM batch b
            WHERE b.kind = 'external'
        ), lists AS MATERIALIZED (
            SELECT * FROM billing.list_commands(
                ARRAY(SELECT b.name FROM batch b WHERE b.kind = 'login'))
        ), indexed AS MATERIALIZED (
            SELECT e.camera_id FROM entries e WHERE e.is_owner
            UNION
            SELECT x.camera_id FROM externals x WHERE x.camera_id IS NOT NULL
            UNION
            SELECT unnest(l.camera_ids) FROM lists l
        ), hashes AS MATERIALIZED (
            SELECT b.camera_id FROM batch b WHERE b.kind = 'camera'
            UNION
            SELECT i.camera_id FROM indexed i
            WHERE EXISTS (SELECT FROM billing.outbox o
                          WHERE o.kind = 'camera' AND o.camera_id = i.camera_id
                                AND o.id > last)
        )
        SELECT c.command
        FROM (
            SELECT 1, '', h.n, h.command
            FROM hashes
            JOIN billing.camera c ON c.id = hashes.camera_id
            CROSS JOIN LATERAL billing.hash_commands(c)
                WITH ORDINALITY AS h (command, n)
            UNION ALL
            SELECT 2, '', 0, billing.command('SET', billing.key('external', x.name),
                                             x.camera_id::text)
            FROM externals x
            WHERE x.camera_id IS NOT NULL
            UNION ALL
            SELECT 2, '', 1, billing.command('ZADD', billing.key('login', e.login),
                                             e.camera_id::text, e.camera_id::text)
            FROM entries e
            WHERE e.is_owner
            UNION ALL
            SELECT 3, l.login, l.n, l.command FROM lists l WHERE l.n IS NOT NULL
            UNION ALL
            SELECT 4, '', 0, l.command FROM lists l WHERE l.n IS NULL
            UNION ALL
            SELECT 4, '', 1, billing.command('ZREM', billing.key('login', e.login),
                                             e.camera_id::text)
            FROM entries e
            WHERE NOT e.is_owner
            UNION ALL
            SELECT 4, '', 2, billing.command('DEL', billing.key('external', x.name))
            FROM externals x
            WHERE x.camera_id IS NULL
            UNION ALL
            SELECT 5, '', 0, billing.token_command(b.name, t.client, t.expires_at)
            FROM batch b
            LEFT JOIN billing.token t ON t.hash = b.name
            WHERE b.kind = 'token'
        ) AS c (phase, name, n, command)
        ORDER BY c.phase, c.name, c.n
    );
END
$$;


-- Removes hashes, when the outbox is written and no index entry leads to them.

CREATE FUNCTION billing.removal_commands(last bigint) RETURNS text[]
LANGUAGE sql STABLE AS $$
    SELECT ARRAY(SELECT billing.command('DEL', billing.key('camera', g.camera_id::text))
                 FROM billing.gone g
                 WHERE g.camera_id <= last
                       AND NOT EXISTS (SELECT FROM billing.camera c
                                       WHERE c.id = g.camera_id))
$$;


-- A full load, a page at a time. SREM takes what is written off the list of keys
-- that were in the cache before: what is left then, is removed.

CREATE FUNCTION billing.kept_command(list text, keys text[]) RETURNS text[]
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN cardinality(keys) > 0
                THEN ARRAY[billing.command('SREM', billing.own_key() || list,
                                           VARIADIC keys)]
                ELSE '{}' END
$$;

CREATE FUNCTION billing.camera_page(first bigint, last bigint) RETURNS SETOF text
LANGUAGE sql AS $$
    WITH page AS MATERIALIZED (
        SELECT c, c.id, c.external_id
        FROM billing.camera c
        WHERE c.id BETWEEN first AND last
    )
    SELECT billing.steps(
        ARRAY(SELECT h.command
              FROM page p
              CROSS JOIN LATERAL billing.hash_commands(p.c) AS h (command))
        || ARRAY(SELECT billing.command('SET', billing.key('external', external_id),
                                        id::text)
                 FROM page WHERE external_id IS NOT NULL)
        || billing.kept_command('hashes', ARRAY(
               SELECT billing.key('camera', id::text) FROM page))
        || billing.kept_command('entries', ARRAY(
               SELECT billing.key('external', external_id)
               FROM page WHERE external_id IS NOT NULL)))
$$;

CREATE FUNCTION billing.login_page(first bigint, last bigint) RETURNS SETOF text
LANGUAGE sql AS $$
    WITH lists AS MATERIALIZED (
        SELECT * FROM billing.list_commands(
            ARRAY(SELECT l.login FROM billing.login l
                  WHERE l.user_id BETWEEN first AND last))
        WHERE n IS NOT NULL
    )
    SELECT billing.steps(
        ARRAY(SELECT l.command FROM lists l ORDER BY l.login, l.n)
        || billing.kept_command('entries', ARRAY(
               SELECT DISTINCT billing.key('login', l.login) FROM lists l)))
$$;

CREATE FUNCTION billing.token_page(first text, last text) RETURNS SETOF text
LANGUAGE sql AS $$
    WITH page AS MATERIALIZED (
        SELECT * FROM billing.token t WHERE t.hash BETWEEN first AND last
    )
    SELECT billing.steps(
        ARRAY(SELECT billing.token_command(hash, client, expires_at) FROM page)
        || billing.kept_command('entries', ARRAY(
               SELECT billing.key('token', hash) FROM page)))
$$;
