
/*
 * The records of the worker's store: of which kind is that of a lookup, how a
 * record becomes a result, and a result a record.  Private to the cache files.
 */


#ifndef _NGX_HTTP_BILLING_CACHE_RECORD_H_INCLUDED_
#define _NGX_HTTP_BILLING_CACHE_RECORD_H_INCLUDED_


#include "ngx_http_billing_cache.h"


/* no kind: a lookup's result makes no record */

#define NGX_HTTP_BILLING_NO_RECORD  256


/* Returns the kind of the record that has the lookup's result. */
ngx_uint_t ngx_http_billing_cache_record_kind(
    ngx_http_billing_lookup_t *lookup);

/*
 * Sets the lookup's result to that of the record, whose bytes a camera's text
 * points to.  Returns 0 if the record does not have the result.
 */
ngx_uint_t ngx_http_billing_cache_read_record(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup, ngx_http_billing_entry_t *entry);

/*
 * Sets data to the record that the result of the n-th lookup asked for makes,
 * and the deadline to that of the record, or 0.  Returns NGX_DECLINED if there
 * is none.
 */
ngx_int_t ngx_http_billing_cache_record(ngx_http_billing_cache_t *cache,
    ngx_uint_t n, ngx_str_t *data, int64_t *deadline);


#endif /* _NGX_HTTP_BILLING_CACHE_RECORD_H_INCLUDED_ */
