
/*
 * Redis' replies, read where they lie in the buffer that was received into:
 * RESP2, of arrays only those of strings.  Hiredis' own reader would move the
 * rest of its buffer, and copy each string, for every reply.
 */


#ifndef _NGX_HTTP_BILLING_REDIS_REPLY_H_INCLUDED_
#define _NGX_HTTP_BILLING_REDIS_REPLY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* bounds of one reply: the text in it, in bytes, and its array elements */

#define NGX_HTTP_BILLING_REDIS_MAX_REPLY     1048576
#define NGX_HTTP_BILLING_REDIS_MAX_ELEMENTS  4096

/* bytes after a text that may be read, whatever they are */

#define NGX_HTTP_BILLING_REDIS_PADDING       16


typedef enum {
    NGX_HTTP_BILLING_REDIS_STRING = 0,
    NGX_HTTP_BILLING_REDIS_NIL,
    NGX_HTTP_BILLING_REDIS_ARRAY,
    NGX_HTTP_BILLING_REDIS_STATUS,
    NGX_HTTP_BILLING_REDIS_ERROR,

    /* an integer, or an array of what is neither a string nor nil */
    NGX_HTTP_BILLING_REDIS_OTHER
} ngx_http_billing_redis_type_e;


typedef struct {
    ngx_http_billing_redis_type_e    type;

    /* what was said, but for arrays; a zero follows it */
    ngx_str_t                        text;

    /* of an array: its strings; those that are nil have no data */
    ngx_str_t                       *elts;
    ngx_uint_t                       nelts;
} ngx_http_billing_redis_reply_t;


typedef struct {
    /* what was received and not yet read; after end there is the padding */
    u_char                          *start;
    u_char                          *pos;
    u_char                          *last;
    u_char                          *end;

    /* bytes from pos without which there is no whole reply */
    size_t                           need;

    ngx_http_billing_redis_reply_t   reply;

    /* room for the elements of an array */
    ngx_str_t                       *elts;
    ngx_uint_t                       nalloc;

    /* of the reply that is being read: text so far */
    size_t                           size;

    /* why there can be no next reply */
    const char                      *error;
} ngx_http_billing_redis_reader_t;


#define ngx_http_billing_redis_reader_left(reader)                            \
    ((reader)->pos != (reader)->last)


/* Makes room between last and end, to receive into.  Memory is the heap's. */
ngx_int_t ngx_http_billing_redis_reader_room(
    ngx_http_billing_redis_reader_t *reader, ngx_log_t *log);

/*
 * Reads the next reply into reader->reply, whose texts are valid until there
 * is made room.  Returns NGX_OK, NGX_AGAIN if its end was not received yet, or
 * NGX_ERROR and reader->error.  See
 * https://redis.io/docs/latest/develop/reference/protocol-spec/
 */
ngx_int_t ngx_http_billing_redis_reader_next(
    ngx_http_billing_redis_reader_t *reader, ngx_log_t *log);

void ngx_http_billing_redis_reader_free(
    ngx_http_billing_redis_reader_t *reader);


#endif /* _NGX_HTTP_BILLING_REDIS_REPLY_H_INCLUDED_ */
