
#include "ngx_http_billing_handler.h"
#include "ngx_http_billing_request.h"


#if (OPENSSL_VERSION_NUMBER >= 0x30000000L)
static void ngx_http_billing_token_free_digest(void *data);
#endif
static ngx_int_t ngx_http_billing_token_value(ngx_http_request_t *r,
    ngx_str_t *token);
static void ngx_http_billing_token_bound(ngx_str_t *client);


ngx_int_t
ngx_http_billing_token_init(ngx_conf_t *cf)
{
#if (OPENSSL_VERSION_NUMBER >= 0x30000000L)
    EVP_MD                        *digest;
    ngx_pool_cleanup_t            *cln;
#endif
    ngx_http_billing_main_conf_t  *bmcf;

    bmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_billing_module);

#if (OPENSSL_VERSION_NUMBER >= 0x30000000L)

    /* fetching the digest for each token would cost more than hashing it */

    digest = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (digest == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "OpenSSL has no SHA-256");
        return NGX_ERROR;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        EVP_MD_free(digest);
        return NGX_ERROR;
    }

    cln->handler = ngx_http_billing_token_free_digest;
    cln->data = digest;

    bmcf->token_digest = digest;

#else

    bmcf->token_digest = EVP_sha256();

#endif

    return NGX_OK;
}


#if (OPENSSL_VERSION_NUMBER >= 0x30000000L)

static void
ngx_http_billing_token_free_digest(void *data)
{
    EVP_MD_free(data);
}

#endif


ngx_http_billing_action_e
ngx_http_billing_token(ngx_http_billing_ctx_t *ctx)
{
    u_char                         hash[NGX_HTTP_BILLING_TOKEN_HASH];
    ngx_int_t                      rc;
    ngx_str_t                      token;
    ngx_http_request_t            *r;
    ngx_http_billing_store_use_e   use;
    ngx_http_billing_main_conf_t  *bmcf;

    r = ctx->request;
    bmcf = ngx_http_get_module_main_conf(r, ngx_http_billing_module);

    /* an unsure token is read again, past the store, together with synced_at */

    use = (ctx->auth == NGX_HTTP_BILLING_AUTH_UNSURE)
          ? NGX_HTTP_BILLING_STORE_PASS : NGX_HTTP_BILLING_STORE_KEEP;

    rc = ngx_http_billing_token_value(r, &token);

    if (rc == NGX_DECLINED) {
        return ngx_http_billing_send_unauthorized(ctx, 0);
    }

    if (rc != NGX_OK
        || EVP_Digest(token.data, token.len, hash, NULL, bmcf->token_digest,
                      NULL)
           != 1
        || ngx_http_billing_lookups(ctx, use, r->pool, 2) != NGX_OK)
    {
        return ngx_http_billing_error(ctx);
    }

    ctx->token = ngx_http_billing_cache_token(&ctx->cache, hash);

    if (ctx->token == NULL) {
        return ngx_http_billing_error(ctx);
    }

    ctx->phase = NGX_HTTP_BILLING_PHASE_TOKEN_ANSWERED;

    if (ctx->auth != NGX_HTTP_BILLING_AUTH_UNSURE) {
        return NGX_HTTP_BILLING_ASK;
    }

    ctx->synced_at = ngx_http_billing_cache_synced_at(&ctx->cache);

    return ctx->synced_at ? NGX_HTTP_BILLING_ASK : ngx_http_billing_error(ctx);
}


/* NGX_DECLINED: no token was sent */

static ngx_int_t
ngx_http_billing_token_value(ngx_http_request_t *r, ngx_str_t *token)
{
    u_char                       *p, *last;
    ngx_table_elt_t              *authorization;
    ngx_http_billing_loc_conf_t  *blcf;

    blcf = ngx_http_get_module_loc_conf(r, ngx_http_billing_module);

    if (blcf->token) {
        if (ngx_http_complex_value(r, blcf->token, token) != NGX_OK) {
            return NGX_ERROR;
        }

        return token->len ? NGX_OK : NGX_DECLINED;
    }

    authorization = r->headers_in.authorization;

    if (authorization == NULL
        || authorization->value.len < sizeof("Bearer ") - 1
        || ngx_strncasecmp(authorization->value.data, (u_char *) "Bearer ",
                           sizeof("Bearer ") - 1)
           != 0)
    {
        return NGX_DECLINED;
    }

    p = authorization->value.data + sizeof("Bearer ") - 1;
    last = authorization->value.data + authorization->value.len;

    while (p < last && *p == ' ') {
        p++;
    }

    while (p < last && last[-1] == ' ') {
        last--;
    }

    token->data = p;
    token->len = last - p;

    return token->len ? NGX_OK : NGX_DECLINED;
}


ngx_http_billing_action_e
ngx_http_billing_token_answered(ngx_http_billing_ctx_t *ctx)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    if (ngx_http_billing_lookup_found(ctx->token)) {

        ctx->auth = NGX_HTTP_BILLING_AUTH_VALID;
        ctx->record->client = ctx->token->text;

        ngx_http_billing_token_bound(&ctx->record->client);

        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "billing client: \"%V\"", &ctx->record->client);

        ctx->phase = NGX_HTTP_BILLING_PHASE_PARAMS;

        return NGX_HTTP_BILLING_READ;
    }

    /* the server may know no token because its data is not loaded */

    ctx->phase = NGX_HTTP_BILLING_PHASE_TOKEN_CHECKED;
    ctx->connection = ctx->cache.connection;

    if (ctx->auth == NGX_HTTP_BILLING_AUTH_UNSURE) {
        return NGX_HTTP_BILLING_NEXT;
    }

    /* nothing is kept for a caller without a valid token */

    if (ngx_http_billing_lookups(ctx, NGX_HTTP_BILLING_STORE_READ, r->pool, 1)
        != NGX_OK)
    {
        return ngx_http_billing_error(ctx);
    }

    ctx->synced_at = ngx_http_billing_cache_synced_at(&ctx->cache);

    return ctx->synced_at ? NGX_HTTP_BILLING_ASK : ngx_http_billing_error(ctx);
}


ngx_http_billing_action_e
ngx_http_billing_token_checked(ngx_http_billing_ctx_t *ctx)
{
    if (!ngx_http_billing_lookup_found(ctx->synced_at)) {

        if (ngx_http_billing_cache_unloaded(&ctx->cache, ctx->synced_at)
            != NGX_OK)
        {
            return ngx_http_billing_unloaded(ctx);
        }

        ctx->auth = NGX_HTTP_BILLING_AUTH_UNKNOWN;
        ctx->phase = NGX_HTTP_BILLING_PHASE_TOKEN;

        return NGX_HTTP_BILLING_NEXT;
    }

    if (ctx->cache.connection == 0
        || ctx->cache.connection != ctx->connection)
    {
        ctx->auth = NGX_HTTP_BILLING_AUTH_UNSURE;
        ctx->phase = NGX_HTTP_BILLING_PHASE_TOKEN;

        return NGX_HTTP_BILLING_NEXT;
    }

    ngx_log_error(NGX_LOG_INFO, ctx->request->connection->log, 0,
                  "client sent an invalid billing token");

    return ngx_http_billing_send_unauthorized(ctx, 1);
}


/* bounds the name, which each access log line repeats, at a whole character */

static void
ngx_http_billing_token_bound(ngx_str_t *client)
{
    if (client->len <= NGX_HTTP_BILLING_CLIENT_NAME) {
        return;
    }

    client->len = NGX_HTTP_BILLING_CLIENT_NAME;

    while (client->len && (client->data[client->len] & 0xc0) == 0x80) {
        client->len--;
    }
}
