
/*
 * JSON on nginx' memory: yajl's parser in a pool, and what is written into a
 * chain of buffers, by yajl's generator or, where speed counts, as it is.
 */


#ifndef _NGX_HTTP_BILLING_JSON_H_INCLUDED_
#define _NGX_HTTP_BILLING_JSON_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <setjmp.h>
#include <yajl/yajl_gen.h>
#include <yajl/yajl_parse.h>


/*
 * yajl does not survive a failed allocation: where the pool has no memory,
 * yajl is left by longjmp(), and what it has allocated goes with the pool.
 */

typedef struct {
    ngx_pool_t           *pool;
    jmp_buf               env;
    yajl_alloc_funcs      funcs;
} ngx_http_billing_json_alloc_t;


typedef struct {
    ngx_http_billing_json_alloc_t  alloc;
    yajl_handle                    handle;

    /* bytes parsed before the current call */
    off_t                          offset;
} ngx_http_billing_json_parser_t;


typedef struct {
    ngx_http_billing_json_alloc_t  alloc;

    /* NULL until it is asked for */
    yajl_gen                       gen;

    /* what was written since the chain was last taken, and its size */
    ngx_chain_t                   *out;
    ngx_chain_t                  **last;
    ngx_buf_t                     *buf;
    off_t                          size;

    /* buffers to write into before new ones are allocated */
    ngx_chain_t                   *free;
    ngx_buf_tag_t                  tag;

    /* room that was reserved and is more than a buffer has, or NULL */
    u_char                        *large;

    unsigned                       failed:1;
} ngx_http_billing_json_t;


/*
 * The length in characters of a text in UTF-8, or NGX_ERROR if it is not:
 * see table 3-7 of the Unicode Standard.
 */
ngx_int_t ngx_http_billing_json_utf8_length(ngx_str_t *text);

/* bytes that are looked at, or copied, together */

#define NGX_HTTP_BILLING_JSON_BLOCK  16

/*
 * Whether the text, in whole blocks, is ASCII that JSON has nothing to escape
 * in.
 */
ngx_uint_t ngx_http_billing_json_is_plain(ngx_str_t *text);


ngx_int_t ngx_http_billing_json_parser_init(
    ngx_http_billing_json_parser_t *parser, ngx_pool_t *pool,
    const yajl_callbacks *callbacks, void *data);

/*
 * Parses what comes next; NULL stands for the end of the text.  Returns
 * NGX_OK, NGX_DECLINED if the text is wrong, NGX_ABORT if a callback has
 * cancelled, or NGX_ERROR for want of memory.
 */
ngx_int_t ngx_http_billing_json_parse(ngx_http_billing_json_parser_t *parser,
    u_char *p, size_t len);

/*
 * After NGX_DECLINED or NGX_ABORT: what is wrong, in the parser's words, and
 * the number of bytes that were right.
 */
ngx_int_t ngx_http_billing_json_parse_error(
    ngx_http_billing_json_parser_t *parser, ngx_str_t *error, off_t *offset);


void ngx_http_billing_json_init(ngx_http_billing_json_t *json,
    ngx_pool_t *pool, ngx_buf_tag_t tag);

/* The generator, for one document; NULL for want of memory. */
yajl_gen ngx_http_billing_json_gen(ngx_http_billing_json_t *json);

/* These write; whether it went well is asked once, with the chain. */

/* a string, by the generator */
void ngx_http_billing_json_string(ngx_http_billing_json_t *json,
    ngx_str_t *value);

#define ngx_http_billing_json_name(json, name)                                \
    yajl_gen_string((json)->gen, (const unsigned char *) name,                \
                    sizeof(name) - 1)

/* JSON as it is */
void ngx_http_billing_json_split(ngx_http_billing_json_t *json,
    const void *data, size_t len);

static ngx_inline void
ngx_http_billing_json_put(ngx_http_billing_json_t *json, const void *data,
    size_t len)
{
    ngx_buf_t  *b;

    b = json->buf;

    if (b == NULL || (size_t) (b->end - b->last) < len) {
        ngx_http_billing_json_split(json, data, len);
        return;
    }

    b->last = ngx_cpymem(b->last, data, len);
    json->size += len;
}

#define ngx_http_billing_json_literal(json, text)                             \
    ngx_http_billing_json_put(json, text, sizeof(text) - 1)

/*
 * Reserves room for so many bytes, to write into with no generator: up to where
 * that was done is told with commit.  Returns NULL for want of memory.
 */
u_char *ngx_http_billing_json_reserve(ngx_http_billing_json_t *json,
    size_t size);
void ngx_http_billing_json_commit(ngx_http_billing_json_t *json, u_char *last);

/*
 * Copies text in whole blocks, as most texts are too short for a call: there
 * has to be a block more to read and to write.  Returns where the text ends.
 */
static ngx_inline u_char *
ngx_http_billing_json_copy(u_char *p, ngx_str_t *text)
{
    u_char  *src, *last;

    src = text->data;
    last = p + text->len;

    do {
        ngx_memcpy(p, src, NGX_HTTP_BILLING_JSON_BLOCK);

        p += NGX_HTTP_BILLING_JSON_BLOCK;
        src += NGX_HTTP_BILLING_JSON_BLOCK;

    } while (p < last);

    return last;
}


/*
 * Writes text in UTF-8, which is known to need no escapes if it is plain, or
 * null for one that has no data.  A block more is read and written, see above.
 * Returns where it ends.
 */
static ngx_inline u_char *
ngx_http_billing_json_text(u_char *p, ngx_str_t *text, ngx_uint_t plain)
{
    if (text->data == NULL) {
        return ngx_cpymem(p, "null", sizeof("null") - 1);
    }

    *p++ = '"';

    p = plain ? ngx_http_billing_json_copy(p, text)
              : (u_char *) ngx_escape_json(p, text->data, text->len);

    *p++ = '"';

    return p;
}

/*
 * Takes what was written.  The buffers are the pool's; those given back in
 * json->free are used again.
 */
ngx_int_t ngx_http_billing_json_take(ngx_http_billing_json_t *json,
    ngx_chain_t **out, off_t *size);


#endif /* _NGX_HTTP_BILLING_JSON_H_INCLUDED_ */
