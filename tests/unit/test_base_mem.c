/* test_base_mem.c - counting, failing on demand, buffers, checksums, the
 * table of results. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "kvsql/base/buf.h"
#include "kvsql/base/crc32c.h"
#include "kvsql/base/error.h"
#include "kvsql/base/mem.h"
#include "kvsql/base/num.h"
#include "kvsql/kvsql.h"
#include "tests/lib/rand.h"
#include "tests/lib/unit.h"

START_TEST(blocks_and_bytes_are_counted_by_kind)
{
    const uint64_t bytes = kv_mem_bytes(KV_MEM_WAL);
    char *p = kv_mem_alloc(KV_MEM_WAL, 100);
    char *q = kv_mem_zalloc(KV_MEM_WAL, 50);

    ck_assert_uint_eq((uintptr_t)p % 16, 0);
    ck_assert_int_eq(q[0] | q[49], 0);
    ck_assert_uint_eq(kv_mem_bytes(KV_MEM_WAL), bytes + 150);
    ck_assert_uint_eq(kv_mem_blocks(KV_MEM_WAL), 2);
    p = kv_mem_realloc(KV_MEM_WAL, p, 100, 1000);
    ck_assert_uint_eq(kv_mem_bytes(KV_MEM_WAL), bytes + 1050);
    ck_assert_uint_eq(kv_mem_blocks(KV_MEM_WAL), 2);
    p = kv_mem_realloc(KV_MEM_WAL, p, 1000, 10);
    ck_assert_uint_eq(kv_mem_bytes(KV_MEM_WAL), bytes + 60);
    kv_mem_free(KV_MEM_WAL, p, 10);
    kv_mem_free(KV_MEM_WAL, q, 50);
    kv_mem_free(KV_MEM_WAL, NULL, 0);
    ck_assert_uint_eq(kv_mem_bytes(KV_MEM_WAL), bytes);
    ck_assert_uint_eq(kv_mem_blocks(KV_MEM_WAL), 0);
}
END_TEST

START_TEST(a_copy_ends_with_a_nul)
{
    char *copy = kv_mem_dup(KV_MEM_MISC, "ab\0c", 4);

    ck_assert_mem_eq(copy, "ab\0c\0", 5);
    kv_mem_free(KV_MEM_MISC, copy, 5);
    copy = kv_mem_dup(KV_MEM_MISC, NULL, 0);
    ck_assert_int_eq(copy[0], 0);
    kv_mem_free(KV_MEM_MISC, copy, 1);
}
END_TEST

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static long faults(void)
{
    struct rusage usage;

    ck_assert_int_eq(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_minflt;
}

/* Its pages are moved; what a copy would touch shows in the count. */
START_TEST(a_long_block_grows_without_being_copied)
{
    const size_t size = (size_t)40 << 20;
    char *p = kv_mem_alloc(KV_MEM_UNDO, size);

    ck_assert_ptr_nonnull(p);
    memset(p, 7, size);
    const long before = faults();
    p = kv_mem_realloc(KV_MEM_UNDO, p, size, 2 * size);
    ck_assert_ptr_nonnull(p);
    ck_assert_int_lt(faults() - before, (long)(size / 4096 / 4));
    ck_assert_int_eq(p[0] + p[size - 1], 14);
    kv_mem_free(KV_MEM_UNDO, p, 2 * size);
}
END_TEST
#endif

static void *free_it(void *p)
{
    kv_mem_free(KV_MEM_NODE, p, 64);
    return NULL;
}

/* More threads than there are slots, each freeing what another allocated. */
START_TEST(counts_are_right_over_many_threads)
{
    enum { THREADS = 100 };
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, free_it,
                                        kv_mem_alloc(KV_MEM_NODE, 64)),
                         0);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_uint_eq(kv_mem_bytes(KV_MEM_NODE), 0);
    ck_assert_uint_eq(kv_mem_blocks(KV_MEM_NODE), 0);
}
END_TEST

START_TEST(the_nth_allocation_fails_once_or_for_good)
{
    void *p;

    kv_mem_fail_at(2, 0);
    p = kv_mem_alloc(KV_MEM_MISC, 1);
    ck_assert_ptr_nonnull(p);
    ck_assert(!kv_mem_failed());
    ck_assert_ptr_null(kv_mem_realloc(KV_MEM_MISC, p, 1, 100));
    ck_assert(kv_mem_failed());
    kv_mem_free(KV_MEM_MISC, p, 1);
    p = kv_mem_zalloc(KV_MEM_MISC, 1);
    ck_assert_ptr_nonnull(p);
    kv_mem_free(KV_MEM_MISC, p, 1);
    kv_mem_fail_at(1, 1);
    for (int i = 0; i < 3; i++)
        ck_assert_ptr_null(kv_mem_alloc(KV_MEM_MISC, 1));
    ck_assert_ptr_null(kv_mem_dup(KV_MEM_MISC, "a", 1));
    kv_mem_fail_at(0, 0);
    ck_assert(!kv_mem_failed());
    p = kv_mem_alloc(KV_MEM_MISC, 1);
    ck_assert_ptr_nonnull(p);
    kv_mem_free(KV_MEM_MISC, p, 1);
}
END_TEST

START_TEST(a_buffer_holds_its_maximum_and_not_a_byte_more)
{
    for (size_t max = 0; max < 200; max++) {
        struct kv_buf buf;
        struct kvsql_error err;

        kv_buf_init(&buf, KV_MEM_MISC, max);
        for (size_t i = 0; i < max; i++)
            kv_buf_byte(&buf, (uint8_t)i);
        ck_assert_uint_eq(buf.size, max);
        ck_assert_int_eq(kv_buf_result(&buf, "test", &err), KVSQL_OK);
        kv_buf_byte(&buf, 1);
        ck_assert(buf.failed && buf.too_big);
        ck_assert_uint_eq(buf.size, max);
        ck_assert_int_eq(kv_buf_result(&buf, "test", &err), KVSQL_TOOBIG);
        kv_buf_fini(&buf);
    }
}
END_TEST

START_TEST(printf_may_fill_a_buffer_to_the_last_byte)
{
    struct kv_buf buf;

    for (size_t max = 1; max < 200; max++) {
        kv_buf_init(&buf, KV_MEM_MISC, max);
        kv_buf_printf(&buf, "%*d", (int)max, 7);
        ck_assert(!buf.failed);
        ck_assert_uint_eq(buf.size, max);
        ck_assert_int_eq(buf.p[max - 1], '7');
        kv_buf_reset(&buf, 1000);
        kv_buf_printf(&buf, "%*d", (int)max + 1, 7);
        ck_assert(buf.failed && buf.too_big);
        ck_assert_uint_eq(buf.size, 0);
        kv_buf_fini(&buf);
    }
}
END_TEST

START_TEST(after_a_dropped_append_all_later_ones_are_dropped)
{
    struct kv_buf buf;
    struct kvsql_error err;

    kv_buf_init(&buf, KV_MEM_MISC, 4);
    kv_buf_text(&buf, "abc");
    kv_buf_text(&buf, "de");
    kv_buf_text(&buf, "f");
    ck_assert_uint_eq(buf.size, 3);
    ck_assert_int_eq(kv_buf_result(&buf, "reply", &err), KVSQL_TOOBIG);
    ck_assert_str_eq(err.text, "reply: more than 4 bytes");
    kv_buf_reset(&buf, 1000);
    ck_assert(!buf.failed && buf.cap > 0);
    kv_buf_reset(&buf, 0);
    ck_assert_uint_eq(buf.cap, 0);
    kv_mem_fail_at(1, 0);
    kv_buf_text(&buf, "a");
    kv_buf_text(&buf, "b");
    ck_assert_uint_eq(buf.size, 0);
    ck_assert_int_eq(kv_buf_result(&buf, "reply", &err), KVSQL_NOMEM);
    kv_buf_fini(&buf);
}
END_TEST

START_TEST(numbers_go_into_a_buffer_in_little_endian)
{
    struct kv_buf buf;

    kv_buf_init(&buf, KV_MEM_MISC, 100);
    kv_buf_u32(&buf, 0x04030201);
    kv_buf_u64(&buf, 0x0c0b0a0908070605);
    kv_buf_varint(&buf, 300);
    ck_assert_uint_eq(buf.size, 14);
    for (uint8_t i = 0; i < 12; i++)
        ck_assert_int_eq(buf.p[i], i + 1);
    ck_assert_mem_eq(buf.p + 12, "\xac\x02", 2);
    ck_assert_uint_eq(kv_u32_get(buf.p), 0x04030201);
    kv_buf_fini(&buf);
}
END_TEST

START_TEST(checksums_are_those_of_the_rfc)
{
    uint8_t bytes[32];

    ck_assert_uint_eq(kv_crc32c(0, "123456789", 9), 0xe3069283);
    memset(bytes, 0, 32);
    ck_assert_uint_eq(kv_crc32c(0, bytes, 32), 0x8a9136aa);
    memset(bytes, 0xff, 32);
    ck_assert_uint_eq(kv_crc32c(0, bytes, 32), 0x62a8ab43);
    for (uint8_t i = 0; i < 32; i++)
        bytes[i] = i;
    ck_assert_uint_eq(kv_crc32c(0, bytes, 32), 0x46dd794e);
    ck_assert_uint_eq(kv_crc32c(0, "", 0), 0);
}
END_TEST

START_TEST(both_ways_to_a_checksum_agree_and_can_be_continued)
{
    struct rand_state r = rand_of(rand_seed("crc", 3));
    uint8_t bytes[300];

    rand_bytes(&r, bytes, sizeof(bytes));
    for (size_t size = 0; size <= sizeof(bytes); size++) {
        const uint32_t crc = kv_crc32c(0, bytes, size);
        const size_t cut = rand_below(&r, size + 1);

        ck_assert_uint_eq(kv_crc32c_table(0, bytes, size), crc);
        ck_assert_uint_eq(
            kv_crc32c(kv_crc32c(0, bytes, cut), bytes + cut, size - cut), crc);
        ck_assert_uint_eq(kv_crc32c_table(kv_crc32c_table(0, bytes, cut),
                                          bytes + cut, size - cut),
                          crc);
    }
}
END_TEST

START_TEST(every_result_has_a_whole_row)
{
    unsigned i = 0;

    for (const struct kv_error_row *row; (row = kv_error_at(i)) != NULL; i++) {
        ck_assert_uint_eq(row->rc, i);
        ck_assert_ptr_eq(kv_error_row(row->rc), row);
        ck_assert_int_gt((int)strlen(row->name), 0);
        ck_assert_int_gt((int)strlen(row->words), 0);
        ck_assert_int_gt((int)strlen(row->resp), 0);
        ck_assert_mem_eq(row->sqlite, "SQLITE_", 7);
        ck_assert(row->http >= 200 && row->http < 600);
        ck_assert((row->rc == KVSQL_OK) == (row->hint[0] == 0));
    }
    ck_assert_uint_eq(i, KVSQL_INTERNAL + 1);
    ck_assert_str_eq(kv_error_row((kvsql_rc)12345)->name, "INTERNAL");
    ck_assert_str_eq(kv_error_row((kvsql_rc)-1)->name, "INTERNAL");
    ck_assert_str_eq(kv_error_row(KVSQL_BUSY)->name, "BUSY");
}
END_TEST

START_TEST(a_sentence_is_escaped_and_never_too_long)
{
    struct kvsql_error err;
    char big[3000];

    ck_assert_int_eq(kv_fail(&err, KVSQL_IO, "wal: \"%s\" %d", "a\n\x1b\xff" "b",
                             5),
                     KVSQL_IO);
    ck_assert_int_eq(err.rc, KVSQL_IO);
    ck_assert_str_eq(err.text, "wal: \"a\\x0a\\x1b\\xffb\" 5");
    (void)kv_fail(&err, KVSQL_IO, "caf\xc3\xa9");
    ck_assert_str_eq(err.text, "caf\xc3\xa9");
    (void)kv_fail(&err, KVSQL_IO, "outer: %s", err.text);
    ck_assert_str_eq(err.text, "outer: caf\xc3\xa9");
    memset(big, '\n', sizeof(big));
    big[sizeof(big) - 1] = 0;
    (void)kv_fail(&err, KVSQL_IO, "%s", big);
    ck_assert_uint_eq(strlen(err.text), (KVSQL_ERROR_SIZE - 1) / 4 * 4);
    for (size_t i = 0; i + 1 < sizeof(big); i++)
        big[i] = "\xc3\xa9"[i % 2];
    (void)kv_fail(&err, KVSQL_IO, "%s", big);
    ck_assert_uint_eq(strlen(err.text), (KVSQL_ERROR_SIZE - 1) / 2 * 2);
    ck_assert_int_eq(kv_fail(NULL, KVSQL_BUSY, "%s", "x"), KVSQL_BUSY);
}
END_TEST

START_TEST(a_failed_assert_stops_the_program)
{
    KV_ASSERT(1 + 1 == 2);
    KV_ASSERT(1 + 1 == 3);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, blocks_and_bytes_are_counted_by_kind);
    tcase_add_test(tests, a_copy_ends_with_a_nul);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    tcase_add_test(tests, a_long_block_grows_without_being_copied);
#endif
    tcase_add_test(tests, counts_are_right_over_many_threads);
    tcase_add_test(tests, the_nth_allocation_fails_once_or_for_good);
    tcase_add_test(tests, a_buffer_holds_its_maximum_and_not_a_byte_more);
    tcase_add_test(tests, printf_may_fill_a_buffer_to_the_last_byte);
    tcase_add_test(tests, after_a_dropped_append_all_later_ones_are_dropped);
    tcase_add_test(tests, numbers_go_into_a_buffer_in_little_endian);
    tcase_add_test(tests, checksums_are_those_of_the_rfc);
    tcase_add_test(tests, both_ways_to_a_checksum_agree_and_can_be_continued);
    tcase_add_test(tests, every_result_has_a_whole_row);
    tcase_add_test(tests, a_sentence_is_escaped_and_never_too_long);
    tcase_add_test_raise_signal(tests, a_failed_assert_stops_the_program,
                                6 /* SIGABRT */);
}

int main(void)
{
    return unit_run("base_mem", add);
}
