/* Ranges of a kernel's rows over a few threads of our own: a waiting thread takes up work within a microsecond, where one
   of Python's takes forty, as it has to be given the interpreter's lock first. */
#ifndef BL_POOL_H
#define BL_POOL_H

#include "contract.h"

/* Rows [start, stop) of a call, on its thread number `thread`. */
typedef void bl_part(const void *call, int thread, intptr_t start, intptr_t stop);

/* Take the threads, for calls of bl_over_parts until bl_give_threads, which is told what this returned: how many there
   are at most, this one with them. 1 where it is alone, because others have them or all of the processors. With `ahead`
   those that are asleep are woken, so that they are there when the first call comes. */
int bl_take_threads(int threads, int processors, int ahead);
void bl_give_threads(int taken);

/* Cut range(count) into `parts` contiguous parts (fewer where there are fewer rows) and run them on this thread, number
   0, and at most threads - 1 others, of those that have been taken; all have ended when it returns. */
void bl_over_parts(int threads, intptr_t parts, intptr_t count, bl_part *part, const void *call);

#endif
