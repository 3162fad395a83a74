
#include "ngx_http_billing_cache_reply.h"


/* a score of a sorted set is exact up to here */

#define NGX_HTTP_BILLING_CACHE_MAX_ID  9007199254740991LL


#if (NGX_HTTP_BILLING_REDIS_PADDING < NGX_HTTP_BILLING_JSON_BLOCK)
#error "a block is copied that may end after what Redis has sent"
#endif


static ngx_uint_t ngx_http_billing_cache_found_string(
    ngx_http_billing_lookup_t *lookup, ngx_http_billing_redis_reply_t *reply);
static ngx_int_t ngx_http_billing_cache_read_fields(
    ngx_http_billing_cache_t *cache, ngx_http_billing_lookup_t *lookup,
    ngx_str_t *value);
static ngx_int_t ngx_http_billing_cache_read_texts(
    ngx_http_billing_lookup_t *lookup);
static int64_t ngx_http_billing_cache_id(ngx_str_t *text);
static ngx_uint_t ngx_http_billing_cache_score(ngx_str_t *text, int64_t id);


/* 0 without an error: there is no such key */

static ngx_uint_t
ngx_http_billing_cache_found_string(ngx_http_billing_lookup_t *lookup,
    ngx_http_billing_redis_reply_t *reply)
{
    if (reply->type == NGX_HTTP_BILLING_REDIS_STRING) {
        lookup->found = 1;

    } else if (reply->type != NGX_HTTP_BILLING_REDIS_NIL) {
        lookup->error = "is not answered by a string";
    }

    return lookup->found;
}


ngx_int_t
ngx_http_billing_cache_read_token(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup, ngx_http_billing_redis_reply_t *reply)
{
    if (!ngx_http_billing_cache_found_string(lookup, reply)) {
        return lookup->error ? NGX_ERROR : NGX_OK;
    }

    if (ngx_http_billing_json_utf8_length(&reply->text) == NGX_ERROR) {
        lookup->error = "holds text that is not UTF-8";
        return NGX_ERROR;
    }

    return ngx_http_billing_cache_copy(cache->pool, &lookup->text,
                                       &reply->text);
}


ngx_int_t
ngx_http_billing_cache_read_external(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup, ngx_http_billing_redis_reply_t *reply)
{
    if (!ngx_http_billing_cache_found_string(lookup, reply)) {
        return lookup->error ? NGX_ERROR : NGX_OK;
    }

    lookup->id = ngx_http_billing_cache_id(&reply->text);

    if (lookup->id == 0) {
        lookup->error = "holds no camera id";
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_billing_cache_read_synced_at(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup, ngx_http_billing_redis_reply_t *reply)
{
    if (!ngx_http_billing_cache_found_string(lookup, reply)) {
        return lookup->error ? NGX_ERROR : NGX_OK;
    }

    lookup->id = ngx_atotm(reply->text.data, reply->text.len);

    if (lookup->id == NGX_ERROR) {
        lookup->error = "holds no time";
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_billing_cache_read_member(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup, ngx_http_billing_redis_reply_t *reply)
{
    if (!ngx_http_billing_cache_found_string(lookup, reply)) {
        return lookup->error ? NGX_ERROR : NGX_OK;
    }

    if (!ngx_http_billing_cache_score(&reply->text, lookup->id)) {
        lookup->error = "holds a score that is not its member";
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_billing_cache_read_login(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup, ngx_http_billing_redis_reply_t *reply)
{
    int64_t     id, last, *ids;
    ngx_uint_t  i;

    if (reply->type != NGX_HTTP_BILLING_REDIS_ARRAY) {
        lookup->error = "is not answered by members";
        return NGX_ERROR;
    }

    if (reply->nelts > cache->ids->nalloc) {
        lookup->error = "is answered by more members than were asked for";
        return NGX_ERROR;
    }

    ids = cache->ids->elts;
    last = lookup->id;

    for (i = 0; i < reply->nelts; i++) {

        id = ngx_http_billing_cache_id(&reply->elts[i]);

        if (id == 0 || id > NGX_HTTP_BILLING_CACHE_MAX_ID) {
            lookup->error = "holds a member that is no camera id";
            return NGX_ERROR;
        }

        /* they come in the order of their scores */

        if (id <= last) {
            lookup->error = "holds a score that is not its member";
            return NGX_ERROR;
        }

        ids[i] = id;
        last = id;
    }

    cache->ids->nelts = reply->nelts;
    lookup->found = (reply->nelts != 0);

    return NGX_OK;
}


ngx_int_t
ngx_http_billing_cache_read_camera(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup, ngx_http_billing_redis_reply_t *reply)
{
    if (reply->type != NGX_HTTP_BILLING_REDIS_ARRAY
        || reply->nelts != NGX_HTTP_BILLING_CAMERA_FIELDS)
    {
        lookup->error = "is not answered by the fields asked for";
        return NGX_ERROR;
    }

    if (ngx_http_billing_cache_read_fields(cache, lookup, reply->elts)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    lookup->unsure = !lookup->found;

    return NGX_OK;
}


ngx_int_t
ngx_http_billing_cache_read_hash(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup, ngx_http_billing_redis_reply_t *reply)
{
    ngx_str_t   *name, *elt, value[NGX_HTTP_BILLING_CAMERA_FIELDS];
    ngx_uint_t   i, n;

    if (reply->type != NGX_HTTP_BILLING_REDIS_ARRAY || reply->nelts % 2) {
        lookup->error = "is not answered by fields and values";
        return NGX_ERROR;
    }

    elt = reply->elts;

    for (i = 0; i < reply->nelts; i++) {
        if (elt[i].data == NULL) {
            lookup->error = "is not answered by fields and values";
            return NGX_ERROR;
        }
    }

    name = ngx_http_billing_camera_names;

    for (n = 0; n < NGX_HTTP_BILLING_CAMERA_FIELDS; n++) {

        ngx_str_null(&value[n]);

        for (i = 0; i < reply->nelts; i += 2) {

            if (elt[i].len == name[n].len
                && ngx_memcmp(elt[i].data, name[n].data, name[n].len) == 0)
            {
                value[n] = elt[i + 1];
            }
        }
    }

    if (ngx_http_billing_cache_read_fields(cache, lookup, value) != NGX_OK) {
        return NGX_ERROR;
    }

    lookup->found = (reply->nelts != 0);

    return NGX_OK;
}


/* in the order of their names; found is set if there is any */

static ngx_int_t
ngx_http_billing_cache_read_fields(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup, ngx_str_t *value)
{
    u_char      *p;
    size_t       size;
    ngx_str_t    text, *field;
    ngx_uint_t   i;

    size = 0;

    for (i = 0; i < NGX_HTTP_BILLING_CAMERA_FIELDS; i++) {
        size += value[i].len;

        if (value[i].data) {
            lookup->found = 1;
        }
    }

    p = ngx_pnalloc(cache->pool, size + NGX_HTTP_BILLING_JSON_BLOCK);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text.data = p;
    text.len = ngx_align(size, NGX_HTTP_BILLING_JSON_BLOCK);

    field = lookup->camera.fields;

    for (i = 0; i < NGX_HTTP_BILLING_CAMERA_FIELDS; i++) {

        if (value[i].data == NULL) {
            ngx_str_null(&field[i]);
            continue;
        }

        field[i].data = p;
        field[i].len = value[i].len;

        p = ngx_http_billing_json_copy(p, &value[i]);
    }

    /* most are plain, and that is seen at once, in whole blocks */

    ngx_memset(p, ' ', NGX_HTTP_BILLING_JSON_BLOCK);

    if (ngx_http_billing_json_is_plain(&text)) {
        lookup->camera.plain = NGX_HTTP_BILLING_CAMERA_PLAIN;
        lookup->camera.escapes = 0;

    } else if (ngx_http_billing_cache_read_texts(lookup) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_billing_camera_count_streams(&lookup->camera) != NGX_OK) {
        lookup->error = "holds streams that are not \"type=status,...\"";
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_cache_read_texts(ngx_http_billing_lookup_t *lookup)
{
    size_t       n;
    ngx_str_t   *field;
    ngx_uint_t   i;

    field = lookup->camera.fields;

    lookup->camera.plain = 0;
    lookup->camera.escapes = 0;

    for (i = 0; i < NGX_HTTP_BILLING_CAMERA_FIELDS; i++) {

        if (ngx_http_billing_json_utf8_length(&field[i]) == NGX_ERROR) {
            lookup->error = "holds text that is not UTF-8";
            return NGX_ERROR;
        }

        n = ngx_escape_json(NULL, field[i].data, field[i].len);

        if (n == 0) {
            lookup->camera.plain |= 1 << i;
        }

        lookup->camera.escapes += n;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_billing_cache_copy(ngx_pool_t *pool, ngx_str_t *dst, ngx_str_t *text)
{
    u_char  *p;

    p = ngx_pnalloc(pool, text->len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(p, text->data, text->len);

    dst->data = p;
    dst->len = text->len;

    return NGX_OK;
}


/* an id from 1 as its digits, or 0 if it is none */

static int64_t
ngx_http_billing_cache_id(ngx_str_t *text)
{
    off_t  id;

    if (text->len == 0 || text->data[0] == '0') {
        return 0;
    }

    id = ngx_atoof(text->data, text->len);

    return (id == NGX_ERROR) ? 0 : id;
}


/* Redis prints a score as a double, and may do so with an exponent */

static ngx_uint_t
ngx_http_billing_cache_score(ngx_str_t *text, int64_t id)
{
    char    *p, *end;
    double   score;

    p = (char *) text->data;
    score = strtod(p, &end);

    return (end == p + text->len && score == (double) id);
}
