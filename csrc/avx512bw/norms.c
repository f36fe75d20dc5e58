/* Batch norm, what becomes of its sums, and pooling with AVX-512. */
#include "lanes.h"

#ifdef BL_X86_64

#include "../channels.h"
#include "../norms.h"
#include "../norm_gradients.h"
#include "../pooling.h"

#endif
