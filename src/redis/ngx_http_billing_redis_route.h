
/*
 * Chooses the server of a list: the first one that has its data loaded and can
 * be connected to.  Other servers are passed over.  The list may change, and
 * may be empty.
 */


#ifndef _NGX_HTTP_BILLING_REDIS_ROUTE_H_INCLUDED_
#define _NGX_HTTP_BILLING_REDIS_ROUTE_H_INCLUDED_


#include "ngx_http_billing_redis_server.h"


typedef struct {
    /* in the order of preference */
    ngx_http_billing_redis_server_t  **servers;
    ngx_uint_t                         nservers;

    /* the list is the heap's */
    ngx_uint_t                         on_heap;
} ngx_http_billing_redis_route_t;


/*
 * Makes the list anew.  A server that is in the list already keeps its state.
 * The password is that of peers without one.  pool is NULL at run time.  On
 * NGX_ERROR, when there is no memory, the list is as it was.
 */
ngx_int_t ngx_http_billing_redis_route_set(
    ngx_http_billing_redis_route_t *route,
    ngx_http_billing_redis_peer_t *peers, ngx_uint_t n, ngx_str_t *password,
    ngx_pool_t *pool, ngx_log_t *log);

/* Empties the list. */
void ngx_http_billing_redis_route_clear(ngx_http_billing_redis_route_t *route);


/*
 * The lower, the better.  Servers without their data come after all others, and
 * servers that left the list last.
 */
ngx_uint_t ngx_http_billing_redis_route_rank(
    ngx_http_billing_redis_route_t *route,
    ngx_http_billing_redis_server_t *server);

/*
 * Returns the server to connect to now; or NULL, and sets how many milliseconds
 * to wait for one.  used is the server in use, or NULL.
 */
ngx_http_billing_redis_server_t *ngx_http_billing_redis_route_first(
    ngx_http_billing_redis_route_t *route,
    ngx_http_billing_redis_server_t *used, ngx_msec_t *wait);

/*
 * Returns a better server than the one in use, to try now.  If there is none,
 * returns NULL and sets the milliseconds to wait for one, NGX_TIMER_INFINITE if
 * none can come.  A server in use without data is itself tried again.
 */
ngx_http_billing_redis_server_t *ngx_http_billing_redis_route_better(
    ngx_http_billing_redis_route_t *route,
    ngx_http_billing_redis_server_t *used, ngx_msec_t *wait);

/* Is another server with data in use, or to be tried now? */
ngx_uint_t ngx_http_billing_redis_route_other(
    ngx_http_billing_redis_route_t *route,
    ngx_http_billing_redis_server_t *server,
    ngx_http_billing_redis_server_t *used);


#endif /* _NGX_HTTP_BILLING_REDIS_ROUTE_H_INCLUDED_ */
