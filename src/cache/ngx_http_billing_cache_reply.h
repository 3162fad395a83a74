
/*
 * The kinds of lookups: their keys, their commands, and readers of replies.
 * Private to the cache files.
 */


#ifndef _NGX_HTTP_BILLING_CACHE_REPLY_H_INCLUDED_
#define _NGX_HTTP_BILLING_CACHE_REPLY_H_INCLUDED_


#include "ngx_http_billing_cache.h"
#include "ngx_http_billing_camera.h"


/*
 * Reads a reply that is no error.  Sets lookup->result; if the result is
 * NGX_HTTP_BILLING_LOOKUP_INVALID, also lookup->error.
 */
typedef void (*ngx_http_billing_cache_read_pt)(
    ngx_http_billing_cache_t *cache, ngx_http_billing_lookup_t *lookup,
    ngx_http_billing_redis_reply_t *reply);


typedef struct {
    /* the part of the key after the prefix */
    ngx_str_t                        name;

    /* the command; arguments without data are variable ones, first the key */
    ngx_str_t                       *args;
    ngx_uint_t                       nargs;

    ngx_http_billing_cache_read_pt   read;
} ngx_http_billing_cache_kind_t;


/* The kinds, by ngx_http_billing_lookup_kind_e. */
extern const ngx_http_billing_cache_kind_t
    ngx_http_billing_cache_kinds[NGX_HTTP_BILLING_KINDS];


/* Prepares the commands of all kinds. */
ngx_int_t ngx_http_billing_cache_prepare(ngx_http_billing_cache_set_t *set,
    ngx_pool_t *pool);

/* Reads the reply to the command of an ambiguous lookup. */
void ngx_http_billing_cache_read_hash(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup, ngx_http_billing_redis_reply_t *reply);

/*
 * Copies the text of a reply, which is valid for a moment only, to the pool.
 * If there is no memory, dst is not changed.
 */
ngx_int_t ngx_http_billing_cache_copy(ngx_pool_t *pool, ngx_str_t *dst,
    ngx_str_t *text);

/* Makes the result of a lookup invalid. */
void ngx_http_billing_cache_invalid(ngx_http_billing_lookup_t *lookup,
    const char *error);


#endif /* _NGX_HTTP_BILLING_CACHE_REPLY_H_INCLUDED_ */
