
#include "ngx_http_billing_redis_conn.h"
#include "ngx_http_billing_redis_error.h"


/* milliseconds without a reply after which a connection is on trial */

#define NGX_HTTP_BILLING_REDIS_IDLE   1000

/* milliseconds that such a trial takes, at most */

#define NGX_HTTP_BILLING_REDIS_TRIAL  200


static ngx_int_t ngx_http_billing_redis_conn_write(
    ngx_http_billing_redis_conn_t *conn,
    ngx_http_billing_redis_pipeline_t *pl);
static void ngx_http_billing_redis_conn_item(
    ngx_http_billing_redis_conn_t *conn);
static void ngx_http_billing_redis_conn_fenced(
    ngx_http_billing_redis_conn_t *conn);


void
ngx_http_billing_redis_conn_send(ngx_http_billing_redis_conn_t *conn,
    ngx_http_billing_redis_pipeline_t *pl)
{
    ngx_msec_t                         idle;
    ngx_http_billing_redis_shared_t   *shared;
    ngx_http_billing_redis_pending_t  *pending;

    shared = conn->shared;

    if (conn->ninflight == 0) {
        idle = ngx_current_msec - conn->replied;
        conn->replied = ngx_current_msec;

        /* a firewall may have dropped the idle connection without a word */

        if (idle >= NGX_HTTP_BILLING_REDIS_IDLE) {
            ngx_http_billing_redis_add_timer(&conn->timer, &conn->timer_due,
                                          ngx_min(NGX_HTTP_BILLING_REDIS_TRIAL,
                                                  pl->timeout / 4));
        }
    }

    pending = ngx_http_billing_redis_conn_pending(conn, conn->ninflight);

    pending->conn = conn;
    pending->pipeline = pl;
    pending->timeout = pl->timeout;
    pending->ncommands = pl->ncommands;
    pending->bulk = pl->bulk;
    pending->role_due = (pl->asks_role && conn->event.reader.resp3);
    pending->items = (pl->item != NULL);

    if (conn->ninflight++ == 0) {
        conn->event.reader.items = pending->items;
    }

    shared->nbulk += pending->bulk;

    conn->event.connection->idle = 0;

    if (!conn->watch.timer_set) {
        ngx_http_billing_redis_add_timer(&conn->watch, &conn->watch_due,
                                         pl->timeout);
    }

    pl->state = NGX_HTTP_BILLING_REDIS_PIPELINE_SENT;
    pl->pending = pending;
    pl->sent = ngx_current_msec;
    pl->tries++;

    shared->stat->commands += pending->ncommands;
    shared->stat->retries += pl->resend;

    pl->resend = 0;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, shared->log, 0,
                   "billing redis send %ui commands on connection %ui to "
                   "\"%V\"", pending->ncommands, conn->number,
                   &conn->server->peer->name);

    if (pl->sending) {
        pl->sending(pl->data, conn->number, 0, pl->ncommands);
    }

    if (ngx_http_billing_redis_conn_write(conn, pl) != NGX_OK
        || (pending->role_due
            && ngx_http_billing_redis_conn_send_role(conn) != NGX_OK)
        || ngx_http_billing_redis_conn_send_fence(conn) != NGX_OK)
    {
        ngx_http_billing_redis_conn_close(conn, "no memory for a command",
                                          NGX_HTTP_BILLING_REDIS_BLAME_CONN);
    }
}


static ngx_int_t
ngx_http_billing_redis_conn_write(ngx_http_billing_redis_conn_t *conn,
    ngx_http_billing_redis_pipeline_t *pl)
{
    if (pl->write) {
        return pl->write(pl->data, &conn->event);
    }

    return ngx_http_billing_redis_event_send(&conn->event, pl->start,
                                             pl->last - pl->start);
}


void
ngx_http_billing_redis_conn_reply(ngx_http_billing_redis_event_t *event)
{
    ngx_http_billing_redis_conn_t      *conn;
    ngx_http_billing_redis_reply_t     *reply;
    ngx_http_billing_redis_pending_t   *pending;
    ngx_http_billing_redis_pipeline_t  *pl;

    conn = event->data;
    reply = &event->reader.reply;

    /* a push answers no command: it is no sign that the server answers */

    switch (reply->piece) {

    case NGX_HTTP_BILLING_REDIS_REPLY:
        break;

    case NGX_HTTP_BILLING_REDIS_ITEM:
        ngx_http_billing_redis_conn_item(conn);
        return;

    default:
        ngx_http_billing_redis_conn_push(conn);
        return;
    }

    if (conn->state == NGX_HTTP_BILLING_REDIS_GREETING) {

        switch (ngx_http_billing_redis_conn_greeting(conn)) {

        case NGX_OK:
            conn->shared->ready(conn);
            return;

        case NGX_AGAIN:
            return;

        default: /* NGX_ERROR */
            ngx_http_billing_redis_conn_close(conn, conn->reason, conn->blame);
            return;
        }
    }

    if (conn->ninflight == 0) {
        ngx_http_billing_redis_conn_close(conn, "reply to a command never sent",
                                          NGX_HTTP_BILLING_REDIS_BLAME_CONN);
        return;
    }

    conn->replied = ngx_current_msec;

    if (conn->state == NGX_HTTP_BILLING_REDIS_SUSPECT) {
        conn->state = NGX_HTTP_BILLING_REDIS_READY;

    } else if (conn->state == NGX_HTTP_BILLING_REDIS_READY
               && conn->timer.timer_set)
    {
        ngx_del_timer(&conn->timer);
    }

    if (ngx_http_billing_redis_conn_unready(reply)) {
        conn->shared->stat->errors++;
        ngx_http_billing_redis_conn_close(conn, (char *) reply->text.data,
                                          NGX_HTTP_BILLING_REDIS_BLAME_SERVER);
        return;
    }

    pending = ngx_http_billing_redis_conn_pending(conn, 0);

    if (conn->nreplies == pending->ncommands) {

        if (pending->role_due) {
            pending->role_due = 0;

            if (ngx_http_billing_redis_conn_role(conn) != NGX_OK) {
                conn->shared->stat->errors++;
                ngx_http_billing_redis_server_refuses(conn->server, "HELLO",
                                      ngx_http_billing_redis_conn_error(conn));
            }

        } else {
            ngx_http_billing_redis_conn_fenced(conn);
        }

        return;
    }

    pl = pending->pipeline;

    if (pl) {

        if (reply->type == NGX_HTTP_BILLING_REDIS_ERROR
            && conn->shared->redirected && !pl->part
            && ngx_http_billing_redis_error_cluster(&reply->text))
        {
            pl->redirected = 1;
        }

        pl->reply(pl->data, conn->nreplies, reply);
    }

    conn->nreplies++;
    conn->event.reader.items = 0;
}


static void
ngx_http_billing_redis_conn_item(ngx_http_billing_redis_conn_t *conn)
{
    ngx_http_billing_redis_pipeline_t  *pl;

    conn->replied = ngx_current_msec;

    pl = ngx_http_billing_redis_conn_pending(conn, 0)->pipeline;

    if (pl) {
        pl->item(pl->data, &conn->event.reader.reply);
    }
}


static void
ngx_http_billing_redis_conn_fenced(ngx_http_billing_redis_conn_t *conn)
{
    ngx_http_billing_redis_reply_t     *reply;
    ngx_http_billing_redis_shared_t    *shared;
    ngx_http_billing_redis_pending_t   *pending;
    ngx_http_billing_redis_pipeline_t  *pl;

    shared = conn->shared;
    reply = &conn->event.reader.reply;

    if (conn->ninflight == 1
        && ngx_http_billing_redis_reader_left(&conn->event.reader))
    {
        ngx_http_billing_redis_conn_close(conn, "reply to a command never sent",
                                          NGX_HTTP_BILLING_REDIS_BLAME_CONN);
        return;
    }

    if (reply->type == NGX_HTTP_BILLING_REDIS_ERROR) {
        shared->stat->errors++;
        ngx_http_billing_redis_conn_close(conn, (char *) reply->text.data,
                                          NGX_HTTP_BILLING_REDIS_BLAME_REPLY);
        return;
    }

    if (!ngx_http_billing_redis_conn_is_fence(conn)) {
        shared->stat->errors++;
        ngx_http_billing_redis_conn_close(conn, "replies are out of step",
                                          NGX_HTTP_BILLING_REDIS_BLAME_CONN);
        return;
    }

    pending = ngx_http_billing_redis_conn_pending(conn, 0);
    pl = pending->pipeline;

    conn->first++;
    conn->ninflight--;
    conn->nreplies = 0;
    conn->served = 1;
    conn->event.connection->idle = (conn->ninflight == 0);

    if (conn->ninflight) {
        conn->event.reader.items
                         = ngx_http_billing_redis_conn_pending(conn, 0)->items;
    }

    shared->nbulk -= pending->bulk;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, shared->log, 0,
                   "billing redis pipeline answered on connection %ui%s",
                   conn->number, pl ? "" : ", its caller has left");

    if (pl) {
        ngx_del_timer(&pl->timer);

        shared->duration(shared->duration_data, ngx_current_msec - pl->sent);

        pl->state = NGX_HTTP_BILLING_REDIS_PIPELINE_IDLE;
        pl->pending = NULL;
        pl->server = &conn->server->peer->name;
        pl->connection = conn->number;

        if (pl->redirected) {
            shared->redirected(shared->set, pl);

        } else {
            pl->done(pl->data, NGX_HTTP_BILLING_REDIS_OK);
        }
    }

    /* told after done(): the caller's next commands precede a bulk pipeline */

    shared->answered(conn);
}


/* the timer is not reset at each reply: it is set again when it expires */

void
ngx_http_billing_redis_conn_watch(ngx_event_t *ev)
{
    ngx_msec_int_t                     left;
    ngx_http_billing_redis_conn_t     *conn;
    ngx_http_billing_redis_pending_t  *pending;

    conn = ev->data;

    if (conn->ninflight == 0) {
        return;
    }

    pending = ngx_http_billing_redis_conn_pending(conn, 0);

    left = (ngx_msec_int_t) (conn->replied + pending->timeout
                             - ngx_current_msec);

    if (left > 0) {
        ngx_http_billing_redis_add_timer(ev, &conn->watch_due,
                                         (ngx_msec_t) left);
        return;
    }

    if (ngx_http_billing_redis_stalled(ev, &conn->watch_due)) {
        return;
    }

    if (pending->pipeline == NULL) {

        /* the caller has left, so nobody else counts the timeout */

        conn->shared->stat->timeouts++;
    }

    ngx_http_billing_redis_conn_check(conn, pending->timeout);
}


void
ngx_http_billing_redis_conn_check(ngx_http_billing_redis_conn_t *conn,
    ngx_msec_t silence)
{
    if (conn->ninflight == 0 || ngx_current_msec - conn->replied < silence) {
        return;
    }

    conn->result = NGX_HTTP_BILLING_REDIS_TIMEOUT;

    ngx_http_billing_redis_conn_close(conn, "server does not answer",
                                      NGX_HTTP_BILLING_REDIS_BLAME_SERVER);
}
