/* A process that claims to be a JVM, whose libjvm.so exports all of vmStructs (JDK 25's; the offsets are its own). The
   first argument is what is wrong with it: words `key=value`, separated by commas, where the key is one of PLANTED below
   or of `special`, and the value a number or an area with a distance. Compiled by tests/security/attack/imitation.rs. */
#define fake fake_region
#include "../memory/libjvm.c"
#undef fake

typedef struct { const char *type_name, *superclass_name; int32_t is_oop, is_integer, is_unsigned; uint64_t size; } TypeEntry;
typedef struct { const char *name; int32_t value; } IntEntry;
typedef struct { const char *name; uint64_t value; } LongEntry;

#define OFFSET(entry, field, type, member) EXPORT uint64_t gHotSpotVM##entry##Entry##field##Offset = offsetof(type, member)
OFFSET(Struct, TypeString, Entry, type_string);
OFFSET(Struct, Offset, Entry, offset);
EXPORT TypeEntry *gHotSpotVMTypes;
OFFSET(Type, TypeName, TypeEntry, type_name);
OFFSET(Type, SuperclassName, TypeEntry, superclass_name);
OFFSET(Type, IsOopType, TypeEntry, is_oop);
OFFSET(Type, IsIntegerType, TypeEntry, is_integer);
OFFSET(Type, IsUnsigned, TypeEntry, is_unsigned);
OFFSET(Type, Size, TypeEntry, size);
EXPORT uint64_t gHotSpotVMTypeEntryArrayStride = sizeof(TypeEntry);
EXPORT IntEntry *gHotSpotVMIntConstants;
OFFSET(IntConstant, Name, IntEntry, name);
OFFSET(IntConstant, Value, IntEntry, value);
EXPORT uint64_t gHotSpotVMIntConstantEntryArrayStride = sizeof(IntEntry);
EXPORT LongEntry *gHotSpotVMLongConstants;
OFFSET(LongConstant, Name, LongEntry, name);
OFFSET(LongConstant, Value, LongEntry, value);
EXPORT uint64_t gHotSpotVMLongConstantEntryArrayStride = sizeof(LongEntry);

/* What fields lead to, each in pages of its own: any of them may hold its readers. */
enum { HEAP, SPACES, CODE, FLAGS, LIST, THREADS, LOADERS, TABLES, TYPES, AREAS };
static char *area[AREAS];
#define WORD(where, at) (*(uint64_t *)(area[where] + (at)))
#define ADDRESS(where, at) ((uint64_t)(area[where] + (at)))

/* Static fields. */
static uint64_t heap, ps_young, ps_old, numa_count = 1, grain_bytes = 1 << 20, code_heaps, flags, num_flags, thread_list, chain, loaders;
static uint64_t flag_values[4] = {1, 2 << 20, 0, 0};

enum { BOTTOM = 8, TOP = 16, END = 24, EDEN = 0, FROM = 0x40, TO = 0x80, OLD = 0xc0 };
/* Where the first code heap is, and in it the logarithm of its segments' size. */
enum { FIRST = 0x100, NEXT_HEAP = 0x200, LOG2 = 0x80 };

#define INSTANCE(type, field, at) {type, field, "x", 0, at, NULL}
#define STATIC(type, field, variable) {type, field, "x", 1, 0, &variable}
static const Entry entries[] = {
    STATIC("PerfMemory", "_start", start), STATIC("PerfMemory", "_capacity", capacity), STATIC("PerfMemory", "_initialized", initialized),
    STATIC("Universe", "_collectedHeap", heap),
    INSTANCE("CollectedHeap", "_reserved", 8), INSTANCE("MemRegion", "_start", 0), INSTANCE("MemRegion", "_word_size", 8),
    INSTANCE("SerialHeap", "_young_gen", 32), INSTANCE("SerialHeap", "_old_gen", 40),
    INSTANCE("DefNewGeneration", "_eden_space", 0x10), INSTANCE("DefNewGeneration", "_from_space", 0x18), INSTANCE("DefNewGeneration", "_to_space", 0x20),
    INSTANCE("TenuredGeneration", "_the_space", 0x10),
    INSTANCE("ContiguousSpace", "_bottom", BOTTOM), INSTANCE("ContiguousSpace", "_top", TOP), INSTANCE("ContiguousSpace", "_end", END),
    STATIC("ParallelScavengeHeap", "_young_gen", ps_young), STATIC("ParallelScavengeHeap", "_old_gen", ps_old),
    INSTANCE("PSYoungGen", "_eden_space", 0x10), INSTANCE("PSYoungGen", "_from_space", 0x18), INSTANCE("PSOldGen", "_object_space", 0x10),
    INSTANCE("MutableSpace", "_bottom", BOTTOM), INSTANCE("MutableSpace", "_top", TOP), INSTANCE("MutableSpace", "_end", END),
    INSTANCE("ZCollectedHeap", "_heap", 0x400), INSTANCE("ZHeap", "_page_allocator", 0x10), INSTANCE("ZPageAllocator", "_max_capacity", 0x20),
    INSTANCE("ZPageAllocator", "_partitions", 0x28), INSTANCE("ZPerNUMAZPartition", "_addr", 0), INSTANCE("ZPartition", "_used", 8),
    INSTANCE("ZPartition", "_capacity", 16), STATIC("ZNUMA", "_count", numa_count),
    INSTANCE("G1CollectedHeap", "_humongous_set", 0x500), INSTANCE("G1HeapRegionSetBase", "_length", 8), STATIC("G1HeapRegion", "GrainBytes", grain_bytes),
    STATIC("CodeCache", "_heaps", code_heaps), INSTANCE("GrowableArrayBase", "_len", 0), INSTANCE("GrowableArray<int>", "_data", 8),
    INSTANCE("CodeHeap", "_memory", 0), INSTANCE("CodeHeap", "_log2_segment_size", LOG2), INSTANCE("VirtualSpace", "_low_boundary", 8),
    INSTANCE("VirtualSpace", "_high_boundary", 16), INSTANCE("VirtualSpace", "_low", 24), INSTANCE("VirtualSpace", "_high", 32),
    STATIC("JVMFlag", "flags", flags), STATIC("JVMFlag", "numFlags", num_flags), INSTANCE("JVMFlag", "_addr", 0), INSTANCE("JVMFlag", "_name", 8),
    INSTANCE("JVMFlag", "_flags", 16), INSTANCE("JVMFlag", "_type", 20),
    STATIC("ThreadsSMRSupport", "_java_thread_list", thread_list), INSTANCE("ThreadsList", "_length", 8), INSTANCE("ThreadsList", "_threads", 16),
    STATIC("Threads", "_thread_list", chain), STATIC("Threads", "_number_of_threads", numa_count), INSTANCE("JavaThread", "_next", 104),
    INSTANCE("Thread", "_osthread", 16), INSTANCE("Thread", "_allocated_bytes", 24), INSTANCE("Thread", "_tlab", 32),
    INSTANCE("ThreadLocalAllocBuffer", "_start", 0), INSTANCE("ThreadLocalAllocBuffer", "_top", 8), INSTANCE("JavaThread", "_threadObj", 64),
    INSTANCE("JavaThread", "_vthread", 72), INSTANCE("JavaThread", "_current_pending_monitor", 80), INSTANCE("JavaThread", "_monitor_owner_id", 88),
    INSTANCE("JavaThread", "_anchor", 96), INSTANCE("JavaFrameAnchor", "_last_Java_sp", 0), INSTANCE("JavaThread", "_lock_stack", 112),
    INSTANCE("LockStack", "_top", 0), INSTANCE("LockStack", "_base[0]", 8), INSTANCE("OSThread", "_state", 0), INSTANCE("OSThread", "_thread_id", 8),
    INSTANCE("ObjectMonitor", "_owner", 8), INSTANCE("ObjectMonitor", "_object", 16),
    STATIC("ClassLoaderDataGraph", "_head", loaders), INSTANCE("ClassLoaderData", "_next", 8), INSTANCE("ClassLoaderData", "_has_class_mirror_holder", 16),
    INSTANCE("ClassLoaderData", "_klasses", 24), INSTANCE("Klass", "_name", 8), INSTANCE("Klass", "_super", 16), INSTANCE("Klass", "_next_link", 24),
    INSTANCE("Klass", "_java_mirror", 32), INSTANCE("InstanceKlass", "_constants", 40), INSTANCE("InstanceKlass", "_fieldinfo_stream", 48),
    INSTANCE("ConstantPool", "_length", 8), INSTANCE("Symbol", "_length", 4), INSTANCE("Symbol", "_body", 6), INSTANCE("Array<int>", "_length", 0),
    INSTANCE("Array<u1>", "_data", 4), INSTANCE("Array<u2>", "_data", 4), INSTANCE("oopDesc", "_metadata._klass", 8),
    {0},
};
static const TypeEntry types[] = {
    {"ZPartition", NULL, 0, 0, 0, 64}, {"JVMFlag", NULL, 0, 0, 0, 24}, {"ConstantPool", NULL, 0, 0, 0, 16}, {0},
};
static const IntEntry ints[] = {
    {"ALLOCATED", 0}, {"INITIALIZED", 1}, {"RUNNABLE", 2}, {"MONITOR_WAIT", 3}, {"CONDVAR_WAIT", 4}, {"OBJECT_WAIT", 5}, {"SLEEPING", 7}, {0},
};
static const LongEntry longs[] = {{"ObjectMonitor::ANONYMOUS_OWNER", 1}, {0}};

/* The tables of types and constants, in their area. */
enum { INTS = 0x4000, LONGS = 0x5000 };

static void space(int at, uint64_t bottom, uint64_t used, uint64_t committed) {
    WORD(SPACES, at + BOTTOM) = bottom;
    WORD(SPACES, at + TOP) = bottom + used;
    WORD(SPACES, at + END) = bottom + committed;
}

static void code_heap(int at, const char *name, uint64_t segments) {
    uint64_t low = 0x7e0000000000;
    WORD(CODE, at + 8) = WORD(CODE, at + 24) = low;
    WORD(CODE, at + 16) = low + 1000 * 128;
    WORD(CODE, at + 32) = low + 500 * 128;
    WORD(CODE, at + LOG2 - 24) = 500;
    WORD(CODE, at + LOG2 - 16) = 1000;
    WORD(CODE, at + LOG2 - 8) = 128;
    WORD(CODE, at + LOG2) = 7;
    WORD(CODE, at + LOG2 + 8) = segments + 10;
    WORD(CODE, at + LOG2 + 32) = 10;
    WORD(CODE, at + LOG2 + 56) = (uint64_t)name;
    WORD(CODE, at + LOG2 + 72) = 3;
    WORD(CODE, at + LOG2 + 80) = 1;
}

static void flag(int number, const char *name, int type) {
    WORD(FLAGS, 24 * number) = (uint64_t)&flag_values[number & 3];
    WORD(FLAGS, 24 * number + 8) = (uint64_t)name;
    WORD(FLAGS, 24 * number + 16) = 1 | (uint64_t)type << 32;
}

/* Nothing is wrong: 1, 2 and 3 MB in the spaces of Serial and Parallel, 6 MB in ZGC's heap, 5 regions. */
static void plant(void) {
    uint64_t reserved = 0x700000000000;
    heap = ADDRESS(HEAP, 0);
    WORD(HEAP, 8) = reserved;
    WORD(HEAP, 16) = (64 << 20) / 8;
    WORD(HEAP, 32) = ps_young = ADDRESS(HEAP, 0x200);
    WORD(HEAP, 40) = ps_old = ADDRESS(HEAP, 0x300);
    WORD(HEAP, 0x210) = ADDRESS(SPACES, EDEN);
    WORD(HEAP, 0x218) = ADDRESS(SPACES, FROM);
    WORD(HEAP, 0x220) = ADDRESS(SPACES, TO);
    WORD(HEAP, 0x310) = ADDRESS(SPACES, OLD);
    space(EDEN, reserved, 1 << 20, 8 << 20);
    space(FROM, reserved + (8 << 20), 2 << 20, 4 << 20);
    space(TO, reserved + (12 << 20), 0, 4 << 20);
    space(OLD, reserved + (16 << 20), 3 << 20, 32 << 20);
    WORD(HEAP, 0x430) = 64 << 20;
    WORD(HEAP, 0x438) = ADDRESS(HEAP, 0x800);
    WORD(HEAP, 0x808) = 6 << 20;
    WORD(HEAP, 0x810) = 32 << 20;
    WORD(HEAP, 0x508) = 5;
    code_heaps = ADDRESS(CODE, 0);
    WORD(CODE, 0) = 2;
    WORD(CODE, 8) = ADDRESS(CODE, 16);
    WORD(CODE, 16) = ADDRESS(CODE, FIRST);
    WORD(CODE, 24) = ADDRESS(CODE, FIRST + NEXT_HEAP);
    code_heap(FIRST, "CodeHeap 'non-nmethods'", 100);
    code_heap(FIRST + NEXT_HEAP, "CodeHeap 'profiled nmethods'", 200);
    flags = ADDRESS(FLAGS, 0);
    num_flags = 3;
    flag(0, "UseSerialGC", 0);
    flag(1, "MaxHeapSize", 6);
    flag(2, "AnotherFlag", 0);
    thread_list = ADDRESS(LIST, 0);
    WORD(LIST, 8) = 2;
    WORD(LIST, 16) = ADDRESS(LIST, 64);
    for (int thread = 0; thread < 2; thread++) {
        WORD(LIST, 64 + 8 * thread) = ADDRESS(THREADS, 0x400 * thread);
        WORD(THREADS, 0x400 * thread + 16) = ADDRESS(THREADS, 0x400 * thread + 0x200);
        WORD(THREADS, 0x400 * thread + 24) = 1 << 20;
        WORD(THREADS, 0x400 * thread + 0x200) = 2;
        WORD(THREADS, 0x400 * thread + 0x208) = getpid();
    }
    chain = ADDRESS(THREADS, 0);
    loaders = ADDRESS(LOADERS, 0);
    WORD(LOADERS, 24) = ADDRESS(LOADERS, 0x100);
    WORD(LOADERS, 0x108) = ADDRESS(LOADERS, 0x200);
}

/* Words by name. */
static const struct { const char *key; uint64_t *word; int area, at; } PLANTED[] = {
    {"heap", &heap, 0, 0}, {"reserved", NULL, HEAP, 8}, {"reserved_words", NULL, HEAP, 16}, {"young", NULL, HEAP, 32}, {"old", NULL, HEAP, 40},
    {"ps_young", &ps_young, 0, 0}, {"ps_old", &ps_old, 0, 0}, {"eden", NULL, HEAP, 0x210}, {"from", NULL, HEAP, 0x218}, {"the_space", NULL, HEAP, 0x310},
    {"eden_bottom", NULL, SPACES, BOTTOM}, {"eden_top", NULL, SPACES, TOP}, {"eden_end", NULL, SPACES, END}, {"old_top", NULL, SPACES, OLD + TOP},
    {"z_maximum", NULL, HEAP, 0x430}, {"z_partitions", NULL, HEAP, 0x438}, {"z_used", NULL, HEAP, 0x808}, {"z_capacity", NULL, HEAP, 0x810},
    {"z_count", &numa_count, 0, 0}, {"grain", &grain_bytes, 0, 0}, {"humongous", NULL, HEAP, 0x508},
    {"heaps", &code_heaps, 0, 0}, {"heaps_length", NULL, CODE, 0}, {"heaps_data", NULL, CODE, 8}, {"code", NULL, CODE, 16}, {"code_second", NULL, CODE, 24},
    {"code_low", NULL, CODE, FIRST + 24}, {"code_high", NULL, CODE, FIRST + 32}, {"code_end", NULL, CODE, FIRST + 16},
    {"code_committed", NULL, CODE, FIRST + LOG2 - 24}, {"code_reserved", NULL, CODE, FIRST + LOG2 - 16}, {"code_segment", NULL, CODE, FIRST + LOG2 - 8},
    {"code_log2", NULL, CODE, FIRST + LOG2}, {"code_next", NULL, CODE, FIRST + LOG2 + 8}, {"code_free", NULL, CODE, FIRST + LOG2 + 32},
    {"code_name", NULL, CODE, FIRST + LOG2 + 56}, {"code_nmethods", NULL, CODE, FIRST + LOG2 + 72}, {"code_full", NULL, CODE, FIRST + LOG2 + 80},
    {"flags", &flags, 0, 0}, {"num_flags", &num_flags, 0, 0}, {"flag_value", NULL, FLAGS, 24}, {"flag_name", NULL, FLAGS, 32}, {"flag_kind", NULL, FLAGS, 40},
    {"switch", &flag_values[0], 0, 0}, {"number", &flag_values[1], 0, 0},
    {"list", &thread_list, 0, 0}, {"list_length", NULL, LIST, 8}, {"list_array", NULL, LIST, 16}, {"thread", NULL, LIST, 64}, {"os_thread", NULL, THREADS, 16},
    {"allocated", NULL, THREADS, 24}, {"tlab_start", NULL, THREADS, 32}, {"tlab_top", NULL, THREADS, 40}, {"object", NULL, THREADS, 64}, {"thread_next", NULL, THREADS, 104},
    {"loaders", &loaders, 0, 0}, {"loader_next", NULL, LOADERS, 8}, {"classes", NULL, LOADERS, 24}, {"class_next", NULL, LOADERS, 0x118},
    {"structs", (uint64_t *)&gHotSpotVMStructs, 0, 0}, {"struct_offset", &gHotSpotVMStructEntryOffsetOffset, 0, 0},
    {"types", (uint64_t *)&gHotSpotVMTypes, 0, 0}, {"type_stride", &gHotSpotVMTypeEntryArrayStride, 0, 0}, {"type_size", &gHotSpotVMTypeEntrySizeOffset, 0, 0},
    {"type_name", &gHotSpotVMTypeEntryTypeNameOffset, 0, 0}, {"ints", (uint64_t *)&gHotSpotVMIntConstants, 0, 0},
    {"int_stride", &gHotSpotVMIntConstantEntryArrayStride, 0, 0}, {"int_value", &gHotSpotVMIntConstantEntryValueOffset, 0, 0},
    {"longs", (uint64_t *)&gHotSpotVMLongConstants, 0, 0}, {"long_stride", &gHotSpotVMLongConstantEntryArrayStride, 0, 0},
    {"sizeof_partition", NULL, TYPES, offsetof(TypeEntry, size)}, {"sizeof_flag", NULL, TYPES, sizeof(TypeEntry) + offsetof(TypeEntry, size)},
};
static const char *const AREA_NAMES[AREAS] = {"HEAP", "SPACES", "CODE", "FLAGS", "LIST", "THREADS", "LOADERS", "TABLES", "TYPES"};

static uint64_t *planted(const char *key) {
    for (size_t i = 0; i < sizeof PLANTED / sizeof *PLANTED; i++) {
        if (!strcmp(PLANTED[i].key, key)) return PLANTED[i].word ? PLANTED[i].word : (uint64_t *)(area[PLANTED[i].area] + PLANTED[i].at);
    }
    fprintf(stderr, "no word %s\n", key);
    exit(2);
}

/* A number, or the name of an area, perhaps with a distance: CODE+256. */
static uint64_t number(const char *text) {
    for (int i = 0; i < AREAS; i++) {
        size_t length = strlen(AREA_NAMES[i]);
        if (!strncmp(text, AREA_NAMES[i], length)) return ADDRESS(i, text[length] ? strtoull(text + length, NULL, 0) : 0);
    }
    return strtoull(text, NULL, 0);
}

/* A word that changes all the time between its value and another one. */
static struct { uint64_t *word, values[2]; } flipped[8];
static int flips;

static void *flip(void *ignored) {
    for (;;) for (int way = 1; way >= 0; way--) {
        for (int i = 0; i < flips; i++) *(volatile uint64_t *)flipped[i].word = flipped[i].values[way];
        usleep(50);
    }
    return ignored;
}

/* Tables of more entries than any JDK has, all with names of their own, and 1 << 17 flags of one name. */
static void special(const char *key, const char *value) {
    if (!strcmp(key, "endless")) {
        const int count = 1 << 20;
        char *text = pages(count * 16);
        for (int i = 0; i < count; i++) snprintf(text + i * 16, 16, "Name%d", i);
        if (!strcmp(value, "structs")) {
            Entry *all = (Entry *)pages(count * sizeof(Entry));
            for (int i = 0; i < count; i++) all[i] = (Entry){text + i * 16, text + i * 16, "x", 0, 8, NULL};
            memcpy(all, entries, sizeof entries - sizeof *entries);
            gHotSpotVMStructs = all;
        }
        if (!strcmp(value, "types")) {
            gHotSpotVMTypes = (TypeEntry *)pages(count * sizeof(TypeEntry));
            for (int i = 0; i < count; i++) gHotSpotVMTypes[i] = (TypeEntry){text + i * 16, NULL, 0, 0, 0, 8};
        }
        if (!strcmp(value, "ints")) {
            gHotSpotVMIntConstants = (IntEntry *)pages(count * sizeof(IntEntry));
            for (int i = 0; i < count; i++) gHotSpotVMIntConstants[i] = (IntEntry){text + i * 16, 8};
        }
        if (!strcmp(value, "longs")) {
            gHotSpotVMLongConstants = (LongEntry *)pages(count * sizeof(LongEntry));
            for (int i = 0; i < count; i++) gHotSpotVMLongConstants[i] = (LongEntry){text + i * 16, 8};
        }
    } else if (!strcmp(key, "flood")) {
        /* As many flags as that, of two names. */
        num_flags = strtoull(value, NULL, 0);
        char *all = pages(num_flags * 24);
        for (uint64_t i = 0; i < num_flags; i++) memcpy(all + 24 * i, area[FLAGS] + 24 * (i & 1), 24);
        flags = (uint64_t)all;
    } else if (!strcmp(key, "scattered")) {
        /* Names of types each on a page of its own, all without NUL. */
        const int count = 3000;
        gHotSpotVMTypes = (TypeEntry *)pages((count + 1) * sizeof(TypeEntry));
        for (int i = 0; i < count; i++) gHotSpotVMTypes[i] = (TypeEntry){endless("Type"), NULL, 0, 0, 0, 8};
    } else if (!strcmp(key, "chain")) {
        /* Threads are a chain, as on JDK 8 and 11. */
        for (Entry *entry = gHotSpotVMStructs; entry->type_name; entry++) if (!strcmp(entry->type_name, "ThreadsSMRSupport")) entry->type_name = "x";
    } else if (!strcmp(key, "name")) {
        WORD(CODE, FIRST + LOG2 + 56) = (uint64_t)strdup(value);
    } else if (!strcmp(key, "unended")) {
        WORD(CODE, FIRST + LOG2 + 56) = (uint64_t)endless(value);
    } else if (!strcmp(key, "held")) {
        /* What hold_readers takes away, later. */
        for (int i = 0; i < AREAS; i++) if (!strcmp(value, AREA_NAMES[i])) held = area[i];
    } else if (!strncmp(key, "flip-", 5)) {
        uint64_t *word = planted(key + 5);
        flipped[flips].word = word;
        flipped[flips].values[0] = *word;
        flipped[flips++].values[1] = number(value);
    } else {
        *planted(key) = number(value);
    }
}

__attribute__((visibility("default"))) void fake(const char *mode, const char *region) {
    fake_region("honest", region);
    for (int i = 0; i < AREAS; i++) area[i] = pages(capacity);
    plant();
    gHotSpotVMStructs = memcpy(area[TABLES], entries, sizeof entries);
    gHotSpotVMTypes = memcpy(area[TYPES], types, sizeof types);
    gHotSpotVMIntConstants = memcpy(area[TYPES] + INTS, ints, sizeof ints);
    gHotSpotVMLongConstants = memcpy(area[TYPES] + LONGS, longs, sizeof longs);
    char *words = strdup(mode);
    for (char *word = strtok(words, ","); word; word = strtok(NULL, ",")) {
        char *value = strchr(word, '=');
        if (!value) continue;
        *value++ = 0;
        special(word, value);
    }
    pthread_t thread;
    if (flips && pthread_create(&thread, NULL, flip, NULL)) exit(1);
}
