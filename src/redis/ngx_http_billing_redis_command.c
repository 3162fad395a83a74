
#include "ngx_http_billing_redis_command.h"


ngx_int_t
ngx_http_billing_redis_command_init(ngx_http_billing_redis_command_t *command,
    ngx_pool_t *pool, ngx_str_t *args, ngx_uint_t n)
{
    u_char      *p;
    size_t       size;
    ngx_str_t   *part;
    ngx_uint_t   i;

    size = 1 + NGX_INT_T_LEN + 2;

    for (i = 0; i < n; i++) {
        size += NGX_HTTP_BILLING_REDIS_ARGUMENT + args[i].len;
    }

    p = ngx_pnalloc(pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    command->nvariables = 0;
    command->size = 0;

    part = command->parts;
    part->data = p;

    *p++ = '*';
    p = ngx_http_billing_decimal(p, n);
    *p++ = CR; *p++ = LF;

    for (i = 0; i < n; i++) {

        if (args[i].data) {
            p = ngx_http_billing_redis_argument(p, args[i].data, args[i].len);
            continue;
        }

        if (command->nvariables == NGX_HTTP_BILLING_REDIS_VARIABLES) {
            return NGX_ERROR;
        }

        command->nvariables++;

        part->len = p - part->data;
        command->size += part->len;

        part++;
        part->data = p;
    }

    part->len = p - part->data;
    command->size += part->len;

    return NGX_OK;
}


size_t
ngx_http_billing_redis_command_size(ngx_http_billing_redis_command_t *command,
    ngx_str_t *args)
{
    size_t      size;
    ngx_uint_t  i;

    size = command->size;

    for (i = 0; i < command->nvariables; i++) {
        size += NGX_HTTP_BILLING_REDIS_ARGUMENT + args[i].len;
    }

    return size;
}


u_char *
ngx_http_billing_redis_command_write(u_char *p,
    ngx_http_billing_redis_command_t *command, ngx_str_t *args)
{
    ngx_str_t   *part;
    ngx_uint_t   i;

    part = command->parts;

    p = ngx_cpymem(p, part->data, part->len);

    for (i = 0; i < command->nvariables; i++) {
        part++;

        p = ngx_http_billing_redis_argument(p, args[i].data, args[i].len);
        p = ngx_cpymem(p, part->data, part->len);
    }

    return p;
}
