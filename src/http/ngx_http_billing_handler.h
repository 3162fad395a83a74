
/*
 * A request on its way from token to answer.  Private to the files of the
 * handler: the way itself, the token, lists that stream, and what is sent.
 */


#ifndef _NGX_HTTP_BILLING_HANDLER_H_INCLUDED_
#define _NGX_HTTP_BILLING_HANDLER_H_INCLUDED_


#include "ngx_http_billing_module.h"
#include "ngx_http_billing_client.h"
#include "ngx_http_billing_params.h"
#include "ngx_http_billing_cache.h"
#include "ngx_http_billing_json.h"


typedef struct ngx_http_billing_ctx_s  ngx_http_billing_ctx_t;


typedef void (*ngx_http_billing_next_pt)(ngx_http_billing_ctx_t *ctx);


struct ngx_http_billing_ctx_s {
    ngx_http_request_t            *request;
    ngx_http_billing_record_t     *record;

    ngx_http_billing_params_t      params;

    /* the lookups under way, and who goes on when they are answered */
    ngx_http_billing_cache_t       cache;
    ngx_http_billing_next_pt       next;

    /* lookups under way, NULL or empty where they are not asked for */
    ngx_http_billing_lookup_t     *token;
    ngx_http_billing_lookup_t     *synced_at;

    /* ngx_http_billing_lookup_t *: of cameras, or of external ids */
    ngx_array_t                    lookups;

    /* ngx_http_billing_lookup_t *: whether the login has these cameras */
    ngx_array_t                    members;

    /* what is left of the time to wait for Redis, and since when it runs */
    ngx_msec_int_t                 left;
    ngx_msec_t                     asked;

    /* int64_t: the cameras that may be in the answer, or in a list's batch */
    ngx_array_t                    ids;

    ngx_http_billing_json_t        json;

    /* cameras in the answer so far */
    ngx_uint_t                     cameras;

    /* of a list that streams: the memory of the batch, and what is unsent */
    ngx_pool_t                    *pool;
    ngx_chain_t                   *busy;

    /* a batch of a list is to go with the next one */
    unsigned                       held:1;

    /* the cache was loaded when the list went on */
    unsigned                       synced:1;

    unsigned                       header_sent:1;

    /* nothing was found, but the cache is there: it may be new */
    unsigned                       again:1;
};


/* Looks for the token, and goes on with the request if it is valid. */
void ngx_http_billing_authenticate(ngx_http_billing_ctx_t *ctx);

/* Goes on with a request whose token is valid. */
void ngx_http_billing_read_body(ngx_http_billing_ctx_t *ctx);

/* Ends the request with the status for what failed, or breaks it off. */
void ngx_http_billing_failed(ngx_http_billing_ctx_t *ctx,
    ngx_http_billing_redis_result_e result);

/*
 * Asks Redis for the lookups gathered in ctx->cache, and goes on with next,
 * or ends the request with the status for what failed.
 */
void ngx_http_billing_ask(ngx_http_billing_ctx_t *ctx,
    ngx_http_billing_next_pt next);

/* Adds a camera to the answer's array, which the caller closes. */
ngx_int_t ngx_http_billing_add_camera(ngx_http_billing_ctx_t *ctx,
    ngx_str_t *camera);

/* Adds a lookup of ctx->cache to an array of them. */
ngx_int_t ngx_http_billing_add_lookup(ngx_array_t *lookups,
    ngx_http_billing_lookup_t *lookup);

/* Nothing was found: that is "null", if the cache was ever loaded. */
void ngx_http_billing_nothing(ngx_http_billing_ctx_t *ctx);


/* Answers with all cameras of a login, batch by batch. */
void ngx_http_billing_list(ngx_http_billing_ctx_t *ctx);


/*
 * Sends the header; a length of -1 is unknown.  Returns as
 * ngx_http_send_header() does.
 */
ngx_int_t ngx_http_billing_send_header(ngx_http_billing_ctx_t *ctx,
    ngx_uint_t status, off_t length);

/* These send a whole answer and finalize the request. */

void ngx_http_billing_send_json(ngx_http_billing_ctx_t *ctx,
    ngx_uint_t status);
void ngx_http_billing_send_error(ngx_http_billing_ctx_t *ctx,
    ngx_uint_t status, ngx_str_t *message);
void ngx_http_billing_send_unauthorized(ngx_http_billing_ctx_t *ctx,
    ngx_uint_t sent);
void ngx_http_billing_send_not_allowed(ngx_http_billing_ctx_t *ctx,
    ngx_str_t *methods);
void ngx_http_billing_send_unprocessable(ngx_http_billing_ctx_t *ctx);


#endif /* _NGX_HTTP_BILLING_HANDLER_H_INCLUDED_ */
