
#include "ngx_http_billing_camera.h"
#include "ngx_http_billing_decimal.h"


static void ngx_http_billing_camera_parts(ngx_http_billing_camera_t *camera);
static const char *ngx_http_billing_camera_text(
    ngx_http_billing_camera_t *camera, ngx_str_t *value,
    ngx_http_billing_json_part_t *id);
static const char *ngx_http_billing_camera_word(
    ngx_http_billing_camera_t *camera, ngx_str_t *value,
    ngx_http_billing_json_part_t *id);
static const char *ngx_http_billing_camera_streams(
    ngx_http_billing_camera_t *camera, ngx_str_t *value,
    ngx_http_billing_json_part_t *id);


static const char  ngx_http_billing_camera_not_utf8[] =
    "holds text that is not UTF-8";
static const char  ngx_http_billing_camera_no_streams[] =
    "holds streams that are not \"type=status,...\"";


const ngx_http_billing_camera_field_t
ngx_http_billing_camera_fields[NGX_HTTP_BILLING_CAMERA_FIELDS] = {

    { ngx_string("external_id"), ngx_string("external_id"),
      ngx_http_billing_camera_text },

    { ngx_string("start_at"), ngx_string("start_at"),
      ngx_http_billing_camera_word },

    { ngx_string("status"), ngx_string("status"),
      ngx_http_billing_camera_word },

    { ngx_string("name"), ngx_string("name"),
      ngx_http_billing_camera_text },

    { ngx_string("group_type"), ngx_string("group_type"),
      ngx_http_billing_camera_word },

    { ngx_string("streams"), ngx_string("streams"),
      ngx_http_billing_camera_streams },

    { ngx_string("preview"), ngx_string("preview"),
      ngx_http_billing_camera_text }
};


ngx_int_t
ngx_http_billing_camera_init(ngx_http_billing_camera_t *camera,
    ngx_pool_t *pool)
{
    if (ngx_http_billing_json_text_init(&camera->json, pool) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_billing_camera_parts(camera);

    return ngx_http_billing_json_text_ready(&camera->json);
}


/* generates a camera and its streams, with gaps, and cuts them into parts */

static void
ngx_http_billing_camera_parts(ngx_http_billing_camera_t *camera)
{
    ngx_uint_t                              i;
    ngx_http_billing_json_text_t           *json;
    const ngx_http_billing_camera_field_t  *field;

    json = &camera->json;
    field = ngx_http_billing_camera_fields;

    ngx_http_billing_json_map_open(json);

    ngx_http_billing_json_literal(json, "id");
    ngx_http_billing_json_text_gap(json, &camera->id);

    for (i = 0; i < NGX_HTTP_BILLING_CAMERA_FIELDS; i++) {
        ngx_http_billing_json_string(json, &field[i].member);
        ngx_http_billing_json_text_gap(json, &camera->fields[i]);
    }

    ngx_http_billing_json_map_close(json);
    ngx_http_billing_json_text_cut(json, &camera->end);

    yajl_gen_reset(json->gen, NULL);

    ngx_http_billing_json_null(json);
    ngx_http_billing_json_text_cut(json, &camera->null);

    yajl_gen_reset(json->gen, NULL);

    ngx_http_billing_json_array_open(json);
    ngx_http_billing_json_text_cut(json, &camera->streams);

    ngx_http_billing_json_map_open(json);

    ngx_http_billing_json_literal(json, "type");
    ngx_http_billing_json_text_gap(json, &camera->type);

    ngx_http_billing_json_literal(json, "status");
    ngx_http_billing_json_text_gap(json, &camera->status);

    ngx_http_billing_json_literal(json, "camera_id");
    ngx_http_billing_json_text_gap(json, &camera->camera_id);

    ngx_http_billing_json_map_close(json);
    ngx_http_billing_json_text_cut(json, &camera->stream_end);

    ngx_http_billing_json_text_gap(json, &camera->comma);

    ngx_http_billing_json_array_close(json);
    ngx_http_billing_json_text_cut(json, &camera->streams_end);
}


ngx_int_t
ngx_http_billing_camera_json(ngx_http_billing_camera_t *camera,
    ngx_http_billing_json_room_t *room, int64_t id, ngx_str_t *values,
    ngx_str_t *text, const char **error)
{
    ngx_uint_t                              i;
    ngx_http_billing_json_part_t            digits;
    ngx_http_billing_json_text_t           *json;
    const ngx_http_billing_camera_field_t  *field;

    json = &camera->json;
    field = ngx_http_billing_camera_fields;

    /* yajl_gen_integer() prints by a format: a sixth of a camera's time */

    digits.len = ngx_http_billing_decimal(digits.data, id) - digits.data;

    ngx_http_billing_json_text_start(json, room);

    ngx_http_billing_json_text_part(json, &camera->id);
    ngx_http_billing_json_text_part(json, &digits);

    for (i = 0; i < NGX_HTTP_BILLING_CAMERA_FIELDS; i++) {

        ngx_http_billing_json_text_part(json, &camera->fields[i]);

        *error = field[i].write(camera, &values[i], &digits);

        if (*error) {
            return NGX_DECLINED;
        }
    }

    ngx_http_billing_json_text_part(json, &camera->end);

    return ngx_http_billing_json_text_end(json, text);
}


static const char *
ngx_http_billing_camera_text(ngx_http_billing_camera_t *camera,
    ngx_str_t *value, ngx_http_billing_json_part_t *id)
{
    if (value->data == NULL) {
        ngx_http_billing_json_text_part(&camera->json, &camera->null);
        return NULL;
    }

    return (ngx_http_billing_json_text_string(&camera->json, value) == NGX_OK)
           ? NULL : ngx_http_billing_camera_not_utf8;
}


static const char *
ngx_http_billing_camera_word(ngx_http_billing_camera_t *camera,
    ngx_str_t *value, ngx_http_billing_json_part_t *id)
{
    if (value->data == NULL) {
        ngx_http_billing_json_text_part(&camera->json, &camera->null);
        return NULL;
    }

    return (ngx_http_billing_json_text_word(&camera->json, value) == NGX_OK)
           ? NULL : ngx_http_billing_camera_not_utf8;
}


/* "type=status,type=status": a status may be empty, and a type may not */

static const char *
ngx_http_billing_camera_streams(ngx_http_billing_camera_t *camera,
    ngx_str_t *value, ngx_http_billing_json_part_t *id)
{
    u_char                        *p, *last;
    ngx_str_t                      type, status;
    const char                    *error;
    ngx_http_billing_json_text_t  *json;

    json = &camera->json;

    p = value->data;
    last = p + value->len;

    ngx_http_billing_json_text_part(json, &camera->streams);

    while (p < last) {

        if (p != value->data) {
            ngx_http_billing_json_text_part(json, &camera->comma);
        }

        type.data = p;

        while (p < last && *p != '=' && *p != ',') {
            p++;
        }

        type.len = p - type.data;

        if (type.len == 0 || p == last || *p == ',') {
            return ngx_http_billing_camera_no_streams;
        }

        status.data = ++p;

        while (p < last && *p != ',') {
            p++;
        }

        status.len = p - status.data;

        if (p < last && ++p == last) {
            return ngx_http_billing_camera_no_streams;
        }

        if (status.len == 0) {
            status.data = NULL;
        }

        ngx_http_billing_json_text_part(json, &camera->type);

        error = ngx_http_billing_camera_word(camera, &type, id);
        if (error) {
            return error;
        }

        ngx_http_billing_json_text_part(json, &camera->status);

        error = ngx_http_billing_camera_word(camera, &status, id);
        if (error) {
            return error;
        }

        ngx_http_billing_json_text_part(json, &camera->camera_id);
        ngx_http_billing_json_text_part(json, id);
        ngx_http_billing_json_text_part(json, &camera->stream_end);
    }

    ngx_http_billing_json_text_part(json, &camera->streams_end);

    return NULL;
}
