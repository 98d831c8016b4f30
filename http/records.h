/* records.h - what `kvsql export` and /v1/export print, read back: bytes of
 * NDJSON or CSV become commands. `kvsql import` and /v1/import both read so.
 *
 * NDJSON, a key on each line:
 *   {"key":K,"type":T,"value":V,"expires_at":MS,"field_expires_at":{F:MS}}
 *   V   string: a string · hash: an object, or {"$pairs":[[f,v],..]} ·
 *       list, set: an array · zset: [{"member":m,"score":s},..] or [[m,s],..]
 *   bytes that are no text stand as {"$base64":".."}; numbers are taken by
 *   their source text. expires_at and field_expires_at may be absent; names of
 *   fields that are no text are {"$pairs":[[F,MS],..]}. With "continue":true
 *   the elements are added to those of the lines before; a key of many elements
 *   takes several lines. {"done":true,..}, the last line of /v1/export, is
 *   passed over, and so are empty ones.
 *
 * CSV, RFC 4180, an element on each line, the elements of a key together:
 *   key,type,name,value,expires_at,field_expires_at
 *   name is the field or member (empty for strings and lists), value the
 *   string, the field's value, the element or the score; expires_at may be
 *   empty and counts on the first line of its key. The header line must be
 *   there, and may lack the last column. Text only: bytes that are none stand
 *   as base64:....
 *
 * A key replaces what was there: its first command is DEL.
 *
 * Always true:
 *   RE1  No more is kept than the record at hand and what was added behind it;
 *        a record has size_max bytes at most.
 *   RE2  A command never goes over the end of what http_records_next gave, but
 *        for elements of CSV, which join the command of the line before until
 *        http_records_cut.
 *
 * Thread: the owner's. */
#ifndef KVSQL_HTTP_RECORDS_H
#define KVSQL_HTTP_RECORDS_H

#include "command/words.h"
#include "http/json.h"

#define HTTP_RECORDS_TEXT_MAX (SIZE_MAX / 2) /* of the text's buffers */
#define HTTP_RECORDS_COLUMNS 6 /* of CSV; the last may be absent */

enum http_record {
    HTTP_RECORD_NONE, /* no whole record is there; at the end: no more */
    HTTP_RECORD_PART, /* an element; its key may go on */
    HTTP_RECORD_KEY   /* all commands of a key are there */
};

struct http_records {
    struct cmd_words *words; /* the commands; borrowed */
    kvsql_slice prefix;      /* before each key; borrowed */
    size_t size_max;         /* bytes of a record */
    const char *option;      /* that says so; NULL: none does */
    bool csv;

    struct kv_buf text; /* bytes that were added, from `at` on unread */
    size_t at, seen;    /* where a record begins; up to here it does not end */
    uint64_t line;      /* where the record at hand begins, from 1 on */
    uint64_t lines;     /* that are read */
    struct kv_buf key;  /* its key, as it stands there */

    /* CSV */
    kvsql_slice cells[HTTP_RECORDS_COLUMNS]; /* of the record, in text */
    unsigned columns, wanted; /* of the record, of the header; 0: not seen */
    bool quoted;         /* what is seen ends inside quotes */
    bool held;           /* cells are read and not yet used */
    bool open;           /* a key has been begun */
    uint64_t begun;      /* its line */
    struct kv_buf until; /* its expires_at */
    const char *command; /* the last of the words, if it takes elements */
};

/* `words` and `option` live as long as the reader. */
KV_INTERNAL void http_records_init(struct http_records *records,
                                   struct cmd_words *words, bool csv,
                                   size_t size_max, const char *option);
KV_INTERNAL void http_records_fini(struct http_records *records);
/* Add the bytes of `from`, which is empty then; they change places if that
 * spares copying. */
KV_INTERNAL void http_records_take(struct http_records *records,
                                   struct kv_buf *from);
/* The commands of the next record are added to the words. `end`: nothing more
 * is added. KVSQL_SYNTAX, INVALID: the record at line `line` is wrong; TOOBIG:
 * it has more than size_max bytes, or elements; NOMEM. Its words, if there are
 * some, are of no use then. O(bytes of the record). */
KV_INTERNAL kvsql_rc http_records_next(struct http_records *records, bool end,
                                       enum http_record *what,
                                       struct kvsql_error *err) KV_MUST_USE;
/* The words are used and forgotten: the next element begins a command. */
KV_INTERNAL void http_records_cut(struct http_records *records);

/* ---- between its files ------------------------------------------------------- */

/* The command that makes a value of the type; NULL for another word. Static. */
KV_INTERNAL const char *http_records_command(kvsql_slice type);
/* A command and its key, `key` as bytes. */
KV_INTERNAL void http_records_begin(struct http_records *records,
                                    const char *command, kvsql_slice key);
/* The bytes of canonical base64 as a word, behind the prefix or not. False: it
 * is none. */
KV_INTERNAL bool http_records_base64(struct http_records *records,
                                     kvsql_slice text, bool key);
/* KVSQL_OK, or SYNTAX with a sentence: a whole number of ms from 1 on. */
KV_INTERNAL kvsql_rc http_records_time(kvsql_slice text,
                                       struct kvsql_error *err) KV_MUST_USE;
/* One line of NDJSON, changed in place. */
KV_INTERNAL kvsql_rc http_records_line(struct http_records *records,
                                       uint8_t *p, size_t size,
                                       enum http_record *what,
                                       struct kvsql_error *err) KV_MUST_USE;
/* One record of CSV, changed in place; what the last one left, when `p` is
 * NULL. With HTTP_RECORD_KEY it may be held: call again without reading. */
KV_INTERNAL kvsql_rc http_records_row(struct http_records *records, uint8_t *p,
                                      size_t size, enum http_record *what,
                                      struct kvsql_error *err) KV_MUST_USE;

#endif
