/* Which products run on tiles: X(kernel, type of the left operand, m, k, n, work), those of at least m rows, k columns,
   n terms and work multiply-adds; the sizes are those that the public functions name. `make tune` writes this file.

   Derived, not measured: no processor with tiles has run these kernels yet. The rates that were measured on one (4
   GHz, 2 MiB of second cache, registers alone or a prototype): tiles make about 2 T multiply-adds a second in a whole
   product, bits are compared and counted at about 1.2 T, vpdpbusd makes 0.48 T, and 64 bits become a line of bytes in
   the cache in about 7 cycles. Bits on both sides: a column's bytes serve all rows of a block, and 7 cycles a line
   are the 1/1.2 - 1/2 of about 80 rows; the same holds for the columns that a row's bytes serve; results are stored
   once a depth, which has to be longer than a few tiles; and the prototype tied at 256 cubed. Gradients: either way
   expands the bits alone, and tiles are four times as fast, so two tiles of rows and of terms are enough; of 16 bits
   they make two products for the one of half the rate. The work keeps loading the configuration of the tiles, and a
   call's edges, below a few percent. */
#ifndef BL_RULES_H
#define BL_RULES_H

#define BL_TILE_RULES(X)                                                                                               \
    X(xnor_matmul, UINT64, 96, 128, 512, 67108864)                                                                     \
    X(xnor_conv2d, UINT64, 96, 128, 512, 67108864)                                                                     \
    X(grad_input, INT8, 32, 32, 64, 4194304)                                                                           \
    X(grad_input, INT16, 64, 64, 64, 8388608)                                                                          \
    X(grad_weight, INT8, 32, 32, 64, 4194304)                                                                          \
    X(grad_weight, INT16, 64, 64, 64, 8388608)                                                                         \
    X(grad_weight_sign, INT8, 32, 32, 64, 4194304)                                                                     \
    X(grad_weight_sign, INT16, 64, 64, 64, 8388608)                                                                    \
    X(conv2d_grad_input, INT8, 32, 32, 64, 4194304)                                                                    \
    X(conv2d_grad_input, INT16, 64, 64, 64, 8388608)                                                                   \
    X(conv2d_grad_weight, INT8, 32, 32, 64, 4194304)                                                                   \
    X(conv2d_grad_weight, INT16, 64, 64, 64, 8388608)                                                                  \
    X(conv2d_grad_weight_sign, INT8, 32, 32, 64, 4194304)                                                              \
    X(conv2d_grad_weight_sign, INT16, 64, 64, 64, 8388608)                                                             \
    X(codes_grad_weight, INT8, 32, 32, 64, 4194304)                                                                    \
    X(codes_grad_weight, INT16, 64, 64, 64, 8388608)

#endif
