
/*
 * Reads Redis' replies (RESP2, or RESP3 if the connection asked for RESP3) in
 * the buffer that receives them.  A reply points into the buffer and is not
 * copied.  For every reply, hiredis' own reader would move the rest of its
 * buffer and copy each string.
 *
 * The reader keeps its place: each byte is looked at once, however the
 * replies are cut into pieces.  Memory is bounded: the buffer grows to about
 * twice the largest reply that is kept, and the elements of an array take 64 KB
 * at most.
 */


#ifndef _NGX_HTTP_BILLING_REDIS_REPLY_H_INCLUDED_
#define _NGX_HTTP_BILLING_REDIS_REPLY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* bytes received at once: about a batch of cameras */

#define NGX_HTTP_BILLING_REDIS_BUFFER        65536

/*
 * Bounds of a reply that is kept: bytes of text, and elements at all levels
 * together.  A larger one is skipped, and handed out as OVERSIZED.
 */

#define NGX_HTTP_BILLING_REDIS_MAX_REPLY     1048576
#define NGX_HTTP_BILLING_REDIS_MAX_ELEMENTS  4096

/* Redis has no longer bulk string, and no array of more elements */

#define NGX_HTTP_BILLING_REDIS_MAX_LENGTH    536870912

/* bytes of a text in a reply that is handed out in items, at most */

#define NGX_HTTP_BILLING_REDIS_MAX_ITEM      256

/* levels of nested arrays, maps and so on */

#define NGX_HTTP_BILLING_REDIS_MAX_DEPTH     8


typedef enum {
    /* a bulk or verbatim string; in text */
    NGX_HTTP_BILLING_REDIS_STRING = 0,

    NGX_HTTP_BILLING_REDIS_NIL,

    /* an array or a set; its elements, all strings or nil, in elts */
    NGX_HTTP_BILLING_REDIS_ARRAY,

    /* the same for a map: a key, its value, the next key */
    NGX_HTTP_BILLING_REDIS_MAP,

    NGX_HTTP_BILLING_REDIS_STATUS,
    NGX_HTTP_BILLING_REDIS_ERROR,

    /* text is its digits, within 64 bits */
    NGX_HTTP_BILLING_REDIS_INTEGER,

    /* RESP3: text is the number as Redis prints it, not checked */
    NGX_HTTP_BILLING_REDIS_DOUBLE,

    /*
     * a boolean, a big number, an integer beyond 64 bits: in text; or an array,
     * a set or a map with an element that is neither a string nor nil: in elts
     */
    NGX_HTTP_BILLING_REDIS_OTHER,

    /* a reply beyond the bounds above: nothing was kept */
    NGX_HTTP_BILLING_REDIS_OVERSIZED
} ngx_http_billing_redis_type_e;


/*
 * A push comes in pieces: its kind, each of its other elements at all levels,
 * its end.  No other push or reply comes between these pieces.
 */

typedef enum {
    /* a reply, not a push */
    NGX_HTTP_BILLING_REDIS_REPLY = 0,

    /* text is the kind, as "invalidate" */
    NGX_HTTP_BILLING_REDIS_PUSH,

    /*
     * an element of a push: most often a STRING (the name of a key), or NIL
     * (all keys); a string longer than the reader's max_name is OVERSIZED
     */
    NGX_HTTP_BILLING_REDIS_PUSH_ITEM,

    NGX_HTTP_BILLING_REDIS_PUSH_END,

    /*
     * An element of a reply that is handed out in items: a scalar; or an ARRAY
     * or a MAP, whose elements come next, a level deeper.  The reply itself
     * comes last, as an ARRAY without elements.
     */
    NGX_HTTP_BILLING_REDIS_ITEM
} ngx_http_billing_redis_piece_e;


typedef struct {
    ngx_http_billing_redis_piece_e   piece;
    ngx_http_billing_redis_type_e    type;

    /* no data if the type has no text; else a zero byte follows the text */
    ngx_str_t                        text;

    /*
     * the elements of an array, a set or a map: the text of each, without a
     * zero byte; one that is nil, or has elements itself, has no data
     */
    ngx_str_t                       *elts;
    ngx_uint_t                       nelts;

    /* an ITEM's level; the level of the reply's own elements is 1 */
    ngx_uint_t                       level;
} ngx_http_billing_redis_reply_t;


typedef enum {
    NGX_HTTP_BILLING_REDIS_READER_IDLE = 0,
    NGX_HTTP_BILLING_REDIS_READER_KEEP,
    NGX_HTTP_BILLING_REDIS_READER_SKIP,
    NGX_HTTP_BILLING_REDIS_READER_ATTRIBUTE,
    NGX_HTTP_BILLING_REDIS_READER_PUSH,
    NGX_HTTP_BILLING_REDIS_READER_ITEMS
} ngx_http_billing_redis_reader_e;


/*
 * One for each connection, zeroed before use.  Members are private to the
 * reader unless their comments name the caller.
 */

typedef struct {
    /* received and not yet handed out: from pos to last */
    u_char                          *start;
    u_char                          *pos;
    u_char                          *last;
    u_char                          *end;

    /* bytes from pos without which the reader cannot go on, if known */
    size_t                           need;

    /* the caller's to read after NGX_OK */
    ngx_http_billing_redis_reply_t   reply;

    /* why there can be no next reply; the caller's to read after NGX_ERROR */
    const char                      *error;

    /* the caller's to set: bytes of the longest name in a push to be kept */
    size_t                           max_name;

    /* room for the elements of an array */
    ngx_str_t                       *elts;
    ngx_uint_t                       nalloc;

    /* the state of reading, and how many bytes from pos were read already */
    ngx_http_billing_redis_reader_e  state;
    size_t                           done;

    /* bytes of an unfinished line that were searched for its end */
    size_t                           seen;

    /* text and elements so far, of a reply that is kept */
    size_t                           size;
    ngx_uint_t                       nelts;

    /* values to come at each level; the reply itself is level 0 */
    ngx_uint_t                       depth;
    ngx_uint_t                       left[NGX_HTTP_BILLING_REDIS_MAX_DEPTH + 1];

    /* bytes to come of a string that is skipped */
    size_t                           rest;

    /* the caller's to set when it sends HELLO 3: RESP3 is understood */
    unsigned                         resp3:1;

    /*
     * the caller's to set before a reply comes: an array, a set or a map is
     * handed out in items
     */
    unsigned                         items:1;

    /* a string is being skipped: after the rest of it comes CR LF */
    unsigned                         skipping:1;

    /* the kind of the push was handed out */
    unsigned                         kind_given:1;
} ngx_http_billing_redis_reader_t;


/*
 * Makes room between last and end, to receive into.  Texts handed out before
 * become invalid.  Memory is the heap's; returns NGX_ERROR if there is none.
 */
ngx_int_t ngx_http_billing_redis_reader_room(
    ngx_http_billing_redis_reader_t *reader, ngx_log_t *log);

/*
 * Reads the next reply, or piece of one, into reader->reply, whose texts are
 * valid until the next ngx_http_billing_redis_reader_room().  Returns NGX_OK;
 * NGX_AGAIN if more has to be received first; or NGX_ERROR and reader->error,
 * after which the connection is of no use.  Attributes are skipped.  See
 * https://redis.io/docs/latest/develop/reference/protocol-spec/
 */
ngx_int_t ngx_http_billing_redis_reader_next(
    ngx_http_billing_redis_reader_t *reader, ngx_log_t *log);

/*
 * Was any byte of another reply received, pushes aside?  To be called only
 * after ngx_http_billing_redis_reader_next().
 */
ngx_uint_t ngx_http_billing_redis_reader_left(
    ngx_http_billing_redis_reader_t *reader);

void ngx_http_billing_redis_reader_free(
    ngx_http_billing_redis_reader_t *reader);


#endif /* _NGX_HTTP_BILLING_REDIS_REPLY_H_INCLUDED_ */
