
#include "ngx_http_billing_header.h"


static ngx_int_t ngx_http_billing_set_cache_control(ngx_http_request_t *r,
    ngx_table_elt_t *h);


static ngx_str_t  ngx_http_billing_cache_control = ngx_string("Cache-Control");
static ngx_str_t  ngx_http_billing_value_no_store = ngx_string("no-store");


ngx_int_t
ngx_http_billing_add_header(ngx_http_request_t *r, ngx_table_elt_t **header,
    ngx_str_t *key, ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    /* the field "next", since nginx 1.23, has to be zero */

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    h->key = *key;
    h->value = *value;

    if (header) {
        *header = h;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_billing_no_store(ngx_http_request_t *r)
{
    ngx_table_elt_t  *h;

    r->disable_not_modified = 1;
    r->allow_ranges = 0;

    if (ngx_http_billing_add_header(r, NULL, &ngx_http_billing_cache_control,
                                    &ngx_http_billing_value_no_store)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /*
     * "expires" sets Expires and Cache-Control in r->headers_out, and adds a
     * field to the answer only if there is none yet.  The two fields here take
     * the values of "expires", and are in no list, so they are never sent.
     */

    h = ngx_pcalloc(r->pool, 2 * sizeof(ngx_table_elt_t));
    if (h == NULL) {
        return NGX_ERROR;
    }

    h[0].hash = 1;
    h[0].key = ngx_http_billing_cache_control;
    h[0].value = ngx_http_billing_value_no_store;

    h[1].hash = 1;

    r->headers_out.expires = &h[1];

    return ngx_http_billing_set_cache_control(r, &h[0]);
}


#if (nginx_version >= 1023000)

static ngx_int_t
ngx_http_billing_set_cache_control(ngx_http_request_t *r, ngx_table_elt_t *h)
{
    r->headers_out.cache_control = h;

    return NGX_OK;
}

#else

static ngx_int_t
ngx_http_billing_set_cache_control(ngx_http_request_t *r, ngx_table_elt_t *h)
{
    ngx_array_t      *fields;
    ngx_table_elt_t  **field;

    fields = &r->headers_out.cache_control;

    if (ngx_array_init(fields, r->pool, 1, sizeof(ngx_table_elt_t *))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    field = ngx_array_push(fields);
    *field = h;

    return NGX_OK;
}

#endif
