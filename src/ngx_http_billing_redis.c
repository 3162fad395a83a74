
#include "ngx_http_billing_redis_conn.h"


/* milliseconds between attempts to connect */

#define NGX_HTTP_BILLING_REDIS_MIN_DELAY  20
#define NGX_HTTP_BILLING_REDIS_MAX_DELAY  1000

/* a pipeline is sent at most so many times */

#define NGX_HTTP_BILLING_REDIS_TRIES      2


static ngx_uint_t ngx_http_billing_redis_same_peers(ngx_array_t *one,
    ngx_array_t *two);
static void ngx_http_billing_redis_init_events(ngx_http_billing_redis_t *redis);
static void ngx_http_billing_redis_schedule(ngx_http_billing_redis_t *redis);
static ngx_msec_t ngx_http_billing_redis_delay(ngx_http_billing_redis_t *redis);
static void ngx_http_billing_redis_connect_handler(ngx_event_t *ev);
static void ngx_http_billing_redis_connect_failed(
    ngx_http_billing_redis_conn_t *conn, const char *reason);
static void ngx_http_billing_redis_settle(ngx_http_billing_redis_conn_t *conn);
static void ngx_http_billing_redis_timeout(ngx_event_t *ev);
static void ngx_http_billing_redis_failed_handler(ngx_event_t *ev);


ngx_http_billing_redis_t *
ngx_http_billing_redis_add(ngx_conf_t *cf, ngx_array_t *sets,
    ngx_array_t *peers, ngx_msec_t connect_timeout)
{
    ngx_uint_t                  i;
    ngx_http_billing_redis_t   *redis, **set;

    set = sets->elts;

    for (i = 0; i < sets->nelts; i++) {
        if (set[i]->connect_timeout == connect_timeout
            && ngx_http_billing_redis_same_peers(set[i]->peers, peers))
        {
            return set[i];
        }
    }

    set = ngx_array_push(sets);
    if (set == NULL) {
        return NULL;
    }

    redis = ngx_pcalloc(cf->pool, sizeof(ngx_http_billing_redis_t));
    if (redis == NULL) {
        return NULL;
    }

    redis->peers = peers;
    redis->connect_timeout = connect_timeout;

    ngx_queue_init(&redis->waiting);
    ngx_queue_init(&redis->failed);

    redis->conn.redis = redis;
    ngx_queue_init(&redis->conn.inflight);

    *set = redis;

    return redis;
}


static ngx_uint_t
ngx_http_billing_redis_same_peers(ngx_array_t *one, ngx_array_t *two)
{
    ngx_uint_t                      i;
    ngx_http_billing_redis_peer_t  *p, *q;

    if (one->nelts != two->nelts) {
        return 0;
    }

    p = one->elts;
    q = two->elts;

    for (i = 0; i < one->nelts; i++) {

        if (p[i].url.len != q[i].url.len
            || ngx_memcmp(p[i].url.data, q[i].url.data, p[i].url.len) != 0
            || p[i].name.len != q[i].name.len
            || ngx_memcmp(p[i].name.data, q[i].name.data, p[i].name.len) != 0)
        {
            return 0;
        }
    }

    return 1;
}


ngx_int_t
ngx_http_billing_redis_pipeline_init(ngx_http_billing_redis_pipeline_t *pl,
    ngx_pool_t *pool, ngx_uint_t n)
{
    return ngx_array_init(&pl->commands, pool, n,
                          sizeof(ngx_http_billing_redis_command_t));
}


ngx_int_t
ngx_http_billing_redis_command(ngx_http_billing_redis_pipeline_t *pl,
    ngx_uint_t argc, ngx_str_t *argv)
{
    ngx_uint_t                         i;
    ngx_http_billing_redis_command_t  *command;

    command = ngx_array_push(&pl->commands);
    if (command == NULL) {
        return NGX_ERROR;
    }

    command->argc = 0;

    for (i = 0; i < argc; i++) {
        ngx_http_billing_redis_arg(command, argv[i].data, argv[i].len);
    }

    return NGX_OK;
}


void
ngx_http_billing_redis_arg(ngx_http_billing_redis_command_t *command,
    const void *data, size_t len)
{
    command->argv[command->argc] = data;
    command->argvlen[command->argc] = len;
    command->argc++;
}


void
ngx_http_billing_redis_send(ngx_http_billing_redis_t *redis,
    ngx_http_billing_redis_pipeline_t *pl, ngx_msec_t timeout)
{
    ngx_http_billing_redis_init_events(redis);

    pl->redis = redis;
    pl->slot = NULL;
    pl->tries = 0;
    pl->active = 1;

    ngx_memzero(&pl->timer, sizeof(ngx_event_t));

    pl->timer.handler = ngx_http_billing_redis_timeout;
    pl->timer.data = pl;
    pl->timer.log = ngx_cycle->log;

    ngx_add_timer(&pl->timer, timeout);

    if (redis->conn.state == NGX_HTTP_BILLING_REDIS_READY) {
        ngx_http_billing_redis_conn_send(&redis->conn, pl);
        return;
    }

    ngx_queue_insert_tail(&redis->waiting, &pl->queue);

    ngx_http_billing_redis_schedule(redis);
}


void
ngx_http_billing_redis_cancel(ngx_http_billing_redis_pipeline_t *pl)
{
    if (!pl->active) {
        return;
    }

    if (pl->timer.timer_set) {
        ngx_del_timer(&pl->timer);
    }

    if (pl->slot) {
        pl->slot->pipeline = NULL;
        pl->slot = NULL;

    } else {
        ngx_queue_remove(&pl->queue);
    }

    pl->active = 0;
}


void
ngx_http_billing_redis_close(ngx_http_billing_redis_t *redis)
{
    if (redis->timer.timer_set) {
        ngx_del_timer(&redis->timer);
    }

    ngx_http_billing_redis_conn_close(&redis->conn, "worker is exiting",
                                      NGX_HTTP_BILLING_REDIS_BLAME_ALL);
}


/* the memory is the configuration's, the events are the worker's */

static void
ngx_http_billing_redis_init_events(ngx_http_billing_redis_t *redis)
{
    if (redis->timer.handler) {
        return;
    }

    redis->timer.handler = ngx_http_billing_redis_connect_handler;
    redis->timer.data = redis;
    redis->timer.log = ngx_cycle->log;
    redis->timer.cancelable = 1;

    redis->posted.handler = ngx_http_billing_redis_failed_handler;
    redis->posted.data = redis;
    redis->posted.log = ngx_cycle->log;

    redis->conn.timer.handler = ngx_http_billing_redis_conn_timeout;
    redis->conn.timer.data = &redis->conn;
    redis->conn.timer.log = ngx_cycle->log;
    redis->conn.timer.cancelable = 1;
}


static void
ngx_http_billing_redis_schedule(ngx_http_billing_redis_t *redis)
{
    if (redis->conn.state == NGX_HTTP_BILLING_REDIS_CLOSED
        && !redis->timer.timer_set)
    {
        ngx_add_timer(&redis->timer, ngx_http_billing_redis_delay(redis));
    }
}


/*
 * Each server is tried at once, and then all of them again after a time that
 * grows with the time for which they have been failing.
 */

static ngx_msec_t
ngx_http_billing_redis_delay(ngx_http_billing_redis_t *redis)
{
    ngx_msec_t  delay;

    if (redis->failures == 0 || redis->next != 0) {
        return 0;
    }

    delay = (ngx_current_msec - redis->failing) / 4;

    delay = ngx_max(delay, NGX_HTTP_BILLING_REDIS_MIN_DELAY);
    delay = ngx_min(delay, NGX_HTTP_BILLING_REDIS_MAX_DELAY);

    /* workers should not come all at once */

    return delay / 2 + ngx_random() % (delay / 2 + 1);
}


static void
ngx_http_billing_redis_connect_handler(ngx_event_t *ev)
{
    const char                     *reason;
    ngx_http_billing_redis_t       *redis;
    ngx_http_billing_redis_conn_t  *conn;
    ngx_http_billing_redis_peer_t  *peer;

    redis = ev->data;
    conn = &redis->conn;

    /* those who waited may be gone */

    if (conn->state != NGX_HTTP_BILLING_REDIS_CLOSED
        || ngx_queue_empty(&redis->waiting))
    {
        return;
    }

    peer = redis->peers->elts;
    conn->peer = &peer[redis->next];

    reason = ngx_http_billing_redis_conn_open(conn);

    if (reason) {
        ngx_http_billing_redis_connect_failed(conn, reason);
        ngx_http_billing_redis_schedule(redis);
    }
}


static void
ngx_http_billing_redis_connect_failed(ngx_http_billing_redis_conn_t *conn,
    const char *reason)
{
    ngx_http_billing_redis_t  *redis;

    redis = conn->redis;

    if (redis->failures++ == 0) {
        redis->failing = ngx_current_msec;
    }

    if (redis->failures <= redis->peers->nelts) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "redis server \"%V\" is down: %s",
                      &conn->peer->name, reason);
    }

    redis->next = (redis->next + 1) % redis->peers->nelts;
}


void
ngx_http_billing_redis_conn_ready(ngx_http_billing_redis_conn_t *conn)
{
    ngx_queue_t                        *q;
    ngx_http_billing_redis_t           *redis;
    ngx_http_billing_redis_pipeline_t  *pl;

    redis = conn->redis;

    while (conn->state == NGX_HTTP_BILLING_REDIS_READY
           && !ngx_queue_empty(&redis->waiting))
    {
        q = ngx_queue_head(&redis->waiting);
        ngx_queue_remove(q);

        pl = ngx_queue_data(q, ngx_http_billing_redis_pipeline_t, queue);

        ngx_http_billing_redis_conn_send(conn, pl);
    }
}


void
ngx_http_billing_redis_conn_served(ngx_http_billing_redis_conn_t *conn)
{
    ngx_http_billing_redis_t  *redis;

    redis = conn->redis;

    if (redis->failures) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "redis server \"%V\" is up after %ui failed attempts",
                      &conn->peer->name, redis->failures);
        redis->failures = 0;
    }

    if (redis->late) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "redis server \"%V\" answers in time after %ui timeouts",
                      &conn->peer->name, redis->late);
        redis->late = 0;
    }

    redis->hung = 0;
    redis->next = 0;
}


void
ngx_http_billing_redis_conn_lost(ngx_http_billing_redis_conn_t *conn,
    const char *reason)
{
    ngx_http_billing_redis_t        *redis;
    ngx_http_billing_redis_state_e   state;

    redis = conn->redis;
    state = conn->state;

    conn->state = NGX_HTTP_BILLING_REDIS_CLOSED;

    if (state == NGX_HTTP_BILLING_REDIS_CONNECTING
        || (!conn->served && !ngx_queue_empty(&conn->inflight)))
    {
        ngx_http_billing_redis_connect_failed(conn, reason);

    } else if (!ngx_queue_empty(&conn->inflight)) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "connection to redis server \"%V\" is lost: %s",
                      &conn->peer->name, reason);

    } else {
        ngx_log_error(NGX_LOG_INFO, ngx_cycle->log, 0,
                      "idle connection to redis server \"%V\" is closed: %s",
                      &conn->peer->name, reason);
    }

    ngx_http_billing_redis_settle(conn);

    if (!ngx_queue_empty(&redis->waiting)) {
        ngx_http_billing_redis_schedule(redis);
    }
}


/* what was in flight goes back, in its order, before those who wait */

static void
ngx_http_billing_redis_settle(ngx_http_billing_redis_conn_t *conn)
{
    ngx_uint_t                          first;
    ngx_queue_t                        *q;
    ngx_http_billing_redis_slot_t      *slot;
    ngx_http_billing_redis_pipeline_t  *pl;

    while (!ngx_queue_empty(&conn->inflight)) {

        q = ngx_queue_last(&conn->inflight);
        ngx_queue_remove(q);

        slot = ngx_queue_data(q, ngx_http_billing_redis_slot_t, queue);
        first = ngx_queue_empty(&conn->inflight);
        pl = slot->pipeline;

        ngx_free(slot);

        if (pl == NULL) {
            continue;
        }

        pl->slot = NULL;

        if (conn->blame == NGX_HTTP_BILLING_REDIS_BLAME_FIRST) {

            if (first) {
                ngx_http_billing_redis_fail(pl, NGX_ERROR);
                continue;
            }

            pl->tries--;

        } else if (conn->blame == NGX_HTTP_BILLING_REDIS_BLAME_NONE) {
            pl->tries--;

        } else if (pl->tries == NGX_HTTP_BILLING_REDIS_TRIES) {
            ngx_http_billing_redis_fail(pl, NGX_ERROR);
            continue;
        }

        ngx_queue_insert_head(&conn->redis->waiting, &pl->queue);
    }
}


/* the pipeline is in no queue and in no slot */

void
ngx_http_billing_redis_fail(ngx_http_billing_redis_pipeline_t *pl,
    ngx_int_t rc)
{
    ngx_http_billing_redis_t  *redis;

    redis = pl->redis;

    pl->rc = rc;

    ngx_queue_insert_tail(&redis->failed, &pl->queue);

    ngx_post_event(&redis->posted, &ngx_posted_events);
}


static void
ngx_http_billing_redis_timeout(ngx_event_t *ev)
{
    ngx_int_t                           rc;
    ngx_http_billing_redis_t           *redis;
    ngx_http_billing_redis_conn_t      *conn;
    ngx_http_billing_redis_pipeline_t  *pl;

    pl = ev->data;
    redis = pl->redis;

    if (pl->slot) {
        conn = pl->slot->conn;
        rc = NGX_AGAIN;

        if (redis->late++ == 0) {
            ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                          "redis server \"%V\" did not answer in time",
                          &conn->peer->name);
        }

        ngx_http_billing_redis_cancel(pl);

        if ((ngx_msec_int_t) (conn->event.received - pl->sent) < 0) {

            /* not one byte has come since then */

            redis->hung = 1;
            ngx_http_billing_redis_conn_close(conn, "server does not answer",
                                           NGX_HTTP_BILLING_REDIS_BLAME_NONE);
        }

    } else {
        rc = redis->hung ? NGX_AGAIN : NGX_DECLINED;
        ngx_http_billing_redis_cancel(pl);
    }

    pl->done(pl->data, rc);
}


static void
ngx_http_billing_redis_failed_handler(ngx_event_t *ev)
{
    ngx_queue_t                        *q;
    ngx_http_billing_redis_t           *redis;
    ngx_http_billing_redis_pipeline_t  *pl;

    redis = ev->data;

    while (!ngx_queue_empty(&redis->failed)) {

        q = ngx_queue_head(&redis->failed);
        pl = ngx_queue_data(q, ngx_http_billing_redis_pipeline_t, queue);

        ngx_http_billing_redis_cancel(pl);

        pl->done(pl->data, pl->rc);
    }
}
