
#include "ngx_http_billing_coherence_news.h"
#include "ngx_http_billing_coherence_state.h"

#include <openssl/rand.h>


static void ngx_http_billing_coherence_tracked(void *data, ngx_uint_t source,
    ngx_uint_t connection, ngx_uint_t replica);
static void ngx_http_billing_coherence_untracked(void *data,
    ngx_uint_t source);
static void ngx_http_billing_coherence_mapping(void *data);
static void ngx_http_billing_coherence_mapped(void *data);
static void ngx_http_billing_coherence_changed(void *data, ngx_uint_t source,
    ngx_str_t *key);
static void ngx_http_billing_coherence_epoch(ngx_http_billing_coherence_t *co);
static void ngx_http_billing_coherence_flushed(
    ngx_http_billing_coherence_t *co, ngx_uint_t source);
static ngx_uint_t ngx_http_billing_coherence_has_epoch(
    ngx_http_billing_coherence_t *co, ngx_uint_t source);
static void ngx_http_billing_coherence_announced(
    ngx_http_billing_coherence_t *co,
    ngx_http_billing_coherence_prefix_t *prefix, ngx_uint_t source);


void
ngx_http_billing_coherence_news(ngx_http_billing_coherence_t *co)
{
    co->tracking.tracked = ngx_http_billing_coherence_tracked;
    co->tracking.changed = ngx_http_billing_coherence_changed;
    co->tracking.untracked = ngx_http_billing_coherence_untracked;
    co->tracking.mapping = ngx_http_billing_coherence_mapping;
    co->tracking.mapped = ngx_http_billing_coherence_mapped;
    co->tracking.data = co;
}


static void
ngx_http_billing_coherence_tracked(void *data, ngx_uint_t source,
    ngx_uint_t connection, ngx_uint_t replica)
{
    ngx_http_billing_coherence_t *co = data;

    u_char                                seed[NGX_HTTP_BILLING_STORE_SEED];
    ngx_uint_t                            i;
    ngx_http_billing_source_state_t      *state;
    ngx_http_billing_coherence_prefix_t  *prefix;

    state = ngx_http_billing_coherence_source(co, source);

    if (state == NULL) {
        return;
    }

    if (co->store == NULL) {

        if (RAND_bytes(seed, NGX_HTTP_BILLING_STORE_SEED) != 1) {
            return;
        }

        co->store = ngx_http_billing_store_create(co->size, seed, co->log);
        if (co->store == NULL) {
            return;
        }
    }

    prefix = co->prefixes.elts;

    for (i = 0; i < co->prefixes.nelts; i++) {

        if (ngx_http_billing_redis_source(co->redis, &prefix[i].synced_at)
            != source)
        {
            continue;
        }

        prefix[i].known = 0;
        prefix[i].announced = 0;
        prefix[i].announced_in_probe = 0;
        prefix[i].unannounced = 0;
    }

    /* nobody was told of a change of "epoch" before this */

    if (source && ngx_http_billing_coherence_has_epoch(co, source)) {
        ngx_http_billing_coherence_renew_all(co, co->stale != 0);
    }

    state->owner = connection;
    state->replica = replica;
    state->fresh = 0;
    state->probed = 0;
    state->doubts = 0;
    co->gauge->tracked++;

    /* no map is read of servers that are no cluster any more */

    ngx_http_billing_coherence_unused(co, 0, source && co->unmapped);
}


static void
ngx_http_billing_coherence_untracked(void *data, ngx_uint_t source)
{
    ngx_http_billing_coherence_t *co = data;

    ngx_http_billing_source_state_t  *state;

    if (ngx_http_billing_coherence_owner(co, source) == 0) {
        return;
    }

    state = co->sources[source];

    state->owner = 0;
    co->gauge->tracked--;

    if (state->fresh) {
        state->last = state->fresh;
        state->fresh = 0;
        co->kept = 1;
    }

    /*
     * A generation that was never fresh has no records, and is not kept: if it
     * were, the store would not keep the next one.
     */

    ngx_http_billing_coherence_renew(co, source, co->stale && state->last);
}


static void
ngx_http_billing_coherence_mapping(void *data)
{
    ngx_http_billing_coherence_t *co = data;

    co->mapping = ngx_http_billing_coherence_clock();
}


static void
ngx_http_billing_coherence_mapped(void *data)
{
    ngx_http_billing_coherence_t *co = data;

    co->mapped = co->mapping;

    if (co->unmapped) {
        ngx_http_billing_coherence_unused(co, co->untracked, 0);
    }
}


static void
ngx_http_billing_coherence_changed(void *data, ngx_uint_t source,
    ngx_str_t *key)
{
    ngx_http_billing_coherence_t *co = data;

    ngx_uint_t                            i;
    ngx_http_billing_coherence_prefix_t  *prefix;

    if (ngx_http_billing_coherence_owner(co, source) == 0) {
        return;
    }

    if (key == NULL) {
        ngx_http_billing_coherence_flushed(co, source);
        return;
    }

    prefix = co->prefixes.elts;

    for (i = 0; i < co->prefixes.nelts; i++) {

        if (ngx_http_billing_coherence_same(key, &prefix[i].epoch)) {
            ngx_http_billing_coherence_epoch(co);
            return;
        }

        if (ngx_http_billing_coherence_same(key, &prefix[i].synced_at)) {
            ngx_http_billing_coherence_announced(co, &prefix[i], source);
        }
    }

    co->stat->invalidations += ngx_http_billing_store_drop(co->store, key);
}


/* all keys may have changed, so each synced_at counts as announced */

static void
ngx_http_billing_coherence_epoch(ngx_http_billing_coherence_t *co)
{
    ngx_uint_t                            i, source;
    ngx_http_billing_coherence_prefix_t  *prefix;

    prefix = co->prefixes.elts;

    for (i = 0; i < co->prefixes.nelts; i++) {
        source = ngx_http_billing_redis_source(co->redis,
                                               &prefix[i].synced_at);
        ngx_http_billing_coherence_announced(co, &prefix[i], source);
    }

    ngx_http_billing_coherence_renew_all(co, 0);
}


/* the same for the keys of one source */

static void
ngx_http_billing_coherence_flushed(ngx_http_billing_coherence_t *co,
    ngx_uint_t source)
{
    ngx_uint_t                            i;
    ngx_http_billing_coherence_prefix_t  *prefix;

    prefix = co->prefixes.elts;

    for (i = 0; i < co->prefixes.nelts; i++) {

        if (ngx_http_billing_redis_source(co->redis, &prefix[i].synced_at)
            == source)
        {
            ngx_http_billing_coherence_announced(co, &prefix[i], source);
        }
    }

    if (ngx_http_billing_coherence_has_epoch(co, source)) {
        ngx_http_billing_coherence_renew_all(co, 0);
        return;
    }

    ngx_http_billing_coherence_renew(co, source, 0);
}


static ngx_uint_t
ngx_http_billing_coherence_has_epoch(ngx_http_billing_coherence_t *co,
    ngx_uint_t source)
{
    ngx_uint_t                            i;
    ngx_http_billing_coherence_prefix_t  *prefix;

    prefix = co->prefixes.elts;

    for (i = 0; i < co->prefixes.nelts; i++) {

        if (ngx_http_billing_redis_source(co->redis, &prefix[i].epoch)
            == source)
        {
            return 1;
        }
    }

    return 0;
}


/* a probe under way may have read synced_at before the change */

static void
ngx_http_billing_coherence_announced(ngx_http_billing_coherence_t *co,
    ngx_http_billing_coherence_prefix_t *prefix, ngx_uint_t source)
{
    prefix->announced = 1;
    prefix->announced_in_probe = (source != NGX_HTTP_BILLING_REDIS_NOWHERE
                                  && co->sources[source]
                                  && co->sources[source]->probing);
}
