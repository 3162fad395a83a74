
/*
 * The parameters of a request: read from its body and its query string, and
 * judged as a Laravel application judges them.
 */


#ifndef _NGX_HTTP_BILLING_PARAMS_H_INCLUDED_
#define _NGX_HTTP_BILLING_PARAMS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


typedef struct {
    /* cameras_ids: int64_t, without ids below 1, which no camera has */
    ngx_array_t           ids;

    /* cameras_uuid: ngx_str_t */
    ngx_array_t           uuids;

    ngx_str_t             login;

    /* the parameters that were sent */
    unsigned              has_ids:1;
    unsigned              has_uuids:1;
    unsigned              has_login:1;

    /*
     * ngx_http_billing_error_t in the order in which they are shown; errors of
     * one key follow each other and share the key's data
     */
    ngx_array_t           errors;
} ngx_http_billing_params_t;


typedef struct {
    ngx_str_t             key;
    ngx_str_t             message;
} ngx_http_billing_error_t;


/*
 * Reads and judges the parameters of a request whose body nginx has read.
 * max_ids is the limit of members of each array (billing_max_ids).  Parameters
 * and errors are in the request's pool.  Returns NGX_OK; NGX_DECLINED with
 * errors; or NGX_ERROR if there is no memory or the body's temporary file
 * cannot be read.
 */
ngx_int_t ngx_http_billing_params(ngx_http_request_t *r,
    ngx_http_billing_params_t *params, ngx_uint_t max_ids);


#endif /* _NGX_HTTP_BILLING_PARAMS_H_INCLUDED_ */
