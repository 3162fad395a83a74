
#include "ngx_http_billing_redis_conn.h"
#include "ngx_http_billing_redis_error.h"


/* milliseconds of probation for a server that was down */

#define NGX_HTTP_BILLING_REDIS_PROBATION_TIME  2000

/* arguments of a first command or a fence, at most */

#define NGX_HTTP_BILLING_REDIS_ARGS            5

/* bytes of a fence: a salt in hexadecimal digits, a point, and a number */

#define NGX_HTTP_BILLING_REDIS_FENCE           (8 + 1 + NGX_INT64_LEN)


static ngx_int_t ngx_http_billing_redis_conn_command(
    ngx_http_billing_redis_conn_t *conn, ngx_uint_t argc, ngx_str_t *argv);
static u_char *ngx_http_billing_redis_conn_fence_text(u_char *p,
    ngx_http_billing_redis_conn_t *conn, ngx_uint_t n);
static ngx_int_t ngx_http_billing_redis_conn_refused(
    ngx_http_billing_redis_conn_t *conn);
static ngx_int_t ngx_http_billing_redis_conn_failed(
    ngx_http_billing_redis_conn_t *conn, const char *reason,
    ngx_http_billing_redis_blame_e blame);
static ngx_int_t ngx_http_billing_redis_conn_greeted(
    ngx_http_billing_redis_conn_t *conn);


static ngx_str_t  ngx_http_billing_redis_echo =
    ngx_string("*2\r\n$4\r\nECHO\r\n");


void
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

        (void) ngx_http_billing_redis_conn_command(conn, n, argv);

        conn->nstatuses++;
    }

    if (peer->db.len) {
        ngx_str_set(&argv[0], "SELECT");
        argv[1] = peer->db;

        (void) ngx_http_billing_redis_conn_command(conn, 2, argv);

        conn->nstatuses++;
    }

    ngx_http_billing_redis_conn_ping(conn);
}


/*
 * Sends PING and a read of each required key.  A server that does not serve
 * answers PING with -LOADING or -NOAUTH.  A server without a required key has
 * not loaded its data.  The fence is sent only after the replies: a proxy that
 * does not know ECHO may close the connection and drop all replies.
 */

void
ngx_http_billing_redis_conn_ping(ngx_http_billing_redis_conn_t *conn)
{
    ngx_str_t   argv[2], *key;
    ngx_uint_t  i;

    conn->state = NGX_HTTP_BILLING_REDIS_GREETING;
    conn->event.connection->idle = 0;

    ngx_str_set(&argv[0], "PING");

    (void) ngx_http_billing_redis_conn_command(conn, 1, argv);

    conn->nstatuses++;
    conn->missing = NULL;

    if (!conn->shared->check && !conn->server->unloaded) {
        return;
    }

    key = conn->shared->required.elts;

    for (i = 0; i < conn->shared->required.nelts; i++) {

        ngx_str_set(&argv[0], "GET");
        argv[1] = key[i];

        (void) ngx_http_billing_redis_conn_command(conn, 2, argv);

        conn->nkeys++;
    }
}


static ngx_int_t
ngx_http_billing_redis_conn_command(ngx_http_billing_redis_conn_t *conn,
    ngx_uint_t argc, ngx_str_t *argv)
{
    size_t       len[NGX_HTTP_BILLING_REDIS_ARGS];
    ngx_uint_t   i;
    const char  *arg[NGX_HTTP_BILLING_REDIS_ARGS];

    for (i = 0; i < argc; i++) {
        arg[i] = (const char *) argv[i].data;
        len[i] = argv[i].len;
    }

    return ngx_http_billing_redis_event_command(&conn->event, argc, arg, len);
}


/*
 * Each pipeline ends with a fence: a command that Redis answers with the
 * command's argument.  The argument is unique, and is in no data.  The replies
 * count only if the fence's reply comes where it is due.  So a reply too many,
 * or too few, can never give a request the data of another one.
 */

ngx_int_t
ngx_http_billing_redis_conn_send_fence(ngx_http_billing_redis_conn_t *conn)
{
    u_char      text[NGX_HTTP_BILLING_REDIS_FENCE], *last, *p;
    u_char      echo[sizeof("*2\r\n$4\r\nECHO\r\n") - 1
                     + NGX_HTTP_BILLING_REDIS_ARGUMENT
                     + NGX_HTTP_BILLING_REDIS_FENCE];
    ngx_str_t   argv[NGX_HTTP_BILLING_REDIS_ARGS], *key;

    last = ngx_http_billing_redis_conn_fence_text(text, conn,
                                                  ++conn->fence_sent);

    if (conn->server->eval) {

        /* EVAL needs a key, by which a proxy chooses the server */

        key = conn->shared->required.elts;

        ngx_str_set(&argv[0], "EVAL");
        ngx_str_set(&argv[1], "return ARGV[1]");
        ngx_str_set(&argv[2], "1");
        argv[3] = *key;
        argv[4].data = text;
        argv[4].len = last - text;

        return ngx_http_billing_redis_conn_command(conn, 5, argv);
    }

    p = ngx_cpymem(echo, ngx_http_billing_redis_echo.data,
                   ngx_http_billing_redis_echo.len);
    p = ngx_http_billing_redis_argument(p, text, last - text);

    return ngx_http_billing_redis_event_send(&conn->event, echo, p - echo);
}


static u_char *
ngx_http_billing_redis_conn_fence_text(u_char *p,
    ngx_http_billing_redis_conn_t *conn, ngx_uint_t n)
{
    p = ngx_hex_dump(p, (u_char *) &conn->salt, sizeof(uint32_t));
    *p++ = '.';

    return ngx_http_billing_decimal(p, n);
}


ngx_int_t
ngx_http_billing_redis_conn_greeting(ngx_http_billing_redis_conn_t *conn)
{
    ngx_str_t                       *key;
    ngx_http_billing_redis_reply_t  *reply;

    reply = &conn->event.reader.reply;

    if (conn->nfences) {

        if (ngx_http_billing_redis_conn_is_fence(conn)) {
            conn->nfences = 0;
            return ngx_http_billing_redis_conn_greeted(conn);
        }

        if (reply->type == NGX_HTTP_BILLING_REDIS_ERROR
            && ngx_http_billing_redis_conn_no_echo(conn))
        {
            return ngx_http_billing_redis_conn_failed(conn,
                                            "server knows no ECHO",
                                            NGX_HTTP_BILLING_REDIS_BLAME_NONE);
        }

        return ngx_http_billing_redis_conn_refused(conn);
    }

    if (conn->nstatuses) {

        /* the last status is PING's: PING may be refused while reads work */

        if (reply->type != NGX_HTTP_BILLING_REDIS_STATUS
            && (conn->nstatuses > 1
                || reply->type != NGX_HTTP_BILLING_REDIS_ERROR
                || !ngx_http_billing_redis_error_misconf(&reply->text)))
        {
            return ngx_http_billing_redis_conn_refused(conn);
        }

        conn->nstatuses--;

    } else if (conn->nkeys) {

        if (ngx_http_billing_redis_conn_unready(reply)) {
            return ngx_http_billing_redis_conn_refused(conn);
        }

        /* other errors are left to the request that reads the key */

        if (reply->type == NGX_HTTP_BILLING_REDIS_NIL && conn->missing == NULL)
        {
            key = conn->shared->required.elts;
            conn->missing = &key[conn->shared->required.nelts - conn->nkeys];
        }

        conn->nkeys--;

    } else {
        return ngx_http_billing_redis_conn_refused(conn);
    }

    if (conn->nstatuses || conn->nkeys) {
        return NGX_AGAIN;
    }

    if (ngx_http_billing_redis_reader_left(&conn->event.reader)) {
        return ngx_http_billing_redis_conn_failed(conn,
                                          "reply to a command never sent",
                                          NGX_HTTP_BILLING_REDIS_BLAME_SERVER);
    }

    /* each of the two steps has a time of its own */

    ngx_http_billing_redis_add_timer(&conn->timer, &conn->timer_due,
                                     conn->shared->conf.connect_timeout);

    conn->nfences = 1;

    (void) ngx_http_billing_redis_conn_send_fence(conn);

    return NGX_AGAIN;
}


/* one of the first commands has a wrong reply */

static ngx_int_t
ngx_http_billing_redis_conn_refused(ngx_http_billing_redis_conn_t *conn)
{
    const char                      *reason;
    ngx_http_billing_redis_reply_t  *reply;

    reply = &conn->event.reader.reply;

    conn->shared->stat->errors++;

    if (!ngx_http_billing_redis_conn_unready(reply)) {
        conn->result = NGX_HTTP_BILLING_REDIS_BROKEN;
    }

    reason = "unexpected reply";

    if (reply->type == NGX_HTTP_BILLING_REDIS_ERROR) {

        if (conn->server->password.len) {
            ngx_http_billing_redis_error_redact(&reply->text);
        }

        reason = (const char *) reply->text.data;
    }

    return ngx_http_billing_redis_conn_failed(conn, reason,
                                          NGX_HTTP_BILLING_REDIS_BLAME_SERVER);
}


/* the reason may be the text of the reply */

static ngx_int_t
ngx_http_billing_redis_conn_failed(ngx_http_billing_redis_conn_t *conn,
    const char *reason, ngx_http_billing_redis_blame_e blame)
{
    ngx_cpystrn((u_char *) conn->reason, (u_char *) reason,
                sizeof(conn->reason));

    conn->blame = blame;

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_billing_redis_conn_greeted(ngx_http_billing_redis_conn_t *conn)
{
    conn->replied = ngx_current_msec;
    conn->event.connection->idle = 1;

    if (ngx_http_billing_redis_reader_left(&conn->event.reader)) {
        return ngx_http_billing_redis_conn_failed(conn,
                                          "reply to a command never sent",
                                          NGX_HTTP_BILLING_REDIS_BLAME_SERVER);
    }

    if (conn->probation && conn->missing == NULL) {
        conn->probation = 0;
        conn->state = NGX_HTTP_BILLING_REDIS_PROBATION;
        ngx_add_timer(&conn->timer, NGX_HTTP_BILLING_REDIS_PROBATION_TIME);
        return NGX_AGAIN;
    }

    ngx_del_timer(&conn->timer);

    conn->state = NGX_HTTP_BILLING_REDIS_READY;

    return NGX_OK;
}


/*
 * twemproxy closes the connection on ECHO.  Other proxies, and a server whose
 * user may not call ECHO, answer with an error.
 */

ngx_uint_t
ngx_http_billing_redis_conn_no_echo(ngx_http_billing_redis_conn_t *conn)
{
    ngx_http_billing_redis_server_t  *server;

    server = conn->server;

    server->eval = !server->eval && conn->shared->required.nelts;

    if (server->eval) {
        ngx_log_error(NGX_LOG_NOTICE, conn->shared->log, 0,
                      "redis server \"%V\" refuses ECHO, which is replaced "
                      "by EVAL", &server->peer->name);
    }

    return server->eval;
}


ngx_uint_t
ngx_http_billing_redis_conn_unready(ngx_http_billing_redis_reply_t *reply)
{
    return reply->type == NGX_HTTP_BILLING_REDIS_ERROR
           && ngx_http_billing_redis_error_unavailable(&reply->text);
}


ngx_uint_t
ngx_http_billing_redis_conn_is_fence(ngx_http_billing_redis_conn_t *conn)
{
    u_char                           text[NGX_HTTP_BILLING_REDIS_FENCE];
    size_t                           len;
    ngx_http_billing_redis_reply_t  *reply;

    reply = &conn->event.reader.reply;

    len = ngx_http_billing_redis_conn_fence_text(text, conn, conn->fence_due)
          - text;

    if (reply->type != NGX_HTTP_BILLING_REDIS_STRING
        || reply->text.len != len
        || ngx_memcmp(reply->text.data, text, len) != 0)
    {
        return 0;
    }

    conn->fence_due++;

    return 1;
}
