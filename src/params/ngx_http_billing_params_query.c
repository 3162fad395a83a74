
#include "ngx_http_billing_params_query.h"


/* the next key of "name[]": the greatest integer so far, plus one */

typedef struct {
    int64_t                     key;
    unsigned                    known:1;
    unsigned                    exhausted:1;
} ngx_http_billing_query_next_t;


typedef struct {
    ngx_http_billing_values_t      *values;
    ngx_http_billing_query_next_t   next[NGX_HTTP_BILLING_PARAMS];
} ngx_http_billing_query_t;


/* the parts of "name", "name[key]" or "name[key][...]" */

typedef struct {
    ngx_uint_t                  param;
    ngx_str_t                   key;
    unsigned                    member:1;
    unsigned                    nested:1;
} ngx_http_billing_query_name_t;


static ngx_int_t ngx_http_billing_query_pair(ngx_http_billing_query_t *query,
    u_char *p, u_char *last);
static ngx_int_t ngx_http_billing_query_unescape(ngx_pool_t *pool,
    ngx_str_t *text, u_char *p, u_char *last);
static void ngx_http_billing_query_name(ngx_http_billing_query_name_t *name,
    ngx_str_t *text);
static u_char *ngx_http_billing_query_key(ngx_str_t *key, u_char *p,
    u_char *last);
static ngx_int_t ngx_http_billing_query_member(ngx_http_billing_query_t *query,
    ngx_http_billing_query_name_t *name, ngx_http_billing_value_t **member);
static ngx_int_t ngx_http_billing_query_next(
    ngx_http_billing_query_next_t *next, ngx_str_t *key, u_char *buf);
static void ngx_http_billing_query_taken(ngx_http_billing_query_next_t *next,
    int64_t n);


ngx_int_t
ngx_http_billing_params_query(ngx_http_request_t *r,
    ngx_http_billing_values_t *values)
{
    u_char                    *p, *last, *end;
    ngx_http_billing_query_t   query;

    ngx_memzero(&query, sizeof(ngx_http_billing_query_t));

    query.values = values;

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


static ngx_int_t
ngx_http_billing_query_pair(ngx_http_billing_query_t *query, u_char *p,
    u_char *last)
{
    u_char                         *eq;
    ngx_str_t                       text;
    ngx_pool_t                     *pool;
    ngx_http_billing_value_t       *value;
    ngx_http_billing_query_name_t   name;

    pool = query->values->pool;

    eq = ngx_strlchr(p, last, '=');

    if (ngx_http_billing_query_unescape(pool, &text, p, eq ? eq : last)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_billing_query_name(&name, &text);

    if (name.param == NGX_HTTP_BILLING_PARAMS) {
        return NGX_OK;
    }

    value = &query->values->param[name.param];

    if (name.member) {

        if (ngx_http_billing_query_member(query, &name, &value) != NGX_OK) {
            return NGX_ERROR;
        }

        /* the greatest integer is in use: PHP drops the member */

        if (value == NULL) {
            return NGX_OK;
        }
    }

    if (name.nested) {

        if (value->type != NGX_HTTP_BILLING_VALUE_ARRAY) {
            ngx_http_billing_value_set(value, NGX_HTTP_BILLING_VALUE_ARRAY);
        }

        value->size++;

        return NGX_OK;
    }

    if (ngx_http_billing_query_unescape(pool, &text, eq ? eq + 1 : last, last)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_billing_value_string(query->values, value, text.data,
                                         text.len);
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


/*
 * PHP cuts a name at a NUL, skips leading spaces, and turns spaces, dots and a
 * bracket that is not closed into underscores.
 */

static void
ngx_http_billing_query_name(ngx_http_billing_query_name_t *name,
    ngx_str_t *text)
{
    u_char     *p, *last, *start, *next;
    ngx_str_t   key;

    ngx_memzero(name, sizeof(ngx_http_billing_query_name_t));

    start = text->data;
    last = start + text->len;

    p = ngx_strlchr(start, last, '\0');

    if (p) {
        last = p;
    }

    while (start < last && *start == ' ') {
        start++;
    }

    for (p = start; p < last && *p != '['; p++) {
        if (*p == ' ' || *p == '.') {
            *p = '_';
        }
    }

    next = ngx_http_billing_query_key(&name->key, p, last);

    if (next) {
        name->member = 1;
        name->nested = (ngx_http_billing_query_key(&key, next, last) != NULL);

    } else {

        if (p < last) {
            *p = '_';
        }

        p = last;
    }

    name->param = ngx_http_billing_value_find(start, p - start);
}


/* reads "[key]"; returns its end, or NULL if there is none */

static u_char *
ngx_http_billing_query_key(ngx_str_t *key, u_char *p, u_char *last)
{
    u_char  *close;

    if (p == last || *p != '[') {
        return NULL;
    }

    p++;

    close = ngx_strlchr(p, last, ']');

    if (close == NULL) {
        return NULL;
    }

    key->data = p;
    key->len = close - p;

    /* a single white space is no key either */

    if (key->len == 1 && (*p == ' ' || (*p >= '\t' && *p <= CR))) {
        key->len = 0;
    }

    return close + 1;
}


/* sets *member; NULL if no key is left for the member */

static ngx_int_t
ngx_http_billing_query_member(ngx_http_billing_query_t *query,
    ngx_http_billing_query_name_t *name, ngx_http_billing_value_t **member)
{
    u_char                          buf[NGX_INT64_LEN];
    ngx_http_billing_value_t       *array;
    ngx_http_billing_query_next_t  *next;

    array = &query->values->param[name->param];
    next = &query->next[name->param];

    if (array->array == NULL) {

        if (ngx_http_billing_value_array(query->values, array) != NGX_OK) {
            return NGX_ERROR;
        }

        ngx_memzero(next, sizeof(ngx_http_billing_query_next_t));
    }

    if (ngx_http_billing_query_next(next, &name->key, buf) != NGX_OK) {
        *member = NULL;
        return NGX_OK;
    }

    *member = ngx_http_billing_value_member(query->values, array, &name->key);

    return *member ? NGX_OK : NGX_ERROR;
}


/* an empty key becomes the next integer, written into buf */

static ngx_int_t
ngx_http_billing_query_next(ngx_http_billing_query_next_t *next,
    ngx_str_t *key, u_char *buf)
{
    u_char   *p;
    int64_t   n;

    if (key->len == 0) {

        if (next->exhausted) {
            return NGX_DECLINED;
        }

        n = next->key;

        key->data = buf;
        key->len = ngx_sprintf(buf, "%L", n) - buf;

        ngx_http_billing_query_taken(next, n);

        return NGX_OK;
    }

    p = key->data;

    if (ngx_http_billing_value_decimal(p, key->len, &n) == NGX_OK
        && *p != '+' && !(*p == '-' && p[1] == '0'))
    {
        ngx_http_billing_query_taken(next, n);
    }

    return NGX_OK;
}


static void
ngx_http_billing_query_taken(ngx_http_billing_query_next_t *next, int64_t n)
{
    if (next->known && n < next->key) {
        return;
    }

    next->known = 1;

    if (n == INT64_MAX) {
        next->exhausted = 1;
        return;
    }

    next->key = n + 1;
}
