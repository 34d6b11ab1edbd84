#include "mtt/isolation/endings.hpp"

#include <signal.h>

#include "mtt/runner/runner.hpp"

namespace mtt {

namespace {

std::string signal_text(int number) {
    switch (number) {
        case SIGSEGV: return "crashes its process (SIGSEGV: a wild memory access, or a stack that overflows)";
        case SIGBUS: return "crashes its process (SIGBUS: memory that is not there)";
        case SIGABRT: return "aborts its process (SIGABRT)";
        case SIGFPE: return "crashes its process (SIGFPE: division by zero, or a trap of the floating-point unit)";
        case SIGILL: return "crashes its process (SIGILL: an instruction that this processor does not have)";
        case SIGXCPU: return "takes more processor time than a verification may (SIGXCPU)";
        case SIGXFSZ: return "writes into a file (SIGXFSZ)";
        case SIGKILL: return "was killed by the system, most likely because memory ran out (SIGKILL)";
        default: break;
    }
    return "ends its process by signal " + std::to_string(number);
}

/// What a process said last, in one line, if it said anything.
std::string last_output(const std::string& output) {
    const size_t end = output.find_last_not_of(" \n\r\t");
    if (end == std::string::npos) {
        return "";
    }
    const size_t newline = output.rfind('\n', end);
    const size_t begin = newline == std::string::npos ? 0 : newline + 1;
    return "; its last words: " + output.substr(begin, end - begin + 1).substr(0, 200);
}

}  // namespace

std::string reason_of_end(const ChildProcess& child, uint64_t memory_limit) {
    const auto& ended = child.ended();
    if (ended.signal != 0 && speaks_of_memory(child.output())) {
        return "asks for more memory than it may have; the limit is " + std::to_string(memory_limit >> 20) +
               " MB (--memory-limit)" + last_output(child.output());
    }
    if (ended.signal != 0) {
        return signal_text(ended.signal) + ": an MD engine would die in the same way" + last_output(child.output());
    }
    return "ends its process with exit code " + std::to_string(ended.exit_code) +
           ": an MD engine would stop here without a word" + last_output(child.output());
}

}  // namespace mtt
