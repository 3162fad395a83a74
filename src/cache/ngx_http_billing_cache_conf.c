
#include "ngx_http_billing_cache_reply.h"
#include "ngx_http_billing_coherence_news.h"


static ngx_int_t ngx_http_billing_cache_same(ngx_conf_t *cf, const char *name,
    ngx_uint_t one, ngx_uint_t two);


ngx_http_billing_cache_set_t *
ngx_http_billing_cache_set(ngx_conf_t *cf, ngx_array_t *sets,
    ngx_http_billing_redis_t *redis)
{
    ngx_uint_t                      i;
    ngx_http_billing_cache_set_t  **set;

    set = sets->elts;

    for (i = 0; i < sets->nelts; i++) {
        if (set[i]->redis == redis) {
            return set[i];
        }
    }

    set = ngx_array_push(sets);
    if (set == NULL) {
        return NULL;
    }

    *set = ngx_pcalloc(cf->pool, sizeof(ngx_http_billing_cache_set_t));
    if (*set == NULL) {
        return NULL;
    }

    (*set)->redis = redis;

    if (ngx_http_billing_cache_prepare(*set, cf->pool) != NGX_OK) {
        return NULL;
    }

    return *set;
}


ngx_int_t
ngx_http_billing_cache_require(ngx_conf_t *cf,
    ngx_http_billing_cache_set_t *set, ngx_str_t *prefix)
{
    ngx_str_t         key;
    const ngx_str_t  *name;

    name = &ngx_http_billing_cache_kinds[NGX_HTTP_BILLING_KIND_SYNCED_AT].name;

    key.len = prefix->len + name->len;

    key.data = ngx_pnalloc(cf->pool, key.len);
    if (key.data == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(key.data, "%V%V", prefix, name);

    return ngx_http_billing_redis_require(cf, set->redis, &key);
}


ngx_int_t
ngx_http_billing_cache_keep(ngx_conf_t *cf, ngx_http_billing_cache_set_t *set,
    ngx_str_t *prefix, size_t size, ngx_msec_t lag, ngx_msec_t stale)
{
    ngx_http_billing_coherence_t  *co;

    co = &set->coherence;

    if (co->size == 0) {
        co->size = size;
        co->lag = lag;
        co->stale = stale;

    } else if (ngx_http_billing_cache_same(cf, "billing_cache", co->size, size)
               != NGX_OK
               || ngx_http_billing_cache_same(cf, "billing_cache_lag", co->lag,
                                              lag)
                  != NGX_OK
               || ngx_http_billing_cache_same(cf, "billing_cache_stale",
                                              co->stale, stale)
                  != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_billing_coherence_add(cf, co, set->redis, prefix) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_billing_coherence_news(co);

    ngx_http_billing_redis_track(set->redis, &co->tracking);

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_cache_same(ngx_conf_t *cf, const char *name, ngx_uint_t one,
    ngx_uint_t two)
{
    if (one == two) {
        return NGX_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"%s\" is %ui and %ui for locations that share the "
                       "servers of \"billing_redis\"", name, one, two);

    return NGX_ERROR;
}
