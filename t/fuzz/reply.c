
/*
 * Feeds the reader of Redis' replies. The input is a digit (2 or 3, the
 * protocol) and bytes of replies. The reader has to read the same replies
 * whether it gets the bytes at once, in two pieces cut at any place, or byte
 * by byte. The bounds are small here, so that short inputs exceed them.
 */


#define _GNU_SOURCE

#include <sanitizer/asan_interface.h>
#include <stdio.h>

#include "ngx_http_billing_redis_reply.h"

#undef NGX_HTTP_BILLING_REDIS_BUFFER
#undef NGX_HTTP_BILLING_REDIS_MAX_REPLY
#undef NGX_HTTP_BILLING_REDIS_MAX_ELEMENTS

#define NGX_HTTP_BILLING_REDIS_BUFFER        32
#define NGX_HTTP_BILLING_REDIS_MAX_REPLY     100
#define NGX_HTTP_BILLING_REDIS_MAX_ELEMENTS  20

#include "../../src/redis/ngx_http_billing_redis_reply.c"
#include "../../src/redis/ngx_http_billing_redis_token.c"


#define check(expr)                                                           \
    if (!(expr)) {                                                            \
        fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #expr);    \
        abort();                                                              \
    }

#define MAX_NAME    12
#define MAX_BUFFER  (4 * (NGX_HTTP_BILLING_REDIS_MAX_REPLY + 200              \
                          + 24 * NGX_HTTP_BILLING_REDIS_MAX_ELEMENTS))


typedef struct {
    const char  *input;
    const char  *replies;
} case_t;


static const char *pieces[] = { "", "push ", "item ", "end" };

static const char *types[] = {
    "string", "nil", "array", "map", "status", "error", "integer", "double",
    "other", "oversized"
};


/* the bounds are those above: texts of 100 bytes, 20 elements, names of 12 */

#define X10    "xxxxxxxxxx"
#define X100   X10 X10 X10 X10 X10 X10 X10 X10 X10 X10
#define ONES7  ":1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n"

static case_t  cases[] = {
    { "2$3\r\nabc\r\n$0\r\n\r\n$-1\r\n*-1\r\n",
      "string=abc\nstring=\nnil\nnil\n" },
    { "2+OK\r\n-ERR x\r\n:-5\r\n",
      "status=OK\nerror=ERR x\ninteger=-5\n" },
    { "2:9223372036854775807\r\n:9223372036854775808\r\n:x\r\n:\r\n"
      ":-9223372036854775808\r\n:-9223372036854775809\r\n:-\r\n",
      "integer=9223372036854775807\nother=9223372036854775808\nother=x\n"
      "other=\ninteger=-9223372036854775808\nother=-9223372036854775809\n"
      "other=-\n" },
    { "2*2\r\n$1\r\na\r\n$-1\r\n*0\r\n",
      "array [=a] [nil]\narray\n" },
    { "2*3\r\n$1\r\na\r\n*2\r\n:1\r\n:2\r\n:3\r\n+OK\r\n",
      "other [=a] [nil] [=3]\nstatus=OK\n" },
    { "2*1\r\n*-1\r\n*1\r\n*0\r\n",
      "other [nil]\nother [nil]\n" },
    { "2$100\r\n" X100 "\r\n$101\r\nx" X100 "\r\n+OK\r\n",
      "string=" X100 "\noversized\nstatus=OK\n" },
    { "2*2\r\n$60\r\n" X10 X10 X10 X10 X10 X10 "\r\n"
      "$60\r\n" X10 X10 X10 X10 X10 X10 "\r\n+OK\r\n",
      "oversized\nstatus=OK\n" },
    { "2*20\r\n" ONES7 ONES7 ":1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n+OK\r\n",
      "other [=1] [=1] [=1] [=1] [=1] [=1] [=1] [=1] [=1] [=1] [=1] [=1] [=1]"
      " [=1] [=1] [=1] [=1] [=1] [=1] [=1]\nstatus=OK\n" },
    { "2*21\r\n" ONES7 ONES7 ONES7 "+OK\r\n",
      "oversized\nstatus=OK\n" },
    { "2*2\r\n*19\r\n" ONES7 ONES7 ":1\r\n:1\r\n:1\r\n:1\r\n:1\r\n$1\r\nx\r\n"
      "+OK\r\n", "oversized\nstatus=OK\n" },
    { "2+" X100 "\r\n", "error: reply is too large\n" },
    { "2$536870913\r\n", "error: a length in the reply is wrong\n" },
    { "2*536870913\r\n", "error: a length in the reply is wrong\n" },
    { "2$101\r\n" X100 "xyz", "error: a string in the reply has no end\n" },
    { "2*2\r\n$3\r\nabcXY$1\r\nx\r\n",
      "error: a string in the reply has no end\n" },
    { "2*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n*1\r\n*1\r\n*1\r\n"
      "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
      "other [nil]\nerror: reply is nested too deep\n" },
    { "2_\r\n", "error: what came is no reply\n" },
    { "2>1\r\n+x\r\n", "error: what came is no reply\n" },
    { "3_\r\n,1.5\r\n#t\r\n(123\r\n=7\r\ntxt:abc\r\n!5\r\nE\r\nxx\r\n",
      "nil\ndouble=1.5\nother=t\nother=123\nstring=abc\nerror=E\r\nxx\n" },
    { "3_x\r\n", "error: what came is no reply\n" },
    { "3#x\r\n", "error: what came is no reply\n" },
    { "3=3\r\ntxt\r\n", "error: what came is no reply\n" },
    { "3=-1\r\n", "error: what came is no reply\n" },
    { "3%2\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n_\r\n%0\r\n~1\r\n$1\r\nx\r\n",
      "map [=a] [=b] [=c] [nil]\nmap\narray [=x]\n" },
    { "3%2\r\n+proto\r\n:3\r\n$7\r\nmodules\r\n*0\r\n",
      "other [=proto] [=3] [=modules] [nil]\n" },
    { "3%-1\r\n", "error: a length in the reply is wrong\n" },
    { "3|1\r\n+ttl\r\n:5\r\n$1\r\nx\r\n|0\r\n:1\r\n",
      "string=x\ninteger=1\n" },
    { "3*2\r\n|1\r\n+a\r\n*1\r\n:1\r\n$1\r\nx\r\n$1\r\ny\r\n+OK\r\n",
      "array [=x] [=y]\nstatus=OK\n" },
    { "3|1\r\n$101\r\n" X100 "x\r\n:5\r\n$1\r\nx\r\n", "string=x\n" },
    { "3>2\r\n$10\r\ninvalidate\r\n*2\r\n$1\r\na\r\n$2\r\nbc\r\n$1\r\nx\r\n",
      "push string=invalidate\nitem string=a\nitem string=bc\nend\n"
      "string=x\n" },
    { "3>2\r\n$10\r\ninvalidate\r\n_\r\n",
      "push string=invalidate\nitem nil\nend\n" },
    { "3>2\r\n+invalidate\r\n*0\r\n+OK\r\n",
      "push status=invalidate\nend\nstatus=OK\n" },
    { "3>2\r\n+invalidate\r\n*3\r\n$12\r\n" X10 "xx\r\n$13\r\n" X10
      "xxx\r\n$1\r\na\r\n",
      "push status=invalidate\nitem string=" X10 "xx\nitem oversized\n"
      "item string=a\nend\n" },
    { "3>3\r\n$7\r\nmessage\r\n$1\r\nc\r\n:1\r\n",
      "push string=message\nitem string=c\nitem integer=1\nend\n" },
    { "3>1\r\n+x\r\n>1\r\n+y\r\n", "push status=x\nend\npush status=y\nend\n" },
    { "3>0\r\n", "error: a push is out of place\n" },
    { "3>1\r\n:1\r\n", "error: a push has no kind\n" },
    { "3>1\r\n*1\r\n+x\r\n", "error: a push has no kind\n" },
    { "3*1\r\n>1\r\n+x\r\n", "error: a push is out of place\n" },
    { "3>2\r\n+x\r\n>1\r\n+y\r\n",
      "push status=x\nerror: a push is out of place\n" },
    { "3>2\r\n+x\r\n|1\r\n+y\r\n:1\r\n+z\r\n",
      "push status=x\nerror: an attribute is out of place\n" },
    { "3*?\r\n", "error: a length in the reply is wrong\n" }
};


int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
print_text(FILE *out, ngx_str_t *text)
{
    if (text->data) {
        fputc('=', out);
        fwrite(text->data, 1, text->len, out);

    } else {
        check(text->len == 0);
    }
}


static void
print_reply(FILE *out, ngx_http_billing_redis_reader_t *reader)
{
    size_t                           size;
    ngx_uint_t                       i;
    ngx_http_billing_redis_reply_t  *reply;

    reply = &reader->reply;

    fputs(pieces[reply->piece], out);

    if (reply->piece == NGX_HTTP_BILLING_REDIS_PUSH_END) {
        check(reply->text.data == NULL);
        fputc('\n', out);
        return;
    }

    fputs(types[reply->type], out);

    check(reader->resp3
          || (reply->piece == NGX_HTTP_BILLING_REDIS_REPLY
              && reply->type != NGX_HTTP_BILLING_REDIS_MAP
              && reply->type != NGX_HTTP_BILLING_REDIS_DOUBLE));

    size = reply->text.len;

    if (reply->text.data) {
        check(reply->text.data[size] == '\0');
        print_text(out, &reply->text);
    }

    if (reply->piece == NGX_HTTP_BILLING_REDIS_REPLY) {
        check(reply->nelts <= NGX_HTTP_BILLING_REDIS_MAX_ELEMENTS);

        for (i = 0; i < reply->nelts; i++) {
            fputs(reply->elts[i].data ? " [" : " [nil", out);
            print_text(out, &reply->elts[i]);
            fputc(']', out);
            size += reply->elts[i].len;
        }

    } else if (reply->type == NGX_HTTP_BILLING_REDIS_STRING) {
        check(size <= NGX_HTTP_BILLING_REDIS_MAX_KIND);
    }

    check(size <= NGX_HTTP_BILLING_REDIS_MAX_REPLY);

    fputc('\n', out);
}


/* reads the input in two pieces, or byte by byte, and tells what was read */

static char *
read_pieces(const uint8_t *p, size_t size, ngx_uint_t resp3, size_t first,
    size_t next)
{
    char                             *text;
    FILE                             *out;
    size_t                            n, len;
    u_char                           *mark;
    ngx_int_t                         rc;
    ngx_http_billing_redis_reader_t   reader;

    out = open_memstream(&text, &len);
    check(out);

    ngx_memzero(&reader, sizeof(ngx_http_billing_redis_reader_t));
    reader.resp3 = resp3;
    reader.max_name = MAX_NAME;

    rc = NGX_AGAIN;
    n = first;

    while (size && rc != NGX_ERROR) {
        check(ngx_http_billing_redis_reader_room(&reader, ngx_cycle->log)
              == NGX_OK);
        check(reader.end > reader.last);
        check(reader.end - reader.start <= MAX_BUFFER);

        n = ngx_min(n, size);
        n = ngx_min(n, (size_t) (reader.end - reader.last));

        ngx_memcpy(reader.last, p, n);
        reader.last += n;
        p += n;
        size -= n;
        n = next;

        /* the reader must not look at bytes that it has not received */

        mark = reader.last + 1;
        ASAN_POISON_MEMORY_REGION(mark, reader.end - reader.last);

        for ( ;; ) {
            rc = ngx_http_billing_redis_reader_next(&reader, ngx_cycle->log);

            if (rc != NGX_OK) {
                break;
            }

            print_reply(out, &reader);
        }

        ASAN_UNPOISON_MEMORY_REGION(mark, reader.end - reader.last);

        check((rc == NGX_ERROR) == (reader.error != NULL));
    }

    if (rc == NGX_ERROR) {
        fprintf(out, "error: %s\n", reader.error);

    } else if (ngx_http_billing_redis_reader_left(&reader)) {
        fprintf(out, "left\n");
    }

    ngx_http_billing_redis_reader_free(&reader);

    fclose(out);

    return text;
}


static void
check_case(case_t *c)
{
    char  *text;

    text = read_pieces((u_char *) c->input + 1, strlen(c->input) - 1,
                       c->input[0] == '3', 65536, 65536);

    if (strcmp(text, c->replies) != 0) {
        fprintf(stderr, "%s\nis read as\n%s\ninstead of\n%s\n", c->input + 1,
                text, c->replies);
        abort();
    }

    free(text);
}


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    size_t              i;
    static ngx_log_t    log;
    static ngx_cycle_t  cycle;

    cycle.log = &log;
    ngx_cycle = &cycle;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        check_case(&cases[i]);

        (void) LLVMFuzzerTestOneInput((u_char *) cases[i].input,
                                      strlen(cases[i].input));
    }

    return 0;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char    *whole, *cut;
    size_t   i, step;

    if (size < 2 || (data[0] != '2' && data[0] != '3')) {
        return -1;
    }

    whole = read_pieces(data + 1, size - 1, data[0] == '3', size, size);

    /* byte by byte; a short input is also cut at every place */

    step = size / 256 + 1;

    for (i = 0; i < size - 1; i += step) {
        cut = read_pieces(data + 1, size - 1, data[0] == '3', i ? i : 1,
                          i ? size : 1);

        if (strcmp(whole, cut) != 0) {
            fprintf(stderr, "cut at %zu it is read as\n%s\ninstead of\n%s\n", i,
                    cut, whole);
            abort();
        }

        free(cut);
    }

    free(whole);

    return 0;
}
