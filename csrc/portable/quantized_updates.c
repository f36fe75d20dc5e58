/* Updates of parameters that are kept in a few bits, for the baseline of the processor. */
#include "portable.h"

#include "../quantized_updates.h"

#define BASELINE
BL_DEFINE_QUANTIZED_UPDATE_KERNELS(portable, BASELINE)
