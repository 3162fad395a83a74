
/*
 * Servers whose URLs have host names that move: the pool's list of servers is
 * made of the names' addresses, and is made anew when they change.
 */


#ifndef _NGX_HTTP_BILLING_REDIS_NAMES_H_INCLUDED_
#define _NGX_HTTP_BILLING_REDIS_NAMES_H_INCLUDED_


#include "ngx_http_billing_redis_pool.h"


/*
 * At configuration: makes the discovery of the pool's servers.  The pool's conf
 * has a resolver.
 */
ngx_int_t ngx_http_billing_redis_names_init(ngx_conf_t *cf,
    ngx_http_billing_redis_pool_t *pool);


#endif /* _NGX_HTTP_BILLING_REDIS_NAMES_H_INCLUDED_ */
