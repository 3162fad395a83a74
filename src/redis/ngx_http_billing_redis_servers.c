
#include "ngx_http_billing_redis_pool.h"


/* milliseconds for the last replies of a server that left the list */

#define NGX_HTTP_BILLING_REDIS_LEAVE  500


static void ngx_http_billing_redis_pool_leave(
    ngx_http_billing_redis_conn_t *conn, ngx_uint_t best);


ngx_int_t
ngx_http_billing_redis_pool_servers(ngx_http_billing_redis_pool_t *pool,
    ngx_http_billing_redis_peer_t *peers, ngx_uint_t n)
{
    ngx_uint_t                       i, best, rank;
    ngx_http_billing_redis_conn_t   *conn;
    ngx_http_billing_redis_route_t  *route;

    route = &pool->route;

    if (ngx_http_billing_redis_route_set(route, peers, n,
                                         &pool->shared.conf.password, NULL,
                                         pool->shared.log)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (n == 0) {
        pool->result = NGX_HTTP_BILLING_REDIS_UNAVAILABLE;
    }

    best = 2 * route->nservers;

    for (i = 0; i < pool->nconns; i++) {
        conn = &pool->conns[i];

        if (conn->state == NGX_HTTP_BILLING_REDIS_READY) {
            rank = ngx_http_billing_redis_route_rank(route, conn->server);
            best = ngx_min(best, rank);
        }
    }

    for (i = 0; i < pool->nconns; i++) {
        ngx_http_billing_redis_pool_leave(&pool->conns[i], best);
    }

    ngx_http_billing_redis_pool_changed(pool);

    return NGX_OK;
}


/*
 * Ends a connection to a server that left the list, and drains one to a server
 * that is worse than the best one in use.
 */

static void
ngx_http_billing_redis_pool_leave(ngx_http_billing_redis_conn_t *conn,
    ngx_uint_t best)
{
    ngx_http_billing_redis_pool_t  *pool;

    pool = conn->shared->pool;

    if (conn->state == NGX_HTTP_BILLING_REDIS_CLOSED
        || conn->state == NGX_HTTP_BILLING_REDIS_DRAINING)
    {
        return;
    }

    if (conn->server->listed) {

        if (conn->state == NGX_HTTP_BILLING_REDIS_READY
            && ngx_http_billing_redis_route_rank(&pool->route, conn->server)
               > best)
        {
            ngx_http_billing_redis_conn_drain(conn);
        }

        return;
    }

    if (conn->state < NGX_HTTP_BILLING_REDIS_READY) {
        ngx_http_billing_redis_conn_close(conn, "not needed any more",
                                          NGX_HTTP_BILLING_REDIS_BLAME_NONE);
        return;
    }

    ngx_http_billing_redis_conn_drain(conn);

    if (conn->state == NGX_HTTP_BILLING_REDIS_DRAINING) {

        /* the server may be dead: what is in flight is sent again elsewhere */

        ngx_del_timer(&conn->timer);
        ngx_add_timer(&conn->timer, NGX_HTTP_BILLING_REDIS_LEAVE);
    }
}


void
ngx_http_billing_redis_pool_changed(ngx_http_billing_redis_pool_t *pool)
{
    ngx_http_billing_redis_pool_own(pool);

    /* the times to wait were those of the old servers */

    if (pool->connect.timer_set) {
        ngx_del_timer(&pool->connect);
    }

    if (pool->probe.timer_set) {
        ngx_del_timer(&pool->probe);
    }

    ngx_http_billing_redis_pool_connect(pool);
    ngx_http_billing_redis_pool_probe(pool);
}


ngx_int_t
ngx_http_billing_redis_pool_unloaded(ngx_http_billing_redis_pool_t *pool,
    ngx_uint_t connection, ngx_str_t *key)
{
    ngx_uint_t                        i;
    ngx_http_billing_redis_conn_t    *conn;
    ngx_http_billing_redis_server_t  *server;

    server = NULL;

    for (i = 0; i < pool->nconns; i++) {
        if (connection && pool->conns[i].number == connection) {
            server = pool->conns[i].server;
        }
    }

    if (server == NULL) {
        return NGX_DECLINED;
    }

    ngx_http_billing_redis_server_unloaded(server, key);

    if (!ngx_http_billing_redis_route_other(&pool->route, server,
                                ngx_http_billing_redis_pool_used(pool, 0)))
    {
        ngx_http_billing_redis_pool_probe(pool);
        return NGX_DECLINED;
    }

    for (i = 0; i < pool->nconns; i++) {
        conn = &pool->conns[i];

        if (conn->server == server
            && (conn->state == NGX_HTTP_BILLING_REDIS_READY
                || conn->state == NGX_HTTP_BILLING_REDIS_SUSPECT))
        {
            ngx_http_billing_redis_conn_drain(conn);
        }
    }

    ngx_http_billing_redis_pool_own(pool);

    return NGX_OK;
}
