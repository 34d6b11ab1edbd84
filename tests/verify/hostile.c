// A TorchScript extension that does, when it is loaded, what no model should. DEED says which; TARGET, FOLDER, MODEL and
// EXTENSIONS are paths; VICTIM is a process, SHARED, SEMAPHORE and MESSAGES are what other programs share.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <fenv.h>
#include <linux/fs.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

enum deed {
    nothing, attempts, sleeps, stubborn, hogs, hogs_shared, hogs_tables, hogs_threads, divides, exits, aborts, fakes_output,
    fakes_channel, closes, floods, overflows, daemon_stays, foreign_calls, stops_itself, leaves_mark
};

static const char report[] = "{\"schema\": 2, \"checks\": [], \"verdict\": \"pass\"}\n";

static long queue_signal(int pid) {
    siginfo_t info = {.si_code = SI_QUEUE};
    return syscall(SYS_rt_sigqueueinfo, pid, 0, &info);
}

static long own_signals(int pid) {
    const long owned = fcntl(0, F_SETOWN, pid);
    return owned;
}

static long own_signals_extended(int pid) {
    struct f_owner_ex owner = {F_OWNER_PID, pid};
    return fcntl(0, F_SETOWN_EX, &owner);
}

static long set_signal_of_pipe(void) { return fcntl(0, F_SETSIG, SIGUSR1); }

static long limit(int pid) {
    struct rlimit files = {512, 512};
    return prlimit(pid, RLIMIT_NOFILE, &files, NULL);
}

static long set_affinity(int pid) {
    cpu_set_t processors;
    CPU_ZERO(&processors);
    CPU_SET(0, &processors);
    return sched_setaffinity(pid, sizeof processors, &processors);
}

static long set_scheduling(int pid) {
    struct { uint32_t size, policy; uint64_t flags; int32_t nice; uint32_t priority; uint64_t times[3]; } wanted = {48, SCHED_IDLE, 0, 19, 0, {0}};
    return syscall(SYS_sched_setattr, pid, &wanted, 0);
}

static long copy_memory(long number, int pid) {
    char byte = 0;
    struct iovec here = {&byte, 1}, there = {(void*)&report, 1};
    return syscall(number, pid, &here, 1, &there, 1, 0);
}

static long make_child(long pid) {
    if (pid == 0) {
        _exit(0);
    }
    return pid;
}

static void* page(void) { return mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }

static long map(int flags) { return mmap(NULL, 1 << 21, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED ? -1 : 0; }

static long set_flags(const char* path) {
    const int fd = open(path, O_RDONLY);
    int flags = 0;
    return ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0 ? -1 : ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

static long lock_file(const char* path, int command) {
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    return fcntl(open(path, O_RDONLY), command, &lock);
}

static long handle_of(const char* path) {
    struct { struct file_handle handle; char room[128]; } name = {.handle = {.handle_bytes = 128}};
    int mount_id = 0;
    return name_to_handle_at(AT_FDCWD, path, &name.handle, &mount_id, 0);
}

static long open_of(int pid, const char* what) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, what);
    return open(path, O_RDONLY);
}

/// The kernel's word on this process, since asking by a call may be refused.
static int status_says(const char* line) {
    char text[4096] = {0};
    const int fd = open("/proc/self/status", O_RDONLY);
    return read(fd, text, sizeof text - 1) > 0 && strstr(text, line) != NULL;
}

/// One letter for each: r for refused, A for allowed. The last line that a process writes is in the report.
static void try_all(void) {
    char letters[256] = {0};
    int count = 0;
    signal(SIGIO, SIG_IGN);  // of what is watched, where that is allowed
#define ATTEMPT(name, kind, expression) letters[count++] = (long)(expression) < 0 ? 'r' : 'A';
#include "attempts.h"
    fprintf(stderr, "\nattempts %s\n", letters);
    abort();
}

/// More than the test allows, and not more than a machine has, should nothing stop it.
static void hog(void) {
    for (int k = 0; k < 200; ++k) {
        char* block = mmap(NULL, 16 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (block != MAP_FAILED) {
            memset(block, 1, 16 << 20);
        }
    }
    for (;;) {
        pause();
    }
}

static void hog_shared(void) {
    for (int k = 0; k < 200; ++k) {
        char* block = mmap(NULL, 16 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (block != MAP_FAILED) {
            memset(block, 1, 16 << 20);
        }
    }
}

/// Memory that is only read has no pages of its own, but the tables that say so.
static void hog_tables(void) {
    volatile char sum = 0;
    for (int k = 0; k < 1000; ++k) {
        const size_t size = (size_t)1 << 30;
        char* block = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (block == MAP_FAILED) {
            break;
        }
        madvise(block, size, MADV_NOHUGEPAGE);
        for (size_t at = 0; at < size; at += (size_t)2 << 20) {
            sum += block[at];
        }
    }
    for (;;) {
        pause();
    }
}

static void* idle(void* nothing_given) {
    for (;;) {
        pause();
    }
    return nothing_given;
}

static void hog_threads(void) {
    pthread_attr_t small;
    pthread_attr_init(&small);
    /* Room for what the libraries of a torch for GPUs keep for each thread. */
    pthread_attr_setstacksize(&small, 1 << 19);
    pthread_t thread;
    for (int k = 0; k < 6000; ++k) {
        pthread_create(&thread, &small, idle, NULL);
    }
    for (;;) {
        pause();
    }
}

static int recurse(int depth) {
    volatile char frame[4096];
    frame[depth % 4096] = (char)depth;
    return recurse(depth + 1) + frame[0];
}

static void stay(void) {
    if (fork() == 0) {
        setsid();
        signal(SIGTERM, SIG_IGN);
        if (fork() == 0) {
            setsid();
            for (;;) { pause(); }
        }
        _exit(0);
    }
}

__attribute__((constructor)) static void run(void) {
    volatile double zero = 0.0;
    switch (DEED) {
        case attempts: try_all(); break;
        case sleeps: for (;;) { pause(); }
        case stubborn:
            for (int number = 1; number < 64; ++number) { signal(number, SIG_IGN); }
            for (;;) { }
        case hogs: hog(); break;
        case hogs_shared: hog_shared(); break;
        case hogs_tables: hog_tables(); break;
        case hogs_threads: hog_threads(); break;
        case leaves_mark: close(open(TARGET, O_WRONLY | O_CREAT, 0600)); break;
        case stops_itself: raise(SIGSTOP); break;
#ifdef __x86_64__
        case foreign_calls: {  // getpid of 32-bit programs
            long number = 20;
            __asm__ volatile("int $0x80" : "+a"(number) : : "memory");
            break;
        }
#endif
        case divides: feenableexcept(FE_DIVBYZERO); zero = 1.0 / zero; break;
        case exits: exit(0);
        case aborts: fputs("the table of elements is on fire\n", stderr); abort();
        case fakes_output: fputs(report, stdout); fflush(stdout); _exit(0);
        case fakes_channel:
            for (int fd = 0; fd < 64; ++fd) { if (write(fd, report, sizeof report - 1) < 0) { } }
            break;
        case closes: for (int fd = 0; fd < 64; ++fd) { close(fd); } break;
        case floods: {
            static char block[1 << 20];
            for (int k = 0; k < 300; ++k) { if (write(1, block, sizeof block) < 0) { } }
            break;
        }
        case overflows: exit(recurse(0));
        case daemon_stays: stay(); break;
        default: break;
    }
}
