
#include "ngx_http_billing_request.h"


/* the Retry-After of a 503, in seconds */

#define NGX_HTTP_BILLING_RETRY_AFTER    "5"

#define NGX_HTTP_BILLING_UNPROCESSABLE  422


static ngx_http_billing_action_e ngx_http_billing_send_error(
    ngx_http_billing_ctx_t *ctx, ngx_uint_t status, ngx_str_t *message);
static ngx_uint_t ngx_http_billing_broken_off(ngx_http_billing_ctx_t *ctx);
static ngx_uint_t ngx_http_billing_has_error_page(ngx_http_request_t *r,
    ngx_uint_t status);


static ngx_str_t  ngx_http_billing_content_type =
    ngx_string("application/json");
static ngx_str_t  ngx_http_billing_name_www_authenticate =
    ngx_string("WWW-Authenticate");
static ngx_str_t  ngx_http_billing_bearer = ngx_string("Bearer");
static ngx_str_t  ngx_http_billing_bearer_invalid =
    ngx_string("Bearer error=\"invalid_token\"");
static ngx_str_t  ngx_http_billing_name_allow = ngx_string("Allow");
static ngx_str_t  ngx_http_billing_name_retry_after =
    ngx_string("Retry-After");
static ngx_str_t  ngx_http_billing_retry_after =
    ngx_string(NGX_HTTP_BILLING_RETRY_AFTER);

static ngx_str_t  ngx_http_billing_unauthenticated =
    ngx_string("Unauthenticated.");
static ngx_str_t  ngx_http_billing_message_broken =
    ngx_string("The camera cache gave no valid answer.");
static ngx_str_t  ngx_http_billing_message_unavailable =
    ngx_string("The camera cache is not available.");
static ngx_str_t  ngx_http_billing_message_unloaded =
    ngx_string("The camera cache has not been loaded yet.");
static ngx_str_t  ngx_http_billing_message_timeout =
    ngx_string("The camera cache did not answer in time.");


ngx_http_billing_action_e
ngx_http_billing_done(ngx_http_billing_ctx_t *ctx, ngx_int_t rc)
{
    ctx->rc = rc;

    return NGX_HTTP_BILLING_DONE;
}


ngx_http_billing_action_e
ngx_http_billing_error(ngx_http_billing_ctx_t *ctx)
{
    return ngx_http_billing_done(ctx, ctx->header_sent
                                      ? NGX_ERROR
                                      : NGX_HTTP_INTERNAL_SERVER_ERROR);
}


ngx_http_billing_action_e
ngx_http_billing_failed(ngx_http_billing_ctx_t *ctx,
    ngx_http_billing_redis_result_e result)
{
    if (ngx_http_billing_broken_off(ctx)) {
        return ngx_http_billing_done(ctx, NGX_ERROR);
    }

    switch (result) {

    case NGX_HTTP_BILLING_REDIS_UNAVAILABLE:
        return ngx_http_billing_send_error(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                        &ngx_http_billing_message_unavailable);

    case NGX_HTTP_BILLING_REDIS_TIMEOUT:
        return ngx_http_billing_send_error(ctx, NGX_HTTP_GATEWAY_TIME_OUT,
                                           &ngx_http_billing_message_timeout);

    default: /* NGX_HTTP_BILLING_REDIS_BROKEN */
        return ngx_http_billing_send_error(ctx, NGX_HTTP_BAD_GATEWAY,
                                           &ngx_http_billing_message_broken);
    }
}


ngx_http_billing_action_e
ngx_http_billing_unloaded(ngx_http_billing_ctx_t *ctx)
{
    if (ngx_http_billing_broken_off(ctx)) {
        return ngx_http_billing_done(ctx, NGX_ERROR);
    }

    return ngx_http_billing_send_error(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                       &ngx_http_billing_message_unloaded);
}


/* if the answer has begun, an error can only break it off */

static ngx_uint_t
ngx_http_billing_broken_off(ngx_http_billing_ctx_t *ctx)
{
    off_t         size;
    ngx_chain_t  *out;

    if (!ctx->header_sent) {

        /* a held batch is dropped */

        (void) ngx_http_billing_json_take(&ctx->json, &out, &size);

        return 0;
    }

    ngx_log_error(NGX_LOG_INFO, ctx->request->connection->log, 0,
                  "list broken off after %ui cameras", ctx->cameras);

    ctx->record->slot->counters.broken++;

    return 1;
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
ngx_http_billing_send_header(ngx_http_billing_ctx_t *ctx, ngx_uint_t status,
    off_t length)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    if (ngx_http_billing_no_store(r) != NGX_OK) {
        return NGX_ERROR;
    }

    r->headers_out.status = status;
    ctx->record->cameras = (status == NGX_HTTP_OK) ? &ctx->cameras : NULL;

    if (status == NGX_HTTP_BILLING_UNPROCESSABLE) {
        /* nginx has no reason phrase for 422 */
        ngx_str_set(&r->headers_out.status_line, "422 Unprocessable Entity");
    }

    r->headers_out.content_length_n = length;
    r->headers_out.content_type = ngx_http_billing_content_type;
    r->headers_out.content_type_len = ngx_http_billing_content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    ctx->header_sent = 1;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "billing send: %ui, %O bytes", status, length);

    return ngx_http_send_header(r);
}


ngx_http_billing_action_e
ngx_http_billing_send_json(ngx_http_billing_ctx_t *ctx, ngx_uint_t status)
{
    off_t                size;
    ngx_int_t            rc;
    ngx_buf_t           *last;
    ngx_chain_t         *out;
    ngx_http_request_t  *r;

    r = ctx->request;

    last = ngx_http_billing_json_take(&ctx->json, &out, &size);

    if (last == NULL) {
        return ngx_http_billing_error(ctx);
    }

    /* no "100 Continue": this answer does not need the body */

    r->expect_tested = 1;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return ngx_http_billing_done(ctx, rc);
    }

    rc = ngx_http_billing_send_header(ctx, status, size);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return ngx_http_billing_done(ctx, rc);
    }

    last->last_buf = (r == r->main);
    last->last_in_chain = 1;

    return ngx_http_billing_done(ctx, ngx_http_output_filter(r, out));
}


static ngx_http_billing_action_e
ngx_http_billing_send_error(ngx_http_billing_ctx_t *ctx, ngx_uint_t status,
    ngx_str_t *message)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    if (status == NGX_HTTP_SERVICE_UNAVAILABLE
        && ngx_http_billing_add_header(r, NULL,
                                       &ngx_http_billing_name_retry_after,
                                       &ngx_http_billing_retry_after)
           != NGX_OK)
    {
        return ngx_http_billing_error(ctx);
    }

    if (ngx_http_billing_has_error_page(r, status)) {
        return ngx_http_billing_done(ctx, status);
    }

    if (ngx_http_billing_json_start(&ctx->json) != NGX_OK) {
        return ngx_http_billing_error(ctx);
    }

    ngx_http_billing_json_map_open(&ctx->json);
    ngx_http_billing_json_literal(&ctx->json, "message");
    ngx_http_billing_json_string(&ctx->json, message);
    ngx_http_billing_json_map_close(&ctx->json);

    return ngx_http_billing_send_json(ctx, status);
}


ngx_http_billing_action_e
ngx_http_billing_send_unauthorized(ngx_http_billing_ctx_t *ctx,
    ngx_uint_t sent)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    /* RFC 6750, 3: no error code where no token was sent */

    if (ngx_http_billing_add_header(r, &r->headers_out.www_authenticate,
                                    &ngx_http_billing_name_www_authenticate,
                                    sent ? &ngx_http_billing_bearer_invalid
                                         : &ngx_http_billing_bearer)
        != NGX_OK)
    {
        return ngx_http_billing_error(ctx);
    }

    return ngx_http_billing_send_error(ctx, NGX_HTTP_UNAUTHORIZED,
                                       &ngx_http_billing_unauthenticated);
}


ngx_http_billing_action_e
ngx_http_billing_send_not_allowed(ngx_http_billing_ctx_t *ctx,
    ngx_str_t *allowed)
{
    u_char              *p;
    ngx_str_t            message;
    ngx_http_request_t  *r;

    r = ctx->request;

    if (ngx_http_billing_add_header(r, NULL, &ngx_http_billing_name_allow,
                                    allowed)
        != NGX_OK)
    {
        return ngx_http_billing_error(ctx);
    }

    p = ngx_pnalloc(r->pool, r->method_name.len + allowed->len
                             + sizeof("The  method is not supported for this "
                                      "route. Supported methods: ."));
    if (p == NULL) {
        return ngx_http_billing_error(ctx);
    }

    message.data = p;
    message.len = ngx_sprintf(p, "The %V method is not supported for this "
                              "route. Supported methods: %V.",
                              &r->method_name, allowed)
                  - p;

    return ngx_http_billing_send_error(ctx, NGX_HTTP_NOT_ALLOWED, &message);
}


ngx_http_billing_action_e
ngx_http_billing_send_unprocessable(ngx_http_billing_ctx_t *ctx)
{
    u_char                    *p;
    ngx_str_t                  message;
    ngx_uint_t                 i, more;
    ngx_http_request_t        *r;
    ngx_http_billing_error_t  *error;

    r = ctx->request;

    error = ctx->params.errors.elts;
    more = ctx->params.errors.nelts - 1;

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "client sent wrong billing parameters, %ui errors",
                  ctx->params.errors.nelts);

    if (ngx_http_billing_has_error_page(r, NGX_HTTP_BILLING_UNPROCESSABLE)) {
        return ngx_http_billing_done(ctx, NGX_HTTP_BILLING_UNPROCESSABLE);
    }

    message = error[0].message;

    if (more) {
        p = ngx_pnalloc(r->pool, message.len + NGX_INT_T_LEN
                                 + sizeof(" (and  more errors)"));
        if (p == NULL) {
            return ngx_http_billing_error(ctx);
        }

        message.len = ngx_sprintf(p, "%V (and %ui more error%s)",
                                  &error[0].message, more,
                                  more == 1 ? "" : "s")
                      - p;
        message.data = p;
    }

    if (ngx_http_billing_json_start(&ctx->json) != NGX_OK) {
        return ngx_http_billing_error(ctx);
    }

    ngx_http_billing_json_map_open(&ctx->json);

    ngx_http_billing_json_literal(&ctx->json, "message");
    ngx_http_billing_json_string(&ctx->json, &message);

    ngx_http_billing_json_literal(&ctx->json, "errors");
    ngx_http_billing_json_map_open(&ctx->json);

    for (i = 0; i < ctx->params.errors.nelts; i++) {

        if (i == 0 || error[i].key.data != error[i - 1].key.data) {

            if (i) {
                ngx_http_billing_json_array_close(&ctx->json);
            }

            ngx_http_billing_json_string(&ctx->json, &error[i].key);
            ngx_http_billing_json_array_open(&ctx->json);
        }

        ngx_http_billing_json_string(&ctx->json, &error[i].message);
    }

    ngx_http_billing_json_array_close(&ctx->json);
    ngx_http_billing_json_map_close(&ctx->json);
    ngx_http_billing_json_map_close(&ctx->json);

    return ngx_http_billing_send_json(ctx, NGX_HTTP_BILLING_UNPROCESSABLE);
}


/* an error_page for the status replaces the module's own body */

static ngx_uint_t
ngx_http_billing_has_error_page(ngx_http_request_t *r, ngx_uint_t status)
{
    ngx_uint_t                 i;
    ngx_http_err_page_t       *page;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (clcf->error_pages == NULL || r->error_page) {
        return 0;
    }

    page = clcf->error_pages->elts;

    for (i = 0; i < clcf->error_pages->nelts; i++) {
        if (page[i].status == (ngx_int_t) status) {
            return 1;
        }
    }

    return 0;
}
