
#include "ngx_http_billing_status_servers.h"
#include "ngx_http_billing_status_label.h"
#include "ngx_http_billing_cache.h"


/* servers that a worker publishes, at most */

#define NGX_HTTP_BILLING_STATUS_SERVERS           32

/* milliseconds after which a worker publishes its servers again */

#define NGX_HTTP_BILLING_STATUS_SERVERS_INTERVAL  1000

/* how often a page tries to read servers that are being written */

#define NGX_HTTP_BILLING_STATUS_SERVERS_TRIES     100

/* memory pages for the slab allocator's own data */

#define NGX_HTTP_BILLING_STATUS_SERVERS_PAGES     64


static ngx_int_t ngx_http_billing_status_servers_init_zone(
    ngx_shm_zone_t *shm_zone, void *data);
static void ngx_http_billing_status_servers_write(
    ngx_http_billing_status_servers_t *servers, ngx_uint_t n);
static void ngx_http_billing_status_servers_handler(ngx_event_t *ev);
static void ngx_http_billing_status_servers_refresh(
    ngx_http_billing_status_servers_t *servers);
static ngx_http_billing_status_server_t *ngx_http_billing_status_servers_find(
    ngx_http_billing_status_server_t *server, ngx_uint_t n, u_char *name,
    size_t len);
static ngx_int_t ngx_http_billing_status_servers_add(ngx_array_t *sum,
    ngx_http_billing_status_worker_t *worker,
    ngx_http_billing_status_server_t *servers);


ngx_int_t
ngx_http_billing_status_servers_init(ngx_conf_t *cf,
    ngx_http_billing_status_servers_t *servers, ngx_array_t *sets, void *tag)
{
    size_t           size;
    ngx_str_t        name = ngx_string("ngx_http_billing_servers");
    ngx_shm_zone_t  *shm_zone;

    servers->sets = sets;

    servers->now = ngx_palloc(cf->pool, NGX_HTTP_BILLING_STATUS_SERVERS
                                 * sizeof(ngx_http_billing_status_server_t));
    if (servers->now == NULL) {
        return NGX_ERROR;
    }

    size = NGX_MAX_PROCESSES
           * (sizeof(ngx_http_billing_status_worker_t)
              + NGX_HTTP_BILLING_STATUS_SERVERS
                * sizeof(ngx_http_billing_status_server_t))
           + NGX_HTTP_BILLING_STATUS_SERVERS_PAGES * ngx_pagesize;

    shm_zone = ngx_shared_memory_add(cf, &name, size, tag);
    if (shm_zone == NULL) {
        return NGX_ERROR;
    }

    shm_zone->init = ngx_http_billing_status_servers_init_zone;
    shm_zone->data = servers;

    return NGX_OK;
}


/* the memory of processes that never run is not touched, and so takes none */

static ngx_int_t
ngx_http_billing_status_servers_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_http_billing_status_servers_t *old = data;

    ngx_slab_pool_t                    *shpool;
    ngx_http_billing_status_servers_t  *servers;

    servers = shm_zone->data;

    if (old) {
        servers->workers = old->workers;
        servers->servers = old->servers;

        return NGX_OK;
    }

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    servers->workers = ngx_slab_calloc(shpool, NGX_MAX_PROCESSES
                                    * sizeof(ngx_http_billing_status_worker_t));

    servers->servers = ngx_slab_alloc(shpool, NGX_MAX_PROCESSES
                                   * NGX_HTTP_BILLING_STATUS_SERVERS
                                   * sizeof(ngx_http_billing_status_server_t));

    if (servers->workers == NULL || servers->servers == NULL) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


void
ngx_http_billing_status_servers_attach(
    ngx_http_billing_status_servers_t *servers)
{
    /* the processes that look after nginx's caches ask no server */

    if (servers->workers == NULL || ngx_process == NGX_PROCESS_HELPER) {
        return;
    }

    ngx_http_billing_status_servers_write(servers, 0);

    servers->refresh.handler = ngx_http_billing_status_servers_handler;
    servers->refresh.data = servers;
    servers->refresh.log = ngx_cycle->log;
    servers->refresh.cancelable = 1;

    ngx_add_timer(&servers->refresh, NGX_HTTP_BILLING_STATUS_SERVERS_INTERVAL);
}


void
ngx_http_billing_status_servers_detach(
    ngx_http_billing_status_servers_t *servers)
{
    if (!servers->refresh.timer_set) {
        return;
    }

    ngx_del_timer(&servers->refresh);

    ngx_http_billing_status_servers_write(servers, 0);
}


static void
ngx_http_billing_status_servers_handler(ngx_event_t *ev)
{
    ngx_http_billing_status_servers_refresh(ev->data);

    ngx_add_timer(ev, NGX_HTTP_BILLING_STATUS_SERVERS_INTERVAL);
}


/* publishes the first n servers of the process's own copy */

static void
ngx_http_billing_status_servers_write(
    ngx_http_billing_status_servers_t *servers, ngx_uint_t n)
{
    ngx_http_billing_status_server_t  *server;
    ngx_http_billing_status_worker_t  *worker;

    worker = &servers->workers[ngx_process_slot];
    server = servers->servers
             + ngx_process_slot * NGX_HTTP_BILLING_STATUS_SERVERS;

    /* the process before may have crashed while it was writing */

    worker->version |= 1;

    ngx_memory_barrier();

    worker->nservers = n;
    ngx_memcpy(server, servers->now,
               n * sizeof(ngx_http_billing_status_server_t));

    ngx_memory_barrier();

    worker->version++;
}


static void
ngx_http_billing_status_servers_refresh(
    ngx_http_billing_status_servers_t *servers)
{
    size_t                              len;
    ngx_uint_t                          i, k, n;
    ngx_http_billing_cache_set_t      **set;
    ngx_http_billing_redis_state_t      state;
    ngx_http_billing_status_server_t   *server;
    u_char                        name[NGX_HTTP_BILLING_STATUS_SERVER_NAME];

    n = 0;
    set = servers->sets->elts;

    for (i = 0; i < servers->sets->nelts; i++) {

        for (k = 0;
             ngx_http_billing_redis_state(set[i]->redis, k, &state) == NGX_OK;
             k++)
        {
            len = ngx_http_billing_status_server_write(name,
                                                       name + sizeof(name),
                                                       state.peer);

            /* two sets may have the same server */

            server = ngx_http_billing_status_servers_find(servers->now, n,
                                                          name, len);

            if (server == NULL) {

                if (n == NGX_HTTP_BILLING_STATUS_SERVERS) {
                    break;
                }

                server = &servers->now[n++];

                ngx_memzero(server, sizeof(ngx_http_billing_status_server_t));

                server->len = len;
                ngx_memcpy(server->name, name, len);
            }

            server->used |= state.used;
            server->failing |= state.failing;
            server->unloaded |= state.unloaded;
        }
    }

    ngx_http_billing_status_servers_write(servers, n);
}


static ngx_http_billing_status_server_t *
ngx_http_billing_status_servers_find(ngx_http_billing_status_server_t *server,
    ngx_uint_t n, u_char *name, size_t len)
{
    ngx_uint_t  i;

    for (i = 0; i < n; i++) {
        if (server[i].len == len && ngx_memcmp(server[i].name, name, len) == 0)
        {
            return &server[i];
        }
    }

    return NULL;
}


ngx_array_t *
ngx_http_billing_status_servers_sum(ngx_http_billing_status_servers_t *servers,
    ngx_pool_t *pool, ngx_uint_t n)
{
    ngx_uint_t    i;
    ngx_array_t  *sum;

    sum = ngx_array_create(pool, 2, sizeof(ngx_http_billing_status_server_t));
    if (sum == NULL) {
        return NULL;
    }

    ngx_http_billing_status_servers_refresh(servers);

    for (i = 0; i < n; i++) {
        if (ngx_http_billing_status_servers_add(sum, &servers->workers[i],
                        servers->servers + i * NGX_HTTP_BILLING_STATUS_SERVERS)
            != NGX_OK)
        {
            return NULL;
        }
    }

    return sum;
}


static ngx_int_t
ngx_http_billing_status_servers_add(ngx_array_t *sum,
    ngx_http_billing_status_worker_t *worker,
    ngx_http_billing_status_server_t *servers)
{
    ngx_uint_t                         i, n, tries;
    ngx_atomic_uint_t                  version;
    ngx_http_billing_status_server_t  *server;
    ngx_http_billing_status_server_t   copy[NGX_HTTP_BILLING_STATUS_SERVERS];

    tries = NGX_HTTP_BILLING_STATUS_SERVERS_TRIES;

    do {
        if (tries-- == 0) {
            return NGX_OK;
        }

        version = worker->version;

        ngx_memory_barrier();

        n = worker->nservers;
        ngx_memcpy(copy, servers, n * sizeof(ngx_http_billing_status_server_t));

        ngx_memory_barrier();

    } while ((version & 1) || version != worker->version);

    for (i = 0; i < n; i++) {

        server = ngx_http_billing_status_servers_find(sum->elts, sum->nelts,
                                                      copy[i].name,
                                                      copy[i].len);

        if (server == NULL) {
            server = ngx_array_push(sum);
            if (server == NULL) {
                return NGX_ERROR;
            }

            *server = copy[i];
            continue;
        }

        server->used += copy[i].used;
        server->failing += copy[i].failing;
        server->unloaded += copy[i].unloaded;
    }

    return NGX_OK;
}
