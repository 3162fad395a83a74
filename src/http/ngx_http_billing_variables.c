
#include "ngx_http_billing_handler.h"
#include "ngx_http_billing_record.h"


static ngx_int_t ngx_http_billing_variable_client(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_billing_variable_cameras(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_billing_variable_redis_time(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_billing_variable_redis_server(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_billing_variable_cache(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static void ngx_http_billing_variable_set(ngx_http_variable_value_t *v,
    ngx_str_t *text);


static ngx_http_variable_t  ngx_http_billing_variables[] = {

    { ngx_string("billing_client"), NULL,
      ngx_http_billing_variable_client, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("billing_cameras"), NULL,
      ngx_http_billing_variable_cameras, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("billing_redis_time"), NULL,
      ngx_http_billing_variable_redis_time, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("billing_redis_server"), NULL,
      ngx_http_billing_variable_redis_server, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("billing_cache"), NULL,
      ngx_http_billing_variable_cache, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


ngx_int_t
ngx_http_billing_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_billing_variables; v->name.len; v++) {

        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_variable_client(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_billing_record_t  *record;

    record = ngx_http_billing_record_find(r);

    ngx_http_billing_variable_set(v, record ? &record->client : NULL);

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_variable_cameras(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t                   text;
    ngx_http_billing_record_t  *record;

    record = ngx_http_billing_record_find(r);

    if (record == NULL || record->cameras == NULL || r->header_only) {
        v->not_found = 1;
        return NGX_OK;
    }

    text.data = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
    if (text.data == NULL) {
        return NGX_ERROR;
    }

    text.len = ngx_sprintf(text.data, "%ui", *record->cameras) - text.data;

    ngx_http_billing_variable_set(v, &text);

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_variable_redis_time(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t                   text;
    ngx_msec_t                  ms;
    ngx_http_billing_record_t  *record;

    record = ngx_http_billing_record_find(r);

    if (record == NULL || !record->redis) {
        v->not_found = 1;
        return NGX_OK;
    }

    ms = ngx_http_billing_record_waited(record);

    text.data = ngx_pnalloc(r->pool, NGX_TIME_T_LEN + 4);
    if (text.data == NULL) {
        return NGX_ERROR;
    }

    text.len = ngx_sprintf(text.data, "%T.%03M", (time_t) ms / 1000, ms % 1000)
               - text.data;

    ngx_http_billing_variable_set(v, &text);

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_variable_redis_server(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_billing_record_t  *record;

    record = ngx_http_billing_record_find(r);

    ngx_http_billing_variable_set(v, record ? &record->server : NULL);

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_variable_cache(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t                   text;
    ngx_http_billing_record_t  *record;

    record = ngx_http_billing_record_find(r);

    ngx_str_null(&text);

    if (record == NULL) {
        /* void */

    } else if (record->stale) {
        ngx_str_set(&text, "STALE");

    } else if (record->hit) {
        if (record->missed) {
            ngx_str_set(&text, "PARTIAL");

        } else {
            ngx_str_set(&text, "HIT");
        }

    } else if (record->missed) {
        ngx_str_set(&text, "MISS");
    }

    ngx_http_billing_variable_set(v, &text);

    return NGX_OK;
}


static void
ngx_http_billing_variable_set(ngx_http_variable_value_t *v, ngx_str_t *text)
{
    if (text == NULL || text->len == 0) {
        v->not_found = 1;
        return;
    }

    v->data = text->data;
    v->len = text->len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
}
