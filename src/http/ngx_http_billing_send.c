
#include "ngx_http_billing_handler.h"


/* seconds in which a client may ask again after a 503 */

#define NGX_HTTP_BILLING_RETRY_AFTER    "5"

#define NGX_HTTP_BILLING_UNPROCESSABLE  422


static ngx_uint_t ngx_http_billing_has_error_page(ngx_http_request_t *r,
    ngx_uint_t status);


static ngx_str_t  ngx_http_billing_content_type =
    ngx_string("application/json");
static ngx_str_t  ngx_http_billing_name_cache_control =
    ngx_string("Cache-Control");
static ngx_str_t  ngx_http_billing_value_no_store = ngx_string("no-store");
static ngx_str_t  ngx_http_billing_name_www_authenticate =
    ngx_string("WWW-Authenticate");
static ngx_str_t  ngx_http_billing_bearer = ngx_string("Bearer");
static ngx_str_t  ngx_http_billing_bearer_invalid =
    ngx_string("Bearer error=\"invalid_token\"");
static ngx_str_t  ngx_http_billing_unauthenticated =
    ngx_string("Unauthenticated.");
static ngx_str_t  ngx_http_billing_name_allow = ngx_string("Allow");
static ngx_str_t  ngx_http_billing_name_retry_after =
    ngx_string("Retry-After");
static ngx_str_t  ngx_http_billing_retry_after =
    ngx_string(NGX_HTTP_BILLING_RETRY_AFTER);


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
    ctx->record->list = (status == NGX_HTTP_OK);

    if (status == NGX_HTTP_BILLING_UNPROCESSABLE) {
        /* nginx has no words for it */
        ngx_str_set(&r->headers_out.status_line, "422 Unprocessable Entity");
    }

    r->headers_out.content_length_n = length;
    r->headers_out.content_type = ngx_http_billing_content_type;
    r->headers_out.content_type_len = ngx_http_billing_content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    ctx->header_sent = 1;

    return ngx_http_send_header(r);
}


void
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
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    /* of a request that is answered before its body is read, and asked for */

    r->expect_tested = 1;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        ngx_http_finalize_request(r, rc);
        return;
    }

    rc = ngx_http_billing_send_header(ctx, status, size);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        ngx_http_finalize_request(r, rc);
        return;
    }

    last->last_buf = (r == r->main);
    last->last_in_chain = 1;

    ngx_http_finalize_request(r, ngx_http_output_filter(r, out));
}


void
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
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    if (ngx_http_billing_has_error_page(r, status)) {
        ngx_http_finalize_request(r, status);
        return;
    }

    if (ngx_http_billing_json_start(&ctx->json) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    ngx_http_billing_json_map_open(&ctx->json);
    ngx_http_billing_json_literal(&ctx->json, "message");
    ngx_http_billing_json_string(&ctx->json, message);
    ngx_http_billing_json_map_close(&ctx->json);

    ngx_http_billing_send_json(ctx, status);
}


void
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
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    ngx_http_billing_send_error(ctx, NGX_HTTP_UNAUTHORIZED,
                                &ngx_http_billing_unauthenticated);
}


void
ngx_http_billing_send_not_allowed(ngx_http_billing_ctx_t *ctx,
    ngx_str_t *methods)
{
    u_char              *p;
    ngx_str_t            message;
    ngx_http_request_t  *r;

    r = ctx->request;

    if (ngx_http_billing_add_header(r, NULL, &ngx_http_billing_name_allow,
                                    methods)
        != NGX_OK)
    {
        goto failed;
    }

    p = ngx_pnalloc(r->pool, r->method_name.len + methods->len
                             + sizeof("The  method is not supported for this "
                                      "route. Supported methods: ."));
    if (p == NULL) {
        goto failed;
    }

    message.data = p;
    message.len = ngx_sprintf(p, "The %V method is not supported for this "
                              "route. Supported methods: %V.",
                              &r->method_name, methods)
                  - p;

    ngx_http_billing_send_error(ctx, NGX_HTTP_NOT_ALLOWED, &message);
    return;

failed:

    ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
}


void
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
        ngx_http_finalize_request(r, NGX_HTTP_BILLING_UNPROCESSABLE);
        return;
    }

    message = error[0].message;

    if (more) {
        p = ngx_pnalloc(r->pool, message.len + NGX_INT_T_LEN
                                 + sizeof(" (and  more errors)"));
        if (p == NULL) {
            ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
            return;
        }

        message.len = ngx_sprintf(p, "%V (and %ui more error%s)",
                                  &error[0].message, more,
                                  more == 1 ? "" : "s")
                      - p;
        message.data = p;
    }

    if (ngx_http_billing_json_start(&ctx->json) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
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

    ngx_http_billing_send_json(ctx, NGX_HTTP_BILLING_UNPROCESSABLE);
}


ngx_int_t
ngx_http_billing_add_header(ngx_http_request_t *r, ngx_table_elt_t **header,
    ngx_str_t *key, ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    /* nginx 1.23 has added a field that has to be zero */

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    h->key = *key;
    h->value = *value;

    if (header) {
        *header = h;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_billing_no_store(ngx_http_request_t *r)
{
    ngx_table_elt_t  *h;

    /* without a date and a tag the answer is not conditional */

    r->disable_not_modified = 1;
    r->allow_ranges = 0;

    if (ngx_http_billing_add_header(r, NULL,
                                    &ngx_http_billing_name_cache_control,
                                    &ngx_http_billing_value_no_store)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /*
     * "expires" changes these fields, or adds them if there are none: here it
     * finds fields that are not in the list of those that are sent.
     */

    h = ngx_pcalloc(r->pool, 2 * sizeof(ngx_table_elt_t));
    if (h == NULL) {
        return NGX_ERROR;
    }

    h[0].hash = 1;
    h[0].key = ngx_http_billing_name_cache_control;
    h[0].value = ngx_http_billing_value_no_store;

    h[1].hash = 1;

    r->headers_out.expires = &h[1];

#if (nginx_version >= 1023000)

    r->headers_out.cache_control = &h[0];

    return NGX_OK;

#else

    {
    ngx_table_elt_t  **field;

    if (r->headers_out.cache_control.elts == NULL
        && ngx_array_init(&r->headers_out.cache_control, r->pool, 1,
                          sizeof(ngx_table_elt_t *))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    field = ngx_array_push(&r->headers_out.cache_control);
    if (field == NULL) {
        return NGX_ERROR;
    }

    *field = &h[0];

    return NGX_OK;
    }

#endif
}


/* as with proxy_intercept_errors, error_page comes before our own body */

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
