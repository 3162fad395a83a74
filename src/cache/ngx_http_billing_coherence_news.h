
/*
 * What Redis tells of owners and changes, as it acts on the worker's store.
 * Private to the files of the coherence.
 */


#ifndef _NGX_HTTP_BILLING_COHERENCE_NEWS_H_INCLUDED_
#define _NGX_HTTP_BILLING_COHERENCE_NEWS_H_INCLUDED_


#include "ngx_http_billing_coherence.h"


/* At configuration: has co->tracking call the functions of the news. */
void ngx_http_billing_coherence_news(ngx_http_billing_coherence_t *co);

/* Begins a new generation of each source. */
void ngx_http_billing_coherence_renew_all(ngx_http_billing_coherence_t *co);

/* The state of a source that is in use; NULL if there is no memory. */
ngx_http_billing_source_state_t *ngx_http_billing_coherence_source(
    ngx_http_billing_coherence_t *co, ngx_uint_t source);

ngx_uint_t ngx_http_billing_coherence_same(ngx_str_t *one, ngx_str_t *two);


#endif /* _NGX_HTTP_BILLING_COHERENCE_NEWS_H_INCLUDED_ */
