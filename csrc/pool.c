/* The threads behind bl_over_parts. One program has them at a time, and they do one call of it at a time. Its parts are
   claimed one by one from a single word that holds the call's number, how many parts it has and the next one; before, a
   thread takes one of the call's seats, from a word with that number too. So a thread that comes late finds either a
   part of the call that is going on, or nothing, and a call has no more threads than it wants. What a call is stays as
   it is until all its parts have ended.

   Nothing of this is known to Python: an exception of a signal's handler finds a call that has not begun or has ended. */
#define _POSIX_C_SOURCE 200809L /* before any header: threads, signal masks */
#include "pool.h"


#if defined(__unix__) || defined(__APPLE__)

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>
#if defined(__linux__)
#include <sys/prctl.h>
#endif

#define MOST_PARTS 1024
#define MOST_HELPERS 255
/* Kernels use up to a quarter of a megabyte, half of what macOS gives a thread, and twice what musl does. Memory is
   taken as it is touched. */
#define STACK_BYTES ((size_t)4 << 20)
/* How long a thread looks for work before it sleeps, in nanoseconds: the time between two calls of a training step that
   are cut. A look takes a few nanoseconds on one processor and fifty on another, so the clock is asked too, every so many
   looks. */
#define LOOKS_FOR 100000
#define LOOKS_BEFORE_CLOCK 64
/* How often the caller looks whether the others have ended before it lets another thread run in its place. */
#define LOOKS_BEFORE_YIELD 1000

static struct {
    pthread_mutex_t calls; /* held by the program that has the threads */
    pthread_mutex_t sleep;
    pthread_cond_t wake;
    pthread_t helpers[MOST_HELPERS];
    int started, asleep, ended, threads;
    int callers;    /* programs that are running and want more than one thread */
    int stopping;   /* the threads are to end */
    uint64_t work;  /* number of the call << 32 | its parts << 16 | the next part */
    uint64_t seats; /* number of the call << 32 | seats that are free */
    intptr_t count;
    bl_part *part;
    const void *call;
} pool = {.calls = PTHREAD_MUTEX_INITIALIZER, .sleep = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static int parts_of(uint64_t work) { return (int)(work >> 16 & 0xffff); }
static int next_of(uint64_t work) { return (int)(work & 0xffff); }
static uint64_t work_now(void) { return __atomic_load_n(&pool.work, __ATOMIC_SEQ_CST); }
static uint64_t seats_now(void) { return __atomic_load_n(&pool.seats, __ATOMIC_SEQ_CST); }
static int to_do(uint64_t work) { return next_of(work) < parts_of(work); }
static int is_free(uint64_t seats, uint64_t work) { return seats >> 32 == work >> 32 && (uint32_t)seats > 0; }

/* Whether there is a part for one more thread. */
static int wanted(void)
{
    const uint64_t work = work_now();
    return to_do(work) && is_free(seats_now(), work);
}

static void pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Run parts of the call of that number, as its thread number `thread`, until none is left to claim. */
static void run_parts(uint64_t number, int thread)
{
    for (;;) {
        uint64_t work = work_now();
        if (work >> 32 != number || !to_do(work))
            return;
        if (!__atomic_compare_exchange_n(&pool.work, &work, work + 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            continue;
        const intptr_t parts = parts_of(work), i = next_of(work);
        pool.part(pool.call, thread, pool.count * i / parts, pool.count * (i + 1) / parts);
        __atomic_add_fetch(&pool.ended, 1, __ATOMIC_RELEASE);
    }
}

/* Take a seat of the call that is going on, and run parts of it. */
static void join(void)
{
    const uint64_t work = work_now();
    uint64_t seats = seats_now();
    while (is_free(seats, work))
        if (__atomic_compare_exchange_n(&pool.seats, &seats, seats - 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
            /* The seats fall from threads - 1: the first taker is thread 1. Where the call has ended meanwhile, the
               number is another one, and nothing is run. */
            run_parts(work >> 32, __atomic_load_n(&pool.threads, __ATOMIC_RELAXED) - (int)(uint32_t)seats);
            return;
        }
}

static int64_t nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Look for work for a while, and say whether there is some. */
static int look(void)
{
    const int64_t end = nanoseconds() + LOOKS_FOR;
    do
        for (int i = 0; i < LOOKS_BEFORE_CLOCK; i++) {
            if (wanted())
                return 1;
            pause_briefly();
        }
    while (nanoseconds() < end);
    return 0;
}

static int stopping(void) { return __atomic_load_n(&pool.stopping, __ATOMIC_SEQ_CST); }

static void *help(void *unused)
{
#if defined(__linux__)
    prctl(PR_SET_NAME, "bitlearn");
#endif
    while (!stopping()) {
        if (!look()) {
            pthread_mutex_lock(&pool.sleep);
            __atomic_add_fetch(&pool.asleep, 1, __ATOMIC_SEQ_CST);
            if (!wanted() && !stopping())
                pthread_cond_wait(&pool.wake, &pool.sleep);
            __atomic_sub_fetch(&pool.asleep, 1, __ATOMIC_SEQ_CST);
            pthread_mutex_unlock(&pool.sleep);
        }
        join();
    }
    return unused;
}

/* A forked child has none of the threads, and locks that nobody may hold. */
static void forget(void)
{
    pthread_mutex_init(&pool.calls, NULL);
    pthread_mutex_init(&pool.sleep, NULL);
    pthread_cond_init(&pool.wake, NULL);
    pool.started = pool.asleep = pool.ended = pool.callers = pool.stopping = 0;
    pool.work = pool.seats = 0;
}

/* Block the signals that are for the program's own threads. Those of an instruction that fails come to the thread that
   runs it: where they are blocked, the process ends before any handler can say why. */
static void block_signals(sigset_t *before)
{
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    sigset_t others;
    sigfillset(&others);
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        sigdelset(&others, own[i]);
    pthread_sigmask(SIG_SETMASK, &others, before);
}

/* Start threads until there are so many, or no more are to be had: the call's parts are then run by fewer. */
static void start(int threads)
{
    static int watched;
    if (!watched)
        watched = pthread_atfork(NULL, NULL, forget) == 0;
    pthread_attr_t attributes;
    if (!watched || pthread_attr_init(&attributes) != 0)
        return;
    sigset_t before;
    block_signals(&before);
    if (pthread_attr_setstacksize(&attributes, STACK_BYTES) == 0)
        while (pool.started < threads && pthread_create(&pool.helpers[pool.started], &attributes, help, NULL) == 0)
            pool.started++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
}

/* Have so many others look for work: those that do not sleep do so at least once more. */
static void wake(int others)
{
    const int asleep = __atomic_load_n(&pool.asleep, __ATOMIC_SEQ_CST);
    int missing = (int)bl_min(others - (pool.started - asleep), asleep);
    if (missing <= 0)
        return;
    pthread_mutex_lock(&pool.sleep);
    while (missing-- > 0)
        pthread_cond_signal(&pool.wake);
    pthread_mutex_unlock(&pool.sleep);
}

int bl_take_threads(int threads, int processors, int ahead)
{
    const int others = __atomic_fetch_add(&pool.callers, 1, __ATOMIC_SEQ_CST);
    threads = (int)bl_min(bl_min(threads, processors - others), MOST_HELPERS + 1);
    if (threads <= 1 || pthread_mutex_trylock(&pool.calls) != 0)
        return 1;
    if (pool.started < threads - 1)
        start(threads - 1);
    if (ahead)
        wake(threads - 1);
    return threads;
}

void bl_give_threads(int taken)
{
    if (taken > 1)
        pthread_mutex_unlock(&pool.calls);
    __atomic_sub_fetch(&pool.callers, 1, __ATOMIC_SEQ_CST);
}

int bl_threads_started(void)
{
    pthread_mutex_lock(&pool.calls);
    const int started = pool.started;
    pthread_mutex_unlock(&pool.calls);
    return started;
}

void bl_stop_threads(void)
{
    pthread_mutex_lock(&pool.calls);
    pthread_mutex_lock(&pool.sleep);
    __atomic_store_n(&pool.stopping, 1, __ATOMIC_SEQ_CST);
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.sleep);
    while (pool.started > 0)
        pthread_join(pool.helpers[--pool.started], NULL);
    __atomic_store_n(&pool.stopping, 0, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&pool.calls);
}

/* A library that is unloaded ends its threads before their code goes. Where a program is running nobody waits for it: the
   process is ending. */
#if defined(__GNUC__)
__attribute__((destructor)) static void unload(void)
{
    if (pthread_mutex_trylock(&pool.calls) != 0)
        return;
    pthread_mutex_unlock(&pool.calls);
    bl_stop_threads();
}
#endif

void bl_over_parts(int threads, intptr_t parts, intptr_t count, bl_part *part, const void *call)
{
    parts = bl_max(1, bl_min(bl_min(parts, MOST_PARTS), count));
    threads = (int)bl_min(threads, parts);
    if (threads == 1) {
        part(call, 0, 0, count);
        return;
    }
    __atomic_store_n(&pool.threads, threads, __ATOMIC_RELAXED);
    pool.count = count;
    pool.part = part;
    pool.call = call;
    __atomic_store_n(&pool.ended, 0, __ATOMIC_RELAXED);
    const uint64_t number = ((work_now() >> 32) + 1) & 0xffffffff;
    __atomic_store_n(&pool.seats, number << 32 | (uint64_t)(threads - 1), __ATOMIC_SEQ_CST);
    __atomic_store_n(&pool.work, number << 32 | (uint64_t)parts << 16, __ATOMIC_SEQ_CST);
    wake(threads - 1);
    run_parts(number, 0);
    for (int i = 1; __atomic_load_n(&pool.ended, __ATOMIC_ACQUIRE) < parts; i++)
        if (i % LOOKS_BEFORE_YIELD)
            pause_briefly();
        else
            sched_yield();
}

int bl_has_threads(void) { return 1; }

#else

int bl_take_threads(int threads, int processors, int ahead)
{
    (void)threads;
    (void)processors;
    (void)ahead;
    return 1;
}

void bl_give_threads(int taken) { (void)taken; }

int bl_threads_started(void) { return 0; }

void bl_stop_threads(void) {}

void bl_over_parts(int threads, intptr_t parts, intptr_t count, bl_part *part, const void *call)
{
    (void)threads;
    (void)parts;
    part(call, 0, 0, count);
}

int bl_has_threads(void) { return 0; }

#endif
