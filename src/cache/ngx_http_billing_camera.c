
#include "ngx_http_billing_camera.h"
#include "ngx_http_billing_decimal.h"


static ngx_int_t ngx_http_billing_camera_text(ngx_http_billing_json_t *json,
    ngx_str_t *value, ngx_str_t *id);
static ngx_int_t ngx_http_billing_camera_streams(
    ngx_http_billing_json_t *json, ngx_str_t *value, ngx_str_t *id);


const ngx_http_billing_camera_field_t
ngx_http_billing_camera_fields[NGX_HTTP_BILLING_CAMERA_FIELDS] = {

    { ngx_string("external_id"), ngx_string("external_id"),
      ngx_http_billing_camera_text, NULL },

    { ngx_string("start_at"), ngx_string("start_at"),
      ngx_http_billing_camera_text, NULL },

    { ngx_string("status"), ngx_string("status"),
      ngx_http_billing_camera_text, NULL },

    { ngx_string("name"), ngx_string("name"),
      ngx_http_billing_camera_text, NULL },

    { ngx_string("group_type"), ngx_string("group_type"),
      ngx_http_billing_camera_text, NULL },

    { ngx_string("streams"), ngx_string("streams"),
      ngx_http_billing_camera_streams,
      "holds streams that are not \"type=status,...\"" },

    { ngx_string("preview"), ngx_string("preview"),
      ngx_http_billing_camera_text, NULL }
};


ngx_int_t
ngx_http_billing_camera_json(ngx_http_billing_json_t *json, int64_t id,
    ngx_str_t *values, ngx_str_t *text, const char **error)
{
    u_char                                  buf[NGX_INT64_LEN];
    ngx_str_t                               digits;
    ngx_uint_t                              i;
    const ngx_http_billing_camera_field_t  *field;

    field = ngx_http_billing_camera_fields;

    for (i = 0; i < NGX_HTTP_BILLING_CAMERA_FIELDS; i++) {
        if (ngx_http_billing_json_utf8_length(&values[i]) == NGX_ERROR) {
            *error = "holds text that is not UTF-8";
            return NGX_DECLINED;
        }
    }

    if (ngx_http_billing_json_start(json) != NGX_OK) {
        return NGX_ERROR;
    }

    /* yajl_gen_integer() calls sprintf(): a sixth of the time for a camera */

    digits.data = buf;
    digits.len = ngx_http_billing_decimal(buf, id) - buf;

    ngx_http_billing_json_map_open(json);

    ngx_http_billing_json_literal(json, "id");
    ngx_http_billing_json_value(json, &digits);

    for (i = 0; i < NGX_HTTP_BILLING_CAMERA_FIELDS; i++) {

        ngx_http_billing_json_string(json, &field[i].member);

        if (field[i].write(json, &values[i], &digits) != NGX_OK) {
            *error = field[i].error;
            return NGX_DECLINED;
        }
    }

    ngx_http_billing_json_map_close(json);

    return ngx_http_billing_json_take_string(json, text);
}


static ngx_int_t
ngx_http_billing_camera_text(ngx_http_billing_json_t *json, ngx_str_t *value,
    ngx_str_t *id)
{
    if (value->data) {
        ngx_http_billing_json_string(json, value);

    } else {
        ngx_http_billing_json_null(json);
    }

    return NGX_OK;
}


/* "type=status,type=status": a status may be empty, and a type may not */

static ngx_int_t
ngx_http_billing_camera_streams(ngx_http_billing_json_t *json,
    ngx_str_t *value, ngx_str_t *id)
{
    u_char     *p, *last;
    ngx_str_t   type, status;

    p = value->data;
    last = p + value->len;

    ngx_http_billing_json_array_open(json);

    while (p < last) {

        type.data = p;

        while (p < last && *p != '=' && *p != ',') {
            p++;
        }

        type.len = p - type.data;

        if (type.len == 0 || p == last || *p == ',') {
            return NGX_ERROR;
        }

        status.data = ++p;

        while (p < last && *p != ',') {
            p++;
        }

        status.len = p - status.data;

        if (p < last && ++p == last) {
            return NGX_ERROR;
        }

        if (status.len == 0) {
            status.data = NULL;
        }

        ngx_http_billing_json_map_open(json);

        ngx_http_billing_json_literal(json, "type");
        ngx_http_billing_json_string(json, &type);

        ngx_http_billing_json_literal(json, "status");
        (void) ngx_http_billing_camera_text(json, &status, id);

        ngx_http_billing_json_literal(json, "camera_id");
        ngx_http_billing_json_value(json, id);

        ngx_http_billing_json_map_close(json);
    }

    ngx_http_billing_json_array_close(json);

    return NGX_OK;
}
