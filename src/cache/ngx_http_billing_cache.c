
#include "ngx_http_billing_cache_reply.h"
#include "ngx_http_billing_cache_store.h"


/* a pipeline of more commands, as a batch of a list is, is a bulk one */

#define NGX_HTTP_BILLING_CACHE_BULK  64


static ngx_int_t ngx_http_billing_cache_commands(
    ngx_http_billing_cache_t *cache);
static ngx_int_t ngx_http_billing_cache_command(
    ngx_http_billing_cache_t *cache, ngx_http_billing_lookup_t *lookup);
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
static void ngx_http_billing_cache_end(ngx_http_billing_cache_t *cache,
    ngx_http_billing_redis_result_e result);
static void ngx_http_billing_cache_over(ngx_http_billing_cache_t *cache,
    ngx_uint_t connection);
static ngx_http_billing_redis_result_e ngx_http_billing_cache_judge(
    ngx_http_billing_cache_t *cache, ngx_uint_t *ambiguous);
static void ngx_http_billing_cache_kept(ngx_http_billing_cache_t *cache);
static ngx_http_billing_lookup_t *ngx_http_billing_cache_add(
    ngx_http_billing_cache_t *cache, ngx_http_billing_lookup_kind_e kind,
    ngx_str_t *name);


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
    cache->use = NGX_HTTP_BILLING_STORE_PASS;
    cache->server = NULL;
    cache->connection = 0;
    cache->hits = 0;
    cache->missed = 0;
    cache->stale = 0;
    cache->several = 0;
    cache->once = 0;
    cache->asks_role = 0;
    cache->asked.nelts = 0;

    ngx_memzero(&cache->json, sizeof(ngx_http_billing_json_room_t));
    cache->json.pool = pool;

    cache->nroom = n;

    cache->room = ngx_pcalloc(pool, n * sizeof(ngx_http_billing_lookup_t));
    if (cache->room == NULL) {
        return NGX_ERROR;
    }

    return ngx_array_init(&cache->lookups, pool, n,
                          sizeof(ngx_http_billing_lookup_t *));
}


ngx_http_billing_lookup_t *
ngx_http_billing_cache_token(ngx_http_billing_cache_t *cache, u_char *hash)
{
    u_char                      hex[2 * NGX_HTTP_BILLING_TOKEN_HASH];
    ngx_str_t                   name;
    ngx_http_billing_lookup_t  *lookup;

    name.data = hex;
    name.len = ngx_hex_dump(hex, hash, NGX_HTTP_BILLING_TOKEN_HASH) - hex;

    lookup = ngx_http_billing_cache_add(cache, NGX_HTTP_BILLING_KIND_TOKEN,
                                        &name);

    if (lookup == NULL
        || cache->use != NGX_HTTP_BILLING_STORE_KEEP
        || ngx_http_billing_coherence_owner(&cache->set->coherence,
                                            lookup->source)
           == 0)
    {
        return lookup;
    }

    /* a token that is kept must not outlive its time */

    return ngx_http_billing_cache_add(cache, NGX_HTTP_BILLING_KIND_TTL, &name)
           ? lookup : NULL;
}


ngx_http_billing_lookup_t *
ngx_http_billing_cache_external(ngx_http_billing_cache_t *cache,
    ngx_str_t *external_id)
{
    return ngx_http_billing_cache_add(cache, NGX_HTTP_BILLING_KIND_EXTERNAL,
                                      external_id);
}


ngx_http_billing_lookup_t *
ngx_http_billing_cache_synced_at(ngx_http_billing_cache_t *cache)
{
    ngx_str_t  name;

    ngx_str_set(&name, "");

    return ngx_http_billing_cache_add(cache, NGX_HTTP_BILLING_KIND_SYNCED_AT,
                                      &name);
}


ngx_http_billing_lookup_t *
ngx_http_billing_cache_slot(ngx_http_billing_cache_t *cache, ngx_uint_t tag)
{
    u_char     text[NGX_INT_T_LEN + 1], *p;
    ngx_str_t  name;

    p = ngx_http_billing_decimal(text, tag);
    *p++ = '}';

    name.data = text;
    name.len = p - text;

    return ngx_http_billing_cache_add(cache, NGX_HTTP_BILLING_KIND_SLOT,
                                      &name);
}


ngx_http_billing_lookup_t *
ngx_http_billing_cache_camera(ngx_http_billing_cache_t *cache, int64_t id)
{
    u_char                      digits[NGX_INT64_LEN];
    ngx_str_t                   name;
    ngx_http_billing_lookup_t  *lookup;

    name.data = digits;
    name.len = ngx_http_billing_decimal(digits, id) - digits;

    lookup = ngx_http_billing_cache_add(cache, NGX_HTTP_BILLING_KIND_CAMERA,
                                        &name);
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
    ngx_http_billing_lookup_t  *lookup;

    lookup = ngx_http_billing_cache_add(cache, NGX_HTTP_BILLING_KIND_MEMBER,
                                        login);
    if (lookup == NULL) {
        return NULL;
    }

    lookup->id = id;

    return lookup;
}


ngx_http_billing_lookup_t *
ngx_http_billing_cache_last_member(ngx_http_billing_cache_t *cache,
    ngx_str_t *login, int64_t id, ngx_uint_t page)
{
    ngx_http_billing_lookup_t  *lookup;

    lookup = ngx_http_billing_cache_member(cache, login, id);
    if (lookup == NULL) {
        return NULL;
    }

    lookup->page = page;
    lookup->ends_page = 1;

    return lookup;
}


ngx_http_billing_lookup_t *
ngx_http_billing_cache_login(ngx_http_billing_cache_t *cache, ngx_str_t *login,
    int64_t after, ngx_uint_t page, ngx_array_t *ids)
{
    ngx_http_billing_lookup_t  *lookup;

    lookup = ngx_http_billing_cache_add(cache, NGX_HTTP_BILLING_KIND_LOGIN,
                                        login);
    if (lookup == NULL) {
        return NULL;
    }

    lookup->id = after;
    lookup->page = page;
    lookup->ids = ids;

    return lookup;
}


static ngx_http_billing_lookup_t *
ngx_http_billing_cache_add(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_kind_e kind, ngx_str_t *name)
{
    u_char                      *p;
    size_t                       len;
    const ngx_str_t             *kind_name;
    ngx_http_billing_lookup_t   *lookup, **elt;

    kind_name = &ngx_http_billing_cache_kinds[kind].name;
    len = cache->prefix.len + kind_name->len + name->len;

    if (cache->nroom) {
        cache->nroom--;
        lookup = cache->room++;

    } else {
        lookup = ngx_pcalloc(cache->pool, sizeof(ngx_http_billing_lookup_t));
        if (lookup == NULL) {
            return NULL;
        }
    }

    lookup->kind = kind;
    lookup->key.len = len;

    lookup->key.data = ngx_pnalloc(cache->pool, len);
    if (lookup->key.data == NULL) {
        return NULL;
    }

    p = ngx_cpymem(lookup->key.data, cache->prefix.data, cache->prefix.len);
    p = ngx_cpymem(p, kind_name->data, kind_name->len);
    ngx_memcpy(p, name->data, name->len);

    if (cache->use != NGX_HTTP_BILLING_STORE_PASS) {
        lookup->source = ngx_http_billing_redis_source(cache->set->redis,
                                                       &lookup->key);
    }

    elt = ngx_array_push(&cache->lookups);
    if (elt == NULL) {
        return NULL;
    }

    *elt = lookup;

    return lookup;
}


ngx_int_t
ngx_http_billing_cache_ask(ngx_http_billing_cache_t *cache, ngx_msec_t timeout,
    ngx_msec_t deadline, ngx_log_t *log)
{
    cache->log = log;
    cache->timeout = timeout;
    cache->deadline = deadline;
    cache->connection = cache->hits ? ngx_http_billing_cache_state(cache) : 0;

    if (ngx_http_billing_cache_commands(cache) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_billing_cache_send(cache, ngx_http_billing_cache_reply,
                                cache->asked.nelts
                                > NGX_HTTP_BILLING_CACHE_BULK);

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_cache_commands(ngx_http_billing_cache_t *cache)
{
    ngx_uint_t                   i, n;
    ngx_http_billing_lookup_t  **lookup, **asked;

    lookup = cache->lookups.elts;

    if (ngx_array_init(&cache->asked, cache->pool, cache->lookups.nelts,
                       sizeof(ngx_http_billing_lookup_t *))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    asked = cache->asked.elts;

    for (i = 0, n = 0; i < cache->lookups.nelts; i++) {
        if (!lookup[i]->stored) {
            asked[n++] = lookup[i];
        }
    }

    cache->asked.nelts = n;

    if (ngx_http_billing_redis_pipeline_init(&cache->pipeline, cache->pool, n)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        if (ngx_http_billing_cache_command(cache, asked[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_cache_command(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup)
{
    u_char     id[1 + NGX_INT64_LEN], limit[NGX_INT64_LEN];
    ngx_str_t  args[3];

    args[0] = lookup->key;

    switch (lookup->kind) {

    case NGX_HTTP_BILLING_KIND_MEMBER:
        args[1].data = id;
        args[1].len = ngx_http_billing_decimal(id, lookup->id) - id;
        break;

    case NGX_HTTP_BILLING_KIND_LOGIN:
        id[0] = '(';

        args[1].data = id;
        args[1].len = ngx_http_billing_decimal(id + 1, lookup->id) - id;

        args[2].data = limit;
        args[2].len = ngx_http_billing_decimal(limit, lookup->ids->nalloc)
                      - limit;
        break;

    default:
        break;
    }

    return ngx_http_billing_redis_add_command(&cache->pipeline,
                                         &cache->set->commands[lookup->kind],
                                         args);
}


static void
ngx_http_billing_cache_send(ngx_http_billing_cache_t *cache,
    ngx_http_billing_redis_reply_pt reply, ngx_uint_t bulk)
{
    cache->pipeline.reply = reply;
    cache->pipeline.done = ngx_http_billing_cache_done;
    cache->pipeline.sending = cache->set->coherence.size
                              ? ngx_http_billing_cache_sending : NULL;
    cache->pipeline.data = cache;
    cache->pipeline.bulk = bulk;
    cache->pipeline.optional = cache->optional;
    cache->pipeline.asks_role = cache->asks_role;

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
    ngx_http_billing_cache_release(cache);

    /* a request that is canceled twice has freed the lookups in between */

    cache->asked.nelts = 0;
}


static void
ngx_http_billing_cache_reply(void *data, ngx_uint_t n,
    ngx_http_billing_redis_reply_t *reply)
{
    ngx_http_billing_cache_t *cache = data;

    ngx_http_billing_lookup_t  *lookup;

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

    if (lookup->kind == NGX_HTTP_BILLING_KIND_CAMERA
        && ngx_http_billing_lookup_found(lookup))
    {
        cache->size -= lookup->text.len;
    }

    lookup->result = NGX_HTTP_BILLING_LOOKUP_MISSING;
    lookup->error = NULL;
    ngx_str_null(&lookup->reason);

    switch (reply->type) {

    case NGX_HTTP_BILLING_REDIS_ERROR:

        if (lookup->kind == NGX_HTTP_BILLING_KIND_TTL) {
            ngx_http_billing_coherence_refused(&cache->set->coherence,
                                               lookup->source, &reply->text);
            return NULL;
        }

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

    ngx_uint_t  ambiguous;

    cache->server = cache->pipeline.server;

    if (result != NGX_HTTP_BILLING_REDIS_OK) {
        cache->connection = 0;

        if (ngx_http_billing_cache_unanswered(cache, result) == NGX_OK) {
            result = NGX_HTTP_BILLING_REDIS_OK;
        }

        ngx_http_billing_cache_end(cache, result);
        return;
    }

    ngx_http_billing_cache_over(cache, cache->pipeline.connection);

    result = ngx_http_billing_cache_judge(cache, &ambiguous);

    ngx_http_billing_cache_store(cache, result);

    if (result == NGX_HTTP_BILLING_REDIS_OK && ambiguous) {

        if (ngx_http_billing_cache_ask_again(cache) == NGX_OK) {
            return;
        }

        result = NGX_HTTP_BILLING_REDIS_BROKEN;
    }

    if (result == NGX_HTTP_BILLING_REDIS_OK) {
        ngx_http_billing_cache_kept(cache);
    }

    ngx_http_billing_cache_end(cache, result);
}


/* the lookups may be gone before the cache is used again */

static void
ngx_http_billing_cache_end(ngx_http_billing_cache_t *cache,
    ngx_http_billing_redis_result_e result)
{
    cache->asked.nelts = 0;

    cache->done(cache->data, result);
}


/* HGETALL may be answered on another connection than HMGET */

static void
ngx_http_billing_cache_over(ngx_http_billing_cache_t *cache,
    ngx_uint_t connection)
{
    if (cache->connection && cache->connection != connection) {
        cache->several = 1;
    }

    cache->connection = cache->several ? 0 : connection;
}


/* ambiguous: some cameras have to be asked for again */

static ngx_http_billing_redis_result_e
ngx_http_billing_cache_judge(ngx_http_billing_cache_t *cache,
    ngx_uint_t *ambiguous)
{
    ngx_uint_t                   i;
    ngx_http_billing_lookup_t  **asked;

    asked = cache->asked.elts;
    *ambiguous = 0;

    for (i = 0; i < cache->asked.nelts; i++) {

        switch (asked[i]->result) {

        case NGX_HTTP_BILLING_LOOKUP_AMBIGUOUS:
            *ambiguous = 1;
            break;

        case NGX_HTTP_BILLING_LOOKUP_INVALID:
            ngx_http_billing_redis_wrong(&cache->pipeline);
            ngx_http_billing_contract_broken(&cache->set->contract,
                                             &asked[i]->key, asked[i]->error,
                                             &asked[i]->reason, cache->log);
            return NGX_HTTP_BILLING_REDIS_BROKEN;

        default:
            break;
        }
    }

    return NGX_HTTP_BILLING_REDIS_OK;
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
