
#include "ngx_http_billing_redis_conn.h"


/* milliseconds for which a server that is back has to stay so */

#define NGX_HTTP_BILLING_REDIS_PROBATION  2000

/* bytes of the command that asks for an echo */

#define NGX_HTTP_BILLING_REDIS_ECHO       80


static void ngx_http_billing_redis_conn_connected(const redisAsyncContext *ac,
    int status);
static void ngx_http_billing_redis_conn_greet(
    ngx_http_billing_redis_conn_t *conn);
static void ngx_http_billing_redis_conn_greeting(
    ngx_http_billing_redis_conn_t *conn, ngx_uint_t argc, ngx_str_t *argv);
static void ngx_http_billing_redis_conn_greeted(
    ngx_http_billing_redis_conn_t *conn);
static void ngx_http_billing_redis_conn_redact(ngx_str_t *text);
static void ngx_http_billing_redis_conn_reply(
    ngx_http_billing_redis_event_t *event);
static ngx_uint_t ngx_http_billing_redis_conn_unready(
    ngx_http_billing_redis_reply_t *reply);
static void ngx_http_billing_redis_conn_fence(
    ngx_http_billing_redis_conn_t *conn, ngx_http_billing_redis_slot_t *slot);
static void ngx_http_billing_redis_conn_closed(
    ngx_http_billing_redis_event_t *event);


static ngx_str_t  ngx_http_billing_redis_echo =
    ngx_string("*2\r\n$4\r\nECHO\r\n");


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

    conn->event.reply = ngx_http_billing_redis_conn_reply;
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
    conn->result = NGX_HTTP_BILLING_REDIS_UNAVAILABLE;
    conn->number = ++conn->redis->number;
    conn->salt = (uint32_t) ngx_random();
    conn->ngreetings = 0;
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

    if (password->len) {
        n = 1;

        ngx_str_set(&argv[0], "AUTH");

        if (peer->user.len) {
            argv[n++] = peer->user;
        }

        argv[n++] = *password;

        ngx_http_billing_redis_conn_greeting(conn, n, argv);
    }

    conn->auth = (password->len != 0);

    if (peer->db.len) {
        ngx_str_set(&argv[0], "SELECT");
        argv[1] = peer->db;

        ngx_http_billing_redis_conn_greeting(conn, 2, argv);
    }

    ngx_str_set(&argv[0], "PING");

    ngx_http_billing_redis_conn_greeting(conn, 1, argv);
}


/* where there is no memory for one of these, the timer closes the connection */

static void
ngx_http_billing_redis_conn_greeting(ngx_http_billing_redis_conn_t *conn,
    ngx_uint_t argc, ngx_str_t *argv)
{
    size_t       len[3];
    ngx_uint_t   i;
    const char  *arg[3];

    for (i = 0; i < argc; i++) {
        arg[i] = (const char *) argv[i].data;
        len[i] = argv[i].len;
    }

    conn->ngreetings++;

    (void) ngx_http_billing_redis_event_command(&conn->event, argc, arg,
                                                len);
}


static void
ngx_http_billing_redis_conn_greeted(ngx_http_billing_redis_conn_t *conn)
{
    ngx_uint_t                        auth;
    const char                       *reason;
    ngx_http_billing_redis_reader_t  *reader;
    ngx_http_billing_redis_reply_t   *reply;

    reader = &conn->event.reader;
    reply = &reader->reply;

    auth = conn->auth;

    conn->auth = 0;
    conn->ngreetings--;

    if (reply->type != NGX_HTTP_BILLING_REDIS_STATUS
        || (conn->ngreetings == 0
            && ngx_http_billing_redis_reader_left(reader)))
    {
        conn->redis->stat->errors++;

        if (!ngx_http_billing_redis_conn_unready(reply)) {
            conn->result = NGX_HTTP_BILLING_REDIS_BROKEN;
        }

        reason = "unexpected reply";

        if (reply->type == NGX_HTTP_BILLING_REDIS_ERROR) {

            if (auth) {
                ngx_http_billing_redis_conn_redact(&reply->text);
            }

            reason = (const char *) reply->text.data;
        }

        ngx_http_billing_redis_conn_close(conn, reason,
                                          NGX_HTTP_BILLING_REDIS_BLAME_NONE);
        return;
    }

    if (conn->ngreetings) {
        return;
    }

    conn->event.connection->idle = 1;

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
ngx_http_billing_redis_conn_redact(ngx_str_t *text)
{
    u_char  *p;

    if (ngx_strncmp(text->data, "WRONGPASS ", 10) == 0) {
        return;
    }

    p = ngx_strlchr(text->data, text->data + text->len, ' ');

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

    if (conn->answered && conn->ngreetings == 0) {

        /* the end of the probation: once more, and it is taken */

        ngx_add_timer(&conn->timer, conn->redis->conf.connect_timeout);

        ngx_str_set(&ping, "PING");

        conn->event.connection->idle = 0;

        ngx_http_billing_redis_conn_greeting(conn, 1, &ping);
        return;
    }

    if (conn->event.context->c.flags & REDIS_CONNECTED) {
        conn->result = NGX_HTTP_BILLING_REDIS_TIMEOUT;
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
    u_char                          echo[NGX_HTTP_BILLING_REDIS_ECHO], *p;
    ngx_http_billing_redis_slot_t  *slot;

    slot = ngx_alloc(sizeof(ngx_http_billing_redis_slot_t), ngx_cycle->log);
    if (slot == NULL) {
        ngx_http_billing_redis_fail(pl, NGX_HTTP_BILLING_REDIS_BROKEN);
        return;
    }

    slot->conn = conn;
    slot->pipeline = pl;
    slot->bulk = pl->bulk;
    slot->ncommands = pl->ncommands;
    slot->nreplies = 0;

    p = ngx_hex_dump(slot->fence, (u_char *) &conn->salt, sizeof(uint32_t));
    *p++ = '.';
    p = ngx_http_billing_decimal(p, ++conn->fence);

    slot->fence_len = p - slot->fence;

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

    p = ngx_cpymem(echo, ngx_http_billing_redis_echo.data,
                   ngx_http_billing_redis_echo.len);
    p = ngx_http_billing_redis_argument(p, slot->fence, slot->fence_len);

    if (ngx_http_billing_redis_event_send(&conn->event, pl->start,
                                          pl->last - pl->start)
        != NGX_OK
        || ngx_http_billing_redis_event_send(&conn->event, echo, p - echo)
           != NGX_OK)
    {
        ngx_http_billing_redis_conn_close(conn, "no memory for a command",
                                          NGX_HTTP_BILLING_REDIS_BLAME_CONN);
    }
}


static void
ngx_http_billing_redis_conn_reply(ngx_http_billing_redis_event_t *event)
{
    ngx_queue_t                        *q;
    ngx_http_billing_redis_conn_t      *conn;
    ngx_http_billing_redis_slot_t      *slot;
    ngx_http_billing_redis_reply_t     *reply;
    ngx_http_billing_redis_pipeline_t  *pl;

    conn = event->data;
    reply = &event->reader.reply;

    if (conn->ngreetings) {
        ngx_http_billing_redis_conn_greeted(conn);
        return;
    }

    if (ngx_queue_empty(&conn->inflight)) {
        ngx_http_billing_redis_conn_close(conn, "reply to a command never sent",
                                          NGX_HTTP_BILLING_REDIS_BLAME_CONN);
        return;
    }

    conn->replied = ngx_current_msec;

    if (ngx_http_billing_redis_conn_unready(reply)) {
        conn->redis->stat->errors++;
        ngx_http_billing_redis_conn_close(conn, (char *) reply->text.data,
                                          NGX_HTTP_BILLING_REDIS_BLAME_NONE);
        return;
    }

    q = ngx_queue_head(&conn->inflight);
    slot = ngx_queue_data(q, ngx_http_billing_redis_slot_t, queue);

    if (slot->nreplies == slot->ncommands) {
        ngx_http_billing_redis_conn_fence(conn, slot);
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
ngx_http_billing_redis_conn_unready(ngx_http_billing_redis_reply_t *reply)
{
    u_char  *text;

    text = reply->text.data;

    return reply->type == NGX_HTTP_BILLING_REDIS_ERROR
           && (ngx_strncmp(text, "LOADING", 7) == 0
               || ngx_strncmp(text, "MASTERDOWN", 10) == 0
               || ngx_strncmp(text, "BUSY ", 5) == 0);
}


static void
ngx_http_billing_redis_conn_fence(ngx_http_billing_redis_conn_t *conn,
    ngx_http_billing_redis_slot_t *slot)
{
    ngx_http_billing_redis_reader_t    *reader;
    ngx_http_billing_redis_reply_t     *reply;
    ngx_http_billing_redis_pipeline_t  *pl;

    reader = &conn->event.reader;
    reply = &reader->reply;

    if (conn->ninflight == 1 && ngx_http_billing_redis_reader_left(reader)) {
        ngx_http_billing_redis_conn_close(conn, "reply to a command never sent",
                                          NGX_HTTP_BILLING_REDIS_BLAME_CONN);
        return;
    }

    if (reply->type == NGX_HTTP_BILLING_REDIS_ERROR) {
        conn->redis->stat->errors++;
        ngx_http_billing_redis_conn_close(conn, (char *) reply->text.data,
                                          NGX_HTTP_BILLING_REDIS_BLAME_FIRST);
        return;
    }

    if (reply->type != NGX_HTTP_BILLING_REDIS_STRING
        || reply->text.len != slot->fence_len
        || ngx_memcmp(reply->text.data, slot->fence, slot->fence_len) != 0)
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

        conn->redis->duration(conn->redis->duration_data,
                              ngx_current_msec - pl->sent);

        pl->server = &conn->server->peer->name;
        pl->connection = conn->number;
        pl->slot = NULL;
        pl->active = 0;

        pl->done(pl->data, NGX_HTTP_BILLING_REDIS_OK);
    }

    /* a second round of the same lookups goes before the next bulk */

    ngx_http_billing_redis_conn_served(conn);
}


void
ngx_http_billing_redis_conn_close(ngx_http_billing_redis_conn_t *conn,
    const char *reason, ngx_http_billing_redis_blame_e blame)
{
    char  *p;

    if (conn->state == NGX_HTTP_BILLING_REDIS_CLOSED) {
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

    if (event->unreadable) {
        conn->blame = NGX_HTTP_BILLING_REDIS_BLAME_FIRST;
    }

    if (conn->timer.timer_set) {
        ngx_del_timer(&conn->timer);
    }

    ngx_http_billing_redis_conn_lost(conn, reason);
}
