/*
 * Strict JSON on top of jansson. The number of values is bounded before parsing, because a document
 * of empty objects grows a hundredfold in memory.
 */
#include "json/json.h"

#include <math.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/secret.h"

/* jansson (2.14) does not look whether a text could grow while it reads one: short of memory, it
 * leaves bytes out, gives us a token that nobody has issued, reads on behind the end of it, or ends
 * the process. So it never hears of that: reading is left by a jump, and what had been allocated
 * for it is freed from a list. */
struct ring {
    struct ring *before, *after; /* alone: itself */
};
struct block {
    struct ring ring;
    max_align_t bytes[];
};

static _Thread_local struct {
    bool is_on;
    struct ring made;
    jmp_buf out;
} reading;

static void ring_begin(struct ring *r)
{
    r->before = r->after = r;
}

static void ring_add(struct ring *to, struct ring *r)
{
    r->before = to;
    r->after = to->after;
    r->after->before = r;
    to->after = r;
}

static void ring_leave(struct ring *r)
{
    r->before->after = r->after;
    r->after->before = r->before;
    ring_begin(r);
}

static void *json_memory(size_t size)
{
    struct block *b = secret_alloc(sizeof(*b) + size);
    if (b == NULL && reading.is_on) {
        longjmp(reading.out, 1);
    }
    if (b == NULL) {
        return NULL;
    }
    ring_begin(&b->ring);
    if (reading.is_on) {
        ring_add(&reading.made, &b->ring);
    }
    return b->bytes;
}

static void json_memory_free(void *p)
{
    if (p != NULL) {
        struct block *b = (struct block *)((char *)p - offsetof(struct block, bytes));
        ring_leave(&b->ring);
        secret_free(b);
    }
}

void json_use_secret_memory(void)
{
    json_set_alloc_funcs(json_memory, json_memory_free);
}

/* NULL, and a fault of memory or of the text. */
static json_t *load(const char *bytes, size_t len, size_t flags, json_error_t *ret_fault)
{
    ring_begin(&reading.made);
    if (setjmp(reading.out) != 0) {
        reading.is_on = false;
        while (reading.made.after != &reading.made) {
            json_memory_free(((struct block *)reading.made.after)->bytes);
        }
        *ret_fault = (json_error_t){.line = 1, .column = 1};
        ret_fault->text[sizeof(ret_fault->text) - 1] = (char)json_error_out_of_memory;
        return NULL;
    }
    reading.is_on = true;
    json_t *root = json_loadb(bytes, len, flags, ret_fault);
    reading.is_on = false;
    while (reading.made.after != &reading.made) { /* what is kept may go to other threads */
        ring_leave(reading.made.after);
    }
    return root;
}

static const char *fault_name(enum json_error_code code)
{
    switch (code) {
    case json_error_premature_end_of_input:
        return "it ends too early";
    case json_error_end_of_input_expected:
        return "something follows the end of the JSON";
    case json_error_duplicate_key:
        return "a key stands there twice";
    case json_error_invalid_utf8:
        return "not UTF-8 text";
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return "a NUL inside a string";
    case json_error_stack_overflow:
        return "nested too deeply";
    case json_error_numeric_overflow:
        return "a number too large";
    case json_error_out_of_memory:
    case json_error_unknown:
    case json_error_cannot_open_file:
    case json_error_invalid_argument:
    case json_error_invalid_syntax:
    case json_error_invalid_format:
    case json_error_wrong_type:
    case json_error_null_value:
    case json_error_item_not_found:
    case json_error_index_out_of_range:
        break;
    }
    return "not valid JSON";
}

/* Every value but the first of its container follows a comma, every container has one bracket.
 * Counting inside strings too only makes the bound stricter. */
static bool has_too_many_values(const char *bytes, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        n += bytes[i] == ',' || bytes[i] == '{' || bytes[i] == '[';
    }
    return n > JSON_VALUES_MAX;
}

bool json_has_nul(const char *bytes, size_t len, struct json_fault *ret_fault)
{
    const char *nul = len > 0 ? memchr(bytes, '\0', len) : NULL;
    if (nul == NULL) {
        return false;
    }
    *ret_fault = (struct json_fault){ERR_INVALID, 1, 1, "a NUL byte"};
    for (const char *c = bytes; c < nul; c++) {
        ret_fault->column = *c == '\n' ? 1 : ret_fault->column + 1;
        ret_fault->line += *c == '\n' ? 1 : 0;
    }
    return true;
}

json_t *json_read_object(const char *bytes, size_t len, struct json_fault *ret_fault)
{
    json_error_t fault = {.line = 1, .column = 1};
    if (has_too_many_values(bytes, len)) {
        *ret_fault = (struct json_fault){ERR_INVALID, 1, 1, "too many values"};
        return NULL;
    }
    json_t *root = load(bytes, len, JSON_REJECT_DUPLICATES, &fault);
    /* An integer beyond 64 bits somewhere in the document must not cost us the tokens next to it:
     * as a real it is merely imprecise. */
    if (root == NULL && json_error_code(&fault) == json_error_numeric_overflow) {
        root = load(bytes, len, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &fault);
    }
    if (root == NULL && json_error_code(&fault) == json_error_out_of_memory) {
        *ret_fault = (struct json_fault){ERR_NOMEM, 1, 1, "out of memory"};
        return NULL;
    }
    if (root == NULL) {
        *ret_fault = (struct json_fault){ERR_INVALID, fault.line, fault.column,
                                         fault_name(json_error_code(&fault))};
        return NULL;
    }
    if (!json_is_object(root)) {
        json_decref(root);
        *ret_fault = (struct json_fault){ERR_INVALID, 1, 1, "not a JSON object"};
        return NULL;
    }
    return root;
}

json_t *json_read_own(const char *text)
{
    json_error_t fault;
    return load(text, strlen(text), JSON_DECODE_ANY, &fault);
}

const json_t *json_at(const json_t *root, const char *path, size_t len)
{
    const json_t *value = root;
    for (const char *end = path + len; value != NULL && path < end;) {
        const char *dot = memchr(path, '.', (size_t)(end - path));
        size_t name_len = (size_t)((dot != NULL ? dot : end) - path);
        value = json_object_getn(value, path, name_len);
        path += name_len + (dot != NULL ? 1 : 0);
    }
    return value;
}

const char *json_string_at(const json_t *root, const char *path)
{
    return json_string_value(json_at(root, path, strlen(path)));
}

int json_add_value(const json_t *value, struct buf *out)
{
    /* Into room of ours: jansson's own text would be lost bytes, short of memory (see above). */
    size_t size = json_dumpb(value, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY);
    if (size > out->max - out->len) {
        return ERR_TOO_LARGE;
    }
    uint8_t *room = size > 0 ? buf_reserve(out, size) : NULL;
    if (room == NULL) {
        return ERR_NOMEM;
    }
    (void)json_dumpb(value, (char *)room, size, JSON_COMPACT | JSON_ENCODE_ANY);
    buf_commit(out, size);
    return 0;
}

int json_read_number(const json_t *value, double *ret)
{
    double number = 0;
    if (json_is_number(value)) {
        number = json_number_value(value);
    } else if (json_is_string(value)) {
        const char *text = json_string_value(value);
        char *end = NULL;
        /* strtod also takes "inf", "0x1p3" and leading blanks. */
        if (*text == '\0' || text[strspn(text, "0123456789.eE+-")] != '\0') {
            return ERR_INVALID;
        }
        number = strtod(text, &end);
        if (*end != '\0') {
            return ERR_INVALID;
        }
    } else {
        return ERR_INVALID;
    }
    if (!isfinite(number)) {
        return ERR_INVALID;
    }
    *ret = number;
    return 0;
}
