
#include "ngx_http_billing_redis_url.h"


#define NGX_HTTP_BILLING_REDIS_SENTINEL_PORT  26379


static char *ngx_http_billing_redis_sentinel_url_host(ngx_conf_t *cf,
    ngx_http_billing_redis_urls_t *urls,
    ngx_http_billing_redis_peer_t *parsed, ngx_uint_t tls, u_char *p,
    u_char *last);
static char *ngx_http_billing_redis_sentinel_url_params(ngx_conf_t *cf,
    ngx_http_billing_redis_sentinel_conf_t *conf, u_char *p, u_char *last);
static char *ngx_http_billing_redis_sentinel_url_param(ngx_conf_t *cf,
    ngx_http_billing_redis_sentinel_conf_t *conf, u_char *p, u_char *last);


ngx_uint_t
ngx_http_billing_redis_is_sentinel_url(ngx_str_t *url)
{
    return (url->len >= 17
            && ngx_strncmp(url->data, "redis-sentinel://", 17) == 0)
           || (url->len >= 18
               && ngx_strncmp(url->data, "rediss-sentinel://", 18) == 0);
}


/* "redis-sentinel://user:password@host:port,host:port/db?master=name" */

char *
ngx_http_billing_redis_parse_sentinel_url(ngx_conf_t *cf,
    ngx_http_billing_redis_urls_t *urls, ngx_str_t *url)
{
    char                           *err;
    u_char                         *p, *last, *end, *slash, *next;
    ngx_uint_t                      tls;
    ngx_http_billing_redis_peer_t   parsed;

    ngx_memzero(&parsed, sizeof(ngx_http_billing_redis_peer_t));

    parsed.url = *url;

    urls->sentinel = ngx_pcalloc(cf->pool,
                              sizeof(ngx_http_billing_redis_sentinel_conf_t));
    if (urls->sentinel == NULL) {
        return "out of memory";
    }

    last = url->data + url->len;

    tls = (url->data[5] == 's');
    p = url->data + (tls ? 18 : 17);

    end = ngx_strlchr(p, last, '?');

    err = ngx_http_billing_redis_sentinel_url_params(cf, urls->sentinel,
                                                     end ? end + 1 : last,
                                                     last);
    if (err) {
        return err;
    }

    if (end) {
        last = end;
    }

    slash = ngx_strlchr(p, last, '/');

    if (slash) {

        if (slash + 1 != last) {
            parsed.db.data = slash + 1;
            parsed.db.len = last - parsed.db.data;

            if (parsed.db.len > 5
                || ngx_atoi(parsed.db.data, parsed.db.len) == NGX_ERROR)
            {
                return "the database must be a number";
            }
        }

        last = slash;
    }

    for (end = last; end > p; end--) {

        if (end[-1] == '@') {
            err = ngx_http_billing_redis_parse_userinfo(cf, &parsed, p,
                                                        end - 1);
            if (err) {
                return err;
            }

            p = end;
            break;
        }
    }

    do {
        next = ngx_strlchr(p, last, ',');

        err = ngx_http_billing_redis_sentinel_url_host(cf, urls, &parsed, tls,
                                                       p, next ? next : last);
        if (err) {
            return err;
        }

        p = next ? next + 1 : last;

    } while (next);

    return NULL;
}


static char *
ngx_http_billing_redis_sentinel_url_host(ngx_conf_t *cf,
    ngx_http_billing_redis_urls_t *urls,
    ngx_http_billing_redis_peer_t *parsed, ngx_uint_t tls, u_char *p,
    u_char *last)
{
    char       *err;
    ngx_url_t   u;

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url.data = p;
    u.url.len = last - p;
    u.default_port = NGX_HTTP_BILLING_REDIS_SENTINEL_PORT;
    u.no_resolve = 1;

    if (p == last) {
        return "no host";
    }

    if (ngx_parse_url(cf->pool, &u) != NGX_OK) {
        return u.err ? u.err : "out of memory";
    }

    if (u.family == AF_UNIX) {
        return "a sentinel has no socket";
    }

    if (tls) {
        err = ngx_http_billing_redis_parse_ssl_name(cf, parsed, &u);
        if (err) {
            return err;
        }
    }

    return (ngx_http_billing_redis_add_host(cf, urls, parsed, &u) == NGX_OK)
           ? NULL : "out of memory";
}


static char *
ngx_http_billing_redis_sentinel_url_params(ngx_conf_t *cf,
    ngx_http_billing_redis_sentinel_conf_t *conf, u_char *p, u_char *last)
{
    char    *err;
    u_char  *next;

    while (p < last) {
        next = ngx_strlchr(p, last, '&');

        err = ngx_http_billing_redis_sentinel_url_param(cf, conf, p,
                                                        next ? next : last);
        if (err) {
            return err;
        }

        p = next ? next + 1 : last;
    }

    if (conf->master.len == 0) {
        return "the parameter \"master\" is missing";
    }

    if (conf->user.len && conf->password.len == 0) {
        return "there is no \"sentinel_password\" for the \"sentinel_user\"";
    }

    return NULL;
}


static char *
ngx_http_billing_redis_sentinel_url_param(ngx_conf_t *cf,
    ngx_http_billing_redis_sentinel_conf_t *conf, u_char *p, u_char *last)
{
    ngx_str_t  *value;

    if (last - p >= 7 && ngx_strncmp(p, "master=", 7) == 0) {
        value = &conf->master;
        p += 7;

    } else if (last - p >= 14 && ngx_strncmp(p, "sentinel_user=", 14) == 0) {
        value = &conf->user;
        p += 14;

    } else if (last - p >= 18
               && ngx_strncmp(p, "sentinel_password=", 18) == 0)
    {
        value = &conf->password;
        p += 18;

    } else {
        return "only the parameters \"master\", \"sentinel_user\" and "
               "\"sentinel_password\" are known";
    }

    if (value->data) {
        return "a parameter is duplicate";
    }

    if (p == last) {
        return "a parameter is empty";
    }

    return ngx_http_billing_redis_unescape(cf, value, p, last);
}
