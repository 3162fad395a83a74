
#include "ngx_http_billing_redis_cluster.h"


/* numbers that may be tags: among them there is one for every slot */

#define NGX_HTTP_BILLING_REDIS_TAGS  131072


static void ngx_http_billing_redis_cluster_changed_handler(ngx_event_t *ev);
static void ngx_http_billing_redis_cluster_reroute(
    ngx_http_billing_redis_cluster_t *cluster,
    ngx_http_billing_redis_node_t *node);
static void ngx_http_billing_redis_cluster_drain(
    ngx_http_billing_redis_node_t *node);


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


void
ngx_http_billing_redis_cluster_moved(
    ngx_http_billing_redis_cluster_t *cluster, ngx_uint_t slot,
    ngx_http_billing_redis_member_t *member)
{
    ngx_uint_t                       i;
    ngx_http_billing_redis_map_t    *map;
    ngx_http_billing_redis_shard_t  *shard;

    if (cluster->ended) {
        return;
    }

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

    if (cluster->ended) {
        return NULL;
    }

    n = cluster->map->slots[slot];

    if (n == 0) {

        if (cluster->map->covered == 0) {

            /* if the seed has all slots, no redirect asks for the map */

            ngx_http_billing_redis_cluster_refresh(cluster, NULL);
            return NULL;
        }

        /* any node knows which one has the slot, or will have it */

        return ngx_http_billing_redis_cluster_next(cluster);
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

    /* whichever replica is back first will be asked */

    for (i = 0; i < shard->nreplicas; i++) {
        ngx_http_billing_redis_member_probe(shard->replicas[i]);
    }

    return shard->master;
}


/* a node was lost or is back, or the map is a new one */

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

        ngx_http_billing_redis_cluster_reroute(cluster, &member->node);

        if (!member->listed && cluster->reading.map == NULL
            && ngx_http_billing_redis_member_idle(member))
        {
            ngx_http_billing_redis_member_destroy(cluster, member);
        }
    }

    if (cluster->map->covered) {
        ngx_http_billing_redis_cluster_reroute(cluster, cluster->seeds);

        if (cluster->pipeline.state == NGX_HTTP_BILLING_REDIS_PIPELINE_IDLE) {
            ngx_http_billing_redis_cluster_drain(cluster->seeds);
        }
    }

    if (lost) {
        ngx_http_billing_redis_cluster_refresh(cluster, NULL);
    }
}


static void
ngx_http_billing_redis_cluster_reroute(
    ngx_http_billing_redis_cluster_t *cluster,
    ngx_http_billing_redis_node_t *node)
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
                cluster->reroute(pl);
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
