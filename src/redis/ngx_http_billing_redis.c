
#include "ngx_http_billing_redis_pool.h"
#include "ngx_http_billing_redis_names.h"


/* bulk pipelines in flight, at most: each delays the pipelines behind it */

#define NGX_HTTP_BILLING_REDIS_BULK      2

/* optional pipelines that may wait for a connection */

#define NGX_HTTP_BILLING_REDIS_OPTIONAL  32

/* bytes of a command, for most of them */

#define NGX_HTTP_BILLING_REDIS_COMMAND   160


struct ngx_http_billing_redis_s {
    ngx_http_billing_redis_pool_t    pool;
    ngx_log_t                       *log;

    /* of the worker's last connection */
    ngx_uint_t                       number;

    /* pipelines that wait for a connection; how many are not optional */
    ngx_queue_t                      waiting;
    ngx_uint_t                       nwaiting;
    ngx_uint_t                       noptional;

    /* bulk pipelines that wait for their turn */
    ngx_queue_t                      bulk;

    /* pipelines that failed: a posted event calls their handlers later */
    ngx_queue_t                      failed;
    ngx_event_t                      posted;
};


static ngx_uint_t ngx_http_billing_redis_same(
    ngx_http_billing_redis_conf_t *one, ngx_http_billing_redis_conf_t *two);
static ngx_uint_t ngx_http_billing_redis_same_str(ngx_str_t *one,
    ngx_str_t *two);
static ngx_int_t ngx_http_billing_redis_init(ngx_conf_t *cf,
    ngx_http_billing_redis_t *redis, ngx_http_billing_redis_conf_t *conf);
static ngx_int_t ngx_http_billing_redis_grow(
    ngx_http_billing_redis_pipeline_t *pl, size_t len);
static void ngx_http_billing_redis_start(ngx_http_billing_redis_pipeline_t *pl);
static void ngx_http_billing_redis_queue(ngx_http_billing_redis_pipeline_t *pl,
    ngx_http_billing_redis_pipeline_state_e state, ngx_uint_t first);
static void ngx_http_billing_redis_dequeue(
    ngx_http_billing_redis_pipeline_t *pl);
static void ngx_http_billing_redis_flush(void *data);
static void ngx_http_billing_redis_returned(void *data,
    ngx_http_billing_redis_pipeline_t *pl, ngx_int_t rc);
static void ngx_http_billing_redis_fail(ngx_http_billing_redis_pipeline_t *pl,
    ngx_http_billing_redis_result_e result);
static void ngx_http_billing_redis_timeout(ngx_event_t *ev);
static void ngx_http_billing_redis_posted_handler(ngx_event_t *ev);


ngx_http_billing_redis_t *
ngx_http_billing_redis_add(ngx_conf_t *cf, ngx_array_t *sets,
    ngx_http_billing_redis_conf_t *conf)
{
    ngx_uint_t                  i;
    ngx_http_billing_redis_t   *redis, **set;

    if (ngx_http_billing_redis_resolve_urls(cf, conf) != NGX_OK) {
        return NULL;
    }

    set = sets->elts;

    for (i = 0; i < sets->nelts; i++) {
        if (ngx_http_billing_redis_same(&set[i]->pool.shared.conf, conf)) {
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

    if (ngx_http_billing_redis_init(cf, redis, conf) != NGX_OK) {
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
        || one->resolver != two->resolver
        || one->resolver_timeout != two->resolver_timeout
        || one->connect_timeout != two->connect_timeout
        || one->connections != two->connections
        || one->queue != two->queue
        || one->socket_keepalive != two->socket_keepalive
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

    /* a setting that is absent has no data */

    return one->len == 0
           || ngx_memcmp(one->data, two->data, one->len) == 0;
}


static ngx_int_t
ngx_http_billing_redis_init(ngx_conf_t *cf, ngx_http_billing_redis_t *redis,
    ngx_http_billing_redis_conf_t *conf)
{
    ngx_http_billing_redis_shared_t  *shared;

    redis->log = &cf->cycle->new_log;

    ngx_queue_init(&redis->waiting);
    ngx_queue_init(&redis->bulk);
    ngx_queue_init(&redis->failed);

    redis->posted.handler = ngx_http_billing_redis_posted_handler;
    redis->posted.data = redis;
    redis->posted.log = redis->log;

    redis->pool.flush = ngx_http_billing_redis_flush;
    redis->pool.data = redis;

    shared = &redis->pool.shared;

    shared->conf = *conf;
    shared->log = redis->log;
    shared->number = &redis->number;
    shared->returned = ngx_http_billing_redis_returned;
    shared->returned_data = redis;

    if (ngx_array_init(&shared->required, cf->pool, 1, sizeof(ngx_str_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_billing_redis_pool_init(cf, &redis->pool) != NGX_OK) {
        return NGX_ERROR;
    }

    return conf->resolver ? ngx_http_billing_redis_names_init(cf, &redis->pool)
                          : NGX_OK;
}


void
ngx_http_billing_redis_count(ngx_http_billing_redis_t *redis,
    ngx_http_billing_redis_stat_t *stat,
    ngx_http_billing_redis_duration_pt duration, void *data)
{
    ngx_http_billing_redis_shared_t  *shared;

    shared = &redis->pool.shared;

    shared->stat = stat;
    shared->duration = duration;
    shared->duration_data = data;
}


ngx_int_t
ngx_http_billing_redis_require(ngx_conf_t *cf, ngx_http_billing_redis_t *redis,
    ngx_str_t *key)
{
    ngx_str_t    *elt;
    ngx_uint_t    i;
    ngx_array_t  *required;

    required = &redis->pool.shared.required;
    elt = required->elts;

    for (i = 0; i < required->nelts; i++) {
        if (ngx_http_billing_redis_same_str(&elt[i], key)) {
            return NGX_OK;
        }
    }

    elt = ngx_array_push(required);
    if (elt == NULL) {
        return NGX_ERROR;
    }

    *elt = *key;

    return NGX_OK;
}


void
ngx_http_billing_redis_track(ngx_http_billing_redis_t *redis,
    ngx_http_billing_redis_tracking_t *tracking)
{
    redis->pool.shared.tracking = tracking;
}


ngx_array_t *
ngx_http_billing_redis_peers(ngx_http_billing_redis_t *redis)
{
    return redis->pool.shared.conf.peers;
}


ngx_int_t
ngx_http_billing_redis_state(ngx_http_billing_redis_t *redis, ngx_uint_t n,
    ngx_http_billing_redis_state_t *state)
{
    ngx_http_billing_redis_server_t  *server;

    if (n >= redis->pool.route.nservers) {
        return NGX_DECLINED;
    }

    server = redis->pool.route.servers[n];

    state->peer = server->peer;
    state->used = (server == ngx_http_billing_redis_pool_used(&redis->pool, 0));
    state->failing = (server->failures != 0);
    state->unloaded = server->unloaded;

    return NGX_OK;
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
    ngx_msec_int_t  left;

    pl->redis = redis;
    pl->timeout = timeout;
    pl->slot = NULL;
    pl->server = NULL;
    pl->connection = 0;
    pl->tries = 0;
    pl->resend = 0;

    ngx_memzero(&pl->timer, sizeof(ngx_event_t));

    pl->timer.handler = ngx_http_billing_redis_timeout;
    pl->timer.data = pl;
    pl->timer.log = redis->log;

    left = (ngx_msec_int_t) (deadline - ngx_current_msec);

    ngx_http_billing_redis_add_timer(&pl->timer, &pl->due,
                                     (ngx_msec_t) ngx_max(left, 1));

    ngx_http_billing_redis_start(pl);

    ngx_http_billing_redis_pool_connect(&redis->pool);
}


static void
ngx_http_billing_redis_start(ngx_http_billing_redis_pipeline_t *pl)
{
    ngx_http_billing_redis_t       *redis;
    ngx_http_billing_redis_conn_t  *conn;

    redis = pl->redis;

    conn = ngx_http_billing_redis_pool_get(&redis->pool,
                                           NGX_HTTP_BILLING_REDIS_INFLIGHT);

    if (pl->optional) {

        if (conn ? conn->ninflight >= NGX_HTTP_BILLING_REDIS_INFLIGHT / 2
                 : redis->noptional >= NGX_HTTP_BILLING_REDIS_OPTIONAL)
        {
            ngx_http_billing_redis_fail(pl, NGX_HTTP_BILLING_REDIS_UNAVAILABLE);
            return;
        }

    } else if (conn == NULL
               && redis->nwaiting >= redis->pool.shared.conf.queue)
    {
        ngx_http_billing_redis_fail(pl, NGX_HTTP_BILLING_REDIS_UNAVAILABLE);
        return;
    }

    if (pl->bulk
        && (redis->pool.shared.nbulk >= NGX_HTTP_BILLING_REDIS_BULK
            || !ngx_queue_empty(&redis->bulk)))
    {
        ngx_http_billing_redis_queue(pl, NGX_HTTP_BILLING_REDIS_PIPELINE_BULK,
                                     0);
        return;
    }

    if (conn) {
        ngx_http_billing_redis_conn_send(conn, pl);
        return;
    }

    ngx_http_billing_redis_queue(pl, NGX_HTTP_BILLING_REDIS_PIPELINE_WAITING,
                                 0);
}


static void
ngx_http_billing_redis_queue(ngx_http_billing_redis_pipeline_t *pl,
    ngx_http_billing_redis_pipeline_state_e state, ngx_uint_t first)
{
    ngx_queue_t               *queue;
    ngx_http_billing_redis_t  *redis;

    redis = pl->redis;

    switch (state) {

    case NGX_HTTP_BILLING_REDIS_PIPELINE_BULK:
        queue = &redis->bulk;
        break;

    case NGX_HTTP_BILLING_REDIS_PIPELINE_FAILED:
        queue = &redis->failed;
        break;

    default: /* NGX_HTTP_BILLING_REDIS_PIPELINE_WAITING */
        queue = &redis->waiting;

        if (pl->optional) {
            state = NGX_HTTP_BILLING_REDIS_PIPELINE_OPTIONAL;
            redis->noptional++;

        } else {
            redis->nwaiting++;
        }

        break;
    }

    if (state != NGX_HTTP_BILLING_REDIS_PIPELINE_FAILED) {
        redis->pool.nwaiting++;
    }

    pl->state = state;

    if (first) {
        ngx_queue_insert_head(queue, &pl->queue);

    } else {
        ngx_queue_insert_tail(queue, &pl->queue);
    }
}


static void
ngx_http_billing_redis_dequeue(ngx_http_billing_redis_pipeline_t *pl)
{
    ngx_http_billing_redis_t  *redis;

    redis = pl->redis;

    ngx_queue_remove(&pl->queue);

    switch (pl->state) {

    case NGX_HTTP_BILLING_REDIS_PIPELINE_WAITING:
        redis->nwaiting--;
        break;

    case NGX_HTTP_BILLING_REDIS_PIPELINE_OPTIONAL:
        redis->noptional--;
        break;

    default:
        break;
    }

    if (pl->state != NGX_HTTP_BILLING_REDIS_PIPELINE_FAILED) {
        redis->pool.nwaiting--;
    }

    pl->state = NGX_HTTP_BILLING_REDIS_PIPELINE_IDLE;
}


void
ngx_http_billing_redis_cancel(ngx_http_billing_redis_pipeline_t *pl)
{
    switch (pl->state) {

    case NGX_HTTP_BILLING_REDIS_PIPELINE_IDLE:
        return;

    case NGX_HTTP_BILLING_REDIS_PIPELINE_SENT:
        pl->slot->pipeline = NULL;
        pl->slot = NULL;
        pl->state = NGX_HTTP_BILLING_REDIS_PIPELINE_IDLE;
        break;

    default:
        ngx_http_billing_redis_dequeue(pl);
        break;
    }

    if (pl->timer.timer_set) {
        ngx_del_timer(&pl->timer);
    }
}


void
ngx_http_billing_redis_wrong(ngx_http_billing_redis_pipeline_t *pl)
{
    pl->redis->pool.shared.stat->errors++;
}


ngx_int_t
ngx_http_billing_redis_unloaded(ngx_http_billing_redis_pipeline_t *pl)
{
    ngx_array_t  *required;

    required = &pl->redis->pool.shared.required;

    return ngx_http_billing_redis_pool_unloaded(&pl->redis->pool,
                                                pl->connection,
                                                required->nelts == 1
                                                ? required->elts : NULL);
}


void
ngx_http_billing_redis_close(ngx_http_billing_redis_t *redis)
{
    ngx_http_billing_redis_pool_close(&redis->pool);
}


static void
ngx_http_billing_redis_flush(void *data)
{
    ngx_http_billing_redis_t *redis = data;

    ngx_queue_t                        *q;
    ngx_http_billing_redis_conn_t      *conn;
    ngx_http_billing_redis_pipeline_t  *pl;

    for ( ;; ) {

        if (!ngx_queue_empty(&redis->waiting)) {
            q = ngx_queue_head(&redis->waiting);

        } else if (!ngx_queue_empty(&redis->bulk)
                   && redis->pool.shared.nbulk < NGX_HTTP_BILLING_REDIS_BULK)
        {
            q = ngx_queue_head(&redis->bulk);

        } else {
            return;
        }

        conn = ngx_http_billing_redis_pool_get(&redis->pool,
                                               NGX_HTTP_BILLING_REDIS_INFLIGHT);
        if (conn == NULL) {
            return;
        }

        pl = ngx_queue_data(q, ngx_http_billing_redis_pipeline_t, queue);

        ngx_http_billing_redis_dequeue(pl);
        ngx_http_billing_redis_conn_send(conn, pl);
    }
}


/*
 * A connection was lost.  The pipeline is sent again by a posted event: first
 * the other events of this turn show which other connections are lost.
 */

static void
ngx_http_billing_redis_returned(void *data,
    ngx_http_billing_redis_pipeline_t *pl, ngx_int_t rc)
{
    ngx_http_billing_redis_t *redis = data;

    if (pl == NULL) {
        ngx_post_event(&redis->posted, &ngx_posted_events);
        return;
    }

    if (rc != NGX_OK) {
        ngx_http_billing_redis_fail(pl, NGX_HTTP_BILLING_REDIS_BROKEN);
        return;
    }

    pl->resend = 1;

    /* at the head: the pipeline that was sent first is returned last */

    ngx_http_billing_redis_queue(pl, NGX_HTTP_BILLING_REDIS_PIPELINE_WAITING,
                                 1);

    ngx_post_event(&redis->posted, &ngx_posted_events);
}


/* fails a pipeline that is in no queue and in no slot */

static void
ngx_http_billing_redis_fail(ngx_http_billing_redis_pipeline_t *pl,
    ngx_http_billing_redis_result_e result)
{
    pl->result = result;

    if (pl->timer.timer_set) {
        ngx_del_timer(&pl->timer);
    }

    ngx_http_billing_redis_queue(pl, NGX_HTTP_BILLING_REDIS_PIPELINE_FAILED, 0);

    ngx_post_event(&pl->redis->posted, &ngx_posted_events);
}


static void
ngx_http_billing_redis_timeout(ngx_event_t *ev)
{
    ngx_http_billing_redis_t           *redis;
    ngx_http_billing_redis_conn_t      *conn;
    ngx_http_billing_redis_result_e     result;
    ngx_http_billing_redis_pipeline_t  *pl;

    pl = ev->data;
    redis = pl->redis;

    if (ngx_http_billing_redis_stalled(ev, &pl->due)) {
        return;
    }

    conn = NULL;
    result = redis->pool.result;

    if (pl->state == NGX_HTTP_BILLING_REDIS_PIPELINE_SENT) {
        conn = pl->slot->conn;
        result = NGX_HTTP_BILLING_REDIS_TIMEOUT;
        ngx_http_billing_redis_server_late(conn->server);
    }

    if (result == NGX_HTTP_BILLING_REDIS_TIMEOUT) {
        redis->pool.shared.stat->timeouts++;
    }

    ngx_http_billing_redis_cancel(pl);

    if (conn) {

        /* half the timeout: other pipelines need time for another server */

        ngx_http_billing_redis_conn_check(conn, pl->timeout / 2);
    }

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
    ngx_http_billing_redis_pool_connect(&redis->pool);
}
