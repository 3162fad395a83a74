
#include "ngx_http_billing_params_value.h"
#include "ngx_http_billing_json.h"


/* as deep as PHP's json_decode() goes */

#define NGX_HTTP_BILLING_PARAMS_DEPTH   512

#define NGX_HTTP_BILLING_PARAMS_BUFFER  4096


/* where the text is within an escape in a string */

typedef enum {
    NGX_HTTP_BILLING_ESCAPE_NONE = 0,
    NGX_HTTP_BILLING_ESCAPE_BEGUN,
    NGX_HTTP_BILLING_ESCAPE_HEX
} ngx_http_billing_escape_e;


typedef struct {
    ngx_http_billing_json_parser_t  parser;
    ngx_pool_t                     *pool;

    ngx_http_billing_value_t       *values;
    ngx_uint_t                      max;

    /* nesting, whether the outermost value is an object, and its last key */
    ngx_uint_t                      depth;
    ngx_uint_t                      object;
    ngx_uint_t                      param;

    /* of a \u escape: the digits to come, the value, a surrogate's half */
    ngx_http_billing_escape_e       escape;
    ngx_uint_t                      digits;
    ngx_uint_t                      code;
    ngx_uint_t                      high;

    /* something other than white space was seen */
    ngx_uint_t                      seen;

    /* why a callback has cancelled; NULL is for want of memory */
    const char                     *error;
} ngx_http_billing_body_t;


typedef ngx_int_t (*ngx_http_billing_body_pt)(ngx_http_billing_body_t *body,
    u_char *p, size_t len);


static ngx_uint_t ngx_http_billing_body_is_json(ngx_http_request_t *r);
static ngx_int_t ngx_http_billing_body_each(ngx_http_request_t *r,
    ngx_http_billing_body_t *body, ngx_http_billing_body_pt handler);
static ngx_int_t ngx_http_billing_body_file(ngx_http_billing_body_t *body,
    ngx_buf_t *b, ngx_http_billing_body_pt handler);
static ngx_int_t ngx_http_billing_body_blank(ngx_http_billing_body_t *body,
    u_char *p, size_t len);
static ngx_int_t ngx_http_billing_body_parse(ngx_http_billing_body_t *body,
    u_char *p, size_t len);
static size_t ngx_http_billing_body_valid(ngx_http_billing_body_t *body,
    u_char *p, size_t len, const char **error);
static ngx_int_t ngx_http_billing_body_unit(ngx_http_billing_body_t *body);
static ngx_int_t ngx_http_billing_body_error(ngx_http_billing_body_t *body,
    ngx_str_t *error);

static int ngx_http_billing_body_scalar(ngx_http_billing_body_t *body,
    ngx_http_billing_value_e type, const unsigned char *p, size_t len);
static int ngx_http_billing_body_open(ngx_http_billing_body_t *body,
    ngx_uint_t list);
static int ngx_http_billing_body_null(void *ctx);
static int ngx_http_billing_body_boolean(void *ctx, int value);
static int ngx_http_billing_body_number(void *ctx, const char *p, size_t len);
static int ngx_http_billing_body_string(void *ctx, const unsigned char *p,
    size_t len);
static int ngx_http_billing_body_start_map(void *ctx);
static int ngx_http_billing_body_map_key(void *ctx, const unsigned char *p,
    size_t len);
static int ngx_http_billing_body_start_array(void *ctx);
static int ngx_http_billing_body_end(void *ctx);


static const yajl_callbacks  ngx_http_billing_body_callbacks = {
    ngx_http_billing_body_null,
    ngx_http_billing_body_boolean,
    NULL,
    NULL,
    ngx_http_billing_body_number,
    ngx_http_billing_body_string,
    ngx_http_billing_body_start_map,
    ngx_http_billing_body_map_key,
    ngx_http_billing_body_end,
    ngx_http_billing_body_start_array,
    ngx_http_billing_body_end
};


ngx_int_t
ngx_http_billing_params_body(ngx_http_request_t *r,
    ngx_http_billing_value_t *values, ngx_uint_t max, ngx_str_t *error,
    ngx_uint_t *ignored)
{
    ngx_int_t                 rc;
    ngx_http_billing_body_t  *body;

    *ignored = 0;

    if (r->request_body == NULL || r->request_body->bufs == NULL) {
        return NGX_OK;
    }

    body = ngx_pcalloc(r->pool, sizeof(ngx_http_billing_body_t));
    if (body == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_http_billing_body_each(r, body, ngx_http_billing_body_blank);

    if (rc != NGX_OK || !body->seen) {
        return rc;
    }

    if (!ngx_http_billing_body_is_json(r)) {
        *ignored = 1;
        return NGX_OK;
    }

    body->pool = r->pool;
    body->values = values;
    body->max = max;
    body->param = NGX_HTTP_BILLING_PARAMS;

    if (ngx_http_billing_json_parser_init(&body->parser, r->pool,
                                          &ngx_http_billing_body_callbacks,
                                          body)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = ngx_http_billing_body_each(r, body, ngx_http_billing_body_parse);

    if (rc == NGX_OK) {
        rc = ngx_http_billing_json_parse(&body->parser, NULL, 0);
    }

    if (rc == NGX_DECLINED) {
        return ngx_http_billing_body_error(body, error);
    }

    return rc;
}


/* as Laravel takes it */

static ngx_uint_t
ngx_http_billing_body_is_json(ngx_http_request_t *r)
{
    u_char           *p, *last;
    ngx_table_elt_t  *type;

    type = r->headers_in.content_type;

    if (type == NULL) {
        return 0;
    }

    p = type->value.data;
    last = p + type->value.len;

    return ngx_strlcasestrn(p, last, (u_char *) "/json", 5 - 1) != NULL
           || ngx_strlcasestrn(p, last, (u_char *) "+json", 5 - 1) != NULL;
}


static ngx_int_t
ngx_http_billing_body_each(ngx_http_request_t *r, ngx_http_billing_body_t *body,
    ngx_http_billing_body_pt handler)
{
    ngx_buf_t    *b;
    ngx_int_t     rc;
    ngx_chain_t  *cl;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {

        b = cl->buf;

        if (ngx_buf_in_memory(b)) {
            rc = handler(body, b->pos, b->last - b->pos);

        } else if (b->in_file) {
            rc = ngx_http_billing_body_file(body, b, handler);

        } else {
            continue;
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_body_file(ngx_http_billing_body_t *body, ngx_buf_t *b,
    ngx_http_billing_body_pt handler)
{
    off_t      offset;
    size_t     size;
    ssize_t    n;
    ngx_int_t  rc;
    u_char     buffer[NGX_HTTP_BILLING_PARAMS_BUFFER];

    for (offset = b->file_pos; offset < b->file_last; offset += n) {

        size = (size_t) ngx_min(b->file_last - offset, (off_t) sizeof(buffer));

        n = ngx_read_file(b->file, buffer, size, offset);

        if (n == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (n == 0) {
            ngx_log_error(NGX_LOG_ERR, b->file->log, 0,
                          "request body file \"%V\" is truncated",
                          &b->file->name);
            return NGX_ERROR;
        }

        rc = handler(body, buffer, n);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_body_blank(ngx_http_billing_body_t *body, u_char *p,
    size_t len)
{
    u_char  *last;

    for (last = p + len; p < last && !body->seen; p++) {
        body->seen = !(*p == ' ' || (*p >= '\t' && *p <= CR));
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_body_parse(ngx_http_billing_body_t *body, u_char *p,
    size_t len)
{
    size_t       n;
    ngx_int_t    rc;
    const char  *error;

    if (len == 0) {
        return NGX_OK;
    }

    n = ngx_http_billing_body_valid(body, p, len, &error);

    rc = ngx_http_billing_json_parse(&body->parser, p, n);

    if (rc == NGX_OK && n != len) {
        body->error = error;
        return NGX_DECLINED;
    }

    if (rc == NGX_ABORT) {
        return body->error ? NGX_DECLINED : NGX_ERROR;
    }

    return rc;
}


/*
 * What yajl lets pass: it turns an escaped surrogate that has no pair into
 * some other character, and so one login into another one, and takes form
 * feeds and vertical tabs for white space.  Returns the number of bytes before
 * that.  A backslash can be in strings only, any other one is an error for
 * yajl.
 */

static size_t
ngx_http_billing_body_valid(ngx_http_billing_body_t *body, u_char *p,
    size_t len, const char **error)
{
    u_char     ch;
    size_t     i;
    ngx_int_t  n;

    *error = "a surrogate in a \\u escape has no pair";

    for (i = 0; i < len; i++) {
        ch = p[i];

        if (ch == '\v' || ch == '\f') {
            *error = "a control character is no white space";
            return i;
        }

        switch (body->escape) {

        case NGX_HTTP_BILLING_ESCAPE_NONE:
            if (ch == '\\') {
                body->escape = NGX_HTTP_BILLING_ESCAPE_BEGUN;

            } else if (body->high) {
                return i;
            }

            break;

        case NGX_HTTP_BILLING_ESCAPE_BEGUN:
            if (ch == 'u') {
                body->escape = NGX_HTTP_BILLING_ESCAPE_HEX;
                body->digits = 4;
                body->code = 0;

            } else if (body->high) {
                return i;

            } else {
                body->escape = NGX_HTTP_BILLING_ESCAPE_NONE;
            }

            break;

        case NGX_HTTP_BILLING_ESCAPE_HEX:
            n = ngx_hextoi(&ch, 1);

            if (n == NGX_ERROR) {
                body->escape = NGX_HTTP_BILLING_ESCAPE_NONE;
                body->high = 0;
                break;
            }

            body->code = body->code * 16 + n;

            if (--body->digits == 0
                && ngx_http_billing_body_unit(body) != NGX_OK)
            {
                return i;
            }

            break;
        }
    }

    return len;
}


static ngx_int_t
ngx_http_billing_body_unit(ngx_http_billing_body_t *body)
{
    ngx_uint_t  low;

    low = (body->code >= 0xdc00 && body->code <= 0xdfff);

    if (body->high != low) {
        return NGX_DECLINED;
    }

    body->high = (body->code >= 0xd800 && body->code <= 0xdbff);
    body->escape = NGX_HTTP_BILLING_ESCAPE_NONE;

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_body_error(ngx_http_billing_body_t *body, ngx_str_t *error)
{
    u_char     *p;
    off_t       offset;
    ngx_str_t   reason;

    if (ngx_http_billing_json_parse_error(&body->parser, &reason, &offset)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (body->error) {
        reason.data = (u_char *) body->error;
        reason.len = ngx_strlen(body->error);
    }

    p = ngx_pnalloc(body->pool,
                    sizeof("The body is not valid JSON: , at byte .")
                    + reason.len + NGX_OFF_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    error->data = p;
    error->len = ngx_sprintf(p, "The body is not valid JSON: %V, at byte %O.",
                             &reason, offset)
                 - p;

    return NGX_DECLINED;
}


/* The callbacks return 1 to go on, and 0 to cancel. */

static int
ngx_http_billing_body_scalar(ngx_http_billing_body_t *body,
    ngx_http_billing_value_e type, const unsigned char *p, size_t len)
{
    ngx_http_billing_value_t   *value;
    ngx_http_billing_scalar_t   scalar;

    if (!body->object || body->param == NGX_HTTP_BILLING_PARAMS
        || body->depth > 2)
    {
        return 1;
    }

    value = &body->values[body->param];

    if (body->depth == 2
        && value->scalar.type != NGX_HTTP_BILLING_VALUE_LIST)
    {
        return 1;
    }

    ngx_memzero(&scalar, sizeof(ngx_http_billing_scalar_t));

    scalar.type = type;

    if (p) {
        scalar.text.len = len;
        scalar.text.data = ngx_pnalloc(body->pool, len + 1);
        if (scalar.text.data == NULL) {
            return 0;
        }

        ngx_memcpy(scalar.text.data, p, len);
    }

    if (body->depth == 1) {
        value->scalar = scalar;
        return 1;
    }

    return ngx_http_billing_value_push(value, &scalar, body->max) == NGX_OK;
}


static int
ngx_http_billing_body_open(ngx_http_billing_body_t *body, ngx_uint_t list)
{
    int                        rc;
    ngx_http_billing_value_t  *value;

    if (body->depth == NGX_HTTP_BILLING_PARAMS_DEPTH) {
        body->error = "it is nested too deep";
        return 0;
    }

    if (body->depth == 1 && list && body->object
        && body->param != NGX_HTTP_BILLING_PARAMS)
    {
        value = &body->values[body->param];
        rc = ngx_http_billing_value_list(value, body->pool) == NGX_OK;

    } else {
        rc = ngx_http_billing_body_scalar(body, NGX_HTTP_BILLING_VALUE_OTHER,
                                          NULL, 0);
    }

    body->depth++;

    return rc;
}


static int
ngx_http_billing_body_null(void *ctx)
{
    return ngx_http_billing_body_scalar(ctx, NGX_HTTP_BILLING_VALUE_NONE,
                                        NULL, 0);
}


static int
ngx_http_billing_body_boolean(void *ctx, int value)
{
    return ngx_http_billing_body_scalar(ctx, NGX_HTTP_BILLING_VALUE_OTHER,
                                        NULL, 0);
}


static int
ngx_http_billing_body_number(void *ctx, const char *p, size_t len)
{
    size_t  i;

    for (i = 0; i < len; i++) {
        if (p[i] == '.' || p[i] == 'e' || p[i] == 'E') {
            return ngx_http_billing_body_scalar(ctx,
                                                NGX_HTTP_BILLING_VALUE_OTHER,
                                                NULL, 0);
        }
    }

    return ngx_http_billing_body_scalar(ctx, NGX_HTTP_BILLING_VALUE_INTEGER,
                                        (const unsigned char *) p, len);
}


static int
ngx_http_billing_body_string(void *ctx, const unsigned char *p, size_t len)
{
    ngx_http_billing_body_t *body = ctx;

    ngx_str_t  text;

    text.data = (u_char *) p;
    text.len = len;

    if (ngx_http_billing_json_utf8_length(&text) == NGX_ERROR) {
        body->error = "a string is not valid UTF-8";
        return 0;
    }

    return ngx_http_billing_body_scalar(body, NGX_HTTP_BILLING_VALUE_STRING,
                                        p, len);
}


static int
ngx_http_billing_body_start_map(void *ctx)
{
    ngx_http_billing_body_t *body = ctx;

    if (body->depth == 0) {
        body->object = 1;
    }

    return ngx_http_billing_body_open(body, 0);
}


static int
ngx_http_billing_body_map_key(void *ctx, const unsigned char *p, size_t len)
{
    ngx_http_billing_body_t *body = ctx;

    ngx_str_t  text;

    text.data = (u_char *) p;
    text.len = len;

    if (ngx_http_billing_json_utf8_length(&text) == NGX_ERROR) {
        body->error = "a key is not valid UTF-8";
        return 0;
    }

    if (body->depth == 1) {
        body->param = ngx_http_billing_params_find(text.data, len);
    }

    return 1;
}


static int
ngx_http_billing_body_start_array(void *ctx)
{
    return ngx_http_billing_body_open(ctx, 1);
}


static int
ngx_http_billing_body_end(void *ctx)
{
    ngx_http_billing_body_t *body = ctx;

    body->depth--;

    return 1;
}
