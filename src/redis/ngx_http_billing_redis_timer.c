
#include "ngx_http_billing_redis_timer.h"


/* a timer that is so many milliseconds late: the worker stood still */

#define NGX_HTTP_BILLING_REDIS_STALL     50

/* milliseconds to read the data received before Redis is judged */

#define NGX_HTTP_BILLING_REDIS_GRACE     100


void
ngx_http_billing_redis_add_timer(ngx_event_t *ev, ngx_msec_t *due,
    ngx_msec_t timer)
{
    *due = ngx_current_msec + timer;

    /* ngx_add_timer() does not change a timer by less than 300 ms */

    if (ev->timer_set) {
        ngx_del_timer(ev);
    }

    ngx_add_timer(ev, timer);
}


ngx_uint_t
ngx_http_billing_redis_stalled(ngx_event_t *ev, ngx_msec_t *due)
{
    ngx_msec_int_t  late;

    late = (ngx_msec_int_t) (ngx_current_msec - *due);

    if (late < NGX_HTTP_BILLING_REDIS_STALL) {
        return 0;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ev->log, 0,
                   "billing redis timer is %M ms late", (ngx_msec_t) late);

    ngx_http_billing_redis_add_timer(ev, due, NGX_HTTP_BILLING_REDIS_GRACE);

    /*
     * With a "timer_resolution", each timer may be late, and would be set again
     * for ever.  So the next expiry never counts as late.
     */

    *due += NGX_MAX_INT32_VALUE / 2;

    return 1;
}
