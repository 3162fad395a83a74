
#include "ngx_http_billing_redis_part.h"


/* redirects of a pipeline's commands without a delay, at most */

#define NGX_HTTP_BILLING_REDIS_HOPS  8


static ngx_int_t ngx_http_billing_redis_part_write(void *data,
    struct ngx_http_billing_redis_event_s *event);
static void ngx_http_billing_redis_part_sending(void *data,
    ngx_uint_t connection, ngx_uint_t first, ngx_uint_t n);
static void ngx_http_billing_redis_part_reply(void *data, ngx_uint_t n,
    ngx_http_billing_redis_reply_t *reply);
static ngx_uint_t ngx_http_billing_redis_part_redirected(
    ngx_http_billing_redis_part_t *part,
    ngx_http_billing_redis_split_command_t *command,
    ngx_http_billing_redis_reply_t *reply);


static ngx_str_t  ngx_http_billing_redis_part_seeds =
    ngx_string("a seed");

static ngx_str_t  ngx_http_billing_redis_part_asking =
    ngx_string("*1\r\n$6\r\nASKING\r\n");

static ngx_str_t  ngx_http_billing_redis_part_readonly =
    ngx_string("*1\r\n$8\r\nREADONLY\r\n");

static ngx_str_t  ngx_http_billing_redis_part_readwrite =
    ngx_string("*1\r\n$9\r\nREADWRITE\r\n");


ngx_http_billing_redis_part_t *
ngx_http_billing_redis_part(ngx_http_billing_redis_split_t *split,
    ngx_http_billing_redis_member_t *member,
    ngx_http_billing_redis_mode_e mode, ngx_queue_t *parts)
{
    ngx_queue_t                    *q;
    ngx_http_billing_redis_part_t  *part;

    for (q = ngx_queue_head(parts);
         q != ngx_queue_sentinel(parts);
         q = ngx_queue_next(q))
    {
        part = ngx_queue_data(q, ngx_http_billing_redis_part_t, queue);

        if (part->member == member && part->mode == mode) {
            return part;
        }
    }

    if (!ngx_queue_empty(&split->free)) {
        q = ngx_queue_head(&split->free);
        ngx_queue_remove(q);

        part = ngx_queue_data(q, ngx_http_billing_redis_part_t, queue);

    } else {
        part = ngx_palloc(split->pipeline->pool,
                          sizeof(ngx_http_billing_redis_part_t));
        if (part == NULL) {
            return NULL;
        }
    }

    ngx_memzero(part, sizeof(ngx_http_billing_redis_part_t));

    part->split = split;
    part->member = member;
    part->mode = mode;

    if (member) {
        ngx_http_billing_redis_member_hold(member);
    }

    ngx_queue_insert_tail(parts, &part->queue);

    return part;
}


void
ngx_http_billing_redis_part_send(ngx_http_billing_redis_part_t *part)
{
    ngx_http_billing_redis_split_t     *split;
    ngx_http_billing_redis_pipeline_t  *pl;

    split = part->split;
    pl = &part->pipeline;

    switch (part->mode) {

    case NGX_HTTP_BILLING_REDIS_ASKING:
        pl->ncommands = 2 * part->ncommands;
        break;

    case NGX_HTTP_BILLING_REDIS_READONLY:
        pl->ncommands = part->ncommands + 2;
        break;

    default: /* NGX_HTTP_BILLING_REDIS_PLAIN */
        pl->ncommands = part->ncommands;
        break;
    }

    /* replies of a replica, or of a node to ASKING, must not be kept */

    if (split->pipeline->sending
        && part->mode == NGX_HTTP_BILLING_REDIS_PLAIN)
    {
        pl->sending = ngx_http_billing_redis_part_sending;
    }

    pl->write = ngx_http_billing_redis_part_write;
    pl->reply = ngx_http_billing_redis_part_reply;
    pl->done = split->done;
    pl->data = part;
    pl->split = split;
    pl->part = 1;
    pl->bulk = split->pipeline->bulk;
    pl->optional = split->pipeline->optional;
    pl->asks_role = split->pipeline->asks_role;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, split->cluster->log, 0,
                   "billing redis part: %ui commands for \"%V\", mode %d",
                   part->ncommands,
                   part->member ? &part->member->name.str
                                : &ngx_http_billing_redis_part_seeds,
                   (int) part->mode);

    ngx_http_billing_redis_node_send(part->member ? &part->member->node
                                                  : split->cluster->seeds,
                                     pl, split->timeout,
                                     split->pipeline->deadline);
}


static ngx_int_t
ngx_http_billing_redis_part_write(void *data,
    struct ngx_http_billing_redis_event_s *event)
{
    ngx_http_billing_redis_part_t *part = data;

    ngx_str_t                               *word;
    ngx_uint_t                               i;
    ngx_http_billing_redis_split_command_t  *command;

    word = &ngx_http_billing_redis_part_readonly;

    if (part->mode == NGX_HTTP_BILLING_REDIS_READONLY
        && ngx_http_billing_redis_event_send(event, word->data, word->len)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    word = &ngx_http_billing_redis_part_asking;

    for (i = part->first;
         i != NGX_HTTP_BILLING_REDIS_NONE;
         i = command->next)
    {
        command = &part->split->commands[i];

        if (part->mode == NGX_HTTP_BILLING_REDIS_ASKING
            && ngx_http_billing_redis_event_send(event, word->data, word->len)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (ngx_http_billing_redis_event_send(event, command->start,
                                              command->len)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    word = &ngx_http_billing_redis_part_readwrite;

    if (part->mode == NGX_HTTP_BILLING_REDIS_READONLY) {
        return ngx_http_billing_redis_event_send(event, word->data, word->len);
    }

    return NGX_OK;
}


static void
ngx_http_billing_redis_part_sending(void *data, ngx_uint_t connection,
    ngx_uint_t first, ngx_uint_t n)
{
    ngx_http_billing_redis_part_t *part = data;

    ngx_uint_t                          i;
    ngx_http_billing_redis_split_t     *split;
    ngx_http_billing_redis_pipeline_t  *pl;

    split = part->split;
    pl = split->pipeline;

    for (i = part->first;
         i != NGX_HTTP_BILLING_REDIS_NONE;
         i = split->commands[i].next)
    {
        pl->sending(pl->data, connection, i, 1);
    }
}


static void
ngx_http_billing_redis_part_reply(void *data, ngx_uint_t n,
    ngx_http_billing_redis_reply_t *reply)
{
    ngx_http_billing_redis_part_t *part = data;

    ngx_uint_t                               i;
    ngx_http_billing_redis_split_t          *split;
    ngx_http_billing_redis_split_command_t  *command;

    split = part->split;

    if (n == 0) {
        part->due = part->first;
    }

    switch (part->mode) {

    case NGX_HTTP_BILLING_REDIS_ASKING:

        if (n % 2 == 0) {
            return;
        }

        break;

    case NGX_HTTP_BILLING_REDIS_READONLY:

        if (n == 0 || n == part->ncommands + 1) {
            return;
        }

        break;

    default: /* NGX_HTTP_BILLING_REDIS_PLAIN */
        break;
    }

    i = part->due;
    command = &split->commands[i];
    part->due = command->next;

    /* the part may have been sent before, over a connection that was lost */

    command->answered = 0;
    command->delayed = 0;

    ngx_http_billing_redis_part_target(split, command, NULL);

    if (reply->type == NGX_HTTP_BILLING_REDIS_ERROR
        && ngx_http_billing_redis_part_redirected(part, command, reply))
    {
        return;
    }

    command->answered = 1;
    command->connection = (part->mode == NGX_HTTP_BILLING_REDIS_PLAIN)
                          ? part->pipeline.pending->conn->number : 0;

    if (part->member && part->mode == NGX_HTTP_BILLING_REDIS_PLAIN
        && split->cluster->map->slots[command->slot] == 0)
    {
        ngx_http_billing_redis_cluster_moved(split->cluster, command->slot,
                                             part->member);
    }

    split->pipeline->reply(split->pipeline->data, i, reply);
}


static ngx_uint_t
ngx_http_billing_redis_part_redirected(ngx_http_billing_redis_part_t *part,
    ngx_http_billing_redis_split_command_t *command,
    ngx_http_billing_redis_reply_t *reply)
{
    in_port_t                           port;
    ngx_str_t                           host, none;
    ngx_uint_t                          slot;
    ngx_http_billing_redis_split_t     *split;
    ngx_http_billing_redis_member_t    *member;
    ngx_http_billing_redis_server_t    *server;
    ngx_http_billing_redis_cluster_t   *cluster;
    ngx_http_billing_redis_redirect_e   kind;

    split = part->split;
    cluster = split->cluster;

    kind = ngx_http_billing_redis_redirect(&reply->text, &slot, &host, &port);

    switch (kind) {

    case NGX_HTTP_BILLING_REDIS_NO_REDIRECT:
        return 0;

    case NGX_HTTP_BILLING_REDIS_CLUSTERDOWN:
        ngx_http_billing_redis_cluster_refresh(cluster, NULL);

        /* fall through */

    case NGX_HTTP_BILLING_REDIS_TRYAGAIN:
        command->delayed = 1;
        break;

    default:
        cluster->seeds->pool.shared.stat->redirects++;

        ngx_str_null(&none);

        server = part->pipeline.pending->conn->server;

        member = ngx_http_billing_redis_member(cluster, server, &host, &none,
                                               port);

        if (kind == NGX_HTTP_BILLING_REDIS_MOVED) {
            ngx_http_billing_redis_cluster_refresh(cluster, member);

            if (member) {
                ngx_http_billing_redis_cluster_moved(cluster, slot, member);
            }
        }

        command->asking = (kind == NGX_HTTP_BILLING_REDIS_ASK);
        command->delayed = (member == NULL
                            || split->hops >= NGX_HTTP_BILLING_REDIS_HOPS);

        ngx_http_billing_redis_part_target(split, command, member);
        break;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, cluster->log, 0,
                   "billing redis redirected: \"%V\" by \"%V\"", &reply->text,
                   &part->pipeline.pending->conn->server->peer->name);

    return 1;
}


void
ngx_http_billing_redis_part_target(ngx_http_billing_redis_split_t *split,
    ngx_http_billing_redis_split_command_t *command,
    ngx_http_billing_redis_member_t *member)
{
    if (command->target) {
        ngx_http_billing_redis_member_release(split->cluster, command->target);
    }

    command->target = member;

    if (member) {
        ngx_http_billing_redis_member_hold(member);
    }
}


void
ngx_http_billing_redis_part_release(ngx_http_billing_redis_part_t *part)
{
    ngx_http_billing_redis_split_t  *split;

    split = part->split;

    if (part->member) {
        ngx_http_billing_redis_member_release(split->cluster, part->member);
    }

    ngx_queue_remove(&part->queue);
    ngx_queue_insert_head(&split->free, &part->queue);
}
