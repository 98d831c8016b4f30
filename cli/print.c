/* print.c - rows as text, in the modes of sqlite3.
 *
 * Always true between cells:
 *   P1  a kept cell is three numbers in `cells` and its bytes in `text`;
 *       cell r * columns + c stands at byte 24 * (r * columns + c).
 *
 * Thread: the owner's. */
#include "cli/print.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "http/json.h"
#include "kvsql/base/num.h"
#include "kvsql/base/text.h"

#define PRINT_CELL_SIZE 24
#define PRINT_LINE_NAME_MIN 5 /* sqlite3's least width of a name in line mode */

static const char *const print_modes[CLI_MODES + 1] = {
    "ascii", "box",  "column",   "csv",   "html",  "insert", "json",
    "line",  "list", "markdown", "quote", "table", "tabs",   NULL};

enum cli_mode cli_mode_find(const char *name)
{
    int i = 0;

    while (i < CLI_MODES && strcmp(print_modes[i], name) != 0)
        i++;
    return (enum cli_mode)i;
}

const char *cli_mode_name(enum cli_mode mode)
{
    return print_modes[mode];
}

void cli_print_init(struct cli_print *print, FILE *out, enum cli_mode mode)
{
    *print = (struct cli_print){.out = out, .mode = mode};
    (void)snprintf(print->separator, sizeof print->separator, "|");
    (void)snprintf(print->table, sizeof print->table, "table");
    kv_buf_init(&print->names, KV_MEM_CLIENT, PRINT_KEPT_MAX);
    kv_buf_init(&print->cells, KV_MEM_CLIENT, PRINT_KEPT_MAX);
    kv_buf_init(&print->text, KV_MEM_CLIENT, PRINT_KEPT_MAX);
    kv_buf_init(&print->line, KV_MEM_CLIENT, PRINT_KEPT_MAX);
}

void cli_print_fini(struct cli_print *print)
{
    kv_buf_fini(&print->names);
    kv_buf_fini(&print->cells);
    kv_buf_fini(&print->text);
    kv_buf_fini(&print->line);
}

static bool print_keeps(enum cli_mode mode)
{
    return mode == CLI_MODE_BOX || mode == CLI_MODE_COLUMN ||
           mode == CLI_MODE_MARKDOWN || mode == CLI_MODE_TABLE;
}

/* ---- values ------------------------------------------------------------------- */

const char *cli_real_text(char out[CLI_REAL_TEXT_MAX], double real)
{
    char digits[CLI_REAL_TEXT_MAX];

    if (isinf(real)) {
        (void)snprintf(out, CLI_REAL_TEXT_MAX, real < 0 ? "-Inf" : "Inf");
        return out;
    }
    (void)snprintf(digits, sizeof digits, "%.15g", real);
    const size_t mantissa = strcspn(digits, "e");
    const bool point = strcspn(digits, ".") < mantissa;
    (void)snprintf(out, CLI_REAL_TEXT_MAX, "%.*s%s%s", (int)mantissa, digits,
                   point ? "" : ".0", digits + mantissa);
    return out;
}

/* The text of a value as it is, NULL as null_text; `number` is scratch. */
static kvsql_slice print_plain(const struct cli_print *print,
                               const struct vt_value *value,
                               char number[CLI_REAL_TEXT_MAX])
{
    switch (value->kind) {
    case VT_NULL:
        return (kvsql_slice){print->null_text, strlen(print->null_text)};
    case VT_INTEGER:
        (void)snprintf(number, CLI_REAL_TEXT_MAX, "%lld",
                       (long long)value->integer);
        return (kvsql_slice){number, strlen(number)};
    case VT_REAL:
        cli_real_text(number, value->real);
        return (kvsql_slice){number, strlen(number)};
    case VT_TEXT:
    case VT_BLOB:
        break;
    }
    return (kvsql_slice){value->p, value->size};
}

static void print_hex(struct kv_buf *out, const uint8_t *p, size_t size)
{
    kv_buf_text(out, "X'");
    for (size_t i = 0; i < size; i++)
        kv_buf_printf(out, "%02x", p[i]);
    kv_buf_byte(out, '\'');
}

/* An SQL literal. */
static void print_literal(struct kv_buf *out, const struct cli_print *print,
                          const struct vt_value *value)
{
    char number[CLI_REAL_TEXT_MAX];

    if (value->kind == VT_NULL) {
        kv_buf_text(out, "NULL");
    } else if (value->kind == VT_BLOB) {
        print_hex(out, value->p, value->size);
    } else if (value->kind == VT_TEXT) {
        kv_buf_byte(out, '\'');
        for (size_t i = 0; i < value->size; i++) {
            if (value->p[i] == '\'')
                kv_buf_byte(out, '\'');
            kv_buf_byte(out, value->p[i]);
        }
        kv_buf_byte(out, '\'');
    } else if (value->kind == VT_REAL && isinf(value->real)) {
        kv_buf_text(out, value->real < 0 ? "-9.0e+999" : "9.0e+999");
    } else {
        const kvsql_slice text = print_plain(print, value, number);

        kv_buf_add(out, text.p, text.size);
    }
}

/* A CSV cell, quoted where sqlite3 quotes. */
static void print_csv(struct kv_buf *out, kvsql_slice cell, bool null)
{
    const uint8_t *p = cell.p;
    bool quote = cell.size == 0 && !null;

    for (size_t i = 0; i < cell.size && !quote; i++)
        quote = p[i] <= ' ' || p[i] >= 0x7f || p[i] == '"' || p[i] == '\'' ||
                p[i] == ',';
    if (!quote) {
        kv_buf_add(out, p, cell.size);
        return;
    }
    kv_buf_byte(out, '"');
    for (size_t i = 0; i < cell.size; i++) {
        if (p[i] == '"')
            kv_buf_byte(out, '"');
        kv_buf_byte(out, p[i]);
    }
    kv_buf_byte(out, '"');
}

static void print_html(struct kv_buf *out, kvsql_slice cell)
{
    const char *p = cell.p;

    for (size_t i = 0; i < cell.size; i++) {
        if (p[i] == '<')
            kv_buf_text(out, "&lt;");
        else if (p[i] == '>')
            kv_buf_text(out, "&gt;");
        else if (p[i] == '&')
            kv_buf_text(out, "&amp;");
        else if (p[i] == '"')
            kv_buf_text(out, "&quot;");
        else if (p[i] == '\'')
            kv_buf_text(out, "&#39;");
        else
            kv_buf_byte(out, (uint8_t)p[i]);
    }
}

static void print_json(struct kv_buf *out, const struct vt_value *value)
{
    char number[CLI_REAL_TEXT_MAX];

    switch (value->kind) {
    case VT_NULL:
        kv_buf_text(out, "null");
        return;
    case VT_INTEGER:
        http_json_int(out, value->integer);
        return;
    case VT_REAL:
        if (isinf(value->real))
            kv_buf_text(out, value->real < 0 ? "-9.0e+999" : "9.0e+999");
        else
            kv_buf_text(out, cli_real_text(number, value->real));
        return;
    case VT_TEXT:
        http_json_string(out, value->p, value->size);
        return;
    case VT_BLOB:
        http_json_bytes(out, value->p, value->size, true);
        return;
    }
}

/* ---- rows that go at once ------------------------------------------------------- */

static const char *print_name(const struct cli_print *print, unsigned column)
{
    const char *name = (const char *)print->names.p;

    while (column-- > 0)
        name += strlen(name) + 1;
    return name;
}

static kvsql_rc print_flush(struct cli_print *print, struct kvsql_error *err)
{
    const kvsql_rc rc = kv_buf_result(&print->line, "a row", err);

    if (rc == KVSQL_OK && print->line.size > 0 &&
        fwrite(print->line.p, 1, print->line.size, print->out) !=
            print->line.size)
        return kv_fail(err, KVSQL_IO, "cannot write the rows");
    kv_buf_reset(&print->line, 1u << 20);
    return rc;
}

/* Between columns, and behind a row, of the delimited modes. */
static const char *print_between(const struct cli_print *print)
{
    return print->mode == CLI_MODE_CSV || print->mode == CLI_MODE_QUOTE ? ","
           : print->mode == CLI_MODE_TABS ? "\t"
           : print->mode == CLI_MODE_ASCII ? "\x1f"
                                            : print->separator;
}

static const char *print_behind(const struct cli_print *print)
{
    return print->mode == CLI_MODE_CSV     ? "\r\n"
           : print->mode == CLI_MODE_ASCII ? "\x1e"
                                           : "\n";
}

static void print_delimited(struct cli_print *print,
                            const struct vt_value *values)
{
    char number[CLI_REAL_TEXT_MAX];

    for (unsigned i = 0; i < print->columns; i++) {
        const kvsql_slice text = print_plain(print, &values[i], number);

        if (i > 0)
            kv_buf_text(&print->line, print_between(print));
        if (print->mode == CLI_MODE_CSV)
            print_csv(&print->line, text, values[i].kind == VT_NULL);
        else if (print->mode == CLI_MODE_QUOTE)
            print_literal(&print->line, print, &values[i]);
        else
            kv_buf_add(&print->line, text.p, text.size);
    }
    kv_buf_text(&print->line, print_behind(print));
}

static void print_line_row(struct cli_print *print,
                           const struct vt_value *values)
{
    char number[CLI_REAL_TEXT_MAX];
    size_t width = PRINT_LINE_NAME_MIN;

    for (unsigned i = 0; i < print->columns; i++) {
        const size_t size = strlen(print_name(print, i));

        width = size > width ? size : width;
    }
    if (print->rows > 0)
        kv_buf_byte(&print->line, '\n');
    for (unsigned i = 0; i < print->columns; i++) {
        const kvsql_slice text = print_plain(print, &values[i], number);

        kv_buf_printf(&print->line, "%*s = ", (int)width,
                      print_name(print, i));
        kv_buf_add(&print->line, text.p, text.size);
        kv_buf_byte(&print->line, '\n');
    }
}

static void print_insert_row(struct cli_print *print,
                             const struct vt_value *values)
{
    kv_buf_printf(&print->line, "INSERT INTO \"%s\"", print->table);
    for (unsigned i = 0; i < print->columns && print->headers; i++)
        kv_buf_printf(&print->line, "%s%s", i == 0 ? "(" : ",",
                      print_name(print, i));
    kv_buf_text(&print->line, print->headers ? ") VALUES(" : " VALUES(");
    for (unsigned i = 0; i < print->columns; i++) {
        if (i > 0)
            kv_buf_byte(&print->line, ',');
        print_literal(&print->line, print, &values[i]);
    }
    kv_buf_text(&print->line, ");\n");
}

static void print_json_row(struct cli_print *print,
                           const struct vt_value *values)
{
    kv_buf_text(&print->line, print->rows == 0 ? "[{" : ",\n{");
    for (unsigned i = 0; i < print->columns; i++) {
        if (i > 0)
            kv_buf_byte(&print->line, ',');
        http_json_text(&print->line, print_name(print, i));
        kv_buf_byte(&print->line, ':');
        print_json(&print->line, &values[i]);
    }
    kv_buf_byte(&print->line, '}');
}

static void print_html_row(struct cli_print *print,
                           const struct vt_value *values)
{
    char number[CLI_REAL_TEXT_MAX];

    kv_buf_text(&print->line, "<TR>");
    for (unsigned i = 0; i < print->columns; i++) {
        kv_buf_text(&print->line, "<TD>");
        print_html(&print->line, print_plain(print, &values[i], number));
        kv_buf_text(&print->line, "</TD>\n");
    }
    kv_buf_text(&print->line, "</TR>\n");
}

/* ---- rows that are kept ----------------------------------------------------------- */

/* A byte that would move the terminal's cursor or change its state. */
static bool print_control(uint8_t c)
{
    return (c < ' ' && c != '\n') || c == 0x7f;
}

/* Text for a box: control bytes escaped, so that no value reaches the
 * terminal as a command. */
static void print_keep(struct cli_print *print, kvsql_slice text, bool blob)
{
    const uint8_t *p = text.p;
    const size_t from = print->text.size;

    for (size_t i = 0; i < text.size; i++) {
        if (p[i] == '\t')
            kv_buf_text(&print->text, "    ");
        else if (print_control(p[i]) || (blob && p[i] >= 0x80))
            kv_buf_printf(&print->text, "\\x%02x", p[i]);
        else
            kv_buf_byte(&print->text, p[i]);
    }
    kv_buf_u64(&print->cells, from);
    kv_buf_u64(&print->cells, print->text.size - from);
    kv_buf_u64(&print->cells, 0);
}

static kvsql_slice print_kept(const struct cli_print *print, uint64_t row,
                              unsigned column)
{
    const uint8_t *cell = print->cells.p + PRINT_CELL_SIZE *
                                               (row * print->columns + column);
    const uint8_t *text =
        print->text.p != NULL ? print->text.p : (const uint8_t *)"";

    return (kvsql_slice){text + kv_u64_get(cell), kv_u64_get(cell + 8)};
}

/* Columns on the terminal of one character; *size are its bytes. */
static int print_width_one(const char *p, size_t left, size_t *size)
{
    mbstate_t state = {0};
    wchar_t c;
    const size_t n = mbrtowc(&c, p, left, &state);

    *size = n == 0 || n > left ? 1 : n;
    if (n == 0 || n > left)
        return 1;
    const int width = wcwidth(c);
    return width < 0 ? 1 : width;
}

/* Columns of the text up to LF or its end; *size are its bytes. */
static size_t print_width(kvsql_slice text, size_t *size)
{
    const char *p = text.p;
    size_t at = 0, width = 0;

    while (at < text.size && p[at] != '\n') {
        size_t one;

        width += (size_t)print_width_one(p + at, text.size - at, &one);
        at += one;
    }
    *size = at;
    return width;
}

/* The widest line of a text. */
static size_t print_widest(kvsql_slice text)
{
    size_t widest = 0;

    for (;;) {
        size_t size;
        const size_t width = print_width(text, &size);

        widest = width > widest ? width : widest;
        if (size >= text.size)
            return widest;
        text = (kvsql_slice){(const char *)text.p + size + 1,
                             text.size - size - 1};
    }
}

struct print_frame {
    const char *left, *cross, *right, *rule; /* of a line of rules */
};
static const struct print_frame print_box_top = {"┌", "┬", "┐", "─"},
                                print_box_middle = {"├", "┼", "┤", "─"},
                                print_box_bottom = {"└", "┴", "┘", "─"},
                                print_table_rule = {"+", "+", "+", "-"},
                                print_markdown_rule = {"|", "|", "|", "-"};

static void print_rules(struct cli_print *print, const size_t *widths,
                        const struct print_frame *frame)
{
    kv_buf_text(&print->line, frame->left);
    for (unsigned i = 0; i < print->columns; i++) {
        if (i > 0)
            kv_buf_text(&print->line, frame->cross);
        for (size_t n = widths[i] + 2; n > 0; n--)
            kv_buf_text(&print->line, frame->rule);
    }
    kv_buf_text(&print->line, frame->right);
    kv_buf_byte(&print->line, '\n');
}

/* One cell of a line, padded; in the middle when it is a heading. */
static void print_padded(struct cli_print *print, kvsql_slice text,
                         size_t width, bool middle, bool last)
{
    size_t size;
    const size_t used = print_width(text, &size);
    const size_t pad = width > used ? width - used : 0;
    const size_t before = middle ? pad / 2 : 0;

    for (size_t i = 0; i < before; i++)
        kv_buf_byte(&print->line, ' ');
    kv_buf_add(&print->line, text.p, size);
    for (size_t i = before; i < pad && !last; i++)
        kv_buf_byte(&print->line, ' ');
}

/* One line of cells; texts[i] moves on to its next line. True when some cell
 * has more lines. */
static bool print_cells(struct cli_print *print, kvsql_slice *texts,
                        const size_t *widths, bool heading)
{
    const bool column = print->mode == CLI_MODE_COLUMN;
    const char *wall = print->mode == CLI_MODE_BOX ? "│" : "|";
    bool more = false;

    for (unsigned i = 0; i < print->columns; i++) {
        size_t size;

        if (column)
            kv_buf_text(&print->line, i > 0 ? "  " : "");
        else
            kv_buf_printf(&print->line, "%s%s ", i > 0 ? " " : "", wall);
        print_padded(print, texts[i], widths[i], heading && !column,
                     column && i + 1 == print->columns);
        (void)print_width(texts[i], &size);
        size += size < texts[i].size;
        texts[i] = (kvsql_slice){(const char *)texts[i].p + size,
                                 texts[i].size - size};
        more = more || texts[i].size > 0;
    }
    if (!column)
        kv_buf_printf(&print->line, " %s", wall);
    kv_buf_byte(&print->line, '\n');
    return more;
}

static void print_heading(struct cli_print *print, kvsql_slice *texts,
                          const size_t *widths)
{
    if (print->mode == CLI_MODE_BOX)
        print_rules(print, widths, &print_box_top);
    else if (print->mode == CLI_MODE_TABLE)
        print_rules(print, widths, &print_table_rule);
    for (unsigned i = 0; i < print->columns; i++) {
        const char *name = print_name(print, i);

        texts[i] = (kvsql_slice){name, strlen(name)};
    }
    (void)print_cells(print, texts, widths, true);
    if (print->mode == CLI_MODE_COLUMN) {
        for (unsigned i = 0; i < print->columns; i++) {
            kv_buf_text(&print->line, i > 0 ? "  " : "");
            for (size_t n = 0; n < widths[i]; n++)
                kv_buf_byte(&print->line, '-');
        }
        kv_buf_byte(&print->line, '\n');
        return;
    }
    print_rules(print, widths,
                print->mode == CLI_MODE_BOX     ? &print_box_middle
                : print->mode == CLI_MODE_TABLE ? &print_table_rule
                                                : &print_markdown_rule);
}

static kvsql_rc print_framed(struct cli_print *print, size_t *widths,
                             kvsql_slice *texts, struct kvsql_error *err)
{
    kvsql_rc rc = KVSQL_OK;

    for (unsigned i = 0; i < print->columns; i++)
        widths[i] = print_widest((kvsql_slice){print_name(print, i),
                                               strlen(print_name(print, i))});
    for (uint64_t row = 0; row < print->rows; row++)
        for (unsigned i = 0; i < print->columns; i++) {
            const size_t width = print_widest(print_kept(print, row, i));

            widths[i] = width > widths[i] ? width : widths[i];
        }
    print_heading(print, texts, widths);
    for (uint64_t row = 0; row < print->rows && rc == KVSQL_OK; row++) {
        for (unsigned i = 0; i < print->columns; i++)
            texts[i] = print_kept(print, row, i);
        while (print_cells(print, texts, widths, false))
            continue;
        rc = print_flush(print, err);
    }
    if (print->mode == CLI_MODE_BOX)
        print_rules(print, widths, &print_box_bottom);
    else if (print->mode == CLI_MODE_TABLE)
        print_rules(print, widths, &print_table_rule);
    return rc == KVSQL_OK ? print_flush(print, err) : rc;
}

/* All that was kept; nothing when there was no row, as sqlite3 does. */
static kvsql_rc print_all(struct cli_print *print, struct kvsql_error *err)
{
    const size_t widths_size = print->columns * sizeof(size_t);
    const size_t texts_size = print->columns * sizeof(kvsql_slice);
    kvsql_rc rc = kv_buf_result(&print->cells, "the rows of a box", err);

    if (rc == KVSQL_OK)
        rc = kv_buf_result(&print->text, "the rows of a box", err);
    if (rc != KVSQL_OK || print->rows == 0)
        return rc;
    size_t *widths = kv_mem_alloc(KV_MEM_CLIENT, widths_size);
    kvsql_slice *texts = kv_mem_alloc(KV_MEM_CLIENT, texts_size);
    if (widths == NULL || texts == NULL)
        rc = kv_fail(err, KVSQL_NOMEM, "no memory for a box");
    else
        rc = print_framed(print, widths, texts, err);
    kv_mem_free(KV_MEM_CLIENT, widths, widths_size);
    kv_mem_free(KV_MEM_CLIENT, texts, texts_size);
    return rc;
}

/* ---- the sink ------------------------------------------------------------------- */

static void print_header(struct cli_print *print)
{
    for (unsigned i = 0; i < print->columns; i++) {
        const char *name = print_name(print, i);
        const kvsql_slice text = {name, strlen(name)};

        if (print->mode == CLI_MODE_HTML) {
            kv_buf_text(&print->line, i == 0 ? "<TR><TH>" : "<TH>");
            print_html(&print->line, text);
            kv_buf_text(&print->line, "</TH>\n");
            continue;
        }
        if (i > 0)
            kv_buf_text(&print->line, print_between(print));
        if (print->mode == CLI_MODE_CSV)
            print_csv(&print->line, text, false);
        else if (print->mode == CLI_MODE_QUOTE)
            print_literal(&print->line, print,
                          &(struct vt_value){.kind = VT_TEXT,
                                             .p = (const uint8_t *)name,
                                             .size = text.size});
        else
            kv_buf_text(&print->line, name);
    }
    kv_buf_text(&print->line, print->mode == CLI_MODE_HTML
                                  ? "</TR>\n"
                                  : print_behind(print));
}

static kvsql_rc print_begin(void *arg, unsigned columns,
                            const char *const *names, struct kvsql_error *err)
{
    struct cli_print *print = arg;
    const enum cli_mode mode = print->mode;

    print->columns = columns;
    print->rows = 0;
    kv_buf_reset(&print->names, 1u << 16);
    kv_buf_reset(&print->cells, 1u << 20);
    kv_buf_reset(&print->text, 1u << 20);
    kv_buf_reset(&print->line, 1u << 20);
    for (unsigned i = 0; i < columns; i++)
        kv_buf_add(&print->names, names[i], strlen(names[i]) + 1);
    const kvsql_rc rc = kv_buf_result(&print->names, "names of columns", err);
    if (rc != KVSQL_OK)
        return rc;
    if (print->headers && !print_keeps(mode) && mode != CLI_MODE_LINE &&
        mode != CLI_MODE_JSON && mode != CLI_MODE_INSERT)
        print_header(print);
    return KVSQL_OK;
}

static kvsql_rc print_row(void *arg, unsigned columns,
                          const struct vt_value *values,
                          struct kvsql_error *err)
{
    struct cli_print *print = arg;
    char number[CLI_REAL_TEXT_MAX];

    if (print_keeps(print->mode)) {
        for (unsigned i = 0; i < columns; i++)
            print_keep(print, print_plain(print, &values[i], number),
                       values[i].kind == VT_BLOB);
        print->rows++;
        return KVSQL_OK;
    }
    switch (print->mode) {
    case CLI_MODE_LINE:
        print_line_row(print, values);
        break;
    case CLI_MODE_INSERT:
        print_insert_row(print, values);
        break;
    case CLI_MODE_JSON:
        print_json_row(print, values);
        break;
    case CLI_MODE_HTML:
        print_html_row(print, values);
        break;
    default:
        print_delimited(print, values);
        break;
    }
    print->rows++;
    return print_flush(print, err);
}

struct cli_rows cli_print_rows(struct cli_print *print)
{
    return (struct cli_rows){
        .begin = print_begin, .row = print_row, .arg = print};
}

kvsql_rc cli_print_end(struct cli_print *print, struct kvsql_error *err)
{
    if (print_keeps(print->mode))
        return print_all(print, err);
    if (print->mode == CLI_MODE_JSON && print->rows > 0)
        kv_buf_text(&print->line, "]\n");
    return print_flush(print, err);
}
