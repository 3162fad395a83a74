
/*
 * A request of the route on its way from token to answer.  A stage does one
 * step of the way and returns what is to happen next; the driver, in
 * ngx_http_billing_handler.c, makes it happen.  No stage calls another one.
 *
 * Private to the files of src/http.
 */


#ifndef _NGX_HTTP_BILLING_REQUEST_H_INCLUDED_
#define _NGX_HTTP_BILLING_REQUEST_H_INCLUDED_


#include "ngx_http_billing_module.h"
#include "ngx_http_billing_client.h"
#include "ngx_http_billing_header.h"
#include "ngx_http_billing_record.h"
#include "ngx_http_billing_params.h"


/* the stage that is to be run next */

typedef enum {
    NGX_HTTP_BILLING_PHASE_METHOD = 0,

    /* the token is looked up; if it is missing, synced_at is looked up */
    NGX_HTTP_BILLING_PHASE_TOKEN,
    NGX_HTTP_BILLING_PHASE_TOKEN_ANSWERED,
    NGX_HTTP_BILLING_PHASE_TOKEN_CHECKED,

    NGX_HTTP_BILLING_PHASE_PARAMS,

    /* selectors become the ids of cameras that may be in the answer */
    NGX_HTTP_BILLING_PHASE_RESOLVE,
    NGX_HTTP_BILLING_PHASE_RESOLVED,

    /* the cameras, batch by batch */
    NGX_HTTP_BILLING_PHASE_LIST,
    NGX_HTTP_BILLING_PHASE_BATCH,
    NGX_HTTP_BILLING_PHASE_BATCH_ANSWERED,

    /* no camera was found: 503 if the server's data is not loaded, else null */
    NGX_HTTP_BILLING_PHASE_NOTHING,
    NGX_HTTP_BILLING_PHASE_NOTHING_ANSWERED,

    NGX_HTTP_BILLING_PHASES
} ngx_http_billing_phase_e;


/* an action that the driver takes before it runs the stage of the phase */

typedef enum {
    /* nothing: the stage is run at once */
    NGX_HTTP_BILLING_NEXT = 0,

    /* Redis answers the lookups gathered in ctx->cache */
    NGX_HTTP_BILLING_ASK,

    /* nginx reads the request's body */
    NGX_HTTP_BILLING_READ,

    /* the client takes the data that was sent */
    NGX_HTTP_BILLING_WRITE,

    /* other requests have their turn */
    NGX_HTTP_BILLING_YIELD,

    /* no stage is run: the request is finalized with ctx->rc */
    NGX_HTTP_BILLING_DONE
} ngx_http_billing_action_e;


typedef enum {
    NGX_HTTP_BILLING_AUTH_UNKNOWN = 0,

    /*
     * the token was missing on one connection, and synced_at was found on
     * another one: both lookups are repeated, in one pipeline
     */
    NGX_HTTP_BILLING_AUTH_UNSURE,

    NGX_HTTP_BILLING_AUTH_VALID
} ngx_http_billing_auth_e;


/* cameras on their way to the client; see ngx_http_billing_list.c */

typedef struct {
    /*
     * int64_t: the ids of this page; the index of the first unsent one; the
     * number of the next page
     */
    ngx_array_t                        ids;
    ngx_uint_t                         next;
    ngx_uint_t                         page;

    /* int64_t: the next page of a login's ids, if it was asked for */
    ngx_array_t                        following;

    /* how many cameras the next batch may have, and any batch */
    ngx_uint_t                         size;
    ngx_uint_t                         max;

    /* the batch's camera lookups; its member lookups, or NULL */
    ngx_http_billing_lookup_t        **cameras;
    ngx_http_billing_lookup_t        **members;
    ngx_http_billing_lookup_t         *synced_at;
    ngx_uint_t                         n;

    /* the batch's memory; NULL while the request waits for the client */
    ngx_pool_t                        *pool;

    /* buffers that the client has not taken yet */
    ngx_chain_t                       *busy;

    /* the ids are those of a login, page by page */
    unsigned                           login:1;

    /* only the login's cameras count: each one is looked up as its member */
    unsigned                           narrowed:1;

    /* the next page is asked for together with the batch */
    unsigned                           paged:1;

    /* the first batch is written, and is sent together with the second one */
    unsigned                           held:1;

    /* a batch has found synced_at since the answer began */
    unsigned                           synced:1;
} ngx_http_billing_list_t;


typedef struct {
    ngx_http_request_t                *request;
    ngx_http_billing_record_t         *record;

    ngx_http_billing_phase_e           phase;
    ngx_http_billing_auth_e            auth;

    /* with NGX_HTTP_BILLING_DONE: for ngx_http_finalize_request() */
    ngx_int_t                          rc;

    /*
     * the request waits for Redis until then, a value of ngx_current_msec;
     * reading the body does not use up this time
     */
    ngx_msec_t                         deadline;
    ngx_msec_t                         reading;

    ngx_http_billing_params_t          params;

    /* the lookups under way; NULL or empty: not asked for */
    ngx_http_billing_cache_t           cache;
    ngx_http_billing_lookup_t         *token;
    ngx_http_billing_lookup_t         *synced_at;
    ngx_array_t                        externals;

    /* the number of the connection on which the token was missing */
    ngx_uint_t                         connection;

    /* with "repeated": the connection on which synced_at was found */
    ngx_uint_t                         loaded;

    /* int64_t: the cameras that may be in the answer */
    ngx_array_t                        ids;

    ngx_http_billing_list_t            list;

    /* the answer, and how many cameras are in it so far */
    ngx_http_billing_json_t            json;
    ngx_uint_t                         cameras;

    /* the request goes on in the next turn of the event loop */
    ngx_event_t                        turn;

    unsigned                           header_sent:1;

    /* synced_at was found, and so the lookups are repeated */
    unsigned                           repeated:1;

    /*
     * the repeated lookups prove nothing: not all of them were answered on the
     * connection "loaded", or synced_at was missing after them
     */
    unsigned                           inconclusive:1;

    /* the request has not waited since the store answered its lookups */
    unsigned                           busy:1;
} ngx_http_billing_ctx_t;


/*
 * Begins to gather lookups in ctx->cache, about n of them, in memory of the
 * pool.  With "billing_cache off" the worker's store is not used.  Returns
 * NGX_ERROR if there is no memory.
 */
ngx_int_t ngx_http_billing_lookups(ngx_http_billing_ctx_t *ctx,
    ngx_http_billing_store_use_e use, ngx_pool_t *pool, ngx_uint_t n);

/*
 * For repeated lookups that may find no camera: the first function adds
 * ctx->synced_at behind them, and the second one looks at its result.
 */
ngx_int_t ngx_http_billing_check_loaded(ngx_http_billing_ctx_t *ctx);
void ngx_http_billing_checked_loaded(ngx_http_billing_ctx_t *ctx);

/* Stages: each sets ctx->phase to the next phase. */

ngx_http_billing_action_e ngx_http_billing_token(ngx_http_billing_ctx_t *ctx);
ngx_http_billing_action_e ngx_http_billing_token_answered(
    ngx_http_billing_ctx_t *ctx);
ngx_http_billing_action_e ngx_http_billing_token_checked(
    ngx_http_billing_ctx_t *ctx);

ngx_http_billing_action_e ngx_http_billing_resolve(
    ngx_http_billing_ctx_t *ctx);
ngx_http_billing_action_e ngx_http_billing_resolved(
    ngx_http_billing_ctx_t *ctx);
ngx_http_billing_action_e ngx_http_billing_nothing(
    ngx_http_billing_ctx_t *ctx);
ngx_http_billing_action_e ngx_http_billing_nothing_answered(
    ngx_http_billing_ctx_t *ctx);

ngx_http_billing_action_e ngx_http_billing_list(ngx_http_billing_ctx_t *ctx);
ngx_http_billing_action_e ngx_http_billing_batch(ngx_http_billing_ctx_t *ctx);
ngx_http_billing_action_e ngx_http_billing_batch_answered(
    ngx_http_billing_ctx_t *ctx);


/*
 * Ends of a request: a stage returns what these return, which is
 * NGX_HTTP_BILLING_DONE.  Each sends a whole answer, unless its comment says
 * otherwise.
 */

/* The request is finalized with rc. */
ngx_http_billing_action_e ngx_http_billing_done(ngx_http_billing_ctx_t *ctx,
    ngx_int_t rc);

/* No memory, or nginx failed: 500, or the answer is broken off. */
ngx_http_billing_action_e ngx_http_billing_error(ngx_http_billing_ctx_t *ctx);

/* The lookups failed: 502, 503 or 504, or the answer is broken off. */
ngx_http_billing_action_e ngx_http_billing_failed(ngx_http_billing_ctx_t *ctx,
    ngx_http_billing_redis_result_e result);

/* No server has its data loaded: 503. */
ngx_http_billing_action_e ngx_http_billing_unloaded(
    ngx_http_billing_ctx_t *ctx);

/* The JSON in ctx->json is the answer. */
ngx_http_billing_action_e ngx_http_billing_send_json(
    ngx_http_billing_ctx_t *ctx, ngx_uint_t status);

/* 401; sent: the request had a token. */
ngx_http_billing_action_e ngx_http_billing_send_unauthorized(
    ngx_http_billing_ctx_t *ctx, ngx_uint_t sent);

/* 405; allowed: the value of the Allow header. */
ngx_http_billing_action_e ngx_http_billing_send_not_allowed(
    ngx_http_billing_ctx_t *ctx, ngx_str_t *allowed);

/* 422, with the errors of ctx->params. */
ngx_http_billing_action_e ngx_http_billing_send_unprocessable(
    ngx_http_billing_ctx_t *ctx);


/*
 * Sends the header of an answer; a length of -1 means that it is unknown.
 * Returns as ngx_http_send_header() does.
 */
ngx_int_t ngx_http_billing_send_header(ngx_http_billing_ctx_t *ctx,
    ngx_uint_t status, off_t length);

/*
 * Sends more of the buffers that the client has not taken yet.  Returns NGX_OK
 * when all are sent; NGX_AGAIN if some are left; or NGX_ERROR.
 */
ngx_int_t ngx_http_billing_list_flush(ngx_http_billing_ctx_t *ctx);

/* Writes the next camera of the answer's array, which the caller closes. */
ngx_int_t ngx_http_billing_add_camera(ngx_http_billing_ctx_t *ctx,
    ngx_str_t *camera);


#endif /* _NGX_HTTP_BILLING_REQUEST_H_INCLUDED_ */
