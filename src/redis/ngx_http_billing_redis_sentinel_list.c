
#include "ngx_http_billing_redis_sentinel.h"


static ngx_http_billing_redis_name_t *ngx_http_billing_redis_sentinel_host(
    ngx_http_billing_redis_sentinel_t *sentinel,
    ngx_http_billing_redis_named_t *server);
static void ngx_http_billing_redis_sentinel_changed(void *data);
static u_char *ngx_http_billing_redis_sentinel_peer(
    ngx_http_billing_redis_sentinel_t *sentinel, u_char *p,
    ngx_http_billing_redis_named_t *server,
    ngx_http_billing_redis_peer_t *peer);


ngx_int_t
ngx_http_billing_redis_sentinel_sentinels(
    ngx_http_billing_redis_sentinel_t *sentinel)
{
    ngx_int_t                         rc;
    ngx_str_t                         password;
    ngx_uint_t                        i, n;
    ngx_http_billing_redis_peer_t    *peers;
    ngx_http_billing_redis_server_t  *server;

    ngx_str_null(&password);

    peers = ngx_http_billing_redis_name_peers(sentinel->names,
                                            sentinel->pool->shared.conf.peers,
                                            &n, sentinel->log);
    if (peers == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_http_billing_redis_route_set(&sentinel->route, peers, n,
                                          &password, NULL, sentinel->log);
    ngx_free(peers);

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    for (i = 0; i < sentinel->route.nservers; i++) {
        sentinel->route.servers[i]->kind = "sentinel";
    }

    server = sentinel->control.server;

    if (server && !server->listed) {
        ngx_http_billing_redis_control_close(&sentinel->control);
    }

    return NGX_OK;
}


void
ngx_http_billing_redis_sentinel_hosts(
    ngx_http_billing_redis_sentinel_t *sentinel)
{
    ngx_uint_t                        i, n;
    ngx_http_billing_redis_name_t    *hosts[
                                      NGX_HTTP_BILLING_REDIS_SENTINEL_SERVERS];
    ngx_http_billing_redis_answer_t  *answer;

    answer = &sentinel->control.reader.answer;
    n = answer->nservers;

    sentinel->host_missing = 0;

    for (i = 0; i < n; i++) {
        hosts[i] = ngx_http_billing_redis_sentinel_host(sentinel,
                                                        &answer->servers[i]);
    }

    ngx_http_billing_redis_sentinel_free(sentinel);

    ngx_memcpy(sentinel->hosts, hosts, n * sizeof(hosts[0]));

    sentinel->answer = *answer;
    sentinel->servers_changed = 1;

    for (i = 0; i < n; i++) {
        if (hosts[i]) {
            ngx_http_billing_redis_name_ask(hosts[i]);
        }
    }
}


/* returns NULL if the host is an address, or cannot be resolved */

static ngx_http_billing_redis_name_t *
ngx_http_billing_redis_sentinel_host(
    ngx_http_billing_redis_sentinel_t *sentinel,
    ngx_http_billing_redis_named_t *server)
{
    ngx_str_t                        host;
    ngx_uint_t                       i;
    ngx_http_billing_redis_conf_t   *conf;
    ngx_http_billing_redis_name_t   *name;
    ngx_http_billing_redis_named_t  *last;

    host.data = server->host;
    host.len = ngx_strlen(server->host);

    if (ngx_http_billing_redis_name_is_address(&host)) {
        return NULL;
    }

    for (i = 0; i < sentinel->answer.nservers; i++) {
        last = &sentinel->answer.servers[i];
        name = sentinel->hosts[i];

        if (name && last->port == server->port
            && ngx_strcmp(last->host, server->host) == 0)
        {
            sentinel->hosts[i] = NULL;
            return name;
        }
    }

    conf = &sentinel->pool->shared.conf;

    if (conf->resolver == NULL) {

        if (!sentinel->unresolved) {
            sentinel->unresolved = 1;

            ngx_log_error(NGX_LOG_ERR, sentinel->log, 0,
                          "redis sentinel names a host, \"%s\", and there is "
                          "no \"resolver\" to resolve the name",
                          server->host);
        }

        return NULL;
    }

    name = ngx_calloc(sizeof(ngx_http_billing_redis_name_t)
                      + sizeof(server->host), sentinel->log);
    if (name == NULL) {
        sentinel->host_missing = 1;
        return NULL;
    }

    name->host.data = (u_char *) name + sizeof(ngx_http_billing_redis_name_t);
    name->host.len = host.len;
    ngx_memcpy(name->host.data, host.data, host.len);

    name->port = server->port;
    name->resolver = conf->resolver;
    name->timeout = conf->resolver_timeout;
    name->log = sentinel->log;
    name->changed = ngx_http_billing_redis_sentinel_changed;
    name->data = sentinel;

    return name;
}


static void
ngx_http_billing_redis_sentinel_changed(void *data)
{
    ngx_http_billing_redis_sentinel_t *sentinel = data;

    sentinel->servers_changed = 1;

    ngx_post_event(&sentinel->posted, &ngx_posted_events);
}


void
ngx_http_billing_redis_sentinel_free(
    ngx_http_billing_redis_sentinel_t *sentinel)
{
    ngx_uint_t  i;

    for (i = 0; i < sentinel->answer.nservers; i++) {
        if (sentinel->hosts[i]) {
            ngx_http_billing_redis_name_close(sentinel->hosts[i]);
            ngx_free(sentinel->hosts[i]);
            sentinel->hosts[i] = NULL;
        }
    }
}


ngx_int_t
ngx_http_billing_redis_sentinel_servers(
    ngx_http_billing_redis_sentinel_t *sentinel)
{
    u_char                           *p;
    ngx_int_t                         rc;
    ngx_uint_t                        i, k, n;
    ngx_http_billing_redis_name_t    *name;
    ngx_http_billing_redis_peer_t    *peers, peer;
    ngx_http_billing_redis_answer_t  *answer;

    answer = &sentinel->answer;
    n = 0;

    for (i = 0; i < answer->nservers; i++) {
        n += sentinel->hosts[i] ? sentinel->hosts[i]->naddrs : 1;
    }

    peers = ngx_alloc((n + 1) * sizeof(ngx_http_billing_redis_peer_t)
                      + answer->nservers
                        * (NGX_HTTP_BILLING_REDIS_SENTINEL_HOST
                           + sizeof("[]:65535")),
                      sentinel->log);
    if (peers == NULL) {
        return NGX_ERROR;
    }

    p = (u_char *) &peers[n + 1];
    n = 0;

    for (i = 0; i < answer->nservers; i++) {
        p = ngx_http_billing_redis_sentinel_peer(sentinel, p,
                                                 &answer->servers[i], &peer);
        peer.replica = (i > 0);
        name = sentinel->hosts[i];

        if (name) {

            for (k = 0; k < name->naddrs; k++) {
                peers[n] = peer;
                ngx_http_billing_redis_name_peer(name, k, &peers[n++]);
            }

        } else if (ngx_http_billing_redis_name_is_address(&peer.host)) {
            peers[n++] = peer;
        }
    }

    rc = ngx_http_billing_redis_pool_servers(sentinel->pool, peers, n);

    ngx_free(peers);

    return rc;
}


/* the URL's user, password and database are those of the servers */

static u_char *
ngx_http_billing_redis_sentinel_peer(
    ngx_http_billing_redis_sentinel_t *sentinel, u_char *p,
    ngx_http_billing_redis_named_t *server,
    ngx_http_billing_redis_peer_t *peer)
{
    *peer = *(ngx_http_billing_redis_peer_t *)
                                       sentinel->pool->shared.conf.peers->elts;
    peer->resolve = 0;
    peer->port = server->port;

    peer->host.data = server->host;
    peer->host.len = ngx_strlen(server->host);

    if (peer->ssl_name.len) {
        peer->ssl_name = peer->host;
    }

    peer->name.data = p;

    p = ngx_sprintf(p, ngx_strchr(server->host, ':') ? "[%s]:%d" : "%s:%d",
                    server->host, (int) server->port);

    peer->name.len = p - peer->name.data;

    return p;
}
