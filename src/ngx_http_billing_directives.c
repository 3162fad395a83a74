
#include "ngx_http_billing_module.h"
#include "ngx_http_billing_directives.h"
#include "ngx_http_billing_handler.h"


/* bytes of the smallest cache */

#define NGX_HTTP_BILLING_MIN_CACHE_SIZE  (1024 * 1024)


char *
ngx_http_billing_cameras_list(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_billing_loc_conf_t *blcf = conf;

    ngx_http_core_loc_conf_t  *clcf;

    if (blcf->enable) {
        return "is duplicate";
    }

    blcf->enable = 1;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_billing_handler;

    return NGX_CONF_OK;
}


char *
ngx_http_billing_redis(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_billing_loc_conf_t *blcf = conf;

    ngx_str_t  *value;

    if (blcf->redis_conf.urls) {
        return "is duplicate";
    }

    value = cf->args->elts;

    blcf->redis_conf.urls = ngx_http_billing_redis_parse_urls(cf, &value[1],
                                                          cf->args->nelts - 1);

    return blcf->redis_conf.urls ? NGX_CONF_OK : NGX_CONF_ERROR;
}


char *
ngx_http_billing_redis_password_file(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_billing_loc_conf_t *blcf = conf;

    ngx_str_t  *value;

    if (blcf->redis_conf.password_file.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    blcf->redis_conf.password_file = value[1];

    if (ngx_conf_full_name(cf->cycle, &blcf->redis_conf.password_file, 1)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_billing_redis_read_password(cf, &blcf->redis_conf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_billing_set_token(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_billing_loc_conf_t *blcf = conf;

    ngx_str_t                         *value;
    ngx_http_compile_complex_value_t   ccv;

    if (blcf->token_required != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        blcf->token_required = 0;
        return NGX_CONF_OK;
    }

    /* "on" would be a fixed text, the same token for all clients */

    if (value[1].len == 0 || ngx_strcmp(value[1].data, "on") == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"%V\" directive",
                           &value[1], &cmd->name);
        return NGX_CONF_ERROR;
    }

    blcf->token_required = 1;

    blcf->token = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (blcf->token == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &value[1];
    ccv.complex_value = blcf->token;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_billing_cache(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_billing_loc_conf_t *blcf = conf;

    ssize_t     size;
    ngx_str_t  *value;

    if (blcf->cache_size != NGX_CONF_UNSET_SIZE) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        blcf->cache_size = 0;
        return NGX_CONF_OK;
    }

    size = ngx_parse_size(&value[1]);

    if (size < NGX_HTTP_BILLING_MIN_CACHE_SIZE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"%V\" directive, it must "
                           "be \"off\" or a size of at least 1m", &value[1],
                           &cmd->name);
        return NGX_CONF_ERROR;
    }

    blcf->cache_size = size;

    return NGX_CONF_OK;
}


char *
ngx_http_billing_set_time(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char                   *p = conf;
    ngx_int_t               n, low;
    ngx_str_t              *value;
    ngx_msec_t             *msec;
    ngx_conf_num_bounds_t  *bounds;

    msec = (ngx_msec_t *) (p + cmd->offset);

    if (*msec != NGX_CONF_UNSET_MSEC) {
        return "is duplicate";
    }

    value = cf->args->elts;
    bounds = cmd->post;
    low = bounds ? bounds->low : 1;

    n = ngx_parse_time(&value[1], 0);

    if (n == NGX_ERROR || n < low) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"%V\" directive, it must "
                           "be a time%s", &value[1], &cmd->name,
                           low ? " and not zero" : "");
        return NGX_CONF_ERROR;
    }

    *msec = (ngx_msec_t) n;

    return NGX_CONF_OK;
}


char *
ngx_http_billing_set_number(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char                   *p = conf;
    ngx_int_t               n;
    ngx_str_t              *value;
    ngx_uint_t             *number;
    ngx_conf_num_bounds_t  *bounds;

    number = (ngx_uint_t *) (p + cmd->offset);

    if (*number != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;
    bounds = cmd->post;

    n = ngx_atoi(value[1].data, value[1].len);

    if (n < bounds->low || n > bounds->high) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"%V\" directive, it must "
                           "be from %i to %i", &value[1], &cmd->name,
                           bounds->low, bounds->high);
        return NGX_CONF_ERROR;
    }

    *number = n;

    return NGX_CONF_OK;
}


char *
ngx_http_billing_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_loc_conf_t      *clcf;
    ngx_http_billing_main_conf_t  *bmcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_billing_page_handler;

    bmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_billing_module);
    bmcf->status.enable = 1;

    return NGX_CONF_OK;
}
