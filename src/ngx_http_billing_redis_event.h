
/*
 * hiredis' asynchronous context on nginx' events: an nginx connection borrows
 * the descriptor that hiredis owns, watches it, and is given back before
 * hiredis closes it.  What a peer may send is bounded here.
 */


#ifndef _NGX_HTTP_BILLING_REDIS_EVENT_H_INCLUDED_
#define _NGX_HTTP_BILLING_REDIS_EVENT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <hiredis/hiredis.h>
#include <hiredis/async.h>


/* bounds of one reply: the text in it, in bytes, and its array elements */

#define NGX_HTTP_BILLING_REDIS_MAX_REPLY     1048576
#define NGX_HTTP_BILLING_REDIS_MAX_ELEMENTS  4096


typedef struct ngx_http_billing_redis_event_s  ngx_http_billing_redis_event_t;


typedef void (*ngx_http_billing_redis_event_pt)(
    ngx_http_billing_redis_event_t *event);


struct ngx_http_billing_redis_event_s {
    /* NULL from the moment that hiredis begins to free it */
    redisAsyncContext                *context;

    ngx_connection_t                 *connection;

    /* called once when the context goes, still valid, for whatever reason */
    ngx_http_billing_redis_event_pt   closed;
    void                             *data;

    /* why we gave up the connection, if it was our decision, else NULL */
    const char                       *reason;

    /*
     * The reply that is being read: what is in it is the pool's, which is
     * reset when hiredis frees the reply.
     */
    redisReplyObjectFunctions         functions;
    redisReply                        reply;
    ngx_pool_t                       *pool;
    size_t                            size;
    size_t                            elements;

#if (NGX_HTTP_BILLING_REDIS_SSL)
    /* hiredis' to free, with the context */
    SSL                              *ssl;
#endif

    unsigned                          writing:1;

    /* the reply that is being read exceeds the bounds */
    unsigned                          exceeded:1;
};


/*
 * Watches a context that has just begun to connect.  event->closed and
 * event->data are the caller's to set before.  On NGX_ERROR nothing is
 * attached and the context is the caller's to free.
 */
ngx_int_t ngx_http_billing_redis_event_attach(
    ngx_http_billing_redis_event_t *event, redisAsyncContext *ac,
    ngx_log_t *log);

/*
 * Frees the context and tells event->closed why.  Inside of a callback from
 * hiredis this happens when the callback has returned.
 */
void ngx_http_billing_redis_event_close(ngx_http_billing_redis_event_t *event,
    const char *reason);

/*
 * Whether bytes are left although no command waits for a reply: these are
 * replies to commands that were never sent.
 */
ngx_uint_t ngx_http_billing_redis_event_unsolicited(
    ngx_http_billing_redis_event_t *event);


#endif /* _NGX_HTTP_BILLING_REDIS_EVENT_H_INCLUDED_ */
