
#include "ngx_http_billing_redis_conn.h"
#include "ngx_http_billing_redis_error.h"


/* HELLO, or ECHO, is replaced after so many closed connections in a row */

#define NGX_HTTP_BILLING_REDIS_CLOSES  2

/* milliseconds that a draining connection waits for its last replies */

#define NGX_HTTP_BILLING_REDIS_DRAIN   10000


static const char *ngx_http_billing_redis_conn_closed_on(
    ngx_http_billing_redis_conn_t *conn, const char *reason);
static void ngx_http_billing_redis_conn_return(
    ngx_http_billing_redis_conn_t *conn);


void
ngx_http_billing_redis_conn_drain(ngx_http_billing_redis_conn_t *conn)
{
    ngx_http_billing_redis_conn_disown(conn);

    if (conn->ninflight) {
        conn->state = NGX_HTTP_BILLING_REDIS_DRAINING;
        ngx_add_timer(&conn->timer, NGX_HTTP_BILLING_REDIS_DRAIN);
        return;
    }

    ngx_http_billing_redis_conn_close(conn, "not needed any more",
                                      NGX_HTTP_BILLING_REDIS_BLAME_NONE);
}


void
ngx_http_billing_redis_conn_close(ngx_http_billing_redis_conn_t *conn,
    const char *reason, ngx_http_billing_redis_blame_e blame)
{
    if (conn->state == NGX_HTTP_BILLING_REDIS_CLOSED) {
        return;
    }

    /* the reason may be a reply's text, which is freed with the connection */

    ngx_http_billing_redis_error_line(conn->reason, reason,
                                      sizeof(conn->reason));

    conn->blame = blame;

    ngx_http_billing_redis_event_close(&conn->event, conn->reason);
}


void
ngx_http_billing_redis_conn_closed(ngx_http_billing_redis_event_t *event)
{
    u_char                                text[NGX_HTTP_BILLING_REDIS_REASON];
    const char                           *reason;
    redisAsyncContext                    *ac;
    ngx_http_billing_redis_conn_t        *conn;
    ngx_http_billing_redis_conn_state_e   state;

    ac = event->context;
    conn = event->data;

    ngx_http_billing_redis_conn_disown(conn);

    reason = event->reason;

#if (NGX_HTTP_BILLING_REDIS_SSL)

    if (reason == NULL) {
        reason = ngx_http_billing_redis_ssl_error(event, conn->reason);
    }

#endif

    if (reason == NULL) {
        reason = ac->c.err ? ac->c.errstr : "connection closed";
    }

    if (conn->state == NGX_HTTP_BILLING_REDIS_CONNECTING
        || conn->state == NGX_HTTP_BILLING_REDIS_GREETING)
    {
        reason = ngx_http_billing_redis_ssl_hint(event, conn->server->peer,
                                                 event->reason == conn->reason,
                                                 reason, text);
    }

    if (event->unreadable) {
        conn->blame = NGX_HTTP_BILLING_REDIS_BLAME_REPLY;

    } else if (conn->blame == NGX_HTTP_BILLING_REDIS_BLAME_CONN
               && (conn->unanswered == NGX_HTTP_BILLING_REDIS_FIRST_HELLO
                   || conn->unanswered == NGX_HTTP_BILLING_REDIS_FIRST_FENCE))
    {
        reason = ngx_http_billing_redis_conn_closed_on(conn, reason);
    }

    if (conn->timer.timer_set) {
        ngx_del_timer(&conn->timer);
    }

    if (conn->watch.timer_set) {
        ngx_del_timer(&conn->watch);
    }

    state = conn->state;
    conn->state = NGX_HTTP_BILLING_REDIS_CLOSED;

    conn->shared->lost(conn, state, reason);

    ngx_http_billing_redis_conn_return(conn);
}


/*
 * The connection was closed on HELLO or on the first fence.  A proxy that does
 * not know HELLO, or ECHO, closes each connection on the command.  The command
 * is replaced after two connections in a row, because one may have been lost by
 * chance.
 *
 * The server behind a proxy may have been down meanwhile.  So HELLO is tried
 * once more as soon as a connection without HELLO was answered; a connection
 * that is closed on HELLO then settles that HELLO is not known.
 *
 * Returns the reason to be logged.
 */

static const char *
ngx_http_billing_redis_conn_closed_on(ngx_http_billing_redis_conn_t *conn,
    const char *reason)
{
    ngx_http_billing_redis_server_t  *server;

    server = conn->server;
    conn->blame = NGX_HTTP_BILLING_REDIS_BLAME_NONE;

    if (conn->unanswered == NGX_HTTP_BILLING_REDIS_FIRST_HELLO
        && server->resp2_works)
    {
        server->resp2 = 1;
        return reason;
    }

    if (++server->closes < NGX_HTTP_BILLING_REDIS_CLOSES) {
        return reason;
    }

    server->closes = 0;

    if (conn->unanswered == NGX_HTTP_BILLING_REDIS_FIRST_HELLO) {
        server->resp2 = 1;
        return reason;
    }

    if (ngx_http_billing_redis_conn_no_echo(conn)) {
        return reason;
    }

    conn->blame = NGX_HTTP_BILLING_REDIS_BLAME_CONN;

    return "server closes the connection on ECHO and on EVAL";
}


static void
ngx_http_billing_redis_conn_return(ngx_http_billing_redis_conn_t *conn)
{
    ngx_int_t                           rc;
    ngx_http_billing_redis_shared_t    *shared;
    ngx_http_billing_redis_pending_t   *pending;
    ngx_http_billing_redis_pipeline_t  *pl;

    shared = conn->shared;

    while (conn->ninflight) {

        pending = ngx_http_billing_redis_conn_pending(conn, --conn->ninflight);
        pl = pending->pipeline;

        shared->nbulk -= pending->bulk;

        if (pl == NULL) {
            shared->returned(shared->returned_data, NULL, NGX_OK);
            continue;
        }

        pl->pending = NULL;
        rc = NGX_OK;

        /* the replies of the first pipeline, which comes last here, were due */

        if (conn->ninflight
            || conn->blame == NGX_HTTP_BILLING_REDIS_BLAME_SERVER
            || conn->blame == NGX_HTTP_BILLING_REDIS_BLAME_NONE)
        {
            pl->tries--;

        } else if (conn->blame == NGX_HTTP_BILLING_REDIS_BLAME_REPLY
                   || pl->tries > shared->conf.connections)
        {
            /* one try for each connection is free: all may break at once */

            rc = NGX_ERROR;
        }

        shared->returned(shared->returned_data, pl, rc);
    }

    ngx_free(conn->pending);
    conn->pending = NULL;
}
