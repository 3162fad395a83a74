
#include "ngx_http_billing_module.h"
#include "ngx_http_billing_status_page.h"
#include "ngx_http_billing_json.h"


static void ngx_http_billing_page_json_name(ngx_http_billing_json_t *json,
    const char *name);
static void ngx_http_billing_page_json_histogram(
    ngx_http_billing_json_t *json, ngx_http_billing_histogram_t *histogram);
static void ngx_http_billing_page_json_probe(ngx_http_billing_json_t *json,
    ngx_http_billing_probe_t *probe);


ngx_chain_t *
ngx_http_billing_page_json(ngx_http_billing_page_t *page, off_t *size)
{
    u_char                           *counters, code[NGX_INT_T_LEN];
    yajl_gen                          gen;
    ngx_uint_t                        i;
    ngx_chain_t                      *out;
    ngx_http_billing_json_t           json;
    const ngx_http_billing_metric_t  *metric;

    ngx_http_billing_json_init(&json, page->request->pool,
                               (ngx_buf_tag_t) &ngx_http_billing_module);

    gen = ngx_http_billing_json_gen(&json);

    if (gen == NULL) {
        return NULL;
    }

    counters = (u_char *) &page->counters;

    yajl_gen_map_open(gen);

    ngx_http_billing_json_name(&json, "requests");
    yajl_gen_map_open(gen);

    for (i = 0; i < NGX_HTTP_BILLING_STATUS_CODES - 1; i++) {
        *ngx_sprintf(code, "%ui", ngx_http_billing_status_codes[i]) = '\0';

        ngx_http_billing_page_json_name(&json, (char *) code);
        yajl_gen_integer(gen, page->counters.requests[i]);
    }

    ngx_http_billing_json_name(&json, "other");
    yajl_gen_integer(gen, page->counters.requests[i]);
    yajl_gen_map_close(gen);

    ngx_http_billing_json_name(&json, "requests_waiting");
    yajl_gen_integer(gen, page->requests_waiting);

    for (metric = ngx_http_billing_page_counters; metric->name; metric++) {
        ngx_http_billing_page_json_name(&json, metric->name);
        yajl_gen_integer(gen, *(ngx_atomic_t *) (counters + metric->offset));
    }

    for (metric = ngx_http_billing_page_histograms; metric->name; metric++) {
        ngx_http_billing_page_json_name(&json, metric->name);
        ngx_http_billing_page_json_histogram(&json,
                                             (ngx_http_billing_histogram_t *)
                                             (counters + metric->offset));
    }

    ngx_http_billing_json_name(&json, "caches");
    yajl_gen_array_open(gen);

    for (i = 0; i < page->nprobes; i++) {
        ngx_http_billing_page_json_probe(&json, &page->probes[i]);
    }

    yajl_gen_array_close(gen);
    yajl_gen_map_close(gen);

    return (ngx_http_billing_json_take(&json, &out, size) == NGX_OK) ? out
                                                                     : NULL;
}


static void
ngx_http_billing_page_json_name(ngx_http_billing_json_t *json,
    const char *name)
{
    yajl_gen_string(json->gen, (const unsigned char *) name,
                    ngx_strlen(name));
}


static void
ngx_http_billing_page_json_histogram(ngx_http_billing_json_t *json,
    ngx_http_billing_histogram_t *histogram)
{
    u_char             text[NGX_ATOMIC_T_LEN + sizeof(".000")], *p;
    yajl_gen           gen;
    ngx_uint_t         i;
    ngx_atomic_uint_t  count;

    gen = json->gen;
    count = 0;

    yajl_gen_map_open(gen);

    ngx_http_billing_json_name(json, "buckets");
    yajl_gen_map_open(gen);

    for (i = 0; i < NGX_HTTP_BILLING_HISTOGRAM_BOUNDS; i++) {
        count += histogram->times[i];

        ngx_http_billing_page_json_name(json,
                                 ngx_http_billing_histogram_bounds[i].seconds);
        yajl_gen_integer(gen, count);
    }

    count += histogram->times[i];

    ngx_http_billing_json_name(json, "+Inf");
    yajl_gen_integer(gen, count);
    yajl_gen_map_close(gen);

    p = ngx_sprintf(text, "%uA.%03uA", histogram->sum / 1000,
                    histogram->sum % 1000);

    ngx_http_billing_json_name(json, "sum");
    yajl_gen_number(gen, (char *) text, p - text);

    ngx_http_billing_json_name(json, "count");
    yajl_gen_integer(gen, count);

    yajl_gen_map_close(gen);
}


static void
ngx_http_billing_page_json_probe(ngx_http_billing_json_t *json,
    ngx_http_billing_probe_t *probe)
{
    yajl_gen  gen;

    gen = json->gen;

    yajl_gen_map_open(gen);

    ngx_http_billing_json_name(json, "prefix");
    ngx_http_billing_json_string(json, &probe->source->prefix_label);

    ngx_http_billing_json_name(json, "server");
    ngx_http_billing_json_string(json, &probe->source->server_label);

    ngx_http_billing_json_name(json, "up");
    yajl_gen_bool(gen, probe->up);

    ngx_http_billing_json_name(json, "synced_at");

    if (probe->synced) {
        yajl_gen_integer(gen, probe->synced_at);
        ngx_http_billing_json_name(json, "synced_age");
        yajl_gen_integer(gen, probe->synced_age);

    } else {
        yajl_gen_null(gen);
        ngx_http_billing_json_name(json, "synced_age");
        yajl_gen_null(gen);
    }

    yajl_gen_map_close(gen);
}
