-- Writes all that belongs into the cache, in pages, so that neither psql nor
-- PostgreSQL holds much of it at a time. sync.sh runs this file in a transaction of
-- the level REPEATABLE READ, and sends the output to Redis.
--
-- The first query of each pair makes a query for each page, and \gexec runs them.
-- Hashes and external ids are written before lists.

SELECT format('SELECT billing.camera_page(%s, %s)', min(id), max(id))
FROM (SELECT id, (row_number() OVER (ORDER BY id) - 1) / 500 AS page
      FROM billing.camera) AS c
GROUP BY page
ORDER BY page
\gexec

-- A page of lists has five thousand places in them, or one large list.

SELECT format('SELECT billing.login_page(%s, %s)', min(user_id), max(user_id))
FROM (SELECT user_id, floor(sum(count(*)) OVER (ORDER BY user_id) / 5000) AS page
      FROM billing.owner
      GROUP BY user_id) AS o
GROUP BY page
ORDER BY page
\gexec

SELECT format('SELECT billing.token_page(%L, %L)', min(hash), max(hash))
FROM (SELECT hash, (row_number() OVER (ORDER BY hash) - 1) / 1000 AS page
      FROM billing.token) AS t
GROUP BY page
ORDER BY page
\gexec
