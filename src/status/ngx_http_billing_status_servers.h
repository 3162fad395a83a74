
/*
 * The Redis servers as each worker sees them, in a zone of shared memory: the
 * page of any worker tells how many workers use a server.  A worker may learn
 * of new servers while it runs, so each server is there with its name.
 */


#ifndef _NGX_HTTP_BILLING_STATUS_SERVERS_H_INCLUDED_
#define _NGX_HTTP_BILLING_STATUS_SERVERS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>


/* bytes of a server's name that are kept */

#define NGX_HTTP_BILLING_STATUS_SERVER_NAME  128


/* a gauge is 0 or 1 for one worker, and in a sum the number of workers */

typedef struct {
    ngx_uint_t                         used;
    ngx_uint_t                         failing;
    ngx_uint_t                         unloaded;

    size_t                             len;
    u_char                       name[NGX_HTTP_BILLING_STATUS_SERVER_NAME];
} ngx_http_billing_status_server_t;


/* the servers of one process; no other process writes to them */

typedef struct {
    /* odd while the servers are written: a reader looks before and after */
    ngx_atomic_t                       version;

    ngx_atomic_t                       nservers;
} ngx_http_billing_status_worker_t;


typedef struct {
    /* in shared memory, for each process; NULL: there is no status page */
    ngx_http_billing_status_worker_t  *workers;
    ngx_http_billing_status_server_t  *servers;

    /* ngx_http_billing_cache_set_t *: the sets of servers */
    ngx_array_t                       *sets;

    /* a timer that publishes the servers; the copy that is published */
    ngx_event_t                        refresh;
    ngx_http_billing_status_server_t  *now;
} ngx_http_billing_status_servers_t;


/* Adds the zone, with its module's tag, at the end of the configuration. */
ngx_int_t ngx_http_billing_status_servers_init(ngx_conf_t *cf,
    ngx_http_billing_status_servers_t *servers, ngx_array_t *sets, void *tag);

/* A worker begins, or stops, to publish its servers. */
void ngx_http_billing_status_servers_attach(
    ngx_http_billing_status_servers_t *servers);
void ngx_http_billing_status_servers_detach(
    ngx_http_billing_status_servers_t *servers);

/*
 * Publishes the servers of this process, and sums those of the first n ones.
 * Returns the sum, in memory of the pool, or NULL if there is no memory.
 */
ngx_array_t *ngx_http_billing_status_servers_sum(
    ngx_http_billing_status_servers_t *servers, ngx_pool_t *pool, ngx_uint_t n);


#endif /* _NGX_HTTP_BILLING_STATUS_SERVERS_H_INCLUDED_ */
