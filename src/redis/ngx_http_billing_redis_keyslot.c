
#include "ngx_http_billing_redis_keyslot.h"


/* CRC-16/XMODEM: polynomial 0x1021, four bits at a time */

static const uint16_t  ngx_http_billing_redis_crc16[] = {
    0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
    0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef
};


static u_char *ngx_http_billing_redis_keyslot_length(u_char *p, u_char *last,
    size_t *len);


ngx_uint_t
ngx_http_billing_redis_keyslot(ngx_str_t *key)
{
    u_char    *p, *last, *open, *close;
    uint16_t   crc;

    p = key->data;
    last = p + key->len;

    open = ngx_strlchr(p, last, '{');

    if (open) {
        close = ngx_strlchr(open + 1, last, '}');

        if (close && close != open + 1) {
            p = open + 1;
            last = close;
        }
    }

    crc = 0;

    for ( /* void */ ; p < last; p++) {
        crc = (uint16_t) (crc << 4)
              ^ ngx_http_billing_redis_crc16[(crc >> 12) ^ (*p >> 4)];
        crc = (uint16_t) (crc << 4)
              ^ ngx_http_billing_redis_crc16[(crc >> 12) ^ (*p & 0x0f)];
    }

    return crc % NGX_HTTP_BILLING_REDIS_SLOTS;
}


u_char *
ngx_http_billing_redis_keyslot_command(u_char *p, u_char *last, ngx_str_t *key)
{
    size_t      n, i, len;

    ngx_str_null(key);

    if (p == last || *p != '*') {
        return NULL;
    }

    p = ngx_http_billing_redis_keyslot_length(p, last, &n);

    for (i = 0; p && i < n; i++) {

        if (p == last || *p != '$') {
            return NULL;
        }

        p = ngx_http_billing_redis_keyslot_length(p, last, &len);

        if (p == NULL || (size_t) (last - p) < len + 2) {
            return NULL;
        }

        if (i == 1) {
            key->data = p;
            key->len = len;
        }

        p += len + 2;
    }

    return p;
}


static u_char *
ngx_http_billing_redis_keyslot_length(u_char *p, u_char *last, size_t *len)
{
    *len = 0;

    for (p++; p < last && *p != CR; p++) {
        *len = *len * 10 + (*p - '0');
    }

    return (last - p < 2) ? NULL : p + 2;
}


ngx_http_billing_redis_redirect_e
ngx_http_billing_redis_redirect(ngx_str_t *text, ngx_uint_t *slot,
    ngx_str_t *host, in_port_t *port)
{
    u_char                             *p, *last, *end;
    ngx_int_t                           n;
    ngx_http_billing_redis_redirect_e   kind;

    p = text->data;
    last = p + text->len;

    if (text->len > 9 && ngx_strncmp(p, "TRYAGAIN ", 9) == 0) {
        return NGX_HTTP_BILLING_REDIS_TRYAGAIN;
    }

    if (text->len > 12 && ngx_strncmp(p, "CLUSTERDOWN ", 12) == 0) {
        return NGX_HTTP_BILLING_REDIS_CLUSTERDOWN;
    }

    if (text->len > 6 && ngx_strncmp(p, "MOVED ", 6) == 0) {
        kind = NGX_HTTP_BILLING_REDIS_MOVED;
        p += 6;

    } else if (text->len > 4 && ngx_strncmp(p, "ASK ", 4) == 0) {
        kind = NGX_HTTP_BILLING_REDIS_ASK;
        p += 4;

    } else {
        return NGX_HTTP_BILLING_REDIS_NO_REDIRECT;
    }

    end = ngx_strlchr(p, last, ' ');

    if (end == NULL) {
        return NGX_HTTP_BILLING_REDIS_NO_REDIRECT;
    }

    n = ngx_atoi(p, end - p);

    if (n == NGX_ERROR || n >= NGX_HTTP_BILLING_REDIS_SLOTS) {
        return NGX_HTTP_BILLING_REDIS_NO_REDIRECT;
    }

    *slot = n;
    host->data = end + 1;

    /* the address may be one of IPv6 */

    for (p = last; p > host->data && p[-1] != ':'; p--) { /* void */ }

    n = ngx_atoi(p, last - p);

    if (p == host->data || n < 1 || n > 65535) {
        return NGX_HTTP_BILLING_REDIS_NO_REDIRECT;
    }

    host->len = p - 1 - host->data;
    *port = (in_port_t) n;

    return kind;
}
