
#include "ngx_http_billing_request.h"


static void ngx_http_billing_sort_ids(ngx_array_t *ids);
static ngx_uint_t ngx_http_billing_has_id(ngx_array_t *ids, int64_t id);


/* the ids of a login alone are read later, page by page, by the list */

ngx_http_billing_action_e
ngx_http_billing_resolve(ngx_http_billing_ctx_t *ctx)
{
    ngx_str_t                     *uuid;
    ngx_uint_t                     i;
    ngx_http_request_t            *r;
    ngx_http_billing_lookup_t    **lookup;
    ngx_http_billing_params_t     *params;

    params = &ctx->params;

    if (!params->has_uuids) {

        if (params->has_ids) {
            ctx->ids = params->ids;

            ngx_http_billing_sort_ids(&ctx->ids);
        }

        ctx->phase = NGX_HTTP_BILLING_PHASE_LIST;

        return NGX_HTTP_BILLING_NEXT;
    }

    r = ctx->request;

    if (ngx_http_billing_lookups(ctx,
                                 ctx->repeated ? NGX_HTTP_BILLING_STORE_PASS
                                               : NGX_HTTP_BILLING_STORE_KEEP,
                                 r->pool, params->uuids.nelts + 1)
        != NGX_OK
        || ngx_array_init(&ctx->externals, r->pool, params->uuids.nelts,
                          sizeof(ngx_http_billing_lookup_t *))
           != NGX_OK)
    {
        return ngx_http_billing_error(ctx);
    }

    uuid = params->uuids.elts;

    for (i = 0; i < params->uuids.nelts; i++) {

        lookup = ngx_array_push(&ctx->externals);

        /* there is room for all of them */

        *lookup = ngx_http_billing_cache_external(&ctx->cache, &uuid[i]);

        if (*lookup == NULL) {
            return ngx_http_billing_error(ctx);
        }
    }

    if (ngx_http_billing_check_loaded(ctx) != NGX_OK) {
        return ngx_http_billing_error(ctx);
    }

    ctx->phase = NGX_HTTP_BILLING_PHASE_RESOLVED;

    return NGX_HTTP_BILLING_ASK;
}


ngx_http_billing_action_e
ngx_http_billing_resolved(ngx_http_billing_ctx_t *ctx)
{
    int64_t                     *id;
    ngx_uint_t                   i;
    ngx_http_request_t          *r;
    ngx_http_billing_lookup_t  **lookup;
    ngx_http_billing_params_t   *params;

    r = ctx->request;
    params = &ctx->params;

    ngx_http_billing_checked_loaded(ctx);

    if (ngx_array_init(&ctx->ids, r->pool, ctx->externals.nelts,
                       sizeof(int64_t))
        != NGX_OK)
    {
        return ngx_http_billing_error(ctx);
    }

    lookup = ctx->externals.elts;

    for (i = 0; i < ctx->externals.nelts; i++) {

        if (!ngx_http_billing_lookup_found(lookup[i])
            || (params->has_ids
                && !ngx_http_billing_has_id(&params->ids, lookup[i]->id)))
        {
            continue;
        }

        /* there is room for all of them */

        id = ngx_array_push(&ctx->ids);
        *id = lookup[i]->id;
    }

    ngx_http_billing_sort_ids(&ctx->ids);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "billing resolved: %ui of %ui uuids", ctx->ids.nelts,
                   ctx->externals.nelts);

    ctx->phase = NGX_HTTP_BILLING_PHASE_LIST;

    return NGX_HTTP_BILLING_NEXT;
}


/*
 * Repeated lookups prove that there is no camera only if the data was loaded
 * before them and is loaded after them: synced_at is asked for behind them.
 */

ngx_int_t
ngx_http_billing_check_loaded(ngx_http_billing_ctx_t *ctx)
{
    if (!ctx->repeated || ctx->cameras) {
        ctx->synced_at = NULL;
        return NGX_OK;
    }

    ctx->synced_at = ngx_http_billing_cache_synced_at(&ctx->cache);

    return ctx->synced_at ? NGX_OK : NGX_ERROR;
}


void
ngx_http_billing_checked_loaded(ngx_http_billing_ctx_t *ctx)
{
    if (ctx->repeated && ctx->synced_at
        && !ngx_http_billing_lookup_found(ctx->synced_at))
    {
        ctx->inconclusive = 1;
    }
}


/*
 * No camera was found.  If synced_at is missing, the server's data is not
 * loaded.  If synced_at is there, the data may have been loaded after the
 * lookups.  So the lookups are repeated once, past the worker's store.  They
 * prove that there is no camera if they are answered on the connection that
 * found synced_at, and synced_at is found after them, too.
 */

ngx_http_billing_action_e
ngx_http_billing_nothing(ngx_http_billing_ctx_t *ctx)
{
    if (ctx->repeated && !ctx->inconclusive) {

        if (ngx_http_billing_json_start(&ctx->json) != NGX_OK) {
            return ngx_http_billing_error(ctx);
        }

        ngx_http_billing_json_null(&ctx->json);

        return ngx_http_billing_send_json(ctx, NGX_HTTP_OK);
    }

    if (ngx_http_billing_lookups(ctx, NGX_HTTP_BILLING_STORE_PASS,
                                 ctx->request->pool, 1)
        != NGX_OK)
    {
        return ngx_http_billing_error(ctx);
    }

    ctx->synced_at = ngx_http_billing_cache_synced_at(&ctx->cache);

    if (ctx->synced_at == NULL) {
        return ngx_http_billing_error(ctx);
    }

    ctx->phase = NGX_HTTP_BILLING_PHASE_NOTHING_ANSWERED;

    return NGX_HTTP_BILLING_ASK;
}


ngx_http_billing_action_e
ngx_http_billing_nothing_answered(ngx_http_billing_ctx_t *ctx)
{
    if (ngx_http_billing_lookup_found(ctx->synced_at)) {
        ctx->repeated = 1;
        ctx->loaded = ctx->cache.connection;
        ctx->inconclusive = 0;

    } else if (ngx_http_billing_cache_unloaded(&ctx->cache, ctx->synced_at)
               == NGX_OK)
    {
        ctx->repeated = 0;

    } else {
        return ngx_http_billing_unloaded(ctx);
    }

    ctx->phase = NGX_HTTP_BILLING_PHASE_RESOLVE;

    return NGX_HTTP_BILLING_NEXT;
}


/* sorts the ids, which are few, ascending and drops duplicates */

static void
ngx_http_billing_sort_ids(ngx_array_t *ids)
{
    int64_t     *id, next;
    ngx_uint_t   i, n, place;

    id = ids->elts;

    for (i = 0, n = 0; i < ids->nelts; i++) {

        next = id[i];

        for (place = n; place && id[place - 1] > next; place--) { /* void */ }

        if (place && id[place - 1] == next) {
            continue;
        }

        ngx_memmove(&id[place + 1], &id[place], (n - place) * sizeof(int64_t));

        id[place] = next;
        n++;
    }

    ids->nelts = n;
}


static ngx_uint_t
ngx_http_billing_has_id(ngx_array_t *ids, int64_t id)
{
    int64_t     *elts;
    ngx_uint_t   i;

    elts = ids->elts;

    for (i = 0; i < ids->nelts; i++) {
        if (elts[i] == id) {
            return 1;
        }
    }

    return 0;
}
