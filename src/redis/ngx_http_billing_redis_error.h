
/*
 * Error replies of Redis: what they mean for the server that sends one, and
 * what of them may be logged.
 */


#ifndef _NGX_HTTP_BILLING_REDIS_ERROR_H_INCLUDED_
#define _NGX_HTTP_BILLING_REDIS_ERROR_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* The server serves no client, or not this one more, for now. */
ngx_uint_t ngx_http_billing_redis_error_unavailable(ngx_str_t *text);

/* The server cannot save its data: it refuses PING and writes, and reads work. */
ngx_uint_t ngx_http_billing_redis_error_misconf(ngx_str_t *text);

/*
 * Cuts the text, which ends with a zero byte, off after its first word, unless
 * it is one that is known to quote nothing of the command: the password may be
 * an argument.
 */
void ngx_http_billing_redis_error_redact(ngx_str_t *text);


#endif /* _NGX_HTTP_BILLING_REDIS_ERROR_H_INCLUDED_ */
