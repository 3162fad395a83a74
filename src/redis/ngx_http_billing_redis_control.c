
#include "ngx_http_billing_redis_control.h"
#include "ngx_http_billing_redis_error.h"


static ngx_str_t  ngx_http_billing_redis_questions[] = {
    ngx_string("GET-MASTER-ADDR-BY-NAME"),
    ngx_string("MASTER"),
    ngx_string("REPLICAS")
};


static void ngx_http_billing_redis_control_hello(
    ngx_http_billing_redis_event_t *event);
static void ngx_http_billing_redis_control_auth(
    ngx_http_billing_redis_control_t *control);
static void ngx_http_billing_redis_control_subscribe(
    ngx_http_billing_redis_control_t *control);
static void ngx_http_billing_redis_control_questions(
    ngx_http_billing_redis_control_t *control);
static void ngx_http_billing_redis_control_await(
    ngx_http_billing_redis_control_t *control,
    ngx_http_billing_redis_control_state_e state);
static void ngx_http_billing_redis_control_reply(
    ngx_http_billing_redis_event_t *event);
static void ngx_http_billing_redis_control_push(
    ngx_http_billing_redis_control_t *control);
static void ngx_http_billing_redis_control_first_hello(
    ngx_http_billing_redis_control_t *control);
static void ngx_http_billing_redis_control_answer(
    ngx_http_billing_redis_control_t *control);
static void ngx_http_billing_redis_control_wrong(
    ngx_http_billing_redis_control_t *control);
static void ngx_http_billing_redis_control_fail(
    ngx_http_billing_redis_control_t *control, const char *reason);
static void ngx_http_billing_redis_control_closed(
    ngx_http_billing_redis_event_t *event);
static void ngx_http_billing_redis_control_timeout(ngx_event_t *ev);


void
ngx_http_billing_redis_control_init(ngx_http_billing_redis_control_t *control)
{
    control->event.connected = ngx_http_billing_redis_control_hello;
    control->event.reply = ngx_http_billing_redis_control_reply;
    control->event.closed = ngx_http_billing_redis_control_closed;
    control->event.data = control;

    control->timer.handler = ngx_http_billing_redis_control_timeout;
    control->timer.data = control;
    control->timer.log = control->shared->log;
    control->timer.cancelable = 1;
}


const char *
ngx_http_billing_redis_control_open(ngx_http_billing_redis_control_t *control)
{
    const char                     *reason;
    redisAsyncContext              *ac;
    ngx_http_billing_redis_peer_t  *peer;

    peer = control->server->peer;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, control->shared->log, 0,
                   "billing redis connect to sentinel \"%V\"", &peer->name);

    ac = redisAsyncConnect((const char *) peer->host.data, peer->port);

    if (ac == NULL) {
        return "no memory";
    }

    if (ac->err) {
        ngx_cpystrn((u_char *) control->reason, (u_char *) ac->errstr,
                    sizeof(control->reason));
        reason = control->reason;
        goto failed;
    }

#if (NGX_HTTP_BILLING_REDIS_SSL)

    control->event.ssl = NULL;

    if (peer->ssl_name.len) {
        reason = ngx_http_billing_redis_ssl_open(control->shared,
                                                 &control->event,
                                                 &peer->ssl_name,
                                                 control->reason, ac);
        if (reason) {
            goto failed;
        }
    }

#endif

    if (ngx_http_billing_redis_event_attach(&control->event, ac,
                                            control->shared->log)
        != NGX_OK)
    {
        reason = "no connections left in the worker";
        goto failed;
    }

    control->in_message = 0;
    control->closing = 0;

    ngx_http_billing_redis_control_await(control,
                                    NGX_HTTP_BILLING_REDIS_CONTROL_CONNECTING);
    return NULL;

failed:

    redisAsyncFree(ac);

    return reason;
}


/* in RESP3, the connection that is subscribed can go on with commands */

static void
ngx_http_billing_redis_control_hello(ngx_http_billing_redis_event_t *event)
{
    ngx_str_t                                argv[NGX_HTTP_BILLING_REDIS_ARGS];
    ngx_uint_t                               n;
    ngx_http_billing_redis_control_t        *control;
    ngx_http_billing_redis_sentinel_conf_t  *conf;

    control = event->data;
    conf = control->conf;
    n = 2;

    ngx_str_set(&argv[0], "HELLO");
    ngx_str_set(&argv[1], "3");

    if (conf->password.len) {
        ngx_str_set(&argv[2], "AUTH");
        ngx_str_set(&argv[3], "default");

        if (conf->user.len) {
            argv[3] = conf->user;
        }

        argv[4] = conf->password;
        n = 5;
    }

    ngx_str_set(&argv[n], "SETNAME");
    n++;
    ngx_str_set(&argv[n], "nginx-billing");
    n++;

    (void) ngx_http_billing_redis_event_command(&control->event, n, argv);

    control->event.reader.resp3 = 1;
    control->event.reader.max_name = NGX_HTTP_BILLING_REDIS_SENTINEL_HOST;

    ngx_http_billing_redis_control_await(control,
                                         NGX_HTTP_BILLING_REDIS_CONTROL_HELLO);
}


static void
ngx_http_billing_redis_control_auth(ngx_http_billing_redis_control_t *control)
{
    ngx_str_t                                argv[3];
    ngx_uint_t                               n;
    ngx_http_billing_redis_sentinel_conf_t  *conf;

    conf = control->conf;

    if (conf->password.len == 0) {
        ngx_http_billing_redis_control_questions(control);
        return;
    }

    n = 1;

    ngx_str_set(&argv[0], "AUTH");

    if (conf->user.len) {
        argv[n++] = conf->user;
    }

    argv[n++] = conf->password;

    (void) ngx_http_billing_redis_event_command(&control->event, n, argv);

    ngx_http_billing_redis_control_await(control,
                                         NGX_HTTP_BILLING_REDIS_CONTROL_AUTH);
}


static void
ngx_http_billing_redis_control_subscribe(
    ngx_http_billing_redis_control_t *control)
{
    ngx_str_t  argv[2];

    ngx_str_set(&argv[0], "SUBSCRIBE");
    ngx_str_set(&argv[1], "+switch-master");

    (void) ngx_http_billing_redis_event_command(&control->event, 2, argv);

    ngx_http_billing_redis_control_await(control,
                                     NGX_HTTP_BILLING_REDIS_CONTROL_SUBSCRIBE);
}


void
ngx_http_billing_redis_control_ask(ngx_http_billing_redis_control_t *control)
{
    if (control->state == NGX_HTTP_BILLING_REDIS_CONTROL_READY) {
        ngx_http_billing_redis_control_questions(control);
    }
}


static void
ngx_http_billing_redis_control_questions(
    ngx_http_billing_redis_control_t *control)
{
    ngx_str_t   argv[3];
    ngx_uint_t  i;

    ngx_str_set(&argv[0], "SENTINEL");
    argv[2] = control->conf->master;

    for (i = 0; i <= NGX_HTTP_BILLING_REDIS_SENTINEL_REPLICAS; i++) {
        argv[1] = ngx_http_billing_redis_questions[i];

        (void) ngx_http_billing_redis_event_command(&control->event, 3, argv);
    }

    control->question = NGX_HTTP_BILLING_REDIS_SENTINEL_ADDRESS;
    control->event.reader.items = 1;

    ngx_memzero(&control->reader,
                sizeof(ngx_http_billing_redis_answer_reader_t));

    ngx_http_billing_redis_control_await(control,
                                        NGX_HTTP_BILLING_REDIS_CONTROL_ASKING);
}


/* without memory, a command is not sent: then the timer ends the connection */

static void
ngx_http_billing_redis_control_await(ngx_http_billing_redis_control_t *control,
    ngx_http_billing_redis_control_state_e state)
{
    control->state = state;
    control->event.connection->idle = 0;

    ngx_http_billing_redis_add_timer(&control->timer, &control->timer_due,
                                     control->shared->conf.connect_timeout);
}


static void
ngx_http_billing_redis_control_reply(ngx_http_billing_redis_event_t *event)
{
    ngx_http_billing_redis_reply_t    *reply;
    ngx_http_billing_redis_control_t  *control;

    control = event->data;
    reply = &event->reader.reply;

    if (reply->piece != NGX_HTTP_BILLING_REDIS_REPLY
        && reply->piece != NGX_HTTP_BILLING_REDIS_ITEM)
    {
        ngx_http_billing_redis_control_push(control);
        return;
    }

    switch (control->state) {

    case NGX_HTTP_BILLING_REDIS_CONTROL_HELLO:
        ngx_http_billing_redis_control_first_hello(control);
        return;

    case NGX_HTTP_BILLING_REDIS_CONTROL_AUTH:

        if (reply->type != NGX_HTTP_BILLING_REDIS_STATUS) {
            ngx_http_billing_redis_control_wrong(control);
            return;
        }

        ngx_http_billing_redis_control_questions(control);
        return;

    case NGX_HTTP_BILLING_REDIS_CONTROL_SUBSCRIBE:

        /* SUBSCRIBE was refused: only answers tell of a new master */

        ngx_http_billing_redis_control_questions(control);
        return;

    case NGX_HTTP_BILLING_REDIS_CONTROL_ASKING:
        ngx_http_billing_redis_control_answer(control);
        return;

    default:
        ngx_http_billing_redis_control_fail(control,
                                            "reply to a command never sent");
        return;
    }
}


static void
ngx_http_billing_redis_control_push(ngx_http_billing_redis_control_t *control)
{
    ngx_http_billing_redis_reply_t  *reply;

    reply = &control->event.reader.reply;

    switch (reply->piece) {

    case NGX_HTTP_BILLING_REDIS_PUSH:
        control->in_message = (reply->text.len == 7
                            && ngx_strncmp(reply->text.data, "message", 7)
                               == 0);
        return;

    case NGX_HTTP_BILLING_REDIS_PUSH_ITEM:
        return;

    default: /* NGX_HTTP_BILLING_REDIS_PUSH_END */
        break;
    }

    if (control->in_message) {
        control->in_message = 0;
        control->told(control->data);
        return;
    }

    if (control->state == NGX_HTTP_BILLING_REDIS_CONTROL_SUBSCRIBE) {
        ngx_http_billing_redis_control_questions(control);
    }
}


static void
ngx_http_billing_redis_control_first_hello(
    ngx_http_billing_redis_control_t *control)
{
    ngx_str_t                       *elt;
    ngx_uint_t                       i;
    ngx_http_billing_redis_reply_t  *reply;

    reply = &control->event.reader.reply;

    if (reply->type == NGX_HTTP_BILLING_REDIS_ERROR) {

        if (ngx_http_billing_redis_conn_unready(reply)
            || ngx_http_billing_redis_error_client(&reply->text,
                                               control->conf->password.len))
        {
            ngx_http_billing_redis_control_wrong(control);
            return;
        }

        /* a sentinel of Redis 5 has no RESP3: only answers tell of a master */

        control->event.reader.resp3 = 0;
        ngx_http_billing_redis_control_auth(control);
        return;
    }

    elt = reply->elts;

    for (i = 0; i + 1 < reply->nelts; i += 2) {

        if (elt[i].len == 4 && ngx_strncmp(elt[i].data, "mode", 4) == 0
            && (elt[i + 1].len != 8
                || ngx_strncmp(elt[i + 1].data, "sentinel", 8) != 0))
        {
            ngx_http_billing_redis_control_fail(control,
                                                "the server is no sentinel");
            return;
        }
    }

    ngx_http_billing_redis_control_subscribe(control);
}


static void
ngx_http_billing_redis_control_answer(ngx_http_billing_redis_control_t *control)
{
    ngx_int_t                        rc;
    ngx_http_billing_redis_reply_t  *reply;

    reply = &control->event.reader.reply;

    if (reply->piece == NGX_HTTP_BILLING_REDIS_REPLY
        && reply->type == NGX_HTTP_BILLING_REDIS_ERROR)
    {
        ngx_http_billing_redis_control_wrong(control);
        return;
    }

    rc = ngx_http_billing_redis_answer_read(&control->reader,
                                            control->question, reply);

    if (rc == NGX_AGAIN) {
        return;
    }

    if (rc == NGX_DECLINED) {
        ngx_http_billing_redis_control_fail(control,
                                    "the sentinel knows no such master");
        return;
    }

    if (control->question != NGX_HTTP_BILLING_REDIS_SENTINEL_REPLICAS) {
        control->question++;
        return;
    }

    ngx_http_billing_redis_answer_sort(&control->reader.answer);

    ngx_del_timer(&control->timer);

    control->state = NGX_HTTP_BILLING_REDIS_CONTROL_READY;
    control->event.connection->idle = 1;

    control->answered(control->data);
}


/* the reply is an error, or of a type that it cannot have */

static void
ngx_http_billing_redis_control_wrong(ngx_http_billing_redis_control_t *control)
{
    ngx_http_billing_redis_reply_t  *reply;

    reply = &control->event.reader.reply;

    if (reply->type != NGX_HTTP_BILLING_REDIS_ERROR) {
        ngx_http_billing_redis_control_fail(control, "unexpected reply");
        return;
    }

    if (control->conf->password.len) {
        ngx_http_billing_redis_error_redact(&reply->text);
    }

    ngx_http_billing_redis_control_fail(control,
                                        (const char *) reply->text.data);
}


static void
ngx_http_billing_redis_control_fail(ngx_http_billing_redis_control_t *control,
    const char *reason)
{
    /* the reason may be a reply's text, which is freed with the connection */

    ngx_http_billing_redis_error_line(control->reason, reason,
                                      sizeof(control->reason));

    ngx_http_billing_redis_event_close(&control->event, control->reason);
}


void
ngx_http_billing_redis_control_close(ngx_http_billing_redis_control_t *control)
{
    if (control->state == NGX_HTTP_BILLING_REDIS_CONTROL_CLOSED) {
        return;
    }

    control->closing = 1;

    ngx_http_billing_redis_event_close(&control->event, "not needed any more");
}


static void
ngx_http_billing_redis_control_closed(ngx_http_billing_redis_event_t *event)
{
    u_char                             text[NGX_HTTP_BILLING_REDIS_REASON];
    const char                        *reason;
    redisAsyncContext                 *ac;
    ngx_http_billing_redis_control_t  *control;

    ac = event->context;
    control = event->data;
    reason = event->reason;

#if (NGX_HTTP_BILLING_REDIS_SSL)

    if (reason == NULL) {
        reason = ngx_http_billing_redis_ssl_error(event, control->reason);
    }

#endif

    if (reason == NULL) {
        reason = ac->c.err ? ac->c.errstr : "connection closed";
    }

    if (control->state == NGX_HTTP_BILLING_REDIS_CONTROL_CONNECTING
        || control->state == NGX_HTTP_BILLING_REDIS_CONTROL_HELLO)
    {
        reason = ngx_http_billing_redis_ssl_hint(event, control->server->peer,
                                             event->reason == control->reason,
                                             reason, text);
    }

    if (control->timer.timer_set) {
        ngx_del_timer(&control->timer);
    }

    control->state = NGX_HTTP_BILLING_REDIS_CONTROL_CLOSED;

    if (!control->closing) {
        control->failed(control->data, reason);
    }
}


static void
ngx_http_billing_redis_control_timeout(ngx_event_t *ev)
{
    ngx_http_billing_redis_control_t  *control;

    control = ev->data;

    if (ngx_http_billing_redis_stalled(ev, &control->timer_due)) {
        return;
    }

    ngx_http_billing_redis_control_fail(control,
            control->state == NGX_HTTP_BILLING_REDIS_CONTROL_CONNECTING
            ? "connection timed out" : "sentinel does not answer");
}
