
#include "ngx_http_billing_redis_route.h"


/* milliseconds to wait for a server, at most */

#define NGX_HTTP_BILLING_REDIS_ROUTE_WAIT  1000


ngx_uint_t
ngx_http_billing_redis_route_rank(ngx_http_billing_redis_route_t *route,
    ngx_http_billing_redis_server_t *server)
{
    return (server - route->servers)
           + (server->unloaded ? route->nservers : 0);
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
            server = &route->servers[i];

            if (server->unloaded != unloaded) {
                continue;
            }

            /* a server without data that answers is the last resort */

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
        server = &route->servers[i];

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
        other = &route->servers[i];

        if (other != server && !other->unloaded
            && (other == used
                || ngx_http_billing_redis_server_wait(other) == 0))
        {
            return 1;
        }
    }

    return 0;
}


ngx_http_billing_redis_server_t *
ngx_http_billing_redis_route_find(ngx_http_billing_redis_route_t *route,
    ngx_str_t *name)
{
    ngx_uint_t  i;

    for (i = 0; i < route->nservers; i++) {
        if (&route->servers[i].peer->name == name) {
            return &route->servers[i];
        }
    }

    return NULL;
}
