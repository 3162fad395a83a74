
/*
 * Memory for yajl.  yajl does not check its allocations.  So as much memory as
 * yajl can ask for is reserved before yajl is called: no allocation can fail.
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
 * Reserves size bytes in the pool, and sets alloc->funcs for yajl.  The
 * structure must not move while yajl uses it.  Returns NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_http_billing_json_alloc_init(ngx_http_billing_json_alloc_t *alloc,
    ngx_pool_t *pool, size_t size);

/* Frees the memory, and with it everything that yajl allocated. */
void ngx_http_billing_json_alloc_done(ngx_http_billing_json_alloc_t *alloc);


#endif /* _NGX_HTTP_BILLING_JSON_ALLOC_H_INCLUDED_ */
