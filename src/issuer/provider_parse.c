/*
 * A definition's file → struct provider.
 *
 * libinih splits lines into keys and values; this file feeds it line by line, because what a person
 * must be told cannot be learned from its callback: the line's number, that a line was too long
 * (libinih would cut it), and where a section begins (libinih cuts its name at 49 bytes and says
 * nothing of an empty one). Leading blanks are taken off, so an indented key is a key and not the
 * continuation of the one before.
 */
#include "issuer/provider_parts.h"

#include <ctype.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"

#define LINE_BYTES_MAX 2048 /* with line feed and NUL; the longest value is 1023 bytes */
#define KEY_SHOWN_MAX  48

struct parse {
    const char *file;
    const char *bytes;
    size_t len;
    size_t at;
    int line;                  /* the one libinih looks at */
    int section_line;          /* 0: none yet */
    int lines[PROPERTIES_MAX]; /* where each property was set; 0: not */
    struct provider provider;
    int err; /* the first one; the rest of the file is not read */
    struct err_text *text;
};

#define FAIL(p, fmt, ...)                                                                          \
    ((p)->err = err_say((p)->text, ERR_INVALID, "%s:%d: " fmt, (p)->file, (p)->line, __VA_ARGS__))

static bool is_comment_or_blank(const char *text, size_t len)
{
    while (len > 0 && (*text == ' ' || *text == '\t' || *text == '\r')) {
        text++;
        len--;
    }
    return len == 0 || *text == ';' || *text == '#';
}

/* "[provider NAME]", the only section there is. */
static void section_begin(struct parse *parse, const char *line, size_t len)
{
    static const char word[] = "provider";
    char name[NAME_MAX_LEN + 1];
    const char *end = memchr(line, ']', len);
    if (end == NULL || !is_comment_or_blank(end + 1, len - (size_t)(end + 1 - line))) {
        FAIL(parse, "%s", "expected a section, [provider NAME], on a line of its own");
        return;
    }
    if (parse->section_line != 0) {
        FAIL(parse, "a second section; one file defines one provider (the first is in line %d)",
             parse->section_line);
        return;
    }
    const char *from = line + 1;
    while (from < end && (*from == ' ' || *from == '\t')) {
        from++;
    }
    size_t word_len = sizeof(word) - 1;
    bool is_ours = (size_t)(end - from) > word_len && memcmp(from, word, word_len) == 0 &&
                   (from[word_len] == ' ' || from[word_len] == '\t');
    if (!is_ours) {
        FAIL(parse, "%s", "unknown section; expected [provider NAME]");
        return;
    }
    from += word_len;
    while (from < end && (*from == ' ' || *from == '\t')) {
        from++;
    }
    while (end > from && (end[-1] == ' ' || end[-1] == '\t')) {
        end--;
    }
    size_t name_len = (size_t)(end - from);
    snprintf(name, sizeof(name), "%.*s", (int)(name_len < sizeof(name) ? name_len : 0), from);
    if (!name_is_valid(name)) {
        FAIL(parse,
             "a provider's name has 1 to %d letters, digits or any of . _ @ + -, and does "
             "not begin with . or -",
             NAME_MAX_LEN);
        return;
    }
    provider_set_defaults(&parse->provider, name);
    parse->section_line = parse->line;
}

static void line_check(struct parse *parse, const char *line, size_t len, size_t room)
{
    if (len + 2 > room) {
        FAIL(parse, "the line is too long; at most %zu bytes", room - 2);
        return;
    }
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)line[i] < ' ' && line[i] != '\t' && !(line[i] == '\r' && i + 1 == len)) {
            FAIL(parse, "control byte 0x%02x", (unsigned)(unsigned char)line[i]);
            return;
        }
    }
    if (len > 0 && line[0] == '[') {
        section_begin(parse, line, len);
    }
}

/* libinih's reader: like fgets, but one call is one line. */
static char *line_next(char *room, int room_size, void *stream)
{
    struct parse *parse = stream;
    if (parse->err != 0 || parse->at >= parse->len) {
        return NULL;
    }
    const char *line = parse->bytes + parse->at;
    const char *end = memchr(line, '\n', parse->len - parse->at);
    size_t whole = end != NULL ? (size_t)(end - line) : parse->len - parse->at;
    parse->at += whole + (end != NULL ? 1 : 0);
    parse->line++;

    size_t indent = 0;
    while (indent < whole && (line[indent] == ' ' || line[indent] == '\t')) {
        indent++;
    }
    size_t len = whole - indent;
    line_check(parse, line + indent, len, (size_t)room_size);
    if (parse->err != 0) {
        return NULL;
    }
    memcpy(room, line + indent, len);
    room[len] = '\n';
    room[len + 1] = '\0';
    return room;
}

static void unknown_key(struct parse *parse, const char *key)
{
    const char *known[PROPERTIES_MAX];
    size_t n = 0;
    for (const struct property *prop; (prop = property_at((unsigned)n)) != NULL; n++) {
        known[n] = prop->shown.key;
    }
    const char *nearest = str_nearest(key, known, n);
    if (nearest != NULL) {
        FAIL(parse, "unknown key '%.*s'; did you mean '%s'?", KEY_SHOWN_MAX, key, nearest);
    } else {
        FAIL(parse, "unknown key '%.*s'", KEY_SHOWN_MAX, key);
    }
}

static void key_set(struct parse *parse, const char *key, const char *value)
{
    struct err_text why = {""};
    unsigned at = 0;
    if (parse->section_line == 0) {
        FAIL(parse, "'%.*s' stands before the section [provider NAME]", KEY_SHOWN_MAX, key);
    } else if (property_find(key, &at) != 0) {
        unknown_key(parse, key);
    } else if (parse->lines[at] != 0) {
        FAIL(parse, "%s is already set in line %d", key, parse->lines[at]);
    } else if (property_set(property_at(at), &parse->provider, value, &why) != 0) {
        FAIL(parse, "%s", why.text);
    } else {
        parse->lines[at] = parse->line;
    }
}

/* libinih's callback: non-zero to go on. */
static int key_value(void *user, const char *section, const char *key, const char *value)
{
    struct parse *parse = user;
    (void)section; /* may be cut; section_begin() has seen the whole of it */
    if (parse->err == 0) {
        key_set(parse, key, value);
    }
    return parse->err == 0;
}

static int read_all(struct parse *parse)
{
    /* A variable of the library, as Debian builds it: the size of the line it hands to its reader.
     * Put back, for whoever else in this program reads INI. */
    int before = ini_max_line;
    ini_max_line = LINE_BYTES_MAX;
    int rc = ini_parse_stream(line_next, parse, key_value, parse);
    ini_max_line = before;

    if (parse->err == 0 && rc > 0) {
        parse->line = rc;
        FAIL(parse, "%s", "expected 'key = value'");
    } else if (parse->err == 0 && rc < 0) {
        parse->err = ERR_NOMEM;
    }
    return parse->err;
}

static int finish(struct parse *parse)
{
    struct err_text why = {""};
    const char *key = NULL;
    if (parse->section_line == 0) {
        return err_say(parse->text, ERR_INVALID, "%s: no section [provider NAME]", parse->file);
    }
    if (parse->provider.title[0] == '\0') {
        CHECK(str_copy(parse->provider.title, sizeof(parse->provider.title),
                       parse->provider.name) == 0);
    }
    int err = provider_check(&parse->provider, &key, &why);
    if (err == 0) {
        return 0;
    }
    unsigned at = 0;
    bool is_set = key != NULL && property_find(key, &at) == 0 && parse->lines[at] != 0;
    parse->line = is_set ? parse->lines[at] : parse->section_line;
    return FAIL(parse, "%s", why.text);
}

int provider_parse(const char *file, const char *bytes, size_t len, struct provider *ret,
                   struct err_text *text)
{
    static const char bom[] = "\xef\xbb\xbf";
    struct parse parse = {.file = file, .bytes = bytes, .len = len, .text = text};
    if (len > PROVIDER_FILE_MAX) {
        return err_say(text, ERR_TOO_LARGE, "%s: larger than %d bytes", file, PROVIDER_FILE_MAX);
    }
    if (!str_is_utf8(bytes, len)) {
        return err_say(text, ERR_INVALID, "%s: not UTF-8 text", file);
    }
    if (len >= sizeof(bom) - 1 && memcmp(bytes, bom, sizeof(bom) - 1) == 0) {
        parse.at = sizeof(bom) - 1;
    }

    int err = read_all(&parse);
    if (err == 0) {
        err = finish(&parse);
    }
    if (err == 0) {
        *ret = parse.provider;
    }
    return err;
}
