
#include "ngx_http_billing_redis_conn.h"


/* milliseconds for which a server that is back has to stay so */

#define NGX_HTTP_BILLING_REDIS_PROBATION  2000


static void ngx_http_billing_redis_conn_connected(const redisAsyncContext *ac,
    int status);
static void ngx_http_billing_redis_conn_greet(
    ngx_http_billing_redis_conn_t *conn);
static void ngx_http_billing_redis_conn_greeted(redisAsyncContext *ac,
    void *data, void *privdata);
static void ngx_http_billing_redis_conn_redact(redisReply *reply);
static ngx_int_t ngx_http_billing_redis_conn_command(
    ngx_http_billing_redis_conn_t *conn, ngx_uint_t argc, ngx_str_t *argv,
    redisCallbackFn *handler, void *data);
static ngx_int_t ngx_http_billing_redis_conn_append(
    ngx_http_billing_redis_conn_t *conn, ngx_str_t *command,
    redisCallbackFn *handler, void *data);
static void ngx_http_billing_redis_conn_reply(redisAsyncContext *ac,
    void *data, void *privdata);
static ngx_uint_t ngx_http_billing_redis_conn_unready(redisReply *reply);
static void ngx_http_billing_redis_conn_fence(
    ngx_http_billing_redis_slot_t *slot, redisReply *reply);
static void ngx_http_billing_redis_conn_closed(
    ngx_http_billing_redis_event_t *event);


const char *
ngx_http_billing_redis_conn_open(ngx_http_billing_redis_conn_t *conn)
{
#if (NGX_HTTP_BILLING_REDIS_SSL)
    const char                     *reason;
#endif
    redisAsyncContext              *ac;
    ngx_http_billing_redis_peer_t  *peer;

    peer = conn->server->peer;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "billing redis connect to \"%V\"", &peer->name);

    ac = peer->port
         ? redisAsyncConnect((const char *) peer->host.data, peer->port)
         : redisAsyncConnectUnix((const char *) peer->host.data);

    if (ac == NULL) {
        return "no memory";
    }

    if (ac->err) {
        ngx_cpystrn((u_char *) conn->reason, (u_char *) ac->errstr,
                    sizeof(conn->reason));
        redisAsyncFree(ac);
        return conn->reason;
    }

#if (NGX_HTTP_BILLING_REDIS_SSL)

    conn->event.ssl = NULL;

    if (peer->ssl_name.len) {
        reason = ngx_http_billing_redis_ssl_open(conn, ac);

        if (reason) {
            redisAsyncFree(ac);
            return reason;
        }
    }

#endif

    conn->event.closed = ngx_http_billing_redis_conn_closed;
    conn->event.data = conn;

    if (ngx_http_billing_redis_event_attach(&conn->event, ac, ngx_cycle->log)
        != NGX_OK)
    {
        redisAsyncFree(ac);
        return "no connections left in the worker";
    }

    conn->state = NGX_HTTP_BILLING_REDIS_CONNECTING;
    conn->blame = NGX_HTTP_BILLING_REDIS_BLAME_CONN;
    conn->rc = NGX_DECLINED;
    conn->salt = (uint32_t) ngx_random();
    conn->served = 0;
    conn->answered = 0;

    (void) redisAsyncSetConnectCallback(ac,
                                        ngx_http_billing_redis_conn_connected);

    ngx_add_timer(&conn->timer, conn->redis->conf.connect_timeout);

    return NULL;
}


static void
ngx_http_billing_redis_conn_connected(const redisAsyncContext *ac, int status)
{
    ngx_http_billing_redis_event_t  *event;

    if (status != REDIS_OK) {
        return;
    }

    event = ac->ev.data;

    ngx_http_billing_redis_conn_greet(event->data);
}


/* only a server that answers a PING serves: others say -LOADING, -NOAUTH */

static void
ngx_http_billing_redis_conn_greet(ngx_http_billing_redis_conn_t *conn)
{
    ngx_str_t                       argv[3], *password;
    ngx_uint_t                      n;
    ngx_http_billing_redis_peer_t  *peer;

    peer = conn->server->peer;
    password = &conn->server->password;

    /* where there is no memory for one of these, the timer closes it */

    if (password->len) {
        n = 1;

        ngx_str_set(&argv[0], "AUTH");

        if (peer->user.len) {
            argv[n++] = peer->user;
        }

        argv[n++] = *password;

        if (ngx_http_billing_redis_conn_command(conn, n, argv,
                                           ngx_http_billing_redis_conn_greeted,
                                           password)
            != NGX_OK)
        {
            return;
        }
    }

    if (peer->db.len) {
        ngx_str_set(&argv[0], "SELECT");
        argv[1] = peer->db;

        if (ngx_http_billing_redis_conn_command(conn, 2, argv,
                                           ngx_http_billing_redis_conn_greeted,
                                           NULL)
            != NGX_OK)
        {
            return;
        }
    }

    ngx_str_set(&argv[0], "PING");

    (void) ngx_http_billing_redis_conn_command(conn, 1, argv,
                                           ngx_http_billing_redis_conn_greeted,
                                           conn);
}


static void
ngx_http_billing_redis_conn_greeted(redisAsyncContext *ac, void *data,
    void *privdata)
{
    redisReply                      *reply = data;
    ngx_http_billing_redis_conn_t   *conn;
    ngx_http_billing_redis_event_t  *event;

    if (reply == NULL) {
        return;
    }

    event = ac->ev.data;
    conn = event->data;

    if (reply->type != REDIS_REPLY_STATUS
        || ngx_http_billing_redis_event_unsolicited(event))
    {
        conn->redis->stat->errors++;

        if (!ngx_http_billing_redis_conn_unready(reply)) {
            conn->rc = NGX_ERROR;
        }

        if (privdata == &conn->server->password) {
            ngx_http_billing_redis_conn_redact(reply);
        }

        ngx_http_billing_redis_conn_close(conn,
                                          reply->type == REDIS_REPLY_ERROR
                                          ? reply->str : "unexpected reply",
                                          NGX_HTTP_BILLING_REDIS_BLAME_NONE);
        return;
    }

    if (privdata != conn) {
        return;
    }

    event->connection->idle = 1;

    if (conn->probe && !conn->answered) {
        conn->answered = 1;
        ngx_add_timer(&conn->timer, NGX_HTTP_BILLING_REDIS_PROBATION);
        return;
    }

    ngx_del_timer(&conn->timer);

    conn->state = NGX_HTTP_BILLING_REDIS_READY;

    ngx_http_billing_redis_conn_ready(conn);
}


/*
 * Of the error that answers AUTH: Redis' own have no credentials in them, but
 * for that of an unknown command, and who knows what a proxy says.
 */

static void
ngx_http_billing_redis_conn_redact(redisReply *reply)
{
    char  *p;

    if (reply->type != REDIS_REPLY_ERROR
        || ngx_strncmp(reply->str, "WRONGPASS ", 10) == 0)
    {
        return;
    }

    p = (char *) ngx_strchr(reply->str, ' ');

    if (p) {
        *p = '\0';
    }
}


void
ngx_http_billing_redis_conn_timeout(ngx_event_t *ev)
{
    ngx_str_t                       ping;
    ngx_http_billing_redis_conn_t  *conn;

    conn = ev->data;

    if (conn->state == NGX_HTTP_BILLING_REDIS_DRAINING) {
        ngx_http_billing_redis_conn_close(conn, "not needed any more",
                                          NGX_HTTP_BILLING_REDIS_BLAME_CONN);
        return;
    }

    if (conn->answered && conn->event.context->replies.head == NULL) {

        /* the end of the probation: once more, and it is taken */

        ngx_add_timer(&conn->timer, conn->redis->conf.connect_timeout);

        ngx_str_set(&ping, "PING");

        conn->event.connection->idle = 0;

        (void) ngx_http_billing_redis_conn_command(conn, 1, &ping,
                                           ngx_http_billing_redis_conn_greeted,
                                           conn);
        return;
    }

    if (conn->event.context->c.flags & REDIS_CONNECTED) {
        conn->rc = NGX_AGAIN;
        ngx_http_billing_redis_conn_close(conn, "server does not answer",
                                          NGX_HTTP_BILLING_REDIS_BLAME_NONE);
        return;
    }

    ngx_http_billing_redis_conn_close(conn, "connection timed out",
                                      NGX_HTTP_BILLING_REDIS_BLAME_NONE);
}


/*
 * Each pipeline ends with an ECHO of what no other one has, nor any data: its
 * replies count only if the echo comes where it has to.  So a reply too many,
 * or too few, can never give a request the data of another.
 */

void
ngx_http_billing_redis_conn_send(ngx_http_billing_redis_conn_t *conn,
    ngx_http_billing_redis_pipeline_t *pl)
{
    ngx_str_t                      *command, fence[2];
    ngx_uint_t                      i;
    ngx_http_billing_redis_slot_t  *slot;

    slot = ngx_alloc(sizeof(ngx_http_billing_redis_slot_t), ngx_cycle->log);
    if (slot == NULL) {
        ngx_http_billing_redis_fail(pl, NGX_ERROR);
        return;
    }

    slot->conn = conn;
    slot->pipeline = pl;
    slot->bulk = pl->bulk;
    slot->ncommands = pl->commands.nelts;
    slot->nreplies = 0;
    slot->fence_len = ngx_sprintf(slot->fence, "%08xD.%ui", conn->salt,
                                  ++conn->fence)
                      - slot->fence;

    if (conn->ninflight == 0) {
        conn->replied = ngx_current_msec;
    }

    ngx_queue_insert_tail(&conn->inflight, &slot->queue);
    conn->ninflight++;
    conn->redis->nbulk += slot->bulk;

    conn->event.connection->idle = 0;

    pl->slot = slot;
    pl->sent = ngx_current_msec;
    pl->tries++;

    conn->redis->stat->commands += slot->ncommands;
    conn->redis->stat->retries += pl->resend;

    pl->resend = 0;

    command = pl->commands.elts;

    for (i = 0; i < pl->commands.nelts; i++) {
        if (ngx_http_billing_redis_conn_append(conn, &command[i],
                                             ngx_http_billing_redis_conn_reply,
                                             slot)
            != NGX_OK)
        {
            goto failed;
        }
    }

    ngx_str_set(&fence[0], "ECHO");
    fence[1].data = slot->fence;
    fence[1].len = slot->fence_len;

    if (ngx_http_billing_redis_conn_command(conn, 2, fence,
                                            ngx_http_billing_redis_conn_reply,
                                            slot)
        == NGX_OK)
    {
        return;
    }

failed:

    ngx_http_billing_redis_conn_close(conn, "no memory for a command",
                                      NGX_HTTP_BILLING_REDIS_BLAME_CONN);
}


static ngx_int_t
ngx_http_billing_redis_conn_command(ngx_http_billing_redis_conn_t *conn,
    ngx_uint_t argc, ngx_str_t *argv, redisCallbackFn *handler, void *data)
{
    ngx_str_t  command;

    if (ngx_http_billing_redis_format(conn->event.pool, argc, argv, &command)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_billing_redis_conn_append(conn, &command, handler, data);
}


static ngx_int_t
ngx_http_billing_redis_conn_append(ngx_http_billing_redis_conn_t *conn,
    ngx_str_t *command, redisCallbackFn *handler, void *data)
{
    size_t              len;
    redisCallback      *tail;
    redisAsyncContext  *ac;

    ac = conn->event.context;

    tail = ac->replies.tail;
    len = sdslen(ac->c.obuf);

    if (redisAsyncFormattedCommand(ac, handler, data,
                                   (const char *) command->data, command->len)
        != REDIS_OK)
    {
        return NGX_ERROR;
    }

    /* hiredis 0.14 returns REDIS_OK when it had no memory for one of these */

    if (ac->replies.tail == tail || sdslen(ac->c.obuf) == len) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_http_billing_redis_conn_reply(redisAsyncContext *ac, void *data,
    void *privdata)
{
    redisReply                         *reply = data;
    ngx_http_billing_redis_slot_t      *slot = privdata;
    ngx_http_billing_redis_conn_t      *conn;
    ngx_http_billing_redis_pipeline_t  *pl;

    /* the connection is being freed, its closing settles the rest */

    if (reply == NULL || (ac->c.flags & REDIS_FREEING)) {
        return;
    }

    conn = slot->conn;
    conn->replied = ngx_current_msec;

    if (ngx_http_billing_redis_event_unsolicited(&conn->event)) {
        ngx_http_billing_redis_conn_close(conn, "reply to a command never sent",
                                          NGX_HTTP_BILLING_REDIS_BLAME_CONN);
        return;
    }

    if (ngx_http_billing_redis_conn_unready(reply)) {
        conn->redis->stat->errors++;
        ngx_http_billing_redis_conn_close(conn, reply->str,
                                          NGX_HTTP_BILLING_REDIS_BLAME_NONE);
        return;
    }

    if (slot->nreplies == slot->ncommands) {
        ngx_http_billing_redis_conn_fence(slot, reply);
        return;
    }

    pl = slot->pipeline;

    if (pl) {
        pl->reply(pl->data, slot->nreplies, reply);
    }

    slot->nreplies++;
}


/* an answer that says that the server serves no data yet */

static ngx_uint_t
ngx_http_billing_redis_conn_unready(redisReply *reply)
{
    return reply->type == REDIS_REPLY_ERROR
           && (ngx_strncmp(reply->str, "LOADING", 7) == 0
               || ngx_strncmp(reply->str, "MASTERDOWN", 10) == 0
               || ngx_strncmp(reply->str, "BUSY ", 5) == 0);
}


static void
ngx_http_billing_redis_conn_fence(ngx_http_billing_redis_slot_t *slot,
    redisReply *reply)
{
    ngx_http_billing_redis_conn_t      *conn;
    ngx_http_billing_redis_pipeline_t  *pl;

    conn = slot->conn;

    if (reply->type == REDIS_REPLY_ERROR) {
        conn->redis->stat->errors++;
        ngx_http_billing_redis_conn_close(conn, reply->str,
                                          NGX_HTTP_BILLING_REDIS_BLAME_FIRST);
        return;
    }

    if (reply->type != REDIS_REPLY_STRING
        || (size_t) reply->len != slot->fence_len
        || ngx_memcmp(reply->str, slot->fence, slot->fence_len) != 0)
    {
        conn->redis->stat->errors++;
        ngx_http_billing_redis_conn_close(conn, "replies are out of step",
                                          NGX_HTTP_BILLING_REDIS_BLAME_CONN);
        return;
    }

    pl = slot->pipeline;

    ngx_queue_remove(&slot->queue);
    conn->ninflight--;
    conn->redis->nbulk -= slot->bulk;
    ngx_free(slot);

    conn->event.connection->idle = (conn->ninflight == 0);

    conn->served = 1;

    if (pl) {
        ngx_del_timer(&pl->timer);

        ngx_http_billing_histogram_add(&conn->redis->stat->duration,
                                       ngx_current_msec - pl->sent);

        pl->server = &conn->server->peer->name;
        pl->slot = NULL;
        pl->active = 0;

        pl->done(pl->data, NGX_OK);
    }

    /* a second round of the same lookups goes before the next bulk */

    ngx_http_billing_redis_conn_served(conn);
}


void
ngx_http_billing_redis_conn_close(ngx_http_billing_redis_conn_t *conn,
    const char *reason, ngx_http_billing_redis_blame_e blame)
{
    char  *p;

    if (conn->state == NGX_HTTP_BILLING_REDIS_CLOSED
        || conn->state == NGX_HTTP_BILLING_REDIS_CLOSING)
    {
        return;
    }

    /* the reason may be a reply's text, which goes with the reply */

    ngx_cpystrn((u_char *) conn->reason, (u_char *) reason,
                sizeof(conn->reason));

    for (p = conn->reason; *p; p++) {
        if ((u_char) *p < ' ') {
            *p = ' ';
        }
    }

    conn->blame = blame;

    if (conn->state != NGX_HTTP_BILLING_REDIS_CONNECTING) {
        conn->state = NGX_HTTP_BILLING_REDIS_CLOSING;
    }

    ngx_http_billing_redis_event_close(&conn->event, conn->reason);
}


static void
ngx_http_billing_redis_conn_closed(ngx_http_billing_redis_event_t *event)
{
    const char                     *reason;
    redisAsyncContext              *ac;
    ngx_http_billing_redis_conn_t  *conn;

    ac = event->context;
    conn = event->data;

    reason = event->reason;

#if (NGX_HTTP_BILLING_REDIS_SSL)

    if (reason == NULL) {
        reason = ngx_http_billing_redis_ssl_error(event);
    }

#endif

    if (reason == NULL) {
        reason = ac->c.err ? ac->c.errstr : "connection closed";
    }

    if (event->exceeded || ac->c.err == REDIS_ERR_PROTOCOL
        || ac->c.err == REDIS_ERR_OOM)
    {
        conn->blame = NGX_HTTP_BILLING_REDIS_BLAME_FIRST;
    }

    if (conn->timer.timer_set) {
        ngx_del_timer(&conn->timer);
    }

    ngx_http_billing_redis_conn_lost(conn, reason);
}
