
/*
 * Parameters in a request's query string, as PHP reads it.
 */


#ifndef _NGX_HTTP_BILLING_PARAMS_QUERY_H_INCLUDED_
#define _NGX_HTTP_BILLING_PARAMS_QUERY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_billing_params_value.h"


/*
 * Reads the query string into values, whose pool and max are set.  Returns
 * NGX_OK, or NGX_ERROR for want of memory.
 */
ngx_int_t ngx_http_billing_params_query(ngx_http_request_t *r,
    ngx_http_billing_values_t *values);


#endif /* _NGX_HTTP_BILLING_PARAMS_QUERY_H_INCLUDED_ */
