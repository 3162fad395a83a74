
#include "ngx_http_billing_redis_reply.h"


/* bytes received at once: about a batch of cameras */

#define NGX_HTTP_BILLING_REDIS_BUFFER      65536

/* digits of a length, so that it fits in 32 bits */

#define NGX_HTTP_BILLING_REDIS_MAX_DIGITS  9


static ngx_int_t ngx_http_billing_redis_reader_elements(
    ngx_http_billing_redis_reader_t *reader, ngx_uint_t n, ngx_log_t *log);

/*
 * These return where what they read ends, or NULL if that was not received yet
 * or, with reader->error, cannot be read.
 */

static u_char *ngx_http_billing_redis_reader_array(
    ngx_http_billing_redis_reader_t *reader, u_char *p, ngx_log_t *log);
static u_char *ngx_http_billing_redis_reader_other(
    ngx_http_billing_redis_reader_t *reader, u_char *p, ngx_uint_t *n,
    ngx_log_t *log);
static ngx_inline u_char *ngx_http_billing_redis_reader_string(
    ngx_http_billing_redis_reader_t *reader, u_char *p, ngx_str_t *text);
static u_char *ngx_http_billing_redis_reader_line(
    ngx_http_billing_redis_reader_t *reader, u_char *p, ngx_str_t *text);
static ngx_inline u_char *ngx_http_billing_redis_reader_number(
    ngx_http_billing_redis_reader_t *reader, u_char *p, ngx_int_t *n);
static u_char *ngx_http_billing_redis_reader_no_number(
    ngx_http_billing_redis_reader_t *reader, u_char *start, u_char *p,
    ngx_int_t *n);


ngx_int_t
ngx_http_billing_redis_reader_room(ngx_http_billing_redis_reader_t *reader,
    ngx_log_t *log)
{
    u_char  *p;
    size_t   size, left;

    left = reader->last - reader->pos;
    size = reader->end - reader->start;

    if (left == 0 && size > NGX_HTTP_BILLING_REDIS_BUFFER) {
        ngx_free(reader->start);
        reader->start = NULL;
        size = 0;
    }

    if (left == size || size < reader->need) {
        size = ngx_max(NGX_HTTP_BILLING_REDIS_BUFFER,
                       ngx_max(2 * size, reader->need));

        p = ngx_alloc(size + NGX_HTTP_BILLING_REDIS_PADDING, log);
        if (p == NULL) {
            return NGX_ERROR;
        }

        if (left) {
            ngx_memcpy(p, reader->pos, left);
        }

        if (reader->start) {
            ngx_free(reader->start);
        }

        reader->start = p;
        reader->end = p + size;

    } else if (left) {
        ngx_memmove(reader->start, reader->pos, left);
    }

    reader->pos = reader->start;
    reader->last = reader->start + left;

    return NGX_OK;
}


ngx_int_t
ngx_http_billing_redis_reader_next(ngx_http_billing_redis_reader_t *reader,
    ngx_log_t *log)
{
    u_char                          *p;
    ngx_http_billing_redis_reply_t  *reply;

    p = reader->pos;
    reply = &reader->reply;

    if (p == reader->last || (size_t) (reader->last - p) < reader->need) {
        return NGX_AGAIN;
    }

    /* no digit, nor any other byte of a reply, so that it ends each of them */

    *reader->last = '\0';

    reader->need = 0;
    reader->size = 0;

    ngx_str_null(&reply->text);

    switch (*p) {

    case '*':
        p = ngx_http_billing_redis_reader_array(reader, p, log);
        break;

    case '$':
        p = ngx_http_billing_redis_reader_string(reader, p, &reply->text);
        reply->type = reply->text.data ? NGX_HTTP_BILLING_REDIS_STRING
                                       : NGX_HTTP_BILLING_REDIS_NIL;
        break;

    case '+':
        p = ngx_http_billing_redis_reader_line(reader, p, &reply->text);
        reply->type = NGX_HTTP_BILLING_REDIS_STATUS;
        break;

    case '-':
        p = ngx_http_billing_redis_reader_line(reader, p, &reply->text);
        reply->type = NGX_HTTP_BILLING_REDIS_ERROR;
        break;

    case ':':
        p = ngx_http_billing_redis_reader_line(reader, p, &reply->text);
        reply->type = NGX_HTTP_BILLING_REDIS_OTHER;
        break;

    default:
        reader->error = "what came is no reply";
        return NGX_ERROR;
    }

    if (reader->size > NGX_HTTP_BILLING_REDIS_MAX_REPLY) {
        reader->error = "reply is too large";
        return NGX_ERROR;
    }

    if (p == NULL) {
        return reader->error ? NGX_ERROR : NGX_AGAIN;
    }

    reader->pos = p;

    if (reply->text.data) {
        reply->text.data[reply->text.len] = '\0';
    }

    return NGX_OK;
}


/* the elements of arrays in it count as its own, but are not told */

static u_char *
ngx_http_billing_redis_reader_array(ngx_http_billing_redis_reader_t *reader,
    u_char *p, ngx_log_t *log)
{
    ngx_int_t                        more;
    ngx_uint_t                       i, n;
    ngx_http_billing_redis_reply_t  *reply;

    p = ngx_http_billing_redis_reader_number(reader, p, &more);

    if (p == NULL) {
        return NULL;
    }

    reply = &reader->reply;

    if (more == -1) {
        reply->type = NGX_HTTP_BILLING_REDIS_NIL;
        return p;
    }

    n = more;

    if (ngx_http_billing_redis_reader_elements(reader, n, log) != NGX_OK) {
        return NULL;
    }

    reply->type = NGX_HTTP_BILLING_REDIS_ARRAY;

    for (i = 0; i < n; i++) {

        if (*p == '$') {
            p = ngx_http_billing_redis_reader_string(reader, p,
                                                     &reader->elts[i]);

        } else {
            reply->type = NGX_HTTP_BILLING_REDIS_OTHER;
            p = ngx_http_billing_redis_reader_other(reader, p, &n, log);
        }

        if (p == NULL) {
            return NULL;
        }
    }

    reply->elts = reader->elts;
    reply->nelts = n;

    return p;
}


/* an element of n that is no string; those of an array make n greater */

static u_char *
ngx_http_billing_redis_reader_other(ngx_http_billing_redis_reader_t *reader,
    u_char *p, ngx_uint_t *n, ngx_log_t *log)
{
    ngx_int_t  more;
    ngx_str_t  text;

    switch (*p) {

    case '*':
        p = ngx_http_billing_redis_reader_number(reader, p, &more);

        if (p == NULL || more <= 0) {
            return p;
        }

        *n += more;

        if (ngx_http_billing_redis_reader_elements(reader, *n, log) != NGX_OK) {
            return NULL;
        }

        return p;

    case '+':
    case '-':
    case ':':
        return ngx_http_billing_redis_reader_line(reader, p, &text);

    default:

        /* at the end of what was received there is a zero */

        if (p != reader->last) {
            reader->error = "what came is no reply";
        }

        return NULL;
    }
}


static ngx_int_t
ngx_http_billing_redis_reader_elements(ngx_http_billing_redis_reader_t *reader,
    ngx_uint_t n, ngx_log_t *log)
{
    ngx_str_t  *elts;

    if (n > NGX_HTTP_BILLING_REDIS_MAX_ELEMENTS) {
        reader->error = "reply has too many elements";
        return NGX_ERROR;
    }

    if (n <= reader->nalloc) {
        return NGX_OK;
    }

    /* what was there is of no use: only arrays that are not told grow */

    elts = ngx_alloc(n * sizeof(ngx_str_t), log);
    if (elts == NULL) {
        reader->error = "no memory for a reply";
        return NGX_ERROR;
    }

    if (reader->elts) {
        ngx_free(reader->elts);
    }

    reader->elts = elts;
    reader->nalloc = n;

    return NGX_OK;
}


static ngx_inline u_char *
ngx_http_billing_redis_reader_string(ngx_http_billing_redis_reader_t *reader,
    u_char *p, ngx_str_t *text)
{
    ngx_int_t  n;

    p = ngx_http_billing_redis_reader_number(reader, p, &n);

    if (p == NULL) {
        return NULL;
    }

    if (n == -1) {
        ngx_str_null(text);
        return p;
    }

    reader->size += n;

    if (reader->last - p < n + 2) {
        reader->need = p - reader->pos + n + 2;
        return NULL;
    }

    if (p[n] != CR || p[n + 1] != LF) {
        reader->error = "a string in the reply has no end";
        return NULL;
    }

    text->data = p;
    text->len = n;

    return p + n + 2;
}


static u_char *
ngx_http_billing_redis_reader_line(ngx_http_billing_redis_reader_t *reader,
    u_char *p, ngx_str_t *text)
{
    u_char  *lf;

    p++;
    lf = memchr(p, LF, reader->last - p);

    /* with CR, which may be the last that was received */

    reader->size += (lf ? lf : reader->last) - p;

    if (lf == NULL) {
        return NULL;
    }

    if (lf == p || lf[-1] != CR) {
        reader->error = "a line in the reply has no end";
        return NULL;
    }

    text->data = p;
    text->len = lf - 1 - p;

    return lf + 1;
}


/* of a length: from -1, which stands for nil */

static ngx_inline u_char *
ngx_http_billing_redis_reader_number(ngx_http_billing_redis_reader_t *reader,
    u_char *p, ngx_int_t *n)
{
    u_char      *start;
    ngx_uint_t   value, digit;

    start = ++p;
    value = 0;

    for ( ;; p++) {
        digit = (ngx_uint_t) *p - '0';

        if (digit > 9) {
            break;
        }

        value = value * 10 + digit;
    }

    if (p[0] != CR || p[1] != LF || p == start
        || p - start > NGX_HTTP_BILLING_REDIS_MAX_DIGITS
        || (*start == '0' && p - start > 1))
    {
        return ngx_http_billing_redis_reader_no_number(reader, start, p, n);
    }

    *n = value;

    return p + 2;
}


/* -1, or digits up to p whose end was not received yet or is none */

static u_char *
ngx_http_billing_redis_reader_no_number(
    ngx_http_billing_redis_reader_t *reader, u_char *start, u_char *p,
    ngx_int_t *n)
{
    size_t  left;

    left = reader->last - start;

    if (ngx_strncmp(start, "-1\r\n", ngx_min(left, 4)) == 0) {
        *n = -1;
        return (left < 4) ? NULL : start + 4;
    }

    left = reader->last - p;

    if (p - start > NGX_HTTP_BILLING_REDIS_MAX_DIGITS
        || ngx_strncmp(p, "\r\n", ngx_min(left, 2)) != 0
        || left >= 2)
    {
        reader->error = "a length in the reply is wrong";
    }

    return NULL;
}


void
ngx_http_billing_redis_reader_free(ngx_http_billing_redis_reader_t *reader)
{
    if (reader->start) {
        ngx_free(reader->start);
    }

    if (reader->elts) {
        ngx_free(reader->elts);
    }

    ngx_memzero(reader, sizeof(ngx_http_billing_redis_reader_t));
}
