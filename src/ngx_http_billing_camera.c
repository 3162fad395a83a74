
#include "ngx_http_billing_camera.h"


static void ngx_http_billing_streams_json(ngx_http_billing_camera_t *camera,
    ngx_http_billing_json_t *json);
static u_char *ngx_http_billing_stream_next(u_char *p, u_char *last,
    ngx_str_t *type, ngx_str_t *status);


typedef struct {
    ngx_str_t   name;
    ngx_uint_t  offset;
} ngx_http_billing_field_t;


/* in the order in which they stand in the answer */

static ngx_http_billing_field_t  ngx_http_billing_fields[] = {

    { ngx_string("external_id"),
      offsetof(ngx_http_billing_camera_t, external_id) },

    { ngx_string("start_at"),
      offsetof(ngx_http_billing_camera_t, start_at) },

    { ngx_string("status"),
      offsetof(ngx_http_billing_camera_t, status) },

    { ngx_string("name"),
      offsetof(ngx_http_billing_camera_t, name) },

    { ngx_string("group_type"),
      offsetof(ngx_http_billing_camera_t, group_type) },

    { ngx_string("streams"),
      offsetof(ngx_http_billing_camera_t, streams) },

    { ngx_string("preview"),
      offsetof(ngx_http_billing_camera_t, preview) },

    { ngx_null_string, 0 }
};


ngx_str_t *
ngx_http_billing_camera_field(ngx_http_billing_camera_t *camera,
    const char *name, size_t len)
{
    ngx_http_billing_field_t  *field;

    for (field = ngx_http_billing_fields; field->name.len; field++) {

        if (field->name.len == len
            && ngx_memcmp(field->name.data, name, len) == 0)
        {
            return (ngx_str_t *) ((u_char *) camera + field->offset);
        }
    }

    return NULL;
}


ngx_int_t
ngx_http_billing_camera_check_streams(ngx_http_billing_camera_t *camera)
{
    u_char     *p, *last;
    ngx_str_t   type, status;

    p = camera->streams.data;
    last = p + camera->streams.len;

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
    ngx_str_t                 *value;
    ngx_http_billing_field_t  *field;

    yajl_gen_map_open(json->gen);

    ngx_http_billing_json_name(json, "id");
    yajl_gen_integer(json->gen, camera->id);

    for (field = ngx_http_billing_fields; field->name.len; field++) {

        ngx_http_billing_json_string(json, &field->name);

        value = (ngx_str_t *) ((u_char *) camera + field->offset);

        if (value == &camera->streams) {
            ngx_http_billing_streams_json(camera, json);

        } else {
            ngx_http_billing_json_string(json, value);
        }
    }

    yajl_gen_map_close(json->gen);
}


static void
ngx_http_billing_streams_json(ngx_http_billing_camera_t *camera,
    ngx_http_billing_json_t *json)
{
    u_char     *p, *last;
    ngx_str_t   type, status;

    p = camera->streams.data;
    last = p + camera->streams.len;

    yajl_gen_array_open(json->gen);

    while (p < last) {
        p = ngx_http_billing_stream_next(p, last, &type, &status);

        yajl_gen_map_open(json->gen);

        ngx_http_billing_json_name(json, "type");
        ngx_http_billing_json_string(json, &type);

        ngx_http_billing_json_name(json, "status");
        ngx_http_billing_json_string(json, &status);

        ngx_http_billing_json_name(json, "camera_id");
        yajl_gen_integer(json->gen, camera->id);

        yajl_gen_map_close(json->gen);
    }

    yajl_gen_array_close(json->gen);
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
