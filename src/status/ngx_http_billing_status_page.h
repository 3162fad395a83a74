
/*
 * The status page, which status_page.c gathers and sends, and for which there
 * are two formats: status_text.c and status_json.c.
 */


#ifndef _NGX_HTTP_BILLING_STATUS_PAGE_H_INCLUDED_
#define _NGX_HTTP_BILLING_STATUS_PAGE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_billing_cache.h"
#include "ngx_http_billing_status.h"


typedef struct {
    const char                   *name;
    const char                   *help;

    /* in ngx_http_billing_counters_t */
    size_t                        offset;
} ngx_http_billing_metric_t;


typedef struct ngx_http_billing_page_s  ngx_http_billing_page_t;


/* of one cache: is it there, and when was it loaded */

typedef struct {
    ngx_http_billing_page_t      *page;
    ngx_http_billing_source_t    *source;
    ngx_http_billing_cache_t      cache;
    ngx_http_billing_lookup_t    *lookup;

    unsigned                      up:1;
    unsigned                      synced:1;
    int64_t                       synced_at;
    int64_t                       synced_age;
} ngx_http_billing_probe_t;


struct ngx_http_billing_page_s {
    ngx_http_request_t           *request;

    ngx_http_billing_counters_t   counters;
    ngx_uint_t                    requests_waiting;

    ngx_http_billing_probe_t     *probes;
    ngx_uint_t                    nprobes;

    /* probes that were not answered yet, and the end of the patience */
    ngx_uint_t                    waiting;
    ngx_event_t                   timer;
};


/* Both end in an element without a name. */
extern const ngx_http_billing_metric_t  ngx_http_billing_page_counters[];
extern const ngx_http_billing_metric_t  ngx_http_billing_page_histograms[];


/*
 * Prometheus' text format 0.0.4 and JSON, in the request's pool.  NULL for
 * want of memory.
 */
ngx_chain_t *ngx_http_billing_page_text(ngx_http_billing_page_t *page,
    off_t *size);
ngx_chain_t *ngx_http_billing_page_json(ngx_http_billing_page_t *page,
    off_t *size);


#endif /* _NGX_HTTP_BILLING_STATUS_PAGE_H_INCLUDED_ */
