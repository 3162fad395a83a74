
/*
 * A camera: its fields as they stand in the cache, and as JSON in the answer.
 */


#ifndef _NGX_HTTP_BILLING_CAMERA_H_INCLUDED_
#define _NGX_HTTP_BILLING_CAMERA_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_billing_json.h"


#define NGX_HTTP_BILLING_CAMERA_STREAMS  5
#define NGX_HTTP_BILLING_CAMERA_FIELDS   7


typedef struct {
    /* from 1; its digits, as they stand in the key */
    int64_t       id;
    ngx_str_t     digits;

    /* in the order of their names; those that are absent have no data */
    ngx_str_t     fields[NGX_HTTP_BILLING_CAMERA_FIELDS];

    /* a bit for each field that JSON takes as it is */
    ngx_uint_t    plain;
} ngx_http_billing_camera_t;


/* The names of the fields, in the order in which they stand in the answer. */
extern ngx_str_t  ngx_http_billing_camera_names[];


/* Returns NGX_OK, or NGX_ERROR if the streams are not "type=status,...". */
ngx_int_t ngx_http_billing_camera_check_streams(
    ngx_http_billing_camera_t *camera);

/* Writes the camera, whose texts and streams were checked. */
void ngx_http_billing_camera_json(ngx_http_billing_camera_t *camera,
    ngx_http_billing_json_t *json);


#endif /* _NGX_HTTP_BILLING_CAMERA_H_INCLUDED_ */
