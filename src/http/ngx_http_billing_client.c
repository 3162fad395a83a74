
#include "ngx_http_billing_client.h"


static ngx_uint_t ngx_http_billing_client_closed(ngx_http_request_t *r,
    ngx_err_t *err);


ngx_int_t
ngx_http_billing_client_watch(ngx_http_request_t *r,
    ngx_http_event_handler_pt handler)
{
    ngx_event_t  *rev;

    /* nobody waits for the answer of a post_action */

    if (r->post_action) {
        return NGX_OK;
    }

    rev = r->connection->read;

    r->read_event_handler = handler;

    /*
     * With a deferred accept, or when the request and the end of the stream
     * came together, no other event tells that the client is gone.
     */

    if (rev->ready) {
        ngx_post_event(rev, &ngx_posted_events);
        return NGX_OK;
    }

    return ngx_handle_read_event(rev, 0);
}


ngx_uint_t
ngx_http_billing_client_gone(ngx_http_request_t *r)
{
    ngx_err_t          err;
    ngx_connection_t  *c;

    c = r->connection;
    err = 0;

    if (!ngx_http_billing_client_closed(r, &err)) {
        return 0;
    }

    c->read->eof = 1;
    c->error = 1;

    ngx_log_error(NGX_LOG_INFO, c->log, err,
                  "client prematurely closed connection");

    return 1;
}


static ngx_uint_t
ngx_http_billing_client_closed(ngx_http_request_t *r, ngx_err_t *err)
{
    u_char             byte;
    ssize_t            n;
    ngx_connection_t  *c;

    c = r->connection;

    if (c->error) {
        return 1;
    }

#if (NGX_HTTP_V2)

    /* HTTP/2: a stream has no socket of its own */

    if (r->stream) {
        return 0;
    }

#endif

#if (NGX_HTTP_V3)

    if (c->quic) {
        return c->read->error;
    }

#endif

    if (c->read->pending_eof) {
        return 1;
    }

    n = recv(c->fd, &byte, 1, MSG_PEEK);

    if (n > 0) {
        return 0;
    }

    if (n == -1) {
        *err = ngx_socket_errno;
        return (*err != NGX_EAGAIN && *err != NGX_EINTR);
    }

    return 1;
}
