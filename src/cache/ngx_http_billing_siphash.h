
/*
 * SipHash-1-3: a hash of keys that callers choose.  Who does not know the seed
 * cannot choose keys that have the same hash.  See
 * https://www.aumasson.jp/siphash/siphash.pdf
 */


#ifndef _NGX_HTTP_BILLING_SIPHASH_H_INCLUDED_
#define _NGX_HTTP_BILLING_SIPHASH_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define ngx_http_billing_siphash_rotl(x, n)                                   \
    (((x) << (n)) | ((x) >> (64 - (n))))


static ngx_inline void
ngx_http_billing_siphash_round(uint64_t *v)
{
    v[0] += v[1];
    v[1] = ngx_http_billing_siphash_rotl(v[1], 13) ^ v[0];
    v[0] = ngx_http_billing_siphash_rotl(v[0], 32);

    v[2] += v[3];
    v[3] = ngx_http_billing_siphash_rotl(v[3], 16) ^ v[2];

    v[0] += v[3];
    v[3] = ngx_http_billing_siphash_rotl(v[3], 21) ^ v[0];

    v[2] += v[1];
    v[1] = ngx_http_billing_siphash_rotl(v[1], 17) ^ v[2];
    v[2] = ngx_http_billing_siphash_rotl(v[2], 32);
}


static ngx_inline uint64_t
ngx_http_billing_siphash(uint64_t *seed, ngx_str_t *key)
{
    size_t     len;
    u_char    *p;
    uint64_t   m, v[4];

    v[0] = seed[0] ^ 0x736f6d6570736575;
    v[1] = seed[1] ^ 0x646f72616e646f6d;
    v[2] = seed[0] ^ 0x6c7967656e657261;
    v[3] = seed[1] ^ 0x7465646279746573;

    p = key->data;

    for (len = key->len; len >= 8; len -= 8) {
        ngx_memcpy(&m, p, 8);
        p += 8;

        v[3] ^= m;
        ngx_http_billing_siphash_round(v);
        v[0] ^= m;
    }

    m = (uint64_t) key->len << 56;

    while (len--) {
        m |= (uint64_t) p[len] << (8 * len);
    }

    v[3] ^= m;
    ngx_http_billing_siphash_round(v);
    v[0] ^= m;

    v[2] ^= 0xff;
    ngx_http_billing_siphash_round(v);
    ngx_http_billing_siphash_round(v);
    ngx_http_billing_siphash_round(v);

    return v[0] ^ v[1] ^ v[2] ^ v[3];
}


#endif /* _NGX_HTTP_BILLING_SIPHASH_H_INCLUDED_ */
