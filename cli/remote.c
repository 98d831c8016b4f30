/* remote.c - requests to a running server, by libcurl.
 *
 * One easy handle is kept, so the connection is kept alive between requests.
 * Proxies of the environment are not used: the server is asked straight.
 *
 * Thread: the owner's; the interrupt flag is set by a signal handler. */
#include "cli/remote.h"

#include <curl/curl.h>
#include <string.h>

#include "kvsql/base/mem.h"

#define REMOTE_URL_MAX 1024
#define REMOTE_TOKEN_MAX 512
#define REMOTE_CONNECT_MS 5000L

struct cli_remote {
    CURL *curl;
    char url[REMOTE_URL_MAX];
    char authorization[REMOTE_TOKEN_MAX]; /* whole header line, or "" */
    char error[CURL_ERROR_SIZE];
};

volatile sig_atomic_t cli_interrupted;

/* libcurl gives bytes of the answer. */
static size_t remote_write(char *p, size_t one, size_t size, void *arg)
{
    struct kv_buf *out = arg;

    kv_buf_add(out, p, one * size);
    return out->failed ? 0 : one * size;
}

/* libcurl asks now and then whether to go on. */
static int remote_going_on(void *arg, curl_off_t down_total, curl_off_t down,
                           curl_off_t up_total, curl_off_t up)
{
    (void)arg;
    (void)down_total;
    (void)down;
    (void)up_total;
    (void)up;
    return cli_interrupted != 0;
}

static bool remote_setup(struct cli_remote *remote)
{
    CURL *curl = remote->curl;

    return curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https") ==
               CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_NOPROXY, "*") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                            REMOTE_CONNECT_MS) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, remote->error) ==
               CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, remote_write) ==
               CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION,
                            remote_going_on) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L) == CURLE_OK;
}

kvsql_rc cli_remote_open(const char *url, const char *token,
                         struct cli_remote **remote, struct kvsql_error *err)
{
    size_t size = strlen(url);

    *remote = NULL;
    while (size > 0 && url[size - 1] == '/')
        size--;
    if ((strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0) ||
        size >= REMOTE_URL_MAX)
        return kv_fail(err, KVSQL_INVALID,
                       "'%s' is not a URL like http://127.0.0.1:8080", url);
    if (token != NULL && strlen(token) + 32 > REMOTE_TOKEN_MAX)
        return kv_fail(err, KVSQL_INVALID, "the token is longer than %d bytes",
                       REMOTE_TOKEN_MAX - 32);
    struct cli_remote *made = kv_mem_zalloc(KV_MEM_CLIENT, sizeof *made);
    if (made == NULL)
        return kv_fail(err, KVSQL_NOMEM, "no memory for a connection");
    memcpy(made->url, url, size);
    if (token != NULL && token[0] != '\0')
        (void)snprintf(made->authorization, sizeof made->authorization,
                       "Authorization: Bearer %s", token);
    made->curl = curl_easy_init();
    if (made->curl == NULL || !remote_setup(made)) {
        cli_remote_close(made);
        return kv_fail(err, KVSQL_NOMEM, "libcurl cannot be set up");
    }
    *remote = made;
    return KVSQL_OK;
}

void cli_remote_close(struct cli_remote *remote)
{
    if (remote == NULL)
        return;
    curl_easy_cleanup(remote->curl);
    kv_mem_free(KV_MEM_CLIENT, remote, sizeof *remote);
}

const char *cli_remote_library(void)
{
    return curl_version_info(CURLVERSION_NOW)->version;
}

const char *cli_remote_url(const struct cli_remote *remote)
{
    return remote->url;
}

/* One header line more; NULL when there is no memory, then the list is gone. */
static struct curl_slist *remote_header(struct curl_slist *list,
                                        const char *line)
{
    struct curl_slist *longer = curl_slist_append(list, line);

    if (longer == NULL)
        curl_slist_free_all(list);
    return longer;
}

static struct curl_slist *remote_headers(const struct cli_remote *remote,
                                         bool body, const char *header)
{
    struct curl_slist *list = remote_header(NULL, "Expect:");

    if (list != NULL && body)
        list = remote_header(list, "Content-Type: application/json");
    if (list != NULL && remote->authorization[0] != '\0')
        list = remote_header(list, remote->authorization);
    if (list != NULL && header != NULL)
        list = remote_header(list, header);
    return list;
}

/* What libcurl says, in our words. */
static kvsql_rc remote_result(const struct cli_remote *remote, CURLcode code,
                              const struct kv_buf *out,
                              struct kvsql_error *err)
{
    const char *why = remote->error[0] != '\0' ? remote->error
                                               : curl_easy_strerror(code);

    switch (code) {
    case CURLE_OK:
        return KVSQL_OK;
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
        return kv_fail(err, KVSQL_CLOSED,
                       "no server answers at %s (%s): start one with `kvsql "
                       "serve`, or name another URL",
                       remote->url, why);
    case CURLE_ABORTED_BY_CALLBACK:
        return kv_fail(err, KVSQL_INTERRUPT, "interrupted");
    case CURLE_OUT_OF_MEMORY:
        return kv_fail(err, KVSQL_NOMEM, "no memory for a request");
    case CURLE_WRITE_ERROR:
        if (out->failed)
            return kv_buf_result(out, "an answer of the server", err);
        break;
    default:
        break;
    }
    return kv_fail(err, KVSQL_IO, "the connection to %s broke: %s",
                   remote->url, why);
}

kvsql_rc cli_remote_request(struct cli_remote *remote, const char *path,
                            const struct kv_buf *body, const char *header,
                            long *status, struct kv_buf *out,
                            struct kvsql_error *err)
{
    char url[REMOTE_URL_MAX * 2];
    CURL *curl = remote->curl;

    if (snprintf(url, sizeof url, "%s%s", remote->url, path) >=
        (int)sizeof url)
        return kv_fail(err, KVSQL_TOOBIG, "the URL is too long");
    struct curl_slist *list = remote_headers(remote, body != NULL, header);
    if (list == NULL)
        return kv_fail(err, KVSQL_NOMEM, "no memory for a request");
    remote->error[0] = '\0';
    CURLcode code = curl_easy_setopt(curl, CURLOPT_URL, url);
    if (code == CURLE_OK)
        code = curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
    if (code == CURLE_OK)
        code = curl_easy_setopt(curl, CURLOPT_WRITEDATA, out);
    if (code == CURLE_OK && body == NULL)
        code = curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
    if (code == CURLE_OK && body != NULL)
        code = curl_easy_setopt(curl, CURLOPT_POST, 1L);
    if (code == CURLE_OK && body != NULL)
        code = curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE,
                                (curl_off_t)body->size);
    if (code == CURLE_OK && body != NULL)
        code = curl_easy_setopt(curl, CURLOPT_POSTFIELDS,
                                body->p != NULL ? (const char *)body->p : "");
    if (code == CURLE_OK)
        code = curl_easy_perform(curl);
    if (code == CURLE_OK)
        code = curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, status);
    curl_slist_free_all(list);
    return remote_result(remote, code, out, err);
}
