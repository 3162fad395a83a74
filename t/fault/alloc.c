
/*
 * A preload library that makes one allocation fail: the n-th after the test has
 * armed it.  The test arms it through a file that all processes have mapped.
 * The file has n (or zero), the number of allocations so far, whether an
 * allocation was spared, and the callers of the allocation that was to fail.
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
 * Allocations that hiredis 0.14 does not check, or aborts at, so that no caller
 * can help: a new output buffer, the copy of a path, the tables of an
 * asynchronous context, and the iterators over these tables when the context is
 * freed.  The names are those of the allocating function or of its caller: the
 * iterators are allocated in a static function, which has no name.
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

    /* the function's first call allocates */

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

    /* the innermost callers are of this file */

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
