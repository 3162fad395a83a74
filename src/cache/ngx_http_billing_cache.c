
#include "ngx_http_billing_cache_reply.h"


/* a pipeline of more commands, as a batch of a list is, is a bulk one */

#define NGX_HTTP_BILLING_CACHE_BULK  64


static void ngx_http_billing_cache_send(ngx_http_billing_cache_t *cache,
    ngx_http_billing_redis_reply_pt reply, ngx_uint_t bulk);
static ngx_int_t ngx_http_billing_cache_ask_again(
    ngx_http_billing_cache_t *cache);
static void ngx_http_billing_cache_reply(void *data, ngx_uint_t n,
    ngx_http_billing_redis_reply_t *reply);
static void ngx_http_billing_cache_reply_again(void *data, ngx_uint_t n,
    ngx_http_billing_redis_reply_t *reply);
static ngx_http_billing_lookup_t *ngx_http_billing_cache_answered(
    ngx_http_billing_cache_t *cache, ngx_uint_t n,
    ngx_http_billing_redis_reply_t *reply);
static void ngx_http_billing_cache_done(void *data,
    ngx_http_billing_redis_result_e result);
static void ngx_http_billing_cache_kept(ngx_http_billing_cache_t *cache);
static ngx_http_billing_lookup_t *ngx_http_billing_cache_add(
    ngx_http_billing_cache_t *cache, ngx_http_billing_lookup_kind_e kind,
    ngx_str_t *name, ngx_str_t *args);


ngx_http_billing_cache_set_t *
ngx_http_billing_cache_set(ngx_conf_t *cf, ngx_array_t *sets,
    ngx_http_billing_redis_t *redis)
{
    ngx_uint_t                      i;
    ngx_http_billing_cache_set_t  **set;

    set = sets->elts;

    for (i = 0; i < sets->nelts; i++) {
        if (set[i]->redis == redis) {
            return set[i];
        }
    }

    set = ngx_array_push(sets);
    if (set == NULL) {
        return NULL;
    }

    *set = ngx_pcalloc(cf->pool, sizeof(ngx_http_billing_cache_set_t));
    if (*set == NULL) {
        return NULL;
    }

    (*set)->redis = redis;

    if (ngx_http_billing_cache_prepare(*set, cf->pool) != NGX_OK) {
        return NULL;
    }

    return *set;
}


ngx_int_t
ngx_http_billing_cache_require(ngx_conf_t *cf,
    ngx_http_billing_cache_set_t *set, ngx_str_t *prefix)
{
    ngx_str_t         key;
    const ngx_str_t  *name;

    name = &ngx_http_billing_cache_kinds[NGX_HTTP_BILLING_KIND_SYNCED_AT].name;

    key.len = prefix->len + name->len;

    key.data = ngx_pnalloc(cf->pool, key.len);
    if (key.data == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(key.data, "%V%V", prefix, name);

    return ngx_http_billing_redis_require(cf, set->redis, &key);
}


ngx_int_t
ngx_http_billing_cache_init(ngx_http_billing_cache_t *cache,
    ngx_http_billing_cache_set_t *set, ngx_pool_t *pool, ngx_str_t *prefix,
    ngx_uint_t n)
{
    cache->set = set;
    cache->prefix = *prefix;
    cache->pool = pool;
    cache->limit = 0;
    cache->size = 0;
    cache->server = NULL;

    ngx_memzero(&cache->room, sizeof(ngx_http_billing_json_room_t));
    cache->room.pool = pool;

    if (ngx_array_init(&cache->asked, pool, n,
                       sizeof(ngx_http_billing_lookup_t *))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_billing_redis_pipeline_init(&cache->pipeline, pool, n);
}


ngx_http_billing_lookup_t *
ngx_http_billing_cache_token(ngx_http_billing_cache_t *cache, u_char *hash)
{
    u_char     hex[2 * NGX_HTTP_BILLING_TOKEN_HASH];
    ngx_str_t  name, args[1];

    name.data = hex;
    name.len = ngx_hex_dump(hex, hash, NGX_HTTP_BILLING_TOKEN_HASH) - hex;

    return ngx_http_billing_cache_add(cache, NGX_HTTP_BILLING_KIND_TOKEN,
                                      &name, args);
}


ngx_http_billing_lookup_t *
ngx_http_billing_cache_external(ngx_http_billing_cache_t *cache,
    ngx_str_t *external_id)
{
    ngx_str_t  args[1];

    return ngx_http_billing_cache_add(cache, NGX_HTTP_BILLING_KIND_EXTERNAL,
                                      external_id, args);
}


ngx_http_billing_lookup_t *
ngx_http_billing_cache_synced_at(ngx_http_billing_cache_t *cache)
{
    ngx_str_t  name, args[1];

    ngx_str_set(&name, "");

    return ngx_http_billing_cache_add(cache, NGX_HTTP_BILLING_KIND_SYNCED_AT,
                                      &name, args);
}


ngx_http_billing_lookup_t *
ngx_http_billing_cache_camera(ngx_http_billing_cache_t *cache, int64_t id)
{
    u_char                      digits[NGX_INT64_LEN];
    ngx_str_t                   name, args[1];
    ngx_http_billing_lookup_t  *lookup;

    name.data = digits;
    name.len = ngx_http_billing_decimal(digits, id) - digits;

    lookup = ngx_http_billing_cache_add(cache, NGX_HTTP_BILLING_KIND_CAMERA,
                                        &name, args);
    if (lookup == NULL) {
        return NULL;
    }

    lookup->id = id;

    return lookup;
}


ngx_http_billing_lookup_t *
ngx_http_billing_cache_member(ngx_http_billing_cache_t *cache,
    ngx_str_t *login, int64_t id)
{
    u_char                      member[NGX_INT64_LEN];
    ngx_str_t                   args[2];
    ngx_http_billing_lookup_t  *lookup;

    args[1].data = member;
    args[1].len = ngx_http_billing_decimal(member, id) - member;

    lookup = ngx_http_billing_cache_add(cache, NGX_HTTP_BILLING_KIND_MEMBER,
                                        login, args);
    if (lookup == NULL) {
        return NULL;
    }

    lookup->id = id;

    return lookup;
}


ngx_http_billing_lookup_t *
ngx_http_billing_cache_login(ngx_http_billing_cache_t *cache, ngx_str_t *login,
    int64_t after, ngx_array_t *ids)
{
    u_char                      min[1 + NGX_INT64_LEN], limit[NGX_INT64_LEN];
    ngx_str_t                   args[3];
    ngx_http_billing_lookup_t  *lookup;

    min[0] = '(';

    args[1].data = min;
    args[1].len = ngx_http_billing_decimal(min + 1, after) - min;

    args[2].data = limit;
    args[2].len = ngx_http_billing_decimal(limit, ids->nalloc) - limit;

    lookup = ngx_http_billing_cache_add(cache, NGX_HTTP_BILLING_KIND_LOGIN,
                                        login, args);
    if (lookup == NULL) {
        return NULL;
    }

    lookup->id = after;
    lookup->ids = ids;

    return lookup;
}


/* args are the command's variable arguments: the first one is the key */

static ngx_http_billing_lookup_t *
ngx_http_billing_cache_add(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_kind_e kind, ngx_str_t *name, ngx_str_t *args)
{
    u_char                      *p;
    size_t                       len;
    const ngx_str_t             *kind_name;
    ngx_http_billing_lookup_t   *lookup, **asked;

    kind_name = &ngx_http_billing_cache_kinds[kind].name;
    len = cache->prefix.len + kind_name->len + name->len;

    lookup = ngx_palloc(cache->pool, sizeof(ngx_http_billing_lookup_t) + len);
    if (lookup == NULL) {
        return NULL;
    }

    ngx_memzero(lookup, sizeof(ngx_http_billing_lookup_t));

    lookup->kind = kind;
    lookup->key.len = len;
    lookup->key.data = (u_char *) lookup + sizeof(ngx_http_billing_lookup_t);

    p = ngx_cpymem(lookup->key.data, cache->prefix.data, cache->prefix.len);
    p = ngx_cpymem(p, kind_name->data, kind_name->len);
    ngx_memcpy(p, name->data, name->len);

    args[0] = lookup->key;

    asked = ngx_array_push(&cache->asked);

    if (asked == NULL
        || ngx_http_billing_redis_add_command(&cache->pipeline,
                                              &cache->set->commands[kind],
                                              args)
           != NGX_OK)
    {
        return NULL;
    }

    *asked = lookup;

    return lookup;
}


void
ngx_http_billing_cache_ask(ngx_http_billing_cache_t *cache, ngx_msec_t timeout,
    ngx_msec_t deadline, ngx_log_t *log)
{
    cache->log = log;
    cache->timeout = timeout;
    cache->deadline = deadline;
    cache->connection = 0;

    ngx_http_billing_cache_send(cache, ngx_http_billing_cache_reply,
                                cache->asked.nelts
                                > NGX_HTTP_BILLING_CACHE_BULK);
}


static void
ngx_http_billing_cache_send(ngx_http_billing_cache_t *cache,
    ngx_http_billing_redis_reply_pt reply, ngx_uint_t bulk)
{
    cache->pipeline.reply = reply;
    cache->pipeline.done = ngx_http_billing_cache_done;
    cache->pipeline.data = cache;
    cache->pipeline.bulk = bulk;
    cache->pipeline.optional = cache->optional;

    ngx_http_billing_redis_send(cache->set->redis, &cache->pipeline,
                                cache->timeout, cache->deadline);
}


/*
 * HMGET replies alike for a missing hash and for a hash without any of the
 * fields.  HGETALL tells the two apart, and is sent only for such cameras.
 */

static ngx_int_t
ngx_http_billing_cache_ask_again(ngx_http_billing_cache_t *cache)
{
    ngx_uint_t                   i, n;
    ngx_http_billing_lookup_t  **asked;

    asked = cache->asked.elts;

    for (i = 0, n = 0; i < cache->asked.nelts; i++) {
        if (asked[i]->result == NGX_HTTP_BILLING_LOOKUP_AMBIGUOUS) {
            asked[n++] = asked[i];
        }
    }

    cache->asked.nelts = n;

    if (ngx_http_billing_redis_pipeline_init(&cache->pipeline, cache->pool, n)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        if (ngx_http_billing_redis_add_command(&cache->pipeline,
                                               &cache->set->hgetall,
                                               &asked[i]->key)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    /* not bulk: the pipeline is small, and the first one waited its turn */

    ngx_http_billing_cache_send(cache, ngx_http_billing_cache_reply_again, 0);

    return NGX_OK;
}


ngx_int_t
ngx_http_billing_cache_unloaded(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup)
{
    ngx_int_t  rc;

    rc = ngx_http_billing_redis_unloaded(&cache->pipeline);

    if (rc != NGX_OK) {
        ngx_http_billing_contract_broken(&cache->set->contract, &lookup->key,
                                         "does not exist: the cache has never "
                                         "been loaded",
                                         &lookup->reason, cache->log);
    }

    return rc;
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

    if (n == 0) {
        cache->size = 0;
    }

    lookup = ngx_http_billing_cache_answered(cache, n, reply);

    if (lookup) {
        ngx_http_billing_cache_kinds[lookup->kind].read(cache, lookup, reply);
    }
}


static void
ngx_http_billing_cache_reply_again(void *data, ngx_uint_t n,
    ngx_http_billing_redis_reply_t *reply)
{
    ngx_http_billing_cache_t *cache = data;

    ngx_http_billing_lookup_t  *lookup;

    lookup = ngx_http_billing_cache_answered(cache, n, reply);

    if (lookup) {
        ngx_http_billing_cache_read_hash(cache, lookup, reply);
    }
}


/* the lookup whose reply is to be read, or NULL if the reply is an error */

static ngx_http_billing_lookup_t *
ngx_http_billing_cache_answered(ngx_http_billing_cache_t *cache, ngx_uint_t n,
    ngx_http_billing_redis_reply_t *reply)
{
    ngx_http_billing_lookup_t  *lookup, **asked;

    asked = cache->asked.elts;
    lookup = asked[n];

    /* the reply may have come before, on a connection that was lost */

    lookup->result = NGX_HTTP_BILLING_LOOKUP_MISSING;
    lookup->error = NULL;
    ngx_str_null(&lookup->reason);

    switch (reply->type) {

    case NGX_HTTP_BILLING_REDIS_ERROR:
        ngx_http_billing_cache_invalid(lookup, "cannot be read");

        (void) ngx_http_billing_cache_copy(cache->pool, &lookup->reason,
                                           &reply->text);
        return NULL;

    case NGX_HTTP_BILLING_REDIS_OVERSIZED:
        ngx_http_billing_cache_invalid(lookup, "is answered by more than 1 MiB "
                                               "or 4096 elements");
        return NULL;

    default:
        return lookup;
    }
}


static void
ngx_http_billing_cache_done(void *data,
    ngx_http_billing_redis_result_e result)
{
    ngx_http_billing_cache_t *cache = data;

    ngx_uint_t                   i, ambiguous;
    ngx_http_billing_lookup_t  **asked;

    cache->server = cache->pipeline.server;

    if (cache->connection == 0) {
        cache->connection = cache->pipeline.connection;

    } else if (cache->connection != cache->pipeline.connection) {

        /* HGETALL was answered on another connection than HMGET */

        cache->connection = 0;
    }

    ambiguous = 0;
    asked = cache->asked.elts;

    for (i = 0; i < cache->asked.nelts; i++) {

        if (result != NGX_HTTP_BILLING_REDIS_OK) {
            break;
        }

        switch (asked[i]->result) {

        case NGX_HTTP_BILLING_LOOKUP_AMBIGUOUS:
            ambiguous = 1;
            break;

        case NGX_HTTP_BILLING_LOOKUP_INVALID:
            ngx_http_billing_redis_wrong(&cache->pipeline);
            ngx_http_billing_contract_broken(&cache->set->contract,
                                             &asked[i]->key, asked[i]->error,
                                             &asked[i]->reason, cache->log);
            result = NGX_HTTP_BILLING_REDIS_BROKEN;
            break;

        default:
            break;
        }
    }

    if (result == NGX_HTTP_BILLING_REDIS_OK && ambiguous) {

        if (ngx_http_billing_cache_ask_again(cache) == NGX_OK) {
            return;
        }

        result = NGX_HTTP_BILLING_REDIS_BROKEN;
    }

    if (result == NGX_HTTP_BILLING_REDIS_OK) {
        ngx_http_billing_cache_kept(cache);
    }

    cache->done(cache->data, result);
}


static void
ngx_http_billing_cache_kept(ngx_http_billing_cache_t *cache)
{
    ngx_uint_t                   i;
    ngx_http_billing_lookup_t  **asked;

    if (!cache->set->contract.broken) {
        return;
    }

    asked = cache->asked.elts;

    for (i = 0; i < cache->asked.nelts; i++) {

        /* a missing synced_at is judged by ngx_http_billing_cache_unloaded() */

        if (asked[i]->kind == NGX_HTTP_BILLING_KIND_SYNCED_AT
            && !ngx_http_billing_lookup_found(asked[i]))
        {
            continue;
        }

        ngx_http_billing_contract_kept(&cache->set->contract, &asked[i]->key,
                                       cache->log);
    }
}
