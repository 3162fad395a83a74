
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


/* drains a connection that is worse than one with the rank given */

static void
ngx_http_billing_redis_pool_leave(ngx_http_billing_redis_conn_t *conn,
    ngx_uint_t best)
{
    ngx_http_billing_redis_pool_t  *pool;

    pool = conn->shared->pool;

    switch (conn->state) {

    case NGX_HTTP_BILLING_REDIS_CLOSED:
    case NGX_HTTP_BILLING_REDIS_DRAINING:
        return;

    case NGX_HTTP_BILLING_REDIS_READY:

        if (conn->server->listed) {

            if (ngx_http_billing_redis_route_rank(&pool->route, conn->server)
                > best)
            {
                ngx_http_billing_redis_conn_drain(conn);
            }

            return;
        }

        break;

    default:

        if (conn->server->listed) {
            return;
        }

        if (conn->state != NGX_HTTP_BILLING_REDIS_SUSPECT) {
            ngx_http_billing_redis_conn_close(conn, "not needed any more",
                                            NGX_HTTP_BILLING_REDIS_BLAME_NONE);
            return;
        }

        break;
    }

    ngx_http_billing_redis_conn_drain(conn);

    if (conn->state == NGX_HTTP_BILLING_REDIS_DRAINING) {

        /* the server may be dead: what is in flight is sent again elsewhere */

        ngx_del_timer(&conn->timer);
        ngx_add_timer(&conn->timer, NGX_HTTP_BILLING_REDIS_LEAVE);
    }
}
