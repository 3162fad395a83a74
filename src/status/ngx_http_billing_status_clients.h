
/*
 * Requests by the name of their client, in a zone of shared memory of its own:
 * the number of names may change without the loss of other counters.
 */


#ifndef _NGX_HTTP_BILLING_STATUS_CLIENTS_H_INCLUDED_
#define _NGX_HTTP_BILLING_STATUS_CLIENTS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* bytes of a client's name that are kept: the rest is cut off */

#define NGX_HTTP_BILLING_CLIENT_NAME  255


typedef struct {
    ngx_atomic_t                          requests;

    /* the name does not change any more */
    size_t                                len;
    u_char                                name[NGX_HTTP_BILLING_CLIENT_NAME];
} ngx_http_billing_status_client_t;


/* in shared memory; the clients and their index follow */

typedef struct {
    /* how many names are in the table; none is ever removed */
    ngx_atomic_t                          nclients;

    /* requests of clients whose names found no place */
    ngx_atomic_t                          other;
} ngx_http_billing_status_client_table_t;


typedef struct {
    /* how many names the table holds at most; 0: clients are not counted */
    ngx_uint_t                            max;

    ngx_http_billing_status_client_table_t  *table;
    ngx_http_billing_status_client_t     *clients;

    /*
     * A hash table with open addressing and nslots places, a power of two:
     * the number of a client, from 1; 0: the place is free.
     */
    ngx_atomic_t                         *index;
    ngx_uint_t                            nslots;

    /* names are added under its lock, and found without a lock */
    ngx_slab_pool_t                      *shpool;
} ngx_http_billing_status_clients_t;


/* Adds the zone, with its module's tag, at the end of the configuration. */
ngx_int_t ngx_http_billing_status_clients_init(ngx_conf_t *cf,
    ngx_http_billing_status_clients_t *clients, void *tag);

/* Counts a request of the client with this name, which is in UTF-8. */
void ngx_http_billing_status_clients_count(
    ngx_http_billing_status_clients_t *clients, ngx_str_t *name);


#endif /* _NGX_HTTP_BILLING_STATUS_CLIENTS_H_INCLUDED_ */
