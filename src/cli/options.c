/* Command lines, as options.h has it. Pure: a test gives it a table of its own. */
#include "cli/options.h"

#include "base/check.h"
#include "base/str.h"

#define WORDS_MAX 32

const struct option_spec global_options[] = {
    {"json", NULL, "answer in JSON"},
    {"no-start", NULL, "do not start the daemon when it is not running"},
    {"help", NULL, "say what the command does"},
    {NULL, NULL, NULL},
};

/* A command line half-way through. */
struct parse {
    int argc;
    char *const *argv;
    int at; /* the next word */
    const struct command *const *table;
    size_t n_commands;
    struct invocation in;
    size_t n_args;
    bool only_args; /* behind "--" */
    struct err_text *text;
};

static size_t args_known(const struct command *c)
{
    size_t n = 0;
    while (c->args[n].name != NULL) {
        n++;
    }
    return n;
}

const char *option_value(const struct invocation *in, const char *name)
{
    const struct option_spec *known = in->command->options;
    size_t i = 0;
    while (known[i].name != NULL && strcmp(known[i].name, name) != 0) {
        i++;
    }
    CHECK(known[i].name != NULL);
    return in->values[i];
}

struct shown_word shown(const char *word)
{
    struct shown_word s;
    str_cut(s.text, WORD_SHOWN_MAX + 1, word);
    size_t len = strlen(s.text);
    if (word[len] != '\0') {
        memcpy(s.text + len, "…", sizeof("…"));
    }
    return s;
}

void command_usage(const struct command *c, char *buf, size_t size)
{
    int n = snprintf(buf, size, "credwarden %s", c->name);
    for (const struct arg_spec *a = c->args; a->name != NULL && n >= 0 && (size_t)n < size; a++) {
        n += snprintf(buf + n, size - (size_t)n, a->is_optional ? " [%s]" : " %s", a->name);
    }
    if (c->options[0].name != NULL && n >= 0 && (size_t)n < size) {
        n += snprintf(buf + n, size - (size_t)n, " [options]");
    }
    if (c->runs_program && n >= 0 && (size_t)n < size) {
        (void)snprintf(buf + n, size - (size_t)n, " -- PROGRAM [ARGUMENT…]");
    }
}

const struct command *command_find(const char *name, const struct command *const *table, size_t n,
                                   struct err_text *text)
{
    const char *words[WORDS_MAX];
    CHECK(n <= WORDS_MAX);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(table[i]->name, name) == 0) {
            return table[i];
        }
        words[i] = table[i]->name;
    }
    const char *near = str_nearest(name, words, n);
    if (near != NULL) {
        (void)err_say(text, ERR_INVALID, "there is no command '%s'; did you mean '%s'?",
                      shown(name).text, near);
    } else {
        (void)err_say(text, ERR_INVALID,
                      "there is no command '%s'; `credwarden help` lists the commands",
                      shown(name).text);
    }
    return NULL;
}

/* Every word is echoed in errors and sent in JSON: UTF-8 or nothing. */
static int check_utf8(const struct parse *p)
{
    for (int i = 1; i < p->argc; i++) {
        if (!str_is_utf8(p->argv[i], strlen(p->argv[i]))) {
            return err_say(p->text, ERR_INVALID, "argument %d is not valid UTF-8: '%s'", i,
                           shown(p->argv[i]).text);
        }
    }
    return 0;
}

static int unknown_option(const struct parse *p, const char *name)
{
    const char *words[WORDS_MAX];
    size_t n = 0;
    for (const struct option_spec *o = global_options; o->name != NULL; o++) {
        words[n++] = o->name;
    }
    const struct command *c = p->in.command;
    for (size_t i = 0; c != NULL && c->options[i].name != NULL; i++) {
        words[n++] = c->options[i].name;
    }
    if (c == NULL) {
        words[n++] = "version";
    }
    CHECK(n <= WORDS_MAX);
    const char *near = str_nearest(name, words, n);
    const char *of = c != NULL ? c->name : "credwarden";
    if (near != NULL) {
        return err_say(p->text, ERR_INVALID, "'%s' has no option '--%s'; did you mean '--%s'?", of,
                       name, near);
    }
    return err_say(p->text, ERR_INVALID,
                   "'%s' has no option '--%s'; `credwarden help%s%s` lists them", of, name,
                   c != NULL ? " " : "", c != NULL ? c->name : "");
}

/* The switch of a global option, or NULL. */
static bool *global_switch(struct invocation *in, const char *name)
{
    return strcmp(name, "json") == 0       ? &in->json
           : strcmp(name, "no-start") == 0 ? &in->no_start
           : strcmp(name, "help") == 0     ? &in->help
                                           : NULL;
}

static int take_switch(const struct parse *p, const char *name, const char *value)
{
    if (value != NULL) {
        return err_say(p->text, ERR_INVALID, "option '--%s' takes no value", name);
    }
    return 0;
}

static int take_option(struct parse *p, const struct option_spec *o, const char **slot,
                       const char *value)
{
    if (*slot != NULL) {
        return err_say(p->text, ERR_INVALID, "option '--%s' is given twice", o->name);
    }
    if (o->value == NULL) {
        *slot = "";
        return take_switch(p, o->name, value);
    }
    if (value == NULL && p->at < p->argc) {
        value = p->argv[p->at++];
    }
    if (value == NULL || *value == '\0') {
        return err_say(p->text, ERR_INVALID, "option '--%s' needs a value: --%s %s", o->name,
                       o->name, o->value);
    }
    *slot = value;
    return 0;
}

/* `word` is what follows the two dashes. */
static int long_option(struct parse *p, const char *word)
{
    char name[64];
    size_t len = strcspn(word, "=");
    const char *value = word[len] == '=' ? word + len + 1 : NULL;
    if (len >= sizeof(name)) {
        return err_say(p->text, ERR_INVALID, "there is no option '--%s'", shown(word).text);
    }
    memcpy(name, word, len);
    name[len] = '\0';
    bool *global = global_switch(&p->in, name);
    if (global != NULL) {
        *global = true;
        return take_switch(p, name, value);
    }
    const struct command *c = p->in.command;
    for (size_t i = 0; c != NULL && c->options[i].name != NULL; i++) {
        if (strcmp(c->options[i].name, name) == 0) {
            return take_option(p, &c->options[i], &p->in.values[i], value);
        }
    }
    if (c == NULL && strcmp(name, "version") == 0) { /* every program knows it */
        p->in.command = command_find(name, p->table, p->n_commands, p->text);
        return p->in.command != NULL ? 0 : ERR_INVALID;
    }
    return unknown_option(p, name);
}

static int argument(struct parse *p, const char *word)
{
    if (p->in.command == NULL) {
        p->in.command = command_find(word, p->table, p->n_commands, p->text);
        return p->in.command != NULL ? 0 : ERR_INVALID;
    }
    const struct command *c = p->in.command;
    if (p->n_args == args_known(c)) {
        char usage[160];
        command_usage(c, usage, sizeof(usage));
        return err_say(p->text, ERR_INVALID, "'%s' is one argument too many; usage: %s",
                       shown(word).text, usage);
    }
    p->in.args[p->n_args++] = word;
    return 0;
}

static int next_word(struct parse *p)
{
    const char *word = p->argv[p->at++];
    if (p->only_args || word[0] != '-' || word[1] == '\0') {
        return argument(p, word);
    }
    if (strcmp(word, "--") == 0 && p->in.command != NULL && p->in.command->runs_program) {
        p->in.program = p->at < p->argc ? p->argv + p->at : NULL;
        p->at = p->argc;
        return 0;
    }
    if (strcmp(word, "--") == 0) {
        p->only_args = true;
        return 0;
    }
    if (word[1] == '-') {
        return long_option(p, word + 2);
    }
    if (strcmp(word, "-h") == 0) {
        p->in.help = true;
        return 0;
    }
    return err_say(p->text, ERR_INVALID,
                   "there is no option '%s'; options are whole words behind two dashes",
                   shown(word).text);
}

/* What can only be judged once the whole line is known. */
static int check_args(const struct parse *p)
{
    const struct command *c = p->in.command;
    for (size_t i = 0; c->args[i].name != NULL; i++) {
        const char *arg = p->in.args[i];
        if (arg == NULL && !c->args[i].is_optional) {
            char usage[160];
            command_usage(c, usage, sizeof(usage));
            return err_say(p->text, ERR_INVALID, "%s is missing; usage: %s", c->args[i].name,
                           usage);
        }
        if (arg != NULL && *arg == '\0') {
            return err_say(p->text, ERR_INVALID, "%s is empty", c->args[i].name);
        }
        if (arg != NULL && c->args[i].kind == ARG_PROFILE && !name_is_valid(arg)) {
            return err_say(p->text, ERR_INVALID,
                           "'%s' cannot be the name of a profile: 1 to %d of the letters "
                           "A-Z a-z 0-9 . _ @ + - and no '.' or '-' in front",
                           shown(arg).text, NAME_MAX_LEN);
        }
    }
    if (c->runs_program && p->in.program == NULL) {
        return err_say(p->text, ERR_INVALID,
                       "there is no program to run: give it behind two dashes, as "
                       "`credwarden %s NAME -- PROGRAM`",
                       c->name);
    }
    return 0;
}

int options_parse(int argc, char *const *argv, const struct command *const *table, size_t n,
                  struct invocation *ret, struct err_text *text)
{
    struct parse p = {
        .argc = argc, .argv = argv, .at = 1, .table = table, .n_commands = n, .text = text};
    int err = check_utf8(&p);
    while (err == 0 && p.at < p.argc) {
        err = next_word(&p);
    }
    if (err == 0 && p.in.command != NULL && !p.in.help) {
        err = check_args(&p);
    }
    if (err == 0) {
        *ret = p.in;
    }
    return err;
}
