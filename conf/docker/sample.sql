-- The loader's role, and two sample cameras of two logins. The token is
-- "demo-token", which everybody knows, and which expires after 24 hours.

CREATE ROLE "billing-loader" LOGIN;
GRANT USAGE ON SCHEMA billing TO "billing-loader";
GRANT SELECT ON ALL TABLES IN SCHEMA billing TO "billing-loader";
GRANT DELETE ON billing.outbox TO "billing-loader";
GRANT INSERT, DELETE ON billing.gone TO "billing-loader";
GRANT UPDATE ON billing.loader TO "billing-loader";

INSERT INTO cameras (id, external_id, status, name, group_type, streams, preview)
SELECT id, id::text, 'active', 'Camera ' || id - 2, 'public', 'high=active,low=active',
       'https://server1.domain.video:8443/live/' || md5(id::text) || '/preview.mp4'
    FROM generate_series(3, 4) AS id;

INSERT INTO users (id, login) OVERRIDING SYSTEM VALUE
    VALUES (1, 'string'), (2, 'admin');

INSERT INTO user_cameras (user_id, camera_id)
    SELECT users.id, cameras.id FROM users, cameras;

INSERT INTO tokens (hash, client, expires_at)
    VALUES (encode(sha256('demo-token'), 'hex'), 'Demo client',
            now() + interval '24 hours');
