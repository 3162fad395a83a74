
#include "ngx_http_billing_cache_reply.h"
#include "ngx_http_billing_cache_store.h"


/*
 * Kinds of records.  Each page of a login's ids is a record of a kind of its
 * own, and so is the check of the score at the page's end: a change of the
 * login's key drops the records of all kinds.
 */

#define NGX_HTTP_BILLING_RECORD_TOKEN      0
#define NGX_HTTP_BILLING_RECORD_EXTERNAL   1
#define NGX_HTTP_BILLING_RECORD_CAMERA     2
#define NGX_HTTP_BILLING_RECORD_SYNCED_AT  3
#define NGX_HTTP_BILLING_RECORD_PAGES      4

#define NGX_HTTP_BILLING_RECORD_MAX_PAGES                                     \
    ((256 - NGX_HTTP_BILLING_RECORD_PAGES) / 2)

#define NGX_HTTP_BILLING_RECORD_NONE       256


/* a page of ids, which follow; after: the id after which the page begins */

typedef struct {
    int64_t     after;
    ngx_uint_t  n;
} ngx_http_billing_page_record_t;


static ngx_uint_t ngx_http_billing_cache_usable(
    ngx_http_billing_cache_t *cache, int64_t now, ngx_uint_t *stale);
static ngx_int_t ngx_http_billing_cache_look(ngx_http_billing_cache_t *cache,
    int64_t now, ngx_uint_t flags);
static ngx_uint_t ngx_http_billing_cache_record_kind(
    ngx_http_billing_lookup_t *lookup);
static ngx_uint_t ngx_http_billing_cache_read_record(
    ngx_http_billing_cache_t *cache, ngx_http_billing_lookup_t *lookup,
    ngx_http_billing_entry_t *entry);
static ngx_uint_t ngx_http_billing_cache_read_page(
    ngx_http_billing_lookup_t *lookup, ngx_http_billing_page_record_t *page);
static ngx_uint_t ngx_http_billing_cache_has_member(
    ngx_http_billing_page_record_t *page, int64_t id);
static ngx_int_t ngx_http_billing_cache_copy_cameras(
    ngx_http_billing_cache_t *cache);
static void ngx_http_billing_cache_release_lookup(
    ngx_http_billing_cache_t *cache, ngx_http_billing_lookup_t *lookup);
static ngx_uint_t ngx_http_billing_cache_right(ngx_http_billing_cache_t *cache,
    ngx_uint_t n);
static ngx_int_t ngx_http_billing_cache_record(ngx_http_billing_cache_t *cache,
    ngx_uint_t n, ngx_str_t *data, int64_t *deadline);
static ngx_int_t ngx_http_billing_cache_page(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup, ngx_str_t *data);


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

            /* the record of the token, which precedes, has ended in time */

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


static ngx_uint_t
ngx_http_billing_cache_record_kind(ngx_http_billing_lookup_t *lookup)
{
    switch (lookup->kind) {

    case NGX_HTTP_BILLING_KIND_TOKEN:
        return NGX_HTTP_BILLING_RECORD_TOKEN;

    case NGX_HTTP_BILLING_KIND_EXTERNAL:
        return NGX_HTTP_BILLING_RECORD_EXTERNAL;

    case NGX_HTTP_BILLING_KIND_CAMERA:
        return NGX_HTTP_BILLING_RECORD_CAMERA;

    case NGX_HTTP_BILLING_KIND_SYNCED_AT:
        return NGX_HTTP_BILLING_RECORD_SYNCED_AT;

    case NGX_HTTP_BILLING_KIND_LOGIN:
    case NGX_HTTP_BILLING_KIND_MEMBER:

        if (lookup->page >= NGX_HTTP_BILLING_RECORD_MAX_PAGES) {
            break;
        }

        return NGX_HTTP_BILLING_RECORD_PAGES + 2 * lookup->page + lookup->ends;

    default:
        break;
    }

    return NGX_HTTP_BILLING_RECORD_NONE;
}


/* returns whether the record has the lookup's result */

static ngx_uint_t
ngx_http_billing_cache_read_record(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup, ngx_http_billing_entry_t *entry)
{
    u_char     *data;
    int64_t     value;
    ngx_str_t   text;

    data = ngx_http_billing_store_data(entry);
    value = 0;

    switch (lookup->kind) {

    case NGX_HTTP_BILLING_KIND_TOKEN:

        /* the name is for the log, after the record may be gone */

        text.data = data;
        text.len = entry->len;

        if (ngx_http_billing_cache_copy(cache->pool, &lookup->text, &text)
            != NGX_OK)
        {
            return 0;
        }

        break;

    case NGX_HTTP_BILLING_KIND_CAMERA:

        if (cache->limit && cache->size >= cache->limit) {
            lookup->result = NGX_HTTP_BILLING_LOOKUP_DEFERRED;
            return 1;
        }

        lookup->text.data = data;
        lookup->text.len = entry->len;

        cache->size += entry->len;
        break;

    case NGX_HTTP_BILLING_KIND_LOGIN:

        if (!ngx_http_billing_cache_read_page(lookup,
                                     (ngx_http_billing_page_record_t *) data))
        {
            return 0;
        }

        break;

    case NGX_HTTP_BILLING_KIND_MEMBER:

        if (!lookup->ends) {

            if (!ngx_http_billing_cache_has_member(
                                      (ngx_http_billing_page_record_t *) data,
                                      lookup->id))
            {
                return 0;
            }

            break;
        }

        ngx_memcpy(&value, data, sizeof(int64_t));

        if (value != lookup->id) {
            return 0;
        }

        break;

    case NGX_HTTP_BILLING_KIND_EXTERNAL:
        ngx_memcpy(&lookup->id, data, sizeof(int64_t));
        break;

    default: /* NGX_HTTP_BILLING_KIND_SYNCED_AT */
        ngx_memcpy(&value, data, sizeof(int64_t));
        lookup->synced_at = (time_t) value;
        break;
    }

    lookup->result = NGX_HTTP_BILLING_LOOKUP_FOUND;

    return 1;
}


static ngx_uint_t
ngx_http_billing_cache_read_page(ngx_http_billing_lookup_t *lookup,
    ngx_http_billing_page_record_t *page)
{
    if (page->after != lookup->id || page->n > lookup->ids->nalloc) {
        return 0;
    }

    ngx_memcpy(lookup->ids->elts, page + 1, page->n * sizeof(int64_t));
    lookup->ids->nelts = page->n;

    return 1;
}


static ngx_uint_t
ngx_http_billing_cache_has_member(ngx_http_billing_page_record_t *page,
    int64_t id)
{
    int64_t     *ids;
    ngx_uint_t   low, high, middle;

    ids = (int64_t *) (page + 1);
    low = 0;
    high = page->n;

    while (low < high) {
        middle = low + (high - low) / 2;

        if (ids[middle] < id) {
            low = middle + 1;

        } else {
            high = middle;
        }
    }

    return low < page->n && ids[low] == id;
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

        /* whether a login has a member is read off its first page, or asked */

        if (kind == NGX_HTTP_BILLING_RECORD_NONE
            || ((*lookup)->kind == NGX_HTTP_BILLING_KIND_MEMBER
                && !(*lookup)->ends)
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
 * Whether the n-th lookup was answered by the owner that it was sent over, and
 * that is the owner still.
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

    /* a probe that no server answers must not take a stale synced_at for one */

    if (cache->use == NGX_HTTP_BILLING_STORE_PASS || cache->role
        || !ngx_http_billing_cache_usable(cache, now, &stale) || !stale)
    {
        return NGX_DECLINED;
    }

    return ngx_http_billing_cache_look(cache, now,
                                       NGX_HTTP_BILLING_STORE_STALE)
           == NGX_OK
           ? NGX_OK : NGX_DECLINED;
}


/* the record that the n-th lookup asked for makes; NGX_DECLINED: none */

static ngx_int_t
ngx_http_billing_cache_record(ngx_http_billing_cache_t *cache, ngx_uint_t n,
    ngx_str_t *data, int64_t *deadline)
{
    ngx_http_billing_lookup_t     *lookup, **asked;
    ngx_http_billing_coherence_t  *co;

    co = &cache->set->coherence;
    asked = cache->asked.elts;
    lookup = asked[n];

    /* nothing absent is kept */

    if (!ngx_http_billing_lookup_found(lookup)) {
        return NGX_DECLINED;
    }

    /* a replica hides what has expired, and tells of the change later */

    *deadline = co->sources[lookup->source]->replica
                ? lookup->sent + (int64_t) co->lag : 0;

    switch (lookup->kind) {

    case NGX_HTTP_BILLING_KIND_TOKEN:

        if (++n == cache->asked.nelts
            || asked[n]->kind != NGX_HTTP_BILLING_KIND_TTL
            || !ngx_http_billing_lookup_found(asked[n]))
        {
            return NGX_DECLINED;
        }

        if (asked[n]->id != -1
            && (*deadline == 0 || asked[n]->id < *deadline - lookup->sent))
        {
            *deadline = lookup->sent + asked[n]->id;
        }

        *data = lookup->text;
        return NGX_OK;

    case NGX_HTTP_BILLING_KIND_CAMERA:
        *data = lookup->text;
        return NGX_OK;

    case NGX_HTTP_BILLING_KIND_LOGIN:
        return ngx_http_billing_cache_page(cache, lookup, data);

    case NGX_HTTP_BILLING_KIND_SYNCED_AT:
        lookup->id = lookup->synced_at;
        break;

    default: /* the camera's id, or the member's */
        break;
    }

    data->data = (u_char *) &lookup->id;
    data->len = sizeof(int64_t);

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_cache_page(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup, ngx_str_t *data)
{
    size_t                           size;
    ngx_http_billing_page_record_t  *page;

    size = lookup->ids->nelts * sizeof(int64_t);

    data->len = sizeof(ngx_http_billing_page_record_t) + size;

    data->data = ngx_palloc(cache->pool, data->len);
    if (data->data == NULL) {
        return NGX_DECLINED;
    }

    page = (ngx_http_billing_page_record_t *) data->data;

    page->after = lookup->id;
    page->n = lookup->ids->nelts;

    ngx_memcpy(page + 1, lookup->ids->elts, size);

    return NGX_OK;
}
