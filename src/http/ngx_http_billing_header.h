
/*
 * Fields of an answer's header.
 */


#ifndef _NGX_HTTP_BILLING_HEADER_H_INCLUDED_
#define _NGX_HTTP_BILLING_HEADER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * Adds a field; the texts have to live as long as the request.  *header, unless
 * header is NULL, is set to the field.
 */
ngx_int_t ngx_http_billing_add_header(ngx_http_request_t *r,
    ngx_table_elt_t **header, ngx_str_t *key, ngx_str_t *value);

/*
 * Adds "Cache-Control: no-store" and keeps "expires" from adding another one.
 * The request's conditions (If-Modified-Since and the like) are ignored.
 */
ngx_int_t ngx_http_billing_no_store(ngx_http_request_t *r);


#endif /* _NGX_HTTP_BILLING_HEADER_H_INCLUDED_ */
