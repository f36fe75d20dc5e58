/* Scratch that is more than a thread may have of stack: a block of the heap a thread, allocated by its first kernel that
   wants one, and freed with the thread. A kernel has all of it while it runs. */
#ifndef BL_SCRATCH_H
#define BL_SCRATCH_H

#include "contract.h"

/* At least so many bytes, aligned to 64, whose contents are those of whatever ran before; NULL where there is no room: the
   caller does without. What it returned before is not valid any more. */
void *bl_scratch(size_t bytes);

#endif
