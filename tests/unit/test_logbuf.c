/* test_logbuf.c - frames in memory against an array of them: appended, written,
 * written again, undone over several chunks, forgotten, with memory that fails
 * (B1, B2, F2, F4). */
#include <string.h>

#include "kvsql/base/mem.h"
#include "kvsql/logbuf.h"
#include "tests/lib/rand.h"
#include "tests/lib/unit.h"

#define FRAMES_MAX 20000
#define STEPS 4000
#define PAYLOAD_MAX 9000

/* What must be there. Frames below `gone` are durable, those below `written` are
 * in the file, at `offset`. */
static struct {
    struct {
        uint64_t position, offset;
        size_t size;
        bool mark;
    } frames[FRAMES_MAX];
    unsigned count, gone, written;
    uint64_t last, durable, tail;
} model;

static struct kv_logbuf buf;
static struct rand_state rnd;
static uint8_t payload[PAYLOAD_MAX];

static uint8_t byte_of(uint64_t position)
{
    return (uint8_t)(position * 37 + 1);
}

static void model_add(size_t size, bool mark)
{
    ck_assert_uint_lt(model.count, FRAMES_MAX);
    model.frames[model.count].position = model.last;
    model.frames[model.count].size = size;
    model.frames[model.count++].mark = mark;
}

/* The first frame behind the position. */
static unsigned model_behind(uint64_t position)
{
    unsigned i = model.gone;

    while (i < model.count && model.frames[i].position <= position)
        i++;
    return i;
}

static void append(void)
{
    const size_t size = rand_below(&rnd, rand_below(&rnd, 8) ? 200 : PAYLOAD_MAX);
    const bool fails = rand_below(&rnd, 4) == 0;

    if (fails)
        kv_mem_fail_at(1, 0);
    const bool room = kv_logbuf_reserve(&buf, size);
    const bool failed = fails && kv_mem_failed();
    kv_mem_fail_at(0, 0);
    ck_assert(room == !failed);
    if (!room)
        return;
    ck_assert(!kv_logbuf_mark(&buf, 1)); /* its room is not a mark's */
    if (rand_below(&rnd, 10) == 0) {
        kv_logbuf_cancel(&buf);
        return;
    }
    if (rand_below(&rnd, 10) == 0) /* more room, or less, before it comes */
        ck_assert(kv_logbuf_reserve(&buf, size));
    memset(payload, byte_of(++model.last), size);
    kv_logbuf_append(&buf, model.last, payload, size);
    model_add(size, false);
}

static void mark(void)
{
    if (model.last > 0 && kv_logbuf_mark(&buf, (int64_t)model.last))
        model_add(0, true);
}

/* One run goes to the file; its bytes are those of the next frames. */
static void write_run(void)
{
    struct kv_log_run run;
    size_t at = 0;

    if (!kv_logbuf_run(&buf, model.tail, &run)) {
        ck_assert_uint_eq(model.written, model.count);
        return;
    }
    while (at < run.size) {
        struct kv_frame frame;
        const unsigned i = model.written;

        ck_assert_uint_lt(i, model.count);
        kv_frame_get(run.p + at, &frame);
        ck_assert_uint_eq(frame.position, model.frames[i].position);
        ck_assert_uint_eq(frame.size, model.frames[i].size);
        ck_assert(frame.type == (model.frames[i].mark ? KV_FRAME_MARK
                                                      : KV_FRAME_BATCH));
        memset(payload, byte_of(frame.position), frame.size);
        ck_assert_int_eq(memcmp(run.p + at + KV_FRAME_HEADER_SIZE, payload,
                                frame.size), 0);
        model.frames[i].offset = model.tail + at;
        model.written++;
        at += KV_FRAME_HEADER_SIZE + frame.size;
        ck_assert_uint_ge(run.last, frame.position);
    }
    ck_assert_uint_eq(at, run.size);
    kv_logbuf_written(&buf, run.size);
    model.tail += run.size;
}

/* A position between what is durable and the last. */
static uint64_t some_position(void)
{
    return model.durable + rand_below(&rnd, model.last - model.durable + 1);
}

/* Another segment begins with what is behind the position. */
static void rewind_to(uint64_t position)
{
    const unsigned from = model_behind(position);

    if (from > model.written)
        return; /* what is durable has been written */
    kv_logbuf_rewind(&buf, position);
    model.written = from;
    model.durable = position; /* of the segment before nothing is asked */
    model.tail = 64;
}

static void check_offset(uint64_t position)
{
    const unsigned i = model_behind(position);
    const uint64_t want =
        i < model.written ? model.frames[i].offset : model.tail;

    ck_assert_uint_eq(kv_logbuf_offset(&buf, position, model.tail), want);
}

static void discard(uint64_t position)
{
    const unsigned from = model_behind(position);

    check_offset(position);
    model.tail = kv_logbuf_offset(&buf, position, model.tail);
    kv_logbuf_discard(&buf, position);
    model.count = from;
    model.written = model.written < from ? model.written : from;
    model.last = position;
}

static void forget(uint64_t position)
{
    if (model.written < model_behind(position))
        return; /* B2: it is durable when it is written */
    kv_logbuf_forget(&buf, position);
    model.durable = position;
    model.gone = model_behind(position);
}

static void check(void)
{
    uint64_t bytes = 0;

    ck_assert_uint_eq(buf.last, model.last);
    ck_assert(kv_logbuf_pending(&buf) == (model.written < model.count));
    /* chunks go whole: what is held begins at or before the durable one */
    for (unsigned i = model_behind(model.durable); i < model.count; i++)
        bytes += KV_FRAME_HEADER_SIZE + model.frames[i].size;
    ck_assert_uint_ge(buf.bytes, bytes);
    check_offset(some_position());
}

static void one_step(void)
{
    switch (rand_below(&rnd, 16)) {
    case 0: mark(); break;
    case 1: case 2: case 3: write_run(); break;
    case 4: rewind_to(some_position()); break;
    case 5: discard(some_position()); break;
    case 6: case 7: forget(some_position()); break;
    default: append(); break;
    }
}

START_TEST(it_is_a_list_of_frames_whatever_is_done_to_it)
{
    memset(&model, 0, sizeof(model));
    model.tail = 64;
    rnd = rand_of(rand_seed("logbuf", 1000) + (uint64_t)_i);
    kv_logbuf_init(&buf, 0, (uint64_t)(_i + 1) << 16);
    for (unsigned step = 0; step < STEPS; step++) {
        one_step();
        check();
    }
    kv_logbuf_forget(&buf, model.last);
    while (model.written < model.count)
        write_run();
    kv_logbuf_forget(&buf, model.last);
    ck_assert_uint_eq(buf.bytes, 0);
    kv_logbuf_fini(&buf);
    ck_assert_uint_eq(kv_mem_bytes(KV_MEM_WAL), 0);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_loop_test(tests, it_is_a_list_of_frames_whatever_is_done_to_it, 0,
                        4);
}

int main(void)
{
    return unit_run("logbuf", add);
}
