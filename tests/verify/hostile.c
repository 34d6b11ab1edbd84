// A TorchScript extension that does, when it is loaded, what no model should. DEED says which; TARGET is a file.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <fenv.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define STRING(x) #x
#define TEXT(x) STRING(x)

enum deed {
    nothing, write_home, own_home, network, forks, sleeps, stubborn, hogs, divides, exits, aborts,
    fakes_output, fakes_channel, closes, kills_parent, floods, overflows, daemon_stays, deep_folders
};

static const char report[] = "{\"schema\": 2, \"checks\": [], \"verdict\": \"pass\"}\n";

static void expect(int allowed) {
    if (allowed) {
        _exit(77);  // a deed that should have been refused was not
    }
}

static void write_target(void) {
    const int fd = open(TEXT(TARGET), O_WRONLY | O_TRUNC);
    expect(fd >= 0);
    char fresh[4096];
    snprintf(fresh, sizeof fresh, "%s.new", TEXT(TARGET));
    expect(open(fresh, O_WRONLY | O_CREAT, 0600) >= 0);
    expect(mkdir(fresh, 0700) == 0);
    expect(unlink(TEXT(TARGET)) == 0);
    expect(rename(TEXT(TARGET), fresh) == 0);
    expect(link(TEXT(TARGET), fresh) == 0);
    expect(symlink(TEXT(TARGET), fresh) == 0);
    expect(chmod(TEXT(TARGET), 0) == 0);
    expect(truncate(TEXT(TARGET), 0) == 0);
    expect(system("exit 0") == 0);
    for (int fd2 = 3; fd2 < 64; ++fd2) {  // what was open already
        struct stat info;
        expect(fstat(fd2, &info) == 0 && S_ISREG(info.st_mode) && ftruncate(fd2, 0) == 0);
    }
}

static void try_network(void) {
    expect(socket(AF_INET, SOCK_STREAM, 0) >= 0);
    expect(socket(AF_INET6, SOCK_DGRAM, 0) >= 0);
    expect(socket(AF_UNIX, SOCK_STREAM, 0) >= 0);
}

static void use_own_home(void) {
    char path[4096];
    snprintf(path, sizeof path, "%s/notes", getenv("HOME"));
    const int fd = open(path, O_WRONLY | O_CREAT, 0600);
    if (fd < 0 || write(fd, "x", 1) != 1 || strcmp(getenv("HOME"), getenv("TMPDIR")) != 0) {
        _exit(78);
    }
}

static void make_deep_folders(void) {
    if (chdir(getenv("HOME")) != 0) {
        _exit(78);
    }
    for (int k = 0; k < 300; ++k) {
        if (mkdir("folder-with-a-long-name", 0700) != 0 || chdir("folder-with-a-long-name") != 0) {
            _exit(78);
        }
    }
    if (mkdir("closed", 0) != 0) {
        _exit(78);
    }
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
        case write_home: write_target(); break;
        case own_home: use_own_home(); break;
        case network: try_network(); break;
        case forks: expect(fork() >= 0); expect(vfork() >= 0); break;
        case sleeps: for (;;) { pause(); }
        case stubborn:
            for (int number = 1; number < 64; ++number) { signal(number, SIG_IGN); }
            for (;;) { }
        case hogs: hog(); break;
        case divides: feenableexcept(FE_DIVBYZERO); zero = 1.0 / zero; break;
        case exits: exit(0);
        case aborts: fputs("the table of elements is on fire\n", stderr); abort();
        case fakes_output: fputs(report, stdout); fflush(stdout); _exit(0);
        case fakes_channel:
            for (int fd = 0; fd < 64; ++fd) { if (write(fd, report, sizeof report - 1) < 0) { } }
            break;
        case closes: for (int fd = 0; fd < 64; ++fd) { close(fd); } break;
        case kills_parent:
            // Signal 0 only asks whether it would be allowed, in case it is.
            expect(kill(getppid(), 0) == 0);
            expect(kill(-1, 0) == 0);
            break;
        case floods: {
            static char block[1 << 20];
            for (int k = 0; k < 300; ++k) { if (write(1, block, sizeof block) < 0) { } }
            break;
        }
        case overflows: exit(recurse(0));
        case daemon_stays: stay(); break;
        case deep_folders: make_deep_folders(); break;
        default: break;
    }
}
