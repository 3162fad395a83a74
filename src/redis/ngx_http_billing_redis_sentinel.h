
/*
 * Servers that sentinels name: a master and its replicas.  A connection to one
 * of the sentinels, which tells of a new master at once, is asked every second
 * while requests come.  See
 * https://redis.io/docs/latest/develop/reference/sentinel-clients/
 */


#ifndef _NGX_HTTP_BILLING_REDIS_SENTINEL_H_INCLUDED_
#define _NGX_HTTP_BILLING_REDIS_SENTINEL_H_INCLUDED_


#include "ngx_http_billing_redis_control.h"
#include "ngx_http_billing_redis_name.h"
#include "ngx_http_billing_redis_pool.h"


/* one for a set of servers; a worker's own */

typedef struct {
    ngx_http_billing_redis_discovery_t  discovery;
    ngx_http_billing_redis_pool_t     *pool;
    ngx_log_t                         *log;

    /* one for each of the URL's hosts; not used if the host is an address */
    ngx_http_billing_redis_name_t     *names;

    /* the sentinels, the one to ask next, and the connection to one */
    ngx_http_billing_redis_route_t     route;
    ngx_uint_t                         place;
    ngx_http_billing_redis_control_t   control;

    /* questions that this sentinel has answered */
    ngx_uint_t                         answers;

    /* the times of the last question and of the last answer */
    ngx_msec_t                         asked;
    ngx_msec_t                         answered;

    /* the time since which an answer is lacking */
    ngx_msec_t                         lacking_since;

    /* the last answer, and the names of hosts; NULL: an address, or no name */
    ngx_http_billing_redis_answer_t    answer;
    ngx_http_billing_redis_name_t     *hosts[
                                      NGX_HTTP_BILLING_REDIS_SENTINEL_SERVERS];

    /* sentinels in a row whose config epoch was too low */
    ngx_uint_t                         outdated;

    /* connections are opened and closed by an event, not within a callback */
    ngx_event_t                        posted;

    /* there is no answer, or an old one only */
    unsigned                           lacks_answer:1;

    /* the pool waits for an answer before it connects */
    unsigned                           pool_waits:1;

    /* the addresses of the sentinels have changed */
    unsigned                           sentinels_moved:1;

    /* the servers, as the last answer and its host names say, have changed */
    unsigned                           servers_changed:1;

    /* there was no memory for a host name: the same answer is taken again */
    unsigned                           host_missing:1;

    /* the sentinel is to be asked at once; the next one in its place */
    unsigned                           ask_again:1;
    unsigned                           ask_next:1;

    /* logged: the host of a server is a name, and there is no resolver */
    unsigned                           unresolved:1;
} ngx_http_billing_redis_sentinel_t;


/*
 * At configuration: makes the discovery of the pool's servers.  The pool's conf
 * has the URL of sentinels.
 */
ngx_int_t ngx_http_billing_redis_sentinel_init(ngx_conf_t *cf,
    ngx_http_billing_redis_pool_t *pool);

/* The rest is for the sentinels' own files. */

/* Makes the list of sentinels. */
ngx_int_t ngx_http_billing_redis_sentinel_sentinels(
    ngx_http_billing_redis_sentinel_t *sentinel);

/*
 * Takes the answer that has come.  A host name that the last answer had keeps
 * its addresses.
 */
void ngx_http_billing_redis_sentinel_hosts(
    ngx_http_billing_redis_sentinel_t *sentinel);

/* Frees the host names of the last answer. */
void ngx_http_billing_redis_sentinel_free(
    ngx_http_billing_redis_sentinel_t *sentinel);

/* Makes the pool's list of servers. */
ngx_int_t ngx_http_billing_redis_sentinel_servers(
    ngx_http_billing_redis_sentinel_t *sentinel);


#endif /* _NGX_HTTP_BILLING_REDIS_SENTINEL_H_INCLUDED_ */
