
/*
 * A camera: its fields as they stand in the cache, and as JSON in the answer.
 */


#ifndef _NGX_HTTP_BILLING_CAMERA_H_INCLUDED_
#define _NGX_HTTP_BILLING_CAMERA_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_billing_json.h"


/* fields that are absent have no data */

typedef struct {
    int64_t       id;
    ngx_str_t     external_id;
    ngx_str_t     start_at;
    ngx_str_t     status;
    ngx_str_t     name;
    ngx_str_t     group_type;
    ngx_str_t     streams;
    ngx_str_t     preview;
} ngx_http_billing_camera_t;


/* Returns the field of this name, to be set, or NULL if there is none. */
ngx_str_t *ngx_http_billing_camera_field(ngx_http_billing_camera_t *camera,
    const char *name, size_t len);

/* Returns NGX_OK, or NGX_ERROR if the streams are not "type=status,...". */
ngx_int_t ngx_http_billing_camera_check_streams(
    ngx_http_billing_camera_t *camera);

/* Writes the camera, whose streams were checked. */
void ngx_http_billing_camera_json(ngx_http_billing_camera_t *camera,
    ngx_http_billing_json_t *json);


#endif /* _NGX_HTTP_BILLING_CAMERA_H_INCLUDED_ */
