
#include "ngx_http_billing_cache_reply.h"
#include "ngx_http_billing_decimal.h"


static ngx_int_t ngx_http_billing_cache_ask_again(
    ngx_http_billing_cache_t *cache);
static void ngx_http_billing_cache_reply(void *data, ngx_uint_t n,
    ngx_http_billing_redis_reply_t *reply);
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
ngx_http_billing_cache_init(ngx_http_billing_cache_t *cache, ngx_pool_t *pool,
    ngx_str_t *prefix, ngx_uint_t n)
{
    cache->prefix = *prefix;
    cache->pool = pool;
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
    u_char                      hex[2 * NGX_HTTP_BILLING_TOKEN_HASH];
    ngx_str_t                   name;
    ngx_http_billing_lookup_t  *lookup;

    name.data = hex;
    name.len = ngx_hex_dump(hex, hash, NGX_HTTP_BILLING_TOKEN_HASH) - hex;

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

    ngx_str_set(&name, "");

    lookup = ngx_http_billing_cache_add(cache,
                                        ngx_http_billing_cache_read_synced_at,
                                        &ngx_http_billing_cache_kind_synced_at,
                                        &name);

    return ngx_http_billing_cache_get(cache, lookup);
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
                                        &name);
    if (lookup == NULL) {
        return NGX_ERROR;
    }

    camera = &lookup->camera;

    camera->id = id;
    camera->digits.len = name.len;
    camera->digits.data = lookup->key.data + lookup->key.len - name.len;

    return ngx_http_billing_redis_key_command(&cache->pipeline,
                                         &ngx_http_billing_cache_command_hmget,
                                         &lookup->key,
                                         &ngx_http_billing_cache_fields);
}


ngx_int_t
ngx_http_billing_cache_member(ngx_http_billing_cache_t *cache,
    ngx_str_t *login, int64_t id)
{
    u_char                      digits[NGX_INT64_LEN];
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

    argv[2].data = digits;
    argv[2].len = ngx_http_billing_decimal(digits, id) - digits;

    return ngx_http_billing_redis_command(&cache->pipeline, 3, argv);
}


ngx_int_t
ngx_http_billing_cache_login(ngx_http_billing_cache_t *cache, ngx_str_t *login,
    int64_t after, ngx_uint_t n)
{
    u_char                      min[1 + NGX_INT64_LEN];
    u_char                      limit[NGX_INT64_LEN];
    ngx_str_t                   argv[7];
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

    min[0] = '(';

    argv[2].data = min;
    argv[2].len = ngx_http_billing_decimal(min + 1, after) - min;

    ngx_str_set(&argv[3], "+inf");
    ngx_str_set(&argv[4], "LIMIT");
    ngx_str_set(&argv[5], "0");

    argv[6].data = limit;
    argv[6].len = ngx_http_billing_decimal(limit, n) - limit;

    return ngx_http_billing_redis_command(&cache->pipeline, 7, argv);
}


void
ngx_http_billing_cache_ask(ngx_http_billing_cache_t *cache,
    ngx_http_billing_redis_t *redis, ngx_msec_t timeout, ngx_msec_t left,
    ngx_log_t *log)
{
    cache->log = log;
    cache->redis = redis;
    cache->timeout = timeout;
    cache->deadline = ngx_current_msec + left;

    cache->pipeline.reply = ngx_http_billing_cache_reply;
    cache->pipeline.done = ngx_http_billing_cache_done;
    cache->pipeline.data = cache;

    ngx_http_billing_redis_send(redis, &cache->pipeline, timeout, left);
}


/*
 * HMGET answers for a hash that is gone as it does for one that has none of
 * the fields: only of these everything is asked for.
 */

static ngx_int_t
ngx_http_billing_cache_ask_again(ngx_http_billing_cache_t *cache)
{
    ngx_uint_t                   i, n;
    ngx_msec_int_t               left;
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

        if (ngx_http_billing_redis_key_command(&cache->pipeline,
                                       &ngx_http_billing_cache_command_hgetall,
                                       &lookup[i].key,
                                       &ngx_http_billing_cache_no_more)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    /* it has had its turn: what is left is small, and the deadline is near */

    cache->pipeline.bulk = 0;

    left = (ngx_msec_int_t) (cache->deadline - ngx_current_msec);

    ngx_http_billing_redis_send(cache->redis, &cache->pipeline, cache->timeout,
                                ngx_max(left, 1));

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
    lookup->reply.len = 0;

    if (reply->type != NGX_HTTP_BILLING_REDIS_ERROR) {

        if (lookup->read(lookup, reply) != NGX_OK && lookup->error == NULL) {
            lookup->error = "cannot be read for want of memory";
        }

        return;
    }

    lookup->error = "cannot be read";

    if (ngx_http_billing_cache_copy(cache->pool, &lookup->reply, &reply->text)
        != NGX_OK)
    {
        lookup->reply.len = 0;
    }
}


static void
ngx_http_billing_cache_done(void *data, ngx_int_t rc)
{
    ngx_http_billing_cache_t *cache = data;

    ngx_uint_t                  i, unsure, refused;
    ngx_http_billing_lookup_t  *lookup;

    cache->answered = (rc == NGX_OK);

    unsure = 0;
    refused = 0;
    lookup = cache->lookups.elts;

    for (i = 0; i < cache->lookups.nelts && rc == NGX_OK; i++) {

        unsure |= lookup[i].unsure;

        refused |= (lookup[i].read == ngx_http_billing_cache_read_token
                    && !lookup[i].found);

        if (lookup[i].error) {
            ngx_http_billing_redis_wrong(&cache->pipeline);
            ngx_http_billing_cache_log(cache, &lookup[i]);
            rc = NGX_ERROR;
        }
    }

    /* whose token is not valid has no more asked */

    if (rc == NGX_OK && unsure && !refused) {

        if (ngx_http_billing_cache_ask_again(cache) == NGX_OK) {
            return;
        }

        rc = NGX_ERROR;
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

    lookup->key.len = cache->prefix.len + kind->len + name->len;

    p = ngx_pnalloc(cache->pool, lookup->key.len);
    if (p == NULL) {
        return NULL;
    }

    lookup->key.data = p;
    lookup->pool = cache->pool;
    lookup->read = read;
    lookup->found = 0;
    lookup->id = 0;
    lookup->camera.id = 0;
    lookup->ids.nelts = 0;

    p = ngx_cpymem(p, cache->prefix.data, cache->prefix.len);
    p = ngx_cpymem(p, kind->data, kind->len);
    ngx_memcpy(p, name->data, name->len);

    return lookup;
}


static ngx_int_t
ngx_http_billing_cache_get(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup)
{
    if (lookup == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_billing_redis_key_command(&cache->pipeline,
                                         &ngx_http_billing_cache_command_get,
                                         &lookup->key,
                                         &ngx_http_billing_cache_no_more);
}
