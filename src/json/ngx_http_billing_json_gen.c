
#include "ngx_http_billing_json.h"


/* bytes of the first buffer, which most answers fit in, and of the others */

#define NGX_HTTP_BILLING_JSON_FIRST  4096
#define NGX_HTTP_BILLING_JSON_NEXT   16384


static void ngx_http_billing_json_print(void *ctx, const char *str,
    size_t len);
static void ngx_http_billing_json_full(ngx_http_billing_json_t *json,
    const u_char *data, size_t len);
static ngx_int_t ngx_http_billing_json_next_buf(ngx_http_billing_json_t *json);


void
ngx_http_billing_json_init(ngx_http_billing_json_t *json, ngx_pool_t *pool,
    ngx_buf_tag_t tag)
{
    ngx_memzero(json, sizeof(ngx_http_billing_json_t));

    json->pool = pool;
    json->last = &json->out;
    json->tag = tag;
}


ngx_int_t
ngx_http_billing_json_start(ngx_http_billing_json_t *json)
{
    if (json->gen) {
        yajl_gen_reset(json->gen, NULL);
        return NGX_OK;
    }

    if (ngx_http_billing_json_alloc_init(&json->alloc, json->pool,
                                         NGX_HTTP_BILLING_JSON_GEN)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* yajl allocates here only: the generator holds all its state */

    json->gen = yajl_gen_alloc(&json->alloc.funcs);

    yajl_gen_config(json->gen, yajl_gen_print_callback,
                    ngx_http_billing_json_print, json);

    return NGX_OK;
}


ngx_buf_t *
ngx_http_billing_json_take(ngx_http_billing_json_t *json, ngx_chain_t **out,
    off_t *size)
{
    ngx_buf_t  *b;

    b = json->buf;

    if (b) {
        b->last = json->pos;
        json->size += b->last - b->pos;
    }

    *out = json->out;
    *size = json->size;

    json->out = NULL;
    json->last = &json->out;
    json->buf = NULL;
    json->pos = NULL;
    json->end = NULL;
    json->size = 0;

    return (json->status == yajl_gen_status_ok) ? b : NULL;
}


/* most calls write a few bytes, which need no call of a copying function */

static void
ngx_http_billing_json_print(void *ctx, const char *str, size_t len)
{
    ngx_http_billing_json_t *json = ctx;

    u_char        *p;
    const u_char  *s;

    p = json->pos;
    s = (const u_char *) str;

    if ((size_t) (json->end - p) < len) {
        ngx_http_billing_json_full(json, s, len);
        return;
    }

    json->pos = p + len;

    if (len == 1) {
        *p = *s;

    } else if (len > 16) {
        ngx_memcpy(p, s, len);

    } else if (len >= 8) {

        /* here and below, two copies that may overlap cover any length */

        ngx_memcpy(p, s, 8);
        ngx_memcpy(p + len - 8, s + len - 8, 8);

    } else if (len >= 4) {
        ngx_memcpy(p, s, 4);
        ngx_memcpy(p + len - 4, s + len - 4, 4);

    } else if (len) {
        ngx_memcpy(p, s, 2);
        p[len - 1] = s[len - 1];
    }
}


static void
ngx_http_billing_json_full(ngx_http_billing_json_t *json,
    const u_char *data, size_t len)
{
    size_t  n;

    while (len) {

        if (json->pos == json->end
            && ngx_http_billing_json_next_buf(json) != NGX_OK)
        {
            json->status |= yajl_gen_in_error_state;
            return;
        }

        n = ngx_min(len, (size_t) (json->end - json->pos));

        json->pos = ngx_cpymem(json->pos, data, n);

        data += n;
        len -= n;
    }
}


static ngx_int_t
ngx_http_billing_json_next_buf(ngx_http_billing_json_t *json)
{
    size_t        size;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    if (json->free) {
        cl = json->free;
        json->free = cl->next;

        b = cl->buf;
        b->flush = 0;

    } else {
        size = json->out ? NGX_HTTP_BILLING_JSON_NEXT
                         : NGX_HTTP_BILLING_JSON_FIRST;

        b = ngx_create_temp_buf(json->pool, size);
        if (b == NULL) {
            return NGX_ERROR;
        }

        b->tag = json->tag;

        cl = ngx_alloc_chain_link(json->pool);
        if (cl == NULL) {
            return NGX_ERROR;
        }

        cl->buf = b;
    }

    cl->next = NULL;

    if (json->buf) {
        json->buf->last = json->pos;
        json->size += json->buf->last - json->buf->pos;
    }

    *json->last = cl;
    json->last = &cl->next;
    json->buf = b;

    json->pos = b->start;
    json->end = b->end;

    return NGX_OK;
}
