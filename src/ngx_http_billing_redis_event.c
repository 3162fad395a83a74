
#include "ngx_http_billing_redis_event.h"


#define NGX_HTTP_BILLING_REDIS_POOL_SIZE  NGX_DEFAULT_POOL_SIZE


/* the type of a number of elements, which grew in hiredis 1.0 */

#if (HIREDIS_MAJOR > 0)
typedef size_t  ngx_http_billing_redis_elements_t;
#else
typedef int     ngx_http_billing_redis_elements_t;
#endif


static void ngx_http_billing_redis_event_set_functions(
    ngx_http_billing_redis_event_t *event, redisReader *reader);
static redisReply *ngx_http_billing_redis_event_create(
    const redisReadTask *task, int type);
static void *ngx_http_billing_redis_event_create_string(
    const redisReadTask *task, char *str, size_t len);
static void *ngx_http_billing_redis_event_create_array(
    const redisReadTask *task, ngx_http_billing_redis_elements_t elements);
static void *ngx_http_billing_redis_event_create_integer(
    const redisReadTask *task, long long value);
static void *ngx_http_billing_redis_event_create_nil(
    const redisReadTask *task);
#if (HIREDIS_MAJOR > 0)
static void *ngx_http_billing_redis_event_create_double(
    const redisReadTask *task, double value, char *str, size_t len);
static void *ngx_http_billing_redis_event_create_bool(
    const redisReadTask *task, int value);
#endif
static void ngx_http_billing_redis_event_free_reply(void *object);
static void ngx_http_billing_redis_event_read_handler(ngx_event_t *rev);
static void ngx_http_billing_redis_event_read_idle(
    ngx_http_billing_redis_event_t *event);
#if (NGX_HTTP_BILLING_REDIS_SSL)
static void ngx_http_billing_redis_event_read_idle_ssl(
    ngx_http_billing_redis_event_t *event);
#endif
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

    event->pool = ngx_create_pool(NGX_HTTP_BILLING_REDIS_POOL_SIZE, log);
    if (event->pool == NULL) {
        return NGX_ERROR;
    }

    c = ngx_get_connection(ac->c.fd, log);
    if (c == NULL) {
        ngx_destroy_pool(event->pool);
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
    event->exceeded = 0;

    ngx_http_billing_redis_event_set_functions(event, ac->c.reader);

    ac->ev.data = event;
    ac->ev.addRead = ngx_http_billing_redis_event_add_read;
    ac->ev.delRead = ngx_http_billing_redis_event_del_read;
    ac->ev.addWrite = ngx_http_billing_redis_event_add_write;
    ac->ev.delWrite = ngx_http_billing_redis_event_del_write;
    ac->ev.cleanup = ngx_http_billing_redis_event_cleanup;

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


ngx_uint_t
ngx_http_billing_redis_event_unsolicited(ngx_http_billing_redis_event_t *event)
{
    redisReader        *reader;
    redisAsyncContext  *ac;

    ac = event->context;
    reader = ac->c.reader;

    return (ac->replies.head == NULL && reader->pos < reader->len);
}


/* the replies are those that hiredis makes itself, but bounded and in a pool */

static void
ngx_http_billing_redis_event_set_functions(
    ngx_http_billing_redis_event_t *event, redisReader *reader)
{
    redisReplyObjectFunctions  *fn;

    fn = &event->functions;

    ngx_memzero(fn, sizeof(redisReplyObjectFunctions));

    fn->createString = ngx_http_billing_redis_event_create_string;
    fn->createArray = ngx_http_billing_redis_event_create_array;
    fn->createInteger = ngx_http_billing_redis_event_create_integer;
    fn->createNil = ngx_http_billing_redis_event_create_nil;
#if (HIREDIS_MAJOR > 0)
    fn->createDouble = ngx_http_billing_redis_event_create_double;
    fn->createBool = ngx_http_billing_redis_event_create_bool;
#endif
    fn->freeObject = ngx_http_billing_redis_event_free_reply;

    reader->fn = fn;
    reader->privdata = event;

    event->size = 0;
    event->elements = 0;
}


static redisReply *
ngx_http_billing_redis_event_create(const redisReadTask *task, int type)
{
    redisReply                      *reply, *parent;
    ngx_http_billing_redis_event_t  *event;

    if (task->parent) {
        parent = task->parent->obj;
        reply = parent->element[task->idx];

    } else {
        event = task->privdata;
        reply = &event->reply;
    }

    ngx_memzero(reply, sizeof(redisReply));

    reply->type = type;

    return reply;
}


static void *
ngx_http_billing_redis_event_create_string(const redisReadTask *task, char *str,
    size_t len)
{
    ngx_http_billing_redis_event_t *event = task->privdata;

    u_char      *p;
    redisReply  *reply;

    event->size += len;

    if (event->size > NGX_HTTP_BILLING_REDIS_MAX_REPLY) {
        event->reason = "reply is too large";
        event->exceeded = 1;
        return NULL;
    }

    p = ngx_pnalloc(event->pool, len + 1);
    if (p == NULL) {
        return NULL;
    }

    ngx_memcpy(p, str, len);
    p[len] = '\0';

    reply = ngx_http_billing_redis_event_create(task, task->type);

    reply->str = (char *) p;
    reply->len = len;

    return reply;
}


static void *
ngx_http_billing_redis_event_create_array(const redisReadTask *task,
    ngx_http_billing_redis_elements_t elements)
{
    ngx_http_billing_redis_event_t *event = task->privdata;

    size_t       i, n;
    redisReply  *reply, *element, **p;

    n = elements;
    event->elements += n;

    if (event->elements > NGX_HTTP_BILLING_REDIS_MAX_ELEMENTS) {
        event->reason = "reply has too many elements";
        event->exceeded = 1;
        return NULL;
    }

    p = ngx_palloc(event->pool,
                   n * (sizeof(redisReply *) + sizeof(redisReply)));
    if (p == NULL) {
        return NULL;
    }

    element = (redisReply *) (p + n);

    for (i = 0; i < n; i++) {
        p[i] = &element[i];
    }

    reply = ngx_http_billing_redis_event_create(task, task->type);

    reply->element = p;
    reply->elements = n;

    return reply;
}


static void *
ngx_http_billing_redis_event_create_integer(const redisReadTask *task,
    long long value)
{
    redisReply  *reply;

    reply = ngx_http_billing_redis_event_create(task, task->type);

    reply->integer = value;

    return reply;
}


static void *
ngx_http_billing_redis_event_create_nil(const redisReadTask *task)
{
    return ngx_http_billing_redis_event_create(task, REDIS_REPLY_NIL);
}


#if (HIREDIS_MAJOR > 0)

/* no command of ours is answered by one of these */

static void *
ngx_http_billing_redis_event_create_double(const redisReadTask *task,
    double value, char *str, size_t len)
{
    return ngx_http_billing_redis_event_create(task, task->type);
}


static void *
ngx_http_billing_redis_event_create_bool(const redisReadTask *task, int value)
{
    return ngx_http_billing_redis_event_create(task, task->type);
}

#endif


/* object is the outermost reply, of which hiredis is done */

static void
ngx_http_billing_redis_event_free_reply(void *object)
{
    u_char                          *p = object;
    ngx_http_billing_redis_event_t  *event;

    event = (ngx_http_billing_redis_event_t *)
                (p - offsetof(ngx_http_billing_redis_event_t, reply));

    event->size = 0;
    event->elements = 0;

    if (event->pool) {
        ngx_reset_pool(event->pool);
    }
}


static void
ngx_http_billing_redis_event_read_handler(ngx_event_t *rev)
{
    ngx_connection_t                *c;
    redisAsyncContext               *ac;
    ngx_http_billing_redis_event_t  *event;

    c = rev->data;
    event = c->data;
    ac = event->context;

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, rev->log, 0, "billing redis read");

    if (c->close) {
        ngx_http_billing_redis_event_close(event, "worker is exiting");
        return;
    }

    /*
     * The event is level-triggered: hiredis reads at most 16K in a call,
     * the rest is announced again.
     */

    if ((ac->c.flags & REDIS_CONNECTED) && ac->replies.head == NULL) {
        ngx_http_billing_redis_event_read_idle(event);
        return;
    }

    redisAsyncHandleRead(ac);

    ngx_http_billing_redis_event_clear_errors(event);

    if (event->context == NULL) {
        return;
    }

    /* this much of one string is there, and its end is not */

    if (ac->c.reader->len > 2 * NGX_HTTP_BILLING_REDIS_MAX_REPLY) {
        event->exceeded = 1;
        ngx_http_billing_redis_event_close(event, "reply is too large");
    }
}


/*
 * hiredis aborts the process on a reply to no command: on an idle connection
 * nothing is handed to it.
 */

static void
ngx_http_billing_redis_event_read_idle(ngx_http_billing_redis_event_t *event)
{
    u_char             ch;
    ssize_t            n;
    ngx_err_t          err;
    ngx_connection_t  *c;

    c = event->connection;

#if (NGX_HTTP_BILLING_REDIS_SSL)

    if (event->ssl) {
        ngx_http_billing_redis_event_read_idle_ssl(event);
        return;
    }

#endif

    n = recv(c->fd, (char *) &ch, 1, MSG_PEEK);

    if (n == 0) {
        ngx_http_billing_redis_event_close(event,
                                           "server closed the connection");
        return;
    }

    if (n > 0) {
        ngx_http_billing_redis_event_close(event,
                                           "reply to a command never sent");
        return;
    }

    err = ngx_socket_errno;

    if (err != NGX_EAGAIN && err != NGX_EINTR) {
        ngx_http_billing_redis_event_close(event, "connection broke");
    }
}


#if (NGX_HTTP_BILLING_REDIS_SSL)

/* what comes may as well be TLS' own, like a session ticket */

static void
ngx_http_billing_redis_event_read_idle_ssl(
    ngx_http_billing_redis_event_t *event)
{
    int     n, err;
    u_char  ch;

    ERR_clear_error();

    n = SSL_peek(event->ssl, &ch, 1);
    err = SSL_get_error(event->ssl, n);

    ERR_clear_error();

    if (n > 0) {
        ngx_http_billing_redis_event_close(event,
                                           "reply to a command never sent");
        return;
    }

    if (err != SSL_ERROR_WANT_READ && err != SSL_ERROR_WANT_WRITE) {
        ngx_http_billing_redis_event_close(event,
                                           "server closed the connection");
    }
}

#endif


/* errors that hiredis leaves in OpenSSL's queue would be taken for nginx' */

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

        /* all commands of this round of the event loop go in one write */

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
 * What ngx_close_connection() does, but for the descriptor: hiredis closes it
 * as soon as this hook has returned.
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

    ngx_destroy_pool(event->pool);

    event->connection = NULL;
    event->context = NULL;
    event->pool = NULL;
}
