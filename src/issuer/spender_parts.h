/*
 * What the files of the daemon's end of the spender share with each other and with nobody else.
 *
 *   spender.c            what it is asked for: spender.h
 *   spender_question.c   questions on their way to a child
 *   spender_answer.c     answers on their way to the caller
 *   spender_child.c      the process: started, watched, reaped
 *   spender_time.c       one that has nothing to do, and one that does not answer
 *
 * One child process takes questions (`current`). Others may still be on their way out: they answer
 * what they have in hand, are heard until they exit, and get nothing new. A question belongs to one
 * child. Until its message is in the socket it can move to another one, because then nobody can
 * have seen it; from then on only that child, or that child's death, answers it.
 */
#ifndef ISSUER_SPENDER_PARTS_H
#define ISSUER_SPENDER_PARTS_H

#include "issuer/spender.h"

#define PROGRAM_PATH_MAX 4096

struct child {
    struct spender *owner; /* NULL once the owner is gone */
    struct child *next;
    pid_t pid;
    int pid_fd;
    int fd;
    uv_poll_t socket;
    uv_poll_t exit;
    int open_handles;
    int n_questions;
    bool is_ready; /* it said hello: its sandbox stands */
    bool is_stuck; /* it did not answer in time: gets nothing new */
    bool is_deaf;  /* its socket has ended: nothing more will be read from it */
};

struct question {
    struct question *next;
    struct child *child;
    uint64_t serial; /* its id on the wire */
    uint64_t id;     /* the caller's own */
    enum ask ask;
    int64_t limit_ms; /* for the answer, from when a child is given it */
    int64_t due_ms;   /* then the child is stuck; TIME_NEVER: nothing more is expected of it */
    spend_done spend_done;
    ask_done ask_done;
    void *ctx;
    struct buf message; /* until sent */
    int spool_fd;       /* until sent; -1 for asks */
    bool sent;
    bool unclear; /* nobody could tell yet whether it can be taken back */
};

struct spender {
    uv_loop_t *loop;
    uv_timer_t idle;
    uv_timer_t due; /* runs to the earliest question that is overdue, or wakes too early */
    int64_t due_ms;
    int open_handles;
    struct spender_options o;
    char program[PROGRAM_PATH_MAX];
    uint8_t box_public[BOX_PUBLIC_LEN];
    struct child *children;
    struct child *current;
    struct question *questions; /* in order of asking */
    int n_questions;
    uint64_t last_serial;
    uint8_t *packet; /* PACKET_MAX of secret memory: what is received */
    const uint8_t *rescued;
    size_t rescued_len;
    const char *why; /* during spend_done */
    char sandbox_text[64];
};

/* ---- spender_question.c ---- */

/* Takes over `spool_fd`, unless it returns NULL: no memory. */
struct question *question_new(struct spender *s, enum ask ask, uint64_t id, int spool_fd);
void question_free(struct question *q); /* NULL-tolerant */
/* Onto the list of the open ones, once it has a child; and off it. */
void question_link(struct spender *s, struct question *q);
void question_unlink(struct spender *s, struct question *q);

/* To the current child, which is started when there is none. 0 also when it has to wait for room in
 * the socket. */
int question_give(struct spender *s, struct question *q);
/* There is room in the socket: send what waits for it. */
void child_send_waiting(struct child *c);
/* The child takes no more: what it has not been given goes to a new one. When none can be started,
 * it stays where it is and is answered when this child exits. */
void child_move_waiting(struct child *from);

/* ---- spender_answer.c ---- */

/* Read what is there, at most `max` packets, and report what was answered. */
void child_read(struct child *c, int max);
/* The question is over without an answer. */
void question_report_unanswered(struct spender *s, struct question *q, const char *why);

/* ---- spender_child.c ---- */

/* One more, which takes the questions from now on. */
int child_start(struct spender *s);
/* What its socket wakes us for: UV_READABLE, and UV_WRITABLE while questions wait for room. */
void child_listen(struct child *c, int events);
/* It gets nothing new. */
void child_stop_using(struct child *c);
/* Nothing is read or sent any more. The child sees the end of its socket, finishes, exits. */
void child_hang_up(struct child *c);
/* Forget the child; its memory goes when the loop has closed its handles. */
void child_forget(struct child *c);

/* ---- spender_time.c ---- */

/* A child was given the question: its time runs from now on. */
void question_begin_time(struct question *q);
/* Called for each question; the timer is not put off when one is answered. */
void spender_arm_due(struct spender *s, int64_t due_ms);
/* If there is nothing to do, the child is sent away when that lasts. */
void spender_arm_idle(struct spender *s);

#endif
