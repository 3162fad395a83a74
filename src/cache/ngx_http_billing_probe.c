
#include "ngx_http_billing_probe.h"


typedef struct {
    ngx_http_billing_cache_set_t   *set;
    ngx_msec_t                      timeout;

    /* probes under way */
    ngx_queue_t                     queue;
} ngx_http_billing_prober_t;


typedef struct {
    ngx_http_billing_prober_t      *prober;
    ngx_queue_t                     queue;
    ngx_uint_t                      source;

    /* the probe's memory */
    ngx_pool_t                     *pool;

    /* a lookup of each synced_at that the source has, or of a key's slot */
    ngx_http_billing_cache_t        cache;
} ngx_http_billing_probe_t;


static void ngx_http_billing_probe_send(void *data, ngx_uint_t source);
static ngx_int_t ngx_http_billing_probe_ask(ngx_http_billing_probe_t *probe);
static ngx_int_t ngx_http_billing_probe_slot(ngx_http_billing_probe_t *probe);
static void ngx_http_billing_probe_done(void *data,
    ngx_http_billing_redis_result_e result);
static void ngx_http_billing_probe_synced(ngx_http_billing_probe_t *probe);
static void ngx_http_billing_probe_end(ngx_http_billing_probe_t *probe);


ngx_int_t
ngx_http_billing_probe_init(ngx_conf_t *cf, ngx_http_billing_cache_set_t *set,
    ngx_msec_t timeout)
{
    ngx_http_billing_prober_t     *prober;
    ngx_http_billing_coherence_t  *co;

    co = &set->coherence;
    prober = co->data;

    if (prober == NULL) {
        prober = ngx_pcalloc(cf->pool, sizeof(ngx_http_billing_prober_t));
        if (prober == NULL) {
            return NGX_ERROR;
        }

        prober->set = set;
        ngx_queue_init(&prober->queue);

        co->probe = ngx_http_billing_probe_send;
        co->data = prober;
    }

    prober->timeout = ngx_max(prober->timeout, timeout);

    return NGX_OK;
}


static void
ngx_http_billing_probe_send(void *data, ngx_uint_t source)
{
    ngx_http_billing_prober_t *prober = data;

    ngx_pool_t                *pool;
    ngx_http_billing_probe_t  *probe;

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE / 8,
                           prober->set->coherence.log);
    if (pool == NULL) {
        return;
    }

    probe = ngx_pcalloc(pool, sizeof(ngx_http_billing_probe_t));
    if (probe == NULL) {
        ngx_destroy_pool(pool);
        return;
    }

    probe->prober = prober;
    probe->source = source;
    probe->pool = pool;

    ngx_queue_insert_tail(&prober->queue, &probe->queue);
    prober->set->coherence.sources[source]->probing = 1;

    if (ngx_http_billing_probe_ask(probe) != NGX_OK) {
        ngx_http_billing_probe_end(probe);
    }
}


static ngx_int_t
ngx_http_billing_probe_ask(ngx_http_billing_probe_t *probe)
{
    ngx_uint_t                            i, source;
    ngx_http_billing_cache_t             *cache;
    ngx_http_billing_prober_t            *prober;
    ngx_http_billing_coherence_t         *co;
    ngx_http_billing_coherence_prefix_t  *prefix;

    prober = probe->prober;
    co = &prober->set->coherence;
    cache = &probe->cache;
    prefix = co->prefixes.elts;

    if (ngx_http_billing_cache_init(cache, prober->set, probe->pool,
                                    &prefix->prefix, co->prefixes.nelts)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    cache->use = NGX_HTTP_BILLING_STORE_KEEP;
    cache->asks_role = 1;
    cache->done = ngx_http_billing_probe_done;
    cache->data = probe;

    for (i = 0; i < co->prefixes.nelts; i++) {
        source = ngx_http_billing_redis_source(co->redis,
                                               &prefix[i].synced_at);

        if (source != probe->source) {
            continue;
        }

        cache->prefix = prefix[i].prefix;

        if (ngx_http_billing_cache_synced_at(cache) == NULL) {
            return NGX_ERROR;
        }
    }

    if (cache->lookups.nelts == 0
        && ngx_http_billing_probe_slot(probe) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_billing_cache_ask(cache, prober->timeout,
                                      ngx_current_msec + prober->timeout,
                                      co->log);
}


/* with braces in the prefix, all its keys are in the slot of synced_at */

static ngx_int_t
ngx_http_billing_probe_slot(ngx_http_billing_probe_t *probe)
{
    ngx_uint_t                            i, tag;
    ngx_http_billing_coherence_t         *co;
    ngx_http_billing_coherence_prefix_t  *prefix;

    co = &probe->prober->set->coherence;
    prefix = co->prefixes.elts;

    if (ngx_http_billing_redis_tag(co->redis, probe->source, &tag) != NGX_OK) {
        return NGX_DECLINED;
    }

    for (i = 0; i < co->prefixes.nelts; i++) {

        if (ngx_strlchr(prefix[i].prefix.data,
                        prefix[i].prefix.data + prefix[i].prefix.len, '{'))
        {
            continue;
        }

        probe->cache.prefix = prefix[i].prefix;

        return ngx_http_billing_cache_slot(&probe->cache, tag) ? NGX_OK
                                                               : NGX_ERROR;
    }

    return NGX_DECLINED;
}


static void
ngx_http_billing_probe_done(void *data, ngx_http_billing_redis_result_e result)
{
    ngx_http_billing_probe_t *probe = data;

    ngx_http_billing_coherence_t  *co;

    co = &probe->prober->set->coherence;

    co->sources[probe->source]->probing = 0;

    if (result == NGX_HTTP_BILLING_REDIS_OK) {
        ngx_http_billing_probe_synced(probe);
    }

    ngx_http_billing_probe_end(probe);
}


/* an answer counts only if the connection that gave it is still the owner */

static void
ngx_http_billing_probe_synced(ngx_http_billing_probe_t *probe)
{
    ngx_uint_t                            i, k, owner;
    ngx_http_billing_lookup_t           **lookup;
    ngx_http_billing_coherence_t         *co;
    ngx_http_billing_coherence_prefix_t  *prefix;

    co = &probe->prober->set->coherence;
    prefix = co->prefixes.elts;
    lookup = probe->cache.lookups.elts;

    for (k = 0; k < probe->cache.lookups.nelts; k++) {

        owner = ngx_http_billing_coherence_owner(co, probe->source);

        if (owner == 0
            || ngx_http_billing_redis_answered(&probe->cache.pipeline, k)
               != owner)
        {
            continue;
        }

        for (i = 0; i < co->prefixes.nelts; i++) {

            /* another node may have the key by now */

            if (ngx_http_billing_redis_source(co->redis, &prefix[i].synced_at)
                == probe->source
                && lookup[k]->key.len == prefix[i].synced_at.len
                && ngx_memcmp(lookup[k]->key.data, prefix[i].synced_at.data,
                              lookup[k]->key.len)
                   == 0)
            {
                ngx_http_billing_coherence_synced(co, &prefix[i],
                                      probe->source,
                                      ngx_http_billing_lookup_found(lookup[k]),
                                      lookup[k]->synced_at);
            }
        }
    }
}


static void
ngx_http_billing_probe_end(ngx_http_billing_probe_t *probe)
{
    probe->prober->set->coherence.sources[probe->source]->probing = 0;

    ngx_queue_remove(&probe->queue);

    ngx_destroy_pool(probe->pool);
}


void
ngx_http_billing_probe_close(ngx_http_billing_cache_set_t *set)
{
    ngx_queue_t                *q;
    ngx_http_billing_probe_t   *probe;
    ngx_http_billing_prober_t  *prober;

    prober = set->coherence.data;

    if (prober == NULL) {
        return;
    }

    while (!ngx_queue_empty(&prober->queue)) {
        q = ngx_queue_head(&prober->queue);
        probe = ngx_queue_data(q, ngx_http_billing_probe_t, queue);

        ngx_http_billing_cache_cancel(&probe->cache);
        ngx_http_billing_probe_end(probe);
    }
}
