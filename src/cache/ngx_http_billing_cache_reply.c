
#include "ngx_http_billing_cache_reply.h"


/* the largest id: scores of sorted sets are exact up to this one */

#define NGX_HTTP_BILLING_CACHE_MAX_ID        9007199254740991LL

/* bounds of a score's digits as an integer, and of its exponent */

#define NGX_HTTP_BILLING_CACHE_MAX_SCORE     9223372036854775807LL
#define NGX_HTTP_BILLING_CACHE_MAX_EXPONENT  308


static void ngx_http_billing_cache_read_token(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup, ngx_http_billing_redis_reply_t *reply);
static void ngx_http_billing_cache_read_external(
    ngx_http_billing_cache_t *cache, ngx_http_billing_lookup_t *lookup,
    ngx_http_billing_redis_reply_t *reply);
static void ngx_http_billing_cache_read_camera(
    ngx_http_billing_cache_t *cache, ngx_http_billing_lookup_t *lookup,
    ngx_http_billing_redis_reply_t *reply);
static void ngx_http_billing_cache_read_login(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup, ngx_http_billing_redis_reply_t *reply);
static void ngx_http_billing_cache_read_member(
    ngx_http_billing_cache_t *cache, ngx_http_billing_lookup_t *lookup,
    ngx_http_billing_redis_reply_t *reply);
static void ngx_http_billing_cache_read_synced_at(
    ngx_http_billing_cache_t *cache, ngx_http_billing_lookup_t *lookup,
    ngx_http_billing_redis_reply_t *reply);
static void ngx_http_billing_cache_read_ttl(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup, ngx_http_billing_redis_reply_t *reply);
static void ngx_http_billing_cache_read_slot(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup, ngx_http_billing_redis_reply_t *reply);
static ngx_uint_t ngx_http_billing_cache_is_string(
    ngx_http_billing_lookup_t *lookup, ngx_http_billing_redis_reply_t *reply);
static void ngx_http_billing_cache_render(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup, ngx_str_t *values);
static int64_t ngx_http_billing_cache_id(ngx_str_t *text);
static ngx_uint_t ngx_http_billing_cache_score(ngx_str_t *text, int64_t id);


static const char  ngx_http_billing_cache_no_memory[] =
    "cannot be read for want of memory";


/* commands; arguments without data are variable ones, first the key */

static ngx_str_t  ngx_http_billing_cache_get[] = {
    ngx_string("GET"),
    ngx_null_string
};

static ngx_str_t  ngx_http_billing_cache_hgetall[] = {
    ngx_string("HGETALL"),
    ngx_null_string
};

static ngx_str_t  ngx_http_billing_cache_pttl[] = {
    ngx_string("PTTL"),
    ngx_null_string
};

/* the names of the fields follow */

static ngx_str_t  ngx_http_billing_cache_hmget[] = {
    ngx_string("HMGET"),
    ngx_null_string
};

/* the least score, and the limit of members */

static ngx_str_t  ngx_http_billing_cache_zrangebyscore[] = {
    ngx_string("ZRANGEBYSCORE"),
    ngx_null_string,
    ngx_null_string,
    ngx_string("+inf"),
    ngx_string("LIMIT"),
    ngx_string("0"),
    ngx_null_string
};

/* the member */

static ngx_str_t  ngx_http_billing_cache_zscore[] = {
    ngx_string("ZSCORE"),
    ngx_null_string,
    ngx_null_string
};


#define ngx_http_billing_cache_args(args)                                     \
    args, sizeof(args) / sizeof(ngx_str_t)


const ngx_http_billing_cache_kind_t
ngx_http_billing_cache_kinds[NGX_HTTP_BILLING_KINDS] = {

    { ngx_string("token:"),
      ngx_http_billing_cache_args(ngx_http_billing_cache_get),
      ngx_http_billing_cache_read_token },

    { ngx_string("external:"),
      ngx_http_billing_cache_args(ngx_http_billing_cache_get),
      ngx_http_billing_cache_read_external },

    { ngx_string("camera:"),
      ngx_http_billing_cache_args(ngx_http_billing_cache_hmget),
      ngx_http_billing_cache_read_camera },

    { ngx_string("login:"),
      ngx_http_billing_cache_args(ngx_http_billing_cache_zrangebyscore),
      ngx_http_billing_cache_read_login },

    { ngx_string("login:"),
      ngx_http_billing_cache_args(ngx_http_billing_cache_zscore),
      ngx_http_billing_cache_read_member },

    { ngx_string("synced_at"),
      ngx_http_billing_cache_args(ngx_http_billing_cache_get),
      ngx_http_billing_cache_read_synced_at },

    { ngx_string("token:"),
      ngx_http_billing_cache_args(ngx_http_billing_cache_pttl),
      ngx_http_billing_cache_read_ttl },

    { ngx_string("{"),
      ngx_http_billing_cache_args(ngx_http_billing_cache_get),
      ngx_http_billing_cache_read_slot }
};


ngx_int_t
ngx_http_billing_cache_prepare(ngx_http_billing_cache_set_t *set,
    ngx_pool_t *pool)
{
    ngx_str_t                            *hmget;
    ngx_uint_t                            i, n;
    const ngx_http_billing_cache_kind_t  *kind;

    kind = ngx_http_billing_cache_kinds;

    for (i = 0; i < NGX_HTTP_BILLING_KINDS; i++) {

        if (i == NGX_HTTP_BILLING_KIND_CAMERA) {
            continue;
        }

        if (ngx_http_billing_redis_command_init(&set->commands[i], pool,
                                                kind[i].args, kind[i].nargs)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    kind += NGX_HTTP_BILLING_KIND_CAMERA;
    n = kind->nargs + NGX_HTTP_BILLING_CAMERA_FIELDS;

    hmget = ngx_palloc(pool, n * sizeof(ngx_str_t));
    if (hmget == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(hmget, kind->args, kind->nargs * sizeof(ngx_str_t));

    for (i = 0; i < NGX_HTTP_BILLING_CAMERA_FIELDS; i++) {
        hmget[kind->nargs + i] = ngx_http_billing_camera_fields[i].name;
    }

    if (ngx_http_billing_redis_command_init(
                                  &set->commands[NGX_HTTP_BILLING_KIND_CAMERA],
                                  pool, hmget, n)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_billing_camera_init(&set->camera, pool) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_billing_redis_command_init(&set->hgetall, pool,
                                               ngx_http_billing_cache_hgetall,
                                               2);
}


void
ngx_http_billing_cache_invalid(ngx_http_billing_lookup_t *lookup,
    const char *error)
{
    lookup->result = NGX_HTTP_BILLING_LOOKUP_INVALID;
    lookup->error = error;
}


/* whether the key exists: Redis replies nil for a missing key */

static ngx_uint_t
ngx_http_billing_cache_is_string(ngx_http_billing_lookup_t *lookup,
    ngx_http_billing_redis_reply_t *reply)
{
    switch (reply->type) {

    case NGX_HTTP_BILLING_REDIS_STRING:
        return 1;

    case NGX_HTTP_BILLING_REDIS_NIL:
        return 0;

    default:
        ngx_http_billing_cache_invalid(lookup, "is not answered by a string");
        return 0;
    }
}


static void
ngx_http_billing_cache_read_token(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup, ngx_http_billing_redis_reply_t *reply)
{
    if (!ngx_http_billing_cache_is_string(lookup, reply)) {
        return;
    }

    if (ngx_http_billing_json_utf8_length(&reply->text) == NGX_ERROR) {
        ngx_http_billing_cache_invalid(lookup, "holds text that is not UTF-8");
        return;
    }

    if (ngx_http_billing_cache_copy(cache->pool, &lookup->text, &reply->text)
        != NGX_OK)
    {
        ngx_http_billing_cache_invalid(lookup,
                                       ngx_http_billing_cache_no_memory);
        return;
    }

    lookup->result = NGX_HTTP_BILLING_LOOKUP_FOUND;
}


static void
ngx_http_billing_cache_read_external(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup, ngx_http_billing_redis_reply_t *reply)
{
    if (!ngx_http_billing_cache_is_string(lookup, reply)) {
        return;
    }

    lookup->id = ngx_http_billing_cache_id(&reply->text);

    if (lookup->id == 0) {
        ngx_http_billing_cache_invalid(lookup, "holds no camera id");
        return;
    }

    lookup->result = NGX_HTTP_BILLING_LOOKUP_FOUND;
}


static void
ngx_http_billing_cache_read_synced_at(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup, ngx_http_billing_redis_reply_t *reply)
{
    if (!ngx_http_billing_cache_is_string(lookup, reply)) {
        return;
    }

    lookup->synced_at = ngx_atotm(reply->text.data, reply->text.len);

    if (lookup->synced_at == NGX_ERROR) {
        ngx_http_billing_cache_invalid(lookup, "holds no time");
        return;
    }

    lookup->result = NGX_HTTP_BILLING_LOOKUP_FOUND;
}


/* no loader writes this key: a node that has its slot says nil, or a string */

static void
ngx_http_billing_cache_read_slot(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup, ngx_http_billing_redis_reply_t *reply)
{
    if (ngx_http_billing_cache_is_string(lookup, reply)) {
        lookup->result = NGX_HTTP_BILLING_LOOKUP_FOUND;
    }
}


/* -1: the key does not expire; -2: the key does not exist */

static void
ngx_http_billing_cache_read_ttl(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup, ngx_http_billing_redis_reply_t *reply)
{
    if (reply->type != NGX_HTTP_BILLING_REDIS_INTEGER) {
        ngx_http_billing_cache_invalid(lookup, "is not answered by a time");
        return;
    }

    ngx_http_billing_coherence_accepted(&cache->set->coherence,
                                        lookup->source);

    if (reply->text.len == 2 && ngx_strncmp(reply->text.data, "-1", 2) == 0) {
        lookup->id = -1;

    } else {
        lookup->id = ngx_atoof(reply->text.data, reply->text.len);

        if (lookup->id <= 0) {
            return;
        }
    }

    lookup->result = NGX_HTTP_BILLING_LOOKUP_FOUND;
}


static void
ngx_http_billing_cache_read_member(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup, ngx_http_billing_redis_reply_t *reply)
{
    /* RESP3 has a type for scores */

    if (reply->type != NGX_HTTP_BILLING_REDIS_DOUBLE
        && !ngx_http_billing_cache_is_string(lookup, reply))
    {
        return;
    }

    if (!ngx_http_billing_cache_score(&reply->text, lookup->id)) {
        ngx_http_billing_cache_invalid(lookup,
                                       "holds a score that is not its member");
        return;
    }

    lookup->result = NGX_HTTP_BILLING_LOOKUP_FOUND;
}


static void
ngx_http_billing_cache_read_login(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup, ngx_http_billing_redis_reply_t *reply)
{
    int64_t     id, last, *ids;
    ngx_uint_t  i;

    if (reply->type != NGX_HTTP_BILLING_REDIS_ARRAY) {
        ngx_http_billing_cache_invalid(lookup, "is not answered by members");
        return;
    }

    if (reply->nelts > lookup->ids->nalloc) {
        ngx_http_billing_cache_invalid(lookup, "is answered by more members "
                                               "than were asked for");
        return;
    }

    ids = lookup->ids->elts;
    last = lookup->id;

    for (i = 0; i < reply->nelts; i++) {

        id = ngx_http_billing_cache_id(&reply->elts[i]);

        if (id == 0 || id > NGX_HTTP_BILLING_CACHE_MAX_ID) {
            ngx_http_billing_cache_invalid(lookup,
                                         "holds a member that is no camera id");
            return;
        }

        /* Redis sends members ordered by score, and a score is an id */

        if (id <= last) {
            ngx_http_billing_cache_invalid(lookup,
                                       "holds a score that is not its member");
            return;
        }

        ids[i] = id;
        last = id;
    }

    lookup->ids->nelts = reply->nelts;

    if (reply->nelts) {
        lookup->result = NGX_HTTP_BILLING_LOOKUP_FOUND;
    }
}


static void
ngx_http_billing_cache_read_camera(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup, ngx_http_billing_redis_reply_t *reply)
{
    ngx_uint_t  i;

    if (reply->type != NGX_HTTP_BILLING_REDIS_ARRAY
        || reply->nelts != NGX_HTTP_BILLING_CAMERA_FIELDS)
    {
        ngx_http_billing_cache_invalid(lookup,
                                     "is not answered by the fields asked for");
        return;
    }

    for (i = 0; i < NGX_HTTP_BILLING_CAMERA_FIELDS; i++) {

        if (reply->elts[i].data) {
            ngx_http_billing_cache_render(cache, lookup, reply->elts);
            return;
        }
    }

    lookup->result = NGX_HTTP_BILLING_LOOKUP_AMBIGUOUS;
}


void
ngx_http_billing_cache_read_hash(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup, ngx_http_billing_redis_reply_t *reply)
{
    ngx_str_t                              *elt;
    ngx_str_t                               values[
                                               NGX_HTTP_BILLING_CAMERA_FIELDS];
    ngx_uint_t                              i, n;
    const ngx_http_billing_camera_field_t  *field;

    if ((reply->type != NGX_HTTP_BILLING_REDIS_ARRAY
         && reply->type != NGX_HTTP_BILLING_REDIS_MAP)
        || reply->nelts % 2)
    {
        ngx_http_billing_cache_invalid(lookup,
                                       "is not answered by fields and values");
        return;
    }

    if (reply->nelts == 0) {
        return;
    }

    elt = reply->elts;

    for (i = 0; i < reply->nelts; i++) {

        if (elt[i].data == NULL) {
            ngx_http_billing_cache_invalid(lookup,
                                       "is not answered by fields and values");
            return;
        }
    }

    field = ngx_http_billing_camera_fields;

    for (n = 0; n < NGX_HTTP_BILLING_CAMERA_FIELDS; n++) {

        ngx_str_null(&values[n]);

        for (i = 0; i < reply->nelts; i += 2) {

            if (elt[i].len == field[n].name.len
                && ngx_memcmp(elt[i].data, field[n].name.data, elt[i].len) == 0)
            {
                values[n] = elt[i + 1];
            }
        }
    }

    ngx_http_billing_cache_render(cache, lookup, values);
}


static void
ngx_http_billing_cache_render(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup, ngx_str_t *values)
{
    ngx_int_t    rc;
    const char  *error;

    if (cache->limit && cache->size >= cache->limit) {
        lookup->result = NGX_HTTP_BILLING_LOOKUP_DEFERRED;
        return;
    }

    rc = ngx_http_billing_camera_json(&cache->set->camera, &cache->json,
                                      lookup->id, values, &lookup->text,
                                      &error);

    if (rc == NGX_OK) {
        lookup->result = NGX_HTTP_BILLING_LOOKUP_FOUND;
        cache->size += lookup->text.len;
        return;
    }

    ngx_http_billing_cache_invalid(lookup, (rc == NGX_DECLINED)
                                           ? error
                                           : ngx_http_billing_cache_no_memory);
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


/* returns an id, which is at least 1; or 0 if the text is no id */

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


/*
 * Redis prints a score as a double: as "3", or with an exponent as "1e+17".
 * strtod() depends on the locale.
 */

static ngx_uint_t
ngx_http_billing_cache_score(ngx_str_t *text, int64_t id)
{
    u_char     *p, *last, *point;
    int64_t     value;
    ngx_int_t   exponent, n;

    p = text->data;
    last = p + text->len;

    point = NULL;
    value = 0;
    exponent = 0;

    for ( /* void */ ; p < last; p++) {

        if (*p == '.' && point == NULL && p != text->data) {
            point = p;
            continue;
        }

        if (*p < '0' || *p > '9') {
            break;
        }

        if (value > (NGX_HTTP_BILLING_CACHE_MAX_SCORE - 9) / 10) {
            return 0;
        }

        value = value * 10 + (*p - '0');

        if (point) {
            exponent--;
        }
    }

    if (p == text->data) {
        return 0;
    }

    if (p < last) {

        if (*p++ != 'e' || last - p < 2 || (*p != '+' && *p != '-')) {
            return 0;
        }

        n = ngx_atoi(p + 1, last - p - 1);

        if (n == NGX_ERROR || n > NGX_HTTP_BILLING_CACHE_MAX_EXPONENT) {
            return 0;
        }

        exponent += (*p == '-') ? -n : n;
    }

    for ( /* void */ ; exponent < 0; exponent++) {

        if (value % 10) {
            return 0;
        }

        value /= 10;
    }

    for ( /* void */ ; exponent > 0; exponent--) {

        if (value > NGX_HTTP_BILLING_CACHE_MAX_SCORE / 10) {
            return 0;
        }

        value *= 10;
    }

    return ((double) value == (double) id);
}
