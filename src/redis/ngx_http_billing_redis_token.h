
/*
 * What Redis' replies consist of: scalars, and the beginnings of arrays, maps
 * and so on.  Private to the reader.
 */


#ifndef _NGX_HTTP_BILLING_REDIS_TOKEN_H_INCLUDED_
#define _NGX_HTTP_BILLING_REDIS_TOKEN_H_INCLUDED_


#include "ngx_http_billing_redis_reply.h"


typedef struct {
    /* an attribute or a push is an ARRAY */
    ngx_http_billing_redis_type_e  type;
    ngx_str_t                      text;

    /* values that follow, and are part of it */
    ngx_uint_t                     nelts;

    unsigned                       attribute:1;
    unsigned                       push:1;
} ngx_http_billing_redis_token_t;


/*
 * Reads the token that begins at p.  Returns where it ends; or NULL if that
 * was not received yet, or with reader->error.  A string that is too long to be
 * kept is no token yet: its beginning is read, and reader->skipping is set.
 */
u_char *ngx_http_billing_redis_token(ngx_http_billing_redis_reader_t *reader,
    u_char *p, ngx_http_billing_redis_token_t *token);

/*
 * Reads strings at p into reader->elts, which are some of the elements of the
 * array that is kept.  Returns where they end, which may be p.
 */
u_char *ngx_http_billing_redis_token_strings(
    ngx_http_billing_redis_reader_t *reader, u_char *p);


#endif /* _NGX_HTTP_BILLING_REDIS_TOKEN_H_INCLUDED_ */
