
#include "ngx_http_billing_handler.h"


static void ngx_http_billing_cancel(void *data);
static void ngx_http_billing_body_handler(ngx_http_request_t *r);
static void ngx_http_billing_resolve(ngx_http_billing_ctx_t *ctx);
static void ngx_http_billing_resolved(ngx_http_billing_ctx_t *ctx);
static void ngx_http_billing_fetch(ngx_http_billing_ctx_t *ctx);
static void ngx_http_billing_fetched(ngx_http_billing_ctx_t *ctx);
static void ngx_http_billing_nothing_synced(ngx_http_billing_ctx_t *ctx);
static void ngx_http_billing_client_handler(ngx_http_request_t *r);
static void ngx_http_billing_answered(void *data,
    ngx_http_billing_redis_result_e result);
static void ngx_http_billing_sort_ids(ngx_array_t *ids);
static int ngx_libc_cdecl ngx_http_billing_cmp_ids(const void *one,
    const void *two);
static ngx_uint_t ngx_http_billing_has_id(ngx_array_t *ids, int64_t id);


static ngx_str_t  ngx_http_billing_bad_gateway =
    ngx_string("The camera cache gave no valid answer.");
static ngx_str_t  ngx_http_billing_unavailable =
    ngx_string("The camera cache is not available.");
static ngx_str_t  ngx_http_billing_never_loaded =
    ngx_string("The camera cache has not been loaded yet.");
static ngx_str_t  ngx_http_billing_gateway_timeout =
    ngx_string("The camera cache did not answer in time.");

static ngx_str_t  ngx_http_billing_methods = ngx_string("GET, HEAD");
static ngx_str_t  ngx_http_billing_methods_post = ngx_string("GET, HEAD, POST");


ngx_int_t
ngx_http_billing_handler(ngx_http_request_t *r)
{
    ngx_uint_t                    allowed;
    ngx_http_cleanup_t           *cln;
    ngx_http_billing_ctx_t       *ctx;
    ngx_http_billing_loc_conf_t  *blcf;

    blcf = ngx_http_get_module_loc_conf(r, ngx_http_billing_module);

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_billing_ctx_t));
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->request = r;
    ctx->left = blcf->redis_timeout;

    ngx_http_billing_json_init(&ctx->json, r->pool,
                               (ngx_buf_tag_t) &ngx_http_billing_module);

    ctx->record = ngx_http_billing_status_record(r);
    if (ctx->record == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* a handler that nginx has taken the request from still waits for Redis */

    if (ctx->record->handler_data) {
        ngx_http_billing_cancel(ctx->record->handler_data);
    }

    ctx->record->handler_data = ctx;
    ctx->record->cameras = &ctx->cameras;

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_billing_cancel;
    cln->data = ctx;

    ngx_http_set_ctx(r, ctx, ngx_http_billing_module);

    r->main->count++;

    allowed = NGX_HTTP_GET|NGX_HTTP_HEAD;

    if (blcf->allow_post) {
        allowed |= NGX_HTTP_POST;
    }

    if (!(r->method & allowed)) {
        ngx_http_billing_send_not_allowed(ctx, blcf->allow_post
                                               ? &ngx_http_billing_methods_post
                                               : &ngx_http_billing_methods);

    } else if (blcf->token_required) {
        ngx_http_billing_authenticate(ctx);

    } else {
        ngx_http_billing_read_body(ctx);
    }

    return NGX_DONE;
}


/* stops waiting for Redis: the request ends, or another handler takes it */

static void
ngx_http_billing_cancel(void *data)
{
    ngx_http_billing_ctx_t *ctx = data;

    ngx_http_billing_cache_cancel(&ctx->cache);

    ngx_http_billing_status_answered(ctx->record, NULL);

    if (ctx->pool) {
        ngx_destroy_pool(ctx->pool);
        ctx->pool = NULL;
    }
}


void
ngx_http_billing_read_body(ngx_http_billing_ctx_t *ctx)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = ctx->request;

    rc = ngx_http_read_client_request_body(r, ngx_http_billing_body_handler);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        ngx_http_finalize_request(r, rc);
        return;
    }

    /* reading the body has taken a reference to the request, for its handler */

    ngx_http_finalize_request(r, NGX_DONE);
}


static void
ngx_http_billing_body_handler(ngx_http_request_t *r)
{
    ngx_int_t                     rc;
    ngx_http_billing_ctx_t       *ctx;
    ngx_http_billing_loc_conf_t  *blcf;

    ctx = ngx_http_get_module_ctx(r, ngx_http_billing_module);
    blcf = ngx_http_get_module_loc_conf(r, ngx_http_billing_module);

    rc = ngx_http_billing_params(r, &ctx->params, blcf->max_ids);

    if (rc != NGX_OK && rc != NGX_DECLINED) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    if (rc == NGX_DECLINED) {
        ngx_http_billing_send_unprocessable(ctx);
        return;
    }

    ngx_http_billing_resolve(ctx);
}


/* from the selectors to the ids of cameras that may be in the answer */

static void
ngx_http_billing_resolve(ngx_http_billing_ctx_t *ctx)
{
    ngx_str_t                    *uuid;
    ngx_uint_t                    i;
    ngx_http_request_t           *r;
    ngx_http_billing_lookup_t    *lookup;
    ngx_http_billing_params_t    *params;
    ngx_http_billing_loc_conf_t  *blcf;

    params = &ctx->params;

    if (!params->has_uuids) {

        if (!params->has_ids) {
            ngx_http_billing_list(ctx);
            return;
        }

        ctx->ids = params->ids;
        ngx_http_billing_fetch(ctx);
        return;
    }

    r = ctx->request;
    blcf = ngx_http_get_module_loc_conf(r, ngx_http_billing_module);

    if (ngx_http_billing_cache_init(&ctx->cache, blcf->cache_set, r->pool,
                                    &blcf->redis_prefix, params->uuids.nelts)
        != NGX_OK
        || ngx_array_init(&ctx->lookups, r->pool, params->uuids.nelts,
                          sizeof(ngx_http_billing_lookup_t *))
           != NGX_OK)
    {
        goto failed;
    }

    uuid = params->uuids.elts;

    for (i = 0; i < params->uuids.nelts; i++) {

        lookup = ngx_http_billing_cache_external(&ctx->cache, &uuid[i]);

        if (ngx_http_billing_add_lookup(&ctx->lookups, lookup) != NGX_OK) {
            goto failed;
        }
    }

    ngx_http_billing_ask(ctx, ngx_http_billing_resolved);
    return;

failed:

    ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
}


static void
ngx_http_billing_resolved(ngx_http_billing_ctx_t *ctx)
{
    int64_t                     *id;
    ngx_uint_t                   i;
    ngx_http_request_t          *r;
    ngx_http_billing_lookup_t  **lookup;

    r = ctx->request;

    if (ngx_array_init(&ctx->ids, r->pool, ctx->lookups.nelts,
                       sizeof(int64_t))
        != NGX_OK)
    {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    lookup = ctx->lookups.elts;

    for (i = 0; i < ctx->lookups.nelts; i++) {

        if (!ngx_http_billing_lookup_found(lookup[i])
            || (ctx->params.has_ids
                && !ngx_http_billing_has_id(&ctx->params.ids, lookup[i]->id)))
        {
            continue;
        }

        id = ngx_array_push(&ctx->ids);
        if (id == NULL) {
            ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
            return;
        }

        *id = lookup[i]->id;
    }

    ngx_http_billing_fetch(ctx);
}


static void
ngx_http_billing_fetch(ngx_http_billing_ctx_t *ctx)
{
    int64_t                      *id;
    ngx_uint_t                    i;
    ngx_http_request_t           *r;
    ngx_http_billing_lookup_t    *lookup;
    ngx_http_billing_loc_conf_t  *blcf;

    if (ctx->ids.nelts == 0) {
        ngx_http_billing_nothing(ctx);
        return;
    }

    ngx_http_billing_sort_ids(&ctx->ids);

    r = ctx->request;
    blcf = ngx_http_get_module_loc_conf(r, ngx_http_billing_module);

    if (ngx_http_billing_cache_init(&ctx->cache, blcf->cache_set, r->pool,
                                    &blcf->redis_prefix,
                                    ctx->ids.nelts
                                    * (1 + ctx->params.has_login))
        != NGX_OK
        || ngx_array_init(&ctx->lookups, r->pool, ctx->ids.nelts,
                          sizeof(ngx_http_billing_lookup_t *))
           != NGX_OK
        || ngx_array_init(&ctx->members, r->pool, ctx->ids.nelts,
                          sizeof(ngx_http_billing_lookup_t *))
           != NGX_OK)
    {
        goto failed;
    }

    id = ctx->ids.elts;

    for (i = 0; i < ctx->ids.nelts; i++) {

        if (ctx->params.has_login) {

            lookup = ngx_http_billing_cache_member(&ctx->cache,
                                                   &ctx->params.login, id[i]);

            if (ngx_http_billing_add_lookup(&ctx->members, lookup) != NGX_OK) {
                goto failed;
            }
        }

        lookup = ngx_http_billing_cache_camera(&ctx->cache, id[i]);

        if (ngx_http_billing_add_lookup(&ctx->lookups, lookup) != NGX_OK) {
            goto failed;
        }
    }

    ngx_http_billing_ask(ctx, ngx_http_billing_fetched);
    return;

failed:

    ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
}


static void
ngx_http_billing_fetched(ngx_http_billing_ctx_t *ctx)
{
    ngx_uint_t                   i;
    ngx_http_billing_lookup_t  **camera, **member;

    camera = ctx->lookups.elts;
    member = ctx->members.elts;

    for (i = 0; i < ctx->lookups.nelts; i++) {

        if (!ngx_http_billing_lookup_found(camera[i])
            || (ctx->params.has_login
                && !ngx_http_billing_lookup_found(member[i])))
        {
            continue;
        }

        if (ngx_http_billing_add_camera(ctx, &camera[i]->text) != NGX_OK) {
            ngx_http_finalize_request(ctx->request,
                                      NGX_HTTP_INTERNAL_SERVER_ERROR);
            return;
        }
    }

    if (ctx->cameras == 0) {
        ngx_http_billing_nothing(ctx);
        return;
    }

    ngx_http_billing_json_array_close(&ctx->json);

    ngx_http_billing_send_json(ctx, NGX_HTTP_OK);
}


ngx_int_t
ngx_http_billing_add_camera(ngx_http_billing_ctx_t *ctx, ngx_str_t *camera)
{
    if (ctx->cameras == 0) {

        if (ngx_http_billing_json_start(&ctx->json) != NGX_OK) {
            return NGX_ERROR;
        }

        ngx_http_billing_json_array_open(&ctx->json);
    }

    ctx->cameras++;

    ngx_http_billing_json_value(&ctx->json, camera);

    return NGX_OK;
}


ngx_int_t
ngx_http_billing_add_lookup(ngx_array_t *lookups,
    ngx_http_billing_lookup_t *lookup)
{
    ngx_http_billing_lookup_t  **elt;

    elt = ngx_array_push(lookups);

    if (elt == NULL || lookup == NULL) {
        return NGX_ERROR;
    }

    *elt = lookup;

    return NGX_OK;
}


void
ngx_http_billing_nothing(ngx_http_billing_ctx_t *ctx)
{
    ngx_http_request_t           *r;
    ngx_http_billing_loc_conf_t  *blcf;

    r = ctx->request;

    if (ctx->again) {

        if (ngx_http_billing_json_start(&ctx->json) != NGX_OK) {
            ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
            return;
        }

        ngx_http_billing_json_null(&ctx->json);
        ngx_http_billing_send_json(ctx, NGX_HTTP_OK);
        return;
    }

    blcf = ngx_http_get_module_loc_conf(r, ngx_http_billing_module);

    if (ngx_http_billing_cache_init(&ctx->cache, blcf->cache_set, r->pool,
                                    &blcf->redis_prefix, 1)
        != NGX_OK)
    {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    ctx->synced_at = ngx_http_billing_cache_synced_at(&ctx->cache);

    if (ctx->synced_at == NULL) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    ngx_http_billing_ask(ctx, ngx_http_billing_nothing_synced);
}


static void
ngx_http_billing_nothing_synced(ngx_http_billing_ctx_t *ctx)
{
    if (!ngx_http_billing_lookup_found(ctx->synced_at)) {
        ngx_log_error(NGX_LOG_ERR, ctx->request->connection->log, 0,
                      "redis key \"%V\" does not exist: the cache has never "
                      "been loaded", &ctx->synced_at->key);

        ngx_http_billing_send_error(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                    &ngx_http_billing_never_loaded);
        return;
    }

    /* it may have been loaded since, or between a flush and now */

    ctx->again = 1;

    ngx_http_billing_resolve(ctx);
}


void
ngx_http_billing_ask(ngx_http_billing_ctx_t *ctx,
    ngx_http_billing_next_pt next)
{
    ngx_http_request_t           *r;
    ngx_http_billing_loc_conf_t  *blcf;

    r = ctx->request;
    blcf = ngx_http_get_module_loc_conf(r, ngx_http_billing_module);

    ctx->next = next;
    ctx->asked = ngx_current_msec;

    ctx->cache.done = ngx_http_billing_answered;
    ctx->cache.data = ctx;

    if (ngx_http_billing_client_watch(r, ngx_http_billing_client_handler)
        != NGX_OK)
    {
        ngx_http_finalize_request(r, ctx->header_sent
                                     ? NGX_ERROR
                                     : NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    ngx_http_billing_status_ask(ctx->record);

    ngx_http_billing_cache_ask(&ctx->cache, blcf->redis_timeout,
                               ctx->asked + ctx->left, r->connection->log);
}


static void
ngx_http_billing_client_handler(ngx_http_request_t *r)
{
    ngx_http_billing_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_billing_module);

    if (ctx == NULL || !ngx_http_billing_client_gone(r)) {
        ngx_http_test_reading(r);
        return;
    }

    ngx_http_billing_cancel(ctx);

    ngx_http_finalize_request(r, NGX_HTTP_CLIENT_CLOSED_REQUEST);
}


static void
ngx_http_billing_answered(void *data, ngx_http_billing_redis_result_e result)
{
    ngx_connection_t        *c;
    ngx_http_request_t      *r;
    ngx_http_billing_ctx_t  *ctx;

    ctx = data;
    r = ctx->request;
    c = r->connection;

    /* nginx may have given the request to another handler meanwhile */

    if (ngx_http_get_module_ctx(r, ngx_http_billing_module) != ctx) {
        ngx_http_billing_cancel(ctx);
        return;
    }

    ngx_http_set_log_request(c->log, r);

    ctx->left -= (ngx_msec_int_t) (ngx_current_msec - ctx->asked);

    ngx_http_billing_status_answered(ctx->record, ctx->cache.server);

    if (result == NGX_HTTP_BILLING_REDIS_OK) {
        ctx->next(ctx);

    } else {
        ngx_http_billing_failed(ctx, result);
    }

    ngx_http_run_posted_requests(c);
}


void
ngx_http_billing_failed(ngx_http_billing_ctx_t *ctx,
    ngx_http_billing_redis_result_e result)
{
    off_t                size;
    ngx_chain_t         *out;
    ngx_http_request_t  *r;

    r = ctx->request;

    if (ctx->header_sent) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "list broken off after %ui cameras", ctx->cameras);

        ngx_http_billing_status_broken(ctx->record);

        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    /* a batch that was held is not sent any more */

    (void) ngx_http_billing_json_take(&ctx->json, &out, &size);

    switch (result) {

    case NGX_HTTP_BILLING_REDIS_UNAVAILABLE:
        ngx_http_billing_send_error(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                    &ngx_http_billing_unavailable);
        return;

    case NGX_HTTP_BILLING_REDIS_TIMEOUT:
        ngx_http_billing_send_error(ctx, NGX_HTTP_GATEWAY_TIME_OUT,
                                    &ngx_http_billing_gateway_timeout);
        return;

    default: /* NGX_HTTP_BILLING_REDIS_BROKEN */
        ngx_http_billing_send_error(ctx, NGX_HTTP_BAD_GATEWAY,
                                    &ngx_http_billing_bad_gateway);
        return;
    }
}


/* ascending, each id once */

static void
ngx_http_billing_sort_ids(ngx_array_t *ids)
{
    int64_t     *id;
    ngx_uint_t   i, n;

    id = ids->elts;

    ngx_qsort(id, (size_t) ids->nelts, sizeof(int64_t),
              ngx_http_billing_cmp_ids);

    for (i = 1, n = 1; i < ids->nelts; i++) {
        if (id[i] != id[n - 1]) {
            id[n++] = id[i];
        }
    }

    ids->nelts = n;
}


static int ngx_libc_cdecl
ngx_http_billing_cmp_ids(const void *one, const void *two)
{
    const int64_t  *first, *second;

    first = one;
    second = two;

    return (*first > *second) - (*first < *second);
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
