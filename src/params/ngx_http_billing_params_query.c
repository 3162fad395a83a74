
#include "ngx_http_billing_params_value.h"
#include "ngx_http_billing_json.h"


/* digits of an array's key that certainly fit an integer */

#define NGX_HTTP_BILLING_QUERY_DIGITS  9


typedef struct {
    ngx_pool_t                *pool;
    ngx_http_billing_value_t  *values;
    ngx_uint_t                 max;

    /* for each parameter, the key that "name[]" is to have */
    ngx_uint_t                 next[NGX_HTTP_BILLING_PARAMS];
} ngx_http_billing_query_t;


static ngx_int_t ngx_http_billing_query_pair(ngx_http_billing_query_t *query,
    u_char *p, u_char *last);
static ngx_int_t ngx_http_billing_query_unescape(ngx_pool_t *pool,
    ngx_str_t *text, u_char *p, u_char *last);
static ngx_int_t ngx_http_billing_query_member(ngx_http_billing_query_t *query,
    ngx_uint_t param, ngx_str_t *key, ngx_http_billing_scalar_t *scalar);
static ngx_int_t ngx_http_billing_query_key(ngx_http_billing_query_t *query,
    ngx_uint_t param, ngx_str_t *key);
static ngx_http_billing_scalar_t *ngx_http_billing_query_find(
    ngx_http_billing_value_t *value, ngx_str_t *key);


ngx_int_t
ngx_http_billing_params_query(ngx_http_request_t *r,
    ngx_http_billing_value_t *values, ngx_uint_t max)
{
    u_char                    *p, *last, *end;
    ngx_http_billing_query_t   query;

    ngx_memzero(&query, sizeof(ngx_http_billing_query_t));

    query.pool = r->pool;
    query.values = values;
    query.max = max;

    p = r->args.data;
    last = p + r->args.len;

    for ( /* void */ ; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, '&');

        if (end == NULL) {
            end = last;
        }

        if (ngx_http_billing_query_pair(&query, p, end) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* "name=value", "name[]=value", "name[key]=value" */

static ngx_int_t
ngx_http_billing_query_pair(ngx_http_billing_query_t *query, u_char *p,
    u_char *last)
{
    u_char                     *eq, *open, *close, *end;
    ngx_str_t                   name, key;
    ngx_uint_t                  param;
    ngx_http_billing_scalar_t   scalar;

    eq = ngx_strlchr(p, last, '=');

    if (ngx_http_billing_query_unescape(query->pool, &name, p, eq ? eq : last)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    end = name.data + name.len;

    open = ngx_strlchr(name.data, end, '[');
    close = open ? ngx_strlchr(open, end, ']') : NULL;

    if (open && close == NULL) {
        return NGX_OK;
    }

    param = ngx_http_billing_params_find(name.data,
                                         (open ? open : end) - name.data);

    if (param == NGX_HTTP_BILLING_PARAMS) {
        return NGX_OK;
    }

    ngx_memzero(&scalar, sizeof(ngx_http_billing_scalar_t));

    scalar.type = NGX_HTTP_BILLING_VALUE_STRING;

    if (ngx_http_billing_query_unescape(query->pool, &scalar.text,
                                        eq ? eq + 1 : last, last)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_billing_json_utf8_length(&scalar.text) == NGX_ERROR) {
        scalar.type = NGX_HTTP_BILLING_VALUE_OTHER;
    }

    if (open == NULL) {
        query->values[param].scalar = scalar;
        return NGX_OK;
    }

    key.data = open + 1;
    key.len = close - key.data;

    /* "name[key][...]" is an array in an array */

    if (close + 1 < end && close[1] == '[') {
        scalar.type = NGX_HTTP_BILLING_VALUE_OTHER;
    }

    return ngx_http_billing_query_member(query, param, &key, &scalar);
}


/* ngx_unescape_uri() keeps a plus, and drops a percent that escapes nothing */

static ngx_int_t
ngx_http_billing_query_unescape(ngx_pool_t *pool, ngx_str_t *text, u_char *p,
    u_char *last)
{
    u_char     *dst;
    ngx_int_t   n;

    dst = ngx_pnalloc(pool, last - p + 1);
    if (dst == NULL) {
        return NGX_ERROR;
    }

    text->data = dst;

    while (p < last) {

        if (*p == '%' && last - p > 2) {
            n = ngx_hextoi(p + 1, 2);

            if (n != NGX_ERROR) {
                *dst++ = (u_char) n;
                p += 3;
                continue;
            }
        }

        *dst++ = (*p == '+') ? ' ' : *p;
        p++;
    }

    text->len = dst - text->data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_query_member(ngx_http_billing_query_t *query,
    ngx_uint_t param, ngx_str_t *key, ngx_http_billing_scalar_t *scalar)
{
    ngx_http_billing_value_t   *value;
    ngx_http_billing_scalar_t  *member;

    /* no error could be keyed by it */

    if (ngx_http_billing_json_utf8_length(key) == NGX_ERROR) {
        return NGX_OK;
    }

    value = &query->values[param];

    if (value->scalar.type != NGX_HTTP_BILLING_VALUE_LIST) {

        if (ngx_http_billing_value_list(value, query->pool) != NGX_OK) {
            return NGX_ERROR;
        }

        query->next[param] = 0;
    }

    if (ngx_http_billing_query_key(query, param, key) != NGX_OK) {
        return NGX_ERROR;
    }

    member = ngx_http_billing_query_find(value, key);

    if (member) {
        member->type = scalar->type;
        member->text = scalar->text;
        return NGX_OK;
    }

    scalar->key = *key;

    return ngx_http_billing_value_push(value, scalar, query->max);
}


/* an empty key becomes the one after the greatest number so far */

static ngx_int_t
ngx_http_billing_query_key(ngx_http_billing_query_t *query, ngx_uint_t param,
    ngx_str_t *key)
{
    ngx_int_t  n;

    if (key->len == 0) {

        key->data = ngx_pnalloc(query->pool, NGX_INT_T_LEN);
        if (key->data == NULL) {
            return NGX_ERROR;
        }

        key->len = ngx_sprintf(key->data, "%ui", query->next[param]++)
                   - key->data;

        return NGX_OK;
    }

    if (key->len > NGX_HTTP_BILLING_QUERY_DIGITS
        || (key->len > 1 && key->data[0] == '0'))
    {
        return NGX_OK;
    }

    n = ngx_atoi(key->data, key->len);

    if (n != NGX_ERROR && (ngx_uint_t) n >= query->next[param]) {
        query->next[param] = n + 1;
    }

    return NGX_OK;
}


static ngx_http_billing_scalar_t *
ngx_http_billing_query_find(ngx_http_billing_value_t *value, ngx_str_t *key)
{
    ngx_uint_t                  i;
    ngx_http_billing_scalar_t  *member;

    member = value->members.elts;

    for (i = 0; i < value->members.nelts; i++) {
        if (member[i].key.len == key->len
            && ngx_memcmp(member[i].key.data, key->data, key->len) == 0)
        {
            return &member[i];
        }
    }

    return NULL;
}
