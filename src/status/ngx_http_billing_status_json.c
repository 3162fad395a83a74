
#include "ngx_http_billing_status_page.h"
#include "ngx_http_billing_json.h"


static void ngx_http_billing_page_json_name(ngx_http_billing_json_t *json,
    const char *name);
static void ngx_http_billing_page_json_histogram(
    ngx_http_billing_json_t *json, ngx_http_billing_histogram_t *histogram);
static void ngx_http_billing_page_json_cache(ngx_http_billing_json_t *json,
    ngx_http_billing_page_cache_t *cache, ngx_pool_t *pool);
static void ngx_http_billing_page_json_cluster(ngx_http_billing_json_t *json,
    ngx_http_billing_source_t *source);
static void ngx_http_billing_page_json_servers(ngx_http_billing_json_t *json,
    ngx_http_billing_source_t *source, ngx_pool_t *pool);
static void ngx_http_billing_page_json_gauges(ngx_http_billing_json_t *json,
    ngx_http_billing_page_t *page);
static void ngx_http_billing_page_json_clients(ngx_http_billing_json_t *json,
    ngx_http_billing_page_t *page);


ngx_chain_t *
ngx_http_billing_page_json(ngx_http_billing_page_t *page, off_t *size)
{
    u_char                           *sum, code[NGX_INT_T_LEN];
    ngx_uint_t                        i;
    ngx_chain_t                      *out;
    ngx_http_billing_json_t           json;
    const ngx_http_billing_metric_t  *metric;

    ngx_http_billing_json_init(&json, page->pool,
                               (ngx_buf_tag_t) &ngx_http_billing_page_json);

    if (ngx_http_billing_json_start(&json) != NGX_OK) {
        return NULL;
    }

    sum = (u_char *) &page->sum;

    ngx_http_billing_json_map_open(&json);

    ngx_http_billing_json_literal(&json, "version");
    ngx_http_billing_json_literal(&json, NGX_HTTP_BILLING_VERSION);

    ngx_http_billing_json_literal(&json, "start_time");
    ngx_http_billing_json_integer(&json, page->started);

    ngx_http_billing_json_literal(&json, "requests");
    ngx_http_billing_json_map_open(&json);

    for (i = 0; i < NGX_HTTP_BILLING_STATUS_CODES - 1; i++) {
        *ngx_sprintf(code, "%ui", ngx_http_billing_status_codes[i]) = '\0';

        ngx_http_billing_page_json_name(&json, (char *) code);
        ngx_http_billing_json_integer(&json, page->sum.counters.requests[i]);
    }

    ngx_http_billing_json_literal(&json, "other");
    ngx_http_billing_json_integer(&json, page->sum.counters.requests[i]);
    ngx_http_billing_json_map_close(&json);

    for (metric = ngx_http_billing_page_gauges; metric->name; metric++) {
        ngx_http_billing_page_json_name(&json, metric->name);
        ngx_http_billing_json_integer(&json, *(ngx_atomic_t *)
                                             (sum + metric->offset));
    }

    for (metric = ngx_http_billing_page_counters; metric->name; metric++) {
        ngx_http_billing_page_json_name(&json, metric->name);
        ngx_http_billing_json_integer(&json, *(ngx_atomic_t *)
                                             (sum + metric->offset));
    }

    for (metric = ngx_http_billing_page_histograms; metric->name; metric++) {
        ngx_http_billing_page_json_name(&json, metric->name);
        ngx_http_billing_page_json_histogram(&json,
                                             (ngx_http_billing_histogram_t *)
                                             (sum + metric->offset));
    }

    ngx_http_billing_json_literal(&json, "caches");
    ngx_http_billing_json_array_open(&json);

    for (i = 0; i < page->ncaches; i++) {
        ngx_http_billing_page_json_cache(&json, &page->caches[i], page->pool);
    }

    ngx_http_billing_json_array_close(&json);

    ngx_http_billing_page_json_gauges(&json, page);
    ngx_http_billing_page_json_clients(&json, page);

    ngx_http_billing_json_map_close(&json);

    return ngx_http_billing_json_take(&json, &out, size) ? out : NULL;
}


static void
ngx_http_billing_page_json_name(ngx_http_billing_json_t *json,
    const char *name)
{
    ngx_str_t  text;

    text.data = (u_char *) name;
    text.len = ngx_strlen(name);

    ngx_http_billing_json_string(json, &text);
}


static void
ngx_http_billing_page_json_histogram(ngx_http_billing_json_t *json,
    ngx_http_billing_histogram_t *histogram)
{
    u_char             text[NGX_ATOMIC_T_LEN + sizeof(".000")];
    ngx_str_t          sum;
    ngx_uint_t         i;
    ngx_atomic_uint_t  count;

    count = 0;

    ngx_http_billing_json_map_open(json);

    ngx_http_billing_json_literal(json, "buckets");
    ngx_http_billing_json_map_open(json);

    for (i = 0; i < NGX_HTTP_BILLING_HISTOGRAM_BOUNDS; i++) {
        count += histogram->times[i];

        ngx_http_billing_page_json_name(json,
                                 ngx_http_billing_histogram_bounds[i].seconds);
        ngx_http_billing_json_integer(json, count);
    }

    count += histogram->times[i];

    ngx_http_billing_json_literal(json, "+Inf");
    ngx_http_billing_json_integer(json, count);
    ngx_http_billing_json_map_close(json);

    sum.data = text;
    sum.len = ngx_sprintf(text, "%uA.%03uA", histogram->sum / 1000,
                          histogram->sum % 1000)
              - text;

    ngx_http_billing_json_literal(json, "sum");
    ngx_http_billing_json_value(json, &sum);

    ngx_http_billing_json_literal(json, "count");
    ngx_http_billing_json_integer(json, count);

    ngx_http_billing_json_map_close(json);
}


static void
ngx_http_billing_page_json_cache(ngx_http_billing_json_t *json,
    ngx_http_billing_page_cache_t *cache, ngx_pool_t *pool)
{
    u_char                         text[NGX_INT64_LEN + sizeof(".000")];
    ngx_str_t                      lag;
    ngx_http_billing_coherence_t  *co;

    co = &cache->source->cache_set->coherence;

    lag.data = text;
    lag.len = ngx_sprintf(text, "%M.%03M", co->size ? co->lag / 1000 : 0,
                          co->size ? co->lag % 1000 : 0)
              - text;

    ngx_http_billing_json_map_open(json);

    ngx_http_billing_json_literal(json, "prefix");
    ngx_http_billing_json_string(json, &cache->source->prefix_label);

    ngx_http_billing_json_literal(json, "server");
    ngx_http_billing_json_string(json, &cache->source->server_label);

    ngx_http_billing_json_literal(json, "up");
    ngx_http_billing_json_bool(json, cache->up);

    ngx_http_billing_page_json_servers(json, cache->source, pool);

    ngx_http_billing_page_json_cluster(json, cache->source);

    ngx_http_billing_json_literal(json, "cache_lag");
    ngx_http_billing_json_value(json, &lag);

    ngx_http_billing_json_literal(json, "synced_at");

    if (cache->synced) {
        ngx_http_billing_json_integer(json, cache->synced_at);
        ngx_http_billing_json_literal(json, "synced_age");
        ngx_http_billing_json_integer(json, cache->synced_age);

    } else {
        ngx_http_billing_json_null(json);
        ngx_http_billing_json_literal(json, "synced_age");
        ngx_http_billing_json_null(json);
    }

    ngx_http_billing_json_map_close(json);
}


static void
ngx_http_billing_page_json_servers(ngx_http_billing_json_t *json,
    ngx_http_billing_source_t *source, ngx_pool_t *pool)
{
    ngx_str_t                       label;
    ngx_uint_t                      i;
    ngx_http_billing_redis_state_t  state;

    ngx_http_billing_json_literal(json, "servers");
    ngx_http_billing_json_array_open(json);

    for (i = 0;
         ngx_http_billing_redis_state(source->cache_set->redis, i, &state)
         == NGX_OK;
         i++)
    {
        if (ngx_http_billing_status_server_label(pool, state.peer, &label)
            != NGX_OK)
        {
            json->status |= yajl_gen_in_error_state;
            break;
        }

        ngx_http_billing_json_map_open(json);

        ngx_http_billing_json_literal(json, "server");
        ngx_http_billing_json_string(json, &label);

        ngx_http_billing_json_literal(json, "used");
        ngx_http_billing_json_bool(json, state.used);

        ngx_http_billing_json_literal(json, "failing");
        ngx_http_billing_json_bool(json, state.failing);

        ngx_http_billing_json_literal(json, "unloaded");
        ngx_http_billing_json_bool(json, state.unloaded);

        ngx_http_billing_json_map_close(json);
    }

    ngx_http_billing_json_array_close(json);
}


/* sums of all workers; a cache's "servers" are as this worker sees them */

static void
ngx_http_billing_page_json_gauges(ngx_http_billing_json_t *json,
    ngx_http_billing_page_t *page)
{
    ngx_str_t                          name;
    ngx_uint_t                         i;
    ngx_http_billing_status_server_t  *server;

    server = page->servers->elts;

    ngx_http_billing_json_literal(json, "redis_servers");
    ngx_http_billing_json_array_open(json);

    for (i = 0; i < page->servers->nelts; i++) {
        name.len = server[i].len;
        name.data = server[i].name;

        ngx_http_billing_json_map_open(json);

        ngx_http_billing_json_literal(json, "server");
        ngx_http_billing_json_string(json, &name);

        ngx_http_billing_json_literal(json, "used");
        ngx_http_billing_json_integer(json, server[i].used);

        ngx_http_billing_json_literal(json, "failing");
        ngx_http_billing_json_integer(json, server[i].failing);

        ngx_http_billing_json_literal(json, "unloaded");
        ngx_http_billing_json_integer(json, server[i].unloaded);

        ngx_http_billing_json_map_close(json);
    }

    ngx_http_billing_json_array_close(json);
}


static void
ngx_http_billing_page_json_clients(ngx_http_billing_json_t *json,
    ngx_http_billing_page_t *page)
{
    ngx_str_t                          name;
    ngx_uint_t                         i;
    ngx_http_billing_status_client_t  *client;

    if (page->clients == NULL) {
        return;
    }

    ngx_http_billing_json_literal(json, "client_requests");
    ngx_http_billing_json_map_open(json);

    for (i = 0; i < page->nclients; i++) {
        client = &page->clients->clients[i];

        name.len = client->len;
        name.data = client->name;

        ngx_http_billing_json_string(json, &name);
        ngx_http_billing_json_integer(json, client->requests);
    }

    ngx_http_billing_json_literal(json, "other");
    ngx_http_billing_json_integer(json, page->clients->table->other);

    ngx_http_billing_json_map_close(json);
}


/* the number of nodes is left out: the nodes are the cache's "servers" */

static void
ngx_http_billing_page_json_cluster(ngx_http_billing_json_t *json,
    ngx_http_billing_source_t *source)
{
    ngx_uint_t  slots, nodes;

    ngx_http_billing_json_literal(json, "cluster_slots");

    if (ngx_http_billing_redis_cluster(source->cache_set->redis, &slots,
                                       &nodes)
        != NGX_OK)
    {
        ngx_http_billing_json_null(json);
        return;
    }

    ngx_http_billing_json_integer(json, slots);
}
