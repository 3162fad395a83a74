
/*
 * The sources of the worker's store: their owners and their generations.
 * Private to the files of the coherence.
 */


#ifndef _NGX_HTTP_BILLING_COHERENCE_STATE_H_INCLUDED_
#define _NGX_HTTP_BILLING_COHERENCE_STATE_H_INCLUDED_


#include "ngx_http_billing_coherence.h"


/* The state of a source that is in use; NULL if there is no memory. */
ngx_http_billing_source_state_t *ngx_http_billing_coherence_source(
    ngx_http_billing_coherence_t *co, ngx_uint_t source);

/* Begins a new generation of the source; keep: the old one may become stale. */
void ngx_http_billing_coherence_renew(ngx_http_billing_coherence_t *co,
    ngx_uint_t source, ngx_uint_t keep);

/*
 * Begins a new generation of each source.  With keep, a source keeps its stale
 * records if it has lost its owner, and no server has answered since.
 */
void ngx_http_billing_coherence_renew_all(ngx_http_billing_coherence_t *co,
    ngx_uint_t keep);

/* Sets the two flags, and counts a set of servers whose cache is not used. */
void ngx_http_billing_coherence_unused(ngx_http_billing_coherence_t *co,
    ngx_uint_t untracked, ngx_uint_t unmapped);

ngx_uint_t ngx_http_billing_coherence_same(ngx_str_t *one, ngx_str_t *two);


#endif /* _NGX_HTTP_BILLING_COHERENCE_STATE_H_INCLUDED_ */
