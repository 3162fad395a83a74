
#include "ngx_http_billing_store_table.h"


/* buckets of the first table; each further one has twice as many */

#ifndef NGX_HTTP_BILLING_STORE_BUCKETS
#define NGX_HTTP_BILLING_STORE_BUCKETS  1024
#endif

/* buckets moved to the next table at each step */

#define NGX_HTTP_BILLING_STORE_SPLIT    4


size_t
ngx_http_billing_store_table_init(ngx_http_billing_store_table_t *table,
    ngx_log_t *log)
{
    size_t  len;

    len = NGX_HTTP_BILLING_STORE_BUCKETS * sizeof(ngx_http_billing_entry_t *);

    table->table = ngx_calloc(len, log);
    if (table->table == NULL) {
        return 0;
    }

    table->old = NULL;
    table->buckets = NGX_HTTP_BILLING_STORE_BUCKETS;

    return ngx_http_billing_store_heap(len);
}


void
ngx_http_billing_store_table_free(ngx_http_billing_store_table_t *table)
{
    if (table->old) {
        ngx_free(table->old);
    }

    ngx_free(table->table);
}


ngx_http_billing_entry_t *
ngx_http_billing_store_table_find(ngx_http_billing_store_table_t *table,
    uint64_t hash, ngx_uint_t kind, ngx_str_t *key, uint64_t generation)
{
    ngx_http_billing_entry_t  *entry;

    entry = *ngx_http_billing_store_bucket(table, hash);

    while (entry) {

        if (entry->hash == hash
            && entry->kind == kind
            && entry->generation == generation
            && entry->key_len == key->len
            && ngx_memcmp(entry->key, key->data, key->len) == 0)
        {
            return entry;
        }

        entry = entry->next;
    }

    return NULL;
}


void
ngx_http_billing_store_table_add(ngx_http_billing_store_table_t *table,
    ngx_http_billing_entry_t *entry)
{
    ngx_http_billing_entry_t  **bucket;

    bucket = ngx_http_billing_store_bucket(table, entry->hash);

    entry->next = *bucket;
    *bucket = entry;
}


void
ngx_http_billing_store_table_remove(ngx_http_billing_store_table_t *table,
    ngx_http_billing_entry_t *entry)
{
    ngx_http_billing_entry_t  **e;

    e = ngx_http_billing_store_bucket(table, entry->hash);

    while (*e != entry) {
        e = &(*e)->next;
    }

    *e = entry->next;
}


/*
 * The entries of one bucket go into two.  Most chains have one entry, as there
 * are twice as many buckets as entries.
 */

ssize_t
ngx_http_billing_store_table_grow(ngx_http_billing_store_table_t *table,
    ngx_uint_t entries, size_t room, ngx_log_t *log)
{
    size_t                      size;
    ssize_t                     change;
    ngx_uint_t                  n, half;
    ngx_http_billing_entry_t   *entry, *next, **new, **bucket;

    change = 0;

    if (table->old == NULL) {

        if (entries < table->buckets / 2) {
            return 0;
        }

        size = 2 * table->buckets * sizeof(ngx_http_billing_entry_t *);

        if (ngx_http_billing_store_heap(size) > room) {
            return 0;
        }

        new = ngx_alloc(size, log);
        if (new == NULL) {
            return 0;
        }

        change = ngx_http_billing_store_heap(size);

        table->old = table->table;
        table->table = new;
        table->buckets *= 2;
        table->split = 0;
    }

    half = table->buckets / 2;

    for (n = 0; n < NGX_HTTP_BILLING_STORE_SPLIT && table->split < half; n++) {

        entry = table->old[table->split];

        table->table[table->split] = NULL;
        table->table[table->split + half] = NULL;

        while (entry) {
            next = entry->next;

            bucket = &table->table[entry->hash & (table->buckets - 1)];
            entry->next = *bucket;
            *bucket = entry;

            entry = next;
        }

        table->split++;
    }

    if (table->split == half) {
        change -= ngx_http_billing_store_heap(
                                   half * sizeof(ngx_http_billing_entry_t *));
        ngx_free(table->old);
        table->old = NULL;
    }

    return change;
}


/* the heap of glibc adds a word, and rounds up */

size_t
ngx_http_billing_store_heap(size_t len)
{
    if (len >= 128 * 1024) {
        return ngx_align(len + 2 * sizeof(size_t), 4096);
    }

    return ngx_max(ngx_align(len + sizeof(size_t), 16), 32);
}
