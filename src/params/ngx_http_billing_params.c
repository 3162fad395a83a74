
#include "ngx_http_billing_params.h"
#include "ngx_http_billing_params_body.h"
#include "ngx_http_billing_params_query.h"
#include "ngx_http_billing_params_value.h"
#include "ngx_http_billing_json.h"


/* bytes of a message without the names in it, at most */

#define NGX_HTTP_BILLING_PARAMS_MESSAGE  256


typedef struct {
    ngx_pool_t                 *pool;
    ngx_http_billing_value_t   *values;
    ngx_http_billing_params_t  *params;
    ngx_uint_t                  max_ids;

    /* set if bytes of a key became '?': two keys may read the same now */
    ngx_uint_t                  masked;
} ngx_http_billing_params_ctx_t;


static void ngx_http_billing_params_merge(ngx_http_billing_values_t *body,
    ngx_http_billing_values_t *query);
static ngx_int_t ngx_http_billing_params_check(
    ngx_http_billing_params_ctx_t *ctx);
static ngx_int_t ngx_http_billing_params_check_array(
    ngx_http_billing_params_ctx_t *ctx, ngx_uint_t param);
static ngx_int_t ngx_http_billing_params_check_login(
    ngx_http_billing_params_ctx_t *ctx);
static ngx_int_t ngx_http_billing_params_check_members(
    ngx_http_billing_params_ctx_t *ctx, ngx_uint_t param);
static ngx_int_t ngx_http_billing_params_check_id(
    ngx_http_billing_params_ctx_t *ctx, ngx_http_billing_value_t *value,
    ngx_uint_t n);
static ngx_int_t ngx_http_billing_params_check_uuid(
    ngx_http_billing_params_ctx_t *ctx, ngx_http_billing_value_t *value,
    ngx_uint_t n);
static ngx_int_t ngx_http_billing_params_required(
    ngx_http_billing_params_ctx_t *ctx);
static ngx_int_t ngx_http_billing_params_member(
    ngx_http_billing_params_ctx_t *ctx, ngx_uint_t param,
    ngx_http_billing_value_t *value, ngx_uint_t n, ngx_str_t *key,
    ngx_str_t *title);
static ngx_uint_t ngx_http_billing_params_is_named(
    ngx_http_billing_params_ctx_t *ctx, ngx_str_t *key);
static ngx_uint_t ngx_http_billing_params_is_plain(ngx_str_t *key);
static u_char *ngx_http_billing_params_snake(u_char *p, ngx_str_t *key);
static ngx_int_t ngx_http_billing_params_error(
    ngx_http_billing_params_ctx_t *ctx, const ngx_str_t *key,
    const char *fmt, ...);


/* the names of parameters in messages, as Laravel writes them */

static const ngx_str_t  ngx_http_billing_params_titles[] = {
    ngx_string("cameras ids"),
    ngx_string("cameras uuid"),
    ngx_string("login")
};


static const ngx_str_t  ngx_http_billing_params_body_name = ngx_string("body");


ngx_int_t
ngx_http_billing_params(ngx_http_request_t *r,
    ngx_http_billing_params_t *params, ngx_uint_t max_ids)
{
    ngx_int_t                      rc;
    ngx_str_t                      error;
    ngx_uint_t                     ignored;
    ngx_http_billing_value_t      *value;
    ngx_http_billing_values_t      body, query;
    ngx_http_billing_params_ctx_t  ctx;

    ngx_memzero(params, sizeof(ngx_http_billing_params_t));
    ngx_memzero(&body, sizeof(ngx_http_billing_values_t));

    body.pool = r->pool;
    body.max = max_ids;

    query = body;

    ctx.pool = r->pool;
    ctx.values = body.param;
    ctx.params = params;
    ctx.max_ids = max_ids;
    ctx.masked = 0;

    if (ngx_array_init(&params->ids, r->pool, 4, sizeof(int64_t)) != NGX_OK
        || ngx_array_init(&params->uuids, r->pool, 4, sizeof(ngx_str_t))
           != NGX_OK
        || ngx_array_init(&params->errors, r->pool, 4,
                          sizeof(ngx_http_billing_error_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = ngx_http_billing_params_body(r, &body, &error, &ignored);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED) {
        rc = ngx_http_billing_params_error(&ctx,
                                           &ngx_http_billing_params_body_name,
                                           "%V", &error);

        return (rc == NGX_OK) ? NGX_DECLINED : NGX_ERROR;
    }

    if (ngx_http_billing_params_query(r, &query) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_billing_params_merge(&body, &query);

    value = body.param;

    if (ngx_http_billing_value_is_sent(&value[NGX_HTTP_BILLING_PARAM_IDS])) {
        params->has_ids = 1;
    }

    if (ngx_http_billing_value_is_sent(&value[NGX_HTTP_BILLING_PARAM_UUIDS])) {
        params->has_uuids = 1;
    }

    if (ngx_http_billing_value_is_sent(&value[NGX_HTTP_BILLING_PARAM_LOGIN])) {
        params->has_login = 1;
    }

    if (params->has_ids || params->has_uuids || params->has_login) {
        rc = ngx_http_billing_params_check(&ctx);

    } else if (ignored) {
        rc = ngx_http_billing_params_error(&ctx,
                                           &ngx_http_billing_params_body_name,
                                           "The body was ignored because its "
                                           "Content-Type is not JSON.");

    } else {
        rc = ngx_http_billing_params_required(&ctx);
    }

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    return params->errors.nelts ? NGX_DECLINED : NGX_OK;
}


/* a parameter that the body sends as null or empty is the query string's */

static void
ngx_http_billing_params_merge(ngx_http_billing_values_t *body,
    ngx_http_billing_values_t *query)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_BILLING_PARAMS; i++) {
        if (!ngx_http_billing_value_is_sent(&body->param[i])
            && ngx_http_billing_value_is_sent(&query->param[i]))
        {
            body->param[i] = query->param[i];
        }
    }
}


/* errors come in Laravel's order: parameters first, then members of arrays */

static ngx_int_t
ngx_http_billing_params_check(ngx_http_billing_params_ctx_t *ctx)
{
    if (ngx_http_billing_params_check_array(ctx, NGX_HTTP_BILLING_PARAM_IDS)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_billing_params_check_array(ctx, NGX_HTTP_BILLING_PARAM_UUIDS)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_billing_params_check_login(ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_billing_params_check_members(ctx, NGX_HTTP_BILLING_PARAM_IDS)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_billing_params_check_members(ctx,
                                                 NGX_HTTP_BILLING_PARAM_UUIDS);
}


static ngx_int_t
ngx_http_billing_params_check_array(ngx_http_billing_params_ctx_t *ctx,
    ngx_uint_t param)
{
    ngx_uint_t                 i, too_long;
    const ngx_str_t           *name, *title;
    ngx_http_billing_value_t  *value, *member;

    name = &ngx_http_billing_params_names[param];
    title = &ngx_http_billing_params_titles[param];
    value = &ctx->values[param];

    if (value->type == NGX_HTTP_BILLING_VALUE_NULL) {
        return NGX_OK;
    }

    if (value->type != NGX_HTTP_BILLING_VALUE_ARRAY
        && ngx_http_billing_params_error(ctx, name,
                                         "The %V field must be an array.",
                                         title)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* Laravel's rule "max" counts a string's characters as items */

    if (value->size > ctx->max_ids
        && value->type != NGX_HTTP_BILLING_VALUE_INTEGER
        && ngx_http_billing_params_error(ctx, name,
                                         "The %V field must not have more than "
                                         "%ui items.", title, ctx->max_ids)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (value->type != NGX_HTTP_BILLING_VALUE_ARRAY) {
        return NGX_OK;
    }

    too_long = 0;
    member = value->array->members.elts;

    for (i = 0; i < value->array->members.nelts; i++) {
        too_long |= member[i].key_too_long;
    }

    if (too_long) {
        return ngx_http_billing_params_error(ctx, name,
                                             "The %V field must not have keys "
                                             "of more than %d characters.",
                                             title,
                                             NGX_HTTP_BILLING_VALUE_CHARS);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_params_check_login(ngx_http_billing_params_ctx_t *ctx)
{
    const ngx_str_t           *name;
    ngx_http_billing_value_t  *value;

    name = &ngx_http_billing_params_names[NGX_HTTP_BILLING_PARAM_LOGIN];
    value = &ctx->values[NGX_HTTP_BILLING_PARAM_LOGIN];

    if (value->type == NGX_HTTP_BILLING_VALUE_NULL) {
        return NGX_OK;
    }

    if (value->type != NGX_HTTP_BILLING_VALUE_STRING
        && ngx_http_billing_params_error(ctx, name,
                                         "The %V field must be a string.", name)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* Laravel's rule "max" counts an array's members as characters */

    if (value->size > NGX_HTTP_BILLING_VALUE_CHARS
        && value->type != NGX_HTTP_BILLING_VALUE_INTEGER)
    {
        return ngx_http_billing_params_error(ctx, name,
                                             "The %V field must not be greater "
                                             "than %d characters.", name,
                                             NGX_HTTP_BILLING_VALUE_CHARS);
    }

    ctx->params->login = value->text;

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_params_check_members(ngx_http_billing_params_ctx_t *ctx,
    ngx_uint_t param)
{
    ngx_int_t                  rc;
    ngx_uint_t                 i, nested;
    ngx_http_billing_value_t  *value, *member;

    value = &ctx->values[param];

    if (value->type != NGX_HTTP_BILLING_VALUE_ARRAY) {
        return NGX_OK;
    }

    member = value->array->members.elts;

    /* Laravel judges non-empty nested arrays after all other members */

    for (nested = 0; nested < 2; nested++) {

        for (i = 0; i < value->array->members.nelts; i++) {

            if (member[i].key_too_long
                || ngx_http_billing_value_is_nested(&member[i]) != nested)
            {
                continue;
            }

            rc = (param == NGX_HTTP_BILLING_PARAM_IDS)
                 ? ngx_http_billing_params_check_id(ctx, &member[i], i)
                 : ngx_http_billing_params_check_uuid(ctx, &member[i], i);

            if (rc != NGX_OK) {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_params_check_id(ngx_http_billing_params_ctx_t *ctx,
    ngx_http_billing_value_t *value, ngx_uint_t n)
{
    int64_t    *id;
    ngx_int_t   rc;
    ngx_str_t   key, title;

    if (!value->integer) {

        rc = ngx_http_billing_params_member(ctx, NGX_HTTP_BILLING_PARAM_IDS,
                                            value, n, &key, &title);

        if (rc != NGX_OK) {
            return (rc == NGX_DECLINED) ? NGX_OK : NGX_ERROR;
        }

        return ngx_http_billing_params_error(ctx, &key,
                                             "The %V field must be an integer.",
                                             &title);
    }

    if (value->number > 0) {
        id = ngx_array_push(&ctx->params->ids);
        if (id == NULL) {
            return NGX_ERROR;
        }

        *id = value->number;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_params_check_uuid(ngx_http_billing_params_ctx_t *ctx,
    ngx_http_billing_value_t *value, ngx_uint_t n)
{
    ngx_int_t   rc;
    ngx_str_t   key, title, *uuid;
    ngx_uint_t  is_text, too_long;

    is_text = (value->type == NGX_HTTP_BILLING_VALUE_STRING
               || value->type == NGX_HTTP_BILLING_VALUE_INTEGER);

    too_long = (value->size > NGX_HTTP_BILLING_VALUE_CHARS);

    if (is_text && !too_long) {
        uuid = ngx_array_push(&ctx->params->uuids);
        if (uuid == NULL) {
            return NGX_ERROR;
        }

        *uuid = value->text;

        return NGX_OK;
    }

    rc = ngx_http_billing_params_member(ctx, NGX_HTTP_BILLING_PARAM_UUIDS,
                                        value, n, &key, &title);

    if (rc != NGX_OK) {
        return (rc == NGX_DECLINED) ? NGX_OK : NGX_ERROR;
    }

    if (!is_text
        && ngx_http_billing_params_error(ctx, &key,
                                         "The %V field must be a string.",
                                         &title)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (too_long) {
        return ngx_http_billing_params_error(ctx, &key,
                                             "The %V field must not be greater "
                                             "than %d characters.", &title,
                                             NGX_HTTP_BILLING_VALUE_CHARS);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_params_required(ngx_http_billing_params_ctx_t *ctx)
{
    ngx_uint_t        i;
    const ngx_str_t  *titles;

    titles = ngx_http_billing_params_titles;

    for (i = 0; i < NGX_HTTP_BILLING_PARAMS; i++) {

        if (ngx_http_billing_params_error(ctx,
                                          &ngx_http_billing_params_names[i],
                                          "The %V field is required when none "
                                          "of %V / %V are present.",
                                          &titles[i], &titles[i == 0],
                                          &titles[i == 2 ? 1 : 2])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * A member's key in "errors", and its name in the message: the key as it is,
 * unless it has a dot or an asterisk, which Laravel uses for itself.  Returns
 * NGX_OK, NGX_DECLINED if another error has this key, or NGX_ERROR.
 */

static ngx_int_t
ngx_http_billing_params_member(ngx_http_billing_params_ctx_t *ctx,
    ngx_uint_t param, ngx_http_billing_value_t *value, ngx_uint_t n,
    ngx_str_t *key, ngx_str_t *title)
{
    u_char           *p;
    ngx_uint_t        i;
    const ngx_str_t  *name;

    name = &ngx_http_billing_params_names[param];

    key->data = ngx_pnalloc(ctx->pool, name->len + 1 + NGX_INT_T_LEN
                                       + value->key.len);
    if (key->data == NULL) {
        return NGX_ERROR;
    }

    if (value->key.data == NULL) {
        key->len = ngx_sprintf(key->data, "%V.%ui", name, n) - key->data;
        *title = *key;
        return NGX_OK;
    }

    /* JSON cannot hold a key that is not UTF-8 */

    if (ngx_http_billing_json_utf8_length(&value->key) == NGX_ERROR) {
        for (i = 0; i < value->key.len; i++) {
            if (value->key.data[i] >= 0x80) {
                value->key.data[i] = '?';
            }
        }

        ctx->masked = 1;
    }

    key->len = ngx_sprintf(key->data, "%V.%V", name, &value->key) - key->data;
    *title = *key;

    if (ctx->masked && ngx_http_billing_params_is_named(ctx, key)) {
        return NGX_DECLINED;
    }

    if (ngx_http_billing_params_is_plain(&value->key)) {
        return NGX_OK;
    }

    name = &ngx_http_billing_params_titles[param];

    title->data = ngx_pnalloc(ctx->pool, name->len + 1 + 2 * value->key.len);
    if (title->data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(title->data, "%V.", name);
    p = ngx_http_billing_params_snake(p, &value->key);

    title->len = p - title->data;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_billing_params_is_named(ngx_http_billing_params_ctx_t *ctx,
    ngx_str_t *key)
{
    ngx_uint_t                 i;
    ngx_http_billing_error_t  *error;

    error = ctx->params->errors.elts;

    for (i = 0; i < ctx->params->errors.nelts; i++) {
        if (error[i].key.len == key->len
            && ngx_memcmp(error[i].key.data, key->data, key->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_http_billing_params_is_plain(ngx_str_t *key)
{
    u_char  *last;

    last = key->data + key->len;

    return ngx_strlchr(key->data, last, '.') == NULL
           && (key->len == 1 || ngx_strlchr(key->data, last, '*') == NULL);
}


/*
 * Laravel's Str::snake(), with spaces in the place of underscores.  White space
 * is dropped.  A capital becomes a space and a small letter; so does a letter
 * that begins a word.  Letters beyond ASCII stay as they are.
 */

static u_char *
ngx_http_billing_params_snake(u_char *p, ngx_str_t *key)
{
    u_char      ch;
    size_t      i;
    ngx_uint_t  begins;

    begins = 0;

    for (i = 0; i < key->len; i++) {

        ch = key->data[i];

        if (ch == ' ' || (ch >= '\t' && ch <= CR)) {
            begins = 1;
            continue;
        }

        if ((ch >= 'A' && ch <= 'Z') || (begins && ch >= 'a' && ch <= 'z')) {
            *p++ = ' ';
            ch = ngx_tolower(ch);
        }

        *p++ = (ch == '_') ? ' ' : ch;
        begins = 0;
    }

    return p;
}


static ngx_int_t
ngx_http_billing_params_error(ngx_http_billing_params_ctx_t *ctx,
    const ngx_str_t *key, const char *fmt, ...)
{
    size_t                     size;
    u_char                    *p, *last;
    va_list                    args;
    ngx_http_billing_error_t  *error;

    error = ngx_array_push(&ctx->params->errors);
    if (error == NULL) {
        return NGX_ERROR;
    }

    /* a name has at most twice the key's length */

    size = 2 * key->len + NGX_HTTP_BILLING_PARAMS_MESSAGE;

    p = ngx_pnalloc(ctx->pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    va_start(args, fmt);
    last = ngx_vslprintf(p, p + size, fmt, args);
    va_end(args);

    error->key = *key;
    error->message.data = p;
    error->message.len = last - p;

    return NGX_OK;
}
