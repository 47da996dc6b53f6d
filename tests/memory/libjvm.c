/* A process that claims to be a JVM: exports of libjvm.so that lead where FAKE says. Compiled by tests/jvm/memory.rs. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <linux/fuse.h>
#include <linux/userfaultfd.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct {
    const char *type_name, *field_name, *type_string;
    int32_t is_static;
    uint64_t offset;
    void *address;
} Entry;

#ifndef STRIPPED
#define EXPORT __attribute__((visibility("default")))
#else
#define EXPORT __attribute__((visibility("hidden")))
#endif

EXPORT Entry *gHotSpotVMStructs;
EXPORT uint64_t gHotSpotVMStructEntryArrayStride = sizeof(Entry);
EXPORT uint64_t gHotSpotVMStructEntryTypeNameOffset = offsetof(Entry, type_name);
EXPORT uint64_t gHotSpotVMStructEntryFieldNameOffset = offsetof(Entry, field_name);
EXPORT uint64_t gHotSpotVMStructEntryIsStaticOffset = offsetof(Entry, is_static);
EXPORT uint64_t gHotSpotVMStructEntryAddressOffset = offsetof(Entry, address);

static char *start;
static uint64_t capacity = 32768;
static int32_t initialized = 1;

/* The pages that hold their readers, `capacity` bytes; those of the counters if NULL. */
static char *held;

/* A file system that answers everything but reads. */
static void *serve(void *fuse) {
    static char request[1 << 17];
    while (read((intptr_t)fuse, request, sizeof request) > 0) {
        struct fuse_in_header *in = (void *)request;
        struct { struct fuse_out_header head; union { struct fuse_init_out init; struct fuse_entry_out entry; struct fuse_attr_out attr; struct fuse_open_out open; } body; } out = {0};
        struct fuse_attr attr = {.ino = in->nodeid, .size = capacity, .mode = in->nodeid == 1 && in->opcode != FUSE_LOOKUP ? S_IFDIR | 0755 : S_IFREG | 0444, .nlink = 1, .blksize = 4096};
        size_t length = 0;
        switch (in->opcode) {
        case FUSE_INIT: out.body.init = (struct fuse_init_out){.major = 7, .minor = 31, .max_write = 4096}; length = sizeof out.body.init; break;
        case FUSE_LOOKUP: out.body.entry = (struct fuse_entry_out){.nodeid = 2, .entry_valid = 999, .attr_valid = 999, .attr = attr}; length = sizeof out.body.entry; break;
        case FUSE_GETATTR: out.body.attr = (struct fuse_attr_out){.attr_valid = 999, .attr = attr}; length = sizeof out.body.attr; break;
        case FUSE_OPEN: length = sizeof out.body.open; break;
        case FUSE_READ: case FUSE_FORGET: continue;
        default: out.head.error = -ENOSYS;
        }
        out.head.unique = in->unique;
        out.head.len = sizeof out.head + length;
        if (write((intptr_t)fuse, &out, out.head.len) < 0) break;
    }
    return NULL;
}

/* Takes away the pages, and leaves the faults of their readers to a userfaultfd that nobody answers. */
static void withdraw_pages(char *pages) {
    int faults = syscall(SYS_userfaultfd, O_CLOEXEC);
    struct uffdio_api api = {.api = UFFD_API};
    struct uffdio_register range = {.range = {(uintptr_t)pages, capacity}, .mode = UFFDIO_REGISTER_MODE_MISSING};
    if (faults < 0 || ioctl(faults, UFFDIO_API, &api) || ioctl(faults, UFFDIO_REGISTER, &range)) exit(77);
    if (madvise(pages, capacity, MADV_DONTNEED)) exit(77);
}

/* Mounts such a file system on /mnt, or on HELD, and maps a file on it: in the place of the pages ('p'), or as the
   file of this JVM ('f'). Or takes away the pages ('u'). */
__attribute__((visibility("default"))) void hold_readers(char way) {
    char *pages = held ? held : start;
    if (way == 'u') return withdraw_pages(pages);
    const char *place = way == 'f' ? getenv("HELD") : "/mnt";
    intptr_t fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    /* What root has opened for another user. */
    if (fuse < 0) fuse = 9;
    char options[99];
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=%d,group_id=%d", (int)fuse, (int)getuid(), (int)getgid());
    if (!place || fuse < 0 || unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) exit(77);
    if (mount("held", place, "fuse", MS_NOSUID | MS_NODEV, options)) exit(77);
    if (!fork()) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve((void *)fuse);
        _exit(0);
    }
    close(fuse);
    char name[999];
    snprintf(name, sizeof name, "%s/%d", place, (int)getpid());
    int file = open(name, way == 'f' ? O_RDWR : O_RDONLY);
    void *mapped = way == 'f' ? mmap(NULL, capacity, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)
                              : mmap(pages, capacity, PROT_READ, MAP_PRIVATE | MAP_FIXED, file, 0);
    if (mapped == MAP_FAILED) exit(77);
    close(file);
}

static void *vm_thread(void *ignored) {
    prctl(PR_SET_NAME, "VM Thread");
    for (;;) pause();
    return ignored;
}

static char *pages(size_t length) {
    return mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* The text at the very end of a page behind which nothing is mapped, without its NUL. */
static const char *endless(const char *text) {
    char *page = pages(8192);
    munmap(page + 4096, 4096);
    return memcpy(page + 4096 - strlen(text), text, strlen(text));
}

static void fill(const char *type_name, int count) {
    gHotSpotVMStructs = (Entry *)pages((count + 1) * sizeof(Entry));
    for (int i = 0; i < count; i++) {
        gHotSpotVMStructs[i] = (Entry){type_name, "_other", "x", 1, 0, &start};
    }
}

__attribute__((visibility("default"))) void fake(const char *mode, const char *region) {
    static Entry honest[] = {
        {"Klass", "_name", "Symbol*", 0, 8, NULL},
        {"PerfMemory", "_start", "char*", 1, 0, &start},
        {"PerfMemory", "_capacity", "size_t", 1, 0, &capacity},
        {"PerfMemory", "_initialized", "jint", 1, 0, &initialized},
        {0},
    };
    gHotSpotVMStructs = honest;
    start = pages(capacity);
    int file = open(region, O_RDONLY);
    if (file < 0 || read(file, start, capacity) != (ssize_t)capacity) exit(1);
    close(file);
    pthread_t thread;
    if (pthread_create(&thread, NULL, vm_thread, NULL)) exit(1);
    if (!strcmp(mode, "undumpable")) prctl(PR_SET_DUMPABLE, 0);
    if (!strcmp(mode, "endless array")) fill("Klass", 1 << 20);
    if (!strcmp(mode, "cyclic")) { fill("x", 1 << 20); for (int i = 0; i < 1 << 20; i++) gHotSpotVMStructs[i].type_name = (char *)&gHotSpotVMStructs[i ^ 1]; }
    if (!strcmp(mode, "no stride")) { fill("Klass", 1); gHotSpotVMStructEntryArrayStride = 0; }
    if (!strcmp(mode, "huge stride")) gHotSpotVMStructEntryArrayStride = UINT64_MAX / 2;
    if (!strcmp(mode, "huge offset")) gHotSpotVMStructEntryTypeNameOffset = UINT64_MAX - 3;
    if (!strcmp(mode, "wild array")) gHotSpotVMStructs = (Entry *)0xdeadbeef000;
    if (!strcmp(mode, "wild names")) { fill((char *)0xdeadbeef000, 1 << 20); for (int i = 0; i < 1 << 20; i++) gHotSpotVMStructs[i].type_name += i; }
    if (!strcmp(mode, "wild statics")) honest[1].address = (void *)0xffffffffff000000;
    if (!strcmp(mode, "endless type")) honest[1].type_name = endless("PerfMemory");
    if (!strcmp(mode, "endless field")) honest[1].field_name = endless("_start");
    if (!strcmp(mode, "huge capacity")) capacity = UINT64_MAX;
    if (!strcmp(mode, "large capacity")) capacity = 1 << 30;
    if (!strcmp(mode, "no capacity")) capacity = 0;
    if (!strcmp(mode, "capacity beyond the end")) { munmap(start + 16384, 16384); capacity = 1 << 21; }
    if (!strcmp(mode, "wild start")) start = (char *)0xdeadbeef000;
    if (!strcmp(mode, "odd start")) start++;
    if (!strcmp(mode, "not initialized")) initialized = 0;
    if (!strcmp(mode, "no magic")) memset(start, 'x', capacity);
    if (!strcmp(mode, "random")) { srand(7); for (int i = 32; i < 32768; i++) start[i] = rand(); }
}
