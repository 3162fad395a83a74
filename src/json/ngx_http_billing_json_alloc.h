
/*
 * Memory for yajl, which uses an allocation without looking whether it has
 * failed.  As much as yajl can ask for is reserved before yajl is called, so
 * that its allocations cannot fail.
 */


#ifndef _NGX_HTTP_BILLING_JSON_ALLOC_H_INCLUDED_
#define _NGX_HTTP_BILLING_JSON_ALLOC_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <yajl/yajl_common.h>


typedef struct {
    ngx_pool_t        *pool;
    u_char            *start;
    u_char            *last;
    u_char            *end;
    yajl_alloc_funcs   funcs;
} ngx_http_billing_json_alloc_t;


/*
 * Reserves size bytes in the pool; alloc->funcs are for yajl then.  The
 * structure must not move while yajl uses it.  Returns NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_http_billing_json_alloc_init(ngx_http_billing_json_alloc_t *alloc,
    ngx_pool_t *pool, size_t size);

/* Gives the memory back, and all that yajl has in it. */
void ngx_http_billing_json_alloc_done(ngx_http_billing_json_alloc_t *alloc);


#endif /* _NGX_HTTP_BILLING_JSON_ALLOC_H_INCLUDED_ */
