
/*
 * One connection to a Redis server: how it begins, the pipelines that wait for
 * their replies on it, and how it ends.  Whatever happens is told to its owner
 * through function pointers.
 */


#ifndef _NGX_HTTP_BILLING_REDIS_CONN_H_INCLUDED_
#define _NGX_HTTP_BILLING_REDIS_CONN_H_INCLUDED_


#include "ngx_http_billing_redis_event.h"
#include "ngx_http_billing_redis_server.h"
#include "ngx_http_billing_redis_timer.h"


/* pipelines in flight on a connection: a power of 2 */

#define NGX_HTTP_BILLING_REDIS_INFLIGHT  1024

/* bytes of the reason why a connection is closed, with the zero byte */

#define NGX_HTTP_BILLING_REDIS_REASON    128


typedef struct ngx_http_billing_redis_conn_s  ngx_http_billing_redis_conn_t;


typedef void (*ngx_http_billing_redis_conn_pt)(
    ngx_http_billing_redis_conn_t *conn);


typedef enum {
    NGX_HTTP_BILLING_REDIS_CLOSED = 0,

    /* the socket connects, and TLS begins */
    NGX_HTTP_BILLING_REDIS_CONNECTING,

    /* the first commands were sent, their replies are awaited */
    NGX_HTTP_BILLING_REDIS_GREETING,

    /* the server was down: it has to answer for a while before it is used */
    NGX_HTTP_BILLING_REDIS_PROBATION,

    NGX_HTTP_BILLING_REDIS_READY,

    /* the connection was idle, and does not answer since it is used again */
    NGX_HTTP_BILLING_REDIS_SUSPECT,

    /* the last replies are awaited, nothing is sent any more */
    NGX_HTTP_BILLING_REDIS_DRAINING
} ngx_http_billing_redis_conn_state_e;


/* whose fault it is that a connection ends */

typedef enum {
    /*
     * the connection's: the pipeline whose replies were due has had one of
     * its tries, those behind it have not
     */
    NGX_HTTP_BILLING_REDIS_BLAME_CONN = 0,

    /* the reply's that was being read: its pipeline fails, no other one */
    NGX_HTTP_BILLING_REDIS_BLAME_REPLY,

    /* the server's, which serves nobody now: no pipeline has had a try */
    NGX_HTTP_BILLING_REDIS_BLAME_SERVER,

    /* nobody's: no pipeline has had a try, and the server is as good as ever */
    NGX_HTTP_BILLING_REDIS_BLAME_NONE
} ngx_http_billing_redis_blame_e;


/* what all connections of a set of servers share, which their owner fills in */

typedef struct {
    ngx_http_billing_redis_conf_t       conf;
    ngx_http_billing_redis_stat_t      *stat;
    ngx_log_t                          *log;

#if (NGX_HTTP_BILLING_REDIS_SSL)
    ngx_ssl_t                          *ssl;
#endif

    ngx_http_billing_redis_duration_pt  duration;
    void                               *duration_data;

    /* ngx_str_t: the keys that a server holds once its data is loaded */
    ngx_array_t                         required;

    /* a connection looks for the required keys when it begins */
    ngx_uint_t                          check;

    /* the number of the last connection */
    ngx_uint_t                          number;

    /* bulk pipelines in flight, cancelled ones included */
    ngx_uint_t                          nbulk;

    /* the owner, and what a connection tells it */

    void                               *owner;

    /* the connection can be used: conn->missing tells of its server's data */
    ngx_http_billing_redis_conn_pt      ready;

    /* the connection became SUSPECT */
    ngx_http_billing_redis_conn_pt      suspect;

    /* a pipeline was answered, and its caller told so */
    ngx_http_billing_redis_conn_pt      answered;

    /*
     * The connection was in that state, and is closed.  The pipelines that
     * were in flight are given to returned() after that, the last one first:
     * with NGX_OK they are to be sent again, with NGX_ERROR they have failed.
     */
    void                              (*lost)(
                                     ngx_http_billing_redis_conn_t *conn,
                                     ngx_http_billing_redis_conn_state_e state,
                                     const char *reason);
    void                              (*returned)(void *data,
                                         ngx_http_billing_redis_pipeline_t *pl,
                                         ngx_int_t rc);
    void                               *returned_data;
} ngx_http_billing_redis_shared_t;


/* a pipeline's place among the replies, which outlives a cancelled pipeline */

struct ngx_http_billing_redis_slot_s {
    ngx_http_billing_redis_conn_t      *conn;

    /* NULL once it is cancelled */
    ngx_http_billing_redis_pipeline_t  *pipeline;

    ngx_msec_t                          timeout;
    ngx_uint_t                          ncommands;
    ngx_uint_t                          bulk;
};


struct ngx_http_billing_redis_conn_s {
    ngx_http_billing_redis_event_t        event;
    ngx_http_billing_redis_shared_t      *shared;
    ngx_http_billing_redis_server_t      *server;

    /* a ring of pipelines, in the order in which their replies come */
    ngx_http_billing_redis_slot_t        *slots;
    ngx_uint_t                            first;
    ngx_uint_t                            ninflight;

    /* replies that the first one of them has had */
    ngx_uint_t                            nreplies;

    /*
     * fences: what those of this connection have in common, the number of the
     * last one that was sent, and of the next one to come
     */
    uint32_t                              salt;
    ngx_uint_t                            fence_sent;
    ngx_uint_t                            fence_due;

    /*
     * replies to come of the first commands: those that are to be a status,
     * the required keys, and the fence
     */
    ngx_uint_t                            nstatuses;
    ngx_uint_t                            nkeys;
    ngx_uint_t                            nfences;

    /* a required key that the server does not hold, or NULL */
    ngx_str_t                            *missing;

    /* when the last reply came, or the first command without a reply was sent */
    ngx_msec_t                            replied;

    /*
     * for connecting with the first commands, for the probation, for the trial
     * of a connection that was idle, and for draining
     */
    ngx_event_t                           timer;
    ngx_msec_t                            timer_due;

    /* for replies that do not come, whoever waits for them */
    ngx_event_t                           watch;
    ngx_msec_t                            watch_due;

    ngx_http_billing_redis_conn_state_e   state;
    ngx_http_billing_redis_blame_e        blame;

    /* what it is for those who wait if the server fails */
    ngx_http_billing_redis_result_e       result;

    /* of all connections of the worker to the set */
    ngx_uint_t                            number;

    /* a pipeline was answered */
    unsigned                              served:1;

    /* opened to see if the server can be used again: after a probation */
    unsigned                              probe:1;
    unsigned                              probation:1;

    char                                  reason[NGX_HTTP_BILLING_REDIS_REASON];
};


/* At configuration: the handlers of a connection, which is zeroed. */
void ngx_http_billing_redis_conn_init(ngx_http_billing_redis_conn_t *conn,
    ngx_http_billing_redis_shared_t *shared);

/*
 * Begins to connect to conn->server; conn->probe and conn->probation are set
 * before.  Returns NULL, or why that failed at once; a later failure is told
 * by shared->lost().
 */
const char *ngx_http_billing_redis_conn_open(
    ngx_http_billing_redis_conn_t *conn);

/*
 * Sends the pipeline on a connection that is READY and has less than
 * NGX_HTTP_BILLING_REDIS_INFLIGHT of them.  If that fails, the connection is
 * lost, which is told from inside.
 */
void ngx_http_billing_redis_conn_send(ngx_http_billing_redis_conn_t *conn,
    ngx_http_billing_redis_pipeline_t *pl);

/* Gives the connection up if no reply has come for so many milliseconds. */
void ngx_http_billing_redis_conn_check(ngx_http_billing_redis_conn_t *conn,
    ngx_msec_t silence);

/* Closes the connection once the last replies have come. */
void ngx_http_billing_redis_conn_drain(ngx_http_billing_redis_conn_t *conn);

/* Closes the connection, unless it is closed.  The reason is copied. */
void ngx_http_billing_redis_conn_close(ngx_http_billing_redis_conn_t *conn,
    const char *reason, ngx_http_billing_redis_blame_e blame);

/* How a connection begins, and its fences: for the connection's own files. */

/* Sends the first commands: the credentials, the database, and the rest. */
void ngx_http_billing_redis_conn_greet(ngx_http_billing_redis_conn_t *conn);

/* Sends those that show whether the server serves its data. */
void ngx_http_billing_redis_conn_ping(ngx_http_billing_redis_conn_t *conn);

/*
 * Takes a reply to one of the first commands, in the order of these.  Returns
 * NGX_OK if the connection became ready; NGX_AGAIN; or NGX_ERROR if it is of no
 * use, with conn->reason and conn->blame.
 */
ngx_int_t ngx_http_billing_redis_conn_greeting(
    ngx_http_billing_redis_conn_t *conn);

/* Sends the next fence; NGX_ERROR is for want of memory. */
ngx_int_t ngx_http_billing_redis_conn_send_fence(
    ngx_http_billing_redis_conn_t *conn);

/* Is the reply the fence that is due?  Then the next one is due. */
ngx_uint_t ngx_http_billing_redis_conn_is_fence(
    ngx_http_billing_redis_conn_t *conn);

/*
 * The first fence was refused.  Returns 1 if the next connection is to try
 * the other kind.
 */
ngx_uint_t ngx_http_billing_redis_conn_no_echo(
    ngx_http_billing_redis_conn_t *conn);

/* Does the reply say that the server serves nobody for a while? */
ngx_uint_t ngx_http_billing_redis_conn_unready(
    ngx_http_billing_redis_reply_t *reply);


#if (NGX_HTTP_BILLING_REDIS_SSL)

/* Makes the TLS context of a set; says what is wrong with its configuration. */
ngx_int_t ngx_http_billing_redis_ssl_init(ngx_conf_t *cf,
    ngx_http_billing_redis_shared_t *shared);

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

/*
 * Returns the reason for which a connection failed before it could be used,
 * or text, of NGX_HTTP_BILLING_REDIS_REASON bytes, which says besides that the
 * URL may be wrong: "rediss://" for a port without TLS, or the reverse.
 */
const char *ngx_http_billing_redis_ssl_hint(ngx_http_billing_redis_conn_t *conn,
    const char *reason, u_char *text);


#endif /* _NGX_HTTP_BILLING_REDIS_CONN_H_INCLUDED_ */
