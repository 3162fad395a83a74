
/*
 * The labels of the status page: names of servers and prefixes in UTF-8.
 */


#ifndef _NGX_HTTP_BILLING_STATUS_LABEL_H_INCLUDED_
#define _NGX_HTTP_BILLING_STATUS_LABEL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_billing_redis.h"


/* Makes the label of a server: its name and database, in UTF-8. */
ngx_int_t ngx_http_billing_status_server_label(ngx_pool_t *pool,
    ngx_http_billing_redis_peer_t *peer, ngx_str_t *label);

/* Writes the same label into a buffer, cut at last.  Returns its length. */
size_t ngx_http_billing_status_server_write(u_char *buf, u_char *last,
    ngx_http_billing_redis_peer_t *peer);

/* Makes a label UTF-8: a text of the configuration may have any bytes. */
void ngx_http_billing_status_label_utf8(ngx_str_t *label);

/*
 * Writes a label and its value as Prometheus has them: name="value".  The value
 * takes twice its length at most.
 */
u_char *ngx_http_billing_status_label(u_char *p, const char *name,
    ngx_str_t *value);


#endif /* _NGX_HTTP_BILLING_STATUS_LABEL_H_INCLUDED_ */
