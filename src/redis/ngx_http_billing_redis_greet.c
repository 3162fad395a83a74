
#include "ngx_http_billing_redis_conn.h"
#include "ngx_http_billing_redis_error.h"


/* milliseconds of probation for a server that was down */

#define NGX_HTTP_BILLING_REDIS_PROBATION_TIME  2000

/* arguments of a first command or a fence, at most */

#define NGX_HTTP_BILLING_REDIS_ARGS            5


static ngx_int_t ngx_http_billing_redis_conn_refused(
    ngx_http_billing_redis_conn_t *conn);
static ngx_int_t ngx_http_billing_redis_conn_failed(
    ngx_http_billing_redis_conn_t *conn, const char *reason,
    ngx_http_billing_redis_blame_e blame);
static ngx_int_t ngx_http_billing_redis_conn_greeted(
    ngx_http_billing_redis_conn_t *conn);


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

ngx_int_t
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

ngx_uint_t
ngx_http_billing_redis_conn_unready(ngx_http_billing_redis_reply_t *reply)
{
    return reply->type == NGX_HTTP_BILLING_REDIS_ERROR
           && ngx_http_billing_redis_error_unavailable(&reply->text);
}