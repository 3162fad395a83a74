
#include "ngx_http_billing_json.h"


#define NGX_HTTP_BILLING_JSON_BUFFER  4096


static void ngx_http_billing_json_alloc_init(
    ngx_http_billing_json_alloc_t *alloc, ngx_pool_t *pool);
static void *ngx_http_billing_json_malloc(void *ctx, size_t size);
static void *ngx_http_billing_json_realloc(void *ctx, void *p, size_t size);
static void ngx_http_billing_json_free(void *ctx, void *p);
static void ngx_http_billing_json_print(void *ctx, const char *str,
    size_t len);
static ngx_int_t ngx_http_billing_json_next_buf(ngx_http_billing_json_t *json);


/* the highest bit of each byte of a word */

#define NGX_HTTP_BILLING_JSON_HIGH    0x8080808080808080ULL


/* bytes that are computed with at once, by what instructions there are */

typedef u_char  ngx_http_billing_json_block_t
    __attribute__ ((vector_size (NGX_HTTP_BILLING_JSON_BLOCK)));


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


/* what is less than what is taken from it sets the highest bit of its byte */

ngx_uint_t
ngx_http_billing_json_is_plain(ngx_str_t *text)
{
    u_char                         *p, *last;
    uint64_t                        word[2];
    ngx_http_billing_json_block_t   block, bits;

    p = text->data;
    last = p + text->len;

    ngx_memzero(&bits, NGX_HTTP_BILLING_JSON_BLOCK);

    while (p < last) {
        ngx_memcpy(&block, p, NGX_HTTP_BILLING_JSON_BLOCK);

        /* with space and quote exchanged, what is less than 0x21 is not */

        bits |= block | ((block ^ (' ' ^ '"')) - 0x21) | ((block ^ '\\') - 1);

        p += NGX_HTTP_BILLING_JSON_BLOCK;
    }

    ngx_memcpy(word, &bits, NGX_HTTP_BILLING_JSON_BLOCK);

    return ((word[0] | word[1]) & NGX_HTTP_BILLING_JSON_HIGH) == 0;
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
ngx_http_billing_json_init(ngx_http_billing_json_t *json, ngx_pool_t *pool,
    ngx_buf_tag_t tag)
{
    ngx_memzero(json, sizeof(ngx_http_billing_json_t));

    ngx_http_billing_json_alloc_init(&json->alloc, pool);

    json->last = &json->out;
    json->tag = tag;
}


yajl_gen
ngx_http_billing_json_gen(ngx_http_billing_json_t *json)
{
    if (setjmp(json->alloc.env) != 0) {
        return NULL;
    }

    /* yajl allocates here only: it keeps its state in the generator */

    json->gen = yajl_gen_alloc(&json->alloc.funcs);

    yajl_gen_config(json->gen, yajl_gen_print_callback,
                    ngx_http_billing_json_print, json);

    return json->gen;
}


void
ngx_http_billing_json_string(ngx_http_billing_json_t *json, ngx_str_t *value)
{
    yajl_gen_string(json->gen, value->data, value->len);
}


u_char *
ngx_http_billing_json_reserve(ngx_http_billing_json_t *json, size_t size)
{
    ngx_buf_t  *b;

    b = json->buf;

    if (b && (size_t) (b->end - b->last) >= size) {
        return b->last;
    }

    if (size > NGX_HTTP_BILLING_JSON_BUFFER) {
        json->large = ngx_palloc(json->alloc.pool, size);

        if (json->large == NULL) {
            json->failed = 1;
        }

        return json->large;
    }

    if (ngx_http_billing_json_next_buf(json) != NGX_OK) {
        json->failed = 1;
        return NULL;
    }

    return json->buf->last;
}


void
ngx_http_billing_json_commit(ngx_http_billing_json_t *json, u_char *last)
{
    if (json->large) {
        ngx_http_billing_json_split(json, json->large, last - json->large);

        (void) ngx_pfree(json->alloc.pool, json->large);
        json->large = NULL;

        return;
    }

    json->size += last - json->buf->last;
    json->buf->last = last;
}


ngx_int_t
ngx_http_billing_json_take(ngx_http_billing_json_t *json, ngx_chain_t **out,
    off_t *size)
{
    if (json->failed) {
        return NGX_ERROR;
    }

    *out = json->out;
    *size = json->size;

    json->out = NULL;
    json->last = &json->out;
    json->buf = NULL;
    json->size = 0;

    return NGX_OK;
}


static void
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


static void
ngx_http_billing_json_print(void *ctx, const char *str, size_t len)
{
    ngx_http_billing_json_put(ctx, str, len);
}


void
ngx_http_billing_json_split(ngx_http_billing_json_t *json, const void *data,
    size_t len)
{
    size_t         n;
    const u_char  *p;

    p = data;

    while (len) {

        if ((json->buf == NULL || json->buf->last == json->buf->end)
            && ngx_http_billing_json_next_buf(json) != NGX_OK)
        {
            json->failed = 1;
            return;
        }

        n = ngx_min(len, (size_t) (json->buf->end - json->buf->last));

        json->buf->last = ngx_cpymem(json->buf->last, p, n);
        json->size += n;

        p += n;
        len -= n;
    }
}


static ngx_int_t
ngx_http_billing_json_next_buf(ngx_http_billing_json_t *json)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    cl = ngx_chain_get_free_buf(json->alloc.pool, &json->free);
    if (cl == NULL) {
        return NGX_ERROR;
    }

    b = cl->buf;

    if (b->start == NULL) {
        b->start = ngx_palloc(json->alloc.pool, NGX_HTTP_BILLING_JSON_BUFFER);
        if (b->start == NULL) {
            return NGX_ERROR;
        }

        b->end = b->start + NGX_HTTP_BILLING_JSON_BUFFER;
        b->temporary = 1;
        b->tag = json->tag;
    }

    b->pos = b->start;
    b->last = b->start;
    b->flush = 0;
    b->last_buf = 0;
    b->last_in_chain = 0;

    *json->last = cl;
    json->last = &cl->next;
    json->buf = b;

    return NGX_OK;
}
