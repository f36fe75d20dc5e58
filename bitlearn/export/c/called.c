/* What is called from outside: $name is the prefix, $input the type of an example's values, and what is written in capitals
   is defined by the export. */

// @ network_predict
int32_t $name_predict(const $input *x, float *scores)
{
    const f32 *found = RESULT;
    i32 best = 0;
    memcpy(INPUT, x, INPUTS * sizeof *x);
    if (!run())
        return -1;
    for (i32 j = 1; j < OUTPUTS; j++)
        if (found[j] > found[best])
            best = j;
    if (scores)
        memcpy(scores, found, OUTPUTS * sizeof *scores);
    return best;
}

// @ same_scores
/* 0 where the scores of the examples are Python's, else the number of the first that differs. */
static int same_scores(void)
{
    f32 scores[OUTPUTS];
    for (i32 i = 0; i < EXAMPLES; i++)
        if ($name_predict(test_inputs + i * INPUTS, scores) < 0 ||
            memcmp(scores, test_scores + i * OUTPUTS, sizeof scores) != 0)
            return i + 1;
    return 0;
}

// @ network_self_test
int $name_self_test(void) { return same_scores(); }

// @ learner_predict
int32_t $name_predict(const $input *x, float *scores)
{
    const f32 *found = RESULT;
    i32 best = 0;
    memcpy(LOWER_INPUT, x, INPUTS * sizeof *x);
    if (!run_lower())
        return -1;
    memcpy(new_examples, LOWER_RESULT, WORDS * sizeof(u64));
    memcpy(UPPER_INPUT, new_examples, WORDS * sizeof(u64));
    if (!run_upper())
        return -1;
    for (i32 j = 1; j < OUTPUTS; j++)
        if (found[j] > found[best])
            best = j;
    if (scores)
        memcpy(scores, found, OUTPUTS * sizeof *scores);
    return best;
}

// @ learner_learn
int32_t $name_learn(const $input *x, const int32_t *labels)
{
    u32 key[4];
    i32 index[REPLAYED];
    for (i32 i = 0; i < NEW; i++)
        if (labels[i] < 0 || labels[i] >= OUTPUTS)
            return -1;
    for (i32 i = 0; i < NEW; i++) {
        memcpy(LOWER_INPUT, x + i * INPUTS, INPUTS * sizeof *x);
        if (!run_lower())
            return -2;
        memcpy(new_examples + i * WORDS, LOWER_RESULT, WORDS * sizeof(u64));
    }
    memcpy(key, replay_key, sizeof key);
    key[2] = (u32)*s_steps;
    replay_sample(REPLAYED, key, index);
    memcpy(STEP_INPUT, new_examples, sizeof new_examples);
    for (i32 i = 0; i < NEW; i++)
        STEP_LABELS[i] = labels[i];
    for (i32 i = 0; i < REPLAYED; i++) {
        memcpy(STEP_INPUT + (NEW + i) * WORDS, memory_examples + index[i] * WORDS, WORDS * sizeof(u64));
        STEP_LABELS[NEW + i] = memory_labels[index[i]];
    }
    prepare_step();
    if (!run_step())
        return -2;
    for (i32 i = 0; i < NEW; i++) {
        const i32 slot = replay_place(labels[i]);
        if (slot >= 0)
            memcpy(memory_examples + slot * WORDS, new_examples + i * WORDS, WORDS * sizeof(u64));
    }
    return 0;
}

// @ learner_self_test
/* Updates on random examples, after which all that lasts and some scores are as in Python. */
int $name_self_test(void)
{
    static $input x[NEW * INPUTS + 4];
    static const struct {
        const void *data;
        size_t bytes;
    } lasting[] = {LASTING};
    u64 found = FNV;
    for (u32 update = 1; update <= UPDATES; update++) {
        const u32 key[4] = {0, 0, update, TEST_STREAM}, label_key[4] = {1, 0, update, TEST_STREAM};
        int32_t labels[NEW];
        for (size_t i = 0; 4 * i < NEW * INPUTS * sizeof *x; i++) {
            const u32 word = random_word(key, i);
            memcpy((u8 *)x + 4 * i, &word, sizeof word);
        }
        for (i32 i = ROW - 1; i < NEW * INPUTS; i += ROW)
            x[i] = ($input)(x[i] & LAST_MASK);
        for (i32 i = 0; i < NEW; i++)
            labels[i] = (int32_t)((u64)random_word(label_key, (u64)i) * OUTPUTS >> 32);
        if ($name_learn(x, labels))
            return 100 + (int)update;
    }
    for (size_t i = 0; i < sizeof lasting / sizeof lasting[0]; i++)
        found = checksum(found, lasting[i].data, lasting[i].bytes);
    return found != TEST_CHECKSUM ? 200 : same_scores();
}
