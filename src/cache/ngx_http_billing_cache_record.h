
/*
 * The records of the worker's store.  A record is made of a lookup's result,
 * and gives this result to later lookups.  Private to the cache files.
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
 * Takes the lookup's result from the record; the text of a camera points into
 * the record.  Returns 0 if the record does not have the result.
 */
ngx_uint_t ngx_http_billing_cache_read_record(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup, ngx_http_billing_entry_t *entry);

/*
 * Makes a record of the result of the n-th lookup that Redis was asked for.
 * Sets data to the record's bytes, and the deadline to the time at which the
 * record ends, or 0.  Returns NGX_DECLINED if such a result makes no record.
 */
ngx_int_t ngx_http_billing_cache_record(ngx_http_billing_cache_t *cache,
    ngx_uint_t n, ngx_str_t *data, int64_t *deadline);


#endif /* _NGX_HTTP_BILLING_CACHE_RECORD_H_INCLUDED_ */
