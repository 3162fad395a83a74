
#include "ngx_http_billing_cache_record.h"
#include "ngx_http_billing_cache_reply.h"
#include "ngx_http_billing_cache_store.h"


static ngx_uint_t ngx_http_billing_cache_usable(
    ngx_http_billing_cache_t *cache, int64_t now, ngx_uint_t *stale);
static ngx_int_t ngx_http_billing_cache_look(ngx_http_billing_cache_t *cache,
    int64_t now, ngx_uint_t flags);
static ngx_int_t ngx_http_billing_cache_copy_cameras(
    ngx_http_billing_cache_t *cache);
static void ngx_http_billing_cache_release_lookup(
    ngx_http_billing_cache_t *cache, ngx_http_billing_lookup_t *lookup);
static ngx_uint_t ngx_http_billing_cache_right(ngx_http_billing_cache_t *cache,
    ngx_uint_t n);


ngx_int_t
ngx_http_billing_cache_find(ngx_http_billing_cache_t *cache, ngx_log_t *log)
{
    int64_t                        now;
    ngx_uint_t                     flags, stale;
    ngx_http_billing_coherence_t  *co;

    co = &cache->set->coherence;

    if (cache->use == NGX_HTTP_BILLING_STORE_PASS || co->size == 0) {
        return NGX_AGAIN;
    }

    cache->log = log;

    now = ngx_http_billing_coherence_clock();
    flags = cache->once ? NGX_HTTP_BILLING_STORE_ONCE : 0;

    if (!ngx_http_billing_cache_usable(cache, now, &stale)) {
        cache->missed = 1;
        co->stat->misses += cache->lookups.nelts;
        return NGX_AGAIN;
    }

    if (stale) {
        flags |= NGX_HTTP_BILLING_STORE_STALE;
    }

    return ngx_http_billing_cache_look(cache, now, flags);
}


/*
 * Whether all records can be used that the lookups may find; stale: some of
 * them only because no server answers.
 */

static ngx_uint_t
ngx_http_billing_cache_usable(ngx_http_billing_cache_t *cache, int64_t now,
    ngx_uint_t *stale)
{
    ngx_uint_t                     i, source;
    ngx_http_billing_lookup_t    **lookup;
    ngx_http_billing_coherence_t  *co;

    co = &cache->set->coherence;
    lookup = cache->lookups.elts;

    *stale = 0;
    source = NGX_HTTP_BILLING_REDIS_NOWHERE;

    for (i = 0; i < cache->lookups.nelts; i++) {

        /* most lookups have the source of the one before */

        if (i && lookup[i]->source == source) {
            continue;
        }

        source = lookup[i]->source;

        if (ngx_http_billing_coherence_is_fresh(co, source, now)) {
            continue;
        }

        if (!ngx_http_billing_coherence_is_stale(co, source, now)) {
            return 0;
        }

        *stale = 1;
    }

    return 1;
}


/* looks for all lookups that have no result yet */

static ngx_int_t
ngx_http_billing_cache_look(ngx_http_billing_cache_t *cache, int64_t now,
    ngx_uint_t flags)
{
    ngx_uint_t                        i, n, found, left;
    ngx_http_billing_lookup_t       **lookup;
    ngx_http_billing_coherence_t     *co;
    ngx_http_billing_store_query_t   *query, *q;

    co = &cache->set->coherence;
    lookup = cache->lookups.elts;

    query = ngx_palloc(cache->pool, cache->lookups.nelts
                                    * sizeof(ngx_http_billing_store_query_t));
    if (query == NULL) {
        return NGX_AGAIN;
    }

    for (i = 0, q = query; i < cache->lookups.nelts; i++) {

        if (lookup[i]->stored
            || lookup[i]->kind == NGX_HTTP_BILLING_KIND_TTL)
        {
            continue;
        }

        q->key = lookup[i]->key;
        q->source = lookup[i]->source;
        q->kind = ngx_http_billing_cache_record_kind(lookup[i]);
        q++;
    }

    n = q - query;

    ngx_http_billing_store_find(co->store, query, n, now, flags);

    found = 0;
    left = 0;

    for (i = 0, q = query; i < cache->lookups.nelts; i++) {

        if (lookup[i]->stored) {
            continue;
        }

        if (lookup[i]->kind == NGX_HTTP_BILLING_KIND_TTL) {

            /* the lookup before is the token's, whose record has a deadline */

            lookup[i]->stored = lookup[i - 1]->stored;

        } else {

            if (q->entry
                && ngx_http_billing_cache_read_record(cache, lookup[i],
                                                      q->entry))
            {
                lookup[i]->stored = 1;
                found++;
            }

            q++;
        }

        left += !lookup[i]->stored;
    }

    cache->hits += found;
    cache->missed |= (found < n);

    co->stat->hits += found;
    co->stat->misses += n - found;

    if (found && (flags & NGX_HTTP_BILLING_STORE_STALE)) {
        cache->stale = 1;
        co->stat->stale += found;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, cache->log, 0,
                   "billing store: %ui of %ui records found", found, n);

    if (left == 0) {
        cache->connection = ngx_http_billing_cache_state(cache);
        return NGX_OK;
    }

    /* records may go while Redis is waited for */

    return ngx_http_billing_cache_copy_cameras(cache);
}


ngx_uint_t
ngx_http_billing_cache_state(ngx_http_billing_cache_t *cache)
{
    ngx_uint_t  version;

    version = ngx_http_billing_redis_version(cache->set->redis);

    return version ? version
                   : ngx_http_billing_coherence_owner(&cache->set->coherence,
                                                      0);
}


static ngx_int_t
ngx_http_billing_cache_copy_cameras(ngx_http_billing_cache_t *cache)
{
    ngx_uint_t                   i;
    ngx_http_billing_lookup_t  **lookup;

    lookup = cache->lookups.elts;

    for (i = 0; i < cache->lookups.nelts; i++) {

        if (lookup[i]->kind == NGX_HTTP_BILLING_KIND_CAMERA
            && lookup[i]->stored
            && ngx_http_billing_lookup_found(lookup[i])
            && ngx_http_billing_cache_copy(cache->pool, &lookup[i]->text,
                                           &lookup[i]->text)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_AGAIN;
}


void
ngx_http_billing_cache_sending(void *data, ngx_uint_t connection,
    ngx_uint_t first, ngx_uint_t n)
{
    ngx_http_billing_cache_t *cache = data;

    int64_t                        now;
    ngx_uint_t                     kind;
    ngx_http_billing_lookup_t    **lookup, **last;
    ngx_http_billing_coherence_t  *co;

    co = &cache->set->coherence;
    now = ngx_http_billing_coherence_clock();

    lookup = cache->asked.elts;
    lookup += first;

    for (last = lookup + n; lookup < last; lookup++) {

        ngx_http_billing_cache_release_lookup(cache, *lookup);

        /* the slots may have changed since the lookup was added */

        (*lookup)->source = ngx_http_billing_redis_source(cache->set->redis,
                                                          &(*lookup)->key);
        (*lookup)->sent = now;
        (*lookup)->connection = connection;

        kind = ngx_http_billing_cache_record_kind(*lookup);

        /* an answer about one member is not kept; the login's first page is */

        if (kind == NGX_HTTP_BILLING_NO_RECORD
            || ((*lookup)->kind == NGX_HTTP_BILLING_KIND_MEMBER
                && !(*lookup)->ends_page)
            || cache->use != NGX_HTTP_BILLING_STORE_KEEP
            || !ngx_http_billing_coherence_keeps(co, (*lookup)->source,
                                                 connection))
        {
            continue;
        }

        (*lookup)->place = ngx_http_billing_store_hold(co->store,
                                                       (*lookup)->source, kind,
                                                       &(*lookup)->key);
    }
}


void
ngx_http_billing_cache_release(ngx_http_billing_cache_t *cache)
{
    ngx_uint_t                   i;
    ngx_http_billing_lookup_t  **asked;

    asked = cache->asked.elts;

    for (i = 0; i < cache->asked.nelts; i++) {
        ngx_http_billing_cache_release_lookup(cache, asked[i]);
    }
}


static void
ngx_http_billing_cache_release_lookup(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup)
{
    lookup->sent = 0;

    if (lookup->place) {
        ngx_http_billing_store_release(cache->set->coherence.store,
                                       lookup->place);
        lookup->place = NULL;
    }
}


void
ngx_http_billing_cache_store(ngx_http_billing_cache_t *cache,
    ngx_http_billing_redis_result_e result)
{
    int64_t                        deadline;
    ngx_str_t                      data;
    ngx_uint_t                     i;
    ngx_http_billing_entry_t      *place;
    ngx_http_billing_lookup_t    **asked;
    ngx_http_billing_coherence_t  *co;

    co = &cache->set->coherence;

    if (co->size == 0) {
        return;
    }

    ngx_http_billing_coherence_up(co);

    asked = cache->asked.elts;

    for (i = 0; i < cache->asked.nelts; i++) {

        if (result != NGX_HTTP_BILLING_REDIS_OK
            || !ngx_http_billing_cache_right(cache, i))
        {
            continue;
        }

        ngx_http_billing_coherence_answered(co, asked[i]->source,
                                            asked[i]->sent);

        place = asked[i]->place;

        if (place == NULL
            || ngx_http_billing_cache_record(cache, i, &data, &deadline)
               != NGX_OK)
        {
            continue;
        }

        asked[i]->place = NULL;

        (void) ngx_http_billing_store_commit(co->store, place, &data,
                                             deadline);
    }

    ngx_http_billing_cache_release(cache);

    ngx_http_billing_coherence_count(co);
}


/*
 * Whether the connection that has answered the n-th lookup was the owner when
 * the lookup was sent, and is the owner still.
 */

static ngx_uint_t
ngx_http_billing_cache_right(ngx_http_billing_cache_t *cache, ngx_uint_t n)
{
    ngx_uint_t                   owner;
    ngx_http_billing_lookup_t  **asked;

    asked = cache->asked.elts;

    if (asked[n]->sent == 0) {
        return 0;
    }

    owner = ngx_http_billing_coherence_owner(&cache->set->coherence,
                                             asked[n]->source);

    return owner && owner == asked[n]->connection
           && owner == ngx_http_billing_redis_answered(&cache->pipeline, n);
}


ngx_int_t
ngx_http_billing_cache_unanswered(ngx_http_billing_cache_t *cache,
    ngx_http_billing_redis_result_e result)
{
    int64_t                        now;
    ngx_uint_t                     stale;
    ngx_http_billing_coherence_t  *co;

    co = &cache->set->coherence;

    ngx_http_billing_cache_release(cache);

    if (co->size == 0 || cache->optional) {
        return NGX_DECLINED;
    }

    ngx_http_billing_coherence_failed(co);

    now = ngx_http_billing_coherence_clock();

    /* a stale synced_at is no answer to a probe, which asks for the role */

    if (cache->use == NGX_HTTP_BILLING_STORE_PASS || cache->asks_role
        || !ngx_http_billing_cache_usable(cache, now, &stale) || !stale)
    {
        return NGX_DECLINED;
    }

    return ngx_http_billing_cache_look(cache, now,
                                       NGX_HTTP_BILLING_STORE_STALE)
           == NGX_OK
           ? NGX_OK : NGX_DECLINED;
}
