
/*
 * Commands to Redis as they go over the wire.  The arguments of a command that
 * are always the same are encoded once, at configuration.  See
 * https://redis.io/docs/latest/develop/reference/protocol-spec/
 */


#ifndef _NGX_HTTP_BILLING_REDIS_COMMAND_H_INCLUDED_
#define _NGX_HTTP_BILLING_REDIS_COMMAND_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_billing_decimal.h"


/* arguments of a command that may be given each time */

#define NGX_HTTP_BILLING_REDIS_VARIABLES  4

/* bytes that the encoding adds to an argument */

#define NGX_HTTP_BILLING_REDIS_ARGUMENT   (1 + NGX_INT32_LEN + 2 + 2)


typedef struct {
    /* the bytes before each variable argument, and after the last one */
    ngx_str_t    parts[NGX_HTTP_BILLING_REDIS_VARIABLES + 1];
    ngx_uint_t   nvariables;

    /* the sum of the parts */
    size_t       size;
} ngx_http_billing_redis_command_t;


/* Writes an argument of len bytes, and returns the end of the output. */

static ngx_inline u_char *
ngx_http_billing_redis_argument(u_char *p, u_char *data, size_t len)
{
    *p++ = '$';
    p = ngx_http_billing_decimal(p, len);
    *p++ = CR; *p++ = LF;

    p = ngx_cpymem(p, data, len);
    *p++ = CR; *p++ = LF;

    return p;
}


/*
 * Encodes n arguments, the name of the command among them.  An argument that
 * has no data is a variable one; the first of these is the key.
 */
ngx_int_t ngx_http_billing_redis_command_init(
    ngx_http_billing_redis_command_t *command, ngx_pool_t *pool,
    ngx_str_t *args, ngx_uint_t n);

/* The size of the command with these variable arguments, and the command. */

size_t ngx_http_billing_redis_command_size(
    ngx_http_billing_redis_command_t *command, ngx_str_t *args);
u_char *ngx_http_billing_redis_command_write(u_char *p,
    ngx_http_billing_redis_command_t *command, ngx_str_t *args);


#endif /* _NGX_HTTP_BILLING_REDIS_COMMAND_H_INCLUDED_ */
