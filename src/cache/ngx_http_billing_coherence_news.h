
/*
 * News from Redis for the worker's store: a source has an owner, or has lost
 * its owner; or a key has changed.
 */


#ifndef _NGX_HTTP_BILLING_COHERENCE_NEWS_H_INCLUDED_
#define _NGX_HTTP_BILLING_COHERENCE_NEWS_H_INCLUDED_


#include "ngx_http_billing_coherence.h"


/* At configuration: has co->tracking call the functions of the news. */
void ngx_http_billing_coherence_news(ngx_http_billing_coherence_t *co);


#endif /* _NGX_HTTP_BILLING_COHERENCE_NEWS_H_INCLUDED_ */
