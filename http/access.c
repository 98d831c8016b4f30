/* access.c - who may ask: Host, Origin, token.
 *
 * A local server without a password is reachable from every web page that its
 * user opens; the first two checks are the only fence then (X5, X6). They run
 * before the token, for every method and every path.
 *
 * Always true:
 *   A1  a secret is compared over HTTP_TOKEN_MAX bytes, all of them, with both
 *       lengths folded in; nothing leaves early (X4).
 *   A2  what a request may do is decided from this request alone (X11).
 *
 * Thread: the event loop's. */
#include <string.h>
#include <strings.h>

#include "http/request.h"
#include "kvsql/base/num.h"
#include "kvsql/base/text.h"

/* ---- Host ------------------------------------------------------------------- */

/* Split "name:port", "[v6]:port"; the port is 0 when there is none. */
static bool access_host_split(kvsql_slice host, kvsql_slice *name,
                              uint16_t *port)
{
    const char *p = host.p;
    size_t size = host.size, name_size;

    *port = 0;
    if (size == 0)
        return false;
    if (p[0] == '[') {
        const char *end = memchr(p, ']', size);
        if (end == NULL)
            return false;
        name_size = (size_t)(end - p) + 1;
    } else {
        const char *colon = memchr(p, ':', size);
        name_size = colon ? (size_t)(colon - p) : size;
    }
    *name = (kvsql_slice){p, name_size};
    if (name_size == size)
        return name_size > 0;
    int64_t number;
    if (p[name_size] != ':' ||
        !kv_num_int(p + name_size + 1, size - name_size - 1, &number) ||
        number < 1 || number > 65535)
        return false;
    *port = (uint16_t)number;
    return name_size > 0;
}

/* Digits and dots, or in brackets: an address, not a name that somebody could
 * have pointed at us. */
static bool access_is_address(kvsql_slice name)
{
    const char *p = name.p;

    if (p[0] == '[')
        return true;
    for (size_t i = 0; i < name.size; i++)
        if ((p[i] < '0' || p[i] > '9') && p[i] != '.')
            return false;
    return true;
}

/* Does the door listen on the address that Host names? */
static bool access_is_ours(const struct http_server *server, kvsql_slice name)
{
    const struct kv_listeners *listeners = &server->listeners;

    for (unsigned i = 0; i < listeners->count; i++)
        if (http_is_fold(name, listeners->at[i].address) ||
            (listeners->at[i].wildcard && access_is_address(name)))
            return true;
    return false;
}

static bool access_host(const struct http_request *request)
{
    static const char *const always[] = {"localhost", "127.0.0.1", "[::1]"};
    const struct http_server *server = request->server;
    kvsql_slice name;
    uint16_t port;

    if (!access_host_split(request->headers[HTTP_H_HOST], &name, &port))
        return false;
    if (port != 0 && port != server->listeners.port)
        return false;
    for (unsigned i = 0; i < 3; i++)
        if (http_is_fold(name, always[i]))
            return true;
    if (access_is_ours(server, name))
        return true;
    for (unsigned i = 0; server->hosts[i] != NULL; i++)
        if (http_is_fold(name, server->hosts[i]))
            return true;
    return false;
}

/* ---- Origin ------------------------------------------------------------------- */

static bool access_own_origin(const struct http_request *request,
                              kvsql_slice origin)
{
    static const char scheme[] = "http://";
    kvsql_slice host = request->headers[HTTP_H_HOST];
    size_t skip = sizeof scheme - 1;
    const char *p = origin.p;

    return origin.size == skip + host.size &&
           strncasecmp(p, scheme, skip) == 0 &&
           strncasecmp(p + skip, host.p, host.size) == 0;
}

/* The listed origin to echo, or NULL. */
static const char *access_listed(const struct http_server *server,
                                 kvsql_slice origin)
{
    for (unsigned i = 0; server->origins[i] != NULL; i++)
        if (strcmp(server->origins[i], "*") == 0 ||
            http_is_fold(origin, server->origins[i]))
            return server->origins[i];
    return NULL;
}

static bool access_origin(struct http_request *request)
{
    kvsql_slice origin = request->headers[HTTP_H_ORIGIN];
    bool cross =
        http_is_fold(request->headers[HTTP_H_SEC_FETCH_SITE], "cross-site");

    if (origin.p == NULL)
        return !cross;
    if (http_is_fold(origin, "null"))
        return false;
    request->cors = access_listed(request->server, origin);
    return request->cors != NULL ||
           (!cross && access_own_origin(request, origin));
}

/* ---- token --------------------------------------------------------------------- */

kvsql_rc http_secret_set(struct http_secret *secret, const char *what,
                         const char *text, struct kvsql_error *err)
{
    size_t size = text ? strlen(text) : 0;

    *secret = (struct http_secret){0};
    if (size > HTTP_TOKEN_MAX)
        return kv_fail(err, KVSQL_INVALID,
                       "http: the %s is longer than %d bytes; shorten it",
                       what, HTTP_TOKEN_MAX);
    if (size > 0)
        memcpy(secret->bytes, text, size);
    secret->size = size;
    return KVSQL_OK;
}

/* The caller has looked at its size. */
static void access_replace(struct http_server *server,
                           struct http_secret *secret, const char *text)
{
    struct http_secret fresh;
    struct kvsql_error err;

    if (http_secret_set(&fresh, "secret", text, &err) != KVSQL_OK) {
        KV_ASSERT(false);
    }
    kv_lock_take(&server->secrets_lock);
    *secret = fresh;
    kv_lock_drop(&server->secrets_lock);
    explicit_bzero(&fresh, sizeof fresh);
}

void http_password_set(struct http_server *server, const char *text)
{
    access_replace(server, &server->password, text);
}

void http_tokens_set(struct http_server *server, const char *token,
                     const char *token_readonly)
{
    access_replace(server, &server->token, token);
    access_replace(server, &server->token_readonly, token_readonly);
}

static bool access_equal(const struct http_secret *secret,
                         const struct http_secret *given)
{
    volatile size_t differ = secret->size ^ given->size;

    for (size_t i = 0; i < HTTP_TOKEN_MAX; i++) /* A1 */
        differ |= (size_t)(secret->bytes[i] ^ given->bytes[i]);
    return differ == 0 && secret->size != 0;
}

static bool access_is(struct http_server *server,
                      const struct http_secret *secret,
                      const struct http_secret *given)
{
    kv_lock_take(&server->secrets_lock);
    const bool equal = access_equal(secret, given);
    kv_lock_drop(&server->secrets_lock);
    return equal;
}

static bool access_has_secret(struct http_server *server)
{
    kv_lock_take(&server->secrets_lock);
    const bool has = server->token.size > 0 ||
                     server->token_readonly.size > 0 ||
                     server->password.size > 0;
    kv_lock_drop(&server->secrets_lock);
    return has;
}

static enum http_rights access_token(struct http_server *server,
                                     kvsql_slice text)
{
    struct http_secret given = {0};

    if (text.size > HTTP_TOKEN_MAX)
        return HTTP_RIGHT_NONE;
    if (text.size > 0)
        memcpy(given.bytes, text.p, text.size);
    given.size = text.size;
    bool all = access_is(server, &server->token, &given);
    bool password = access_is(server, &server->password, &given);
    bool read = access_is(server, &server->token_readonly, &given);
    return all || password ? HTTP_RIGHT_ALL
           : read          ? HTTP_RIGHT_READ
                           : HTTP_RIGHT_NONE;
}

/* "default:PASSWORD" in base64. */
static enum http_rights access_basic(struct http_server *server,
                                     kvsql_slice text)
{
    static const char user[] = "default:";
    enum http_rights rights = HTTP_RIGHT_NONE;
    struct http_secret given = {0};
    struct kv_buf buf;

    kv_buf_init(&buf, KV_MEM_CLIENT, sizeof user + HTTP_TOKEN_MAX);
    if (kv_base64_decode(&buf, text.p, text.size) && !buf.failed &&
        buf.size >= sizeof user - 1 &&
        memcmp(buf.p, user, sizeof user - 1) == 0) {
        given.size = buf.size - (sizeof user - 1);
        if (given.size > 0 && given.size <= HTTP_TOKEN_MAX)
            memcpy(given.bytes, buf.p + sizeof user - 1, given.size);
        if (given.size <= HTTP_TOKEN_MAX &&
            access_is(server, &server->password, &given))
            rights = HTTP_RIGHT_ALL;
    }
    kv_buf_fini(&buf);
    return rights;
}

static bool access_scheme(kvsql_slice value, const char *scheme,
                          kvsql_slice *rest)
{
    size_t size = strlen(scheme);
    const char *p = value.p;

    if (value.size <= size || strncasecmp(p, scheme, size) != 0 ||
        p[size] != ' ')
        return false;
    while (size < value.size && p[size] == ' ')
        size++;
    *rest = (kvsql_slice){p + size, value.size - size};
    return true;
}

static enum http_rights access_rights(struct http_request *request)
{
    struct http_server *server = request->server;
    kvsql_slice header = request->headers[HTTP_H_AUTHORIZATION], rest;

    request->token_given = header.p != NULL && header.size > 0;
    if (!access_has_secret(server))
        return HTTP_RIGHT_ALL;
    if (request->token_given) {
        if (access_scheme(header, "Bearer", &rest))
            return access_token(server, rest);
        if (access_scheme(header, "Basic", &rest))
            return access_basic(server, rest);
        return HTTP_RIGHT_NONE;
    }
    enum http_rights rights =
        access_token(server, http_param(request, "_token"));
    request->token_given = rights != HTTP_RIGHT_NONE;
    return rights;
}

bool http_access(struct http_request *request)
{
    if (!access_host(request)) {
        http_refuse(request, HTTP_P_HOST,
                    "the Host header names another host");
        return false;
    }
    if (!access_origin(request)) {
        http_refuse(request, HTTP_P_ORIGIN,
                    "a web page of another origin asks");
        return false;
    }
    if (request->method == HTTP_OPTIONS)
        return true; /* says what is there, does nothing */
    request->rights = access_rights(request);
    if (request->rights == HTTP_RIGHT_NONE &&
        (request->route == NULL || request->route->rights != HTTP_RIGHT_NONE)) {
        http_refuse(request, HTTP_P_TOKEN, "invalid or missing auth token");
        return false;
    }
    return true;
}
