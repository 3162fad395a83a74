
/*
 * The contents of the status page, and its three formats.
 */


#ifndef _NGX_HTTP_BILLING_STATUS_PAGE_H_INCLUDED_
#define _NGX_HTTP_BILLING_STATUS_PAGE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_billing_status.h"


typedef struct {
    const char                   *name;
    const char                   *help;

    /* the offset in ngx_http_billing_slot_t */
    size_t                        offset;
} ngx_http_billing_metric_t;


/* a cache, as its server described it for the page */

typedef struct {
    ngx_http_billing_source_t    *source;

    /* the last sync: its time in seconds since 1970, its age in seconds */
    int64_t                       synced_at;
    int64_t                       synced_age;

    /* the server has answered; synced_at was found */
    unsigned                      up:1;
    unsigned                      synced:1;
} ngx_http_billing_page_cache_t;


typedef struct {
    ngx_pool_t                     *pool;

    ngx_http_billing_slot_t         sum;
    time_t                          started;

    /* ngx_http_billing_status_server_t, of all workers */
    ngx_array_t                    *servers;

    /* NULL: clients are not counted */
    ngx_http_billing_status_clients_t  *clients;
    ngx_uint_t                      nclients;

    ngx_http_billing_page_cache_t  *caches;
    ngx_uint_t                      ncaches;
} ngx_http_billing_page_t;


/* The arrays end with an element without a name. */
extern const ngx_http_billing_metric_t  ngx_http_billing_page_counters[];
extern const ngx_http_billing_metric_t  ngx_http_billing_page_gauges[];
extern const ngx_http_billing_metric_t  ngx_http_billing_page_histograms[];


/* The Content-Security-Policy of the page in HTML. */
extern ngx_str_t  ngx_http_billing_page_policy;


/*
 * These give the page as Prometheus' text format 0.0.4, as JSON, and as HTML
 * that fetches the JSON and so needs none of the contents.  They return NULL if
 * there is no memory in the pool.
 */
ngx_chain_t *ngx_http_billing_page_text(ngx_http_billing_page_t *page,
    off_t *size);
ngx_chain_t *ngx_http_billing_page_json(ngx_http_billing_page_t *page,
    off_t *size);
ngx_chain_t *ngx_http_billing_page_html(ngx_http_billing_page_t *page,
    off_t *size);


#endif /* _NGX_HTTP_BILLING_STATUS_PAGE_H_INCLUDED_ */
