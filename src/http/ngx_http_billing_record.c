
#include "ngx_http_billing_module.h"
#include "ngx_http_billing_handler.h"
#include "ngx_http_billing_record.h"


static ngx_int_t ngx_http_billing_record_log_handler(ngx_http_request_t *r);
static void ngx_http_billing_record_cleanup(void *data);
static ngx_msec_t ngx_http_billing_record_now(void);


ngx_int_t
ngx_http_billing_record_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_LOG_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_billing_record_log_handler;

    return NGX_OK;
}


/*
 * The log phase runs once per request, with the status that the client got:
 * also for a request that nginx ended before this module's handler ran, and
 * for one that was redirected elsewhere.  A subrequest is counted only with
 * "log_subrequest on".
 */

static ngx_int_t
ngx_http_billing_record_log_handler(ngx_http_request_t *r)
{
    ngx_time_t                    *tp;
    ngx_msec_int_t                 ms;
    ngx_http_billing_record_t     *record;
    ngx_http_billing_loc_conf_t   *blcf;
    ngx_http_billing_main_conf_t  *bmcf;

    blcf = ngx_http_get_module_loc_conf(r, ngx_http_billing_module);

    if (!blcf->enable && !r->internal) {
        return NGX_OK;
    }

    record = ngx_http_billing_record_find(r);

    if (!blcf->enable && record == NULL) {
        return NGX_OK;
    }

    bmcf = ngx_http_get_module_main_conf(r, ngx_http_billing_module);

    tp = ngx_timeofday();

    ms = (ngx_msec_int_t)
             ((tp->sec - r->start_sec) * 1000 + (tp->msec - r->start_msec));

    if (bmcf->status.clients.max && record && record->client.len) {
        ngx_http_billing_status_clients_count(&bmcf->status.clients,
                                              &record->client);
    }

    if (record && record->cameras && !r->header_only) {
        bmcf->status.slot->counters.cameras += *record->cameras;
    }

    /* last: a page that has the request then has its client and cameras */

    ngx_http_billing_status_request(bmcf->status.slot,
                                    r->err_status ? r->err_status
                                                  : r->headers_out.status,
                                    ngx_max(ms, 0));

    return NGX_OK;
}


ngx_http_billing_record_t *
ngx_http_billing_record_get(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t            *cln;
    ngx_http_billing_record_t     *record;
    ngx_http_billing_main_conf_t  *bmcf;

    if (r->internal) {
        record = ngx_http_billing_record_find(r);

        if (record) {
            return record;
        }
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_billing_record_t));
    if (cln == NULL) {
        return NULL;
    }

    bmcf = ngx_http_get_module_main_conf(r, ngx_http_billing_module);

    record = cln->data;

    ngx_memzero(record, sizeof(ngx_http_billing_record_t));

    record->request = r;
    record->slot = bmcf->status.slot;

    cln->handler = ngx_http_billing_record_cleanup;

    return record;
}


ngx_http_billing_record_t *
ngx_http_billing_record_find(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t         *cln;
    ngx_http_billing_record_t  *record;

    /* subrequests have the pool of the main request */

    for (cln = r->pool->cleanup; cln; cln = cln->next) {

        if (cln->handler != ngx_http_billing_record_cleanup) {
            continue;
        }

        record = cln->data;

        if (record->request == r) {
            return record;
        }
    }

    return NULL;
}


static void
ngx_http_billing_record_cleanup(void *data)
{
    ngx_http_billing_record_answered(data, NULL);
}


void
ngx_http_billing_record_ask(ngx_http_billing_record_t *record)
{
    record->asked = ngx_http_billing_record_now();
    record->redis = 1;
    record->waiting = 1;
    record->slot->waiting++;
}


void
ngx_http_billing_record_answered(ngx_http_billing_record_t *record,
    ngx_str_t *server)
{
    if (!record->waiting) {
        return;
    }

    record->waited = ngx_http_billing_record_waited(record);
    record->waiting = 0;
    record->slot->waiting--;

    if (server == NULL
        || (record->server.len == server->len
            && ngx_memcmp(record->server.data, server->data, server->len)
               == 0))
    {
        return;
    }

    /* many servers may answer a long list: the memory is used again */

    if (server->len > record->room) {
        record->server.len = 0;
        record->room = 0;

        record->server.data = ngx_pnalloc(record->request->pool, server->len);
        if (record->server.data == NULL) {
            return;
        }

        record->room = server->len;
    }

    record->server.len = server->len;

    ngx_memcpy(record->server.data, server->data, server->len);
}


void
ngx_http_billing_record_cache(ngx_http_billing_record_t *record,
    ngx_http_billing_cache_t *cache)
{
    record->hit |= (cache->hits != 0);
    record->missed |= cache->missed;
    record->stale |= cache->stale;
}


ngx_msec_t
ngx_http_billing_record_waited(ngx_http_billing_record_t *record)
{
    ngx_msec_int_t  ms;

    if (!record->waiting) {
        return record->waited;
    }

    ms = (ngx_msec_int_t) (ngx_http_billing_record_now() - record->asked);

    /* the system's clock may be set back */

    return record->waited + ngx_max(ms, 0);
}


/*
 * The clock of $request_time, in milliseconds.  ngx_current_msec changes at
 * other moments: a wait measured with it could exceed $request_time.
 */

static ngx_msec_t
ngx_http_billing_record_now(void)
{
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    return (ngx_msec_t) tp->sec * 1000 + tp->msec;
}
