
#include "ngx_http_billing_module.h"
#include "ngx_http_billing_cache.h"
#include "ngx_http_billing_json.h"


/* the longest line of a sample, with its HELP and TYPE, and without labels */

#define NGX_HTTP_BILLING_PAGE_LINES    512

/* milliseconds to wait for the ages of caches */

#define NGX_HTTP_BILLING_PAGE_TIMEOUT  500


typedef struct {
    const char                     *name;
    const char                     *help;
    size_t                          offset;
} ngx_http_billing_metric_t;


typedef struct ngx_http_billing_page_s  ngx_http_billing_page_t;


/* of one cache: is it there, and when was it loaded */

typedef struct {
    ngx_http_billing_page_t        *page;
    ngx_http_billing_source_t      *source;
    ngx_http_billing_cache_t        cache;

    unsigned                        up:1;
    unsigned                        synced:1;
    int64_t                         synced_at;
} ngx_http_billing_probe_t;


struct ngx_http_billing_page_s {
    ngx_http_request_t             *request;

    ngx_http_billing_counters_t     counters;
    ngx_uint_t                      requests_waiting;

    ngx_http_billing_probe_t       *probes;
    ngx_uint_t                      nprobes;

    /* probes that were not answered yet, and the end of the patience */
    ngx_uint_t                      waiting;
    ngx_event_t                     timer;
};


static ngx_int_t ngx_http_billing_page_probe(ngx_http_billing_page_t *page,
    ngx_array_t *sources);
static void ngx_http_billing_page_probed(void *data, ngx_int_t rc);
static void ngx_http_billing_page_timeout(ngx_event_t *ev);
static void ngx_http_billing_page_finalize(ngx_http_billing_page_t *page);
static void ngx_http_billing_page_cleanup(void *data);
static ngx_int_t ngx_http_billing_page_send(ngx_http_billing_page_t *page);
static ngx_chain_t *ngx_http_billing_page_text(ngx_http_billing_page_t *page,
    off_t *size);
static u_char *ngx_http_billing_page_text_counter(u_char *p, u_char *last,
    const ngx_http_billing_metric_t *metric, ngx_atomic_t value);
static u_char *ngx_http_billing_page_text_histogram(u_char *p, u_char *last,
    const ngx_http_billing_metric_t *metric,
    ngx_http_billing_histogram_t *histogram);
static u_char *ngx_http_billing_page_text_probes(u_char *p, u_char *last,
    ngx_http_billing_page_t *page);
static ngx_chain_t *ngx_http_billing_page_json(ngx_http_billing_page_t *page,
    off_t *size);
static void ngx_http_billing_page_json_name(ngx_http_billing_json_t *json,
    const char *name);
static void ngx_http_billing_page_json_histogram(
    ngx_http_billing_json_t *json, ngx_http_billing_histogram_t *histogram);
static void ngx_http_billing_page_json_probe(ngx_http_billing_json_t *json,
    ngx_http_billing_probe_t *probe);


static const ngx_http_billing_metric_t  ngx_http_billing_page_counters[] = {

    { "cameras_sent", "Cameras sent to clients.",
      offsetof(ngx_http_billing_counters_t, cameras) },

    { "lists_broken", "Lists broken off after their first byte was sent.",
      offsetof(ngx_http_billing_counters_t, broken) },

    { "redis_commands", "Commands sent to Redis.",
      offsetof(ngx_http_billing_counters_t, redis.commands) },

    { "redis_errors", "Answers of Redis that are errors or break the contract "
      "of the cache.",
      offsetof(ngx_http_billing_counters_t, redis.errors) },

    { "redis_timeouts", "Pipelines that Redis did not answer in time.",
      offsetof(ngx_http_billing_counters_t, redis.timeouts) },

    { "redis_retries", "Pipelines sent once more after a connection was lost.",
      offsetof(ngx_http_billing_counters_t, redis.retries) },

    { "redis_connects", "Connections to Redis established.",
      offsetof(ngx_http_billing_counters_t, redis.connects) },

    { "redis_connect_failures", "Connections to Redis that could not be "
      "established.",
      offsetof(ngx_http_billing_counters_t, redis.connect_failures) },

    { "redis_lost", "Connections to Redis lost with commands in flight.",
      offsetof(ngx_http_billing_counters_t, redis.lost) },

    { NULL, NULL, 0 }
};


static const ngx_http_billing_metric_t  ngx_http_billing_page_histograms[] = {

    { "request_duration", "Time from the start of a request to its end.",
      offsetof(ngx_http_billing_counters_t, duration) },

    { "redis_duration", "Time from sending a pipeline to Redis to its answer.",
      offsetof(ngx_http_billing_counters_t, redis.duration) },

    { NULL, NULL, 0 }
};


static ngx_str_t  ngx_http_billing_page_content_type =
    ngx_string("text/plain; version=0.0.4; charset=utf-8");
static ngx_str_t  ngx_http_billing_page_content_type_json =
    ngx_string("application/json");
static ngx_str_t  ngx_http_billing_page_name_cache_control =
    ngx_string("Cache-Control");
static ngx_str_t  ngx_http_billing_page_no_store = ngx_string("no-store");
static ngx_str_t  ngx_http_billing_page_name_allow = ngx_string("Allow");
static ngx_str_t  ngx_http_billing_page_methods = ngx_string("GET, HEAD");


ngx_int_t
ngx_http_billing_status_handler(ngx_http_request_t *r)
{
    ngx_int_t                      rc;
    ngx_http_billing_page_t       *page;
    ngx_http_billing_main_conf_t  *bmcf;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {

        if (ngx_http_billing_add_header(r, NULL,
                                        &ngx_http_billing_page_name_allow,
                                        &ngx_http_billing_page_methods)
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    page = ngx_pcalloc(r->pool, sizeof(ngx_http_billing_page_t));
    if (page == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    page->request = r;

    bmcf = ngx_http_get_module_main_conf(r, ngx_http_billing_module);

    if (bmcf->status.sources.nelts == 0) {
        return ngx_http_billing_page_send(page);
    }

    return ngx_http_billing_page_probe(page, &bmcf->status.sources);
}


static ngx_int_t
ngx_http_billing_page_probe(ngx_http_billing_page_t *page,
    ngx_array_t *sources)
{
    ngx_uint_t                  i;
    ngx_http_cleanup_t         *cln;
    ngx_http_request_t         *r;
    ngx_http_billing_probe_t   *probe;
    ngx_http_billing_source_t  *source;

    r = page->request;
    source = sources->elts;

    probe = ngx_pcalloc(r->pool,
                        sources->nelts * sizeof(ngx_http_billing_probe_t));
    if (probe == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    page->probes = probe;
    page->nprobes = sources->nelts;

    for (i = 0; i < page->nprobes; i++) {
        probe[i].page = page;
        probe[i].source = &source[i];
        probe[i].cache.done = ngx_http_billing_page_probed;
        probe[i].cache.data = &probe[i];

        if (ngx_http_billing_cache_init(&probe[i].cache, r->pool,
                                        &source[i].prefix, 1)
            != NGX_OK
            || ngx_http_billing_cache_synced_at(&probe[i].cache) != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_billing_page_cleanup;
    cln->data = page;

    r->main->count++;
    r->read_event_handler = ngx_http_test_reading;

    page->timer.handler = ngx_http_billing_page_timeout;
    page->timer.data = page;
    page->timer.log = r->connection->log;

    ngx_add_timer(&page->timer, NGX_HTTP_BILLING_PAGE_TIMEOUT);

    page->waiting = page->nprobes;

    for (i = 0; i < page->nprobes; i++) {
        ngx_http_billing_cache_ask(&probe[i].cache, source[i].redis,
                                   source[i].timeout, source[i].timeout,
                                   r->connection->log);
    }

    return NGX_DONE;
}


static void
ngx_http_billing_page_probed(void *data, ngx_int_t rc)
{
    ngx_http_billing_probe_t *probe = data;

    ngx_http_billing_lookup_t  *lookup;

    lookup = probe->cache.lookups.elts;

    probe->up = (rc == NGX_OK);
    probe->synced = (rc == NGX_OK && lookup->found);
    probe->synced_at = lookup->id;

    if (--probe->page->waiting == 0) {
        ngx_http_billing_page_finalize(probe->page);
    }
}


/* Redis may have more time, but who reads the page does not wait for it */

static void
ngx_http_billing_page_timeout(ngx_event_t *ev)
{
    ngx_http_billing_page_finalize(ev->data);
}


static void
ngx_http_billing_page_finalize(ngx_http_billing_page_t *page)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = page->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    ngx_http_billing_page_cleanup(page);

    ngx_http_finalize_request(r, ngx_http_billing_page_send(page));

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_billing_page_cleanup(void *data)
{
    ngx_http_billing_page_t *page = data;

    ngx_uint_t  i;

    if (page->timer.timer_set) {
        ngx_del_timer(&page->timer);
    }

    for (i = 0; i < page->nprobes; i++) {
        ngx_http_billing_cache_cancel(&page->probes[i].cache);
    }
}


static ngx_int_t
ngx_http_billing_page_send(ngx_http_billing_page_t *page)
{
    off_t                          size;
    ngx_int_t                      rc;
    ngx_str_t                      format;
    ngx_uint_t                     json;
    ngx_chain_t                   *out, *cl;
    ngx_http_request_t            *r;
    ngx_http_billing_main_conf_t  *bmcf;

    r = page->request;
    bmcf = ngx_http_get_module_main_conf(r, ngx_http_billing_module);

    page->requests_waiting = ngx_http_billing_status_sum(&bmcf->status,
                                                         &page->counters);

    json = ngx_http_arg(r, (u_char *) "format", 6, &format) == NGX_OK
           && format.len == 4
           && ngx_strncmp(format.data, "json", 4) == 0;

    out = json ? ngx_http_billing_page_json(page, &size)
               : ngx_http_billing_page_text(page, &size);

    if (out == NULL
        || ngx_http_billing_add_header(r, NULL,
                                     &ngx_http_billing_page_name_cache_control,
                                     &ngx_http_billing_page_no_store)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = size;
    r->headers_out.content_type_lowcase = NULL;

    if (json) {
        r->headers_out.content_type = ngx_http_billing_page_content_type_json;
        r->headers_out.content_type_len = r->headers_out.content_type.len;

    } else {
        r->headers_out.content_type = ngx_http_billing_page_content_type;
        r->headers_out.content_type_len = sizeof("text/plain") - 1;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    for (cl = out; cl->next; cl = cl->next) { /* void */ }

    cl->buf->last_buf = (r == r->main);
    cl->buf->last_in_chain = 1;

    return ngx_http_output_filter(r, out);
}


static ngx_chain_t *
ngx_http_billing_page_text(ngx_http_billing_page_t *page, off_t *size)
{
    size_t                            len;
    u_char                           *p, *last, *counters;
    ngx_buf_t                        *b;
    ngx_uint_t                        i;
    ngx_chain_t                      *cl;
    const ngx_http_billing_metric_t  *metric;

    len = NGX_HTTP_BILLING_PAGE_LINES
          * (NGX_HTTP_BILLING_STATUS_CODES + 1
             + sizeof(ngx_http_billing_page_counters)
               / sizeof(ngx_http_billing_metric_t)
             + 2 * (NGX_HTTP_BILLING_HISTOGRAM_BOUNDS + 3)
             + 3);

    for (i = 0; i < page->nprobes; i++) {
        len += 3 * (NGX_HTTP_BILLING_PAGE_LINES
                    + page->probes[i].source->labels.len);
    }

    b = ngx_create_temp_buf(page->request->pool, len);
    cl = ngx_alloc_chain_link(page->request->pool);

    if (b == NULL || cl == NULL) {
        return NULL;
    }

    p = b->last;
    last = b->end;
    counters = (u_char *) &page->counters;

    p = ngx_slprintf(p, last,
                     "# HELP nginx_billing_requests_total "
                     "Requests by the status of their answer.\n"
                     "# TYPE nginx_billing_requests_total counter\n");

    for (i = 0; i < NGX_HTTP_BILLING_STATUS_CODES - 1; i++) {
        p = ngx_slprintf(p, last,
                         "nginx_billing_requests_total{status=\"%ui\"} %uA\n",
                         ngx_http_billing_status_codes[i],
                         page->counters.requests[i]);
    }

    p = ngx_slprintf(p, last,
                     "nginx_billing_requests_total{status=\"other\"} %uA\n"
                     "# HELP nginx_billing_requests_waiting "
                     "Requests that wait for Redis.\n"
                     "# TYPE nginx_billing_requests_waiting gauge\n"
                     "nginx_billing_requests_waiting %ui\n",
                     page->counters.requests[i], page->requests_waiting);

    for (metric = ngx_http_billing_page_counters; metric->name; metric++) {
        p = ngx_http_billing_page_text_counter(p, last, metric,
                               *(ngx_atomic_t *) (counters + metric->offset));
    }

    for (metric = ngx_http_billing_page_histograms; metric->name; metric++) {
        p = ngx_http_billing_page_text_histogram(p, last, metric,
                               (ngx_http_billing_histogram_t *)
                               (counters + metric->offset));
    }

    b->last = ngx_http_billing_page_text_probes(p, last, page);

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
ngx_http_billing_page_text_probes(u_char *p, u_char *last,
    ngx_http_billing_page_t *page)
{
    ngx_uint_t                 i, synced;
    ngx_http_billing_probe_t  *probe;

    if (page->nprobes == 0) {
        return p;
    }

    probe = page->probes;
    synced = 0;

    p = ngx_slprintf(p, last,
                     "# HELP nginx_billing_redis_up "
                     "Whether Redis has answered for this page.\n"
                     "# TYPE nginx_billing_redis_up gauge\n");

    for (i = 0; i < page->nprobes; i++) {
        p = ngx_slprintf(p, last, "nginx_billing_redis_up{%V} %ui\n",
                         &probe[i].source->labels, (ngx_uint_t) probe[i].up);
        synced += probe[i].synced;
    }

    if (synced == 0) {
        return p;
    }

    p = ngx_slprintf(p, last,
                     "# HELP nginx_billing_synced_at_seconds "
                     "When the loader last finished, in Unix time.\n"
                     "# TYPE nginx_billing_synced_at_seconds gauge\n");

    for (i = 0; i < page->nprobes; i++) {
        if (probe[i].synced) {
            p = ngx_slprintf(p, last,
                             "nginx_billing_synced_at_seconds{%V} %L\n",
                             &probe[i].source->labels, probe[i].synced_at);
        }
    }

    p = ngx_slprintf(p, last,
                     "# HELP nginx_billing_synced_age_seconds "
                     "How long ago that was.\n"
                     "# TYPE nginx_billing_synced_age_seconds gauge\n");

    for (i = 0; i < page->nprobes; i++) {
        if (probe[i].synced) {
            p = ngx_slprintf(p, last,
                             "nginx_billing_synced_age_seconds{%V} %L\n",
                             &probe[i].source->labels,
                             (int64_t) ngx_time() - probe[i].synced_at);
        }
    }

    return p;
}


static ngx_chain_t *
ngx_http_billing_page_json(ngx_http_billing_page_t *page, off_t *size)
{
    u_char                           *counters, code[NGX_INT_T_LEN];
    yajl_gen                          gen;
    ngx_uint_t                        i;
    ngx_chain_t                      *out;
    ngx_http_billing_json_t           json;
    const ngx_http_billing_metric_t  *metric;

    ngx_http_billing_json_init(&json, page->request->pool,
                               (ngx_buf_tag_t) &ngx_http_billing_module);

    gen = ngx_http_billing_json_gen(&json);

    if (gen == NULL) {
        return NULL;
    }

    counters = (u_char *) &page->counters;

    yajl_gen_map_open(gen);

    ngx_http_billing_json_name(&json, "requests");
    yajl_gen_map_open(gen);

    for (i = 0; i < NGX_HTTP_BILLING_STATUS_CODES - 1; i++) {
        *ngx_sprintf(code, "%ui", ngx_http_billing_status_codes[i]) = '\0';

        ngx_http_billing_page_json_name(&json, (char *) code);
        yajl_gen_integer(gen, page->counters.requests[i]);
    }

    ngx_http_billing_json_name(&json, "other");
    yajl_gen_integer(gen, page->counters.requests[i]);
    yajl_gen_map_close(gen);

    ngx_http_billing_json_name(&json, "requests_waiting");
    yajl_gen_integer(gen, page->requests_waiting);

    for (metric = ngx_http_billing_page_counters; metric->name; metric++) {
        ngx_http_billing_page_json_name(&json, metric->name);
        yajl_gen_integer(gen, *(ngx_atomic_t *) (counters + metric->offset));
    }

    for (metric = ngx_http_billing_page_histograms; metric->name; metric++) {
        ngx_http_billing_page_json_name(&json, metric->name);
        ngx_http_billing_page_json_histogram(&json,
                                             (ngx_http_billing_histogram_t *)
                                             (counters + metric->offset));
    }

    ngx_http_billing_json_name(&json, "caches");
    yajl_gen_array_open(gen);

    for (i = 0; i < page->nprobes; i++) {
        ngx_http_billing_page_json_probe(&json, &page->probes[i]);
    }

    yajl_gen_array_close(gen);
    yajl_gen_map_close(gen);

    return (ngx_http_billing_json_take(&json, &out, size) == NGX_OK) ? out
                                                                     : NULL;
}


static void
ngx_http_billing_page_json_name(ngx_http_billing_json_t *json,
    const char *name)
{
    yajl_gen_string(json->gen, (const unsigned char *) name,
                    ngx_strlen(name));
}


static void
ngx_http_billing_page_json_histogram(ngx_http_billing_json_t *json,
    ngx_http_billing_histogram_t *histogram)
{
    u_char             text[NGX_ATOMIC_T_LEN + sizeof(".000")], *p;
    yajl_gen           gen;
    ngx_uint_t         i;
    ngx_atomic_uint_t  count;

    gen = json->gen;
    count = 0;

    yajl_gen_map_open(gen);

    ngx_http_billing_json_name(json, "buckets");
    yajl_gen_map_open(gen);

    for (i = 0; i < NGX_HTTP_BILLING_HISTOGRAM_BOUNDS; i++) {
        count += histogram->times[i];

        ngx_http_billing_page_json_name(json,
                                 ngx_http_billing_histogram_bounds[i].seconds);
        yajl_gen_integer(gen, count);
    }

    count += histogram->times[i];

    ngx_http_billing_json_name(json, "+Inf");
    yajl_gen_integer(gen, count);
    yajl_gen_map_close(gen);

    p = ngx_sprintf(text, "%uA.%03uA", histogram->sum / 1000,
                    histogram->sum % 1000);

    ngx_http_billing_json_name(json, "sum");
    yajl_gen_number(gen, (char *) text, p - text);

    ngx_http_billing_json_name(json, "count");
    yajl_gen_integer(gen, count);

    yajl_gen_map_close(gen);
}


static void
ngx_http_billing_page_json_probe(ngx_http_billing_json_t *json,
    ngx_http_billing_probe_t *probe)
{
    yajl_gen  gen;

    gen = json->gen;

    yajl_gen_map_open(gen);

    ngx_http_billing_json_name(json, "prefix");
    ngx_http_billing_json_string(json, &probe->source->prefix_label);

    ngx_http_billing_json_name(json, "server");
    ngx_http_billing_json_string(json, &probe->source->server_label);

    ngx_http_billing_json_name(json, "up");
    yajl_gen_bool(gen, probe->up);

    ngx_http_billing_json_name(json, "synced_at");

    if (probe->synced) {
        yajl_gen_integer(gen, probe->synced_at);
        ngx_http_billing_json_name(json, "synced_age");
        yajl_gen_integer(gen, (int64_t) ngx_time() - probe->synced_at);

    } else {
        yajl_gen_null(gen);
        ngx_http_billing_json_name(json, "synced_age");
        yajl_gen_null(gen);
    }

    yajl_gen_map_close(gen);
}
