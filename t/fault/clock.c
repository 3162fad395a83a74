
/*
 * A preload library that shifts the clock of a running nginx, by the seconds in
 * a file that the test writes and all processes have mapped.  nginx asks
 * for the time of day in no other way, and measures with the monotonic clock.
 */

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>


static int64_t  *clock_offset;


static void __attribute__((constructor))
clock_init(void)
{
    int          fd;
    const char  *name;

    name = getenv("BILLING_CLOCK");
    if (name == NULL) {
        return;
    }

    fd = open(name, O_RDONLY);
    if (fd == -1) {
        abort();
    }

    clock_offset = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
    if (clock_offset == MAP_FAILED) {
        abort();
    }

    (void) close(fd);
}


int
gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
    struct timespec  ts;

    (void) tz;

    if (clock_gettime(CLOCK_REALTIME, &ts) == -1) {
        return -1;
    }

    tv->tv_sec = ts.tv_sec + (clock_offset ? *clock_offset : 0);
    tv->tv_usec = ts.tv_nsec / 1000;

    return 0;
}
