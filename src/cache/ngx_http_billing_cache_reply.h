
/*
 * Redis' replies, held against the cache contract and read into the lookups
 * that asked for them.  Private to the cache files.
 */


#ifndef _NGX_HTTP_BILLING_CACHE_REPLY_H_INCLUDED_
#define _NGX_HTTP_BILLING_CACHE_REPLY_H_INCLUDED_


#include "ngx_http_billing_cache.h"


/*
 * These return NGX_OK, or NGX_ERROR with lookup->error, or without it for want
 * of memory.
 */

ngx_int_t ngx_http_billing_cache_read_token(
    ngx_http_billing_cache_t *cache, ngx_http_billing_lookup_t *lookup,
    ngx_http_billing_redis_reply_t *reply);
ngx_int_t ngx_http_billing_cache_read_external(
    ngx_http_billing_cache_t *cache, ngx_http_billing_lookup_t *lookup,
    ngx_http_billing_redis_reply_t *reply);
ngx_int_t ngx_http_billing_cache_read_member(
    ngx_http_billing_cache_t *cache, ngx_http_billing_lookup_t *lookup,
    ngx_http_billing_redis_reply_t *reply);
ngx_int_t ngx_http_billing_cache_read_login(
    ngx_http_billing_cache_t *cache, ngx_http_billing_lookup_t *lookup,
    ngx_http_billing_redis_reply_t *reply);
ngx_int_t ngx_http_billing_cache_read_synced_at(
    ngx_http_billing_cache_t *cache, ngx_http_billing_lookup_t *lookup,
    ngx_http_billing_redis_reply_t *reply);

/* the fields of a camera; if none is there, lookup->unsure is set */
ngx_int_t ngx_http_billing_cache_read_camera(
    ngx_http_billing_cache_t *cache, ngx_http_billing_lookup_t *lookup,
    ngx_http_billing_redis_reply_t *reply);

/* all of a camera's hash */
ngx_int_t ngx_http_billing_cache_read_hash(
    ngx_http_billing_cache_t *cache, ngx_http_billing_lookup_t *lookup,
    ngx_http_billing_redis_reply_t *reply);

/*
 * Copies the text of a reply, which is gone soon, to the pool; for want of
 * memory dst stays as it is.
 */
ngx_int_t ngx_http_billing_cache_copy(ngx_pool_t *pool, ngx_str_t *dst,
    ngx_str_t *text);


#endif /* _NGX_HTTP_BILLING_CACHE_REPLY_H_INCLUDED_ */
