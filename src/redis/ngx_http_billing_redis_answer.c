
#include "ngx_http_billing_redis_answer.h"
#include "ngx_http_billing_redis_error.h"


static void ngx_http_billing_redis_answer_replica(
    ngx_http_billing_redis_answer_reader_t *reader);
static void ngx_http_billing_redis_answer_value(
    ngx_http_billing_redis_answer_reader_t *reader,
    ngx_http_billing_redis_question_e question, ngx_str_t *value);
static void ngx_http_billing_redis_answer_host(
    ngx_http_billing_redis_named_t *server, ngx_str_t *text);
static void ngx_http_billing_redis_answer_port(
    ngx_http_billing_redis_named_t *server, ngx_str_t *text);
static uint64_t ngx_http_billing_redis_answer_number(ngx_str_t *text);
static int ngx_libc_cdecl ngx_http_billing_redis_answer_compare(
    const void *one, const void *two);


ngx_int_t
ngx_http_billing_redis_answer_read(
    ngx_http_billing_redis_answer_reader_t *reader,
    ngx_http_billing_redis_question_e question,
    ngx_http_billing_redis_reply_t *reply)
{
    ngx_uint_t                        level;
    ngx_http_billing_redis_answer_t  *answer;

    answer = &reader->answer;

    if (reply->piece != NGX_HTTP_BILLING_REDIS_ITEM) {
        reader->n = 0;

        if (question == NGX_HTTP_BILLING_REDIS_SENTINEL_REPLICAS) {
            ngx_http_billing_redis_answer_replica(reader);
        }

        return (reply->type == NGX_HTTP_BILLING_REDIS_ARRAY
                && answer->nservers && answer->servers[0].host[0]
                && answer->servers[0].port)
               ? NGX_OK : NGX_DECLINED;
    }

    if (question == NGX_HTTP_BILLING_REDIS_SENTINEL_ADDRESS) {

        if (reader->n == 0) {
            ngx_http_billing_redis_answer_host(&answer->servers[0],
                                               &reply->text);
            answer->nservers = 1;

        } else if (reader->n == 1) {
            ngx_http_billing_redis_answer_port(&answer->servers[0],
                                               &reply->text);
        }

        reader->n++;

        return NGX_AGAIN;
    }

    /* names and their values: an array in RESP2, and a map in RESP3 */

    level = (question == NGX_HTTP_BILLING_REDIS_SENTINEL_REPLICAS) ? 2 : 1;

    if (reply->level < level) {
        ngx_http_billing_redis_answer_replica(reader);
        reader->n = 0;

    } else if (reader->n++ % 2 == 0) {
        ngx_cpystrn(reader->key,
                    reply->text.data ? reply->text.data : (u_char *) "",
                    sizeof(reader->key));

    } else if (reply->text.data) {
        ngx_http_billing_redis_answer_value(reader, question, &reply->text);
    }

    return NGX_AGAIN;
}


/* the replica that was read is complete, and the next one begins */

static void
ngx_http_billing_redis_answer_replica(
    ngx_http_billing_redis_answer_reader_t *reader)
{
    ngx_http_billing_redis_named_t   *replica, *master;
    ngx_http_billing_redis_answer_t  *answer;

    answer = &reader->answer;
    replica = &reader->replica;
    master = &answer->servers[0];

    if (reader->usable && replica->host[0] && replica->port
        && answer->nservers < NGX_HTTP_BILLING_REDIS_SENTINEL_SERVERS
        && (replica->port != master->port
            || ngx_strcmp(replica->host, master->host) != 0))
    {
        answer->servers[answer->nservers++] = *replica;
    }

    ngx_memzero(replica, sizeof(ngx_http_billing_redis_named_t));
    reader->usable = 1;
}


static void
ngx_http_billing_redis_answer_value(
    ngx_http_billing_redis_answer_reader_t *reader,
    ngx_http_billing_redis_question_e question, ngx_str_t *value)
{
    u_char  *key;

    key = reader->key;

    if (question == NGX_HTTP_BILLING_REDIS_SENTINEL_MASTER) {

        if (ngx_strcmp(key, "config-epoch") == 0) {
            reader->answer.epoch = ngx_http_billing_redis_answer_number(value);
        }

        return;
    }

    if (ngx_strcmp(key, "ip") == 0) {
        ngx_http_billing_redis_answer_host(&reader->replica, value);

    } else if (ngx_strcmp(key, "port") == 0) {
        ngx_http_billing_redis_answer_port(&reader->replica, value);

    } else if (ngx_strcmp(key, "flags") == 0) {

        if (ngx_strstr(value->data, "s_down")
            || ngx_strstr(value->data, "o_down")
            || ngx_strstr(value->data, "disconnected"))
        {
            reader->usable = 0;
        }

    } else if (ngx_strcmp(key, "role-reported") == 0) {

        /* a former master that has just come back believes to be one */

        if (ngx_strcmp(value->data, "slave") != 0) {
            reader->usable = 0;
        }

    } else if (ngx_strcmp(key, "master-link-status") == 0) {
        reader->replica.linked = (ngx_strcmp(value->data, "ok") == 0);
    }
}


/* an address or a name that is too long, or no text of a line, is left out */

static void
ngx_http_billing_redis_answer_host(ngx_http_billing_redis_named_t *server,
    ngx_str_t *text)
{
    server->host[0] = '\0';

    if (text->data && text->len < sizeof(server->host)
        && ngx_http_billing_redis_error_is_word(text))
    {
        ngx_cpystrn(server->host, text->data, sizeof(server->host));
    }
}


static void
ngx_http_billing_redis_answer_port(ngx_http_billing_redis_named_t *server,
    ngx_str_t *text)
{
    uint64_t  port;

    port = ngx_http_billing_redis_answer_number(text);

    server->port = (port <= 65535) ? (in_port_t) port : 0;
}


static uint64_t
ngx_http_billing_redis_answer_number(ngx_str_t *text)
{
    ngx_int_t  n;

    n = text->data ? ngx_atoi(text->data, text->len) : NGX_ERROR;

    return (n == NGX_ERROR) ? 0 : (uint64_t) n;
}


void
ngx_http_billing_redis_answer_sort(ngx_http_billing_redis_answer_t *answer)
{
    if (answer->nservers > 2) {
        ngx_qsort(&answer->servers[1], answer->nservers - 1,
                  sizeof(ngx_http_billing_redis_named_t),
                  ngx_http_billing_redis_answer_compare);
    }
}


static int ngx_libc_cdecl
ngx_http_billing_redis_answer_compare(const void *one, const void *two)
{
    int                                    rc;
    const ngx_http_billing_redis_named_t  *a = one;
    const ngx_http_billing_redis_named_t  *b = two;

    if (a->linked != b->linked) {
        return (int) b->linked - (int) a->linked;
    }

    rc = ngx_strcmp(a->host, b->host);

    return rc ? rc : (int) a->port - (int) b->port;
}


ngx_uint_t
ngx_http_billing_redis_answer_same(ngx_http_billing_redis_answer_t *one,
    ngx_http_billing_redis_answer_t *two)
{
    ngx_uint_t  i;

    if (one->nservers != two->nservers) {
        return 0;
    }

    for (i = 0; i < one->nservers; i++) {
        if (one->servers[i].port != two->servers[i].port
            || ngx_strcmp(one->servers[i].host, two->servers[i].host) != 0)
        {
            return 0;
        }
    }

    return 1;
}
