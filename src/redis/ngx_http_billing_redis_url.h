
/*
 * The text of an URL: its parts, and what of it may be logged.
 */


#ifndef _NGX_HTTP_BILLING_REDIS_URL_H_INCLUDED_
#define _NGX_HTTP_BILLING_REDIS_URL_H_INCLUDED_


#include "ngx_http_billing_redis.h"


/* bytes of an URL in a log line, at most */

#define NGX_HTTP_BILLING_REDIS_SHOWN_URL  256


/*
 * The parsers return NULL, or the text of the mistake.  The first parser fills
 * in the peer's credentials and database from peer->url, and u with the host's
 * addresses; if u->no_resolve is set, a host name has none.
 */

char *ngx_http_billing_redis_parse_url(ngx_conf_t *cf,
    ngx_http_billing_redis_peer_t *peer, ngx_url_t *u);

/* Sets peer->ssl_name to the host. */
char *ngx_http_billing_redis_parse_ssl_name(ngx_conf_t *cf,
    ngx_http_billing_redis_peer_t *peer, ngx_url_t *u);

/* "user:password" */
char *ngx_http_billing_redis_parse_userinfo(ngx_conf_t *cf,
    ngx_http_billing_redis_peer_t *peer, u_char *p, u_char *last);

/* Decodes what is written with "%". */
char *ngx_http_billing_redis_unescape(ngx_conf_t *cf, ngx_str_t *text,
    u_char *p, u_char *last);

/* Adds a server for each address of the host. */
ngx_int_t ngx_http_billing_redis_add_peers(ngx_conf_t *cf, ngx_array_t *peers,
    ngx_http_billing_redis_peer_t *parsed, ngx_url_t *u);

/* Adds a server for each address of the host, or one with the host's name. */
ngx_int_t ngx_http_billing_redis_add_host(ngx_conf_t *cf,
    ngx_http_billing_redis_urls_t *urls,
    ngx_http_billing_redis_peer_t *parsed, ngx_url_t *u);

/*
 * Adds the sentinels of an URL to urls->peers, and makes urls->sentinel.
 * Returns NULL, or the text of the mistake.
 */

ngx_uint_t ngx_http_billing_redis_is_sentinel_url(ngx_str_t *url);
char *ngx_http_billing_redis_parse_sentinel_url(ngx_conf_t *cf,
    ngx_http_billing_redis_urls_t *urls, ngx_str_t *url);

/*
 * Writes the parts of an invalid URL that may be logged: the scheme, the path
 * or the host, and the port after a host that is certain.  A password may be
 * anywhere else.
 */
u_char *ngx_http_billing_redis_log_url(u_char *buf, u_char *last,
    ngx_str_t *url);


#endif /* _NGX_HTTP_BILLING_REDIS_URL_H_INCLUDED_ */
