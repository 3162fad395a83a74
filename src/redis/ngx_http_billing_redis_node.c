
#include "ngx_http_billing_redis_node.h"


/* bulk pipelines in flight, at most: each delays the pipelines behind it */

#define NGX_HTTP_BILLING_REDIS_BULK      2

/* optional pipelines that may wait for a connection */

#define NGX_HTTP_BILLING_REDIS_OPTIONAL  32


static void ngx_http_billing_redis_node_start(
    ngx_http_billing_redis_pipeline_t *pl);
static void ngx_http_billing_redis_node_queue(
    ngx_http_billing_redis_pipeline_t *pl,
    ngx_http_billing_redis_pipeline_state_e state, ngx_uint_t first);
static void ngx_http_billing_redis_node_dequeue(
    ngx_http_billing_redis_pipeline_t *pl);
static void ngx_http_billing_redis_node_flush(void *data);
static void ngx_http_billing_redis_node_returned(void *data,
    ngx_http_billing_redis_pipeline_t *pl, ngx_int_t rc);
static void ngx_http_billing_redis_node_fail(
    ngx_http_billing_redis_pipeline_t *pl,
    ngx_http_billing_redis_result_e result);
static void ngx_http_billing_redis_node_timeout(ngx_event_t *ev);
static void ngx_http_billing_redis_node_posted_handler(ngx_event_t *ev);


ngx_int_t
ngx_http_billing_redis_node_init(ngx_conf_t *cf,
    ngx_http_billing_redis_node_t *node)
{
    ngx_http_billing_redis_shared_t  *shared;

    shared = &node->pool.shared;

    node->log = shared->log;

    ngx_queue_init(&node->waiting);
    ngx_queue_init(&node->bulk);
    ngx_queue_init(&node->failed);

    node->posted.handler = ngx_http_billing_redis_node_posted_handler;
    node->posted.data = node;
    node->posted.log = node->log;

    node->pool.flush = ngx_http_billing_redis_node_flush;
    node->pool.data = node;

    shared->returned = ngx_http_billing_redis_node_returned;
    shared->returned_data = node;

    if (ngx_array_init(&shared->required, cf->pool, 1, sizeof(ngx_str_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_billing_redis_pool_init(cf, &node->pool);
}


void
ngx_http_billing_redis_node_send(ngx_http_billing_redis_node_t *node,
    ngx_http_billing_redis_pipeline_t *pl, ngx_msec_t timeout,
    ngx_msec_t deadline)
{
    ngx_msec_int_t  left;

    pl->node = node;
    pl->timeout = timeout;
    pl->deadline = deadline;
    pl->pending = NULL;
    pl->server = NULL;
    pl->connection = 0;
    pl->tries = 0;
    pl->resend = 0;

    ngx_memzero(&pl->timer, sizeof(ngx_event_t));

    pl->timer.handler = ngx_http_billing_redis_node_timeout;
    pl->timer.data = pl;
    pl->timer.log = node->log;

    left = (ngx_msec_int_t) (deadline - ngx_current_msec);

    ngx_http_billing_redis_add_timer(&pl->timer, &pl->timer_due,
                                     (ngx_msec_t) ngx_max(left, 1));

    ngx_http_billing_redis_node_start(pl);

    ngx_http_billing_redis_pool_connect(&node->pool);
}


static void
ngx_http_billing_redis_node_start(ngx_http_billing_redis_pipeline_t *pl)
{
    ngx_http_billing_redis_node_t  *node;
    ngx_http_billing_redis_conn_t  *conn;

    node = pl->node;

    conn = ngx_http_billing_redis_pool_get(&node->pool);

    if (pl->optional) {

        if (conn ? conn->ninflight >= NGX_HTTP_BILLING_REDIS_INFLIGHT / 2
                 : node->noptional >= NGX_HTTP_BILLING_REDIS_OPTIONAL)
        {
            ngx_http_billing_redis_node_fail(pl,
                                           NGX_HTTP_BILLING_REDIS_UNAVAILABLE);
            return;
        }

    } else if (conn == NULL
               && node->nwaiting >= node->pool.shared.conf.queue)
    {
        ngx_http_billing_redis_node_fail(pl,
                                         NGX_HTTP_BILLING_REDIS_UNAVAILABLE);
        return;
    }

    if (pl->bulk
        && (node->pool.shared.nbulk >= NGX_HTTP_BILLING_REDIS_BULK
            || !ngx_queue_empty(&node->bulk)))
    {
        ngx_http_billing_redis_node_queue(pl,
                                        NGX_HTTP_BILLING_REDIS_PIPELINE_BULK,
                                        0);
        return;
    }

    if (conn) {
        ngx_http_billing_redis_conn_send(conn, pl);
        return;
    }

    ngx_http_billing_redis_node_queue(pl,
                                      NGX_HTTP_BILLING_REDIS_PIPELINE_WAITING,
                                      0);
}


static void
ngx_http_billing_redis_node_queue(ngx_http_billing_redis_pipeline_t *pl,
    ngx_http_billing_redis_pipeline_state_e state, ngx_uint_t first)
{
    ngx_queue_t                    *queue;
    ngx_http_billing_redis_node_t  *node;

    node = pl->node;

    switch (state) {

    case NGX_HTTP_BILLING_REDIS_PIPELINE_BULK:
        queue = &node->bulk;
        break;

    case NGX_HTTP_BILLING_REDIS_PIPELINE_FAILED:
        queue = &node->failed;
        break;

    default: /* NGX_HTTP_BILLING_REDIS_PIPELINE_WAITING */
        queue = &node->waiting;

        if (pl->optional) {
            state = NGX_HTTP_BILLING_REDIS_PIPELINE_OPTIONAL;
            node->noptional++;

        } else {
            node->nwaiting++;
        }

        break;
    }

    if (state != NGX_HTTP_BILLING_REDIS_PIPELINE_FAILED) {
        node->pool.nwaiting++;
    }

    pl->state = state;

    if (first) {
        ngx_queue_insert_head(queue, &pl->queue);

    } else {
        ngx_queue_insert_tail(queue, &pl->queue);
    }
}


static void
ngx_http_billing_redis_node_dequeue(ngx_http_billing_redis_pipeline_t *pl)
{
    ngx_http_billing_redis_node_t  *node;

    node = pl->node;

    ngx_queue_remove(&pl->queue);

    switch (pl->state) {

    case NGX_HTTP_BILLING_REDIS_PIPELINE_WAITING:
        node->nwaiting--;
        break;

    case NGX_HTTP_BILLING_REDIS_PIPELINE_OPTIONAL:
        node->noptional--;
        break;

    default:
        break;
    }

    if (pl->state != NGX_HTTP_BILLING_REDIS_PIPELINE_FAILED) {
        node->pool.nwaiting--;
    }

    pl->state = NGX_HTTP_BILLING_REDIS_PIPELINE_IDLE;
}


void
ngx_http_billing_redis_node_refuse(ngx_http_billing_redis_node_t *node,
    ngx_http_billing_redis_pipeline_t *pl,
    ngx_http_billing_redis_result_e result)
{
    pl->node = node;

    ngx_memzero(&pl->timer, sizeof(ngx_event_t));

    ngx_http_billing_redis_node_fail(pl, result);
}


void
ngx_http_billing_redis_node_cancel(ngx_http_billing_redis_pipeline_t *pl)
{
    switch (pl->state) {

    case NGX_HTTP_BILLING_REDIS_PIPELINE_IDLE:
        return;

    case NGX_HTTP_BILLING_REDIS_PIPELINE_SENT:
        pl->pending->pipeline = NULL;
        pl->pending = NULL;
        pl->state = NGX_HTTP_BILLING_REDIS_PIPELINE_IDLE;
        break;

    default:
        ngx_http_billing_redis_node_dequeue(pl);
        break;
    }

    if (pl->timer.timer_set) {
        ngx_del_timer(&pl->timer);
    }
}


void
ngx_http_billing_redis_node_close(ngx_http_billing_redis_node_t *node)
{
    ngx_http_billing_redis_pool_close(&node->pool);

    if (node->pool.connect.timer_set) {
        ngx_del_timer(&node->pool.connect);
    }

    if (node->pool.probe.timer_set) {
        ngx_del_timer(&node->pool.probe);
    }

    if (node->posted.posted) {
        ngx_delete_posted_event(&node->posted);
    }
}


static void
ngx_http_billing_redis_node_flush(void *data)
{
    ngx_http_billing_redis_node_t *node = data;

    ngx_queue_t                        *q;
    ngx_http_billing_redis_conn_t      *conn;
    ngx_http_billing_redis_pipeline_t  *pl;

    for ( ;; ) {

        if (!ngx_queue_empty(&node->waiting)) {
            q = ngx_queue_head(&node->waiting);

        } else if (!ngx_queue_empty(&node->bulk)
                   && node->pool.shared.nbulk < NGX_HTTP_BILLING_REDIS_BULK)
        {
            q = ngx_queue_head(&node->bulk);

        } else {
            return;
        }

        conn = ngx_http_billing_redis_pool_get(&node->pool);
        if (conn == NULL) {
            return;
        }

        pl = ngx_queue_data(q, ngx_http_billing_redis_pipeline_t, queue);

        ngx_http_billing_redis_node_dequeue(pl);
        ngx_http_billing_redis_conn_send(conn, pl);
    }
}


/*
 * A connection was lost.  The pipeline is sent again by a posted event: first
 * the other events of this turn show which other connections are lost.
 */

static void
ngx_http_billing_redis_node_returned(void *data,
    ngx_http_billing_redis_pipeline_t *pl, ngx_int_t rc)
{
    ngx_http_billing_redis_node_t *node = data;

    if (pl == NULL) {
        ngx_post_event(&node->posted, &ngx_posted_events);
        return;
    }

    if (rc != NGX_OK) {
        ngx_http_billing_redis_node_fail(pl, NGX_HTTP_BILLING_REDIS_BROKEN);
        return;
    }

    pl->resend = 1;

    /* at the head: the pipeline that was sent first is returned last */

    ngx_http_billing_redis_node_queue(pl,
                                      NGX_HTTP_BILLING_REDIS_PIPELINE_WAITING,
                                      1);

    ngx_post_event(&node->posted, &ngx_posted_events);
}


/* fails a pipeline that is in no queue and not in flight */

static void
ngx_http_billing_redis_node_fail(ngx_http_billing_redis_pipeline_t *pl,
    ngx_http_billing_redis_result_e result)
{
    pl->result = result;

    if (pl->timer.timer_set) {
        ngx_del_timer(&pl->timer);
    }

    ngx_http_billing_redis_node_queue(pl,
                                      NGX_HTTP_BILLING_REDIS_PIPELINE_FAILED,
                                      0);

    ngx_post_event(&pl->node->posted, &ngx_posted_events);
}


static void
ngx_http_billing_redis_node_timeout(ngx_event_t *ev)
{
    ngx_http_billing_redis_node_t      *node;
    ngx_http_billing_redis_conn_t      *conn;
    ngx_http_billing_redis_result_e     result;
    ngx_http_billing_redis_pipeline_t  *pl;

    pl = ev->data;
    node = pl->node;

    if (ngx_http_billing_redis_stalled(ev, &pl->timer_due)) {
        return;
    }

    conn = NULL;
    result = node->pool.result;

    if (pl->state == NGX_HTTP_BILLING_REDIS_PIPELINE_SENT) {
        conn = pl->pending->conn;
        result = NGX_HTTP_BILLING_REDIS_TIMEOUT;
        ngx_http_billing_redis_server_late(conn->server);
    }

    if (result == NGX_HTTP_BILLING_REDIS_TIMEOUT) {
        node->pool.shared.stat->timeouts++;
    }

    ngx_http_billing_redis_node_cancel(pl);

    if (conn) {

        /* half the timeout: other pipelines need time for another server */

        ngx_http_billing_redis_conn_check(conn, pl->timeout / 2);
    }

    pl->done(pl->data, result);
}


static void
ngx_http_billing_redis_node_posted_handler(ngx_event_t *ev)
{
    ngx_queue_t                        *q;
    ngx_http_billing_redis_node_t      *node;
    ngx_http_billing_redis_pipeline_t  *pl;

    node = ev->data;

    while (!ngx_queue_empty(&node->failed)) {

        q = ngx_queue_head(&node->failed);
        pl = ngx_queue_data(q, ngx_http_billing_redis_pipeline_t, queue);

        ngx_http_billing_redis_node_cancel(pl);

        pl->done(pl->data, pl->result);
    }

    ngx_http_billing_redis_node_flush(node);
    ngx_http_billing_redis_pool_connect(&node->pool);
}
