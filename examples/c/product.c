/* The dot products of rows of signs, by the best variant of this processor and the form of its operand that it likes best.

   cc product.c $(pkg-config --cflags --libs bitlearn) -o product */
#include <bitlearn.h>
#include <stdio.h>
#include <stdlib.h>

enum { M = 20, K = 30, N = 100, WORDS = (N + 63) / 64 };

int main(void)
{
    static float a[M * N], b[K * N];
    static uint64_t packed_a[M * WORDS], packed_b[K * WORDS], panels[((K + 7) / 8 * 8) * WORDS];
    static int32_t out[M * K];
    const float zero = 0;
    const int variant = bl_best_variant();
    for (int i = 0; i < M * N; i++)
        a[i] = (float)(rand() % 201 - 100);
    for (int i = 0; i < K * N; i++)
        b[i] = (float)(rand() % 201 - 100);
    bl_pack(variant, a, BL_FLOAT32, 1, M, N, sizeof a, N * sizeof *a, sizeof *a, &zero, 0, packed_a);
    bl_pack(variant, b, BL_FLOAT32, 1, K, N, sizeof b, N * sizeof *b, sizeof *b, &zero, 0, packed_b);

    /* Panels pay for many rows; recoded ones are for an operand that is used again and again. */
    if (bl_product_form(variant, "xnor_matmul", M, K, WORDS, N, 1) == BL_AS_WORDS) {
        bl_xnor_matmul(variant, packed_a, packed_b, 0, NULL, M, K, WORDS, N, 0, NULL, out, BL_INT32, NULL);
    } else {
        bl_pack_panels(variant, packed_b, K, WORDS, panels);
        bl_xnor_matmul(variant, packed_a, panels, 1, NULL, M, K, WORDS, N, 0, NULL, out, BL_INT32, NULL);
    }

    for (int i = 0; i < M; i++)
        for (int j = 0; j < K; j++) {
            int dot = 0;
            for (int t = 0; t < N; t++)
                dot += (a[i * N + t] >= 0) == (b[j * N + t] >= 0) ? 1 : -1;
            if (dot != out[i * K + j])
                return 1;
        }
    printf("%d products by %s, bitlearn %s\n", M * K, variant == BL_CHOICE ? "choice" : bl_variant_name(variant),
           BITLEARN_VERSION);
    return 0;
}
