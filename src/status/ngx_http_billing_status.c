
#include "ngx_http_billing_module.h"
#include "ngx_http_billing_json.h"


/* pages for what the slab allocator keeps of its own */

#define NGX_HTTP_BILLING_STATUS_PAGES  8


static ngx_int_t ngx_http_billing_status_server_label(ngx_conf_t *cf,
    ngx_http_billing_redis_t *redis, ngx_str_t *label);
static ngx_int_t ngx_http_billing_status_utf8(ngx_conf_t *cf, ngx_str_t *label,
    ngx_str_t *text);
static ngx_int_t ngx_http_billing_status_labels(ngx_conf_t *cf,
    ngx_array_t *sources, ngx_http_billing_source_t *source);
static u_char *ngx_http_billing_status_label(u_char *p, const char *name,
    ngx_str_t *value);
static size_t ngx_http_billing_status_slot_size(void);
static ngx_http_billing_slot_t *ngx_http_billing_status_slot(
    ngx_http_billing_zone_t *zone, ngx_uint_t n);
static ngx_int_t ngx_http_billing_status_init_zone(ngx_shm_zone_t *shm_zone,
    void *data);
static void ngx_http_billing_status_use(ngx_http_billing_main_conf_t *bmcf,
    ngx_uint_t n);
static void ngx_http_billing_status_redis_duration(void *data,
    ngx_msec_t duration);
static ngx_int_t ngx_http_billing_status_log_handler(ngx_http_request_t *r);
static void ngx_http_billing_status_cleanup(void *data);
static ngx_msec_t ngx_http_billing_status_now(void);


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
    ngx_http_billing_source_t  *source;

    if (ngx_http_billing_status_server_label(cf, cache_set->redis, &server)
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

    return ngx_http_billing_status_utf8(cf, &source->prefix_label, prefix);
}


/* the first server, with its database */

static ngx_int_t
ngx_http_billing_status_server_label(ngx_conf_t *cf,
    ngx_http_billing_redis_t *redis, ngx_str_t *label)
{
    ngx_str_t                       text;
    ngx_http_billing_redis_peer_t  *peer;

    peer = ngx_http_billing_redis_first_peer(redis);

    text.data = ngx_pnalloc(cf->pool, peer->name.len + sizeof("?db=") - 1
                                      + peer->db.len);
    if (text.data == NULL) {
        return NGX_ERROR;
    }

    text.len = (peer->db.len
                ? ngx_sprintf(text.data, peer->port ? "%V/%V" : "%V?db=%V",
                              &peer->name, &peer->db)
                : ngx_sprintf(text.data, "%V", &peer->name))
               - text.data;

    return ngx_http_billing_status_utf8(cf, label, &text);
}


/* what a configuration holds may be no text, but a label has to be */

static ngx_int_t
ngx_http_billing_status_utf8(ngx_conf_t *cf, ngx_str_t *label,
    ngx_str_t *text)
{
    size_t  i;

    label->len = text->len;
    label->data = ngx_pstrdup(cf->pool, text);
    if (label->data == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_billing_json_utf8_length(text) != NGX_ERROR) {
        return NGX_OK;
    }

    for (i = 0; i < label->len; i++) {
        if (label->data[i] >= 0x80) {
            label->data[i] = '?';
        }
    }

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


static u_char *
ngx_http_billing_status_label(u_char *p, const char *name, ngx_str_t *value)
{
    size_t  i;

    p = ngx_sprintf(p, "%s=\"", name);

    for (i = 0; i < value->len; i++) {

        switch (value->data[i]) {

        case LF:
            *p++ = '\\';
            *p++ = 'n';
            break;

        case '\\':
        case '"':
            *p++ = '\\';
            *p++ = value->data[i];
            break;

        default:
            *p++ = value->data[i];
        }
    }

    *p++ = '"';

    return p;
}


ngx_int_t
ngx_http_billing_status_init(ngx_conf_t *cf)
{
    size_t                         size;
    ngx_uint_t                     i;
    ngx_shm_zone_t                *shm_zone;
    ngx_http_handler_pt           *h;
    ngx_http_billing_source_t     *source;
    ngx_http_core_main_conf_t     *cmcf;
    ngx_http_billing_main_conf_t  *bmcf;

    bmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_billing_module);

    if (bmcf->redis.nelts == 0 && !bmcf->status.enable) {
        return NGX_OK;
    }

    source = bmcf->status.sources.elts;

    for (i = 0; i < bmcf->status.sources.nelts; i++) {
        if (ngx_http_billing_status_labels(cf, &bmcf->status.sources,
                                           &source[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    size = ngx_align(ngx_http_billing_status_slot_size()
                     * (1 + NGX_MAX_PROCESSES), ngx_pagesize)
           + NGX_HTTP_BILLING_STATUS_PAGES * ngx_pagesize;

    shm_zone = ngx_shared_memory_add(cf, &ngx_http_billing_status_zone_name,
                                     size, &ngx_http_billing_module);
    if (shm_zone == NULL) {
        return NGX_ERROR;
    }

    shm_zone->init = ngx_http_billing_status_init_zone;
    shm_zone->data = bmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_LOG_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_billing_status_log_handler;

    return NGX_OK;
}


/* no two processes write to one line of the processor's cache */

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


/* where the size is the same after a reload, nginx keeps the zone */

static ngx_int_t
ngx_http_billing_status_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_http_billing_main_conf_t  *old = data;

    size_t                         size;
    ngx_slab_pool_t               *shpool;
    ngx_http_billing_main_conf_t  *bmcf;

    bmcf = shm_zone->data;

    if (old) {
        bmcf->status.zone = old->status.zone;

    } else {
        shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;
        size = ngx_http_billing_status_slot_size() * (1 + NGX_MAX_PROCESSES);

        bmcf->status.zone = ngx_slab_calloc(shpool, size);
        if (bmcf->status.zone == NULL) {
            return NGX_ERROR;
        }
    }

    ngx_http_billing_status_use(bmcf, ngx_process_slot);

    return NGX_OK;
}


void
ngx_http_billing_status_attach(ngx_cycle_t *cycle)
{
    ngx_http_billing_main_conf_t  *bmcf;

    bmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_billing_module);

    if (bmcf == NULL || bmcf->status.zone == NULL) {
        return;
    }

    ngx_http_billing_status_use(bmcf, ngx_process_slot);

    /* a process that crashed has left its share */

    bmcf->status.slot->waiting = 0;
    bmcf->status.slot->pid = ngx_pid;
}


static void
ngx_http_billing_status_use(ngx_http_billing_main_conf_t *bmcf, ngx_uint_t n)
{
    ngx_uint_t                   i, nslots;
    ngx_http_billing_slot_t     *slot;
    ngx_http_billing_zone_t     *zone;
    ngx_http_billing_redis_t   **redis;

    zone = bmcf->status.zone;

    do {
        nslots = zone->nslots;
    } while (nslots <= n && !ngx_atomic_cmp_set(&zone->nslots, nslots, n + 1));

    slot = ngx_http_billing_status_slot(zone, n);

    bmcf->status.slot = slot;

    redis = bmcf->redis.elts;

    for (i = 0; i < bmcf->redis.nelts; i++) {
        ngx_http_billing_redis_count(redis[i], &slot->counters.redis,
                                     ngx_http_billing_status_redis_duration,
                                     &slot->counters.redis_duration);
    }
}


static void
ngx_http_billing_status_redis_duration(void *data, ngx_msec_t duration)
{
    ngx_http_billing_histogram_add(data, duration);
}


ngx_uint_t
ngx_http_billing_status_sum(ngx_http_billing_status_t *status,
    ngx_http_billing_counters_t *sum)
{
    ngx_uint_t                i, n, nslots, waiting;
    ngx_atomic_t             *to, *from;
    ngx_http_billing_slot_t  *slot;

    ngx_memzero(sum, sizeof(ngx_http_billing_counters_t));

    to = (ngx_atomic_t *) sum;
    nslots = status->zone->nslots;
    waiting = 0;

    for (n = 0; n < nslots; n++) {
        slot = ngx_http_billing_status_slot(status->zone, n);
        from = (ngx_atomic_t *) &slot->counters;

        for (i = 0; i < sizeof(*sum) / sizeof(ngx_atomic_t); i++) {
            to[i] += from[i];
        }

        if (slot->waiting
            && (kill((ngx_pid_t) slot->pid, 0) == 0 || ngx_errno != NGX_ESRCH))
        {
            waiting += slot->waiting;
        }
    }

    return waiting;
}


/*
 * The log phase sees each request once, with the status that its caller got:
 * also one that nginx has ended before it came to the handler, and one that
 * was redirected from there.  It sees subrequests where they are logged.
 */

static ngx_int_t
ngx_http_billing_status_log_handler(ngx_http_request_t *r)
{
    ngx_uint_t                     i, status;
    ngx_time_t                    *tp;
    ngx_msec_int_t                 ms;
    ngx_http_billing_record_t     *record;
    ngx_http_billing_counters_t   *counters;
    ngx_http_billing_loc_conf_t   *blcf;
    ngx_http_billing_main_conf_t  *bmcf;

    blcf = ngx_http_get_module_loc_conf(r, ngx_http_billing_module);

    if (!blcf->enable && !r->internal) {
        return NGX_OK;
    }

    record = ngx_http_billing_status_find(r);

    if (!blcf->enable && record == NULL) {
        return NGX_OK;
    }

    bmcf = ngx_http_get_module_main_conf(r, ngx_http_billing_module);
    counters = &bmcf->status.slot->counters;

    status = r->err_status ? r->err_status : r->headers_out.status;

    for (i = 0; i < NGX_HTTP_BILLING_STATUS_CODES - 1; i++) {
        if (status == ngx_http_billing_status_codes[i]) {
            break;
        }
    }

    counters->requests[i]++;

    tp = ngx_timeofday();

    ms = (ngx_msec_int_t)
             ((tp->sec - r->start_sec) * 1000 + (tp->msec - r->start_msec));

    ngx_http_billing_histogram_add(&counters->duration, ngx_max(ms, 0));

    if (record && record->list && !r->header_only) {
        counters->cameras += *record->cameras;
    }

    return NGX_OK;
}


ngx_http_billing_record_t *
ngx_http_billing_status_record(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t            *cln;
    ngx_http_billing_record_t     *record;
    ngx_http_billing_main_conf_t  *bmcf;

    if (r->internal) {
        record = ngx_http_billing_status_find(r);

        if (record) {
            return record;
        }
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_billing_record_t));
    if (cln == NULL) {
        return NULL;
    }

    bmcf = ngx_http_get_module_main_conf(r, ngx_http_billing_module);

    record = cln->data;

    ngx_memzero(record, sizeof(ngx_http_billing_record_t));

    record->request = r;
    record->slot = bmcf->status.slot;

    cln->handler = ngx_http_billing_status_cleanup;

    return record;
}


ngx_http_billing_record_t *
ngx_http_billing_status_find(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t         *cln;
    ngx_http_billing_record_t  *record;

    /* subrequests have the pool of the main request */

    for (cln = r->pool->cleanup; cln; cln = cln->next) {

        if (cln->handler != ngx_http_billing_status_cleanup) {
            continue;
        }

        record = cln->data;

        if (record->request == r) {
            return record;
        }
    }

    return NULL;
}


/* a request that ends while it waits was never told of an answer */

static void
ngx_http_billing_status_cleanup(void *data)
{
    ngx_http_billing_record_t *record = data;

    record->slot->waiting -= record->waiting;
}


void
ngx_http_billing_status_ask(ngx_http_billing_record_t *record)
{
    record->asked = ngx_http_billing_status_now();
    record->redis = 1;
    record->waiting = 1;
    record->slot->waiting++;
}


void
ngx_http_billing_status_answered(ngx_http_billing_record_t *record,
    ngx_str_t *server)
{
    if (!record->waiting) {
        return;
    }

    record->waited = ngx_http_billing_status_waited(record);
    record->waiting = 0;
    record->slot->waiting--;

    if (server) {
        record->server = server;
    }
}


ngx_msec_t
ngx_http_billing_status_waited(ngx_http_billing_record_t *record)
{
    ngx_msec_int_t  ms;

    if (!record->waiting) {
        return record->waited;
    }

    ms = (ngx_msec_int_t) (ngx_http_billing_status_now() - record->asked);

    /* the clock may be set back */

    return record->waited + ngx_max(ms, 0);
}


/*
 * ngx_current_msec is another clock, whose milliseconds begin at other times:
 * a time taken from it may be larger than $request_time.
 */

static ngx_msec_t
ngx_http_billing_status_now(void)
{
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    return (ngx_msec_t) tp->sec * 1000 + tp->msec;
}


void
ngx_http_billing_status_broken(ngx_http_billing_record_t *record)
{
    record->slot->counters.broken++;
}
