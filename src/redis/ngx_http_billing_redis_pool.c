
#include "ngx_http_billing_redis_pool.h"


/* milliseconds to wait for news of the servers */

#define NGX_HTTP_BILLING_REDIS_POOL_HOLD  50


static ngx_int_t ngx_http_billing_redis_pool_ask(
    ngx_http_billing_redis_pool_t *pool);
static ngx_uint_t ngx_http_billing_redis_pool_wanted(
    ngx_http_billing_redis_pool_t *pool);
static void ngx_http_billing_redis_pool_connect_handler(ngx_event_t *ev);
static void ngx_http_billing_redis_pool_probe_handler(ngx_event_t *ev);
static void ngx_http_billing_redis_pool_open(
    ngx_http_billing_redis_pool_t *pool,
    ngx_http_billing_redis_server_t *server, ngx_uint_t probe,
    ngx_uint_t probation);
static ngx_http_billing_redis_conn_t *ngx_http_billing_redis_pool_closed(
    ngx_http_billing_redis_pool_t *pool);
static void ngx_http_billing_redis_pool_notice(
    ngx_http_billing_redis_pool_t *pool);
static void ngx_http_billing_redis_pool_release(
    ngx_http_billing_redis_conn_t *conn);
static void ngx_http_billing_redis_pool_ready(
    ngx_http_billing_redis_conn_t *conn);
static void ngx_http_billing_redis_pool_suspect(
    ngx_http_billing_redis_conn_t *conn);
static void ngx_http_billing_redis_pool_answered(
    ngx_http_billing_redis_conn_t *conn);
static void ngx_http_billing_redis_pool_lost(
    ngx_http_billing_redis_conn_t *conn,
    ngx_http_billing_redis_conn_state_e state, const char *reason);


ngx_int_t
ngx_http_billing_redis_pool_init(ngx_conf_t *cf,
    ngx_http_billing_redis_pool_t *pool)
{
    ngx_uint_t                        i;
    ngx_array_t                       listed;
    ngx_http_billing_redis_conf_t    *conf;
    ngx_http_billing_redis_peer_t    *peer, *elt;
    ngx_http_billing_redis_shared_t  *shared;

    shared = &pool->shared;
    conf = &shared->conf;

    shared->pool = pool;
    shared->check = (conf->peers->nelts > 1 || conf->resolver
                     || conf->urls->sentinel);
    shared->roles = (conf->urls->sentinel != NULL);
    shared->ready = ngx_http_billing_redis_pool_ready;
    shared->suspect = ngx_http_billing_redis_pool_suspect;
    shared->answered = ngx_http_billing_redis_pool_answered;
    shared->lost = ngx_http_billing_redis_pool_lost;

    pool->result = NGX_HTTP_BILLING_REDIS_UNAVAILABLE;

    pool->connect.handler = ngx_http_billing_redis_pool_connect_handler;
    pool->connect.data = pool;
    pool->connect.log = shared->log;
    pool->connect.cancelable = 1;

    pool->probe.handler = ngx_http_billing_redis_pool_probe_handler;
    pool->probe.data = pool;
    pool->probe.log = shared->log;
    pool->probe.cancelable = 1;

    peer = conf->peers->elts;

    /* what names and sentinels lead to is still unknown */

    if (ngx_array_init(&listed, cf->pool, conf->peers->nelts,
                       sizeof(ngx_http_billing_redis_peer_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < conf->peers->nelts; i++) {

        if (peer[i].resolve || conf->urls->sentinel) {
            continue;
        }

        elt = ngx_array_push(&listed);
        if (elt == NULL) {
            return NGX_ERROR;
        }

        *elt = peer[i];
    }

    if (ngx_http_billing_redis_route_set(&pool->route, listed.elts,
                                         listed.nelts, &conf->password,
                                         cf->pool, shared->log)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < conf->peers->nelts; i++) {

#if (NGX_HTTP_BILLING_REDIS_SSL)

        if (peer[i].ssl_name.len && shared->ssl == NULL
            && ngx_http_billing_redis_ssl_init(cf, shared) != NGX_OK)
        {
            return NGX_ERROR;
        }

#endif

        if (peer[i].user.len && peer[i].password.len == 0
            && conf->password.len == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "no password for the user of redis server "
                               "\"%V\" in \"billing_redis\" directive",
                               &peer[i].name);
            return NGX_ERROR;
        }
    }

    /* connections in use, as many that drain, and one that probes a server */

    pool->nconns = 2 * conf->connections + 1;

    pool->conns = ngx_pcalloc(cf->pool, pool->nconns
                                       * sizeof(ngx_http_billing_redis_conn_t));
    if (pool->conns == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < pool->nconns; i++) {
        ngx_http_billing_redis_conn_init(&pool->conns[i], shared);
    }

    return NGX_OK;
}


ngx_http_billing_redis_conn_t *
ngx_http_billing_redis_pool_get(ngx_http_billing_redis_pool_t *pool,
    ngx_uint_t max)
{
    ngx_uint_t                      i;
    ngx_http_billing_redis_conn_t  *conn, *best;

    conn = pool->shared.owner;

    if (conn && conn->ninflight < max) {
        return conn;
    }

    best = NULL;

    for (i = 0; i < pool->nconns; i++) {
        conn = &pool->conns[i];

        if (conn->state == NGX_HTTP_BILLING_REDIS_READY
            && conn->ninflight < max
            && (best == NULL || conn->ninflight < best->ninflight))
        {
            best = conn;
        }
    }

    return best;
}


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
    return pool->source ? pool->source->ask(pool->source->data) : NGX_OK;
}


/*
 * Whether one more connection is needed, and none is being made.  A pipeline
 * that the caller has just sent is in flight already.
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


static void
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


static void
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

    conn = ngx_http_billing_redis_pool_closed(pool);

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


static void
ngx_http_billing_redis_pool_notice(ngx_http_billing_redis_pool_t *pool)
{
    if (pool->noticed) {
        pool->noticed(pool->noticed_data);
    }
}


/* if no connection is closed, the one that drains for the longest is */

static ngx_http_billing_redis_conn_t *
ngx_http_billing_redis_pool_closed(ngx_http_billing_redis_pool_t *pool)
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


static void
ngx_http_billing_redis_pool_release(ngx_http_billing_redis_conn_t *conn)
{
    if (conn->server) {
        conn->server->refs--;
        ngx_http_billing_redis_server_release(conn->server);
        conn->server = NULL;
    }
}


ngx_http_billing_redis_server_t *
ngx_http_billing_redis_pool_used(ngx_http_billing_redis_pool_t *pool,
    ngx_uint_t except)
{
    ngx_uint_t                      i;
    ngx_http_billing_redis_conn_t  *conn;

    for (i = 0; i < pool->nconns; i++) {
        conn = &pool->conns[i];

        if (conn->state == NGX_HTTP_BILLING_REDIS_READY
            && conn->number != except)
        {
            return conn->server;
        }
    }

    return NULL;
}


void
ngx_http_billing_redis_pool_close(ngx_http_billing_redis_pool_t *pool)
{
    ngx_uint_t  i;

    if (pool->source) {
        pool->source->close(pool->source->data);
        pool->source = NULL;
    }

    /* no other connection is to become the owner */

    if (pool->shared.owner) {
        ngx_http_billing_redis_conn_disown(pool->shared.owner);
    }

    pool->shared.tracking = NULL;

    for (i = 0; i < pool->nconns; i++) {
        ngx_http_billing_redis_conn_close(&pool->conns[i],
                                          (ngx_exiting || ngx_terminate)
                                          ? "worker is exiting"
                                          : "not needed any more",
                                          NGX_HTTP_BILLING_REDIS_BLAME_NONE);
        ngx_http_billing_redis_pool_release(&pool->conns[i]);
    }

    ngx_http_billing_redis_route_clear(&pool->route);
}


void
ngx_http_billing_redis_pool_own(ngx_http_billing_redis_pool_t *pool)
{
    ngx_uint_t                      i;
    ngx_http_billing_redis_conn_t  *conn;

    if (pool->shared.tracking == NULL) {
        return;
    }

    for (i = 0; i < pool->nconns && pool->shared.owner == NULL; i++) {
        conn = &pool->conns[i];

        if (conn->server && conn->server->listed) {
            ngx_http_billing_redis_conn_own(conn);
        }
    }
}


static void
ngx_http_billing_redis_pool_ready(ngx_http_billing_redis_conn_t *conn)
{
    ngx_uint_t                        i, rank, better;
    ngx_http_billing_redis_conn_t    *other;
    ngx_http_billing_redis_pool_t    *pool;
    ngx_http_billing_redis_route_t   *route;
    ngx_http_billing_redis_server_t  *server, *used;

    pool = conn->shared->pool;
    route = &pool->route;
    server = conn->server;

    pool->shared.stat->connects++;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, pool->shared.log, 0,
                   "billing redis connection %ui to \"%V\" is ready",
                   conn->number, &server->peer->name);

    if (conn->missing) {
        ngx_http_billing_redis_server_unloaded(server, conn->missing);

        used = ngx_http_billing_redis_pool_used(pool, conn->number);

        if (used || ngx_http_billing_redis_route_other(route, server, NULL)) {
            ngx_http_billing_redis_conn_close(conn, "its data is not loaded",
                                            NGX_HTTP_BILLING_REDIS_BLAME_NONE);
            return;
        }

    } else if (server->unloaded) {
        ngx_http_billing_redis_server_loaded(server);
    }

    if (conn->probe) {
        conn->probe = 0;
        ngx_http_billing_redis_server_up(server);
    }

    rank = ngx_http_billing_redis_route_rank(route, server);
    better = 0;

    for (i = 0; i < pool->nconns; i++) {
        other = &pool->conns[i];

        if (other->state == NGX_HTTP_BILLING_REDIS_SUSPECT) {
            ngx_http_billing_redis_conn_close(other, "no answer, while a new "
                                            "connection has one",
                                            NGX_HTTP_BILLING_REDIS_BLAME_NONE);
            continue;
        }

        if (other == conn || other->state != NGX_HTTP_BILLING_REDIS_READY) {
            continue;
        }

        if (ngx_http_billing_redis_route_rank(route, other->server) > rank) {
            ngx_http_billing_redis_conn_drain(other);

        } else {
            better++;
        }
    }

    if (better >= pool->shared.conf.connections) {
        ngx_http_billing_redis_conn_drain(conn);
    }

    ngx_http_billing_redis_pool_own(pool);

    pool->flush(pool->data);

    ngx_http_billing_redis_pool_probe(pool);
    ngx_http_billing_redis_pool_notice(pool);
}


static void
ngx_http_billing_redis_pool_suspect(ngx_http_billing_redis_conn_t *conn)
{
    ngx_uint_t                      i;
    ngx_http_billing_redis_conn_t  *other;
    ngx_http_billing_redis_pool_t  *pool;

    pool = conn->shared->pool;

    ngx_log_error(NGX_LOG_INFO, pool->shared.log, 0,
                  "idle connection to redis server \"%V\" does not answer, "
                  "another one is made", &conn->server->peer->name);

    /* a request is not to try the idle connections one after the other */

    for (i = 0; i < pool->nconns; i++) {
        other = &pool->conns[i];

        if (other->state == NGX_HTTP_BILLING_REDIS_READY
            && other->server == conn->server && other->ninflight == 0)
        {
            ngx_http_billing_redis_conn_close(other,
                                            "another idle connection does not "
                                            "answer",
                                            NGX_HTTP_BILLING_REDIS_BLAME_NONE);
        }
    }

    ngx_http_billing_redis_pool_own(pool);
    ngx_http_billing_redis_pool_connect(pool);
}


static void
ngx_http_billing_redis_pool_answered(ngx_http_billing_redis_conn_t *conn)
{
    ngx_http_billing_redis_pool_t  *pool;

    pool = conn->shared->pool;

    pool->result = NGX_HTTP_BILLING_REDIS_UNAVAILABLE;

    ngx_http_billing_redis_server_up(conn->server);
    ngx_http_billing_redis_server_answered(conn->server);

    if (conn->state == NGX_HTTP_BILLING_REDIS_DRAINING
        && conn->ninflight == 0)
    {
        ngx_http_billing_redis_conn_drain(conn);
    }

    /* a connection that was SUSPECT may be the owner again */

    ngx_http_billing_redis_pool_own(pool);

    pool->flush(pool->data);
}


static void
ngx_http_billing_redis_pool_lost(ngx_http_billing_redis_conn_t *conn,
    ngx_http_billing_redis_conn_state_e state, const char *reason)
{
    ngx_uint_t                      made, failed;
    ngx_http_billing_redis_pool_t  *pool;

    pool = conn->shared->pool;

    made = (state >= NGX_HTTP_BILLING_REDIS_READY);
    failed = 0;

    switch (conn->blame) {

    case NGX_HTTP_BILLING_REDIS_BLAME_NONE:
        break;

    case NGX_HTTP_BILLING_REDIS_BLAME_SERVER:
        failed = 1;
        break;

    case NGX_HTTP_BILLING_REDIS_BLAME_CONN:

        /* a server that accepts connections but answers nothing has failed */

        failed = !made || (conn->ninflight && !conn->served);
        break;

    default: /* NGX_HTTP_BILLING_REDIS_BLAME_REPLY */
        failed = !made;
        break;
    }

    if (!made) {
        pool->shared.stat->connect_failures += failed;

    } else if (conn->ninflight) {
        pool->shared.stat->lost++;
    }

    if (failed) {

        if (!conn->probe) {
            pool->result = conn->result;
        }

        ngx_http_billing_redis_server_failed(conn->server, reason);

    } else if (made) {
        ngx_http_billing_redis_server_lost(conn->server,
                                conn->blame == NGX_HTTP_BILLING_REDIS_BLAME_NONE
                                ? 0 : conn->ninflight, reason);
    }

    ngx_http_billing_redis_pool_own(pool);
    ngx_http_billing_redis_pool_connect(pool);
    ngx_http_billing_redis_pool_probe(pool);
    ngx_http_billing_redis_pool_notice(pool);
}
