
#include "ngx_http_billing_status_clients.h"


/* memory pages for the slab allocator's own data */

#define NGX_HTTP_BILLING_STATUS_CLIENTS_PAGES  8


static size_t ngx_http_billing_status_clients_size(
    ngx_http_billing_status_clients_t *clients);
static ngx_int_t ngx_http_billing_status_clients_init_zone(
    ngx_shm_zone_t *shm_zone, void *data);
static ngx_http_billing_status_client_t *ngx_http_billing_status_clients_find(
    ngx_http_billing_status_clients_t *clients, ngx_str_t *name,
    ngx_uint_t *slot);
static ngx_http_billing_status_client_t *ngx_http_billing_status_clients_add(
    ngx_http_billing_status_clients_t *clients, ngx_str_t *name);


static ngx_str_t  ngx_http_billing_status_clients_zone_name =
    ngx_string("ngx_http_billing_clients");


ngx_int_t
ngx_http_billing_status_clients_init(ngx_conf_t *cf,
    ngx_http_billing_status_clients_t *clients, void *tag)
{
    size_t           size;
    ngx_shm_zone_t  *shm_zone;

    if (clients->max == 0) {
        return NGX_OK;
    }

    /* at least half of the places stay free, so a search ends soon */

    for (clients->nslots = 2; clients->nslots < 2 * clients->max; /* void */ ) {
        clients->nslots *= 2;
    }

    /* not rounded: nginx takes over a zone of the same size on a reload */

    size = ngx_http_billing_status_clients_size(clients)
           + NGX_HTTP_BILLING_STATUS_CLIENTS_PAGES * ngx_pagesize;

    shm_zone = ngx_shared_memory_add(cf,
                                     &ngx_http_billing_status_clients_zone_name,
                                     size, tag);
    if (shm_zone == NULL) {
        return NGX_ERROR;
    }

    shm_zone->init = ngx_http_billing_status_clients_init_zone;
    shm_zone->data = clients;

    return NGX_OK;
}


static size_t
ngx_http_billing_status_clients_size(ngx_http_billing_status_clients_t *clients)
{
    return sizeof(ngx_http_billing_status_client_table_t)
           + clients->max * sizeof(ngx_http_billing_status_client_t)
           + clients->nslots * sizeof(ngx_atomic_t);
}


static ngx_int_t
ngx_http_billing_status_clients_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_http_billing_status_clients_t *old = data;

    ngx_http_billing_status_clients_t  *clients;

    clients = shm_zone->data;

    if (old) {
        clients->table = old->table;
        clients->clients = old->clients;
        clients->index = old->index;
        clients->shpool = old->shpool;

        return NGX_OK;
    }

    clients->shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    clients->table = ngx_slab_calloc(clients->shpool,
                                 ngx_http_billing_status_clients_size(clients));
    if (clients->table == NULL) {
        return NGX_ERROR;
    }

    clients->clients = (ngx_http_billing_status_client_t *)
                       (clients->table + 1);
    clients->index = (ngx_atomic_t *) (clients->clients + clients->max);

    return NGX_OK;
}


void
ngx_http_billing_status_clients_count(
    ngx_http_billing_status_clients_t *clients, ngx_str_t *name)
{
    ngx_uint_t                         slot;
    ngx_http_billing_status_client_t  *client;

    /* the page shows the rest under this name */

    if (name->len == 5 && ngx_strncmp(name->data, "other", 5) == 0) {
        (void) ngx_atomic_fetch_add(&clients->table->other, 1);
        return;
    }

    client = ngx_http_billing_status_clients_find(clients, name, &slot);

    if (client == NULL && clients->table->nclients < clients->max) {
        client = ngx_http_billing_status_clients_add(clients, name);
    }

    (void) ngx_atomic_fetch_add(client ? &client->requests
                                       : &clients->table->other, 1);
}


/* if the name is not found, slot is the place for it */

static ngx_http_billing_status_client_t *
ngx_http_billing_status_clients_find(ngx_http_billing_status_clients_t *clients,
    ngx_str_t *name, ngx_uint_t *slot)
{
    ngx_uint_t                         i, n;
    ngx_http_billing_status_client_t  *client;

    i = ngx_crc32_short(name->data, name->len) & (clients->nslots - 1);

    for ( ;; ) {
        n = clients->index[i];

        if (n == 0) {
            *slot = i;
            return NULL;
        }

        client = &clients->clients[n - 1];

        if (client->len == name->len
            && ngx_memcmp(client->name, name->data, name->len) == 0)
        {
            return client;
        }

        i = (i + 1) & (clients->nslots - 1);
    }
}


/* returns NULL if the table is full */

static ngx_http_billing_status_client_t *
ngx_http_billing_status_clients_add(ngx_http_billing_status_clients_t *clients,
    ngx_str_t *name)
{
    ngx_uint_t                         n, slot;
    ngx_http_billing_status_client_t  *client;

    ngx_shmtx_lock(&clients->shpool->mutex);

    /* another process may have been faster */

    client = ngx_http_billing_status_clients_find(clients, name, &slot);
    n = clients->table->nclients;

    if (client == NULL && n < clients->max) {
        client = &clients->clients[n];

        client->len = name->len;
        ngx_memcpy(client->name, name->data, name->len);

        /* whoever finds the number finds the whole name */

        ngx_memory_barrier();

        clients->table->nclients = n + 1;
        clients->index[slot] = n + 1;
    }

    ngx_shmtx_unlock(&clients->shpool->mutex);

    return client;
}
