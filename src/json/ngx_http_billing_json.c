
#include "ngx_http_billing_json.h"


/* the highest bit of each byte of a word */

#define NGX_HTTP_BILLING_JSON_HIGH    0x8080808080808080ULL


/* ngx_utf8_decode() lets surrogates pass, and bytes that no UTF-8 has */

ngx_int_t
ngx_http_billing_json_utf8_length(ngx_str_t *text)
{
    u_char     *p, *last, ch, min, max;
    uint64_t    word;
    ngx_int_t   n;
    ngx_uint_t  rest;

    p = text->data;
    last = p + text->len;

    for (n = 0; p < last; n++) {

        while (last - p >= 8) {
            ngx_memcpy(&word, p, 8);

            if (word & NGX_HTTP_BILLING_JSON_HIGH) {
                break;
            }

            p += 8;
            n += 8;
        }

        if (p == last) {
            break;
        }

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
