
#include "ngx_http_billing_status_label.h"
#include "ngx_http_billing_status_page.h"


/* bytes of a sample with its HELP and TYPE, without labels, at most */

#define NGX_HTTP_BILLING_PAGE_LINES  512

/* bytes of a server's or a client's sample, without the label, at most */

#define NGX_HTTP_BILLING_PAGE_SAMPLE  128


typedef struct {
    const char                   *name;
    const char                   *help;

    /* the offset in ngx_http_billing_status_server_t */
    size_t                        offset;
} ngx_http_billing_page_server_t;


static size_t ngx_http_billing_page_text_size(ngx_http_billing_page_t *page);
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
static u_char *ngx_http_billing_page_text_clusters(u_char *p, u_char *last,
    ngx_http_billing_page_t *page);
static u_char *ngx_http_billing_page_text_servers(u_char *p, u_char *last,
    ngx_http_billing_page_t *page);
static u_char *ngx_http_billing_page_text_clients(u_char *p, u_char *last,
    ngx_http_billing_page_t *page);


static const ngx_http_billing_page_server_t
    ngx_http_billing_page_servers[] = {

    { "used", "Workers that send requests to the server.",
      offsetof(ngx_http_billing_status_server_t, used) },

    { "failing", "Workers that cannot use the server.",
      offsetof(ngx_http_billing_status_server_t, failing) },

    { "unloaded", "Workers that pass over the server, as it has no data "
      "loaded.",
      offsetof(ngx_http_billing_status_server_t, unloaded) },

    { NULL, NULL, 0 }
};


ngx_chain_t *
ngx_http_billing_page_text(ngx_http_billing_page_t *page, off_t *size)
{
    u_char                           *p, *last, *sum;
    ngx_buf_t                        *b;
    ngx_uint_t                        i;
    ngx_chain_t                      *cl;
    const ngx_http_billing_metric_t  *metric;

    b = ngx_create_temp_buf(page->pool, ngx_http_billing_page_text_size(page));
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
                     "When the counting began, in Unix time.\n"
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

    p = ngx_http_billing_page_text_caches(p, last, page);
    p = ngx_http_billing_page_text_servers(p, last, page);
    b->last = ngx_http_billing_page_text_clients(p, last, page);

    cl->buf = b;
    cl->next = NULL;

    *size = b->last - b->pos;

    return cl;
}


/* an upper bound of the page's bytes */

static size_t
ngx_http_billing_page_text_size(ngx_http_billing_page_t *page)
{
    size_t                             size;
    ngx_uint_t                         i;
    ngx_http_billing_status_client_t  *client;
    const ngx_http_billing_metric_t   *metric;

    /*
     * version, start, requests by status, and the heads of six gauges of
     * caches, three of servers, one counter of clients
     */

    size = NGX_HTTP_BILLING_PAGE_LINES
           * (2 + NGX_HTTP_BILLING_STATUS_CODES + 6 + 3 + 1);

    for (metric = ngx_http_billing_page_counters; metric->name; metric++) {
        size += NGX_HTTP_BILLING_PAGE_LINES;
    }

    for (metric = ngx_http_billing_page_gauges; metric->name; metric++) {
        size += NGX_HTTP_BILLING_PAGE_LINES;
    }

    for (metric = ngx_http_billing_page_histograms; metric->name; metric++) {
        size += NGX_HTTP_BILLING_PAGE_LINES
                * (NGX_HTTP_BILLING_HISTOGRAM_BOUNDS + 3);
    }

    for (i = 0; i < page->ncaches; i++) {
        size += 6 * (NGX_HTTP_BILLING_PAGE_LINES
                     + page->caches[i].source->labels.len);
    }

    size += page->servers->nelts
            * 3 * (NGX_HTTP_BILLING_PAGE_SAMPLE
                   + 2 * NGX_HTTP_BILLING_STATUS_SERVER_NAME);

    for (i = 0; i < page->nclients; i++) {
        client = &page->clients->clients[i];
        size += NGX_HTTP_BILLING_PAGE_SAMPLE + 2 * client->len;
    }

    return size;
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
    ngx_uint_t                      i, synced;
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

    p = ngx_http_billing_page_text_clusters(p, last, page);

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


static u_char *
ngx_http_billing_page_text_servers(u_char *p, u_char *last,
    ngx_http_billing_page_t *page)
{
    ngx_str_t                              name;
    ngx_uint_t                             i;
    ngx_http_billing_status_server_t      *server;
    const ngx_http_billing_page_server_t  *metric;

    server = page->servers->elts;

    if (page->servers->nelts == 0) {
        return p;
    }

    for (metric = ngx_http_billing_page_servers; metric->name; metric++) {

        p = ngx_slprintf(p, last,
                         "# HELP nginx_billing_redis_server_%s %s\n"
                         "# TYPE nginx_billing_redis_server_%s gauge\n",
                         metric->name, metric->help, metric->name);

        for (i = 0; i < page->servers->nelts; i++) {
            name.len = server[i].len;
            name.data = server[i].name;

            p = ngx_slprintf(p, last, "nginx_billing_redis_server_%s{",
                             metric->name);
            p = ngx_http_billing_status_label(p, "server", &name);
            p = ngx_slprintf(p, last, "} %ui\n",
                             *(ngx_uint_t *) ((u_char *) &server[i]
                                              + metric->offset));
        }
    }

    return p;
}


static u_char *
ngx_http_billing_page_text_clients(u_char *p, u_char *last,
    ngx_http_billing_page_t *page)
{
    ngx_str_t                          name;
    ngx_uint_t                         i;
    ngx_http_billing_status_client_t  *client;

    if (page->clients == NULL) {
        return p;
    }

    p = ngx_slprintf(p, last,
                     "# HELP nginx_billing_client_requests_total "
                     "Requests by the name of their client.\n"
                     "# TYPE nginx_billing_client_requests_total counter\n");

    for (i = 0; i < page->nclients; i++) {
        client = &page->clients->clients[i];

        name.len = client->len;
        name.data = client->name;

        p = ngx_slprintf(p, last, "nginx_billing_client_requests_total{");
        p = ngx_http_billing_status_label(p, "client", &name);
        p = ngx_slprintf(p, last, "} %uA\n", client->requests);
    }

    return ngx_slprintf(p, last, "nginx_billing_client_requests_total"
                        "{client=\"other\"} %uA\n",
                        page->clients->table->other);
}


/* clusters as this worker knows them; writes nothing if there is none */

static u_char *
ngx_http_billing_page_text_clusters(u_char *p, u_char *last,
    ngx_http_billing_page_t *page)
{
    ngx_uint_t                  i, k, n, value[2];
    ngx_http_billing_source_t  *source;

    static const char  *header[] = {
        "# HELP nginx_billing_cluster_slots "
        "Slots of a Redis Cluster that have a node, of 16384.\n"
        "# TYPE nginx_billing_cluster_slots gauge\n",

        "# HELP nginx_billing_cluster_nodes "
        "Nodes of a Redis Cluster, replicas included.\n"
        "# TYPE nginx_billing_cluster_nodes gauge\n"
    };

    static const char  *sample[] = {
        "nginx_billing_cluster_slots{%V} %ui\n",
        "nginx_billing_cluster_nodes{%V} %ui\n"
    };

    for (k = 0; k < 2; k++) {
        n = 0;

        for (i = 0; i < page->ncaches; i++) {
            source = page->caches[i].source;

            if (ngx_http_billing_redis_cluster(source->cache_set->redis,
                                               &value[0], &value[1])
                != NGX_OK)
            {
                continue;
            }

            if (n++ == 0) {
                p = ngx_slprintf(p, last, "%s", header[k]);
            }

            p = ngx_slprintf(p, last, sample[k], &source->labels, value[k]);
        }
    }

    return p;
}
