
#include "ngx_http_billing_cache.h"

#include <openssl/sha.h>


static void ngx_http_billing_cache_reply(void *data, ngx_uint_t n,
    redisReply *reply);
static void ngx_http_billing_cache_done(void *data, ngx_int_t rc);
static void ngx_http_billing_cache_log(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup);
static ngx_int_t ngx_http_billing_cache_escape(ngx_pool_t *pool,
    ngx_str_t *dst, ngx_str_t *src);
static ngx_http_billing_lookup_t *ngx_http_billing_cache_add(
    ngx_http_billing_cache_t *cache, ngx_http_billing_lookup_pt read,
    ngx_str_t *kind, ngx_str_t *name);
static ngx_int_t ngx_http_billing_cache_get(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup);
static ngx_int_t ngx_http_billing_cache_number(ngx_pool_t *pool,
    ngx_str_t *text, int64_t n);

static ngx_int_t ngx_http_billing_cache_read_string(
    ngx_http_billing_lookup_t *lookup, redisReply *reply);
static ngx_int_t ngx_http_billing_cache_read_token(
    ngx_http_billing_lookup_t *lookup, redisReply *reply);
static ngx_int_t ngx_http_billing_cache_read_external(
    ngx_http_billing_lookup_t *lookup, redisReply *reply);
static ngx_int_t ngx_http_billing_cache_read_member(
    ngx_http_billing_lookup_t *lookup, redisReply *reply);
static ngx_int_t ngx_http_billing_cache_read_login(
    ngx_http_billing_lookup_t *lookup, redisReply *reply);
static ngx_int_t ngx_http_billing_cache_read_synced_at(
    ngx_http_billing_lookup_t *lookup, redisReply *reply);
static ngx_int_t ngx_http_billing_cache_read_camera(
    ngx_http_billing_lookup_t *lookup, redisReply *reply);
static ngx_int_t ngx_http_billing_cache_read_field(
    ngx_http_billing_lookup_t *lookup, redisReply *name, redisReply *value);
static ngx_int_t ngx_http_billing_cache_copy(ngx_pool_t *pool, ngx_str_t *text,
    redisReply *reply);
static int64_t ngx_http_billing_cache_id(redisReply *reply);
static ngx_uint_t ngx_http_billing_cache_score(redisReply *reply, int64_t id);


static ngx_str_t  ngx_http_billing_cache_kind_token = ngx_string("token:");
static ngx_str_t  ngx_http_billing_cache_kind_external =
    ngx_string("external:");
static ngx_str_t  ngx_http_billing_cache_kind_camera = ngx_string("camera:");
static ngx_str_t  ngx_http_billing_cache_kind_login = ngx_string("login:");
static ngx_str_t  ngx_http_billing_cache_kind_synced_at =
    ngx_string("synced_at");


ngx_int_t
ngx_http_billing_cache_init(ngx_http_billing_cache_t *cache, ngx_pool_t *pool,
    ngx_str_t *prefix, ngx_uint_t n)
{
    cache->prefix = *prefix;
    cache->pool = pool;

    if (ngx_array_init(&cache->lookups, pool, n,
                       sizeof(ngx_http_billing_lookup_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_billing_redis_pipeline_init(&cache->pipeline, pool, n);
}


ngx_int_t
ngx_http_billing_cache_token(ngx_http_billing_cache_t *cache, ngx_str_t *token)
{
    u_char                      hash[SHA256_DIGEST_LENGTH];
    u_char                      hex[2 * SHA256_DIGEST_LENGTH];
    ngx_str_t                   name;
    ngx_http_billing_lookup_t  *lookup;

    if (SHA256(token->data, token->len, hash) == NULL) {
        return NGX_ERROR;
    }

    name.data = hex;
    name.len = ngx_hex_dump(hex, hash, SHA256_DIGEST_LENGTH) - hex;

    lookup = ngx_http_billing_cache_add(cache,
                                        ngx_http_billing_cache_read_token,
                                        &ngx_http_billing_cache_kind_token,
                                        &name);

    return ngx_http_billing_cache_get(cache, lookup);
}


ngx_int_t
ngx_http_billing_cache_external(ngx_http_billing_cache_t *cache,
    ngx_str_t *external_id)
{
    ngx_http_billing_lookup_t  *lookup;

    lookup = ngx_http_billing_cache_add(cache,
                                        ngx_http_billing_cache_read_external,
                                        &ngx_http_billing_cache_kind_external,
                                        external_id);

    return ngx_http_billing_cache_get(cache, lookup);
}


ngx_int_t
ngx_http_billing_cache_synced_at(ngx_http_billing_cache_t *cache)
{
    ngx_str_t                   name;
    ngx_http_billing_lookup_t  *lookup;

    ngx_str_null(&name);

    lookup = ngx_http_billing_cache_add(cache,
                                        ngx_http_billing_cache_read_synced_at,
                                        &ngx_http_billing_cache_kind_synced_at,
                                        &name);

    return ngx_http_billing_cache_get(cache, lookup);
}


ngx_int_t
ngx_http_billing_cache_camera(ngx_http_billing_cache_t *cache, int64_t id)
{
    ngx_str_t                   name, argv[2];
    ngx_http_billing_lookup_t  *lookup;

    if (ngx_http_billing_cache_number(cache->pool, &name, id) != NGX_OK) {
        return NGX_ERROR;
    }

    lookup = ngx_http_billing_cache_add(cache,
                                        ngx_http_billing_cache_read_camera,
                                        &ngx_http_billing_cache_kind_camera,
                                        &name);
    if (lookup == NULL) {
        return NGX_ERROR;
    }

    lookup->id = id;

    /* not HMGET: to it a hash that is gone looks like one without fields */

    ngx_str_set(&argv[0], "HGETALL");
    argv[1] = lookup->key;

    return ngx_http_billing_redis_command(&cache->pipeline, 2, argv);
}


ngx_int_t
ngx_http_billing_cache_member(ngx_http_billing_cache_t *cache,
    ngx_str_t *login, int64_t id)
{
    ngx_str_t                   argv[3];
    ngx_http_billing_lookup_t  *lookup;

    lookup = ngx_http_billing_cache_add(cache,
                                        ngx_http_billing_cache_read_member,
                                        &ngx_http_billing_cache_kind_login,
                                        login);
    if (lookup == NULL) {
        return NGX_ERROR;
    }

    lookup->id = id;

    ngx_str_set(&argv[0], "ZSCORE");
    argv[1] = lookup->key;

    if (ngx_http_billing_cache_number(cache->pool, &argv[2], id) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_billing_redis_command(&cache->pipeline, 3, argv);
}


ngx_int_t
ngx_http_billing_cache_login(ngx_http_billing_cache_t *cache, ngx_str_t *login,
    int64_t after, ngx_uint_t n)
{
    u_char                     *p;
    ngx_str_t                   argv[8];
    ngx_http_billing_lookup_t  *lookup;

    lookup = ngx_http_billing_cache_add(cache,
                                        ngx_http_billing_cache_read_login,
                                        &ngx_http_billing_cache_kind_login,
                                        login);
    if (lookup == NULL) {
        return NGX_ERROR;
    }

    lookup->id = after;
    lookup->max = n;

    if (ngx_array_init(&lookup->ids, cache->pool, n, sizeof(int64_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_str_set(&argv[0], "ZRANGEBYSCORE");
    argv[1] = lookup->key;

    p = ngx_pnalloc(cache->pool, 1 + NGX_INT64_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    argv[2].data = p;
    argv[2].len = ngx_sprintf(p, "(%L", after) - p;

    ngx_str_set(&argv[3], "+inf");
    ngx_str_set(&argv[4], "WITHSCORES");
    ngx_str_set(&argv[5], "LIMIT");
    ngx_str_set(&argv[6], "0");

    if (ngx_http_billing_cache_number(cache->pool, &argv[7], n) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_billing_redis_command(&cache->pipeline, 8, argv);
}


void
ngx_http_billing_cache_ask(ngx_http_billing_cache_t *cache,
    ngx_http_billing_redis_t *redis, ngx_msec_t timeout, ngx_msec_t left,
    ngx_log_t *log)
{
    cache->log = log;

    cache->pipeline.reply = ngx_http_billing_cache_reply;
    cache->pipeline.done = ngx_http_billing_cache_done;
    cache->pipeline.data = cache;

    ngx_http_billing_redis_send(redis, &cache->pipeline, timeout, left);
}


void
ngx_http_billing_cache_cancel(ngx_http_billing_cache_t *cache)
{
    ngx_http_billing_redis_cancel(&cache->pipeline);
}


static void
ngx_http_billing_cache_reply(void *data, ngx_uint_t n, redisReply *reply)
{
    ngx_http_billing_cache_t *cache = data;

    ngx_http_billing_lookup_t  *lookup;

    lookup = cache->lookups.elts;
    lookup += n;

    lookup->error = NULL;
    lookup->found = 0;
    lookup->reply.len = 0;

    if (reply->type != REDIS_REPLY_ERROR) {

        if (lookup->read(lookup, reply) != NGX_OK && lookup->error == NULL) {
            lookup->error = "cannot be read for want of memory";
        }

        return;
    }

    lookup->error = "cannot be read";

    if (ngx_http_billing_cache_copy(cache->pool, &lookup->reply, reply)
        != NGX_OK)
    {
        lookup->reply.len = 0;
    }
}


static void
ngx_http_billing_cache_done(void *data, ngx_int_t rc)
{
    ngx_http_billing_cache_t *cache = data;

    ngx_uint_t                  i;
    ngx_http_billing_lookup_t  *lookup;

    lookup = cache->lookups.elts;

    for (i = 0; i < cache->lookups.nelts && rc == NGX_OK; i++) {
        if (lookup[i].error) {
            ngx_http_billing_cache_log(cache, &lookup[i]);
            rc = NGX_ERROR;
        }
    }

    cache->done(cache->data, rc);
}


/* what a caller or Redis has sent may hold control characters */

static void
ngx_http_billing_cache_log(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup)
{
    ngx_str_t  key, reply;

    if (ngx_http_billing_cache_escape(cache->pool, &key, &lookup->key)
        != NGX_OK
        || ngx_http_billing_cache_escape(cache->pool, &reply, &lookup->reply)
           != NGX_OK)
    {
        return;
    }

    ngx_log_error(NGX_LOG_ERR, cache->log, 0, "redis key \"%V\" %s%s%V", &key,
                  lookup->error, reply.len ? ": " : "", &reply);
}


static ngx_int_t
ngx_http_billing_cache_escape(ngx_pool_t *pool, ngx_str_t *dst, ngx_str_t *src)
{
    dst->data = ngx_pnalloc(pool, src->len
                            + ngx_escape_json(NULL, src->data, src->len) + 1);
    if (dst->data == NULL) {
        return NGX_ERROR;
    }

    dst->len = (u_char *) ngx_escape_json(dst->data, src->data, src->len)
               - dst->data;

    return NGX_OK;
}


static ngx_http_billing_lookup_t *
ngx_http_billing_cache_add(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_pt read, ngx_str_t *kind, ngx_str_t *name)
{
    u_char                     *p;
    ngx_http_billing_lookup_t  *lookup;

    lookup = ngx_array_push(&cache->lookups);
    if (lookup == NULL) {
        return NULL;
    }

    ngx_memzero(lookup, sizeof(ngx_http_billing_lookup_t));

    lookup->key.len = cache->prefix.len + kind->len + name->len;

    p = ngx_pnalloc(cache->pool, lookup->key.len);
    if (p == NULL) {
        return NULL;
    }

    lookup->key.data = p;
    lookup->pool = cache->pool;
    lookup->read = read;

    p = ngx_cpymem(p, cache->prefix.data, cache->prefix.len);
    p = ngx_cpymem(p, kind->data, kind->len);
    ngx_memcpy(p, name->data, name->len);

    return lookup;
}


static ngx_int_t
ngx_http_billing_cache_get(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup)
{
    ngx_str_t  argv[2];

    if (lookup == NULL) {
        return NGX_ERROR;
    }

    ngx_str_set(&argv[0], "GET");
    argv[1] = lookup->key;

    return ngx_http_billing_redis_command(&cache->pipeline, 2, argv);
}


static ngx_int_t
ngx_http_billing_cache_number(ngx_pool_t *pool, ngx_str_t *text, int64_t n)
{
    text->data = ngx_pnalloc(pool, NGX_INT64_LEN);
    if (text->data == NULL) {
        return NGX_ERROR;
    }

    text->len = ngx_sprintf(text->data, "%L", n) - text->data;

    return NGX_OK;
}


/*
 * These read a reply into its lookup.  They return NGX_OK, or NGX_ERROR with
 * lookup->error, or without it for want of memory.
 */

static ngx_int_t
ngx_http_billing_cache_read_string(ngx_http_billing_lookup_t *lookup,
    redisReply *reply)
{
    if (reply->type == REDIS_REPLY_NIL) {
        return NGX_OK;
    }

    if (reply->type != REDIS_REPLY_STRING) {
        lookup->error = "is not answered by a string";
        return NGX_ERROR;
    }

    lookup->found = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_cache_read_token(ngx_http_billing_lookup_t *lookup,
    redisReply *reply)
{
    if (ngx_http_billing_cache_read_string(lookup, reply) != NGX_OK) {
        return NGX_ERROR;
    }

    if (!lookup->found) {
        return NGX_OK;
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


static ngx_int_t
ngx_http_billing_cache_read_external(ngx_http_billing_lookup_t *lookup,
    redisReply *reply)
{
    if (ngx_http_billing_cache_read_string(lookup, reply) != NGX_OK) {
        return NGX_ERROR;
    }

    if (!lookup->found) {
        return NGX_OK;
    }

    lookup->id = ngx_http_billing_cache_id(reply);

    if (lookup->id == 0) {
        lookup->error = "holds no camera id";
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_cache_read_synced_at(ngx_http_billing_lookup_t *lookup,
    redisReply *reply)
{
    if (ngx_http_billing_cache_read_string(lookup, reply) != NGX_OK) {
        return NGX_ERROR;
    }

    if (lookup->found && ngx_atotm((u_char *) reply->str, reply->len)
                         == NGX_ERROR)
    {
        lookup->error = "holds no time";
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_cache_read_member(ngx_http_billing_lookup_t *lookup,
    redisReply *reply)
{
    if (ngx_http_billing_cache_read_string(lookup, reply) != NGX_OK) {
        return NGX_ERROR;
    }

    if (lookup->found && !ngx_http_billing_cache_score(reply, lookup->id)) {
        lookup->error = "holds a score that is not its member";
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_cache_read_login(ngx_http_billing_lookup_t *lookup,
    redisReply *reply)
{
    size_t    i;
    int64_t   id, last, *idp;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements % 2) {
        lookup->error = "is not answered by members and scores";
        return NGX_ERROR;
    }

    if (reply->elements / 2 > lookup->max) {
        lookup->error = "is answered by more members than were asked for";
        return NGX_ERROR;
    }

    lookup->ids.nelts = 0;
    last = lookup->id;

    for (i = 0; i < reply->elements; i += 2) {

        id = ngx_http_billing_cache_id(reply->element[i]);

        if (id == 0 || id > NGX_HTTP_BILLING_CACHE_MAX_ID) {
            lookup->error = "holds a member that is no camera id";
            return NGX_ERROR;
        }

        /* the list goes on after the last score */

        if (id <= last
            || !ngx_http_billing_cache_score(reply->element[i + 1], id))
        {
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


static ngx_int_t
ngx_http_billing_cache_read_camera(ngx_http_billing_lookup_t *lookup,
    redisReply *reply)
{
    size_t  i;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements % 2) {
        lookup->error = "is not answered by fields and values";
        return NGX_ERROR;
    }

    ngx_memzero(&lookup->camera, sizeof(ngx_http_billing_camera_t));

    lookup->camera.id = lookup->id;

    for (i = 0; i < reply->elements; i += 2) {
        if (ngx_http_billing_cache_read_field(lookup, reply->element[i],
                                              reply->element[i + 1])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (ngx_http_billing_camera_check_streams(&lookup->camera) != NGX_OK) {
        lookup->error = "holds streams that are not \"type=status,...\"";
        return NGX_ERROR;
    }

    lookup->found = (reply->elements != 0);

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_cache_read_field(ngx_http_billing_lookup_t *lookup,
    redisReply *name, redisReply *value)
{
    ngx_str_t  *text;

    if (name->type != REDIS_REPLY_STRING || value->type != REDIS_REPLY_STRING) {
        lookup->error = "is not answered by fields and values";
        return NGX_ERROR;
    }

    text = ngx_http_billing_camera_field(&lookup->camera, name->str, name->len);

    if (text == NULL) {
        return NGX_OK;
    }

    if (ngx_http_billing_cache_copy(lookup->pool, text, value) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_billing_json_utf8_length(text) == NGX_ERROR) {
        lookup->error = "holds text that is not UTF-8";
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
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

    if (reply->type != REDIS_REPLY_STRING) {
        return 0;
    }

    score = strtod(reply->str, &end);

    return (end == reply->str + reply->len && score == (double) id);
}
