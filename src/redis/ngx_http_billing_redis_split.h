
/*
 * A pipeline for a cluster: its commands are split by the node to be asked, and
 * sent at once.  Each part has a fence of its own.  Commands that were not
 * answered, or were told to go elsewhere, are sent again, until the deadline.
 */


#ifndef _NGX_HTTP_BILLING_REDIS_SPLIT_H_INCLUDED_
#define _NGX_HTTP_BILLING_REDIS_SPLIT_H_INCLUDED_


#include "ngx_http_billing_redis_cluster.h"


/* Sends the pipeline, as ngx_http_billing_redis_send() does. */
void ngx_http_billing_redis_split(ngx_http_billing_redis_cluster_t *cluster,
    ngx_http_billing_redis_pipeline_t *pl, ngx_msec_t timeout,
    ngx_msec_t deadline);

/* Cancels a pipeline that is split. */
void ngx_http_billing_redis_split_cancel(ngx_http_billing_redis_pipeline_t *pl);

/*
 * The number of the connection over which the n-th command was answered; 0: by
 * a replica, or by a node that does not have the slot yet.
 */
ngx_uint_t ngx_http_billing_redis_split_answered(
    ngx_http_billing_redis_split_t *split, ngx_uint_t n);

/* A part waits for a connection: sends it to another node, if there is one. */
void ngx_http_billing_redis_split_reroute(
    ngx_http_billing_redis_pipeline_t *part);


#endif /* _NGX_HTTP_BILLING_REDIS_SPLIT_H_INCLUDED_ */
