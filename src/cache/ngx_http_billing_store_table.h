
/*
 * The hash table of the store's entries: chains of entries in a table that
 * doubles step by step, so that no insertion takes long.  Private to the
 * store's files.
 */


#ifndef _NGX_HTTP_BILLING_STORE_TABLE_H_INCLUDED_
#define _NGX_HTTP_BILLING_STORE_TABLE_H_INCLUDED_


#include "ngx_http_billing_store.h"


typedef struct {
    /* chains; while old is there, its buckets before split are in the table */
    ngx_http_billing_entry_t      **table;
    ngx_http_billing_entry_t      **old;
    ngx_uint_t                      buckets;
    ngx_uint_t                      split;
} ngx_http_billing_store_table_t;


static ngx_inline ngx_http_billing_entry_t **
ngx_http_billing_store_bucket(ngx_http_billing_store_table_t *table,
    uint64_t hash)
{
    ngx_uint_t  i;

    if (table->old) {
        i = hash & (table->buckets / 2 - 1);

        if (i >= table->split) {
            return &table->old[i];
        }
    }

    return &table->table[hash & (table->buckets - 1)];
}


/* Returns the bytes of the empty table, or 0 if there is no memory. */
size_t ngx_http_billing_store_table_init(ngx_http_billing_store_table_t *table,
    ngx_log_t *log);

/* Frees the table, but no entries. */
void ngx_http_billing_store_table_free(ngx_http_billing_store_table_t *table);

/* Returns the entry of a generation, or NULL. */
ngx_http_billing_entry_t *ngx_http_billing_store_table_find(
    ngx_http_billing_store_table_t *table, uint64_t hash, ngx_uint_t kind,
    ngx_str_t *key, uint64_t generation);

void ngx_http_billing_store_table_add(ngx_http_billing_store_table_t *table,
    ngx_http_billing_entry_t *entry);
void ngx_http_billing_store_table_remove(ngx_http_billing_store_table_t *table,
    ngx_http_billing_entry_t *entry);

/*
 * Begins to double a table that has too many entries, unless more than room
 * bytes are needed, and does a step of doubling.  Returns by how many bytes the
 * memory of the table has grown: the last step frees the old table.
 */
ssize_t ngx_http_billing_store_table_grow(
    ngx_http_billing_store_table_t *table, ngx_uint_t entries, size_t room,
    ngx_log_t *log);

/* The bytes that an allocation of len bytes takes of the heap. */
size_t ngx_http_billing_store_heap(size_t len);


#endif /* _NGX_HTTP_BILLING_STORE_TABLE_H_INCLUDED_ */
