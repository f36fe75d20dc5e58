#include "scratch.h"

#if defined(__unix__) || defined(__APPLE__)

#include <pthread.h>
#include <stdlib.h>

static _Thread_local void *room;
static _Thread_local size_t room_bytes;

static pthread_key_t at_end;
static int has_key;

static void release(void *held)
{
    free(held);
    room = NULL;
    room_bytes = 0;
}

static void make_key(void) { has_key = pthread_key_create(&at_end, release) == 0; }

/* A library that is unloaded leaves no function behind to be called. */
__attribute__((destructor)) static void forget_key(void)
{
    if (has_key)
        pthread_key_delete(at_end);
    has_key = 0;
}

void *bl_scratch(size_t bytes)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (bytes <= room_bytes)
        return room;
    pthread_once(&once, make_key);
    void *wider = has_key ? aligned_alloc(64, (bytes + 63) / 64 * 64) : NULL;
    if (!wider || pthread_setspecific(at_end, wider) != 0) {
        free(wider);
        return NULL;
    }
    free(room);
    room = wider;
    room_bytes = bytes;
    return room;
}

#else

void *bl_scratch(size_t bytes)
{
    (void)bytes;
    return NULL;
}

#endif
