#include "mtt/runner/files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "mtt/isolation/process.hpp"

namespace mtt {

namespace {

[[noreturn]] void fail(const std::string& what, const std::string& path) {
    throw std::runtime_error(what + " '" + path + "'");
}

void write_text(int fd, const std::string& text, const std::string& path) {
    if (!write_all(fd, text)) {
        const std::string reason = std::strerror(errno);
        close(fd);
        throw std::runtime_error("can not write '" + path + "': " + reason);
    }
}

/// Where a link leads to, so that the link stays.
std::string resolved(const std::string& path) {
    char* real = realpath(path.c_str(), nullptr);
    const std::string out = real == nullptr ? path : real;
    std::free(real);
    return out;
}

}  // namespace

void check_input(const std::string& path) {
    struct stat info {};
    if (stat(path.c_str(), &info) != 0 || access(path.c_str(), R_OK) != 0) {
        fail("can not open", path);
    }
    if (!S_ISREG(info.st_mode)) {
        fail(S_ISDIR(info.st_mode) ? "this is a folder, and no file:" : "this is a pipe or a device, and no file:", path);
    }
    struct statfs system {};
    constexpr long proc = 0x9fa0;
    constexpr long sys = 0x62656572;
    // Some of them never end, and others wait.
    if (statfs(path.c_str(), &system) == 0 && (system.f_type == proc || system.f_type == sys)) {
        fail("this is made up by the kernel, and no file:", path);
    }
}

std::string read_input(const std::string& path, size_t most) {
    check_input(path);
    std::ifstream file(path, std::ios::binary);
    std::string out;
    std::string piece(size_t(1) << 16, '\0');
    while (out.size() <= most && file) {
        file.read(piece.data(), std::streamsize(piece.size()));
        out.append(piece, 0, size_t(file.gcount()));
    }
    if (file.bad()) {
        fail("can not read", path);
    }
    if (out.size() > most) {
        fail("the file has more than " + std::to_string(most >> 20) + " MB:", path);
    }
    return out;
}

void write_output(const std::string& path, const std::string& text) {
    const std::string target = resolved(path);
    struct stat info {};
    const bool there = stat(target.c_str(), &info) == 0;
    if (there && !S_ISREG(info.st_mode)) {
        const int fd = open(target.c_str(), O_WRONLY | O_CLOEXEC);
        if (fd < 0) {
            fail("can not write", path);
        }
        write_text(fd, text, path);
        close(fd);
        return;
    }
    std::string temporary = target + ".XXXXXX";
    const int fd = mkstemp(temporary.data());
    if (fd < 0) {
        throw std::runtime_error("can not write '" + path + "': " + std::strerror(errno));
    }
    try {
        write_text(fd, text, path);
    } catch (const std::exception&) {
        unlink(temporary.c_str());
        throw;
    }
    const mode_t mask = umask(0);
    umask(mask);
    const bool placed = fchmod(fd, there ? info.st_mode & 07777 : 0666 & ~mask) == 0 && fsync(fd) == 0 &&
                        close(fd) == 0 && rename(temporary.c_str(), target.c_str()) == 0;
    if (!placed) {
        const std::string reason = std::strerror(errno);
        unlink(temporary.c_str());
        throw std::runtime_error("can not write '" + path + "': " + reason);
    }
}

}  // namespace mtt
