
#include "ngx_http_billing_redis_conn.h"


/* bulk pipelines in flight: what is sent after them has to wait for them */

#define NGX_HTTP_BILLING_REDIS_BULK    2

/* bytes of a command, for most of them */

#define NGX_HTTP_BILLING_REDIS_COMMAND  160


static ngx_uint_t ngx_http_billing_redis_same(
    ngx_http_billing_redis_conf_t *one, ngx_http_billing_redis_conf_t *two);
static ngx_uint_t ngx_http_billing_redis_same_str(ngx_str_t *one,
    ngx_str_t *two);
static ngx_int_t ngx_http_billing_redis_init(ngx_conf_t *cf,
    ngx_http_billing_redis_t *redis);
static ngx_int_t ngx_http_billing_redis_grow(
    ngx_http_billing_redis_pipeline_t *pl, size_t len);
static void ngx_http_billing_redis_wait(ngx_http_billing_redis_pipeline_t *pl,
    ngx_uint_t first);
static void ngx_http_billing_redis_timeout(ngx_event_t *ev);
static void ngx_http_billing_redis_posted_handler(ngx_event_t *ev);


ngx_http_billing_redis_t *
ngx_http_billing_redis_add(ngx_conf_t *cf, ngx_array_t *sets,
    ngx_http_billing_redis_conf_t *conf)
{
    ngx_uint_t                  i;
    ngx_http_billing_redis_t   *redis, **set;

    set = sets->elts;

    for (i = 0; i < sets->nelts; i++) {
        if (ngx_http_billing_redis_same(&set[i]->conf, conf)) {
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

    redis->conf = *conf;

    if (ngx_http_billing_redis_init(cf, redis) != NGX_OK) {
        return NULL;
    }

    *set = redis;

    return redis;
}


static ngx_uint_t
ngx_http_billing_redis_same(ngx_http_billing_redis_conf_t *one,
    ngx_http_billing_redis_conf_t *two)
{
    ngx_uint_t                      i;
    ngx_http_billing_redis_peer_t  *p, *q;

    if (one->peers->nelts != two->peers->nelts
        || one->connect_timeout != two->connect_timeout
        || one->connections != two->connections
        || one->queue != two->queue
        || !ngx_http_billing_redis_same_str(&one->password, &two->password)
        || one->ssl.verify != two->ssl.verify
        || !ngx_http_billing_redis_same_str(&one->ssl.trusted_certificate,
                                            &two->ssl.trusted_certificate)
        || !ngx_http_billing_redis_same_str(&one->ssl.name, &two->ssl.name)
        || !ngx_http_billing_redis_same_str(&one->ssl.certificate,
                                            &two->ssl.certificate)
        || !ngx_http_billing_redis_same_str(&one->ssl.certificate_key,
                                            &two->ssl.certificate_key))
    {
        return 0;
    }

    p = one->peers->elts;
    q = two->peers->elts;

    for (i = 0; i < one->peers->nelts; i++) {
        if (!ngx_http_billing_redis_same_str(&p[i].url, &q[i].url)
            || !ngx_http_billing_redis_same_str(&p[i].name, &q[i].name))
        {
            return 0;
        }
    }

    return 1;
}


static ngx_uint_t
ngx_http_billing_redis_same_str(ngx_str_t *one, ngx_str_t *two)
{
    if (one->len != two->len) {
        return 0;
    }

    /* what is not set has no data */

    return one->len == 0
           || ngx_memcmp(one->data, two->data, one->len) == 0;
}


static ngx_int_t
ngx_http_billing_redis_init(ngx_conf_t *cf, ngx_http_billing_redis_t *redis)
{
    ngx_uint_t                        i;
    ngx_http_billing_redis_peer_t    *peer;
    ngx_http_billing_redis_server_t  *server;

    if (ngx_array_init(&redis->required, cf->pool, 1, sizeof(ngx_str_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    redis->nservers = redis->conf.peers->nelts;
    redis->servers = ngx_pcalloc(cf->pool, redis->nservers
                                     * sizeof(ngx_http_billing_redis_server_t));

    /* those in use, as many that drain, and one that probes */

    redis->nconns = 2 * redis->conf.connections + 1;
    redis->conns = ngx_pcalloc(cf->pool, redis->nconns
                                       * sizeof(ngx_http_billing_redis_conn_t));

    if (redis->servers == NULL || redis->conns == NULL) {
        return NGX_ERROR;
    }

    peer = redis->conf.peers->elts;

    for (i = 0; i < redis->nservers; i++) {
        server = &redis->servers[i];

        server->peer = &peer[i];
        server->password = peer[i].password.len ? peer[i].password
                                                : redis->conf.password;

#if (NGX_HTTP_BILLING_REDIS_SSL)

        if (peer[i].ssl_name.len && redis->ssl == NULL
            && ngx_http_billing_redis_ssl_init(cf, redis) != NGX_OK)
        {
            return NGX_ERROR;
        }

#endif

        if (peer[i].user.len && server->password.len == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "no password for the user of redis server "
                               "\"%V\" in \"billing_redis\" directive",
                               &peer[i].name);
            return NGX_ERROR;
        }
    }

    for (i = 0; i < redis->nconns; i++) {
        redis->conns[i].redis = redis;
        ngx_queue_init(&redis->conns[i].inflight);
    }

    redis->result = NGX_HTTP_BILLING_REDIS_UNAVAILABLE;

    ngx_queue_init(&redis->waiting);
    ngx_queue_init(&redis->bulk);
    ngx_queue_init(&redis->failed);

    return NGX_OK;
}


void
ngx_http_billing_redis_count(ngx_http_billing_redis_t *redis,
    ngx_http_billing_redis_stat_t *stat,
    ngx_http_billing_redis_duration_pt duration, void *data)
{
    redis->stat = stat;
    redis->duration = duration;
    redis->duration_data = data;
}


ngx_int_t
ngx_http_billing_redis_require(ngx_conf_t *cf, ngx_http_billing_redis_t *redis,
    ngx_str_t *key)
{
    ngx_str_t   *required;
    ngx_uint_t   i;

    required = redis->required.elts;

    for (i = 0; i < redis->required.nelts; i++) {
        if (ngx_http_billing_redis_same_str(&required[i], key)) {
            return NGX_OK;
        }
    }

    required = ngx_array_push(&redis->required);
    if (required == NULL) {
        return NGX_ERROR;
    }

    *required = *key;

    return NGX_OK;
}


ngx_http_billing_redis_peer_t *
ngx_http_billing_redis_first_peer(ngx_http_billing_redis_t *redis)
{
    return redis->conf.peers->elts;
}


ngx_int_t
ngx_http_billing_redis_pipeline_init(ngx_http_billing_redis_pipeline_t *pl,
    ngx_pool_t *pool, ngx_uint_t n)
{
    pl->start = ngx_pnalloc(pool, n * NGX_HTTP_BILLING_REDIS_COMMAND);
    if (pl->start == NULL) {
        return NGX_ERROR;
    }

    pl->last = pl->start;
    pl->end = pl->start + n * NGX_HTTP_BILLING_REDIS_COMMAND;
    pl->ncommands = 0;
    pl->pool = pool;

    return NGX_OK;
}


ngx_int_t
ngx_http_billing_redis_add_command(ngx_http_billing_redis_pipeline_t *pl,
    ngx_http_billing_redis_command_t *command, ngx_str_t *args)
{
    size_t  size;

    size = ngx_http_billing_redis_command_size(command, args);

    if ((size_t) (pl->end - pl->last) < size
        && ngx_http_billing_redis_grow(pl, size) != NGX_OK)
    {
        return NGX_ERROR;
    }

    pl->last = ngx_http_billing_redis_command_write(pl->last, command, args);
    pl->ncommands++;

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_redis_grow(ngx_http_billing_redis_pipeline_t *pl, size_t len)
{
    u_char  *p;
    size_t   used, size;

    used = pl->last - pl->start;
    size = 2 * (used + len);

    p = ngx_pnalloc(pl->pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    pl->last = ngx_cpymem(p, pl->start, used);
    pl->start = p;
    pl->end = p + size;

    return NGX_OK;
}


void
ngx_http_billing_redis_send(ngx_http_billing_redis_t *redis,
    ngx_http_billing_redis_pipeline_t *pl, ngx_msec_t timeout,
    ngx_msec_t deadline)
{
    ngx_msec_int_t                  left;
    ngx_http_billing_redis_conn_t  *conn;

    ngx_http_billing_redis_pool_init(redis);

    redis->posted.handler = ngx_http_billing_redis_posted_handler;
    redis->posted.data = redis;
    redis->posted.log = ngx_cycle->log;

    pl->redis = redis;
    pl->timeout = timeout;
    pl->slot = NULL;
    pl->server = NULL;
    pl->connection = 0;
    pl->tries = 0;
    pl->resend = 0;
    pl->waiting = 0;
    pl->active = 1;

    ngx_memzero(&pl->timer, sizeof(ngx_event_t));

    pl->timer.handler = ngx_http_billing_redis_timeout;
    pl->timer.data = pl;
    pl->timer.log = ngx_cycle->log;

    conn = ngx_http_billing_redis_pool_get(redis);

    if (conn == NULL && redis->nwaiting >= redis->conf.queue) {
        ngx_http_billing_redis_fail(pl, NGX_HTTP_BILLING_REDIS_UNAVAILABLE);
        return;
    }

    left = (ngx_msec_int_t) (deadline - ngx_current_msec);

    ngx_add_timer(&pl->timer, (ngx_msec_t) ngx_max(left, 1));

    if (pl->bulk
        && (redis->nbulk >= NGX_HTTP_BILLING_REDIS_BULK
            || !ngx_queue_empty(&redis->bulk)))
    {
        ngx_queue_insert_tail(&redis->bulk, &pl->queue);

    } else if (conn) {
        ngx_http_billing_redis_conn_send(conn, pl);

    } else {
        ngx_http_billing_redis_wait(pl, 0);
    }

    ngx_http_billing_redis_pool_connect(redis);
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
        pl->redis->nwaiting -= pl->waiting;
    }

    pl->active = 0;
}


void
ngx_http_billing_redis_wrong(ngx_http_billing_redis_pipeline_t *pl)
{
    pl->redis->stat->errors++;
}


ngx_int_t
ngx_http_billing_redis_unloaded(ngx_http_billing_redis_pipeline_t *pl)
{
    return NGX_DECLINED;
}


void
ngx_http_billing_redis_close(ngx_http_billing_redis_t *redis)
{
    ngx_uint_t  i;

    for (i = 0; i < redis->nconns; i++) {
        ngx_http_billing_redis_conn_close(&redis->conns[i],
                                          "worker is exiting",
                                          NGX_HTTP_BILLING_REDIS_BLAME_CONN);
    }
}


void
ngx_http_billing_redis_flush(ngx_http_billing_redis_t *redis)
{
    ngx_queue_t                        *q;
    ngx_http_billing_redis_conn_t      *conn;
    ngx_http_billing_redis_pipeline_t  *pl;

    while (!ngx_queue_empty(&redis->waiting)) {

        conn = ngx_http_billing_redis_pool_get(redis);

        if (conn == NULL) {
            return;
        }

        q = ngx_queue_head(&redis->waiting);
        pl = ngx_queue_data(q, ngx_http_billing_redis_pipeline_t, queue);

        ngx_queue_remove(q);
        pl->waiting = 0;
        redis->nwaiting--;

        ngx_http_billing_redis_conn_send(conn, pl);
    }

    while (redis->nbulk < NGX_HTTP_BILLING_REDIS_BULK
           && !ngx_queue_empty(&redis->bulk))
    {
        conn = ngx_http_billing_redis_pool_get(redis);

        if (conn == NULL) {
            return;
        }

        q = ngx_queue_head(&redis->bulk);
        pl = ngx_queue_data(q, ngx_http_billing_redis_pipeline_t, queue);

        ngx_queue_remove(q);

        ngx_http_billing_redis_conn_send(conn, pl);
    }
}


static void
ngx_http_billing_redis_wait(ngx_http_billing_redis_pipeline_t *pl,
    ngx_uint_t first)
{
    ngx_http_billing_redis_t  *redis;

    redis = pl->redis;

    if (first) {
        ngx_queue_insert_head(&redis->waiting, &pl->queue);

    } else {
        ngx_queue_insert_tail(&redis->waiting, &pl->queue);
    }

    pl->waiting = 1;
    redis->nwaiting++;
}


/* what was in flight goes back, in its order, before those who wait */

void
ngx_http_billing_redis_settle(ngx_http_billing_redis_conn_t *conn)
{
    ngx_uint_t                          first;
    ngx_queue_t                        *q;
    ngx_http_billing_redis_slot_t      *slot;
    ngx_http_billing_redis_pipeline_t  *pl;

    conn->ninflight = 0;

    while (!ngx_queue_empty(&conn->inflight)) {

        q = ngx_queue_last(&conn->inflight);
        ngx_queue_remove(q);

        slot = ngx_queue_data(q, ngx_http_billing_redis_slot_t, queue);
        first = ngx_queue_empty(&conn->inflight);
        pl = slot->pipeline;

        conn->redis->nbulk -= slot->bulk;

        ngx_free(slot);

        if (pl == NULL) {
            continue;
        }

        pl->slot = NULL;

        if (!first || conn->blame == NGX_HTTP_BILLING_REDIS_BLAME_NONE) {
            pl->tries--;

        } else if (conn->blame == NGX_HTTP_BILLING_REDIS_BLAME_FIRST
                   || pl->tries > conn->redis->conf.connections)
        {
            /* what broke this connection may have broken all, once each */

            ngx_http_billing_redis_fail(pl, NGX_HTTP_BILLING_REDIS_BROKEN);
            continue;
        }

        pl->resend = 1;

        ngx_http_billing_redis_wait(pl, 1);
    }
}


/* the pipeline is in no queue and in no slot */

void
ngx_http_billing_redis_fail(ngx_http_billing_redis_pipeline_t *pl,
    ngx_http_billing_redis_result_e result)
{
    ngx_http_billing_redis_t  *redis;

    redis = pl->redis;

    pl->result = result;

    if (pl->timer.timer_set) {
        ngx_del_timer(&pl->timer);
    }

    ngx_queue_insert_tail(&redis->failed, &pl->queue);

    ngx_post_event(&redis->posted, &ngx_posted_events);
}


static void
ngx_http_billing_redis_timeout(ngx_event_t *ev)
{
    ngx_http_billing_redis_t           *redis;
    ngx_http_billing_redis_result_e     result;
    ngx_http_billing_redis_pipeline_t  *pl;

    pl = ev->data;
    redis = pl->redis;

    result = pl->slot ? NGX_HTTP_BILLING_REDIS_TIMEOUT : redis->result;

    if (result == NGX_HTTP_BILLING_REDIS_TIMEOUT) {
        redis->late++;
        redis->stat->timeouts++;
    }

    if (pl->slot && !redis->logged) {
        redis->logged = 1;
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "redis server \"%V\" did not answer in time",
                      &pl->slot->conn->server->peer->name);
    }

    ngx_http_billing_redis_cancel(pl);

    ngx_http_billing_redis_pool_check(redis, pl->timeout / 2);

    pl->done(pl->data, result);
}


static void
ngx_http_billing_redis_posted_handler(ngx_event_t *ev)
{
    ngx_queue_t                        *q;
    ngx_http_billing_redis_t           *redis;
    ngx_http_billing_redis_pipeline_t  *pl;

    redis = ev->data;

    while (!ngx_queue_empty(&redis->failed)) {

        q = ngx_queue_head(&redis->failed);
        pl = ngx_queue_data(q, ngx_http_billing_redis_pipeline_t, queue);

        ngx_http_billing_redis_cancel(pl);

        pl->done(pl->data, pl->result);
    }

    ngx_http_billing_redis_flush(redis);
    ngx_http_billing_redis_pool_connect(redis);
}
