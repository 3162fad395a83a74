
#include "ngx_http_billing_redis_cluster.h"
#include "ngx_http_billing_redis_error.h"


static void ngx_http_billing_redis_topology_value(
    ngx_http_billing_redis_reading_t *reading,
    ngx_http_billing_redis_reply_t *reply);
static void ngx_http_billing_redis_topology_field(
    ngx_http_billing_redis_reading_t *reading,
    ngx_http_billing_redis_reply_t *reply);
static void ngx_http_billing_redis_topology_metadata(
    ngx_http_billing_redis_reading_t *reading,
    ngx_http_billing_redis_reply_t *reply);
static void ngx_http_billing_redis_topology_node(
    ngx_http_billing_redis_cluster_t *cluster);
static void ngx_http_billing_redis_topology_unknown(
    ngx_http_billing_redis_cluster_t *cluster, ngx_str_t *host);
static void ngx_http_billing_redis_topology_master(
    ngx_http_billing_redis_reading_t *reading,
    ngx_http_billing_redis_member_t *member);


/*
 * The reply is an array of ranges: the first slot, the last one, the master,
 * its replicas.  A node is an array: the host, the port, an id, and, by newer
 * servers, pairs of which "ip" is one.  The host may be a name, nil or empty.
 */

void
ngx_http_billing_redis_topology_item(void *data,
    ngx_http_billing_redis_reply_t *reply)
{
    ngx_http_billing_redis_cluster_t *cluster = data;

    ngx_uint_t                         nested;
    ngx_http_billing_redis_reading_t  *reading;

    reading = &cluster->reading;

    if (reading->wrong) {
        return;
    }

    nested = (reply->type == NGX_HTTP_BILLING_REDIS_ARRAY
              || reply->type == NGX_HTTP_BILLING_REDIS_MAP);

    switch (reply->level) {

    case 1:
        ngx_http_billing_redis_topology_node(cluster);

        reading->nvalues = 0;
        reading->nnodes = 0;
        reading->shard = 0;
        reading->wrong = !nested;
        return;

    case 2:
        ngx_http_billing_redis_topology_node(cluster);

        if (nested && reading->nvalues >= 2) {
            reading->in_node = 1;
            reading->nfields = 0;
            reading->host_len = 0;
            reading->ip_len = 0;
            reading->port = 0;
            return;
        }

        ngx_http_billing_redis_topology_value(reading, reply);
        return;

    case 3:
        ngx_http_billing_redis_topology_field(reading, reply);
        return;

    case 4:
        ngx_http_billing_redis_topology_metadata(reading, reply);
        return;

    default:
        return;
    }
}


static void
ngx_http_billing_redis_topology_value(
    ngx_http_billing_redis_reading_t *reading,
    ngx_http_billing_redis_reply_t *reply)
{
    ngx_int_t  n;

    n = (reply->type == NGX_HTTP_BILLING_REDIS_INTEGER)
        ? ngx_atoi(reply->text.data, reply->text.len) : NGX_ERROR;

    if (n == NGX_ERROR || n >= NGX_HTTP_BILLING_REDIS_SLOTS) {
        reading->wrong = 1;
        return;
    }

    if (reading->nvalues++ == 0) {
        reading->first = n;
    }

    reading->last = n;

    if (reading->nvalues > 2) {
        reading->wrong = 1;
    }
}


static void
ngx_http_billing_redis_topology_field(
    ngx_http_billing_redis_reading_t *reading,
    ngx_http_billing_redis_reply_t *reply)
{
    ngx_int_t  n;

    switch (reading->nfields++) {

    case 0:

        if (reply->type == NGX_HTTP_BILLING_REDIS_STRING) {
            ngx_memcpy(reading->host, reply->text.data, reply->text.len);
            reading->host_len = reply->text.len;

        } else if (reply->type != NGX_HTTP_BILLING_REDIS_NIL) {
            reading->wrong = 1;
        }

        break;

    case 1:
        n = (reply->type == NGX_HTTP_BILLING_REDIS_INTEGER)
            ? ngx_atoi(reply->text.data, reply->text.len) : NGX_ERROR;

        if (n == NGX_ERROR || n > 65535) {
            reading->wrong = 1;
            break;
        }

        reading->port = (in_port_t) n;
        break;

    default:
        break;
    }

    reading->ip_next = 0;
}


static void
ngx_http_billing_redis_topology_metadata(
    ngx_http_billing_redis_reading_t *reading,
    ngx_http_billing_redis_reply_t *reply)
{
    if (reading->ip_next) {
        reading->ip_next = 0;

        if (reply->type == NGX_HTTP_BILLING_REDIS_STRING
            && reply->text.len <= sizeof(reading->ip))
        {
            ngx_memcpy(reading->ip, reply->text.data, reply->text.len);
            reading->ip_len = reply->text.len;
        }

        return;
    }

    reading->ip_next = (reply->type == NGX_HTTP_BILLING_REDIS_STRING
                        && reply->text.len == 2
                        && ngx_strncmp(reply->text.data, "ip", 2) == 0);
}


void
ngx_http_billing_redis_topology_end(ngx_http_billing_redis_cluster_t *cluster)
{
    if (!cluster->reading.wrong) {
        ngx_http_billing_redis_topology_node(cluster);
    }
}


/* all of a node was read; the first one of a range is the master */

static void
ngx_http_billing_redis_topology_node(
    ngx_http_billing_redis_cluster_t *cluster)
{
    ngx_str_t                          host, ip;
    ngx_http_billing_redis_shard_t    *shard;
    ngx_http_billing_redis_member_t   *member;
    ngx_http_billing_redis_server_t   *server;
    ngx_http_billing_redis_reading_t  *reading;

    reading = &cluster->reading;

    if (!reading->in_node) {
        return;
    }

    reading->in_node = 0;

    /* the ranges of a master have the same replicas */

    if (reading->nnodes++ == 0) {
        reading->skips_replicas = 1;

    } else if (reading->skips_replicas
               || reading->nnodes > NGX_HTTP_BILLING_REDIS_REPLICAS + 1)
    {
        return;
    }

    if (reading->port == 0) {
        return;
    }

    host.data = reading->host;
    host.len = reading->host_len;
    ip.data = reading->ip;
    ip.len = reading->ip_len;

    server = cluster->pipeline.pending->conn->server;

    member = ngx_http_billing_redis_member(cluster, server, &host, &ip,
                                           reading->port);
    if (member == NULL) {
        ngx_http_billing_redis_topology_unknown(cluster, &host);
        return;
    }

    if (reading->nnodes == 1) {
        ngx_http_billing_redis_topology_master(reading, member);
        return;
    }

    shard = &reading->map->shards[reading->shard - 1];
    shard->replicas[shard->nreplicas++] = member;
}


/* a line for each change of state, and not for each reading */

static void
ngx_http_billing_redis_topology_unknown(
    ngx_http_billing_redis_cluster_t *cluster, ngx_str_t *host)
{
    ngx_http_billing_redis_reading_t  *reading;

    reading = &cluster->reading;

    if (reading->bounded || !ngx_http_billing_redis_error_is_word(host)) {
        return;
    }

    reading->addressless = 1;

    if (cluster->addressless) {
        return;
    }

    cluster->addressless = 1;

    ngx_log_error(NGX_LOG_ERR, cluster->log, 0,
                  "redis cluster announces node \"%V:%d\" without an address, "
                  "the node is not used", host, (int) reading->port);
}


static void
ngx_http_billing_redis_topology_master(
    ngx_http_billing_redis_reading_t *reading,
    ngx_http_billing_redis_member_t *member)
{
    ngx_uint_t                     i;
    ngx_http_billing_redis_map_t  *map;

    map = reading->map;

    i = member->shard;

    if (i >= map->nshards || map->shards[i].master != member) {

        if (map->nshards == NGX_HTTP_BILLING_REDIS_MEMBERS) {
            reading->bounded = 1;
            return;
        }

        i = map->nshards++;
        reading->skips_replicas = 0;
        member->shard = i;
        map->shards[i].master = member;
    }

    reading->shard = i + 1;

    for (i = reading->first; i <= reading->last; i++) {

        if (map->slots[i] == 0) {
            map->covered++;
        }

        map->slots[i] = (uint16_t) reading->shard;
    }
}
