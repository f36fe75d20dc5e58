/* The part of the C contract for programs: calls of kernels that are written down once and run in order, as often as
   wanted, their rows cut over threads that wait for them (pool.h). The rules of the text are those of kernels.h. The
   threads are all that is kept between two runs. */

/* 1 where this build has threads of its own, else 0: then one thread does all. */
int bl_has_threads(void);

/* How many have been started, and wait for work. */
int bl_threads_started(void);

/* Wait for a run that has them, and end them. The next run that wants some starts others. */
void bl_stop_threads(void);

/* The number of a kernel, or -1 where there is none of that name. */
int bl_kernel_number(const char *kernel);

/* The most arguments of a kernel after `variant`. */
#define BL_CALL_SLOTS 24

/* How an argument of a call differs in a part of its rows [start, stop), on thread number `thread`. */
#define BL_MOVES 0   /* start * step is added: bytes to a pointer, step 1 to the number of the first row */
#define BL_COUNTS 1  /* it is (stop - start) * step: the number of rows, or of values in them */
#define BL_SIZES 2   /* it points to a copy of the `step` bytes that it points to, a bl_conv2d or a bl_pool2d, whose
                        first member is stop - start */
#define BL_SCRATCH 3 /* thread * step bytes are added: memory that each thread has a part of */
typedef struct {
    int32_t slot, kind;
    int64_t step;
} bl_change;

/* A call: a kernel, its variant and its arguments after `variant`, each in 8 bytes: a number of four bytes in the lower
   four. Its rows are cut into so many parts, in each of which `change_count` arguments differ; one part is the call as
   it is. check, if it is not NULL, is a byte that must not be 0 after the call. */
typedef struct {
    const uint64_t *slots;
    const bl_change *changes;
    const uint8_t *check;
    intptr_t rows;
    int32_t kernel, variant, parts, change_count;
} bl_call;

/* Run calls in order, on this thread and at most threads - 1 others; on this one alone where another program has these,
   with the same results. All programs that run at the same time share so many processors. Stops behind the first call
   whose check fails, and returns its index, else `count`. */
intptr_t bl_run(const bl_call *calls, intptr_t count, int threads, int processors);

/* Run groups of calls beside each other, those of a group in order on one thread: group g is the calls from starts[g] up
   to starts[g + 1]. Their parts and checks are passed over. */
void bl_run_groups(const bl_call *calls, const intptr_t *starts, intptr_t groups, int threads, int processors);

/* --- The form of the right operand of a product of bits with bits ----------------------------------------------- */

/* From so many rows on, laying out the columns as panels pays for itself. */
#define BL_ROWS_WORTH_PANELS 16

#define BL_AS_WORDS 0
#define BL_AS_PANELS 1
#define BL_RECODED 2

/* The fastest form for a product of `rows` rows and k columns, n values or `words` words long, with the kernels of a
   variant (or the one that chooses): of "xnor_matmul"; of "xnor_conv2d" its pixels, kernels and the values and words of a
   window; of "planes_matmul" the rows times their planes. `once` is not 0 where the operand is laid out for one product
   alone. */
int bl_product_form(int variant, const char *kernel, int64_t rows, int64_t k, intptr_t words, int64_t n, int once);

/* Whether a product of `rows` rows of int8 values of so many bits with `columns` columns of bits, `depth` terms a sum, is
   faster on bit planes than by grad_input. In a convolution each value that is split is in the sums of so many `taps`;
   `passes` count those over the sums that follow their product. */
int bl_planes_pay(int variant, int bits, int64_t rows, int64_t depth, int64_t columns, int64_t taps, int64_t passes);
