/* Passes over whole arrays with AVX2. */
#include "lanes.h"

#ifdef BL_X86_64

#include "../arrays.h"

#endif
