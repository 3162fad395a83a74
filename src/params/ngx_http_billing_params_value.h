
/*
 * What a caller sent for each parameter, as it was sent: the body and the
 * query string are read into these values, which are then checked in one
 * place.  Private to the params files.
 */


#ifndef _NGX_HTTP_BILLING_PARAMS_VALUE_H_INCLUDED_
#define _NGX_HTTP_BILLING_PARAMS_VALUE_H_INCLUDED_


#include "ngx_http_billing_params.h"


#define NGX_HTTP_BILLING_PARAM_IDS    0
#define NGX_HTTP_BILLING_PARAM_UUIDS  1
#define NGX_HTTP_BILLING_PARAM_LOGIN  2
#define NGX_HTTP_BILLING_PARAMS       3


typedef enum {
    NGX_HTTP_BILLING_VALUE_NONE = 0,
    NGX_HTTP_BILLING_VALUE_INTEGER,
    NGX_HTTP_BILLING_VALUE_STRING,
    NGX_HTTP_BILLING_VALUE_LIST,
    NGX_HTTP_BILLING_VALUE_OTHER
} ngx_http_billing_value_e;


typedef struct {
    ngx_http_billing_value_e   type;

    /* of a string, or an integer as it was written */
    ngx_str_t                  text;

    /* a member's, if it is not just its place in the list */
    ngx_str_t                  key;
} ngx_http_billing_scalar_t;


typedef struct {
    ngx_http_billing_scalar_t  scalar;

    /* of a list: the first members, and how many there are */
    ngx_array_t                members;
    ngx_uint_t                 count;
} ngx_http_billing_value_t;


/* Returns the parameter of this name, or NGX_HTTP_BILLING_PARAMS if none. */
ngx_uint_t ngx_http_billing_params_find(u_char *name, size_t len);

/* Makes the value an empty list. */
ngx_int_t ngx_http_billing_value_list(ngx_http_billing_value_t *value,
    ngx_pool_t *pool);

/* Appends to a list, which counts all members and keeps max of them. */
ngx_int_t ngx_http_billing_value_push(ngx_http_billing_value_t *value,
    ngx_http_billing_scalar_t *member, ngx_uint_t max);

/*
 * Reads the body, if there is one.  Returns NGX_OK, NGX_DECLINED with the
 * error that makes it unreadable, or NGX_ERROR.  *ignored is set if there is
 * a body that was not read because it is not declared to be JSON.
 */
ngx_int_t ngx_http_billing_params_body(ngx_http_request_t *r,
    ngx_http_billing_value_t *values, ngx_uint_t max, ngx_str_t *error,
    ngx_uint_t *ignored);

ngx_int_t ngx_http_billing_params_query(ngx_http_request_t *r,
    ngx_http_billing_value_t *values, ngx_uint_t max);


#endif /* _NGX_HTTP_BILLING_PARAMS_VALUE_H_INCLUDED_ */
