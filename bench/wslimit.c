/* wslimit - the limit of this machine: epoll, one thread, no filters, no checks of UTF-8.
 *   gcc -O2 -Wall -Wextra -o wslimit wslimit.c
 *   wslimit PORT [coalesce]
 * /echo sends each message back; /channel/N sends it to every client of /channel/N (N below 4096), any other path to every
 * client of such paths.
 * Plain: the frame is encoded once and each client gets one send() per message.
 * coalesce: the frames of one epoll_wait() batch are joined and each client gets one send() per batch. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct room { struct conn **members; int n, cap; uint8_t *batch; size_t batchn, batchcap; int due; } room;
typedef struct conn { int fd, up, echo, slot; room *room; uint8_t *in, *out; size_t inn, incap, outn, outoff, outcap; } conn;
#define ROOMS 4097
static room rooms[ROOMS], *due[ROOMS];      /* due: with a batch to send */
static int ndue, ep, coalesce;
#define RB (256 * 1024)
static uint8_t rb[RB], *tb; static size_t tbcap, tbn;

static uint32_t rol(uint32_t x, int n) { return x << n | x >> (32 - n); }
static void sha1(const uint8_t *m, size_t n, uint8_t o[20]) {
    uint32_t h[5] = { 0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0 };
    uint8_t b[256] = { 0 }; memcpy(b, m, n); b[n] = 0x80; size_t t = (n + 9 + 63) / 64 * 64;
    for (int i = 0; i < 8; i++) b[t - 1 - i] = (uint64_t)(n * 8) >> (8 * i);
    for (size_t k = 0; k < t; k += 64) {
        uint32_t w[80], a = h[0], bb = h[1], c = h[2], d = h[3], e = h[4];
        for (int i = 0; i < 16; i++) w[i] = b[k + 4 * i] << 24 | b[k + 4 * i + 1] << 16 | b[k + 4 * i + 2] << 8 | b[k + 4 * i + 3];
        for (int i = 16; i < 80; i++) w[i] = rol(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        for (int i = 0; i < 80; i++) {
            uint32_t f, q;
            if (i < 20) f = (bb & c) | (~bb & d), q = 0x5A827999; else if (i < 40) f = bb ^ c ^ d, q = 0x6ED9EBA1;
            else if (i < 60) f = (bb & c) | (bb & d) | (c & d), q = 0x8F1BBCDC; else f = bb ^ c ^ d, q = 0xCA62C1D6;
            uint32_t x = rol(a, 5) + f + e + q + w[i]; e = d; d = c; c = rol(bb, 30); bb = a; a = x;
        }
        h[0] += a; h[1] += bb; h[2] += c; h[3] += d; h[4] += e;
    }
    for (int i = 0; i < 5; i++) for (int j = 0; j < 4; j++) o[4 * i + j] = h[i] >> (24 - 8 * j);
}
static void accept_key(const char *k, int kn, char *o) {
    static const char a[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t m[128], d[21] = { 0 }; memcpy(m, k, kn); memcpy(m + kn, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36); sha1(m, kn + 36, d);
    int j = 0; for (int i = 0; i < 21; i += 3) { uint32_t v = d[i] << 16 | d[i + 1] << 8 | d[i + 2];
        for (int s = 18; s >= 0; s -= 6) o[j++] = a[v >> s & 63]; }
    o[27] = '='; o[28] = 0;
}
static void drop(conn *c) {
    if (c->fd < 0) return;
    close(c->fd); c->fd = -1;
    if (c->slot >= 0) { room *r = c->room; r->members[c->slot] = r->members[--r->n]; r->members[c->slot]->slot = c->slot; c->slot = -1; }
    free(c->in); free(c->out); c->in = c->out = 0;   /* the conn itself leaks until the batch ends: small */
}
static void want(conn *c, int o) { struct epoll_event e = { .events = EPOLLIN | (o ? EPOLLOUT : 0), .data.ptr = c }; epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e); }
static void csend(conn *c, const uint8_t *p, size_t n) {
    if (c->fd < 0) return;
    if (!c->outn) {
        ssize_t r = send(c->fd, p, n, MSG_NOSIGNAL);
        if (r == (ssize_t)n) return;
        if (r < 0) { if (errno != EAGAIN) { drop(c); return; } r = 0; }
        p += r; n -= r; want(c, 1);
    }
    if (c->outoff) { memmove(c->out, c->out + c->outoff, c->outn); c->outoff = 0; }
    if (c->outn + n > c->outcap) c->out = realloc(c->out, c->outcap = (c->outn + n) * 2);
    memcpy(c->out + c->outn, p, n); c->outn += n;
}
static void flush(conn *c) {
    ssize_t r = send(c->fd, c->out + c->outoff, c->outn, MSG_NOSIGNAL);
    if (r < 0) { if (errno != EAGAIN) drop(c); return; }
    c->outoff += r; c->outn -= r;
    if (!c->outn) { free(c->out); c->out = 0; c->outcap = c->outoff = 0; want(c, 0); }
}
static size_t head(uint8_t *o, int op, size_t n) {
    o[0] = 0x80 | op;
    if (n < 126) { o[1] = n; return 2; }
    if (n < 65536) { o[1] = 126; o[2] = n >> 8; o[3] = n; return 4; }
    o[1] = 127; for (int i = 0; i < 8; i++) o[2 + i] = (uint64_t)n >> (56 - 8 * i);
    return 10;
}
static void grow(uint8_t **b, size_t *cap, size_t n) { if (n > *cap) *b = realloc(*b, *cap = n * 2); }
static void message(conn *c, int op, uint8_t *p, size_t n) {
    if (c->echo) { grow(&tb, &tbcap, tbn + n + 10); tbn += head(tb + tbn, op, n); memcpy(tb + tbn, p, n); tbn += n; return; }
    room *r = c->room;
    if (coalesce) {
        grow(&r->batch, &r->batchcap, r->batchn + n + 10);
        r->batchn += head(r->batch + r->batchn, op, n); memcpy(r->batch + r->batchn, p, n); r->batchn += n;
        if (!r->due) { r->due = 1; due[ndue++] = r; }
        return;
    }
    grow(&tb, &tbcap, n + 10); size_t k = head(tb, op, n); memcpy(tb + k, p, n);
    for (int i = r->n - 1; i >= 0; i--) csend(r->members[i], tb, k + n);
}
static size_t parse(conn *c, uint8_t *p, size_t n) {
    size_t used = 0;
    while (n - used >= 2 && c->fd >= 0) {
        uint8_t *f = p + used; size_t a = n - used, h = 6, len = f[1] & 127; int op = f[0] & 15;
        if (!(f[1] & 128)) { drop(c); return n; }
        if (len == 126) { h = 8; if (a < h) break; len = f[2] << 8 | f[3]; }
        else if (len == 127) { h = 14; if (a < h) break; len = 0; for (int i = 2; i < 10; i++) len = len << 8 | f[i]; }
        if (len > (1u << 26)) { drop(c); return n; }
        if (a < h + len) break;
        uint8_t *m = f + h - 4, *d = f + h; uint32_t k; memcpy(&k, m, 4); uint64_t k8 = (uint64_t)k << 32 | k; size_t i = 0;
        for (; i + 8 <= len; i += 8) { uint64_t v; memcpy(&v, d + i, 8); v ^= k8; memcpy(d + i, &v, 8); }
        for (; i < len; i++) d[i] ^= ((uint8_t *)&k)[i & 3];
        used += h + len;
        if (op == 8) { uint8_t o[130]; size_t x = head(o, 8, len < 126 ? len : 0); memcpy(o + x, d, o[1]); csend(c, o, x + o[1]); drop(c); return n; }
        if (op == 9) { uint8_t o[130]; size_t x = head(o, 10, len & 127); memcpy(o + x, d, len & 127); csend(c, o, x + (len & 127)); continue; }
        if (op == 1 || op == 2) message(c, op, d, len);
    }
    return used;
}
static void http(conn *c) {
    c->in[c->inn] = 0; char *e = strstr((char *)c->in, "\r\n\r\n"); if (!e) return;
    char *k = strcasestr((char *)c->in, "Sec-WebSocket-Key:"), acc[32], o[256]; if (!k) { drop(c); return; }
    k += 18; while (*k == ' ') k++; int n = strcspn(k, "\r"); if (n > 60) { drop(c); return; }
    accept_key(k, n, acc);
    c->echo = !strncmp((char *)c->in, "GET /echo", 9);
    n = sprintf(o, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", acc);
    csend(c, (uint8_t *)o, n); if (c->fd < 0) return;
    size_t rest = c->inn - ((uint8_t *)e + 4 - c->in); memmove(c->in, e + 4, rest); c->inn = rest; c->up = 1;
    if (!c->echo) {
        int number = -1; sscanf((char *)c->in, "GET /channel/%d", &number);
        room *r = c->room = &rooms[number >= 0 && number < ROOMS - 1 ? number + 1 : 0];
        if (r->n == r->cap) r->members = realloc(r->members, sizeof *r->members * (r->cap = r->cap ? r->cap * 2 : 16));
        c->slot = r->n; r->members[r->n++] = c;
    }
    if (!rest) { free(c->in); c->in = 0; c->incap = 0; }
}
int main(int argc, char **argv) {
    int port = argc > 1 ? atoi(argv[1]) : 9000, one = 1; coalesce = argc > 2;
    struct rlimit rl; getrlimit(RLIMIT_NOFILE, &rl); rl.rlim_cur = rl.rlim_max; setrlimit(RLIMIT_NOFILE, &rl); signal(SIGPIPE, SIG_IGN);
    int ls = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0); setsockopt(ls, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    if (bind(ls, (void *)&a, sizeof a) || listen(ls, 4096)) { perror("bind"); return 1; }
    ep = epoll_create1(0); struct epoll_event ev = { .events = EPOLLIN, .data.ptr = 0 }; epoll_ctl(ep, EPOLL_CTL_ADD, ls, &ev);
    static struct epoll_event evs[1024];
    for (;;) {
        int n = epoll_wait(ep, evs, 1024, -1);
        for (int i = 0; i < n; i++) {
            conn *c = evs[i].data.ptr;
            if (!c) {
                for (int fd; (fd = accept4(ls, 0, 0, SOCK_NONBLOCK)) >= 0;) {
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); c = calloc(1, sizeof *c); c->fd = fd; c->slot = -1;
                    struct epoll_event e = { .events = EPOLLIN, .data.ptr = c }; epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
                }
                continue;
            }
            if (c->fd < 0) continue;
            if (evs[i].events & EPOLLOUT && c->outn) flush(c);
            if (!(evs[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) || c->fd < 0) continue;
            ssize_t r = recv(c->fd, rb, RB, 0);
            if (r <= 0) { if (r == 0 || (errno != EAGAIN && errno != EINTR)) drop(c); continue; }
            tbn = 0;
            if (c->up && !c->inn) {
                size_t u = parse(c, rb, r);
                if (c->fd >= 0 && u < (size_t)r) { grow(&c->in, &c->incap, r - u + 1); memcpy(c->in, rb + u, r - u); c->inn = r - u; }
            } else {
                grow(&c->in, &c->incap, c->inn + r + 1); memcpy(c->in + c->inn, rb, r); c->inn += r;
                if (!c->up) http(c);
                if (c->up && c->fd >= 0 && c->inn) {
                    size_t u = parse(c, c->in, c->inn);
                    if (c->fd >= 0) { memmove(c->in, c->in + u, c->inn - u); c->inn -= u; if (!c->inn) { free(c->in); c->in = 0; c->incap = 0; } }
                }
            }
            if (tbn && c->echo) csend(c, tb, tbn);
        }
        while (ndue) {
            room *r = due[--ndue];
            for (int i = r->n - 1; i >= 0; i--) csend(r->members[i], r->batch, r->batchn);
            r->batchn = r->due = 0;
        }
    }
}
