
/*
 * A sentinel's answer: the master, its replicas, and the master's config epoch.
 */


#ifndef _NGX_HTTP_BILLING_REDIS_ANSWER_H_INCLUDED_
#define _NGX_HTTP_BILLING_REDIS_ANSWER_H_INCLUDED_


#include "ngx_http_billing_redis.h"


/* servers that are kept of an answer, at most: the master comes first */

#define NGX_HTTP_BILLING_REDIS_SENTINEL_SERVERS  32

/* bytes of an address or a host name in an answer, with a zero byte */

#define NGX_HTTP_BILLING_REDIS_SENTINEL_HOST     256


/* a server that a sentinel has named */

typedef struct {
    u_char                             host[
                                         NGX_HTTP_BILLING_REDIS_SENTINEL_HOST];
    in_port_t                          port;

    /* a replica's connection to its master is up */
    unsigned                           linked:1;
} ngx_http_billing_redis_named_t;


/* the answer of one sentinel */

typedef struct {
    ngx_http_billing_redis_named_t     servers[
                                      NGX_HTTP_BILLING_REDIS_SENTINEL_SERVERS];
    ngx_uint_t                         nservers;

    /* the master's config epoch: each failover makes it higher */
    uint64_t                           epoch;
} ngx_http_billing_redis_answer_t;


/* an answer while it is read, element by element */

typedef struct {
    ngx_http_billing_redis_answer_t    answer;

    /* elements of the reply that have come */
    ngx_uint_t                         n;

    /* the name of the value that comes next */
    u_char                             key[32];

    /* the replica being read, and whether it can be used */
    ngx_http_billing_redis_named_t     replica;
    ngx_uint_t                         usable;
} ngx_http_billing_redis_answer_reader_t;


/* the commands to a sentinel whose replies come one after the other */

typedef enum {
    NGX_HTTP_BILLING_REDIS_SENTINEL_ADDRESS = 0,
    NGX_HTTP_BILLING_REDIS_SENTINEL_MASTER,
    NGX_HTTP_BILLING_REDIS_SENTINEL_REPLICAS
} ngx_http_billing_redis_question_e;


/*
 * Takes an element of the reply to the question, an ITEM, and returns
 * NGX_AGAIN.  Takes the reply itself, which comes after its elements, and
 * returns NGX_OK; or NGX_DECLINED if the sentinel does not know the master.
 */
ngx_int_t ngx_http_billing_redis_answer_read(
    ngx_http_billing_redis_answer_reader_t *reader,
    ngx_http_billing_redis_question_e question,
    ngx_http_billing_redis_reply_t *reply);

/* Orders the replicas: those that are up to date first. */
void ngx_http_billing_redis_answer_sort(
    ngx_http_billing_redis_answer_t *answer);

/* Are the servers of both answers the same ones, in the same order? */
ngx_uint_t ngx_http_billing_redis_answer_same(
    ngx_http_billing_redis_answer_t *one, ngx_http_billing_redis_answer_t *two);


#endif /* _NGX_HTTP_BILLING_REDIS_ANSWER_H_INCLUDED_ */
