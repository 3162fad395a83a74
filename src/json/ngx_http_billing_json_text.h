
/*
 * A document that is composed of parts in a string.  yajl generates every part.
 * Parts that all documents have are generated once, and are copied then, and so
 * are words: short texts that come again and again.
 */


#ifndef _NGX_HTTP_BILLING_JSON_TEXT_H_INCLUDED_
#define _NGX_HTTP_BILLING_JSON_TEXT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <yajl/yajl_gen.h>

#include "ngx_http_billing_json_alloc.h"


/* bytes of a part, of a word and of its JSON at most */

#define NGX_HTTP_BILLING_JSON_PART   32

/* words that are remembered */

#define NGX_HTTP_BILLING_JSON_WORDS  32


typedef struct {
    size_t                          len;
    u_char                          data[NGX_HTTP_BILLING_JSON_PART];
} ngx_http_billing_json_part_t;


typedef struct {
    ngx_http_billing_json_part_t    text;
    ngx_http_billing_json_part_t    json;
} ngx_http_billing_json_word_t;


/* Room for documents, one behind the other.  The caller zeroes all but pool. */

typedef struct {
    ngx_pool_t                     *pool;

    /* where the document begins, ends so far, and has to end */
    u_char                         *start;
    u_char                         *pos;
    u_char                         *end;

    /* the memory allocated last; earlier documents may lie elsewhere */
    u_char                         *block;
} ngx_http_billing_json_room_t;


/* as long-lived as the configuration; each worker learns its own words */

typedef struct {
    yajl_gen                        gen;
    ngx_http_billing_json_room_t   *room;

    /* all statuses of yajl_gen_*() or-ed together: yajl_gen_status_ok is 0 */
    ngx_uint_t                      status;

    /* the next byte, which separates elements, is not to be written */
    ngx_uint_t                      skip;

    /* indexed by a hash of the text; a word replaces an earlier one */
    ngx_http_billing_json_word_t    words[NGX_HTTP_BILLING_JSON_WORDS];

    ngx_http_billing_json_alloc_t   alloc;
} ngx_http_billing_json_text_t;


/*
 * Allocates the generator, for parts that are generated as documents of their
 * own.  The caller has zeroed the structure, which must not move afterwards.
 * Returns NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_http_billing_json_text_init(ngx_http_billing_json_text_t *json,
    ngx_pool_t *pool);

/* Takes what the generator has written since the last call as a part. */
void ngx_http_billing_json_text_cut(ngx_http_billing_json_text_t *json,
    ngx_http_billing_json_part_t *part);

/*
 * As ngx_http_billing_json_text_cut(), for a part that a value follows: yajl
 * writes a dummy value, which is cut off.
 */
void ngx_http_billing_json_text_gap(ngx_http_billing_json_text_t *json,
    ngx_http_billing_json_part_t *part);

/* Ends the generating of parts.  Returns NGX_OK or NGX_ERROR. */
ngx_int_t ngx_http_billing_json_text_ready(ngx_http_billing_json_text_t *json);


/* Begins a document, and drops one that was not finished. */
void ngx_http_billing_json_text_start(ngx_http_billing_json_text_t *json,
    ngx_http_billing_json_room_t *room);

/*
 * These write a string.  The second one does not generate a word again that
 * was written shortly before.  They return NGX_OK; or NGX_DECLINED if the value
 * is not UTF-8.  Want of memory is kept, and returned at the end.
 */
ngx_int_t ngx_http_billing_json_text_string(ngx_http_billing_json_text_t *json,
    ngx_str_t *value);
ngx_int_t ngx_http_billing_json_text_word(ngx_http_billing_json_text_t *json,
    ngx_str_t *value);

/* Ends a document.  Returns NGX_OK or NGX_ERROR. */
ngx_int_t ngx_http_billing_json_text_end(ngx_http_billing_json_text_t *json,
    ngx_str_t *text);

/* Private: makes room for len bytes more. */
ngx_int_t ngx_http_billing_json_text_grow(ngx_http_billing_json_text_t *json,
    size_t len);


/* copies a fixed number of bytes, for which the compiler needs no call */

static ngx_inline void
ngx_http_billing_json_text_part(ngx_http_billing_json_text_t *json,
    const ngx_http_billing_json_part_t *part)
{
    ngx_http_billing_json_room_t  *room;

    room = json->room;

    if (room->end - room->pos < NGX_HTTP_BILLING_JSON_PART
        && ngx_http_billing_json_text_grow(json, NGX_HTTP_BILLING_JSON_PART)
           != NGX_OK)
    {
        return;
    }

    ngx_memcpy(room->pos, part->data, NGX_HTTP_BILLING_JSON_PART);
    room->pos += part->len;
}


#endif /* _NGX_HTTP_BILLING_JSON_TEXT_H_INCLUDED_ */
