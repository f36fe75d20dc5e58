/* Loaded before the C library (LD_PRELOAD): has its functions fail when it is told to, by campaign.faults. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/types.h>

/* What fails: 0 nothing, 1 allocations of at least `least` bytes, 2 writes and what makes them last. Call number `after`
   from now, counted from 0, fails, and so do the next ones where `stays`. */
static atomic_int kind, stays;
static atomic_long after, seen;
static size_t least;

void campaign_arm(int new_kind, long new_after, size_t new_least, int new_stays)
{
    atomic_store(&kind, 0);
    atomic_store(&after, new_after);
    atomic_store(&seen, 0);
    atomic_store(&stays, new_stays);
    least = new_least;
    atomic_store(&kind, new_kind);
}

/* How many calls there were since. */
long campaign_seen(void) { return atomic_load(&seen); }

static int fails(int of_kind, size_t size)
{
    if (atomic_load_explicit(&kind, memory_order_relaxed) != of_kind || size < least)
        return 0;
    const long number = atomic_fetch_add(&seen, 1), wanted = atomic_load(&after);
    if (number != wanted && !(number > wanted && atomic_load(&stays)))
        return 0;
    errno = of_kind == 1 ? ENOMEM : ENOSPC;
    return 1;
}

/* The C library's own functions, under the names that do not pass through here. */
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

void *malloc(size_t size) { return fails(1, size) ? NULL : __libc_malloc(size); }
void *calloc(size_t count, size_t size) { return fails(1, count * size) ? NULL : __libc_calloc(count, size); }
void *realloc(void *old, size_t size) { return fails(1, size) ? NULL : __libc_realloc(old, size); }
void *aligned_alloc(size_t boundary, size_t size) { return fails(1, size) ? NULL : __libc_memalign(boundary, size); }

int posix_memalign(void **found, size_t boundary, size_t size)
{
    if (fails(1, size) || !(*found = __libc_memalign(boundary, size)))
        return ENOMEM;
    return 0;
}

#define NEXT(name, type) ((type)dlsym(RTLD_NEXT, name))

ssize_t write(int file, const void *from, size_t size)
{
    return file > 2 && fails(2, 0) ? -1 : NEXT("write", ssize_t(*)(int, const void *, size_t))(file, from, size);
}

int fsync(int file) { return fails(2, 0) ? -1 : NEXT("fsync", int (*)(int))(file); }

int rename(const char *from, const char *to)
{
    return fails(2, 0) ? -1 : NEXT("rename", int (*)(const char *, const char *))(from, to);
}
