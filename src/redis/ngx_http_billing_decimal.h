
/*
 * Writes numbers as text.  ngx_sprintf() took a tenth of the time for a camera.
 */


#ifndef _NGX_HTTP_BILLING_DECIMAL_H_INCLUDED_
#define _NGX_HTTP_BILLING_DECIMAL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* Writes at most NGX_INT64_LEN digits, and returns the end of the output. */

static ngx_inline u_char *
ngx_http_billing_decimal(u_char *p, uint64_t n)
{
    u_char  *digit, *last, text[NGX_INT64_LEN];

    last = text + NGX_INT64_LEN;
    digit = last;

    do {
        *--digit = (u_char) ('0' + n % 10);
        n /= 10;
    } while (n);

    do {
        *p++ = *digit++;
    } while (digit < last);

    return p;
}


#endif /* _NGX_HTTP_BILLING_DECIMAL_H_INCLUDED_ */
