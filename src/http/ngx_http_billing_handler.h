
/*
 * The HTTP side of the module, as the configuration sees it: the handlers of
 * the route and of the status page, and the hooks for requests.
 */


#ifndef _NGX_HTTP_BILLING_HANDLER_H_INCLUDED_
#define _NGX_HTTP_BILLING_HANDLER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* Content handlers: of "billing_cameras_list", and of "billing_status". */
ngx_int_t ngx_http_billing_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_billing_page_handler(ngx_http_request_t *r);

/* Adds the variables, before nginx reads the configuration. */
ngx_int_t ngx_http_billing_add_variables(ngx_conf_t *cf);

/* Sets the digest of tokens, which lives as long as the configuration. */
ngx_int_t ngx_http_billing_token_init(ngx_conf_t *cf);

/* Has each request counted in the log phase. */
ngx_int_t ngx_http_billing_record_init(ngx_conf_t *cf);


#endif /* _NGX_HTTP_BILLING_HANDLER_H_INCLUDED_ */
