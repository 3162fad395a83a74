
/*
 * A camera: the table of its fields in Redis, and its JSON.
 */


#ifndef _NGX_HTTP_BILLING_CAMERA_H_INCLUDED_
#define _NGX_HTTP_BILLING_CAMERA_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_billing_json.h"


#define NGX_HTTP_BILLING_CAMERA_FIELDS  7


typedef struct ngx_http_billing_camera_field_s
    ngx_http_billing_camera_field_t;

/* Writes a value that is UTF-8; NGX_ERROR: the value breaks the contract. */
typedef ngx_int_t (*ngx_http_billing_camera_write_pt)(
    ngx_http_billing_json_t *json, ngx_str_t *value, ngx_str_t *id);


struct ngx_http_billing_camera_field_s {
    /* the name, both in the hash and in JSON */
    ngx_str_t                          name;
    ngx_str_t                          member;

    ngx_http_billing_camera_write_pt   write;

    /* why a value that cannot be written breaks the contract */
    const char                        *error;
};


/* The fields, in the order in which they stand in JSON. */
extern const ngx_http_billing_camera_field_t
    ngx_http_billing_camera_fields[NGX_HTTP_BILLING_CAMERA_FIELDS];


/*
 * Writes a camera's JSON into a string of json's pool.  The values are in the
 * order of the fields; an absent one has no data.  Returns NGX_OK, NGX_DECLINED
 * and why the values break the contract, or NGX_ERROR if there is no memory.
 */
ngx_int_t ngx_http_billing_camera_json(ngx_http_billing_json_t *json,
    int64_t id, ngx_str_t *values, ngx_str_t *text, const char **error);


#endif /* _NGX_HTTP_BILLING_CAMERA_H_INCLUDED_ */
