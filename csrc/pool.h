/* Ranges of a kernel's rows over a few threads of our own: a waiting thread takes up work within a microsecond, where one
   of Python's takes forty, as it has to be given the interpreter's lock first. */
#ifndef BL_POOL_H
#define BL_POOL_H

#include "common.h"

/* Rows [start, stop) of a call, on its thread number `thread`. */
typedef void bl_part(const void *call, int thread, intptr_t start, intptr_t stop);

/* Cut range(count) into `parts` contiguous parts (fewer where there are fewer rows) and run them on this thread, number
   0, and at most threads - 1 others; all have ended when it returns. Where another call has the threads, or there are
   none, this thread runs all parts. */
void bl_over_parts(int threads, intptr_t parts, intptr_t count, bl_part *part, const void *call);

#endif
