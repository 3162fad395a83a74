
/*
 * The parameters of a request: out of its body and its query string, and
 * checked, or the errors of a 422.
 */


#ifndef _NGX_HTTP_BILLING_PARAMS_H_INCLUDED_
#define _NGX_HTTP_BILLING_PARAMS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


typedef struct {
    /* cameras_ids: int64_t; ids below 1, which no camera has, are left out */
    ngx_array_t           ids;

    /* cameras_uuid: ngx_str_t */
    ngx_array_t           uuids;

    ngx_str_t             login;

    /* which of them were sent */
    unsigned              has_ids:1;
    unsigned              has_uuids:1;
    unsigned              has_login:1;

    /* ngx_http_billing_error_t, in the order in which they are shown */
    ngx_array_t           errors;
} ngx_http_billing_params_t;


typedef struct {
    ngx_str_t             key;
    ngx_str_t             message;
} ngx_http_billing_error_t;


/*
 * Reads the parameters of a request whose body was read.  All memory is the
 * request's.  Returns NGX_OK, NGX_DECLINED with errors, or NGX_ERROR for want
 * of memory or when the body's temporary file cannot be read.
 */
ngx_int_t ngx_http_billing_params(ngx_http_request_t *r,
    ngx_http_billing_params_t *params, ngx_uint_t max_ids);


#endif /* _NGX_HTTP_BILLING_PARAMS_H_INCLUDED_ */
