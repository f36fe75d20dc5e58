/* The contract as the C files include it: what it declares is for others to call, in a library that hides all else. */
#ifndef BL_CONTRACT_H
#define BL_CONTRACT_H

#include "common.h"

#if defined(__GNUC__) && !defined(_WIN32)
#pragma GCC visibility push(default)
#endif
#include "kernels.h"
#include "norm_steps.h"
#include "steps.h"
#include "program.h"
#if defined(__GNUC__) && !defined(_WIN32)
#pragma GCC visibility pop
#endif

#endif
