
#include "ngx_http_billing_redis_name.h"


/* milliseconds between attempts to resolve a name, at least */

#define NGX_HTTP_BILLING_REDIS_NAME_DELAY  1000

/* servers of one name: each of them may be tried for a request */

#define NGX_HTTP_BILLING_REDIS_NAME_MAX    64


static void ngx_http_billing_redis_name_resolved(ngx_resolver_ctx_t *ctx);
static ngx_http_billing_redis_address_t *ngx_http_billing_redis_name_addresses(
    ngx_http_billing_redis_name_t *name, ngx_resolver_ctx_t *ctx);
static int ngx_libc_cdecl ngx_http_billing_redis_name_compare(const void *one,
    const void *two);
static void ngx_http_billing_redis_name_set(
    ngx_http_billing_redis_name_t *name,
    ngx_http_billing_redis_address_t *addrs, ngx_uint_t n);
static void ngx_http_billing_redis_name_failed(
    ngx_http_billing_redis_name_t *name, const char *reason);


void
ngx_http_billing_redis_name_ask(ngx_http_billing_redis_name_t *name)
{
    ngx_resolver_ctx_t  *ctx;

    if (name->ctx
        || (name->begun && ngx_current_msec - name->asked
                           < NGX_HTTP_BILLING_REDIS_NAME_DELAY))
    {
        return;
    }

    name->begun = 1;
    name->asked = ngx_current_msec;

    ctx = ngx_resolve_start(name->resolver, NULL);

    if (ctx == NULL || ctx == NGX_NO_RESOLVER) {
        ngx_http_billing_redis_name_failed(name, "no memory");
        return;
    }

    ctx->name = name->host;
    ctx->handler = ngx_http_billing_redis_name_resolved;
    ctx->data = name;
    ctx->timeout = name->timeout;
    ctx->cancelable = 1;

    name->ctx = ctx;

    if (ngx_resolve_name(ctx) != NGX_OK) {

        /* the context was freed */

        name->ctx = NULL;
        ngx_http_billing_redis_name_failed(name, "no memory");
    }
}


static void
ngx_http_billing_redis_name_resolved(ngx_resolver_ctx_t *ctx)
{
    ngx_uint_t                         n;
    const char                        *reason;
    ngx_http_billing_redis_name_t     *name;
    ngx_http_billing_redis_address_t  *addrs;

    name = ctx->data;
    name->ctx = NULL;

    addrs = NULL;
    reason = "no memory";
    n = ctx->naddrs;

    if (ctx->state != NGX_OK) {
        reason = ngx_resolver_strerror(ctx->state);

    } else {
        addrs = ngx_http_billing_redis_name_addresses(name, ctx);
    }

    ngx_resolve_name_done(ctx);

    if (addrs == NULL) {
        ngx_http_billing_redis_name_failed(name, reason);
        return;
    }

    if (name->failed) {
        name->failed = 0;

        ngx_log_error(NGX_LOG_WARN, name->log, 0,
                      "host \"%V\" of a redis server is resolved again",
                      &name->host);
    }

    ngx_http_billing_redis_name_set(name, addrs,
                                ngx_min(n, NGX_HTTP_BILLING_REDIS_NAME_MAX));
}


/* sorted, because the resolver gives the addresses in a random order */

static ngx_http_billing_redis_address_t *
ngx_http_billing_redis_name_addresses(ngx_http_billing_redis_name_t *name,
    ngx_resolver_ctx_t *ctx)
{
    ngx_uint_t                         i;
    ngx_sockaddr_t                     sa;
    ngx_http_billing_redis_address_t  *addrs, *addr;

    addrs = ngx_calloc(ctx->naddrs * sizeof(ngx_http_billing_redis_address_t),
                       name->log);
    if (addrs == NULL) {
        return NULL;
    }

    for (i = 0; i < ctx->naddrs; i++) {
        addr = &addrs[i];

        ngx_memcpy(&sa, ctx->addrs[i].sockaddr, ctx->addrs[i].socklen);
        ngx_inet_set_port(&sa.sockaddr, name->port);

        addr->host.len = ngx_sock_ntop(&sa.sockaddr, ctx->addrs[i].socklen,
                                       addr->text, NGX_SOCKADDR_STRLEN, 0);
        addr->name.len = ngx_sock_ntop(&sa.sockaddr, ctx->addrs[i].socklen,
                                       addr->text + NGX_SOCKADDR_STRLEN + 1,
                                       NGX_SOCKADDR_STRLEN, 1);
    }

    ngx_qsort(addrs, ctx->naddrs, sizeof(ngx_http_billing_redis_address_t),
              ngx_http_billing_redis_name_compare);

    for (i = 0; i < ctx->naddrs; i++) {
        addrs[i].host.data = addrs[i].text;
        addrs[i].name.data = addrs[i].text + NGX_SOCKADDR_STRLEN + 1;
    }

    return addrs;
}


static int ngx_libc_cdecl
ngx_http_billing_redis_name_compare(const void *one, const void *two)
{
    const ngx_http_billing_redis_address_t  *a = one;
    const ngx_http_billing_redis_address_t  *b = two;

    return ngx_strcmp(a->text, b->text);
}


static void
ngx_http_billing_redis_name_set(ngx_http_billing_redis_name_t *name,
    ngx_http_billing_redis_address_t *addrs, ngx_uint_t n)
{
    ngx_uint_t  i;

    name->tried = 1;

    for (i = 0; i < n && i < name->naddrs; i++) {
        if (ngx_http_billing_redis_name_compare(&addrs[i], &name->addrs[i])) {
            break;
        }
    }

    if (i == n && i == name->naddrs) {
        ngx_free(addrs);
        return;
    }

    if (name->addrs) {
        ngx_log_error(NGX_LOG_NOTICE, name->log, 0,
                      "host \"%V\" of a redis server has moved: %ui addresses, "
                      "the first is %V", &name->host, n, &addrs[0].host);
        ngx_free(name->addrs);
    }

    name->addrs = addrs;
    name->naddrs = n;

    name->changed(name->data);
}


static void
ngx_http_billing_redis_name_failed(ngx_http_billing_redis_name_t *name,
    const char *reason)
{
    if (!name->failed) {
        name->failed = 1;

        ngx_log_error(NGX_LOG_ERR, name->log, 0,
                      "host \"%V\" of a redis server cannot be resolved: %s%s",
                      &name->host, reason,
                      name->naddrs ? ", its last addresses are kept" : "");
    }

    if (!name->tried) {
        name->tried = 1;
        name->changed(name->data);
    }
}


void
ngx_http_billing_redis_name_peer(ngx_http_billing_redis_name_t *name,
    ngx_uint_t n, ngx_http_billing_redis_peer_t *peer)
{
    peer->name = name->addrs[n].name;
    peer->host = name->addrs[n].host;
    peer->port = name->port;
    peer->resolve = 0;
}


ngx_http_billing_redis_peer_t *
ngx_http_billing_redis_name_peers(ngx_http_billing_redis_name_t *names,
    ngx_array_t *urls, ngx_uint_t *n, ngx_log_t *log)
{
    ngx_uint_t                      i, k;
    ngx_http_billing_redis_peer_t  *peer, *peers;

    peer = urls->elts;
    *n = 0;

    for (i = 0; i < urls->nelts; i++) {
        *n += peer[i].resolve ? names[i].naddrs : 1;
    }

    peers = ngx_alloc((*n + 1) * sizeof(ngx_http_billing_redis_peer_t), log);
    if (peers == NULL) {
        return NULL;
    }

    *n = 0;

    for (i = 0; i < urls->nelts; i++) {

        if (!peer[i].resolve) {
            peers[(*n)++] = peer[i];
            continue;
        }

        for (k = 0; k < names[i].naddrs; k++) {
            peers[*n] = peer[i];
            ngx_http_billing_redis_name_peer(&names[i], k, &peers[(*n)++]);
        }
    }

    return peers;
}


ngx_uint_t
ngx_http_billing_redis_name_is_address(ngx_str_t *text)
{
#if (NGX_HAVE_INET6)
    u_char  addr[16];

    if (ngx_inet6_addr(text->data, text->len, addr) == NGX_OK) {
        return 1;
    }
#endif

    return ngx_inet_addr(text->data, text->len) != INADDR_NONE;
}


void
ngx_http_billing_redis_name_close(ngx_http_billing_redis_name_t *name)
{
    if (name->ctx) {
        ngx_resolve_name_done(name->ctx);
        name->ctx = NULL;
    }

    if (name->addrs) {
        ngx_free(name->addrs);
        name->addrs = NULL;
        name->naddrs = 0;
    }
}
