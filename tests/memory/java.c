/* Loads the libjvm.so beside it and stays until its input ends. Each byte of the input has it hold its readers in a way. */
#include <stdio.h>
#include <unistd.h>

void fake(const char *mode, const char *region);
void hold_readers(char way);

int main(int argc, char **argv) {
    if (argc < 3) return 1;
    fake(argv[1], argv[2]);
    printf("%d\n", getpid());
    fflush(stdout);
    char byte;
    while (read(0, &byte, 1) > 0) hold_readers(byte);
    return 0;
}
