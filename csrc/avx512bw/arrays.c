/* Passes over whole arrays with AVX-512. */
#include "lanes.h"

#ifdef BL_X86_64

#include "../arrays.h"

#endif
