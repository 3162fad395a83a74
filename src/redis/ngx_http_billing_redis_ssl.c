
#include "ngx_http_billing_redis_conn.h"


/* the type of a TLS record with an alert */

#define NGX_HTTP_BILLING_REDIS_SSL_ALERT  0x15


static ngx_uint_t ngx_http_billing_redis_ssl_refuses_plain(
    ngx_http_billing_redis_event_t *event, ngx_uint_t closed_by_worker);


#if (NGX_HTTP_BILLING_REDIS_SSL)

#include <hiredis/hiredis_ssl.h>


#define NGX_HTTP_BILLING_REDIS_SSL_DEPTH  9


static ngx_int_t ngx_http_billing_redis_ssl_set_name(SSL *ssl,
    ngx_str_t *name);
static const char *ngx_http_billing_redis_ssl_reason(SSL *ssl,
    ngx_str_t *name, redisAsyncContext *ac, char *text);
static int ngx_http_billing_redis_ssl_verify(int ok, X509_STORE_CTX *store);
static ngx_uint_t ngx_http_billing_redis_ssl_unanswered(
    ngx_http_billing_redis_event_t *event);


ngx_int_t
ngx_http_billing_redis_ssl_init(ngx_conf_t *cf,
    ngx_http_billing_redis_shared_t *shared)
{
    ngx_pool_cleanup_t                 *cln;
    ngx_http_billing_redis_ssl_conf_t  *conf, copy;

    /* a copy: nginx makes paths absolute, and sets compare the given ones */

    copy = shared->conf.ssl;
    conf = &copy;

    if (conf->verify && conf->trusted_certificate.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no \"billing_redis_ssl_trusted_certificate\" for "
                           "\"billing_redis_ssl_verify\"");
        return NGX_ERROR;
    }

    if (conf->certificate.len && conf->certificate_key.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no \"billing_redis_ssl_certificate_key\" for "
                           "\"billing_redis_ssl_certificate\" \"%V\"",
                           &conf->certificate);
        return NGX_ERROR;
    }

    shared->ssl = ngx_pcalloc(cf->pool, sizeof(ngx_ssl_t));
    if (shared->ssl == NULL) {
        return NGX_ERROR;
    }

    shared->ssl->log = cf->log;

    if (ngx_ssl_create(shared->ssl, NGX_SSL_TLSv1_2|NGX_SSL_TLSv1_3, NULL)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* nginx's info callback works for nginx's own connections only */

    SSL_CTX_set_info_callback(shared->ssl->ctx, NULL);

    /* no event announces data that OpenSSL has read ahead */

    SSL_CTX_set_read_ahead(shared->ssl->ctx, 0);

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        ngx_ssl_cleanup_ctx(shared->ssl);
        return NGX_ERROR;
    }

    cln->handler = ngx_ssl_cleanup_ctx;
    cln->data = shared->ssl;

    if (conf->certificate.len
        && ngx_ssl_certificate(cf, shared->ssl, &conf->certificate,
                               &conf->certificate_key, NULL)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (conf->trusted_certificate.len
        && ngx_ssl_trusted_certificate(cf, shared->ssl,
                                       &conf->trusted_certificate,
                                       NGX_HTTP_BILLING_REDIS_SSL_DEPTH)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


const char *
ngx_http_billing_redis_ssl_open(ngx_http_billing_redis_shared_t *shared,
    ngx_http_billing_redis_event_t *event, ngx_str_t *name, char *text,
    redisAsyncContext *ac)
{
    SSL                                *ssl;
    const char                         *reason;
    ngx_http_billing_redis_ssl_conf_t  *conf;

    conf = &shared->conf.ssl;

    ERR_clear_error();

    ssl = SSL_new(shared->ssl->ctx);
    if (ssl == NULL) {
        ERR_clear_error();
        return "SSL_new() failed";
    }

    reason = NULL;

    if (conf->name.len) {
        name = &conf->name;
    }

    if (ngx_http_billing_redis_ssl_set_name(ssl, name) != NGX_OK) {
        reason = "the name to verify cannot be set";

    } else {

        SSL_set_verify(ssl, conf->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE,
                       ngx_http_billing_redis_ssl_verify);

        if (redisInitiateSSL(&ac->c, ssl) != REDIS_OK) {
            reason = ngx_http_billing_redis_ssl_reason(ssl, name, ac, text);

            if (reason != text) {
                ngx_cpystrn((u_char *) text, (u_char *) reason,
                            NGX_HTTP_BILLING_REDIS_REASON);
                reason = text;
            }
        }
    }

    ERR_clear_error();

    if (reason) {
        SSL_free(ssl);
        return reason;
    }

    event->ssl = ssl;
    event->ssl_name = name;

    return NULL;
}


/* sets the name or address that the certificate has to have */

static ngx_int_t
ngx_http_billing_redis_ssl_set_name(SSL *ssl, ngx_str_t *name)
{
    const char  *host;

    /* the name is zero-terminated */

    host = (const char *) name->data;

    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1) {
        return NGX_OK;
    }

    ERR_clear_error();

    if (SSL_set1_host(ssl, host) != 1
        || SSL_set_tlsext_host_name(ssl, host) != 1)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*
 * Replaces nginx's callback, which needs a connection whose TLS is nginx's own,
 * and accepts all certificates, as nginx checks the result later.
 */

static int
ngx_http_billing_redis_ssl_verify(int ok, X509_STORE_CTX *store)
{
    return ok;
}


const char *
ngx_http_billing_redis_ssl_error(ngx_http_billing_redis_event_t *event,
    char *text)
{
    return event->ssl
           ? ngx_http_billing_redis_ssl_reason(event->ssl, event->ssl_name,
                                               event->context, text)
           : NULL;
}


static const char *
ngx_http_billing_redis_ssl_reason(SSL *ssl, ngx_str_t *name,
    redisAsyncContext *ac, char *text)
{
    long         rc;
    const char  *reason;

    rc = SSL_get_verify_result(ssl);

    if (rc != X509_V_OK && SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE) {

        reason = X509_verify_cert_error_string(rc);

        if (rc != X509_V_ERR_HOSTNAME_MISMATCH
            && rc != X509_V_ERR_IP_ADDRESS_MISMATCH)
        {
            return reason;
        }

        /* the server's name in the log may be another one */

        ngx_snprintf((u_char *) text, NGX_HTTP_BILLING_REDIS_REASON - 1,
                     "%s, \"%V\" expected%Z", reason, name);
        text[NGX_HTTP_BILLING_REDIS_REASON - 1] = '\0';

        return text;
    }

    /* hiredis reports errors of the system only, and there was none */

    if (ac->c.err == 0
        || (ac->c.err == REDIS_ERR_IO
            && ngx_strcmp(ac->c.errstr, "Success") == 0))
    {
        return "TLS failed";
    }

    return ac->c.errstr;
}

#endif


const char *
ngx_http_billing_redis_ssl_hint(ngx_http_billing_redis_event_t *event,
    ngx_http_billing_redis_peer_t *peer, ngx_uint_t closed_by_worker,
    const char *reason, u_char *text)
{
    char  *hint;

    if (!(event->context->c.flags & REDIS_CONNECTED) || peer->port == 0) {
        return reason;
    }

    hint = NULL;

    if (peer->ssl_name.len == 0) {

        if (ngx_http_billing_redis_ssl_refuses_plain(event,
                                                     closed_by_worker))
        {
            hint = "the port may be one with TLS";
        }

#if (NGX_HTTP_BILLING_REDIS_SSL)

    } else if (ngx_http_billing_redis_ssl_unanswered(event)
               && ngx_strstr(reason, "alert") == NULL)
    {
        hint = "the port may be one without TLS";

#endif
    }

    if (hint == NULL) {
        return reason;
    }

    ngx_snprintf(text, NGX_HTTP_BILLING_REDIS_REASON - 1, "%s, %s%Z", reason,
                 hint);
    text[NGX_HTTP_BILLING_REDIS_REASON - 1] = '\0';

    return (const char *) text;
}


/* a TLS server reads a command as a broken record, sends an alert, closes */

static ngx_uint_t
ngx_http_billing_redis_ssl_refuses_plain(ngx_http_billing_redis_event_t *event,
    ngx_uint_t closed_by_worker)
{
    if (event->received) {
        return event->unreadable
               && event->reader.start
               && event->reader.start[0] == NGX_HTTP_BILLING_REDIS_SSL_ALERT;
    }

    return !closed_by_worker;
}


#if (NGX_HTTP_BILLING_REDIS_SSL)

/* was the handshake's first message left without an answer? */

static ngx_uint_t
ngx_http_billing_redis_ssl_unanswered(ngx_http_billing_redis_event_t *event)
{
    OSSL_HANDSHAKE_STATE  state;

    state = SSL_get_state(event->ssl);

    return state == TLS_ST_BEFORE || state == TLS_ST_CW_CLNT_HELLO;
}

#endif
