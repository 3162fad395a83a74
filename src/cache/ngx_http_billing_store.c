
#include "ngx_http_billing_siphash.h"
#include "ngx_http_billing_store_table.h"


/* entries given back at each commit */

#define NGX_HTTP_BILLING_STORE_TIDY     8

/* entries looked at for one that can be evicted; half of them may be in use */

#define NGX_HTTP_BILLING_STORE_STEPS    256

/* queries whose memory is prefetched at once */

#define NGX_HTTP_BILLING_STORE_BATCH    32

/* bytes of a record that are prefetched, and bytes of a line of memory */

#define NGX_HTTP_BILLING_STORE_AHEAD    1024
#define NGX_HTTP_BILLING_STORE_LINE     64


#if defined(__GNUC__)
#define ngx_http_billing_store_prefetch(p)  __builtin_prefetch(p)
#else
#define ngx_http_billing_store_prefetch(p)
#endif


/* the generations of a source; kept is 0 if none is */

typedef struct {
    uint64_t                        current;
    uint64_t                        kept;
} ngx_http_billing_store_source_t;


struct ngx_http_billing_store_s {
    size_t                          size;
    uint64_t                        seed[2];
    ngx_log_t                      *log;

    ngx_http_billing_store_table_t  table;

    /* the newest first; and where to look for what can be evicted */
    ngx_queue_t                     queue;
    ngx_queue_t                    *hand;

    /* generations have numbers, whose lowest bits are those of the source */
    uint64_t                        generations;
    ngx_http_billing_store_source_t sources[NGX_HTTP_BILLING_STORE_SOURCES];

    ngx_http_billing_store_stat_t   stat;
};


static ngx_http_billing_entry_t *ngx_http_billing_store_record(
    ngx_http_billing_store_t *store, ngx_http_billing_store_query_t *query,
    uint64_t generation, int64_t now);
static ngx_http_billing_entry_t *ngx_http_billing_store_insert(
    ngx_http_billing_store_t *store, uint64_t hash, ngx_uint_t kind,
    uint64_t generation, ngx_str_t *key, size_t len);
static void ngx_http_billing_store_detach(ngx_http_billing_store_t *store,
    ngx_http_billing_entry_t *entry);
static ngx_int_t ngx_http_billing_store_room(ngx_http_billing_store_t *store,
    size_t need);
static ngx_uint_t ngx_http_billing_store_is_over(
    ngx_http_billing_store_t *store, ngx_http_billing_entry_t *entry);


static ngx_inline ngx_http_billing_store_source_t *
ngx_http_billing_store_source(ngx_http_billing_store_t *store,
    uint64_t generation)
{
    return &store->sources[generation % NGX_HTTP_BILLING_STORE_SOURCES];
}


static ngx_inline size_t
ngx_http_billing_store_entry_size(size_t key_len, size_t len)
{
    return ngx_align(offsetof(ngx_http_billing_entry_t, key) + key_len, 8)
           + len;
}


ngx_http_billing_store_t *
ngx_http_billing_store_create(size_t size, u_char *seed, ngx_log_t *log)
{
    size_t                     bytes;
    ngx_uint_t                 i;
    ngx_http_billing_store_t  *store;

    store = ngx_calloc(sizeof(ngx_http_billing_store_t), log);
    if (store == NULL) {
        return NULL;
    }

    bytes = ngx_http_billing_store_table_init(&store->table, log);

    if (bytes == 0) {
        ngx_free(store);
        return NULL;
    }

    store->size = size;
    store->log = log;

    for (i = 0; i < NGX_HTTP_BILLING_STORE_SOURCES; i++) {
        ngx_http_billing_store_renew(store, i, 0);
    }

    ngx_memcpy(store->seed, seed, NGX_HTTP_BILLING_STORE_SEED);

    ngx_queue_init(&store->queue);
    store->hand = &store->queue;

    store->stat.bytes = bytes
              + ngx_http_billing_store_heap(sizeof(ngx_http_billing_store_t));

    return store;
}


void
ngx_http_billing_store_destroy(ngx_http_billing_store_t *store)
{
    ngx_queue_t  *q;

    while (!ngx_queue_empty(&store->queue)) {
        q = ngx_queue_head(&store->queue);
        ngx_queue_remove(q);

        ngx_free(ngx_queue_data(q, ngx_http_billing_entry_t, queue));
    }

    ngx_http_billing_store_table_free(&store->table);
    ngx_free(store);
}


ngx_http_billing_store_stat_t *
ngx_http_billing_store_stat(ngx_http_billing_store_t *store)
{
    return &store->stat;
}


/*
 * Prefetches the buckets of a whole batch of queries before any bucket is read,
 * then likewise the entries, and then the records.
 */

void
ngx_http_billing_store_find(ngx_http_billing_store_t *store,
    ngx_http_billing_store_query_t *query, ngx_uint_t n, int64_t now,
    ngx_uint_t flags)
{
    u_char                           *p, *last;
    ngx_uint_t                        k, m;
    ngx_http_billing_entry_t         *entry;
    ngx_http_billing_store_source_t  *source;

    for ( /* void */ ; n; n -= m, query += m) {

        m = ngx_min(n, NGX_HTTP_BILLING_STORE_BATCH);

        for (k = 0; k < m; k++) {
            query[k].hash = ngx_http_billing_siphash(store->seed,
                                                     &query[k].key);

            ngx_http_billing_store_prefetch(
                ngx_http_billing_store_bucket(&store->table, query[k].hash));
        }

        for (k = 0; k < m; k++) {
            p = (u_char *) *ngx_http_billing_store_bucket(&store->table,
                                                          query[k].hash);

            if (p) {
                ngx_http_billing_store_prefetch(p);
                ngx_http_billing_store_prefetch(p
                                                + NGX_HTTP_BILLING_STORE_LINE);
            }
        }

        for (k = 0; k < m; k++) {
            entry = *ngx_http_billing_store_bucket(&store->table,
                                                   query[k].hash);

            if (entry && entry->hash != query[k].hash && entry->next) {
                ngx_http_billing_store_prefetch(entry->next);
            }
        }

        for (k = 0; k < m; k++) {
            source = &store->sources[query[k].source];

            entry = ngx_http_billing_store_record(store, &query[k],
                                                  source->current, now);

            if (entry == NULL && source->kept
                && (flags & NGX_HTTP_BILLING_STORE_STALE))
            {
                entry = ngx_http_billing_store_record(store, &query[k],
                                                      source->kept, now);
            }

            query[k].entry = entry;

            if (entry == NULL) {
                store->stat.misses++;
                continue;
            }

            store->stat.hits++;

            /* a line of memory that is not written to stays clean */

            if (!entry->used && !(flags & NGX_HTTP_BILLING_STORE_ONCE)) {
                entry->used = 1;
            }

            p = ngx_http_billing_store_data(entry);
            last = p + ngx_min(entry->len, NGX_HTTP_BILLING_STORE_AHEAD);

            for ( /* void */ ; p < last; p += NGX_HTTP_BILLING_STORE_LINE) {
                ngx_http_billing_store_prefetch(p);
            }
        }
    }
}


static ngx_http_billing_entry_t *
ngx_http_billing_store_record(ngx_http_billing_store_t *store,
    ngx_http_billing_store_query_t *query, uint64_t generation, int64_t now)
{
    ngx_http_billing_entry_t  *entry;

    entry = ngx_http_billing_store_table_find(&store->table, query->hash,
                                              query->kind, &query->key,
                                              generation);

    if (entry == NULL || !entry->ready
        || (entry->deadline && entry->deadline <= now))
    {
        return NULL;
    }

    return entry;
}


void
ngx_http_billing_store_ref(ngx_http_billing_entry_t *entry)
{
    entry->refs++;
}


void
ngx_http_billing_store_release(ngx_http_billing_store_t *store,
    ngx_http_billing_entry_t *entry)
{
    size_t  size;

    if (--entry->refs) {
        return;
    }

    if (entry->dropped) {
        size = ngx_http_billing_store_heap(
                           ngx_http_billing_store_entry_size(entry->key_len,
                                                             entry->len));
        store->stat.bytes -= size;
        store->stat.dropped_bytes -= size;

        ngx_free(entry);
        return;
    }

    if (!entry->ready) {
        ngx_http_billing_store_detach(store, entry);
    }
}


ngx_http_billing_entry_t *
ngx_http_billing_store_hold(ngx_http_billing_store_t *store, ngx_uint_t source,
    ngx_uint_t kind, ngx_str_t *key)
{
    uint64_t                   hash, generation;
    ngx_http_billing_entry_t  *entry;

    if (key->len > NGX_HTTP_BILLING_STORE_MAX_KEY) {
        store->stat.refusals++;
        return NULL;
    }

    hash = ngx_http_billing_siphash(store->seed, key);
    generation = store->sources[source].current;

    entry = ngx_http_billing_store_table_find(&store->table, hash, kind, key,
                                              generation);

    if (entry == NULL) {
        entry = ngx_http_billing_store_insert(store, hash, kind, generation,
                                              key, 0);

        if (entry == NULL) {
            store->stat.refusals++;
            return NULL;
        }
    }

    entry->refs++;

    return entry;
}


ngx_int_t
ngx_http_billing_store_commit(ngx_http_billing_store_t *store,
    ngx_http_billing_entry_t *entry, ngx_str_t *data, int64_t deadline)
{
    ngx_str_t                         key;
    ngx_http_billing_entry_t         *record;
    ngx_http_billing_store_source_t  *source;

    (void) ngx_http_billing_store_tidy(store, NGX_HTTP_BILLING_STORE_TIDY);

    record = NULL;

    source = ngx_http_billing_store_source(store, entry->generation);

    if (entry->dropped || entry->generation != source->current) {
        goto done;
    }

    key.data = entry->key;
    key.len = entry->key_len;

    if (data->len <= store->size / 8) {
        record = ngx_http_billing_store_insert(store, entry->hash, entry->kind,
                                               entry->generation, &key,
                                               data->len);
    }

    if (record == NULL) {
        store->stat.refusals++;
        goto done;
    }

    ngx_memcpy(ngx_http_billing_store_data(record), data->data, data->len);

    record->deadline = deadline;
    record->used = entry->used;
    record->ready = 1;

    /* an entry that others reference stays until they release it */

    ngx_http_billing_store_detach(store, entry);

done:

    ngx_http_billing_store_release(store, entry);

    return record ? NGX_OK : NGX_DECLINED;
}


ngx_uint_t
ngx_http_billing_store_drop(ngx_http_billing_store_t *store, ngx_str_t *key)
{
    uint64_t                   hash;
    ngx_uint_t                 n;
    ngx_http_billing_entry_t  *entry, *next;

    n = 0;
    hash = ngx_http_billing_siphash(store->seed, key);

    for (entry = *ngx_http_billing_store_bucket(&store->table, hash);
         entry;
         entry = next)
    {
        next = entry->next;

        if (entry->hash != hash
            || entry->key_len != key->len
            || ngx_memcmp(entry->key, key->data, key->len) != 0)
        {
            continue;
        }

        n += (entry->ready && !ngx_http_billing_store_is_over(store, entry));

        ngx_http_billing_store_detach(store, entry);
    }

    store->stat.drops += n;

    return n;
}


void
ngx_http_billing_store_renew(ngx_http_billing_store_t *store, ngx_uint_t n,
    ngx_uint_t keep)
{
    ngx_http_billing_store_source_t  *source;

    source = &store->sources[n];

    if (!keep) {
        source->kept = 0;

    } else if (source->kept == 0) {
        source->kept = source->current;
    }

    source->current = ++store->generations * NGX_HTTP_BILLING_STORE_SOURCES + n;
}


void
ngx_http_billing_store_forget(ngx_http_billing_store_t *store,
    ngx_uint_t source)
{
    store->sources[source].kept = 0;
}


/* the oldest entries are of the oldest generations */

ngx_uint_t
ngx_http_billing_store_tidy(ngx_http_billing_store_t *store, ngx_uint_t n)
{
    ngx_queue_t               *q;
    ngx_http_billing_entry_t  *entry;

    while (!ngx_queue_empty(&store->queue)) {
        q = ngx_queue_last(&store->queue);
        entry = ngx_queue_data(q, ngx_http_billing_entry_t, queue);

        if (!ngx_http_billing_store_is_over(store, entry)) {
            return 0;
        }

        if (n-- == 0) {
            return 1;
        }

        ngx_http_billing_store_detach(store, entry);
    }

    return 0;
}


static ngx_uint_t
ngx_http_billing_store_is_over(ngx_http_billing_store_t *store,
    ngx_http_billing_entry_t *entry)
{
    ngx_http_billing_store_source_t  *source;

    source = ngx_http_billing_store_source(store, entry->generation);

    return entry->generation != source->current
           && entry->generation != source->kept;
}


/* returns a new entry, which is not ready */

static ngx_http_billing_entry_t *
ngx_http_billing_store_insert(ngx_http_billing_store_t *store, uint64_t hash,
    ngx_uint_t kind, uint64_t generation, ngx_str_t *key, size_t len)
{
    size_t                     size, heap, room;
    ngx_http_billing_entry_t  *entry;

    room = (store->stat.bytes < store->size) ? store->size - store->stat.bytes
                                             : 0;

    store->stat.bytes += ngx_http_billing_store_table_grow(&store->table,
                                        store->stat.entries, room, store->log);

    size = ngx_http_billing_store_entry_size(key->len, len);
    heap = ngx_http_billing_store_heap(size);

    if (ngx_http_billing_store_room(store, heap) != NGX_OK) {
        return NULL;
    }

    entry = ngx_alloc(size, store->log);
    if (entry == NULL) {
        return NULL;
    }

    ngx_memzero(entry, offsetof(ngx_http_billing_entry_t, key));
    ngx_memcpy(entry->key, key->data, key->len);

    entry->hash = hash;
    entry->generation = generation;
    entry->len = (uint32_t) len;
    entry->key_len = (uint16_t) key->len;
    entry->kind = (uint8_t) kind;

    ngx_http_billing_store_table_add(&store->table, entry);

    ngx_queue_insert_head(&store->queue, &entry->queue);

    store->stat.bytes += heap;
    store->stat.entries++;

    return entry;
}


/* takes an entry out of table and queue; frees one without references */

static void
ngx_http_billing_store_detach(ngx_http_billing_store_t *store,
    ngx_http_billing_entry_t *entry)
{
    size_t  size;

    ngx_http_billing_store_table_remove(&store->table, entry);

    if (store->hand == &entry->queue) {
        store->hand = ngx_queue_prev(&entry->queue);
    }

    ngx_queue_remove(&entry->queue);

    store->stat.entries--;

    size = ngx_http_billing_store_heap(
                           ngx_http_billing_store_entry_size(entry->key_len,
                                                             entry->len));

    if (entry->refs) {
        entry->dropped = 1;
        store->stat.dropped_bytes += size;
        return;
    }

    store->stat.bytes -= size;

    ngx_free(entry);
}


/*
 * Evicts until there is room.  The hand goes from old entries to new ones and
 * passes over those in use, but not for long.
 */

static ngx_int_t
ngx_http_billing_store_room(ngx_http_billing_store_t *store, size_t need)
{
    ngx_queue_t               *q;
    ngx_uint_t                 steps, half;
    ngx_http_billing_entry_t  *entry;

    if (need > store->size) {
        return NGX_DECLINED;
    }

    steps = NGX_HTTP_BILLING_STORE_STEPS + need / 32;
    half = steps / 2;

    while (store->stat.bytes > store->size - need) {

        if (steps-- == 0 || ngx_queue_empty(&store->queue)) {
            return NGX_DECLINED;
        }

        q = store->hand;

        if (q == ngx_queue_sentinel(&store->queue)) {
            q = ngx_queue_last(&store->queue);
        }

        store->hand = ngx_queue_prev(q);

        entry = ngx_queue_data(q, ngx_http_billing_entry_t, queue);

        if (ngx_http_billing_store_is_over(store, entry)) {
            ngx_http_billing_store_detach(store, entry);
            continue;
        }

        if (entry->refs) {
            continue;
        }

        if (entry->used && steps > half) {
            entry->used = 0;
            continue;
        }

        ngx_http_billing_store_detach(store, entry);
        store->stat.evictions++;
    }

    return NGX_OK;
}
