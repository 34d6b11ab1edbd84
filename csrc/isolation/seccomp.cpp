// A filter on system calls, which needs no privileges. It is a list of what is allowed: what libtorch, the C library and
// their threads need to compute. Refused calls fail with an error that code can handle, instead of killing the process.
#include "mtt/isolation/sandbox.hpp"

#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))
#define MTT_SECCOMP
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <functional>
#endif

namespace mtt::seccomp {

#ifdef MTT_SECCOMP

namespace {

#ifdef __x86_64__
constexpr uint32_t architecture = AUDIT_ARCH_X86_64;
#else
constexpr uint32_t architecture = AUDIT_ARCH_AARCH64;
#endif

constexpr uint32_t allow = SECCOMP_RET_ALLOW;
constexpr uint32_t refuse = SECCOMP_RET_ERRNO | EPERM;
constexpr uint32_t unknown = SECCOMP_RET_ERRNO | ENOSYS;
constexpr uint32_t no_terminal = SECCOMP_RET_ERRNO | ENOTTY;

/// The same on all architectures, and missing from older headers.
enum Newer : int {
    clone3 = 435, close_range_number = 436, openat2 = 437, faccessat2 = 439, epoll_pwait2 = 441, futex_waitv = 449,
    fchmodat2 = 452, map_shadow_stack = 453, futex_wake = 454, futex_wait = 455, futex_requeue = 456, mseal = 462,
};
constexpr int newest_known = 470;

/// Whatever their arguments: they reach this process and files that are open, and no more. Often called ones first.
constexpr int allowed[] = {
    // time and waiting
    SYS_futex, SYS_sched_yield, SYS_clock_gettime, SYS_clock_getres, SYS_gettimeofday, SYS_nanosleep,
    SYS_clock_nanosleep, SYS_times, SYS_getrusage, SYS_ppoll, SYS_pselect6,
    // memory
    SYS_brk, SYS_munmap, SYS_mprotect, SYS_mremap,
    // files that are open already, and asking about others
    SYS_read, SYS_readv, SYS_pread64, SYS_preadv, SYS_write, SYS_writev, SYS_lseek, SYS_close, close_range_number,
    SYS_dup, SYS_dup3, SYS_fstat, SYS_newfstatat, SYS_statx, SYS_statfs, SYS_fstatfs, SYS_getdents64,
    SYS_readlinkat, SYS_faccessat, faccessat2, SYS_getcwd, SYS_chdir, SYS_fchdir, SYS_umask,
    // threads and signals within this process
    SYS_set_robust_list, SYS_set_tid_address, SYS_rseq, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn,
    SYS_rt_sigpending, SYS_rt_sigsuspend, SYS_rt_sigtimedwait, SYS_sigaltstack, SYS_restart_syscall, SYS_exit,
    SYS_exit_group,
    // who and where we are
    SYS_getpid, SYS_getppid, SYS_gettid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_uname, SYS_sysinfo,
    SYS_getcpu, SYS_sched_getaffinity, SYS_sched_getparam, SYS_sched_getscheduler, SYS_sched_get_priority_max,
    SYS_sched_get_priority_min, SYS_getrandom,
#ifdef MTT_SANITIZED  // which asks by a pipe whether memory can be read
    SYS_pipe2,
#endif
#ifdef __x86_64__
    SYS_poll, SYS_select, SYS_time, SYS_pause, SYS_dup2, SYS_stat, SYS_lstat, SYS_access, SYS_readlink, SYS_getdents,
    SYS_getrlimit, SYS_arch_prctl,
#endif
};

/// The C library has older calls for these, and takes them when a kernel does not know the newer ones. The flags of
/// clone3 and openat2 are behind a pointer, where a filter can not look.
constexpr int without_need[] = {
    clone3, openat2, epoll_pwait2, futex_waitv, fchmodat2, map_shadow_stack, futex_wake, futex_wait, futex_requeue,
    mseal,
};

constexpr uint32_t one_thread = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD;
constexpr uint32_t more_than_thread = CLONE_VFORK | CLONE_PARENT | CLONE_PTRACE | CLONE_NEWNS | CLONE_NEWCGROUP |
                                      CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET |
                                      CLONE_IO;
/// O_TRUNC empties a file that is opened for reading. O_TMPFILE without its part O_DIRECTORY.
constexpr uint32_t writing_flags = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_ASYNC |
                                   (O_TMPFILE & ~O_DIRECTORY);

/// Instructions of the filter, built one after the other.
class Program {
public:
    void load(size_t offset) { add(BPF_LD | BPF_W | BPF_ABS, 0, 0, uint32_t(offset)); }
    /// The lower half: what the kernel takes of an int.
    void load_argument(int index) { load(offsetof(seccomp_data, args) + size_t(8 * index)); }
    void give(uint32_t action) { add(BPF_RET | BPF_K, 0, 0, action); }
    void give_if_equal(uint32_t value, uint32_t action) {
        add(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, value);
        give(action);
    }
    void give_if_above(uint32_t value, uint32_t action) {
        add(BPF_JMP | BPF_JGT | BPF_K, 0, 1, value);
        give(action);
    }
    void give_if_any_bit(uint32_t bits, uint32_t action) {
        add(BPF_JMP | BPF_JSET | BPF_K, 0, 1, bits);
        give(action);
    }
    void give_unless_equal(uint32_t value, uint32_t action) {
        add(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, value);
        give(action);
    }
    void keep_bits(uint32_t bits) { add(BPF_ALU | BPF_AND | BPF_K, 0, 0, bits); }
    /// What holds for one call; `rest` for arguments of which `decide` says nothing.
    void for_call(int number, uint32_t rest, const std::function<void()>& decide) {
        const size_t start = code_.size();
        add(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, uint32_t(number));
        decide();
        give(rest);
        code_[start].jf = uint8_t(code_.size() - start - 1);
    }
    /// Allowed if the argument is one of `values`.
    void allow_argument(int number, int index, const std::vector<uint32_t>& values) {
        for_call(number, refuse, [&] {
            load_argument(index);
            for (const uint32_t value : values) {
                give_if_equal(value, allow);
            }
        });
    }
    /// Allowed if the argument has none of `bits`.
    void refuse_bits(int number, int index, uint32_t bits) {
        for_call(number, allow, [&] {
            load_argument(index);
            give_if_any_bit(bits, refuse);
        });
    }
    std::vector<sock_filter>& code() { return code_; }

private:
    void add(int operation, int yes, int no, uint32_t value) {
        code_.push_back({uint16_t(operation), uint8_t(yes), uint8_t(no), value});
    }
    std::vector<sock_filter> code_;
};

/// Memory and threads, where arguments decide.
void add_memory_and_threads(Program& out) {
    out.for_call(SYS_mmap, allow, [&] {
        // Memory that is shared with nobody: it counts neither as private nor, once swapped out, as shared.
        out.load_argument(3);
        out.keep_bits(MAP_SHARED | MAP_ANONYMOUS);
        out.give_if_equal(MAP_SHARED | MAP_ANONYMOUS, refuse);
        out.load_argument(3);
        out.give_if_any_bit(MAP_LOCKED | MAP_HUGETLB, refuse);
    });
    out.allow_argument(SYS_madvise, 2, {MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTNEED,
                                        MADV_FREE, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_DONTDUMP, MADV_DODUMP,
                                        MADV_DONTFORK, MADV_DOFORK});
    out.for_call(SYS_clone, refuse, [&] {
        out.load_argument(0);
        out.give_if_any_bit(more_than_thread, refuse);
        out.keep_bits(one_thread);
        out.give_if_equal(one_thread, allow);
    });
    const auto self = uint32_t(getpid());
    out.allow_argument(SYS_kill, 0, {self});
    out.allow_argument(SYS_tgkill, 0, {self});
    out.allow_argument(SYS_sched_setaffinity, 0, {0});
    // Limits can be asked for; a third argument that is not null would set them.
    out.for_call(SYS_prlimit64, refuse, [&] {
        for (const size_t half : {0, 4}) {
            out.load(offsetof(seccomp_data, args) + 8 * 2 + half);
            out.give_unless_equal(0, refuse);
        }
        out.load_argument(0);
        out.give_if_equal(0, allow);
        out.give_if_equal(self, allow);
    });
}

void add_files(Program& out) {
    out.refuse_bits(SYS_openat, 2, writing_flags);
#ifdef __x86_64__
    out.refuse_bits(SYS_open, 1, writing_flags);
#endif
    out.for_call(SYS_fcntl, refuse, [&out] {
        out.load_argument(1);
        for (const int command : {F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL}) {
            out.give_if_equal(uint32_t(command), allow);
        }
        out.give_unless_equal(F_SETFL, refuse);
        out.load_argument(2);
        out.give_if_any_bit(O_ASYNC, refuse);
        out.give(allow);
    });
    out.give_if_equal(SYS_ioctl, no_terminal);
}

void add_process(Program& out) {
    constexpr uint32_t name_memory = 0x53564d41;   // PR_SET_VMA
    constexpr uint32_t vector_length = 51;         // PR_SVE_GET_VL
    constexpr uint32_t matrix_vector_length = 64;  // PR_SME_GET_VL
    out.allow_argument(SYS_prctl, 0, {PR_SET_NAME, PR_GET_NAME, name_memory, vector_length, matrix_vector_length});
}

Program build() {
    Program out;
    out.load(offsetof(seccomp_data, arch));
    out.give_unless_equal(architecture, SECCOMP_RET_KILL_PROCESS);
    out.load(offsetof(seccomp_data, nr));
#ifdef __x86_64__
    out.give_if_above(0x3fffffff, refuse);  // the same calls under other numbers (x32)
#endif
    for (const int number : allowed) {
        out.give_if_equal(uint32_t(number), allow);
    }
    add_memory_and_threads(out);
    add_files(out);
    add_process(out);
    for (const int number : without_need) {
        out.give_if_equal(uint32_t(number), unknown);
    }
    out.give_if_above(newest_known, unknown);
    out.give(refuse);
    return out;
}

}  // namespace

bool install() {
    auto program = build();
    const sock_fprog filter{uint16_t(program.code().size()), program.code().data()};
    // For all threads; and without the slowdown that some kernels tie to a filter, which only keeps secrets of a
    // process from the process itself.
    constexpr unsigned long all_threads = 1;
    constexpr unsigned long full_speed = 4;
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, all_threads | full_speed, &filter) == 0 ||
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, all_threads, &filter) == 0;
}

#else

bool install() { return false; }

#endif

}  // namespace mtt::seccomp
