
#include "ngx_http_billing_redis_split.h"


/* redirects of a pipeline's commands without a delay, at most */

#define NGX_HTTP_BILLING_REDIS_HOPS        8

/* how often a part may break a connection */

#define NGX_HTTP_BILLING_REDIS_BREAKS      2

/* milliseconds until a node that could not answer is asked again */

#define NGX_HTTP_BILLING_REDIS_MIN_PAUSE   10
#define NGX_HTTP_BILLING_REDIS_MAX_PAUSE   100

#define NGX_HTTP_BILLING_REDIS_NONE        ((ngx_uint_t) -1)


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
    unsigned                             pause:1;
} ngx_http_billing_redis_split_command_t;


typedef struct {
    ngx_http_billing_redis_pipeline_t    pipeline;
    ngx_http_billing_redis_split_t      *split;

    /* NULL: the seeds */
    ngx_http_billing_redis_member_t     *member;
    ngx_http_billing_redis_mode_e        mode;

    /* in split->parts, or split->free */
    ngx_queue_t                          queue;

    /* the commands; the one whose reply is next */
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

    ngx_msec_t                               timeout;
    ngx_uint_t                               hops;
    ngx_uint_t                               breaks;
    ngx_uint_t                               pauses;

    /* the version of the map at the beginning */
    ngx_uint_t                               version;
};


static ngx_int_t ngx_http_billing_redis_split_parse(
    ngx_http_billing_redis_split_t *split);
static void ngx_http_billing_redis_split_dispatch(
    ngx_http_billing_redis_split_t *split);
static ngx_int_t ngx_http_billing_redis_split_assign(
    ngx_http_billing_redis_split_t *split, ngx_uint_t n, ngx_queue_t *parts);
static ngx_http_billing_redis_part_t *ngx_http_billing_redis_split_part(
    ngx_http_billing_redis_split_t *split,
    ngx_http_billing_redis_member_t *member,
    ngx_http_billing_redis_mode_e mode, ngx_queue_t *parts);
static void ngx_http_billing_redis_split_send(
    ngx_http_billing_redis_part_t *part);
static ngx_int_t ngx_http_billing_redis_split_write(void *data,
    struct ngx_http_billing_redis_event_s *event);
static void ngx_http_billing_redis_split_sending(void *data,
    ngx_uint_t connection, ngx_uint_t first, ngx_uint_t n);
static void ngx_http_billing_redis_split_reply(void *data, ngx_uint_t n,
    ngx_http_billing_redis_reply_t *reply);
static ngx_uint_t ngx_http_billing_redis_split_redirected(
    ngx_http_billing_redis_part_t *part,
    ngx_http_billing_redis_split_command_t *command,
    ngx_http_billing_redis_reply_t *reply);
static void ngx_http_billing_redis_split_target(
    ngx_http_billing_redis_split_t *split,
    ngx_http_billing_redis_split_command_t *command,
    ngx_http_billing_redis_member_t *member);
static void ngx_http_billing_redis_split_done(void *data,
    ngx_http_billing_redis_result_e result);
static void ngx_http_billing_redis_split_take(
    ngx_http_billing_redis_part_t *part);
static void ngx_http_billing_redis_split_release(
    ngx_http_billing_redis_part_t *part);
static void ngx_http_billing_redis_split_pause(
    ngx_http_billing_redis_split_t *split);
static void ngx_http_billing_redis_split_timer_handler(ngx_event_t *ev);
static void ngx_http_billing_redis_split_finish(
    ngx_http_billing_redis_split_t *split,
    ngx_http_billing_redis_result_e result);


static ngx_str_t  ngx_http_billing_redis_split_seeds =
    ngx_string("a seed");

static ngx_str_t  ngx_http_billing_redis_split_asking =
    ngx_string("*1\r\n$6\r\nASKING\r\n");

static ngx_str_t  ngx_http_billing_redis_split_readonly =
    ngx_string("*1\r\n$8\r\nREADONLY\r\n");

static ngx_str_t  ngx_http_billing_redis_split_readwrite =
    ngx_string("*1\r\n$9\r\nREADWRITE\r\n");


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
        split->commands = ngx_palloc(pl->pool, pl->ncommands
                               * sizeof(ngx_http_billing_redis_split_command_t));
    }

    if (split == NULL || split->commands == NULL) {
        goto failed;
    }

    split->cluster = cluster;
    split->pipeline = pl;
    split->version = cluster->version;

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


/* sends all commands that are to be sent, but for those that pause */

static void
ngx_http_billing_redis_split_dispatch(ngx_http_billing_redis_split_t *split)
{
    ngx_uint_t                               i, next, pause;
    ngx_queue_t                              parts, *q;
    ngx_http_billing_redis_part_t           *part;
    ngx_http_billing_redis_split_command_t  *command;

    ngx_queue_init(&parts);

    i = split->first;
    split->first = NGX_HTTP_BILLING_REDIS_NONE;
    pause = 0;

    while (i != NGX_HTTP_BILLING_REDIS_NONE) {
        command = &split->commands[i];
        next = command->next;

        if (command->pause) {
            pause = 1;
        }

        if (command->pause
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

        ngx_http_billing_redis_split_send(part);
    }

    /* without memory, what was not assigned is tried again */

    if (pause || split->first != NGX_HTTP_BILLING_REDIS_NONE) {
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

    part = ngx_http_billing_redis_split_part(split, member, mode, parts);
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

    ngx_http_billing_redis_split_target(split, command, NULL);

    return NGX_OK;
}


/* the part for this node among those that are not sent yet, or a new one */

static ngx_http_billing_redis_part_t *
ngx_http_billing_redis_split_part(ngx_http_billing_redis_split_t *split,
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


static void
ngx_http_billing_redis_split_send(ngx_http_billing_redis_part_t *part)
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

    /* what a replica answers, or a node while the slot moves, is not kept */

    if (split->pipeline->sending
        && part->mode == NGX_HTTP_BILLING_REDIS_PLAIN)
    {
        pl->sending = ngx_http_billing_redis_split_sending;
    }

    pl->write = ngx_http_billing_redis_split_write;
    pl->reply = ngx_http_billing_redis_split_reply;
    pl->done = ngx_http_billing_redis_split_done;
    pl->data = part;
    pl->split = split;
    pl->part = 1;
    pl->bulk = split->pipeline->bulk;
    pl->optional = split->pipeline->optional;
    pl->role = split->pipeline->role;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, split->cluster->log, 0,
                   "billing redis part: %ui commands for \"%V\", mode %d",
                   part->ncommands,
                   part->member ? &part->member->name.str
                                : &ngx_http_billing_redis_split_seeds,
                   (int) part->mode);

    ngx_http_billing_redis_node_send(part->member ? &part->member->node
                                                  : split->cluster->seeds,
                                     pl, split->timeout,
                                     split->pipeline->deadline);
}


static ngx_int_t
ngx_http_billing_redis_split_write(void *data,
    struct ngx_http_billing_redis_event_s *event)
{
    ngx_http_billing_redis_part_t *part = data;

    ngx_str_t                               *word;
    ngx_uint_t                               i;
    ngx_http_billing_redis_split_command_t  *command;

    word = &ngx_http_billing_redis_split_readonly;

    if (part->mode == NGX_HTTP_BILLING_REDIS_READONLY
        && ngx_http_billing_redis_event_send(event, word->data, word->len)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    word = &ngx_http_billing_redis_split_asking;

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

    word = &ngx_http_billing_redis_split_readwrite;

    if (part->mode == NGX_HTTP_BILLING_REDIS_READONLY) {
        return ngx_http_billing_redis_event_send(event, word->data, word->len);
    }

    return NGX_OK;
}


static void
ngx_http_billing_redis_split_sending(void *data, ngx_uint_t connection,
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
ngx_http_billing_redis_split_reply(void *data, ngx_uint_t n,
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
    command->pause = 0;

    ngx_http_billing_redis_split_target(split, command, NULL);

    if (reply->type == NGX_HTTP_BILLING_REDIS_ERROR
        && ngx_http_billing_redis_split_redirected(part, command, reply))
    {
        return;
    }

    command->answered = 1;
    command->connection = (part->mode == NGX_HTTP_BILLING_REDIS_PLAIN)
                          ? part->pipeline.slot->conn->number : 0;

    if (part->member && part->mode == NGX_HTTP_BILLING_REDIS_PLAIN
        && split->cluster->map->slots[command->slot] == 0)
    {
        ngx_http_billing_redis_cluster_moved(split->cluster, command->slot,
                                             part->member);
    }

    split->pipeline->reply(split->pipeline->data, i, reply);
}


static ngx_uint_t
ngx_http_billing_redis_split_redirected(ngx_http_billing_redis_part_t *part,
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
        command->pause = 1;
        break;

    default:
        cluster->seeds->pool.shared.stat->redirects++;

        ngx_str_null(&none);

        server = part->pipeline.slot->conn->server;

        member = ngx_http_billing_redis_member(cluster, server, &host, &none,
                                               port);

        if (kind == NGX_HTTP_BILLING_REDIS_MOVED) {
            ngx_http_billing_redis_cluster_refresh(cluster, member);

            if (member) {
                ngx_http_billing_redis_cluster_moved(cluster, slot, member);
            }
        }

        command->asking = (kind == NGX_HTTP_BILLING_REDIS_ASK);
        command->pause = (member == NULL
                          || split->hops >= NGX_HTTP_BILLING_REDIS_HOPS);

        ngx_http_billing_redis_split_target(split, command, member);
        break;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, cluster->log, 0,
                   "billing redis redirected: \"%V\" by \"%V\"", &reply->text,
                   &part->pipeline.slot->conn->server->peer->name);

    return 1;
}


static void
ngx_http_billing_redis_split_target(ngx_http_billing_redis_split_t *split,
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
            command->pause = 1;
            ngx_http_billing_redis_split_target(split, command, NULL);
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


/* takes the commands that are to be sent again from the part, and frees it */

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

    ngx_http_billing_redis_split_release(part);
}


static void
ngx_http_billing_redis_split_release(ngx_http_billing_redis_part_t *part)
{
    ngx_http_billing_redis_split_t  *split;

    split = part->split;

    if (part->member) {
        ngx_http_billing_redis_member_release(split->cluster, part->member);
    }

    ngx_queue_remove(&part->queue);
    ngx_queue_insert_head(&split->free, &part->queue);
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
        command->pause = 0;
        ngx_http_billing_redis_split_target(split, command, NULL);
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
        split->commands[i].pause = 0;
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

        /* all of it was answered by one state of the cluster, or 0 */

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
        ngx_http_billing_redis_split_release(part);
    }

    for (i = 0; i < split->ncommands; i++) {
        ngx_http_billing_redis_split_target(split, &split->commands[i], NULL);
    }

    if (split->timer.timer_set) {
        ngx_del_timer(&split->timer);
    }

    pl->split = NULL;
    pl->state = NGX_HTTP_BILLING_REDIS_PIPELINE_IDLE;
}
