/* Passes over whole arrays for any processor. */
#include "lanes.h"

#include "../arrays.h"
