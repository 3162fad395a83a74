
#include "ngx_http_billing_redis_pool.h"


/* milliseconds to wait for news of the servers */

#define NGX_HTTP_BILLING_REDIS_POOL_HOLD  50


static ngx_int_t ngx_http_billing_redis_pool_ask(
    ngx_http_billing_redis_pool_t *pool);
static ngx_uint_t ngx_http_billing_redis_pool_wanted(
    ngx_http_billing_redis_pool_t *pool);
static void ngx_http_billing_redis_pool_open(
    ngx_http_billing_redis_pool_t *pool,
    ngx_http_billing_redis_server_t *server, ngx_uint_t probe,
    ngx_uint_t probation);
static ngx_http_billing_redis_conn_t *ngx_http_billing_redis_pool_free_conn(
    ngx_http_billing_redis_pool_t *pool);


void
ngx_http_billing_redis_pool_connect(ngx_http_billing_redis_pool_t *pool)
{
    ngx_msec_t  wait;

    (void) ngx_http_billing_redis_pool_ask(pool);

    if (pool->connect.timer_set
        || !ngx_http_billing_redis_pool_wanted(pool))
    {
        return;
    }

    (void) ngx_http_billing_redis_route_first(&pool->route,
                                ngx_http_billing_redis_pool_used(pool, 0),
                                &wait);

    ngx_add_timer(&pool->connect, wait);
}


static ngx_int_t
ngx_http_billing_redis_pool_ask(ngx_http_billing_redis_pool_t *pool)
{
    return pool->discovery ? pool->discovery->ask(pool->discovery->data)
                           : NGX_OK;
}


/*
 * Is one more connection needed, and none being made?  A pipeline that the
 * caller has just sent is in flight already.
 */

static ngx_uint_t
ngx_http_billing_redis_pool_wanted(ngx_http_billing_redis_pool_t *pool)
{
    ngx_uint_t                      i, ready, idle, suspect;
    ngx_http_billing_redis_conn_t  *conn;

    ready = 0;
    idle = 0;
    suspect = 0;

    for (i = 0; i < pool->nconns; i++) {
        conn = &pool->conns[i];

        switch (conn->state) {

        case NGX_HTTP_BILLING_REDIS_CONNECTING:
        case NGX_HTTP_BILLING_REDIS_GREETING:
            if (!conn->probe) {
                return 0;
            }

            break;

        case NGX_HTTP_BILLING_REDIS_READY:
            ready++;
            idle += (conn->ninflight <= 1);
            break;

        case NGX_HTTP_BILLING_REDIS_SUSPECT:
            suspect++;
            break;

        default:
            break;
        }
    }

    if (suspect) {
        return 1;
    }

    conn = pool->shared.owner;

    if (conn && conn->ninflight < NGX_HTTP_BILLING_REDIS_INFLIGHT) {
        return 0;
    }

    if (ready == 0) {
        return pool->nwaiting != 0;
    }

    return ready < pool->shared.conf.connections && idle == 0;
}


void
ngx_http_billing_redis_pool_connect_handler(ngx_event_t *ev)
{
    ngx_msec_t                        wait;
    ngx_http_billing_redis_pool_t    *pool;
    ngx_http_billing_redis_server_t  *server;

    pool = ev->data;

    /* the pipelines that waited may have been cancelled */

    if (!ngx_http_billing_redis_pool_wanted(pool)) {
        return;
    }

    if (ngx_http_billing_redis_pool_ask(pool) == NGX_AGAIN) {
        ngx_add_timer(&pool->connect, NGX_HTTP_BILLING_REDIS_POOL_HOLD);
        return;
    }

    server = ngx_http_billing_redis_route_first(&pool->route,
                                ngx_http_billing_redis_pool_used(pool, 0),
                                &wait);

    if (server) {
        ngx_http_billing_redis_pool_open(pool, server, 0, 0);
        return;
    }

    ngx_add_timer(&pool->connect, wait);
}


void
ngx_http_billing_redis_pool_probe(ngx_http_billing_redis_pool_t *pool)
{
    ngx_uint_t                        i;
    ngx_msec_t                        wait;
    ngx_http_billing_redis_conn_t    *conn;
    ngx_http_billing_redis_server_t  *used;

    if (pool->probe.timer_set || ngx_exiting) {
        return;
    }

    for (i = 0; i < pool->nconns; i++) {
        conn = &pool->conns[i];

        if (conn->probe && conn->state != NGX_HTTP_BILLING_REDIS_CLOSED) {
            return;
        }
    }

    used = ngx_http_billing_redis_pool_used(pool, 0);

    if (used == NULL) {
        return;
    }

    (void) ngx_http_billing_redis_route_better(&pool->route, used, &wait);

    if (wait == NGX_TIMER_INFINITE) {
        return;
    }

    ngx_add_timer(&pool->probe,
                  ngx_max(wait, NGX_HTTP_BILLING_REDIS_MIN_DELAY));
}


void
ngx_http_billing_redis_pool_probe_handler(ngx_event_t *ev)
{
    ngx_msec_t                        wait;
    ngx_http_billing_redis_pool_t    *pool;
    ngx_http_billing_redis_server_t  *server, *used;

    pool = ev->data;

    used = ngx_http_billing_redis_pool_used(pool, 0);

    if (used == NULL) {
        return;
    }

    server = ngx_http_billing_redis_route_better(&pool->route, used, &wait);

    if (server == NULL) {
        ngx_http_billing_redis_pool_probe(pool);
        return;
    }

    /*
     * There is no probation for a server that has just come into the list, nor
     * where the server in use has no data.
     */

    ngx_http_billing_redis_pool_open(pool, server, 1,
                                     (server->failures || server->unloaded)
                                     && !used->unloaded);
}


static void
ngx_http_billing_redis_pool_open(ngx_http_billing_redis_pool_t *pool,
    ngx_http_billing_redis_server_t *server, ngx_uint_t probe,
    ngx_uint_t probation)
{
    const char                     *reason;
    ngx_http_billing_redis_conn_t  *conn;

    conn = ngx_http_billing_redis_pool_free_conn(pool);

    if (conn == NULL) {
        return;
    }

    server->refs++;

    ngx_http_billing_redis_pool_release(conn);

    conn->server = server;
    conn->probe = probe;
    conn->probation = probation;

    reason = ngx_http_billing_redis_conn_open(conn);

    if (reason == NULL) {
        return;
    }

    pool->shared.stat->connect_failures++;

    if (!probe) {
        pool->result = NGX_HTTP_BILLING_REDIS_UNAVAILABLE;
    }

    ngx_http_billing_redis_server_failed(server, reason);
    ngx_http_billing_redis_pool_connect(pool);
    ngx_http_billing_redis_pool_probe(pool);
    ngx_http_billing_redis_pool_notice(pool);
}


/* if no connection is closed, closes the oldest one that drains */

static ngx_http_billing_redis_conn_t *
ngx_http_billing_redis_pool_free_conn(ngx_http_billing_redis_pool_t *pool)
{
    ngx_uint_t                      i;
    ngx_http_billing_redis_conn_t  *conn, *oldest;

    oldest = NULL;

    for (i = 0; i < pool->nconns; i++) {
        conn = &pool->conns[i];

        if (conn->state == NGX_HTTP_BILLING_REDIS_CLOSED) {
            return conn;
        }

        if (conn->state == NGX_HTTP_BILLING_REDIS_DRAINING
            && (oldest == NULL || conn->number < oldest->number))
        {
            oldest = conn;
        }
    }

    if (oldest) {
        ngx_http_billing_redis_conn_close(oldest, "its place is needed",
                                          NGX_HTTP_BILLING_REDIS_BLAME_NONE);
    }

    return oldest;
}


void
ngx_http_billing_redis_pool_release(ngx_http_billing_redis_conn_t *conn)
{
    if (conn->server) {
        conn->server->refs--;
        ngx_http_billing_redis_server_release(conn->server);
        conn->server = NULL;
    }
}


void
ngx_http_billing_redis_pool_notice(ngx_http_billing_redis_pool_t *pool)
{
    if (pool->noticed) {
        pool->noticed(pool->noticed_data);
    }
}
