
/*
 * A preload that makes one allocation fail: the n-th after it was armed.  It
 * is armed through a file that the test writes and all processes have mapped:
 * n, or zero, how many allocations there were, whether one was spared, and the
 * callers of the one that was to fail.
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>


#define FAULT_FRAMES  16


typedef struct {
    int64_t  n;
    int64_t  count;
    int64_t  spared;
    char     callers[1024];
} fault_t;


extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static int fault_fails(void);
static int fault_spares(void);


static fault_t  *fault;
static int       fault_nested;


/*
 * Where hiredis 0.14 does not look at what it got, or aborts, and no caller of
 * it can help: a new output buffer, the copy of a path, the tables of an
 * asynchronous context, and the iterators that it walks them with to free it,
 * in a function without a name that is called by ours.  It counts who has
 * allocated, and its caller.
 */

static const char *fault_broken[] = {
    "redisBufferWrite",
    "hi_strdup",
    "redisAsyncConnect",
    "redisAsyncConnectUnix",
    "ngx_http_billing_redis_event_close",
    NULL
};


static void __attribute__((constructor))
fault_init(void)
{
    int          fd;
    void        *frames[FAULT_FRAMES];
    const char  *name;

    /* its first call allocates */

    (void) backtrace(frames, FAULT_FRAMES);

    name = getenv("BILLING_FAULT");
    if (name == NULL) {
        return;
    }

    fd = open(name, O_RDWR);
    if (fd == -1) {
        abort();
    }

    fault = mmap(NULL, sizeof(fault_t), PROT_READ|PROT_WRITE, MAP_SHARED, fd,
                 0);
    if (fault == MAP_FAILED) {
        abort();
    }

    (void) close(fd);
}


static int
fault_fails(void)
{
    int  fails;

    if (fault == NULL || fault->n == 0 || fault_nested) {
        return 0;
    }

    fault_nested = 1;

    fails = (++fault->count == fault->n);

    if (fails && fault_spares()) {
        fault->spared++;
        fails = 0;
    }

    fault_nested = 0;

    if (fails) {
        errno = ENOMEM;
    }

    return fails;
}


static int
fault_spares(void)
{
    int           i, n, spares;
    char         *p, *last;
    void         *frames[FAULT_FRAMES];
    Dl_info       info;
    const char  **name;

    p = fault->callers;
    last = p + sizeof(fault->callers);

    n = backtrace(frames, FAULT_FRAMES);
    spares = 0;

    /* those of this file come first */

    for (i = 3; i < n; i++) {

        if (dladdr(frames[i], &info) == 0) {
            continue;
        }

        p += snprintf(p, last - p, " %s+%#tx",
                      info.dli_sname ? info.dli_sname : "",
                      (char *) frames[i] - (char *) info.dli_fbase);

        if (p >= last) {
            break;
        }

        if (i > 4 || info.dli_sname == NULL) {
            continue;
        }

        for (name = fault_broken; *name; name++) {
            spares |= (strcmp(info.dli_sname, *name) == 0);
        }
    }

    return spares;
}


void *
malloc(size_t size)
{
    return fault_fails() ? NULL : __libc_malloc(size);
}


void *
calloc(size_t n, size_t size)
{
    return fault_fails() ? NULL : __libc_calloc(n, size);
}


void *
realloc(void *p, size_t size)
{
    return fault_fails() ? NULL : __libc_realloc(p, size);
}


void *
memalign(size_t alignment, size_t size)
{
    return fault_fails() ? NULL : __libc_memalign(alignment, size);
}


void *
aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}


int
posix_memalign(void **p, size_t alignment, size_t size)
{
    void  *new;

    new = memalign(alignment, size);
    if (new == NULL) {
        return ENOMEM;
    }

    *p = new;

    return 0;
}
