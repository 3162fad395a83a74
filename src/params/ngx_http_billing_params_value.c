
#include "ngx_http_billing_params_value.h"
#include "ngx_http_billing_json.h"


/* doubles hold integers exactly up to this one; and its number of digits */

#define NGX_HTTP_BILLING_VALUE_EXACT         9007199254740992LL
#define NGX_HTTP_BILLING_VALUE_EXACT_DIGITS  16


typedef struct {
    ngx_str_node_t   sn;

    /* the member's index in the array */
    ngx_uint_t       n;
} ngx_http_billing_value_key_t;


typedef struct {
    uint32_t   first;
    uint32_t   last;
} ngx_http_billing_value_range_t;


static void ngx_http_billing_value_trim(ngx_str_t *text, ngx_uint_t utf8);
static ngx_uint_t ngx_http_billing_value_blank(const u_char *p,
    const u_char *last, ngx_uint_t utf8);
static ngx_uint_t ngx_http_billing_value_characters(ngx_str_t *text);
static ngx_int_t ngx_http_billing_value_text(ngx_http_billing_values_t *values,
    ngx_http_billing_value_t *value, ngx_str_t *text);
static ngx_int_t ngx_http_billing_value_whole(const u_char *text, size_t len,
    int64_t *number);
static ngx_http_billing_value_t *ngx_http_billing_value_add(
    ngx_http_billing_value_t *value, ngx_uint_t max);


const ngx_str_t  ngx_http_billing_params_names[] = {
    ngx_string("cameras_ids"),
    ngx_string("cameras_uuid"),
    ngx_string("login")
};


/*
 * Characters that Laravel 13 trims: Unicode white space (\s in a regular
 * expression), NUL, and invisible characters.
 */

static const ngx_http_billing_value_range_t  ngx_http_billing_value_blanks[] = {
    { 0x0000, 0x0000 },
    { 0x0009, 0x000d },
    { 0x0020, 0x0020 },
    { 0x0085, 0x0085 },
    { 0x00a0, 0x00a0 },
    { 0x00ad, 0x00ad },
    { 0x034f, 0x034f },
    { 0x061c, 0x061c },
    { 0x115f, 0x1160 },
    { 0x1680, 0x1680 },
    { 0x17b4, 0x17b5 },
    { 0x180e, 0x180e },
    { 0x2000, 0x200f },
    { 0x2028, 0x2029 },
    { 0x202f, 0x202f },
    { 0x205f, 0x2065 },
    { 0x206a, 0x206f },
    { 0x2800, 0x2800 },
    { 0x3000, 0x3000 },
    { 0x3164, 0x3164 },
    { 0xfeff, 0xfeff },
    { 0xffa0, 0xffa0 },
    { 0x1d159, 0x1d159 },
    { 0x1d173, 0x1d17a },
    { 0xe0020, 0xe0020 }
};


ngx_uint_t
ngx_http_billing_value_find(const u_char *name, size_t len)
{
    ngx_uint_t        i;
    const ngx_str_t  *known;

    known = ngx_http_billing_params_names;

    for (i = 0; i < NGX_HTTP_BILLING_PARAMS; i++) {
        if (known[i].len == len && ngx_memcmp(known[i].data, name, len) == 0) {
            break;
        }
    }

    return i;
}


ngx_int_t
ngx_http_billing_value_string(ngx_http_billing_values_t *values,
    ngx_http_billing_value_t *value, const u_char *p, size_t len)
{
    ngx_str_t   text;
    ngx_uint_t  utf8;

    ngx_http_billing_value_set(value, NGX_HTTP_BILLING_VALUE_NULL);

    text.data = (u_char *) p;
    text.len = len;

    utf8 = (ngx_http_billing_json_utf8_length(&text) != NGX_ERROR);

    ngx_http_billing_value_trim(&text, utf8);

    if (text.len == 0) {
        return NGX_OK;
    }

    value->type = NGX_HTTP_BILLING_VALUE_STRING;
    value->integer = (ngx_http_billing_value_decimal(text.data, text.len,
                                                     &value->number)
                      == NGX_OK);

    return ngx_http_billing_value_text(values, value, &text);
}


ngx_int_t
ngx_http_billing_value_number(ngx_http_billing_values_t *values,
    ngx_http_billing_value_t *value, const u_char *p, size_t len,
    ngx_uint_t keep)
{
    size_t     i;
    ngx_str_t  text;

    ngx_http_billing_value_set(value, NGX_HTTP_BILLING_VALUE_INTEGER);

    for (i = 0; i < len; i++) {
        if (p[i] == '.' || p[i] == 'e' || p[i] == 'E') {
            value->type = NGX_HTTP_BILLING_VALUE_OTHER;
            value->integer = (ngx_http_billing_value_whole(p, len,
                                                           &value->number)
                              == NGX_OK);
            return NGX_OK;
        }
    }

    value->integer = (ngx_http_billing_value_decimal(p, len, &value->number)
                      == NGX_OK);

    if (!keep) {
        return NGX_OK;
    }

    text.data = (u_char *) p;
    text.len = len;

    return ngx_http_billing_value_text(values, value, &text);
}


ngx_int_t
ngx_http_billing_value_array(ngx_http_billing_values_t *values,
    ngx_http_billing_value_t *value)
{
    ngx_http_billing_value_array_t  *array;

    ngx_http_billing_value_set(value, NGX_HTTP_BILLING_VALUE_ARRAY);

    array = ngx_pcalloc(values->pool, sizeof(ngx_http_billing_value_array_t));
    if (array == NULL) {
        return NGX_ERROR;
    }

    ngx_rbtree_init(&array->keys, &array->sentinel,
                    ngx_str_rbtree_insert_value);

    value->array = array;

    return ngx_array_init(&array->members, values->pool, 4,
                          sizeof(ngx_http_billing_value_t));
}


void
ngx_http_billing_value_set(ngx_http_billing_value_t *value,
    ngx_http_billing_value_e type)
{
    value->type = type;
    value->size = 0;
    value->integer = 0;
    value->number = 0;
    value->array = NULL;

    ngx_str_null(&value->text);
}


ngx_http_billing_value_t *
ngx_http_billing_value_member(ngx_http_billing_values_t *values,
    ngx_http_billing_value_t *value, ngx_str_t *key)
{
    uint32_t                         hash;
    ngx_str_node_t                  *sn;
    ngx_http_billing_value_t        *member;
    ngx_http_billing_value_key_t    *node;
    ngx_http_billing_value_array_t  *array;

    array = value->array;

    if (key == NULL) {
        return ngx_http_billing_value_add(value, values->max);
    }

    if (ngx_http_billing_value_characters(key) > NGX_HTTP_BILLING_VALUE_CHARS) {

        member = ngx_http_billing_value_add(value, values->max);

        if (member) {
            member->key_too_long = 1;
        }

        return member;
    }

    hash = ngx_crc32_short(key->data, key->len);

    sn = ngx_str_rbtree_lookup(&array->keys, key, hash);

    if (sn) {
        node = (ngx_http_billing_value_key_t *) sn;
        member = array->members.elts;

        return &member[node->n];
    }

    member = ngx_http_billing_value_add(value, values->max);

    if (member == NULL || member == &array->rest) {
        return member;
    }

    /* NULL stands for a missing key, so an empty key has data */

    node = ngx_palloc(values->pool,
                      sizeof(ngx_http_billing_value_key_t) + key->len + 1);
    if (node == NULL) {
        return NULL;
    }

    member->key.len = key->len;
    member->key.data = (u_char *) node + sizeof(ngx_http_billing_value_key_t);

    ngx_memcpy(member->key.data, key->data, key->len);

    node->sn.node.key = hash;
    node->sn.str = member->key;
    node->n = array->members.nelts - 1;

    ngx_rbtree_insert(&array->keys, &node->sn.node);

    return member;
}


static ngx_http_billing_value_t *
ngx_http_billing_value_add(ngx_http_billing_value_t *value, ngx_uint_t max)
{
    ngx_http_billing_value_t  *member;

    if (value->size++ >= max) {
        return &value->array->rest;
    }

    member = ngx_array_push(&value->array->members);

    if (member) {
        ngx_memzero(member, sizeof(ngx_http_billing_value_t));
    }

    return member;
}


/* a text with too many characters is not kept: its size is enough */

static ngx_int_t
ngx_http_billing_value_text(ngx_http_billing_values_t *values,
    ngx_http_billing_value_t *value, ngx_str_t *text)
{
    value->size = ngx_http_billing_value_characters(text);

    if (value->size > NGX_HTTP_BILLING_VALUE_CHARS) {
        return NGX_OK;
    }

    value->text.len = text->len;
    value->text.data = ngx_pstrdup(values->pool, text);

    return value->text.data ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_billing_value_trim(ngx_str_t *text, ngx_uint_t utf8)
{
    u_char      *p, *last;
    ngx_uint_t   n;

    p = text->data;
    last = p + text->len;

    while (p < last) {
        n = ngx_http_billing_value_blank(p, last, utf8);

        if (n == 0) {
            break;
        }

        p += n;
    }

    text->data = p;

    while (p < last) {
        p = last - 1;

        while (utf8 && (*p & 0xc0) == 0x80) {
            p--;
        }

        if (ngx_http_billing_value_blank(p, last, utf8) == 0) {
            break;
        }

        last = p;
        p = text->data;
    }

    text->len = last - text->data;
}


/*
 * Returns the length of a character that is trimmed, or 0.  Text that is not
 * UTF-8 is trimmed by bytes, as PHP's trim() does, which keeps form feeds.
 */

static ngx_uint_t
ngx_http_billing_value_blank(const u_char *p, const u_char *last,
    ngx_uint_t utf8)
{
    u_char      *next;
    uint32_t     ch;
    ngx_uint_t   i;

    if (*p > ' ' && *p < 0x7f) {
        return 0;
    }

    if (!utf8) {
        return *p == '\0' || *p == ' '
               || (*p >= '\t' && *p <= CR && *p != '\f');
    }

    next = (u_char *) p;

    /* ngx_utf8_decode() is not for ASCII */

    ch = (*p < 0x80) ? *next++ : ngx_utf8_decode(&next, last - p);

    for (i = 0; i < sizeof(ngx_http_billing_value_blanks)
                    / sizeof(ngx_http_billing_value_range_t); i++)
    {
        if (ch <= ngx_http_billing_value_blanks[i].last) {
            return ch >= ngx_http_billing_value_blanks[i].first ? next - p : 0;
        }
    }

    return 0;
}


/* as PHP's mb_strlen(), counts a stray byte as a character */

static ngx_uint_t
ngx_http_billing_value_characters(ngx_str_t *text)
{
    u_char     *p, *last, ch, min, max;
    ngx_int_t   n;
    ngx_uint_t  rest;

    n = ngx_http_billing_json_utf8_length(text);

    if (n != NGX_ERROR) {
        return n;
    }

    p = text->data;
    last = p + text->len;

    for (n = 0; p < last; n++) {

        ch = *p++;

        rest = (ch < 0xc2 || ch > 0xf4) ? 0
               : (ch >= 0xf0) ? 3 : (ch >= 0xe0) ? 2 : 1;

        min = (ch == 0xe0) ? 0xa0 : (ch == 0xf0) ? 0x90 : 0x80;
        max = (ch == 0xed) ? 0x9f : (ch == 0xf4) ? 0x8f : 0xbf;

        while (rest-- && p < last && *p >= min && *p <= max) {
            p++;
            min = 0x80;
            max = 0xbf;
        }
    }

    return n;
}


ngx_int_t
ngx_http_billing_value_decimal(const u_char *p, size_t len, int64_t *number)
{
    uint64_t       n, max;
    ngx_uint_t     negative;
    const u_char  *last;

    last = p + len;
    negative = 0;

    if (p < last && (*p == '-' || *p == '+')) {
        negative = (*p == '-');
        p++;
    }

    if (p == last || (*p == '0' && last - p > 1)) {
        return NGX_ERROR;
    }

    max = (uint64_t) INT64_MAX + negative;

    for (n = 0; p < last; p++) {

        if (*p < '0' || *p > '9' || n > (max - (*p - '0')) / 10) {
            return NGX_ERROR;
        }

        n = n * 10 + (*p - '0');
    }

    /* the least integer has no positive counterpart */

    *number = negative ? -(int64_t) (n / 2) - (int64_t) (n - n / 2)
                       : (int64_t) n;

    return NGX_OK;
}


/*
 * Reads a JSON number with a fraction or an exponent, digit by digit: libc's
 * functions depend on the locale.
 */

static ngx_int_t
ngx_http_billing_value_whole(const u_char *p, size_t len, int64_t *number)
{
    int64_t        n, exponent, places;
    ngx_uint_t     negative, minus, digits, zeros, point;
    const u_char  *last;

    last = p + len;

    negative = (*p == '-');
    p += negative;

    /* counts the digits from the first to the last that is not zero */

    n = 0;
    digits = 0;
    zeros = 0;
    places = 0;
    point = 0;

    for ( /* void */ ; p < last && *p != 'e' && *p != 'E'; p++) {

        if (*p == '.') {
            point = 1;
            continue;
        }

        places += point;

        if (*p == '0') {
            zeros += (digits != 0);
            continue;
        }

        digits += zeros + 1;

        if (digits > NGX_HTTP_BILLING_VALUE_EXACT_DIGITS) {
            return NGX_ERROR;
        }

        for ( /* void */ ; zeros; zeros--) {
            n *= 10;
        }

        n = n * 10 + (*p - '0');
    }

    *number = 0;

    if (digits == 0) {
        return NGX_OK;
    }

    exponent = 0;

    if (p < last) {
        p++;
        minus = (*p == '-');
        p += (*p == '-' || *p == '+');

        for ( /* void */ ; p < last; p++) {
            if (exponent <= INT64_MAX / 1000000) {
                exponent = exponent * 10 + (*p - '0');
            }
        }

        exponent = minus ? -exponent : exponent;
    }

    exponent += (int64_t) zeros - places;

    if (exponent < 0
        || exponent + digits > NGX_HTTP_BILLING_VALUE_EXACT_DIGITS)
    {
        return NGX_ERROR;
    }

    for ( /* void */ ; exponent; exponent--) {
        n *= 10;
    }

    if (n > NGX_HTTP_BILLING_VALUE_EXACT) {
        return NGX_ERROR;
    }

    *number = negative ? -n : n;

    return NGX_OK;
}
