/* split.c - a typed line into arguments, the way redis-cli does.
 *
 * Arguments are separated by blanks. "..." knows \n \r \t \b \a \\ \" and
 * \xHH; '...' knows \' only; behind a closing quote comes a blank or the end.
 *
 * Thread: any. */
#include "command/command.h"

#include <string.h>

#include "kvsql/base/num.h"

struct split_state {
    const char *p, *end;
    struct kv_buf *buf;
};

static bool split_is_blank(char ch)
{
    return ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r' ||
           ch == '\v' || ch == '\f' || ch == '\0';
}

/* Behind a backslash inside "...". */
static void split_escape(struct split_state *s)
{
    static const char from[] = "nrtba";
    static const char to[] = "\n\r\t\b\a";
    const bool hex = s->end - s->p >= 3 && s->p[0] == 'x';
    const int high = hex ? kv_num_hex((uint8_t)s->p[1]) : -1;
    const int low = hex ? kv_num_hex((uint8_t)s->p[2]) : -1;
    const char *place;

    if (high >= 0 && low >= 0) {
        kv_buf_byte(s->buf, (uint8_t)(high * 16 + low));
        s->p += 3;
        return;
    }
    place = *s->p != '\0' ? strchr(from, *s->p) : NULL;
    kv_buf_byte(s->buf, (uint8_t)(place != NULL ? to[place - from] : *s->p));
    s->p++;
}

/* From behind an opening quote to behind the closing one; false when there is
 * none, or something stands right behind it. */
static bool split_quoted(struct split_state *s, char quote)
{
    while (s->p < s->end) {
        const char ch = *s->p++;

        if (ch == quote) {
            return s->p == s->end || split_is_blank(*s->p);
        }
        if (ch == '\\' && s->p < s->end && quote == '"') {
            split_escape(s);
        } else if (ch == '\\' && s->p < s->end && *s->p == '\'') {
            kv_buf_byte(s->buf, '\'');
            s->p++;
        } else {
            kv_buf_byte(s->buf, (uint8_t)ch);
        }
    }
    return false;
}

/* One argument; p is at its first byte. */
static bool split_word(struct split_state *s)
{
    while (s->p < s->end && !split_is_blank(*s->p)) {
        const char ch = *s->p++;

        if (ch == '"' || ch == '\'') {
            return split_quoted(s, ch);
        }
        kv_buf_byte(s->buf, (uint8_t)ch);
    }
    return true;
}

kvsql_rc cmd_split(const char *line, size_t size, struct kv_buf *buf,
                   kvsql_slice *argv, unsigned *argc, struct kvsql_error *err)
{
    struct split_state s = {.p = line, .end = line + size, .buf = buf};
    size_t offset = 0;

    *argc = 0;
    kv_buf_reset(buf, buf->cap);
    for (;;) {
        while (s.p < s.end && split_is_blank(*s.p)) {
            s.p++;
        }
        if (s.p == s.end) {
            break;
        }
        if (*argc == CMD_LINE_ARGS_MAX) {
            return kv_fail(err, KVSQL_TOOBIG,
                           "ERR more than %d arguments in one line",
                           CMD_LINE_ARGS_MAX);
        }
        if (!split_word(&s)) {
            return kv_fail(err, KVSQL_SYNTAX,
                           "ERR Protocol error: unbalanced quotes in request");
        }
        argv[*argc].size = buf->size - offset;
        offset = buf->size;
        (*argc)++;
    }
    /* The buffer has stopped moving: now its arguments have addresses. */
    offset = 0;
    for (unsigned i = 0; i < *argc && !buf->failed; i++) {
        argv[i].p = buf->p != NULL ? buf->p + offset : (const uint8_t *)"";
        offset += argv[i].size;
    }
    return kv_buf_result(buf, "the arguments of the line", err);
}
