
#include "ngx_http_billing_redis_reply.h"


/* bytes received at once: about a batch of cameras */

#define NGX_HTTP_BILLING_REDIS_BUFFER      65536

/* no length is greater, so that it fits in 32 bits */

#define NGX_HTTP_BILLING_REDIS_MAX_NUMBER  0x7fffffff


static ngx_int_t ngx_http_billing_redis_reader_array(
    ngx_http_billing_redis_reader_t *reader, u_char **pos, ngx_log_t *log);
static ngx_int_t ngx_http_billing_redis_reader_elements(
    ngx_http_billing_redis_reader_t *reader, ngx_uint_t n, ngx_log_t *log);
static ngx_inline ngx_int_t ngx_http_billing_redis_reader_string(
    ngx_http_billing_redis_reader_t *reader, u_char **pos, ngx_str_t *text);
static ngx_int_t ngx_http_billing_redis_reader_line(
    ngx_http_billing_redis_reader_t *reader, u_char **pos, ngx_str_t *text);
static ngx_inline ngx_int_t ngx_http_billing_redis_reader_number(
    ngx_http_billing_redis_reader_t *reader, u_char **pos, ngx_int_t *n);


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

        p = ngx_alloc(size + 1, log);
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
    ngx_int_t                        rc;
    ngx_http_billing_redis_reply_t  *reply;

    p = reader->pos;
    reply = &reader->reply;

    if (p == reader->last || (size_t) (reader->last - p) < reader->need) {
        return NGX_AGAIN;
    }

    *reader->last = '\0';

    reader->need = 0;
    reader->size = 0;

    ngx_str_null(&reply->text);

    switch (*p) {

    case '$':
        rc = ngx_http_billing_redis_reader_string(reader, &p, &reply->text);
        reply->type = reply->text.data ? NGX_HTTP_BILLING_REDIS_STRING
                                       : NGX_HTTP_BILLING_REDIS_NIL;
        break;

    case '*':
        rc = ngx_http_billing_redis_reader_array(reader, &p, log);
        break;

    case '+':
        rc = ngx_http_billing_redis_reader_line(reader, &p, &reply->text);
        reply->type = NGX_HTTP_BILLING_REDIS_STATUS;
        break;

    case '-':
        rc = ngx_http_billing_redis_reader_line(reader, &p, &reply->text);
        reply->type = NGX_HTTP_BILLING_REDIS_ERROR;
        break;

    case ':':
        rc = ngx_http_billing_redis_reader_line(reader, &p, &reply->text);
        reply->type = NGX_HTTP_BILLING_REDIS_OTHER;
        break;

    default:
        reader->error = "what came is no reply";
        return NGX_ERROR;
    }

    if (rc != NGX_OK) {
        return rc;
    }

    reader->pos = p;

    if (reply->type != NGX_HTTP_BILLING_REDIS_ARRAY && reply->text.data) {
        reply->text.data[reply->text.len] = '\0';
    }

    return NGX_OK;
}


/* the elements of arrays in it count as its own, but are not told */

static ngx_int_t
ngx_http_billing_redis_reader_array(ngx_http_billing_redis_reader_t *reader,
    u_char **pos, ngx_log_t *log)
{
    ngx_int_t                        rc, more;
    ngx_str_t                        text;
    ngx_uint_t                       i, n;
    ngx_http_billing_redis_reply_t  *reply;

    rc = ngx_http_billing_redis_reader_number(reader, pos, &more);

    if (rc != NGX_OK) {
        return rc;
    }

    reply = &reader->reply;

    if (more == -1) {
        reply->type = NGX_HTTP_BILLING_REDIS_NIL;
        return NGX_OK;
    }

    n = more;

    if (ngx_http_billing_redis_reader_elements(reader, n, log) != NGX_OK) {
        return NGX_ERROR;
    }

    reply->type = NGX_HTTP_BILLING_REDIS_ARRAY;

    for (i = 0; i < n; i++) {

        if (*pos == reader->last) {
            return NGX_AGAIN;
        }

        switch (**pos) {

        case '$':
            rc = ngx_http_billing_redis_reader_string(reader, pos,
                                                      &reader->elts[i]);
            break;

        case '*':
            reply->type = NGX_HTTP_BILLING_REDIS_OTHER;
            rc = ngx_http_billing_redis_reader_number(reader, pos, &more);

            if (rc == NGX_OK && more > 0) {
                n += more;
                rc = ngx_http_billing_redis_reader_elements(reader, n, log);
            }

            break;

        case '+':
        case '-':
        case ':':
            reply->type = NGX_HTTP_BILLING_REDIS_OTHER;
            rc = ngx_http_billing_redis_reader_line(reader, pos, &text);
            break;

        default:
            reader->error = "what came is no reply";
            return NGX_ERROR;
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }

    reply->elts = reader->elts;
    reply->nelts = n;

    return NGX_OK;
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


static ngx_inline ngx_int_t
ngx_http_billing_redis_reader_string(ngx_http_billing_redis_reader_t *reader,
    u_char **pos, ngx_str_t *text)
{
    u_char     *p;
    size_t      left;
    ngx_int_t   n, rc;

    rc = ngx_http_billing_redis_reader_number(reader, pos, &n);

    if (rc != NGX_OK) {
        return rc;
    }

    if (n == -1) {
        ngx_str_null(text);
        return NGX_OK;
    }

    reader->size += n;

    if (reader->size > NGX_HTTP_BILLING_REDIS_MAX_REPLY) {
        reader->error = "reply is too large";
        return NGX_ERROR;
    }

    p = *pos;
    left = reader->last - p;

    if (left < (size_t) n + 2) {
        reader->need = p + n + 2 - reader->pos;
        return NGX_AGAIN;
    }

    if (p[n] != CR || p[n + 1] != LF) {
        reader->error = "a string in the reply has no end";
        return NGX_ERROR;
    }

    text->data = p;
    text->len = n;

    *pos = p + n + 2;

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_redis_reader_line(ngx_http_billing_redis_reader_t *reader,
    u_char **pos, ngx_str_t *text)
{
    u_char  *p, *lf;

    p = *pos + 1;
    lf = memchr(p, LF, reader->last - p);

    reader->size += (lf ? lf : reader->last) - p;

    if (reader->size > NGX_HTTP_BILLING_REDIS_MAX_REPLY) {
        reader->error = "reply is too large";
        return NGX_ERROR;
    }

    if (lf == NULL) {
        return NGX_AGAIN;
    }

    if (lf == p || lf[-1] != CR) {
        reader->error = "a line in the reply has no end";
        return NGX_ERROR;
    }

    text->data = p;
    text->len = lf - 1 - p;

    *pos = lf + 1;

    return NGX_OK;
}


/* of a length: from -1, which stands for nil */

static ngx_inline ngx_int_t
ngx_http_billing_redis_reader_number(ngx_http_billing_redis_reader_t *reader,
    u_char **pos, ngx_int_t *n)
{
    size_t     left;
    u_char    *p, *start;
    uint64_t   value;

    p = *pos + 1;

    if (*p == '-') {
        left = ngx_min(reader->last - p, 4);

        if (ngx_strncmp(p, "-1\r\n", left) != 0) {
            goto failed;
        }

        *n = -1;
        *pos = p + left;

        return (left == 4) ? NGX_OK : NGX_AGAIN;
    }

    start = p;
    value = 0;

    /* the zero behind what was received is no digit */

    while (*p >= '0' && *p <= '9') {
        value = value * 10 + (*p++ - '0');
    }

    if ((size_t) (p - start) > NGX_INT32_LEN - 1
        || (*start == '0' && p - start > 1)
        || value > NGX_HTTP_BILLING_REDIS_MAX_NUMBER)
    {
        goto failed;
    }

    if (p == reader->last) {
        return NGX_AGAIN;
    }

    if (p == start || *p != CR) {
        goto failed;
    }

    if (p + 1 == reader->last) {
        return NGX_AGAIN;
    }

    if (p[1] != LF) {
        goto failed;
    }

    *n = value;
    *pos = p + 2;

    return NGX_OK;

failed:

    reader->error = "a length in the reply is none";

    return NGX_ERROR;
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
