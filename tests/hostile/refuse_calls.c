/*
 * Runs a program under a seccomp filter that refuses system calls, as old container runtimes do:
 *     refuse_calls ERRNO CALL[,CALL...] PROGRAM [ARGUMENT...]
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct {
    const char *name;
    unsigned number;
} calls[] = {
    {"clone3", SYS_clone3},           {"close_range", SYS_close_range}, {"faccessat2", SYS_faccessat2},
    {"openat2", SYS_openat2},         {"pidfd_open", SYS_pidfd_open},   {"process_vm_readv", SYS_process_vm_readv},
    {"pidfd_getfd", SYS_pidfd_getfd}, {"rseq", SYS_rseq},               {"statx", SYS_statx},
};

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    unsigned refusal = (unsigned)atoi(argv[1]);
    struct sock_filter code[64] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
    unsigned short length = 1;
    long last = -1;
    for (char *name = strtok(argv[2], ","); name; name = strtok(NULL, ",")) {
        size_t at = 0;
        while (at < sizeof calls / sizeof *calls && strcmp(calls[at].name, name) != 0) at++;
        if (at == sizeof calls / sizeof *calls || length > 60) {
            fprintf(stderr, "%s: unknown\n", name);
            return 2;
        }
        last = calls[at].number;
        code[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[at].number, 0, 1);
        code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | refusal);
    }
    code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog filter = {length, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
        perror("cannot filter");
        return 3;
    }
    if (last < 0 || syscall(last, 0, 0, 0, 0, 0) != -1 || errno != (int)refusal) {
        fprintf(stderr, "the calls are not refused\n");
        return 3;
    }
    execv(argv[3], argv + 3);
    perror(argv[3]);
    return 3;
}
