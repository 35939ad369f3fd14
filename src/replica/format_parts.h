/*
 * What a definition of a format is made of: shared by the files of the formats and format.c alone.
 */
#ifndef REPLICA_FORMAT_PARTS_H
#define REPLICA_FORMAT_PARTS_H

#include "replica/format.h"

#define ACCOUNT_PATHS_MAX 8
#define FIXED_MAX         4
#define CLIENT_LOCKS_MAX  3

/* A lock that the client takes, and so do we. */
struct client_lock {
    enum client_lock_kind {
        CLIENT_LOCK_NONE,
        CLIENT_LOCK_FOLDER, /* whoever makes it has it (sys/folder_lock.h) */
        CLIENT_LOCK_FILE,   /* flock(), exclusive; the file stays */
    } kind;
    enum { IN_FOLDER, BESIDE_FOLDER } where; /* BESIDE: of the folder's own name, without links */
    const char *name;
    int64_t stale_ms; /* of a folder: not touched for so long, it is a leftover */
};

/* Members by their dotted paths; NULL: the format has none such. */
struct format {
    const char *name;
    const char *file;       /* in the client's folder */
    const char *label_file; /* in the folder or beside it: who the client shows as signed in … */
    const char *label_path; /* … as a member of that JSON; NULL: none */
    const char *folder_variable; /* of the environment: which folder; NULL: none */
    /* In the order in which the client takes them. */
    struct client_lock locks[CLIENT_LOCKS_MAX + 1];
    const char *login; /* all of it goes when nobody is signed in any more; NULL: the whole store */
    const char *access;
    const char *refresh;
    bool refresh_stays_empty; /* an access token alone: the member is "", and not absent */
    const char *id_token;
    const char *expires_ms;  /* Unix ms; NULL: the access token is a JWT that says it */
    bool expires_is_number;  /* not known, it is 0; else null */
    const char *deadline_ms; /* Unix ms: the login's own end */
    const char *scopes;      /* the granted scopes … */
    bool scopes_are_list;    /* … as an array of strings; else as one string, with blanks */
    const char *written;     /* RFC 3339: when the pair was written */
    const char *account[ACCOUNT_PATHS_MAX + 1]; /* members that go with the login */
    struct {
        const char *path, *value;
    } fixed[FIXED_MAX + 1]; /* what the client wants to find; written only where it is absent */
};

extern const struct format format_claude, format_codex, format_gemini, format_opencode;

#endif
