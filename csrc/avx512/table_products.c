/* Products of gradients with bits on tables: which of them, and the walk over the shapes.

   The tables of a row are made once and looked up by all columns; a convolution has columns for every tap. So the gradient of
   the input adds what a pixel of the gradient gives to the pixels around it, whose sums wait in a ring of lines until all
   taps have come. The gradient of the weights takes the terms of a chunk of pixels for each tap from the pixels that the tap
   sees there. */
#include "tables.h"

#ifdef BL_X86_64

/* Bytes of indices and of sums, which stay in the second-level cache, and pixels of a matrix that are a line. */
#define INDEX_BYTES (128 * 1024)
#define SUMS_BYTES (304 * 1024)
#define LINE_ROWS 48
/* Taps and pixels of a line that there is room for. */
#define MOST_TAPS 32
#define MOST_PIXELS 1024
#define MOST_TERMS 1536

#define TABLES_BYTES (4 * (MOST_TERMS / 6 + 8) * 64)

static const int8_t zeros[MOST_TERMS + 64];

/* --- Which tables ------------------------------------------------------------------------------------------------- */

/* Whether all values lie within -7 and 7. */
BL_TARGET_TABLES static int is_narrow(const int8_t *g, intptr_t rows, intptr_t count, intptr_t stride)
{
    if (count == stride) {
        count *= rows;
        rows = rows > 0;
    }
    for (intptr_t r = 0; r < rows; r++, g += stride)
        for (intptr_t at = 0; at < count; at += 4096) {
            __mmask64 wide = 0;
            for (intptr_t c = at; c < bl_min(count, at + 4096); c += 64) {
                const __mmask64 in = count - c >= 64 ? ~UINT64_C(0) : ~UINT64_C(0) >> (64 - (count - c));
                const __m512i value = _mm512_add_epi8(_mm512_maskz_loadu_epi8(in, g + c), _mm512_set1_epi8(7));
                wide |= _mm512_cmpgt_epu8_mask(value, _mm512_set1_epi8(14));
            }
            if (wide)
                return 0;
        }
    return 1;
}

/* What is worth tables, found by a sweep of shapes on Zen 4, where they are faster than the dot instruction from here on:
   columns of all taps that look a table up, terms, and multiply-adds. A matrix alone has more beside its products. */
static int is_large(intptr_t taps, intptr_t rows, intptr_t terms, int64_t n)
{
    const int64_t columns = n * taps;
    return rows >= 4 && terms >= (taps > 1 ? 16 : 32) && columns >= (taps > 1 ? 128 : 192) &&
           (double)rows * (double)terms * (double)columns >= 1 << 20;
}

/* The tables that the values of a gradient take. */
static const bl_table_type *tables_for(const int8_t *g, intptr_t positions, intptr_t channels, intptr_t stride)
{
    return is_narrow(g, positions, channels, stride) ? &bl_tables_of_4 : &bl_tables_of_8;
}

static int64_t largest_sum(const bl_table_type *type, intptr_t groups, intptr_t terms)
{
    return (int64_t)type->offset * groups + (int64_t)type->largest_term * terms;
}

/* Hand on the sums of a row of some words: for each a multiple of sum_bytes. */
static void finish_row(const bl_table_type *type, const bl_gradient_result *result, intptr_t row, intptr_t word,
                       intptr_t words, const char *sums, int32_t total)
{
    _Alignas(64) int32_t wide[BL_COLUMNS];
    for (intptr_t w = 0; w < words; w++, sums += type->sum_bytes) {
        if (type->widen)
            type->widen(sums, wide);
        bl_finish_int8_avx512(result, row, word + w, type->widen ? (const void *)wide : sums, 1, total, NULL);
    }
}

/* The index of number v of the words of columns of a product, from its bits of `terms` terms; there is room for 32 more. */
static void make_index(const bl_table_type *type, uint64_t *bits, intptr_t terms, intptr_t v, char *index)
{
    const intptr_t groups = bl_table_groups(type, terms), stride = BL_TABLE_WORDS * type->index_bytes;
    memset(bits + terms, 0, 32 * sizeof *bits);
    index += v / BL_TABLE_WORDS * groups * stride + v % BL_TABLE_WORDS * type->index_bytes;
    type->index(bits, groups, stride, index);
}

/* --- The gradient of the input ------------------------------------------------------------------------------------ */

typedef struct {
    const bl_table_type *type;
    const bl_conv2d *shape;
    /* Terms of this pass, from `from` on; words of this chunk of columns, from `word` on; pixels of a line of sums, and how
       many lines there are. */
    intptr_t taps, from, terms, groups, word, words, line, lines;
    _Alignas(64) char index[INDEX_BYTES];
    _Alignas(64) char tables[TABLES_BYTES];
    _Alignas(64) char sums[SUMS_BYTES];
    _Alignas(64) char spare[BL_TABLE_ROWS * 256];
    int32_t totals[MOST_PIXELS];
    uint64_t bits[MOST_TERMS + 32];
} input_product;

/* The columns of all taps, word by word. */
BL_TARGET_TABLES static void index_kernels(input_product *p, const uint64_t *w)
{
    const intptr_t words = p->shape->words;
    for (intptr_t tap = 0; tap < p->taps; tap++)
        for (intptr_t word = 0; word < p->words; word++) {
            for (intptr_t t = 0; t < p->terms; t++)
                p->bits[t] = w[((p->from + t) * p->taps + tap) * words + p->word + word];
            make_index(p->type, p->bits, p->terms, tap * p->words + word, p->index);
        }
}

/* A pixel of a gradient: its row and column, and the line of sums on which its first tap falls. */
typedef struct {
    intptr_t row, column, line;
} place;

static place next_place(const input_product *p, place at)
{
    if (++at.column < p->shape->out_width)
        return at;
    at.line += p->shape->stride_height;
    while (at.line >= p->lines)
        at.line -= p->lines;
    return (place){at.row + 1, 0, at.line};
}

/* Add what the pixels from `at` on, whose gradients begin at g, give to the sums around them: a tile of them. Returns the
   place behind them. */
static place add_pixels(input_product *p, const int8_t *g, place at)
{
    const bl_table_type *type = p->type;
    const bl_conv2d *shape = p->shape;
    const intptr_t stride = p->words * type->sum_bytes, all = p->taps * p->words;
    const int8_t *rows[BL_TABLE_ROWS];
    int32_t totals[BL_TABLE_ROWS];
    place places[BL_TABLE_ROWS];
    /* Where the sums of a tap are, NULL outside the image. */
    char *to[MOST_TAPS][BL_TABLE_ROWS];
    for (intptr_t r = 0; r < type->rows; r++, at = next_place(p, at)) {
        rows[r] = at.row < shape->out_height ? g + r * shape->out_channels + p->from : zeros;
        places[r] = at;
    }
    type->tables(rows, p->terms, p->tables, totals);
    for (intptr_t r = 0; r < type->rows; r++) {
        const int32_t total = totals[r] + 2 * type->offset * (int32_t)p->groups;
        intptr_t line = places[r].line, y = places[r].row * shape->stride_height - shape->padding_top, tap = 0;
        for (intptr_t i = 0; i < shape->kernel_height; i++, y++, line = line + 1 < p->lines ? line + 1 : 0) {
            const int inside = places[r].row < shape->out_height && y >= 0 && y < shape->height;
            const intptr_t first = line * p->line + places[r].column * shape->stride_width;
            for (intptr_t j = 0; j < shape->kernel_width; j++, tap++) {
                to[tap][r] = inside ? p->sums + (first + j) * stride : NULL;
                if (inside)
                    p->totals[first + j] += total;
            }
        }
    }
    for (intptr_t v = 0, tap = 0, word = 0; v < all; v += BL_TABLE_WORDS) {
        char *sums[BL_TABLE_WORDS * BL_TABLE_ROWS];
        for (intptr_t h = 0; h < BL_TABLE_WORDS; h++) {
            for (intptr_t r = 0; r < type->rows; r++)
                sums[BL_TABLE_WORDS * r + h] = tap < p->taps && to[tap][r] ? to[tap][r] + word * type->sum_bytes
                                                                           : p->spare + r * type->sum_bytes;
            if (++word == p->words) {
                word = 0;
                tap++;
            }
        }
        type->tile(p->tables, p->groups, p->index + v * p->groups * type->index_bytes, sums, p->taps > 1);
    }
    return at;
}

/* Hand on the sums of line y, which is row `first` of the result and following, and clear it. */
static void finish_line(input_product *p, const bl_gradient_result *result, intptr_t first, intptr_t y)
{
    const intptr_t stride = p->words * p->type->sum_bytes, line = y % p->lines * p->line;
    for (intptr_t x = 0; x < p->shape->width; x++) {
        const intptr_t at = line + x + p->shape->padding_left;
        finish_row(p->type, result, first + x, p->word, p->words, p->sums + at * stride, p->totals[at]);
    }
    memset(p->totals + line, 0, (size_t)p->line * sizeof *p->totals);
    /* Where there is but one tap a sum is written, not added to; but it may see only some of the pixels. */
    if (p->taps > 1 || p->shape->width != p->shape->out_width || p->shape->height != p->shape->out_height)
        memset(p->sums + line * stride, 0, (size_t)(p->line * stride));
}

/* Find out of how many terms and words of columns there is room for sums at a time; 0 where of none. */
static int plan_input(input_product *p, intptr_t *terms, intptr_t *words)
{
    const bl_table_type *type = p->type;
    const bl_conv2d *shape = p->shape;
    p->taps = shape->kernel_height * shape->kernel_width;
    p->line = (shape->out_width - 1) * shape->stride_width + shape->kernel_width;
    p->line = bl_max(p->line, shape->width + shape->padding_left);
    /* A tile may begin on one line and end on another. */
    p->lines = shape->kernel_height;
    if (shape->out_width % type->rows)
        p->lines += (type->rows + shape->out_width - 2) / shape->out_width * shape->stride_height;
    if (p->taps > MOST_TAPS || p->line * p->lines > MOST_PIXELS || shape->padding_top > p->lines)
        return 0;
    for (intptr_t parts = 1;; parts++) {
        *terms = (shape->out_channels + parts - 1) / parts;
        const intptr_t groups = bl_table_groups(type, *terms);
        if (*terms > type->most || p->taps * largest_sum(type, groups, *terms) > type->largest)
            continue;
        /* The index of the last words is that of a pair. */
        *words = bl_min((INDEX_BYTES / (groups * type->index_bytes) - 1) / p->taps,
                        SUMS_BYTES / (p->line * p->lines * type->sum_bytes));
        if (*words > 0 || *terms < 64)
            break;
    }
    if (*words > 1)
        *words = bl_min(*words / BL_TABLE_WORDS * BL_TABLE_WORDS, shape->words);
    return *words > 0;
}

static int multiply_input(const bl_table_type *type, const int8_t *g, const uint64_t *w, const bl_conv2d *shape,
                          void *out, int kind)
{
    input_product p;
    intptr_t terms, words;
    p.type = type;
    p.shape = shape;
    if (!plan_input(&p, &terms, &words))
        return 0;
    const intptr_t pixels = shape->out_height * shape->out_width;
    bl_gradient_result result = {.kind = kind, .g_type = BL_INT8, .out = out, .n = shape->n};
    if (terms < shape->out_channels && kind == BL_STREAM)
        result.kind = BL_STORE;
    memset(p.sums, 0, (size_t)(p.line * p.lines * words * type->sum_bytes));
    memset(p.totals, 0, sizeof p.totals);
    for (p.from = 0; p.from < shape->out_channels; p.from += terms, result.kind = BL_ADD) {
        p.terms = bl_min(terms, shape->out_channels - p.from);
        p.groups = bl_table_groups(type, p.terms);
        for (p.word = 0; p.word < shape->words; p.word += words) {
            p.words = bl_min(words, shape->words - p.word);
            index_kernels(&p, w);
            for (intptr_t image = 0; image < shape->batch; image++) {
                place at = {.line = p.lines - shape->padding_top};
                if (at.line == p.lines)
                    at.line = 0;
                for (intptr_t done = 0, y = 0; done < pixels; done += type->rows) {
                    at = add_pixels(&p, g + (image * pixels + done) * shape->out_channels, at);
                    const intptr_t whole = at.row * shape->stride_height - shape->padding_top;
                    for (; y < (at.row < shape->out_height ? bl_min(whole, shape->height) : shape->height); y++)
                        finish_line(&p, &result, (image * shape->height + y) * shape->width, y);
                }
            }
        }
    }
    return 1;
}

/* From so many bytes on a result is taken to be in no cache when it is read. */
#define STREAM_BYTES (32.0 * 1024 * 1024)

static int kind_for(double sums) { return sums * sizeof(int32_t) < STREAM_BYTES ? BL_STORE : BL_STREAM; }

int bl_conv2d_grad_input_tables(const void *g, int g_type, const uint64_t *w, const bl_conv2d *shape, void *out)
{
    const intptr_t taps = shape->kernel_height * shape->kernel_width, channels = shape->out_channels;
    const intptr_t positions = shape->batch * shape->out_height * shape->out_width;
    if (g_type != BL_INT8 || !is_large(taps, positions, channels, shape->n))
        return 0;
    const int kind = kind_for((double)shape->batch * (double)(shape->height * shape->width) * (double)shape->n);
    const int done = multiply_input(tables_for(g, positions, channels, channels), g, w, shape, out, kind);
    if (done && kind == BL_STREAM)
        BL_STORES_DONE();
    return done;
}

/* m rows as one line of as many pixels. */
static bl_conv2d line_of(intptr_t m, intptr_t channels, int64_t n)
{
    return (bl_conv2d){.batch = 1, .height = 1, .width = m, .words = bl_words(n), .out_height = 1, .out_width = m,
                       .out_channels = channels, .kernel_height = 1, .kernel_width = 1, .stride_height = 1,
                       .stride_width = 1, .n = n};
}

/* A matrix is images of one line, and of one tap. */
int bl_grad_input_tables(const void *g, int g_type, const uint64_t *w, intptr_t m, intptr_t k, int64_t n, void *out)
{
    if (g_type != BL_INT8 || !is_large(1, m, k, n))
        return 0;
    const bl_table_type *type = tables_for(g, m, k, k);
    const intptr_t whole = m / LINE_ROWS, rest = m % LINE_ROWS;
    const int kind = kind_for((double)m * (double)n);
    bl_conv2d shape = line_of(LINE_ROWS, k, n);
    shape.batch = whole;
    if (whole && !multiply_input(type, g, w, &shape, out, kind))
        return 0;
    shape = line_of(rest, k, n);
    if (rest && !multiply_input(type, (const int8_t *)g + whole * LINE_ROWS * k, w, &shape,
                                (int32_t *)out + whole * LINE_ROWS * (intptr_t)n, kind))
        return 0;
    if (kind == BL_STREAM)
        BL_STORES_DONE();
    return 1;
}

/* --- The gradient of the weights ---------------------------------------------------------------------------------- */

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
    int32_t totals[MOST_TAPS][BLOCK_ROWS];
    _Alignas(64) int8_t g[BLOCK_ROWS * TERMS_STRIDE];
    _Alignas(64) char index[INDEX_BYTES];
    _Alignas(64) char tables[4 * (CHUNK_TERMS / 6 + 8) * 64];
    _Alignas(64) char sums[SUMS_BYTES];
    _Alignas(64) char spare[256];
    uint64_t bits[CHUNK_TERMS + 32];
} weight_product;

/* The terms of 64 channels, `stride` bytes from one term to the next, as rows; 16 at a time. `in` masks the channels. */
BL_TARGET_TABLES static void transpose_terms(const int8_t *g, intptr_t terms, intptr_t stride, __mmask64 in, int8_t *out)
{
    for (intptr_t t = 0; t < terms; t += 16) {
        __m512i a[16], b[16];
        for (int i = 0; i < 16; i++)
            a[i] = t + i < terms ? _mm512_maskz_loadu_epi8(in, g + (t + i) * stride) : _mm512_setzero_si512();
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

/* What the positions of a chunk see through a tap: words of x, NULL outside; and less their gradients there in the totals,
   where padding counts nothing. */
BL_TARGET_TABLES static void look_through(weight_product *p, const int8_t *g, const uint64_t *x, intptr_t tap,
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
                for (intptr_t r = 0; r < p->rows; r++)
                    p->totals[tap][r] -= g[t * shape->out_channels + r];
        }
    }
}

BL_TARGET_TABLES static void index_positions(weight_product *p, const int8_t *g, const uint64_t *x)
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

/* Add the products of a chunk to the sums. */
static void add_chunk(weight_product *p, const int8_t *g, const uint64_t *x)
{
    const bl_table_type *type = p->type;
    const intptr_t all = p->taps * p->words, bytes = type->sum_bytes;
    g += p->from * p->shape->out_channels;
    index_positions(p, g, x);
    for (intptr_t row = 0; row < p->rows; row += 64)
        transpose_terms(g + row, p->terms, p->shape->out_channels, ~UINT64_C(0) >> (64 - bl_min(64, p->rows - row)),
                        p->g + row * TERMS_STRIDE);
    for (intptr_t row = 0; row < p->rows; row += type->rows) {
        const int8_t *rows[BL_TABLE_ROWS];
        int32_t totals[BL_TABLE_ROWS];
        for (intptr_t r = 0; r < type->rows; r++)
            rows[r] = row + r < p->rows ? p->g + (row + r) * TERMS_STRIDE : zeros;
        type->tables(rows, p->terms, p->tables, totals);
        for (intptr_t tap = 0; tap < p->taps; tap++)
            for (intptr_t r = 0; r < type->rows && row + r < p->rows; r++)
                p->totals[tap][row + r] += totals[r] + 2 * type->offset * (int32_t)p->groups;
        for (intptr_t v = 0; v < all; v += BL_TABLE_WORDS) {
            char *sums[BL_TABLE_WORDS * BL_TABLE_ROWS];
            for (intptr_t r = 0; r < type->rows; r++)
                for (intptr_t h = 0; h < BL_TABLE_WORDS; h++)
                    sums[BL_TABLE_WORDS * r + h] = row + r < p->rows && v + h < all
                                                       ? p->sums + ((row + r) * all + v + h) * bytes
                                                       : p->spare;
            type->tile(p->tables, p->groups, p->index + v * p->groups * type->index_bytes, sums, p->summed_terms > 0);
        }
    }
    p->summed_terms += p->terms;
    p->summed_groups += p->groups;
}

/* Hand on the sums of the block whose first row is `first`. */
static void finish_block(weight_product *p, bl_gradient_result *result, intptr_t first)
{
    for (intptr_t r = 0; r < p->rows; r++)
        for (intptr_t tap = 0; tap < p->taps; tap++)
            finish_row(p->type, result, (first + r) * p->taps + tap, p->word, p->words,
                       p->sums + (r * p->taps + tap) * p->words * p->type->sum_bytes, p->totals[tap][r]);
    if (result->kind == BL_STORE)
        result->kind = BL_ADD;
    p->summed_terms = p->summed_groups = 0;
    memset(p->totals, 0, sizeof p->totals);
}

static int multiply_weight(const int8_t *g, int g_type, const uint64_t *x, const bl_conv2d *shape, intptr_t first,
                           intptr_t k, const bl_gradient_result *result)
{
    const intptr_t taps = shape->kernel_height * shape->kernel_width;
    const intptr_t positions = shape->batch * shape->out_height * shape->out_width, channels = shape->out_channels;
    if (g_type != BL_INT8 || !is_large(taps, k, positions, shape->n))
        return 0;
    weight_product p;
    p.type = tables_for(g + first, positions, k, channels);
    /* Sums that are only compared are not handed on before they are whole. */
    if (result->kind == BL_COMPARE &&
        largest_sum(p.type, positions / 6 + positions / CHUNK_TERMS + 3, positions) > p.type->largest)
        p.type = &bl_tables_of_8;
    const bl_table_type *type = p.type;
    const intptr_t most = bl_min(CHUNK_TERMS, type->most), groups = bl_table_groups(type, most);
    intptr_t words = (INDEX_BYTES / (groups * type->index_bytes) - 1) / taps;
    if (taps > MOST_TAPS || words < 1)
        return 0;
    words = bl_min(words > 1 ? words / BL_TABLE_WORDS * BL_TABLE_WORDS : 1, shape->words);
    const intptr_t rows = bl_min(BLOCK_ROWS, SUMS_BYTES / (taps * words * type->sum_bytes) / 4 * 4);
    p.shape = shape;
    p.taps = taps;
    for (intptr_t o = 0; o < k; o += rows)
        for (p.word = 0; p.word < shape->words; p.word += words) {
            bl_gradient_result here = *result;
            p.rows = bl_min(rows, k - o);
            p.words = bl_min(words, shape->words - p.word);
            p.summed_terms = p.summed_groups = 0;
            memset(p.totals, 0, sizeof p.totals);
            for (p.from = 0; p.from < positions; p.from += p.terms) {
                p.terms = bl_min(most, positions - p.from);
                p.groups = bl_table_groups(type, p.terms);
                if (largest_sum(type, p.summed_groups + p.groups, p.summed_terms + p.terms) > type->largest)
                    finish_block(&p, &here, o);
                add_chunk(&p, g + first + o, x);
            }
            finish_block(&p, &here, o);
        }
    return 1;
}

int bl_conv2d_grad_weight_tables(const void *g, int g_type, const uint64_t *x, const bl_conv2d *shape, intptr_t first,
                                 intptr_t k, int accumulate, void *out)
{
    const int kind = accumulate ? BL_ADD : BL_STORE;
    const bl_gradient_result result = {.kind = kind, .g_type = BL_INT8, .out = out, .n = shape->n};
    return multiply_weight(g, g_type, x, shape, first, k, &result);
}

int bl_conv2d_grad_weight_sign_tables(const void *g, int g_type, const uint64_t *x, const bl_conv2d *shape,
                                      intptr_t first, intptr_t k, const void *threshold, const uint64_t *mask,
                                      uint64_t *out)
{
    const bl_gradient_result result = {.kind = BL_COMPARE,
                                       .g_type = BL_INT8,
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
