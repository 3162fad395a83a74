
#include "ngx_http_billing_redis_url.h"


static ngx_int_t ngx_http_billing_redis_add_url(ngx_conf_t *cf,
    ngx_http_billing_redis_urls_t *urls, ngx_str_t *url);
static ngx_int_t ngx_http_billing_redis_resolve_now(ngx_conf_t *cf,
    ngx_http_billing_redis_urls_t *urls);


ngx_http_billing_redis_urls_t *
ngx_http_billing_redis_parse_urls(ngx_conf_t *cf, ngx_str_t *url, ngx_uint_t n)
{
    ngx_uint_t                      i;
    ngx_http_billing_redis_urls_t  *urls;

    urls = ngx_pcalloc(cf->pool, sizeof(ngx_http_billing_redis_urls_t));
    if (urls == NULL) {
        return NULL;
    }

    urls->file = cf->conf_file->file.name;
    urls->line = cf->conf_file->line;

    if (ngx_array_init(&urls->peers, cf->pool, n,
                       sizeof(ngx_http_billing_redis_peer_t))
        != NGX_OK)
    {
        return NULL;
    }

    for (i = 0; i < n; i++) {
        if (ngx_http_billing_redis_add_url(cf, urls, &url[i]) != NGX_OK) {
            return NULL;
        }
    }

    return urls;
}


static ngx_int_t
ngx_http_billing_redis_add_url(ngx_conf_t *cf,
    ngx_http_billing_redis_urls_t *urls, ngx_str_t *url)
{
    char                           *err;
    u_char                         *p, buf[NGX_HTTP_BILLING_REDIS_SHOWN_URL];
    ngx_url_t                       u;
    ngx_uint_t                      sentinel;
    ngx_http_billing_redis_peer_t   parsed;

    ngx_memzero(&u, sizeof(ngx_url_t));
    ngx_memzero(&parsed, sizeof(ngx_http_billing_redis_peer_t));

    parsed.url = *url;
    u.no_resolve = 1;

    sentinel = ngx_http_billing_redis_is_sentinel_url(url);

    if (urls->sentinel || (sentinel && urls->peers.nelts)) {
        err = "an URL of sentinels must be the only one";

    } else if (sentinel) {
        err = ngx_http_billing_redis_parse_sentinel_url(cf, urls, url);

    } else {
        err = ngx_http_billing_redis_parse_url(cf, &parsed, &u);
    }

    if (err != NULL) {
        p = ngx_http_billing_redis_log_url(buf, buf + sizeof(buf), url);

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid URL \"%*s\" in \"billing_redis\" "
                           "directive: %s", (size_t) (p - buf), buf, err);
        return NGX_ERROR;
    }

    return sentinel ? NGX_OK
                    : ngx_http_billing_redis_add_host(cf, urls, &parsed, &u);
}


ngx_int_t
ngx_http_billing_redis_resolve_urls(ngx_conf_t *cf,
    ngx_http_billing_redis_conf_t *conf)
{
    ngx_http_billing_redis_urls_t  *urls;

    urls = conf->urls;
    conf->peers = &urls->peers;

    /*
     * Without a "resolver" directive, nginx's resolver has no name servers.
     * Servers that sentinels name may have host names, too.
     */

    if ((urls->resolve || urls->sentinel) && conf->resolver
        && conf->resolver->connections.nelts)
    {
        return NGX_OK;
    }

    conf->resolver = NULL;
    conf->resolver_timeout = 0;

    if (!urls->resolve) {
        return NGX_OK;
    }

    /* once: another location that inherits the URLs has the same servers */

    if (urls->resolved == NULL
        && ngx_http_billing_redis_resolve_now(cf, urls) != NGX_OK)
    {
        return NGX_ERROR;
    }

    conf->peers = urls->resolved;

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_redis_resolve_now(ngx_conf_t *cf,
    ngx_http_billing_redis_urls_t *urls)
{
    u_char                         *p, buf[NGX_HTTP_BILLING_REDIS_SHOWN_URL];
    ngx_url_t                       u;
    ngx_uint_t                      i;
    ngx_array_t                    *resolved;
    ngx_http_billing_redis_peer_t  *peer, *elt;

    peer = urls->peers.elts;

    resolved = ngx_array_create(cf->pool, urls->peers.nelts,
                                sizeof(ngx_http_billing_redis_peer_t));
    if (resolved == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < urls->peers.nelts; i++) {

        if (!peer[i].resolve) {
            elt = ngx_array_push(resolved);
            if (elt == NULL) {
                return NGX_ERROR;
            }

            *elt = peer[i];
            continue;
        }

        ngx_memzero(&u, sizeof(ngx_url_t));

        u.url = peer[i].name;

        if (ngx_parse_url(cf->pool, &u) != NGX_OK) {
            p = ngx_http_billing_redis_log_url(buf, buf + sizeof(buf),
                                               &peer[i].url);

            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "invalid URL \"%*s\" in \"billing_redis\" "
                          "directive: %s in %V:%ui", (size_t) (p - buf), buf,
                          u.err ? u.err : "out of memory", &urls->file,
                          urls->line);
            return NGX_ERROR;
        }

        if (ngx_http_billing_redis_add_peers(cf, resolved, &peer[i], &u)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    urls->resolved = resolved;

    return NGX_OK;
}
