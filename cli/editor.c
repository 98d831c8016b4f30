/* editor.c - lines from a person.
 *
 * With libedit (KVSQL_LIBEDIT): editing keys, a history in
 * $XDG_STATE_HOME/kvsql/history (else ~/.local/state/kvsql/history), mode 0600.
 * Without: plain lines. A line that holds a password is left out.
 *
 * Thread: the main thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#ifdef KVSQL_LIBEDIT
#include <histedit.h>
#endif

#include "cli/remote.h"
#include "cli/shell.h"
#include "kvsql/base/mem.h"

#define EDITOR_PATH_MAX 4096
#define EDITOR_HISTORY 1000

struct cli_editor {
    const char *prompt;
    char *input; /* getline's, without libedit */
    size_t input_size;
    char history_path[EDITOR_PATH_MAX]; /* "" without a home */
#ifdef KVSQL_LIBEDIT
    EditLine *line;
    History *history;
#endif
};

#ifdef KVSQL_LIBEDIT
/* Lines that no file shall hold. */
static bool editor_secret(const char *line)
{
    return strcasestr(line, "auth") != NULL ||
           strcasestr(line, "requirepass") != NULL ||
           strcasestr(line, "password") != NULL;
}

static void editor_history_path(struct cli_editor *editor)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char dir[EDITOR_PATH_MAX];
    int n;

    if (state != NULL && state[0] == '/')
        n = snprintf(dir, sizeof dir, "%s/kvsql", state);
    else if (home != NULL && home[0] == '/')
        n = snprintf(dir, sizeof dir, "%s/.local/state/kvsql", home);
    else
        return;
    if (n < 0 || n >= EDITOR_PATH_MAX - 16)
        return;
    for (char *slash = strchr(dir + 1, '/'); slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(dir, 0700); /* there already: fine; else no history */
        *slash = '/';
    }
    (void)mkdir(dir, 0700);
    (void)snprintf(editor->history_path, sizeof editor->history_path,
                   "%.4000s/history", dir);
}

static char *editor_prompt(EditLine *line)
{
    struct cli_editor *editor = NULL;
    static char empty[] = "";

    if (el_get(line, EL_CLIENTDATA, &editor) != 0 || editor == NULL)
        return empty;
    return (char *)(uintptr_t)editor->prompt; /* libedit only reads it */
}

static void editor_start(struct cli_editor *editor)
{
    HistEvent event;

    editor->line = el_init("kvsql", stdin, stdout, stderr);
    editor->history = history_init();
    if (editor->line == NULL || editor->history == NULL)
        return;
    editor_history_path(editor);
    history(editor->history, &event, H_SETSIZE, EDITOR_HISTORY);
    history(editor->history, &event, H_SETUNIQUE, 1);
    if (editor->history_path[0] != '\0')
        history(editor->history, &event, H_LOAD, editor->history_path);
    el_set(editor->line, EL_CLIENTDATA, editor);
    el_set(editor->line, EL_PROMPT, editor_prompt);
    el_set(editor->line, EL_EDITOR, "emacs");
    el_set(editor->line, EL_HIST, history, editor->history);
    el_source(editor->line, NULL);
}

static void editor_stop(struct cli_editor *editor)
{
    HistEvent event;

    if (editor->history != NULL && editor->history_path[0] != '\0' &&
        history(editor->history, &event, H_SAVE, editor->history_path) >= 0)
        (void)chmod(editor->history_path, 0600);
    if (editor->history != NULL)
        history_end(editor->history);
    if (editor->line != NULL)
        el_end(editor->line);
}

static const char *editor_read(struct cli_editor *editor, size_t *size)
{
    HistEvent event;
    int n = 0;

    if (editor->line == NULL || editor->history == NULL)
        return NULL;
    errno = 0;
    const char *line = el_gets(editor->line, &n);
    if (line == NULL || n <= 0)
        return NULL;
    *size = (size_t)n;
    if (line[strspn(line, " \t\n")] != '\0' && !editor_secret(line))
        history(editor->history, &event, H_ENTER, line);
    return line;
}
#else
static void editor_start(struct cli_editor *editor)
{
    (void)editor;
}

static void editor_stop(struct cli_editor *editor)
{
    free(editor->input); /* getline's block */
}

static const char *editor_read(struct cli_editor *editor, size_t *size)
{
    fputs(editor->prompt, stdout);
    fflush(stdout);
    const ssize_t n = getline(&editor->input, &editor->input_size, stdin);
    if (n < 0)
        return NULL;
    *size = (size_t)n;
    return editor->input;
}
#endif

struct cli_editor *cli_editor_open(void)
{
    struct cli_editor *editor =
        kv_mem_zalloc(KV_MEM_CLIENT, sizeof(struct cli_editor));

    if (editor != NULL)
        editor_start(editor);
    return editor;
}

void cli_editor_close(struct cli_editor *editor)
{
    if (editor == NULL)
        return;
    editor_stop(editor);
    kv_mem_free(KV_MEM_CLIENT, editor, sizeof *editor);
}

const char *cli_editor_line(struct cli_editor *editor, const char *prompt,
                            size_t *size)
{
    editor->prompt = prompt;
    cli_target_resume();
    const char *line = editor_read(editor, size);
    if (line == NULL && cli_interrupted != 0) {
        clearerr(stdin);
        fputc('\n', stdout);
        *size = 0;
        return "";
    }
    if (line == NULL)
        return NULL;
    while (*size > 0 && (line[*size - 1] == '\n' || line[*size - 1] == '\r'))
        --*size;
    return line;
}
