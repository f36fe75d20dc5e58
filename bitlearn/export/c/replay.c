/* The replay memory: a balanced choice of a stream's examples, class by class a uniform sample of what there was. */

// @ replay_list
/* List the places of a memory that has just become full by class. */
static void replay_list(void)
{
    i32 end = 0;
    for (i32 c = 0; c < OUTPUTS; c++) {
        for (i32 place = 0; place < CAPACITY; place++)
            if (memory_labels[place] == c)
                memory_order[end++] = ($order)place;
        memory_ends[c] = ($ends)end;
    }
}

// @ replay_start
static i32 replay_start(i32 c) { return c ? (i32)memory_ends[c - 1] : 0; }

// @ replay_rank
/* The rank of a class's last pair of (number, class): by number, then by the class's random priority. */
static u64 replay_rank(i32 c)
{
    return (u64)((i32)memory_ends[c] - replay_start(c)) << 32 | memory_priority[c];
}

// @ replay_donor
/* The class that loses a place to one of which `count` examples came; -1 where none does. */
static i32 replay_donor(i32 label, i64 count)
{
    const u64 mine = (u64)count << 32 | memory_priority[label];
    i32 largest = 0;
    for (i32 c = 1; c < OUTPUTS; c++)
        if (replay_rank(c) >= replay_rank(largest))
            largest = c;
    if (mine > replay_rank(largest) || (mine == replay_rank(largest) && label > largest))
        return -1;
    return largest;
}

// @ replay_transfer
/* Give a random place of one class to another, and return it: each class between moves by a room. */
static i32 replay_transfer(i32 donor, i32 label, u32 word)
{
    const i32 start = replay_start(donor), end = (i32)memory_ends[donor];
    const i32 chosen = start + (i32)((u64)word * (u64)(end - start) >> 32);
    const $order slot = memory_order[chosen];
    const i32 count = label < donor ? donor - label : label - donor;
    $order handed[OUTPUTS];
    i32 rooms[OUTPUTS];
    for (i32 i = 0; i < count; i++) {
        rooms[i] = label < donor ? (i32)memory_ends[donor - 1 - i] : (i32)memory_ends[donor + i] - 1;
        handed[i] = memory_order[rooms[i]];
    }
    if (count)
        memory_order[chosen] = handed[0];
    for (i32 i = 0; i < count; i++)
        memory_order[rooms[i]] = i + 1 < count ? handed[i + 1] : slot;
    for (i32 i = 0; i < count; i++) {
        if (label < donor)
            memory_ends[label + i]++;
        else
            memory_ends[donor + i]--;
    }
    memory_labels[slot] = ($labels)label;
    return slot;
}

// @ replay_place
/* Take one example of a class; return its place, -1 where it is not kept. */
static i32 replay_place(i32 label)
{
    const i64 number = *memory_added, count = memory_seen[label] + 1;
    i32 slot = -1;
    if (number < CAPACITY) {
        slot = (i32)number;
        memory_labels[slot] = ($labels)label;
        if (number + 1 == CAPACITY)
            replay_list();
    } else {
        const u32 word = random_word(memory_key, (u64)number);
        const i32 start = replay_start(label), held = (i32)memory_ends[label] - start;
        const i32 donor = held == count - 1 ? replay_donor(label, count) : -1;
        const u64 most = count < 4294967295LL ? (u64)count : 4294967295u, place = word * most >> 32;
        if (donor >= 0)
            slot = replay_transfer(donor, label, word);
        else if (place < (u64)held)
            slot = (i32)memory_order[start + (i32)place];
    }
    memory_seen[label] = count;
    *memory_added = number + 1;
    return slot;
}

// @ replay_first
/* Mark the first different values below `limit` of a stream, and write them to `found` where that is given. */
static void replay_first(i32 count, i32 limit, const u32 *key, u8 *marks, i32 *found)
{
    memset(marks, 0, (CAPACITY + 7) / 8);
    for (u64 place = 0; count > 0; place++) {
        const i32 value = (i32)((u64)random_word(key, place) * (u64)limit >> 32);
        if (marks[value / 8] >> value % 8 & 1)
            continue;
        marks[value / 8] = (u8)(marks[value / 8] | 1 << value % 8);
        count--;
        if (found)
            *found++ = value;
    }
}

// @ replay_sample
/* Random places: all different as far as there are so many examples. */
static void replay_sample(i32 count, const u32 *key, i32 *index)
{
    const i32 size = *memory_added < CAPACITY ? (i32)*memory_added : CAPACITY;
    u8 marks[(CAPACITY + 7) / 8];
    for (; count >= size; count -= size)
        for (i32 i = 0; i < size; i++)
            *index++ = i;
    if (2 * count <= size) {
        replay_first(count, size, key, marks, index);
    } else {
        replay_first(size - count, size, key, marks, 0);
        for (i32 i = 0; i < size; i++)
            if (!(marks[i / 8] >> i % 8 & 1))
                *index++ = i;
    }
}

// @ adam_coefficients
static void adam_coefficients(f64 rate, f64 beta1, f64 beta2, f64 epsilon, i64 step, f32 *out)
{
    const f64 correction = sqrt(1 - power(beta2, step));
    out[0] = (f32)beta1;
    out[1] = (f32)(1 - beta1);
    out[2] = (f32)beta2;
    out[3] = (f32)(1 - beta2);
    out[4] = (f32)(rate * correction / (1 - power(beta1, step)));
    out[5] = (f32)(epsilon * correction);
}

// @ checksum
/* FNV-1a of 64 bits. */
static u64 checksum(u64 found, const void *data, size_t bytes)
{
    const u8 *each = (const u8 *)data;
    for (size_t i = 0; i < bytes; i++)
        found = (found ^ each[i]) * 0x100000001b3u;
    return found;
}
