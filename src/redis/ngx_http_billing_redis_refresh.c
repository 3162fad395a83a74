
#include "ngx_http_billing_redis_cluster.h"


/* milliseconds for a reading; then another node is asked */

#define NGX_HTTP_BILLING_REDIS_REFRESH_TIME     1000

/* milliseconds without a reply after which a connection is given up */

#define NGX_HTTP_BILLING_REDIS_REFRESH_SILENCE  5000


static void ngx_http_billing_redis_cluster_sending(void *data,
    ngx_uint_t connection, ngx_uint_t first, ngx_uint_t n);
static void ngx_http_billing_redis_cluster_reply(void *data, ngx_uint_t n,
    ngx_http_billing_redis_reply_t *reply);
static void ngx_http_billing_redis_cluster_refused(
    ngx_http_billing_redis_cluster_t *cluster, ngx_str_t *text);
static void ngx_http_billing_redis_cluster_leave(
    ngx_http_billing_redis_cluster_t *cluster);
static void ngx_http_billing_redis_cluster_unlist(
    ngx_http_billing_redis_cluster_t *cluster);
static void ngx_http_billing_redis_cluster_done(void *data,
    ngx_http_billing_redis_result_e result);
static ngx_uint_t ngx_http_billing_redis_cluster_install(
    ngx_http_billing_redis_cluster_t *cluster,
    ngx_http_billing_redis_map_t *map);
static void ngx_http_billing_redis_cluster_log(
    ngx_http_billing_redis_cluster_t *cluster, ngx_uint_t covered);


static ngx_str_t  ngx_http_billing_redis_cluster_command =
    ngx_string("*2\r\n$7\r\nCLUSTER\r\n$5\r\nSLOTS\r\n");

static ngx_str_t  ngx_http_billing_redis_cluster_disabled =
    ngx_string("ERR This instance has cluster support disabled");


/* triggers that come before a reading share it, and readings are spaced */

void
ngx_http_billing_redis_cluster_refresh(
    ngx_http_billing_redis_cluster_t *cluster,
    ngx_http_billing_redis_member_t *hint)
{
    ngx_msec_t  wait, passed;

    if (cluster->ended) {
        return;
    }

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


void
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
    pl->item = ngx_http_billing_redis_topology_item;
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
        cluster->pipeline.pending->conn->server->slots_logged = 0;
        ngx_http_billing_redis_topology_end(cluster);
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
    ngx_str_t                      *disabled, name;
    ngx_http_billing_redis_conn_t  *conn;

    conn = cluster->pipeline.pending->conn;
    name = conn->server->peer->name;
    disabled = &ngx_http_billing_redis_cluster_disabled;

    /* an error may come of a missing right; HELLO, which needs none, is sure */

    if ((conn->event.reader.resp3 && !conn->cluster)
        || (text->len >= disabled->len
            && ngx_strncmp(text->data, disabled->data, disabled->len) == 0))
    {
        ngx_http_billing_redis_cluster_leave(cluster);

        ngx_log_error(NGX_LOG_WARN, cluster->log, 0,
                      "redis server \"%V\" is no node of a cluster any more",
                      &name);
        return;
    }

    cluster->seeds->pool.shared.stat->errors++;
    cluster->refused = 1;

    if (!conn->server->slots_logged) {
        conn->server->slots_logged = 1;

        ngx_log_error(NGX_LOG_ERR, cluster->log, 0,
                      "redis server \"%V\" refuses CLUSTER SLOTS: \"%V\", "
                      "so commands find their nodes by redirects", &name, text);
    }
}


/* the servers are no cluster any more: the nodes are left */

static void
ngx_http_billing_redis_cluster_leave(ngx_http_billing_redis_cluster_t *cluster)
{
    cluster->ended = 1;
    cluster->version = ++*cluster->seeds->pool.shared.number;

    ngx_memzero(cluster->map, sizeof(ngx_http_billing_redis_map_t));

    ngx_http_billing_redis_cluster_unlist(cluster);

    ngx_post_event(&cluster->changed, &ngx_posted_events);
}


static void
ngx_http_billing_redis_cluster_unlist(ngx_http_billing_redis_cluster_t *cluster)
{
    ngx_queue_t                      *q;
    ngx_http_billing_redis_member_t  *member;

    for (q = ngx_queue_head(&cluster->members);
         q != ngx_queue_sentinel(&cluster->members);
         q = ngx_queue_next(q))
    {
        member = ngx_queue_data(q, ngx_http_billing_redis_member_t, queue);
        member->listed = 0;
        member->slots = 0;
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

    /* a node that knows of no slots has left the cluster */

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
    cluster->addressless = reading->addressless ? 1 : 0;

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


/* returns 1 if a slot has another master than before, else 0 */

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

    ngx_http_billing_redis_cluster_unlist(cluster);

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

    if (!cluster->map_logged) {
        cluster->map_logged = 1;

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


ngx_http_billing_redis_member_t *
ngx_http_billing_redis_cluster_next(ngx_http_billing_redis_cluster_t *cluster)
{
    ngx_uint_t                        i;
    ngx_queue_t                      *q;
    ngx_http_billing_redis_member_t  *member, *unconnected;

    if (cluster->failed || cluster->ended || cluster->nmembers == 0) {
        return NULL;
    }

    member = cluster->hint;

    if (member && ngx_http_billing_redis_member_usable(member)) {
        return member;
    }

    unconnected = NULL;
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

        if (unconnected == NULL) {
            unconnected = member;
        }
    }

    return unconnected;
}


ngx_http_billing_redis_member_t *
ngx_http_billing_redis_cluster_master(ngx_http_billing_redis_map_t *map,
    ngx_uint_t slot)
{
    return map->slots[slot] ? map->shards[map->slots[slot] - 1].master : NULL;
}
