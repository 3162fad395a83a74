
#include "ngx_http_billing_redis_url.h"

#include <hiredis/hiredis.h>


#define NGX_HTTP_BILLING_REDIS_MAX_PASSWORD  4096


static u_char *ngx_http_billing_redis_scheme(ngx_str_t *url);
static char *ngx_http_billing_redis_parse_path(ngx_conf_t *cf,
    ngx_http_billing_redis_peer_t *peer, ngx_url_t *u);
static char *ngx_http_billing_redis_parse_param(ngx_conf_t *cf,
    ngx_http_billing_redis_peer_t *peer, u_char *p, u_char *last);
static char *ngx_http_billing_redis_parse_authority(ngx_conf_t *cf,
    ngx_http_billing_redis_peer_t *peer, ngx_url_t *u);
static ngx_int_t ngx_http_billing_redis_add_name(ngx_conf_t *cf,
    ngx_array_t *peers, ngx_http_billing_redis_peer_t *parsed, ngx_url_t *u);
static ngx_int_t ngx_http_billing_redis_set_host(ngx_conf_t *cf,
    ngx_http_billing_redis_peer_t *peer, ngx_url_t *u, ngx_addr_t *addr);


u_char *
ngx_http_billing_redis_log_url(u_char *buf, u_char *last, ngx_str_t *url)
{
    u_char      *p, *end, *host, *query;
    ngx_uint_t   path, certain;

    p = url->data;
    end = p + url->len;

    host = ngx_http_billing_redis_scheme(url);
    path = (host == p + 5 && ngx_strncmp(p, "unix:", 5) == 0);
    query = ngx_strlchr(host, end, '?');

    buf = ngx_slprintf(buf, last, "%*s", (size_t) (host - p), p);

    for (p = end; p > host && p[-1] != '@'; p--) { /* void */ }

    certain = (p > host);

    if (certain) {
        buf = ngx_slprintf(buf, last, "***@");

        if (query && query < p) {
            return buf;
        }

        host = p;
    }

    if (query) {
        end = query;
    }

    if (path && (host == end || *host == '/')
        && (end - host < 2 || host[1] != '/'))
    {
        return ngx_slprintf(buf, last, "%*s", (size_t) (end - host), host);
    }

    p = host;

    if (host < end && *host == '[') {
        p = ngx_strlchr(host, end, ']');
        certain = 1;

        if (p == NULL) {
            p = end;
        }
    }

    while (p < end && *p != ':' && (*p != '/' || path)) {
        p++;
    }

    /* "name:port" may be a user and the beginning of a password */

    certain |= (ngx_inet_addr(host, p - host) != INADDR_NONE);

    if (certain && p < end && *p == ':') {
        p++;

        while (p < end && *p >= '0' && *p <= '9') {
            p++;
        }

        if (p < end && *p != '/') {
            while (*p != ':') {
                p--;
            }
        }
    }

    return ngx_slprintf(buf, last, "%*s", (size_t) (p - host), host);
}


/* returns the scheme's end, or the URL's start if there is no scheme */

static u_char *
ngx_http_billing_redis_scheme(ngx_str_t *url)
{
    u_char  *p, *last;

    last = url->data + url->len;

    for (p = url->data; p < last; p++) {
        if ((*p < 'a' || *p > 'z') && *p != '-') {
            break;
        }
    }

    if (last - p >= 3 && ngx_strncmp(p, "://", 3) == 0) {

        return (p - url->data == 4 && ngx_strncmp(url->data, "unix", 4) == 0)
               ? p + 1 : p + 3;
    }

    if (url->len >= 5 && ngx_strncmp(url->data, "unix:", 5) == 0) {
        return url->data + 5;
    }

    return url->data;
}


char *
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
        err = ngx_http_billing_redis_parse_path(cf, peer, u);

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
        err = "it must begin with \"redis://\", \"rediss://\", \"unix:\", "
              "\"redis-sentinel://\" or \"rediss-sentinel://\"";
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


/* "unix:/path?db=N&user=name" */

static char *
ngx_http_billing_redis_parse_path(ngx_conf_t *cf,
    ngx_http_billing_redis_peer_t *peer, ngx_url_t *u)
{
    char       *err;
    u_char     *p, *last, *next;
    ngx_str_t   path;

    last = u->url.data + u->url.len;
    next = ngx_strlchr(u->url.data, last, '?');

    if (next) {
        u->url.len = next - u->url.data;
    }

    path.data = u->url.data + 5;
    path.len = u->url.len - 5;

    if (path.len == 0 || path.data[0] != '/') {
        return "the path must begin with \"/\"";
    }

    /* "unix://user:password@/path", as other clients write it */

    if ((path.len > 1 && path.data[1] == '/'
         && (path.len == 2 || path.data[2] != '/'))
        || ngx_strnstr(path.data, "@/", path.len))
    {
        return "nothing may precede the path, the user goes into "
               "\"?user=\", the password into "
               "\"billing_redis_password_file\"";
    }

    /* "unix:/path:/uri", as in nginx's proxy_pass */

    if (path.data[path.len - 1] == ':'
        || ngx_strnstr(path.data, ":/", path.len))
    {
        return "the path must not end with \":\"";
    }

    while (next) {
        p = next + 1;
        next = ngx_strlchr(p, last, '&');

        err = ngx_http_billing_redis_parse_param(cf, peer, p,
                                                 next ? next : last);
        if (err) {
            return err;
        }
    }

    return NULL;
}


static char *
ngx_http_billing_redis_parse_param(ngx_conf_t *cf,
    ngx_http_billing_redis_peer_t *peer, u_char *p, u_char *last)
{
    if (last - p >= 3 && ngx_strncmp(p, "db=", 3) == 0) {

        if (peer->db.data) {
            return "the parameter \"db\" is duplicate";
        }

        peer->db.data = p + 3;
        peer->db.len = last - peer->db.data;

        return NULL;
    }

    if (last - p >= 5 && ngx_strncmp(p, "user=", 5) == 0) {

        if (peer->user.data) {
            return "the parameter \"user\" is duplicate";
        }

        if (last - p == 5) {
            return "the user is empty";
        }

        return ngx_http_billing_redis_unescape(cf, &peer->user, p + 5, last);
    }

    if (last - p >= 9 && ngx_strncmp(p, "password=", 9) == 0) {
        return "the password goes into \"billing_redis_password_file\"";
    }

    return "only the parameters \"db\" and \"user\" are known";
}


/* "user:password@host:port/db", which follows the scheme */

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

    if (ngx_strlchr(p, last, '?')) {
        return "parameters are known in \"unix:\" URLs only";
    }

    if (p == u->url.data) {
        return NULL;
    }

    err = ngx_http_billing_redis_parse_userinfo(cf, peer, u->url.data, p - 1);

    u->url.len -= p - u->url.data;
    u->url.data = p;

    return err;
}


char *
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


char *
ngx_http_billing_redis_parse_userinfo(ngx_conf_t *cf,
    ngx_http_billing_redis_peer_t *peer, u_char *p, u_char *last)
{
    char    *err;
    u_char  *colon;

    colon = ngx_strlchr(p, last, ':');

    if (colon == NULL) {
        return ngx_http_billing_redis_unescape(cf, &peer->user, p, last);
    }

    if (colon + 1 == last) {
        return "the password is empty";
    }

    err = ngx_http_billing_redis_unescape(cf, &peer->user, p, colon);
    if (err) {
        return err;
    }

    return ngx_http_billing_redis_unescape(cf, &peer->password, colon + 1,
                                           last);
}


char *
ngx_http_billing_redis_unescape(ngx_conf_t *cf, ngx_str_t *text, u_char *p,
    u_char *last)
{
    u_char  *dst;

    for (dst = p; dst < last; dst++) {
        if (*dst == '%'
            && (last - dst < 3 || ngx_hextoi(dst + 1, 2) == NGX_ERROR))
        {
            return "a \"%\" in the user or the password is to be \"%25\"";
        }
    }

    text->data = ngx_pnalloc(cf->pool, last - p + 1);
    if (text->data == NULL) {
        return "out of memory";
    }

    dst = text->data;

    ngx_unescape_uri(&dst, &p, last - p, 0);

    text->len = dst - text->data;

    return NULL;
}


ngx_int_t
ngx_http_billing_redis_add_host(ngx_conf_t *cf,
    ngx_http_billing_redis_urls_t *urls,
    ngx_http_billing_redis_peer_t *parsed, ngx_url_t *u)
{
    if (u->naddrs) {
        return ngx_http_billing_redis_add_peers(cf, &urls->peers, parsed, u);
    }

    urls->resolve = 1;

    return ngx_http_billing_redis_add_name(cf, &urls->peers, parsed, u);
}


/* a server whose host name is resolved later */

static ngx_int_t
ngx_http_billing_redis_add_name(ngx_conf_t *cf, ngx_array_t *peers,
    ngx_http_billing_redis_peer_t *parsed, ngx_url_t *u)
{
    ngx_http_billing_redis_peer_t  *peer;

    peer = ngx_array_push(peers);
    if (peer == NULL) {
        return NGX_ERROR;
    }

    *peer = *parsed;

    peer->resolve = 1;
    peer->port = u->port;

    peer->name.data = ngx_pnalloc(cf->pool, u->host.len + sizeof(":65535"));
    peer->host.data = ngx_pnalloc(cf->pool, u->host.len + 1);

    if (peer->name.data == NULL || peer->host.data == NULL) {
        return NGX_ERROR;
    }

    peer->name.len = ngx_sprintf(peer->name.data, "%V:%d%Z", &u->host,
                                 (int) u->port)
                     - peer->name.data - 1;

    peer->host.len = u->host.len;
    ngx_cpystrn(peer->host.data, u->host.data, u->host.len + 1);

    return NGX_OK;
}


/* a server for each address */

ngx_int_t
ngx_http_billing_redis_add_peers(ngx_conf_t *cf, ngx_array_t *peers,
    ngx_http_billing_redis_peer_t *parsed, ngx_url_t *u)
{
    ngx_uint_t                      i;
    ngx_http_billing_redis_peer_t  *peer;

    for (i = 0; i < u->naddrs; i++) {

        peer = ngx_array_push(peers);
        if (peer == NULL) {
            return NGX_ERROR;
        }

        *peer = *parsed;
        peer->resolve = 0;

        if (ngx_http_billing_redis_set_host(cf, peer, u, &u->addrs[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

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


void
ngx_http_billing_redis_url_host(ngx_str_t *url, ngx_str_t *host)
{
    u_char  *p, *last, *end;

    p = ngx_http_billing_redis_scheme(url);
    last = url->data + url->len;

    for (end = last; end > p && end[-1] != '@'; end--) { /* void */ }

    p = end;

    if (p < last && *p == '[') {
        host->data = p + 1;
        end = ngx_strlchr(p, last, ']');

    } else {
        host->data = p;
        end = NULL;

        for ( /* void */ ; p < last; p++) {
            if (*p == ':' || *p == '/' || *p == '?') {
                end = p;
                break;
            }
        }
    }

    host->len = (end ? end : last) - host->data;
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
