
/*
 * A camera: the table of its fields in Redis, and its JSON.
 */


#ifndef _NGX_HTTP_BILLING_CAMERA_H_INCLUDED_
#define _NGX_HTTP_BILLING_CAMERA_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_billing_json.h"
#include "ngx_http_billing_json_text.h"


#define NGX_HTTP_BILLING_CAMERA_FIELDS  7


/* the parts that the JSON of all cameras has, and the generator of the rest */

typedef struct {
    ngx_http_billing_json_text_t       json;

    /*
     * A camera: the id comes after the first part, a field's value after the
     * part of the field, and nothing after the last part.
     */
    ngx_http_billing_json_part_t       id;
    ngx_http_billing_json_part_t       fields[NGX_HTTP_BILLING_CAMERA_FIELDS];
    ngx_http_billing_json_part_t       end;

    ngx_http_billing_json_part_t       null;

    /* the array of streams: its beginning, what separates streams, its end */
    ngx_http_billing_json_part_t       streams;
    ngx_http_billing_json_part_t       comma;
    ngx_http_billing_json_part_t       streams_end;

    /* a stream: a value comes after each part but the last one */
    ngx_http_billing_json_part_t       type;
    ngx_http_billing_json_part_t       status;
    ngx_http_billing_json_part_t       camera_id;
    ngx_http_billing_json_part_t       stream_end;
} ngx_http_billing_camera_t;


typedef struct {
    /* the name, both in the hash and in JSON */
    ngx_str_t                          name;
    ngx_str_t                          member;

    /* writes a value; returns why the value breaks the contract, or NULL */
    const char                      *(*write)(
                                          ngx_http_billing_camera_t *camera,
                                          ngx_str_t *value,
                                          ngx_http_billing_json_part_t *id);
} ngx_http_billing_camera_field_t;


/* The fields, in the order in which they stand in JSON. */
extern const ngx_http_billing_camera_field_t
    ngx_http_billing_camera_fields[NGX_HTTP_BILLING_CAMERA_FIELDS];


/*
 * Prepares the writing of cameras, at configuration.  The caller has zeroed the
 * structure, which must not move afterwards.  Returns NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_http_billing_camera_init(ngx_http_billing_camera_t *camera,
    ngx_pool_t *pool);

/*
 * Writes a camera's JSON.  The values are in the order of the fields; an absent
 * one has no data.  Returns NGX_OK, NGX_DECLINED and why the values break the
 * contract, or NGX_ERROR if there is no memory.
 */
ngx_int_t ngx_http_billing_camera_json(ngx_http_billing_camera_t *camera,
    ngx_http_billing_json_room_t *room, int64_t id, ngx_str_t *values,
    ngx_str_t *text, const char **error);


#endif /* _NGX_HTTP_BILLING_CAMERA_H_INCLUDED_ */
