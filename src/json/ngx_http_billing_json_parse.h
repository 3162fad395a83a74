
/*
 * JSON that is read: yajl's parser, and what RFC 8259 forbids but yajl lets
 * pass.
 */


#ifndef _NGX_HTTP_BILLING_JSON_PARSE_H_INCLUDED_
#define _NGX_HTTP_BILLING_JSON_PARSE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <yajl/yajl_parse.h>


typedef struct {
    /* in the parser's words, without a full stop; empty if cancelled */
    ngx_str_t   reason;

    /* bytes before the token that is wrong */
    size_t      offset;
} ngx_http_billing_json_error_t;


/*
 * Parses a whole document in time and memory linear in its length; yajl calls
 * the callbacks with data.  Returns NGX_OK; NGX_DECLINED with an error, whose
 * reason is the pool's, if the text is no JSON; NGX_ABORT with the offset if a
 * callback has cancelled; NGX_ERROR for want of memory.
 *
 * Strings may hold text that is not UTF-8: that is for the callbacks to check.
 */
ngx_int_t ngx_http_billing_json_parse(ngx_pool_t *pool, ngx_str_t *text,
    const yajl_callbacks *callbacks, void *data,
    ngx_http_billing_json_error_t *error);


#endif /* _NGX_HTTP_BILLING_JSON_PARSE_H_INCLUDED_ */
