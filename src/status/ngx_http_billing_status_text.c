
#include "ngx_http_billing_status_page.h"


/* bytes of a sample with its HELP and TYPE, without labels, at most */

#define NGX_HTTP_BILLING_PAGE_LINES  512


static u_char *ngx_http_billing_page_text_counter(u_char *p, u_char *last,
    const ngx_http_billing_metric_t *metric, ngx_atomic_t value);
static u_char *ngx_http_billing_page_text_gauge(u_char *p, u_char *last,
    const ngx_http_billing_metric_t *metric, ngx_atomic_t value);
static u_char *ngx_http_billing_page_text_histogram(u_char *p, u_char *last,
    const ngx_http_billing_metric_t *metric,
    ngx_http_billing_histogram_t *histogram);
static u_char *ngx_http_billing_page_text_caches(u_char *p, u_char *last,
    ngx_http_billing_page_t *page);
static u_char *ngx_http_billing_page_text_lags(u_char *p, u_char *last,
    ngx_http_billing_page_t *page);


ngx_chain_t *
ngx_http_billing_page_text(ngx_http_billing_page_t *page, off_t *size)
{
    size_t                            len;
    u_char                           *p, *last, *sum;
    ngx_buf_t                        *b;
    ngx_uint_t                        i;
    ngx_chain_t                      *cl;
    const ngx_http_billing_metric_t  *metric;

    /* version, start, requests by status, and the heads of four gauges */

    len = NGX_HTTP_BILLING_PAGE_LINES * (2 + NGX_HTTP_BILLING_STATUS_CODES + 4);

    for (metric = ngx_http_billing_page_counters; metric->name; metric++) {
        len += NGX_HTTP_BILLING_PAGE_LINES;
    }

    for (metric = ngx_http_billing_page_gauges; metric->name; metric++) {
        len += NGX_HTTP_BILLING_PAGE_LINES;
    }

    for (metric = ngx_http_billing_page_histograms; metric->name; metric++) {
        len += NGX_HTTP_BILLING_PAGE_LINES
               * (NGX_HTTP_BILLING_HISTOGRAM_BOUNDS + 3);
    }

    for (i = 0; i < page->ncaches; i++) {
        len += 4 * (NGX_HTTP_BILLING_PAGE_LINES
                    + page->caches[i].source->labels.len);
    }

    b = ngx_create_temp_buf(page->pool, len);
    cl = ngx_alloc_chain_link(page->pool);

    if (b == NULL || cl == NULL) {
        return NULL;
    }

    p = b->last;
    last = b->end;
    sum = (u_char *) &page->sum;

    p = ngx_slprintf(p, last,
                     "# HELP nginx_billing_info The version of the module.\n"
                     "# TYPE nginx_billing_info gauge\n"
                     "nginx_billing_info{version=\"%s\"} 1\n"
                     "# HELP nginx_billing_start_time_seconds "
                     "Since when is counted, in Unix time.\n"
                     "# TYPE nginx_billing_start_time_seconds gauge\n"
                     "nginx_billing_start_time_seconds %T\n",
                     NGX_HTTP_BILLING_VERSION, page->started);

    p = ngx_slprintf(p, last,
                     "# HELP nginx_billing_requests_total "
                     "Requests by the status of their answer.\n"
                     "# TYPE nginx_billing_requests_total counter\n");

    for (i = 0; i < NGX_HTTP_BILLING_STATUS_CODES - 1; i++) {
        p = ngx_slprintf(p, last,
                         "nginx_billing_requests_total{status=\"%ui\"} %uA\n",
                         ngx_http_billing_status_codes[i],
                         page->sum.counters.requests[i]);
    }

    p = ngx_slprintf(p, last,
                     "nginx_billing_requests_total{status=\"other\"} %uA\n",
                     page->sum.counters.requests[i]);

    for (metric = ngx_http_billing_page_gauges; metric->name; metric++) {
        p = ngx_http_billing_page_text_gauge(p, last, metric,
                                    *(ngx_atomic_t *) (sum + metric->offset));
    }

    for (metric = ngx_http_billing_page_counters; metric->name; metric++) {
        p = ngx_http_billing_page_text_counter(p, last, metric,
                                    *(ngx_atomic_t *) (sum + metric->offset));
    }

    for (metric = ngx_http_billing_page_histograms; metric->name; metric++) {
        p = ngx_http_billing_page_text_histogram(p, last, metric,
                               (ngx_http_billing_histogram_t *)
                               (sum + metric->offset));
    }

    b->last = ngx_http_billing_page_text_caches(p, last, page);

    cl->buf = b;
    cl->next = NULL;

    *size = b->last - b->pos;

    return cl;
}


static u_char *
ngx_http_billing_page_text_counter(u_char *p, u_char *last,
    const ngx_http_billing_metric_t *metric, ngx_atomic_t value)
{
    return ngx_slprintf(p, last,
                        "# HELP nginx_billing_%s_total %s\n"
                        "# TYPE nginx_billing_%s_total counter\n"
                        "nginx_billing_%s_total %uA\n",
                        metric->name, metric->help, metric->name,
                        metric->name, value);
}


static u_char *
ngx_http_billing_page_text_gauge(u_char *p, u_char *last,
    const ngx_http_billing_metric_t *metric, ngx_atomic_t value)
{
    return ngx_slprintf(p, last,
                        "# HELP nginx_billing_%s %s\n"
                        "# TYPE nginx_billing_%s gauge\n"
                        "nginx_billing_%s %uA\n",
                        metric->name, metric->help, metric->name,
                        metric->name, value);
}


static u_char *
ngx_http_billing_page_text_histogram(u_char *p, u_char *last,
    const ngx_http_billing_metric_t *metric,
    ngx_http_billing_histogram_t *histogram)
{
    ngx_uint_t         i;
    ngx_atomic_uint_t  count;

    p = ngx_slprintf(p, last,
                     "# HELP nginx_billing_%s_seconds %s\n"
                     "# TYPE nginx_billing_%s_seconds histogram\n",
                     metric->name, metric->help, metric->name);

    count = 0;

    for (i = 0; i < NGX_HTTP_BILLING_HISTOGRAM_BOUNDS; i++) {
        count += histogram->times[i];

        p = ngx_slprintf(p, last,
                         "nginx_billing_%s_seconds_bucket{le=\"%s\"} %uA\n",
                         metric->name,
                         ngx_http_billing_histogram_bounds[i].seconds, count);
    }

    count += histogram->times[i];

    return ngx_slprintf(p, last,
                        "nginx_billing_%s_seconds_bucket{le=\"+Inf\"} %uA\n"
                        "nginx_billing_%s_seconds_sum %uA.%03uA\n"
                        "nginx_billing_%s_seconds_count %uA\n",
                        metric->name, count,
                        metric->name, histogram->sum / 1000,
                        histogram->sum % 1000,
                        metric->name, count);
}


static u_char *
ngx_http_billing_page_text_caches(u_char *p, u_char *last,
    ngx_http_billing_page_t *page)
{
    ngx_uint_t                 i, synced;
    ngx_http_billing_page_cache_t  *cache;

    if (page->ncaches == 0) {
        return p;
    }

    cache = page->caches;
    synced = 0;

    p = ngx_slprintf(p, last,
                     "# HELP nginx_billing_redis_up "
                     "Whether Redis has answered for this page.\n"
                     "# TYPE nginx_billing_redis_up gauge\n");

    for (i = 0; i < page->ncaches; i++) {
        p = ngx_slprintf(p, last, "nginx_billing_redis_up{%V} %ui\n",
                         &cache[i].source->labels, (ngx_uint_t) cache[i].up);
        synced += cache[i].synced;
    }

    p = ngx_http_billing_page_text_lags(p, last, page);

    if (synced == 0) {
        return p;
    }

    p = ngx_slprintf(p, last,
                     "# HELP nginx_billing_synced_at_seconds "
                     "When the loader last finished, in Unix time.\n"
                     "# TYPE nginx_billing_synced_at_seconds gauge\n");

    for (i = 0; i < page->ncaches; i++) {
        if (cache[i].synced) {
            p = ngx_slprintf(p, last,
                             "nginx_billing_synced_at_seconds{%V} %L\n",
                             &cache[i].source->labels, cache[i].synced_at);
        }
    }

    p = ngx_slprintf(p, last,
                     "# HELP nginx_billing_synced_age_seconds "
                     "How long ago that was.\n"
                     "# TYPE nginx_billing_synced_age_seconds gauge\n");

    for (i = 0; i < page->ncaches; i++) {
        if (cache[i].synced) {
            p = ngx_slprintf(p, last,
                             "nginx_billing_synced_age_seconds{%V} %L\n",
                             &cache[i].source->labels, cache[i].synced_age);
        }
    }

    return p;
}


static u_char *
ngx_http_billing_page_text_lags(u_char *p, u_char *last,
    ngx_http_billing_page_t *page)
{
    ngx_uint_t                     i;
    ngx_http_billing_source_t     *source;
    ngx_http_billing_coherence_t  *co;

    p = ngx_slprintf(p, last,
                     "# HELP nginx_billing_cache_lag_seconds "
                     "How late the workers' caches may be, 0 if there are "
                     "none.\n"
                     "# TYPE nginx_billing_cache_lag_seconds gauge\n");

    for (i = 0; i < page->ncaches; i++) {
        source = page->caches[i].source;
        co = &source->cache_set->coherence;

        p = ngx_slprintf(p, last,
                         "nginx_billing_cache_lag_seconds{%V} %M.%03M\n",
                         &source->labels, co->size ? co->lag / 1000 : 0,
                         co->size ? co->lag % 1000 : 0);
    }

    return p;
}
