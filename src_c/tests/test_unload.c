/* `test_unload LIBRARY` loads the library, uses it with several threads, and unloads
 * it.  None of its threads may remain. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness.h"

enum { ROUNDS = 50, IN = 64, OUT = 64, ROWS = 512, THREADS = 2 };

static const char *library;

/* The functions in use, by dlsym; the library is not linked. */
typedef struct functions {
    __typeof__(fc_linear_pack_size) *pack_size;
    __typeof__(fc_linear_pack) *pack;
    __typeof__(fc_linear_forward) *forward;
    __typeof__(fc_shutdown) *shutdown;
} functions;

static void *load(functions *f) {
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!CHECK(handle != NULL)) {
        printf("%s\n", dlerror());
        exit(1);
    }
    /* As in POSIX, instead of a cast that ISO C lacks. */
    *(void **)&f->pack_size = dlsym(handle, "fc_linear_pack_size");
    *(void **)&f->pack = dlsym(handle, "fc_linear_pack");
    *(void **)&f->forward = dlsym(handle, "fc_linear_forward");
    *(void **)&f->shutdown = dlsym(handle, "fc_shutdown");
    CHECK(f->pack_size && f->pack && f->forward && f->shutdown);
    return handle;
}

static float x[ROWS * IN], w[OUT * IN], y[ROWS * OUT];

/* y = x, by two threads. */
static void call(const functions *f) {
    const fc_linear layer = {FC_F32, IN, OUT};
    size_t bytes;
    CHECK_OK(f->pack_size(&layer, FC_PACK_FORWARD, &bytes));
    void *packed = take(bytes, 0);
    CHECK_OK(f->pack(&layer, FC_PACK_FORWARD, w, NULL, packed));
    memset(y, 0xff, sizeof y);
    CHECK_OK(f->forward(&layer, packed, ROWS, x, y, THREADS));
    CHECK(!memcmp(x, y, sizeof y));
    release(packed);
}

static int threads_of_process(void) {
    int threads = 0;
    char line[256];
    if (UNDER_THREAD_SANITIZER) /* the sanitizer has a thread */
        return 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        if (sscanf(line, "Threads: %d", &threads) == 1)
            break;
    if (status)
        fclose(status);
    return threads; /* 0: unknown on this system */
}

/* The system still counts a thread shortly after its join. */
static bool threads_fall_to(int before) {
    for (int i = 0; i < 1000 && threads_of_process() != before; i++)
        usleep(1000);
    return threads_of_process() == before;
}

static void unload(void *handle, int before) {
    CHECK(!dlclose(handle));
    CHECK(threads_fall_to(before));
    /* Some C libraries never unload (musl). */
    void *kept = dlopen(library, RTLD_NOW | RTLD_NOLOAD);
    if (kept)
        dlclose(kept);
}

static void load_call_unload(bool shut_down) {
    functions f;
    int before = threads_of_process();
    void *handle = load(&f);
    call(&f);
    CHECK(before == 0 || threads_of_process() > before);
    if (shut_down) {
        f.shutdown();
        CHECK(threads_fall_to(before));
        call(&f); /* restarts the threads */
        f.shutdown();
        f.shutdown(); /* no threads to end */
    }
    unload(handle, before);
}

/* The alarm ends a hang. */
static void check_child(pid_t child) {
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_rounds(void) {
    for (int i = 0; i < ROUNDS; i++) {
        describe("unload, round %d", i);
        load_call_unload(i % 2);
    }
}

#if THREADS_IN_CHILDREN

/* The child has none of the threads of its parent. */
static void test_a_forked_child(bool child_calls, bool child_exits) {
    functions f;
    int before = threads_of_process();
    void *handle = load(&f);
    describe("unload in a child %s", child_calls ? "that calls" : "that does not");
    call(&f);
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        if (child_calls)
            call(&f);
        f.shutdown();
        if (child_exits) /* while the library and its threads are loaded */
            call(&f);
        else
            unload(handle, before ? 1 : 0);
        fflush(stdout);
        if (child_exits)
            exit(finish("unload in a child"));
        _exit(0);
    }
    check_child(child);
    call(&f);
    unload(handle, before);
}

/* A child made without the handlers of fork has a copy of the count of threads, and
 * must not wait for them. */
static void test_a_child_without_handlers(void) {
#ifdef SYS_clone
    functions f;
    int before = threads_of_process();
    void *handle = load(&f);
    describe("unload in a child without handlers");
    call(&f);
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
    if (child == 0) {
        alarm(60);
        _exit(dlclose(handle) ? 1 : 0);
    }
    check_child(child);
    unload(handle, before);
#endif
}
#endif

/* Unloading removes the handlers of fork. */
static void test_fork_after_unloading(void) {
    describe("fork after unloading");
    load_call_unload(false);
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        _exit(0);
    }
    check_child(child);
}

int main(int count, char **arguments) {
    if (count < 2) {
        printf("test_unload: expected the path of libfastcell.so\n");
        return 1;
    }
    library = arguments[1];
    for (int i = 0; i < IN; i++)
        w[i * IN + i] = 1;
    for (int i = 0; i < ROWS * IN; i++)
        x[i] = (float)uniform(-1, 1);
    test_rounds();
#if !THREADS_IN_CHILDREN
    printf("unload: no fork, a child has no threads here\n");
#else
    test_a_forked_child(false, false);
    test_a_forked_child(true, false);
    test_a_forked_child(true, true);
    test_a_child_without_handlers();
#endif
    test_fork_after_unloading();
    return finish("unload");
}
