
#include "ngx_http_billing_redis_route.h"


/* milliseconds to wait for a server, at most */

#define NGX_HTTP_BILLING_REDIS_ROUTE_WAIT  1000


static void ngx_http_billing_redis_route_free(
    ngx_http_billing_redis_route_t *route);
static ngx_http_billing_redis_server_t *ngx_http_billing_redis_route_find(
    ngx_http_billing_redis_server_t **servers, ngx_uint_t n,
    ngx_http_billing_redis_peer_t *peer, ngx_str_t *password);


ngx_int_t
ngx_http_billing_redis_route_set(ngx_http_billing_redis_route_t *route,
    ngx_http_billing_redis_peer_t *peers, ngx_uint_t n, ngx_str_t *password,
    ngx_pool_t *pool, ngx_log_t *log)
{
    size_t                             size;
    ngx_str_t                         *secret;
    ngx_uint_t                         i, nservers;
    ngx_http_billing_redis_server_t   *server, **servers;

    size = (n ? n : 1) * sizeof(ngx_http_billing_redis_server_t *);

    servers = pool ? ngx_palloc(pool, size) : ngx_alloc(size, log);
    if (servers == NULL) {
        return NGX_ERROR;
    }

    nservers = 0;

    for (i = 0; i < n; i++) {
        secret = peers[i].password.len ? &peers[i].password : password;

        if (ngx_http_billing_redis_route_find(servers, nservers, &peers[i],
                                              secret))
        {
            continue;
        }

        server = ngx_http_billing_redis_route_find(route->servers,
                                                   route->nservers, &peers[i],
                                                   secret);
        if (server) {
            server->peer->replica = peers[i].replica;

        } else {
            server = ngx_http_billing_redis_server_create(&peers[i], secret,
                                                          pool, log);
        }

        if (server == NULL) {
            goto failed;
        }

        servers[nservers++] = server;
    }

    for (i = 0; i < route->nservers; i++) {
        route->servers[i]->listed = 0;
    }

    for (i = 0; i < nservers; i++) {
        servers[i]->listed = 1;
        servers[i]->place = i;
    }

    ngx_http_billing_redis_route_free(route);

    route->servers = servers;
    route->nservers = nservers;
    route->on_heap = (pool == NULL);

    return NGX_OK;

failed:

    /* a server that is not listed is new */

    while (nservers) {
        ngx_http_billing_redis_server_release(servers[--nservers]);
    }

    if (pool == NULL) {
        ngx_free(servers);
    }

    return NGX_ERROR;
}


void
ngx_http_billing_redis_route_clear(ngx_http_billing_redis_route_t *route)
{
    ngx_uint_t  i;

    for (i = 0; i < route->nservers; i++) {
        route->servers[i]->listed = 0;
    }

    ngx_http_billing_redis_route_free(route);

    route->servers = NULL;
    route->nservers = 0;
    route->on_heap = 0;
}


/* frees the list, and the servers that are in no list any more */

static void
ngx_http_billing_redis_route_free(ngx_http_billing_redis_route_t *route)
{
    ngx_uint_t  i;

    for (i = 0; i < route->nservers; i++) {
        ngx_http_billing_redis_server_release(route->servers[i]);
    }

    if (route->on_heap) {
        ngx_free(route->servers);
    }
}


static ngx_http_billing_redis_server_t *
ngx_http_billing_redis_route_find(ngx_http_billing_redis_server_t **servers,
    ngx_uint_t n, ngx_http_billing_redis_peer_t *peer, ngx_str_t *password)
{
    ngx_uint_t  i;

    for (i = 0; i < n; i++) {
        if (servers[i]->peer->port == peer->port
            && ngx_http_billing_redis_server_same(servers[i], peer, password))
        {
            return servers[i];
        }
    }

    return NULL;
}


ngx_uint_t
ngx_http_billing_redis_route_rank(ngx_http_billing_redis_route_t *route,
    ngx_http_billing_redis_server_t *server)
{
    if (!server->listed) {
        return 2 * route->nservers;
    }

    return server->place + (server->unloaded ? route->nservers : 0);
}


ngx_http_billing_redis_server_t *
ngx_http_billing_redis_route_first(ngx_http_billing_redis_route_t *route,
    ngx_http_billing_redis_server_t *used, ngx_msec_t *wait)
{
    ngx_msec_t                        left;
    ngx_uint_t                        i, unloaded;
    ngx_http_billing_redis_server_t  *server;

    if (used) {
        *wait = ngx_http_billing_redis_server_wait(used);
        return *wait ? NULL : used;
    }

    *wait = NGX_HTTP_BILLING_REDIS_ROUTE_WAIT;

    for (unloaded = 0; unloaded <= 1; unloaded++) {

        for (i = 0; i < route->nservers; i++) {
            server = route->servers[i];

            if (server->unloaded != unloaded) {
                continue;
            }

            /* a server without data is the last resort, and is used at once */

            left = server->failures
                   ? ngx_http_billing_redis_server_wait(server) : 0;

            if (left == 0) {
                *wait = 0;
                return server;
            }

            *wait = ngx_min(*wait, left);
        }
    }

    return NULL;
}


ngx_http_billing_redis_server_t *
ngx_http_billing_redis_route_better(ngx_http_billing_redis_route_t *route,
    ngx_http_billing_redis_server_t *used, ngx_msec_t *wait)
{
    ngx_uint_t                        i, rank;
    ngx_msec_t                        left;
    ngx_http_billing_redis_server_t  *server;

    *wait = NGX_TIMER_INFINITE;

    rank = ngx_http_billing_redis_route_rank(route, used);

    for (i = 0; i < route->nservers && i < rank; i++) {
        server = route->servers[i];

        left = ngx_http_billing_redis_server_wait(server);

        if (left == 0) {
            *wait = 0;
            return server;
        }

        *wait = ngx_min(*wait, left);
    }

    return NULL;
}


ngx_uint_t
ngx_http_billing_redis_route_other(ngx_http_billing_redis_route_t *route,
    ngx_http_billing_redis_server_t *server,
    ngx_http_billing_redis_server_t *used)
{
    ngx_uint_t                        i;
    ngx_http_billing_redis_server_t  *other;

    for (i = 0; i < route->nservers; i++) {
        other = route->servers[i];

        if (other != server && !other->unloaded
            && (other == used
                || ngx_http_billing_redis_server_wait(other) == 0))
        {
            return 1;
        }
    }

    return 0;
}
