
/*
 * The record of a request: what is counted, and shown in the access log.
 */


#ifndef _NGX_HTTP_BILLING_RECORD_H_INCLUDED_
#define _NGX_HTTP_BILLING_RECORD_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_billing_status.h"


/* A record lives as long as the request's pool. */

typedef struct {
    ngx_http_request_t       *request;
    ngx_http_billing_slot_t  *slot;

    /* the state of the handler that has the request, or had it last */
    void                     *data;

    /* the name of the client whose token is valid, bounded */
    ngx_str_t                 client;

    /* cameras in the answer so far, or NULL if it is no list of them */
    ngx_uint_t               *cameras;

    /* the Redis server that has answered last, or NULL */
    ngx_str_t                *server;

    /*
     * since when the request waits for Redis, and how long it did before, in
     * milliseconds of the clock that $request_time is taken from
     */
    ngx_msec_t                asked;
    ngx_msec_t                waited;

    unsigned                  waiting:1;

    /* Redis was asked */
    unsigned                  redis:1;
} ngx_http_billing_record_t;


/*
 * These return the record of a request, also after internal redirects, which
 * clear a module's context.  The first one adds a record if there is none.
 * Both return NULL if there is none.
 */
ngx_http_billing_record_t *ngx_http_billing_record_get(ngx_http_request_t *r);
ngx_http_billing_record_t *ngx_http_billing_record_find(
    ngx_http_request_t *r);

/* The request begins to wait for Redis. */
void ngx_http_billing_record_ask(ngx_http_billing_record_t *record);

/* The request does not wait any more; server, unless it is NULL, has answered. */
void ngx_http_billing_record_answered(ngx_http_billing_record_t *record,
    ngx_str_t *server);

/* How long the request has waited until now, in milliseconds. */
ngx_msec_t ngx_http_billing_record_waited(ngx_http_billing_record_t *record);


#endif /* _NGX_HTTP_BILLING_RECORD_H_INCLUDED_ */
