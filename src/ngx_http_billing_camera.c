
#include "ngx_http_billing_camera.h"


static void ngx_http_billing_streams_json(ngx_http_billing_camera_t *camera,
    ngx_http_billing_json_t *json);
static u_char *ngx_http_billing_stream_next(u_char *p, u_char *last,
    ngx_str_t *type, ngx_str_t *status);


ngx_str_t  ngx_http_billing_camera_names[] = {
    ngx_string("external_id"),
    ngx_string("start_at"),
    ngx_string("status"),
    ngx_string("name"),
    ngx_string("group_type"),
    ngx_string("streams"),
    ngx_string("preview")
};


/* what is the same in all cameras is not put together for each of them */

static ngx_str_t  ngx_http_billing_camera_members[] = {
    ngx_string(",\"external_id\":"),
    ngx_string(",\"start_at\":"),
    ngx_string(",\"status\":"),
    ngx_string(",\"name\":"),
    ngx_string(",\"group_type\":"),
    ngx_string(",\"streams\":"),
    ngx_string(",\"preview\":")
};


ngx_int_t
ngx_http_billing_camera_check_streams(ngx_http_billing_camera_t *camera)
{
    u_char     *p, *last;
    ngx_str_t  *streams, type, status;

    streams = &camera->fields[NGX_HTTP_BILLING_CAMERA_STREAMS];

    p = streams->data;
    last = p + streams->len;

    while (p < last) {
        p = ngx_http_billing_stream_next(p, last, &type, &status);

        if (p == NULL) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


void
ngx_http_billing_camera_json(ngx_http_billing_camera_t *camera,
    ngx_http_billing_json_t *json)
{
    ngx_str_t   *member;
    ngx_uint_t   i;

    ngx_http_billing_json_literal(json, "{\"id\":");
    ngx_http_billing_json_put(json, camera->digits.data, camera->digits.len);

    member = ngx_http_billing_camera_members;

    for (i = 0; i < NGX_HTTP_BILLING_CAMERA_FIELDS; i++) {

        ngx_http_billing_json_put(json, member[i].data, member[i].len);

        if (i == NGX_HTTP_BILLING_CAMERA_STREAMS) {
            ngx_http_billing_streams_json(camera, json);

        } else {
            ngx_http_billing_json_text(json, &camera->fields[i],
                                       camera->plain & (1 << i));
        }
    }

    ngx_http_billing_json_literal(json, "}");
}


static void
ngx_http_billing_streams_json(ngx_http_billing_camera_t *camera,
    ngx_http_billing_json_t *json)
{
    u_char      *p, *last;
    ngx_str_t   *streams, type, status;
    ngx_uint_t   plain;

    streams = &camera->fields[NGX_HTTP_BILLING_CAMERA_STREAMS];
    plain = camera->plain & (1 << NGX_HTTP_BILLING_CAMERA_STREAMS);

    p = streams->data;
    last = p + streams->len;

    ngx_http_billing_json_literal(json, "[");

    while (p < last) {

        if (p != streams->data) {
            ngx_http_billing_json_literal(json, ",");
        }

        p = ngx_http_billing_stream_next(p, last, &type, &status);

        ngx_http_billing_json_literal(json, "{\"type\":");
        ngx_http_billing_json_text(json, &type, plain);

        ngx_http_billing_json_literal(json, ",\"status\":");
        ngx_http_billing_json_text(json, &status, plain);

        ngx_http_billing_json_literal(json, ",\"camera_id\":");
        ngx_http_billing_json_put(json, camera->digits.data,
                                  camera->digits.len);

        ngx_http_billing_json_literal(json, "}");
    }

    ngx_http_billing_json_literal(json, "]");
}


/* "type=status,...": returns where the next one begins, NULL if it is wrong */

static u_char *
ngx_http_billing_stream_next(u_char *p, u_char *last, ngx_str_t *type,
    ngx_str_t *status)
{
    u_char  *end, *eq;

    end = ngx_strlchr(p, last, ',');

    if (end == NULL) {
        end = last;

    } else if (end + 1 == last) {
        return NULL;
    }

    eq = ngx_strlchr(p, end, '=');

    if (eq == NULL || eq == p) {
        return NULL;
    }

    type->data = p;
    type->len = eq - p;

    status->len = end - (eq + 1);
    status->data = status->len ? eq + 1 : NULL;

    return (end == last) ? last : end + 1;
}
