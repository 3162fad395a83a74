
/*
 * One Redis server: whether it can be used, when it is tried again, and its log
 * lines.  A line is logged at a change of state, not at each request.
 */


#ifndef _NGX_HTTP_BILLING_REDIS_SERVER_H_INCLUDED_
#define _NGX_HTTP_BILLING_REDIS_SERVER_H_INCLUDED_


#include "ngx_http_billing_redis.h"


/* milliseconds between attempts to use a server, at least */

#define NGX_HTTP_BILLING_REDIS_MIN_DELAY  20


/* a kind of log line that comes at most once a second */

typedef struct {
    ngx_msec_t                      logged;

    /* events since the last line */
    ngx_uint_t                      count;
} ngx_http_billing_redis_limit_t;


typedef struct {
    ngx_http_billing_redis_peer_t  *peer;
    ngx_str_t                       password;

    /* in log lines: a "server" or a "sentinel" */
    const char                     *kind;

    ngx_log_t                      *log;

    /*
     * connections that refer to the server; and the place in the list, if the
     * server is in the list
     */
    ngx_uint_t                      refs;
    ngx_uint_t                      place;

    /* failures in a row, the time of the first one, and of the next try */
    ngx_uint_t                      failures;
    ngx_msec_t                      failing_since;
    ngx_msec_t                      retry;

    /* the time since which the server is used without a failure, or 0 */
    ngx_msec_t                      healthy_since;

    /* pipelines in a row that were not answered in time */
    ngx_uint_t                      late;

    /* connections in a row that were closed on HELLO, or on the first fence */
    ngx_uint_t                      closes;

    ngx_http_billing_redis_limit_t  limit_down;
    ngx_http_billing_redis_limit_t  limit_lost;
    ngx_http_billing_redis_limit_t  limit_late;

    unsigned                        listed:1;

    /* the server is the heap's, and is freed when nothing refers to it */
    unsigned                        on_heap:1;

    /* the server lacks a required key */
    unsigned                        unloaded:1;

    /* the server refused ECHO: the next connection's fences are EVAL */
    unsigned                        eval:1;

    /* logged: the server refuses ECHO */
    unsigned                        eval_logged:1;

    /* logged: the server, a node of a cluster, refuses CLUSTER SLOTS */
    unsigned                        slots_logged:1;

    /* the next connection begins without HELLO, in RESP2 */
    unsigned                        resp2:1;

    /* a connection in RESP2 was answered: the server is not just down */
    unsigned                        resp2_works:1;

    /* logged: the server refuses what the worker's cache needs */
    unsigned                        refuses:1;

    /* logged: the server is a sentinel whose config epoch is too low */
    unsigned                        disbelieved:1;

    /* logged: pipelines are late */
    unsigned                        late_logged:1;

    /* the reason of the last logged failure */
    char                            reason[64];
} ngx_http_billing_redis_server_t;


/*
 * Makes a server on the heap, or in the pool if there is one, with a copy of
 * the peer.  Returns NULL if there is no memory.
 */
ngx_http_billing_redis_server_t *ngx_http_billing_redis_server_create(
    ngx_http_billing_redis_peer_t *peer, ngx_str_t *password, ngx_pool_t *pool,
    ngx_log_t *log);

/* Frees a server of the heap that nothing refers to. */
void ngx_http_billing_redis_server_release(
    ngx_http_billing_redis_server_t *server);

ngx_uint_t ngx_http_billing_redis_same_str(ngx_str_t *one, ngx_str_t *two);

/* Is this the server of the peer, with the same credentials? */
ngx_uint_t ngx_http_billing_redis_server_same(
    ngx_http_billing_redis_server_t *server,
    ngx_http_billing_redis_peer_t *peer, ngx_str_t *password);

/* Milliseconds until the server may be tried, 0 if it may be tried now. */
ngx_msec_t ngx_http_billing_redis_server_wait(
    ngx_http_billing_redis_server_t *server);

/* The server could not be connected to, or says that it serves nobody. */
void ngx_http_billing_redis_server_failed(
    ngx_http_billing_redis_server_t *server, const char *reason);

/* The server answers: after a while of answers, its failures are reset. */
void ngx_http_billing_redis_server_up(ngx_http_billing_redis_server_t *server);

/* A connection was lost on which so many pipelines were in flight. */
void ngx_http_billing_redis_server_lost(
    ngx_http_billing_redis_server_t *server, ngx_uint_t inflight,
    const char *reason);

/* A pipeline was not answered in time, and one was answered. */

void ngx_http_billing_redis_server_late(
    ngx_http_billing_redis_server_t *server);
void ngx_http_billing_redis_server_answered(
    ngx_http_billing_redis_server_t *server);

/*
 * The server refuses the command, without which a connection is not tracked, or
 * closes the connection on it (the error is NULL); or accepts tracking.
 */

void ngx_http_billing_redis_server_refuses(
    ngx_http_billing_redis_server_t *server, const char *command,
    const char *error);
void ngx_http_billing_redis_server_tracked(
    ngx_http_billing_redis_server_t *server);

/* The server lacks the key (NULL: unknown which), or holds all required. */

void ngx_http_billing_redis_server_unloaded(
    ngx_http_billing_redis_server_t *server, ngx_str_t *key);
void ngx_http_billing_redis_server_loaded(
    ngx_http_billing_redis_server_t *server);


#endif /* _NGX_HTTP_BILLING_REDIS_SERVER_H_INCLUDED_ */
