
/*
 * hiredis' asynchronous context on nginx' events: an nginx connection borrows
 * the descriptor that hiredis owns, watches it, and is given back before
 * hiredis closes it.  Hiredis connects and writes; replies are read here.
 */


#ifndef _NGX_HTTP_BILLING_REDIS_EVENT_H_INCLUDED_
#define _NGX_HTTP_BILLING_REDIS_EVENT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <hiredis/hiredis.h>
#include <hiredis/async.h>

#include "ngx_http_billing_redis_reply.h"


typedef struct ngx_http_billing_redis_event_s  ngx_http_billing_redis_event_t;


typedef void (*ngx_http_billing_redis_event_pt)(
    ngx_http_billing_redis_event_t *event);


struct ngx_http_billing_redis_event_s {
    /* NULL from the moment that hiredis begins to free it */
    redisAsyncContext                *context;

    /* idle, by event->reply, while no reply is to come */
    ngx_connection_t                 *connection;

    ngx_http_billing_redis_reader_t   reader;

    /* called for each of the reader's replies; it may close the connection */
    ngx_http_billing_redis_event_pt   reply;

    /* called once when the context goes, still valid, for whatever reason */
    ngx_http_billing_redis_event_pt   closed;
    void                             *data;

    /* why it is given up; NULL if hiredis does so, or OpenSSL has failed */
    const char                       *reason;

    /* the system's words for it */
    u_char                            text[64];

#if (NGX_HTTP_BILLING_REDIS_SSL)
    /* hiredis' to free, with the context */
    SSL                              *ssl;
#endif

    unsigned                          writing:1;

    /* what came could not be read */
    unsigned                          unreadable:1;
};


/*
 * Watches a context that has just begun to connect.  event->reply,
 * event->closed and event->data are the caller's to set before.  On NGX_ERROR
 * nothing is attached and the context is the caller's to free.
 */
ngx_int_t ngx_http_billing_redis_event_attach(
    ngx_http_billing_redis_event_t *event, redisAsyncContext *ac,
    ngx_log_t *log);

/*
 * Sends commands, as they go over the wire, together with others of this round
 * of the event loop.  NGX_ERROR is for want of memory.
 */
ngx_int_t ngx_http_billing_redis_event_send(
    ngx_http_billing_redis_event_t *event, u_char *commands, size_t len);

/* Sends one command in the same way. */
ngx_int_t ngx_http_billing_redis_event_command(
    ngx_http_billing_redis_event_t *event, ngx_uint_t argc,
    const char **argv, const size_t *len);

/* Frees the context and tells event->closed why. */
void ngx_http_billing_redis_event_close(ngx_http_billing_redis_event_t *event,
    const char *reason);


#endif /* _NGX_HTTP_BILLING_REDIS_EVENT_H_INCLUDED_ */
