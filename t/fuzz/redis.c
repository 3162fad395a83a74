
/*
 * Feeds replies of Redis to requests. The whole of nginx with the module runs
 * in this process, between a client and a Redis of the fuzzer. Time is
 * simulated: where nginx would wait, the time has passed.
 *
 * The input is a line of "KIND PIECE", two hexadecimal digits: the request,
 * and in how small pieces Redis' replies come (0 is whole). The rest is
 * replies, as they go over the wire, with "%%\n" between them. The reply "!"
 * closes the connection; an empty one sends nothing. Valid replies follow the
 * last one. PING and ECHO have valid replies.
 */


#define _GNU_SOURCE

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <sanitizer/lsan_interface.h>
#include <setjmp.h>
#include <sys/epoll.h>
#include <yajl/yajl_parse.h>


#define check(expr)                                                           \
    if (!(expr)) {                                                            \
        fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #expr);    \
        abort();                                                              \
    }

#define MAX_CONNS    8
#define MAX_STEPS    20000
#define MAX_ANSWER   (1 << 20)


typedef struct {
    int          fd;
    u_char       in[65536];
    size_t       in_len;
    u_char       out[65536];
    size_t       out_len;
} conn_t;


typedef struct {
    int          depth;
    int          id;
    long long    last;
} ids_t;


static char *requests[] = {
    "GET /?cameras_ids[]=3",
    "GET /?cameras_ids[]=3&cameras_ids[]=4&cameras_ids[]=9",
    "GET /?cameras_uuid[]=a&cameras_uuid[]=b",
    "GET /?login=x",
    "GET /?login=x&cameras_ids[]=3&cameras_ids[]=4",
    "GET /?login=x&cameras_ids[]=3&cameras_uuid[]=a",
    "GET /token?token=t&login=x",
    "HEAD /?login=x"
};

static char       dir[] = "/tmp/billing-fuzz-XXXXXX";
static char       http_path[64], redis_path[64];

static int        listen_fd, client_fd;
static conn_t     conns[MAX_CONNS];

static u_char    *replies, *replies_end;
static size_t     piece;

static u_char     answer[MAX_ANSWER];
static size_t     answer_len;

static jmp_buf    started;
static int        running, idle, moved;
static time_t     now_ms = 1000000;


int ngx_main(int argc, char *const *argv);

void __real_ngx_process_events_and_timers(ngx_cycle_t *cycle);
void __wrap_ngx_process_events_and_timers(ngx_cycle_t *cycle);
int __real_epoll_wait(int ep, struct epoll_event *events, int n, int timeout);
int __wrap_epoll_wait(int ep, struct epoll_event *events, int n, int timeout);
int __real_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts);

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/* nginx has started when it first waits: from then on, its waits come here */

void
__wrap_ngx_process_events_and_timers(ngx_cycle_t *cycle)
{
    check(!running);
    running = 1;
    longjmp(started, 1);
}


int
__wrap_epoll_wait(int ep, struct epoll_event *events, int n, int timeout)
{
    int  rc;

    rc = __real_epoll_wait(ep, events, n, 0);

    if (rc == 0 && !moved) {
        idle = (timeout == -1);
        now_ms += timeout > 0 ? timeout : 0;
    }

    return rc;
}


/* the simulated clock of nginx; libFuzzer has the real one */

int
__wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
    if (id != CLOCK_MONOTONIC) {
        return __real_clock_gettime(id, ts);
    }

    ts->tv_sec = now_ms / 1000;
    ts->tv_nsec = now_ms % 1000 * 1000000;

    return 0;
}


static int
unix_socket(char *path, int listening)
{
    int                 fd;
    struct sockaddr_un  sa;

    fd = socket(AF_UNIX, SOCK_STREAM|SOCK_NONBLOCK, 0);
    check(fd != -1);

    ngx_memzero(&sa, sizeof(struct sockaddr_un));
    sa.sun_family = AF_UNIX;
    strcpy(sa.sun_path, path);

    if (listening) {
        check(bind(fd, (struct sockaddr *) &sa, sizeof(sa)) == 0);
        check(listen(fd, 16) == 0);

    } else {
        check(connect(fd, (struct sockaddr *) &sa, sizeof(sa)) == 0);
    }

    return fd;
}


static void
cleanup(void)
{
    char  path[80];

    snprintf(path, sizeof(path), "%s/nginx.conf", dir);
    unlink(path);
    snprintf(path, sizeof(path), "%s/nginx.pid", dir);
    unlink(path);
    snprintf(path, sizeof(path), "%s/body", dir);
    rmdir(path);

    unlink(http_path);
    unlink(redis_path);
    rmdir(dir);
}


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    int          i;
    char         conf[64];
    FILE        *out;
    static int   err;

    char  *args[] = { "nginx", "-p", dir, "-e", "/dev/null", "-c", conf, NULL };

    check(mkdtemp(dir));
    atexit(cleanup);

    snprintf(conf, sizeof(conf), "%s/nginx.conf", dir);
    snprintf(http_path, sizeof(http_path), "%s/http.sock", dir);
    snprintf(redis_path, sizeof(redis_path), "%s/redis.sock", dir);

    listen_fd = unix_socket(redis_path, 1);

    for (i = 0; i < MAX_CONNS; i++) {
        conns[i].fd = -1;
    }

    out = fopen(conf, "w");
    check(out);

    fprintf(out,
            "daemon off; master_process off; pid %s/nginx.pid;\n"
            "error_log /dev/null info;\n"
            "events { worker_connections 64; }\n"
            "http { access_log off; client_body_temp_path %s/body;\n"
            "billing_redis unix:%s; billing_token off; billing_batch 2;\n"
            "server { listen unix:%s; location / { billing_cameras_list; }\n"
            "location /token { billing_cameras_list;\n"
            "billing_token $arg_token; } } }\n",
            dir, dir, redis_path, http_path);

    fclose(out);

    /* nginx makes stderr its log; its allocations up to here are never freed */

    err = dup(STDERR_FILENO);

    __lsan_disable();

    if (setjmp(started) == 0) {
        ngx_main(7, args);
    }

    __lsan_enable();

    dup2(err, STDERR_FILENO);
    close(err);

    check(running);

    return 0;
}


static char *
good_reply(char *command)
{
    if (strcmp(command, "HMGET") == 0) {
        return "*7\r\n$1\r\ne\r\n$-1\r\n$6\r\nactive\r\n$1\r\nA\r\n"
               "$-1\r\n$11\r\nhigh=x,low=\r\n$-1\r\n";
    }

    if (strcmp(command, "HGETALL") == 0
        || strcmp(command, "ZRANGEBYSCORE") == 0)
    {
        return "*0\r\n";
    }

    return "$1\r\n3\r\n";
}


static void
reply(conn_t *c, u_char *p, size_t len)
{
    check(c->out_len + len <= sizeof(c->out));

    ngx_memcpy(c->out + c->out_len, p, len);
    c->out_len += len;
}


static void
close_conn(conn_t *c)
{
    close(c->fd);
    c->fd = -1;
    c->in_len = 0;
    c->out_len = 0;
}


static void
answer_command(conn_t *c, char *name, u_char *arg, size_t len)
{
    char    head[32];
    u_char  *end;

    if (strcmp(name, "PING") == 0) {
        reply(c, (u_char *) "+PONG\r\n", 7);
        return;
    }

    if (strcmp(name, "ECHO") == 0) {
        reply(c, (u_char *) head, snprintf(head, sizeof(head), "$%zu\r\n", len));
        reply(c, arg, len);
        reply(c, (u_char *) "\r\n", 2);
        return;
    }

    if (replies == replies_end) {
        reply(c, (u_char *) good_reply(name), strlen(good_reply(name)));
        return;
    }

    end = memmem(replies, replies_end - replies, "%%\n", 3);

    if (end == NULL) {
        end = replies_end;
    }

    if (end - replies == 1 && *replies == '!') {
        close_conn(c);

    } else {
        reply(c, replies, end - replies);
    }

    replies = end < replies_end ? end + 3 : replies_end;
}


/* the commands come from the module, and so are valid */

static size_t
number(u_char **p, u_char *last, u_char type)
{
    char   *end;
    size_t  n;

    check(last - *p > 3 && **p == type);

    n = strtoul((char *) *p + 1, &end, 10);
    *p = (u_char *) end + 2;

    return n;
}


/* Returns the length of a whole command, or 0. */

static size_t
command(conn_t *c)
{
    char     name[32];
    size_t   i, n, len;
    u_char  *p, *last, *arg;

    p = c->in;
    last = p + c->in_len;

    /* enough for the longest number; a command is sent whole */

    if (c->in_len == 0) {
        return 0;
    }

    n = number(&p, last, '*');

    arg = NULL;
    len = 0;

    for (i = 0; i < n; i++) {
        len = number(&p, last, '$');
        check((size_t) (last - p) >= len + 2);

        arg = p;
        p += len;
        check(p[0] == CR && p[1] == LF);
        p += 2;

        if (i == 0) {
            check(len < sizeof(name));
            ngx_memcpy(name, arg, len);
            name[len] = '\0';
        }
    }

    answer_command(c, name, arg, len);

    return p - c->in;
}


static void
redis_conn(conn_t *c)
{
    size_t   n;
    ssize_t  rc;

    rc = recv(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len - 1, 0);

    if (rc == 0 || (rc == -1 && errno != EAGAIN)) {
        close_conn(c);
        moved = 1;
        return;
    }

    if (rc > 0) {
        c->in_len += rc;
        c->in[c->in_len] = '\0';
        moved = 1;
    }

    while (c->fd != -1 && (n = command(c)) != 0 && c->fd != -1) {
        c->in_len -= n;
        ngx_memmove(c->in, c->in + n, c->in_len + 1);
    }

    if (c->fd == -1 || c->out_len == 0) {
        return;
    }

    n = piece ? ngx_min(piece, c->out_len) : c->out_len;
    rc = send(c->fd, c->out, n, MSG_NOSIGNAL);

    if (rc > 0) {
        c->out_len -= rc;
        ngx_memmove(c->out, c->out + rc, c->out_len);
        moved = 1;
    }
}


/* acts as the client and as Redis; sets moved if there was anything to do */

static void
step(void)
{
    int      fd, i;
    ssize_t  rc;

    moved = 0;

    for ( ;; ) {
        fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK);

        if (fd == -1) {
            break;
        }

        for (i = 0; i < MAX_CONNS && conns[i].fd != -1; i++) { /* void */ }

        check(i < MAX_CONNS);
        conns[i].fd = fd;
        moved = 1;
    }

    for (i = 0; i < MAX_CONNS; i++) {
        if (conns[i].fd != -1) {
            redis_conn(&conns[i]);
        }
    }

    if (client_fd != -1) {
        rc = recv(client_fd, answer + answer_len, MAX_ANSWER - answer_len, 0);

        if (rc > 0) {
            answer_len += rc;
            moved = 1;

        } else if (rc == 0 || errno != EAGAIN) {
            close(client_fd);
            client_fd = -1;
        }
    }

    __real_ngx_process_events_and_timers((ngx_cycle_t *) ngx_cycle);
}


static int
on_key(void *ctx, const unsigned char *p, size_t len)
{
    ids_t *ids = ctx;

    ids->id = (ids->depth == 2 && len == 2 && ngx_memcmp(p, "id", 2) == 0);

    return 1;
}


static int
on_integer(void *ctx, long long n)
{
    ids_t *ids = ctx;

    if (ids->id) {
        check(n > ids->last);
        ids->last = n;
    }

    ids->id = 0;

    return 1;
}


static int
on_open(void *ctx)
{
    ((ids_t *) ctx)->depth++;
    return 1;
}


static int
on_close(void *ctx)
{
    ((ids_t *) ctx)->depth--;
    return 1;
}


static yajl_callbacks  callbacks = {
    NULL, NULL, on_integer, NULL, NULL, NULL, on_open, on_key, on_close,
    on_open, on_close
};


static void
check_json(u_char *p, size_t len, int whole)
{
    ids_t        ids = { 0, 0, 0 };
    yajl_handle  handle;

    handle = yajl_alloc(&callbacks, NULL, &ids);
    check(handle);

    check(yajl_parse(handle, p, len) == yajl_status_ok);
    check(!whole || yajl_complete_parse(handle) == yajl_status_ok);

    yajl_free(handle);
}


static void
check_answer(int head)
{
    int      status, whole;
    char    *length, *end;
    size_t   len, n, size;
    u_char  *p, *last, *out;

    answer[answer_len] = '\0';

    check(ngx_strncmp(answer, "HTTP/1.1 ", 9) == 0);

    status = atoi((char *) answer + 9);
    check(status == 200 || status == 401 || status == 502 || status == 503
          || status == 504);

    p = (u_char *) ngx_strstr(answer, "\r\n\r\n");
    check(p);

    length = ngx_strstr(answer, "\r\nContent-Length: ");
    *p = '\0';
    p += 4;
    last = answer + answer_len;

    if (head) {
        check(p == last);
        return;
    }

    if (length && length < (char *) p) {
        check(atoi(length + sizeof("\r\nContent-Length: ") - 1) == last - p);
        check_json(p, last - p, 1);
        return;
    }

    check(ngx_strstr(answer, "\r\nTransfer-Encoding: chunked") && status == 200);

    out = p;
    size = 0;
    whole = 0;

    for ( ;; ) {
        n = strtoul((char *) p, &end, 16);

        if ((u_char *) end + 2 > last) {
            break;
        }

        p = (u_char *) end + 2;
        len = ngx_min(n, (size_t) (last - p));
        ngx_memmove(out + size, p, len);
        size += len;

        if (n == 0) {
            whole = 1;
            check(last - p == 2);
            break;
        }

        p += len + 2;

        if (p >= last) {
            break;
        }
    }

    check_json(out, size, whole);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int     i, kind;
    char    request[256];
    size_t  n;

    if (size < 4 || data[1] != ' ' || data[3] != '\n') {
        return -1;
    }

    kind = ngx_hextoi((u_char *) data, 1);
    piece = ngx_hextoi((u_char *) data + 2, 1);

    if (kind < 0 || kind > 7 || (ngx_int_t) piece == NGX_ERROR) {
        return -1;
    }

    replies = (u_char *) data + 4;
    replies_end = (u_char *) data + size;
    answer_len = 0;

    client_fd = unix_socket(http_path, 0);

    n = snprintf(request, sizeof(request), "%s HTTP/1.1\r\nHost: x\r\n"
                 "Connection: close\r\n\r\n", requests[kind]);
    check(send(client_fd, request, n, 0) == (ssize_t) n);

    for (i = 0; client_fd != -1; i++) {
        check(i < MAX_STEPS);
        step();
    }

    check_answer(kind == 7);

    /* the module forgets the state of this Redis before the next input */

    for (i = 0; i < MAX_CONNS; i++) {
        if (conns[i].fd != -1) {
            close_conn(&conns[i]);
        }
    }

    replies = replies_end;
    now_ms += 60000;
    idle = 0;

    for (i = 0; !idle; i++) {
        check(i < MAX_STEPS);
        step();
    }

    return 0;
}
