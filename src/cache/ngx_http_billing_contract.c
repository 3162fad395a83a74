
#include "ngx_http_billing_contract.h"


/* bounds of the time between two lines, in milliseconds */

#define NGX_HTTP_BILLING_CONTRACT_MIN    1000
#define NGX_HTTP_BILLING_CONTRACT_MAX    60000

/*
 * The contract counts as kept again when the key of the first line is read
 * without a fault, or when other keys are and the last fault is so many
 * milliseconds ago.
 */

#define NGX_HTTP_BILLING_CONTRACT_QUIET  10000

/* bytes of a key, and of an error text of Redis, that are logged */

#define NGX_HTTP_BILLING_CONTRACT_TEXT   512


static void ngx_http_billing_contract_escape(u_char *buf, ngx_str_t *dst,
    ngx_str_t *src);
static void ngx_http_billing_contract_next(
    ngx_http_billing_contract_t *contract);


void
ngx_http_billing_contract_broken(ngx_http_billing_contract_t *contract,
    ngx_str_t *key, const char *error, ngx_str_t *said, ngx_log_t *log)
{
    u_char       key_buf[6 * NGX_HTTP_BILLING_CONTRACT_TEXT];
    u_char       said_buf[6 * NGX_HTTP_BILLING_CONTRACT_TEXT];
    ngx_str_t    key_text, said_text;
    const char  *colon;

    ngx_http_billing_contract_escape(key_buf, &key_text, key);
    ngx_http_billing_contract_escape(said_buf, &said_text, said);

    colon = said->len ? ": " : "";

    if (contract->interval == 0
        || ngx_current_msec - contract->seen > NGX_HTTP_BILLING_CONTRACT_MAX)
    {
        contract->interval = NGX_HTTP_BILLING_CONTRACT_MIN;
    }

    contract->seen = ngx_current_msec;

    if (!contract->broken) {
        contract->broken = 1;
        contract->logged = ngx_current_msec;
        contract->faults = 1;
        contract->count = 0;

        contract->len = key->len;
        ngx_memcpy(contract->key, key->data,
                   ngx_min(key->len, NGX_HTTP_BILLING_CONTRACT_KEY));

        ngx_log_error(NGX_LOG_ERR, log, 0, "redis key \"%V\" %s%s%V",
                      &key_text, error, colon, &said_text);
        return;
    }

    contract->faults++;
    contract->count++;

    if (ngx_current_msec - contract->logged < contract->interval) {
        ngx_log_debug4(NGX_LOG_DEBUG_HTTP, log, 0,
                       "billing redis key \"%V\" %s%s%V",
                       &key_text, error, colon, &said_text);
        return;
    }

    ngx_log_error(NGX_LOG_ERR, log, 0,
                  "%ui more replies broke the cache contract, the last one: "
                  "redis key \"%V\" %s%s%V", contract->count, &key_text, error,
                  colon, &said_text);

    contract->count = 0;

    ngx_http_billing_contract_next(contract);
}


void
ngx_http_billing_contract_kept(ngx_http_billing_contract_t *contract,
    ngx_str_t *key, ngx_log_t *log)
{
    if (!contract->broken) {
        return;
    }

    if (key->len == contract->len
        && ngx_memcmp(key->data, contract->key,
                      ngx_min(key->len, NGX_HTTP_BILLING_CONTRACT_KEY)) == 0)
    {
        /* a key that is right and wrong in turn does not fill the log */

        if (ngx_current_msec - contract->logged < contract->interval) {
            return;
        }

    } else if (ngx_current_msec - contract->seen
               < NGX_HTTP_BILLING_CONTRACT_QUIET)
    {
        return;
    }

    ngx_log_error(NGX_LOG_WARN, log, 0,
                  "redis replies keep the cache contract again, after %ui that "
                  "broke it", contract->faults);

    contract->broken = 0;

    ngx_http_billing_contract_next(contract);
}


static void
ngx_http_billing_contract_next(ngx_http_billing_contract_t *contract)
{
    contract->logged = ngx_current_msec;
    contract->interval = ngx_min(2 * contract->interval,
                                 NGX_HTTP_BILLING_CONTRACT_MAX);
}


/* escapes control characters, which a caller or Redis may have sent */

static void
ngx_http_billing_contract_escape(u_char *buf, ngx_str_t *dst, ngx_str_t *src)
{
    size_t  len;

    len = ngx_min(src->len, NGX_HTTP_BILLING_CONTRACT_TEXT);

    dst->data = buf;
    dst->len = (u_char *) ngx_escape_json(buf, src->data, len) - buf;
}
