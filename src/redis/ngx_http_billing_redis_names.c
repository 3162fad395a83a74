
#include "ngx_http_billing_redis_names.h"
#include "ngx_http_billing_redis_name.h"


typedef struct {
    ngx_http_billing_redis_discovery_t   discovery;
    ngx_http_billing_redis_pool_t       *pool;

    /* one for each of the URLs; not used if the host is no name */
    ngx_http_billing_redis_name_t       *names;

    /* the servers are set by an event, and not within a callback */
    ngx_event_t                          posted;

    /* addresses have changed, and the servers are not set yet */
    ngx_uint_t                           changed;
} ngx_http_billing_redis_names_t;


static ngx_int_t ngx_http_billing_redis_names_ask(void *data);
static void ngx_http_billing_redis_names_close(void *data);
static void ngx_http_billing_redis_names_changed(void *data);
static void ngx_http_billing_redis_names_handler(ngx_event_t *ev);


ngx_int_t
ngx_http_billing_redis_names_init(ngx_conf_t *cf,
    ngx_http_billing_redis_pool_t *pool)
{
    ngx_uint_t                       i;
    ngx_http_billing_redis_conf_t   *conf;
    ngx_http_billing_redis_name_t   *name;
    ngx_http_billing_redis_peer_t   *peer;
    ngx_http_billing_redis_names_t  *names;

    conf = &pool->shared.conf;
    peer = conf->peers->elts;

    names = ngx_pcalloc(cf->pool, sizeof(ngx_http_billing_redis_names_t));
    if (names == NULL) {
        return NGX_ERROR;
    }

    names->names = ngx_pcalloc(cf->pool, conf->peers->nelts
                                       * sizeof(ngx_http_billing_redis_name_t));
    if (names->names == NULL) {
        return NGX_ERROR;
    }

    names->pool = pool;

    names->posted.handler = ngx_http_billing_redis_names_handler;
    names->posted.data = names;
    names->posted.log = pool->shared.log;

    names->discovery.ask = ngx_http_billing_redis_names_ask;
    names->discovery.close = ngx_http_billing_redis_names_close;
    names->discovery.data = names;

    for (i = 0; i < conf->peers->nelts; i++) {
        name = &names->names[i];

        name->port = peer[i].port;
        name->resolver = conf->resolver;
        name->timeout = conf->resolver_timeout;
        name->log = pool->shared.log;
        name->changed = ngx_http_billing_redis_names_changed;
        name->data = names;

        /* a copy: the resolver changes the name to lower case */

        name->host.len = peer[i].host.len;
        name->host.data = ngx_pstrdup(cf->pool, &peer[i].host);
        if (name->host.data == NULL) {
            return NGX_ERROR;
        }
    }

    pool->discovery = &names->discovery;

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_redis_names_ask(void *data)
{
    ngx_http_billing_redis_names_t *names = data;

    ngx_uint_t                      i;
    ngx_array_t                    *peers;
    ngx_http_billing_redis_peer_t  *peer;

    peers = names->pool->shared.conf.peers;
    peer = peers->elts;

    for (i = 0; i < peers->nelts; i++) {
        if (peer[i].resolve) {
            ngx_http_billing_redis_name_ask(&names->names[i]);
        }
    }

    if (names->changed) {

        /* there was no memory for the servers */

        ngx_post_event(&names->posted, &ngx_posted_events);
    }

    return NGX_OK;
}


static void
ngx_http_billing_redis_names_close(void *data)
{
    ngx_http_billing_redis_names_t *names = data;

    ngx_uint_t  i;

    for (i = 0; i < names->pool->shared.conf.peers->nelts; i++) {
        ngx_http_billing_redis_name_close(&names->names[i]);
    }

    if (names->posted.posted) {
        ngx_delete_posted_event(&names->posted);
    }
}


static void
ngx_http_billing_redis_names_changed(void *data)
{
    ngx_http_billing_redis_names_t *names = data;

    names->changed = 1;

    ngx_post_event(&names->posted, &ngx_posted_events);
}


static void
ngx_http_billing_redis_names_handler(ngx_event_t *ev)
{
    ngx_uint_t                       n;
    ngx_http_billing_redis_peer_t   *peers;
    ngx_http_billing_redis_names_t  *names;

    names = ev->data;

    peers = ngx_http_billing_redis_name_peers(names->names,
                                              names->pool->shared.conf.peers,
                                              &n, ev->log);
    if (peers == NULL) {
        return;
    }

    /* set before, as the pool asks for the names again within the call */

    names->changed = 0;

    if (ngx_http_billing_redis_pool_servers(names->pool, peers, n) != NGX_OK) {
        names->changed = 1;
    }

    ngx_free(peers);
}
