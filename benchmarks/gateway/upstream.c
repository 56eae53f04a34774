/* An upstream that is not the bottleneck: fixed chat completions over keep-alive HTTP/1.1, one thread, epoll.
 *
 *   upstream PORT [EVENTS_PER_WRITE]      PORT 0 takes a free one; the port is printed on stdout
 *
 * POST (any path)  a fixed JSON chat completion with usage, or, when the body says "stream": true, a stream of 50 text
 *                  chunks, a finish chunk, a usage chunk and [DONE]. EVENTS_PER_WRITE events go out with each write
 *                  (1 by default, as a model sends them; 0 = the whole stream at once), the streams taking turns.
 * GET              a list of models (health checks and discovery of some gateways read it)
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define MODEL "deepseek/deepseek-v4-flash"
#define CHUNKS 50
#define EVENTS (CHUNKS + 3)
#define MAXIMUM (8 << 20)

typedef struct Connection {
    int fd, closing, waits;          /* waits: the socket takes no more for now */
    char *in;
    size_t have, room;
    const char *out;                 /* what is left of a whole answer (always one of the fixed texts) */
    size_t left;
    int event;                       /* next event of the stream; -1 when none runs */
    size_t sent;                     /* bytes of that group of events that are out already */
    struct Connection *next, *previous; /* the ring of running streams */
} Connection;

static Connection ring = {.next = &ring, .previous = &ring};
static int poller, group = 1;
static char whole[4096], listed[1024], head[256], body[EVENTS * 512];
static size_t whole_n, listed_n, head_n, at[EVENTS + 1];

static size_t answer(char *into, const char *content) {
    return (size_t)sprintf(into, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                           strlen(content), content);
}

static void prepare(void) {
    whole_n = answer(whole,
        "{\"id\":\"gen-benchmark\",\"object\":\"chat.completion\",\"created\":1763900000,\"model\":\"" MODEL "\","
        "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"
        "\"{\\\"category\\\":\\\"billing\\\",\\\"urgent\\\":true,\\\"order\\\":\\\"A-10442\\\","
        "\\\"summary\\\":\\\"The customer was charged twice for one order and asks for the second charge back.\\\"}\","
        "\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],"
        "\"usage\":{\"prompt_tokens\":180,\"completion_tokens\":42,\"total_tokens\":222}}");
    listed_n = answer(listed, "{\"object\":\"list\",\"data\":[{\"id\":\"" MODEL "\",\"object\":\"model\","
                              "\"created\":1763900000,\"owned_by\":\"benchmark\"}]}");
    head_n = (size_t)sprintf(head, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                                   "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n");
    char *to = body;
    memcpy(to, head, head_n);
    to += head_n;
    for (int event = 0; event < EVENTS; event++) {
        char text[512], choices[256], *usage = "";
        at[event] = event ? (size_t)(to - body) : 0;
        if (event < CHUNKS)
            sprintf(choices, "{\"index\":0,\"delta\":{%s\"content\":\"word%02d \"},\"finish_reason\":null}",
                    event ? "" : "\"role\":\"assistant\",", event);
        else if (event == CHUNKS)
            strcpy(choices, "{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}");
        else {
            choices[0] = 0;
            usage = ",\"usage\":{\"prompt_tokens\":180,\"completion_tokens\":50,\"total_tokens\":230}";
        }
        int n = event < EVENTS - 1
                    ? sprintf(text, "data: {\"id\":\"gen-benchmark\",\"object\":\"chat.completion.chunk\","
                                    "\"created\":1763900000,\"model\":\"" MODEL "\",\"choices\":[%s]%s}\n\n",
                              choices, usage)
                    : sprintf(text, "data: [DONE]\n\n");
        to += sprintf(to, "%x\r\n%s\r\n", (unsigned)n, text);
    }
    to += sprintf(to, "0\r\n\r\n");
    at[EVENTS] = (size_t)(to - body);
}

static void leave_ring(Connection *one) {
    if (one->event < 0) return;
    one->previous->next = one->next;
    one->next->previous = one->previous;
    one->event = -1;
}

static void drop(Connection *one) {
    leave_ring(one);
    close(one->fd);
    free(one->in);
    free(one);
}

static void watch(Connection *one, int writing) {
    struct epoll_event wanted = {.events = EPOLLIN | (writing ? EPOLLOUT : 0), .data.ptr = one};
    one->waits = writing;
    epoll_ctl(poller, EPOLL_CTL_MOD, one->fd, &wanted);
}

/* Sends; returns bytes sent, 0 when the socket is full, -1 when it is gone. */
static ssize_t push(Connection *one, const char *from, size_t n) {
    ssize_t sent = send(one->fd, from, n, MSG_NOSIGNAL);
    if (sent >= 0) return sent;
    if (errno == EAGAIN || errno == EINTR) {
        watch(one, 1);
        return 0;
    }
    return -1;
}

/* One group of events of a running stream; returns -1 when the connection is gone. */
static int turn(Connection *one) {
    int end = group && one->event + group < EVENTS ? one->event + group : EVENTS;
    size_t from = at[one->event] + one->sent, n = at[end] - from;
    ssize_t sent = push(one, body + from, n);
    if (sent < 0) return -1;
    one->sent += (size_t)sent;
    if ((size_t)sent < n) return 0;
    one->sent = 0;
    if (end == EVENTS) leave_ring(one);
    else one->event = end;
    return 0;
}

/* A header's value inside the head [from, to), or NULL. */
static const char *header(const char *from, const char *to, const char *name) {
    size_t n = strlen(name);
    for (const char *line = from; line && line < to; line = memmem(line, (size_t)(to - line), "\r\n", 2), line = line ? line + 2 : 0)
        if ((size_t)(to - line) > n && !strncasecmp(line, name, n) && line[n] == ':') {
            for (line += n + 1; *line == ' '; line++) {}
            return line;
        }
    return NULL;
}

/* Length of a chunked body that begins there, with its last line; 0 when it is not all there. Without its frames,
 * the body is then at the same place, `length` bytes long. */
static size_t chunked(char *from, size_t have, size_t *length) {
    for (int moving = 0; moving < 2; moving++) {
        size_t where = 0;
        *length = 0;
        for (;;) {
            const char *end = memmem(from + where, have - where, "\r\n", 2);
            if (!end) return 0;
            size_t size = strtoul(from + where, NULL, 16), text = (size_t)(end - from) + 2;
            where = text + size + 2; /* no trailers come from the gateways measured here */
            if (where > have) return 0;
            if (moving) memmove(from + *length, from + text, size);
            *length += size;
            if (!size && moving) return where;
            if (!size) break;
        }
    }
    return 0;
}

static int says_stream(const char *text, size_t n) {
    const char *found = text, *end = text + n;
    while ((found = memmem(found, (size_t)(end - found), "\"stream\"", 8))) {
        for (found += 8; found < end && (isspace((unsigned char)*found) || *found == ':'); found++) {}
        if (end - found >= 4 && !memcmp(found, "true", 4)) return 1;
    }
    return 0;
}

/* Serves every whole request in the buffer; returns -1 when the connection has to go. */
static int serve(Connection *one) {
    while (one->have && !one->left && one->event < 0) {
        char *end = memmem(one->in, one->have, "\r\n\r\n", 4);
        if (!end) return one->have > 65536 ? -1 : 0;
        size_t head_length = (size_t)(end - one->in) + 4, length = 0, taken = 0;
        const char *value = header(one->in, end + 2, "content-length");
        if (value) length = strtoul(value, NULL, 10);
        else if ((value = header(one->in, end + 2, "transfer-encoding")) && !strncasecmp(value, "chunked", 7)) {
            taken = chunked(end + 4, one->have - head_length, &length);
            if (!taken) return 0;
        }
        if (header(one->in, end + 2, "expect") && one->have == head_length) {
            if (push(one, "HTTP/1.1 100 Continue\r\n\r\n", 25) != 25) return -1;
            return 0;
        }
        if (!taken) taken = length;
        if (one->have < head_length + taken) return 0;
        value = header(one->in, end + 2, "connection");
        one->closing = value && !strncasecmp(value, "close", 5);
        if (!strncmp(one->in, "POST", 4) && says_stream(end + 4, length)) {
            one->event = 0;
            one->sent = 0;
            one->previous = ring.previous; /* last in the ring */
            one->next = &ring;
            ring.previous->next = one;
            ring.previous = one;
        } else {
            int post = !strncmp(one->in, "POST", 4);
            one->out = post ? whole : listed;
            one->left = post ? whole_n : listed_n;
            ssize_t sent = push(one, one->out, one->left);
            if (sent < 0) return -1;
            one->out += sent;
            one->left -= (size_t)sent;
        }
        one->have -= head_length + taken;
        memmove(one->in, one->in + head_length + taken, one->have);
        if (one->closing && !one->left && one->event < 0) return -1;
    }
    return 0;
}

static int take(Connection *one) {
    for (;;) {
        if (one->room - one->have < 16384) {
            if (one->room > MAXIMUM) return -1;
            one->room = one->room ? one->room * 2 : 32768;
            if (!(one->in = realloc(one->in, one->room + 1))) return -1;
        }
        size_t space = one->room - one->have;
        ssize_t got = recv(one->fd, one->in + one->have, space, 0);
        if (got == 0) return -1;
        if (got < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
        one->have += (size_t)got;
        one->in[one->have] = 0;
        if (serve(one) < 0) return -1;
        if ((size_t)got < space) return 0;
    }
}

static int ready_to_write(Connection *one) {
    if (one->left) {
        ssize_t sent = push(one, one->out, one->left);
        if (sent < 0) return -1;
        one->out += sent;
        one->left -= (size_t)sent;
        if (one->left) return 0;
        if (one->closing) return -1;
    }
    watch(one, 0);
    return serve(one);
}

int main(int count, char **argument) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (count > 2) group = atoi(argument[2]);
    prepare();
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), yes = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)(count > 1 ? atoi(argument[1]) : 0)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4096)) {
        perror("upstream");
        return 1;
    }
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    poller = epoll_create1(0);
    struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = NULL}, happened[512];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &wanted);
    for (;;) {
        int runs = 0; /* whether a stream can send at once */
        for (Connection *one = ring.next; one != &ring && !runs; one = one->next) runs = !one->waits;
        int n = epoll_wait(poller, happened, 512, runs ? 0 : -1);
        for (int i = 0; i < n; i++) {
            Connection *one = happened[i].data.ptr;
            if (!one) {
                int fd;
                while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
                    if (!(one = calloc(1, sizeof *one))) return 1;
                    one->fd = fd;
                    one->event = -1;
                    struct epoll_event reading = {.events = EPOLLIN, .data.ptr = one};
                    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &reading);
                }
                continue;
            }
            int gone = happened[i].events & (EPOLLERR | EPOLLHUP) ? -1 : 0;
            if (!gone && happened[i].events & EPOLLOUT) gone = ready_to_write(one);
            if (!gone && happened[i].events & EPOLLIN) gone = take(one);
            if (gone) drop(one);
        }
        for (Connection *one = ring.next, *next; one != &ring; one = next) {
            next = one->next;
            if (one->waits) continue;
            int gone = turn(one);
            if (!gone && one->event < 0) gone = one->closing ? -1 : serve(one);
            if (gone) drop(one);
        }
    }
}
