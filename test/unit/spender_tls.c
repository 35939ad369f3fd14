/*
 * The spender's way out: TLS that is really verified, proxies that are really used, and an
 * environment that brings nothing else along. The TLS server is `openssl s_server`, which relays
 * what it decrypts to this test.
 */
#include "spender_bench.h"

struct tls {
    pid_t pid;
    int to, from; /* plaintext to and from the client */
    int port;
    char cert[96], key[96];
    pthread_t thread;
};

static void run_openssl(char *const argv[], int in, int out, pid_t *ret_pid)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        dup2(in >= 0 ? in : null_fd, 0);
        dup2(out >= 0 ? out : null_fd, 1);
        dup2(null_fd, 2);
        execvp(argv[0], argv);
        _exit(127);
    }
    *ret_pid = pid;
}

static bool make_certificate(struct fixture *f, struct tls *t)
{
    snprintf(t->cert, sizeof(t->cert), "%s/cert.pem", f->path);
    snprintf(t->key, sizeof(t->key), "%s/key.pem", f->path);
    char *argv[] = {(char[]){"openssl"},
                    (char[]){"req"},
                    (char[]){"-x509"},
                    (char[]){"-newkey"},
                    (char[]){"ec"},
                    (char[]){"-pkeyopt"},
                    (char[]){"ec_paramgen_curve:prime256v1"},
                    (char[]){"-nodes"},
                    (char[]){"-days"},
                    (char[]){"2"},
                    (char[]){"-subj"},
                    (char[]){"/CN=localhost"},
                    (char[]){"-addext"},
                    (char[]){"subjectAltName=DNS:localhost"},
                    (char[]){"-keyout"},
                    t->key,
                    (char[]){"-out"},
                    t->cert,
                    NULL};
    pid_t pid;
    int status = -1;
    run_openssl(argv, -1, -1, &pid);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Reads the decrypted request, writes the answer. s_server ends with its one connection. */
static void *serve_plaintext(void *arg)
{
    struct tls *t = arg;
    char request[8192] = "";
    size_t len = 0;
    while (len < sizeof(request) - 1 && strstr(request, "rt-old") == NULL) {
        ssize_t n = read(t->from, request + len, sizeof(request) - 1 - len);
        if (n <= 0)
            return NULL;
        len += (size_t)n;
        request[len] = '\0';
    }
    (void)!write(t->to, GRANT, strlen(GRANT));
    return NULL;
}

static int free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    close(fd);
    return ntohs(at.sin_port);
}

static void wait_until_listening(int port)
{
    /* Looked up, not connected to: s_server would take that for its one connection. */
    char wanted[32], line[256];
    snprintf(wanted, sizeof(wanted), "0100007F:%04X 00000000:0000 0A", (unsigned)port);
    for (int i = 0; i < 1000; i++) {
        FILE *table = fopen("/proc/net/tcp", "re");
        bool found = false;
        while (table != NULL && !found && fgets(line, sizeof(line), table) != NULL)
            found = strstr(line, wanted) != NULL;
        if (table != NULL)
            fclose(table);
        if (found)
            return;
        usleep(5000);
    }
    fail_msg("openssl s_server does not listen");
}

static void tls_start(struct fixture *f, struct tls *t)
{
    int in[2], out[2];
    char accept_at[32];
    t->port = free_port();
    snprintf(accept_at, sizeof(accept_at), "127.0.0.1:%d", t->port);
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    char *argv[] = {(char[]){"openssl"},
                    (char[]){"s_server"},
                    (char[]){"-quiet"},
                    (char[]){"-accept"},
                    accept_at,
                    (char[]){"-naccept"},
                    (char[]){"1"},
                    (char[]){"-cert"},
                    t->cert,
                    (char[]){"-key"},
                    t->key,
                    NULL};
    run_openssl(argv, in[0], out[1], &t->pid);
    close(in[0]);
    close(out[1]);
    t->to = in[1];
    t->from = out[0];
    wait_until_listening(t->port);
    assert_int_equal(pthread_create(&t->thread, NULL, serve_plaintext, t), 0);
    snprintf(f->provider.token_url, URL_MAX, "https://localhost:%d/token", t->port);
}

static void tls_stop(struct tls *t)
{
    (void)kill(t->pid, SIGKILL);
    assert_int_equal(waitpid(t->pid, NULL, 0), t->pid);
    pthread_join(t->thread, NULL);
    close(t->to);
    close(t->from);
}

static void remove_certificate(struct tls *t)
{
    (void)unlink(t->cert);
    (void)unlink(t->key);
}

static bool has_openssl(struct fixture *f, struct tls *t)
{
    if (make_certificate(f, t))
        return true;
    print_message("SKIPPED: no openssl command to serve TLS with\n");
    return false;
}

static void a_certificate_nobody_vouches_for_is_unsent(void **state)
{
    struct fixture *f = *state;
    struct tls t = {.pid = 0};
    if (!has_openssl(f, &t))
        skip();
    tls_start(f, &t);
    assert_int_equal(spend(f), VERDICT_UNSENT);
    assert_non_null(strstr(f->reply.detail, "certificate"));
    tls_stop(&t);
    remove_certificate(&t);
}

static void a_certificate_the_user_trusts_is_accepted(void **state)
{
    struct fixture *f = *state;
    struct tls t = {.pid = 0};
    if (!has_openssl(f, &t))
        skip();
    tls_start(f, &t);
    assert_int_equal(setenv("SSL_CERT_FILE", t.cert, 1), 0);
    assert_int_equal(spend(f), VERDICT_GRANTED);
    assert_true(secret_is(&f->reply.tokens.refresh, "rt-new"));
    tls_stop(&t);

    /* Trusted, but for another name. */
    tls_start(f, &t);
    snprintf(f->provider.token_url, URL_MAX, "https://127.0.0.1:%d/token", t.port);
    assert_int_equal(spend(f), VERDICT_UNSENT);
    assert_int_equal(unsetenv("SSL_CERT_FILE"), 0);
    tls_stop(&t);
    remove_certificate(&t);
}

static void plain_http_where_tls_is_expected_is_unsent(void **state)
{
    struct fixture *f = *state;
    use_server(f, close_at_once, NULL);
    snprintf(f->provider.token_url, URL_MAX, "https://127.0.0.1:%d/token", f->server->port);
    assert_int_equal(spend(f), VERDICT_UNSENT);
}

/* ---- Proxies -------------------------------------------------------------------------------- */

static void a_proxy_that_refuses_the_tunnel_is_unsent(void **state)
{
    struct fixture *f = *state;
    char proxy[64];
    use_server(f, answer_with, "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
    snprintf(proxy, sizeof(proxy), "http://127.0.0.1:%d", f->server->port);
    assert_int_equal(setenv("https_proxy", proxy, 1), 0);
    (void)str_copy(f->provider.token_url, URL_MAX, "https://id.example/token");
    enum verdict verdict = spend(f);
    assert_int_equal(unsetenv("https_proxy"), 0);
    assert_int_equal(verdict, VERDICT_UNSENT);
    assert_int_equal(f->server->requests, 1);
    assert_non_null(strstr(f->server->request, "CONNECT id.example:443 HTTP/1.1"));
    assert_null(strstr(f->server->request, "rt-old")); /* a proxy never sees a token */
}

static void loopback_does_not_go_through_a_proxy(void **state)
{
    struct fixture *f = *state;
    use_server(f, answer_with, GRANT);
    assert_int_equal(setenv("http_proxy", "http://127.0.0.1:9", 1), 0);
    assert_int_equal(setenv("all_proxy", "http://127.0.0.1:9", 1), 0);
    enum verdict verdict = spend(f);
    assert_int_equal(unsetenv("http_proxy"), 0);
    assert_int_equal(unsetenv("all_proxy"), 0);
    assert_int_equal(verdict, VERDICT_GRANTED);
}

/* ---- What comes along ----------------------------------------------------------------------- */

static bool environment_of(pid_t pid, char *ret, size_t size)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/environ", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, ret, size - 1);
    close(fd);
    for (ssize_t i = 0; i < n; i++)
        if (ret[i] == '\0')
            ret[i] = '\n';
    ret[n > 0 ? n : 0] = '\0';
    return true;
}

static void only_listed_variables_come_along(void **state)
{
    struct fixture *f = *state;
    static char seen[65536];
    use_server(f, answer_with, GRANT);
    assert_int_equal(setenv("CREDWARDEN_TEST_SECRET", "no", 1), 0);
    assert_int_equal(setenv("no_proxyish", "no", 1), 0);
    assert_int_equal(setenv("LD_PRELOAD_NOT", "no", 1), 0);
    assert_int_equal(setenv("NO_PROXY", "yes.example", 1), 0);
    assert_int_equal(setenv("LC_ALL", "C", 1), 0);
    assert_int_equal(spend(f), VERDICT_GRANTED);
    bool readable = environment_of(spender_pid(f->spender), seen, sizeof(seen));
    assert_int_equal(unsetenv("CREDWARDEN_TEST_SECRET"), 0);
    assert_int_equal(unsetenv("no_proxyish"), 0);
    assert_int_equal(unsetenv("LD_PRELOAD_NOT"), 0);
    assert_int_equal(unsetenv("NO_PROXY"), 0);
    assert_int_equal(unsetenv("LC_ALL"), 0);
    if (!readable) {
        print_message("SKIPPED: the environment of a hardened process is for root alone\n");
        skip();
    }
    assert_non_null(strstr(seen, "NO_PROXY=yes.example\n"));
    assert_non_null(strstr(seen, "LC_ALL=C\n"));
    const char *foreign[] = {"CREDWARDEN_TEST_SECRET", "no_proxyish", "LD_PRELOAD",
                             "HOME=", "PATH="};
    for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
        assert_null(strstr(seen, foreign[i]));
}

/* Nothing but the standard descriptors, the socket, and what the program opens itself. */
static void no_descriptor_of_the_daemon_comes_along(void **state)
{
    struct fixture *f = *state;
    use_server(f, answer_with, GRANT);
    int leak = open("/etc/hostname", O_RDONLY); /* without close-on-exec, on purpose */
    assert_int_equal(spend(f), VERDICT_GRANTED);
    bool is_there = false;
    for (int fd = 0; fd < 64; fd++) {
        char path[64], target[256] = "";
        snprintf(path, sizeof(path), "/proc/%d/fd/%d", spender_pid(f->spender), fd);
        if (readlink(path, target, sizeof(target) - 1) > 0)
            is_there = is_there || strcmp(target, "/etc/hostname") == 0;
    }
    close(leak);
    assert_false(is_there);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_certificate_nobody_vouches_for_is_unsent),
        TEST(a_certificate_the_user_trusts_is_accepted),
        TEST(plain_http_where_tls_is_expected_is_unsent),
        TEST(a_proxy_that_refuses_the_tunnel_is_unsent),
        TEST(loopback_does_not_go_through_a_proxy),
        TEST(only_listed_variables_come_along),
        TEST(no_descriptor_of_the_daemon_comes_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
