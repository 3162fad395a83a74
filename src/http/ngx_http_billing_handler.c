
#include "ngx_http_billing_handler.h"
#include "ngx_http_billing_request.h"


/* milliseconds that a request that yields waits for its turn, at most */

#define NGX_HTTP_BILLING_TURN  1000


typedef struct {
    const char                 *name;
    ngx_http_billing_action_e  (*handler)(ngx_http_billing_ctx_t *ctx);
} ngx_http_billing_stage_t;


static void ngx_http_billing_run(ngx_http_billing_ctx_t *ctx);
static void ngx_http_billing_finalize(ngx_http_billing_ctx_t *ctx);
static ngx_http_billing_action_e ngx_http_billing_method(
    ngx_http_billing_ctx_t *ctx);
static ngx_int_t ngx_http_billing_ask(ngx_http_billing_ctx_t *ctx);
static void ngx_http_billing_yield(ngx_http_billing_ctx_t *ctx);
static void ngx_http_billing_turn_handler(ngx_event_t *ev);
static void ngx_http_billing_end_turn(ngx_http_billing_ctx_t *ctx);
static void ngx_http_billing_answered(void *data,
    ngx_http_billing_redis_result_e result);
static void ngx_http_billing_read(ngx_http_billing_ctx_t *ctx);
static void ngx_http_billing_body_handler(ngx_http_request_t *r);
static ngx_http_billing_action_e ngx_http_billing_read_params(
    ngx_http_billing_ctx_t *ctx);
static ngx_int_t ngx_http_billing_wait(ngx_http_billing_ctx_t *ctx);
static void ngx_http_billing_write_handler(ngx_http_request_t *r);
static void ngx_http_billing_client_handler(ngx_http_request_t *r);
static void ngx_http_billing_cancel(void *data);


static ngx_str_t  ngx_http_billing_methods = ngx_string("GET, HEAD");
static ngx_str_t  ngx_http_billing_methods_post = ngx_string("GET, HEAD, POST");


/* indexed by ngx_http_billing_phase_e */

static ngx_http_billing_stage_t  ngx_http_billing_stages[] = {
    { "method", ngx_http_billing_method },
    { "token", ngx_http_billing_token },
    { "token answered", ngx_http_billing_token_answered },
    { "token checked", ngx_http_billing_token_checked },
    { "params", ngx_http_billing_read_params },
    { "resolve", ngx_http_billing_resolve },
    { "resolved", ngx_http_billing_resolved },
    { "list", ngx_http_billing_list },
    { "batch", ngx_http_billing_batch },
    { "batch answered", ngx_http_billing_batch_answered },
    { "nothing", ngx_http_billing_nothing },
    { "nothing answered", ngx_http_billing_nothing_answered }
};


ngx_int_t
ngx_http_billing_handler(ngx_http_request_t *r)
{
    ngx_http_cleanup_t           *cln;
    ngx_http_billing_ctx_t       *ctx;
    ngx_http_billing_loc_conf_t  *blcf;

    blcf = ngx_http_get_module_loc_conf(r, ngx_http_billing_module);

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_billing_ctx_t));
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->request = r;
    ctx->turn.handler = ngx_http_billing_turn_handler;
    ctx->turn.data = ctx;
    ctx->turn.log = r->connection->log;
    ctx->deadline = ngx_current_msec + blcf->redis_timeout;

    ngx_http_billing_json_init(&ctx->json, r->pool,
                               (ngx_buf_tag_t) &ngx_http_billing_module);

    ctx->record = ngx_http_billing_record_get(r);
    if (ctx->record == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* after an internal redirect, the first context may wait for Redis */

    if (ctx->record->data) {
        ngx_http_billing_cancel(ctx->record->data);
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_billing_cancel;
    cln->data = ctx;

    ctx->record->data = ctx;

    ngx_http_set_ctx(r, ctx, ngx_http_billing_module);

    r->main->count++;

    ngx_http_billing_run(ctx);

    return NGX_DONE;
}


/* after this function the request may be gone */

static void
ngx_http_billing_run(ngx_http_billing_ctx_t *ctx)
{
    ngx_int_t                  rc;
    ngx_http_billing_stage_t  *stage;

    for ( ;; ) {
        stage = &ngx_http_billing_stages[ctx->phase];

        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ctx->request->connection->log, 0,
                       "billing phase: %s", stage->name);

        switch (stage->handler(ctx)) {

        case NGX_HTTP_BILLING_NEXT:
            continue;

        case NGX_HTTP_BILLING_ASK:
            rc = ngx_http_billing_ask(ctx);

            if (rc == NGX_OK) {
                continue;
            }

            if (rc == NGX_AGAIN) {
                return;
            }

            break;

        case NGX_HTTP_BILLING_YIELD:
            ngx_http_billing_yield(ctx);
            return;

        case NGX_HTTP_BILLING_READ:
            ngx_http_billing_read(ctx);
            return;

        case NGX_HTTP_BILLING_WRITE:
            if (ngx_http_billing_wait(ctx) == NGX_OK) {
                return;
            }

            break;

        default: /* NGX_HTTP_BILLING_DONE */
            ngx_http_billing_finalize(ctx);
            return;
        }

        (void) ngx_http_billing_error(ctx);

        ngx_http_billing_finalize(ctx);
        return;
    }
}


static void
ngx_http_billing_finalize(ngx_http_billing_ctx_t *ctx)
{
    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ctx->request->connection->log, 0,
                   "billing done: %i, %ui cameras", ctx->rc, ctx->cameras);

    ngx_http_finalize_request(ctx->request, ctx->rc);
}


static ngx_http_billing_action_e
ngx_http_billing_method(ngx_http_billing_ctx_t *ctx)
{
    ngx_uint_t                    allowed;
    ngx_http_request_t           *r;
    ngx_http_billing_loc_conf_t  *blcf;

    r = ctx->request;
    blcf = ngx_http_get_module_loc_conf(r, ngx_http_billing_module);

    allowed = NGX_HTTP_GET|NGX_HTTP_HEAD;

    if (blcf->allow_post) {
        allowed |= NGX_HTTP_POST;
    }

    if (!(r->method & allowed)) {
        return ngx_http_billing_send_not_allowed(ctx, blcf->allow_post
                                              ? &ngx_http_billing_methods_post
                                              : &ngx_http_billing_methods);
    }

    if (blcf->token_required) {
        ctx->phase = NGX_HTTP_BILLING_PHASE_TOKEN;
        return NGX_HTTP_BILLING_NEXT;
    }

    ctx->phase = NGX_HTTP_BILLING_PHASE_PARAMS;

    return NGX_HTTP_BILLING_READ;
}


/* NGX_OK: all lookups were found in the worker's store */

static ngx_int_t
ngx_http_billing_ask(ngx_http_billing_ctx_t *ctx)
{
    ngx_int_t                     rc;
    ngx_http_request_t           *r;
    ngx_http_billing_loc_conf_t  *blcf;

    r = ctx->request;
    blcf = ngx_http_get_module_loc_conf(r, ngx_http_billing_module);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "billing ask: %ui lookups, %M ms left",
                   ctx->cache.lookups.nelts, ctx->deadline - ngx_current_msec);

    rc = ngx_http_billing_cache_find(&ctx->cache, r->connection->log);

    if (rc != NGX_AGAIN) {
        ngx_http_billing_record_cache(ctx->record, &ctx->cache);
        ctx->busy = 1;
        return rc;
    }

    ctx->busy = 0;

    if (ngx_http_billing_client_watch(r, ngx_http_billing_client_handler)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ctx->cache.done = ngx_http_billing_answered;
    ctx->cache.data = ctx;

    ngx_http_billing_record_ask(ctx->record);

    return ngx_http_billing_cache_ask(&ctx->cache, blcf->redis_timeout,
                                      ctx->deadline, r->connection->log)
           == NGX_OK
           ? NGX_AGAIN : NGX_ERROR;
}


/* a list that never waits for Redis must not make other requests wait */

static void
ngx_http_billing_yield(ngx_http_billing_ctx_t *ctx)
{
    ctx->busy = 0;

    ngx_post_event(&ctx->turn, &ngx_posted_next_events);

    /* a worker that is to exit waits for timers, and not for posted events */

    ngx_add_timer(&ctx->turn, NGX_HTTP_BILLING_TURN);
}


static void
ngx_http_billing_turn_handler(ngx_event_t *ev)
{
    ngx_connection_t        *c;
    ngx_http_billing_ctx_t  *ctx;

    ctx = ev->data;
    c = ctx->request->connection;

    ngx_http_billing_end_turn(ctx);

    ngx_http_set_log_request(c->log, ctx->request);

    ngx_http_billing_run(ctx);

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_billing_end_turn(ngx_http_billing_ctx_t *ctx)
{
    if (ctx->turn.posted) {
        ngx_delete_posted_event(&ctx->turn);
    }

    if (ctx->turn.timer_set) {
        ngx_del_timer(&ctx->turn);
    }
}


static void
ngx_http_billing_answered(void *data, ngx_http_billing_redis_result_e result)
{
    ngx_http_billing_ctx_t *ctx = data;

    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ctx->request;
    c = r->connection;

    /* nginx may have given the request to another handler meanwhile */

    if (ngx_http_get_module_ctx(r, ngx_http_billing_module) != ctx) {
        ngx_http_billing_cancel(ctx);
        return;
    }

    ngx_http_set_log_request(c->log, r);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, c->log, 0,
                   "billing answered: result %d, connection %ui",
                   (int) result, ctx->cache.connection);

    ngx_http_billing_record_answered(ctx->record, ctx->cache.server);
    ngx_http_billing_record_cache(ctx->record, &ctx->cache);

    if (ctx->cache.connection == 0 || ctx->cache.connection != ctx->loaded) {
        ctx->inconclusive = 1;
    }

    if (result == NGX_HTTP_BILLING_REDIS_OK) {
        ngx_http_billing_run(ctx);

    } else {
        (void) ngx_http_billing_failed(ctx, result);

        ngx_http_billing_finalize(ctx);
    }

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_billing_read(ngx_http_billing_ctx_t *ctx)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = ctx->request;

    ctx->reading = ngx_current_msec;

    rc = ngx_http_read_client_request_body(r, ngx_http_billing_body_handler);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        ngx_http_finalize_request(r, rc);
        return;
    }

    /* nginx has taken a reference to the request for the body's handler */

    ngx_http_finalize_request(r, NGX_DONE);
}


static void
ngx_http_billing_body_handler(ngx_http_request_t *r)
{
    ngx_http_billing_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_billing_module);

    ctx->deadline += ngx_current_msec - ctx->reading;

    ngx_http_billing_run(ctx);
}


static ngx_http_billing_action_e
ngx_http_billing_read_params(ngx_http_billing_ctx_t *ctx)
{
    ngx_int_t                     rc;
    ngx_http_request_t           *r;
    ngx_http_billing_params_t    *params;
    ngx_http_billing_loc_conf_t  *blcf;

    r = ctx->request;
    params = &ctx->params;
    blcf = ngx_http_get_module_loc_conf(r, ngx_http_billing_module);

    rc = ngx_http_billing_params(r, params, blcf->max_ids);

    if (rc == NGX_DECLINED) {
        return ngx_http_billing_send_unprocessable(ctx);
    }

    if (rc != NGX_OK) {
        return ngx_http_billing_error(ctx);
    }

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "billing params: %ui ids, %ui uuids, login \"%V\"",
                   params->has_ids ? params->ids.nelts : 0,
                   params->has_uuids ? params->uuids.nelts : 0,
                   &params->login);

    ctx->phase = NGX_HTTP_BILLING_PHASE_RESOLVE;

    return NGX_HTTP_BILLING_NEXT;
}


/* as ngx_http_set_write_handler() does */

static ngx_int_t
ngx_http_billing_wait(ngx_http_billing_ctx_t *ctx)
{
    ngx_event_t               *wev;
    ngx_connection_t          *c;
    ngx_http_request_t        *r;
    ngx_http_core_loc_conf_t  *clcf;

    r = ctx->request;
    c = r->connection;
    wev = c->write;
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    r->write_event_handler = ngx_http_billing_write_handler;

    /* a subrequest before its turn has to wait for others, not the client */

    if (c->data != r) {
        return NGX_OK;
    }

    if (!wev->delayed) {
        ngx_add_timer(wev, clcf->send_timeout);
    }

    return ngx_handle_write_event(wev, clcf->send_lowat);
}


static void
ngx_http_billing_write_handler(ngx_http_request_t *r)
{
    ngx_int_t                rc;
    ngx_event_t             *wev;
    ngx_connection_t        *c;
    ngx_http_billing_ctx_t  *ctx;

    c = r->connection;
    wev = c->write;
    ctx = ngx_http_get_module_ctx(r, ngx_http_billing_module);

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, c->log, 0, "billing write handler");

    if (wev->timedout) {
        ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT, "client timed out");
        c->timedout = 1;

        ngx_http_finalize_request(r, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }

    rc = NGX_AGAIN;

    if (!wev->delayed && !r->aio) {
        rc = ngx_http_billing_list_flush(ctx);
    }

    if (rc == NGX_AGAIN) {
        rc = ngx_http_billing_wait(ctx);

        if (rc == NGX_OK) {
            return;
        }
    }

    if (rc != NGX_OK) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    if (wev->timer_set && !wev->delayed) {
        ngx_del_timer(wev);
    }

    r->write_event_handler = ngx_http_request_empty_handler;

    ngx_http_billing_run(ctx);
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


/* stops waiting for Redis when the request ends or is redirected */

static void
ngx_http_billing_cancel(void *data)
{
    ngx_http_billing_ctx_t *ctx = data;

    ngx_http_billing_cache_cancel(&ctx->cache);

    ngx_http_billing_end_turn(ctx);

    ngx_http_billing_record_answered(ctx->record, NULL);

    if (ctx->list.pool) {
        ngx_destroy_pool(ctx->list.pool);
        ctx->list.pool = NULL;
    }
}
