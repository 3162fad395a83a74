
/*
 * Timers that judge Redis.  A timer that is very late means that the worker
 * stood still: then the data that arrived meanwhile is read first.
 */


#ifndef _NGX_HTTP_BILLING_REDIS_TIMER_H_INCLUDED_
#define _NGX_HTTP_BILLING_REDIS_TIMER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>


/* Sets a timer for so many milliseconds; *due becomes its time of expiry. */
void ngx_http_billing_redis_add_timer(ngx_event_t *ev, ngx_msec_t *due,
    ngx_msec_t timer);

/*
 * Did the worker stand still until after the timer was due?  If so, sets the
 * timer again, for a short time.  To be called in the timer's handler only.
 */
ngx_uint_t ngx_http_billing_redis_stalled(ngx_event_t *ev, ngx_msec_t *due);


#endif /* _NGX_HTTP_BILLING_REDIS_TIMER_H_INCLUDED_ */
