
#include "ngx_http_billing_probe.h"


typedef struct {
    ngx_http_billing_cache_set_t   *set;
    ngx_msec_t                      timeout;

    /* of the probe under way: its memory, and a lookup for each prefix */
    ngx_pool_t                     *pool;
    ngx_http_billing_cache_t        cache;
    ngx_http_billing_lookup_t     **lookups;
} ngx_http_billing_probe_t;


static void ngx_http_billing_probe_send(void *data);
static ngx_int_t ngx_http_billing_probe_ask(ngx_http_billing_probe_t *probe);
static void ngx_http_billing_probe_done(void *data,
    ngx_http_billing_redis_result_e result);


ngx_int_t
ngx_http_billing_probe_init(ngx_conf_t *cf, ngx_http_billing_cache_set_t *set,
    ngx_msec_t timeout)
{
    ngx_http_billing_probe_t      *probe;
    ngx_http_billing_coherence_t  *co;

    co = &set->coherence;
    probe = co->data;

    if (probe == NULL) {
        probe = ngx_pcalloc(cf->pool, sizeof(ngx_http_billing_probe_t));
        if (probe == NULL) {
            return NGX_ERROR;
        }

        probe->set = set;

        co->probe = ngx_http_billing_probe_send;
        co->data = probe;
    }

    probe->timeout = ngx_max(probe->timeout, timeout);

    return NGX_OK;
}


static void
ngx_http_billing_probe_send(void *data)
{
    ngx_http_billing_probe_t *probe = data;

    ngx_http_billing_coherence_t  *co;

    co = &probe->set->coherence;

    probe->pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE / 8, co->log);
    if (probe->pool == NULL) {
        return;
    }

    co->probing = 1;

    if (ngx_http_billing_probe_ask(probe) != NGX_OK) {
        co->probing = 0;
        ngx_destroy_pool(probe->pool);
    }
}


static ngx_int_t
ngx_http_billing_probe_ask(ngx_http_billing_probe_t *probe)
{
    ngx_uint_t                            i;
    ngx_http_billing_cache_t             *cache;
    ngx_http_billing_coherence_t         *co;
    ngx_http_billing_coherence_prefix_t  *prefix;

    co = &probe->set->coherence;
    cache = &probe->cache;
    prefix = co->prefixes.elts;

    probe->lookups = ngx_palloc(probe->pool, co->prefixes.nelts
                                        * sizeof(ngx_http_billing_lookup_t *));

    if (probe->lookups == NULL
        || ngx_http_billing_cache_init(cache, probe->set, probe->pool,
                                       &prefix->prefix, co->prefixes.nelts)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    cache->use = NGX_HTTP_BILLING_STORE_KEEP;
    cache->role = 1;
    cache->done = ngx_http_billing_probe_done;
    cache->data = probe;

    for (i = 0; i < co->prefixes.nelts; i++) {
        cache->prefix = prefix[i].prefix;

        probe->lookups[i] = ngx_http_billing_cache_synced_at(cache);

        if (probe->lookups[i] == NULL) {
            return NGX_ERROR;
        }
    }

    return ngx_http_billing_cache_ask(cache, probe->timeout,
                                      ngx_current_msec + probe->timeout,
                                      co->log);
}


static void
ngx_http_billing_probe_done(void *data, ngx_http_billing_redis_result_e result)
{
    ngx_http_billing_probe_t *probe = data;

    ngx_uint_t                            i;
    ngx_http_billing_coherence_t         *co;
    ngx_http_billing_coherence_prefix_t  *prefix;

    co = &probe->set->coherence;
    prefix = co->prefixes.elts;

    co->probing = 0;

    if (result == NGX_HTTP_BILLING_REDIS_OK && co->owner
        && probe->cache.connection == co->owner)
    {
        for (i = 0; i < co->prefixes.nelts; i++) {
            ngx_http_billing_coherence_synced(co, &prefix[i],
                            ngx_http_billing_lookup_found(probe->lookups[i]),
                            probe->lookups[i]->synced_at);
        }
    }

    ngx_destroy_pool(probe->pool);
}


void
ngx_http_billing_probe_close(ngx_http_billing_cache_set_t *set)
{
    ngx_http_billing_probe_t  *probe;

    if (!set->coherence.probing) {
        return;
    }

    probe = set->coherence.data;

    ngx_http_billing_cache_cancel(&probe->cache);

    set->coherence.probing = 0;

    ngx_destroy_pool(probe->pool);
}
