
/*
 * One connection to a Redis server.  Function pointers tell the pool of each
 * change.  The functions are in these files: redis_conn.c opens a connection,
 * redis_greet.c sends the first commands, redis_track.c follows the keys that
 * change, redis_inflight.c sends pipelines and takes their replies,
 * redis_fence.c proves that a reply belongs to its command, redis_ssl.c is for
 * TLS, and redis_close.c ends the connection.
 */


#ifndef _NGX_HTTP_BILLING_REDIS_CONN_H_INCLUDED_
#define _NGX_HTTP_BILLING_REDIS_CONN_H_INCLUDED_


#include "ngx_http_billing_redis_event.h"
#include "ngx_http_billing_redis_server.h"
#include "ngx_http_billing_redis_timer.h"


/* pipelines in flight on a connection: a power of 2 */

#define NGX_HTTP_BILLING_REDIS_INFLIGHT  1024

/* bytes of the reason for closing a connection, with the zero byte */

#define NGX_HTTP_BILLING_REDIS_REASON    128


typedef struct ngx_http_billing_redis_conn_s  ngx_http_billing_redis_conn_t;


typedef void (*ngx_http_billing_redis_conn_pt)(
    ngx_http_billing_redis_conn_t *conn);


typedef enum {
    NGX_HTTP_BILLING_REDIS_CLOSED = 0,

    /* the socket connects, and TLS begins */
    NGX_HTTP_BILLING_REDIS_CONNECTING,

    /* the first commands were sent, and wait for replies */
    NGX_HTTP_BILLING_REDIS_GREETING,

    /* the server was down, and has to answer for a while before it is used */
    NGX_HTTP_BILLING_REDIS_PROBATION,

    /* from this state on, the connection counts as made */
    NGX_HTTP_BILLING_REDIS_READY,

    /* the connection was idle, is in use again, and has not answered yet */
    NGX_HTTP_BILLING_REDIS_SUSPECT,

    /* nothing more is sent; the last replies are still to come */
    NGX_HTTP_BILLING_REDIS_DRAINING
} ngx_http_billing_redis_conn_state_e;


/* the cause of a connection's end */

typedef enum {
    /* the connection: the pipeline whose replies were due has used up a try */
    NGX_HTTP_BILLING_REDIS_BLAME_CONN = 0,

    /* a reply: the pipeline whose replies were due fails, and no other one */
    NGX_HTTP_BILLING_REDIS_BLAME_REPLY,

    /* the server, which serves nobody now: no pipeline has used up a try */
    NGX_HTTP_BILLING_REDIS_BLAME_SERVER,

    /* the worker, or chance: no try is used up, nor has the server failed */
    NGX_HTTP_BILLING_REDIS_BLAME_NONE
} ngx_http_billing_redis_blame_e;


/* the first commands, as bits; their order is that of their replies */

typedef enum {
    NGX_HTTP_BILLING_REDIS_FIRST_HELLO = 0x01,
    NGX_HTTP_BILLING_REDIS_FIRST_AUTH = 0x02,
    NGX_HTTP_BILLING_REDIS_FIRST_SELECT = 0x04,
    NGX_HTTP_BILLING_REDIS_FIRST_TRACKING = 0x08,
    NGX_HTTP_BILLING_REDIS_FIRST_PING = 0x10,

    /* reads of the required keys: as many replies as keys */
    NGX_HTTP_BILLING_REDIS_FIRST_KEYS = 0x20,

    NGX_HTTP_BILLING_REDIS_FIRST_FENCE = 0x40
} ngx_http_billing_redis_first_e;


/* shared by all connections of a set of servers; filled in by the pool */

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
    ngx_uint_t                          checks_keys;

    /* a connection asks for the server's role when it begins */
    ngx_uint_t                          asks_role;

    /* the number of the worker's last connection to the set */
    ngx_uint_t                         *number;

    /* bulk pipelines in flight, cancelled ones included */
    ngx_uint_t                          nbulk;

    /* whom to tell of changed keys, or NULL */
    ngx_http_billing_redis_tracking_t  *tracking;

    /* the connection on which Redis announces changed keys, or NULL */
    ngx_http_billing_redis_conn_t      *owner;

    /* the number of these servers as a source */
    ngx_uint_t                          source;

    /* the pool, and what a connection tells it */

    void                               *pool;

    /* the connection can be used; conn->missing: a key the server lacks */
    ngx_http_billing_redis_conn_pt      ready;

    /* the connection became SUSPECT */
    ngx_http_billing_redis_conn_pt      suspect;

    /* a pipeline was answered, and its caller told so */
    ngx_http_billing_redis_conn_pt      answered;

    /*
     * lost(): the connection is closed; its state before is an argument.
     * returned(): called after lost() for each pipeline that was in flight,
     * the last one first.  NGX_OK: the pipeline is to be sent again.
     * NGX_ERROR: the pipeline has failed.  A pipeline that was cancelled is
     * NULL: another pipeline may take its place.
     */
    void                              (*lost)(
                                     ngx_http_billing_redis_conn_t *conn,
                                     ngx_http_billing_redis_conn_state_e state,
                                     const char *reason);
    void                              (*returned)(void *data,
                                         ngx_http_billing_redis_pipeline_t *pl,
                                         ngx_int_t rc);
    void                               *returned_data;

    /*
     * The set, and what a connection tells the set.  clustered(): the server
     * is a node of a cluster.  redirected(): called in place of the pipeline's
     * done(), as replies were of the kind that only a cluster sends.  Both are
     * NULL for a node of a cluster, whose pipelines take such replies
     * themselves, and for servers that sentinels name.
     */
    void                               *set;
    void                              (*clustered)(void *set);
    void                              (*redirected)(void *set,
                                        ngx_http_billing_redis_pipeline_t *pl);
} ngx_http_billing_redis_shared_t;


/*
 * The replies to one pipeline that a connection waits for, even if the pipeline
 * was cancelled.
 */

struct ngx_http_billing_redis_pending_s {
    ngx_http_billing_redis_conn_t      *conn;

    /* NULL if the pipeline was cancelled */
    ngx_http_billing_redis_pipeline_t  *pipeline;

    ngx_msec_t                          timeout;
    ngx_uint_t                          ncommands;

    unsigned                            bulk:1;

    /* the reply with the server's role comes before the fence */
    unsigned                            role_due:1;

    /* the reply is handed out item by item */
    unsigned                            items:1;
};


/* the replies of the pipeline that is the n-th to be answered, from 0 */

#define ngx_http_billing_redis_conn_pending(conn, n)                          \
    (&(conn)->pending[((conn)->first + (n))                                   \
                      & (NGX_HTTP_BILLING_REDIS_INFLIGHT - 1)])


struct ngx_http_billing_redis_conn_s {
    ngx_http_billing_redis_event_t        event;
    ngx_http_billing_redis_shared_t      *shared;

    /* counted in server->refs, until another server takes its place */
    ngx_http_billing_redis_server_t      *server;

    /* a ring in the order of the replies: its first place, and how many */
    ngx_http_billing_redis_pending_t     *pending;
    ngx_uint_t                            first;
    ngx_uint_t                            ninflight;

    /* how many replies the first pipeline has had */
    ngx_uint_t                            nreplies;

    /*
     * fences: the digits in each fence of this connection, the number of the
     * last one sent, and the number of the next one to be answered
     */
    u_char                                salt[8];
    ngx_uint_t                            fence_sent;
    ngx_uint_t                            fence_due;

    /* bits of the first commands without a reply; the lowest one is due next */
    ngx_uint_t                            unanswered;

    /* required keys whose replies are still to come */
    ngx_uint_t                            nkeys;

    /* a required key that the server lacks, or NULL */
    ngx_str_t                            *missing;

    /* the time of the last reply, or of the first command without a reply */
    ngx_msec_t                            replied;

    /*
     * Its meaning depends on the state.  CONNECTING and GREETING: this step
     * takes too long.  PROBATION: the probation is over.  READY: the connection
     * was idle, and does not answer.  DRAINING: the last replies take too long.
     */
    ngx_event_t                           timer;
    ngx_msec_t                            timer_due;

    /* expires when a reply is overdue, even if the caller has left */
    ngx_event_t                           watch;
    ngx_msec_t                            watch_due;

    ngx_http_billing_redis_conn_state_e   state;
    ngx_http_billing_redis_blame_e        blame;

    /* the result of waiting pipelines if the server fails */
    ngx_http_billing_redis_result_e       result;

    /* a serial number among the worker's connections to the set */
    ngx_uint_t                            number;

    /* a pipeline was answered */
    unsigned                              served:1;

    /* opened to see if the server can be used again; a probation is to come */
    unsigned                              probe:1;
    unsigned                              probation:1;

    /* Redis tells this connection of changes */
    unsigned                              tracked:1;

    /* the server is a replica */
    unsigned                              replica:1;

    /* the server is a node of a cluster */
    unsigned                              cluster:1;

    /* the fences are EVAL, and not ECHO */
    unsigned                              eval:1;

    /* the push being read is an invalidation: it names keys that changed */
    unsigned                              in_invalidation:1;

    char                                  reason[NGX_HTTP_BILLING_REDIS_REASON];
};


/* At configuration: the handlers of a connection, which is zeroed. */
void ngx_http_billing_redis_conn_init(ngx_http_billing_redis_conn_t *conn,
    ngx_http_billing_redis_shared_t *shared);

/*
 * Begins to connect to conn->server; conn->probe and conn->probation are set
 * before.  Returns NULL, or the reason of a failure at once; a later failure
 * calls shared->lost().
 */
const char *ngx_http_billing_redis_conn_open(
    ngx_http_billing_redis_conn_t *conn);

/*
 * Sends the pipeline on a connection that is READY and has less than
 * NGX_HTTP_BILLING_REDIS_INFLIGHT of them.  If sending fails, shared->lost() is
 * called before this function returns.
 */
void ngx_http_billing_redis_conn_send(ngx_http_billing_redis_conn_t *conn,
    ngx_http_billing_redis_pipeline_t *pl);

/*
 * Closes the connection if pipelines are in flight and no reply has come for so
 * many milliseconds.
 */
void ngx_http_billing_redis_conn_check(ngx_http_billing_redis_conn_t *conn,
    ngx_msec_t silence);

/* Closes the connection once the last replies have come. */
void ngx_http_billing_redis_conn_drain(ngx_http_billing_redis_conn_t *conn);

/* Closes the connection, unless it is closed.  The reason is copied. */
void ngx_http_billing_redis_conn_close(ngx_http_billing_redis_conn_t *conn,
    const char *reason, ngx_http_billing_redis_blame_e blame);

/* If there is no owner and the connection can be it, makes it the owner. */
void ngx_http_billing_redis_conn_own(ngx_http_billing_redis_conn_t *conn);

/* Takes the ownership from the connection, if it is the owner. */
void ngx_http_billing_redis_conn_disown(ngx_http_billing_redis_conn_t *conn);

/* The rest is for the connection's own files. */

/*
 * Sends the first commands, when the connection is made: the credentials, the
 * database, and the rest.  A handler of conn->event.
 */
void ngx_http_billing_redis_conn_greet(ngx_http_billing_redis_event_t *event);

/* Handles a reply, or a piece of one: a handler of conn->event. */
void ngx_http_billing_redis_conn_reply(ngx_http_billing_redis_event_t *event);

/* Handles the end of the connection: a handler of conn->event. */
void ngx_http_billing_redis_conn_closed(ngx_http_billing_redis_event_t *event);

/* Closes the connection if replies are overdue: the handler of conn->watch. */
void ngx_http_billing_redis_conn_watch(ngx_event_t *ev);

/* Sends the commands that show whether the server serves its data. */
void ngx_http_billing_redis_conn_ping(ngx_http_billing_redis_conn_t *conn);

/*
 * Takes a reply to one of the first commands, in the order of these.  Returns
 * NGX_OK if the connection became ready; NGX_AGAIN; or NGX_ERROR if the
 * connection is of no use, with conn->reason and conn->blame.
 */
ngx_int_t ngx_http_billing_redis_conn_greeting(
    ngx_http_billing_redis_conn_t *conn);

/* Sends CLIENT TRACKING; returns NGX_ERROR if there is no memory. */
ngx_int_t ngx_http_billing_redis_conn_send_tracking(
    ngx_http_billing_redis_conn_t *conn);

/*
 * Takes the reply to CLIENT TRACKING.  Returns NGX_DECLINED if Redis will tell
 * the connection of nothing.
 */
ngx_int_t ngx_http_billing_redis_conn_tracking(
    ngx_http_billing_redis_conn_t *conn);

/*
 * Reads HELLO's reply.  Returns NGX_OK and the server's role, or NGX_DECLINED
 * if RESP3 is not spoken.  Sets conn->cluster.
 */
ngx_int_t ngx_http_billing_redis_conn_hello(ngx_http_billing_redis_conn_t *conn,
    ngx_uint_t *replica);

/* Asks for the server's role; returns NGX_ERROR if there is no memory. */
ngx_int_t ngx_http_billing_redis_conn_send_role(
    ngx_http_billing_redis_conn_t *conn);

/*
 * Takes the reply with the server's role.  Returns NGX_DECLINED if there is
 * none: then the connection is not tracked any more.
 */
ngx_int_t ngx_http_billing_redis_conn_role(
    ngx_http_billing_redis_conn_t *conn);

/* Takes a piece of a push. */
void ngx_http_billing_redis_conn_push(ngx_http_billing_redis_conn_t *conn);

/* Sends the next fence; returns NGX_ERROR if there is no memory. */
ngx_int_t ngx_http_billing_redis_conn_send_fence(
    ngx_http_billing_redis_conn_t *conn);

/* Is the reply the fence that is due?  If so, the next one becomes due. */
ngx_uint_t ngx_http_billing_redis_conn_is_fence(
    ngx_http_billing_redis_conn_t *conn);

/*
 * The first fence was refused.  Returns 1 if the next connection is to try
 * another kind of fence, EVAL.
 */
ngx_uint_t ngx_http_billing_redis_conn_no_echo(
    ngx_http_billing_redis_conn_t *conn);

/* The text of a wrong reply to one of the first commands, without secrets. */
const char *ngx_http_billing_redis_conn_error(
    ngx_http_billing_redis_conn_t *conn);

/* Does the reply say that the server serves nobody for a while? */
ngx_uint_t ngx_http_billing_redis_conn_unready(
    ngx_http_billing_redis_reply_t *reply);


#if (NGX_HTTP_BILLING_REDIS_SSL)

/* Makes the TLS context of a set; logs a mistake in its configuration. */
ngx_int_t ngx_http_billing_redis_ssl_init(ngx_conf_t *cf,
    ngx_http_billing_redis_shared_t *shared);

/*
 * Begins TLS on a connection that is being opened, to a server of this name.
 * Returns NULL, and hiredis owns the TLS data; or the reason of a failure,
 * which may be in the text, of NGX_HTTP_BILLING_REDIS_REASON bytes.
 */
const char *ngx_http_billing_redis_ssl_open(
    ngx_http_billing_redis_shared_t *shared,
    ngx_http_billing_redis_event_t *event, ngx_str_t *name, char *text,
    redisAsyncContext *ac);

/*
 * Returns the error of a connection with TLS, or NULL.  The error may be in the
 * text, of NGX_HTTP_BILLING_REDIS_REASON bytes.
 */
const char *ngx_http_billing_redis_ssl_error(
    ngx_http_billing_redis_event_t *event, char *text);

#endif

/*
 * For a connection that failed before it could be used, and that the worker or
 * the server has closed.  Returns the reason; or text, of
 * NGX_HTTP_BILLING_REDIS_REASON bytes, with the reason and a hint that the URL
 * may be wrong: "rediss://" for a port without TLS, or the reverse.
 */
const char *ngx_http_billing_redis_ssl_hint(
    ngx_http_billing_redis_event_t *event, ngx_http_billing_redis_peer_t *peer,
    ngx_uint_t closed_by_worker, const char *reason, u_char *text);


#endif /* _NGX_HTTP_BILLING_REDIS_CONN_H_INCLUDED_ */
