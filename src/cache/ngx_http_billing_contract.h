
/*
 * Logs whether the data of a set of servers keep the cache contract.  A worker
 * logs a change once, and counts the faults that follow:
 *
 *     error: a key breaks the contract, with the key and the reason
 *     error: how many more keys did since the last line; the earliest such line
 *            comes after 1 s, the next ones after 2 s, 4 s and so on
 *     warn:  the contract is kept again
 *
 * A fault that has no line of its own here is logged at debug level.
 */


#ifndef _NGX_HTTP_BILLING_CONTRACT_H_INCLUDED_
#define _NGX_HTTP_BILLING_CONTRACT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* bytes of a key that are kept */

#define NGX_HTTP_BILLING_CONTRACT_KEY  256


typedef struct {
    /* the first bytes of the first line's key; the length of the whole key */
    u_char        key[NGX_HTTP_BILLING_CONTRACT_KEY];
    size_t        len;

    /* when the last line was logged, and the time until the next count */
    ngx_msec_t    logged;
    ngx_msec_t    interval;

    /* the last fault's time; faults in all, and since the last line */
    ngx_msec_t    seen;
    ngx_uint_t    faults;
    ngx_uint_t    count;

    unsigned      broken:1;
} ngx_http_billing_contract_t;


/*
 * A key breaks the contract.  The text of Redis may be empty.  Key and text may
 * hold any bytes: control characters are escaped in the log.
 */
void ngx_http_billing_contract_broken(ngx_http_billing_contract_t *contract,
    ngx_str_t *key, const char *error, ngx_str_t *said, ngx_log_t *log);

/* A key was read and keeps the contract. */
void ngx_http_billing_contract_kept(ngx_http_billing_contract_t *contract,
    ngx_str_t *key, ngx_log_t *log);


#endif /* _NGX_HTTP_BILLING_CONTRACT_H_INCLUDED_ */
