
#include "ngx_http_billing_handler.h"


static ngx_int_t ngx_http_billing_list_ask(ngx_http_billing_ctx_t *ctx,
    ngx_http_billing_next_pt next);
static void ngx_http_billing_list_ids(ngx_http_billing_ctx_t *ctx);
static ngx_int_t ngx_http_billing_list_json(ngx_http_billing_ctx_t *ctx);
static void ngx_http_billing_list_batch(ngx_http_billing_ctx_t *ctx);
static void ngx_http_billing_list_next(ngx_http_billing_ctx_t *ctx);
static void ngx_http_billing_list_end(ngx_http_billing_ctx_t *ctx);
static ngx_int_t ngx_http_billing_list_output(ngx_http_billing_ctx_t *ctx);
static ngx_int_t ngx_http_billing_list_wait(ngx_http_billing_ctx_t *ctx);
static void ngx_http_billing_list_writer(ngx_http_request_t *r);


/*
 * A batch is fetched, and with it the ids of the next one.  Two go down the
 * filters together, and only when nothing of those before is left: there is
 * never more of a list in memory.
 */

void
ngx_http_billing_list(ngx_http_billing_ctx_t *ctx)
{
    ngx_http_request_t           *r;
    ngx_http_billing_loc_conf_t  *blcf;

    r = ctx->request;
    blcf = ngx_http_get_module_loc_conf(r, ngx_http_billing_module);

    if (ctx->pool == NULL) {
        ctx->pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE / 4,
                                    r->connection->log);
        if (ctx->pool == NULL) {
            goto failed;
        }
    }

    ctx->held = 0;

    if (ngx_array_init(&ctx->ids, r->pool, blcf->batch, sizeof(int64_t))
        != NGX_OK)
    {
        goto failed;
    }

    if (ngx_http_billing_list_ask(ctx, ngx_http_billing_list_ids) == NGX_OK) {
        return;
    }

failed:

    ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
}


/* asks for the cameras of ctx->ids and, if there may be any, for ids after */

static ngx_int_t
ngx_http_billing_list_ask(ngx_http_billing_ctx_t *ctx,
    ngx_http_billing_next_pt next)
{
    int64_t                      *id, after;
    ngx_uint_t                    i, n;
    ngx_http_billing_cache_t     *cache;
    ngx_http_billing_lookup_t    *lookup;
    ngx_http_billing_loc_conf_t  *blcf;

    cache = &ctx->cache;
    blcf = ngx_http_get_module_loc_conf(ctx->request, ngx_http_billing_module);

    id = ctx->ids.elts;
    n = ctx->ids.nelts;
    after = n ? id[n - 1] : 0;

    /* the batch before is in the answer by now */

    ngx_reset_pool(ctx->pool);

    if (ngx_http_billing_cache_init(cache, blcf->cache_set, ctx->pool,
                                    &blcf->redis_prefix, n + 3)
        != NGX_OK
        || ngx_array_init(&ctx->lookups, ctx->pool, n + 1,
                          sizeof(ngx_http_billing_lookup_t *))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {

        lookup = ngx_http_billing_cache_camera(cache, id[i]);

        if (ngx_http_billing_add_lookup(&ctx->lookups, lookup) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    ctx->ids.nelts = 0;

    /* the list goes on after the last one's score */

    if (n
        && ngx_http_billing_cache_member(cache, &ctx->params.login, after)
           == NULL)
    {
        return NGX_ERROR;
    }

    if ((n == 0 || n == blcf->batch)
        && ngx_http_billing_cache_login(cache, &ctx->params.login, after,
                                        &ctx->ids)
           == NULL)
    {
        return NGX_ERROR;
    }

    /* the answer has begun: is the cache still the one that was read? */

    if (ctx->cameras) {
        ctx->synced_at = ngx_http_billing_cache_synced_at(cache);

        if (ctx->synced_at == NULL) {
            return NGX_ERROR;
        }
    }

    ngx_http_billing_ask(ctx, next);

    return NGX_OK;
}


static void
ngx_http_billing_list_ids(ngx_http_billing_ctx_t *ctx)
{
    if (ctx->ids.nelts == 0) {
        ngx_http_billing_nothing(ctx);
        return;
    }

    if (ngx_http_billing_list_ask(ctx, ngx_http_billing_list_batch) != NGX_OK) {
        ngx_http_finalize_request(ctx->request,
                                  NGX_HTTP_INTERNAL_SERVER_ERROR);
    }
}


static ngx_int_t
ngx_http_billing_list_json(ngx_http_billing_ctx_t *ctx)
{
    ngx_uint_t                   i;
    ngx_http_billing_lookup_t  **camera;

    camera = ctx->lookups.elts;

    for (i = 0; i < ctx->lookups.nelts; i++) {

        if (ngx_http_billing_lookup_found(camera[i])
            && ngx_http_billing_add_camera(ctx, &camera[i]->text) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
ngx_http_billing_list_batch(ngx_http_billing_ctx_t *ctx)
{
    ngx_uint_t           before;
    ngx_http_request_t  *r;

    r = ctx->request;
    before = ctx->cameras;

    if (ngx_http_billing_list_json(ctx) != NGX_OK) {
        ngx_http_finalize_request(r, ctx->header_sent
                                     ? NGX_ERROR
                                     : NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    if (before) {

        if (ngx_http_billing_lookup_found(ctx->synced_at)) {
            ctx->synced = 1;

        } else if (ctx->synced || ctx->cameras == before) {

            /* a list that ends because Redis was flushed does not end here */

            ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                          "the cache was emptied while a list was read");

            ngx_http_billing_failed(ctx,
                                    NGX_HTTP_BILLING_REDIS_UNAVAILABLE);
            return;
        }
    }

    if (ctx->ids.nelts == 0) {
        ngx_http_billing_list_end(ctx);
        return;
    }

    ctx->held = !ctx->held;

    if (!ctx->held && ctx->json.out
        && ngx_http_billing_list_output(ctx) != NGX_OK)
    {
        return;
    }

    if (ctx->busy) {

        if (ngx_http_billing_list_wait(ctx) != NGX_OK) {
            ngx_http_finalize_request(r, NGX_ERROR);
        }

        return;
    }

    ngx_http_billing_list_next(ctx);
}


static void
ngx_http_billing_list_next(ngx_http_billing_ctx_t *ctx)
{
    ngx_http_request_t           *r;
    ngx_http_billing_loc_conf_t  *blcf;

    r = ctx->request;
    blcf = ngx_http_get_module_loc_conf(r, ngx_http_billing_module);

    /* each batch has the whole time */

    ctx->left = blcf->redis_timeout;

    if (ngx_http_billing_list_ask(ctx, ngx_http_billing_list_batch) != NGX_OK) {
        ngx_http_finalize_request(r, ctx->header_sent
                                     ? NGX_ERROR
                                     : NGX_HTTP_INTERNAL_SERVER_ERROR);
    }
}


static void
ngx_http_billing_list_end(ngx_http_billing_ctx_t *ctx)
{
    off_t                size;
    ngx_buf_t           *last;
    ngx_chain_t         *out;
    ngx_http_request_t  *r;

    if (ctx->cameras == 0) {
        ngx_http_billing_nothing(ctx);
        return;
    }

    ngx_http_billing_json_array_close(&ctx->json);

    if (!ctx->header_sent) {
        ngx_http_billing_send_json(ctx, NGX_HTTP_OK);
        return;
    }

    r = ctx->request;

    last = ngx_http_billing_json_take(&ctx->json, &out, &size);

    if (last == NULL) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    last->last_buf = (r == r->main);
    last->last_in_chain = 1;

    ngx_http_finalize_request(r, ngx_http_output_filter(r, out));
}


/* NGX_OK: the list goes on; NGX_DONE: the request was finalized */

static ngx_int_t
ngx_http_billing_list_output(ngx_http_billing_ctx_t *ctx)
{
    off_t                size;
    ngx_int_t            rc;
    ngx_buf_t           *last;
    ngx_chain_t         *out;
    ngx_http_request_t  *r;

    r = ctx->request;

    last = ngx_http_billing_json_take(&ctx->json, &out, &size);

    if (last == NULL) {
        ngx_http_finalize_request(r, ctx->header_sent
                                     ? NGX_ERROR
                                     : NGX_HTTP_INTERNAL_SERVER_ERROR);
        return NGX_DONE;
    }

    if (!ctx->header_sent) {
        rc = ngx_http_billing_send_header(ctx, NGX_HTTP_OK, -1);

        if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
            ngx_http_finalize_request(r, rc);
            return NGX_DONE;
        }
    }

    /* nothing of it may wait for more: then it is sent when none is busy */

    last->flush = 1;

    if (ngx_http_output_filter(r, out) == NGX_ERROR) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return NGX_DONE;
    }

    ngx_chain_update_chains(r->pool, &ctx->json.free, &ctx->busy, &out,
                            ctx->json.tag);

    return NGX_OK;
}


/* as ngx_http_writer() does */

static ngx_int_t
ngx_http_billing_list_wait(ngx_http_billing_ctx_t *ctx)
{
    ngx_event_t               *wev;
    ngx_connection_t          *c;
    ngx_http_request_t        *r;
    ngx_http_core_loc_conf_t  *clcf;

    r = ctx->request;
    c = r->connection;
    wev = c->write;
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    r->write_event_handler = ngx_http_billing_list_writer;

    /* a subrequest whose turn has not come does not wait for the client */

    if (c->data != r) {
        return NGX_OK;
    }

    if (!wev->delayed) {
        ngx_add_timer(wev, clcf->send_timeout);
    }

    return ngx_handle_write_event(wev, clcf->send_lowat);
}


static void
ngx_http_billing_list_writer(ngx_http_request_t *r)
{
    ngx_event_t             *wev;
    ngx_chain_t             *out;
    ngx_connection_t        *c;
    ngx_http_billing_ctx_t  *ctx;

    c = r->connection;
    wev = c->write;
    ctx = ngx_http_get_module_ctx(r, ngx_http_billing_module);

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, c->log, 0, "billing list writer");

    if (wev->timedout) {
        ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT, "client timed out");
        c->timedout = 1;

        ngx_http_finalize_request(r, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }

    if (!wev->delayed && !r->aio) {

        if (ngx_http_output_filter(r, NULL) == NGX_ERROR) {
            ngx_http_finalize_request(r, NGX_ERROR);
            return;
        }

        out = NULL;

        ngx_chain_update_chains(r->pool, &ctx->json.free, &ctx->busy, &out,
                                ctx->json.tag);
    }

    if (ctx->busy) {

        if (ngx_http_billing_list_wait(ctx) != NGX_OK) {
            ngx_http_finalize_request(r, NGX_ERROR);
        }

        return;
    }

    if (wev->timer_set && !wev->delayed) {
        ngx_del_timer(wev);
    }

    r->write_event_handler = ngx_http_request_empty_handler;

    ngx_http_billing_list_next(ctx);
}
