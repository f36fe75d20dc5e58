/* Batch norm and pooling for any processor. */
#include "lanes.h"

#include "../norms.h"
#include "../norm_gradients.h"
#include "../pooling.h"
