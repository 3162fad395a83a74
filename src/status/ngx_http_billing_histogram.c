
#include "ngx_http_billing_histogram.h"


const ngx_http_billing_histogram_bound_t
ngx_http_billing_histogram_bounds[NGX_HTTP_BILLING_HISTOGRAM_BOUNDS] = {
    { 1, "0.001" },
    { 2, "0.002" },
    { 5, "0.005" },
    { 10, "0.01" },
    { 20, "0.02" },
    { 50, "0.05" },
    { 100, "0.1" },
    { 200, "0.2" },
    { 500, "0.5" },
    { 1000, "1" },
    { 2000, "2" },
    { 5000, "5" },
    { 10000, "10" }
};


void
ngx_http_billing_histogram_add(ngx_http_billing_histogram_t *histogram,
    ngx_msec_t time)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_BILLING_HISTOGRAM_BOUNDS; i++) {
        if (time <= ngx_http_billing_histogram_bounds[i].msec) {
            break;
        }
    }

    histogram->times[i]++;
    histogram->sum += time;
}
