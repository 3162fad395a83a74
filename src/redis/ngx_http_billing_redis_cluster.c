
#include "ngx_http_billing_redis_cluster.h"
#include "ngx_http_billing_redis_split.h"


/* milliseconds between two readings of the map, at least and at most */

#define NGX_HTTP_BILLING_REDIS_MIN_REFRESH      100
#define NGX_HTTP_BILLING_REDIS_MAX_REFRESH      1000

/* milliseconds for a reading; then another node is asked */

#define NGX_HTTP_BILLING_REDIS_REFRESH_TIME     1000

/* numbers in braces among which there is one for every slot */

#define NGX_HTTP_BILLING_REDIS_TAGS             131072

/* milliseconds without a reply after which a connection is given up */

#define NGX_HTTP_BILLING_REDIS_REFRESH_SILENCE  5000


static void ngx_http_billing_redis_cluster_refresh_handler(ngx_event_t *ev);
static ngx_http_billing_redis_member_t *ngx_http_billing_redis_cluster_next(
    ngx_http_billing_redis_cluster_t *cluster);
static void ngx_http_billing_redis_cluster_sending(void *data,
    ngx_uint_t connection, ngx_uint_t first, ngx_uint_t n);
static void ngx_http_billing_redis_cluster_reply(void *data, ngx_uint_t n,
    ngx_http_billing_redis_reply_t *reply);
static void ngx_http_billing_redis_cluster_refused(
    ngx_http_billing_redis_cluster_t *cluster, ngx_str_t *text);
static void ngx_http_billing_redis_cluster_done(void *data,
    ngx_http_billing_redis_result_e result);
static ngx_uint_t ngx_http_billing_redis_cluster_install(
    ngx_http_billing_redis_cluster_t *cluster,
    ngx_http_billing_redis_map_t *map);
static ngx_http_billing_redis_member_t *ngx_http_billing_redis_cluster_master(
    ngx_http_billing_redis_map_t *map, ngx_uint_t slot);
static void ngx_http_billing_redis_cluster_log(
    ngx_http_billing_redis_cluster_t *cluster, ngx_uint_t covered);
static void ngx_http_billing_redis_cluster_changed_handler(ngx_event_t *ev);
static void ngx_http_billing_redis_cluster_reroute(
    ngx_http_billing_redis_node_t *node);
static void ngx_http_billing_redis_cluster_drain(
    ngx_http_billing_redis_node_t *node);


static ngx_str_t  ngx_http_billing_redis_cluster_command =
    ngx_string("*2\r\n$7\r\nCLUSTER\r\n$5\r\nSLOTS\r\n");

static ngx_str_t  ngx_http_billing_redis_cluster_disabled =
    ngx_string("ERR This instance has cluster support disabled");


ngx_http_billing_redis_cluster_t *
ngx_http_billing_redis_cluster_create(ngx_http_billing_redis_node_t *seeds)
{
    ngx_http_billing_redis_cluster_t  *cluster;

    cluster = ngx_calloc(sizeof(ngx_http_billing_redis_cluster_t), seeds->log);
    if (cluster == NULL) {
        return NULL;
    }

    cluster->map = ngx_calloc(sizeof(ngx_http_billing_redis_map_t),
                              seeds->log);
    if (cluster->map == NULL) {
        ngx_free(cluster);
        return NULL;
    }

    cluster->seeds = seeds;
    cluster->log = seeds->log;
    cluster->version = ++*seeds->pool.shared.number;
    cluster->delay = NGX_HTTP_BILLING_REDIS_MIN_REFRESH;
    cluster->refreshed = ngx_current_msec - NGX_HTTP_BILLING_REDIS_MAX_REFRESH;

    ngx_queue_init(&cluster->members);
    ngx_rbtree_init(&cluster->names, &cluster->sentinel,
                    ngx_str_rbtree_insert_value);

    cluster->refresh.handler = ngx_http_billing_redis_cluster_refresh_handler;
    cluster->refresh.data = cluster;
    cluster->refresh.log = cluster->log;
    cluster->refresh.cancelable = 1;

    cluster->changed.handler = ngx_http_billing_redis_cluster_changed_handler;
    cluster->changed.data = cluster;
    cluster->changed.log = cluster->log;

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, cluster->log, 0,
                   "billing redis cluster is used");

    return cluster;
}


void
ngx_http_billing_redis_cluster_destroy(
    ngx_http_billing_redis_cluster_t *cluster)
{
    ngx_queue_t                      *q;
    ngx_http_billing_redis_member_t  *member;

    ngx_http_billing_redis_node_cancel(&cluster->pipeline);

    while (!ngx_queue_empty(&cluster->members)) {
        q = ngx_queue_head(&cluster->members);
        member = ngx_queue_data(q, ngx_http_billing_redis_member_t, queue);

        ngx_http_billing_redis_member_destroy(cluster, member);
    }

    if (cluster->refresh.timer_set) {
        ngx_del_timer(&cluster->refresh);
    }

    if (cluster->changed.posted) {
        ngx_delete_posted_event(&cluster->changed);
    }

    if (cluster->reading.map) {
        ngx_free(cluster->reading.map);
    }

    ngx_free(cluster->map);
    ngx_free(cluster);
}


/* many triggers make one reading, and readings keep a distance */

void
ngx_http_billing_redis_cluster_refresh(
    ngx_http_billing_redis_cluster_t *cluster,
    ngx_http_billing_redis_member_t *hint)
{
    ngx_msec_t  wait, passed;

    if (hint) {
        cluster->hint = hint;
    }

    if (cluster->pipeline.state != NGX_HTTP_BILLING_REDIS_PIPELINE_IDLE) {
        return;
    }

    wait = hint ? NGX_HTTP_BILLING_REDIS_MIN_REFRESH : cluster->delay;
    passed = ngx_current_msec - cluster->refreshed;

    /* the jitter keeps workers from asking all at once */

    wait = (passed < wait) ? wait - passed + ngx_random() % (wait / 4) : 0;

    if (cluster->refresh.timer_set) {

        if ((ngx_msec_int_t) (cluster->refresh.timer.key
                              - (ngx_current_msec + wait))
            <= 0)
        {
            return;
        }

        ngx_del_timer(&cluster->refresh);
    }

    ngx_add_timer(&cluster->refresh, wait);
}


void
ngx_http_billing_redis_cluster_compare(
    ngx_http_billing_redis_cluster_t *cluster)
{
    if (cluster->pipeline.state != NGX_HTTP_BILLING_REDIS_PIPELINE_IDLE) {
        return;
    }

    if (cluster->refresh.timer_set) {
        ngx_del_timer(&cluster->refresh);
    }

    ngx_http_billing_redis_cluster_refresh_handler(&cluster->refresh);
}


static void
ngx_http_billing_redis_cluster_refresh_handler(ngx_event_t *ev)
{
    ngx_http_billing_redis_map_t       *map;
    ngx_http_billing_redis_member_t    *member;
    ngx_http_billing_redis_cluster_t   *cluster;
    ngx_http_billing_redis_pipeline_t  *pl;
    ngx_http_billing_redis_tracking_t  *tracking;

    cluster = ev->data;

    map = ngx_alloc(sizeof(ngx_http_billing_redis_map_t), cluster->log);
    if (map == NULL) {
        return;
    }

    cluster->reading.map = map;
    ngx_http_billing_redis_cluster_sending(cluster, 0, 0, 1);

    member = ngx_http_billing_redis_cluster_next(cluster);

    cluster->asked = member;
    cluster->hint = NULL;
    cluster->refreshed = ngx_current_msec;

    if (member) {
        ngx_http_billing_redis_member_hold(member);
    }

    /* another one is asked the next time */

    cluster->turn++;

    cluster->seeds->pool.shared.stat->refreshes++;

    tracking = cluster->seeds->pool.shared.tracking;

    if (tracking) {
        tracking->mapping(tracking->data);
    }

    pl = &cluster->pipeline;

    ngx_memzero(pl, sizeof(ngx_http_billing_redis_pipeline_t));

    pl->start = ngx_http_billing_redis_cluster_command.data;
    pl->last = pl->start + ngx_http_billing_redis_cluster_command.len;
    pl->ncommands = 1;
    pl->sending = ngx_http_billing_redis_cluster_sending;
    pl->item = ngx_http_billing_redis_cluster_item;
    pl->reply = ngx_http_billing_redis_cluster_reply;
    pl->done = ngx_http_billing_redis_cluster_done;
    pl->data = cluster;
    pl->part = 1;

    ngx_http_billing_redis_node_send(member ? &member->node : cluster->seeds,
                                     pl, NGX_HTTP_BILLING_REDIS_REFRESH_SILENCE,
                                     ngx_current_msec
                                     + NGX_HTTP_BILLING_REDIS_REFRESH_TIME);

    /* a worker that exits does not wait for the map */

    pl->timer.cancelable = 1;
}


/* the node to ask for the map; NULL: a seed */

static ngx_http_billing_redis_member_t *
ngx_http_billing_redis_cluster_next(ngx_http_billing_redis_cluster_t *cluster)
{
    ngx_uint_t                        i;
    ngx_queue_t                      *q;
    ngx_http_billing_redis_member_t  *member, *idle;

    if (cluster->failed || cluster->over || cluster->nmembers == 0) {
        return NULL;
    }

    member = cluster->hint;

    if (member && ngx_http_billing_redis_member_usable(member)) {
        return member;
    }

    idle = NULL;
    q = ngx_queue_head(&cluster->members);

    for (i = cluster->turn % cluster->nmembers; i; i--) {
        q = ngx_queue_next(q);
    }

    for (i = 0; i < cluster->nmembers; i++, q = ngx_queue_next(q)) {

        if (q == ngx_queue_sentinel(&cluster->members)) {
            q = ngx_queue_next(q);
        }

        member = ngx_queue_data(q, ngx_http_billing_redis_member_t, queue);

        if (!member->listed || !ngx_http_billing_redis_member_usable(member)) {
            continue;
        }

        if (ngx_http_billing_redis_pool_used(&member->node.pool, 0)) {
            return member;
        }

        if (idle == NULL) {
            idle = member;
        }
    }

    return idle;
}


/* a connection may have been lost in the midst of the map: all is read anew */

static void
ngx_http_billing_redis_cluster_sending(void *data, ngx_uint_t connection,
    ngx_uint_t first, ngx_uint_t n)
{
    ngx_http_billing_redis_cluster_t *cluster = data;

    ngx_http_billing_redis_map_t      *map;
    ngx_http_billing_redis_reading_t  *reading;

    reading = &cluster->reading;
    map = reading->map;

    ngx_memzero(reading, sizeof(ngx_http_billing_redis_reading_t));
    ngx_memzero(map, sizeof(ngx_http_billing_redis_map_t));

    reading->map = map;
}


static void
ngx_http_billing_redis_cluster_reply(void *data, ngx_uint_t n,
    ngx_http_billing_redis_reply_t *reply)
{
    ngx_http_billing_redis_cluster_t *cluster = data;

    if (reply->type == NGX_HTTP_BILLING_REDIS_ARRAY) {
        cluster->refused = 0;
        ngx_http_billing_redis_cluster_read(cluster);
        return;
    }

    cluster->reading.wrong = 1;

    if (reply->type == NGX_HTTP_BILLING_REDIS_ERROR) {
        ngx_http_billing_redis_cluster_refused(cluster, &reply->text);
    }
}


static void
ngx_http_billing_redis_cluster_refused(
    ngx_http_billing_redis_cluster_t *cluster, ngx_str_t *text)
{
    ngx_str_t  *disabled, name;

    name = cluster->pipeline.slot->conn->server->peer->name;
    disabled = &ngx_http_billing_redis_cluster_disabled;

    if (text->len >= disabled->len
        && ngx_strncmp(text->data, disabled->data, disabled->len) == 0)
    {
        cluster->over = 1;

        ngx_log_error(NGX_LOG_WARN, cluster->log, 0,
                      "redis server \"%V\" is no node of a cluster any more",
                      &name);
        return;
    }

    cluster->seeds->pool.shared.stat->errors++;

    if (!cluster->refused) {
        cluster->refused = 1;

        ngx_log_error(NGX_LOG_ERR, cluster->log, 0,
                      "redis server \"%V\" refuses CLUSTER SLOTS: \"%V\", "
                      "each command may be sent twice", &name, text);
    }
}


static void
ngx_http_billing_redis_cluster_done(void *data,
    ngx_http_billing_redis_result_e result)
{
    ngx_http_billing_redis_cluster_t *cluster = data;

    ngx_uint_t                          changed, failed;
    ngx_http_billing_redis_map_t       *map;
    ngx_http_billing_redis_reading_t   *reading;
    ngx_http_billing_redis_tracking_t  *tracking;

    reading = &cluster->reading;

    map = reading->map;
    reading->map = NULL;
    changed = 0;

    /* a node without slots has left the cluster */

    failed = (result != NGX_HTTP_BILLING_REDIS_OK || reading->wrong
              || map->covered == 0);

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, cluster->log, 0,
                   "billing redis cluster map: %s, %ui slots of %ui masters",
                   failed ? "failed" : "read", map->covered,
                   map->nshards);

    if (reading->bounded && !cluster->bounded) {
        ngx_log_error(NGX_LOG_ERR, cluster->log, 0,
                      "redis cluster has more than %d nodes, the others are "
                      "not used", NGX_HTTP_BILLING_REDIS_MEMBERS);
    }

    cluster->bounded = reading->bounded ? 1 : 0;

    if (failed) {
        ngx_free(map);

    } else {
        changed = ngx_http_billing_redis_cluster_install(cluster, map);

        tracking = cluster->seeds->pool.shared.tracking;

        if (tracking) {
            tracking->mapped(tracking->data);
        }
    }

    if (changed) {
        cluster->delay = NGX_HTTP_BILLING_REDIS_MIN_REFRESH;

    } else {
        cluster->delay = ngx_min(2 * cluster->delay,
                                 NGX_HTTP_BILLING_REDIS_MAX_REFRESH);
    }

    cluster->failed = 0;

    if (cluster->asked) {
        cluster->failed = failed ? 1 : 0;

        ngx_http_billing_redis_member_release(cluster, cluster->asked);
        cluster->asked = NULL;
    }

    /* nodes that are not in the map are left */

    ngx_post_event(&cluster->changed, &ngx_posted_events);

    if (cluster->hint) {
        ngx_http_billing_redis_cluster_refresh(cluster, cluster->hint);
    }
}


static ngx_http_billing_redis_member_t *
ngx_http_billing_redis_cluster_master(ngx_http_billing_redis_map_t *map,
    ngx_uint_t slot)
{
    return map->slots[slot] ? map->shards[map->slots[slot] - 1].master : NULL;
}


ngx_uint_t
ngx_http_billing_redis_cluster_source(
    ngx_http_billing_redis_cluster_t *cluster, ngx_uint_t slot)
{
    ngx_http_billing_redis_member_t  *member;

    member = ngx_http_billing_redis_cluster_master(cluster->map, slot);

    return member ? member->node.pool.shared.source
                  : NGX_HTTP_BILLING_REDIS_NOWHERE;
}


ngx_int_t
ngx_http_billing_redis_cluster_tag(ngx_http_billing_redis_cluster_t *cluster,
    ngx_uint_t source, ngx_uint_t *tag)
{
    u_char                            text[NGX_INT_T_LEN];
    ngx_str_t                         key;
    ngx_uint_t                        n;
    ngx_http_billing_redis_member_t  *member;

    member = cluster->sources[source];

    if (member == NULL || member->slots == 0) {
        return NGX_DECLINED;
    }

    key.data = text;

    for (n = 0; n < NGX_HTTP_BILLING_REDIS_TAGS; n++) {

        key.len = ngx_http_billing_decimal(text, member->tag) - text;

        if (ngx_http_billing_redis_cluster_source(cluster,
                                        ngx_http_billing_redis_keyslot(&key))
            == source)
        {
            *tag = member->tag;
            return NGX_OK;
        }

        member->tag = (member->tag + 1) % NGX_HTTP_BILLING_REDIS_TAGS;
    }

    return NGX_DECLINED;
}


/* returns whether a slot has another master now */

static ngx_uint_t
ngx_http_billing_redis_cluster_install(
    ngx_http_billing_redis_cluster_t *cluster,
    ngx_http_billing_redis_map_t *map)
{
    ngx_uint_t                        i, j, changed, covered;
    ngx_queue_t                      *q;
    ngx_http_billing_redis_map_t     *old;
    ngx_http_billing_redis_shard_t   *shard;
    ngx_http_billing_redis_member_t  *member, *before;

    for (q = ngx_queue_head(&cluster->members);
         q != ngx_queue_sentinel(&cluster->members);
         q = ngx_queue_next(q))
    {
        member = ngx_queue_data(q, ngx_http_billing_redis_member_t, queue);
        member->listed = 0;
        member->slots = 0;
    }

    for (i = 0; i < map->nshards; i++) {
        shard = &map->shards[i];
        shard->master->listed = 1;

        for (j = 0; j < shard->nreplicas; j++) {
            shard->replicas[j]->listed = 1;
        }
    }

    old = cluster->map;
    changed = 0;

    for (i = 0; i < NGX_HTTP_BILLING_REDIS_SLOTS; i++) {

        member = ngx_http_billing_redis_cluster_master(map, i);
        before = ngx_http_billing_redis_cluster_master(old, i);

        if (member) {
            member->slots++;
        }

        if (member == before) {
            continue;
        }

        changed = 1;

        if (member) {
            member->changed = 1;
        }

        if (before) {
            before->changed = 1;
        }
    }

    covered = old->covered;
    cluster->map = map;

    ngx_free(old);

    if (changed) {
        cluster->version = ++*cluster->seeds->pool.shared.number;

        for (q = ngx_queue_head(&cluster->members);
             q != ngx_queue_sentinel(&cluster->members);
             q = ngx_queue_next(q))
        {
            member = ngx_queue_data(q, ngx_http_billing_redis_member_t, queue);

            if (member->changed) {
                ngx_http_billing_redis_member_renew(member);
            }
        }
    }

    ngx_http_billing_redis_cluster_log(cluster, covered);

    return changed;
}


static void
ngx_http_billing_redis_cluster_log(ngx_http_billing_redis_cluster_t *cluster,
    ngx_uint_t covered)
{
    ngx_uint_t                     level;
    ngx_http_billing_redis_map_t  *map;

    map = cluster->map;

    if (!cluster->logged) {
        cluster->logged = 1;

        ngx_log_error(NGX_LOG_NOTICE, cluster->log, 0,
                      "redis cluster: %ui nodes have %ui slots",
                      map->nshards, map->covered);
        return;
    }

    if (map->covered == covered) {
        return;
    }

    level = (map->covered < NGX_HTTP_BILLING_REDIS_SLOTS) ? NGX_LOG_ERR
                                                          : NGX_LOG_WARN;

    ngx_log_error(level, cluster->log, 0,
                  "redis cluster: %ui of %d slots have a node",
                  map->covered, NGX_HTTP_BILLING_REDIS_SLOTS);
}


void
ngx_http_billing_redis_cluster_moved(
    ngx_http_billing_redis_cluster_t *cluster, ngx_uint_t slot,
    ngx_http_billing_redis_member_t *member)
{
    ngx_uint_t                       i;
    ngx_http_billing_redis_map_t    *map;
    ngx_http_billing_redis_shard_t  *shard;

    map = cluster->map;
    shard = NULL;

    if (map->slots[slot]) {
        shard = &map->shards[map->slots[slot] - 1];

        if (shard->master == member) {
            return;
        }
    }

    for (i = 0; i < map->nshards; i++) {
        if (map->shards[i].master == member) {
            break;
        }
    }

    if (i == NGX_HTTP_BILLING_REDIS_MEMBERS) {
        return;
    }

    if (i == map->nshards) {
        map->nshards++;
        map->shards[i].master = member;
        map->shards[i].nreplicas = 0;
    }

    map->slots[slot] = (uint16_t) (i + 1);

    if (shard) {
        shard->master->slots--;
        ngx_http_billing_redis_member_renew(shard->master);

    } else {
        map->covered++;
    }

    member->listed = 1;
    member->slots++;

    ngx_http_billing_redis_member_renew(member);

    cluster->version = ++*cluster->seeds->pool.shared.number;
}


ngx_http_billing_redis_member_t *
ngx_http_billing_redis_cluster_route(
    ngx_http_billing_redis_cluster_t *cluster, ngx_uint_t slot,
    ngx_uint_t *readonly)
{
    ngx_uint_t                        i, n;
    ngx_http_billing_redis_shard_t   *shard;
    ngx_http_billing_redis_member_t  *member;

    *readonly = 0;

    if (cluster->over) {
        return NULL;
    }

    n = cluster->map->slots[slot];

    if (n == 0) {

        /* any node knows which one has the slot, or will have it */

        return cluster->map->covered
               ? ngx_http_billing_redis_cluster_next(cluster) : NULL;
    }

    shard = &cluster->map->shards[n - 1];

    if (ngx_http_billing_redis_member_usable(shard->master)) {
        return shard->master;
    }

    for (i = 0; i < shard->nreplicas; i++) {
        member = shard->replicas[(i + ngx_pid) % shard->nreplicas];

        if (ngx_http_billing_redis_member_usable(member)) {
            *readonly = 1;
            ngx_http_billing_redis_member_probe(shard->master);
            return member;
        }
    }

    /* the first one that is back is asked */

    for (i = 0; i < shard->nreplicas; i++) {
        ngx_http_billing_redis_member_probe(shard->replicas[i]);
    }

    return shard->master;
}


/* pipelines that wait may go elsewhere; nodes that are left are freed */

static void
ngx_http_billing_redis_cluster_changed_handler(ngx_event_t *ev)
{
    ngx_uint_t                        lost;
    ngx_queue_t                      *q, *next;
    ngx_http_billing_redis_member_t   *member;
    ngx_http_billing_redis_cluster_t  *cluster;

    cluster = ev->data;
    lost = 0;

    for (q = ngx_queue_head(&cluster->members);
         q != ngx_queue_sentinel(&cluster->members);
         q = next)
    {
        next = ngx_queue_next(q);
        member = ngx_queue_data(q, ngx_http_billing_redis_member_t, queue);

        if (member->listed && ngx_http_billing_redis_member_usable(member)) {
            continue;
        }

        /* a replica that is down changes no slot */

        lost |= (member->listed && member->slots);

        ngx_http_billing_redis_cluster_reroute(&member->node);

        if (!member->listed && cluster->reading.map == NULL
            && ngx_http_billing_redis_member_idle(member))
        {
            ngx_http_billing_redis_member_destroy(cluster, member);
        }
    }

    if (cluster->map->covered) {
        ngx_http_billing_redis_cluster_reroute(cluster->seeds);

        if (cluster->pipeline.state == NGX_HTTP_BILLING_REDIS_PIPELINE_IDLE) {
            ngx_http_billing_redis_cluster_drain(cluster->seeds);
        }
    }

    if (lost) {
        ngx_http_billing_redis_cluster_refresh(cluster, NULL);
    }
}


static void
ngx_http_billing_redis_cluster_reroute(ngx_http_billing_redis_node_t *node)
{
    ngx_uint_t                          i;
    ngx_queue_t                        *q, *next, *queues[2];
    ngx_http_billing_redis_pipeline_t  *pl;

    queues[0] = &node->waiting;
    queues[1] = &node->bulk;

    for (i = 0; i < 2; i++) {

        for (q = ngx_queue_head(queues[i]);
             q != ngx_queue_sentinel(queues[i]);
             q = next)
        {
            next = ngx_queue_next(q);
            pl = ngx_queue_data(q, ngx_http_billing_redis_pipeline_t, queue);

            if (pl->split) {
                ngx_http_billing_redis_split_reroute(pl);
            }
        }
    }
}


/* seeds are connected to for the map only */

static void
ngx_http_billing_redis_cluster_drain(ngx_http_billing_redis_node_t *node)
{
    ngx_uint_t                      i;
    ngx_http_billing_redis_conn_t  *conn;

    for (i = 0; i < node->pool.nconns; i++) {
        conn = &node->pool.conns[i];

        if (conn->state == NGX_HTTP_BILLING_REDIS_READY
            && conn->ninflight == 0 && node->pool.nwaiting == 0)
        {
            ngx_http_billing_redis_conn_drain(conn);
        }
    }
}


ngx_int_t
ngx_http_billing_redis_cluster_state(ngx_http_billing_redis_cluster_t *cluster,
    ngx_uint_t n, ngx_http_billing_redis_state_t *state)
{
    ngx_queue_t                      *q;
    ngx_http_billing_redis_pool_t    *pool;
    ngx_http_billing_redis_member_t  *member;

    for (q = ngx_queue_head(&cluster->members);
         q != ngx_queue_sentinel(&cluster->members);
         q = ngx_queue_next(q))
    {
        if (n-- == 0) {
            member = ngx_queue_data(q, ngx_http_billing_redis_member_t, queue);
            pool = &member->node.pool;

            state->peer = pool->route.servers[0]->peer;
            state->used = (ngx_http_billing_redis_pool_used(pool, 0) != NULL);
            state->failing = (pool->route.servers[0]->failures != 0);
            state->unloaded = 0;

            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}
