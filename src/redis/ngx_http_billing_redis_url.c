
#include "ngx_http_billing_redis.h"


#define NGX_HTTP_BILLING_REDIS_MAX_PASSWORD  4096


static ngx_str_t ngx_http_billing_redis_shown_url(ngx_str_t *url);
static char *ngx_http_billing_redis_parse_url(ngx_conf_t *cf,
    ngx_http_billing_redis_peer_t *peer, ngx_url_t *u);
static char *ngx_http_billing_redis_parse_path(
    ngx_http_billing_redis_peer_t *peer, ngx_url_t *u);
static char *ngx_http_billing_redis_parse_authority(ngx_conf_t *cf,
    ngx_http_billing_redis_peer_t *peer, ngx_url_t *u);
static char *ngx_http_billing_redis_parse_ssl_name(ngx_conf_t *cf,
    ngx_http_billing_redis_peer_t *peer, ngx_url_t *u);
static char *ngx_http_billing_redis_parse_userinfo(ngx_pool_t *pool,
    ngx_http_billing_redis_peer_t *peer, u_char *p, u_char *last);
static ngx_int_t ngx_http_billing_redis_unescape(ngx_pool_t *pool,
    ngx_str_t *text, u_char *p, u_char *last);
static ngx_int_t ngx_http_billing_redis_set_host(ngx_conf_t *cf,
    ngx_http_billing_redis_peer_t *peer, ngx_url_t *u, ngx_addr_t *addr);


ngx_int_t
ngx_http_billing_redis_add_url(ngx_conf_t *cf, ngx_array_t *peers,
    ngx_str_t *url)
{
    char                           *err;
    ngx_str_t                       shown;
    ngx_url_t                       u;
    ngx_uint_t                      i;
    ngx_http_billing_redis_peer_t  *peer, parsed;

    ngx_memzero(&u, sizeof(ngx_url_t));
    ngx_memzero(&parsed, sizeof(ngx_http_billing_redis_peer_t));

    parsed.url = *url;

    err = ngx_http_billing_redis_parse_url(cf, &parsed, &u);

    if (err != NULL) {
        shown = ngx_http_billing_redis_shown_url(url);

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid URL \"%V\" in \"billing_redis\" directive: "
                           "%s", &shown, err);
        return NGX_ERROR;
    }

    for (i = 0; i < u.naddrs; i++) {

        peer = ngx_array_push(peers);
        if (peer == NULL) {
            return NGX_ERROR;
        }

        *peer = parsed;

        if (ngx_http_billing_redis_set_host(cf, peer, &u, &u.addrs[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* the part of an URL that holds no password, for the log */

static ngx_str_t
ngx_http_billing_redis_shown_url(ngx_str_t *url)
{
    u_char     *p, *last, *colon;
    ngx_str_t   shown;

    last = url->data + url->len;
    shown = *url;
    colon = NULL;

    for (p = url->data; p < last; p++) {

        if (*p == '@') {
            shown.data = p + 1;
            shown.len = last - shown.data;
            colon = NULL;

        } else if (*p == ':' && p + 1 < last && p[1] != '/') {
            colon = p;
        }
    }

    /* what is no port may be a password whose host was forgotten */

    if (colon && ngx_strncmp(shown.data, "redis", 5) == 0
        && (colon[1] < '0' || colon[1] > '9'))
    {
        shown.len = colon - shown.data;
    }

    return shown;
}


static char *
ngx_http_billing_redis_parse_url(ngx_conf_t *cf,
    ngx_http_billing_redis_peer_t *peer, ngx_url_t *u)
{
    char        *err;
    u_char      *p, *last;
    ngx_str_t   *url;
    ngx_uint_t   tls;

    url = &peer->url;
    tls = 0;

    p = url->data;
    last = p + url->len;

    if (url->len >= 5 && ngx_strncmp(p, "unix:", 5) == 0) {
        u->url = *url;
        err = ngx_http_billing_redis_parse_path(peer, u);

    } else if (url->len >= 8 && ngx_strncmp(p, "redis://", 8) == 0) {
        u->url.len = last - (p + 8);
        u->url.data = p + 8;
        err = ngx_http_billing_redis_parse_authority(cf, peer, u);

    } else if (url->len >= 9 && ngx_strncmp(p, "rediss://", 9) == 0) {
        tls = 1;
        u->url.len = last - (p + 9);
        u->url.data = p + 9;
        err = ngx_http_billing_redis_parse_authority(cf, peer, u);

    } else {
        err = "it must begin with \"redis://\", \"rediss://\" or \"unix:\"";
    }

    if (err) {
        return err;
    }

    if (peer->db.data
        && (peer->db.len > 5
            || ngx_atoi(peer->db.data, peer->db.len) == NGX_ERROR))
    {
        return "the database must be a number";
    }

    u->default_port = 6379;

    if (ngx_parse_url(cf->pool, u) != NGX_OK) {
        return u->err ? u->err : "out of memory";
    }

    return tls ? ngx_http_billing_redis_parse_ssl_name(cf, peer, u) : NULL;
}


/* "unix:/path?db=N" */

static char *
ngx_http_billing_redis_parse_path(ngx_http_billing_redis_peer_t *peer,
    ngx_url_t *u)
{
    u_char  *query, *last;

    last = u->url.data + u->url.len;
    query = ngx_strlchr(u->url.data, last, '?');

    if (query == NULL) {
        return NULL;
    }

    u->url.len = query - u->url.data;
    query++;

    if (last - query < 3 || ngx_strncmp(query, "db=", 3) != 0) {
        return "only the parameter \"db\" is known";
    }

    peer->db.data = query + 3;
    peer->db.len = last - peer->db.data;

    return NULL;
}


/* "user:password@host:port/db", without what precedes it in the URL */

static char *
ngx_http_billing_redis_parse_authority(ngx_conf_t *cf,
    ngx_http_billing_redis_peer_t *peer, ngx_url_t *u)
{
    char    *err;
    u_char  *slash, *last, *p;

    last = u->url.data + u->url.len;
    slash = ngx_strlchr(u->url.data, last, '/');

    if (slash) {
        u->url.len = slash - u->url.data;

        if (slash + 1 != last) {
            peer->db.data = slash + 1;
            peer->db.len = last - peer->db.data;
        }
    }

    for (p = u->url.data + u->url.len; p > u->url.data; p--) {
        if (p[-1] == '@') {
            break;
        }
    }

    if (p == u->url.data) {
        return NULL;
    }

    err = ngx_http_billing_redis_parse_userinfo(cf->pool, peer, u->url.data,
                                                p - 1);

    u->url.len -= p - u->url.data;
    u->url.data = p;

    return err;
}


static char *
ngx_http_billing_redis_parse_ssl_name(ngx_conf_t *cf,
    ngx_http_billing_redis_peer_t *peer, ngx_url_t *u)
{
#if (NGX_HTTP_BILLING_REDIS_SSL)

    ngx_str_t  host;

    host = u->host;

    if (host.len && host.data[0] == '[') {
        host.data++;
        host.len -= 2;
    }

    peer->ssl_name.len = host.len;
    peer->ssl_name.data = ngx_pnalloc(cf->pool, host.len + 1);
    if (peer->ssl_name.data == NULL) {
        return "out of memory";
    }

    ngx_cpystrn(peer->ssl_name.data, host.data, host.len + 1);

    return NULL;

#elif (HIREDIS_MAJOR == 0)

    return "TLS needs hiredis 1.0 or later, and the module was built with "
           "an older one";

#else

    return "TLS needs the hiredis_ssl library, and the module was built "
           "without it";

#endif
}


static char *
ngx_http_billing_redis_parse_userinfo(ngx_pool_t *pool,
    ngx_http_billing_redis_peer_t *peer, u_char *p, u_char *last)
{
    u_char  *colon, *q;

    colon = ngx_strlchr(p, last, ':');

    if (colon && colon + 1 == last) {
        return "the password is empty";
    }

    for (q = p; q < last; q++) {
        if (*q == '%' && (last - q < 3 || ngx_hextoi(q + 1, 2) == NGX_ERROR)) {
            return "a \"%\" in the user or the password is to be \"%25\"";
        }
    }

    if (ngx_http_billing_redis_unescape(pool, &peer->user, p,
                                        colon ? colon : last)
        != NGX_OK
        || (colon
            && ngx_http_billing_redis_unescape(pool, &peer->password,
                                               colon + 1, last)
               != NGX_OK))
    {
        return "out of memory";
    }

    return NULL;
}


static ngx_int_t
ngx_http_billing_redis_unescape(ngx_pool_t *pool, ngx_str_t *text, u_char *p,
    u_char *last)
{
    u_char  *dst;

    text->data = ngx_pnalloc(pool, last - p + 1);
    if (text->data == NULL) {
        return NGX_ERROR;
    }

    dst = text->data;

    ngx_unescape_uri(&dst, &p, last - p, 0);

    text->len = dst - text->data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_redis_set_host(ngx_conf_t *cf,
    ngx_http_billing_redis_peer_t *peer, ngx_url_t *u, ngx_addr_t *addr)
{
    u_char     text[NGX_SOCKADDR_STRLEN];
    ngx_str_t  host;

    peer->name = addr->name;

    if (u->family == AF_UNIX) {
        host.len = u->url.len - (sizeof("unix:") - 1);
        host.data = u->url.data + sizeof("unix:") - 1;

    } else {
        peer->port = ngx_inet_get_port(addr->sockaddr);

        host.len = ngx_sock_ntop(addr->sockaddr, addr->socklen, text,
                                 NGX_SOCKADDR_STRLEN, 0);
        host.data = text;
    }

    peer->host.len = host.len;
    peer->host.data = ngx_pnalloc(cf->pool, host.len + 1);
    if (peer->host.data == NULL) {
        return NGX_ERROR;
    }

    ngx_cpystrn(peer->host.data, host.data, host.len + 1);

    return NGX_OK;
}


ngx_int_t
ngx_http_billing_redis_read_password(ngx_conf_t *cf,
    ngx_http_billing_redis_conf_t *conf)
{
    size_t    len;
    u_char    buf[NGX_HTTP_BILLING_REDIS_MAX_PASSWORD];
    ssize_t   n;
    ngx_fd_t  fd;

    fd = ngx_open_file(conf->password_file.data, NGX_FILE_RDONLY,
                       NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%V\" failed in "
                           "\"billing_redis_password_file\" directive",
                           &conf->password_file);
        return NGX_ERROR;
    }

    n = ngx_read_fd(fd, buf, sizeof(buf));

    if (n == -1) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_read_fd_n " \"%V\" failed in "
                           "\"billing_redis_password_file\" directive",
                           &conf->password_file);
    }

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_ALERT, cf, ngx_errno,
                           ngx_close_file_n " \"%V\" failed",
                           &conf->password_file);
    }

    if (n == -1) {
        return NGX_ERROR;
    }

    for (len = 0; len < (size_t) n; len++) {
        if (buf[len] == LF || buf[len] == CR) {
            break;
        }
    }

    if (len == 0 || len == sizeof(buf)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the first line of \"%V\" is no password in "
                           "\"billing_redis_password_file\" directive",
                           &conf->password_file);
        return NGX_ERROR;
    }

    conf->password.len = len;
    conf->password.data = ngx_pnalloc(cf->pool, len);
    if (conf->password.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(conf->password.data, buf, len);

    ngx_explicit_memzero(buf, sizeof(buf));

    return NGX_OK;
}
