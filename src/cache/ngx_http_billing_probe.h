
/*
 * Probes of the connections that keep the worker's store true.  A probe reads
 * the server's role and a key that the server has: synced_at, or, of a node of
 * a cluster that has no synced_at, any key in one of the node's slots.
 */


#ifndef _NGX_HTTP_BILLING_PROBE_H_INCLUDED_
#define _NGX_HTTP_BILLING_PROBE_H_INCLUDED_


#include "ngx_http_billing_cache.h"


/*
 * Has probes sent to a set of servers for which ngx_http_billing_cache_keep()
 * was called.  Redis has timeout milliseconds to answer.  At configuration; of
 * several calls for a set, the longest timeout counts.
 */
ngx_int_t ngx_http_billing_probe_init(ngx_conf_t *cf,
    ngx_http_billing_cache_set_t *set, ngx_msec_t timeout);

/* Ends the probes that may be under way in a worker that exits. */
void ngx_http_billing_probe_close(ngx_http_billing_cache_set_t *set);


#endif /* _NGX_HTTP_BILLING_PROBE_H_INCLUDED_ */
