
#include "ngx_http_billing_status.h"


/* memory pages for the slab allocator's own data */

#define NGX_HTTP_BILLING_STATUS_PAGES  8


static ngx_int_t ngx_http_billing_status_labels(ngx_conf_t *cf,
    ngx_array_t *sources, ngx_http_billing_source_t *source);
static size_t ngx_http_billing_status_slot_size(void);
static ngx_http_billing_slot_t *ngx_http_billing_status_slot(
    ngx_http_billing_zone_t *zone, ngx_uint_t n);
static ngx_int_t ngx_http_billing_status_init_zone(ngx_shm_zone_t *shm_zone,
    void *data);
static void ngx_http_billing_status_reset(ngx_http_billing_slot_t *slot);
static void ngx_http_billing_status_use(ngx_http_billing_status_t *status,
    ngx_uint_t n);
static void ngx_http_billing_status_redis_duration(void *data,
    ngx_msec_t duration);


const ngx_uint_t
ngx_http_billing_status_codes[NGX_HTTP_BILLING_STATUS_CODES - 1] = {
    200, 401, 405, 413, 422, 499, 500, 502, 503, 504
};


static ngx_str_t  ngx_http_billing_status_zone_name =
    ngx_string("ngx_http_billing");


ngx_int_t
ngx_http_billing_status_source(ngx_conf_t *cf,
    ngx_http_billing_status_t *status, ngx_http_billing_cache_set_t *cache_set,
    ngx_str_t *prefix, ngx_msec_t timeout)
{
    ngx_str_t                   server;
    ngx_uint_t                  i;
    ngx_array_t                *peers;
    ngx_http_billing_source_t  *source;

    peers = ngx_http_billing_redis_peers(cache_set->redis);

    /* a source is named by its first server and database */

    if (ngx_http_billing_status_server_label(cf->pool, peers->elts, &server)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    source = status->sources.elts;

    for (i = 0; i < status->sources.nelts; i++) {
        if (source[i].prefix.len == prefix->len
            && ngx_memcmp(source[i].prefix.data, prefix->data, prefix->len)
               == 0
            && source[i].server_label.len == server.len
            && ngx_memcmp(source[i].server_label.data, server.data, server.len)
               == 0)
        {
            source[i].timeout = ngx_max(source[i].timeout, timeout);
            return NGX_OK;
        }
    }

    source = ngx_array_push(&status->sources);
    if (source == NULL) {
        return NGX_ERROR;
    }

    source->cache_set = cache_set;
    source->timeout = timeout;
    source->prefix = *prefix;
    source->server_label = server;

    source->prefix_label.data = ngx_pstrdup(cf->pool, prefix);
    if (source->prefix_label.data == NULL) {
        return NGX_ERROR;
    }

    source->prefix_label.len = prefix->len;

    ngx_http_billing_status_label_utf8(&source->prefix_label);

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_status_labels(ngx_conf_t *cf, ngx_array_t *sources,
    ngx_http_billing_source_t *source)
{
    u_char                     *p;
    ngx_uint_t                  i;
    ngx_http_billing_source_t  *other;

    p = ngx_pnalloc(cf->pool, sizeof("prefix=\"\",server=\"\"") - 1
                              + 2 * source->prefix_label.len
                              + 2 * source->server_label.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    source->labels.data = p;

    p = ngx_http_billing_status_label(p, "prefix", &source->prefix_label);

    other = sources->elts;

    for (i = 0; i < sources->nelts; i++) {

        if (&other[i] != source
            && other[i].prefix_label.len == source->prefix_label.len
            && ngx_memcmp(other[i].prefix_label.data,
                          source->prefix_label.data, source->prefix_label.len)
               == 0)
        {
            *p++ = ',';
            p = ngx_http_billing_status_label(p, "server",
                                              &source->server_label);
            break;
        }
    }

    source->labels.len = p - source->labels.data;

    return NGX_OK;
}


ngx_int_t
ngx_http_billing_status_init(ngx_conf_t *cf, ngx_http_billing_status_t *status,
    ngx_array_t *sets, void *tag)
{
    size_t                      size;
    ngx_uint_t                  i;
    ngx_shm_zone_t             *shm_zone;
    ngx_http_billing_source_t  *source;

    source = status->sources.elts;

    for (i = 0; i < status->sources.nelts; i++) {
        if (ngx_http_billing_status_labels(cf, &status->sources, &source[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    size = ngx_align(ngx_http_billing_status_slot_size()
                     * (1 + NGX_MAX_PROCESSES), ngx_pagesize)
           + NGX_HTTP_BILLING_STATUS_PAGES * ngx_pagesize;

    shm_zone = ngx_shared_memory_add(cf, &ngx_http_billing_status_zone_name,
                                     size, tag);
    if (shm_zone == NULL) {
        return NGX_ERROR;
    }

    status->sets = sets;

    shm_zone->init = ngx_http_billing_status_init_zone;
    shm_zone->data = status;

    if (status->enable
        && ngx_http_billing_status_servers_init(cf, &status->servers, sets, tag)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_billing_status_clients_init(cf, &status->clients, tag);
}


/* a slot fills whole lines of the processor's cache: no two share one */

static size_t
ngx_http_billing_status_slot_size(void)
{
    return ngx_align(sizeof(ngx_http_billing_slot_t), ngx_cacheline_size);
}


static ngx_http_billing_slot_t *
ngx_http_billing_status_slot(ngx_http_billing_zone_t *zone, ngx_uint_t n)
{
    /* the first place is the zone's own */

    return (ngx_http_billing_slot_t *)
           ((u_char *) zone + (1 + n) * ngx_http_billing_status_slot_size());
}


/* on a reload, nginx keeps a zone of the same size, and its counters */

static ngx_int_t
ngx_http_billing_status_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_http_billing_status_t *old = data;

    size_t                      size;
    ngx_slab_pool_t            *shpool;
    ngx_http_billing_status_t  *status;

    status = shm_zone->data;

    if (old) {
        status->zone = old->zone;

    } else {
        shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;
        size = ngx_http_billing_status_slot_size() * (1 + NGX_MAX_PROCESSES);

        status->zone = ngx_slab_calloc(shpool, size);
        if (status->zone == NULL) {
            return NGX_ERROR;
        }

        status->zone->started = ngx_time();
    }

    ngx_http_billing_status_use(status, ngx_process_slot);

    return NGX_OK;
}


void
ngx_http_billing_status_attach(ngx_http_billing_status_t *status)
{
    if (status->zone == NULL) {
        return;
    }

    ngx_http_billing_status_use(status, ngx_process_slot);

    /* the process before may have crashed with requests that waited */

    ngx_http_billing_status_reset(status->slot);

    ngx_http_billing_status_servers_attach(&status->servers);
}


void
ngx_http_billing_status_detach(ngx_http_billing_status_t *status)
{
    if (status->slot) {
        ngx_http_billing_status_reset(status->slot);
    }

    ngx_http_billing_status_servers_detach(&status->servers);
}


/* a process begins, and ends, with gauges of 0 */

static void
ngx_http_billing_status_reset(ngx_http_billing_slot_t *slot)
{
    slot->waiting = 0;

    ngx_memzero((void *) &slot->cache, sizeof(ngx_http_billing_cache_gauge_t));
}


static void
ngx_http_billing_status_use(ngx_http_billing_status_t *status, ngx_uint_t n)
{
    ngx_uint_t                       i, nslots;
    ngx_http_billing_slot_t         *slot;
    ngx_http_billing_zone_t         *zone;
    ngx_http_billing_cache_set_t   **set;

    zone = status->zone;

    do {
        nslots = zone->nslots;
    } while (nslots <= n && !ngx_atomic_cmp_set(&zone->nslots, nslots, n + 1));

    slot = ngx_http_billing_status_slot(zone, n);

    status->slot = slot;

    set = status->sets->elts;

    for (i = 0; i < status->sets->nelts; i++) {
        ngx_http_billing_redis_count(set[i]->redis, &slot->counters.redis,
                                     ngx_http_billing_status_redis_duration,
                                     &slot->counters.redis_duration);

        set[i]->coherence.stat = &slot->counters.cache;
        set[i]->coherence.gauge = &slot->cache;
    }
}


static void
ngx_http_billing_status_redis_duration(void *data, ngx_msec_t duration)
{
    ngx_http_billing_histogram_add(data, duration);
}


void
ngx_http_billing_status_request(ngx_http_billing_slot_t *slot,
    ngx_uint_t status, ngx_msec_t duration)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_BILLING_STATUS_CODES - 1; i++) {
        if (status == ngx_http_billing_status_codes[i]) {
            break;
        }
    }

    ngx_http_billing_histogram_add(&slot->counters.duration, duration);

    slot->counters.requests[i]++;
}


void
ngx_http_billing_status_sum(ngx_http_billing_status_t *status,
    ngx_http_billing_slot_t *sum)
{
    ngx_uint_t                i, n, nslots;
    ngx_atomic_t             *to, *from;
    ngx_http_billing_slot_t  *slot;

    ngx_memzero(sum, sizeof(ngx_http_billing_slot_t));

    to = (ngx_atomic_t *) sum;
    nslots = status->zone->nslots;

    for (n = 0; n < nslots; n++) {
        slot = ngx_http_billing_status_slot(status->zone, n);
        from = (ngx_atomic_t *) slot;

        for (i = 0; i < sizeof(*sum) / sizeof(ngx_atomic_t); i++) {
            to[i] += from[i];
        }
    }
}
