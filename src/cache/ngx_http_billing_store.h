
/*
 * A store of records in bounded memory.  A record is bytes, found by kind and
 * key.  The store knows neither where records come from nor what they mean; its
 * caller says when a key has changed.
 *
 * Reads that race with changes.  Before the source is asked for a record, the
 * asker takes an entry by ngx_http_billing_store_hold().  When the whole answer
 * is there, ngx_http_billing_store_commit() makes a record of it, unless the
 * key was dropped, or the generation ended, after the entry was taken.  So no
 * record is older than the last change that the store was told of.
 *
 * Sources.  Records are read from sources, which have numbers.  Each source has
 * a generation of its own, with which all its records end at once.
 *
 * Memory.  Every byte counts against the size: records, keys, entries, the
 * table, what the heap adds.  Records are evicted by the SIEVE algorithm.  They
 * are in a queue, in the order of insertion.  A hit sets a mark of the record,
 * and changes nothing else.  Where room is needed, a hand moves through the
 * queue, from old records to new ones.  The hand clears the mark of a record
 * that has one, and evicts a record that has none.  So a long list that is read
 * once pushes out nothing that is in use.  Entries that are referenced stay,
 * and count, until they are released.  With nothing left to evict, nothing is
 * kept.
 *
 * All calls take constant time, or time in proportion to the bytes that they
 * are given.  Times are milliseconds of one monotonic clock, never 0.
 */


#ifndef _NGX_HTTP_BILLING_STORE_H_INCLUDED_
#define _NGX_HTTP_BILLING_STORE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* bytes of the secret that the hash of a key depends on */

#define NGX_HTTP_BILLING_STORE_SEED     16

/* sources have numbers below this one */

#ifndef NGX_HTTP_BILLING_STORE_SOURCES
#define NGX_HTTP_BILLING_STORE_SOURCES  2048
#endif

/* bytes of the longest key */

#define NGX_HTTP_BILLING_STORE_MAX_KEY  65535

/* for ngx_http_billing_store_find() */

/* a hit does not count as use: for long lists, read from end to end */
#define NGX_HTTP_BILLING_STORE_ONCE     1

/* records of a generation that was kept when it ended are found, too */
#define NGX_HTTP_BILLING_STORE_STALE    2


typedef struct ngx_http_billing_entry_s  ngx_http_billing_entry_t;


/* a record, or the place of one that is being read; only len is the caller's */

struct ngx_http_billing_entry_s {
    ngx_http_billing_entry_t   *next;
    uint64_t                    hash;
    ngx_queue_t                 queue;
    uint64_t                    generation;
    int64_t                     deadline;

    /* bytes of the record */
    uint32_t                    len;

    uint32_t                    refs;
    uint16_t                    key_len;
    uint8_t                     kind;

    /* a record and not the place of one */
    unsigned                    ready:1;

    /* found since the hand has passed: the mark */
    unsigned                    used:1;

    /* neither in the table nor in the queue: freed when released */
    unsigned                    dropped:1;

    /* the key, and the record at the next multiple of 8 */
    u_char                      key[1];
};


/* to be read by the caller, for its statistics */

typedef struct {
    /* bytes now, of which some are in entries that are only referenced */
    size_t                      bytes;
    size_t                      dropped_bytes;

    /* entries now, those of generations that ended included */
    ngx_uint_t                  entries;

    /* ever: found or not, dropped by key, evicted, refused for want of room */
    uint64_t                    hits;
    uint64_t                    misses;
    uint64_t                    drops;
    uint64_t                    evictions;
    uint64_t                    refusals;
} ngx_http_billing_store_stat_t;


typedef struct ngx_http_billing_store_s  ngx_http_billing_store_t;


/* one question of ngx_http_billing_store_find() */

typedef struct {
    ngx_str_t                   key;
    ngx_uint_t                  source;
    ngx_uint_t                  kind;

    /* out: the record, or NULL */
    ngx_http_billing_entry_t   *entry;

    /* the store's own */
    uint64_t                    hash;
} ngx_http_billing_store_query_t;


/* the bytes of a record, aligned to 8; there are entry->len */

static ngx_inline u_char *
ngx_http_billing_store_data(ngx_http_billing_entry_t *entry)
{
    return (u_char *) entry
           + ngx_align(offsetof(ngx_http_billing_entry_t, key)
                       + entry->key_len, 8);
}


/*
 * An empty store of at most size bytes, on the heap.  The seed should be
 * random and secret, as callers choose keys.  Returns NULL if there is no
 * memory.
 */
ngx_http_billing_store_t *ngx_http_billing_store_create(size_t size,
    u_char *seed, ngx_log_t *log);

/* Frees the store.  No entry may be referenced any more. */
void ngx_http_billing_store_destroy(ngx_http_billing_store_t *store);

ngx_http_billing_store_stat_t *ngx_http_billing_store_stat(
    ngx_http_billing_store_t *store);

/*
 * Looks for n records at once, so that the processor waits for its memory
 * once and not n times.  A record whose deadline is not after now is not found.
 * An entry is valid until the next call that changes the store (any but this
 * one and ngx_http_billing_store_stat()); for longer it has to be referenced.
 */
void ngx_http_billing_store_find(ngx_http_billing_store_t *store,
    ngx_http_billing_store_query_t *query, ngx_uint_t n, int64_t now,
    ngx_uint_t flags);

/*
 * A reference keeps the bytes of an entry where they are, whatever happens to
 * its key.  Each has to be given back by ngx_http_billing_store_release().
 */
void ngx_http_billing_store_ref(ngx_http_billing_entry_t *entry);

/* Gives a reference back; the entry may be gone then. */
void ngx_http_billing_store_release(ngx_http_billing_store_t *store,
    ngx_http_billing_entry_t *entry);

/*
 * Holds a place for a record that is going to be read.  The place is an entry
 * with a reference more, and several askers may share it.  A record that is
 * there already stays until the new one is committed.  Returns NULL if there is
 * no room, or the key is longer than NGX_HTTP_BILLING_STORE_MAX_KEY: then the
 * record cannot be kept.  kind is below 256.
 */
ngx_http_billing_entry_t *ngx_http_billing_store_hold(
    ngx_http_billing_store_t *store, ngx_uint_t source, ngx_uint_t kind,
    ngx_str_t *key);

/*
 * Makes a record of a copy of data, valid until the deadline, or for ever if
 * that is 0.  Gives the reference back in any case.  Returns NGX_OK; or
 * NGX_DECLINED, and nothing is kept: the key was dropped meanwhile, another
 * asker with the same place was faster, or there is no room (a record may take
 * an eighth of the size at most).
 */
ngx_int_t ngx_http_billing_store_commit(ngx_http_billing_store_t *store,
    ngx_http_billing_entry_t *entry, ngx_str_t *data, int64_t deadline);

/*
 * The key has changed: its records of all kinds and sources are dropped, and a
 * record of it that is being read will not be committed.  Returns how many
 * records were dropped.
 */
ngx_uint_t ngx_http_billing_store_drop(ngx_http_billing_store_t *store,
    ngx_str_t *key);

/*
 * Ends the source's generation: all its records are dropped, and a record that
 * is being read will not be committed.  With keep, NGX_HTTP_BILLING_STORE_STALE
 * still finds the records; a generation that is kept already is not replaced.
 * Takes constant time: memory is given back by and by.
 */
void ngx_http_billing_store_renew(ngx_http_billing_store_t *store,
    ngx_uint_t source, ngx_uint_t keep);

/* Drops the source's generation that was kept, if any, in the same way. */
void ngx_http_billing_store_forget(ngx_http_billing_store_t *store,
    ngx_uint_t source);

/*
 * Gives back at most n entries of generations that are over.  Returns whether
 * there are more of them.  Each commit does a little of this, too.
 */
ngx_uint_t ngx_http_billing_store_tidy(ngx_http_billing_store_t *store,
    ngx_uint_t n);


#endif /* _NGX_HTTP_BILLING_STORE_H_INCLUDED_ */
