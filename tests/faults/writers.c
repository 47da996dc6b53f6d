/*
 * Processes that make, write and end region files exactly as HotSpot does (perfMemory_posix.cpp), in great numbers.
 *
 *     writers DIRECTORY FIXTURE TOTAL ALIVE MICROSECONDS
 *
 * Starts TOTAL writers one after the other, ALIVE of them at a time, each for up to twice MICROSECONDS. Half of them end
 * as an orderly JVM does and take their file along, half are killed at any moment, some while they still make their
 * file. Where it may, it gives new ones the pids of those that died. Then it prints "alive PID..." of the last ones, keeps
 * them until its input ends, and kills them. TOTAL 0 goes on until the input ends.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct writer {
    pid_t pid;
    int64_t end;
    int killed;
};

static const char *directory;
static unsigned char *fixture;
static size_t size;
static size_t birth, heartbeat;
static volatile sig_atomic_t asked_to_end;

static int64_t microseconds(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int32_t number(size_t at) {
    int32_t value;
    memcpy(&value, fixture + at, sizeof value);
    return value;
}

/* Offset of a counter's data in the fixture, a region of this machine's byte order. */
static size_t find(const char *name) {
    size_t at = (size_t)number(24);
    for (int32_t count = number(28); count > 0; count--) {
        if (strcmp((char *)fixture + at + number(at + 4), name) == 0) return at + (size_t)number(at + 16);
        at += (size_t)number(at);
    }
    fprintf(stderr, "the fixture has no %s\n", name);
    exit(1);
}

static void load(const char *path) {
    int file = open(path, O_RDONLY);
    struct stat status;
    if (file < 0 || fstat(file, &status) != 0) fail(path);
    size = (size_t)status.st_size;
    fixture = malloc(size);
    if (!fixture || read(file, fixture, size) != (ssize_t)size) fail(path);
    close(file);
    birth = find("sun.rt.createVmBeginTime");
    heartbeat = find("sun.rt.applicationTime");
}

/* Deletes what a dead JVM left behind, unless another has taken it over (JDK-8286030). */
static void delete_stale(int at, const char *name) {
    int file = openat(at, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (file >= 0 && flock(file, LOCK_EX | LOCK_NB) == 0) unlinkat(at, name, 0);
    if (file >= 0) close(file);
}

static void clean(int at) {
    DIR *listing = fdopendir(dup(at));
    if (!listing) return;
    for (struct dirent *entry; (entry = readdir(listing));) {
        pid_t pid = (pid_t)atoi(entry->d_name);
        if (entry->d_name[0] != '.' && (pid == 0 || pid == getpid() || (kill(pid, 0) != 0 && errno == ESRCH)))
            delete_stale(at, entry->d_name);
    }
    closedir(listing);
}

static void end(int signal) {
    (void)signal;
    asked_to_end = 1;
}

/* No room, or no directory that a JVM would use: a JVM goes on without counters, a writer has no more to do. */
static void give_up(int at, const char *name) {
    if (name) unlinkat(at, name, 0);
    usleep(2000);
    _exit(0);
}

static void live(volatile char *ready) {
    mkdir(directory, 0755);
    struct stat status;
    int at = open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (at < 0 || fstat(at, &status) != 0 || (status.st_mode & 022)) give_up(at, NULL);
    clean(at);
    char name[16];
    snprintf(name, sizeof name, "%d", getpid());
    int file = openat(at, name, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
    if (file < 0) give_up(at, NULL);
    /* Somebody cleans at this moment. */
    if (flock(file, LOCK_EX | LOCK_NB) != 0 || fstat(file, &status) != 0 || status.st_nlink != 1) give_up(at, NULL);
    if (ftruncate(file, 0) != 0 || ftruncate(file, (off_t)size) != 0) give_up(at, name);
    for (size_t page = 0; page < size; page += 4096)
        if (pwrite(file, "", 1, (off_t)page) != 1) give_up(at, name);
    unsigned char *region = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (region == MAP_FAILED) give_up(at, name);
    close(file);
    memset(region, 0, size);
    memcpy(region, fixture, 32);
    region[7] = 0;
    memcpy(region + 32, fixture + 32, size - 32);
    int64_t now = microseconds(CLOCK_REALTIME) / 1000;
    memcpy(region + birth, &now, sizeof now);
    region[7] = 1;
    *ready = 1;
    for (int64_t beat = 1; !asked_to_end; beat++) {
        int64_t time = beat * 50000000;
        memcpy(region + heartbeat, &time, sizeof time);
        poll(NULL, 0, 50);
    }
    unlinkat(at, name, 0);
    _exit(0);
}

/* The next process gets this pid, where the kernel lets us say so and it is free. */
static int reuse(pid_t pid) {
    int file = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
    int written = file >= 0 && dprintf(file, "%d", pid - 1) > 0;
    if (file >= 0) close(file);
    return written;
}

static int input_ended(int timeout) {
    struct pollfd input = {.fd = 0, .events = POLLIN};
    char byte;
    return poll(&input, 1, timeout) > 0 && read(0, &byte, 1) <= 0;
}

int main(int argc, char **argv) {
    if (argc != 6) return 2;
    directory = argv[1];
    load(argv[2]);
    long total = atol(argv[3]), alive = atol(argv[4]), lifetime = atol(argv[5]);
    struct writer *writers = calloc((size_t)alive, sizeof *writers);
    volatile char *ready = mmap(NULL, (size_t)alive, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    long started = 0, killed = 0, reused = 0;
    pid_t dead = 0;
    srandom((unsigned)getpid());
    for (int settled = 0, over = 0; !settled && !over;) {
        settled = total > 0 && started >= total;
        int64_t now = microseconds(CLOCK_MONOTONIC);
        for (long at = 0; at < alive; at++) {
            struct writer *writer = &writers[at];
            int last = total > 0 && started >= total;
            if (writer->pid && waitpid(writer->pid, NULL, WNOHANG) == writer->pid) {
                dead = writer->pid;
                writer->pid = 0;
            } else if (writer->pid && !last && now >= writer->end) {
                kill(writer->pid, writer->killed ? SIGKILL : SIGTERM);
                killed += writer->killed;
                writer->end = INT64_MAX;
            }
            if (!writer->pid) {
                int wanted = dead && random() % 2 && reuse(dead);
                ready[at] = 0;
                pid_t pid = fork();
                if (pid < 0) fail("fork");
                if (pid == 0) {
                    prctl(PR_SET_PDEATHSIG, SIGKILL);
                    signal(SIGTERM, end);
                    close(0);
                    live(&ready[at]);
                }
                reused += wanted && pid == dead;
                started++;
                int at_birth = random() % 8 == 0;
                writer->pid = pid;
                writer->killed = at_birth || random() % 2;
                writer->end = now + (at_birth ? random() % 1000 : random() % (2 * lifetime));
            }
            /* Those that were told to end are not among the last. */
            settled = settled && ready[at] && writer->pid && writer->end != INT64_MAX;
        }
        over = input_ended(1);
    }
    printf("alive");
    for (long at = 0; at < alive; at++) printf(" %d", writers[at].pid);
    printf("\nstarted %ld killed %ld reused %ld\n", started, killed, reused);
    fflush(stdout);
    while (!input_ended(-1)) {
    }
    for (long at = 0; at < alive; at++)
        if (writers[at].pid) kill(writers[at].pid, SIGKILL);
    while (wait(NULL) > 0) {
    }
    return 0;
}
