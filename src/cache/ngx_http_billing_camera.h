
/*
 * A camera: its fields as they stand in the cache, and as JSON in the answer.
 */


#ifndef _NGX_HTTP_BILLING_CAMERA_H_INCLUDED_
#define _NGX_HTTP_BILLING_CAMERA_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_billing_json.h"


/* in the order in which they stand in the answer */

enum {
    NGX_HTTP_BILLING_CAMERA_EXTERNAL_ID = 0,
    NGX_HTTP_BILLING_CAMERA_START_AT,
    NGX_HTTP_BILLING_CAMERA_STATUS,
    NGX_HTTP_BILLING_CAMERA_NAME,
    NGX_HTTP_BILLING_CAMERA_GROUP_TYPE,
    NGX_HTTP_BILLING_CAMERA_STREAMS,
    NGX_HTTP_BILLING_CAMERA_PREVIEW,
    NGX_HTTP_BILLING_CAMERA_FIELDS
};

#define NGX_HTTP_BILLING_CAMERA_PLAIN                                         \
    ((1 << NGX_HTTP_BILLING_CAMERA_FIELDS) - 1)


typedef struct {
    /* from 1; its digits, as they stand in the key */
    int64_t       id;
    ngx_str_t     digits;

    /* those that are absent have no data */
    ngx_str_t     fields[NGX_HTTP_BILLING_CAMERA_FIELDS];

    ngx_uint_t    nstreams;

    /* a bit for each field that JSON takes as it is; bytes more for others */
    ngx_uint_t    plain;
    size_t        escapes;
} ngx_http_billing_camera_t;


/* The names of the fields. */
extern ngx_str_t  ngx_http_billing_camera_names[];


/*
 * Counts the streams.  Returns NGX_OK, or NGX_ERROR if they are not
 * "type=status,...".
 */
ngx_int_t ngx_http_billing_camera_count_streams(
    ngx_http_billing_camera_t *camera);

/* Writes the camera, whose texts were checked and streams counted. */
void ngx_http_billing_camera_json(ngx_http_billing_camera_t *camera,
    ngx_http_billing_json_t *json);


#endif /* _NGX_HTTP_BILLING_CAMERA_H_INCLUDED_ */
