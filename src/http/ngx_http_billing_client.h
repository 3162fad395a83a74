
/*
 * Detects that a client has left while its request waits for Redis.
 */


#ifndef _NGX_HTTP_BILLING_CLIENT_H_INCLUDED_
#define _NGX_HTTP_BILLING_CLIENT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * Calls the handler when something comes from the client or the client is
 * gone, even if that has happened already.  Returns NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_http_billing_client_watch(ngx_http_request_t *r,
    ngx_http_event_handler_pt handler);

/*
 * Whether the client is gone.  If so, the caller first cancels its lookups and
 * then finalizes the request with NGX_HTTP_CLIENT_CLOSED_REQUEST: nginx runs
 * post_action before it runs the cleanups of a request.  If not, the caller
 * calls ngx_http_test_reading().
 */
ngx_uint_t ngx_http_billing_client_gone(ngx_http_request_t *r);


#endif /* _NGX_HTTP_BILLING_CLIENT_H_INCLUDED_ */
