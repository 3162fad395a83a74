
#include "ngx_http_billing_coherence.h"

#include <openssl/rand.h>


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
static void ngx_http_billing_coherence_probe(ngx_http_billing_coherence_t *co,
    int64_t now);
static void ngx_http_billing_coherence_tracked(void *data,
    ngx_uint_t connection, ngx_uint_t replica);
static void ngx_http_billing_coherence_untracked(void *data);
static void ngx_http_billing_coherence_changed(void *data, ngx_str_t *key);
static void ngx_http_billing_coherence_all_changed(
    ngx_http_billing_coherence_t *co);
static void ngx_http_billing_coherence_told(ngx_http_billing_coherence_t *co,
    ngx_http_billing_coherence_prefix_t *prefix);
static void ngx_http_billing_coherence_renew(ngx_http_billing_coherence_t *co,
    ngx_uint_t keep);
static ngx_uint_t ngx_http_billing_coherence_same(ngx_str_t *one,
    ngx_str_t *two);


ngx_int_t
ngx_http_billing_coherence_add(ngx_conf_t *cf,
    ngx_http_billing_coherence_t *co, ngx_str_t *prefix)
{
    size_t                                len;
    ngx_uint_t                            i;
    ngx_http_billing_coherence_prefix_t  *elt;

    if (co->tracking.data == NULL) {

        co->log = &cf->cycle->new_log;

        co->tracking.tracked = ngx_http_billing_coherence_tracked;
        co->tracking.changed = ngx_http_billing_coherence_changed;
        co->tracking.untracked = ngx_http_billing_coherence_untracked;
        co->tracking.data = co;

        if (ngx_array_init(&co->prefixes, cf->pool, 1,
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


/* ngx_current_msec stands still during a turn, and with timer_resolution */

int64_t
ngx_http_billing_coherence_clock(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    /* not 0, which stands for no time */

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000 + 1;
}


ngx_uint_t
ngx_http_billing_coherence_is_fresh(ngx_http_billing_coherence_t *co,
    int64_t now)
{
    if (co->owner == 0 || co->doubts >= NGX_HTTP_BILLING_COHERENCE_DOUBTS) {

        if (!co->untracked) {
            co->untracked = 1;
            co->gauge->untracked++;
        }

        return 0;
    }

    ngx_http_billing_coherence_probe(co, now);

    return co->fresh && now - co->fresh < (int64_t) co->lag;
}


ngx_uint_t
ngx_http_billing_coherence_is_stale(ngx_http_billing_coherence_t *co,
    int64_t now)
{
    int64_t  last;

    last = co->fresh ? co->fresh : co->last;

    if (!co->down || last == 0 || now - last >= (int64_t) co->stale) {
        return 0;
    }

    /* nobody else may ask, and find out that a server answers again */

    ngx_http_billing_coherence_probe(co, now);

    return 1;
}


ngx_uint_t
ngx_http_billing_coherence_keeps(ngx_http_billing_coherence_t *co,
    ngx_uint_t connection)
{
    return connection == co->owner && connection
           && co->doubts < NGX_HTTP_BILLING_COHERENCE_DOUBTS;
}


static void
ngx_http_billing_coherence_probe(ngx_http_billing_coherence_t *co, int64_t now)
{
    if (co->probing || now - co->probed < (int64_t) co->lag / 2) {
        return;
    }

    co->probed = now;
    co->stat->probes++;
    co->probe(co->data);
}


void
ngx_http_billing_coherence_answered(ngx_http_billing_coherence_t *co,
    ngx_uint_t connection, int64_t sent)
{
    co->down = 0;

    if (co->last) {
        co->last = 0;
        ngx_http_billing_store_forget(co->store);
    }

    if (connection == co->owner && connection) {
        co->fresh = ngx_max(co->fresh, sent);
    }
}


void
ngx_http_billing_coherence_refused(ngx_http_billing_coherence_t *co,
    ngx_str_t *text)
{
    if (co->refused) {
        return;
    }

    co->refused = 1;

    ngx_log_error(NGX_LOG_NOTICE, co->log, 0,
                  "redis refuses PTTL: \"%V\", so the worker's cache keeps no "
                  "tokens", text);
}


void
ngx_http_billing_coherence_failed(ngx_http_billing_coherence_t *co)
{
    co->down = 1;
}


/*
 * The news of a change may follow a reply that is newer than the change, so
 * they are waited for until the next probe.
 */

void
ngx_http_billing_coherence_synced(ngx_http_billing_coherence_t *co,
    ngx_http_billing_coherence_prefix_t *prefix, ngx_uint_t found,
    time_t value)
{
    ngx_uint_t  changed;

    if (!found) {

        if (prefix->known) {
            prefix->known = 0;
            ngx_http_billing_coherence_renew(co, 0);
        }

        return;
    }

    if (prefix->untold && !prefix->told) {

        co->doubts++;

        ngx_log_error(NGX_LOG_WARN, co->log, 0,
                      "redis key \"%V\" has changed, and Redis did not say so: "
                      "%s", &prefix->synced_at,
                      co->doubts < NGX_HTTP_BILLING_COHERENCE_DOUBTS
                      ? "the worker's cache begins anew"
                      : "the worker's cache is not used on this connection");

        ngx_http_billing_coherence_renew(co, 0);
    }

    changed = (prefix->known && prefix->value != value);

    prefix->untold = (changed && !prefix->told);
    prefix->told = prefix->late;
    prefix->late = 0;
    prefix->known = 1;
    prefix->value = value;
}


static void
ngx_http_billing_coherence_tracked(void *data, ngx_uint_t connection,
    ngx_uint_t replica)
{
    ngx_http_billing_coherence_t *co = data;

    u_char                                seed[NGX_HTTP_BILLING_STORE_SEED];
    ngx_uint_t                            i;
    ngx_http_billing_coherence_prefix_t  *prefix;

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
        prefix[i].known = 0;
        prefix[i].told = 0;
        prefix[i].late = 0;
        prefix[i].untold = 0;
    }

    co->owner = connection;
    co->replica = replica;
    co->fresh = 0;
    co->probed = 0;
    co->doubts = 0;
    co->gauge->tracked++;

    if (co->untracked) {
        co->untracked = 0;
        co->gauge->untracked--;
    }
}


static void
ngx_http_billing_coherence_untracked(void *data)
{
    ngx_http_billing_coherence_t *co = data;

    if (co->owner == 0) {
        return;
    }

    co->owner = 0;
    co->gauge->tracked--;

    if (co->fresh) {
        co->last = co->fresh;
        co->fresh = 0;
    }

    ngx_http_billing_coherence_renew(co, co->stale != 0);
}


static void
ngx_http_billing_coherence_changed(void *data, ngx_str_t *key)
{
    ngx_http_billing_coherence_t *co = data;

    ngx_uint_t                            i;
    ngx_http_billing_coherence_prefix_t  *prefix;

    if (co->owner == 0) {
        return;
    }

    if (key == NULL) {
        ngx_http_billing_coherence_all_changed(co);
        return;
    }

    prefix = co->prefixes.elts;

    for (i = 0; i < co->prefixes.nelts; i++) {

        if (ngx_http_billing_coherence_same(key, &prefix[i].epoch)) {
            ngx_http_billing_coherence_all_changed(co);
            return;
        }

        if (ngx_http_billing_coherence_same(key, &prefix[i].synced_at)) {
            ngx_http_billing_coherence_told(co, &prefix[i]);
        }
    }

    co->stat->invalidations += ngx_http_billing_store_drop(co->store, key);
}


/* all keys have: so has synced_at, whose own news need not come */

static void
ngx_http_billing_coherence_all_changed(ngx_http_billing_coherence_t *co)
{
    ngx_uint_t                            i;
    ngx_http_billing_coherence_prefix_t  *prefix;

    prefix = co->prefixes.elts;

    for (i = 0; i < co->prefixes.nelts; i++) {
        ngx_http_billing_coherence_told(co, &prefix[i]);
    }

    ngx_http_billing_coherence_renew(co, 0);
}


/* a probe under way may have read synced_at before the change */

static void
ngx_http_billing_coherence_told(ngx_http_billing_coherence_t *co,
    ngx_http_billing_coherence_prefix_t *prefix)
{
    prefix->told = 1;
    prefix->late = co->probing;
}


static void
ngx_http_billing_coherence_renew(ngx_http_billing_coherence_t *co,
    ngx_uint_t keep)
{
    co->stat->generations++;

    ngx_http_billing_store_renew(co->store, keep);

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, co->log, 0,
                   "billing cache begins anew, keep: %ui", keep);
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
    if (co->store) {
        ngx_http_billing_store_destroy(co->store);
        co->store = NULL;
    }
}


static ngx_uint_t
ngx_http_billing_coherence_same(ngx_str_t *one, ngx_str_t *two)
{
    return one->len == two->len
           && ngx_memcmp(one->data, two->data, one->len) == 0;
}
