
/*
 * The cache contract: the keys that the loader writes to Redis, and the lookups
 * that read them.  A table in ngx_http_billing_cache_reply.c has the kinds of
 * keys, and a table in ngx_http_billing_camera.c the fields of a camera.
 */


#ifndef _NGX_HTTP_BILLING_CACHE_H_INCLUDED_
#define _NGX_HTTP_BILLING_CACHE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_billing_camera.h"
#include "ngx_http_billing_coherence.h"
#include "ngx_http_billing_contract.h"
#include "ngx_http_billing_redis.h"


/* bytes of a token's SHA-256; the token's key has them in hexadecimal */

#define NGX_HTTP_BILLING_TOKEN_HASH  32


typedef enum {
    /* whether a token is valid, by its SHA-256 */
    NGX_HTTP_BILLING_KIND_TOKEN = 0,

    /* the camera that has an external id */
    NGX_HTTP_BILLING_KIND_EXTERNAL,

    /* a camera, by its id */
    NGX_HTTP_BILLING_KIND_CAMERA,

    /* some of a login's cameras, in the order of their ids */
    NGX_HTTP_BILLING_KIND_LOGIN,

    /* whether a login has a camera */
    NGX_HTTP_BILLING_KIND_MEMBER,

    /* when the loader last finished */
    NGX_HTTP_BILLING_KIND_SYNCED_AT,

    /* for how long a token is valid; asked for together with the token */
    NGX_HTTP_BILLING_KIND_TTL,

    /* a key that does not exist: whether a node of a cluster has its slot */
    NGX_HTTP_BILLING_KIND_SLOT,

    NGX_HTTP_BILLING_KINDS
} ngx_http_billing_lookup_kind_e;


typedef enum {
    /* the key does not exist, or the login lacks the member */
    NGX_HTTP_BILLING_LOOKUP_MISSING = 0,

    NGX_HTTP_BILLING_LOOKUP_FOUND,

    /* a hash has none of the fields asked for, or does not exist */
    NGX_HTTP_BILLING_LOOKUP_AMBIGUOUS,

    /* the reply breaks the contract */
    NGX_HTTP_BILLING_LOOKUP_INVALID,

    /* the camera was dropped: the limit of bytes had been reached */
    NGX_HTTP_BILLING_LOOKUP_DEFERRED
} ngx_http_billing_lookup_result_e;


typedef struct {
    ngx_http_billing_lookup_kind_e      kind;
    ngx_http_billing_lookup_result_e    result;
    ngx_str_t                           key;

    /*
     * camera, member: the camera's id; login: the id after which the cameras
     * begin; external, when found: the camera's id; ttl, when found: the
     * token's time to live in milliseconds, or -1 if the token does not expire
     */
    int64_t                             id;

    /* login; member that ends a page: the page's number, from 0 */
    ngx_uint_t                          page;

    /* token, when found: the client's name; camera, when found: its JSON */
    ngx_str_t                           text;

    /* login: int64_t, the ids of the cameras found, up to ids->nalloc */
    ngx_array_t                        *ids;

    /* synced_at, when found: seconds since 1970 */
    time_t                              synced_at;

    /* invalid: why, and the text of Redis if the reply is an error */
    const char                         *error;
    ngx_str_t                           reason;

    /*
     * private: the source that has the key; when the command was sent, by the
     * clock of the coherence, and over which connection, or 0; the place of the
     * record that is being read, or NULL
     */
    ngx_uint_t                          source;
    int64_t                             sent;
    ngx_uint_t                          connection;
    ngx_http_billing_entry_t           *place;

    /* the result comes from the worker's store */
    unsigned                            stored:1;

    /* member: the last one of a page */
    unsigned                            ends_page:1;
} ngx_http_billing_lookup_t;


/* how lookups use the worker's store */

typedef enum {
    /* Redis is asked for all lookups, and no answer is kept */
    NGX_HTTP_BILLING_STORE_PASS = 0,

    /* Redis is asked for what the store lacks, and no answer is kept */
    NGX_HTTP_BILLING_STORE_READ,

    /* Redis is asked for what the store lacks, and its answers are kept */
    NGX_HTTP_BILLING_STORE_KEEP
} ngx_http_billing_store_use_e;


/* the contract of one set of servers; as long-lived as the configuration */

typedef struct {
    ngx_http_billing_redis_t           *redis;

    /* the commands of the kinds, and the one for an ambiguous camera */
    ngx_http_billing_redis_command_t    commands[NGX_HTTP_BILLING_KINDS];
    ngx_http_billing_redis_command_t    hgetall;

    ngx_http_billing_camera_t           camera;

    /* whether the data keep the contract, as this worker has seen it */
    ngx_http_billing_contract_t         contract;

    /* the worker's store, and whether its records are true */
    ngx_http_billing_coherence_t        coherence;
} ngx_http_billing_cache_set_t;


typedef struct {
    ngx_http_billing_cache_set_t       *set;
    ngx_str_t                           prefix;
    ngx_pool_t                         *pool;
    ngx_log_t                          *log;

    /*
     * limit: how many bytes of cameras' JSON to keep, for the caller to set
     * after ngx_http_billing_cache_init(); 0 is no limit, and the last camera
     * may exceed it.  size: the bytes kept so far.
     */
    size_t                              limit;
    size_t                              size;

    /* for the caller to set: called once when the lookups have results */
    ngx_http_billing_redis_done_pt      done;
    void                               *data;

    /* for the caller to set: the lookups fail at once if the queue is long */
    ngx_uint_t                          optional;

    /* for the caller to set before lookups are added */
    ngx_http_billing_store_use_e        use;

    /*
     * when done: the name of the server that has answered, or NULL; and the
     * serial number of its connection, or 0 if there was none or several.  A
     * record of the store counts as answered on the connection that keeps the
     * store true.  In a cluster, the number is that of the map of slots.
     */
    ngx_str_t                          *server;
    ngx_uint_t                          connection;

    /* how many lookups were found in the store */
    ngx_uint_t                          hits;

    /*
     * private: all lookups, and room for more; those that were asked for, by
     * the number of their command; and cameras' JSON
     */
    ngx_array_t                         lookups;
    ngx_http_billing_lookup_t          *room;
    ngx_uint_t                          nroom;
    ngx_array_t                         asked;
    ngx_http_billing_redis_pipeline_t   pipeline;
    ngx_http_billing_json_room_t        json;
    ngx_msec_t                          timeout;
    ngx_msec_t                          deadline;

    /* a lookup was not found in the store, or the store could not be used */
    unsigned                            missed:1;

    /* stale records were used, as no server answers */
    unsigned                            stale:1;

    /* for the caller to set: hits do not count as use, as in a long list */
    unsigned                            once:1;

    /* several connections have answered */
    unsigned                            several:1;

    /* the pipeline also asks for the server's role */
    unsigned                            asks_role:1;
} ngx_http_billing_cache_t;


#define ngx_http_billing_lookup_found(lookup)                                 \
    ((lookup)->result == NGX_HTTP_BILLING_LOOKUP_FOUND)


/*
 * Finds the servers' element in sets, an array of pointers, or adds one.  At
 * configuration; returns NULL if there is no memory.
 */
ngx_http_billing_cache_set_t *ngx_http_billing_cache_set(ngx_conf_t *cf,
    ngx_array_t *sets, ngx_http_billing_redis_t *redis);

/*
 * Makes the prefix's synced_at a required key: a server without the key is
 * passed over, as its data is not loaded.  At configuration.
 */
ngx_int_t ngx_http_billing_cache_require(ngx_conf_t *cf,
    ngx_http_billing_cache_set_t *set, ngx_str_t *prefix);

/*
 * Has the set's records kept in a store of size bytes for each worker.
 * At configuration, after ngx_http_billing_cache_require() for all prefixes;
 * the times are in milliseconds.  A set that has other values already is a
 * mistake, which is logged.
 */
ngx_int_t ngx_http_billing_cache_keep(ngx_conf_t *cf,
    ngx_http_billing_cache_set_t *set, ngx_str_t *prefix, size_t size,
    ngx_msec_t lag, ngx_msec_t stale);

/*
 * Begins to gather lookups, about n of them.  The lookups, and all data that
 * they point to, are allocated from the pool.
 */
ngx_int_t ngx_http_billing_cache_init(ngx_http_billing_cache_t *cache,
    ngx_http_billing_cache_set_t *set, ngx_pool_t *pool, ngx_str_t *prefix,
    ngx_uint_t n);

/*
 * These add a lookup.  It has its result when cache->done is called, and is
 * valid until the next ngx_http_billing_cache_init().  They return NULL if
 * there is no memory.
 */

ngx_http_billing_lookup_t *ngx_http_billing_cache_token(
    ngx_http_billing_cache_t *cache, u_char *hash);
ngx_http_billing_lookup_t *ngx_http_billing_cache_external(
    ngx_http_billing_cache_t *cache, ngx_str_t *external_id);
ngx_http_billing_lookup_t *ngx_http_billing_cache_camera(
    ngx_http_billing_cache_t *cache, int64_t id);
ngx_http_billing_lookup_t *ngx_http_billing_cache_member(
    ngx_http_billing_cache_t *cache, ngx_str_t *login, int64_t id);

/* the member that ends a page, whose score the next page begins after */
ngx_http_billing_lookup_t *ngx_http_billing_cache_last_member(
    ngx_http_billing_cache_t *cache, ngx_str_t *login, int64_t id,
    ngx_uint_t page);
ngx_http_billing_lookup_t *ngx_http_billing_cache_synced_at(
    ngx_http_billing_cache_t *cache);

/* a key with the number in braces, which fixes the key's slot in a cluster */
ngx_http_billing_lookup_t *ngx_http_billing_cache_slot(
    ngx_http_billing_cache_t *cache, ngx_uint_t tag);

/*
 * The page that begins after an id, of ids->nalloc cameras at most.  All pages
 * of a login have the same ids->nalloc.
 */
ngx_http_billing_lookup_t *ngx_http_billing_cache_login(
    ngx_http_billing_cache_t *cache, ngx_str_t *login, int64_t after,
    ngx_uint_t page, ngx_array_t *ids);

/*
 * Looks for all lookups in the worker's store.  Returns NGX_OK if all have
 * their results, as with cache->done; the JSON of cameras is valid until
 * another function of this file is called, or the request waits.  Returns
 * NGX_AGAIN if ngx_http_billing_cache_ask() is to be called.
 */
ngx_int_t ngx_http_billing_cache_find(ngx_http_billing_cache_t *cache,
    ngx_log_t *log);

/*
 * Asks Redis for all lookups, but for those that were found by
 * ngx_http_billing_cache_find().  Calls cache->done when all have results, or
 * at the deadline, a value of ngx_current_msec; timeout is in milliseconds.  A
 * reply that breaks the contract makes the result of the round
 * NGX_HTTP_BILLING_REDIS_BROKEN, and is logged as ngx_http_billing_contract.h
 * says.  Returns NGX_ERROR, and cache->done is not called, if there is no
 * memory.
 */
ngx_int_t ngx_http_billing_cache_ask(ngx_http_billing_cache_t *cache,
    ngx_msec_t timeout, ngx_msec_t deadline, ngx_log_t *log);

/*
 * The server that has answered lacks synced_at, which is the lookup: the server
 * is passed over.  Returns NGX_OK if another server may be asked.  If there is
 * none, logs this as a fault of the contract and returns NGX_DECLINED.
 */
ngx_int_t ngx_http_billing_cache_unloaded(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup);

/* Cancels the lookups under way, if any: cache->done is not called. */
void ngx_http_billing_cache_cancel(ngx_http_billing_cache_t *cache);


#endif /* _NGX_HTTP_BILLING_CACHE_H_INCLUDED_ */
