
#include "ngx_http_billing_redis_server.h"


/* milliseconds between attempts to use a server that fails, at most */

#define NGX_HTTP_BILLING_REDIS_MAX_DELAY  1000

/* milliseconds without a failure that make a server healthy again */

#define NGX_HTTP_BILLING_REDIS_HEALTHY    1000

/* milliseconds between log lines of one kind */

#define NGX_HTTP_BILLING_REDIS_LIMIT      1000


static void ngx_http_billing_redis_server_copy(u_char **p, ngx_str_t *dst,
    ngx_str_t *src);
static void ngx_http_billing_redis_server_delay(
    ngx_http_billing_redis_server_t *server);
static void ngx_http_billing_redis_server_forget(
    ngx_http_billing_redis_server_t *server);
static ngx_uint_t ngx_http_billing_redis_limit_passes(
    ngx_http_billing_redis_limit_t *limit);


ngx_http_billing_redis_server_t *
ngx_http_billing_redis_server_create(ngx_http_billing_redis_peer_t *peer,
    ngx_str_t *password, ngx_pool_t *pool, ngx_log_t *log)
{
    u_char                           *p;
    size_t                            size;
    ngx_http_billing_redis_peer_t    *copy;
    ngx_http_billing_redis_server_t  *server;

    /* each text is followed by a zero byte */

    size = sizeof(ngx_http_billing_redis_server_t)
           + sizeof(ngx_http_billing_redis_peer_t)
           + peer->name.len + peer->host.len + peer->user.len + password->len
           + peer->db.len + peer->ssl_name.len + 6;

    p = pool ? ngx_palloc(pool, size) : ngx_alloc(size, log);
    if (p == NULL) {
        return NULL;
    }

    ngx_memzero(p, size);

    server = (ngx_http_billing_redis_server_t *) p;
    p += sizeof(ngx_http_billing_redis_server_t);

    copy = (ngx_http_billing_redis_peer_t *) p;
    p += sizeof(ngx_http_billing_redis_peer_t);

    server->peer = copy;
    server->kind = "server";
    server->log = log;
    server->on_heap = (pool == NULL);

    copy->port = peer->port;
    copy->replica = peer->replica;

    ngx_http_billing_redis_server_copy(&p, &copy->name, &peer->name);
    ngx_http_billing_redis_server_copy(&p, &copy->host, &peer->host);
    ngx_http_billing_redis_server_copy(&p, &copy->user, &peer->user);
    ngx_http_billing_redis_server_copy(&p, &copy->db, &peer->db);
    ngx_http_billing_redis_server_copy(&p, &copy->ssl_name, &peer->ssl_name);
    ngx_http_billing_redis_server_copy(&p, &server->password, password);

    return server;
}


static void
ngx_http_billing_redis_server_copy(u_char **p, ngx_str_t *dst, ngx_str_t *src)
{
    dst->len = src->len;
    dst->data = *p;

    if (src->len) {
        *p = ngx_cpymem(*p, src->data, src->len);
    }

    (*p)++;
}


void
ngx_http_billing_redis_server_release(ngx_http_billing_redis_server_t *server)
{
    if (server->on_heap && !server->listed && server->refs == 0) {
        ngx_free(server);
    }
}


ngx_uint_t
ngx_http_billing_redis_server_same(ngx_http_billing_redis_server_t *server,
    ngx_http_billing_redis_peer_t *peer, ngx_str_t *password)
{
    ngx_http_billing_redis_peer_t  *own;

    own = server->peer;

    return own->port == peer->port
           && ngx_http_billing_redis_same_str(&own->name, &peer->name)
           && ngx_http_billing_redis_same_str(&own->host, &peer->host)
           && ngx_http_billing_redis_same_str(&own->user, &peer->user)
           && ngx_http_billing_redis_same_str(&own->db, &peer->db)
           && ngx_http_billing_redis_same_str(&own->ssl_name, &peer->ssl_name)
           && ngx_http_billing_redis_same_str(&server->password, password);
}


ngx_uint_t
ngx_http_billing_redis_same_str(ngx_str_t *one, ngx_str_t *two)
{
    if (one->len != two->len) {
        return 0;
    }

    /* a text that is absent has no data */

    return one->len == 0
           || ngx_memcmp(one->data, two->data, one->len) == 0;
}


ngx_msec_t
ngx_http_billing_redis_server_wait(ngx_http_billing_redis_server_t *server)
{
    ngx_msec_int_t  wait;

    if (server->failures == 0 && !server->unloaded) {
        return 0;
    }

    wait = (ngx_msec_int_t) (server->retry - ngx_current_msec);

    return (ngx_msec_t) ngx_max(wait, 0);
}


void
ngx_http_billing_redis_server_failed(ngx_http_billing_redis_server_t *server,
    const char *reason)
{
    ngx_uint_t  same;

    if (server->failures++ == 0) {
        server->failing_since = ngx_current_msec;
        server->reason[0] = '\0';

        /* a change of state is logged even if the last line is recent */

        server->limit_down.logged = 0;
        server->limit_down.count = 0;
    }

    server->healthy_since = 0;

    ngx_http_billing_redis_server_forget(server);
    ngx_http_billing_redis_server_delay(server);

    same = ngx_strncmp(server->reason, reason, sizeof(server->reason) - 1)
           == 0;

    if (same || !ngx_http_billing_redis_limit_passes(&server->limit_down)) {
        return;
    }

    ngx_cpystrn((u_char *) server->reason, (u_char *) reason,
                sizeof(server->reason));

    ngx_log_error(NGX_LOG_ERR, server->log, 0,
                  "redis %s \"%V\" is down: %s", server->kind,
                  &server->peer->name, reason);
}


/* the delay grows with the time since the first failure */

static void
ngx_http_billing_redis_server_delay(ngx_http_billing_redis_server_t *server)
{
    ngx_msec_t  delay;

    delay = (ngx_current_msec - server->failing_since) / 4;

    delay = ngx_max(delay, NGX_HTTP_BILLING_REDIS_MIN_DELAY);
    delay = ngx_min(delay, NGX_HTTP_BILLING_REDIS_MAX_DELAY);

    /* the jitter keeps workers from connecting all at once */

    server->retry = ngx_current_msec + delay / 2
                    + ngx_random() % (delay / 2 + 1);
}


void
ngx_http_billing_redis_server_up(ngx_http_billing_redis_server_t *server)
{
    if (server->failures == 0) {
        return;
    }

    if (server->healthy_since == 0) {
        server->healthy_since = ngx_current_msec;
        server->failing_since = ngx_current_msec;
    }

    if (ngx_current_msec - server->healthy_since
        < NGX_HTTP_BILLING_REDIS_HEALTHY)
    {
        return;
    }

    ngx_log_error(NGX_LOG_WARN, server->log, 0,
                  "redis %s \"%V\" is up after %ui failures", server->kind,
                  &server->peer->name, server->failures);

    server->failures = 0;
}


void
ngx_http_billing_redis_server_lost(ngx_http_billing_redis_server_t *server,
    ngx_uint_t inflight, const char *reason)
{
    ngx_http_billing_redis_server_forget(server);

    if (inflight == 0) {
        ngx_log_error(NGX_LOG_INFO, server->log, 0,
                      "idle connection to redis server \"%V\" is closed: %s",
                      &server->peer->name, reason);
        return;
    }

    if (!ngx_http_billing_redis_limit_passes(&server->limit_lost)) {
        return;
    }

    ngx_log_error(NGX_LOG_ERR, server->log, 0,
                  "connection to redis server \"%V\" is lost, %ui since the "
                  "last such line: %s",
                  &server->peer->name, server->limit_lost.count, reason);

    server->limit_lost.count = 0;
}


/* how to speak to the server: another one may have the address by now */

static void
ngx_http_billing_redis_server_forget(ngx_http_billing_redis_server_t *server)
{
    server->eval = 0;
    server->resp2 = 0;
    server->resp2_works = 0;
    server->closes = 0;
}


void
ngx_http_billing_redis_server_late(ngx_http_billing_redis_server_t *server)
{
    server->late++;

    if (server->late_logged
        || !ngx_http_billing_redis_limit_passes(&server->limit_late))
    {
        return;
    }

    ngx_log_error(NGX_LOG_ERR, server->log, 0,
                  "redis server \"%V\" did not answer in time, %ui timeouts "
                  "since the last such line",
                  &server->peer->name, server->limit_late.count);

    server->limit_late.count = 0;
    server->late_logged = 1;
}


void
ngx_http_billing_redis_server_answered(
    ngx_http_billing_redis_server_t *server)
{
    if (server->late == 0) {
        return;
    }

    if (server->late_logged) {
        ngx_log_error(NGX_LOG_WARN, server->log, 0,
                      "redis server \"%V\" answers in time after %ui timeouts",
                      &server->peer->name, server->late);
    }

    server->late = 0;
    server->late_logged = 0;
}


void
ngx_http_billing_redis_server_refuses(ngx_http_billing_redis_server_t *server,
    const char *command, const char *error)
{
    if (server->refuses) {
        return;
    }

    server->refuses = 1;

    if (error) {
        ngx_log_error(NGX_LOG_NOTICE, server->log, 0,
                      "redis server \"%V\" refuses %s: \"%s\", the worker's "
                      "cache is not used", &server->peer->name, command, error);
        return;
    }

    ngx_log_error(NGX_LOG_NOTICE, server->log, 0,
                  "redis server \"%V\" closes the connection on %s, the "
                  "worker's cache is not used", &server->peer->name, command);
}


void
ngx_http_billing_redis_server_tracked(ngx_http_billing_redis_server_t *server)
{
    if (!server->refuses) {
        return;
    }

    server->refuses = 0;

    ngx_log_error(NGX_LOG_NOTICE, server->log, 0,
                  "redis server \"%V\" accepts CLIENT TRACKING, the worker's "
                  "cache is used", &server->peer->name);
}


void
ngx_http_billing_redis_server_unloaded(
    ngx_http_billing_redis_server_t *server, ngx_str_t *key)
{
    if (!server->unloaded) {
        server->unloaded = 1;

        if (server->failures == 0) {
            server->failing_since = ngx_current_msec;
        }

        if (key) {
            ngx_log_error(NGX_LOG_ERR, server->log, 0,
                          "redis server \"%V\" has no data loaded: key \"%V\" "
                          "does not exist", &server->peer->name, key);

        } else {
            ngx_log_error(NGX_LOG_ERR, server->log, 0,
                          "redis server \"%V\" has no data loaded: a key that "
                          "is required does not exist", &server->peer->name);
        }
    }

    ngx_http_billing_redis_server_delay(server);
}


void
ngx_http_billing_redis_server_loaded(ngx_http_billing_redis_server_t *server)
{
    if (!server->unloaded) {
        return;
    }

    server->unloaded = 0;

    ngx_log_error(NGX_LOG_WARN, server->log, 0,
                  "redis server \"%V\" has its data loaded",
                  &server->peer->name);
}


/*
 * Counts an event.  Is the event to be logged now?  A worker that exits logs
 * nothing about its connections.
 */

static ngx_uint_t
ngx_http_billing_redis_limit_passes(ngx_http_billing_redis_limit_t *limit)
{
    limit->count++;

    if (ngx_exiting || ngx_terminate) {
        return 0;
    }

    if (limit->logged
        && ngx_current_msec - limit->logged < NGX_HTTP_BILLING_REDIS_LIMIT)
    {
        return 0;
    }

    limit->logged = ngx_current_msec;

    return 1;
}
