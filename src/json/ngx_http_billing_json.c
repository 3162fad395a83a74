
#include "ngx_http_billing_json.h"


static ngx_uint_t ngx_http_billing_json_is_ascii(ngx_str_t *text);


/* ngx_utf8_decode() accepts surrogates and other invalid bytes */

ngx_int_t
ngx_http_billing_json_utf8_length(ngx_str_t *text)
{
    u_char     *p, *last, ch, min, max;
    ngx_int_t   n;
    ngx_uint_t  rest;

    if (ngx_http_billing_json_is_ascii(text)) {
        return text->len;
    }

    p = text->data;
    last = p + text->len;

    for (n = 0; p < last; n++) {

        ch = *p++;

        if (ch < 0x80) {
            continue;
        }

        if (ch < 0xc2 || ch > 0xf4) {
            return NGX_ERROR;
        }

        rest = (ch >= 0xf0) ? 3 : (ch >= 0xe0) ? 2 : 1;

        if ((size_t) (last - p) < rest) {
            return NGX_ERROR;
        }

        /* the second byte rules out overlong forms and surrogates */

        min = (ch == 0xe0) ? 0xa0 : (ch == 0xf0) ? 0x90 : 0x80;
        max = (ch == 0xed) ? 0x9f : (ch == 0xf4) ? 0x8f : 0xbf;

        for ( /* void */ ; rest; rest--) {

            if (*p < min || *p > max) {
                return NGX_ERROR;
            }

            p++;
            min = 0x80;
            max = 0xbf;
        }
    }

    return n;
}


/* tests eight bytes at once: a byte beyond ASCII has its highest bit set */

static ngx_uint_t
ngx_http_billing_json_is_ascii(ngx_str_t *text)
{
    u_char    *p, *last;
    uint64_t   word, bits;

    p = text->data;
    last = p + text->len;
    bits = 0;

    if (text->len < 8) {

        while (p < last) {
            bits |= *p++;
        }

        return (bits & 0x80) == 0;
    }

    while (last - p > 8) {
        ngx_memcpy(&word, p, 8);
        bits |= word;
        p += 8;
    }

    ngx_memcpy(&word, last - 8, 8);
    bits |= word;

    return (bits & 0x8080808080808080ULL) == 0;
}
