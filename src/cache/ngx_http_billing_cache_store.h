
/*
 * Lookups and the worker's store: which record answers a lookup, and which
 * record is made of an answer.  Private to the cache files.
 */


#ifndef _NGX_HTTP_BILLING_CACHE_STORE_H_INCLUDED_
#define _NGX_HTTP_BILLING_CACHE_STORE_H_INCLUDED_


#include "ngx_http_billing_cache.h"


/*
 * Records of the store count as answered on one connection.  Returns the number
 * of this connection: the owner's or, in a cluster, that of the map of slots.
 */
ngx_uint_t ngx_http_billing_cache_state(ngx_http_billing_cache_t *cache);

/*
 * The commands of n lookups, from the first one on, are going to be sent over a
 * connection.  Holds places for the records that may be made of the answers,
 * and releases those of an earlier try.
 */
void ngx_http_billing_cache_sending(void *data, ngx_uint_t connection,
    ngx_uint_t first, ngx_uint_t n);

/*
 * The pipeline was answered, with this result.  Makes records of the answers if
 * all of them are right.  Releases all places.
 */
void ngx_http_billing_cache_store(ngx_http_billing_cache_t *cache,
    ngx_http_billing_redis_result_e result);

/*
 * The pipeline was not answered.  Releases all places.  Returns NGX_OK if all
 * lookups were found among the stale records, or NGX_DECLINED.
 */
ngx_int_t ngx_http_billing_cache_unanswered(ngx_http_billing_cache_t *cache,
    ngx_http_billing_redis_result_e result);

/* Releases all places; nothing is kept. */
void ngx_http_billing_cache_release(ngx_http_billing_cache_t *cache);


#endif /* _NGX_HTTP_BILLING_CACHE_STORE_H_INCLUDED_ */
