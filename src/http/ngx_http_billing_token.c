
#include "ngx_http_billing_handler.h"


/* bytes of a client's name that are kept */

#define NGX_HTTP_BILLING_CLIENT_MAX  255


#if (OPENSSL_VERSION_NUMBER >= 0x30000000L)
static void ngx_http_billing_token_free_digest(void *data);
#endif
static ngx_int_t ngx_http_billing_token(ngx_http_request_t *r,
    ngx_str_t *token);
static void ngx_http_billing_authenticated(ngx_http_billing_ctx_t *ctx);
static void ngx_http_billing_bound_client(ngx_str_t *client);


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

    /* to look for it anew for each token takes longer than to hash that */

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


void
ngx_http_billing_authenticate(ngx_http_billing_ctx_t *ctx)
{
    u_char                         hash[NGX_HTTP_BILLING_TOKEN_HASH];
    ngx_int_t                      rc;
    ngx_str_t                      token;
    ngx_http_request_t            *r;
    ngx_http_billing_loc_conf_t   *blcf;
    ngx_http_billing_main_conf_t  *bmcf;

    r = ctx->request;
    blcf = ngx_http_get_module_loc_conf(r, ngx_http_billing_module);
    bmcf = ngx_http_get_module_main_conf(r, ngx_http_billing_module);

    rc = ngx_http_billing_token(r, &token);

    if (rc == NGX_DECLINED) {
        ngx_http_billing_send_unauthorized(ctx, 0);
        return;
    }

    if (rc != NGX_OK
        || EVP_Digest(token.data, token.len, hash, NULL, bmcf->token_digest,
                      NULL)
           != 1
        || ngx_http_billing_cache_init(&ctx->cache, blcf->cache_set, r->pool,
                                       &blcf->redis_prefix, 1)
           != NGX_OK)
    {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    ctx->token = ngx_http_billing_cache_token(&ctx->cache, hash);

    if (ctx->token == NULL) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    ngx_http_billing_ask(ctx, ngx_http_billing_authenticated);
}


/* NGX_DECLINED: no token was sent */

static ngx_int_t
ngx_http_billing_token(ngx_http_request_t *r, ngx_str_t *token)
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


static void
ngx_http_billing_authenticated(ngx_http_billing_ctx_t *ctx)
{
    if (!ngx_http_billing_lookup_found(ctx->token)) {
        ngx_log_error(NGX_LOG_INFO, ctx->request->connection->log, 0,
                      "client sent an invalid billing token");

        ngx_http_billing_send_unauthorized(ctx, 1);
        return;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ctx->request->connection->log, 0,
                   "billing client \"%V\"", &ctx->token->text);

    ctx->record->client = ctx->token->text;

    ngx_http_billing_bound_client(&ctx->record->client);

    ngx_http_billing_read_body(ctx);
}


/* a name goes into each line of the access log: it is cut between characters */

static void
ngx_http_billing_bound_client(ngx_str_t *client)
{
    if (client->len <= NGX_HTTP_BILLING_CLIENT_MAX) {
        return;
    }

    client->len = NGX_HTTP_BILLING_CLIENT_MAX;

    while ((client->data[client->len] & 0xc0) == 0x80) {
        client->len--;
    }
}
