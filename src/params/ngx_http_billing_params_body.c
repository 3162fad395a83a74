
#include "ngx_http_billing_params_body.h"
#include "ngx_http_billing_json.h"
#include "ngx_http_billing_json_parse.h"


/* PHP's json_decode() allows 512 levels, and counts a scalar as a level */

#define NGX_HTTP_BILLING_BODY_DEPTH  511


typedef struct {
    ngx_http_billing_values_t  *values;

    /* open objects and arrays */
    ngx_uint_t                  depth;

    /* the parameter that the outermost object's last key names */
    ngx_uint_t                  param;

    /* the parameter that is open, or NULL, and its last member */
    ngx_http_billing_value_t   *array;
    ngx_http_billing_value_t   *member;

    /* set if the parameter that is open is an object */
    ngx_uint_t                  keyed;

    /* why a callback cancelled the parser; NULL: there was no memory */
    const char                 *error;
} ngx_http_billing_body_t;


static ngx_int_t ngx_http_billing_body_text(ngx_http_request_t *r,
    ngx_str_t *text, ngx_uint_t *copied);
static u_char *ngx_http_billing_body_read(ngx_buf_t *b, u_char *p);
static ngx_uint_t ngx_http_billing_body_is_blank(ngx_str_t *text);
static ngx_uint_t ngx_http_billing_body_is_json(ngx_http_request_t *r);
static ngx_int_t ngx_http_billing_body_parse(ngx_http_request_t *r,
    ngx_http_billing_values_t *values, ngx_str_t *text, ngx_str_t *error);

static int ngx_http_billing_body_place(ngx_http_billing_body_t *body,
    ngx_http_billing_value_t **value);
static int ngx_http_billing_body_set(ngx_http_billing_body_t *body,
    ngx_http_billing_value_e type);
static int ngx_http_billing_body_open(ngx_http_billing_body_t *body,
    ngx_uint_t keyed);
static ngx_uint_t ngx_http_billing_body_is_utf8(const u_char *p, size_t len);

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
    ngx_http_billing_values_t *values, ngx_str_t *error, ngx_uint_t *ignored)
{
    ngx_int_t   rc;
    ngx_str_t   text;
    ngx_uint_t  copied;

    *ignored = 0;

    if (r->request_body == NULL || r->request_body->bufs == NULL) {
        return NGX_OK;
    }

    if (ngx_http_billing_body_text(r, &text, &copied) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = NGX_OK;

    if (!ngx_http_billing_body_is_blank(&text)) {

        if (ngx_http_billing_body_is_json(r)) {
            rc = ngx_http_billing_body_parse(r, values, &text, error);

        } else {
            *ignored = 1;
        }
    }

    if (copied) {
        (void) ngx_pfree(r->pool, text.data);
    }

    return rc;
}


/*
 * Returns the body in one piece.  yajl would read a token anew with each piece:
 * the time would grow with the square of the token's length.
 */

static ngx_int_t
ngx_http_billing_body_text(ngx_http_request_t *r, ngx_str_t *text,
    ngx_uint_t *copied)
{
    u_char       *p;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    cl = r->request_body->bufs;

    *copied = (cl->next || !ngx_buf_in_memory(cl->buf));

    if (!*copied) {
        text->data = cl->buf->pos;
        text->len = cl->buf->last - cl->buf->pos;
        return NGX_OK;
    }

    text->len = 0;

    do {
        text->len += ngx_buf_size(cl->buf);
        cl = cl->next;
    } while (cl);

    text->data = ngx_palloc(r->pool, text->len);
    if (text->data == NULL) {
        return NGX_ERROR;
    }

    p = text->data;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        b = cl->buf;

        if (ngx_buf_in_memory(b)) {
            p = ngx_cpymem(p, b->pos, b->last - b->pos);

        } else if (b->in_file) {
            p = ngx_http_billing_body_read(b, p);

            if (p == NULL) {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


static u_char *
ngx_http_billing_body_read(ngx_buf_t *b, u_char *p)
{
    off_t    offset;
    ssize_t  n;

    for (offset = b->file_pos; offset < b->file_last; offset += n) {

        n = ngx_read_file(b->file, p, (size_t) (b->file_last - offset), offset);

        if (n == NGX_ERROR) {
            return NULL;
        }

        if (n == 0) {
            ngx_log_error(NGX_LOG_ERR, b->file->log, 0,
                          "request body file \"%V\" is truncated",
                          &b->file->name);
            return NULL;
        }

        p += n;
    }

    return p;
}


static ngx_uint_t
ngx_http_billing_body_is_blank(ngx_str_t *text)
{
    u_char  *p, *last;

    last = text->data + text->len;

    for (p = text->data; p < last; p++) {
        if (*p != ' ' && (*p < '\t' || *p > CR)) {
            return 0;
        }
    }

    return 1;
}


/* a Content-Type is JSON as in Laravel, but the case does not matter */

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
ngx_http_billing_body_parse(ngx_http_request_t *r,
    ngx_http_billing_values_t *values, ngx_str_t *text, ngx_str_t *error)
{
    u_char                         *p;
    ngx_int_t                       rc;
    ngx_http_billing_body_t         body;
    ngx_http_billing_json_error_t   wrong;

    ngx_memzero(&body, sizeof(ngx_http_billing_body_t));

    body.values = values;
    body.param = NGX_HTTP_BILLING_PARAMS;

    rc = ngx_http_billing_json_parse(r->pool, text,
                                     &ngx_http_billing_body_callbacks, &body,
                                     &wrong);

    if (rc == NGX_OK || rc == NGX_ERROR) {
        return rc;
    }

    if (rc == NGX_ABORT) {

        if (body.error == NULL) {
            return NGX_ERROR;
        }

        wrong.reason.data = (u_char *) body.error;
        wrong.reason.len = ngx_strlen(body.error);
    }

    p = ngx_pnalloc(r->pool, sizeof("The body is not valid JSON: , at byte .")
                             + wrong.reason.len + NGX_SIZE_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    error->data = p;
    error->len = ngx_sprintf(p, "The body is not valid JSON: %V, at byte %uz.",
                             &wrong.reason, wrong.offset)
                 - p;

    return NGX_DECLINED;
}


/*
 * Sets where the next value belongs, or NULL if the value is ignored.  As each
 * of yajl's callbacks, returns 1 to go on and 0 to cancel.
 */

static int
ngx_http_billing_body_place(ngx_http_billing_body_t *body,
    ngx_http_billing_value_t **value)
{
    *value = NULL;

    if (body->depth == 1) {
        body->array = NULL;

        if (body->param != NGX_HTTP_BILLING_PARAMS) {
            *value = &body->values->param[body->param];
        }

        return 1;
    }

    if (body->array == NULL || body->depth == 0) {
        return 1;
    }

    if (body->depth == 2) {

        if (!body->keyed) {
            body->member = ngx_http_billing_value_member(body->values,
                                                         body->array, NULL);
        }

        *value = body->member;
        return body->member != NULL;
    }

    if (body->depth == 3) {
        body->member->size++;
    }

    return 1;
}


static int
ngx_http_billing_body_set(ngx_http_billing_body_t *body,
    ngx_http_billing_value_e type)
{
    ngx_http_billing_value_t  *value;

    if (!ngx_http_billing_body_place(body, &value)) {
        return 0;
    }

    if (value) {
        ngx_http_billing_value_set(value, type);
    }

    return 1;
}


static int
ngx_http_billing_body_open(ngx_http_billing_body_t *body, ngx_uint_t keyed)
{
    ngx_http_billing_value_t  *value;

    if (body->depth == NGX_HTTP_BILLING_BODY_DEPTH) {
        body->error = "it is nested too deep";
        return 0;
    }

    if (!ngx_http_billing_body_place(body, &value)) {
        return 0;
    }

    if (value && body->depth == 1) {

        if (ngx_http_billing_value_array(body->values, value) != NGX_OK) {
            return 0;
        }

        body->array = value;
        body->keyed = keyed;

    } else if (value) {
        ngx_http_billing_value_set(value, NGX_HTTP_BILLING_VALUE_ARRAY);
    }

    body->depth++;

    return 1;
}


static int
ngx_http_billing_body_null(void *ctx)
{
    return ngx_http_billing_body_set(ctx, NGX_HTTP_BILLING_VALUE_NULL);
}


static int
ngx_http_billing_body_boolean(void *ctx, int boolean)
{
    return ngx_http_billing_body_set(ctx, NGX_HTTP_BILLING_VALUE_OTHER);
}


static int
ngx_http_billing_body_number(void *ctx, const char *p, size_t len)
{
    ngx_http_billing_body_t *body = ctx;

    ngx_uint_t                 keep;
    ngx_http_billing_value_t  *value;

    if (!ngx_http_billing_body_place(body, &value)) {
        return 0;
    }

    keep = (body->param != NGX_HTTP_BILLING_PARAM_IDS);

    return value == NULL
           || ngx_http_billing_value_number(body->values, value,
                                            (const u_char *) p, len, keep)
              == NGX_OK;
}


static int
ngx_http_billing_body_string(void *ctx, const unsigned char *p, size_t len)
{
    ngx_http_billing_body_t *body = ctx;

    ngx_http_billing_value_t  *value;

    if (!ngx_http_billing_body_is_utf8(p, len)) {
        body->error = "a string is not valid UTF-8";
        return 0;
    }

    if (!ngx_http_billing_body_place(body, &value)) {
        return 0;
    }

    return value == NULL
           || ngx_http_billing_value_string(body->values, value, p, len)
              == NGX_OK;
}


static int
ngx_http_billing_body_start_map(void *ctx)
{
    return ngx_http_billing_body_open(ctx, 1);
}


static int
ngx_http_billing_body_map_key(void *ctx, const unsigned char *p, size_t len)
{
    ngx_http_billing_body_t *body = ctx;

    ngx_str_t  key;

    if (!ngx_http_billing_body_is_utf8(p, len)) {
        body->error = "a key is not valid UTF-8";
        return 0;
    }

    if (body->depth == 1) {
        body->param = ngx_http_billing_value_find(p, len);
        return 1;
    }

    if (body->depth == 2 && body->array) {
        key.data = (u_char *) p;
        key.len = len;

        body->member = ngx_http_billing_value_member(body->values, body->array,
                                                     &key);
        return body->member != NULL;
    }

    return 1;
}


static int
ngx_http_billing_body_start_array(void *ctx)
{
    return ngx_http_billing_body_open(ctx, 0);
}


static int
ngx_http_billing_body_end(void *ctx)
{
    ngx_http_billing_body_t *body = ctx;

    body->depth--;

    return 1;
}


static ngx_uint_t
ngx_http_billing_body_is_utf8(const u_char *p, size_t len)
{
    ngx_str_t  text;

    text.data = (u_char *) p;
    text.len = len;

    return ngx_http_billing_json_utf8_length(&text) != NGX_ERROR;
}
