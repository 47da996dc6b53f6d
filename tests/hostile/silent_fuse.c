/* Mounts a file system on a directory whose server never answers, until its input ends. Takes root and /dev/fuse. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

int main(int argc, char **argv) {
    int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    char options[99];
    if (argc < 2 || fuse < 0) return 77;
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fuse);
    if (mount("silent", argv[1], "fuse", MS_NOSUID | MS_NODEV, options)) return 77;
    printf("mounted\n");
    fflush(stdout);
    char byte;
    while (read(0, &byte, 1) > 0) {}
    /* The end of the server answers every request with an error. */
    close(fuse);
    return umount2(argv[1], MNT_DETACH);
}
