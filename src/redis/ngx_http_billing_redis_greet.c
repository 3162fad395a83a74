
#include "ngx_http_billing_redis_conn.h"
#include "ngx_http_billing_redis_error.h"


/* milliseconds of probation for a server that was down */

#define NGX_HTTP_BILLING_REDIS_PROBATION_TIME  2000

static void ngx_http_billing_redis_conn_send_hello(
    ngx_http_billing_redis_conn_t *conn);
static void ngx_http_billing_redis_conn_send_auth(
    ngx_http_billing_redis_conn_t *conn);
static ngx_int_t ngx_http_billing_redis_conn_send_rest(
    ngx_http_billing_redis_conn_t *conn);
static ngx_int_t ngx_http_billing_redis_conn_first_hello(
    ngx_http_billing_redis_conn_t *conn);
static ngx_uint_t ngx_http_billing_redis_conn_first_ping(
    ngx_http_billing_redis_reply_t *reply);
static void ngx_http_billing_redis_conn_first_key(
    ngx_http_billing_redis_conn_t *conn);
static ngx_int_t ngx_http_billing_redis_conn_first_fence(
    ngx_http_billing_redis_conn_t *conn);
static ngx_int_t ngx_http_billing_redis_conn_first_fenced(
    ngx_http_billing_redis_conn_t *conn);
static ngx_int_t ngx_http_billing_redis_conn_send_first_fence(
    ngx_http_billing_redis_conn_t *conn);
static ngx_int_t ngx_http_billing_redis_conn_greeted(
    ngx_http_billing_redis_conn_t *conn);
static ngx_int_t ngx_http_billing_redis_conn_refused(
    ngx_http_billing_redis_conn_t *conn);
static ngx_int_t ngx_http_billing_redis_conn_failed(
    ngx_http_billing_redis_conn_t *conn, const char *reason,
    ngx_http_billing_redis_blame_e blame);


/*
 * HELLO is sent alone, because the next commands depend on its reply, and
 * because a proxy that does not know HELLO may close the connection.  A first
 * command that found no memory is not sent; then a reply is missing, and the
 * timer ends the connection.
 */

void
ngx_http_billing_redis_conn_greet(ngx_http_billing_redis_event_t *event)
{
    ngx_http_billing_redis_conn_t  *conn;

    conn = event->data;

    conn->state = NGX_HTTP_BILLING_REDIS_GREETING;

    if ((conn->shared->tracking || conn->shared->asks_role)
        && !conn->server->resp2)
    {
        ngx_http_billing_redis_conn_send_hello(conn);
        return;
    }

    ngx_http_billing_redis_conn_send_auth(conn);

    (void) ngx_http_billing_redis_conn_send_rest(conn);
}


static void
ngx_http_billing_redis_conn_send_hello(ngx_http_billing_redis_conn_t *conn)
{
    ngx_str_t                       argv[NGX_HTTP_BILLING_REDIS_ARGS];
    ngx_str_t                      *user, *password;
    ngx_uint_t                      n;
    ngx_http_billing_redis_peer_t  *peer;

    peer = conn->server->peer;
    user = &peer->user;
    password = &conn->server->password;

    n = 0;

    ngx_str_set(&argv[n], "HELLO");
    n++;
    ngx_str_set(&argv[n], "3");
    n++;

    if (password->len) {
        ngx_str_set(&argv[n], "AUTH");
        n++;
        ngx_str_set(&argv[n], "default");

        if (user->len) {
            argv[n] = *user;
        }

        n++;
        argv[n++] = *password;
    }

    ngx_str_set(&argv[n], "SETNAME");
    n++;
    ngx_str_set(&argv[n], "nginx-billing");
    n++;

    (void) ngx_http_billing_redis_event_command(&conn->event, n, argv);

    conn->unanswered = NGX_HTTP_BILLING_REDIS_FIRST_HELLO;

    conn->event.reader.resp3 = 1;

    if (conn->shared->tracking) {
        conn->event.reader.max_name = conn->shared->tracking->max_name;
    }
}


static void
ngx_http_billing_redis_conn_send_auth(ngx_http_billing_redis_conn_t *conn)
{
    ngx_str_t   argv[3], *user, *password;
    ngx_uint_t  n;

    user = &conn->server->peer->user;
    password = &conn->server->password;

    if (password->len == 0) {
        return;
    }

    n = 1;

    ngx_str_set(&argv[0], "AUTH");

    if (user->len) {
        argv[n++] = *user;
    }

    argv[n++] = *password;

    (void) ngx_http_billing_redis_event_command(&conn->event, n, argv);

    conn->unanswered |= NGX_HTTP_BILLING_REDIS_FIRST_AUTH;
}


static ngx_int_t
ngx_http_billing_redis_conn_send_rest(ngx_http_billing_redis_conn_t *conn)
{
    ngx_str_t  argv[2], *db;

    db = &conn->server->peer->db;

    if (db->len) {
        ngx_str_set(&argv[0], "SELECT");
        argv[1] = *db;

        (void) ngx_http_billing_redis_event_command(&conn->event, 2, argv);

        conn->unanswered |= NGX_HTTP_BILLING_REDIS_FIRST_SELECT;
    }

    /* the seeds of a cluster have no keys */

    if (conn->event.reader.resp3 && conn->shared->tracking
        && (!conn->cluster || conn->shared->source))
    {

        if (ngx_http_billing_redis_conn_send_tracking(conn) != NGX_OK) {
            return NGX_ERROR;
        }

        conn->unanswered |= NGX_HTTP_BILLING_REDIS_FIRST_TRACKING;
    }

    ngx_http_billing_redis_conn_ping(conn);

    return NGX_OK;
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

    (void) ngx_http_billing_redis_event_command(&conn->event, 1, argv);

    conn->unanswered |= NGX_HTTP_BILLING_REDIS_FIRST_PING;
    conn->missing = NULL;

    if (!conn->shared->checks_keys && !conn->server->unloaded) {
        return;
    }

    key = conn->shared->required.elts;

    for (i = 0; i < conn->shared->required.nelts; i++) {

        ngx_str_set(&argv[0], "GET");
        argv[1] = key[i];

        (void) ngx_http_billing_redis_event_command(&conn->event, 2, argv);

        conn->unanswered |= NGX_HTTP_BILLING_REDIS_FIRST_KEYS;
        conn->nkeys++;
    }
}


ngx_int_t
ngx_http_billing_redis_conn_greeting(ngx_http_billing_redis_conn_t *conn)
{
    ngx_uint_t                       first;
    ngx_http_billing_redis_reply_t  *reply;

    reply = &conn->event.reader.reply;

    /* the lowest bit */

    first = conn->unanswered & (~conn->unanswered + 1);

    switch (first) {

    case NGX_HTTP_BILLING_REDIS_FIRST_HELLO:
        return ngx_http_billing_redis_conn_first_hello(conn);

    case NGX_HTTP_BILLING_REDIS_FIRST_AUTH:
    case NGX_HTTP_BILLING_REDIS_FIRST_SELECT:

        if (reply->type != NGX_HTTP_BILLING_REDIS_STATUS) {
            return ngx_http_billing_redis_conn_refused(conn);
        }

        break;

    case NGX_HTTP_BILLING_REDIS_FIRST_TRACKING:

        if (ngx_http_billing_redis_conn_unready(reply)) {
            return ngx_http_billing_redis_conn_refused(conn);
        }

        if (ngx_http_billing_redis_conn_tracking(conn) != NGX_OK) {
            ngx_http_billing_redis_server_refuses(conn->server,
                                      "CLIENT TRACKING",
                                      ngx_http_billing_redis_conn_error(conn));
        }

        break;

    case NGX_HTTP_BILLING_REDIS_FIRST_PING:

        if (!ngx_http_billing_redis_conn_first_ping(reply)) {
            return ngx_http_billing_redis_conn_refused(conn);
        }

        break;

    case NGX_HTTP_BILLING_REDIS_FIRST_KEYS:

        if (ngx_http_billing_redis_conn_unready(reply)) {
            return ngx_http_billing_redis_conn_refused(conn);
        }

        ngx_http_billing_redis_conn_first_key(conn);

        if (conn->nkeys) {
            return NGX_AGAIN;
        }

        break;

    default: /* NGX_HTTP_BILLING_REDIS_FIRST_FENCE */
        return ngx_http_billing_redis_conn_first_fence(conn);
    }

    conn->unanswered &= ~first;

    if (conn->unanswered) {
        return NGX_AGAIN;
    }

    return ngx_http_billing_redis_conn_send_first_fence(conn);
}


static ngx_int_t
ngx_http_billing_redis_conn_first_hello(ngx_http_billing_redis_conn_t *conn)
{
    ngx_uint_t                       replica;
    ngx_http_billing_redis_reply_t  *reply;

    reply = &conn->event.reader.reply;

    conn->server->closes = 0;

    if (reply->type == NGX_HTTP_BILLING_REDIS_ERROR
        && (ngx_http_billing_redis_conn_unready(reply)
            || ngx_http_billing_redis_error_client(&reply->text,
                                             conn->server->password.len != 0)))
    {
        return ngx_http_billing_redis_conn_refused(conn);
    }

    conn->unanswered = 0;

    /* each step of the greeting has a time of its own */

    ngx_http_billing_redis_add_timer(&conn->timer, &conn->timer_due,
                                     conn->shared->conf.connect_timeout);

    if (ngx_http_billing_redis_conn_hello(conn, &replica) == NGX_OK) {
        conn->replica = replica;
        conn->server->resp2_works = 0;

        if (conn->server->peer->replica && !replica) {
            return ngx_http_billing_redis_conn_failed(conn,
                                          "it is a master, but sentinels name "
                                          "another one",
                                          NGX_HTTP_BILLING_REDIS_BLAME_SERVER);
        }

        if (conn->cluster && conn->shared->clustered) {
            conn->shared->clustered(conn->shared->set);
        }

    } else {
        ngx_http_billing_redis_server_refuses(conn->server, "HELLO",
                                      ngx_http_billing_redis_conn_error(conn));
        conn->server->resp2 = 1;
        conn->server->resp2_works = 1;
        conn->event.reader.resp3 = 0;
        ngx_http_billing_redis_conn_send_auth(conn);
    }

    if (ngx_http_billing_redis_conn_send_rest(conn) != NGX_OK) {
        return ngx_http_billing_redis_conn_failed(conn,
                                            "no memory for a command",
                                            NGX_HTTP_BILLING_REDIS_BLAME_CONN);
    }

    return NGX_AGAIN;
}


/* PING may be refused while reads work */

static ngx_uint_t
ngx_http_billing_redis_conn_first_ping(ngx_http_billing_redis_reply_t *reply)
{
    return reply->type == NGX_HTTP_BILLING_REDIS_STATUS
           || (reply->type == NGX_HTTP_BILLING_REDIS_ERROR
               && ngx_http_billing_redis_error_misconf(&reply->text));
}


/* errors are left to the request that reads the key */

static void
ngx_http_billing_redis_conn_first_key(ngx_http_billing_redis_conn_t *conn)
{
    ngx_str_t                       *key;
    ngx_http_billing_redis_reply_t  *reply;

    reply = &conn->event.reader.reply;

    if (reply->type == NGX_HTTP_BILLING_REDIS_NIL && conn->missing == NULL) {
        key = conn->shared->required.elts;
        conn->missing = &key[conn->shared->required.nelts - conn->nkeys];
    }

    conn->nkeys--;
}


static ngx_int_t
ngx_http_billing_redis_conn_first_fence(ngx_http_billing_redis_conn_t *conn)
{
    ngx_http_billing_redis_reply_t  *reply;

    reply = &conn->event.reader.reply;

    if (ngx_http_billing_redis_conn_is_fence(conn)) {
        return ngx_http_billing_redis_conn_first_fenced(conn);
    }

    if (reply->type == NGX_HTTP_BILLING_REDIS_ERROR
        && !ngx_http_billing_redis_conn_unready(reply)
        && ngx_http_billing_redis_conn_no_echo(conn))
    {
        return ngx_http_billing_redis_conn_failed(conn, "server knows no ECHO",
                                            NGX_HTTP_BILLING_REDIS_BLAME_NONE);
    }

    return ngx_http_billing_redis_conn_refused(conn);
}


static ngx_int_t
ngx_http_billing_redis_conn_first_fenced(ngx_http_billing_redis_conn_t *conn)
{
    ngx_http_billing_redis_server_t  *server;

    server = conn->server;

    conn->unanswered = 0;
    server->closes = 0;

    if (!conn->eval) {
        server->eval_logged = 0;
    }

    if (conn->event.reader.resp3
        || (!conn->shared->tracking && !conn->shared->asks_role))
    {
        return ngx_http_billing_redis_conn_greeted(conn);
    }

    if (!server->resp2_works) {

        /* the server may have been down while HELLO was tried */

        server->resp2_works = 1;
        server->resp2 = 0;

        return ngx_http_billing_redis_conn_failed(conn, "HELLO is tried again",
                                            NGX_HTTP_BILLING_REDIS_BLAME_NONE);
    }

    if (conn->shared->tracking) {
        ngx_http_billing_redis_server_refuses(server, "HELLO", NULL);
    }

    return ngx_http_billing_redis_conn_greeted(conn);
}


/* all first commands but the fence are answered */

static ngx_int_t
ngx_http_billing_redis_conn_send_first_fence(
    ngx_http_billing_redis_conn_t *conn)
{
    if (ngx_http_billing_redis_reader_left(&conn->event.reader)) {
        return ngx_http_billing_redis_conn_failed(conn,
                                          "reply to a command never sent",
                                          NGX_HTTP_BILLING_REDIS_BLAME_SERVER);
    }

    ngx_http_billing_redis_add_timer(&conn->timer, &conn->timer_due,
                                     conn->shared->conf.connect_timeout);

    conn->unanswered = NGX_HTTP_BILLING_REDIS_FIRST_FENCE;

    (void) ngx_http_billing_redis_conn_send_fence(conn);

    return NGX_AGAIN;
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


/* one of the first commands has a wrong reply */

static ngx_int_t
ngx_http_billing_redis_conn_refused(ngx_http_billing_redis_conn_t *conn)
{
    conn->shared->stat->errors++;

    if (!ngx_http_billing_redis_conn_unready(&conn->event.reader.reply)) {
        conn->result = NGX_HTTP_BILLING_REDIS_BROKEN;
    }

    return ngx_http_billing_redis_conn_failed(conn,
                                       ngx_http_billing_redis_conn_error(conn),
                                       NGX_HTTP_BILLING_REDIS_BLAME_SERVER);
}


/* the reason is copied, as it may be the text of the reply */

static ngx_int_t
ngx_http_billing_redis_conn_failed(ngx_http_billing_redis_conn_t *conn,
    const char *reason, ngx_http_billing_redis_blame_e blame)
{
    ngx_cpystrn((u_char *) conn->reason, (u_char *) reason,
                sizeof(conn->reason));

    conn->blame = blame;

    return NGX_ERROR;
}


const char *
ngx_http_billing_redis_conn_error(ngx_http_billing_redis_conn_t *conn)
{
    ngx_http_billing_redis_reply_t  *reply;

    reply = &conn->event.reader.reply;

    if (reply->type != NGX_HTTP_BILLING_REDIS_ERROR) {
        return "unexpected reply";
    }

    if (conn->server->password.len) {
        ngx_http_billing_redis_error_redact(&reply->text);
    }

    ngx_http_billing_redis_error_line(conn->reason,
                                      (const char *) reply->text.data,
                                      sizeof(conn->reason));
    return conn->reason;
}


ngx_uint_t
ngx_http_billing_redis_conn_unready(ngx_http_billing_redis_reply_t *reply)
{
    return reply->type == NGX_HTTP_BILLING_REDIS_ERROR
           && ngx_http_billing_redis_error_unavailable(&reply->text);
}
