// A native program with a JVM inside that forks workers, as Python with JPype or R with rJava does. Arguments: the
// libjvm.so to load, the number of workers, and options of the JVM. Prints its own pid and those of the workers, one a
// line; then collects garbage every 100 ms until its input ends. Workers pause until they are killed.
#include <dlfcn.h>
#include <jni.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <signal.h>

typedef jint (*create_java_vm)(JavaVM **, void **, void *);

int main(int argc, char **argv) {
    if (argc < 3) return 64;
    void *library = dlopen(argv[1], RTLD_NOW);
    if (!library) { fprintf(stderr, "%s\n", dlerror()); return 1; }
    create_java_vm create = (create_java_vm)dlsym(library, "JNI_CreateJavaVM");
    int workers = atoi(argv[2]);
    JavaVMOption options[16];
    JavaVMInitArgs arguments = { .version = JNI_VERSION_1_8, .options = options };
    for (int i = 3; i < argc && arguments.nOptions < 16; i++) options[arguments.nOptions++].optionString = argv[i];
    JavaVM *vm;
    JNIEnv *env;
    if (!create || create(&vm, (void **)&env, &arguments)) return 1;
    printf("%d\n", getpid());
    for (int i = 0; i < workers; i++) {
        pid_t worker = fork();
        if (worker == 0) {
            // Workers end with the test, not with the program: some tests are about what is left of it.
            for (;;) pause();
        }
        printf("%d\n", worker);
    }
    printf("ready\n");
    fflush(stdout);
    jclass system = (*env)->FindClass(env, "java/lang/System");
    jmethodID gc = (*env)->GetStaticMethodID(env, system, "gc", "()V");
    struct pollfd input = { .fd = 0, .events = POLLIN };
    while (poll(&input, 1, 100) == 0) (*env)->CallStaticVoidMethod(env, system, gc);
    return 0;
}
