
#include "ngx_http_billing_cache_reply.h"


/* a score of a sorted set is exact up to here */

#define NGX_HTTP_BILLING_CACHE_MAX_ID  9007199254740991LL


static ngx_uint_t ngx_http_billing_cache_found_string(
    ngx_http_billing_lookup_t *lookup, redisReply *reply);
static ngx_int_t ngx_http_billing_cache_read_fields(
    ngx_http_billing_lookup_t *lookup, redisReply **element);
static int64_t ngx_http_billing_cache_id(redisReply *reply);
static ngx_uint_t ngx_http_billing_cache_score(redisReply *reply, int64_t id);


/* 0 without an error: there is no such key */

static ngx_uint_t
ngx_http_billing_cache_found_string(ngx_http_billing_lookup_t *lookup,
    redisReply *reply)
{
    if (reply->type == REDIS_REPLY_STRING) {
        lookup->found = 1;

    } else if (reply->type != REDIS_REPLY_NIL) {
        lookup->error = "is not answered by a string";
    }

    return lookup->found;
}


ngx_int_t
ngx_http_billing_cache_read_token(ngx_http_billing_lookup_t *lookup,
    redisReply *reply)
{
    if (!ngx_http_billing_cache_found_string(lookup, reply)) {
        return lookup->error ? NGX_ERROR : NGX_OK;
    }

    if (ngx_http_billing_cache_copy(lookup->pool, &lookup->text, reply)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_billing_json_utf8_length(&lookup->text) == NGX_ERROR) {
        lookup->error = "holds text that is not UTF-8";
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_billing_cache_read_external(ngx_http_billing_lookup_t *lookup,
    redisReply *reply)
{
    if (!ngx_http_billing_cache_found_string(lookup, reply)) {
        return lookup->error ? NGX_ERROR : NGX_OK;
    }

    lookup->id = ngx_http_billing_cache_id(reply);

    if (lookup->id == 0) {
        lookup->error = "holds no camera id";
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_billing_cache_read_synced_at(ngx_http_billing_lookup_t *lookup,
    redisReply *reply)
{
    if (!ngx_http_billing_cache_found_string(lookup, reply)) {
        return lookup->error ? NGX_ERROR : NGX_OK;
    }

    lookup->id = ngx_atotm((u_char *) reply->str, reply->len);

    if (lookup->id == NGX_ERROR) {
        lookup->error = "holds no time";
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_billing_cache_read_member(ngx_http_billing_lookup_t *lookup,
    redisReply *reply)
{
    if (!ngx_http_billing_cache_found_string(lookup, reply)) {
        return lookup->error ? NGX_ERROR : NGX_OK;
    }

    if (!ngx_http_billing_cache_score(reply, lookup->id)) {
        lookup->error = "holds a score that is not its member";
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_billing_cache_read_login(ngx_http_billing_lookup_t *lookup,
    redisReply *reply)
{
    size_t    i;
    int64_t   id, last, *idp;

    if (reply->type != REDIS_REPLY_ARRAY) {
        lookup->error = "is not answered by members";
        return NGX_ERROR;
    }

    if (reply->elements > lookup->max) {
        lookup->error = "is answered by more members than were asked for";
        return NGX_ERROR;
    }

    lookup->ids.nelts = 0;
    last = lookup->id;

    for (i = 0; i < reply->elements; i++) {

        id = ngx_http_billing_cache_id(reply->element[i]);

        if (id == 0 || id > NGX_HTTP_BILLING_CACHE_MAX_ID) {
            lookup->error = "holds a member that is no camera id";
            return NGX_ERROR;
        }

        /* they come in the order of their scores */

        if (id <= last) {
            lookup->error = "holds a score that is not its member";
            return NGX_ERROR;
        }

        idp = ngx_array_push(&lookup->ids);
        if (idp == NULL) {
            return NGX_ERROR;
        }

        *idp = id;
        last = id;
    }

    lookup->found = (lookup->ids.nelts != 0);

    return NGX_OK;
}


ngx_int_t
ngx_http_billing_cache_read_camera(ngx_http_billing_lookup_t *lookup,
    redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY
        || reply->elements != NGX_HTTP_BILLING_CAMERA_FIELDS)
    {
        lookup->error = "is not answered by the fields asked for";
        return NGX_ERROR;
    }

    if (ngx_http_billing_cache_read_fields(lookup, reply->element) != NGX_OK) {
        return NGX_ERROR;
    }

    lookup->unsure = !lookup->found;

    return NGX_OK;
}


ngx_int_t
ngx_http_billing_cache_read_hash(ngx_http_billing_lookup_t *lookup,
    redisReply *reply)
{
    size_t       i;
    ngx_str_t   *name;
    ngx_uint_t   n;
    redisReply   nil, *element[NGX_HTTP_BILLING_CAMERA_FIELDS];

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements % 2) {
        lookup->error = "is not answered by fields and values";
        return NGX_ERROR;
    }

    for (i = 0; i < reply->elements; i++) {
        if (reply->element[i]->type != REDIS_REPLY_STRING) {
            lookup->error = "is not answered by fields and values";
            return NGX_ERROR;
        }
    }

    nil.type = REDIS_REPLY_NIL;
    name = ngx_http_billing_camera_names;

    for (n = 0; n < NGX_HTTP_BILLING_CAMERA_FIELDS; n++) {
        element[n] = &nil;

        for (i = 0; i < reply->elements; i += 2) {

            if ((size_t) reply->element[i]->len == name[n].len
                && ngx_memcmp(reply->element[i]->str, name[n].data,
                              name[n].len)
                   == 0)
            {
                element[n] = reply->element[i + 1];
            }
        }
    }

    if (ngx_http_billing_cache_read_fields(lookup, element) != NGX_OK) {
        return NGX_ERROR;
    }

    lookup->found = (reply->elements != 0);

    return NGX_OK;
}


/* in the order of their names; found is set if there is any */

static ngx_int_t
ngx_http_billing_cache_read_fields(ngx_http_billing_lookup_t *lookup,
    redisReply **element)
{
    u_char      *p;
    size_t       size;
    ngx_str_t   *field;
    ngx_uint_t   i;

    size = 0;

    for (i = 0; i < NGX_HTTP_BILLING_CAMERA_FIELDS; i++) {

        if (element[i]->type == REDIS_REPLY_STRING) {
            lookup->found = 1;
            size += element[i]->len;

        } else if (element[i]->type != REDIS_REPLY_NIL) {
            lookup->error = "is not answered by strings";
            return NGX_ERROR;
        }
    }

    p = ngx_pnalloc(lookup->pool, size + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    field = lookup->camera.fields;
    lookup->camera.plain = 0;

    for (i = 0; i < NGX_HTTP_BILLING_CAMERA_FIELDS; i++) {

        if (element[i]->type == REDIS_REPLY_NIL) {
            ngx_str_null(&field[i]);
            continue;
        }

        field[i].data = p;
        field[i].len = element[i]->len;

        p = ngx_cpymem(p, element[i]->str, element[i]->len);

        if (ngx_http_billing_json_is_plain(&field[i])) {
            lookup->camera.plain |= 1 << i;

        } else if (ngx_http_billing_json_utf8_length(&field[i]) == NGX_ERROR) {
            lookup->error = "holds text that is not UTF-8";
            return NGX_ERROR;
        }
    }

    if (ngx_http_billing_camera_check_streams(&lookup->camera) != NGX_OK) {
        lookup->error = "holds streams that are not \"type=status,...\"";
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_billing_cache_copy(ngx_pool_t *pool, ngx_str_t *text,
    redisReply *reply)
{
    text->len = reply->len;
    text->data = ngx_pnalloc(pool, reply->len + 1);
    if (text->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(text->data, reply->str, reply->len);

    return NGX_OK;
}


/* an id from 1 as its digits, or 0 if it is none */

static int64_t
ngx_http_billing_cache_id(redisReply *reply)
{
    off_t  id;

    if (reply->type != REDIS_REPLY_STRING || reply->len == 0
        || reply->str[0] == '0')
    {
        return 0;
    }

    id = ngx_atoof((u_char *) reply->str, reply->len);

    return (id == NGX_ERROR) ? 0 : id;
}


/* Redis prints a score as a double, and may do so with an exponent */

static ngx_uint_t
ngx_http_billing_cache_score(redisReply *reply, int64_t id)
{
    char    *end;
    double   score;

    score = strtod(reply->str, &end);

    return (end == reply->str + reply->len && score == (double) id);
}
