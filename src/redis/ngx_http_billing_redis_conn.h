
/*
 * One connection to a Redis server: how it begins, the pipelines in flight on
 * it, and how it ends.  Private to the redis files.
 */


#ifndef _NGX_HTTP_BILLING_REDIS_CONN_H_INCLUDED_
#define _NGX_HTTP_BILLING_REDIS_CONN_H_INCLUDED_


#include "ngx_http_billing_redis.h"
#include "ngx_http_billing_redis_event.h"


typedef enum {
    NGX_HTTP_BILLING_REDIS_CLOSED = 0,
    NGX_HTTP_BILLING_REDIS_CONNECTING,
    NGX_HTTP_BILLING_REDIS_READY,

    /* what is in flight is waited for, nothing is sent any more */
    NGX_HTTP_BILLING_REDIS_DRAINING
} ngx_http_billing_redis_state_e;


/* whose fault it is that a connection is closed */

typedef enum {
    /*
     * the connection's: the pipeline whose replies came has had one of its
     * tries, those behind it have not
     */
    NGX_HTTP_BILLING_REDIS_BLAME_CONN = 0,

    /* the reply's that was being read: its pipeline fails, no other */
    NGX_HTTP_BILLING_REDIS_BLAME_FIRST,

    /* the server's, which serves nobody now: no try was had */
    NGX_HTTP_BILLING_REDIS_BLAME_NONE
} ngx_http_billing_redis_blame_e;


typedef struct {
    ngx_http_billing_redis_peer_t   *peer;
    ngx_str_t                        password;

    /* failures in a row, when the first was, and when to try again */
    ngx_uint_t                       failures;
    ngx_msec_t                       failing;
    ngx_msec_t                       retry;

    /* since when it is used without a failure */
    ngx_msec_t                       healthy;

    /* connections lost since that was logged, and when it was */
    ngx_uint_t                       lost;
    ngx_msec_t                       logged;

    /* of the failure that was logged last */
    char                             reason[64];
} ngx_http_billing_redis_server_t;


typedef struct {
    ngx_http_billing_redis_event_t    event;
    ngx_http_billing_redis_t         *redis;
    ngx_http_billing_redis_server_t  *server;

    /* slots in the order in which their replies come */
    ngx_queue_t                       inflight;
    ngx_uint_t                        ninflight;

    /* of the echoes: what all of this connection have, and the last number */
    uint32_t                          salt;
    ngx_uint_t                        fence;

    /* of the commands that begin a connection, how many are to be answered */
    ngx_uint_t                        ngreetings;

    /* when the last reply was complete */
    ngx_msec_t                        replied;

    /* limits connecting, with the commands that begin a connection */
    ngx_event_t                       timer;

    ngx_http_billing_redis_state_e    state;
    ngx_http_billing_redis_blame_e    blame;

    /* if the server fails, what that is for those who wait */
    ngx_http_billing_redis_result_e   result;

    /* the number of the connection */
    ngx_uint_t                        number;

    /* the first of the greetings is AUTH */
    unsigned                          auth:1;

    /* a pipeline was answered */
    unsigned                          served:1;

    /* to see if a server is back: it has to answer for a while before use */
    unsigned                          probe:1;
    unsigned                          answered:1;

    char                              reason[128];
} ngx_http_billing_redis_conn_t;


/* a pipeline's place among the replies, which outlives a cancelled pipeline */

struct ngx_http_billing_redis_slot_s {
    ngx_queue_t                         queue;
    ngx_http_billing_redis_conn_t      *conn;
    ngx_http_billing_redis_pipeline_t  *pipeline;
    ngx_uint_t                          bulk;
    ngx_uint_t                          ncommands;
    ngx_uint_t                          nreplies;
    u_char                              fence[9 + NGX_INT_T_LEN];
    size_t                              fence_len;
};


struct ngx_http_billing_redis_s {
    ngx_http_billing_redis_conf_t    conf;

    ngx_http_billing_redis_stat_t   *stat;
    ngx_http_billing_redis_duration_pt  duration;
    void                            *duration_data;

    /* ngx_str_t: the keys that a server with data holds */
    ngx_array_t                      required;

    /* the number of the last connection */
    ngx_uint_t                       number;

    /* in the order in which they are preferred */
    ngx_http_billing_redis_server_t *servers;
    ngx_uint_t                       nservers;

    ngx_http_billing_redis_conn_t   *conns;
    ngx_uint_t                       nconns;

    /* for the next attempt to connect, and for the next probe */
    ngx_event_t                      connect;
    ngx_event_t                      probe;

    /* pipelines that wait for a connection */
    ngx_queue_t                      waiting;
    ngx_uint_t                       nwaiting;

    /* those in flight that are bulk, and those that wait for their turn */
    ngx_uint_t                       nbulk;
    ngx_queue_t                      bulk;

    /* pipelines that failed, to be told so when no other code is running */
    ngx_queue_t                      failed;

    /* for those that failed, and those that are to be sent again */
    ngx_event_t                      posted;

    /* pipelines in a row that were not answered in time */
    ngx_uint_t                       late;
    ngx_uint_t                       logged;

#if (NGX_HTTP_BILLING_REDIS_SSL)
    ngx_ssl_t                       *ssl;
#endif

    /* what it is for a pipeline that no server could be connected to */
    ngx_http_billing_redis_result_e  result;
};


/*
 * Begins to connect to conn->server.  Returns NULL, or why that failed at
 * once; a later failure is told by ngx_http_billing_redis_conn_lost().
 */
const char *ngx_http_billing_redis_conn_open(
    ngx_http_billing_redis_conn_t *conn);

/* For the timer of the connection. */
void ngx_http_billing_redis_conn_timeout(ngx_event_t *ev);

/*
 * Sends the pipeline on a connection that is ready.  If that fails, the
 * pipeline or the connection does, which is told later or from inside.
 */
void ngx_http_billing_redis_conn_send(ngx_http_billing_redis_conn_t *conn,
    ngx_http_billing_redis_pipeline_t *pl);

/* Closes the connection; what was in flight is settled later. */
void ngx_http_billing_redis_conn_close(ngx_http_billing_redis_conn_t *conn,
    const char *reason, ngx_http_billing_redis_blame_e blame);


/* Of the set: events, which are the worker's while the rest is inherited. */
void ngx_http_billing_redis_pool_init(ngx_http_billing_redis_t *redis);

/* Of the connections that are ready, the one with the least in flight. */
ngx_http_billing_redis_conn_t *ngx_http_billing_redis_pool_get(
    ngx_http_billing_redis_t *redis);

/*
 * Closes connections on which commands wait, and no reply has come for so
 * many milliseconds.
 */
void ngx_http_billing_redis_pool_check(ngx_http_billing_redis_t *redis,
    ngx_msec_t silence);

/* Connects, when it is time to, if there is need of one more connection. */
void ngx_http_billing_redis_pool_connect(ngx_http_billing_redis_t *redis);


/* What a connection tells to the set. */

void ngx_http_billing_redis_conn_ready(ngx_http_billing_redis_conn_t *conn);
void ngx_http_billing_redis_conn_served(ngx_http_billing_redis_conn_t *conn);
void ngx_http_billing_redis_conn_lost(ngx_http_billing_redis_conn_t *conn,
    const char *reason);


/* Sends what waits. */
void ngx_http_billing_redis_flush(ngx_http_billing_redis_t *redis);

/*
 * Of a connection that is lost: fails what was in flight, or has it sent
 * again, but not before all events of this round were seen: others may tell
 * of more connections that are lost.
 */
void ngx_http_billing_redis_settle(ngx_http_billing_redis_conn_t *conn);

#if (NGX_HTTP_BILLING_REDIS_SSL)

/* Makes the TLS context of a set; says what is wrong with its configuration. */
ngx_int_t ngx_http_billing_redis_ssl_init(ngx_conf_t *cf,
    ngx_http_billing_redis_t *redis);

/*
 * Begins TLS on a connection that is being opened.  Returns NULL, and hiredis
 * goes on and frees what it has to; or what has failed.
 */
const char *ngx_http_billing_redis_ssl_open(
    ngx_http_billing_redis_conn_t *conn, redisAsyncContext *ac);

/* What went wrong on a connection with TLS, or NULL. */
const char *ngx_http_billing_redis_ssl_error(
    ngx_http_billing_redis_event_t *event);

#endif

/* The pipeline, in no slot and no queue, will be told that it failed. */
void ngx_http_billing_redis_fail(ngx_http_billing_redis_pipeline_t *pl,
    ngx_http_billing_redis_result_e result);


#endif /* _NGX_HTTP_BILLING_REDIS_CONN_H_INCLUDED_ */
