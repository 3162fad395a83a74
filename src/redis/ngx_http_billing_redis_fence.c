
#include "ngx_http_billing_redis_conn.h"


/* bytes of a fence: a salt in hexadecimal digits, a point, and a number */

#define NGX_HTTP_BILLING_REDIS_FENCE  (8 + 1 + NGX_INT64_LEN)


static u_char *ngx_http_billing_redis_conn_fence_text(u_char *p,
    ngx_http_billing_redis_conn_t *conn, ngx_uint_t n);


static ngx_str_t  ngx_http_billing_redis_echo =
    ngx_string("*2\r\n$4\r\nECHO\r\n");


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
    ngx_str_t   argv[5], *key;

    last = ngx_http_billing_redis_conn_fence_text(text, conn,
                                                  ++conn->fence_sent);

    if (conn->eval) {

        /* EVAL needs a key, by which a proxy chooses the server */

        key = conn->shared->required.elts;

        ngx_str_set(&argv[0], "EVAL");
        ngx_str_set(&argv[1], "return ARGV[1]");
        ngx_str_set(&argv[2], "1");
        argv[3] = *key;
        argv[4].data = text;
        argv[4].len = last - text;

        return ngx_http_billing_redis_event_command(&conn->event, 5, argv);
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
    p = ngx_cpymem(p, conn->salt, sizeof(conn->salt));
    *p++ = '.';

    return ngx_http_billing_decimal(p, n);
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


/*
 * twemproxy closes the connection on ECHO.  Other proxies, and a server whose
 * user may not call ECHO, answer with an error.
 */

ngx_uint_t
ngx_http_billing_redis_conn_no_echo(ngx_http_billing_redis_conn_t *conn)
{
    ngx_http_billing_redis_server_t  *server;

    server = conn->server;

    server->eval = !conn->eval && conn->shared->required.nelts;

    if (server->eval && !server->eval_logged) {
        server->eval_logged = 1;

        ngx_log_error(NGX_LOG_NOTICE, conn->shared->log, 0,
                      "redis server \"%V\" refuses ECHO, which is replaced "
                      "by EVAL", &server->peer->name);
    }

    return server->eval;
}
