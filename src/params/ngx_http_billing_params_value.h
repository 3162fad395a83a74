
/*
 * The values that a caller sent for the parameters.  Both the body and the
 * query string are read into them, by the rules of Laravel's input middleware.
 * ngx_http_billing_value_decimal() says what text is an integer.
 */


#ifndef _NGX_HTTP_BILLING_PARAMS_VALUE_H_INCLUDED_
#define _NGX_HTTP_BILLING_PARAMS_VALUE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_BILLING_PARAM_IDS    0
#define NGX_HTTP_BILLING_PARAM_UUIDS  1
#define NGX_HTTP_BILLING_PARAM_LOGIN  2
#define NGX_HTTP_BILLING_PARAMS       3

/* characters that a string, or a member's key, may have */

#define NGX_HTTP_BILLING_VALUE_CHARS  255


typedef enum {
    /* absent, null, or a string that is empty when it is trimmed */
    NGX_HTTP_BILLING_VALUE_NULL = 0,
    NGX_HTTP_BILLING_VALUE_STRING,
    NGX_HTTP_BILLING_VALUE_INTEGER,

    /* any other JSON number, true or false */
    NGX_HTTP_BILLING_VALUE_OTHER,

    /* a JSON array or object, "name[]" in a query string */
    NGX_HTTP_BILLING_VALUE_ARRAY
} ngx_http_billing_value_e;


typedef struct ngx_http_billing_value_array_s
    ngx_http_billing_value_array_t;


typedef struct {
    ngx_http_billing_value_e         type;

    /*
     * a trimmed string, or a JSON integer as it was written, in the pool; empty
     * if the text has too many characters
     */
    ngx_str_t                        text;

    /* characters of the text, or members of the array */
    ngx_uint_t                       size;

    /* set if the value is an integer in any spelling that Laravel takes */
    unsigned                         integer:1;
    int64_t                          number;

    /* a member's key; without data, the key is the index in the array */
    ngx_str_t                        key;
    unsigned                         key_too_long:1;

    /* NULL if the value is no array, or a nested one: that is not kept */
    ngx_http_billing_value_array_t  *array;
} ngx_http_billing_value_t;


struct ngx_http_billing_value_array_s {
    /* ngx_http_billing_value_t: the first members, in the order sent */
    ngx_array_t                      members;

    /* the members, by their keys */
    ngx_rbtree_t                     keys;
    ngx_rbtree_node_t                sentinel;

    /* a dummy: each member beyond the limit is written here */
    ngx_http_billing_value_t         rest;
};


/* the values of one source, all of them in the pool */

typedef struct {
    ngx_pool_t                      *pool;

    /* how many members of each array are kept */
    ngx_uint_t                       max;

    ngx_http_billing_value_t         param[NGX_HTTP_BILLING_PARAMS];
} ngx_http_billing_values_t;


extern const ngx_str_t  ngx_http_billing_params_names[NGX_HTTP_BILLING_PARAMS];


/* The number of the parameter; NGX_HTTP_BILLING_PARAMS if there is none. */
ngx_uint_t ngx_http_billing_value_find(const u_char *name, size_t len);

/*
 * These functions set a value.  They replace an earlier one, so of a key that
 * is sent twice, the last value counts.  A member keeps its key.  The text is
 * copied if it is kept.  They return NGX_OK, or NGX_ERROR if there is no
 * memory.
 */

ngx_int_t ngx_http_billing_value_string(ngx_http_billing_values_t *values,
    ngx_http_billing_value_t *value, const u_char *text, size_t len);

/* a number as JSON writes it; keep: the text of an integer may be needed */
ngx_int_t ngx_http_billing_value_number(ngx_http_billing_values_t *values,
    ngx_http_billing_value_t *value, const u_char *text, size_t len,
    ngx_uint_t keep);

ngx_int_t ngx_http_billing_value_array(ngx_http_billing_values_t *values,
    ngx_http_billing_value_t *value);

/* null, true, false, or a nested array */
void ngx_http_billing_value_set(ngx_http_billing_value_t *value,
    ngx_http_billing_value_e type);

/*
 * Returns the array's member with the key, which is copied; if the key is NULL,
 * a new member at the next index.  A member that exists keeps its place.
 * Returns NULL if there is no memory; the pointer is valid until the next call.
 */
ngx_http_billing_value_t *ngx_http_billing_value_member(
    ngx_http_billing_values_t *values, ngx_http_billing_value_t *array,
    ngx_str_t *key);

/* Reads an optional sign, and 0 or digits without a leading zero. */
ngx_int_t ngx_http_billing_value_decimal(const u_char *text, size_t len,
    int64_t *number);


static ngx_inline ngx_uint_t
ngx_http_billing_value_is_sent(ngx_http_billing_value_t *value)
{
    return value->type != NGX_HTTP_BILLING_VALUE_NULL
           && (value->type != NGX_HTTP_BILLING_VALUE_ARRAY || value->size);
}


static ngx_inline ngx_uint_t
ngx_http_billing_value_is_nested(ngx_http_billing_value_t *value)
{
    return value->type == NGX_HTTP_BILLING_VALUE_ARRAY && value->size;
}


#endif /* _NGX_HTTP_BILLING_PARAMS_VALUE_H_INCLUDED_ */
