
#include "ngx_http_billing_module.h"
#include "ngx_http_billing_client.h"
#include "ngx_http_billing_handler.h"
#include "ngx_http_billing_header.h"
#include "ngx_http_billing_status_page.h"


/*
 * The request of a status page.  Formats that show what Redis answers wait for
 * a lookup of each cache's synced_at, or for the deadline.
 */


/* milliseconds that Redis has to answer the status page's lookups */

#define NGX_HTTP_BILLING_PAGE_TIMEOUT  500


typedef struct ngx_http_billing_page_ctx_s  ngx_http_billing_page_ctx_t;


typedef struct {
    /* the value of the argument "format" */
    ngx_str_t                       name;

    /* the type's length is without its parameters */
    ngx_str_t                       type;
    size_t                          type_len;

    /* the value of Content-Security-Policy, or NULL */
    ngx_str_t                      *policy;

    /* the page shows what Redis answers */
    ngx_flag_t                      asks;

    ngx_chain_t                  *(*write)(ngx_http_billing_page_t *page,
                                           off_t *size);
} ngx_http_billing_page_format_t;


typedef struct {
    ngx_http_billing_page_ctx_t    *ctx;
    ngx_http_billing_page_cache_t  *result;
    ngx_http_billing_cache_t        cache;
    ngx_http_billing_lookup_t      *lookup;
} ngx_http_billing_page_probe_t;


struct ngx_http_billing_page_ctx_s {
    ngx_http_request_t                    *request;
    ngx_http_billing_page_t                page;
    const ngx_http_billing_page_format_t  *format;

    ngx_http_billing_page_probe_t         *probes;

    /* probes without an answer, and the deadline of all probes */
    ngx_uint_t                             waiting;
    ngx_event_t                            timer;
};


static const ngx_http_billing_page_format_t *ngx_http_billing_page_format(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_billing_page_probe(ngx_http_billing_page_ctx_t *ctx,
    ngx_array_t *sources);
static void ngx_http_billing_page_probed(void *data,
    ngx_http_billing_redis_result_e result);
static void ngx_http_billing_page_timeout(ngx_event_t *ev);
static void ngx_http_billing_page_client_handler(ngx_http_request_t *r);
static void ngx_http_billing_page_finalize(ngx_http_billing_page_ctx_t *ctx);
static void ngx_http_billing_page_cleanup(void *data);
static ngx_int_t ngx_http_billing_page_send(ngx_http_billing_page_ctx_t *ctx);


/* the last one is for a request without a known "format" */

static const ngx_http_billing_page_format_t  ngx_http_billing_page_formats[] = {

    { ngx_string("json"),
      ngx_string("application/json"), sizeof("application/json") - 1,
      NULL, 1, ngx_http_billing_page_json },

    { ngx_string("html"),
      ngx_string("text/html; charset=utf-8"), sizeof("text/html") - 1,
      &ngx_http_billing_page_policy, 0, ngx_http_billing_page_html },

    { ngx_null_string,
      ngx_string("text/plain; version=0.0.4; charset=utf-8"),
      sizeof("text/plain") - 1,
      NULL, 1, ngx_http_billing_page_text }
};


static ngx_str_t  ngx_http_billing_page_name_allow = ngx_string("Allow");
static ngx_str_t  ngx_http_billing_page_methods = ngx_string("GET, HEAD");
static ngx_str_t  ngx_http_billing_page_name_policy =
    ngx_string("Content-Security-Policy");


ngx_int_t
ngx_http_billing_page_handler(ngx_http_request_t *r)
{
    ngx_int_t                      rc;
    ngx_http_billing_page_ctx_t   *ctx;
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

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_billing_page_ctx_t));
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->request = r;
    ctx->page.pool = r->pool;
    ctx->format = ngx_http_billing_page_format(r);

    bmcf = ngx_http_get_module_main_conf(r, ngx_http_billing_module);

    if (!ctx->format->asks || bmcf->status.sources.nelts == 0) {
        return ngx_http_billing_page_send(ctx);
    }

    return ngx_http_billing_page_probe(ctx, &bmcf->status.sources);
}


static const ngx_http_billing_page_format_t *
ngx_http_billing_page_format(ngx_http_request_t *r)
{
    ngx_str_t                              value;
    const ngx_http_billing_page_format_t  *format;

    if (ngx_http_arg(r, (u_char *) "format", 6, &value) != NGX_OK) {
        ngx_str_null(&value);
    }

    for (format = ngx_http_billing_page_formats; format->name.len; format++) {

        if (value.len == format->name.len
            && ngx_strncmp(value.data, format->name.data, value.len) == 0)
        {
            break;
        }
    }

    return format;
}


static ngx_int_t
ngx_http_billing_page_probe(ngx_http_billing_page_ctx_t *ctx,
    ngx_array_t *sources)
{
    ngx_uint_t                      i;
    ngx_http_cleanup_t             *cln;
    ngx_http_request_t             *r;
    ngx_http_billing_page_probe_t  *probe;
    ngx_http_billing_source_t      *source;
    ngx_http_billing_page_cache_t  *cache;

    r = ctx->request;
    source = sources->elts;

    probe = ngx_pcalloc(r->pool, sources->nelts
                                 * sizeof(ngx_http_billing_page_probe_t));
    cache = ngx_pcalloc(r->pool, sources->nelts
                                 * sizeof(ngx_http_billing_page_cache_t));

    if (probe == NULL || cache == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->probes = probe;
    ctx->page.caches = cache;
    ctx->page.ncaches = sources->nelts;

    for (i = 0; i < ctx->page.ncaches; i++) {
        cache[i].source = &source[i];

        probe[i].ctx = ctx;
        probe[i].result = &cache[i];
        probe[i].cache.done = ngx_http_billing_page_probed;
        probe[i].cache.data = &probe[i];
        probe[i].cache.optional = 1;

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
    cln->data = ctx;

    if (ngx_http_billing_client_watch(r, ngx_http_billing_page_client_handler)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_set_ctx(r, ctx, ngx_http_billing_module);

    ctx->timer.handler = ngx_http_billing_page_timeout;
    ctx->timer.data = ctx;
    ctx->timer.log = r->connection->log;

    ngx_add_timer(&ctx->timer, NGX_HTTP_BILLING_PAGE_TIMEOUT);

    ctx->waiting = ctx->page.ncaches;

    for (i = 0; i < ctx->page.ncaches; i++) {
        if (ngx_http_billing_cache_ask(&probe[i].cache, source[i].timeout,
                                       ngx_current_msec + source[i].timeout,
                                       r->connection->log)
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    r->main->count++;

    return NGX_DONE;
}


static void
ngx_http_billing_page_probed(void *data,
    ngx_http_billing_redis_result_e result)
{
    ngx_http_billing_page_probe_t *probe = data;

    ngx_http_billing_page_cache_t  *cache;

    cache = probe->result;

    cache->up = (result == NGX_HTTP_BILLING_REDIS_OK);
    cache->synced = (cache->up && ngx_http_billing_lookup_found(probe->lookup));
    cache->synced_at = probe->lookup->synced_at;

    /* the loader's clock may be ahead of this machine's */

    cache->synced_age = ngx_max((int64_t) ngx_time() - cache->synced_at, 0);

    if (--probe->ctx->waiting == 0) {
        ngx_http_billing_page_finalize(probe->ctx);
    }
}


/* the page's deadline: billing_redis_timeout may be longer */

static void
ngx_http_billing_page_timeout(ngx_event_t *ev)
{
    ngx_http_billing_page_finalize(ev->data);
}


static void
ngx_http_billing_page_client_handler(ngx_http_request_t *r)
{
    ngx_http_billing_page_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_billing_module);

    if (ctx == NULL || !ngx_http_billing_client_gone(r)) {
        ngx_http_test_reading(r);
        return;
    }

    ngx_http_billing_page_cleanup(ctx);

    ngx_http_finalize_request(r, NGX_HTTP_CLIENT_CLOSED_REQUEST);
}


static void
ngx_http_billing_page_finalize(ngx_http_billing_page_ctx_t *ctx)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ctx->request;
    c = r->connection;

    ngx_http_billing_page_cleanup(ctx);

    /* nginx may have given the request to another handler meanwhile */

    if (ngx_http_get_module_ctx(r, ngx_http_billing_module) != ctx) {
        return;
    }

    ngx_http_set_log_request(c->log, r);

    ngx_http_finalize_request(r, ngx_http_billing_page_send(ctx));

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_billing_page_cleanup(void *data)
{
    ngx_http_billing_page_ctx_t *ctx = data;

    ngx_uint_t  i;

    if (ctx->timer.timer_set) {
        ngx_del_timer(&ctx->timer);
    }

    for (i = 0; i < ctx->page.ncaches; i++) {
        ngx_http_billing_cache_cancel(&ctx->probes[i].cache);
    }
}


static ngx_int_t
ngx_http_billing_page_send(ngx_http_billing_page_ctx_t *ctx)
{
    off_t                                  size;
    ngx_int_t                              rc;
    ngx_chain_t                           *out, *cl;
    ngx_http_request_t                    *r;
    ngx_http_billing_main_conf_t          *bmcf;
    const ngx_http_billing_page_format_t  *format;

    r = ctx->request;
    format = ctx->format;
    bmcf = ngx_http_get_module_main_conf(r, ngx_http_billing_module);

    ngx_http_billing_status_sum(&bmcf->status, &ctx->page.sum);
    ctx->page.started = bmcf->status.zone->started;

    ctx->page.servers = ngx_http_billing_status_servers_sum(
                                               &bmcf->status.servers, r->pool,
                                               bmcf->status.zone->nslots);
    if (ctx->page.servers == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (bmcf->status.clients.max) {
        ctx->page.clients = &bmcf->status.clients;
        ctx->page.nclients = bmcf->status.clients.table->nclients;
    }

    out = format->write(&ctx->page, &size);

    if (out == NULL || ngx_http_billing_no_store(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (format->policy
        && ngx_http_billing_add_header(r, NULL,
                                       &ngx_http_billing_page_name_policy,
                                       format->policy)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = size;
    r->headers_out.content_type = format->type;
    r->headers_out.content_type_len = format->type_len;
    r->headers_out.content_type_lowcase = NULL;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    for (cl = out; cl->next; cl = cl->next) { /* void */ }

    cl->buf->last_buf = (r == r->main);
    cl->buf->last_in_chain = 1;

    return ngx_http_output_filter(r, out);
}
