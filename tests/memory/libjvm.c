/* A process that claims to be a JVM: exports of libjvm.so that lead where FAKE says. Compiled by tests/jvm/memory.rs. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
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
