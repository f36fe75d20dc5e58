/* A program that calls one kernel: no other is to be linked. */
#include <bitlearn.h>

int main(void)
{
    const uint64_t words[2] = {7, 1};
    int64_t count[1];
    bl_popcount(bl_best_variant(), words, 1, 1, 2, 16, 16, 8, count);
    return count[0] != 4;
}
