
/*
 * The connection to a sentinel: its first commands, the questions and their
 * replies, and the news of a new master.
 */


#ifndef _NGX_HTTP_BILLING_REDIS_CONTROL_H_INCLUDED_
#define _NGX_HTTP_BILLING_REDIS_CONTROL_H_INCLUDED_


#include "ngx_http_billing_redis_answer.h"
#include "ngx_http_billing_redis_conn.h"


typedef enum {
    NGX_HTTP_BILLING_REDIS_CONTROL_CLOSED = 0,

    /* the socket connects, and TLS begins */
    NGX_HTTP_BILLING_REDIS_CONTROL_CONNECTING,

    /* the first commands wait for their replies */
    NGX_HTTP_BILLING_REDIS_CONTROL_HELLO,
    NGX_HTTP_BILLING_REDIS_CONTROL_AUTH,
    NGX_HTTP_BILLING_REDIS_CONTROL_SUBSCRIBE,

    NGX_HTTP_BILLING_REDIS_CONTROL_ASKING,
    NGX_HTTP_BILLING_REDIS_CONTROL_READY
} ngx_http_billing_redis_control_state_e;


typedef struct {
    /* the caller's: whom to connect to, and whom to tell what */

    ngx_http_billing_redis_shared_t         *shared;
    ngx_http_billing_redis_sentinel_conf_t  *conf;
    ngx_http_billing_redis_server_t         *server;

    /* control->reader.answer has a new answer */
    void                                   (*answered)(void *data);

    /* the sentinel says that a master, perhaps another one, was replaced */
    void                                   (*told)(void *data);

    /* the connection is closed, and not by the caller */
    void                                   (*failed)(void *data,
                                                     const char *reason);
    void                                    *data;

    /* the rest is private, but for the state and the reader's answer */

    ngx_http_billing_redis_event_t           event;
    ngx_http_billing_redis_control_state_e   state;
    ngx_http_billing_redis_question_e        question;
    ngx_http_billing_redis_answer_reader_t   reader;

    ngx_event_t                              timer;
    ngx_msec_t                               timer_due;

    /* the push that is read is a message */
    unsigned                                 in_message:1;

    /* the caller closes the connection */
    unsigned                                 closing:1;

    char                                     reason[
                                               NGX_HTTP_BILLING_REDIS_REASON];
} ngx_http_billing_redis_control_t;


/* At configuration: the handlers; the caller's part is filled in. */
void ngx_http_billing_redis_control_init(
    ngx_http_billing_redis_control_t *control);

/*
 * Begins to connect to control->server, and then asks once.  Returns NULL, or
 * the reason of a failure at once; a later failure calls failed().
 */
const char *ngx_http_billing_redis_control_open(
    ngx_http_billing_redis_control_t *control);

/* Asks again, if the last answer has come. */
void ngx_http_billing_redis_control_ask(
    ngx_http_billing_redis_control_t *control);

/* Closes the connection, if it is open. */
void ngx_http_billing_redis_control_close(
    ngx_http_billing_redis_control_t *control);


#endif /* _NGX_HTTP_BILLING_REDIS_CONTROL_H_INCLUDED_ */
