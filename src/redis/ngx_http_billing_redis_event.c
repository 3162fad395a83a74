
#include "ngx_http_billing_redis_event.h"


/*
 * Buffers received in one turn of the event loop, at most: a reply may have
 * 512 MB, and the worker has to serve other connections meanwhile.
 */

#define NGX_HTTP_BILLING_REDIS_TURN    4

/* names of changed keys that are handed out in a turn, at most */

#define NGX_HTTP_BILLING_REDIS_PUSHED  1024


static void ngx_http_billing_redis_event_connected(const redisAsyncContext *ac,
    int status);
static void ngx_http_billing_redis_event_read_handler(ngx_event_t *rev);
static ngx_int_t ngx_http_billing_redis_event_replies(
    ngx_http_billing_redis_event_t *event, ngx_uint_t *pushed);
static ssize_t ngx_http_billing_redis_event_recv(
    ngx_http_billing_redis_event_t *event, u_char *buf, size_t size);
#if (NGX_HTTP_BILLING_REDIS_SSL)
static ssize_t ngx_http_billing_redis_event_recv_ssl(
    ngx_http_billing_redis_event_t *event, u_char *buf, size_t size);
#endif
static void ngx_http_billing_redis_event_error(
    ngx_http_billing_redis_event_t *event, ngx_err_t err);
static void ngx_http_billing_redis_event_clear_errors(
    ngx_http_billing_redis_event_t *event);
static void ngx_http_billing_redis_event_write_handler(ngx_event_t *wev);
static void ngx_http_billing_redis_event_add_read(void *data);
static void ngx_http_billing_redis_event_del_read(void *data);
static void ngx_http_billing_redis_event_add_write(void *data);
static void ngx_http_billing_redis_event_del_write(void *data);
static void ngx_http_billing_redis_event_cleanup(void *data);


ngx_int_t
ngx_http_billing_redis_event_attach(ngx_http_billing_redis_event_t *event,
    redisAsyncContext *ac, ngx_log_t *log)
{
    ngx_connection_t  *c;

    c = ngx_get_connection(ac->c.fd, log);
    if (c == NULL) {
        return NGX_ERROR;
    }

    c->data = event;
    c->log_error = NGX_ERROR_ERR;

    c->read->log = log;
    c->read->handler = ngx_http_billing_redis_event_read_handler;

    c->write->log = log;
    c->write->handler = ngx_http_billing_redis_event_write_handler;

    event->context = ac;
    event->connection = c;
    event->reason = NULL;
    event->writing = 0;
    event->received = 0;
    event->unreadable = 0;

    ngx_memzero(&event->reader, sizeof(ngx_http_billing_redis_reader_t));

    ac->ev.data = event;
    ac->ev.addRead = ngx_http_billing_redis_event_add_read;
    ac->ev.delRead = ngx_http_billing_redis_event_del_read;
    ac->ev.addWrite = ngx_http_billing_redis_event_add_write;
    ac->ev.delWrite = ngx_http_billing_redis_event_del_write;
    ac->ev.cleanup = ngx_http_billing_redis_event_cleanup;

    (void) redisAsyncSetConnectCallback(ac,
                                       ngx_http_billing_redis_event_connected);

    return NGX_OK;
}


static void
ngx_http_billing_redis_event_connected(const redisAsyncContext *ac, int status)
{
    ngx_http_billing_redis_event_t  *event;

    if (status != REDIS_OK) {
        return;
    }

    event = ac->ev.data;

    event->connected(event);
}


ngx_int_t
ngx_http_billing_redis_event_send(ngx_http_billing_redis_event_t *event,
    u_char *commands, size_t len)
{
    if (redisAppendFormattedCommand(&event->context->c, (char *) commands, len)
        != REDIS_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_billing_redis_event_add_write(event);

    return NGX_OK;
}


ngx_int_t
ngx_http_billing_redis_event_command(ngx_http_billing_redis_event_t *event,
    ngx_uint_t argc, ngx_str_t *argv)
{
    size_t       len[NGX_HTTP_BILLING_REDIS_ARGS];
    ngx_uint_t   i;
    const char  *arg[NGX_HTTP_BILLING_REDIS_ARGS];

    for (i = 0; i < argc; i++) {
        arg[i] = (const char *) argv[i].data;
        len[i] = argv[i].len;
    }

    if (redisAppendCommandArgv(&event->context->c, (int) argc, arg, len)
        != REDIS_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_billing_redis_event_add_write(event);

    return NGX_OK;
}


void
ngx_http_billing_redis_event_close(ngx_http_billing_redis_event_t *event,
    const char *reason)
{
    if (event->context == NULL) {
        return;
    }

    if (event->reason == NULL) {
        event->reason = reason;
    }

    redisAsyncFree(event->context);
}


static void
ngx_http_billing_redis_event_read_handler(ngx_event_t *rev)
{
    size_t                            size;
    ssize_t                           n;
    ngx_int_t                         rc;
    ngx_uint_t                        nbuffers, pushed;
    ngx_connection_t                 *c;
    ngx_http_billing_redis_event_t   *event;
    ngx_http_billing_redis_reader_t  *reader;

    c = rev->data;
    event = c->data;
    reader = &event->reader;

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, rev->log, 0, "billing redis read");

    if (c->close) {
        ngx_http_billing_redis_event_close(event, "worker is exiting");
        return;
    }

    if (!(event->context->c.flags & REDIS_CONNECTED)) {
        ngx_http_billing_redis_event_write_handler(c->write);
        return;
    }

    /*
     * A buffer that was not filled ends the loop.  The event is
     * level-triggered, so the kernel reports more data again, and OpenSSL
     * holds no data that would have fitted into the buffer.
     */

    n = 0;
    size = 0;
    pushed = 0;

    for (nbuffers = 0; /* void */ ; nbuffers++) {

        rc = ngx_http_billing_redis_event_replies(event, &pushed);

        if (rc == NGX_ERROR) {
            return;
        }

        if (rc == NGX_OK && nbuffers && (size_t) n < size) {
            return;
        }

        if (rc == NGX_AGAIN || nbuffers == NGX_HTTP_BILLING_REDIS_TURN) {
            ngx_post_event(rev, &ngx_posted_next_events);
            return;
        }

        if (ngx_http_billing_redis_reader_room(reader, rev->log) != NGX_OK) {
            event->unreadable = 1;
            ngx_http_billing_redis_event_close(event, "no memory for a reply");
            return;
        }

        size = reader->end - reader->last;
        n = ngx_http_billing_redis_event_recv(event, reader->last, size);

        if (n == NGX_AGAIN) {
            return;
        }

        if (n == NGX_ERROR) {
            ngx_http_billing_redis_event_close(event, NULL);
            return;
        }

        if (n == 0) {
            ngx_http_billing_redis_event_close(event,
                                               "server closed the connection");
            return;
        }

        reader->last += n;
        event->received = 1;
    }
}


/*
 * Hands out the replies that were received.  Returns NGX_OK if all were handed
 * out; NGX_AGAIN if so many keys have changed that the rest has to wait for
 * another turn; or NGX_ERROR if the connection was closed.
 */

static ngx_int_t
ngx_http_billing_redis_event_replies(ngx_http_billing_redis_event_t *event,
    ngx_uint_t *pushed)
{
    ngx_int_t                         rc;
    ngx_log_t                        *log;
    ngx_http_billing_redis_reader_t  *reader;

    log = event->connection->log;
    reader = &event->reader;

    while (*pushed < NGX_HTTP_BILLING_REDIS_PUSHED) {

        rc = ngx_http_billing_redis_reader_next(reader, log);

        if (rc == NGX_ERROR) {
            event->unreadable = 1;
            ngx_http_billing_redis_event_close(event, reader->error);
            return NGX_ERROR;
        }

        if (rc == NGX_AGAIN) {

            if (event->connection->idle
                && ngx_http_billing_redis_reader_left(reader))
            {
                ngx_http_billing_redis_event_close(event,
                                              "reply to a command never sent");
                return NGX_ERROR;
            }

            return NGX_OK;
        }

        *pushed += (reader->reply.piece == NGX_HTTP_BILLING_REDIS_PUSH_ITEM);

        event->reply(event);

        if (event->context == NULL) {
            return NGX_ERROR;
        }
    }

    return NGX_AGAIN;
}


/* Returns as ngx_recv() does; an error of the system sets event->reason. */

static ssize_t
ngx_http_billing_redis_event_recv(ngx_http_billing_redis_event_t *event,
    u_char *buf, size_t size)
{
    ssize_t    n;
    ngx_err_t  err;

#if (NGX_HTTP_BILLING_REDIS_SSL)

    if (event->ssl) {
        return ngx_http_billing_redis_event_recv_ssl(event, buf, size);
    }

#endif

    do {
        n = recv(event->connection->fd, buf, size, 0);

        if (n >= 0) {
            return n;
        }

        err = ngx_socket_errno;

    } while (err == NGX_EINTR);

    if (err == NGX_EAGAIN) {
        return NGX_AGAIN;
    }

    ngx_http_billing_redis_event_error(event, err);

    return NGX_ERROR;
}


#if (NGX_HTTP_BILLING_REDIS_SSL)

static ssize_t
ngx_http_billing_redis_event_recv_ssl(ngx_http_billing_redis_event_t *event,
    u_char *buf, size_t size)
{
    int        n, sslerr;
    ngx_err_t  err;

    ERR_clear_error();

    n = SSL_read(event->ssl, buf, (int) size);
    sslerr = SSL_get_error(event->ssl, n);
    err = (sslerr == SSL_ERROR_SYSCALL) ? ngx_errno : 0;

    ERR_clear_error();

    /* TLS may have had to read before it could write: writing goes on */

    if (sdslen(event->context->c.obuf)) {
        ngx_http_billing_redis_event_add_write(event);
    }

    if (n > 0) {
        return n;
    }

    if (sslerr == SSL_ERROR_WANT_READ || sslerr == SSL_ERROR_WANT_WRITE) {
        return NGX_AGAIN;
    }

    if (sslerr == SSL_ERROR_ZERO_RETURN) {
        return 0;
    }

    if (err) {
        ngx_http_billing_redis_event_error(event, err);
    }

    return NGX_ERROR;
}

#endif


static void
ngx_http_billing_redis_event_error(ngx_http_billing_redis_event_t *event,
    ngx_err_t err)
{
    u_char  *last;

    last = ngx_strerror(err, event->text, sizeof(event->text) - 1);
    *last = '\0';

    event->reason = (const char *) event->text;
}


/* nginx would log errors left in OpenSSL's queue for its own connections */

static void
ngx_http_billing_redis_event_clear_errors(
    ngx_http_billing_redis_event_t *event)
{
#if (NGX_HTTP_BILLING_REDIS_SSL)

    if (event->ssl) {
        ERR_clear_error();
    }

#endif
}


static void
ngx_http_billing_redis_event_write_handler(ngx_event_t *wev)
{
    ngx_connection_t                *c;
    ngx_http_billing_redis_event_t  *event;

    c = wev->data;
    event = c->data;

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, wev->log, 0, "billing redis write");

    event->writing = 1;

    redisAsyncHandleWrite(event->context);

    ngx_http_billing_redis_event_clear_errors(event);

#if (NGX_HTTP_BILLING_REDIS_SSL)

    /* hiredis does not know that a handshake waits for writing */

    if (event->context && event->ssl && SSL_want_write(event->ssl)) {
        ngx_http_billing_redis_event_add_write(event);
    }

#endif

    event->writing = 0;
}


static void
ngx_http_billing_redis_event_add_read(void *data)
{
    ngx_event_t                     *rev;
    ngx_http_billing_redis_event_t  *event = data;

    rev = event->connection->read;

    if (!rev->active) {
        (void) ngx_add_event(rev, NGX_READ_EVENT, NGX_LEVEL_EVENT);
    }
}


static void
ngx_http_billing_redis_event_del_read(void *data)
{
    ngx_event_t                     *rev;
    ngx_http_billing_redis_event_t  *event = data;

    rev = event->connection->read;

    if (rev->active) {
        (void) ngx_del_event(rev, NGX_READ_EVENT, 0);
    }
}


static void
ngx_http_billing_redis_event_add_write(void *data)
{
    ngx_event_t                     *wev;
    ngx_http_billing_redis_event_t  *event = data;

    wev = event->connection->write;

    if (wev->active) {
        return;
    }

    if ((event->context->c.flags & REDIS_CONNECTED) && !event->writing) {

        /* one write sends all commands of this turn of the event loop */

        if (!wev->posted) {
            ngx_post_event(wev, &ngx_posted_events);
        }

        return;
    }

    (void) ngx_add_event(wev, NGX_WRITE_EVENT, NGX_LEVEL_EVENT);
}


static void
ngx_http_billing_redis_event_del_write(void *data)
{
    ngx_event_t                     *wev;
    ngx_http_billing_redis_event_t  *event = data;

    wev = event->connection->write;

    if (wev->active) {
        (void) ngx_del_event(wev, NGX_WRITE_EVENT, 0);
    }
}


/*
 * Does what ngx_close_connection() does, except for closing the descriptor:
 * hiredis closes it as soon as this hook has returned.
 */

static void
ngx_http_billing_redis_event_cleanup(void *data)
{
    ngx_connection_t                *c;
    ngx_http_billing_redis_event_t  *event = data;

    c = event->connection;

    if (ngx_del_conn) {
        ngx_del_conn(c, 0);

    } else {
        ngx_http_billing_redis_event_del_read(event);
        ngx_http_billing_redis_event_del_write(event);
    }

    if (c->read->posted) {
        ngx_delete_posted_event(c->read);
    }

    if (c->write->posted) {
        ngx_delete_posted_event(c->write);
    }

    c->read->closed = 1;
    c->write->closed = 1;

    ngx_free_connection(c);

    c->fd = (ngx_socket_t) -1;

    event->closed(event);

    ngx_http_billing_redis_reader_free(&event->reader);

    event->connection = NULL;
    event->context = NULL;
}
