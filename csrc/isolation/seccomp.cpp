// A filter on system calls, which needs no privileges. It is a list of what is refused, since nobody knows all that
// libtorch needs; refused calls fail with EPERM, which code can handle, instead of killing the process.
#include "mtt/isolation/sandbox.hpp"

#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))
#define MTT_SECCOMP
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#endif

namespace mtt::seccomp {

#ifdef MTT_SECCOMP

namespace {

#ifdef __x86_64__
constexpr uint32_t architecture = AUDIT_ARCH_X86_64;
#else
constexpr uint32_t architecture = AUDIT_ARCH_AARCH64;
#endif

constexpr uint32_t refuse = SECCOMP_RET_ERRNO | EPERM;
constexpr uint32_t unknown = SECCOMP_RET_ERRNO | ENOSYS;

/// The same on all architectures, and missing from older headers.
enum Newer : int {
    pidfd_send_signal = 424, io_uring_setup = 425, open_tree = 428, move_mount = 429, fsopen = 430, fsconfig = 431,
    fsmount = 432, fspick = 433, pidfd_open = 434, clone3 = 435, openat2 = 437, pidfd_getfd = 438,
    process_madvise = 440, mount_setattr = 442, process_mrelease = 448, fchmodat2 = 452, setxattrat = 463,
    removexattrat = 466, file_setattr = 469,
};

/// Always refused. Nothing here is needed to compute an energy.
constexpr int refused[] = {
    // network, and the way around this filter
    SYS_socket, io_uring_setup,
    // other programs and processes
    SYS_execve, SYS_execveat, SYS_tkill, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo, pidfd_send_signal, pidfd_open,
    pidfd_getfd, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, process_madvise, process_mrelease, SYS_kcmp,
    SYS_migrate_pages, SYS_move_pages, SYS_setpriority,
    // attributes of files, which Landlock does not cover
    SYS_fchmod, SYS_fchmodat, fchmodat2, SYS_fchown, SYS_fchownat, SYS_utimensat, SYS_truncate, SYS_setxattr,
    SYS_lsetxattr, SYS_fsetxattr, SYS_removexattr, SYS_lremovexattr, SYS_fremovexattr, setxattrat, removexattrat,
    file_setattr, SYS_open_by_handle_at,
    // what outlives the process
    SYS_shmget, SYS_msgget, SYS_semget, SYS_mq_open, SYS_add_key, SYS_request_key, SYS_keyctl,
    // administration
    SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_unshare, SYS_setns, open_tree, move_mount, fsopen,
    fsconfig, fsmount, fspick, mount_setattr, SYS_swapon, SYS_swapoff, SYS_reboot, SYS_init_module, SYS_finit_module,
    SYS_delete_module, SYS_kexec_load, SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_acct, SYS_quotactl,
    SYS_settimeofday, SYS_clock_settime, SYS_clock_adjtime, SYS_adjtimex, SYS_sethostname, SYS_setdomainname,
    SYS_syslog, SYS_personality, SYS_setuid, SYS_setgid, SYS_setreuid, SYS_setregid, SYS_setresuid, SYS_setresgid,
    SYS_setgroups, SYS_capset,
#ifdef __x86_64__
    SYS_fork, SYS_vfork, SYS_chmod, SYS_chown, SYS_lchown, SYS_utime, SYS_utimes, SYS_futimesat, SYS_iopl, SYS_ioperm,
    SYS_kexec_file_load, SYS_modify_ldt,
#endif
};

/// Refused when nothing may be written at all.
constexpr int refused_writing[] = {
    SYS_mkdirat, SYS_mknodat, SYS_unlinkat, SYS_linkat, SYS_symlinkat, SYS_renameat2,
#ifdef SYS_renameat
    SYS_renameat,
#endif
#ifdef __x86_64__
    SYS_creat, SYS_mkdir, SYS_mknod, SYS_rmdir, SYS_unlink, SYS_link, SYS_symlink, SYS_rename,
#endif
};

constexpr uint32_t writing_flags = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC;

/// Instructions of the filter, built one after the other.
class Program {
public:
    void load(size_t offset) { add(BPF_LD | BPF_W | BPF_ABS, 0, 0, uint32_t(offset)); }
    void load_call() { load(offsetof(seccomp_data, nr)); }
    /// Lower half: all arguments that are looked at are ints or small flags.
    void load_argument(int index) { load(offsetof(seccomp_data, args) + size_t(8 * index)); }
    void give(uint32_t action) { add(BPF_RET | BPF_K, 0, 0, action); }
    void give_if_equal(uint32_t value, uint32_t action) {
        add(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, value);
        give(action);
    }
    /// Skips the next instruction.
    void go_on_if_equal(uint32_t value) { add(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, value); }
    void give_if_above(uint32_t value, uint32_t action) {
        add(BPF_JMP | BPF_JGT | BPF_K, 0, 1, value);
        give(action);
    }
    /// For the call `number`: refused if the argument is (not) `value`. Later instructions see the number again.
    void refuse_argument(int number, int index, uint32_t value, bool when_equal) {
        add(BPF_JMP | BPF_JEQ | BPF_K, 0, 4, uint32_t(number));
        load_argument(index);
        add(BPF_JMP | BPF_JEQ | BPF_K, when_equal ? 0 : 1, when_equal ? 1 : 0, value);
        give(refuse);
        load_call();
    }
    /// The same for an argument that has any (or none) of some bits.
    void refuse_bits(int number, int index, uint32_t bits, bool when_set) {
        add(BPF_JMP | BPF_JEQ | BPF_K, 0, 4, uint32_t(number));
        load_argument(index);
        add(BPF_JMP | BPF_JSET | BPF_K, when_set ? 0 : 1, when_set ? 1 : 0, bits);
        give(refuse);
        load_call();
    }
    std::vector<sock_filter>& code() { return code_; }

private:
    void add(int operation, int yes, int no, uint32_t value) {
        code_.push_back({uint16_t(operation), uint8_t(yes), uint8_t(no), value});
    }
    std::vector<sock_filter> code_;
};

Program build(bool writing) {
    constexpr uint32_t inject_input = 0x5412;  // TIOCSTI: types into the terminal
    constexpr uint32_t terminal_selection = 0x541C;
    const auto self = uint32_t(getpid());
    Program out;
    out.load(offsetof(seccomp_data, arch));
    out.go_on_if_equal(architecture);
    out.give(SECCOMP_RET_KILL_PROCESS);
    out.load_call();
#ifdef __x86_64__
    out.give_if_above(0x3fffffff, refuse);  // the same calls under other numbers (x32)
#endif
    for (const int number : refused) {
        out.give_if_equal(uint32_t(number), refuse);
    }
    out.give_if_equal(clone3, unknown);  // its flags are behind a pointer; the C library then uses clone
    out.refuse_bits(SYS_clone, 0, CLONE_THREAD, false);
    out.refuse_argument(SYS_kill, 0, self, false);
    out.refuse_argument(SYS_tgkill, 0, self, false);
    out.refuse_argument(SYS_prctl, 0, PR_SET_PDEATHSIG, true);
    out.refuse_argument(SYS_ioctl, 1, inject_input, true);
    out.refuse_argument(SYS_ioctl, 1, terminal_selection, true);
    if (!writing) {
        for (const int number : refused_writing) {
            out.give_if_equal(uint32_t(number), refuse);
        }
        out.give_if_equal(openat2, unknown);
        out.refuse_bits(SYS_openat, 2, writing_flags, true);
#ifdef __x86_64__
        out.refuse_bits(SYS_open, 1, writing_flags, true);
#endif
    }
    out.give(SECCOMP_RET_ALLOW);
    return out;
}

}  // namespace

bool install(bool writing) {
    auto program = build(writing);
    const sock_fprog filter{uint16_t(program.code().size()), program.code().data()};
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

#else

bool install(bool) { return false; }

#endif

}  // namespace mtt::seccomp
