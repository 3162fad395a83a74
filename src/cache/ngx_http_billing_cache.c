
#include "ngx_http_billing_cache_reply.h"


/* of a login's members: from one on, how many */

#define NGX_HTTP_BILLING_CACHE_LIMIT                                          \
    "$4\r\n+inf\r\n"                                                          \
    "$5\r\nLIMIT\r\n"                                                         \
    "$1\r\n0\r\n"


static ngx_int_t ngx_http_billing_cache_ask_again(
    ngx_http_billing_cache_t *cache);
static void ngx_http_billing_cache_reply(void *data, ngx_uint_t n,
    ngx_http_billing_redis_reply_t *reply);
static void ngx_http_billing_cache_done(void *data,
    ngx_http_billing_redis_result_e result);
static void ngx_http_billing_cache_log(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup);
static ngx_int_t ngx_http_billing_cache_escape(ngx_pool_t *pool,
    ngx_str_t *dst, ngx_str_t *src);
static ngx_int_t ngx_http_billing_cache_get(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_pt read, ngx_str_t *kind, ngx_str_t *name);
static ngx_http_billing_lookup_t *ngx_http_billing_cache_add(
    ngx_http_billing_cache_t *cache, ngx_http_billing_lookup_pt read,
    ngx_str_t *kind, ngx_str_t *name, ngx_str_t *head, ngx_str_t *rest);


static ngx_str_t  ngx_http_billing_cache_kind_token = ngx_string("token:");
static ngx_str_t  ngx_http_billing_cache_kind_external =
    ngx_string("external:");
static ngx_str_t  ngx_http_billing_cache_kind_camera = ngx_string("camera:");
static ngx_str_t  ngx_http_billing_cache_kind_login = ngx_string("login:");
static ngx_str_t  ngx_http_billing_cache_kind_synced_at =
    ngx_string("synced_at");


/* commands of a key: what comes before it, and after */

static ngx_str_t  ngx_http_billing_cache_command_get =
    ngx_string("*2\r\n$3\r\nGET\r\n");
static ngx_str_t  ngx_http_billing_cache_command_hgetall =
    ngx_string("*2\r\n$7\r\nHGETALL\r\n");
static ngx_str_t  ngx_http_billing_cache_command_hmget =
    ngx_string("*9\r\n$5\r\nHMGET\r\n");
static ngx_str_t  ngx_http_billing_cache_command_zscore =
    ngx_string("*3\r\n$6\r\nZSCORE\r\n");
static ngx_str_t  ngx_http_billing_cache_command_zrangebyscore =
    ngx_string("*7\r\n$13\r\nZRANGEBYSCORE\r\n");

static ngx_str_t  ngx_http_billing_cache_no_more = ngx_string("");

/* ngx_http_billing_camera_names */

static ngx_str_t  ngx_http_billing_cache_fields = ngx_string(
    "$11\r\nexternal_id\r\n"
    "$8\r\nstart_at\r\n"
    "$6\r\nstatus\r\n"
    "$4\r\nname\r\n"
    "$10\r\ngroup_type\r\n"
    "$7\r\nstreams\r\n"
    "$7\r\npreview\r\n");


ngx_int_t
ngx_http_billing_cache_require(ngx_conf_t *cf, ngx_http_billing_redis_t *redis,
    ngx_str_t *prefix)
{
    ngx_str_t  key;

    key.len = prefix->len + ngx_http_billing_cache_kind_synced_at.len;

    key.data = ngx_pnalloc(cf->pool, key.len);
    if (key.data == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(key.data, "%V%V", prefix,
                &ngx_http_billing_cache_kind_synced_at);

    return ngx_http_billing_redis_require(cf, redis, &key);
}


ngx_int_t
ngx_http_billing_cache_init(ngx_http_billing_cache_t *cache, ngx_pool_t *pool,
    ngx_str_t *prefix, ngx_uint_t n)
{
    cache->prefix = *prefix;
    cache->pool = pool;
    cache->ids = NULL;
    cache->unsure = NULL;

    n++;

    if (ngx_array_init(&cache->lookups, pool, n,
                       sizeof(ngx_http_billing_lookup_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_billing_redis_pipeline_init(&cache->pipeline, pool, n);
}


ngx_int_t
ngx_http_billing_cache_token(ngx_http_billing_cache_t *cache, u_char *hash)
{
    u_char     hex[2 * NGX_HTTP_BILLING_TOKEN_HASH];
    ngx_str_t  name;

    name.data = hex;
    name.len = ngx_hex_dump(hex, hash, NGX_HTTP_BILLING_TOKEN_HASH) - hex;

    return ngx_http_billing_cache_get(cache, ngx_http_billing_cache_read_token,
                                      &ngx_http_billing_cache_kind_token,
                                      &name);
}


ngx_int_t
ngx_http_billing_cache_external(ngx_http_billing_cache_t *cache,
    ngx_str_t *external_id)
{
    return ngx_http_billing_cache_get(cache,
                                      ngx_http_billing_cache_read_external,
                                      &ngx_http_billing_cache_kind_external,
                                      external_id);
}


ngx_int_t
ngx_http_billing_cache_synced_at(ngx_http_billing_cache_t *cache)
{
    ngx_str_t  name;

    ngx_str_set(&name, "");

    return ngx_http_billing_cache_get(cache,
                                      ngx_http_billing_cache_read_synced_at,
                                      &ngx_http_billing_cache_kind_synced_at,
                                      &name);
}


ngx_int_t
ngx_http_billing_cache_camera(ngx_http_billing_cache_t *cache, int64_t id)
{
    u_char                      digits[NGX_INT64_LEN];
    ngx_str_t                   name;
    ngx_http_billing_camera_t  *camera;
    ngx_http_billing_lookup_t  *lookup;

    name.data = digits;
    name.len = ngx_http_billing_decimal(digits, id) - digits;

    lookup = ngx_http_billing_cache_add(cache,
                                        ngx_http_billing_cache_read_camera,
                                        &ngx_http_billing_cache_kind_camera,
                                        &name,
                                        &ngx_http_billing_cache_command_hmget,
                                        &ngx_http_billing_cache_fields);
    if (lookup == NULL) {
        return NGX_ERROR;
    }

    camera = &lookup->camera;

    camera->id = id;
    camera->digits.len = name.len;
    camera->digits.data = lookup->key.data + lookup->key.len - name.len;

    return NGX_OK;
}


ngx_int_t
ngx_http_billing_cache_member(ngx_http_billing_cache_t *cache,
    ngx_str_t *login, int64_t id)
{
    u_char                     *last, digits[NGX_INT64_LEN];
    u_char                      buf[NGX_HTTP_BILLING_REDIS_ARGUMENT
                                    + NGX_INT64_LEN];
    ngx_str_t                   rest;
    ngx_http_billing_lookup_t  *lookup;

    last = ngx_http_billing_decimal(digits, id);

    rest.data = buf;
    rest.len = ngx_http_billing_redis_argument(buf, digits, last - digits)
               - buf;

    lookup = ngx_http_billing_cache_add(cache,
                                        ngx_http_billing_cache_read_member,
                                        &ngx_http_billing_cache_kind_login,
                                        login,
                                        &ngx_http_billing_cache_command_zscore,
                                        &rest);
    if (lookup == NULL) {
        return NGX_ERROR;
    }

    lookup->id = id;

    return NGX_OK;
}


ngx_int_t
ngx_http_billing_cache_login(ngx_http_billing_cache_t *cache, ngx_str_t *login,
    int64_t after, ngx_array_t *ids)
{
    u_char                     *p, *last;
    u_char                      min[1 + NGX_INT64_LEN], limit[NGX_INT64_LEN];
    u_char                      buf[2 * (NGX_HTTP_BILLING_REDIS_ARGUMENT
                                         + 1 + NGX_INT64_LEN)
                                    + sizeof(NGX_HTTP_BILLING_CACHE_LIMIT)];
    ngx_str_t                   rest;
    ngx_http_billing_lookup_t  *lookup;

    min[0] = '(';
    last = ngx_http_billing_decimal(min + 1, after);

    p = ngx_http_billing_redis_argument(buf, min, last - min);

    p = ngx_cpymem(p, NGX_HTTP_BILLING_CACHE_LIMIT,
                   sizeof(NGX_HTTP_BILLING_CACHE_LIMIT) - 1);

    last = ngx_http_billing_decimal(limit, ids->nalloc);

    rest.data = buf;
    rest.len = ngx_http_billing_redis_argument(p, limit, last - limit) - buf;

    lookup = ngx_http_billing_cache_add(cache,
                                 ngx_http_billing_cache_read_login,
                                 &ngx_http_billing_cache_kind_login, login,
                                 &ngx_http_billing_cache_command_zrangebyscore,
                                 &rest);
    if (lookup == NULL) {
        return NGX_ERROR;
    }

    lookup->id = after;
    cache->ids = ids;

    return NGX_OK;
}


void
ngx_http_billing_cache_ask(ngx_http_billing_cache_t *cache,
    ngx_http_billing_redis_t *redis, ngx_msec_t timeout,
    ngx_msec_t deadline, ngx_log_t *log)
{
    cache->log = log;
    cache->redis = redis;
    cache->timeout = timeout;
    cache->deadline = deadline;

    cache->pipeline.reply = ngx_http_billing_cache_reply;
    cache->pipeline.done = ngx_http_billing_cache_done;
    cache->pipeline.data = cache;

    ngx_http_billing_redis_send(redis, &cache->pipeline, timeout, deadline);
}


/*
 * HMGET answers for a hash that is gone as it does for one that has none of
 * the fields: only of these everything is asked for.
 */

static ngx_int_t
ngx_http_billing_cache_ask_again(ngx_http_billing_cache_t *cache)
{
    u_char                      *p;
    ngx_uint_t                   i, n;
    ngx_http_billing_lookup_t   *lookup, **unsure;

    n = cache->lookups.nelts;
    lookup = cache->lookups.elts;

    unsure = ngx_palloc(cache->pool, n * sizeof(ngx_http_billing_lookup_t *));
    if (unsure == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_billing_redis_pipeline_init(&cache->pipeline, cache->pool, n)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    cache->unsure = unsure;

    for (i = 0; i < n; i++) {

        if (!lookup[i].unsure) {
            continue;
        }

        *unsure++ = &lookup[i];

        lookup[i].read = ngx_http_billing_cache_read_hash;

        p = ngx_http_billing_redis_command(&cache->pipeline,
                                       &ngx_http_billing_cache_command_hgetall,
                                       lookup[i].key.len,
                                       &ngx_http_billing_cache_no_more);
        if (p == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(p, lookup[i].key.data, lookup[i].key.len);
    }

    /* it has had its turn: what is left is small, and the deadline is near */

    cache->pipeline.bulk = 0;

    ngx_http_billing_redis_send(cache->redis, &cache->pipeline, cache->timeout,
                                cache->deadline);

    return NGX_OK;
}


void
ngx_http_billing_cache_cancel(ngx_http_billing_cache_t *cache)
{
    ngx_http_billing_redis_cancel(&cache->pipeline);
}


static void
ngx_http_billing_cache_reply(void *data, ngx_uint_t n,
    ngx_http_billing_redis_reply_t *reply)
{
    ngx_http_billing_cache_t *cache = data;

    ngx_http_billing_lookup_t  *lookup;

    if (cache->unsure) {
        lookup = cache->unsure[n];

    } else {
        lookup = cache->lookups.elts;
        lookup += n;
    }

    lookup->error = NULL;
    lookup->found = 0;
    lookup->unsure = 0;
    lookup->text.len = 0;

    if (reply->type == NGX_HTTP_BILLING_REDIS_OVERSIZED) {
        lookup->error = "is answered by more than 1 MiB or 4096 elements";
        return;
    }

    if (reply->type != NGX_HTTP_BILLING_REDIS_ERROR) {

        if (lookup->read(cache, lookup, reply) != NGX_OK
            && lookup->error == NULL)
        {
            lookup->error = "cannot be read for want of memory";
        }

        return;
    }

    lookup->error = "cannot be read";

    (void) ngx_http_billing_cache_copy(cache->pool, &lookup->text,
                                       &reply->text);
}


static void
ngx_http_billing_cache_done(void *data,
    ngx_http_billing_redis_result_e result)
{
    ngx_http_billing_cache_t *cache = data;

    ngx_uint_t                  i, unsure;
    ngx_http_billing_lookup_t  *lookup;

    unsure = 0;
    lookup = cache->lookups.elts;

    for (i = 0; i < cache->lookups.nelts; i++) {

        if (result != NGX_HTTP_BILLING_REDIS_OK) {
            break;
        }

        unsure |= lookup[i].unsure;

        if (lookup[i].error) {
            ngx_http_billing_redis_wrong(&cache->pipeline);
            ngx_http_billing_cache_log(cache, &lookup[i]);
            result = NGX_HTTP_BILLING_REDIS_BROKEN;
        }
    }

    if (result == NGX_HTTP_BILLING_REDIS_OK && unsure) {

        if (ngx_http_billing_cache_ask_again(cache) == NGX_OK) {
            return;
        }

        result = NGX_HTTP_BILLING_REDIS_BROKEN;
    }

    cache->done(cache->data, result);
}


/* what a caller or Redis has sent may hold control characters */

static void
ngx_http_billing_cache_log(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup)
{
    ngx_str_t  key, text;

    if (ngx_http_billing_cache_escape(cache->pool, &key, &lookup->key)
        != NGX_OK
        || ngx_http_billing_cache_escape(cache->pool, &text, &lookup->text)
           != NGX_OK)
    {
        return;
    }

    ngx_log_error(NGX_LOG_ERR, cache->log, 0, "redis key \"%V\" %s%s%V", &key,
                  lookup->error, text.len ? ": " : "", &text);
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


static ngx_int_t
ngx_http_billing_cache_get(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_pt read, ngx_str_t *kind, ngx_str_t *name)
{
    ngx_http_billing_lookup_t  *lookup;

    lookup = ngx_http_billing_cache_add(cache, read, kind, name,
                                        &ngx_http_billing_cache_command_get,
                                        &ngx_http_billing_cache_no_more);

    return lookup ? NGX_OK : NGX_ERROR;
}


/* the key is where it stands in the command */

static ngx_http_billing_lookup_t *
ngx_http_billing_cache_add(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_pt read, ngx_str_t *kind, ngx_str_t *name,
    ngx_str_t *head, ngx_str_t *rest)
{
    u_char                     *p;
    ngx_http_billing_lookup_t  *lookup;

    lookup = ngx_array_push(&cache->lookups);
    if (lookup == NULL) {
        return NULL;
    }

    lookup->key.len = cache->prefix.len + kind->len + name->len;

    p = ngx_http_billing_redis_command(&cache->pipeline, head, lookup->key.len,
                                       rest);
    if (p == NULL) {
        return NULL;
    }

    lookup->key.data = p;
    lookup->read = read;
    lookup->found = 0;
    lookup->id = 0;
    lookup->camera.id = 0;

    p = ngx_cpymem(p, cache->prefix.data, cache->prefix.len);
    p = ngx_cpymem(p, kind->data, kind->len);
    ngx_memcpy(p, name->data, name->len);

    return lookup;
}
