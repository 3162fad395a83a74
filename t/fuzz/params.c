
/*
 * Reads parameters from a body and a query string, with nginx's memory and
 * files.  The input is a line "FLAGS QUERY", and the body behind it.  FLAGS are
 * four hexadecimal digits: the Content-Type (0 to 3 are JSON), the limit of an
 * array (30 or 3), and the sizes of the body's first and further pieces.
 */


#define _GNU_SOURCE

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <sys/mman.h>
#include <yajl/yajl_parse.h>

#include "ngx_http_billing_json.h"
#include "ngx_http_billing_params.h"


#define check(expr)                                                           \
    if (!(expr)) {                                                            \
        fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #expr);    \
        abort();                                                              \
    }

#define MAX_SPLITS  4096

/* a key of 255 characters; a message may spell its name in twice as many */

#define MAX_KEY      (sizeof("cameras_uuid.") + 255 * 4)
#define MAX_MESSAGE  (2 * MAX_KEY + 256)


typedef struct {
    ngx_str_t    query;
    ngx_str_t    body;
    ngx_str_t    type;
    ngx_uint_t   max;
} input_t;


/* the body in pieces of these sizes; all but the first may be in a file */

typedef struct {
    size_t       first;
    size_t       step;
    ngx_uint_t   file;
} split_t;


static ngx_str_t   types[] = {
    ngx_string("application/json"),
    ngx_string("Application/Problem+JSON; charset=utf-8"),
    ngx_string("text/json"),
    ngx_string("x/jsonp"),
    ngx_string("text/plain"),
    ngx_string("json"),
    ngx_string(""),
    ngx_null_string
};

static ngx_log_t   log_off;
static ngx_fd_t    fd = -1;


static void alert(ngx_log_t *log, ngx_uint_t level, u_char *buf, size_t len);
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    ngx_pagesize = getpagesize();
    ngx_cacheline_size = NGX_CPU_CACHE_LINE;
    ngx_time_init();

    log_off.log_level = NGX_LOG_ALERT;
    log_off.writer = alert;

    fd = memfd_create("body", 0);
    check(fd != -1);

    return 0;
}


/* the module alerts if yajl needs more memory than was reserved for it */

static void
alert(ngx_log_t *log, ngx_uint_t level, u_char *buf, size_t len)
{
    fprintf(stderr, "%.*s", (int) len, buf);
    check(!"an alert");
}


/* a copy of exact size: AddressSanitizer sees a read beyond its end */

static ngx_buf_t *
piece(ngx_pool_t *pool, u_char *p, size_t len)
{
    u_char     *copy;
    ngx_buf_t  *b;

    b = ngx_calloc_buf(pool);
    copy = ngx_pnalloc(pool, len ? len : 1);
    check(b && copy);

    ngx_memcpy(copy, p, len);

    b->pos = copy;
    b->last = copy + len;
    b->temporary = 1;

    return b;
}


static void
body(ngx_http_request_t *r, ngx_str_t *text, split_t *split)
{
    size_t         n, pos;
    ngx_buf_t     *b;
    ngx_file_t    *file;
    ngx_chain_t  **last, *cl;

    r->request_body = ngx_pcalloc(r->pool, sizeof(ngx_http_request_body_t));
    check(r->request_body);

    last = &r->request_body->bufs;
    n = split->first;

    for (pos = 0; pos < text->len; pos += n, n = split->step) {

        n = ngx_min(n, text->len - pos);
        b = piece(r->pool, text->data + pos, n);

        if (split->file && pos) {

            /* nginx leaves what exceeds its buffer in a file */

            n = text->len - pos;
            file = ngx_pcalloc(r->pool, sizeof(ngx_file_t));
            check(file);

            file->fd = fd;
            file->log = &log_off;
            check(ftruncate(fd, 0) == 0);
            check(pwrite(fd, text->data + pos, n, 10) == (ssize_t) n);

            ngx_memzero(b, sizeof(ngx_buf_t));
            b->in_file = 1;
            b->file = file;
            b->file_pos = 10;
            b->file_last = 10 + n;
        }

        cl = ngx_alloc_chain_link(r->pool);
        check(cl);

        cl->buf = b;
        cl->next = NULL;
        *last = cl;
        last = &cl->next;
    }
}


static ngx_uint_t
characters(ngx_str_t *text)
{
    size_t      i;
    ngx_uint_t  n;

    for (i = 0, n = 0; i < text->len; i++) {
        n += (text->data[i] & 0xc0) != 0x80;
    }

    return n;
}


static void
json_ok(u_char *p, size_t len)
{
    yajl_handle  handle;

    handle = yajl_alloc(NULL, NULL, NULL);
    check(handle);
    check(yajl_parse(handle, p, len) == yajl_status_ok);
    check(yajl_complete_parse(handle) == yajl_status_ok);
    yajl_free(handle);
}


/* the errors as the module writes them in JSON, then the parameters */

static ngx_str_t
written(ngx_pool_t *pool, ngx_http_billing_params_t *params)
{
    off_t                      size;
    u_char                    *p;
    ngx_str_t                  out, *uuid;
    ngx_uint_t                 i;
    ngx_chain_t               *cl;
    ngx_http_billing_json_t    json;
    ngx_http_billing_error_t  *error;

    ngx_http_billing_json_init(&json, pool, NULL);
    check(ngx_http_billing_json_start(&json) == NGX_OK);

    ngx_http_billing_json_map_open(&json);

    error = params->errors.elts;

    for (i = 0; i < params->errors.nelts; i++) {
        check(error[i].key.len && error[i].key.len <= MAX_KEY);
        check(error[i].message.len && error[i].message.len <= MAX_MESSAGE);
        ngx_http_billing_json_string(&json, &error[i].key);
        ngx_http_billing_json_string(&json, &error[i].message);
    }

    ngx_http_billing_json_map_close(&json);

    check(ngx_http_billing_json_take(&json, &cl, &size) != NULL);

    uuid = params->uuids.elts;
    out.len = size + params->ids.nelts * sizeof(int64_t) + params->login.len;

    for (i = 0; i < params->uuids.nelts; i++) {
        out.len += sizeof(size_t) + uuid[i].len;
    }

    out.data = ngx_pnalloc(pool, out.len);
    check(out.data);

    for (p = out.data; cl; cl = cl->next) {
        p = ngx_cpymem(p, cl->buf->pos, cl->buf->last - cl->buf->pos);
    }

    check(p - out.data == size);

    json_ok(out.data, size);

    for (i = 0; i < params->uuids.nelts; i++) {
        p = ngx_cpymem(p, &uuid[i].len, sizeof(size_t));
        p = ngx_cpymem(p, uuid[i].data, uuid[i].len);
    }

    p = ngx_cpymem(p, params->login.data, params->login.len);
    p = ngx_cpymem(p, params->ids.elts, params->ids.nelts * sizeof(int64_t));

    check(p == out.data + out.len);

    return out;
}


static void
sensible(ngx_int_t rc, ngx_http_billing_params_t *params, ngx_uint_t max)
{
    int64_t     *id;
    ngx_str_t   *uuid;
    ngx_uint_t   i;

    check(rc == NGX_OK || rc == NGX_DECLINED);
    check((rc == NGX_DECLINED) == (params->errors.nelts != 0));

    if (rc != NGX_OK) {
        return;
    }

    check(params->has_ids || params->has_uuids || params->has_login);
    check(params->ids.nelts <= max && params->uuids.nelts <= max);
    check(params->has_ids || params->ids.nelts == 0);
    check(params->has_uuids == (params->uuids.nelts != 0));
    check(params->has_login == (params->login.len != 0));
    check(params->login.len == 0 || params->login.data);
    check(characters(&params->login) <= 255);

    id = params->ids.elts;

    for (i = 0; i < params->ids.nelts; i++) {
        check(id[i] > 0);
    }

    uuid = params->uuids.elts;

    for (i = 0; i < params->uuids.nelts; i++) {
        check(characters(&uuid[i]) <= 255);
    }
}


/* reads a body in these pieces; the caller frees the result */

static ngx_str_t
run(input_t *in, split_t *split)
{
    ngx_int_t                  rc;
    ngx_str_t                  out, copy;
    ngx_pool_t                *pool;
    ngx_table_elt_t            type;
    ngx_connection_t           c;
    ngx_http_request_t         r;
    ngx_http_billing_params_t  params;

    pool = ngx_create_pool(1024, &log_off);
    check(pool);

    ngx_memzero(&c, sizeof(ngx_connection_t));
    ngx_memzero(&r, sizeof(ngx_http_request_t));
    ngx_memzero(&type, sizeof(ngx_table_elt_t));

    c.log = &log_off;
    r.connection = &c;
    r.pool = pool;
    r.args.len = in->query.len;
    r.args.data = piece(pool, in->query.data, in->query.len)->pos;

    if (in->type.data) {
        type.value = in->type;
        r.headers_in.content_type = &type;
    }

    body(&r, &in->body, split);

    rc = ngx_http_billing_params(&r, &params, in->max);

    sensible(rc, &params, in->max);

    out = written(pool, &params);

    copy.len = out.len;
    copy.data = malloc(out.len);
    check(copy.data);
    ngx_memcpy(copy.data, out.data, out.len);

    ngx_destroy_pool(pool);

    return copy;
}


static void
same(input_t *in, ngx_str_t *whole, size_t first, size_t step, ngx_uint_t file)
{
    split_t    split;
    ngx_str_t  out;

    split.first = first ? first : 1;
    split.step = step ? step : 1;
    split.file = file;

    out = run(in, &split);

    if (out.len != whole->len
        || ngx_memcmp(out.data, whole->data, out.len) != 0)
    {
        fprintf(stderr, "whole: %.*s\nsplit: %.*s\n", (int) whole->len,
                whole->data, (int) out.len, out.data);
        check(!"the same result");
    }

    free(out.data);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char     *p, *last, *lf;
    input_t     in;
    split_t     split;
    ngx_int_t   flags;
    ngx_str_t   whole;

    p = (u_char *) data;
    last = p + size;

    if (size < 5 || p[4] != ' ') {
        return -1;
    }

    flags = ngx_hextoi(p, 4);

    if (flags == NGX_ERROR) {
        return -1;
    }

    p += 5;

    lf = ngx_strlchr(p, last, LF);

    if (lf == NULL) {
        lf = last;
    }

    in.query.data = p;
    in.query.len = lf - p;

    in.body.data = lf < last ? lf + 1 : last;
    in.body.len = last - in.body.data;

    in.type = types[(flags >> 12) & 7];
    in.max = (flags >> 8) & 1 ? 3 : 30;

    split.first = in.body.len ? in.body.len : 1;
    split.step = 1;
    split.file = 0;

    whole = run(&in, &split);

    if (in.body.len > 1) {
        same(&in, &whole, (flags >> 4) & 15, flags & 15, 0);
        same(&in, &whole, in.body.len * ((flags >> 4) & 15) / 16,
             in.body.len, 1);

        if (in.body.len <= MAX_SPLITS) {
            same(&in, &whole, 1, 1, 0);
        }
    }

    free(whole.data);

    return 0;
}
