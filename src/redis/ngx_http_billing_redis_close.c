
#include "ngx_http_billing_redis_conn.h"
#include "ngx_http_billing_redis_error.h"


/* closed connections in a row after which HELLO, or ECHO, is replaced */

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
               && (conn->due == NGX_HTTP_BILLING_REDIS_FIRST_HELLO
                   || conn->due == NGX_HTTP_BILLING_REDIS_FIRST_FENCE))
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
 * A proxy that does not know HELLO, or ECHO, closes each connection on the
 * command, which is replaced then.  A single loss replaces nothing.  A proxy
 * whose server is down closes each connection, too: so, once the server answers
 * without HELLO, a connection has to be closed on HELLO again.
 */

static const char *
ngx_http_billing_redis_conn_closed_on(ngx_http_billing_redis_conn_t *conn,
    const char *reason)
{
    ngx_http_billing_redis_server_t  *server;

    server = conn->server;
    conn->blame = NGX_HTTP_BILLING_REDIS_BLAME_NONE;

    if (conn->due == NGX_HTTP_BILLING_REDIS_FIRST_HELLO
        && server->resp2_works)
    {
        server->resp2 = 1;
        return reason;
    }

    if (++server->closes < NGX_HTTP_BILLING_REDIS_CLOSES) {
        return reason;
    }

    server->closes = 0;

    if (conn->due == NGX_HTTP_BILLING_REDIS_FIRST_HELLO) {
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
    ngx_http_billing_redis_slot_t      *slot;
    ngx_http_billing_redis_shared_t    *shared;
    ngx_http_billing_redis_pipeline_t  *pl;

    shared = conn->shared;

    while (conn->ninflight) {

        slot = ngx_http_billing_redis_conn_slot(conn, --conn->ninflight);
        pl = slot->pipeline;

        shared->nbulk -= slot->bulk;

        if (pl == NULL) {
            shared->returned(shared->returned_data, NULL, NGX_OK);
            continue;
        }

        pl->slot = NULL;
        rc = NGX_OK;

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

    ngx_free(conn->slots);
    conn->slots = NULL;
}
