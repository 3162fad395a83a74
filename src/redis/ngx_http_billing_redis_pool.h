
/*
 * A worker's connections to a set of servers: as many as needed to the first
 * server that can be used, and one that probes a better server.  The functions
 * are in these files: redis_pool.c makes a pool and closes it,
 * redis_pool_connect.c decides when to connect and to which server,
 * redis_pool_callbacks.c has what a connection tells its pool,
 * redis_pool_pick.c chooses among the connections, and redis_servers.c changes
 * the servers of a pool.
 */


#ifndef _NGX_HTTP_BILLING_REDIS_POOL_H_INCLUDED_
#define _NGX_HTTP_BILLING_REDIS_POOL_H_INCLUDED_


#include "ngx_http_billing_redis_conn.h"
#include "ngx_http_billing_redis_route.h"


/* the discovery of a pool's servers, for a list that changes at run time */

typedef struct {
    /*
     * Called before each attempt to connect, and with each pipeline.  Begins
     * to ask; an event sets the servers later.  Returns NGX_AGAIN if no
     * connection is to be made yet, as the servers may be other ones by now.
     */
    ngx_int_t                       (*ask)(void *data);

    /* frees what is the heap's */
    void                            (*close)(void *data);

    void                             *data;
} ngx_http_billing_redis_discovery_t;


typedef struct {
    ngx_http_billing_redis_shared_t   shared;
    ngx_http_billing_redis_route_t    route;

    /* NULL if the list of servers never changes */
    ngx_http_billing_redis_discovery_t  *discovery;

    ngx_http_billing_redis_conn_t    *conns;
    ngx_uint_t                        nconns;

    /* timers: the next attempt to connect, the next try of a better server */
    ngx_event_t                       connect;
    ngx_event_t                       probe;

    /* the result of a pipeline for which there was no connection */
    ngx_http_billing_redis_result_e   result;

    /* set by the caller: how many pipelines wait for a connection */
    ngx_uint_t                        nwaiting;

    /* called when pipelines that wait can be sent */
    void                            (*flush)(void *data);
    void                             *data;

    /* called when a connection is made, is lost, or cannot be made; or NULL */
    void                            (*noticed)(void *data);
    void                             *noticed_data;
} ngx_http_billing_redis_pool_t;


/*
 * At configuration: makes the connections of a pool that is zeroed but for
 * the conf, the log and the number of pool->shared, shared->returned, and
 * pool->flush with its data.
 */
ngx_int_t ngx_http_billing_redis_pool_init(ngx_conf_t *cf,
    ngx_http_billing_redis_pool_t *pool);

/*
 * At run time: replaces the servers, which are in the order of preference.  A
 * server that stays keeps its state.  Connections to a server that left, or to
 * one that is now worse than another one in use, are drained.  The peers are
 * copied; there may be none.  On NGX_ERROR, when there is no memory, nothing
 * has changed.
 */
ngx_int_t ngx_http_billing_redis_pool_servers(
    ngx_http_billing_redis_pool_t *pool,
    ngx_http_billing_redis_peer_t *peers, ngx_uint_t n);

/*
 * Returns a connection that can take another pipeline: the owner, or else the
 * connection with the fewest pipelines in flight; or NULL.
 */
ngx_http_billing_redis_conn_t *ngx_http_billing_redis_pool_get(
    ngx_http_billing_redis_pool_t *pool);

/*
 * Returns the server in use, whatever the load of its connections, or NULL.
 * The connection with the number "except" does not count.
 */
ngx_http_billing_redis_server_t *ngx_http_billing_redis_pool_used(
    ngx_http_billing_redis_pool_t *pool, ngx_uint_t except);

/* Connects, now or when a server may be tried, if a connection is needed. */
void ngx_http_billing_redis_pool_connect(ngx_http_billing_redis_pool_t *pool);

/*
 * The server of this connection lacks the required key, and is passed over.
 * Returns NGX_OK if another server may be asked, else NGX_DECLINED.
 */
ngx_int_t ngx_http_billing_redis_pool_unloaded(
    ngx_http_billing_redis_pool_t *pool, ngx_uint_t connection,
    ngx_str_t *key);

/* Closes the connections of a worker that exits. */
void ngx_http_billing_redis_pool_close(ngx_http_billing_redis_pool_t *pool);

/* The rest is for the pool's own files. */

/* The list of servers has changed: the timers are set anew. */
void ngx_http_billing_redis_pool_changed(ngx_http_billing_redis_pool_t *pool);

/* Calls pool->noticed(), if it is set. */
void ngx_http_billing_redis_pool_notice(ngx_http_billing_redis_pool_t *pool);

/* The connection uses its server no longer. */
void ngx_http_billing_redis_pool_release(ngx_http_billing_redis_conn_t *conn);

/* The handlers of pool->connect and pool->probe. */
void ngx_http_billing_redis_pool_connect_handler(ngx_event_t *ev);
void ngx_http_billing_redis_pool_probe_handler(ngx_event_t *ev);

/* The pool's functions in ngx_http_billing_redis_shared_t. */
void ngx_http_billing_redis_pool_ready(ngx_http_billing_redis_conn_t *conn);
void ngx_http_billing_redis_pool_suspect(ngx_http_billing_redis_conn_t *conn);
void ngx_http_billing_redis_pool_answered(ngx_http_billing_redis_conn_t *conn);
void ngx_http_billing_redis_pool_lost(ngx_http_billing_redis_conn_t *conn,
    ngx_http_billing_redis_conn_state_e state, const char *reason);

/* If there is no owner, looks for a connection that can be the owner. */
void ngx_http_billing_redis_pool_own(ngx_http_billing_redis_pool_t *pool);

/* Sets the timer to try a better server than the one in use, if any. */
void ngx_http_billing_redis_pool_probe(ngx_http_billing_redis_pool_t *pool);


#endif /* _NGX_HTTP_BILLING_REDIS_POOL_H_INCLUDED_ */
