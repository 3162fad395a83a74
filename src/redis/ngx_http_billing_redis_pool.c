
#include "ngx_http_billing_redis_pool.h"


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
    shared->checks_keys = (conf->peers->nelts > 1 || conf->resolver
                     || conf->urls->sentinel);
    shared->asks_role = (conf->urls->sentinel != NULL);
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

    /* the servers of host names and of sentinels are not known yet */

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


void
ngx_http_billing_redis_pool_close(ngx_http_billing_redis_pool_t *pool)
{
    ngx_uint_t  i;

    if (pool->discovery) {
        pool->discovery->close(pool->discovery->data);
        pool->discovery = NULL;
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
