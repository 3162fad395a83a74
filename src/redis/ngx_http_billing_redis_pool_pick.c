
#include "ngx_http_billing_redis_pool.h"


ngx_http_billing_redis_conn_t *
ngx_http_billing_redis_pool_get(ngx_http_billing_redis_pool_t *pool)
{
    ngx_uint_t                      i;
    ngx_http_billing_redis_conn_t  *conn, *best;

    conn = pool->shared.owner;

    if (conn && conn->ninflight < NGX_HTTP_BILLING_REDIS_INFLIGHT) {
        return conn;
    }

    best = NULL;

    for (i = 0; i < pool->nconns; i++) {
        conn = &pool->conns[i];

        if (conn->state == NGX_HTTP_BILLING_REDIS_READY
            && conn->ninflight < NGX_HTTP_BILLING_REDIS_INFLIGHT
            && (best == NULL || conn->ninflight < best->ninflight))
        {
            best = conn;
        }
    }

    return best;
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
