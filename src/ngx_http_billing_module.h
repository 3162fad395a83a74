
/*
 * The module's configuration.
 */


#ifndef _NGX_HTTP_BILLING_MODULE_H_INCLUDED_
#define _NGX_HTTP_BILLING_MODULE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <openssl/evp.h>

#include "ngx_http_billing_cache.h"
#include "ngx_http_billing_redis.h"
#include "ngx_http_billing_status.h"


typedef struct {
    /* ngx_http_billing_redis_t *: the sets of servers in use */
    ngx_array_t                     redis;

    /* ngx_http_billing_cache_set_t *: the contract's state, per set */
    ngx_array_t                     cache_sets;

    /* SHA-256 */
    const EVP_MD                   *token_digest;

    ngx_http_billing_status_t       status;
} ngx_http_billing_main_conf_t;


typedef struct {
    ngx_flag_t                      enable;

    /* the servers, and the set of them that is shared with other locations */
    ngx_http_billing_redis_conf_t   redis_conf;
    ngx_http_billing_redis_t       *redis;
    ngx_http_billing_cache_set_t   *cache_set;

    ngx_msec_t                      redis_timeout;
    ngx_str_t                       redis_prefix;

    /* NULL: the token is that of the Authorization header */
    ngx_http_complex_value_t       *token;
    ngx_flag_t                      token_required;

    /* bytes of the worker's cache, 0: none; milliseconds */
    size_t                          cache_size;
    ngx_msec_t                      cache_lag;
    ngx_msec_t                      cache_stale;

    ngx_uint_t                      max_ids;
    ngx_uint_t                      batch;
    ngx_flag_t                      allow_post;
} ngx_http_billing_loc_conf_t;


extern ngx_module_t  ngx_http_billing_module;


#endif /* _NGX_HTTP_BILLING_MODULE_H_INCLUDED_ */
