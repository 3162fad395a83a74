
#include "ngx_http_billing_redis_sentinel.h"


/* milliseconds between questions while requests come */

#define NGX_HTTP_BILLING_REDIS_SENTINEL_ASK   1000

/* milliseconds until the next sentinel is asked, while no master is in use */

#define NGX_HTTP_BILLING_REDIS_SENTINEL_SEEK  250

/* milliseconds after which an answer is too old to connect to its servers */

#define NGX_HTTP_BILLING_REDIS_SENTINEL_OLD   2000

/* questions after which another sentinel, which may know better, is asked */

#define NGX_HTTP_BILLING_REDIS_SENTINEL_TURN  10


static ngx_int_t ngx_http_billing_redis_sentinel_ask(void *data);
static void ngx_http_billing_redis_sentinel_due(
    ngx_http_billing_redis_sentinel_t *sentinel);
static ngx_uint_t ngx_http_billing_redis_sentinel_lacks(
    ngx_http_billing_redis_sentinel_t *sentinel);
static void ngx_http_billing_redis_sentinel_open(
    ngx_http_billing_redis_sentinel_t *sentinel);
static void ngx_http_billing_redis_sentinel_answered(void *data);
static ngx_uint_t ngx_http_billing_redis_sentinel_outdated(
    ngx_http_billing_redis_sentinel_t *sentinel);
static void ngx_http_billing_redis_sentinel_told(void *data);
static void ngx_http_billing_redis_sentinel_failed(void *data,
    const char *reason);
static void ngx_http_billing_redis_sentinel_posted(ngx_event_t *ev);
static void ngx_http_billing_redis_sentinel_moved(void *data);
static void ngx_http_billing_redis_sentinel_close(void *data);


ngx_int_t
ngx_http_billing_redis_sentinel_init(ngx_conf_t *cf,
    ngx_http_billing_redis_pool_t *pool)
{
    ngx_uint_t                          i;
    ngx_http_billing_redis_conf_t      *conf;
    ngx_http_billing_redis_name_t      *name;
    ngx_http_billing_redis_peer_t      *peer;
    ngx_http_billing_redis_sentinel_t  *sentinel;

    conf = &pool->shared.conf;
    peer = conf->peers->elts;

    sentinel = ngx_pcalloc(cf->pool, sizeof(ngx_http_billing_redis_sentinel_t));
    if (sentinel == NULL) {
        return NGX_ERROR;
    }

    sentinel->pool = pool;
    sentinel->log = pool->shared.log;
    sentinel->sentinels_moved = 1;

    sentinel->names = ngx_pcalloc(cf->pool, conf->peers->nelts
                                       * sizeof(ngx_http_billing_redis_name_t));
    if (sentinel->names == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < conf->peers->nelts; i++) {
        name = &sentinel->names[i];

        name->port = peer[i].port;
        name->resolver = conf->resolver;
        name->timeout = conf->resolver_timeout;
        name->log = sentinel->log;
        name->changed = ngx_http_billing_redis_sentinel_moved;
        name->data = sentinel;

        name->host.len = peer[i].host.len;
        name->host.data = ngx_pstrdup(cf->pool, &peer[i].host);
        if (name->host.data == NULL) {
            return NGX_ERROR;
        }
    }

    sentinel->posted.handler = ngx_http_billing_redis_sentinel_posted;
    sentinel->posted.data = sentinel;
    sentinel->posted.log = sentinel->log;

    sentinel->control.shared = &pool->shared;
    sentinel->control.conf = conf->urls->sentinel;
    sentinel->control.answered = ngx_http_billing_redis_sentinel_answered;
    sentinel->control.told = ngx_http_billing_redis_sentinel_told;
    sentinel->control.failed = ngx_http_billing_redis_sentinel_failed;
    sentinel->control.data = sentinel;

    ngx_http_billing_redis_control_init(&sentinel->control);

    sentinel->discovery.ask = ngx_http_billing_redis_sentinel_ask;
    sentinel->discovery.close = ngx_http_billing_redis_sentinel_close;
    sentinel->discovery.data = sentinel;

    pool->discovery = &sentinel->discovery;

    return NGX_OK;
}


static ngx_int_t
ngx_http_billing_redis_sentinel_ask(void *data)
{
    ngx_http_billing_redis_sentinel_t *sentinel = data;

    ngx_uint_t                      i;
    ngx_array_t                    *peers;
    ngx_http_billing_redis_peer_t  *peer;

    peers = sentinel->pool->shared.conf.peers;
    peer = peers->elts;

    for (i = 0; i < peers->nelts; i++) {
        if (peer[i].resolve) {
            ngx_http_billing_redis_name_ask(&sentinel->names[i]);
        }
    }

    for (i = 0; i < sentinel->answer.nservers; i++) {
        if (sentinel->hosts[i]) {
            ngx_http_billing_redis_name_ask(sentinel->hosts[i]);
        }
    }

    ngx_http_billing_redis_sentinel_due(sentinel);

    if (ngx_http_billing_redis_sentinel_lacks(sentinel)) {
        sentinel->pool_waits = 1;
        return NGX_AGAIN;
    }

    return NGX_OK;
}


static void
ngx_http_billing_redis_sentinel_due(
    ngx_http_billing_redis_sentinel_t *sentinel)
{
    ngx_msec_t                        passed;
    ngx_http_billing_redis_server_t  *used;

    passed = ngx_current_msec - sentinel->asked;

    switch (sentinel->control.state) {

    case NGX_HTTP_BILLING_REDIS_CONTROL_CLOSED:
        sentinel->ask_again = 1;
        break;

    case NGX_HTTP_BILLING_REDIS_CONTROL_READY:

        if (passed < NGX_HTTP_BILLING_REDIS_SENTINEL_SEEK) {
            return;
        }

        used = ngx_http_billing_redis_pool_used(sentinel->pool, 0);

        if (used == NULL || used->peer->replica) {
            sentinel->ask_next = 1;
            break;
        }

        if (passed < NGX_HTTP_BILLING_REDIS_SENTINEL_ASK) {
            return;
        }

        sentinel->ask_again = 1;
        break;

    default:
        return;
    }

    ngx_post_event(&sentinel->posted, &ngx_posted_events);
}


/*
 * Does the pool have to wait for an answer?  A server that was the master once
 * may have come back with old data, or with none.  So, after an idle spell, a
 * sentinel is asked before the worker connects to a server; but not for longer
 * than an attempt to connect takes.
 */

static ngx_uint_t
ngx_http_billing_redis_sentinel_lacks(
    ngx_http_billing_redis_sentinel_t *sentinel)
{
    if (sentinel->answer.nservers
        && ngx_current_msec - sentinel->answered
           < NGX_HTTP_BILLING_REDIS_SENTINEL_OLD)
    {
        sentinel->lacks_answer = 0;
        return 0;
    }

    if (!sentinel->lacks_answer) {
        sentinel->lacks_answer = 1;
        sentinel->lacking_since = ngx_current_msec;
    }

    return ngx_current_msec - sentinel->lacking_since
           < sentinel->pool->shared.conf.connect_timeout;
}


/* connects to the next sentinel that may be tried */

static void
ngx_http_billing_redis_sentinel_open(
    ngx_http_billing_redis_sentinel_t *sentinel)
{
    ngx_uint_t                         i;
    const char                        *reason;
    ngx_http_billing_redis_route_t    *route;
    ngx_http_billing_redis_server_t   *server;
    ngx_http_billing_redis_control_t  *control;

    route = &sentinel->route;
    control = &sentinel->control;
    server = NULL;

    for (i = 0; i < route->nservers && server == NULL; i++) {
        server = route->servers[(sentinel->place + i) % route->nservers];

        if (ngx_http_billing_redis_server_wait(server)) {
            server = NULL;
        }
    }

    if (server == NULL) {
        return;
    }

    sentinel->place = server->place;
    sentinel->answers = 0;
    sentinel->asked = ngx_current_msec;

    if (control->server) {
        control->server->refs--;
        ngx_http_billing_redis_server_release(control->server);
    }

    control->server = server;
    server->refs++;

    reason = ngx_http_billing_redis_control_open(control);

    if (reason) {
        ngx_http_billing_redis_sentinel_failed(sentinel, reason);
    }
}


static void
ngx_http_billing_redis_sentinel_answered(void *data)
{
    ngx_http_billing_redis_sentinel_t *sentinel = data;

    ngx_http_billing_redis_named_t   *master, *last;
    ngx_http_billing_redis_answer_t  *answer;

    answer = &sentinel->control.reader.answer;
    sentinel->answers++;

    ngx_http_billing_redis_server_up(sentinel->control.server);

    if (ngx_http_billing_redis_sentinel_outdated(sentinel)) {
        sentinel->ask_next = 1;
        ngx_post_event(&sentinel->posted, &ngx_posted_events);
        return;
    }

    sentinel->answered = ngx_current_msec;

    master = &answer->servers[0];
    last = &sentinel->answer.servers[0];

    if (sentinel->host_missing
        || !ngx_http_billing_redis_answer_same(answer, &sentinel->answer))
    {
        if (master->port != last->port
            || ngx_strcmp(master->host, last->host) != 0)
        {
            ngx_log_error(NGX_LOG_NOTICE, sentinel->log, 0,
                          "redis master \"%V\" is %s:%d, with %ui replicas, "
                          "as sentinel \"%V\" says",
                          &sentinel->control.conf->master, master->host,
                          (int) master->port, answer->nservers - 1,
                          &sentinel->control.server->peer->name);
        }

        ngx_http_billing_redis_sentinel_hosts(sentinel);
    }

    sentinel->answer.epoch = answer->epoch;

    if (sentinel->answers >= NGX_HTTP_BILLING_REDIS_SENTINEL_TURN
        && sentinel->route.nservers > 1)
    {
        sentinel->ask_next = 1;
    }

    ngx_post_event(&sentinel->posted, &ngx_posted_events);
}


/*
 * Is the answer not believed?  A sentinel that was cut off from the others may
 * name a former master, with a lower config epoch.  If the config epochs of all
 * sentinels are too low, the sentinels were set up anew, and are believed.
 */

static ngx_uint_t
ngx_http_billing_redis_sentinel_outdated(
    ngx_http_billing_redis_sentinel_t *sentinel)
{
    ngx_http_billing_redis_answer_t  *answer;
    ngx_http_billing_redis_server_t  *server;

    answer = &sentinel->control.reader.answer;
    server = sentinel->control.server;

    if (answer->epoch >= sentinel->answer.epoch
        || ++sentinel->outdated > sentinel->route.nservers)
    {
        sentinel->outdated = 0;
        server->disbelieved = 0;
        return 0;
    }

    if (server->disbelieved) {
        return 1;
    }

    server->disbelieved = 1;

    ngx_log_error(NGX_LOG_WARN, sentinel->log, 0,
                  "redis sentinel \"%V\" is not believed: its config epoch of "
                  "master \"%V\" is %uL, and the newest one is %uL",
                  &server->peer->name, &sentinel->control.conf->master,
                  answer->epoch, sentinel->answer.epoch);

    return 1;
}


static void
ngx_http_billing_redis_sentinel_told(void *data)
{
    ngx_http_billing_redis_sentinel_t *sentinel = data;

    sentinel->ask_again = 1;

    ngx_post_event(&sentinel->posted, &ngx_posted_events);
}


static void
ngx_http_billing_redis_sentinel_failed(void *data, const char *reason)
{
    ngx_http_billing_redis_sentinel_t *sentinel = data;

    ngx_http_billing_redis_server_failed(sentinel->control.server, reason);

    sentinel->place++;

    /* the next one is tried at once, while requests wait for the answer */

    if (sentinel->lacks_answer) {
        sentinel->ask_again = 1;
        ngx_post_event(&sentinel->posted, &ngx_posted_events);
    }
}


static void
ngx_http_billing_redis_sentinel_posted(ngx_event_t *ev)
{
    ngx_http_billing_redis_sentinel_t  *sentinel;

    sentinel = ev->data;

    if (sentinel->sentinels_moved
        && ngx_http_billing_redis_sentinel_sentinels(sentinel) == NGX_OK)
    {
        sentinel->sentinels_moved = 0;
        sentinel->ask_again = 1;
    }

    if (sentinel->ask_next) {
        sentinel->ask_next = 0;
        sentinel->ask_again = 1;
        sentinel->place++;
        ngx_http_billing_redis_control_close(&sentinel->control);
    }

    if (sentinel->ask_again) {

        switch (sentinel->control.state) {

        case NGX_HTTP_BILLING_REDIS_CONTROL_CLOSED:
            sentinel->ask_again = 0;
            ngx_http_billing_redis_sentinel_open(sentinel);
            break;

        case NGX_HTTP_BILLING_REDIS_CONTROL_READY:
            sentinel->ask_again = 0;
            sentinel->asked = ngx_current_msec;
            ngx_http_billing_redis_control_ask(&sentinel->control);
            break;

        default:

            /* asked again as soon as the answer under way has come */

            break;
        }
    }

    if (sentinel->servers_changed
        && ngx_http_billing_redis_sentinel_servers(sentinel) == NGX_OK)
    {
        sentinel->servers_changed = 0;
        sentinel->pool_waits = 0;
        return;
    }

    if (sentinel->pool_waits
        && !ngx_http_billing_redis_sentinel_lacks(sentinel))
    {
        sentinel->pool_waits = 0;
        ngx_http_billing_redis_pool_changed(sentinel->pool);
    }
}


static void
ngx_http_billing_redis_sentinel_moved(void *data)
{
    ngx_http_billing_redis_sentinel_t *sentinel = data;

    sentinel->sentinels_moved = 1;

    ngx_post_event(&sentinel->posted, &ngx_posted_events);
}


static void
ngx_http_billing_redis_sentinel_close(void *data)
{
    ngx_http_billing_redis_sentinel_t *sentinel = data;

    ngx_uint_t  i;

    ngx_http_billing_redis_control_close(&sentinel->control);

    if (sentinel->control.server) {
        sentinel->control.server->refs--;
        ngx_http_billing_redis_server_release(sentinel->control.server);
        sentinel->control.server = NULL;
    }

    ngx_http_billing_redis_route_clear(&sentinel->route);

    for (i = 0; i < sentinel->pool->shared.conf.peers->nelts; i++) {
        ngx_http_billing_redis_name_close(&sentinel->names[i]);
    }

    ngx_http_billing_redis_sentinel_free(sentinel);

    sentinel->answer.nservers = 0;

    if (sentinel->posted.posted) {
        ngx_delete_posted_event(&sentinel->posted);
    }
}
