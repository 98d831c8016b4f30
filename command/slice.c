/* slice.c - long answers on a view, made in slices.
 *
 * A reply of millions of elements is not made whole. Its handler says how many
 * there are, then leaves the rest as a state and a function that makes the next
 * slice; the view stays pinned meanwhile. The door sends what there is and asks
 * for more when the client has taken most of it. No thread waits for a client.
 *
 *   handler   cmd_slice_elems(...), or  state = cmd_slice_new(...)
 *                                       cmd_slice_run(...)
 *             cmd_answer_each(...)      with a slice or without
 *   door      cmd_client_work(.., slice)     slice->more: it goes on
 *             cmd_client_more(.., slice)     until it does not
 *             cmd_slice_end(slice)           at any time
 *
 * Always true:
 *   SL1  Once a slice was handed over, no error can take the place of the
 *        reply: what fails from then on ends the connection.
 *   SL2  c->slice is set only on a view, in a thread that may take its time.
 *
 * Thread: one at a time; a slice may be made by another thread than the one
 * before. */
#include <string.h>

#include "command/client.h"
#include "command/context.h"
#include "command/embed.h"

bool cmd_still_wanted(struct cmd_context *c)
{
    if (c->slice != NULL && atomic_load_explicit(c->slice->cancelled,
                                                 memory_order_relaxed)) {
        c->stopped = kv_fail(&c->err, KVSQL_INTERRUPT, "the client has left");
    } else if (c->pinned != NULL) {
        c->stopped = kv_view_ended(c->pinned, &c->err);
    } else if (c->embed != NULL && c->embed->stopped != NULL) {
        c->stopped = c->embed->stopped(c->embed->arg, &c->err);
    }
    if (c->stopped == KVSQL_OK) {
        return true;
    }
    c->reply->buf->failed = true; /* nothing more is written */
    return false;
}

bool cmd_slice_is_full(const struct cmd_context *c)
{
    return c->slice != NULL && c->reply->buf->size >= CMD_SLICE_SIZE;
}

bool cmd_slice_room(struct cmd_context *c)
{
    return cmd_goes_on(c) && !cmd_slice_is_full(c);
}

/* ---- handlers ----------------------------------------------------------- */

void *cmd_slice_new(struct cmd_context *c, size_t size)
{
    struct cmd_slice *slice = c->slice;

    KV_ASSERT(slice != NULL && slice->state == NULL); /* SL2 */
    slice->state = kv_mem_zalloc(KV_MEM_CLIENT, size);
    if (slice->state == NULL) {
        cmd_fail_nomem(c);
        return NULL;
    }
    slice->state_size = size;
    return slice->state;
}

void *cmd_slice_take(struct cmd_context *c, void *state, size_t size,
                     void (*fini)(void *state))
{
    void *taken = cmd_slice_new(c, size);

    if (taken != NULL) {
        memcpy(taken, state, size);
        memset(state, 0, size);
        c->slice->fini = fini;
    }
    return taken;
}

static void slice_forget(struct cmd_slice *slice)
{
    if (slice->fini != NULL) {
        slice->fini(slice->state);
    }
    kv_mem_free(KV_MEM_CLIENT, slice->state, slice->state_size);
    slice->state = NULL;
    slice->fini = NULL;
    slice->more = NULL;
}

void cmd_slice_run(struct cmd_context *c, cmd_slice_fn more)
{
    struct cmd_slice *slice = c->slice;

    slice->more = more;
    if (more(c, slice->state) || cmd_reply_failed(c->reply) ||
        c->reply->rc != KVSQL_OK) {
        slice_forget(slice);
    }
}

/* ---- elements of a collection ------------------------------------------- */

struct slice_elems {
    struct kv_elems elems;
    cmd_put_fn put;
    uint64_t left;
    bool back;
};

static bool slice_elems_more(struct cmd_context *c, void *state)
{
    struct slice_elems *s = state;

    while (s->left > 0 && cmd_slice_room(c)) {
        s->put(c, &s->elems.elem);
        s->left--;
        (void)(s->back ? kv_elems_prev(&s->elems) : kv_elems_next(&s->elems));
    }
    return s->left == 0;
}

void cmd_slice_elems(struct cmd_context *c, const struct kv_item *item,
                     enum kv_elem_order order, uint64_t rank, bool back,
                     uint64_t count, cmd_put_fn put)
{
    struct slice_elems *s = cmd_slice_new(c, sizeof(*s));

    if (s == NULL) {
        return;
    }
    kv_elems_init(&s->elems, &c->at, item, order);
    s->put = put;
    s->back = back;
    s->left = count > 0 && kv_elems_seek_rank(&s->elems, rank) ? count : 0;
    KV_ASSERT(s->left == count);
    cmd_slice_run(c, slice_elems_more);
}

/* ---- values by their index ---------------------------------------------- */

static bool slice_each_more(struct cmd_context *c, void *state)
{
    struct cmd_each *each = state;

    while (each->next < each->end && cmd_slice_room(c)) {
        each->put(c, state, each->next++);
    }
    return each->next == each->end;
}

void cmd_answer_each(struct cmd_context *c, struct cmd_each *each, size_t size,
                     void (*fini)(void *state))
{
    if (slice_each_more(c, each) || c->slice == NULL ||
        cmd_reply_failed(c->reply) || c->reply->rc != KVSQL_OK) {
        return;
    }
    if (cmd_slice_take(c, each, size, fini) != NULL) {
        cmd_slice_run(c, slice_each_more);
    }
}

/* ---- values of arguments ------------------------------------------------ */

struct slice_args {
    struct cmd_each each;
    struct kv_item item;
    bool found;
    cmd_put_arg_fn put;
};

static void slice_put_arg(struct cmd_context *c, void *state, uint64_t index)
{
    struct slice_args *s = state;

    s->put(c, s->found ? &s->item : NULL, (unsigned)index);
}

void cmd_answer_args(struct cmd_context *c, enum kv_type type,
                     cmd_put_arg_fn put)
{
    const struct kv_key key = cmd_key(c, 1);
    struct slice_args s = {{2, c->argc, slice_put_arg}, .put = put};
    const kvsql_rc rc = cmd_get_type(c, &key, type, &s.item);

    if (rc == KVSQL_WRONGTYPE || cmd_defer(c, c->argc - 2)) {
        return;
    }
    s.found = rc == KVSQL_OK;
    cmd_reply_array(c->reply, c->argc - 2);
    cmd_answer_each(c, &s.each, sizeof(s), NULL);
}

/* ---- the door's side ----------------------------------------------------- */

void cmd_slice_end(struct cmd_slice *slice)
{
    slice_forget(slice);
    kv_unpin(slice->view);
    slice->view = NULL;
}

kvsql_rc cmd_slice_ended(const struct cmd_slice *slice,
                         struct kvsql_error *err)
{
    return slice->view != NULL ? kv_view_ended(slice->view, err) : KVSQL_OK;
}

kvsql_rc cmd_client_more(struct cmd_client *client, kvsql *db, unsigned argc,
                         const kvsql_slice *argv, struct cmd_reply *reply,
                         struct cmd_slice *slice, struct kvsql_error *err)
{
    struct cmd_context c;

    KV_ASSERT(slice->more != NULL && slice->view != NULL);
    cmd_context_init(&c, db, argc, argv, reply);
    c.client = client;
    c.row = slice->row;
    c.slice = slice;
    c.view = &slice->at;
    c.at = slice->at;
    c.pinned = slice->view;
    reply->start = reply->buf->size;
    if (cmd_still_wanted(&c)) {
        cmd_call_more(&c);
    } else {
        cmd_slice_end(slice);
    }
    if (c.stopped != KVSQL_OK) {
        *err = c.err;
    } else if (cmd_reply_failed(reply)) {
        (void)kv_fail(err, KVSQL_NOMEM, "no memory for the reply");
    } else {
        err->rc = KVSQL_OK;
    }
    return err->rc;
}
