
/*
 * A host name that nginx's resolver resolves: again and again while somebody
 * asks, as the addresses may change.  A worker's own.
 */


#ifndef _NGX_HTTP_BILLING_REDIS_NAME_H_INCLUDED_
#define _NGX_HTTP_BILLING_REDIS_NAME_H_INCLUDED_


#include "ngx_http_billing_redis.h"


/* texts are zero-terminated */

typedef struct {
    /* the address and the port */
    ngx_str_t                           name;

    ngx_str_t                           host;
    u_char                              text[2 * NGX_SOCKADDR_STRLEN + 2];
} ngx_http_billing_redis_address_t;


typedef struct {
    /*
     * For the caller to set.  The host is a name, and is changed to lower case.
     * changed() is called when the addresses have changed, and when the first
     * attempt has failed.  ngx_http_billing_redis_name_ask() may call changed()
     * before it returns.
     */
    ngx_str_t                           host;
    in_port_t                           port;
    ngx_resolver_t                     *resolver;
    ngx_msec_t                          timeout;
    ngx_log_t                          *log;
    void                              (*changed)(void *data);
    void                               *data;

    /* the last addresses, sorted; the caller's to read */
    ngx_http_billing_redis_address_t   *addrs;
    ngx_uint_t                          naddrs;

    /* the first attempt has ended, with addresses or without */
    unsigned                            tried:1;

    /* private: the attempt under way, or NULL */
    ngx_resolver_ctx_t                 *ctx;

    /* private: whether there was an attempt, and when the last one began */
    ngx_msec_t                          asked;
    unsigned                            begun:1;

    /* logged: the name cannot be resolved */
    unsigned                            failed:1;
} ngx_http_billing_redis_name_t;


/*
 * Has the name resolved, unless this was begun less than a second ago.  To be
 * called while the addresses are in use: nginx's resolver keeps an answer for
 * its TTL, and asks a name server again after that.
 */
void ngx_http_billing_redis_name_ask(ngx_http_billing_redis_name_t *name);

/* Sets the host, the port and the name of a server with the n-th address. */
void ngx_http_billing_redis_name_peer(ngx_http_billing_redis_name_t *name,
    ngx_uint_t n, ngx_http_billing_redis_peer_t *peer);

/*
 * Returns the servers of a list of URLs, *n of them: one for each address of a
 * name.  There is a name for each of the URLs.  The array is the heap's.
 * Returns NULL if there is no memory.
 */
ngx_http_billing_redis_peer_t *ngx_http_billing_redis_name_peers(
    ngx_http_billing_redis_name_t *names, ngx_array_t *urls, ngx_uint_t *n,
    ngx_log_t *log);

/* Is the text an address, and not a name? */
ngx_uint_t ngx_http_billing_redis_name_is_address(ngx_str_t *text);

/* Frees what is the heap's.  Nothing is called any more. */
void ngx_http_billing_redis_name_close(ngx_http_billing_redis_name_t *name);


#endif /* _NGX_HTTP_BILLING_REDIS_NAME_H_INCLUDED_ */
