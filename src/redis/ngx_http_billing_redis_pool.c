
#include "ngx_http_billing_redis_conn.h"


/* milliseconds between attempts to connect to a server that fails */

#define NGX_HTTP_BILLING_REDIS_MIN_DELAY  20
#define NGX_HTTP_BILLING_REDIS_MAX_DELAY  1000

/* milliseconds without a failure that make a server healthy again */

#define NGX_HTTP_BILLING_REDIS_HEALTHY    1000

/* milliseconds between log lines on lost connections to a server */

#define NGX_HTTP_BILLING_REDIS_LOST       1000

/* pipelines in flight on a connection */

#define NGX_HTTP_BILLING_REDIS_MAX_INFLIGHT  1000

/* milliseconds for which the last replies on a connection are waited for */

#define NGX_HTTP_BILLING_REDIS_DRAIN      10000


static ngx_uint_t ngx_http_billing_redis_pool_wanted(
    ngx_http_billing_redis_t *redis);
static void ngx_http_billing_redis_pool_connect_handler(ngx_event_t *ev);
static void ngx_http_billing_redis_pool_probe(ngx_http_billing_redis_t *redis);
static ngx_http_billing_redis_conn_t *ngx_http_billing_redis_pool_ready(
    ngx_http_billing_redis_t *redis);
static void ngx_http_billing_redis_pool_probe_handler(ngx_event_t *ev);
static void ngx_http_billing_redis_pool_open(ngx_http_billing_redis_t *redis,
    ngx_http_billing_redis_server_t *server, ngx_uint_t probe);
static void ngx_http_billing_redis_pool_retire(
    ngx_http_billing_redis_conn_t *conn);
static ngx_http_billing_redis_server_t *ngx_http_billing_redis_server_first(
    ngx_http_billing_redis_t *redis, ngx_http_billing_redis_server_t *last,
    ngx_msec_t *wait);
static void ngx_http_billing_redis_server_failed(
    ngx_http_billing_redis_server_t *server, const char *reason);
static void ngx_http_billing_redis_server_lost(
    ngx_http_billing_redis_server_t *server, ngx_uint_t inflight,
    const char *reason);
static void ngx_http_billing_redis_server_up(
    ngx_http_billing_redis_server_t *server);


void
ngx_http_billing_redis_pool_init(ngx_http_billing_redis_t *redis)
{
    ngx_uint_t                      i;
    ngx_http_billing_redis_conn_t  *conn;

    if (redis->connect.handler) {
        return;
    }

    redis->connect.handler = ngx_http_billing_redis_pool_connect_handler;
    redis->connect.data = redis;
    redis->connect.log = ngx_cycle->log;
    redis->connect.cancelable = 1;

    redis->probe.handler = ngx_http_billing_redis_pool_probe_handler;
    redis->probe.data = redis;
    redis->probe.log = ngx_cycle->log;
    redis->probe.cancelable = 1;

    for (i = 0; i < redis->nconns; i++) {
        conn = &redis->conns[i];

        conn->timer.handler = ngx_http_billing_redis_conn_timeout;
        conn->timer.data = conn;
        conn->timer.log = ngx_cycle->log;
        conn->timer.cancelable = 1;
    }
}


ngx_http_billing_redis_conn_t *
ngx_http_billing_redis_pool_get(ngx_http_billing_redis_t *redis)
{
    ngx_uint_t                      i;
    ngx_http_billing_redis_conn_t  *conn, *best;

    best = NULL;

    for (i = 0; i < redis->nconns; i++) {
        conn = &redis->conns[i];

        if (conn->state == NGX_HTTP_BILLING_REDIS_READY
            && conn->ninflight < NGX_HTTP_BILLING_REDIS_MAX_INFLIGHT
            && (best == NULL || conn->ninflight < best->ninflight))
        {
            best = conn;
        }
    }

    return best;
}


void
ngx_http_billing_redis_pool_check(ngx_http_billing_redis_t *redis,
    ngx_msec_t silence)
{
    ngx_uint_t                      i;
    ngx_http_billing_redis_conn_t  *conn;

    for (i = 0; i < redis->nconns; i++) {
        conn = &redis->conns[i];

        if (conn->ninflight
            && ngx_current_msec - conn->replied >= silence)
        {
            conn->result = NGX_HTTP_BILLING_REDIS_TIMEOUT;
            ngx_http_billing_redis_conn_close(conn, "server does not answer",
                                           NGX_HTTP_BILLING_REDIS_BLAME_NONE);
        }
    }
}


void
ngx_http_billing_redis_pool_connect(ngx_http_billing_redis_t *redis)
{
    ngx_msec_t  wait;

    if (redis->connect.timer_set
        || !ngx_http_billing_redis_pool_wanted(redis))
    {
        return;
    }

    (void) ngx_http_billing_redis_server_first(redis, NULL, &wait);

    ngx_add_timer(&redis->connect, wait);
}


/*
 * There is need, and no attempt to connect is under way.  The request that
 * asks is in flight already.
 */

static ngx_uint_t
ngx_http_billing_redis_pool_wanted(ngx_http_billing_redis_t *redis)
{
    ngx_uint_t                      i, ready, idle;
    ngx_http_billing_redis_conn_t  *conn;

    ready = 0;
    idle = 0;

    for (i = 0; i < redis->nconns; i++) {
        conn = &redis->conns[i];

        if (conn->state == NGX_HTTP_BILLING_REDIS_CONNECTING && !conn->probe) {
            return 0;
        }

        if (conn->state == NGX_HTTP_BILLING_REDIS_READY) {
            ready++;
            idle += (conn->ninflight <= 1);
        }
    }

    if (ready == 0) {
        return redis->nwaiting || !ngx_queue_empty(&redis->bulk);
    }

    return ready < redis->conf.connections && idle == 0;
}


static void
ngx_http_billing_redis_pool_connect_handler(ngx_event_t *ev)
{
    ngx_msec_t                        wait;
    ngx_http_billing_redis_t         *redis;
    ngx_http_billing_redis_server_t  *server;

    redis = ev->data;

    /* those who waited may be gone */

    if (!ngx_http_billing_redis_pool_wanted(redis)) {
        return;
    }

    server = ngx_http_billing_redis_server_first(redis, NULL, &wait);

    if (server) {
        ngx_http_billing_redis_pool_open(redis, server, 0);
        return;
    }

    ngx_add_timer(&redis->connect, wait);
}


/* while a server is used that is not the first, those before it are tried */

static void
ngx_http_billing_redis_pool_probe(ngx_http_billing_redis_t *redis)
{
    ngx_uint_t                      i;
    ngx_msec_t                      wait;
    ngx_http_billing_redis_conn_t  *conn;

    if (redis->probe.timer_set || ngx_exiting) {
        return;
    }

    for (i = 0; i < redis->nconns; i++) {
        if (redis->conns[i].state == NGX_HTTP_BILLING_REDIS_CONNECTING
            && redis->conns[i].probe)
        {
            return;
        }
    }

    conn = ngx_http_billing_redis_pool_ready(redis);

    if (conn == NULL || conn->server == redis->servers) {
        return;
    }

    (void) ngx_http_billing_redis_server_first(redis, conn->server, &wait);

    ngx_add_timer(&redis->probe,
                  ngx_max(wait, NGX_HTTP_BILLING_REDIS_MIN_DELAY));
}


/* any connection in use, however much is in flight on it */

static ngx_http_billing_redis_conn_t *
ngx_http_billing_redis_pool_ready(ngx_http_billing_redis_t *redis)
{
    ngx_uint_t  i;

    for (i = 0; i < redis->nconns; i++) {
        if (redis->conns[i].state == NGX_HTTP_BILLING_REDIS_READY) {
            return &redis->conns[i];
        }
    }

    return NULL;
}


static void
ngx_http_billing_redis_pool_probe_handler(ngx_event_t *ev)
{
    ngx_msec_t                        wait;
    ngx_http_billing_redis_t         *redis;
    ngx_http_billing_redis_conn_t    *conn;
    ngx_http_billing_redis_server_t  *server;

    redis = ev->data;

    conn = ngx_http_billing_redis_pool_ready(redis);

    if (conn == NULL) {
        return;
    }

    server = ngx_http_billing_redis_server_first(redis, conn->server, &wait);

    if (server) {
        ngx_http_billing_redis_pool_open(redis, server, 1);

    } else {
        ngx_http_billing_redis_pool_probe(redis);
    }
}


static void
ngx_http_billing_redis_pool_open(ngx_http_billing_redis_t *redis,
    ngx_http_billing_redis_server_t *server, ngx_uint_t probe)
{
    ngx_uint_t                      i;
    const char                     *reason;
    ngx_http_billing_redis_conn_t  *conn;

    for (i = 0; i < redis->nconns; i++) {
        if (redis->conns[i].state == NGX_HTTP_BILLING_REDIS_CLOSED) {
            break;
        }
    }

    if (i == redis->nconns) {

        /* all that could be had are draining: the next one to end comes back */

        return;
    }

    conn = &redis->conns[i];

    conn->server = server;
    conn->probe = probe;

    reason = ngx_http_billing_redis_conn_open(conn);

    if (reason) {
        redis->stat->connect_failures++;
        redis->result = NGX_HTTP_BILLING_REDIS_UNAVAILABLE;
        ngx_http_billing_redis_server_failed(server, reason);
        ngx_http_billing_redis_pool_connect(redis);
        ngx_http_billing_redis_pool_probe(redis);
    }
}


/*
 * The first of the servers before last, or of all of them, that may be tried
 * now; or NULL, and how long to wait for one.
 */

static ngx_http_billing_redis_server_t *
ngx_http_billing_redis_server_first(ngx_http_billing_redis_t *redis,
    ngx_http_billing_redis_server_t *last, ngx_msec_t *wait)
{
    ngx_msec_int_t                    left, least;
    ngx_http_billing_redis_server_t  *server;

    if (last == NULL) {
        last = redis->servers + redis->nservers;
    }

    least = NGX_HTTP_BILLING_REDIS_MAX_DELAY;

    for (server = redis->servers; server < last; server++) {

        left = server->failures
               ? (ngx_msec_int_t) (server->retry - ngx_current_msec) : 0;

        if (left <= 0) {
            *wait = 0;
            return server;
        }

        least = ngx_min(least, left);
    }

    *wait = least;

    return NULL;
}


/*
 * A server is tried again after a time that grows with the time for which it
 * has been failing.
 */

static void
ngx_http_billing_redis_server_failed(ngx_http_billing_redis_server_t *server,
    const char *reason)
{
    ngx_msec_t  delay;

    if (server->failures++ == 0) {
        server->failing = ngx_current_msec;
        server->reason[0] = '\0';
    }

    server->healthy = 0;

    if (!ngx_exiting && !ngx_terminate
        && ngx_strncmp(server->reason, reason, sizeof(server->reason) - 1) != 0)
    {
        ngx_cpystrn((u_char *) server->reason, (u_char *) reason,
                    sizeof(server->reason));

        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "redis server \"%V\" is down: %s",
                      &server->peer->name, reason);
    }

    delay = (ngx_current_msec - server->failing) / 4;

    delay = ngx_max(delay, NGX_HTTP_BILLING_REDIS_MIN_DELAY);
    delay = ngx_min(delay, NGX_HTTP_BILLING_REDIS_MAX_DELAY);

    /* workers should not come all at once */

    server->retry = ngx_current_msec + delay / 2
                    + ngx_random() % (delay / 2 + 1);
}


static void
ngx_http_billing_redis_server_lost(ngx_http_billing_redis_server_t *server,
    ngx_uint_t inflight, const char *reason)
{
    if (inflight == 0) {
        ngx_log_error(NGX_LOG_INFO, ngx_cycle->log, 0,
                      "idle connection to redis server \"%V\" is closed: %s",
                      &server->peer->name, reason);
        return;
    }

    server->lost++;

    if (ngx_exiting || ngx_terminate) {
        return;
    }

    if (server->logged
        && ngx_current_msec - server->logged < NGX_HTTP_BILLING_REDIS_LOST)
    {
        return;
    }

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "connection to redis server \"%V\" is lost, %ui since the "
                  "last such line: %s",
                  &server->peer->name, server->lost, reason);

    server->logged = ngx_current_msec;
    server->lost = 0;
}


static void
ngx_http_billing_redis_server_up(ngx_http_billing_redis_server_t *server)
{
    if (server->failures == 0) {
        return;
    }

    if (server->healthy == 0) {
        server->healthy = ngx_current_msec;
        server->failing = ngx_current_msec;
    }

    if (ngx_current_msec - server->healthy < NGX_HTTP_BILLING_REDIS_HEALTHY) {
        return;
    }

    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "redis server \"%V\" is up after %ui failures",
                  &server->peer->name, server->failures);

    server->failures = 0;
}


void
ngx_http_billing_redis_conn_ready(ngx_http_billing_redis_conn_t *conn)
{
    ngx_uint_t                      i, better;
    ngx_http_billing_redis_t       *redis;
    ngx_http_billing_redis_conn_t  *other;

    redis = conn->redis;
    redis->stat->connects++;
    better = 0;

    if (conn->probe) {
        conn->probe = 0;
        ngx_http_billing_redis_server_up(conn->server);
    }

    for (i = 0; i < redis->nconns; i++) {
        other = &redis->conns[i];

        if (other == conn || other->state != NGX_HTTP_BILLING_REDIS_READY) {
            continue;
        }

        if (other->server > conn->server) {
            ngx_http_billing_redis_pool_retire(other);

        } else {
            better++;
        }
    }

    if (better == redis->conf.connections) {
        ngx_http_billing_redis_pool_retire(conn);
    }

    ngx_http_billing_redis_flush(redis);
    ngx_http_billing_redis_pool_probe(redis);
}


/* there are others to use, to a server that is preferred */

static void
ngx_http_billing_redis_pool_retire(ngx_http_billing_redis_conn_t *conn)
{
    if (conn->ninflight) {
        conn->state = NGX_HTTP_BILLING_REDIS_DRAINING;
        ngx_add_timer(&conn->timer, NGX_HTTP_BILLING_REDIS_DRAIN);
        return;
    }

    ngx_http_billing_redis_conn_close(conn, "not needed any more",
                                      NGX_HTTP_BILLING_REDIS_BLAME_CONN);
}


void
ngx_http_billing_redis_conn_served(ngx_http_billing_redis_conn_t *conn)
{
    ngx_http_billing_redis_t  *redis;

    redis = conn->redis;

    ngx_http_billing_redis_server_up(conn->server);

    redis->result = NGX_HTTP_BILLING_REDIS_UNAVAILABLE;

    if (redis->late) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "redis server \"%V\" answers in time after %ui timeouts",
                      &conn->server->peer->name, redis->late);
        redis->late = 0;
        redis->logged = 0;
    }

    if (conn->state == NGX_HTTP_BILLING_REDIS_DRAINING
        && conn->ninflight == 0)
    {
        ngx_http_billing_redis_pool_retire(conn);
    }

    ngx_http_billing_redis_flush(redis);
}


void
ngx_http_billing_redis_conn_lost(ngx_http_billing_redis_conn_t *conn,
    const char *reason)
{
    ngx_http_billing_redis_t        *redis;
    ngx_http_billing_redis_state_e   state;

    redis = conn->redis;
    state = conn->state;

    conn->state = NGX_HTTP_BILLING_REDIS_CLOSED;

    if (state == NGX_HTTP_BILLING_REDIS_CONNECTING) {
        redis->stat->connect_failures++;

    } else if (conn->ninflight) {
        redis->stat->lost++;
    }

    if (state == NGX_HTTP_BILLING_REDIS_CONNECTING
        || conn->blame == NGX_HTTP_BILLING_REDIS_BLAME_NONE
        || (conn->blame == NGX_HTTP_BILLING_REDIS_BLAME_CONN
            && conn->ninflight && !conn->served))
    {
        if (!conn->probe) {
            redis->result = conn->result;
        }

        ngx_http_billing_redis_server_failed(conn->server, reason);

    } else {
        ngx_http_billing_redis_server_lost(conn->server, conn->ninflight,
                                           reason);
    }

    ngx_http_billing_redis_settle(conn);

    if (redis->nwaiting || !ngx_queue_empty(&redis->bulk)) {
        ngx_post_event(&redis->posted, &ngx_posted_events);
    }

    ngx_http_billing_redis_pool_probe(redis);
}
