
#include "ngx_http_billing_module.h"
#include "ngx_http_billing_client.h"
#include "ngx_http_billing_status_page.h"


/* milliseconds to wait for the ages of caches */

#define NGX_HTTP_BILLING_PAGE_TIMEOUT  500


static ngx_int_t ngx_http_billing_page_probe(ngx_http_billing_page_t *page,
    ngx_array_t *sources);
static void ngx_http_billing_page_probed(void *data,
    ngx_http_billing_redis_result_e result);
static void ngx_http_billing_page_timeout(ngx_event_t *ev);
static void ngx_http_billing_page_client_handler(ngx_http_request_t *r);
static void ngx_http_billing_page_finalize(ngx_http_billing_page_t *page);
static void ngx_http_billing_page_cleanup(void *data);
static ngx_int_t ngx_http_billing_page_send(ngx_http_billing_page_t *page);


const ngx_http_billing_metric_t  ngx_http_billing_page_counters[] = {

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


const ngx_http_billing_metric_t  ngx_http_billing_page_histograms[] = {

    { "request_duration", "Time from the start of a request to its end.",
      offsetof(ngx_http_billing_counters_t, duration) },

    { "redis_duration", "Time from sending a pipeline to Redis to its answer.",
      offsetof(ngx_http_billing_counters_t, redis_duration) },

    { NULL, NULL, 0 }
};


static ngx_str_t  ngx_http_billing_page_content_type =
    ngx_string("text/plain; version=0.0.4; charset=utf-8");
static ngx_str_t  ngx_http_billing_page_content_type_json =
    ngx_string("application/json");
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

        if (ngx_http_billing_cache_init(&probe[i].cache, source[i].cache_set,
                                        r->pool, &source[i].prefix, 1)
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        probe[i].lookup = ngx_http_billing_cache_synced_at(&probe[i].cache);

        if (probe[i].lookup == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_billing_page_cleanup;
    cln->data = page;

    if (ngx_http_billing_client_watch(r, ngx_http_billing_page_client_handler)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_set_ctx(r, page, ngx_http_billing_module);

    r->main->count++;

    page->timer.handler = ngx_http_billing_page_timeout;
    page->timer.data = page;
    page->timer.log = r->connection->log;

    ngx_add_timer(&page->timer, NGX_HTTP_BILLING_PAGE_TIMEOUT);

    page->waiting = page->nprobes;

    for (i = 0; i < page->nprobes; i++) {
        ngx_http_billing_cache_ask(&probe[i].cache, source[i].timeout,
                                   ngx_current_msec + source[i].timeout,
                                   r->connection->log);
    }

    return NGX_DONE;
}


static void
ngx_http_billing_page_probed(void *data,
    ngx_http_billing_redis_result_e result)
{
    ngx_http_billing_probe_t *probe = data;

    probe->up = (result == NGX_HTTP_BILLING_REDIS_OK);
    probe->synced = (probe->up
                     && ngx_http_billing_lookup_found(probe->lookup));
    probe->synced_at = probe->lookup->synced_at;

    /* the loader's clock may be ahead, and this one may be set back */

    probe->synced_age = ngx_max((int64_t) ngx_time() - probe->synced_at, 0);

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
ngx_http_billing_page_client_handler(ngx_http_request_t *r)
{
    ngx_http_billing_page_t  *page;

    page = ngx_http_get_module_ctx(r, ngx_http_billing_module);

    if (page == NULL || !ngx_http_billing_client_gone(r)) {
        ngx_http_test_reading(r);
        return;
    }

    ngx_http_billing_page_cleanup(page);

    ngx_http_finalize_request(r, NGX_HTTP_CLIENT_CLOSED_REQUEST);
}


static void
ngx_http_billing_page_finalize(ngx_http_billing_page_t *page)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = page->request;
    c = r->connection;

    ngx_http_billing_page_cleanup(page);

    /* nginx may have given the request to another handler meanwhile */

    if (ngx_http_get_module_ctx(r, ngx_http_billing_module) != page) {
        return;
    }

    ngx_http_set_log_request(c->log, r);

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

    if (out == NULL || ngx_http_billing_no_store(r) != NGX_OK) {
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
