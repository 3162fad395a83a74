
/*
 * hiredis' asynchronous context on nginx's events. Hiredis connects, writes and
 * owns the descriptor.  An nginx connection watches the descriptor, and is
 * freed before hiredis closes it.  Replies are read here, not by hiredis.
 */


#ifndef _NGX_HTTP_BILLING_REDIS_EVENT_H_INCLUDED_
#define _NGX_HTTP_BILLING_REDIS_EVENT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <hiredis/hiredis.h>
#include <hiredis/async.h>

#include "ngx_http_billing_redis_reply.h"


/* arguments of a command that is sent with its name, at most */

#define NGX_HTTP_BILLING_REDIS_ARGS  7


typedef struct ngx_http_billing_redis_event_s  ngx_http_billing_redis_event_t;


typedef void (*ngx_http_billing_redis_event_pt)(
    ngx_http_billing_redis_event_t *event);


struct ngx_http_billing_redis_event_s {
    /* NULL from the moment that hiredis begins to free the context */
    redisAsyncContext                *context;

    /* connection->idle is set by the user of the event while no reply is due */
    ngx_connection_t                 *connection;

    ngx_http_billing_redis_reader_t   reader;

    /* called once when hiredis has connected */
    ngx_http_billing_redis_event_pt   connected;

    /* called for each of the reader's replies; it may close the connection */
    ngx_http_billing_redis_event_pt   reply;

    /* called once when the context ends; the context is still valid */
    ngx_http_billing_redis_event_pt   closed;
    void                             *data;

    /* why the connection ends; NULL: hiredis or OpenSSL has the reason */
    const char                       *reason;

    /* the system's text for an error */
    u_char                            text[64];

#if (NGX_HTTP_BILLING_REDIS_SSL)
    /* freed by hiredis with the context */
    SSL                              *ssl;

    /* the name or address that the certificate has to have */
    ngx_str_t                        *ssl_name;
#endif

    unsigned                          writing:1;

    /* the server has sent anything besides TLS' own messages */
    unsigned                          received:1;

    /* the reader found an invalid reply, or had no memory for one */
    unsigned                          unreadable:1;
};


/*
 * Watches a context that has just begun to connect.  The caller has set the
 * event's handlers and data.  On NGX_ERROR nothing is attached, and the caller
 * frees the context.
 */
ngx_int_t ngx_http_billing_redis_event_attach(
    ngx_http_billing_redis_event_t *event, redisAsyncContext *ac,
    ngx_log_t *log);

/*
 * Sends encoded commands, which are copied, in one write with all others of
 * this turn of the event loop.  Returns NGX_ERROR if there is no memory.
 */
ngx_int_t ngx_http_billing_redis_event_send(
    ngx_http_billing_redis_event_t *event, u_char *commands, size_t len);

/*
 * Sends one command in the same way.  Its arguments are copied; there are at
 * most NGX_HTTP_BILLING_REDIS_ARGS.
 */
ngx_int_t ngx_http_billing_redis_event_command(
    ngx_http_billing_redis_event_t *event, ngx_uint_t argc, ngx_str_t *argv);

/* Frees the context, unless it is gone, and calls event->closed(). */
void ngx_http_billing_redis_event_close(ngx_http_billing_redis_event_t *event,
    const char *reason);


#endif /* _NGX_HTTP_BILLING_REDIS_EVENT_H_INCLUDED_ */
