
#include "ngx_http_billing_params.h"
#include "ngx_http_billing_params_value.h"
#include "ngx_http_billing_json.h"


#define NGX_HTTP_BILLING_PARAMS_MAX_CHARS  255

/* what a message holds besides the key, at the most */

#define NGX_HTTP_BILLING_PARAMS_MESSAGE    256


typedef struct {
    ngx_pool_t                 *pool;
    ngx_http_billing_value_t   *values;
    ngx_http_billing_params_t  *params;
    ngx_uint_t                  max_ids;
} ngx_http_billing_params_ctx_t;


static ngx_uint_t ngx_http_billing_params_sent(ngx_http_billing_value_t *value);
static ngx_int_t ngx_http_billing_params_check(
    ngx_http_billing_params_ctx_t *ctx);
static ngx_int_t ngx_http_billing_params_check_list(
    ngx_http_billing_params_ctx_t *ctx, ngx_uint_t param);
static ngx_int_t ngx_http_billing_params_check_member(
    ngx_http_billing_params_ctx_t *ctx, ngx_uint_t param,
    ngx_http_billing_scalar_t *member, ngx_uint_t n);
static ngx_int_t ngx_http_billing_params_check_login(
    ngx_http_billing_params_ctx_t *ctx);
static ngx_int_t ngx_http_billing_params_integer(ngx_str_t *text,
    int64_t *value);
static ngx_int_t ngx_http_billing_params_required(
    ngx_http_billing_params_ctx_t *ctx);
static ngx_int_t ngx_http_billing_params_error(
    ngx_http_billing_params_ctx_t *ctx, ngx_str_t *key, const char *fmt, ...);


static ngx_str_t  ngx_http_billing_params_names[] = {
    ngx_string("cameras_ids"),
    ngx_string("cameras_uuid"),
    ngx_string("login")
};


/* as Laravel writes a parameter that is no member of an array */

static ngx_str_t  ngx_http_billing_params_titles[] = {
    ngx_string("cameras ids"),
    ngx_string("cameras uuid"),
    ngx_string("login")
};


static ngx_str_t  ngx_http_billing_params_body_name = ngx_string("body");


ngx_int_t
ngx_http_billing_params(ngx_http_request_t *r,
    ngx_http_billing_params_t *params, ngx_uint_t max_ids)
{
    ngx_int_t                      rc;
    ngx_str_t                      error;
    ngx_uint_t                     i, ignored;
    ngx_http_billing_value_t       body[NGX_HTTP_BILLING_PARAMS];
    ngx_http_billing_value_t       values[NGX_HTTP_BILLING_PARAMS];
    ngx_http_billing_params_ctx_t  ctx;

    ngx_memzero(params, sizeof(ngx_http_billing_params_t));
    ngx_memzero(body, sizeof(body));
    ngx_memzero(values, sizeof(values));

    ctx.pool = r->pool;
    ctx.values = values;
    ctx.params = params;
    ctx.max_ids = max_ids;

    if (ngx_array_init(&params->ids, r->pool, 4, sizeof(int64_t)) != NGX_OK
        || ngx_array_init(&params->uuids, r->pool, 4, sizeof(ngx_str_t))
           != NGX_OK
        || ngx_array_init(&params->errors, r->pool, 4,
                          sizeof(ngx_http_billing_error_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_billing_params_query(r, values, max_ids) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = ngx_http_billing_params_body(r, body, max_ids, &error, &ignored);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED) {
        return ngx_http_billing_params_error(&ctx,
                                             &ngx_http_billing_params_body_name,
                                             "%V", &error);
    }

    for (i = 0; i < NGX_HTTP_BILLING_PARAMS; i++) {
        if (ngx_http_billing_params_sent(&body[i])) {
            values[i] = body[i];
        }
    }

    params->has_ids = ngx_http_billing_params_sent(&values[0]);
    params->has_uuids = ngx_http_billing_params_sent(&values[1]);
    params->has_login = ngx_http_billing_params_sent(&values[2]);

    if (params->has_ids || params->has_uuids || params->has_login) {
        return ngx_http_billing_params_check(&ctx);
    }

    if (ignored) {
        return ngx_http_billing_params_error(&ctx,
                                             &ngx_http_billing_params_body_name,
                                             "The body was ignored because its "
                                             "Content-Type is not JSON.");
    }

    return ngx_http_billing_params_required(&ctx);
}


ngx_uint_t
ngx_http_billing_params_find(u_char *name, size_t len)
{
    ngx_str_t   *known;
    ngx_uint_t   i;

    known = ngx_http_billing_params_names;

    for (i = 0; i < NGX_HTTP_BILLING_PARAMS; i++) {
        if (known[i].len == len && ngx_memcmp(known[i].data, name, len) == 0) {
            break;
        }
    }

    return i;
}


ngx_int_t
ngx_http_billing_value_list(ngx_http_billing_value_t *value, ngx_pool_t *pool)
{
    ngx_memzero(value, sizeof(ngx_http_billing_value_t));

    value->scalar.type = NGX_HTTP_BILLING_VALUE_LIST;

    return ngx_array_init(&value->members, pool, 4,
                          sizeof(ngx_http_billing_scalar_t));
}


ngx_int_t
ngx_http_billing_value_push(ngx_http_billing_value_t *value,
    ngx_http_billing_scalar_t *member, ngx_uint_t max)
{
    ngx_http_billing_scalar_t  *scalar;

    if (value->count++ >= max) {
        return NGX_OK;
    }

    scalar = ngx_array_push(&value->members);
    if (scalar == NULL) {
        return NGX_ERROR;
    }

    *scalar = *member;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_billing_params_sent(ngx_http_billing_value_t *value)
{
    u_char      ch;
    ngx_str_t  *text;
    ngx_uint_t  i;

    switch (value->scalar.type) {

    case NGX_HTTP_BILLING_VALUE_NONE:
        return 0;

    case NGX_HTTP_BILLING_VALUE_LIST:
        return value->count != 0;

    case NGX_HTTP_BILLING_VALUE_STRING:
        text = &value->scalar.text;

        for (i = 0; i < text->len; i++) {
            ch = text->data[i];

            if (ch != ' ' && (ch < '\t' || ch > CR)) {
                return 1;
            }
        }

        return 0;

    default:
        return 1;
    }
}


static ngx_int_t
ngx_http_billing_params_check(ngx_http_billing_params_ctx_t *ctx)
{
    ngx_http_billing_params_t  *params;

    params = ctx->params;

    if (params->has_ids
        && ngx_http_billing_params_check_list(ctx, NGX_HTTP_BILLING_PARAM_IDS)
           == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    if (params->has_uuids
        && ngx_http_billing_params_check_list(ctx, NGX_HTTP_BILLING_PARAM_UUIDS)
           == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    if (params->has_login
        && ngx_http_billing_params_check_login(ctx) == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    return params->errors.nelts ? NGX_DECLINED : NGX_OK;
}


static ngx_int_t
ngx_http_billing_params_check_list(ngx_http_billing_params_ctx_t *ctx,
    ngx_uint_t param)
{
    ngx_str_t                  *name, *title;
    ngx_uint_t                  i;
    ngx_http_billing_value_t   *value;
    ngx_http_billing_scalar_t  *member;

    name = &ngx_http_billing_params_names[param];
    title = &ngx_http_billing_params_titles[param];
    value = &ctx->values[param];

    if (value->scalar.type != NGX_HTTP_BILLING_VALUE_LIST) {
        return ngx_http_billing_params_error(ctx, name,
                                             "The %V field must be an array.",
                                             title);
    }

    if (value->count > ctx->max_ids
        && ngx_http_billing_params_error(ctx, name,
                                         "The %V field must not have more than "
                                         "%ui items.", title, ctx->max_ids)
           == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    member = value->members.elts;

    for (i = 0; i < value->members.nelts; i++) {
        if (ngx_http_billing_params_check_member(ctx, param, &member[i], i)
            == NGX_ERROR)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_params_check_member(ngx_http_billing_params_ctx_t *ctx,
    ngx_uint_t param, ngx_http_billing_scalar_t *member, ngx_uint_t n)
{
    u_char      *p;
    int64_t      id, *idp;
    ngx_str_t    key, *name, *uuid;
    const char  *fmt;

    fmt = NULL;

    if (param == NGX_HTTP_BILLING_PARAM_IDS) {

        if (member->type == NGX_HTTP_BILLING_VALUE_OTHER
            || ngx_http_billing_params_integer(&member->text, &id) != NGX_OK)
        {
            fmt = "The %V field must be an integer.";

        } else if (id > 0) {
            idp = ngx_array_push(&ctx->params->ids);
            if (idp == NULL) {
                return NGX_ERROR;
            }

            *idp = id;
        }

    } else if (member->type != NGX_HTTP_BILLING_VALUE_STRING
               && member->type != NGX_HTTP_BILLING_VALUE_INTEGER)
    {
        fmt = "The %V field must be a string.";

    } else if (ngx_http_billing_json_utf8_length(&member->text)
               > NGX_HTTP_BILLING_PARAMS_MAX_CHARS)
    {
        fmt = "The %V field must not be greater than 255 characters.";

    } else {
        uuid = ngx_array_push(&ctx->params->uuids);
        if (uuid == NULL) {
            return NGX_ERROR;
        }

        *uuid = member->text;
    }

    if (fmt == NULL) {
        return NGX_OK;
    }

    name = &ngx_http_billing_params_names[param];

    key.len = name->len + 1 + NGX_INT_T_LEN + member->key.len;
    key.data = ngx_pnalloc(ctx->pool, key.len);
    if (key.data == NULL) {
        return NGX_ERROR;
    }

    p = member->key.len ? ngx_sprintf(key.data, "%V.%V", name, &member->key)
                        : ngx_sprintf(key.data, "%V.%ui", name, n);

    key.len = p - key.data;

    return ngx_http_billing_params_error(ctx, &key, fmt, &key);
}


static ngx_int_t
ngx_http_billing_params_check_login(ngx_http_billing_params_ctx_t *ctx)
{
    ngx_str_t                  *name;
    ngx_http_billing_scalar_t  *login;

    name = &ngx_http_billing_params_names[NGX_HTTP_BILLING_PARAM_LOGIN];
    login = &ctx->values[NGX_HTTP_BILLING_PARAM_LOGIN].scalar;

    if (login->type != NGX_HTTP_BILLING_VALUE_STRING) {
        return ngx_http_billing_params_error(ctx, name,
                                             "The %V field must be a string.",
                                             name);
    }

    if (ngx_http_billing_json_utf8_length(&login->text)
        > NGX_HTTP_BILLING_PARAMS_MAX_CHARS)
    {
        return ngx_http_billing_params_error(ctx, name,
                                             "The %V field must not be greater "
                                             "than 255 characters.", name);
    }

    ctx->params->login = login->text;

    return NGX_OK;
}


/* an integer as JSON writes it, of 64 bits */

static ngx_int_t
ngx_http_billing_params_integer(ngx_str_t *text, int64_t *value)
{
    off_t       n;
    u_char     *p;
    size_t      len;
    ngx_uint_t  negative;

    p = text->data;
    len = text->len;

    negative = (len && *p == '-');

    if (negative) {
        p++;
        len--;
    }

    if (len > 1 && *p == '0') {
        return NGX_ERROR;
    }

    n = ngx_atoof(p, len);

    if (n == NGX_ERROR) {

        /* the least number has no positive counterpart */

        if (!negative || len != sizeof("9223372036854775808") - 1
            || ngx_memcmp(p, "9223372036854775808", len) != 0)
        {
            return NGX_ERROR;
        }

        n = NGX_MAX_OFF_T_VALUE;
    }

    *value = negative ? -n : n;

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_params_required(ngx_http_billing_params_ctx_t *ctx)
{
    ngx_str_t   *titles;
    ngx_uint_t   i;

    titles = ngx_http_billing_params_titles;

    for (i = 0; i < NGX_HTTP_BILLING_PARAMS; i++) {

        if (ngx_http_billing_params_error(ctx,
                                          &ngx_http_billing_params_names[i],
                                          "The %V field is required when none "
                                          "of %V / %V are present.",
                                          &titles[i], &titles[i == 0],
                                          &titles[i == 2 ? 1 : 2])
            == NGX_ERROR)
        {
            return NGX_ERROR;
        }
    }

    return NGX_DECLINED;
}


/* returns NGX_DECLINED, as there is an error now, or NGX_ERROR */

static ngx_int_t
ngx_http_billing_params_error(ngx_http_billing_params_ctx_t *ctx,
    ngx_str_t *key, const char *fmt, ...)
{
    u_char                     *p, *last;
    va_list                     args;
    ngx_http_billing_error_t   *error;

    error = ngx_array_push(&ctx->params->errors);
    if (error == NULL) {
        return NGX_ERROR;
    }

    error->message.len = key->len + NGX_HTTP_BILLING_PARAMS_MESSAGE;

    p = ngx_pnalloc(ctx->pool, error->message.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    va_start(args, fmt);
    last = ngx_vslprintf(p, p + error->message.len, fmt, args);
    va_end(args);

    error->key = *key;
    error->message.data = p;
    error->message.len = last - p;

    return NGX_DECLINED;
}
