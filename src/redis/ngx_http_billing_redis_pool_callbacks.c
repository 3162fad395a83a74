
#include "ngx_http_billing_redis_pool.h"


void
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


void
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


void
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


void
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
