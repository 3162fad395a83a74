
#include "ngx_http_billing_module.h"
#include "ngx_http_billing_directives.h"
#include "ngx_http_billing_handler.h"
#include "ngx_http_billing_cache.h"
#include "ngx_http_billing_probe.h"


#define NGX_HTTP_BILLING_MAX_IDS      30
#define NGX_HTTP_BILLING_BATCH        128
#define NGX_HTTP_BILLING_CONNECTIONS  1
#define NGX_HTTP_BILLING_QUEUE        1000
#define NGX_HTTP_BILLING_CACHE_SIZE   (32 * 1024 * 1024)
#define NGX_HTTP_BILLING_CACHE_LAG    1000
#define NGX_HTTP_BILLING_CLIENTS      0

/* a worker keeps twice as many bytes of free memory for the next requests */

#define NGX_HTTP_BILLING_SPARE        (256 * 1024)


static ngx_int_t ngx_http_billing_init(ngx_conf_t *cf);
static void *ngx_http_billing_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_billing_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_http_billing_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_billing_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_http_billing_merge_cache(ngx_conf_t *cf,
    ngx_http_billing_main_conf_t *bmcf, ngx_http_billing_loc_conf_t *conf);
static void ngx_http_billing_merge_ssl(ngx_http_billing_redis_ssl_conf_t *conf,
    ngx_http_billing_redis_ssl_conf_t *prev);
static ngx_int_t ngx_http_billing_init_process(ngx_cycle_t *cycle);
static void ngx_http_billing_keep_memory(ngx_log_t *log);
static void ngx_http_billing_exit_process(ngx_cycle_t *cycle);


/* a batch has at most as many members as the reader of replies keeps */

static ngx_conf_num_bounds_t  ngx_http_billing_batch_bounds = {
    ngx_conf_check_num_bounds, 1, 1000
};

static ngx_conf_num_bounds_t  ngx_http_billing_connections_bounds = {
    ngx_conf_check_num_bounds, 1, 64
};

static ngx_conf_num_bounds_t  ngx_http_billing_queue_bounds = {
    ngx_conf_check_num_bounds, 1, 1000000
};


static ngx_conf_num_bounds_t  ngx_http_billing_stale_bounds = {
    ngx_conf_check_num_bounds, 0, NGX_MAX_INT_T_VALUE
};


static ngx_conf_num_bounds_t  ngx_http_billing_clients_bounds = {
    ngx_conf_check_num_bounds, 0, 1000
};


static ngx_command_t  ngx_http_billing_commands[] = {

    { ngx_string("billing_cameras_list"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_billing_cameras_list,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("billing_redis"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_billing_redis,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("billing_redis_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_billing_set_time,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_billing_loc_conf_t, redis_timeout),
      NULL },

    { ngx_string("billing_redis_connect_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_billing_set_time,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_billing_loc_conf_t, redis_conf.connect_timeout),
      NULL },

    { ngx_string("billing_redis_connections"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_billing_set_number,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_billing_loc_conf_t, redis_conf.connections),
      &ngx_http_billing_connections_bounds },

    { ngx_string("billing_redis_queue"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_billing_set_number,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_billing_loc_conf_t, redis_conf.queue),
      &ngx_http_billing_queue_bounds },

    { ngx_string("billing_redis_socket_keepalive"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_billing_loc_conf_t, redis_conf.socket_keepalive),
      NULL },

    { ngx_string("billing_redis_password_file"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_billing_redis_password_file,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("billing_redis_ssl_verify"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_billing_loc_conf_t, redis_conf.ssl.verify),
      NULL },

    { ngx_string("billing_redis_ssl_trusted_certificate"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_billing_loc_conf_t, redis_conf.ssl.trusted_certificate),
      NULL },

    { ngx_string("billing_redis_ssl_name"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_billing_loc_conf_t, redis_conf.ssl.name),
      NULL },

    { ngx_string("billing_redis_ssl_certificate"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_billing_loc_conf_t, redis_conf.ssl.certificate),
      NULL },

    { ngx_string("billing_redis_ssl_certificate_key"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_billing_loc_conf_t, redis_conf.ssl.certificate_key),
      NULL },

    { ngx_string("billing_redis_prefix"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_billing_loc_conf_t, redis_prefix),
      NULL },

    { ngx_string("billing_token"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_billing_set_token,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("billing_cache"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_billing_cache,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("billing_cache_lag"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_billing_set_time,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_billing_loc_conf_t, cache_lag),
      NULL },

    { ngx_string("billing_cache_stale"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_billing_set_time,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_billing_loc_conf_t, cache_stale),
      &ngx_http_billing_stale_bounds },

    { ngx_string("billing_max_ids"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_billing_set_number,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_billing_loc_conf_t, max_ids),
      &ngx_http_billing_batch_bounds },

    { ngx_string("billing_batch"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_billing_set_number,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_billing_loc_conf_t, batch),
      &ngx_http_billing_batch_bounds },

    { ngx_string("billing_allow_post"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_billing_loc_conf_t, allow_post),
      NULL },

    { ngx_string("billing_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_billing_status,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("billing_status_clients"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_billing_set_number,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_billing_main_conf_t, status.clients.max),
      &ngx_http_billing_clients_bounds },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_billing_module_ctx = {
    ngx_http_billing_add_variables,        /* preconfiguration */
    ngx_http_billing_init,                 /* postconfiguration */

    ngx_http_billing_create_main_conf,     /* create main configuration */
    ngx_http_billing_init_main_conf,       /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_billing_create_loc_conf,      /* create location configuration */
    ngx_http_billing_merge_loc_conf        /* merge location configuration */
};


ngx_module_t  ngx_http_billing_module = {
    NGX_MODULE_V1,
    &ngx_http_billing_module_ctx,          /* module context */
    ngx_http_billing_commands,             /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_billing_init_process,         /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_billing_exit_process,         /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_billing_init(ngx_conf_t *cf)
{
    ngx_http_billing_main_conf_t  *bmcf;

    bmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_billing_module);

    if (bmcf->redis.nelts == 0 && !bmcf->status.enable) {
        return NGX_OK;
    }

    if (ngx_http_billing_status_init(cf, &bmcf->status, &bmcf->cache_sets,
                                     &ngx_http_billing_module)
        != NGX_OK
        || ngx_http_billing_token_init(cf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_billing_record_init(cf);
}


static void *
ngx_http_billing_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_billing_main_conf_t  *bmcf;

    bmcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_billing_main_conf_t));
    if (bmcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&bmcf->redis, cf->pool, 1,
                       sizeof(ngx_http_billing_redis_t *))
        != NGX_OK
        || ngx_array_init(&bmcf->cache_sets, cf->pool, 1,
                          sizeof(ngx_http_billing_cache_set_t *))
           != NGX_OK
        || ngx_array_init(&bmcf->status.sources, cf->pool, 1,
                          sizeof(ngx_http_billing_source_t))
           != NGX_OK)
    {
        return NULL;
    }

    bmcf->status.clients.max = NGX_CONF_UNSET_UINT;

    return bmcf;
}


static char *
ngx_http_billing_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_billing_main_conf_t *bmcf = conf;

    ngx_conf_init_uint_value(bmcf->status.clients.max,
                             NGX_HTTP_BILLING_CLIENTS);

    return NGX_CONF_OK;
}


static void *
ngx_http_billing_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_billing_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_billing_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->enable = 0;
     *     conf->redis_conf.urls = NULL;
     *     conf->redis_conf.password_file = { 0, NULL };
     *     conf->redis_conf.password = { 0, NULL };
     *     conf->redis_conf.ssl.trusted_certificate = { 0, NULL };
     *     conf->redis_conf.ssl.name = { 0, NULL };
     *     conf->redis_conf.ssl.certificate = { 0, NULL };
     *     conf->redis_conf.ssl.certificate_key = { 0, NULL };
     *     conf->redis = NULL;
     *     conf->cache_set = NULL;
     *     conf->redis_prefix = { 0, NULL };
     *     conf->token = NULL;
     */

    conf->redis_timeout = NGX_CONF_UNSET_MSEC;
    conf->redis_conf.connect_timeout = NGX_CONF_UNSET_MSEC;
    conf->redis_conf.connections = NGX_CONF_UNSET_UINT;
    conf->redis_conf.queue = NGX_CONF_UNSET_UINT;
    conf->redis_conf.socket_keepalive = NGX_CONF_UNSET;
    conf->redis_conf.ssl.verify = NGX_CONF_UNSET;
    conf->token_required = NGX_CONF_UNSET;
    conf->cache_size = NGX_CONF_UNSET_SIZE;
    conf->cache_lag = NGX_CONF_UNSET_MSEC;
    conf->cache_stale = NGX_CONF_UNSET_MSEC;
    conf->max_ids = NGX_CONF_UNSET_UINT;
    conf->batch = NGX_CONF_UNSET_UINT;
    conf->allow_post = NGX_CONF_UNSET;

    return conf;
}


static char *
ngx_http_billing_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_billing_loc_conf_t *prev = parent;
    ngx_http_billing_loc_conf_t *conf = child;

    ngx_http_core_loc_conf_t      *clcf;
    ngx_http_billing_main_conf_t  *bmcf;

    ngx_conf_merge_msec_value(conf->redis_timeout, prev->redis_timeout, 1000);
    ngx_conf_merge_msec_value(conf->redis_conf.connect_timeout,
                              prev->redis_conf.connect_timeout, 500);
    ngx_conf_merge_uint_value(conf->redis_conf.connections,
                              prev->redis_conf.connections,
                              NGX_HTTP_BILLING_CONNECTIONS);
    ngx_conf_merge_uint_value(conf->redis_conf.queue, prev->redis_conf.queue,
                              NGX_HTTP_BILLING_QUEUE);
    ngx_conf_merge_value(conf->redis_conf.socket_keepalive,
                         prev->redis_conf.socket_keepalive, 1);
    ngx_conf_merge_str_value(conf->redis_prefix, prev->redis_prefix,
                             "billing:");
    ngx_conf_merge_size_value(conf->cache_size, prev->cache_size,
                              NGX_HTTP_BILLING_CACHE_SIZE);
    ngx_conf_merge_msec_value(conf->cache_lag, prev->cache_lag,
                              NGX_HTTP_BILLING_CACHE_LAG);
    ngx_conf_merge_msec_value(conf->cache_stale, prev->cache_stale, 0);
    ngx_conf_merge_uint_value(conf->max_ids, prev->max_ids,
                              NGX_HTTP_BILLING_MAX_IDS);
    ngx_conf_merge_uint_value(conf->batch, prev->batch,
                              NGX_HTTP_BILLING_BATCH);
    ngx_conf_merge_value(conf->allow_post, prev->allow_post, 0);

    if (conf->token_required == NGX_CONF_UNSET) {
        conf->token = prev->token;
    }

    ngx_conf_merge_value(conf->token_required, prev->token_required, 1);

    ngx_http_billing_merge_ssl(&conf->redis_conf.ssl, &prev->redis_conf.ssl);

    if (conf->redis_conf.urls == NULL) {
        conf->redis_conf.urls = prev->redis_conf.urls;
    }

    if (conf->redis_conf.password_file.data == NULL) {
        conf->redis_conf.password_file = prev->redis_conf.password_file;
        conf->redis_conf.password = prev->redis_conf.password;
    }

    /* blocks of "if" and "limit_except" inherit the route */

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->noname && prev->enable) {
        conf->enable = 1;
    }

    if (!conf->enable) {
        return NGX_CONF_OK;
    }

    if (clcf->lmt_excpt && clcf->handler == NULL) {
        clcf->handler = ngx_http_billing_handler;
    }

    if (conf->redis_conf.urls == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no \"billing_redis\" for \"billing_cameras_list\" "
                           "in location \"%V\"", &clcf->name);
        return NGX_CONF_ERROR;
    }

    bmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_billing_module);

    /* the core's directives were merged before */

    conf->redis_conf.resolver = clcf->resolver;
    conf->redis_conf.resolver_timeout = clcf->resolver_timeout;

    conf->redis = ngx_http_billing_redis_add(cf, &bmcf->redis,
                                             &conf->redis_conf);
    if (conf->redis == NULL) {
        return NGX_CONF_ERROR;
    }

    return ngx_http_billing_merge_cache(cf, bmcf, conf);
}


static char *
ngx_http_billing_merge_cache(ngx_conf_t *cf, ngx_http_billing_main_conf_t *bmcf,
    ngx_http_billing_loc_conf_t *conf)
{
    conf->cache_set = ngx_http_billing_cache_set(cf, &bmcf->cache_sets,
                                                 conf->redis);

    if (conf->cache_set == NULL
        || ngx_http_billing_cache_require(cf, conf->cache_set,
                                          &conf->redis_prefix)
           != NGX_OK
        || ngx_http_billing_status_source(cf, &bmcf->status, conf->cache_set,
                                          &conf->redis_prefix,
                                          conf->redis_timeout)
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (conf->cache_size == 0) {
        return NGX_CONF_OK;
    }

    if (ngx_http_billing_cache_keep(cf, conf->cache_set, &conf->redis_prefix,
                                    conf->cache_size, conf->cache_lag,
                                    conf->cache_stale)
        != NGX_OK
        || ngx_http_billing_probe_init(cf, conf->cache_set,
                                       conf->redis_timeout)
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static void
ngx_http_billing_merge_ssl(ngx_http_billing_redis_ssl_conf_t *conf,
    ngx_http_billing_redis_ssl_conf_t *prev)
{
    ngx_conf_merge_value(conf->verify, prev->verify, 1);
    ngx_conf_merge_str_value(conf->trusted_certificate,
                             prev->trusted_certificate, "");
    ngx_conf_merge_str_value(conf->name, prev->name, "");
    ngx_conf_merge_str_value(conf->certificate, prev->certificate, "");
    ngx_conf_merge_str_value(conf->certificate_key, prev->certificate_key, "");
}


static ngx_int_t
ngx_http_billing_init_process(ngx_cycle_t *cycle)
{
    ngx_http_billing_main_conf_t  *bmcf;

    bmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_billing_module);

    if (bmcf == NULL) {
        return NGX_OK;
    }

    ngx_http_billing_status_attach(&bmcf->status);

    if (bmcf->redis.nelts) {
        ngx_http_billing_keep_memory(cycle->log);
    }

    /* after an upgrade, a reload goes on with the module that is loaded */

    if (bmcf->cache_sets.nelts) {
        ngx_log_error(NGX_LOG_NOTICE, cycle->log, 0,
                      "billing module %s", NGX_HTTP_BILLING_VERSION);
    }

    return NGX_OK;
}


/*
 * glibc gives free memory at the end of the heap back to the system if there is
 * more than 128 KB of it.  The next requests pay for the page faults by which
 * the memory comes back.  A larger block is mapped by itself: when it is freed,
 * glibc raises this bound to twice the block's size.
 */

static void
ngx_http_billing_keep_memory(ngx_log_t *log)
{
    void  *block;

    block = ngx_alloc(NGX_HTTP_BILLING_SPARE, log);

    if (block) {
        ngx_free(block);
    }
}


static void
ngx_http_billing_exit_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                       i;
    ngx_http_billing_redis_t       **redis;
    ngx_http_billing_cache_set_t   **set;
    ngx_http_billing_main_conf_t    *bmcf;

    bmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_billing_module);

    if (bmcf == NULL) {
        return;
    }

    set = bmcf->cache_sets.elts;

    for (i = 0; i < bmcf->cache_sets.nelts; i++) {
        ngx_http_billing_probe_close(set[i]);
    }

    redis = bmcf->redis.elts;

    for (i = 0; i < bmcf->redis.nelts; i++) {
        ngx_http_billing_redis_close(redis[i]);
    }

    for (i = 0; i < bmcf->cache_sets.nelts; i++) {
        ngx_http_billing_coherence_close(&set[i]->coherence);
    }

    ngx_http_billing_status_detach(&bmcf->status);
}
