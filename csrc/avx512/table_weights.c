/* The gradient of the weights on tables. */
#include "table_products.h"

#ifdef BL_X86_64

/* The most output channels and output positions that are taken at a time. */
#define BLOCK_ROWS 128
#define CHUNK_TERMS 468
#define TERMS_STRIDE 576

typedef struct {
    const bl_table_type *type;
    const bl_conv2d *shape;
    /* Words of this chunk of columns, from `word` on; this chunk's positions, and the groups that they are. */
    intptr_t taps, word, words, from, terms, groups;
    /* Groups and terms summed so far, and the rows of the block. */
    intptr_t summed_groups, summed_terms, rows;
    /* Bytes of a value: its planes. */
    int bytes;
    int32_t totals[2][MOST_TAPS][BLOCK_ROWS];
    _Alignas(64) int8_t g[2][BLOCK_ROWS * TERMS_STRIDE];
    _Alignas(64) char index[INDEX_BYTES];
    _Alignas(64) char tables[4 * (CHUNK_TERMS / 6 + 8) * 64];
    /* Two planes that share what one has are 7 % slower: fewer rows look an index up. */
    _Alignas(64) char sums[2][SUMS_BYTES];
    _Alignas(64) char spare[256];
    uint64_t bits[CHUNK_TERMS + 32];
} weight_product;

_Static_assert(sizeof(weight_product) <= BL_TABLES_SCRATCH, "as much as kernels.h says");

/* The bytes of a plane of up to 64 values. */
BL_TARGET_TABLES BL_INLINE __m512i load_plane(int bytes, int plane, const char *g, __mmask64 in)
{
    if (bytes == 1)
        return _mm512_maskz_loadu_epi8(in, g);
    __m512i first = _mm512_maskz_loadu_epi16((__mmask32)in, g);
    __m512i second = _mm512_maskz_loadu_epi16((__mmask32)(in >> 32), g + 64);
    if (plane == 0) {
        first = _mm512_srli_epi16(first, 8);
        second = _mm512_srli_epi16(second, 8);
    }
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi16_epi8(first)), _mm512_cvtepi16_epi8(second), 1);
}

/* The terms of 64 channels, `stride` bytes from one term to the next, as rows of a plane; 16 at a time. `in` masks the
   channels. */
BL_TARGET_TABLES static void transpose_terms(int bytes, int plane, const char *g, intptr_t terms, intptr_t stride,
                                             __mmask64 in, int8_t *out)
{
    for (intptr_t t = 0; t < terms; t += 16) {
        __m512i a[16], b[16];
        for (int i = 0; i < 16; i++)
            a[i] = t + i < terms ? load_plane(bytes, plane, g + (t + i) * stride, in) : _mm512_setzero_si512();
        /* Four times the halves are interleaved: then a vector has the 16 terms of a channel in each of its four parts. */
        for (int i = 0; i < 8; i++) {
            b[2 * i] = _mm512_unpacklo_epi8(a[i], a[i + 8]);
            b[2 * i + 1] = _mm512_unpackhi_epi8(a[i], a[i + 8]);
        }
        for (int i = 0; i < 8; i++) {
            a[2 * i] = _mm512_unpacklo_epi8(b[i], b[i + 8]);
            a[2 * i + 1] = _mm512_unpackhi_epi8(b[i], b[i + 8]);
        }
        for (int i = 0; i < 8; i++) {
            b[2 * i] = _mm512_unpacklo_epi8(a[i], a[i + 8]);
            b[2 * i + 1] = _mm512_unpackhi_epi8(a[i], a[i + 8]);
        }
        for (int i = 0; i < 8; i++) {
            a[2 * i] = _mm512_unpacklo_epi8(b[i], b[i + 8]);
            a[2 * i + 1] = _mm512_unpackhi_epi8(b[i], b[i + 8]);
        }
        for (int c = 0; c < 16; c++) {
            int8_t *to = out + c * TERMS_STRIDE + t;
            _mm_store_si128((__m128i *)(void *)to, _mm512_castsi512_si128(a[c]));
            _mm_store_si128((__m128i *)(void *)(to + 16 * TERMS_STRIDE), _mm512_extracti32x4_epi32(a[c], 1));
            _mm_store_si128((__m128i *)(void *)(to + 32 * TERMS_STRIDE), _mm512_extracti32x4_epi32(a[c], 2));
            _mm_store_si128((__m128i *)(void *)(to + 48 * TERMS_STRIDE), _mm512_extracti32x4_epi32(a[c], 3));
        }
    }
}

/* Less the gradients at g in the totals of a tap. */
BL_TARGET_TABLES static void leave_out(weight_product *p, const char *g, intptr_t tap)
{
    int32_t *first = p->totals[0][tap], *second = p->totals[1][tap];
    if (p->bytes == 1) {
        for (intptr_t r = 0; r < p->rows; r++)
            first[r] -= ((const int8_t *)g)[r];
        return;
    }
    for (intptr_t r = 0; r < p->rows; r++) {
        const int16_t value = ((const int16_t *)(const void *)g)[r];
        first[r] -= value >> 8;
        second[r] -= value & 255;
    }
}

/* What the positions of a chunk see through a tap: words of x, NULL outside; and less their gradients there in the totals,
   where padding counts nothing. */
BL_TARGET_TABLES static void look_through(weight_product *p, const char *g, const uint64_t *x, intptr_t tap,
                                          const uint64_t *seen[CHUNK_TERMS])
{
    const bl_conv2d *shape = p->shape;
    const intptr_t i = tap / shape->kernel_width - shape->padding_top;
    const intptr_t j = tap % shape->kernel_width - shape->padding_left;
    const intptr_t line = p->from / shape->out_width;
    intptr_t column = p->from % shape->out_width, row = line % shape->out_height, image = line / shape->out_height;
    for (intptr_t t = 0; t < p->terms; row++, column = 0) {
        if (row == shape->out_height) {
            row = 0;
            image++;
        }
        const intptr_t y = row * shape->stride_height + i, inside = y >= 0 && y < shape->height;
        const uint64_t *pixels = x + ((image * shape->height + y) * shape->width + j) * shape->words;
        for (; column < shape->out_width && t < p->terms; column++, t++) {
            const intptr_t at = column * shape->stride_width;
            if (inside && at + j >= 0 && at + j < shape->width) {
                seen[t] = pixels + at * shape->words;
                continue;
            }
            seen[t] = NULL;
            if (!shape->pad_value)
                leave_out(p, g + t * shape->out_channels * p->bytes, tap);
        }
    }
}

BL_TARGET_TABLES static void index_positions(weight_product *p, const char *g, const uint64_t *x)
{
    const uint64_t pad = p->shape->pad_value > 0 ? ~UINT64_C(0) : 0;
    const uint64_t *seen[CHUNK_TERMS];
    for (intptr_t tap = 0; tap < p->taps; tap++) {
        look_through(p, g, x + p->word, tap, seen);
        for (intptr_t word = 0; word < p->words; word++) {
            for (intptr_t t = 0; t < p->terms; t++)
                p->bits[t] = seen[t] ? seen[t][word] : pad;
            make_index(p->type, p->bits, p->terms, tap * p->words + word, p->index);
        }
    }
}

/* Add the products of a plane of a chunk to its sums. */
static void add_plane(weight_product *p, int plane)
{
    const bl_table_type *type = tables_of_plane(p->type, plane);
    const intptr_t all = p->taps * p->words, bytes = type->sum_bytes;
    for (intptr_t row = 0; row < p->rows; row += type->rows) {
        const int8_t *rows[BL_TABLE_ROWS];
        int32_t totals[BL_TABLE_ROWS];
        for (intptr_t r = 0; r < type->rows; r++)
            rows[r] = row + r < p->rows ? p->g[plane] + (row + r) * TERMS_STRIDE : zeros;
        type->tables(rows, p->terms, p->tables, totals);
        for (intptr_t tap = 0; tap < p->taps; tap++)
            for (intptr_t r = 0; r < type->rows && row + r < p->rows; r++)
                p->totals[plane][tap][row + r] += totals[r] + 2 * type->offset * (int32_t)p->groups;
        for (intptr_t v = 0; v < all; v += BL_TABLE_WORDS) {
            char *sums[BL_TABLE_WORDS * BL_TABLE_ROWS];
            for (intptr_t r = 0; r < type->rows; r++)
                for (intptr_t h = 0; h < BL_TABLE_WORDS; h++)
                    sums[BL_TABLE_WORDS * r + h] = row + r < p->rows && v + h < all
                                                       ? p->sums[plane] + ((row + r) * all + v + h) * bytes
                                                       : p->spare;
            type->tile(p->tables, p->groups, p->index + v * p->groups * type->index_bytes, sums, p->summed_terms > 0);
        }
    }
}

/* Add the products of a chunk to the sums. */
static void add_chunk(weight_product *p, const char *g, const uint64_t *x)
{
    const intptr_t stride = p->shape->out_channels * p->bytes;
    g += p->from * stride;
    index_positions(p, g, x);
    for (int plane = 0; plane < p->bytes; plane++) {
        for (intptr_t row = 0; row < p->rows; row += 64)
            transpose_terms(p->bytes, plane, g + row * p->bytes, p->terms, stride,
                            ~UINT64_C(0) >> (64 - bl_min(64, p->rows - row)), p->g[plane] + row * TERMS_STRIDE);
        add_plane(p, plane);
    }
    p->summed_terms += p->terms;
    p->summed_groups += p->groups;
}

/* Hand on the sums of the block whose first row is `first`. */
static void finish_block(weight_product *p, bl_gradient_result *result, intptr_t first)
{
    for (intptr_t r = 0; r < p->rows; r++)
        for (intptr_t tap = 0; tap < p->taps; tap++) {
            const intptr_t at = (r * p->taps + tap) * p->words * p->type->sum_bytes, row = (first + r) * p->taps + tap;
            const int32_t totals[2] = {p->totals[0][tap][r], p->totals[1][tap][r]};
            if (p->bytes == 2)
                finish_planes(result, row, p->word, p->words, p->sums[0] + at, p->sums[1] + at, totals);
            else
                finish_row(p->type, result, row, p->word, p->words, p->sums[0] + at, totals[0]);
        }
    if (result->kind == BL_STORE)
        result->kind = BL_ADD;
    p->summed_terms = p->summed_groups = 0;
    memset(p->totals, 0, sizeof p->totals);
}

static int multiply_weight(const char *g, int g_type, const uint64_t *x, const bl_conv2d *shape, intptr_t first,
                           intptr_t k, const bl_gradient_result *result)
{
    const intptr_t taps = shape->kernel_height * shape->kernel_width;
    const intptr_t positions = shape->batch * shape->out_height * shape->out_width, channels = shape->out_channels;
    const int bytes = bytes_of(g_type);
    if (!bytes || !is_large(bytes, taps, k, positions, shape->n))
        return 0;
    /* Only bits are made of sums past int32. */
    if (bytes == 2 && result->kind != BL_COMPARE && !fits_int32(positions))
        return 0;
    weight_product *p = bl_scratch(sizeof *p);
    if (!p)
        return 0;
    p->bytes = bytes;
    p->type = tables_for(g + first * bytes, bytes, positions, k, channels);
    /* Sums that are only compared are not handed on before they are whole. */
    if (result->kind == BL_COMPARE) {
        if (largest_sum(p->type, positions / 6 + positions / CHUNK_TERMS + 3, positions) > p->type->largest)
            p->type = &bl_tables_of_8;
        if (largest_sum(tables_of_plane(p->type, bytes - 1), 0, positions) > INT32_MAX)
            return 0;
    }
    const bl_table_type *type = p->type, *last = tables_of_plane(type, bytes - 1);
    const intptr_t most = bl_min(CHUNK_TERMS, type->most), groups = bl_table_groups(type, most);
    intptr_t words = (INDEX_BYTES / (groups * type->index_bytes) - 1) / taps;
    if (taps > MOST_TAPS || words < 1)
        return 0;
    words = bl_min(words > 1 ? words / BL_TABLE_WORDS * BL_TABLE_WORDS : 1, shape->words);
    const intptr_t fit = bl_min(BLOCK_ROWS, SUMS_BYTES / (taps * words * type->sum_bytes));
    const intptr_t rows = fit / type->rows * type->rows;
    p->shape = shape;
    p->taps = taps;
    for (intptr_t o = 0; o < k; o += rows)
        for (p->word = 0; p->word < shape->words; p->word += words) {
            bl_gradient_result here = *result;
            p->rows = bl_min(rows, k - o);
            p->words = bl_min(words, shape->words - p->word);
            p->summed_terms = p->summed_groups = 0;
            memset(p->totals, 0, sizeof p->totals);
            for (p->from = 0; p->from < positions; p->from += p->terms) {
                p->terms = bl_min(most, positions - p->from);
                p->groups = bl_table_groups(type, p->terms);
                if (largest_sum(last, p->summed_groups + p->groups, p->summed_terms + p->terms) > type->largest)
                    finish_block(p, &here, o);
                add_chunk(p, g + (first + o) * bytes, x);
            }
            finish_block(p, &here, o);
        }
    return 1;
}

int bl_conv2d_grad_weight_tables(const void *g, int g_type, const uint64_t *x, const bl_conv2d *shape, intptr_t first,
                                 intptr_t k, int accumulate, void *out)
{
    const int kind = accumulate ? BL_ADD : BL_STORE;
    const bl_gradient_result result = {.kind = kind, .g_type = g_type, .out = out, .n = shape->n};
    return multiply_weight(g, g_type, x, shape, first, k, &result);
}

int bl_conv2d_grad_weight_sign_tables(const void *g, int g_type, const uint64_t *x, const bl_conv2d *shape,
                                      intptr_t first, intptr_t k, const void *threshold, const uint64_t *mask,
                                      uint64_t *out)
{
    const bl_gradient_result result = {.kind = BL_COMPARE,
                                       .g_type = g_type,
                                       .threshold = threshold,
                                       .rows_per_threshold = shape->kernel_height * shape->kernel_width,
                                       .mask = mask,
                                       .out = out,
                                       .n = shape->n};
    return multiply_weight(g, g_type, x, shape, first, k, &result);
}

int bl_grad_weight_tables(const void *g, int g_type, const uint64_t *x, intptr_t m, intptr_t channels, int64_t n,
                          intptr_t first, intptr_t k, int accumulate, void *out)
{
    const bl_conv2d shape = line_of(m, channels, n);
    return bl_conv2d_grad_weight_tables(g, g_type, x, &shape, first, k, accumulate, out);
}

int bl_grad_weight_sign_tables(const void *g, int g_type, const uint64_t *x, intptr_t m, intptr_t channels, int64_t n,
                               intptr_t first, intptr_t k, const void *threshold, const uint64_t *mask, uint64_t *out)
{
    const bl_conv2d shape = line_of(m, channels, n);
    return bl_conv2d_grad_weight_sign_tables(g, g_type, x, &shape, first, k, threshold, mask, out);
}

#endif
