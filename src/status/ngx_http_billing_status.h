
/*
 * What operators see: counters in shared memory, the page that shows them,
 * and what the access log may say of a request.
 */


#ifndef _NGX_HTTP_BILLING_STATUS_H_INCLUDED_
#define _NGX_HTTP_BILLING_STATUS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_billing_histogram.h"
#include "ngx_http_billing_cache.h"
#include "ngx_http_billing_redis.h"


/* of ngx_http_billing_status_codes, and one for all others */

#define NGX_HTTP_BILLING_STATUS_CODES  11


/* all of them ngx_atomic_t, to be summed */

typedef struct {
    ngx_atomic_t                    requests[NGX_HTTP_BILLING_STATUS_CODES];
    ngx_atomic_t                    cameras;
    ngx_atomic_t                    broken;
    ngx_http_billing_histogram_t    duration;
    ngx_http_billing_redis_stat_t   redis;

    /* from sending a pipeline to its answer */
    ngx_http_billing_histogram_t    redis_duration;
} ngx_http_billing_counters_t;


/*
 * Of one process: as nobody else writes to it, counting takes no lock.  The
 * next process in the same slot counts on.
 */

typedef struct {
    ngx_http_billing_counters_t     counters;

    /* the process, and its requests that wait for Redis: they end with it */
    ngx_atomic_t                    pid;
    ngx_atomic_t                    waiting;
} ngx_http_billing_slot_t;


/* in shared memory; slots follow, as many as nginx has for processes */

typedef struct {
    /* slots that were ever used */
    ngx_atomic_t                    nslots;
} ngx_http_billing_zone_t;


/* a cache, whose age is shown */

typedef struct {
    ngx_http_billing_cache_set_t   *cache_set;
    ngx_msec_t                      timeout;
    ngx_str_t                       prefix;

    /* these are UTF-8 */
    ngx_str_t                       prefix_label;
    ngx_str_t                       server_label;

    /* as Prometheus writes them, with the server where it takes both */
    ngx_str_t                       labels;
} ngx_http_billing_source_t;


typedef struct {
    /* there is a page */
    ngx_flag_t                      enable;

    /* ngx_http_billing_source_t */
    ngx_array_t                     sources;

    /* that of this process is set when it starts */
    ngx_http_billing_zone_t        *zone;
    ngx_http_billing_slot_t        *slot;
} ngx_http_billing_status_t;


/* what is known of a request; it lives as long as the request's pool */

typedef struct {
    ngx_http_request_t             *request;
    ngx_http_billing_slot_t        *slot;

    ngx_str_t                       client;

    /* the state of the handler that has the request, or had it last */
    void                           *handler_data;

    /* how many are in the answer so far, if it is a list */
    ngx_uint_t                     *cameras;

    /* the Redis server that has answered last */
    ngx_str_t                      *server;

    /*
     * when the request began to wait for Redis, and for how long it did: by
     * the clock that $request_time is taken from
     */
    ngx_msec_t                      asked;
    ngx_msec_t                      waited;

    unsigned                        waiting:1;
    unsigned                        redis:1;
    unsigned                        list:1;
} ngx_http_billing_record_t;


extern const ngx_uint_t  ngx_http_billing_status_codes[];


/* Has the page show the age of a location's cache. */
ngx_int_t ngx_http_billing_status_source(ngx_conf_t *cf,
    ngx_http_billing_status_t *status, ngx_http_billing_cache_set_t *cache_set,
    ngx_str_t *prefix, ngx_msec_t timeout);

/* At the end of the configuration: adds the zone, if anything is counted. */
ngx_int_t ngx_http_billing_status_init(ngx_conf_t *cf);

/* In a process that starts, or is the only one: it counts in its slot. */
void ngx_http_billing_status_attach(ngx_cycle_t *cycle);

/* The sum of what all processes have counted; returns how many wait. */
ngx_uint_t ngx_http_billing_status_sum(ngx_http_billing_status_t *status,
    ngx_http_billing_counters_t *sum);


/*
 * The record of a request, which is found after internal redirects, too:
 * these clear what a module keeps for a request.  The first makes it if
 * there is none, both return NULL without one.
 */
ngx_http_billing_record_t *ngx_http_billing_status_record(
    ngx_http_request_t *r);
ngx_http_billing_record_t *ngx_http_billing_status_find(
    ngx_http_request_t *r);

/* The request begins to wait for Redis, and does so no more. */
void ngx_http_billing_status_ask(ngx_http_billing_record_t *record);
void ngx_http_billing_status_answered(ngx_http_billing_record_t *record,
    ngx_str_t *server);

/* How long the request has waited for Redis until now, in milliseconds. */
ngx_msec_t ngx_http_billing_status_waited(ngx_http_billing_record_t *record);

/* Its list was broken off. */
void ngx_http_billing_status_broken(ngx_http_billing_record_t *record);


/* The handler of the page. */
ngx_int_t ngx_http_billing_status_handler(ngx_http_request_t *r);

ngx_int_t ngx_http_billing_add_variables(ngx_conf_t *cf);


#endif /* _NGX_HTTP_BILLING_STATUS_H_INCLUDED_ */
