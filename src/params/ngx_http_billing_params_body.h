
/*
 * Parameters in a request's JSON body.
 */


#ifndef _NGX_HTTP_BILLING_PARAMS_BODY_H_INCLUDED_
#define _NGX_HTTP_BILLING_PARAMS_BODY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_billing_params_value.h"


/*
 * Reads the body, if there is one, into values, whose pool and max are set.
 * Returns NGX_OK; NGX_DECLINED with the error, in the request's pool, if the
 * body is not JSON; NGX_ERROR if there is no memory or the temporary file
 * cannot be read.  *ignored is set if there is a body, but its Content-Type is
 * not JSON.
 */
ngx_int_t ngx_http_billing_params_body(ngx_http_request_t *r,
    ngx_http_billing_values_t *values, ngx_str_t *error, ngx_uint_t *ignored);


#endif /* _NGX_HTTP_BILLING_PARAMS_BODY_H_INCLUDED_ */
