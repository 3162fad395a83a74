
/*
 * JSON that yajl writes into a chain of buffers, and UTF-8.
 */


#ifndef _NGX_HTTP_BILLING_JSON_H_INCLUDED_
#define _NGX_HTTP_BILLING_JSON_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <yajl/yajl_gen.h>

#include "ngx_http_billing_json_alloc.h"


/* more than a generator takes, which is 608 bytes in yajl 2.1.0 */

#define NGX_HTTP_BILLING_JSON_GEN  1024


typedef struct {
    yajl_gen                       gen;

    /* the room left in the current buffer */
    u_char                        *pos;
    u_char                        *end;

    /* all statuses of yajl_gen_*() or-ed together: yajl_gen_status_ok is 0 */
    ngx_uint_t                     status;

    /* the buffers, the current one, and the bytes before that one */
    ngx_chain_t                   *out;
    ngx_chain_t                  **last;
    ngx_buf_t                     *buf;
    off_t                          size;

    ngx_buf_tag_t                  tag;

    /* buffers to be used again, for the caller to add; new ones' memory */
    ngx_chain_t                   *free;
    ngx_pool_t                    *pool;

    ngx_http_billing_json_alloc_t  alloc;
} ngx_http_billing_json_t;


/*
 * The length in characters of a text in UTF-8, or NGX_ERROR if it is not:
 * see table 3-7 of the Unicode Standard.
 */
ngx_int_t ngx_http_billing_json_utf8_length(ngx_str_t *text);


/* Initializes a writer into a chain of buffers from the pool. */
void ngx_http_billing_json_init(ngx_http_billing_json_t *json,
    ngx_pool_t *pool, ngx_buf_tag_t tag);

/*
 * Begins a document, and drops one that was not finished.  Returns NGX_OK, or
 * NGX_ERROR if there is no memory for the generator.
 */
ngx_int_t ngx_http_billing_json_start(ngx_http_billing_json_t *json);

/*
 * Takes the buffers that were written since the last call, at least one, and
 * their size; the document goes on.  Returns the last buffer, or NULL if
 * anything could not be written.
 */
ngx_buf_t *ngx_http_billing_json_take(ngx_http_billing_json_t *json,
    ngx_chain_t **out, off_t *size);


/* These write.  An error is kept and returned when the document is taken. */

#define ngx_http_billing_json_map_open(json)                                  \
    (json)->status |= yajl_gen_map_open((json)->gen)

#define ngx_http_billing_json_map_close(json)                                 \
    (json)->status |= yajl_gen_map_close((json)->gen)

#define ngx_http_billing_json_array_open(json)                                \
    (json)->status |= yajl_gen_array_open((json)->gen)

#define ngx_http_billing_json_array_close(json)                               \
    (json)->status |= yajl_gen_array_close((json)->gen)

#define ngx_http_billing_json_null(json)                                      \
    (json)->status |= yajl_gen_null((json)->gen)

#define ngx_http_billing_json_bool(json, value)                               \
    (json)->status |= yajl_gen_bool((json)->gen, value)

#define ngx_http_billing_json_integer(json, value)                            \
    (json)->status |= yajl_gen_integer((json)->gen, value)

/* a member's name, or a value, that is a string literal */
#define ngx_http_billing_json_literal(json, text)                             \
    (json)->status |= yajl_gen_string((json)->gen,                            \
                                      (const unsigned char *) text,           \
                                      sizeof(text) - 1)

/* a text in UTF-8 */
#define ngx_http_billing_json_string(json, text)                              \
    (json)->status |= yajl_gen_string((json)->gen, (text)->data, (text)->len)

/*
 * A value that is JSON already: yajl writes the text of a number as it is, and
 * a comma before it where one is due.
 */
#define ngx_http_billing_json_value(json, text)                               \
    (json)->status |= yajl_gen_number((json)->gen,                            \
                                      (const char *) (text)->data, (text)->len)


#endif /* _NGX_HTTP_BILLING_JSON_H_INCLUDED_ */
