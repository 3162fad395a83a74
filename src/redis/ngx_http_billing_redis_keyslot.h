
/*
 * The slots of a cluster's keys, and errors that name the slot and the node to
 * ask.  See https://redis.io/docs/latest/operate/oss_and_stack/reference/
 * cluster-spec/
 */


#ifndef _NGX_HTTP_BILLING_REDIS_KEYSLOT_H_INCLUDED_
#define _NGX_HTTP_BILLING_REDIS_KEYSLOT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_BILLING_REDIS_SLOTS  16384


typedef enum {
    NGX_HTTP_BILLING_REDIS_NO_REDIRECT = 0,

    /* another node has the slot; or has it for this command only */
    NGX_HTTP_BILLING_REDIS_MOVED,
    NGX_HTTP_BILLING_REDIS_ASK,

    /* the same is to be tried later */
    NGX_HTTP_BILLING_REDIS_TRYAGAIN,
    NGX_HTTP_BILLING_REDIS_CLUSTERDOWN
} ngx_http_billing_redis_redirect_e;


/* The slot of a key: of the part in the first braces, if that is not empty. */
ngx_uint_t ngx_http_billing_redis_keyslot(ngx_str_t *key);

/*
 * Reads the next of encoded commands, which begins at p.  Returns its end and
 * its first argument, the key; or NULL.
 */
u_char *ngx_http_billing_redis_keyslot_command(u_char *p, u_char *last,
    ngx_str_t *key);

/*
 * Reads an error.  For MOVED and ASK, sets the slot, the host, which may be
 * empty, and the port; these point into the text.
 */
ngx_http_billing_redis_redirect_e ngx_http_billing_redis_redirect(
    ngx_str_t *text, ngx_uint_t *slot, ngx_str_t *host, in_port_t *port);


#endif /* _NGX_HTTP_BILLING_REDIS_KEYSLOT_H_INCLUDED_ */
