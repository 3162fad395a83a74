
/*
 * Functions that read the directives, each a "set" of ngx_command_t.  A mistake
 * is returned, or logged with the directive's name and the value.
 */


#ifndef _NGX_HTTP_BILLING_DIRECTIVES_H_INCLUDED_
#define _NGX_HTTP_BILLING_DIRECTIVES_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* "billing_cameras_list": the route. */
char *ngx_http_billing_cameras_list(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* "billing_status": the status page. */
char *ngx_http_billing_status(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* "billing_redis": URLs of servers. */
char *ngx_http_billing_redis(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* "billing_redis_password_file": a path; the file is read. */
char *ngx_http_billing_redis_password_file(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);

/* "billing_token": a value with variables, or "off". */
char *ngx_http_billing_set_token(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* "billing_cache": a size, or "off". */
char *ngx_http_billing_cache(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * A time in milliseconds at cmd->offset.  Zero is refused, unless cmd->post is
 * an ngx_conf_num_bounds_t that allows it.
 */
char *ngx_http_billing_set_time(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * A number at cmd->offset, within the ngx_conf_num_bounds_t in cmd->post.
 * ngx_conf_check_num_bounds() names neither the directive nor the value.
 */
char *ngx_http_billing_set_number(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


#endif /* _NGX_HTTP_BILLING_DIRECTIVES_H_INCLUDED_ */
