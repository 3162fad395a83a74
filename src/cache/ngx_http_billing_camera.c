
#include "ngx_http_billing_camera.h"


/* bytes of a camera's JSON, and of a stream's, without what they hold */

#define NGX_HTTP_BILLING_CAMERA_JSON                                          \
    (sizeof("{\"id\":,\"external_id\":null,\"start_at\":null,"                \
            "\"status\":null,\"name\":null,\"group_type\":null,"              \
            "\"streams\":[],\"preview\":null}") - 1)

#define NGX_HTTP_BILLING_STREAM_JSON                                          \
    (sizeof(",{\"type\":\"\",\"status\":null,\"camera_id\":}") - 1)


#define ngx_http_billing_camera_literal(p, text)                              \
    ngx_cpymem(p, text, sizeof(text) - 1)


static u_char *ngx_http_billing_camera_field(u_char *p,
    ngx_http_billing_camera_t *camera, ngx_uint_t i);
static u_char *ngx_http_billing_camera_streams(u_char *p,
    ngx_http_billing_camera_t *camera);
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


ngx_int_t
ngx_http_billing_camera_count_streams(ngx_http_billing_camera_t *camera)
{
    u_char     *p, *last;
    ngx_str_t  *streams, type, status;

    streams = &camera->fields[NGX_HTTP_BILLING_CAMERA_STREAMS];

    p = streams->data;
    last = p + streams->len;

    camera->nstreams = 0;

    while (p < last) {
        p = ngx_http_billing_stream_next(p, last, &type, &status);

        if (type.len == 0 || (p == last && last[-1] == ',')) {
            return NGX_ERROR;
        }

        camera->nstreams++;
    }

    return NGX_OK;
}


void
ngx_http_billing_camera_json(ngx_http_billing_camera_t *camera,
    ngx_http_billing_json_t *json)
{
    u_char      *p;
    size_t       size;
    ngx_uint_t   i;

    size = NGX_HTTP_BILLING_CAMERA_JSON + camera->digits.len + camera->escapes
           + camera->nstreams
             * (NGX_HTTP_BILLING_STREAM_JSON + camera->digits.len)
           + NGX_HTTP_BILLING_JSON_BLOCK;

    for (i = 0; i < NGX_HTTP_BILLING_CAMERA_FIELDS; i++) {
        size += camera->fields[i].len;
    }

    p = ngx_http_billing_json_reserve(json, size);
    if (p == NULL) {
        return;
    }

    p = ngx_http_billing_camera_literal(p, "{\"id\":");
    p = ngx_cpymem(p, camera->digits.data, camera->digits.len);

    p = ngx_http_billing_camera_literal(p, ",\"external_id\":");
    p = ngx_http_billing_camera_field(p, camera,
                                      NGX_HTTP_BILLING_CAMERA_EXTERNAL_ID);

    p = ngx_http_billing_camera_literal(p, ",\"start_at\":");
    p = ngx_http_billing_camera_field(p, camera,
                                      NGX_HTTP_BILLING_CAMERA_START_AT);

    p = ngx_http_billing_camera_literal(p, ",\"status\":");
    p = ngx_http_billing_camera_field(p, camera,
                                      NGX_HTTP_BILLING_CAMERA_STATUS);

    p = ngx_http_billing_camera_literal(p, ",\"name\":");
    p = ngx_http_billing_camera_field(p, camera, NGX_HTTP_BILLING_CAMERA_NAME);

    p = ngx_http_billing_camera_literal(p, ",\"group_type\":");
    p = ngx_http_billing_camera_field(p, camera,
                                      NGX_HTTP_BILLING_CAMERA_GROUP_TYPE);

    p = ngx_http_billing_camera_literal(p, ",\"streams\":");
    p = ngx_http_billing_camera_streams(p, camera);

    p = ngx_http_billing_camera_literal(p, ",\"preview\":");
    p = ngx_http_billing_camera_field(p, camera,
                                      NGX_HTTP_BILLING_CAMERA_PREVIEW);

    *p++ = '}';

    ngx_http_billing_json_commit(json, p);
}


static u_char *
ngx_http_billing_camera_field(u_char *p, ngx_http_billing_camera_t *camera,
    ngx_uint_t i)
{
    return ngx_http_billing_json_text(p, &camera->fields[i],
                                      camera->plain & (1 << i));
}


static u_char *
ngx_http_billing_camera_streams(u_char *p, ngx_http_billing_camera_t *camera)
{
    u_char      *q, *last;
    ngx_str_t   *streams, type, status;
    ngx_uint_t   plain;

    streams = &camera->fields[NGX_HTTP_BILLING_CAMERA_STREAMS];
    plain = camera->plain & (1 << NGX_HTTP_BILLING_CAMERA_STREAMS);

    q = streams->data;
    last = q + streams->len;

    *p++ = '[';

    while (q < last) {

        if (q != streams->data) {
            *p++ = ',';
        }

        q = ngx_http_billing_stream_next(q, last, &type, &status);

        p = ngx_http_billing_camera_literal(p, "{\"type\":");
        p = ngx_http_billing_json_text(p, &type, plain);

        p = ngx_http_billing_camera_literal(p, ",\"status\":");
        p = ngx_http_billing_json_text(p, &status, plain);

        p = ngx_http_billing_camera_literal(p, ",\"camera_id\":");
        p = ngx_cpymem(p, camera->digits.data, camera->digits.len);

        *p++ = '}';
    }

    *p++ = ']';

    return p;
}


/* of "type=status,...": returns where the next one begins */

static u_char *
ngx_http_billing_stream_next(u_char *p, u_char *last, ngx_str_t *type,
    ngx_str_t *status)
{
    u_char  *end, *eq;

    for (eq = p; eq < last && *eq != '=' && *eq != ','; eq++) { /* void */ }
    for (end = eq; end < last && *end != ','; end++) { /* void */ }

    if (eq < end) {
        type->data = p;
        type->len = eq - p;

        status->len = end - (eq + 1);
        status->data = status->len ? eq + 1 : NULL;

    } else {
        ngx_str_null(type);
        ngx_str_null(status);
    }

    return (end == last) ? last : end + 1;
}
