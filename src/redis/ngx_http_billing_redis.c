
#include "ngx_http_billing_redis_names.h"
#include "ngx_http_billing_redis_sentinel.h"
#include "ngx_http_billing_redis_split.h"


/* bytes of a command, for most of them */

#define NGX_HTTP_BILLING_REDIS_COMMAND   160


struct ngx_http_billing_redis_s {
    /* the servers as configured; if they are a cluster's, its seeds */
    ngx_http_billing_redis_node_t      node;

    /* NULL, unless the servers are a cluster's */
    ngx_http_billing_redis_cluster_t  *cluster;

    /* the number of the worker's last connection to one of the servers */
    ngx_uint_t                         number;
    ngx_log_t                         *log;
};


static ngx_uint_t ngx_http_billing_redis_same(
    ngx_http_billing_redis_conf_t *one, ngx_http_billing_redis_conf_t *two);
static ngx_int_t ngx_http_billing_redis_init(ngx_conf_t *cf,
    ngx_http_billing_redis_t *redis, ngx_http_billing_redis_conf_t *conf);
static ngx_int_t ngx_http_billing_redis_grow(
    ngx_http_billing_redis_pipeline_t *pl, size_t len);
static void ngx_http_billing_redis_clustered(void *set);
static void ngx_http_billing_redis_redirected(void *set,
    ngx_http_billing_redis_pipeline_t *pl);


ngx_http_billing_redis_t *
ngx_http_billing_redis_add(ngx_conf_t *cf, ngx_array_t *sets,
    ngx_http_billing_redis_conf_t *conf)
{
    ngx_uint_t                  i;
    ngx_http_billing_redis_t   *redis, **set;

    if (ngx_http_billing_redis_resolve_urls(cf, conf) != NGX_OK) {
        return NULL;
    }

    set = sets->elts;

    for (i = 0; i < sets->nelts; i++) {
        if (ngx_http_billing_redis_same(&set[i]->node.pool.shared.conf, conf)) {
            return set[i];
        }
    }

    redis = ngx_pcalloc(cf->pool, sizeof(ngx_http_billing_redis_t));
    if (redis == NULL) {
        return NULL;
    }

    if (ngx_http_billing_redis_init(cf, redis, conf) != NGX_OK) {
        return NULL;
    }

    set = ngx_array_push(sets);
    if (set == NULL) {
        return NULL;
    }

    *set = redis;

    return redis;
}


static ngx_uint_t
ngx_http_billing_redis_same(ngx_http_billing_redis_conf_t *one,
    ngx_http_billing_redis_conf_t *two)
{
    ngx_uint_t                      i;
    ngx_http_billing_redis_peer_t  *p, *q;

    if (one->peers->nelts != two->peers->nelts
        || one->resolver != two->resolver
        || one->resolver_timeout != two->resolver_timeout
        || one->connect_timeout != two->connect_timeout
        || one->connections != two->connections
        || one->queue != two->queue
        || one->socket_keepalive != two->socket_keepalive
        || !ngx_http_billing_redis_same_str(&one->password, &two->password)
        || one->ssl.verify != two->ssl.verify
        || !ngx_http_billing_redis_same_str(&one->ssl.trusted_certificate,
                                            &two->ssl.trusted_certificate)
        || !ngx_http_billing_redis_same_str(&one->ssl.name, &two->ssl.name)
        || !ngx_http_billing_redis_same_str(&one->ssl.certificate,
                                            &two->ssl.certificate)
        || !ngx_http_billing_redis_same_str(&one->ssl.certificate_key,
                                            &two->ssl.certificate_key))
    {
        return 0;
    }

    p = one->peers->elts;
    q = two->peers->elts;

    for (i = 0; i < one->peers->nelts; i++) {
        if (!ngx_http_billing_redis_same_str(&p[i].url, &q[i].url)
            || !ngx_http_billing_redis_same_str(&p[i].name, &q[i].name))
        {
            return 0;
        }
    }

    return 1;
}


static ngx_int_t
ngx_http_billing_redis_init(ngx_conf_t *cf, ngx_http_billing_redis_t *redis,
    ngx_http_billing_redis_conf_t *conf)
{
    ngx_http_billing_redis_shared_t  *shared;

    redis->log = &cf->cycle->new_log;

    shared = &redis->node.pool.shared;

    shared->conf = *conf;
    shared->log = redis->log;
    shared->number = &redis->number;

    /* sentinels look after servers that are no cluster */

    if (conf->urls->sentinel == NULL) {
        shared->set = redis;
        shared->clustered = ngx_http_billing_redis_clustered;
        shared->redirected = ngx_http_billing_redis_redirected;
    }

    if (ngx_http_billing_redis_node_init(cf, &redis->node) != NGX_OK) {
        return NGX_ERROR;
    }

    if (conf->urls->sentinel) {
        return ngx_http_billing_redis_sentinel_init(cf, &redis->node.pool);
    }

    return conf->resolver ? ngx_http_billing_redis_names_init(cf,
                                                             &redis->node.pool)
                          : NGX_OK;
}


void
ngx_http_billing_redis_count(ngx_http_billing_redis_t *redis,
    ngx_http_billing_redis_stat_t *stat,
    ngx_http_billing_redis_duration_pt duration, void *data)
{
    ngx_http_billing_redis_shared_t  *shared;

    shared = &redis->node.pool.shared;

    shared->stat = stat;
    shared->duration = duration;
    shared->duration_data = data;
}


ngx_int_t
ngx_http_billing_redis_require(ngx_conf_t *cf, ngx_http_billing_redis_t *redis,
    ngx_str_t *key)
{
    ngx_str_t    *elt;
    ngx_uint_t    i;
    ngx_array_t  *required;

    required = &redis->node.pool.shared.required;
    elt = required->elts;

    for (i = 0; i < required->nelts; i++) {
        if (ngx_http_billing_redis_same_str(&elt[i], key)) {
            return NGX_OK;
        }
    }

    elt = ngx_array_push(required);
    if (elt == NULL) {
        return NGX_ERROR;
    }

    *elt = *key;

    return NGX_OK;
}


void
ngx_http_billing_redis_track(ngx_http_billing_redis_t *redis,
    ngx_http_billing_redis_tracking_t *tracking)
{
    redis->node.pool.shared.tracking = tracking;
}


ngx_array_t *
ngx_http_billing_redis_peers(ngx_http_billing_redis_t *redis)
{
    return redis->node.pool.shared.conf.peers;
}


ngx_int_t
ngx_http_billing_redis_state(ngx_http_billing_redis_t *redis, ngx_uint_t n,
    ngx_http_billing_redis_state_t *state)
{
    ngx_http_billing_redis_pool_t    *pool;
    ngx_http_billing_redis_server_t  *server;

    if (redis->cluster && !redis->cluster->ended
        && redis->cluster->map->covered)
    {
        return ngx_http_billing_redis_cluster_state(redis->cluster, n, state);
    }

    pool = &redis->node.pool;

    if (n >= pool->route.nservers) {
        return NGX_DECLINED;
    }

    server = pool->route.servers[n];

    state->peer = server->peer;
    state->used = (server == ngx_http_billing_redis_pool_used(pool, 0));
    state->failing = (server->failures != 0);
    state->unloaded = server->unloaded;

    return NGX_OK;
}


ngx_int_t
ngx_http_billing_redis_pipeline_init(ngx_http_billing_redis_pipeline_t *pl,
    ngx_pool_t *pool, ngx_uint_t n)
{
    pl->start = ngx_pnalloc(pool, n * NGX_HTTP_BILLING_REDIS_COMMAND);
    if (pl->start == NULL) {
        return NGX_ERROR;
    }

    pl->last = pl->start;
    pl->end = pl->start + n * NGX_HTTP_BILLING_REDIS_COMMAND;
    pl->ncommands = 0;
    pl->pool = pool;

    return NGX_OK;
}


ngx_int_t
ngx_http_billing_redis_add_command(ngx_http_billing_redis_pipeline_t *pl,
    ngx_http_billing_redis_command_t *command, ngx_str_t *args)
{
    size_t  size;

    size = ngx_http_billing_redis_command_size(command, args);

    if ((size_t) (pl->end - pl->last) < size
        && ngx_http_billing_redis_grow(pl, size) != NGX_OK)
    {
        return NGX_ERROR;
    }

    pl->last = ngx_http_billing_redis_command_write(pl->last, command, args);
    pl->ncommands++;

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_redis_grow(ngx_http_billing_redis_pipeline_t *pl, size_t len)
{
    u_char  *p;
    size_t   used, size;

    used = pl->last - pl->start;
    size = 2 * (used + len);

    p = ngx_pnalloc(pl->pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    pl->last = ngx_cpymem(p, pl->start, used);
    pl->start = p;
    pl->end = p + size;

    return NGX_OK;
}


void
ngx_http_billing_redis_send(ngx_http_billing_redis_t *redis,
    ngx_http_billing_redis_pipeline_t *pl, ngx_msec_t timeout,
    ngx_msec_t deadline)
{
    pl->redis = redis;
    pl->split = NULL;
    pl->write = NULL;
    pl->item = NULL;
    pl->part = 0;
    pl->redirected = 0;

    if (redis->cluster && !redis->cluster->ended) {
        ngx_http_billing_redis_split(redis->cluster, pl, timeout, deadline);
        return;
    }

    ngx_http_billing_redis_node_send(&redis->node, pl, timeout, deadline);
}


void
ngx_http_billing_redis_cancel(ngx_http_billing_redis_pipeline_t *pl)
{
    if (pl->state == NGX_HTTP_BILLING_REDIS_PIPELINE_SPLIT) {
        ngx_http_billing_redis_split_cancel(pl);
        return;
    }

    ngx_http_billing_redis_node_cancel(pl);
}


ngx_uint_t
ngx_http_billing_redis_answered(ngx_http_billing_redis_pipeline_t *pl,
    ngx_uint_t n)
{
    return pl->split ? ngx_http_billing_redis_split_answered(pl->split, n)
                     : pl->connection;
}


ngx_uint_t
ngx_http_billing_redis_source(ngx_http_billing_redis_t *redis, ngx_str_t *key)
{
    if (redis->cluster == NULL || redis->cluster->ended) {
        return 0;
    }

    return ngx_http_billing_redis_cluster_source(redis->cluster,
                                         ngx_http_billing_redis_keyslot(key));
}


ngx_int_t
ngx_http_billing_redis_tag(ngx_http_billing_redis_t *redis, ngx_uint_t source,
    ngx_uint_t *tag)
{
    if (redis->cluster == NULL || redis->cluster->ended) {
        return NGX_DECLINED;
    }

    return ngx_http_billing_redis_cluster_tag(redis->cluster, source, tag);
}


void
ngx_http_billing_redis_compare(ngx_http_billing_redis_t *redis)
{
    if (redis->cluster && !redis->cluster->ended) {
        ngx_http_billing_redis_cluster_compare(redis->cluster);
    }
}


ngx_uint_t
ngx_http_billing_redis_refused(ngx_http_billing_redis_t *redis)
{
    return redis->cluster && !redis->cluster->ended && redis->cluster->refused;
}


ngx_uint_t
ngx_http_billing_redis_version(ngx_http_billing_redis_t *redis)
{
    return (redis->cluster && !redis->cluster->ended) ? redis->cluster->version
                                                     : 0;
}


void
ngx_http_billing_redis_wrong(ngx_http_billing_redis_pipeline_t *pl)
{
    pl->redis->node.pool.shared.stat->errors++;
}


ngx_int_t
ngx_http_billing_redis_unloaded(ngx_http_billing_redis_pipeline_t *pl)
{
    ngx_array_t               *required;
    ngx_http_billing_redis_t  *redis;

    redis = pl->redis;

    /* the key has one place in a cluster: no other server may be asked */

    if (redis->cluster && !redis->cluster->ended) {
        return NGX_DECLINED;
    }

    required = &redis->node.pool.shared.required;

    return ngx_http_billing_redis_pool_unloaded(&redis->node.pool,
                                                pl->connection,
                                                required->nelts == 1
                                                ? required->elts : NULL);
}


void
ngx_http_billing_redis_close(ngx_http_billing_redis_t *redis)
{
    if (redis->cluster) {
        ngx_http_billing_redis_cluster_destroy(redis->cluster);
        redis->cluster = NULL;
    }

    ngx_http_billing_redis_node_close(&redis->node);
}


ngx_int_t
ngx_http_billing_redis_cluster(ngx_http_billing_redis_t *redis,
    ngx_uint_t *slots, ngx_uint_t *nodes)
{
    if (redis->cluster == NULL || redis->cluster->ended) {
        return NGX_DECLINED;
    }

    *slots = redis->cluster->map->covered;
    *nodes = redis->cluster->nmembers;

    return NGX_OK;
}


/* a server is a node of a cluster: the servers are its seeds */

static void
ngx_http_billing_redis_clustered(void *set)
{
    ngx_http_billing_redis_t *redis = set;

    if (redis->cluster && !redis->cluster->ended) {
        return;
    }

    if (redis->cluster) {
        redis->cluster->ended = 0;

    } else {
        redis->cluster = ngx_http_billing_redis_cluster_create(&redis->node);
    }

    if (redis->cluster) {
        redis->cluster->reroute = ngx_http_billing_redis_split_reroute;

        ngx_http_billing_redis_cluster_refresh(redis->cluster, NULL);
    }
}


/* the pipeline was answered by MOVED or the like, and is to be split */

static void
ngx_http_billing_redis_redirected(void *set,
    ngx_http_billing_redis_pipeline_t *pl)
{
    ngx_http_billing_redis_t *redis = set;

    ngx_http_billing_redis_clustered(redis);

    if (redis->cluster == NULL) {
        pl->done(pl->data, NGX_HTTP_BILLING_REDIS_BROKEN);
        return;
    }

    pl->redirected = 0;

    ngx_http_billing_redis_split(redis->cluster, pl, pl->timeout,
                                 pl->deadline);
}
