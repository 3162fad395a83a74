
#include "ngx_http_billing_redis_part.h"


/* connections that the parts of a pipeline may break, before it fails */

#define NGX_HTTP_BILLING_REDIS_BREAKS      2

/* milliseconds until a node that could not answer is asked again */

#define NGX_HTTP_BILLING_REDIS_MIN_PAUSE   10
#define NGX_HTTP_BILLING_REDIS_MAX_PAUSE   100


static ngx_int_t ngx_http_billing_redis_split_parse(
    ngx_http_billing_redis_split_t *split);
static void ngx_http_billing_redis_split_dispatch(
    ngx_http_billing_redis_split_t *split);
static ngx_int_t ngx_http_billing_redis_split_assign(
    ngx_http_billing_redis_split_t *split, ngx_uint_t n, ngx_queue_t *parts);
static void ngx_http_billing_redis_split_done(void *data,
    ngx_http_billing_redis_result_e result);
static void ngx_http_billing_redis_split_take(
    ngx_http_billing_redis_part_t *part);
static void ngx_http_billing_redis_split_pause(
    ngx_http_billing_redis_split_t *split);
static void ngx_http_billing_redis_split_timer_handler(ngx_event_t *ev);
static void ngx_http_billing_redis_split_finish(
    ngx_http_billing_redis_split_t *split,
    ngx_http_billing_redis_result_e result);


void
ngx_http_billing_redis_split(ngx_http_billing_redis_cluster_t *cluster,
    ngx_http_billing_redis_pipeline_t *pl, ngx_msec_t timeout,
    ngx_msec_t deadline)
{
    ngx_http_billing_redis_split_t  *split;

    pl->timeout = timeout;
    pl->deadline = deadline;
    pl->server = NULL;
    pl->connection = 0;

    split = ngx_pcalloc(pl->pool, sizeof(ngx_http_billing_redis_split_t));

    if (split) {
        split->commands = ngx_palloc(pl->pool,
                              pl->ncommands
                              * sizeof(ngx_http_billing_redis_split_command_t));
    }

    if (split == NULL || split->commands == NULL) {
        goto failed;
    }

    split->cluster = cluster;
    split->pipeline = pl;
    split->version = cluster->version;
    split->done = ngx_http_billing_redis_split_done;

    ngx_queue_init(&split->parts);
    ngx_queue_init(&split->free);

    split->timer.handler = ngx_http_billing_redis_split_timer_handler;
    split->timer.data = split;
    split->timer.log = cluster->log;

    /* a node that hangs leaves time for a replica */

    split->timeout = ngx_max(timeout / 2, 1);

    if (ngx_http_billing_redis_split_parse(split) != NGX_OK) {
        goto failed;
    }

    pl->split = split;
    pl->state = NGX_HTTP_BILLING_REDIS_PIPELINE_SPLIT;

    ngx_http_billing_redis_split_dispatch(split);

    return;

failed:

    /* done() is never called from here */

    ngx_http_billing_redis_node_refuse(cluster->seeds, pl,
                                       NGX_HTTP_BILLING_REDIS_BROKEN);
}


static ngx_int_t
ngx_http_billing_redis_split_parse(ngx_http_billing_redis_split_t *split)
{
    u_char                                  *p, *next;
    ngx_str_t                                key;
    ngx_uint_t                               i;
    ngx_http_billing_redis_pipeline_t       *pl;
    ngx_http_billing_redis_split_command_t  *command;

    pl = split->pipeline;
    p = pl->start;

    for (i = 0; i < pl->ncommands; i++) {
        next = ngx_http_billing_redis_keyslot_command(p, pl->last, &key);

        if (next == NULL) {
            return NGX_ERROR;
        }

        command = &split->commands[i];

        ngx_memzero(command, sizeof(ngx_http_billing_redis_split_command_t));

        command->start = p;
        command->len = next - p;
        command->slot = ngx_http_billing_redis_keyslot(&key);
        command->next = i + 1;

        p = next;
    }

    if (i) {
        split->commands[i - 1].next = NGX_HTTP_BILLING_REDIS_NONE;
    }

    split->ncommands = i;
    split->nleft = i;
    split->first = i ? 0 : NGX_HTTP_BILLING_REDIS_NONE;

    return NGX_OK;
}


/* sends the commands that are to be sent, except for those that pause */

static void
ngx_http_billing_redis_split_dispatch(ngx_http_billing_redis_split_t *split)
{
    ngx_uint_t                               i, next;
    ngx_queue_t                              parts, *q;
    ngx_http_billing_redis_part_t           *part;
    ngx_http_billing_redis_split_command_t  *command;

    ngx_queue_init(&parts);

    i = split->first;
    split->first = NGX_HTTP_BILLING_REDIS_NONE;

    while (i != NGX_HTTP_BILLING_REDIS_NONE) {
        command = &split->commands[i];
        next = command->next;

        if (command->delayed
            || ngx_http_billing_redis_split_assign(split, i, &parts) != NGX_OK)
        {
            command->next = split->first;
            split->first = i;
        }

        i = next;
    }

    while (!ngx_queue_empty(&parts)) {
        q = ngx_queue_head(&parts);
        part = ngx_queue_data(q, ngx_http_billing_redis_part_t, queue);

        ngx_queue_remove(q);
        ngx_queue_insert_tail(&split->parts, q);

        ngx_http_billing_redis_part_send(part);
    }

    /* commands that pause, or found no memory, are tried again */

    if (split->first != NGX_HTTP_BILLING_REDIS_NONE) {
        ngx_http_billing_redis_split_pause(split);
    }
}


static ngx_int_t
ngx_http_billing_redis_split_assign(ngx_http_billing_redis_split_t *split,
    ngx_uint_t n, ngx_queue_t *parts)
{
    ngx_uint_t                               readonly;
    ngx_http_billing_redis_mode_e            mode;
    ngx_http_billing_redis_part_t           *part;
    ngx_http_billing_redis_member_t         *member;
    ngx_http_billing_redis_split_command_t  *command;

    command = &split->commands[n];

    /* a node that was named, and cannot be used, may have a replica */

    member = command->target;

    if (member
        && (command->asking || ngx_http_billing_redis_member_usable(member)))
    {
        mode = command->asking ? NGX_HTTP_BILLING_REDIS_ASKING
                               : NGX_HTTP_BILLING_REDIS_PLAIN;

    } else {
        member = ngx_http_billing_redis_cluster_route(split->cluster,
                                                      command->slot,
                                                      &readonly);
        mode = readonly ? NGX_HTTP_BILLING_REDIS_READONLY
                        : NGX_HTTP_BILLING_REDIS_PLAIN;
    }

    part = ngx_http_billing_redis_part(split, member, mode, parts);
    if (part == NULL) {
        return NGX_ERROR;
    }

    if (part->ncommands++ == 0) {
        part->first = n;

    } else {
        split->commands[part->last].next = n;
    }

    part->last = n;

    command->next = NGX_HTTP_BILLING_REDIS_NONE;
    command->answered = 0;

    ngx_http_billing_redis_part_target(split, command, NULL);

    return NGX_OK;
}


/* a part was answered, or has failed */

static void
ngx_http_billing_redis_split_done(void *data,
    ngx_http_billing_redis_result_e result)
{
    ngx_http_billing_redis_part_t *part = data;

    ngx_uint_t                               i;
    ngx_http_billing_redis_split_t          *split;
    ngx_http_billing_redis_pipeline_t       *pl;
    ngx_http_billing_redis_split_command_t  *command;

    split = part->split;
    pl = split->pipeline;

    switch (result) {

    case NGX_HTTP_BILLING_REDIS_OK:
        pl->server = part->pipeline.server;
        break;

    case NGX_HTTP_BILLING_REDIS_BROKEN:

        for (i = part->first;
             i != NGX_HTTP_BILLING_REDIS_NONE;
             i = command->next)
        {
            command = &split->commands[i];
            command->answered = 0;
            command->delayed = 1;
            ngx_http_billing_redis_part_target(split, command, NULL);
        }

        if (split->breaks++ < NGX_HTTP_BILLING_REDIS_BREAKS) {
            break;
        }

        /* fall through */

    default:
        ngx_http_billing_redis_split_finish(split, result);
        return;
    }

    ngx_http_billing_redis_split_take(part);

    if (split->nleft == 0) {
        ngx_http_billing_redis_split_finish(split, NGX_HTTP_BILLING_REDIS_OK);
        return;
    }

    if (split->first != NGX_HTTP_BILLING_REDIS_NONE) {
        ngx_http_billing_redis_split_dispatch(split);
    }
}


/* counts the answers; the other commands are to be sent again */

static void
ngx_http_billing_redis_split_take(ngx_http_billing_redis_part_t *part)
{
    ngx_uint_t                               i, next, hop;
    ngx_http_billing_redis_split_t          *split;
    ngx_http_billing_redis_split_command_t  *command;

    split = part->split;
    hop = 0;

    for (i = part->first; i != NGX_HTTP_BILLING_REDIS_NONE; i = next) {
        command = &split->commands[i];
        next = command->next;

        if (command->answered) {
            split->nleft--;
            continue;
        }

        hop = 1;

        command->next = split->first;
        split->first = i;
    }

    split->hops += hop;

    ngx_http_billing_redis_part_release(part);
}


void
ngx_http_billing_redis_split_reroute(ngx_http_billing_redis_pipeline_t *pl)
{
    ngx_uint_t                               i, readonly;
    ngx_http_billing_redis_mode_e            mode;
    ngx_http_billing_redis_part_t           *part;
    ngx_http_billing_redis_split_t          *split;
    ngx_http_billing_redis_member_t         *member;
    ngx_http_billing_redis_split_command_t  *command;

    part = pl->data;
    split = part->split;

    member = ngx_http_billing_redis_cluster_route(split->cluster,
                                       split->commands[part->first].slot,
                                       &readonly);

    mode = readonly ? NGX_HTTP_BILLING_REDIS_READONLY
                    : NGX_HTTP_BILLING_REDIS_PLAIN;

    if (member == part->member
        && (mode == part->mode || part->mode == NGX_HTTP_BILLING_REDIS_ASKING))
    {
        return;
    }

    if (member && !ngx_http_billing_redis_member_usable(member)) {
        return;
    }

    ngx_http_billing_redis_node_cancel(pl);

    for (i = part->first; i != NGX_HTTP_BILLING_REDIS_NONE; i = command->next) {
        command = &split->commands[i];
        command->answered = 0;
        command->delayed = 0;
        ngx_http_billing_redis_part_target(split, command, NULL);
    }

    ngx_http_billing_redis_split_take(part);
    ngx_http_billing_redis_split_dispatch(split);
}


static void
ngx_http_billing_redis_split_pause(ngx_http_billing_redis_split_t *split)
{
    ngx_msec_t      pause;
    ngx_msec_int_t  left;

    if (split->timer.timer_set) {
        return;
    }

    pause = NGX_HTTP_BILLING_REDIS_MIN_PAUSE << ngx_min(split->pauses, 4);
    pause = ngx_min(pause, NGX_HTTP_BILLING_REDIS_MAX_PAUSE);

    pause = pause / 2 + ngx_random() % pause;

    left = (ngx_msec_int_t) (split->pipeline->deadline - ngx_current_msec);
    left = ngx_max(left, 1);

    split->pauses++;

    ngx_add_timer(&split->timer, ngx_min(pause, (ngx_msec_t) left));
}


static void
ngx_http_billing_redis_split_timer_handler(ngx_event_t *ev)
{
    ngx_uint_t                       i;
    ngx_http_billing_redis_split_t  *split;

    split = ev->data;

    if ((ngx_msec_int_t) (split->pipeline->deadline - ngx_current_msec) <= 0) {

        /* the cluster has no node for a slot, or none that answers */

        ngx_http_billing_redis_split_finish(split,
                                           NGX_HTTP_BILLING_REDIS_UNAVAILABLE);
        return;
    }

    for (i = split->first;
         i != NGX_HTTP_BILLING_REDIS_NONE;
         i = split->commands[i].next)
    {
        split->commands[i].delayed = 0;
    }

    ngx_http_billing_redis_split_dispatch(split);
}


static void
ngx_http_billing_redis_split_finish(ngx_http_billing_redis_split_t *split,
    ngx_http_billing_redis_result_e result)
{
    ngx_http_billing_redis_pipeline_t  *pl;

    pl = split->pipeline;

    ngx_http_billing_redis_split_cancel(pl);

    if (result == NGX_HTTP_BILLING_REDIS_OK) {

        /* the number of the cluster's state; 0: the state has changed */

        pl->connection = (split->version == split->cluster->version)
                         ? split->version : 0;
        pl->split = split;

    } else {
        pl->server = NULL;
    }

    pl->done(pl->data, result);
}


ngx_uint_t
ngx_http_billing_redis_split_answered(ngx_http_billing_redis_split_t *split,
    ngx_uint_t n)
{
    return split->commands[n].connection;
}


void
ngx_http_billing_redis_split_cancel(ngx_http_billing_redis_pipeline_t *pl)
{
    ngx_uint_t                       i;
    ngx_queue_t                     *q;
    ngx_http_billing_redis_part_t   *part;
    ngx_http_billing_redis_split_t  *split;

    split = pl->split;

    while (!ngx_queue_empty(&split->parts)) {
        q = ngx_queue_head(&split->parts);
        part = ngx_queue_data(q, ngx_http_billing_redis_part_t, queue);

        ngx_http_billing_redis_node_cancel(&part->pipeline);
        ngx_http_billing_redis_part_release(part);
    }

    for (i = 0; i < split->ncommands; i++) {
        ngx_http_billing_redis_part_target(split, &split->commands[i], NULL);
    }

    if (split->timer.timer_set) {
        ngx_del_timer(&split->timer);
    }

    pl->split = NULL;
    pl->state = NGX_HTTP_BILLING_REDIS_PIPELINE_IDLE;
}
