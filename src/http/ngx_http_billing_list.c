
#include "ngx_http_billing_request.h"


/*
 * Cameras go to the client in batches.  One pipeline asks for a batch.  A
 * login's ids are read page by page: the pipeline of a page's last batch also
 * asks for the next page.
 *
 * Memory is bounded: a batch goes down the filters only after the client has
 * taken all earlier ones.  The first batch is held and sent together with the
 * second one, so that a fault in the second one does not break the answer off.
 * A batch is also bounded by bytes.  Cameras beyond this bound are read from
 * Redis and dropped; the next batch is smaller and begins with them.
 */


/* bytes of cameras in a batch; the last camera may exceed the bound */

#define NGX_HTTP_BILLING_LIST_BYTES  (1024 * 1024)

/* a batch of so many bytes is sent at once; a smaller one may be held */

#define NGX_HTTP_BILLING_LIST_HELD   (NGX_HTTP_BILLING_LIST_BYTES / 4)

/* ids of a page that the worker's store may keep */

#define NGX_HTTP_BILLING_LIST_PAGE   1000


static ngx_int_t ngx_http_billing_batch_lookups(ngx_http_billing_ctx_t *ctx);
static ngx_int_t ngx_http_billing_batch_page(ngx_http_billing_ctx_t *ctx);
static ngx_int_t ngx_http_billing_batch_cameras(ngx_http_billing_ctx_t *ctx,
    ngx_uint_t *taken);
static void ngx_http_billing_batch_next(ngx_http_billing_ctx_t *ctx,
    ngx_uint_t taken);
static ngx_http_billing_action_e ngx_http_billing_batch_emptied(
    ngx_http_billing_ctx_t *ctx);
static ngx_http_billing_action_e ngx_http_billing_list_end(
    ngx_http_billing_ctx_t *ctx);
static ngx_http_billing_action_e ngx_http_billing_list_output(
    ngx_http_billing_ctx_t *ctx);
static void ngx_http_billing_list_update(ngx_http_billing_ctx_t *ctx,
    ngx_chain_t *out);


ngx_http_billing_action_e
ngx_http_billing_list(ngx_http_billing_ctx_t *ctx)
{
    ngx_uint_t                    n;
    ngx_http_request_t           *r;
    ngx_http_billing_list_t      *list;
    ngx_http_billing_params_t    *params;
    ngx_http_billing_loc_conf_t  *blcf;

    r = ctx->request;
    list = &ctx->list;
    params = &ctx->params;
    blcf = ngx_http_get_module_loc_conf(r, ngx_http_billing_module);

    list->next = 0;
    list->page = 0;
    list->held = 0;

    if (params->has_ids || params->has_uuids) {

        if (ctx->ids.nelts == 0) {
            ctx->phase = NGX_HTTP_BILLING_PHASE_NOTHING;
            return NGX_HTTP_BILLING_NEXT;
        }

        list->ids = ctx->ids;
        list->max = ctx->ids.nelts;
        list->login = 0;

    } else {

        /* locations share kept pages, whatever their "billing_batch" is */

        n = blcf->cache_size ? NGX_HTTP_BILLING_LIST_PAGE : blcf->batch;

        if (ngx_array_init(&list->ids, r->pool, n, sizeof(int64_t)) != NGX_OK
            || ngx_array_init(&list->following, r->pool, n, sizeof(int64_t))
               != NGX_OK)
        {
            return ngx_http_billing_error(ctx);
        }

        list->max = blcf->batch;
        list->login = 1;
    }

    list->size = list->max;

    ctx->phase = NGX_HTTP_BILLING_PHASE_BATCH;

    return NGX_HTTP_BILLING_NEXT;
}


ngx_http_billing_action_e
ngx_http_billing_batch(ngx_http_billing_ctx_t *ctx)
{
    ngx_http_request_t           *r;
    ngx_http_billing_list_t      *list;
    ngx_http_billing_loc_conf_t  *blcf;

    r = ctx->request;
    list = &ctx->list;
    blcf = ngx_http_get_module_loc_conf(r, ngx_http_billing_module);

    /* the cameras of the previous batch are in the answer by now */

    if (list->pool) {
        ngx_reset_pool(list->pool);

    } else {
        list->pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE / 4,
                                     r->connection->log);
        if (list->pool == NULL) {
            return ngx_http_billing_error(ctx);
        }
    }

    /* an answer that has begun gets a new deadline with each batch */

    if (ctx->cameras) {
        ctx->deadline = ngx_current_msec + blcf->redis_timeout;
    }

    list->n = ngx_min(list->size, list->ids.nelts - list->next);

    /* a camera named by another selector has to be one of the login's */

    list->narrowed = (ctx->params.has_login && !list->login);

    if (ngx_http_billing_lookups(ctx,
                                 ctx->repeated ? NGX_HTTP_BILLING_STORE_PASS
                                               : NGX_HTTP_BILLING_STORE_KEEP,
                                 list->pool,
                                 list->n * (list->narrowed ? 2 : 1) + 3)
        != NGX_OK
        || ngx_http_billing_batch_lookups(ctx) != NGX_OK
        || ngx_http_billing_batch_page(ctx) != NGX_OK
        || ngx_http_billing_check_loaded(ctx) != NGX_OK)
    {
        return ngx_http_billing_error(ctx);
    }

    ctx->cache.limit = NGX_HTTP_BILLING_LIST_BYTES;
    ctx->cache.once = (list->page > 1);

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "billing batch: %ui cameras from %ui of %ui", list->n,
                   list->next, list->ids.nelts);

    /* the answer has begun: each batch checks that data is still loaded */

    list->synced_at = NULL;

    if (ctx->cameras) {
        list->synced_at = ngx_http_billing_cache_synced_at(&ctx->cache);

        if (list->synced_at == NULL) {
            return ngx_http_billing_error(ctx);
        }
    }

    ctx->phase = NGX_HTTP_BILLING_PHASE_BATCH_ANSWERED;

    return NGX_HTTP_BILLING_ASK;
}


static ngx_int_t
ngx_http_billing_batch_lookups(ngx_http_billing_ctx_t *ctx)
{
    int64_t                     *id;
    ngx_uint_t                   i;
    ngx_http_billing_list_t     *list;
    ngx_http_billing_lookup_t  **lookup;

    list = &ctx->list;

    id = list->ids.elts;
    id += list->next;

    lookup = ngx_palloc(list->pool, (list->narrowed ? 2 : 1) * list->n
                                    * sizeof(ngx_http_billing_lookup_t *));
    if (lookup == NULL) {
        return NGX_ERROR;
    }

    list->cameras = lookup;
    list->members = list->narrowed ? lookup + list->n : NULL;

    for (i = 0; i < list->n; i++) {

        if (list->members) {
            list->members[i] = ngx_http_billing_cache_member(&ctx->cache,
                                                     &ctx->params.login, id[i]);
            if (list->members[i] == NULL) {
                return NGX_ERROR;
            }
        }

        list->cameras[i] = ngx_http_billing_cache_camera(&ctx->cache, id[i]);

        if (list->cameras[i] == NULL) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* asks for the next page of a login's ids together with the last batch */

static ngx_int_t
ngx_http_billing_batch_page(ngx_http_billing_ctx_t *ctx)
{
    int64_t                  *id, last;
    ngx_str_t                *login;
    ngx_uint_t                n;
    ngx_http_billing_list_t  *list;

    list = &ctx->list;
    login = &ctx->params.login;
    n = list->ids.nelts;

    list->paged = 0;

    if (!list->login || list->next + list->n != n) {
        return NGX_OK;
    }

    last = 0;

    if (n) {
        id = list->ids.elts;
        last = id[n - 1];

        /* the next page begins after the score of the page's last id */

        if (ngx_http_billing_cache_last_member(&ctx->cache, login, last,
                                               list->page - 1)
            == NULL)
        {
            return NGX_ERROR;
        }

        if (n < list->ids.nalloc) {
            return NGX_OK;
        }
    }

    list->paged = 1;
    list->following.nelts = 0;

    return ngx_http_billing_cache_login(&ctx->cache, login, last, list->page,
                                        &list->following)
           ? NGX_OK : NGX_ERROR;
}


ngx_http_billing_action_e
ngx_http_billing_batch_answered(ngx_http_billing_ctx_t *ctx)
{
    ngx_uint_t                before, taken;
    ngx_http_billing_list_t  *list;

    list = &ctx->list;
    before = ctx->cameras;

    ngx_http_billing_checked_loaded(ctx);

    if (ngx_http_billing_batch_cameras(ctx, &taken) != NGX_OK) {
        return ngx_http_billing_error(ctx);
    }

    if (before) {

        if (ngx_http_billing_lookup_found(list->synced_at)) {
            list->synced = 1;

        } else if (list->synced || ctx->cameras == before) {
            return ngx_http_billing_batch_emptied(ctx);
        }
    }

    ngx_http_billing_batch_next(ctx, taken);

    ctx->phase = NGX_HTTP_BILLING_PHASE_BATCH;

    if (list->next == list->ids.nelts) {
        return ngx_http_billing_list_end(ctx);
    }

    if (list->n == 0) {
        return NGX_HTTP_BILLING_NEXT;
    }

    if (!ctx->header_sent && !list->held
        && ctx->cache.size < NGX_HTTP_BILLING_LIST_HELD)
    {
        list->held = 1;
        return NGX_HTTP_BILLING_NEXT;
    }

    return ctx->json.out ? ngx_http_billing_list_output(ctx)
                         : NGX_HTTP_BILLING_NEXT;
}


/* taken: how many cameras of the batch are not to be asked for again */

static ngx_int_t
ngx_http_billing_batch_cameras(ngx_http_billing_ctx_t *ctx, ngx_uint_t *taken)
{
    ngx_uint_t                  i;
    ngx_http_billing_list_t    *list;
    ngx_http_billing_lookup_t  *camera;

    list = &ctx->list;

    for (i = 0; i < list->n; i++) {

        if (list->members
            && !ngx_http_billing_lookup_found(list->members[i]))
        {
            continue;
        }

        camera = list->cameras[i];

        if (camera->result == NGX_HTTP_BILLING_LOOKUP_DEFERRED) {
            break;
        }

        /* a camera whose hash is gone is left out */

        if (ngx_http_billing_lookup_found(camera)
            && ngx_http_billing_add_camera(ctx, &camera->text) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    *taken = i;

    return NGX_OK;
}


static void
ngx_http_billing_batch_next(ngx_http_billing_ctx_t *ctx, ngx_uint_t taken)
{
    ngx_array_t               ids;
    ngx_http_billing_list_t  *list;

    list = &ctx->list;

    list->next += taken;

    if (taken < list->n) {

        /* commands that are sent again may defer the first camera, too */

        list->size = ngx_max(taken, 1);
        return;
    }

    if (ctx->cache.size < NGX_HTTP_BILLING_LIST_BYTES / 2) {
        list->size = ngx_min(2 * list->size, list->max);
    }

    if (list->paged) {
        ids = list->ids;
        list->ids = list->following;
        list->following = ids;
        list->next = 0;
        list->page++;
    }
}


/* if Redis was flushed meanwhile, the list is broken off, not ended early */

static ngx_http_billing_action_e
ngx_http_billing_batch_emptied(ngx_http_billing_ctx_t *ctx)
{
    ngx_log_error(NGX_LOG_INFO, ctx->request->connection->log, 0,
                  "the cache was emptied while a list was read");

    (void) ngx_http_billing_cache_unloaded(&ctx->cache, ctx->list.synced_at);

    return ngx_http_billing_unloaded(ctx);
}


static ngx_http_billing_action_e
ngx_http_billing_list_end(ngx_http_billing_ctx_t *ctx)
{
    off_t                size;
    ngx_buf_t           *last;
    ngx_chain_t         *out;
    ngx_http_request_t  *r;

    if (ctx->cameras == 0) {
        ctx->phase = NGX_HTTP_BILLING_PHASE_NOTHING;
        return NGX_HTTP_BILLING_NEXT;
    }

    ngx_http_billing_json_array_close(&ctx->json);

    if (!ctx->header_sent) {
        return ngx_http_billing_send_json(ctx, NGX_HTTP_OK);
    }

    r = ctx->request;

    last = ngx_http_billing_json_take(&ctx->json, &out, &size);

    if (last == NULL) {
        return ngx_http_billing_error(ctx);
    }

    last->last_buf = (r == r->main);
    last->last_in_chain = 1;

    return ngx_http_billing_done(ctx, ngx_http_output_filter(r, out));
}


static ngx_http_billing_action_e
ngx_http_billing_list_output(ngx_http_billing_ctx_t *ctx)
{
    off_t                     size;
    ngx_int_t                 rc;
    ngx_buf_t                *last;
    ngx_chain_t              *out;
    ngx_http_request_t       *r;
    ngx_http_billing_list_t  *list;

    r = ctx->request;
    list = &ctx->list;

    last = ngx_http_billing_json_take(&ctx->json, &out, &size);

    if (last == NULL) {
        return ngx_http_billing_error(ctx);
    }

    if (!ctx->header_sent) {
        rc = ngx_http_billing_send_header(ctx, NGX_HTTP_OK, -1);

        if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
            return ngx_http_billing_done(ctx, rc);
        }
    }

    /* no filter may keep data back: the next batch waits until all is sent */

    last->flush = 1;

    if (ngx_http_output_filter(r, out) == NGX_ERROR) {
        return ngx_http_billing_done(ctx, NGX_ERROR);
    }

    ngx_http_billing_list_update(ctx, out);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "billing list output: %O bytes, busy: %d", size,
                   list->busy != NULL);

    if (list->busy == NULL) {
        return ctx->busy ? NGX_HTTP_BILLING_YIELD : NGX_HTTP_BILLING_NEXT;
    }

    /* the client may be slow: the batch's memory is freed before the wait */

    ngx_destroy_pool(list->pool);
    list->pool = NULL;

    return NGX_HTTP_BILLING_WRITE;
}


ngx_int_t
ngx_http_billing_list_flush(ngx_http_billing_ctx_t *ctx)
{
    if (ngx_http_output_filter(ctx->request, NULL) == NGX_ERROR) {
        return NGX_ERROR;
    }

    ngx_http_billing_list_update(ctx, NULL);

    return ctx->list.busy ? NGX_AGAIN : NGX_OK;
}


/*
 * The buffers that the client has taken are used again.  They are not freed:
 * filters of nginx, as the one for chunks, may look at a buffer once more when
 * they get the next one, and frames of HTTP/2 outlive the request.
 */

static void
ngx_http_billing_list_update(ngx_http_billing_ctx_t *ctx, ngx_chain_t *out)
{
    ngx_chain_update_chains(ctx->json.pool, &ctx->json.free, &ctx->list.busy,
                            &out, ctx->json.tag);
}
