
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

    /* ngx_http_billing_cache_set_t *: what the sets of servers hold */
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

    /* NULL: the bearer token */
    ngx_http_complex_value_t       *token;
    ngx_flag_t                      token_required;

    ngx_uint_t                      max_ids;
    ngx_uint_t                      batch;
    ngx_flag_t                      allow_post;
} ngx_http_billing_loc_conf_t;


extern ngx_module_t  ngx_http_billing_module;


/* The content handler. */
ngx_int_t ngx_http_billing_handler(ngx_http_request_t *r);

/* Sets the digest, which lives as long as the configuration. */
ngx_int_t ngx_http_billing_token_init(ngx_conf_t *cf);

/*
 * Makes the answer one that is not to be stored: the header has this
 * Cache-Control and no other, and conditions of the request do not count.
 */
ngx_int_t ngx_http_billing_no_store(ngx_http_request_t *r);

/* Adds a field to the header; *header, unless header is NULL, is the field. */
ngx_int_t ngx_http_billing_add_header(ngx_http_request_t *r,
    ngx_table_elt_t **header, ngx_str_t *key, ngx_str_t *value);


#endif /* _NGX_HTTP_BILLING_MODULE_H_INCLUDED_ */
