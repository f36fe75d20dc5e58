// The nearest rows by Hamming distance, from C++.
//
// c++ -std=c++11 nearest.cpp $(pkg-config --cflags --libs bitlearn) -o nearest
#include <bitlearn.h>

#include <algorithm>
#include <iostream>
#include <random>
#include <vector>

int main()
{
    const int queries = 3, rows = 1000, n = 256, words = n / 64, variant = bl_best_variant();
    std::mt19937_64 random(1);
    std::vector<uint64_t> base(rows * words), query(queries * words);
    std::generate(base.begin(), base.end(), std::ref(random));
    for (int i = 0; i < queries; i++) // row 7 i, with a bit changed
        std::copy_n(base.begin() + 7 * i * words, words, query.begin() + i * words);
    for (int i = 0; i < queries; i++)
        query[i * words] ^= 1;

    std::vector<int32_t> distances(queries * rows);
    bl_xnor_matmul(variant, query.data(), base.data(), 0, nullptr, queries, rows, words, n, 1, nullptr, distances.data(),
                   BL_INT32, nullptr);
    for (int i = 0; i < queries; i++) {
        auto first = distances.begin() + i * rows;
        auto least = std::min_element(first, first + rows);
        std::cout << "row " << least - first << " at distance " << *least << "\n";
        if (least - first != 7 * i || *least != 1)
            return 1;
    }
}
