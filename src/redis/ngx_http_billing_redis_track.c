
#include "ngx_http_billing_redis_conn.h"


static ngx_str_t  ngx_http_billing_redis_role_command =
    ngx_string("*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n");

static ngx_str_t  ngx_http_billing_redis_tracking_args[] = {
    ngx_string("CLIENT"),
    ngx_string("TRACKING"),
    ngx_string("ON"),
    ngx_string("BCAST"),
    ngx_null_string
};

static ngx_str_t  ngx_http_billing_redis_prefix_arg = ngx_string("PREFIX");


static u_char *ngx_http_billing_redis_conn_write_arg(u_char *p,
    ngx_str_t *arg);
static ngx_uint_t ngx_http_billing_redis_conn_is(ngx_str_t *text,
    const char *word);


ngx_int_t
ngx_http_billing_redis_conn_send_tracking(ngx_http_billing_redis_conn_t *conn)
{
    u_char       *p, *start;
    size_t        size;
    ngx_int_t     rc;
    ngx_str_t    *arg, *prefix;
    ngx_uint_t    i, n, nprefixes;
    ngx_array_t  *prefixes;

    prefixes = &conn->shared->tracking->prefixes;
    prefix = prefixes->elts;
    nprefixes = prefixes->nelts;

    /* an empty prefix is the only one; without it, Redis tells of all keys */

    if (nprefixes && prefix[0].len == 0) {
        nprefixes = 0;
    }

    n = 0;
    size = 1 + NGX_INT_T_LEN + 2;

    for (arg = ngx_http_billing_redis_tracking_args; arg->len; arg++) {
        size += NGX_HTTP_BILLING_REDIS_ARGUMENT + arg->len;
        n++;
    }

    for (i = 0; i < nprefixes; i++) {
        size += 2 * NGX_HTTP_BILLING_REDIS_ARGUMENT
                + ngx_http_billing_redis_prefix_arg.len + prefix[i].len;
        n += 2;
    }

    start = ngx_alloc(size, conn->shared->log);
    if (start == NULL) {
        return NGX_ERROR;
    }

    p = start;

    *p++ = '*';
    p = ngx_http_billing_decimal(p, n);
    *p++ = CR; *p++ = LF;

    for (arg = ngx_http_billing_redis_tracking_args; arg->len; arg++) {
        p = ngx_http_billing_redis_conn_write_arg(p, arg);
    }

    for (i = 0; i < nprefixes; i++) {
        p = ngx_http_billing_redis_conn_write_arg(p,
                                           &ngx_http_billing_redis_prefix_arg);
        p = ngx_http_billing_redis_conn_write_arg(p, &prefix[i]);
    }

    rc = ngx_http_billing_redis_event_send(&conn->event, start, p - start);

    ngx_free(start);

    return rc;
}


static u_char *
ngx_http_billing_redis_conn_write_arg(u_char *p, ngx_str_t *arg)
{
    return ngx_http_billing_redis_argument(p, arg->data, arg->len);
}


ngx_int_t
ngx_http_billing_redis_conn_tracking(ngx_http_billing_redis_conn_t *conn)
{
    ngx_http_billing_redis_reply_t  *reply;

    reply = &conn->event.reader.reply;

    if (reply->type == NGX_HTTP_BILLING_REDIS_STATUS
        && ngx_http_billing_redis_conn_is(&reply->text, "OK"))
    {
        conn->tracked = 1;
        ngx_http_billing_redis_server_tracked(conn->server);
        return NGX_OK;
    }

    return NGX_DECLINED;
}


/* HELLO's reply is a map, of type OTHER if some elements are no strings */

ngx_int_t
ngx_http_billing_redis_conn_hello(ngx_http_billing_redis_conn_t *conn,
    ngx_uint_t *replica)
{
    ngx_str_t                       *elt;
    ngx_uint_t                       i;
    ngx_int_t                        rc;
    ngx_http_billing_redis_reply_t  *reply;

    reply = &conn->event.reader.reply;

    *replica = 0;
    rc = NGX_DECLINED;

    if (reply->type != NGX_HTTP_BILLING_REDIS_MAP
        && reply->type != NGX_HTTP_BILLING_REDIS_OTHER)
    {
        return NGX_DECLINED;
    }

    elt = reply->elts;

    for (i = 0; i + 1 < reply->nelts; i += 2) {

        if (ngx_http_billing_redis_conn_is(&elt[i], "proto")
            && ngx_http_billing_redis_conn_is(&elt[i + 1], "3"))
        {
            rc = NGX_OK;

        } else if (ngx_http_billing_redis_conn_is(&elt[i], "role")) {
            *replica = !ngx_http_billing_redis_conn_is(&elt[i + 1], "master");

        } else if (ngx_http_billing_redis_conn_is(&elt[i], "mode")) {
            conn->cluster = ngx_http_billing_redis_conn_is(&elt[i + 1],
                                                           "cluster");
        }
    }

    return rc;
}


static ngx_uint_t
ngx_http_billing_redis_conn_is(ngx_str_t *text, const char *word)
{
    size_t  len;

    len = ngx_strlen(word);

    return text->len == len && ngx_strncmp(text->data, word, len) == 0;
}


ngx_int_t
ngx_http_billing_redis_conn_send_role(ngx_http_billing_redis_conn_t *conn)
{
    return ngx_http_billing_redis_event_send(&conn->event,
                                     ngx_http_billing_redis_role_command.data,
                                     ngx_http_billing_redis_role_command.len);
}


ngx_int_t
ngx_http_billing_redis_conn_role(ngx_http_billing_redis_conn_t *conn)
{
    ngx_uint_t  replica;

    if (ngx_http_billing_redis_conn_hello(conn, &replica) != NGX_OK) {
        ngx_http_billing_redis_conn_disown(conn);
        conn->tracked = 0;

        return NGX_DECLINED;
    }

    if (replica == conn->replica) {
        return NGX_OK;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, conn->shared->log, 0,
                   "billing redis connection %ui is to a %s now",
                   conn->number, replica ? "replica" : "master");

    conn->replica = replica;

    if (conn->shared->owner == conn) {
        ngx_http_billing_redis_conn_disown(conn);
        ngx_http_billing_redis_conn_own(conn);
    }

    return NGX_OK;
}


void
ngx_http_billing_redis_conn_own(ngx_http_billing_redis_conn_t *conn)
{
    ngx_http_billing_redis_shared_t    *shared;
    ngx_http_billing_redis_tracking_t  *tracking;

    shared = conn->shared;

    if (shared->owner || !conn->tracked
        || conn->state != NGX_HTTP_BILLING_REDIS_READY)
    {
        return;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, shared->log, 0,
                   "billing redis connection %ui to \"%V\" is tracked",
                   conn->number, &conn->server->peer->name);

    shared->owner = conn;

    tracking = shared->tracking;
    tracking->tracked(tracking->data, shared->source, conn->number,
                      conn->replica);
}


void
ngx_http_billing_redis_conn_disown(ngx_http_billing_redis_conn_t *conn)
{
    ngx_http_billing_redis_shared_t    *shared;
    ngx_http_billing_redis_tracking_t  *tracking;

    shared = conn->shared;

    if (shared->owner != conn) {
        return;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, shared->log, 0,
                   "billing redis connection %ui is tracked no longer",
                   conn->number);

    shared->owner = NULL;

    tracking = shared->tracking;
    tracking->untracked(tracking->data, shared->source);
}


/*
 * Only pushes about keys count, and only those to the owner.  All others are
 * read and dropped.
 */

void
ngx_http_billing_redis_conn_push(ngx_http_billing_redis_conn_t *conn)
{
    ngx_str_t                          *key;
    ngx_http_billing_redis_reply_t     *reply;
    ngx_http_billing_redis_tracking_t  *tracking;

    reply = &conn->event.reader.reply;

    switch (reply->piece) {

    case NGX_HTTP_BILLING_REDIS_PUSH:
        conn->in_invalidation = ngx_http_billing_redis_conn_is(&reply->text,
                                                               "invalidate");

        ngx_log_debug2(NGX_LOG_DEBUG_HTTP, conn->shared->log, 0,
                       "billing redis push: \"%V\" on connection %ui",
                       &reply->text, conn->number);
        return;

    case NGX_HTTP_BILLING_REDIS_PUSH_ITEM:
        break;

    default: /* NGX_HTTP_BILLING_REDIS_PUSH_END */
        conn->in_invalidation = 0;

        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, conn->shared->log, 0,
                       "billing redis push: end on connection %ui",
                       conn->number);
        return;
    }

    if (!conn->in_invalidation || conn->shared->owner != conn) {
        return;
    }

    switch (reply->type) {

    case NGX_HTTP_BILLING_REDIS_OVERSIZED:

        /* no key of ours has so long a name */

        return;

    case NGX_HTTP_BILLING_REDIS_STRING:
        key = &reply->text;
        break;

    default: /* NGX_HTTP_BILLING_REDIS_NIL */
        key = NULL;
        break;
    }

    tracking = conn->shared->tracking;
    tracking->changed(tracking->data, conn->shared->source, key);
}
