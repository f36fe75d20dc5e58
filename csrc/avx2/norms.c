/* Batch norm and pooling with AVX2. */
#include "lanes.h"

#ifdef BL_X86_64

#include "../norms.h"
#include "../norm_gradients.h"
#include "../pooling.h"

#endif
