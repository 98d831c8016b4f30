/* bare.c - the peer of the HTTP door: libmicrohttpd and nothing else.
 *
 *   bare constant|json [POOL]     POOL bytes for each connection, 8192 unless said
 *
 * Every request gets the same 64 bytes from one response that is made at start;
 * with `json` the body is collected and parsed with cJSON first, and must be an
 * array of strings. Event loops, flags and pool are those of http/server.c. It
 * prints the port that the system chose, and ends when its input does.
 *
 * Thread: two event loops of the library's; main waits. */
#include <arpa/inet.h>
#include <cjson/cJSON.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BARE_LOOPS 2
#define BARE_BODY_MAX 65536

struct bare_request {
    size_t size, cap;
    char *body;
};

static const char bare_words[] =
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
static struct MHD_Response *bare_answer, *bare_wrong;
static bool bare_json;

static bool bare_add(struct bare_request *request, const char *piece,
                     size_t size)
{
    size_t cap = request->cap ? request->cap : 256;

    if (size > BARE_BODY_MAX - request->size)
        return false;
    while (cap < request->size + size)
        cap *= 2;
    if (cap > request->cap) {
        char *body = realloc(request->body, cap);
        if (body == NULL)
            return false;
        request->body = body;
        request->cap = cap;
    }
    memcpy(request->body + request->size, piece, size);
    request->size += size;
    return true;
}

/* Is the body an array of strings? */
static bool bare_parse(const struct bare_request *request)
{
    cJSON *const root = cJSON_ParseWithLength(request->body, request->size);
    bool good = cJSON_IsArray(root);

    for (const cJSON *at = good ? root->child : NULL; at != NULL; at = at->next)
        good = good && cJSON_IsString(at);
    cJSON_Delete(root);
    return good;
}

static enum MHD_Result bare_handle(void *arg,
                                   struct MHD_Connection *connection,
                                   const char *url, const char *method,
                                   const char *version, const char *upload,
                                   size_t *upload_size, void **state)
{
    struct bare_request *request = *state;

    (void)arg;
    (void)url;
    (void)method;
    (void)version;
    if (request == NULL) { /* an answer now would end the connection */
        *state = calloc(1, sizeof *request);
        return *state != NULL ? MHD_YES : MHD_NO;
    }
    if (*upload_size > 0) {
        const size_t size = *upload_size;
        *upload_size = 0;
        return bare_add(request, upload, size) ? MHD_YES : MHD_NO;
    }
    if (bare_json && !bare_parse(request))
        return MHD_queue_response(connection, 400, bare_wrong);
    return MHD_queue_response(connection, 200, bare_answer);
}

static void bare_completed(void *arg, struct MHD_Connection *connection,
                           void **state, enum MHD_RequestTerminationCode code)
{
    struct bare_request *request = *state;

    (void)arg;
    (void)connection;
    (void)code;
    if (request != NULL)
        free(request->body);
    free(request);
    *state = NULL;
}

static struct MHD_Response *bare_response(const char *text)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT);

    if (response == NULL ||
        MHD_add_response_header(response, "Content-Type", "text/plain") !=
            MHD_YES) {
        fprintf(stderr, "bare: no memory\n");
        exit(1);
    }
    return response;
}

int main(int argc, char **argv)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_addr.s_addr =
                                            htonl(INADDR_LOOPBACK)};
    const size_t pool = argc > 2 ? strtoul(argv[2], NULL, 10) : 8192;
    char end;

    if (argc < 2 || pool < 1024 ||
        (strcmp(argv[1], "constant") != 0 && strcmp(argv[1], "json") != 0)) {
        fprintf(stderr, "usage: bare constant|json [POOL]\n");
        return 2;
    }
    bare_json = strcmp(argv[1], "json") == 0;
    bare_answer = bare_response(bare_words);
    bare_wrong = bare_response("an array of strings was expected\n");
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME |
            MHD_USE_ERROR_LOG,
        0, NULL, NULL, bare_handle, NULL, MHD_OPTION_SOCK_ADDR, &address,
        MHD_OPTION_NOTIFY_COMPLETED, bare_completed, NULL,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, pool,
        MHD_OPTION_THREAD_POOL_SIZE, BARE_LOOPS, MHD_OPTION_END);
    if (daemon == NULL) {
        fprintf(stderr, "bare: the event loops do not start\n");
        return 1;
    }
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT);
    printf("port=%u\n", info != NULL ? info->port : 0u);
    fflush(stdout);
    while (read(STDIN_FILENO, &end, 1) > 0)
        ;
    MHD_stop_daemon(daemon);
    MHD_destroy_response(bare_answer);
    MHD_destroy_response(bare_wrong);
    return 0;
}
