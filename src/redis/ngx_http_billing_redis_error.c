
#include "ngx_http_billing_redis_error.h"


static ngx_uint_t ngx_http_billing_redis_error_begins(ngx_str_t *text,
    ngx_str_t *prefixes);


/* the beginnings of errors, in Redis 5 to 8 and in Valkey */

static ngx_str_t  ngx_http_billing_redis_error_temporary[] = {
    ngx_string("LOADING "),
    ngx_string("MASTERDOWN "),
    ngx_string("BUSY "),
    ngx_string("ERR max number of clients "),
    ngx_null_string
};


static ngx_str_t  ngx_http_billing_redis_error_clustered[] = {
    ngx_string("MOVED "),
    ngx_string("ASK "),
    ngx_string("TRYAGAIN "),
    ngx_string("CLUSTERDOWN "),
    ngx_null_string
};


static ngx_str_t  ngx_http_billing_redis_error_refused[] = {
    ngx_string("NOAUTH "),
    ngx_string("WRONGPASS "),
    ngx_string("DENIED "),
    ngx_null_string
};


/* these quote no argument of the command */

static ngx_str_t  ngx_http_billing_redis_error_harmless[] = {
    ngx_string("WRONGPASS "),
    ngx_string("NOAUTH "),
    ngx_string("NOPERM "),
    ngx_string("NOPROTO "),
    ngx_string("DENIED "),
    ngx_string("MISCONF "),
    ngx_string("OOM "),
    ngx_string("READONLY "),
    ngx_string("CLUSTERDOWN "),
    ngx_string("ERR AUTH <password> called without any password configured"),
    ngx_string("ERR Client sent AUTH, but no password is set"),
    ngx_string("ERR invalid password"),
    ngx_string("ERR wrong number of arguments for "),
    ngx_string("ERR syntax error"),
    ngx_string("ERR DB index is out of range"),
    ngx_string("ERR invalid DB index"),
    ngx_string("ERR SELECT is not allowed in cluster mode"),
    ngx_string("ERR value is not an integer or out of range"),
    ngx_null_string
};


ngx_uint_t
ngx_http_billing_redis_error_unavailable(ngx_str_t *text)
{
    return ngx_http_billing_redis_error_begins(text,
                                       ngx_http_billing_redis_error_temporary);
}


ngx_uint_t
ngx_http_billing_redis_error_cluster(ngx_str_t *text)
{
    return ngx_http_billing_redis_error_begins(text,
                                       ngx_http_billing_redis_error_clustered);
}


ngx_uint_t
ngx_http_billing_redis_error_client(ngx_str_t *text, ngx_uint_t password)
{
    /* "NOAUTH " comes first in the list */

    return ngx_http_billing_redis_error_begins(text,
                                        ngx_http_billing_redis_error_refused
                                        + (password ? 1 : 0));
}


ngx_uint_t
ngx_http_billing_redis_error_misconf(ngx_str_t *text)
{
    return text->len >= 8 && ngx_strncmp(text->data, "MISCONF ", 8) == 0;
}


void
ngx_http_billing_redis_error_redact(ngx_str_t *text)
{
    u_char  *p;

    if (ngx_http_billing_redis_error_unavailable(text)
        || ngx_http_billing_redis_error_begins(text,
                                        ngx_http_billing_redis_error_harmless))
    {
        return;
    }

    p = ngx_strlchr(text->data, text->data + text->len, ' ');

    if (p) {
        *p = '\0';
        text->len = p - text->data;
    }
}


void
ngx_http_billing_redis_error_line(char *dst, const char *text, size_t size)
{
    char  *p;

    if (text != dst) {
        ngx_cpystrn((u_char *) dst, (u_char *) text, size);
    }

    for (p = dst; *p; p++) {
        if ((u_char) *p < ' ') {
            *p = ' ';
        }
    }
}


ngx_uint_t
ngx_http_billing_redis_error_is_word(ngx_str_t *text)
{
    size_t  i;

    for (i = 0; i < text->len; i++) {
        if (text->data[i] <= ' ' || text->data[i] >= 0x7f) {
            return 0;
        }
    }

    return 1;
}


static ngx_uint_t
ngx_http_billing_redis_error_begins(ngx_str_t *text, ngx_str_t *prefixes)
{
    ngx_str_t  *prefix;

    for (prefix = prefixes; prefix->len; prefix++) {

        if (text->len >= prefix->len
            && ngx_strncmp(text->data, prefix->data, prefix->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}
