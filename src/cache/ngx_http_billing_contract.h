
/*
 * Tells in the error log whether the data of a set of servers keep the cache
 * contract.  Each worker tells it once per change, and counts what follows:
 *
 *     error: a key breaks the contract, with the key and the reason
 *     error: how many more did since the last line; after 1 s at the earliest,
 *            then after 2 s, 4 s and so on
 *     warn:  the contract is kept again
 *
 * Each fault that has no such line has one at debug level.
 */


#ifndef _NGX_HTTP_BILLING_CONTRACT_H_INCLUDED_
#define _NGX_HTTP_BILLING_CONTRACT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* bytes of a key that are kept */

#define NGX_HTTP_BILLING_CONTRACT_KEY  256


typedef struct {
    /* the key of the first line, or its first bytes; its length is whole */
    u_char        key[NGX_HTTP_BILLING_CONTRACT_KEY];
    size_t        len;

    /* when the last line was logged, and the time until the next count */
    ngx_msec_t    logged;
    ngx_msec_t    interval;

    /* the last fault; the faults in all, and since the last line */
    ngx_msec_t    seen;
    ngx_uint_t    faults;
    ngx_uint_t    count;

    unsigned      broken:1;
} ngx_http_billing_contract_t;


/*
 * A key breaks the contract.  What Redis has said may be empty.  Both may hold
 * any bytes: control characters are escaped in the log.
 */
void ngx_http_billing_contract_broken(ngx_http_billing_contract_t *contract,
    ngx_str_t *key, const char *error, ngx_str_t *said, ngx_log_t *log);

/* A key was read and keeps the contract. */
void ngx_http_billing_contract_kept(ngx_http_billing_contract_t *contract,
    ngx_str_t *key, ngx_log_t *log);


#endif /* _NGX_HTTP_BILLING_CONTRACT_H_INCLUDED_ */
