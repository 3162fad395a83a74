
#include "ngx_http_billing_json.h"
#include "ngx_http_billing_json_text.h"


/* bytes allocated at first, and later: each time twice as many as before */

#define NGX_HTTP_BILLING_JSON_BLOCK      1024
#define NGX_HTTP_BILLING_JSON_MAX_BLOCK  16384


static void ngx_http_billing_json_text_print(void *ctx, const char *str,
    size_t len);


ngx_int_t
ngx_http_billing_json_text_init(ngx_http_billing_json_text_t *json,
    ngx_pool_t *pool)
{
    if (ngx_http_billing_json_alloc_init(&json->alloc, pool,
                                         NGX_HTTP_BILLING_JSON_GEN)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    json->room = ngx_pcalloc(pool, sizeof(ngx_http_billing_json_room_t));
    if (json->room == NULL) {
        return NGX_ERROR;
    }

    json->room->pool = pool;

    json->gen = yajl_gen_alloc(&json->alloc.funcs);

    yajl_gen_config(json->gen, yajl_gen_print_callback,
                    ngx_http_billing_json_text_print, json);

    return NGX_OK;
}


void
ngx_http_billing_json_text_cut(ngx_http_billing_json_text_t *json,
    ngx_http_billing_json_part_t *part)
{
    size_t                         len;
    ngx_http_billing_json_room_t  *room;

    room = json->room;
    len = room->pos - room->start;

    if (len > NGX_HTTP_BILLING_JSON_PART) {
        json->status |= yajl_gen_in_error_state;
        return;
    }

    ngx_memcpy(part->data, room->start, len);
    part->len = len;

    room->pos = room->start;
}


void
ngx_http_billing_json_text_gap(ngx_http_billing_json_text_t *json,
    ngx_http_billing_json_part_t *part)
{
    json->status |= yajl_gen_number(json->gen, "0", 1);

    ngx_http_billing_json_text_cut(json, part);

    part->len--;
}


/*
 * From here on the generator writes elements of one array without an end, in
 * which a string is allowed at any time; the commas are skipped.  To reset the
 * generator for each string would cost more.
 */

ngx_int_t
ngx_http_billing_json_text_ready(ngx_http_billing_json_text_t *json)
{
    yajl_gen_reset(json->gen, NULL);

    json->status |= yajl_gen_array_open(json->gen);
    json->status |= yajl_gen_null(json->gen);

    json->room = NULL;

    return (json->status == yajl_gen_status_ok) ? NGX_OK : NGX_ERROR;
}


void
ngx_http_billing_json_text_start(ngx_http_billing_json_text_t *json,
    ngx_http_billing_json_room_t *room)
{
    json->room = room;
    json->status = yajl_gen_status_ok;
    json->skip = 0;

    room->pos = room->start;
}


ngx_int_t
ngx_http_billing_json_text_string(ngx_http_billing_json_text_t *json,
    ngx_str_t *value)
{
    if (ngx_http_billing_json_utf8_length(value) == NGX_ERROR) {
        return NGX_DECLINED;
    }

    json->skip = 1;
    json->status |= yajl_gen_string(json->gen, value->data, value->len);

    return NGX_OK;
}


ngx_int_t
ngx_http_billing_json_text_word(ngx_http_billing_json_text_t *json,
    ngx_str_t *value)
{
    size_t                         len;
    ngx_uint_t                     hash;
    ngx_http_billing_json_room_t  *room;
    ngx_http_billing_json_word_t  *word;

    if (value->len == 0 || value->len > NGX_HTTP_BILLING_JSON_PART) {
        return ngx_http_billing_json_text_string(json, value);
    }

    hash = value->len + 7 * value->data[0] + 3 * value->data[value->len - 1];
    word = &json->words[hash % NGX_HTTP_BILLING_JSON_WORDS];

    if (word->text.len == value->len
        && ngx_memcmp(word->text.data, value->data, value->len) == 0)
    {
        ngx_http_billing_json_text_part(json, &word->json);
        return NGX_OK;
    }

    room = json->room;
    len = room->pos - room->start;

    if (ngx_http_billing_json_text_string(json, value) != NGX_OK) {
        return NGX_DECLINED;
    }

    len = room->pos - room->start - len;

    if (len <= NGX_HTTP_BILLING_JSON_PART
        && json->status == yajl_gen_status_ok)
    {
        word->text.len = value->len;
        ngx_memcpy(word->text.data, value->data, value->len);

        word->json.len = len;
        ngx_memcpy(word->json.data, room->pos - len, len);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_billing_json_text_end(ngx_http_billing_json_text_t *json,
    ngx_str_t *text)
{
    ngx_http_billing_json_room_t  *room;

    room = json->room;

    if (json->status != yajl_gen_status_ok) {
        return NGX_ERROR;
    }

    text->data = room->start;
    text->len = room->pos - room->start;

    room->start = room->pos;

    return NGX_OK;
}


/* most calls write a few bytes, which need no call of a copying function */

static void
ngx_http_billing_json_text_print(void *ctx, const char *str, size_t len)
{
    ngx_http_billing_json_text_t *json = ctx;

    u_char                        *p;
    ngx_http_billing_json_room_t  *room;

    if (json->skip) {
        json->skip = 0;
        return;
    }

    room = json->room;

    if ((size_t) (room->end - room->pos) < len
        && ngx_http_billing_json_text_grow(json, len) != NGX_OK)
    {
        return;
    }

    p = room->pos;
    room->pos = p + len;

    if (len == 1) {
        *p = (u_char) *str;

    } else if (len > 16) {
        ngx_memcpy(p, str, len);

    } else if (len >= 8) {

        /* here and below, two copies that may overlap cover any length */

        ngx_memcpy(p, str, 8);
        ngx_memcpy(p + len - 8, str + len - 8, 8);

    } else if (len >= 4) {
        ngx_memcpy(p, str, 4);
        ngx_memcpy(p + len - 4, str + len - 4, 4);

    } else if (len) {
        ngx_memcpy(p, str, 2);
        p[len - 1] = (u_char) str[len - 1];
    }
}


ngx_int_t
ngx_http_billing_json_text_grow(ngx_http_billing_json_text_t *json, size_t len)
{
    u_char                        *p;
    size_t                         used, size;
    ngx_http_billing_json_room_t  *room;

    room = json->room;

    used = room->pos - room->start;

    size = ngx_min(2 * (room->end - room->block),
                   NGX_HTTP_BILLING_JSON_MAX_BLOCK);
    size = ngx_max(size, NGX_HTTP_BILLING_JSON_BLOCK);
    size = ngx_max(size, 2 * (used + len));

    p = ngx_pnalloc(room->pool, size);
    if (p == NULL) {
        json->status |= yajl_gen_in_error_state;
        return NGX_ERROR;
    }

    if (used) {
        ngx_memcpy(p, room->start, used);
    }

    /* a block that holds no other document */

    if (room->block && room->block == room->start) {
        (void) ngx_pfree(room->pool, room->block);
    }

    room->block = p;
    room->start = p;
    room->pos = p + used;
    room->end = p + size;

    return NGX_OK;
}
