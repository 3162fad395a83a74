
/*
 * A place that pipelines are sent to: the connections of one pool, and the
 * pipelines that wait for one of them.  A set of servers has one node; a
 * cluster has one for each of its servers, besides.
 */


#ifndef _NGX_HTTP_BILLING_REDIS_NODE_H_INCLUDED_
#define _NGX_HTTP_BILLING_REDIS_NODE_H_INCLUDED_


#include "ngx_http_billing_redis_pool.h"


struct ngx_http_billing_redis_node_s {
    ngx_http_billing_redis_pool_t    pool;
    ngx_log_t                       *log;

    /* pipelines that wait for a connection */
    ngx_queue_t                      waiting;

    /* how many of them are not optional, and how many are */
    ngx_uint_t                       nwaiting;
    ngx_uint_t                       noptional;

    /* bulk pipelines that wait for their turn */
    ngx_queue_t                      bulk;

    /* pipelines that failed: a posted event calls their handlers later */
    ngx_queue_t                      failed;
    ngx_event_t                      posted;
};


/*
 * Makes the connections of a node that is zeroed but for the conf, the log and
 * the number of node->pool.shared.
 */
ngx_int_t ngx_http_billing_redis_node_init(ngx_conf_t *cf,
    ngx_http_billing_redis_node_t *node);

/* Sends the pipeline, as ngx_http_billing_redis_send() does. */
void ngx_http_billing_redis_node_send(ngx_http_billing_redis_node_t *node,
    ngx_http_billing_redis_pipeline_t *pl, ngx_msec_t timeout,
    ngx_msec_t deadline);

/* Fails a pipeline that is not active, later. */
void ngx_http_billing_redis_node_refuse(ngx_http_billing_redis_node_t *node,
    ngx_http_billing_redis_pipeline_t *pl,
    ngx_http_billing_redis_result_e result);

/* Cancels a pipeline that was sent to a node, if it is active. */
void ngx_http_billing_redis_node_cancel(ngx_http_billing_redis_pipeline_t *pl);

/* Closes the connections; pipelines must not be sent any more. */
void ngx_http_billing_redis_node_close(ngx_http_billing_redis_node_t *node);


#endif /* _NGX_HTTP_BILLING_REDIS_NODE_H_INCLUDED_ */
