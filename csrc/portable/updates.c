/* Updates of parameters for the baseline of the processor. */
#include "portable.h"

#include "../updates.h"

#define BASELINE
BL_DEFINE_UPDATE_KERNELS(portable, BASELINE)
