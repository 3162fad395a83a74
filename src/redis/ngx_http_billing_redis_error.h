
/*
 * Error replies of Redis: their meaning for the server that sent them, and the
 * part of their text that may be logged.
 */


#ifndef _NGX_HTTP_BILLING_REDIS_ERROR_H_INCLUDED_
#define _NGX_HTTP_BILLING_REDIS_ERROR_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* For now, the server serves no client, or no additional one. */
ngx_uint_t ngx_http_billing_redis_error_unavailable(ngx_str_t *text);

/* The server cannot save its data: only reads work, PING is refused. */
ngx_uint_t ngx_http_billing_redis_error_misconf(ngx_str_t *text);

/*
 * The server is a node of a cluster, and another node is to be asked, or the
 * same one later.
 */
ngx_uint_t ngx_http_billing_redis_error_cluster(ngx_str_t *text);

/*
 * As an answer to HELLO: the server refuses the client or its credentials.  A
 * server that knows no HELLO may ask for a password though HELLO named one.
 */
ngx_uint_t ngx_http_billing_redis_error_client(ngx_str_t *text,
    ngx_uint_t password);

/*
 * Cuts the text, which ends with a zero byte, after its first word, unless the
 * text is known to quote no argument of the command: one may be the password.
 */
void ngx_http_billing_redis_error_redact(ngx_str_t *text);

/*
 * Copies a text for a log line, and cuts it to the size, without control bytes.
 * The two may be the same.
 */
void ngx_http_billing_redis_error_line(char *dst, const char *text,
    size_t size);

/*
 * Has the text neither a space nor a control byte, as a host in a reply?  If
 * so, the text may be a part of a log line.
 */
ngx_uint_t ngx_http_billing_redis_error_is_word(ngx_str_t *text);


#endif /* _NGX_HTTP_BILLING_REDIS_ERROR_H_INCLUDED_ */
