
#include "ngx_http_billing_redis_conn.h"


static void ngx_http_billing_redis_conn_timeout(ngx_event_t *ev);


void
ngx_http_billing_redis_conn_init(ngx_http_billing_redis_conn_t *conn,
    ngx_http_billing_redis_shared_t *shared)
{
    conn->shared = shared;

    conn->event.connected = ngx_http_billing_redis_conn_greet;
    conn->event.reply = ngx_http_billing_redis_conn_reply;
    conn->event.closed = ngx_http_billing_redis_conn_closed;
    conn->event.data = conn;

    conn->timer.handler = ngx_http_billing_redis_conn_timeout;
    conn->timer.data = conn;
    conn->timer.log = shared->log;
    conn->timer.cancelable = 1;

    conn->watch.handler = ngx_http_billing_redis_conn_watch;
    conn->watch.data = conn;
    conn->watch.log = shared->log;
    conn->watch.cancelable = 1;
}


const char *
ngx_http_billing_redis_conn_open(ngx_http_billing_redis_conn_t *conn)
{
    uint32_t                          salt;
    const char                       *reason;
    redisAsyncContext                *ac;
    ngx_http_billing_redis_peer_t    *peer;
    ngx_http_billing_redis_shared_t  *shared;

    peer = conn->server->peer;
    shared = conn->shared;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, shared->log, 0,
                   "billing redis connect to \"%V\"", &peer->name);

    conn->pending = ngx_alloc(NGX_HTTP_BILLING_REDIS_INFLIGHT
                              * sizeof(ngx_http_billing_redis_pending_t),
                              shared->log);
    if (conn->pending == NULL) {
        return "no memory";
    }

    ac = peer->port
         ? redisAsyncConnect((const char *) peer->host.data, peer->port)
         : redisAsyncConnectUnix((const char *) peer->host.data);

    if (ac == NULL) {
        reason = "no memory";
        goto failed;
    }

    if (ac->err) {
        ngx_cpystrn((u_char *) conn->reason, (u_char *) ac->errstr,
                    sizeof(conn->reason));
        reason = conn->reason;
        goto failed;
    }

#if (NGX_HTTP_BILLING_REDIS_SSL)

    conn->event.ssl = NULL;

    if (peer->ssl_name.len) {
        reason = ngx_http_billing_redis_ssl_open(shared, &conn->event,
                                                 &peer->ssl_name, conn->reason,
                                                 ac);

        if (reason) {
            goto failed;
        }
    }

#endif

    if (peer->port && shared->conf.socket_keepalive
        && redisEnableKeepAlive(&ac->c) != REDIS_OK)
    {
        reason = "SO_KEEPALIVE cannot be set";
        goto failed;
    }

    if (ngx_http_billing_redis_event_attach(&conn->event, ac, shared->log)
        != NGX_OK)
    {
        reason = "no connections left in the worker";
        goto failed;
    }

    conn->state = NGX_HTTP_BILLING_REDIS_CONNECTING;
    conn->blame = NGX_HTTP_BILLING_REDIS_BLAME_CONN;
    conn->result = NGX_HTTP_BILLING_REDIS_UNAVAILABLE;
    conn->number = ++*shared->number;
    salt = (uint32_t) ngx_random();
    (void) ngx_hex_dump(conn->salt, (u_char *) &salt, sizeof(uint32_t));
    conn->fence_sent = 0;
    conn->fence_due = 1;
    conn->first = 0;
    conn->ninflight = 0;
    conn->nreplies = 0;
    conn->unanswered = 0;
    conn->nkeys = 0;
    conn->missing = NULL;
    conn->served = 0;
    conn->tracked = 0;
    conn->replica = 0;
    conn->cluster = 0;
    conn->eval = conn->server->eval;
    conn->in_invalidation = 0;

    ngx_http_billing_redis_add_timer(&conn->timer, &conn->timer_due,
                                     shared->conf.connect_timeout);

    return NULL;

failed:

    if (ac) {
        redisAsyncFree(ac);
    }

    ngx_free(conn->pending);
    conn->pending = NULL;

    return reason;
}


static void
ngx_http_billing_redis_conn_timeout(ngx_event_t *ev)
{
    ngx_http_billing_redis_conn_t  *conn;

    conn = ev->data;

    switch (conn->state) {

    case NGX_HTTP_BILLING_REDIS_PROBATION:

        /* after its probation, the server has to answer once more */

        ngx_http_billing_redis_add_timer(&conn->timer, &conn->timer_due,
                                         conn->shared->conf.connect_timeout);
        ngx_http_billing_redis_conn_ping(conn);
        return;

    case NGX_HTTP_BILLING_REDIS_DRAINING:
        ngx_http_billing_redis_conn_close(conn, "not needed any more",
                                          NGX_HTTP_BILLING_REDIS_BLAME_CONN);
        return;

    default:
        break;
    }

    if (ngx_http_billing_redis_stalled(ev, &conn->timer_due)) {
        return;
    }

    switch (conn->state) {

    case NGX_HTTP_BILLING_REDIS_READY:
        ngx_http_billing_redis_conn_disown(conn);
        conn->state = NGX_HTTP_BILLING_REDIS_SUSPECT;
        conn->shared->suspect(conn);
        return;

    case NGX_HTTP_BILLING_REDIS_CONNECTING:
        ngx_http_billing_redis_conn_close(conn, "connection timed out",
                                          NGX_HTTP_BILLING_REDIS_BLAME_SERVER);
        return;

    default: /* NGX_HTTP_BILLING_REDIS_GREETING */
        conn->result = NGX_HTTP_BILLING_REDIS_TIMEOUT;
        ngx_http_billing_redis_conn_close(conn, "server does not answer",
                                          NGX_HTTP_BILLING_REDIS_BLAME_SERVER);
        return;
    }
}
