
#include "ngx_http_billing_coherence_state.h"


/* bytes of the longest external id, of 255 characters, with its kind */

#define NGX_HTTP_BILLING_COHERENCE_NAME    (sizeof("external:") - 1 + 4 * 255)

/* changes of synced_at without news, after which there is no cache */

#define NGX_HTTP_BILLING_COHERENCE_DOUBTS  2


static ngx_int_t ngx_http_billing_coherence_key(ngx_conf_t *cf,
    ngx_str_t *prefix, const char *name, ngx_str_t *key);
static ngx_int_t ngx_http_billing_coherence_cover(
    ngx_http_billing_coherence_t *co, ngx_str_t *prefix);
static ngx_uint_t ngx_http_billing_coherence_begins(ngx_str_t *text,
    ngx_str_t *with);
static ngx_uint_t ngx_http_billing_coherence_trusted(
    ngx_http_billing_coherence_t *co, ngx_uint_t source, int64_t now);
static ngx_uint_t ngx_http_billing_coherence_cluster(
    ngx_http_billing_coherence_t *co, int64_t now);
static void ngx_http_billing_coherence_probe(ngx_http_billing_coherence_t *co,
    ngx_uint_t source, int64_t now);


ngx_int_t
ngx_http_billing_coherence_add(ngx_conf_t *cf,
    ngx_http_billing_coherence_t *co, ngx_http_billing_redis_t *redis,
    ngx_str_t *prefix)
{
    size_t                                len;
    ngx_uint_t                            i;
    ngx_http_billing_coherence_prefix_t  *elt;

    if (co->sources == NULL) {

        co->redis = redis;
        co->log = &cf->cycle->new_log;

        co->sources = ngx_pcalloc(cf->pool, (NGX_HTTP_BILLING_REDIS_SOURCES + 1)
                                  * sizeof(ngx_http_billing_source_state_t *));

        if (co->sources == NULL
            || ngx_array_init(&co->prefixes, cf->pool, 1,
                              sizeof(ngx_http_billing_coherence_prefix_t))
               != NGX_OK
            || ngx_array_init(&co->tracking.prefixes, cf->pool, 1,
                              sizeof(ngx_str_t))
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    elt = co->prefixes.elts;

    for (i = 0; i < co->prefixes.nelts; i++) {
        if (ngx_http_billing_coherence_same(&elt[i].prefix, prefix)) {
            return NGX_OK;
        }
    }

    elt = ngx_array_push(&co->prefixes);
    if (elt == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(elt, sizeof(ngx_http_billing_coherence_prefix_t));

    elt->prefix = *prefix;

    if (ngx_http_billing_coherence_key(cf, prefix, "synced_at",
                                       &elt->synced_at)
        != NGX_OK
        || ngx_http_billing_coherence_key(cf, prefix, "epoch", &elt->epoch)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    len = prefix->len + NGX_HTTP_BILLING_COHERENCE_NAME;

    co->tracking.max_name = ngx_max(co->tracking.max_name, len);

    return ngx_http_billing_coherence_cover(co, prefix);
}


static ngx_int_t
ngx_http_billing_coherence_key(ngx_conf_t *cf, ngx_str_t *prefix,
    const char *name, ngx_str_t *key)
{
    key->data = ngx_pnalloc(cf->pool, prefix->len + ngx_strlen(name));
    if (key->data == NULL) {
        return NGX_ERROR;
    }

    key->len = ngx_sprintf(key->data, "%V%s", prefix, name) - key->data;

    return NGX_OK;
}


/*
 * Redis refuses prefixes of which one begins with another one.  Such a prefix
 * is covered by the shorter one.
 */

static ngx_int_t
ngx_http_billing_coherence_cover(ngx_http_billing_coherence_t *co,
    ngx_str_t *prefix)
{
    ngx_str_t   *cover;
    ngx_uint_t   i, n;

    cover = co->tracking.prefixes.elts;

    for (i = 0, n = 0; i < co->tracking.prefixes.nelts; i++) {

        if (ngx_http_billing_coherence_begins(prefix, &cover[i])) {
            return NGX_OK;
        }

        if (!ngx_http_billing_coherence_begins(&cover[i], prefix)) {
            cover[n++] = cover[i];
        }
    }

    co->tracking.prefixes.nelts = n;

    cover = ngx_array_push(&co->tracking.prefixes);
    if (cover == NULL) {
        return NGX_ERROR;
    }

    *cover = *prefix;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_billing_coherence_begins(ngx_str_t *text, ngx_str_t *with)
{
    return text->len >= with->len
           && ngx_memcmp(text->data, with->data, with->len) == 0;
}


ngx_uint_t
ngx_http_billing_coherence_is_fresh(ngx_http_billing_coherence_t *co,
    ngx_uint_t source, int64_t now)
{
    if (source == NGX_HTTP_BILLING_REDIS_NOWHERE) {
        return 0;
    }

    if (ngx_http_billing_coherence_owner(co, source) == 0
        || co->sources[source]->doubts >= NGX_HTTP_BILLING_COHERENCE_DOUBTS)
    {
        if (!co->untracked) {
            ngx_http_billing_coherence_unused(co, 1, co->unmapped);
        }

        return 0;
    }

    if (source && !ngx_http_billing_coherence_cluster(co, now)) {
        return 0;
    }

    return ngx_http_billing_coherence_trusted(co, source, now);
}


/* sends a probe if one is due */

static ngx_uint_t
ngx_http_billing_coherence_trusted(ngx_http_billing_coherence_t *co,
    ngx_uint_t source, int64_t now)
{
    ngx_http_billing_source_state_t  *state;

    ngx_http_billing_coherence_probe(co, source, now);

    state = co->sources[source];

    return state && state->owner && state->fresh
           && now - state->fresh < (int64_t) co->lag;
}


/* whether the map of slots and the nodes that have "epoch" are fresh */

static ngx_uint_t
ngx_http_billing_coherence_cluster(ngx_http_billing_coherence_t *co,
    int64_t now)
{
    ngx_uint_t                            i, source, fresh;
    ngx_http_billing_coherence_prefix_t  *prefix;

    if (co->mapping == 0 || now - co->mapping >= (int64_t) co->lag / 2) {
        ngx_http_billing_redis_compare(co->redis);
    }

    fresh = (co->mapped && now - co->mapped < (int64_t) co->lag);

    if (!fresh && !co->unmapped && ngx_http_billing_redis_refused(co->redis)) {
        ngx_http_billing_coherence_unused(co, co->untracked, 1);
    }

    prefix = co->prefixes.elts;

    for (i = 0; i < co->prefixes.nelts; i++) {
        source = ngx_http_billing_redis_source(co->redis, &prefix[i].epoch);

        if (source == NGX_HTTP_BILLING_REDIS_NOWHERE
            || !ngx_http_billing_coherence_trusted(co, source, now))
        {
            fresh = 0;
        }
    }

    return fresh;
}


ngx_uint_t
ngx_http_billing_coherence_is_stale(ngx_http_billing_coherence_t *co,
    ngx_uint_t source, int64_t now)
{
    int64_t                           last;
    ngx_http_billing_source_state_t  *state;

    if (!co->down || source == NGX_HTTP_BILLING_REDIS_NOWHERE
        || co->sources[source] == NULL)
    {
        return 0;
    }

    state = co->sources[source];
    last = state->fresh ? state->fresh : state->last;

    if (last == 0 || now - last >= (int64_t) co->stale) {
        return 0;
    }

    /* while requests do not ask Redis, the probe sees that a server is back */

    ngx_http_billing_coherence_probe(co, source, now);

    return 1;
}


ngx_uint_t
ngx_http_billing_coherence_keeps(ngx_http_billing_coherence_t *co,
    ngx_uint_t source, ngx_uint_t connection)
{
    return connection
           && connection == ngx_http_billing_coherence_owner(co, source)
           && co->sources[source]->doubts < NGX_HTTP_BILLING_COHERENCE_DOUBTS;
}


static void
ngx_http_billing_coherence_probe(ngx_http_billing_coherence_t *co,
    ngx_uint_t source, int64_t now)
{
    ngx_http_billing_source_state_t  *state;

    state = ngx_http_billing_coherence_source(co, source);

    if (state == NULL || state->probing
        || (state->probed && now - state->probed < (int64_t) co->lag / 2))
    {
        return;
    }

    state->probed = now;
    co->stat->probes++;
    co->probe(co->data, source);
}


void
ngx_http_billing_coherence_up(ngx_http_billing_coherence_t *co)
{
    ngx_uint_t                        i;
    ngx_http_billing_source_state_t  *state;

    co->down = 0;

    if (!co->kept) {
        return;
    }

    co->kept = 0;

    for (i = 0; i <= NGX_HTTP_BILLING_REDIS_SOURCES; i++) {
        state = co->sources[i];

        if (state && state->last) {
            state->last = 0;
            ngx_http_billing_store_forget(co->store, i);
        }
    }
}


void
ngx_http_billing_coherence_answered(ngx_http_billing_coherence_t *co,
    ngx_uint_t source, int64_t sent)
{
    ngx_http_billing_source_state_t  *state;

    state = co->sources[source];

    state->fresh = ngx_max(state->fresh, sent);
}


void
ngx_http_billing_coherence_refused(ngx_http_billing_coherence_t *co,
    ngx_uint_t source, ngx_str_t *text)
{
    /* a cluster's other nodes add no line while the logged one is in use */

    if (co->refused
        && (co->refuser == source
            || ngx_http_billing_coherence_owner(co, co->refuser)))
    {
        return;
    }

    co->refused = 1;
    co->refuser = source;

    ngx_log_error(NGX_LOG_NOTICE, co->log, 0,
                  "redis refuses PTTL: \"%V\", so the worker's cache keeps no "
                  "tokens", text);
}


void
ngx_http_billing_coherence_accepted(ngx_http_billing_coherence_t *co,
    ngx_uint_t source)
{
    if (!co->refused || co->refuser != source) {
        return;
    }

    co->refused = 0;

    ngx_log_error(NGX_LOG_NOTICE, co->log, 0,
                  "redis accepts PTTL, so the worker's cache keeps tokens");
}


void
ngx_http_billing_coherence_failed(ngx_http_billing_coherence_t *co)
{
    co->down = 1;
}


/*
 * The news of a change may follow a reply that is newer than the change, so the
 * news has time until the next probe.
 */

void
ngx_http_billing_coherence_synced(ngx_http_billing_coherence_t *co,
    ngx_http_billing_coherence_prefix_t *prefix, ngx_uint_t source,
    ngx_uint_t found, time_t value)
{
    ngx_uint_t                        changed;
    ngx_http_billing_source_state_t  *state;

    state = co->sources[source];

    if (!found) {

        if (prefix->known) {
            prefix->known = 0;
            ngx_http_billing_coherence_renew_all(co, 0);
        }

        return;
    }

    if (prefix->unannounced && !prefix->announced) {

        state->doubts++;

        ngx_log_error(NGX_LOG_WARN, co->log, 0,
                      "redis key \"%V\" has changed, and Redis did not say so: "
                      "%s", &prefix->synced_at,
                      state->doubts < NGX_HTTP_BILLING_COHERENCE_DOUBTS
                      ? "the worker's cache begins anew"
                      : "the worker's cache is not used on this connection");

        ngx_http_billing_coherence_renew_all(co, 0);
    }

    changed = (prefix->known && prefix->value != value);

    prefix->unannounced = (changed && !prefix->announced);
    prefix->announced = prefix->announced_in_probe;
    prefix->announced_in_probe = 0;
    prefix->known = 1;
    prefix->value = value;
}


void
ngx_http_billing_coherence_count(ngx_http_billing_coherence_t *co)
{
    ngx_http_billing_store_stat_t  *stat;

    if (co->store == NULL) {
        return;
    }

    stat = ngx_http_billing_store_stat(co->store);

    co->gauge->bytes += stat->bytes - co->bytes;
    co->gauge->records += stat->entries - co->records;
    co->stat->evictions += stat->evictions - co->evictions;

    co->bytes = stat->bytes;
    co->records = stat->entries;
    co->evictions = stat->evictions;
}


void
ngx_http_billing_coherence_close(ngx_http_billing_coherence_t *co)
{
    ngx_uint_t  i;

    if (co->size == 0) {
        return;
    }

    if (co->store) {
        ngx_http_billing_store_destroy(co->store);
        co->store = NULL;
    }

    for (i = 0; i <= NGX_HTTP_BILLING_REDIS_SOURCES; i++) {
        if (co->sources[i]) {
            ngx_free(co->sources[i]);
            co->sources[i] = NULL;
        }
    }
}
