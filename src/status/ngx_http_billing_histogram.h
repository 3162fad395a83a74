
/*
 * A histogram of times.  It has one writer, and readers in other processes.
 */


#ifndef _NGX_HTTP_BILLING_HISTOGRAM_H_INCLUDED_
#define _NGX_HTTP_BILLING_HISTOGRAM_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_BILLING_HISTOGRAM_BOUNDS  13


typedef struct {
    /*
     * For each bound, how many times are at most this bound, and above the
     * bound before.  The last element counts the times above all bounds.
     */
    ngx_atomic_t  times[NGX_HTTP_BILLING_HISTOGRAM_BOUNDS + 1];

    /* the sum of all times, in milliseconds */
    ngx_atomic_t  sum;
} ngx_http_billing_histogram_t;


typedef struct {
    ngx_msec_t    msec;

    /* the bound as the page shows it */
    const char   *seconds;
} ngx_http_billing_histogram_bound_t;


/* the bounds, ascending */
extern const ngx_http_billing_histogram_bound_t
    ngx_http_billing_histogram_bounds[];


void ngx_http_billing_histogram_add(ngx_http_billing_histogram_t *histogram,
    ngx_msec_t time);


#endif /* _NGX_HTTP_BILLING_HISTOGRAM_H_INCLUDED_ */
