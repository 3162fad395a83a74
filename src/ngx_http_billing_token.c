
#include "ngx_http_billing_handler.h"


/*
 * The token that was valid last on a connection, and in which location: while
 * it stays so, it is asked for together with what the request wants.
 */

typedef struct {
    ngx_http_billing_loc_conf_t  *conf;
    u_char                        hash[NGX_HTTP_BILLING_TOKEN_HASH];
} ngx_http_billing_proof_t;


#if (OPENSSL_VERSION_NUMBER >= 0x30000000L)
static void ngx_http_billing_token_free_digest(void *data);
#endif
static ngx_int_t ngx_http_billing_token(ngx_http_request_t *r,
    ngx_str_t *token);
static void ngx_http_billing_unreadable(ngx_http_billing_ctx_t *ctx);
static ngx_http_billing_proof_t *ngx_http_billing_proven(
    ngx_http_billing_ctx_t *ctx);
static void ngx_http_billing_remember(ngx_http_billing_ctx_t *ctx);
static ngx_http_billing_proof_t *ngx_http_billing_proof(ngx_pool_t *pool);
static void ngx_http_billing_forget(void *data);


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
    ngx_int_t                      rc;
    ngx_str_t                      token;
    ngx_http_request_t            *r;
    ngx_http_billing_main_conf_t  *bmcf;

    r = ctx->request;
    bmcf = ngx_http_get_module_main_conf(r, ngx_http_billing_module);

    rc = ngx_http_billing_token(r, &token);

    if (rc == NGX_DECLINED) {
        ngx_http_billing_send_unauthorized(ctx, 0);
        return;
    }

    if (rc != NGX_OK
        || EVP_Digest(token.data, token.len, ctx->hash, NULL,
                      bmcf->token_digest, NULL)
           != 1)
    {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    ctx->unproven = 1;

    if (ngx_http_billing_proven(ctx)) {
        ngx_http_billing_read_body(ctx);
        return;
    }

    ngx_http_billing_ask_token(ctx, ngx_http_billing_read_body);
}


void
ngx_http_billing_ask_token(ngx_http_billing_ctx_t *ctx,
    ngx_http_billing_next_pt next)
{
    ngx_http_request_t           *r;
    ngx_http_billing_loc_conf_t  *blcf;

    r = ctx->request;
    blcf = ngx_http_get_module_loc_conf(r, ngx_http_billing_module);

    if (ngx_http_billing_cache_init(&ctx->cache, r->pool, &blcf->redis_prefix,
                                    0)
        != NGX_OK)
    {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    ngx_http_billing_ask(ctx, next);
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


ngx_int_t
ngx_http_billing_prove(ngx_http_billing_ctx_t *ctx, ngx_int_t rc)
{
    ngx_str_t                  *client;
    ngx_http_billing_cache_t   *cache;
    ngx_http_billing_lookup_t  *lookup;

    cache = &ctx->cache;

    if (!cache->answered) {

        if (rc != NGX_ERROR || cache->lookups.nelts == 1) {
            return rc;
        }

        /* the token's answer may have come behind one that cannot be read */

        ngx_http_billing_ask_token(ctx, ngx_http_billing_unreadable);

        return NGX_DONE;
    }

    /* what else was answered, rightly or not, is not for everybody */

    lookup = cache->lookups.elts;
    lookup += --cache->lookups.nelts;

    if (lookup->error) {
        return NGX_ERROR;
    }

    if (!lookup->found) {
        ngx_log_error(NGX_LOG_INFO, ctx->request->connection->log, 0,
                      "client sent an invalid billing token");

        return NGX_HTTP_UNAUTHORIZED;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ctx->request->connection->log, 0,
                   "billing client \"%V\"", &lookup->text);

    /* the lookup may be in the memory of a batch, the log outlives that */

    client = &ctx->record->client;

    client->data = ngx_pstrdup(ctx->request->pool, &lookup->text);
    if (client->data == NULL) {
        return NGX_ERROR;
    }

    client->len = lookup->text.len;

    ctx->unproven = 0;

    ngx_http_billing_remember(ctx);

    return rc;
}


static void
ngx_http_billing_unreadable(ngx_http_billing_ctx_t *ctx)
{
    ngx_http_billing_failed(ctx, NGX_ERROR);
}


/* proven means: at the last request, which this one may well be, too */

static ngx_http_billing_proof_t *
ngx_http_billing_proven(ngx_http_billing_ctx_t *ctx)
{
    ngx_http_request_t        *r;
    ngx_http_billing_proof_t  *proof;

    r = ctx->request;

    proof = ngx_http_billing_proof(r->connection->pool);

    if (proof == NULL
        || proof->conf
           != ngx_http_get_module_loc_conf(r, ngx_http_billing_module)
        || ngx_memcmp(proof->hash, ctx->hash, NGX_HTTP_BILLING_TOKEN_HASH)
           != 0)
    {
        return NULL;
    }

    return proof;
}


ngx_uint_t
ngx_http_billing_take_proof(ngx_http_billing_ctx_t *ctx)
{
    ngx_http_billing_proof_t  *proof;

    proof = ngx_http_billing_proven(ctx);

    if (proof == NULL) {
        return 0;
    }

    ngx_http_billing_forget(proof);

    return 1;
}


static void
ngx_http_billing_remember(ngx_http_billing_ctx_t *ctx)
{
    ngx_http_request_t        *r;
    ngx_pool_cleanup_t        *cln;
    ngx_http_billing_proof_t  *proof;

    r = ctx->request;

    proof = ngx_http_billing_proof(r->connection->pool);

    if (proof == NULL) {
        cln = ngx_pool_cleanup_add(r->connection->pool,
                                   sizeof(ngx_http_billing_proof_t));
        if (cln == NULL) {
            return;
        }

        cln->handler = ngx_http_billing_forget;
        proof = cln->data;
    }

    proof->conf = ngx_http_get_module_loc_conf(r, ngx_http_billing_module);
    ngx_memcpy(proof->hash, ctx->hash, NGX_HTTP_BILLING_TOKEN_HASH);
}


static ngx_http_billing_proof_t *
ngx_http_billing_proof(ngx_pool_t *pool)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_billing_forget) {
            return cln->data;
        }
    }

    return NULL;
}


static void
ngx_http_billing_forget(void *data)
{
    ngx_explicit_memzero(data, sizeof(ngx_http_billing_proof_t));
}
