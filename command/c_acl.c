/* c_acl.c - ACL with the one user there is: `default`, who may do everything
 * once the password, if there is one, was given.
 *
 * Thread: the caller's of cmd_run(). */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "command/client.h"
#include "command/context.h"
#include "command/traits.h"
#include "kvsql/base/os.h"

#define ACL_USER "default"
#define ACL_SHOWN_MAX 128   /* bytes of a client's word in a sentence */
#define ACL_BITS_MAX 4096   /* of GENPASS */
#define ACL_TEXT_ONE_USER                                                     \
    "ERR there is one user, 'default'; its password is `requirepass` of the " \
    "configuration"
#define ACL_TEXT_NO_FILE                                                      \
    "ERR This Redis instance is not configured to use an ACL file. You may "  \
    "want to specify users via the ACL SETUSER command and then issue a "     \
    "CONFIG REWRITE (assuming you have a Redis configuration file set) in "   \
    "order to store users in the Redis configuration."

static int acl_shown(kvsql_slice word)
{
    return (int)(word.size < ACL_SHOWN_MAX ? word.size : ACL_SHOWN_MAX);
}

static bool acl_is_user(kvsql_slice name)
{
    return name.size == sizeof(ACL_USER) - 1 &&
           memcmp(name.p, ACL_USER, name.size) == 0;
}

/* Must a password be given? */
static bool acl_has_password(void)
{
    return cmd_password_check(NULL, (kvsql_slice){"", 0}) >= 0;
}

void cmd_do_acl_whoami(struct cmd_context *c)
{
    cmd_reply_text(c->reply, ACL_USER);
}

void cmd_do_acl_users(struct cmd_context *c)
{
    cmd_reply_array(c->reply, 1);
    cmd_reply_text(c->reply, ACL_USER);
}

void cmd_do_acl_list(struct cmd_context *c)
{
    cmd_reply_array(c->reply, 1);
    cmd_reply_text(c->reply, acl_has_password()
                                 ? "user default on ~* &* +@all"
                                 : "user default on nopass ~* &* +@all");
}

void cmd_do_acl_getuser(struct cmd_context *c)
{
    const bool password = acl_has_password();

    if (!acl_is_user(c->argv[2])) {
        cmd_reply_null(c->reply);
        return;
    }
    cmd_reply_map(c->reply, 6);
    cmd_reply_text(c->reply, "flags");
    cmd_reply_set(c->reply, password ? 1 : 2);
    cmd_reply_text(c->reply, "on");
    if (!password) {
        cmd_reply_text(c->reply, "nopass");
    }
    cmd_reply_text(c->reply, "passwords"); /* never told, not even hashed */
    cmd_reply_array(c->reply, 0);
    cmd_reply_text(c->reply, "commands");
    cmd_reply_text(c->reply, "+@all");
    cmd_reply_text(c->reply, "keys");
    cmd_reply_text(c->reply, "~*");
    cmd_reply_text(c->reply, "channels");
    cmd_reply_text(c->reply, "&*");
    cmd_reply_text(c->reply, "selectors");
    cmd_reply_array(c->reply, 0);
}

/* ---- CAT ----------------------------------------------------------------- */

static bool acl_in(const struct cmd_row *row, const char *category)
{
    const char *own;

    for (unsigned n = 0; (own = cmd_traits_category(row, n)) != NULL; n++) {
        if (strcmp(own, category) == 0) {
            return true;
        }
    }
    return false;
}

static void acl_cat_all(struct cmd_context *c)
{
    const size_t place = cmd_reply_begin(c->reply, CMD_REPLY_ARRAY);
    unsigned count = 0;

    for (; cmd_traits_categories(count) != NULL; count++) {
        cmd_reply_text(c->reply, cmd_traits_categories(count));
    }
    cmd_reply_end(c->reply, place, count);
}

/* Names of the commands of a category. */
static void acl_cat_one(struct cmd_context *c, const char *category)
{
    const size_t place = cmd_reply_begin(c->reply, CMD_REPLY_ARRAY);
    struct kv_buf name;
    uint64_t count = 0;

    kv_buf_init(&name, KV_MEM_CLIENT, 256);
    for (unsigned i = 0; i < cmd_count(); i++) {
        if (acl_in(cmd_at(i), category) && !cmd_traits_is_box(cmd_at(i))) {
            kv_buf_reset(&name, name.cap);
            cmd_name_lower(cmd_at(i), &name);
            cmd_reply_bulk(c->reply, name.p, name.size);
            count++;
        }
    }
    cmd_reply_end(c->reply, place, count);
    if (name.failed) {
        cmd_fail_nomem(c);
    }
    kv_buf_fini(&name);
}

void cmd_do_acl_cat(struct cmd_context *c)
{
    const char *category;

    if (c->argc > 3) {
        cmd_fail_arity(c);
        return;
    }
    if (c->argc == 2) {
        acl_cat_all(c);
        return;
    }
    for (unsigned n = 0; (category = cmd_traits_categories(n)) != NULL; n++) {
        if (strlen(category) == c->argv[2].size &&
            strncasecmp(category, c->argv[2].p, c->argv[2].size) == 0) {
            acl_cat_one(c, category);
            return;
        }
    }
    cmd_fail(c, KVSQL_UNKNOWN, "ERR Unknown category '%.*s'",
             acl_shown(c->argv[2]), (const char *)c->argv[2].p);
}

/* ---- the others ---------------------------------------------------------- */

void cmd_do_acl_genpass(struct cmd_context *c)
{
    static const char digits[] = "0123456789abcdef";
    const struct kv_os *os = kv_os_real();
    uint8_t bytes[ACL_BITS_MAX / 8];
    char text[ACL_BITS_MAX / 4];
    int64_t bits = 256;
    size_t size;

    if (c->argc > 3) {
        cmd_fail_arity(c);
        return;
    }
    if (c->argc == 3 && !cmd_int(c, 2, &bits, NULL)) {
        return;
    }
    if (bits <= 0 || bits > ACL_BITS_MAX) {
        cmd_fail(c, KVSQL_RANGE,
                 "ERR ACL GENPASS argument must be the number of bits for the "
                 "output password, a positive number up to %d",
                 ACL_BITS_MAX);
        return;
    }
    size = ((size_t)bits + 3) / 4;
    os->random(os->arg, bytes, sizeof(bytes));
    for (size_t i = 0; i < size; i++) {
        text[i] = digits[bytes[i / 2] >> (i % 2 == 0 ? 4 : 0) & 15];
    }
    cmd_reply_bulk(c->reply, text, size);
}

/* Nobody was refused by a rule: there are none. */
void cmd_do_acl_log(struct cmd_context *c)
{
    int64_t count;

    if (c->argc > 3) {
        cmd_fail_arity(c);
    } else if (cmd_is(c, 2, "RESET")) {
        cmd_answer_ok(c);
    } else if (c->argc == 2 || cmd_int(c, 2, &count, NULL)) {
        cmd_reply_array(c->reply, 0);
    }
}

void cmd_do_acl_dryrun(struct cmd_context *c)
{
    const struct cmd_row *row;
    struct kvsql_error err;

    if (!acl_is_user(c->argv[2])) {
        cmd_fail(c, KVSQL_NOTFOUND, "ERR User '%.*s' not found",
                 acl_shown(c->argv[2]), (const char *)c->argv[2].p);
        return;
    }
    const kvsql_rc rc = cmd_resolve(c->argc - 3, c->argv + 3, &row, &err);
    if (row == NULL) {
        cmd_fail(c, KVSQL_UNKNOWN, "ERR Command '%.*s' not found",
                 acl_shown(c->argv[3]), (const char *)c->argv[3].p);
    } else if (rc != KVSQL_OK) {
        cmd_fail(c, rc, "%s", err.text);
    } else {
        cmd_answer_ok(c);
    }
}

void cmd_do_acl_setuser(struct cmd_context *c)
{
    cmd_fail(c, KVSQL_INVALID, ACL_TEXT_ONE_USER);
}

void cmd_do_acl_deluser(struct cmd_context *c)
{
    for (unsigned i = 2; i < c->argc; i++) {
        if (acl_is_user(c->argv[i])) {
            cmd_fail(c, KVSQL_INVALID,
                     "ERR The 'default' user cannot be removed");
            return;
        }
    }
    cmd_reply_int(c->reply, 0);
}

void cmd_do_acl_file(struct cmd_context *c)
{
    cmd_fail(c, KVSQL_INVALID, ACL_TEXT_NO_FILE);
}
