/* The attacker of `bench floods`: SIP over UDP at a steady rate from one loopback address or from many.
 *
 * Sends to 127.0.0.0/8 only, at most MAX_RATE packets a second for at most MAX_SECONDS, and ends by itself.
 * One socket sends for all addresses: IP_PKTINFO names the source of each datagram, sendmmsg takes a batch
 * of them. Each has a number of its own where the message says COUNTER, so that none is a retransmission.
 * What it has sent and what was answered stands in a file that others may read meanwhile: two numbers of
 * 64 bits. SIGTERM ends it between two bursts, never between a burst and its count, so that the file is exact
 * when the program has ended. It keeps no promise about the rate: the file says which one it reached.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_RATE 200000
#define MAX_SECONDS 300
#define BATCH 64
#define MESSAGE 1400
#define COUNTER "@@@@@@@@"
#define DIGITS 8
#define MARKS 8
#define TURN 500000L      /* nanoseconds between two bursts: short beside what fills a receive buffer */
#define CATCH_UP 10000000L /* nanoseconds of packets that a sender which was held up makes good; the rest is not sent */

/* Attackers are in 127.192.0.0/11: 2^21 addresses, of which the bench itself uses none. */
#define FIRST 0x7fc00000u
#define BITS 21

struct counts {
    volatile uint64_t sent, answered;
};

static char room[BATCH][MESSAGE];
static char control[BATCH][CMSG_SPACE(sizeof(struct in_pktinfo))];
static struct iovec pieces[BATCH];
static struct mmsghdr batch[BATCH];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int64_t now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000L + at.tv_nsec;
}

/* The address of attacker `number`: neighbours in number are far apart, so that no /24 holds many of them. */
static uint32_t address_of(uint32_t number) {
    return htonl(FIRST + ((number * 0x9e3779b1u) & ((1u << BITS) - 1)));
}

static long between(const char *text, long least, long most, const char *what) {
    char *end;
    long value = strtol(text, &end, 10);
    if (*end || value < least || value > most) {
        fprintf(stderr, "expected %s of %ld to %ld, found %s\n", what, least, most, text);
        exit(2);
    }
    return value;
}

static struct counts *share(const char *path) {
    int file = open(path, O_RDWR | O_CREAT, 0600);
    if (file < 0 || ftruncate(file, sizeof(struct counts)))
        fail(path);
    void *at = mmap(NULL, sizeof(struct counts), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (at == MAP_FAILED)
        fail("mmap");
    close(file);
    return at;
}

static int open_socket(void) {
    int sock = socket(AF_INET, SOCK_DGRAM, 0), size = 4 << 20;
    struct sockaddr_in any = {.sin_family = AF_INET};
    if (sock < 0 || bind(sock, (struct sockaddr *)&any, sizeof any))
        fail("socket");
    setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    return sock;
}

/* Reads the message, lays out the batch; how long the message is, and where in it a number belongs. */
static int lay_out(const char *path, struct sockaddr_in *to, int marks[MARKS], int *found) {
    FILE *message = fopen(path, "rb");
    if (!message)
        fail(path);
    int length = (int)fread(room[0], 1, MESSAGE - 1, message);
    fclose(message);
    *found = 0;
    for (char *at = room[0]; *found < MARKS && (at = strstr(at, COUNTER)); at += DIGITS)
        marks[(*found)++] = (int)(at - room[0]);
    for (int n = 0; n < BATCH; n++) {
        memcpy(room[n], room[0], MESSAGE);
        pieces[n] = (struct iovec){room[n], (size_t)length};
        struct msghdr *head = &batch[n].msg_hdr;
        *head = (struct msghdr){.msg_name = to, .msg_namelen = sizeof *to, .msg_iov = &pieces[n], .msg_iovlen = 1};
        head->msg_control = control[n];
        head->msg_controllen = sizeof control[n];
        struct cmsghdr *info = CMSG_FIRSTHDR(head);
        info->cmsg_level = IPPROTO_IP;
        info->cmsg_type = IP_PKTINFO;
        info->cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo));
    }
    return length;
}

static void number(int n, uint32_t value, const int marks[MARKS], int found, uint32_t source) {
    char digits[DIGITS + 1];
    for (int at = DIGITS - 1; at >= 0; at--, value >>= 4)
        digits[at] = "0123456789abcdef"[value & 15];
    for (int at = 0; at < found; at++)
        memcpy(room[n] + marks[at], digits, DIGITS);
    struct in_pktinfo *info = (struct in_pktinfo *)CMSG_DATA(CMSG_FIRSTHDR(&batch[n].msg_hdr));
    info->ipi_spec_dst.s_addr = source;
}

static void hear(int sock, struct counts *counts) {
    char byte;
    for (int n = 0; n < 4 * BATCH; n++) {
        ssize_t got = recv(sock, &byte, 1, MSG_DONTWAIT | MSG_TRUNC);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (got >= 0)
            counts->answered++;
    }
}

int main(int argc, char **argv) {
    if (argc != 10) {
        fprintf(stderr, "flood HOST PORT RATE SECONDS SOURCES FIRST CORE MESSAGE COUNTS\n");
        return 2;
    }
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)between(argv[2], 1, 65535, "a port"))};
    if (inet_pton(AF_INET, argv[1], &to.sin_addr) != 1 || ntohl(to.sin_addr.s_addr) >> 24 != 127) {
        fprintf(stderr, "expected a host in 127.0.0.0/8, found %s\n", argv[1]);
        return 2;
    }
    long rate = between(argv[3], 1, MAX_RATE, "a rate"), seconds = between(argv[4], 1, MAX_SECONDS, "seconds");
    uint32_t sources = (uint32_t)between(argv[5], 1, 1 << BITS, "a number of sources");
    uint32_t first = (uint32_t)between(argv[6], 0, (1 << BITS) - 1, "a first source");
    cpu_set_t core;
    CPU_ZERO(&core);
    CPU_SET(between(argv[7], 0, CPU_SETSIZE - 1, "a core"), &core);
    if (sched_setaffinity(0, sizeof core, &core))
        fail("sched_setaffinity");
    struct counts *counts = share(argv[9]);
    int marks[MARKS], found, sock = open_socket();
    if (lay_out(argv[8], &to, marks, &found) <= 0)
        return 2;

    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    prctl(PR_SET_TIMERSLACK, 1000UL); /* or every sleep is 50 us longer than it says */
    int64_t start = now(), due = 0, held_up = 0;
    uint32_t turn = 0;
    for (int64_t next = start; next - start < seconds * 1000000000L; next += TURN) {
        struct timespec at = {next / 1000000000L, next % 1000000000L};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
        int64_t late = now() - next;
        if (late > CATCH_UP) {
            next += late;
            held_up += late;
        }
        sigprocmask(SIG_BLOCK, &ending, NULL);
        due = (next - start - held_up) / 1000 * rate / 1000000;
        while ((int64_t)counts->sent < due) {
            int wanted = due - (int64_t)counts->sent < BATCH ? (int)(due - (int64_t)counts->sent) : BATCH;
            for (int n = 0; n < wanted; n++)
                number(n, turn + (uint32_t)n, marks, found, address_of(first + (turn + (uint32_t)n) % sources));
            int done = sendmmsg(sock, batch, (unsigned)wanted, 0);
            if (done <= 0) {
                if (errno != EINTR && errno != EAGAIN && errno != ENOBUFS && errno != ECONNREFUSED)
                    fail("sendmmsg");
                continue;
            }
            turn += (uint32_t)done;
            counts->sent += (uint64_t)done;
        }
        hear(sock, counts);
        sigprocmask(SIG_UNBLOCK, &ending, NULL);
    }
    hear(sock, counts);
    return 0;
}
