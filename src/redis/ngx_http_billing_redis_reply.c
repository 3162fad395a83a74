
#include "ngx_http_billing_redis_token.h"


static void ngx_http_billing_redis_reader_begin(
    ngx_http_billing_redis_reader_t *reader);
static u_char *ngx_http_billing_redis_reader_skip(
    ngx_http_billing_redis_reader_t *reader,
    ngx_http_billing_redis_token_t *token);
static ngx_int_t ngx_http_billing_redis_reader_value(
    ngx_http_billing_redis_reader_t *reader,
    ngx_http_billing_redis_token_t *token, ngx_log_t *log);
static ngx_int_t ngx_http_billing_redis_reader_special(
    ngx_http_billing_redis_reader_t *reader,
    ngx_http_billing_redis_token_t *token);
static ngx_int_t ngx_http_billing_redis_reader_keep(
    ngx_http_billing_redis_reader_t *reader,
    ngx_http_billing_redis_token_t *token, ngx_log_t *log);
static ngx_int_t ngx_http_billing_redis_reader_push(
    ngx_http_billing_redis_reader_t *reader,
    ngx_http_billing_redis_token_t *token);
static ngx_int_t ngx_http_billing_redis_reader_item(
    ngx_http_billing_redis_reader_t *reader,
    ngx_http_billing_redis_token_t *token);
static ngx_int_t ngx_http_billing_redis_reader_open(
    ngx_http_billing_redis_reader_t *reader, ngx_uint_t n);
static ngx_int_t ngx_http_billing_redis_reader_end(
    ngx_http_billing_redis_reader_t *reader, ngx_int_t rc);


ngx_int_t
ngx_http_billing_redis_reader_room(ngx_http_billing_redis_reader_t *reader,
    ngx_log_t *log)
{
    u_char      *p, *old;
    size_t       size, left;
    ngx_uint_t   i;

    left = reader->last - reader->pos;
    size = reader->end - reader->start;

    if (left == 0 && size > NGX_HTTP_BILLING_REDIS_BUFFER) {
        ngx_free(reader->start);
        reader->start = NULL;
        size = 0;
    }

    old = reader->pos;

    if (left == size || size < reader->need) {
        size = ngx_max(NGX_HTTP_BILLING_REDIS_BUFFER,
                       ngx_max(2 * size, reader->need));

        /* one byte after end, for the zero byte that ends the data received */

        p = ngx_alloc(size + 1, log);
        if (p == NULL) {
            return NGX_ERROR;
        }

        if (left) {
            ngx_memcpy(p, old, left);
        }

        if (reader->start) {
            ngx_free(reader->start);
        }

        reader->start = p;
        reader->end = p + size;

    } else if (left && reader->pos != reader->start) {
        ngx_memmove(reader->start, old, left);
    }

    reader->pos = reader->start;
    reader->last = reader->start + left;

    /* the elements of the array being read have moved with the buffer */

    if (reader->state == NGX_HTTP_BILLING_REDIS_READER_KEEP
        && reader->depth && old != reader->start)
    {
        for (i = 0; i < reader->reply.nelts; i++) {
            if (reader->elts[i].data) {
                reader->elts[i].data = reader->start
                                       + (reader->elts[i].data - old);
            }
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_billing_redis_reader_next(ngx_http_billing_redis_reader_t *reader,
    ngx_log_t *log)
{
    u_char                          *p, *next;
    ngx_int_t                        rc;
    ngx_http_billing_redis_reply_t  *reply;
    ngx_http_billing_redis_token_t   token;

    reply = &reader->reply;

    if (reader->state == NGX_HTTP_BILLING_REDIS_READER_PUSH
        && reader->depth == 0)
    {
        reader->state = NGX_HTTP_BILLING_REDIS_READER_IDLE;
        reply->piece = NGX_HTTP_BILLING_REDIS_PUSH_END;
        ngx_str_null(&reply->text);
        return NGX_OK;
    }

    if (reader->state == NGX_HTTP_BILLING_REDIS_READER_ITEMS
        && reader->depth == 0)
    {
        reader->state = NGX_HTTP_BILLING_REDIS_READER_IDLE;
        reply->piece = NGX_HTTP_BILLING_REDIS_REPLY;
        reply->type = NGX_HTTP_BILLING_REDIS_ARRAY;
        ngx_str_null(&reply->text);
        return NGX_OK;
    }

    if (reader->pos == reader->last
        || (size_t) (reader->last - reader->pos) < reader->need)
    {
        return NGX_AGAIN;
    }

    /* a zero byte ends a length or a line that was not received whole */

    *reader->last = '\0';

    reader->need = 0;

    do {
        if (reader->state == NGX_HTTP_BILLING_REDIS_READER_IDLE) {
            ngx_http_billing_redis_reader_begin(reader);
        }

        p = reader->pos + reader->done;

        if (reader->state == NGX_HTTP_BILLING_REDIS_READER_KEEP
            && reader->depth == 1)
        {
            p = ngx_http_billing_redis_token_strings(reader, p);
            reader->done = p - reader->pos;
        }

        next = reader->skipping
               ? ngx_http_billing_redis_reader_skip(reader, &token)
               : ngx_http_billing_redis_token(reader, p, &token);

        if (next == NULL) {

            if (reader->error) {
                return NGX_ERROR;
            }

            if (reader->need) {
                reader->need += reader->done;
            }

            return NGX_AGAIN;
        }

        reader->seen = 0;

        rc = reader->skipping
             ? NGX_AGAIN
             : ngx_http_billing_redis_reader_value(reader, &token, log);

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (reader->state == NGX_HTTP_BILLING_REDIS_READER_KEEP) {
            reader->done = next - reader->pos;

        } else {
            reader->pos = next;
            reader->done = 0;
        }

    } while (rc == NGX_AGAIN);

    if (reply->text.data) {
        reply->text.data[reply->text.len] = '\0';
    }

    return NGX_OK;
}


static void
ngx_http_billing_redis_reader_begin(ngx_http_billing_redis_reader_t *reader)
{
    reader->state = NGX_HTTP_BILLING_REDIS_READER_KEEP;
    reader->size = 0;
    reader->nelts = 0;
    reader->depth = 0;
    reader->left[0] = 1;

    reader->reply.piece = NGX_HTTP_BILLING_REDIS_REPLY;
    reader->reply.elts = NULL;
    reader->reply.nelts = 0;
}


/* drops the part of a skipped string that was received */

static u_char *
ngx_http_billing_redis_reader_skip(ngx_http_billing_redis_reader_t *reader,
    ngx_http_billing_redis_token_t *token)
{
    u_char  *p;
    size_t   n;

    n = ngx_min(reader->rest, (size_t) (reader->last - reader->pos));

    reader->rest -= n;
    reader->pos += n;

    p = reader->pos;

    if (reader->rest || reader->last - p < 2) {
        return NULL;
    }

    if (p[0] != CR || p[1] != LF) {
        reader->error = "a string in the reply has no end";
        return NULL;
    }

    reader->skipping = 0;

    ngx_memzero(token, sizeof(ngx_http_billing_redis_token_t));
    token->type = NGX_HTTP_BILLING_REDIS_OVERSIZED;

    return p + 2;
}


/*
 * Adds the token to the reply.  Returns NGX_OK if a reply, or a piece of one,
 * is to be handed out; NGX_AGAIN if more tokens have to be read first; or
 * NGX_ERROR and reader->error.
 */

static ngx_int_t
ngx_http_billing_redis_reader_value(ngx_http_billing_redis_reader_t *reader,
    ngx_http_billing_redis_token_t *token, ngx_log_t *log)
{
    ngx_int_t  rc;

    rc = NGX_AGAIN;

    if (token->attribute || token->push) {
        return ngx_http_billing_redis_reader_special(reader, token);
    }

    if (reader->items && reader->depth == 0 && token->nelts
        && reader->state == NGX_HTTP_BILLING_REDIS_READER_KEEP)
    {
        reader->state = NGX_HTTP_BILLING_REDIS_READER_ITEMS;

    } else if (reader->state == NGX_HTTP_BILLING_REDIS_READER_ITEMS) {
        rc = ngx_http_billing_redis_reader_item(reader, token);

    } else if (reader->state == NGX_HTTP_BILLING_REDIS_READER_KEEP) {
        rc = ngx_http_billing_redis_reader_keep(reader, token, log);

    } else if (reader->state == NGX_HTTP_BILLING_REDIS_READER_PUSH) {
        rc = ngx_http_billing_redis_reader_push(reader, token);
    }

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (token->nelts) {
        return (ngx_http_billing_redis_reader_open(reader, token->nelts)
                == NGX_ERROR)
               ? NGX_ERROR : rc;
    }

    /* the value is whole; an array ends with its last element */

    while (--reader->left[reader->depth] == 0 && reader->depth) {
        reader->depth--;
    }

    return reader->depth ? rc : ngx_http_billing_redis_reader_end(reader, rc);
}


/* an attribute precedes its value, and is no part of the value */

static ngx_int_t
ngx_http_billing_redis_reader_special(ngx_http_billing_redis_reader_t *reader,
    ngx_http_billing_redis_token_t *token)
{
    if (token->push) {

        if (reader->state != NGX_HTTP_BILLING_REDIS_READER_KEEP
            || reader->depth || token->nelts == 0)
        {
            reader->error = "a push is out of place";
            return NGX_ERROR;
        }

        reader->state = NGX_HTTP_BILLING_REDIS_READER_PUSH;
        reader->kind_given = 0;

        return ngx_http_billing_redis_reader_open(reader, token->nelts);
    }

    if (reader->state == NGX_HTTP_BILLING_REDIS_READER_PUSH
        || reader->state == NGX_HTTP_BILLING_REDIS_READER_ITEMS)
    {
        reader->error = "an attribute is out of place";
        return NGX_ERROR;
    }

    if (token->nelts == 0) {
        return NGX_AGAIN;
    }

    if (reader->depth == 0) {
        reader->state = NGX_HTTP_BILLING_REDIS_READER_ATTRIBUTE;
    }

    reader->left[reader->depth]++;

    return ngx_http_billing_redis_reader_open(reader, token->nelts);
}


static ngx_int_t
ngx_http_billing_redis_reader_keep(ngx_http_billing_redis_reader_t *reader,
    ngx_http_billing_redis_token_t *token, ngx_log_t *log)
{
    ngx_str_t                       *elts;
    ngx_http_billing_redis_reply_t  *reply;

    reply = &reader->reply;

    if (reader->depth == 1) {
        reader->elts[reply->nelts++] = token->text;

        if (token->type != NGX_HTTP_BILLING_REDIS_STRING
            && token->type != NGX_HTTP_BILLING_REDIS_NIL)
        {
            reply->type = NGX_HTTP_BILLING_REDIS_OTHER;
        }

        return NGX_AGAIN;
    }

    if (reader->depth > 1) {
        return NGX_AGAIN;
    }

    reply->type = token->type;
    reply->text = token->text;

    if (token->nelts <= reader->nalloc
        || token->nelts > NGX_HTTP_BILLING_REDIS_MAX_ELEMENTS)
    {
        return NGX_AGAIN;
    }

    elts = ngx_alloc(token->nelts * sizeof(ngx_str_t), log);
    if (elts == NULL) {
        reader->error = "no memory for a reply";
        return NGX_ERROR;
    }

    if (reader->elts) {
        ngx_free(reader->elts);
    }

    reader->elts = elts;
    reader->nalloc = token->nelts;

    return NGX_AGAIN;
}


static ngx_int_t
ngx_http_billing_redis_reader_push(ngx_http_billing_redis_reader_t *reader,
    ngx_http_billing_redis_token_t *token)
{
    ngx_http_billing_redis_reply_t  *reply;

    reply = &reader->reply;

    if (!reader->kind_given) {

        if (token->type != NGX_HTTP_BILLING_REDIS_STRING
            && token->type != NGX_HTTP_BILLING_REDIS_STATUS)
        {
            reader->error = "a push has no kind";
            return NGX_ERROR;
        }

        reader->kind_given = 1;
        reply->piece = NGX_HTTP_BILLING_REDIS_PUSH;

    } else {

        if (token->type == NGX_HTTP_BILLING_REDIS_ARRAY
            || token->type == NGX_HTTP_BILLING_REDIS_MAP)
        {
            return NGX_AGAIN;
        }

        reply->piece = NGX_HTTP_BILLING_REDIS_PUSH_ITEM;
    }

    reply->type = token->type;
    reply->text = token->text;

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_redis_reader_item(ngx_http_billing_redis_reader_t *reader,
    ngx_http_billing_redis_token_t *token)
{
    ngx_http_billing_redis_reply_t  *reply;

    reply = &reader->reply;

    reply->piece = NGX_HTTP_BILLING_REDIS_ITEM;
    reply->type = token->type;
    reply->text = token->text;
    reply->level = reader->depth;

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_redis_reader_open(ngx_http_billing_redis_reader_t *reader,
    ngx_uint_t n)
{
    if (reader->depth == NGX_HTTP_BILLING_REDIS_MAX_DEPTH) {
        reader->error = "reply is nested too deep";
        return NGX_ERROR;
    }

    if (reader->state == NGX_HTTP_BILLING_REDIS_READER_KEEP) {
        reader->nelts += n;

        if (reader->nelts > NGX_HTTP_BILLING_REDIS_MAX_ELEMENTS) {
            reader->state = NGX_HTTP_BILLING_REDIS_READER_SKIP;
        }
    }

    reader->left[++reader->depth] = n;

    return NGX_AGAIN;
}


/* ends a reply or a push; rc is the result of its last token */

static ngx_int_t
ngx_http_billing_redis_reader_end(ngx_http_billing_redis_reader_t *reader,
    ngx_int_t rc)
{
    ngx_http_billing_redis_reply_t  *reply;

    reply = &reader->reply;

    switch (reader->state) {

    case NGX_HTTP_BILLING_REDIS_READER_ITEMS:
        return NGX_OK;

    case NGX_HTTP_BILLING_REDIS_READER_PUSH:

        if (rc == NGX_OK) {
            return NGX_OK;
        }

        reply->piece = NGX_HTTP_BILLING_REDIS_PUSH_END;
        ngx_str_null(&reply->text);
        break;

    case NGX_HTTP_BILLING_REDIS_READER_SKIP:
        reply->type = NGX_HTTP_BILLING_REDIS_OVERSIZED;
        reply->nelts = 0;
        ngx_str_null(&reply->text);
        break;

    case NGX_HTTP_BILLING_REDIS_READER_ATTRIBUTE:
        reader->state = NGX_HTTP_BILLING_REDIS_READER_IDLE;
        return NGX_AGAIN;

    default:
        reply->elts = reader->elts;
        break;
    }

    reader->state = NGX_HTTP_BILLING_REDIS_READER_IDLE;

    return NGX_OK;
}


ngx_uint_t
ngx_http_billing_redis_reader_left(ngx_http_billing_redis_reader_t *reader)
{
    switch (reader->state) {

    case NGX_HTTP_BILLING_REDIS_READER_PUSH:
        return 0;

    case NGX_HTTP_BILLING_REDIS_READER_SKIP:
    case NGX_HTTP_BILLING_REDIS_READER_ATTRIBUTE:
    case NGX_HTTP_BILLING_REDIS_READER_ITEMS:
        return 1;

    default:
        break;
    }

    if (reader->pos == reader->last) {
        return 0;
    }

    return !(reader->resp3 && *reader->pos == '>');
}


void
ngx_http_billing_redis_reader_free(ngx_http_billing_redis_reader_t *reader)
{
    if (reader->start) {
        ngx_free(reader->start);
    }

    if (reader->elts) {
        ngx_free(reader->elts);
    }

    ngx_memzero(reader, sizeof(ngx_http_billing_redis_reader_t));
}
