
/*
 * The record of a request: what is counted, and shown in the access log.
 */


#ifndef _NGX_HTTP_BILLING_RECORD_H_INCLUDED_
#define _NGX_HTTP_BILLING_RECORD_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_billing_cache.h"
#include "ngx_http_billing_status.h"


/* A record lives as long as the request's pool. */

typedef struct {
    ngx_http_request_t       *request;
    ngx_http_billing_slot_t  *slot;

    /* the context of the handler that has the request, or had it last */
    void                     *data;

    /* the name of a valid token's client, cut to a limit; or empty */
    ngx_str_t                 client;

    /* cameras in the answer so far; NULL if the answer lists none */
    ngx_uint_t               *cameras;

    /* the name of the Redis server that answered last, or empty; its room */
    ngx_str_t                 server;
    size_t                    room;

    /*
     * asked: since when the request waits for Redis; waited: how long earlier
     * waits took.  Both in milliseconds of the clock of $request_time.
     */
    ngx_msec_t                asked;
    ngx_msec_t                waited;

    unsigned                  waiting:1;

    /* Redis was asked */
    unsigned                  redis:1;

    /* the worker's store had records, lacked records, had stale records */
    unsigned                  hit:1;
    unsigned                  missed:1;
    unsigned                  stale:1;
} ngx_http_billing_record_t;


/*
 * These return the record of a request, also after internal redirects, which
 * clear a module's context.  The first one adds a record if there is none.
 * Both return NULL if there is no record.
 */
ngx_http_billing_record_t *ngx_http_billing_record_get(ngx_http_request_t *r);
ngx_http_billing_record_t *ngx_http_billing_record_find(
    ngx_http_request_t *r);

/* The request begins to wait for Redis. */
void ngx_http_billing_record_ask(ngx_http_billing_record_t *record);

/*
 * The request stops waiting; the server of this name, which is copied, has
 * answered, unless the name is NULL.
 */
void ngx_http_billing_record_answered(ngx_http_billing_record_t *record,
    ngx_str_t *server);

/* Notes which of the request's lookups the worker's store has answered. */
void ngx_http_billing_record_cache(ngx_http_billing_record_t *record,
    ngx_http_billing_cache_t *cache);

/* How long the request has waited until now, in milliseconds. */
ngx_msec_t ngx_http_billing_record_waited(ngx_http_billing_record_t *record);


#endif /* _NGX_HTTP_BILLING_RECORD_H_INCLUDED_ */
