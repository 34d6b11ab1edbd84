// What the process that runs a stranger's model may do to the machine: compute, read, and write into one folder.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mtt/report.hpp"

namespace mtt {

struct SandboxLimits {
    /// Bytes of memory; a request that goes far beyond fails. 0: no limit.
    uint64_t memory = 0;
    /// Seconds of processor time; 0: no limit.
    uint64_t cpu_seconds = 0;
    /// The only folder that may be written to.
    std::string scratch;
    /// Means not to use ("landlock", "seccomp", "limits"), to try what is left on kernels without them.
    std::vector<std::string> without;
};

/// Applied once, by a process with one thread, for good. What the kernel refuses is left out and said in the notes.
Isolation enter_sandbox(const SandboxLimits& limits);

namespace landlock {
/// Nothing outside `scratch` can be created, written or removed from here on. False: the kernel can not do it.
bool restrict_writing(const std::string& scratch);
}  // namespace landlock

namespace seccomp {
/// Refuses network, new processes, signals to other processes, changes of file attributes, and administration.
/// @param writing whether files may be opened for writing
/// @return false: the kernel can not do it
bool install(bool writing);
}  // namespace seccomp

}  // namespace mtt
