
/*
 * The cache contract: what the loader has written to Redis, the commands that
 * ask for it and the replies that hold it.
 */


#ifndef _NGX_HTTP_BILLING_CACHE_H_INCLUDED_
#define _NGX_HTTP_BILLING_CACHE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_billing_camera.h"
#include "ngx_http_billing_redis.h"


/* bytes of a token's SHA-256, which stands in its key */

#define NGX_HTTP_BILLING_TOKEN_HASH  32


typedef struct ngx_http_billing_cache_s   ngx_http_billing_cache_t;
typedef struct ngx_http_billing_lookup_s  ngx_http_billing_lookup_t;


typedef ngx_int_t (*ngx_http_billing_lookup_pt)(
    ngx_http_billing_cache_t *cache, ngx_http_billing_lookup_t *lookup,
    ngx_http_billing_redis_reply_t *reply);


struct ngx_http_billing_lookup_s {
    ngx_str_t                   key;
    ngx_http_billing_lookup_pt  read;

    /* why the reply breaks the contract, or NULL */
    const char                 *error;

    /* out: of a token, the client's name; of an error, Redis' words, if any */
    ngx_str_t                   text;

    /*
     * in: of a login's member, and where a login's members begin; out: of an
     * external id, and the time of synced_at
     */
    int64_t                     id;

    ngx_http_billing_camera_t   camera;

    /* whether the key, or the member in it, exists; and if that is unsure */
    unsigned                    found:1;
    unsigned                    unsure:1;
};


struct ngx_http_billing_cache_s {
    ngx_str_t                           prefix;
    ngx_pool_t                         *pool;
    ngx_log_t                          *log;
    ngx_array_t                         lookups;
    ngx_http_billing_redis_pipeline_t   pipeline;

    /* where the members of a login go to */
    ngx_array_t                        *ids;

    /* of what was asked; those lookups that were asked for again, or NULL */
    ngx_http_billing_redis_t           *redis;
    ngx_msec_t                          timeout;
    ngx_msec_t                          deadline;
    ngx_http_billing_lookup_t         **unsure;

    /* the caller's to set: called once, as it is for a pipeline */
    ngx_http_billing_redis_done_pt      done;
    void                               *data;
};


/*
 * Has servers without the prefix's synced_at passed over: their data is not
 * loaded.  At configuration.
 */
ngx_int_t ngx_http_billing_cache_require(ngx_conf_t *cf,
    ngx_http_billing_redis_t *redis, ngx_str_t *prefix);

/*
 * Begins to gather lookups, about n of them and that of a token; their memory
 * is the pool's.
 */
ngx_int_t ngx_http_billing_cache_init(ngx_http_billing_cache_t *cache,
    ngx_pool_t *pool, ngx_str_t *prefix, ngx_uint_t n);

/* These add a lookup: they stand in cache->lookups in the order of adding. */

ngx_int_t ngx_http_billing_cache_token(ngx_http_billing_cache_t *cache,
    u_char *hash);
ngx_int_t ngx_http_billing_cache_external(ngx_http_billing_cache_t *cache,
    ngx_str_t *external_id);
ngx_int_t ngx_http_billing_cache_camera(ngx_http_billing_cache_t *cache,
    int64_t id);

/* whether the login has the camera */
ngx_int_t ngx_http_billing_cache_member(ngx_http_billing_cache_t *cache,
    ngx_str_t *login, int64_t id);

/*
 * the first cameras of the login whose ids are greater than after: as many as
 * there is room for in ids, an array of int64_t; one such lookup at a time
 */
ngx_int_t ngx_http_billing_cache_login(ngx_http_billing_cache_t *cache,
    ngx_str_t *login, int64_t after, ngx_array_t *ids);

ngx_int_t ngx_http_billing_cache_synced_at(ngx_http_billing_cache_t *cache);

/*
 * Asks Redis, and calls cache->done when all lookups were answered, or at the
 * deadline, a value of ngx_current_msec; timeout is in milliseconds.  A reply
 * that breaks the contract makes that NGX_HTTP_BILLING_REDIS_BROKEN, and is
 * logged.
 */
void ngx_http_billing_cache_ask(ngx_http_billing_cache_t *cache,
    ngx_http_billing_redis_t *redis, ngx_msec_t timeout,
    ngx_msec_t deadline, ngx_log_t *log);

/* Forgets what was asked, if anything: cache->done is not called. */
void ngx_http_billing_cache_cancel(ngx_http_billing_cache_t *cache);


#endif /* _NGX_HTTP_BILLING_CACHE_H_INCLUDED_ */
