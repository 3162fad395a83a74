
#include "ngx_http_billing_json_alloc.h"
#include "ngx_http_billing_json_parse.h"


/*
 * yajl 2.1.0 has a buffer for the string that it decodes and another one for a
 * token that the text's end cuts.  Each begins with 2 KB and is doubled until
 * its token fits, at worst with a copy each time.  The tokens are parts of the
 * text, so both buffers together take at most six times its length besides.
 * The rest is for handles, the error's text and the stack, a byte a level.
 */

#define NGX_HTTP_BILLING_JSON_PARSE_FIXED   (2 * 2048 + 4096)
#define NGX_HTTP_BILLING_JSON_PARSE_FACTOR  6


static size_t ngx_http_billing_json_valid(ngx_str_t *text,
    const char **reason);
static ngx_int_t ngx_http_billing_json_unit(u_char *p, u_char *last);
static ngx_int_t ngx_http_billing_json_reason(ngx_pool_t *pool,
    yajl_handle handle, ngx_str_t *reason);


ngx_int_t
ngx_http_billing_json_parse(ngx_pool_t *pool, ngx_str_t *text,
    const yajl_callbacks *callbacks, void *data,
    ngx_http_billing_json_error_t *error)
{
    size_t                          len;
    ngx_int_t                       rc;
    const char                     *reason;
    yajl_handle                     handle;
    yajl_status                     status;
    ngx_http_billing_json_alloc_t   alloc;

    if (ngx_http_billing_json_alloc_init(&alloc, pool,
                                         NGX_HTTP_BILLING_JSON_PARSE_FIXED
                                         + NGX_HTTP_BILLING_JSON_PARSE_FACTOR
                                           * text->len)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_str_null(&error->reason);

    len = ngx_http_billing_json_valid(text, &reason);

    handle = yajl_alloc(callbacks, &alloc.funcs, data);

    /* the text in one piece: yajl would read a cut token anew each time */

    status = yajl_parse(handle, text->data, len);

    error->offset = yajl_get_bytes_consumed(handle);

    if (status == yajl_status_ok && len == text->len) {
        status = yajl_complete_parse(handle);

        /* yajl notices a string left open at the end only with another byte */

        if (status == yajl_status_ok) {
            status = yajl_parse(handle, (u_char *) "\n", 1);
        }

        error->offset = len;
    }

    switch (status) {

    case yajl_status_ok:
        rc = NGX_OK;

        if (len != text->len) {
            error->reason.data = (u_char *) reason;
            error->reason.len = ngx_strlen(reason);
            error->offset = len;
            rc = NGX_DECLINED;
        }

        break;

    case yajl_status_client_canceled:
        rc = NGX_ABORT;
        break;

    default: /* yajl_status_error */
        rc = ngx_http_billing_json_reason(pool, handle, &error->reason);
        break;
    }

    ngx_http_billing_json_alloc_done(&alloc);

    return rc;
}


/*
 * yajl replaces an escaped surrogate that has no pair, and takes form feeds
 * and vertical tabs for white space.  Returns the number of bytes before such
 * a fault.  A backslash outside a string is a fault that yajl sees first.
 */

static size_t
ngx_http_billing_json_valid(ngx_str_t *text, const char **reason)
{
    u_char     *p, *last;
    ngx_int_t   unit, low;

    *reason = "";

    last = text->data + text->len;

    for (p = text->data; p < last; p++) {

        if (*p == '\v' || *p == '\f') {
            *reason = "a control character is no white space";
            break;
        }

        if (*p != '\\') {
            continue;
        }

        if (last - p < 6 || p[1] != 'u') {
            p++;
            continue;
        }

        /* a surrogate's first digit is D, and most escapes have another */

        if ((p[2] | 0x20) != 'd') {
            p += 5;
            continue;
        }

        unit = ngx_http_billing_json_unit(p, last);

        if (unit >= 0xd800 && unit <= 0xdbff) {
            low = ngx_http_billing_json_unit(p + 6, last);

            if (low >= 0xdc00 && low <= 0xdfff) {
                p += 11;
                continue;
            }
        }

        if (unit >= 0xd800 && unit <= 0xdfff) {
            *reason = "a surrogate in a \\u escape has no pair";
            break;
        }

        p += 5;
    }

    return ngx_min(p, last) - text->data;
}


/* returns the value of an escape "\uXXXX", or NGX_ERROR if there is none */

static ngx_int_t
ngx_http_billing_json_unit(u_char *p, u_char *last)
{
    if (last - p < 6 || p[0] != '\\' || p[1] != 'u') {
        return NGX_ERROR;
    }

    return ngx_hextoi(p + 2, 4);
}


/* returns NGX_DECLINED or NGX_ERROR */

static ngx_int_t
ngx_http_billing_json_reason(ngx_pool_t *pool, yajl_handle handle,
    ngx_str_t *reason)
{
    u_char     *p;
    ngx_str_t   text;

    p = yajl_get_error(handle, 0, NULL, 0);

    if (p == NULL) {
        return NGX_ERROR;
    }

    text.data = p;
    text.len = ngx_strlen(p);

    /* yajl's text ends in a line feed; a lexical error, in a full stop too */

    while (text.len
           && (p[text.len - 1] == LF || p[text.len - 1] == '.'))
    {
        text.len--;
    }

    reason->len = text.len;
    reason->data = ngx_pstrdup(pool, &text);

    return reason->data ? NGX_DECLINED : NGX_ERROR;
}
