
/*
 * Counters in shared memory, which the status page shows.
 */


#ifndef _NGX_HTTP_BILLING_STATUS_H_INCLUDED_
#define _NGX_HTTP_BILLING_STATUS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_billing_histogram.h"
#include "ngx_http_billing_cache.h"
#include "ngx_http_billing_redis.h"
#include "ngx_http_billing_status_clients.h"
#include "ngx_http_billing_status_label.h"
#include "ngx_http_billing_status_servers.h"


/* the module's version, as in CHANGES */

#define NGX_HTTP_BILLING_VERSION       "0.2.0"

/* the statuses of ngx_http_billing_status_codes, and one for all others */

#define NGX_HTTP_BILLING_STATUS_CODES  11


/* each member is of ngx_atomic_t: the sum adds them up as an array */

typedef struct {
    ngx_atomic_t                    requests[NGX_HTTP_BILLING_STATUS_CODES];
    ngx_atomic_t                    cameras;
    ngx_atomic_t                    broken;
    ngx_http_billing_histogram_t    duration;
    ngx_http_billing_redis_stat_t   redis;

    /* from sending a pipeline to its answer */
    ngx_http_billing_histogram_t    redis_duration;

    ngx_http_billing_cache_stat_t   cache;
} ngx_http_billing_counters_t;


/*
 * The counters and gauges of one process, all of ngx_atomic_t.  No other
 * process writes to them, so there is no lock.  The next process in the same
 * slot goes on with the counters.
 */

typedef struct {
    ngx_http_billing_counters_t     counters;

    /* requests of the process that wait for Redis */
    ngx_atomic_t                    waiting;

    ngx_http_billing_cache_gauge_t  cache;
} ngx_http_billing_slot_t;


/* in shared memory; slots follow, as many as nginx has for processes */

typedef struct {
    /* how many slots were ever used */
    ngx_atomic_t                    nslots;

    /* when the counting began, in seconds since 1970 */
    time_t                          started;
} ngx_http_billing_zone_t;


/* a cache whose age the page shows */

typedef struct {
    ngx_http_billing_cache_set_t   *cache_set;
    ngx_msec_t                      timeout;
    ngx_str_t                       prefix;

    /* UTF-8, for the page */
    ngx_str_t                       prefix_label;
    ngx_str_t                       server_label;

    /* Prometheus' labels, with the server if the prefix is not unique */
    ngx_str_t                       labels;
} ngx_http_billing_source_t;


typedef struct {
    /* the configuration has a status page */
    ngx_flag_t                      enable;

    /* ngx_http_billing_source_t */
    ngx_array_t                     sources;

    /* ngx_http_billing_cache_set_t *: the sets of servers */
    ngx_array_t                    *sets;

    ngx_http_billing_status_servers_t  servers;
    ngx_http_billing_status_clients_t  clients;

    /* the slot is this process's, set when the process starts */
    ngx_http_billing_zone_t        *zone;
    ngx_http_billing_slot_t        *slot;
} ngx_http_billing_status_t;


extern const ngx_uint_t  ngx_http_billing_status_codes[];


/* Has the page show the age of a location's cache. */
ngx_int_t ngx_http_billing_status_source(ngx_conf_t *cf,
    ngx_http_billing_status_t *status, ngx_http_billing_cache_set_t *cache_set,
    ngx_str_t *prefix, ngx_msec_t timeout);

/*
 * Adds the zone, with the tag of its module, at the end of the configuration.
 * sets is an array of pointers to the sets of servers that count in the zone.
 */
ngx_int_t ngx_http_billing_status_init(ngx_conf_t *cf,
    ngx_http_billing_status_t *status, ngx_array_t *sets, void *tag);

/* Lets a process count in its slot: called when it starts and when it exits. */
void ngx_http_billing_status_attach(ngx_http_billing_status_t *status);
void ngx_http_billing_status_detach(ngx_http_billing_status_t *status);

/* Counts a request that has ended, with its status and milliseconds. */
void ngx_http_billing_status_request(ngx_http_billing_slot_t *slot,
    ngx_uint_t status, ngx_msec_t duration);

/* Sums what all processes have counted, and their gauges, into a slot. */
void ngx_http_billing_status_sum(ngx_http_billing_status_t *status,
    ngx_http_billing_slot_t *sum);


#endif /* _NGX_HTTP_BILLING_STATUS_H_INCLUDED_ */
