
#include "ngx_http_billing_request.h"


ngx_int_t
ngx_http_billing_lookups(ngx_http_billing_ctx_t *ctx,
    ngx_http_billing_store_use_e use, ngx_pool_t *pool, ngx_uint_t n)
{
    ngx_http_billing_loc_conf_t  *blcf;

    blcf = ngx_http_get_module_loc_conf(ctx->request, ngx_http_billing_module);

    if (ngx_http_billing_cache_init(&ctx->cache, blcf->cache_set, pool,
                                    &blcf->redis_prefix, n)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (blcf->cache_size) {
        ctx->cache.use = use;
    }

    return NGX_OK;
}
