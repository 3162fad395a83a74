
/*
 * The part of a pipeline that one node of a cluster is asked for: what is sent,
 * and what the replies mean.  Private to the files that split pipelines.
 */


#ifndef _NGX_HTTP_BILLING_REDIS_PART_H_INCLUDED_
#define _NGX_HTTP_BILLING_REDIS_PART_H_INCLUDED_


#include "ngx_http_billing_redis_split.h"


/* no command */

#define NGX_HTTP_BILLING_REDIS_NONE  ((ngx_uint_t) -1)


typedef enum {
    NGX_HTTP_BILLING_REDIS_PLAIN = 0,

    /* each command follows ASKING */
    NGX_HTTP_BILLING_REDIS_ASKING,

    /* READONLY comes before the commands, READWRITE after them */
    NGX_HTTP_BILLING_REDIS_READONLY
} ngx_http_billing_redis_mode_e;


typedef struct {
    u_char                              *start;
    size_t                               len;
    ngx_uint_t                           slot;

    /* the next command of the part, or of those that are to be sent */
    ngx_uint_t                           next;

    /* the node that another node has named, or NULL */
    ngx_http_billing_redis_member_t     *target;

    /* the number of the connection that has answered; 0: not to be kept */
    ngx_uint_t                           connection;

    /* the target takes the command after ASKING only */
    unsigned                             asking:1;

    unsigned                             answered:1;

    /* the command is sent again only after a pause */
    unsigned                             delayed:1;
} ngx_http_billing_redis_split_command_t;


typedef struct {
    ngx_http_billing_redis_pipeline_t    pipeline;
    ngx_http_billing_redis_split_t      *split;

    /* NULL: the seeds */
    ngx_http_billing_redis_member_t     *member;
    ngx_http_billing_redis_mode_e        mode;

    /* in split->parts, or split->free */
    ngx_queue_t                          queue;

    /* the commands' indexes; the one whose reply is due next; how many */
    ngx_uint_t                           first;
    ngx_uint_t                           last;
    ngx_uint_t                           due;
    ngx_uint_t                           ncommands;
} ngx_http_billing_redis_part_t;


struct ngx_http_billing_redis_split_s {
    ngx_http_billing_redis_cluster_t        *cluster;
    ngx_http_billing_redis_pipeline_t       *pipeline;

    ngx_http_billing_redis_split_command_t  *commands;
    ngx_uint_t                               ncommands;

    /* commands without an answer; the first of those that are to be sent */
    ngx_uint_t                               nleft;
    ngx_uint_t                               first;

    /* parts that were sent, and parts that are not needed any more */
    ngx_queue_t                              parts;
    ngx_queue_t                              free;

    /* the end of a pause */
    ngx_event_t                              timer;

    /* called when a part was answered, or has failed; data is the part */
    ngx_http_billing_redis_done_pt           done;

    ngx_msec_t                               timeout;

    /* parts with commands to be sent again, parts that broke, and pauses */
    ngx_uint_t                               hops;
    ngx_uint_t                               breaks;
    ngx_uint_t                               pauses;

    /* the version of the map at the beginning */
    ngx_uint_t                               version;
};


/*
 * Returns the part for this node among those that are not sent yet, or a new
 * one; or NULL if there is no memory.  member is NULL for the seeds.
 */
ngx_http_billing_redis_part_t *ngx_http_billing_redis_part(
    ngx_http_billing_redis_split_t *split,
    ngx_http_billing_redis_member_t *member,
    ngx_http_billing_redis_mode_e mode, ngx_queue_t *parts);

/* Sends the part; split->done() is called later. */
void ngx_http_billing_redis_part_send(ngx_http_billing_redis_part_t *part);

/* Puts a part that is not needed any more into split->free. */
void ngx_http_billing_redis_part_release(ngx_http_billing_redis_part_t *part);

/* Sets the node that the command is to be sent to, or NULL. */
void ngx_http_billing_redis_part_target(ngx_http_billing_redis_split_t *split,
    ngx_http_billing_redis_split_command_t *command,
    ngx_http_billing_redis_member_t *member);


#endif /* _NGX_HTTP_BILLING_REDIS_PART_H_INCLUDED_ */
