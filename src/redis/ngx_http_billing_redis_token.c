
#include "ngx_http_billing_redis_token.h"


/* digits of a length, at most: the number fits in 32 bits */

#define NGX_HTTP_BILLING_REDIS_MAX_DIGITS  9

/* bytes of a push's kind: the longest one today is "sunsubscribe" */

#define NGX_HTTP_BILLING_REDIS_MAX_KIND    64


/*
 * Each function returns the end of the token that it reads; or NULL if the end
 * was not received yet or, with reader->error, the token is invalid.
 */

static u_char *ngx_http_billing_redis_token_resp3(
    ngx_http_billing_redis_reader_t *reader, u_char *p,
    ngx_http_billing_redis_token_t *token);
static u_char *ngx_http_billing_redis_token_count(
    ngx_http_billing_redis_reader_t *reader, u_char *p,
    ngx_http_billing_redis_token_t *token);
static ngx_inline u_char *ngx_http_billing_redis_token_string(
    ngx_http_billing_redis_reader_t *reader, u_char *p,
    ngx_http_billing_redis_token_t *token);
static u_char *ngx_http_billing_redis_token_line(
    ngx_http_billing_redis_reader_t *reader, u_char *p,
    ngx_http_billing_redis_token_t *token);
static ngx_inline u_char *ngx_http_billing_redis_token_number(
    ngx_http_billing_redis_reader_t *reader, u_char *p, ngx_int_t *n);
static u_char *ngx_http_billing_redis_token_no_number(
    ngx_http_billing_redis_reader_t *reader, u_char *start, u_char *p,
    ngx_int_t *n);
static ngx_uint_t ngx_http_billing_redis_token_is_integer(ngx_str_t *text);


u_char *
ngx_http_billing_redis_token(ngx_http_billing_redis_reader_t *reader,
    u_char *p, ngx_http_billing_redis_token_t *token)
{
    ngx_int_t  n;

    token->nelts = 0;
    token->attribute = 0;
    token->push = 0;

    switch (*p) {

    case '$':
        token->type = NGX_HTTP_BILLING_REDIS_STRING;
        return ngx_http_billing_redis_token_string(reader, p, token);

    case '*':
        token->type = NGX_HTTP_BILLING_REDIS_ARRAY;
        ngx_str_null(&token->text);

        p = ngx_http_billing_redis_token_number(reader, p, &n);

        if (p == NULL) {
            return NULL;
        }

        if (n != -1) {
            token->nelts = n;

        } else if (reader->depth == 0
                   || reader->state == NGX_HTTP_BILLING_REDIS_READER_PUSH)
        {
            /* as an element, a nil array must not pass for a nil string */

            token->type = NGX_HTTP_BILLING_REDIS_NIL;
        }

        return p;

    case '+':
        token->type = NGX_HTTP_BILLING_REDIS_STATUS;
        return ngx_http_billing_redis_token_line(reader, p, token);

    case '-':
        token->type = NGX_HTTP_BILLING_REDIS_ERROR;
        return ngx_http_billing_redis_token_line(reader, p, token);

    case ':':
        p = ngx_http_billing_redis_token_line(reader, p, token);

        if (p) {
            token->type = ngx_http_billing_redis_token_is_integer(&token->text)
                          ? NGX_HTTP_BILLING_REDIS_INTEGER
                          : NGX_HTTP_BILLING_REDIS_OTHER;
        }

        return p;

    default:

        if (p == reader->last) {
            return NULL;
        }

        if (reader->resp3) {
            return ngx_http_billing_redis_token_resp3(reader, p, token);
        }

        reader->error = "what came is no reply";
        return NULL;
    }
}


/*
 * Most replies, as a camera or a list of ids, are arrays of strings.  This fast
 * path reads all strings but the last one, up to one that is nil, not received
 * whole, or special in another way.
 */

u_char *
ngx_http_billing_redis_token_strings(ngx_http_billing_redis_reader_t *reader,
    u_char *p)
{
    size_t       len;
    u_char      *start;
    ngx_str_t   *elt;
    ngx_uint_t   n;

    n = reader->left[1];
    elt = &reader->elts[reader->reply.nelts];

    for ( /* void */ ; n > 1 && *p == '$'; n--, elt++) {

        start = p + 1;

        if (*start == '-') {

            if (reader->last - p < 5 || ngx_strncmp(p, "$-1\r\n", 5) != 0) {
                break;
            }

            ngx_str_null(elt);
            p += 5;
            continue;
        }

        for (len = 0, p = start; *p >= '0' && *p <= '9'; p++) {
            len = len * 10 + (*p - '0');
        }

        if (p == start || p - start > NGX_HTTP_BILLING_REDIS_MAX_DIGITS
            || (*start == '0' && p - start > 1)
            || p[0] != CR || p[1] != LF
            || len > NGX_HTTP_BILLING_REDIS_MAX_REPLY - reader->size
            || (size_t) (reader->last - p) < len + 4
            || p[len + 2] != CR || p[len + 3] != LF)
        {
            p = start - 1;
            break;
        }

        elt->data = p + 2;
        elt->len = len;

        reader->size += len;
        p += len + 4;
    }

    reader->reply.nelts += reader->left[1] - n;
    reader->left[1] = n;

    return p;
}


/* reads the types that only RESP3 has */

static u_char *
ngx_http_billing_redis_token_resp3(ngx_http_billing_redis_reader_t *reader,
    u_char *p, ngx_http_billing_redis_token_t *token)
{
    u_char  type;

    type = *p;

    switch (type) {

    case '=':
    case '!':
        token->type = (type == '!') ? NGX_HTTP_BILLING_REDIS_ERROR
                                    : NGX_HTTP_BILLING_REDIS_STRING;

        p = ngx_http_billing_redis_token_string(reader, p, token);

        if (p == NULL || reader->skipping) {
            return p;
        }

        if (token->text.data == NULL) {
            break;
        }

        if (type == '!') {
            return p;
        }

        /* a verbatim string begins with its format, as "txt:" */

        if (token->text.len < 4 || token->text.data[3] != ':') {
            break;
        }

        token->text.data += 4;
        token->text.len -= 4;

        return p;

    case '%':
    case '|':
    case '~':
    case '>':
        return ngx_http_billing_redis_token_count(reader, p, token);

    case ',':
    case '(':
        token->type = (type == ',') ? NGX_HTTP_BILLING_REDIS_DOUBLE
                                    : NGX_HTTP_BILLING_REDIS_OTHER;

        return ngx_http_billing_redis_token_line(reader, p, token);

    case '#':
        token->type = NGX_HTTP_BILLING_REDIS_OTHER;

        p = ngx_http_billing_redis_token_line(reader, p, token);

        if (p == NULL
            || (token->text.len == 1
                && (token->text.data[0] == 't' || token->text.data[0] == 'f')))
        {
            return p;
        }

        break;

    case '_':
        token->type = NGX_HTTP_BILLING_REDIS_NIL;

        p = ngx_http_billing_redis_token_line(reader, p, token);

        if (p == NULL) {
            return NULL;
        }

        if (token->text.len == 0) {
            ngx_str_null(&token->text);
            return p;
        }

        break;

    default:
        break;
    }

    reader->error = "what came is no reply";

    return NULL;
}


static u_char *
ngx_http_billing_redis_token_count(ngx_http_billing_redis_reader_t *reader,
    u_char *p, ngx_http_billing_redis_token_t *token)
{
    u_char     type;
    ngx_int_t  n;

    type = *p;

    p = ngx_http_billing_redis_token_number(reader, p, &n);

    if (p == NULL) {
        return NULL;
    }

    if (n == -1) {
        reader->error = "a length in the reply is wrong";
        return NULL;
    }

    token->type = (type == '%') ? NGX_HTTP_BILLING_REDIS_MAP
                                : NGX_HTTP_BILLING_REDIS_ARRAY;
    token->attribute = (type == '|');
    token->push = (type == '>');
    token->nelts = (type == '%' || type == '|') ? 2 * n : n;

    ngx_str_null(&token->text);

    return p;
}


/*
 * If the string is not to be kept, returns its beginning, from which the reader
 * skips it.
 */

static ngx_inline u_char *
ngx_http_billing_redis_token_string(ngx_http_billing_redis_reader_t *reader,
    u_char *p, ngx_http_billing_redis_token_t *token)
{
    size_t      max;
    u_char     *start;
    ngx_int_t   n;

    start = p;
    p = ngx_http_billing_redis_token_number(reader, p, &n);

    if (p == NULL) {
        return NULL;
    }

    if (n == -1) {
        token->type = NGX_HTTP_BILLING_REDIS_NIL;
        ngx_str_null(&token->text);
        return p;
    }

    if (reader->state == NGX_HTTP_BILLING_REDIS_READER_KEEP) {
        max = NGX_HTTP_BILLING_REDIS_MAX_REPLY - reader->size;

    } else if (reader->state == NGX_HTTP_BILLING_REDIS_READER_PUSH) {
        max = reader->kind_given ? reader->max_name
                                 : NGX_HTTP_BILLING_REDIS_MAX_KIND;

    } else if (reader->state == NGX_HTTP_BILLING_REDIS_READER_ITEMS) {
        max = NGX_HTTP_BILLING_REDIS_MAX_ITEM;

    } else {
        max = 0;
    }

    if ((size_t) n > max) {

        if (reader->state == NGX_HTTP_BILLING_REDIS_READER_KEEP) {
            reader->state = NGX_HTTP_BILLING_REDIS_READER_SKIP;
        }

        reader->rest = n;
        reader->skipping = 1;

        return p;
    }

    if (reader->last - p < n + 2) {
        reader->need = p - start + n + 2;
        return NULL;
    }

    if (p[n] != CR || p[n + 1] != LF) {
        reader->error = "a string in the reply has no end";
        return NULL;
    }

    if (reader->state == NGX_HTTP_BILLING_REDIS_READER_KEEP) {
        reader->size += n;
    }

    token->text.data = p;
    token->text.len = n;

    return p + n + 2;
}


/* a line has no length, so a line that is too long cannot be skipped */

static u_char *
ngx_http_billing_redis_token_line(ngx_http_billing_redis_reader_t *reader,
    u_char *p, ngx_http_billing_redis_token_t *token)
{
    size_t   size;
    u_char  *lf;

    p++;
    lf = memchr(p + reader->seen, LF, reader->last - p - reader->seen);

    /* the size includes CR, which may be the last byte received */

    size = (lf ? lf : reader->last) - p;

    if (size > NGX_HTTP_BILLING_REDIS_MAX_REPLY) {
        reader->error = "reply is too large";
        return NULL;
    }

    if (lf == NULL) {
        reader->seen = size;
        return NULL;
    }

    if (lf == p || lf[-1] != CR) {
        reader->error = "a line in the reply has no end";
        return NULL;
    }

    if (reader->state == NGX_HTTP_BILLING_REDIS_READER_KEEP) {
        reader->size += size;

        if (reader->size > NGX_HTTP_BILLING_REDIS_MAX_REPLY) {
            reader->state = NGX_HTTP_BILLING_REDIS_READER_SKIP;
        }
    }

    token->text.data = p;
    token->text.len = lf - 1 - p;

    return lf + 1;
}


/* reads a length, which is 0 or more; or -1, which stands for nil */

static ngx_inline u_char *
ngx_http_billing_redis_token_number(ngx_http_billing_redis_reader_t *reader,
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
        || value > NGX_HTTP_BILLING_REDIS_MAX_LENGTH
        || (*start == '0' && p - start > 1))
    {
        return ngx_http_billing_redis_token_no_number(reader, start, p, n);
    }

    *n = value;

    return p + 2;
}


/* reads -1; for other digits up to p, the end is missing or invalid */

static u_char *
ngx_http_billing_redis_token_no_number(
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


static ngx_uint_t
ngx_http_billing_redis_token_is_integer(ngx_str_t *text)
{
    u_char      *p;
    size_t       i, len;
    const char  *max;

    p = text->data;
    len = text->len;
    max = "9223372036854775807";

    if (len && *p == '-') {
        p++;
        len--;
        max = "9223372036854775808";
    }

    if (len == 0 || len > NGX_INT64_LEN - 1) {
        return 0;
    }

    for (i = 0; i < len; i++) {
        if (p[i] < '0' || p[i] > '9') {
            return 0;
        }
    }

    return len < NGX_INT64_LEN - 1 || ngx_memcmp(p, max, len) <= 0;
}
