#include "mtt/isolation/libraries.hpp"

#ifdef __linux__
#include <link.h>
#endif

#include <cstdlib>
#include <filesystem>
#include <set>
#include <sstream>

namespace mtt {

namespace fs = std::filesystem;

namespace {

const std::set<std::string>& system_folders() {
    static const std::set<std::string> out = {"/lib", "/lib32", "/lib64", "/libx32", "/usr/lib", "/usr/lib32",
                                              "/usr/lib64", "/usr/libx32", "/usr/local/lib", "/usr/local/lib64"};
    return out;
}

bool is_below(const std::string& path, const std::string& folder) { return path.rfind(folder + "/", 0) == 0; }

#ifdef __linux__
int add_name(dl_phdr_info* info, size_t, void* names) {
    if (info->dlpi_name != nullptr && info->dlpi_name[0] == '/') {
        static_cast<std::set<std::string>*>(names)->insert(info->dlpi_name);
    }
    return 0;
}
#endif

/// Without links, since rights belong to what a link leads to; empty if it is not there.
std::string real(const fs::path& path) {
    std::error_code missing;
    const auto out = fs::canonical(path, missing);
    return missing ? "" : out.string();
}

}  // namespace

bool holds_libraries(const std::string& folder) {
    const std::string name = fs::path(folder).filename().string();
    const bool by_name = name == "lib" || name == "lib64" || name == "lib32" ||
                         (name.size() > 5 && name.compare(name.size() - 5, 5, ".libs") == 0);
    const auto contains = [&folder](const std::string& top) { return folder == top || is_below(folder, top); };
    bool of_system = false;
    for (const auto& top : system_folders()) {
        of_system = of_system || contains(top);
    }
    return of_system || (by_name && fs::path(folder).has_parent_path() && folder != "/" + name);
}

std::vector<std::string> library_paths() {
    std::set<std::string> out;
    for (const auto& folder : system_folders()) {
        out.insert(real(folder));
    }
    out.insert("/etc/ld.so.cache");
    out.insert(real("/proc/self/exe"));
    std::set<std::string> loaded;
#ifdef __linux__
    dl_iterate_phdr(add_name, &loaded);
#endif
    for (const auto& name : loaded) {
        const std::string file = real(name);
        const std::string folder = fs::path(file).parent_path().string();
        out.insert(file);
        if (holds_libraries(folder)) {
            out.insert(folder);
        }
    }
    const char* search = std::getenv("LD_LIBRARY_PATH");
    std::istringstream folders(search == nullptr ? "" : search);
    for (std::string folder; std::getline(folders, folder, ':');) {
        const std::string path = folder.empty() ? "" : real(folder);
        if (holds_libraries(path)) {
            out.insert(path);
        }
    }
    out.erase("");
    return {out.begin(), out.end()};
}

std::vector<std::string> machine_paths() {
    return {
        "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/sys/vm/overcommit_memory", "/sys/devices/system/cpu",
        "/sys/devices/system/node", "/sys/kernel/mm/transparent_hugepage/enabled", "/dev/null", "/dev/zero",
        "/dev/random", "/dev/urandom", "/etc/localtime", "/usr/share/locale", "/usr/share/zoneinfo",
    };
}

}  // namespace mtt
