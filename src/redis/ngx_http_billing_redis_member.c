
#include "ngx_http_billing_redis_cluster.h"
#include "ngx_http_billing_redis_error.h"
#include "ngx_http_billing_redis_name.h"


/* milliseconds for a PING to a node that has failed */

#define NGX_HTTP_BILLING_REDIS_PROBE_TIME  1000

/*
 * Milliseconds between attempts to connect to a node that has failed, for each
 * node that has; and at most.
 */

#define NGX_HTTP_BILLING_REDIS_PACE        20
#define NGX_HTTP_BILLING_REDIS_MAX_PACE    4000


static ngx_http_billing_redis_member_t *ngx_http_billing_redis_member_find(
    ngx_http_billing_redis_cluster_t *cluster, ngx_str_t *name, ngx_str_t *ip);
static ngx_uint_t ngx_http_billing_redis_member_address(
    ngx_http_billing_redis_cluster_t *cluster, ngx_str_t *host, ngx_str_t *ip,
    ngx_str_t *address);
static void ngx_http_billing_redis_member_name(ngx_str_t *name,
    ngx_str_t *host, in_port_t port);
static ngx_http_billing_redis_member_t *ngx_http_billing_redis_member_create(
    ngx_http_billing_redis_cluster_t *cluster,
    ngx_http_billing_redis_server_t *server, ngx_str_t *name, ngx_str_t *host,
    ngx_str_t *address, in_port_t port);
static ngx_int_t ngx_http_billing_redis_member_peer(ngx_pool_t *pool,
    ngx_http_billing_redis_peer_t *dst, ngx_http_billing_redis_server_t *server,
    ngx_str_t *host, ngx_str_t *address, in_port_t port);
static ngx_int_t ngx_http_billing_redis_member_copy(ngx_pool_t *pool,
    ngx_str_t *dst, ngx_str_t *src);
static void ngx_http_billing_redis_member_noticed(void *data);
static void ngx_http_billing_redis_member_reply(void *data, ngx_uint_t n,
    ngx_http_billing_redis_reply_t *reply);
static void ngx_http_billing_redis_member_done(void *data,
    ngx_http_billing_redis_result_e result);


static ngx_str_t  ngx_http_billing_redis_member_ping =
    ngx_string("*1\r\n$4\r\nPING\r\n");


ngx_http_billing_redis_member_t *
ngx_http_billing_redis_member(ngx_http_billing_redis_cluster_t *cluster,
    ngx_http_billing_redis_server_t *server, ngx_str_t *host, ngx_str_t *ip,
    in_port_t port)
{
    u_char                            text[NGX_HTTP_BILLING_REDIS_MAX_ITEM
                                           + sizeof("[]:65535")];
    ngx_str_t                         name, address, asked, none;
    ngx_http_billing_redis_member_t  *member;

    /* without an address, the node is on the host that was asked */

    if (host->len == 0 || (host->len == 1 && host->data[0] == '?')) {
        asked = server->peer->host;

        if (server->peer->port == 0) {
            ngx_str_set(&asked, "127.0.0.1");
        }

        host = &asked;
    }

    if (host->len > NGX_HTTP_BILLING_REDIS_MAX_ITEM
        || !ngx_http_billing_redis_error_is_word(host))
    {
        return NULL;
    }

    /* where the host is an address, only nodes may be able to reach ip */

    if (ngx_http_billing_redis_name_is_address(host)
        || !ngx_http_billing_redis_name_is_address(ip))
    {
        ngx_str_null(&none);
        ip = &none;
    }

    name.data = text;
    ngx_http_billing_redis_member_name(&name, host, port);

    member = ngx_http_billing_redis_member_find(cluster, &name, ip);

    if (member) {
        return member;
    }

    if (!ngx_http_billing_redis_member_address(cluster, host, ip, &address)) {
        return NULL;
    }

    if (cluster->nmembers == NGX_HTTP_BILLING_REDIS_MEMBERS) {
        cluster->reading.bounded = 1;
        return NULL;
    }

    return ngx_http_billing_redis_member_create(cluster, server, &name, host,
                                                &address, port);
}


/* a name whose address has changed is another node */

static ngx_http_billing_redis_member_t *
ngx_http_billing_redis_member_find(ngx_http_billing_redis_cluster_t *cluster,
    ngx_str_t *name, ngx_str_t *ip)
{
    uint32_t                          hash;
    ngx_str_t                        *host;
    ngx_str_node_t                   *node;
    ngx_http_billing_redis_conf_t    *conf;
    ngx_http_billing_redis_peer_t    *peer;
    ngx_http_billing_redis_member_t  *member;

    hash = ngx_crc32_short(name->data, name->len);

    node = ngx_str_rbtree_lookup(&cluster->names, name, hash);

    if (node == NULL) {
        return NULL;
    }

    member = (ngx_http_billing_redis_member_t *)
             ((u_char *) node
              - offsetof(ngx_http_billing_redis_member_t, name));

    conf = &member->node.pool.shared.conf;
    peer = conf->peers->elts;
    host = &peer->host;

    if (ip->len == 0
        || (ip->len == host->len
            && ngx_memcmp(ip->data, host->data, ip->len) == 0))
    {
        return member;
    }

    ngx_rbtree_delete(&cluster->names, &node->node);
    member->unnamed = 1;

    return NULL;
}


static ngx_uint_t
ngx_http_billing_redis_member_address(
    ngx_http_billing_redis_cluster_t *cluster, ngx_str_t *host, ngx_str_t *ip,
    ngx_str_t *address)
{
    ngx_uint_t                      i;
    ngx_str_t                       name;
    ngx_array_t                    *peers;
    ngx_http_billing_redis_peer_t  *peer;

    if (ngx_http_billing_redis_name_is_address(host)) {
        *address = *host;
        return 1;
    }

    if (ngx_http_billing_redis_name_is_address(ip)) {
        *address = *ip;
        return 1;
    }

    /* the name of a seed may have been resolved at configuration */

    peers = cluster->seeds->pool.shared.conf.peers;
    peer = peers->elts;

    for (i = 0; i < peers->nelts; i++) {

        if (peer[i].port == 0 || peer[i].resolve) {
            continue;
        }

        ngx_http_billing_redis_url_host(&peer[i].url, &name);

        if (name.len == host->len
            && ngx_strncasecmp(name.data, host->data, name.len) == 0)
        {
            *address = peer[i].host;
            return 1;
        }
    }

    return 0;
}


/* writes the host and the port, with brackets around an address of IPv6 */

static void
ngx_http_billing_redis_member_name(ngx_str_t *name, ngx_str_t *host,
    in_port_t port)
{
    u_char  *last;

    last = host->data + host->len;

    name->len = ngx_sprintf(name->data,
                            ngx_strlchr(host->data, last, ':') ? "[%V]:%d"
                                                               : "%V:%d",
                            host, (int) port)
                - name->data;
}


static ngx_http_billing_redis_member_t *
ngx_http_billing_redis_member_create(
    ngx_http_billing_redis_cluster_t *cluster,
    ngx_http_billing_redis_server_t *server, ngx_str_t *name, ngx_str_t *host,
    ngx_str_t *address, in_port_t port)
{
    ngx_conf_t                        cf;
    ngx_pool_t                       *pool;
    ngx_uint_t                        source;
    ngx_array_t                      *peers;
    ngx_http_billing_redis_peer_t    *own;
    ngx_http_billing_redis_member_t  *member;
    ngx_http_billing_redis_shared_t  *shared, *seeds;

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE / 8, cluster->log);
    if (pool == NULL) {
        return NULL;
    }

    member = ngx_pcalloc(pool, sizeof(ngx_http_billing_redis_member_t));
    peers = ngx_array_create(pool, 1, sizeof(ngx_http_billing_redis_peer_t));

    if (member == NULL || peers == NULL) {
        goto failed;
    }

    own = ngx_array_push(peers);

    if (own == NULL
        || ngx_http_billing_redis_member_peer(pool, own, server, host, address,
                                              port)
           != NGX_OK
        || ngx_http_billing_redis_member_copy(pool, &member->name.str, name)
           != NGX_OK)
    {
        goto failed;
    }

    seeds = &cluster->seeds->pool.shared;
    shared = &member->node.pool.shared;

    shared->conf = seeds->conf;
    shared->conf.peers = peers;
    shared->conf.resolver = NULL;
    shared->stat = seeds->stat;
    shared->log = seeds->log;
    shared->number = seeds->number;
    shared->duration = seeds->duration;
    shared->duration_data = seeds->duration_data;
    shared->tracking = seeds->tracking;

    for (source = 1; cluster->sources[source]; source++) { /* void */ }

    shared->source = source;

#if (NGX_HTTP_BILLING_REDIS_SSL)
    shared->ssl = seeds->ssl;
#endif

    ngx_memzero(&cf, sizeof(ngx_conf_t));
    cf.pool = pool;
    cf.log = cluster->log;

    if (ngx_http_billing_redis_node_init(&cf, &member->node) != NGX_OK) {
        goto failed;
    }

    member->node.pool.noticed = ngx_http_billing_redis_member_noticed;
    member->node.pool.noticed_data = member;

    member->pool = pool;
    member->cluster = cluster;
    member->name.node.key = ngx_crc32_short(name->data, name->len);

    ngx_rbtree_insert(&cluster->names, &member->name.node);
    ngx_queue_insert_tail(&cluster->members, &member->queue);
    cluster->nmembers++;
    cluster->sources[source] = member;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, cluster->log, 0,
                   "billing redis cluster node \"%V\" at \"%V\"",
                   &member->name.str, &own->name);

    return member;

failed:

    ngx_destroy_pool(pool);

    return NULL;
}


/* the credentials are those of the server that has announced the node */

static ngx_int_t
ngx_http_billing_redis_member_peer(ngx_pool_t *pool,
    ngx_http_billing_redis_peer_t *dst, ngx_http_billing_redis_server_t *server,
    ngx_str_t *host, ngx_str_t *address, in_port_t port)
{
    u_char                          text[NGX_HTTP_BILLING_REDIS_MAX_ITEM
                                         + sizeof("[]:65535")];
    ngx_str_t                       name, *ssl_name;
    ngx_http_billing_redis_peer_t  *src;

    src = server->peer;

    ngx_memzero(dst, sizeof(ngx_http_billing_redis_peer_t));

    name.data = text;
    ngx_http_billing_redis_member_name(&name, address, port);

    /* a node without a host of its own has that of the node that was asked */

    ssl_name = (host->data == src->host.data) ? &src->ssl_name : host;

    if (ngx_http_billing_redis_member_copy(pool, &dst->name, &name) != NGX_OK
        || ngx_http_billing_redis_member_copy(pool, &dst->host, address)
           != NGX_OK
        || ngx_http_billing_redis_member_copy(pool, &dst->user, &src->user)
           != NGX_OK
        || ngx_http_billing_redis_member_copy(pool, &dst->password,
                                              &server->password)
           != NGX_OK
        || ngx_http_billing_redis_member_copy(pool, &dst->db, &src->db)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    dst->port = port;

    if (src->ssl_name.len == 0) {
        return NGX_OK;
    }

    return ngx_http_billing_redis_member_copy(pool, &dst->ssl_name, ssl_name);
}


/* copies the text, with a zero byte at its end */

static ngx_int_t
ngx_http_billing_redis_member_copy(ngx_pool_t *pool, ngx_str_t *dst,
    ngx_str_t *src)
{
    dst->data = ngx_pnalloc(pool, src->len + 1);
    if (dst->data == NULL) {
        return NGX_ERROR;
    }

    *ngx_cpymem(dst->data, src->data, src->len) = '\0';
    dst->len = src->len;

    return NGX_OK;
}


ngx_uint_t
ngx_http_billing_redis_member_usable(ngx_http_billing_redis_member_t *member)
{
    ngx_http_billing_redis_pool_t  *pool;

    pool = &member->node.pool;

    return pool->route.servers[0]->failures == 0
           || ngx_http_billing_redis_pool_used(pool, 0);
}


/* the more nodes have failed, the less often each of them is tried */

static void
ngx_http_billing_redis_member_noticed(void *data)
{
    ngx_http_billing_redis_member_t *member = data;

    ngx_msec_t                         pace, retry;
    ngx_queue_t                       *q;
    ngx_http_billing_redis_member_t   *other;
    ngx_http_billing_redis_server_t   *server;
    ngx_http_billing_redis_cluster_t  *cluster;

    cluster = member->cluster;

    ngx_post_event(&cluster->changed, &ngx_posted_events);

    if (ngx_http_billing_redis_member_usable(member)) {
        return;
    }

    pace = 0;

    for (q = ngx_queue_head(&cluster->members);
         q != ngx_queue_sentinel(&cluster->members);
         q = ngx_queue_next(q))
    {
        other = ngx_queue_data(q, ngx_http_billing_redis_member_t, queue);

        if (!ngx_http_billing_redis_member_usable(other)) {
            pace += NGX_HTTP_BILLING_REDIS_PACE;
        }
    }

    pace = ngx_min(pace, NGX_HTTP_BILLING_REDIS_MAX_PACE);
    retry = ngx_current_msec + pace / 2 + ngx_random() % (pace / 2 + 1);

    server = member->node.pool.route.servers[0];

    if ((ngx_msec_int_t) (retry - server->retry) > 0) {
        server->retry = retry;
    }
}


void
ngx_http_billing_redis_member_probe(ngx_http_billing_redis_member_t *member)
{
    ngx_http_billing_redis_pipeline_t  *pl;

    pl = &member->probe;

    if (pl->state != NGX_HTTP_BILLING_REDIS_PIPELINE_IDLE) {
        return;
    }

    ngx_memzero(pl, sizeof(ngx_http_billing_redis_pipeline_t));

    pl->start = ngx_http_billing_redis_member_ping.data;
    pl->last = pl->start + ngx_http_billing_redis_member_ping.len;
    pl->ncommands = 1;
    pl->reply = ngx_http_billing_redis_member_reply;
    pl->done = ngx_http_billing_redis_member_done;
    pl->data = member;
    pl->part = 1;

    ngx_http_billing_redis_node_send(&member->node, pl,
                                     NGX_HTTP_BILLING_REDIS_PROBE_TIME,
                                     ngx_current_msec
                                     + NGX_HTTP_BILLING_REDIS_PROBE_TIME);

    /* a worker that exits does not wait for the node */

    pl->timer.cancelable = 1;
}


static void
ngx_http_billing_redis_member_reply(void *data, ngx_uint_t n,
    ngx_http_billing_redis_reply_t *reply)
{
    /* any reply will do */
}


static void
ngx_http_billing_redis_member_done(void *data,
    ngx_http_billing_redis_result_e result)
{
    ngx_http_billing_redis_member_t *member = data;

    ngx_post_event(&member->cluster->changed, &ngx_posted_events);
}


void
ngx_http_billing_redis_member_renew(ngx_http_billing_redis_member_t *member)
{
    ngx_http_billing_redis_conn_t  *conn;

    member->changed = 0;

    conn = member->node.pool.shared.owner;

    if (conn) {
        ngx_http_billing_redis_conn_disown(conn);
        ngx_http_billing_redis_conn_own(conn);
    }
}


ngx_uint_t
ngx_http_billing_redis_member_idle(ngx_http_billing_redis_member_t *member)
{
    ngx_uint_t                      i;
    ngx_http_billing_redis_node_t  *node;

    node = &member->node;

    if (member->refs || member->node.pool.nwaiting
        || !ngx_queue_empty(&node->failed))
    {
        return 0;
    }

    for (i = 0; i < node->pool.nconns; i++) {
        if (node->pool.conns[i].ninflight
            && node->pool.conns[i].state != NGX_HTTP_BILLING_REDIS_CLOSED)
        {
            return 0;
        }
    }

    return 1;
}


void
ngx_http_billing_redis_member_destroy(
    ngx_http_billing_redis_cluster_t *cluster,
    ngx_http_billing_redis_member_t *member)
{
    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, cluster->log, 0,
                   "billing redis cluster node \"%V\" is left",
                   &member->name.str);

    if (cluster->hint == member) {
        cluster->hint = NULL;
    }

    ngx_http_billing_redis_node_cancel(&member->probe);

    ngx_http_billing_redis_node_close(&member->node);

    if (!member->unnamed) {
        ngx_rbtree_delete(&cluster->names, &member->name.node);
    }

    ngx_queue_remove(&member->queue);
    cluster->nmembers--;
    cluster->sources[member->node.pool.shared.source] = NULL;

    ngx_destroy_pool(member->pool);
}


void
ngx_http_billing_redis_member_hold(ngx_http_billing_redis_member_t *member)
{
    member->refs++;
}


void
ngx_http_billing_redis_member_release(
    ngx_http_billing_redis_cluster_t *cluster,
    ngx_http_billing_redis_member_t *member)
{
    if (--member->refs == 0 && !member->listed) {
        ngx_post_event(&cluster->changed, &ngx_posted_events);
    }
}
