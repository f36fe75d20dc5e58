/* Batch norm, what becomes of its sums, and pooling for any processor. */
#include "lanes.h"

#include "../channels.h"
#include "../norms.h"
#include "../norm_gradients.h"
#include "../pooling.h"
