
#include "ngx_http_billing_cache_record.h"
#include "ngx_http_billing_cache_reply.h"


/*
 * Kinds of records.  Each page of a login's ids is a record of a kind of its
 * own, and so is the check of the score at the page's end: a change of the
 * login's key drops the records of all kinds.
 */

#define NGX_HTTP_BILLING_RECORD_TOKEN      0
#define NGX_HTTP_BILLING_RECORD_EXTERNAL   1
#define NGX_HTTP_BILLING_RECORD_CAMERA     2
#define NGX_HTTP_BILLING_RECORD_SYNCED_AT  3
#define NGX_HTTP_BILLING_RECORD_PAGES      4

#define NGX_HTTP_BILLING_RECORD_MAX_PAGES                                     \
    ((256 - NGX_HTTP_BILLING_RECORD_PAGES) / 2)


/* the head of a page, which begins after an id; n ids follow the head */

typedef struct {
    int64_t     after;
    ngx_uint_t  n;
} ngx_http_billing_page_record_t;


static ngx_uint_t ngx_http_billing_cache_read_page(
    ngx_http_billing_lookup_t *lookup, ngx_http_billing_page_record_t *page);
static ngx_uint_t ngx_http_billing_cache_has_member(
    ngx_http_billing_page_record_t *page, int64_t id);
static ngx_int_t ngx_http_billing_cache_page(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup, ngx_str_t *data);


ngx_uint_t
ngx_http_billing_cache_record_kind(ngx_http_billing_lookup_t *lookup)
{
    switch (lookup->kind) {

    case NGX_HTTP_BILLING_KIND_TOKEN:
        return NGX_HTTP_BILLING_RECORD_TOKEN;

    case NGX_HTTP_BILLING_KIND_EXTERNAL:
        return NGX_HTTP_BILLING_RECORD_EXTERNAL;

    case NGX_HTTP_BILLING_KIND_CAMERA:
        return NGX_HTTP_BILLING_RECORD_CAMERA;

    case NGX_HTTP_BILLING_KIND_SYNCED_AT:
        return NGX_HTTP_BILLING_RECORD_SYNCED_AT;

    case NGX_HTTP_BILLING_KIND_LOGIN:
    case NGX_HTTP_BILLING_KIND_MEMBER:

        if (lookup->page >= NGX_HTTP_BILLING_RECORD_MAX_PAGES) {
            break;
        }

        return NGX_HTTP_BILLING_RECORD_PAGES + 2 * lookup->page
               + lookup->ends_page;

    default:
        break;
    }

    return NGX_HTTP_BILLING_NO_RECORD;
}


ngx_uint_t
ngx_http_billing_cache_read_record(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup, ngx_http_billing_entry_t *entry)
{
    u_char     *data;
    int64_t     value;
    ngx_str_t   text;

    data = ngx_http_billing_store_data(entry);
    value = 0;

    switch (lookup->kind) {

    case NGX_HTTP_BILLING_KIND_TOKEN:

        /* the log needs the name when the record may be gone */

        text.data = data;
        text.len = entry->len;

        if (ngx_http_billing_cache_copy(cache->pool, &lookup->text, &text)
            != NGX_OK)
        {
            return 0;
        }

        break;

    case NGX_HTTP_BILLING_KIND_CAMERA:

        if (cache->limit && cache->size >= cache->limit) {
            lookup->result = NGX_HTTP_BILLING_LOOKUP_DEFERRED;
            return 1;
        }

        lookup->text.data = data;
        lookup->text.len = entry->len;

        cache->size += entry->len;
        break;

    case NGX_HTTP_BILLING_KIND_LOGIN:

        if (!ngx_http_billing_cache_read_page(lookup,
                                     (ngx_http_billing_page_record_t *) data))
        {
            return 0;
        }

        break;

    case NGX_HTTP_BILLING_KIND_MEMBER:

        if (!lookup->ends_page) {

            if (!ngx_http_billing_cache_has_member(
                                      (ngx_http_billing_page_record_t *) data,
                                      lookup->id))
            {
                return 0;
            }

            break;
        }

        ngx_memcpy(&value, data, sizeof(int64_t));

        if (value != lookup->id) {
            return 0;
        }

        break;

    case NGX_HTTP_BILLING_KIND_EXTERNAL:
        ngx_memcpy(&lookup->id, data, sizeof(int64_t));
        break;

    default: /* NGX_HTTP_BILLING_KIND_SYNCED_AT */
        ngx_memcpy(&value, data, sizeof(int64_t));
        lookup->synced_at = (time_t) value;
        break;
    }

    lookup->result = NGX_HTTP_BILLING_LOOKUP_FOUND;

    return 1;
}


static ngx_uint_t
ngx_http_billing_cache_read_page(ngx_http_billing_lookup_t *lookup,
    ngx_http_billing_page_record_t *page)
{
    if (page->after != lookup->id || page->n > lookup->ids->nalloc) {
        return 0;
    }

    ngx_memcpy(lookup->ids->elts, page + 1, page->n * sizeof(int64_t));
    lookup->ids->nelts = page->n;

    return 1;
}


static ngx_uint_t
ngx_http_billing_cache_has_member(ngx_http_billing_page_record_t *page,
    int64_t id)
{
    int64_t     *ids;
    ngx_uint_t   low, high, middle;

    ids = (int64_t *) (page + 1);
    low = 0;
    high = page->n;

    while (low < high) {
        middle = low + (high - low) / 2;

        if (ids[middle] < id) {
            low = middle + 1;

        } else {
            high = middle;
        }
    }

    return low < page->n && ids[low] == id;
}


ngx_int_t
ngx_http_billing_cache_record(ngx_http_billing_cache_t *cache, ngx_uint_t n,
    ngx_str_t *data, int64_t *deadline)
{
    int64_t                        end;
    ngx_http_billing_lookup_t     *lookup, **asked;
    ngx_http_billing_coherence_t  *co;

    co = &cache->set->coherence;
    asked = cache->asked.elts;
    lookup = asked[n];

    /* nothing absent is kept */

    if (!ngx_http_billing_lookup_found(lookup)) {
        return NGX_DECLINED;
    }

    /* a replica hides what has expired, and tells of the change later */

    *deadline = co->sources[lookup->source]->replica
                ? lookup->sent + (int64_t) co->lag : 0;

    switch (lookup->kind) {

    case NGX_HTTP_BILLING_KIND_TOKEN:

        if (++n == cache->asked.nelts
            || asked[n]->kind != NGX_HTTP_BILLING_KIND_TTL
            || !ngx_http_billing_lookup_found(asked[n]))
        {
            return NGX_DECLINED;
        }

        /* a node of a cluster may have answered PTTL before it answered GET */

        end = asked[n]->sent + asked[n]->id;

        if (asked[n]->id != -1 && (*deadline == 0 || end < *deadline)) {
            *deadline = end;
        }

        *data = lookup->text;
        return NGX_OK;

    case NGX_HTTP_BILLING_KIND_CAMERA:
        *data = lookup->text;
        return NGX_OK;

    case NGX_HTTP_BILLING_KIND_LOGIN:
        return ngx_http_billing_cache_page(cache, lookup, data);

    case NGX_HTTP_BILLING_KIND_SYNCED_AT:
        lookup->id = lookup->synced_at;
        break;

    default: /* the camera's id, or the member's */
        break;
    }

    data->data = (u_char *) &lookup->id;
    data->len = sizeof(int64_t);

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_cache_page(ngx_http_billing_cache_t *cache,
    ngx_http_billing_lookup_t *lookup, ngx_str_t *data)
{
    size_t                           size;
    ngx_http_billing_page_record_t  *page;

    size = lookup->ids->nelts * sizeof(int64_t);

    data->len = sizeof(ngx_http_billing_page_record_t) + size;

    data->data = ngx_palloc(cache->pool, data->len);
    if (data->data == NULL) {
        return NGX_DECLINED;
    }

    page = (ngx_http_billing_page_record_t *) data->data;

    page->after = lookup->id;
    page->n = lookup->ids->nelts;

    ngx_memcpy(page + 1, lookup->ids->elts, size);

    return NGX_OK;
}
