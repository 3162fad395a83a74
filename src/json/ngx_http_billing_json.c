
#include "ngx_http_billing_json.h"


static void *ngx_http_billing_json_malloc(void *ctx, size_t size);
static void *ngx_http_billing_json_realloc(void *ctx, void *p, size_t size);
static void ngx_http_billing_json_free(void *ctx, void *p);


/* the highest bit of each byte of a word */

#define NGX_HTTP_BILLING_JSON_HIGH    0x8080808080808080ULL


/* ngx_utf8_decode() lets surrogates pass, and bytes that no UTF-8 has */

ngx_int_t
ngx_http_billing_json_utf8_length(ngx_str_t *text)
{
    u_char     *p, *last, ch, min, max;
    uint64_t    word;
    ngx_int_t   n;
    ngx_uint_t  rest;

    p = text->data;
    last = p + text->len;

    for (n = 0; p < last; n++) {

        while (last - p >= 8) {
            ngx_memcpy(&word, p, 8);

            if (word & NGX_HTTP_BILLING_JSON_HIGH) {
                break;
            }

            p += 8;
            n += 8;
        }

        if (p == last) {
            break;
        }

        ch = *p++;

        if (ch < 0x80) {
            continue;
        }

        if (ch < 0xc2 || ch > 0xf4) {
            return NGX_ERROR;
        }

        rest = (ch >= 0xf0) ? 3 : (ch >= 0xe0) ? 2 : 1;

        if ((size_t) (last - p) < rest) {
            return NGX_ERROR;
        }

        /* the second byte rules out overlong forms and surrogates */

        min = (ch == 0xe0) ? 0xa0 : (ch == 0xf0) ? 0x90 : 0x80;
        max = (ch == 0xed) ? 0x9f : (ch == 0xf4) ? 0x8f : 0xbf;

        for ( /* void */ ; rest; rest--) {

            if (*p < min || *p > max) {
                return NGX_ERROR;
            }

            p++;
            min = 0x80;
            max = 0xbf;
        }
    }

    return n;
}


ngx_int_t
ngx_http_billing_json_parser_init(ngx_http_billing_json_parser_t *parser,
    ngx_pool_t *pool, const yajl_callbacks *callbacks, void *data)
{
    ngx_http_billing_json_alloc_init(&parser->alloc, pool);

    parser->offset = 0;

    if (setjmp(parser->alloc.env) != 0) {
        return NGX_ERROR;
    }

    parser->handle = yajl_alloc(callbacks, &parser->alloc.funcs, data);

    return NGX_OK;
}


ngx_int_t
ngx_http_billing_json_parse(ngx_http_billing_json_parser_t *parser, u_char *p,
    size_t len)
{
    yajl_status  status;

    if (setjmp(parser->alloc.env) != 0) {
        return NGX_ERROR;
    }

    if (p) {
        status = yajl_parse(parser->handle, p, len);

    } else {
        status = yajl_complete_parse(parser->handle);

        /* a string after the end that is not closed it does not mind yet */

        if (status == yajl_status_ok) {
            status = yajl_parse(parser->handle, (u_char *) "\n", 1);
        }
    }

    if (status != yajl_status_ok) {
        parser->offset += p ? yajl_get_bytes_consumed(parser->handle) : 0;

        return (status == yajl_status_client_canceled) ? NGX_ABORT
                                                       : NGX_DECLINED;
    }

    parser->offset += len;

    return NGX_OK;
}


ngx_int_t
ngx_http_billing_json_parse_error(ngx_http_billing_json_parser_t *parser,
    ngx_str_t *error, off_t *offset)
{
    u_char  *p;

    if (setjmp(parser->alloc.env) != 0) {
        return NGX_ERROR;
    }

    p = yajl_get_error(parser->handle, 0, NULL, 0);

    error->data = p;
    error->len = ngx_strlen(p);

    /* it ends in a line feed, and a lexical error in a full stop as well */

    while (error->len
           && (p[error->len - 1] == LF || p[error->len - 1] == '.'))
    {
        error->len--;
    }

    *offset = parser->offset;

    return NGX_OK;
}


void
ngx_http_billing_json_alloc_init(ngx_http_billing_json_alloc_t *alloc,
    ngx_pool_t *pool)
{
    alloc->pool = pool;

    alloc->funcs.malloc = ngx_http_billing_json_malloc;
    alloc->funcs.realloc = ngx_http_billing_json_realloc;
    alloc->funcs.free = ngx_http_billing_json_free;
    alloc->funcs.ctx = alloc;
}


static void *
ngx_http_billing_json_malloc(void *ctx, size_t size)
{
    ngx_http_billing_json_alloc_t *alloc = ctx;

    size_t  *p;

    /* the size is kept in front, for when it is to grow */

    p = ngx_palloc(alloc->pool, 2 * sizeof(size_t) + size);
    if (p == NULL) {
        longjmp(alloc->env, 1);
    }

    *p = size;

    return p + 2;
}


static void *
ngx_http_billing_json_realloc(void *ctx, void *p, size_t size)
{
    void    *new;
    size_t   old;

    new = ngx_http_billing_json_malloc(ctx, size);

    if (p) {
        old = *((size_t *) p - 2);
        ngx_memcpy(new, p, ngx_min(old, size));
        ngx_http_billing_json_free(ctx, p);
    }

    return new;
}


static void
ngx_http_billing_json_free(void *ctx, void *p)
{
    ngx_http_billing_json_alloc_t *alloc = ctx;

    if (p) {
        (void) ngx_pfree(alloc->pool, (size_t *) p - 2);
    }
}
