
/*
 * Reads JSON: by yajl's parser, and by checks for faults that RFC 8259 forbids
 * but yajl accepts.
 */


#ifndef _NGX_HTTP_BILLING_JSON_PARSE_H_INCLUDED_
#define _NGX_HTTP_BILLING_JSON_PARSE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <yajl/yajl_parse.h>


typedef struct {
    /* the parser's text without a full stop; empty if a callback cancelled */
    ngx_str_t   reason;

    /* bytes before the wrong token */
    size_t      offset;
} ngx_http_billing_json_error_t;


/*
 * Parses a whole document in time and memory linear in its length; yajl calls
 * the callbacks with data.  Returns NGX_OK; NGX_DECLINED with an error, whose
 * reason is the pool's, if the text is no JSON; NGX_ABORT with the offset if a
 * callback has cancelled; NGX_ERROR for want of memory.
 *
 * UTF-8 is not checked: the callbacks have to check their strings.
 */
ngx_int_t ngx_http_billing_json_parse(ngx_pool_t *pool, ngx_str_t *text,
    const yajl_callbacks *callbacks, void *data,
    ngx_http_billing_json_error_t *error);


#endif /* _NGX_HTTP_BILLING_JSON_PARSE_H_INCLUDED_ */
