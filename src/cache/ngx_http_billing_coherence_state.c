
#include "ngx_http_billing_coherence_state.h"


/* ngx_current_msec stands still during a turn, and with timer_resolution */

int64_t
ngx_http_billing_coherence_clock(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    /* not 0, which stands for no time */

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000 + 1;
}


ngx_http_billing_source_state_t *
ngx_http_billing_coherence_source(ngx_http_billing_coherence_t *co,
    ngx_uint_t source)
{
    if (co->sources[source] == NULL) {
        co->sources[source] = ngx_calloc(
                                       sizeof(ngx_http_billing_source_state_t),
                                       co->log);
    }

    return co->sources[source];
}


ngx_uint_t
ngx_http_billing_coherence_owner(ngx_http_billing_coherence_t *co,
    ngx_uint_t source)
{
    if (source == NGX_HTTP_BILLING_REDIS_NOWHERE
        || co->sources[source] == NULL)
    {
        return 0;
    }

    return co->sources[source]->owner;
}


void
ngx_http_billing_coherence_renew(ngx_http_billing_coherence_t *co,
    ngx_uint_t source, ngx_uint_t keep)
{
    co->stat->generations++;

    ngx_http_billing_store_renew(co->store, source, keep);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, co->log, 0,
                   "billing cache begins anew, source: %ui, keep: %ui", source,
                   keep);
}


void
ngx_http_billing_coherence_renew_all(ngx_http_billing_coherence_t *co,
    ngx_uint_t keep)
{
    ngx_uint_t                        i;
    ngx_http_billing_source_state_t  *state;

    for (i = 0; i <= NGX_HTTP_BILLING_REDIS_SOURCES; i++) {
        state = co->sources[i];

        if (state) {
            ngx_http_billing_coherence_renew(co, i, keep && state->last);
        }
    }
}


void
ngx_http_billing_coherence_unused(ngx_http_billing_coherence_t *co,
    ngx_uint_t untracked, ngx_uint_t unmapped)
{
    ngx_int_t  before;

    before = (co->untracked || co->unmapped);

    co->untracked = untracked ? 1 : 0;
    co->unmapped = unmapped ? 1 : 0;

    co->gauge->untracked += (co->untracked || co->unmapped) - before;
}


ngx_uint_t
ngx_http_billing_coherence_same(ngx_str_t *one, ngx_str_t *two)
{
    return one->len == two->len
           && ngx_memcmp(one->data, two->data, one->len) == 0;
}
