/* See exchange.h. Options are set through one table-like function each, so that a look at
 * set_options() answers "could the library do that on its own?". */
#include "issuer/spender/exchange.h"

#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "base/time.h"
#include "issuer/spender/memory.h"
#include "sys/clock.h"

#define RETRY_AFTER_MAX_S (366 * INT64_C(86400))

int exchange_library_init(void)
{
    if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, wiping_malloc, wiping_free, wiping_realloc,
                             wiping_strdup, wiping_calloc) != CURLE_OK)
        return ERR_NOMEM;
    const curl_version_info_data *v = curl_version_info(CURLVERSION_NOW);
    /* 7.80 brought the callback before the request; without TLS nothing could be asked. */
    if (v->version_num < 0x075000 || !(v->features & CURL_VERSION_SSL)) {
        curl_global_cleanup();
        return ERR_UNSUPPORTED;
    }
    return 0;
}

void exchange_library_cleanup(void)
{
    curl_global_cleanup();
}

void exchange_init(struct exchange *x, int (*on_sending)(void *ctx), void *ctx)
{
    *x = (struct exchange){.on_sending = on_sending, .ctx = ctx};
    request_init(&x->request);
    buf_init_secret(&x->body, REPLY_BODY_MAX);
}

void exchange_clear(struct exchange *x)
{
    if (x == NULL)
        return;
    curl_easy_cleanup(x->easy);
    x->easy = NULL;
    curl_slist_free_all(x->headers);
    x->headers = NULL;
    request_clear(&x->request);
    buf_release(&x->body);
    secret_wipe(x->curl_text, sizeof(x->curl_text));
}

/* ---- Callbacks ------------------------------------------------------------------------------ */

static int on_prereq(void *ctx, char *remote_ip, char *local_ip, int remote_port, int local_port)
{
    (void)remote_ip;
    (void)local_ip;
    (void)remote_port;
    (void)local_port;
    struct exchange *x = ctx;
    if (x->sent)
        return CURL_PREREQFUNC_ABORT; /* a second time is what must never happen */
    if (x->on_sending != NULL && x->on_sending(x->ctx) < 0) {
        x->refused_to_send = true;
        return CURL_PREREQFUNC_ABORT;
    }
    x->sent = true;
    x->sent_boot_ms = clock_now().boot_ms;
    return CURL_PREREQFUNC_OK;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *ctx)
{
    struct exchange *x = ctx;
    if (buf_add(&x->body, bytes, size * n) < 0) {
        x->too_large = true;
        return 0; /* fewer than given: libcurl gives up with CURLE_WRITE_ERROR */
    }
    return size * n;
}

/* "HTTP/1.1 200 OK" → 200; 0 when it is nothing of the sort. */
static int status_of_line(const char *line, size_t len)
{
    if (len < 12 || strncasecmp(line, "HTTP/", 5) != 0)
        return 0;
    const char *at = memchr(line, ' ', len);
    if (at == NULL || (size_t)(line + len - at) < 4)
        return 0;
    int status = 0;
    for (int i = 1; i <= 3; i++) {
        if (at[i] < '0' || at[i] > '9')
            return 0;
        status = status * 10 + (at[i] - '0');
    }
    return status;
}

/* The value of `line` if it is the header `name`, without blanks around it. */
static void keep_header(const char *line, size_t len, const char *name, char *ret, size_t size)
{
    size_t name_len = strlen(name);
    if (len <= name_len || strncasecmp(line, name, name_len) != 0 || line[name_len] != ':')
        return;
    const char *begin = line + name_len + 1;
    const char *end = line + len;
    while (begin < end && (*begin == ' ' || *begin == '\t'))
        begin++;
    while (end > begin && (unsigned char)end[-1] <= ' ')
        end--;
    size_t n = (size_t)(end - begin);
    if (n >= size)
        n = 0; /* too long for either of the two: as if absent */
    memcpy(ret, begin, n);
    ret[n] = '\0';
}

static size_t on_header(char *line, size_t size, size_t n, void *ctx)
{
    struct exchange *x = ctx;
    size_t len = size * n;
    if (!x->sent)
        return len; /* a proxy's, about the tunnel */
    x->head_len += len;
    if (x->head_len > EXCHANGE_HEAD_MAX) {
        x->too_large = true;
        return 0;
    }
    int status = status_of_line(line, len);
    if (status != 0) {
        x->pending_status = status; /* 1xx heads may come first: the last one counts */
        x->date[0] = '\0';
        x->retry_after[0] = '\0';
    }
    keep_header(line, len, "Date", x->date, sizeof(x->date));
    keep_header(line, len, "Retry-After", x->retry_after, sizeof(x->retry_after));
    bool is_end = len > 0 && (line[0] == '\r' || line[0] == '\n');
    if (is_end && x->pending_status >= 200)
        x->status = x->pending_status;
    return len;
}

/* ---- Options -------------------------------------------------------------------------------- */

struct setter {
    CURL *easy;
    CURLcode first_error;
};

static void set_long(struct setter *s, CURLoption option, long value)
{
    CURLcode rc = curl_easy_setopt(s->easy, option, value);
    if (s->first_error == CURLE_OK)
        s->first_error = rc;
}

static void set_ptr(struct setter *s, CURLoption option, const void *value)
{
    CURLcode rc = curl_easy_setopt(s->easy, option, value);
    if (s->first_error == CURLE_OK)
        s->first_error = rc;
}

static void keep_error(struct setter *s, CURLcode rc)
{
    if (s->first_error == CURLE_OK)
        s->first_error = rc;
}

static void set_callbacks(struct setter *s, struct exchange *x)
{
    keep_error(s, curl_easy_setopt(s->easy, CURLOPT_PREREQFUNCTION, on_prereq));
    keep_error(s, curl_easy_setopt(s->easy, CURLOPT_WRITEFUNCTION, on_body));
    keep_error(s, curl_easy_setopt(s->easy, CURLOPT_HEADERFUNCTION, on_header));
    set_ptr(s, CURLOPT_PREREQDATA, x);
    set_ptr(s, CURLOPT_WRITEDATA, x);
    set_ptr(s, CURLOPT_HEADERDATA, x);
    set_ptr(s, CURLOPT_ERRORBUFFER, x->curl_text);
    set_ptr(s, CURLOPT_PRIVATE, x->ctx);
}

static void set_once(struct setter *s)
{
    set_long(s, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    set_long(s, CURLOPT_FRESH_CONNECT, 1);
    set_long(s, CURLOPT_FORBID_REUSE, 1);
    set_long(s, CURLOPT_FOLLOWLOCATION, 0);
    set_long(s, CURLOPT_HTTP09_ALLOWED, 0);
    set_long(s, CURLOPT_NETRC, CURL_NETRC_IGNORED);
    set_long(s, CURLOPT_SSL_SESSIONID_CACHE, 0); /* no resumption: no early data */
    set_long(s, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1);
    set_long(s, CURLOPT_NOSIGNAL, 1);
    set_long(s, CURLOPT_NOPROGRESS, 1);
#if LIBCURL_VERSION_NUM >= 0x075700
    /* An exchange that ends while its name is still being looked up would wait for that. */
    if (curl_version_info(CURLVERSION_NOW)->version_num >= 0x075700)
        set_long(s, CURLOPT_QUICK_EXIT, 1);
#endif
}

static void set_protocol(struct setter *s, bool is_https)
{
    /* The scheme of the definition, and never another one. */
#if LIBCURL_VERSION_NUM >= 0x075500
    set_ptr(s, CURLOPT_PROTOCOLS_STR, is_https ? "https" : "http");
#else
    set_long(s, CURLOPT_PROTOCOLS, is_https ? CURLPROTO_HTTPS : CURLPROTO_HTTP);
#endif
    if (!is_https)
        set_ptr(s, CURLOPT_PROXY, ""); /* loopback (url_is_allowed): no proxy has it */
}

/* libcurl reads the proxy variables by itself, but not these two. */
static void set_tls(struct setter *s)
{
    set_long(s, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
    set_long(s, CURLOPT_SSL_VERIFYPEER, 1);
    set_long(s, CURLOPT_SSL_VERIFYHOST, 2);
    const char *file = getenv("SSL_CERT_FILE");
    const char *dir = getenv("SSL_CERT_DIR");
    if (file != NULL && file[0] != '\0') {
        set_ptr(s, CURLOPT_CAINFO, file);
        set_ptr(s, CURLOPT_PROXY_CAINFO, file);
    }
    if (dir != NULL && dir[0] != '\0') {
        set_ptr(s, CURLOPT_CAPATH, dir);
        set_ptr(s, CURLOPT_PROXY_CAPATH, dir);
    }
}

static void set_times(struct setter *s, int64_t left_ms)
{
    int64_t connect_ms = left_ms < EXCHANGE_CONNECT_MS ? left_ms : EXCHANGE_CONNECT_MS;
    set_long(s, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
}

/* The body stays where it is, in secret memory; libcurl copies the head. */
static int set_request(struct setter *s, struct exchange *x)
{
    const struct request *r = &x->request;
    for (const char *line = NULL; (line = request_next_header(r, line)) != NULL;) {
        struct curl_slist *longer = curl_slist_append(x->headers, line);
        if (longer == NULL)
            return ERR_NOMEM;
        x->headers = longer;
    }
    set_ptr(s, CURLOPT_URL, r->url);
    set_ptr(s, CURLOPT_HTTPHEADER, x->headers);
    if (r->is_post) {
        set_long(s, CURLOPT_POST, 1);
        set_long(s, CURLOPT_POSTFIELDSIZE, (long)r->body.len);
        set_ptr(s, CURLOPT_POSTFIELDS, buf_text(&r->body));
    }
    return 0;
}

int exchange_start(struct exchange *x, CURLM *multi, int64_t left_ms)
{
    struct setter s = {.easy = curl_easy_init(), .first_error = CURLE_OK};
    if (s.easy == NULL)
        return ERR_NOMEM;
    x->easy = s.easy;
    set_callbacks(&s, x);
    set_once(&s);
    set_protocol(&s, strncasecmp(x->request.url, "https:", 6) == 0);
    set_tls(&s);
    set_times(&s, left_ms);
    int err = set_request(&s, x);
    if (err < 0)
        return err;
    if (s.first_error != CURLE_OK)
        return s.first_error == CURLE_OUT_OF_MEMORY ? ERR_NOMEM : ERR_UNSUPPORTED;
    return curl_multi_add_handle(multi, x->easy) == CURLM_OK ? 0 : ERR_NOMEM;
}

/* ---- The end -------------------------------------------------------------------------------- */

/* Seconds, or a date: then counted from the server's own clock where it told us. */
static int64_t retry_after_ms(const struct exchange *x, int64_t server_wall_ms, int64_t now_wall_ms)
{
    int64_t seconds, at_ms;
    if (str_to_i64(x->retry_after, 0, RETRY_AFTER_MAX_S, &seconds) == 0)
        return seconds * SECOND_MS;
    if (http_date_parse(x->retry_after, &at_ms) < 0)
        return 0;
    int64_t wait_ms = at_ms - (server_wall_ms != 0 ? server_wall_ms : now_wall_ms);
    if (wait_ms < 0)
        return 0;
    return wait_ms < RETRY_AFTER_MAX_S * SECOND_MS ? wait_ms : RETRY_AFTER_MAX_S * SECOND_MS;
}

/* libcurl's own words name what went wrong best, but once the request is out they may quote the
 * server, and the server has seen the token. */
static const char *failure_text(struct exchange *x, CURLcode result)
{
    if (x->refused_to_send)
        return "the spool could not be marked";
    if (x->too_large)
        return "the answer is too large";
    if (result == CURLE_OK)
        return "";
    const char *words =
        !x->sent && x->curl_text[0] != '\0' ? x->curl_text : curl_easy_strerror(result);
    snprintf(x->failure, sizeof(x->failure), "%s", words);
    return x->failure;
}

void exchange_finish(struct exchange *x, CURLM *multi, CURLcode result, int64_t now_wall_ms,
                     struct http_outcome *ret)
{
    (void)curl_multi_remove_handle(multi, x->easy);
    int64_t server_wall_ms = 0;
    (void)http_date_parse(x->date, &server_wall_ms);
    *ret = (struct http_outcome){
        .sent = x->sent,
        .status = x->status,
        .complete = result == CURLE_OK && x->status != 0,
        .failure = failure_text(x, result),
        .retry_after_ms = retry_after_ms(x, server_wall_ms, now_wall_ms),
        .server_wall_ms = server_wall_ms,
        .body = buf_text(&x->body),
        .body_len = x->body.len,
    };
}

void exchange_cancel(struct exchange *x, CURLM *multi)
{
    if (x->easy != NULL)
        (void)curl_multi_remove_handle(multi, x->easy);
}
