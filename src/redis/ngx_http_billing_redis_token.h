
/*
 * The tokens of Redis' replies: scalars, and the beginnings of arrays, maps and
 * so on.  Private to the reader.
 */


#ifndef _NGX_HTTP_BILLING_REDIS_TOKEN_H_INCLUDED_
#define _NGX_HTTP_BILLING_REDIS_TOKEN_H_INCLUDED_


#include "ngx_http_billing_redis_reply.h"


typedef struct {
    /* ARRAY also for an attribute or a push */
    ngx_http_billing_redis_type_e  type;
    ngx_str_t                      text;

    /* how many values follow as parts of the token's value */
    ngx_uint_t                     nelts;

    unsigned                       attribute:1;
    unsigned                       push:1;
} ngx_http_billing_redis_token_t;


/*
 * Reads the token that begins at p.  Returns its end; or NULL if the end was
 * not received yet, or with reader->error.  Of a string that is too long to be
 * kept, only the beginning is read, and reader->skipping is set.
 */
u_char *ngx_http_billing_redis_token(ngx_http_billing_redis_reader_t *reader,
    u_char *p, ngx_http_billing_redis_token_t *token);

/*
 * Reads strings at p, elements of the array that is kept, into reader->elts.
 * Returns the end of the last one read, or p if none was.
 */
u_char *ngx_http_billing_redis_token_strings(
    ngx_http_billing_redis_reader_t *reader, u_char *p);


#endif /* _NGX_HTTP_BILLING_REDIS_TOKEN_H_INCLUDED_ */
