
#include "ngx_http_billing_json_alloc.h"


/* precedes each allocation, and aligns it */

typedef struct {
    size_t        size;
    size_t        align;
} ngx_http_billing_json_block_t;


static void *ngx_http_billing_json_malloc(void *ctx, size_t size);
static void *ngx_http_billing_json_realloc(void *ctx, void *p, size_t size);
static void ngx_http_billing_json_free(void *ctx, void *p);


ngx_int_t
ngx_http_billing_json_alloc_init(ngx_http_billing_json_alloc_t *alloc,
    ngx_pool_t *pool, size_t size)
{
    alloc->start = ngx_palloc(pool, size);
    if (alloc->start == NULL) {
        return NGX_ERROR;
    }

    alloc->pool = pool;
    alloc->last = ngx_align_ptr(alloc->start,
                                sizeof(ngx_http_billing_json_block_t));
    alloc->end = alloc->start + size;

    alloc->funcs.malloc = ngx_http_billing_json_malloc;
    alloc->funcs.realloc = ngx_http_billing_json_realloc;
    alloc->funcs.free = ngx_http_billing_json_free;
    alloc->funcs.ctx = alloc;

    return NGX_OK;
}


void
ngx_http_billing_json_alloc_done(ngx_http_billing_json_alloc_t *alloc)
{
    (void) ngx_pfree(alloc->pool, alloc->start);
}


static void *
ngx_http_billing_json_malloc(void *ctx, size_t size)
{
    ngx_http_billing_json_alloc_t *alloc = ctx;

    size_t                          need;
    ngx_http_billing_json_block_t  *block;

    need = sizeof(ngx_http_billing_json_block_t)
           + ngx_align(size, sizeof(ngx_http_billing_json_block_t));

    if ((size_t) (alloc->end - alloc->last) >= need) {
        block = (ngx_http_billing_json_block_t *) alloc->last;
        alloc->last += need;

    } else {

        /* this yajl takes more memory than yajl 2.1.0, which was measured */

        ngx_log_error(NGX_LOG_ALERT, alloc->pool->log, 0,
                      "yajl needs more memory than is reserved for it");

        block = ngx_palloc(alloc->pool, need);
        if (block == NULL) {
            return NULL;
        }
    }

    block->size = size;

    return block + 1;
}


static void *
ngx_http_billing_json_realloc(void *ctx, void *p, size_t size)
{
    ngx_http_billing_json_alloc_t *alloc = ctx;

    void                           *new;
    u_char                         *end;
    ngx_http_billing_json_block_t  *block;

    if (p == NULL) {
        return ngx_http_billing_json_malloc(ctx, size);
    }

    block = (ngx_http_billing_json_block_t *) p - 1;

    end = (u_char *) p + ngx_align(block->size,
                                   sizeof(ngx_http_billing_json_block_t));

    if (end == alloc->last && size <= (size_t) (alloc->end - (u_char *) p)) {

        /* the newest block grows in place */

        end = (u_char *) p + ngx_align(size,
                                       sizeof(ngx_http_billing_json_block_t));

        alloc->last = ngx_min(end, alloc->end);
        block->size = size;

        return p;
    }

    new = ngx_http_billing_json_malloc(ctx, size);

    if (new) {
        ngx_memcpy(new, p, ngx_min(block->size, size));
    }

    return new;
}


static void
ngx_http_billing_json_free(void *ctx, void *p)
{
    /* ngx_http_billing_json_alloc_done() frees all memory at once */
}
